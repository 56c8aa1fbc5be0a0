#include "sched/wait.h"

#include "sched/shard.h"
#include "sched/thread.h"

/* A canceled coroutine lets others run before it hears of it. */
static spg__noinline int begin_failed(struct spg__waiter *w, int err)
{
	if (w->kind == SPG__WAITER_CORO)
		spg__coro_yield();
	else
		atomic_store_explicit(&w->interrupted, false, memory_order_relaxed);
	return err;
}

int spg__wait_begin(struct spg__wait *wait, enum spg__reason reason, const void *object)
{
	struct spg__waiter *w = spg__self();
	int err;

	if (spg__unlikely(w == NULL))
		return -ENOMEM;
	err = spg__waiter_err(w);
	if (spg__unlikely(err < 0))
		return begin_failed(w, err);
	spg__wait_start(wait, w, reason, object);
	return 0;
}

int spg__wait_begin_uncancelable(struct spg__wait *wait, enum spg__reason reason, const void *object)
{
	struct spg__waiter *w = spg__self();

	if (spg__unlikely(w == NULL))
		return -ENOMEM;
	spg__wait_start(wait, w, reason, object);
	wait->cancelable = false;
	wait->deadline_ns = SPG__NEVER;
	return 0;
}

/* Has one of the ends come? The timer is for the nearest deadline, which may have moved (C7). */
static spg__noinline int deadline_err(struct spg__wait *wait)
{
	int64_t deadline_ns = spg__wait_deadline(wait);
	struct spg__timer *timer;

	if (deadline_ns != SPG__NEVER && spg__clock_ns() >= deadline_ns) {
		spg__count_timeout();
		return -ETIMEDOUT;
	}
	if (wait->waiter->kind != SPG__WAITER_CORO)
		return 0;
	timer = &spg__coro_of(wait->waiter)->timer;
	/* relaxed: NULL is the word of who fired it, and then we look at the clock again before we park. */
	if (wait->armed && timer->node.when_ns == deadline_ns &&
	    atomic_load_explicit(&timer->queue, memory_order_relaxed) != NULL)
		return 0;
	spg__timer_stop(timer);
	wait->armed = deadline_ns != SPG__NEVER;
	if (!wait->armed)
		return 0;
	spg__timer_init(timer, wait->waiter, NULL);
	SPG_CHECK(spg__timer_start(timer, deadline_ns));
	return 0;
}

int spg__wait_check(struct spg__wait *wait)
{
	int err = wait->cancelable ? spg__waiter_err(wait->waiter) : 0;

	if (spg__unlikely(err < 0))
		return err;
	return spg__likely(wait->deadline_ns == SPG__NEVER) ? 0 : deadline_err(wait);
}

bool spg__wait_over(const struct spg__wait *wait)
{
	int64_t deadline_ns = spg__wait_deadline(wait);

	return (wait->cancelable && spg__waiter_err(wait->waiter) < 0) ||
	       (deadline_ns != SPG__NEVER && spg__clock_ns() >= deadline_ns);
}

int spg__wait_park(struct spg__wait *wait)
{
	int err = spg__wait_check(wait);

	if (spg__unlikely(err < 0))
		return err;
	spg__park(wait->waiter, spg__wait_deadline(wait));
	return 0;
}

bool spg__wait_park_for(struct spg__wait *wait, int64_t ns)
{
	int64_t until_ns = spg__clock_after_ns(spg__clock_ns(), ns);

	spg__wait_disarm(wait);
	wait->cancelable = false;
	wait->deadline_ns = until_ns;
	(void)spg__wait_park(wait);
	spg__wait_disarm(wait);
	wait->deadline_ns = SPG__NEVER;
	return spg__clock_ns() < until_ns;
}

void spg__wait_disarm(struct spg__wait *wait)
{
	if (wait->armed)
		spg__timer_stop(&spg__coro_of(wait->waiter)->timer);
	wait->armed = false;
}

void spg__wait_end(struct spg__wait *wait)
{
	struct spg__waiter *w = wait->waiter;

	if (spg__unlikely(wait->armed))
		spg__timer_stop(&spg__coro_of(w)->timer);
	atomic_store_explicit(&w->reason, SPG__REASON_NONE, memory_order_relaxed);
	/* spg_stop's interruption is for one wait. A coroutine's is for good. */
	if (spg__unlikely(w->kind == SPG__WAITER_THREAD))
		atomic_store_explicit(&w->interrupted, false, memory_order_relaxed);
}
