/*
 * Sleeping, timers, tickers. A timer object starts nothing by itself: whoever waits for
 * it waits until the time it shows, and looks again when it is changed.
 */
#include "runtime/waitq.h"

#include "coro/alloc.h"
#include "coro/leak.h"
#include "sched/shard.h"

#include <spg/go.h>
#include <spg/time.h>

int64_t spg_now(void)
{
	return spg__clock_ns();
}

/* Parks until `when`; 0 then. Else the context's error. */
static int wait_until(struct spg__wait *wait, int64_t when)
{
	int err = 0;

	spg__wait_until(wait, when);
	while (err == 0)
		err = spg__wait_park(wait);
	return err == -ETIMEDOUT && when <= spg__waiter_deadline(wait->waiter) ? 0 : err;
}

int spg_sleep_until(int64_t when)
{
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_SLEEP, (const void *)(uintptr_t)when);

	if (err < 0)
		return err;
	if (when <= spg__clock_ns())
		spg_yield();
	else
		err = wait_until(&wait, when);
	spg__wait_end(&wait);
	return err;
}

int spg_sleep(int64_t ns)
{
	return spg_sleep_until(ns > 0 ? spg__clock_after_ns(spg__clock_ns(), ns) : 0);
}

struct spg_timer {
	/* Under the lock; read without it by _expired and _deadline. First: dumps look for it there. */
	_Atomic int64_t when;
	struct spg__lock lock;
	/* Raised by each stop: a waiter that sees it move is told. */
	uint64_t stops;
	struct spg__waitq queue;
};

spg_timer *spg_timer_new(void)
{
	struct spg_timer *t = spg__calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	atomic_init(&t->when, SPG__NEVER);
	spg__leak_made(SPG__LEAK_TIMER, (uintptr_t)t, __builtin_return_address(0));
	return t;
}

/* Sets the time and makes every waiter look again. Returns the time before. */
static int64_t change(struct spg_timer *t, int64_t when, unsigned stop)
{
	struct spg__list waiters;
	int64_t before;

	spg__lock(&t->lock);
	before = atomic_exchange_explicit(&t->when, when, memory_order_relaxed);
	t->stops += stop;
	spg__waitq_take_all(&t->queue, &waiters);
	spg__unlock(&t->lock);
	spg__waitq_serve_all(&waiters);
	return before;
}

int spg_timer_reset(spg_timer *t, int64_t when)
{
	if (t == NULL)
		return -EINVAL;
	change(t, when, 0);
	return 0;
}

int spg_timer_stop(spg_timer *t)
{
	int64_t before;

	if (t == NULL)
		return -EINVAL;
	before = change(t, SPG__NEVER, 1);
	return before != SPG__NEVER && before > spg__clock_ns();
}

bool spg_timer_expired(const spg_timer *t)
{
	/* relaxed: a number that is old as soon as it is told. */
	return t != NULL && atomic_load_explicit(&t->when, memory_order_relaxed) <= spg__clock_ns();
}

int64_t spg_timer_deadline(const spg_timer *t)
{
	return t != NULL ? atomic_load_explicit(&t->when, memory_order_relaxed) : SPG__NEVER;
}

/* One look at the timer: 0 when its time has come, 1 to look again, or an error. */
static int timer_look(struct spg_timer *t, struct spg__wait *wait, uint64_t stops, int64_t ctx_deadline)
{
	struct spg__waitq_node node;
	int64_t when;
	int err;

	spg__lock(&t->lock);
	when = atomic_load_explicit(&t->when, memory_order_relaxed);
	if (t->stops != stops || when <= spg__clock_ns()) {
		err = t->stops != stops ? -ECANCELED : 0;
		spg__unlock(&t->lock);
		return err;
	}
	spg__waitq_push(&t->queue, &node, wait->waiter);
	wait->deadline_ns = when < ctx_deadline ? when : ctx_deadline;
	err = spg__waitq_wait(&t->lock, &node, wait);
	/* The timer that bounded this look goes with it. */
	spg__wait_disarm(wait);
	if (err == -ETIMEDOUT && when <= spg__waiter_deadline(wait->waiter))
		return 1;
	return err < 0 ? err : 1;
}

int spg_timer_wait(spg_timer *t)
{
	struct spg__wait wait;
	int64_t ctx_deadline;
	uint64_t stops;
	int err;

	if (t == NULL)
		return -EINVAL;
	err = spg__wait_begin(&wait, SPG__REASON_TIMER, t);
	if (err < 0)
		return err;
	ctx_deadline = wait.deadline_ns;
	spg__lock(&t->lock);
	stops = t->stops;
	spg__unlock(&t->lock);
	do
		err = timer_look(t, &wait, stops, ctx_deadline);
	while (err > 0);
	spg__wait_end(&wait);
	return err;
}

void spg_timer_free(spg_timer *t)
{
	SPG_CHECK(t == NULL || spg__waitq_empty(&t->queue));
	spg__leak_gone(SPG__LEAK_TIMER, (uintptr_t)t);
	spg__free(t);
}

struct spg_ticker {
	/* First: dumps look for it there. */
	int64_t next, period;
	struct spg__lock lock;
	int policy;
};

spg_ticker *spg_ticker_new(int64_t start, int64_t period, int policy)
{
	struct spg_ticker *t;

	if (period <= 0 || policy < SPG_MISSED_BURST || policy > SPG_MISSED_SKIP)
		return NULL;
	t = spg__calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->next = start > 0 ? start : 0;
	t->period = period;
	t->policy = policy;
	spg__leak_made(SPG__LEAK_TICKER, (uintptr_t)t, __builtin_return_address(0));
	return t;
}

/* Under the lock: takes the tick that is due, and schedules the next. */
static int64_t tick(struct spg_ticker *t, int64_t now)
{
	int64_t scheduled = t->next, next = spg__clock_after_ns(scheduled, t->period);

	if (next <= now && t->policy == SPG_MISSED_DELAY)
		next = spg__clock_after_ns(now, t->period);
	if (next <= now && t->policy == SPG_MISSED_SKIP)
		next = spg__clock_after_ns(next, ((now - next) / t->period + 1) * t->period);
	t->next = next;
	return scheduled;
}

/* true: a tick was due and is ours; *next is its time, or the time of the next one. */
static bool take_tick(struct spg_ticker *t, int64_t *next)
{
	int64_t now = spg__clock_ns();
	bool due;

	spg__lock(&t->lock);
	due = t->next <= now;
	*next = due ? tick(t, now) : t->next;
	spg__unlock(&t->lock);
	return due;
}

int spg_ticker_wait(spg_ticker *t, int64_t *scheduled)
{
	if (t == NULL)
		return -EINVAL;
	for (;;) {
		struct spg__wait wait;
		int64_t next;
		bool due;
		int err = spg__wait_begin(&wait, SPG__REASON_TIMER, t);

		if (err < 0)
			return err;
		due = take_tick(t, &next);
		if (!due)
			err = wait_until(&wait, next);
		spg__wait_end(&wait);
		if (err < 0)
			return err;
		if (!due)
			continue; /* due now, but another waiter may be faster */
		if (scheduled != NULL)
			*scheduled = next;
		return 0;
	}
}

void spg_ticker_free(spg_ticker *t)
{
	spg__leak_gone(SPG__LEAK_TICKER, (uintptr_t)t);
	spg__free(t);
}
