/*
 * One blocking call: entry check, parking under a context and a deadline, end.
 *
 *	struct spg__wait wait;
 *	int err = spg__wait_begin(&wait, SPG__REASON_CHAN_RECV, chan);
 *
 *	if (err < 0)
 *		return err;                      // ended before the call began
 *	... put a node that names wait.waiter into a queue, under its lock ...
 *	while (!node.served) {                   // acquire: the server stored it last
 *		err = spg__wait_park(&wait);
 *		if (err < 0) { leave the queue under its lock, unless served; break; }
 *	}
 *	spg__wait_end(&wait);
 *
 * S1  The condition is looked at before spg__wait_park is called again and before
 *     its error is returned: data wins over cancel.
 * S2  spg__wait_end is called exactly once after a begin that succeeded, before
 *     the frame ends: it stops the timer that would touch it.
 * S3  The server's last access to the node is its store to `served`; it reads
 *     node->waiter before and unparks after it.
 */
#ifndef SPG__SCHED_WAIT_H
#define SPG__SCHED_WAIT_H

#include "coro/clock.h"
#include "sched/cancel.h"
#include "sched/park.h"
#include "sched/timer.h"

struct spg__wait {
	struct spg__waiter *waiter;
	/* The nearest of the context's, the scopes' and the caller's own deadline. */
	int64_t deadline_ns;
	/* armed: it started its coroutine's timer; another wait inside it may have taken that over since. */
	bool armed, cancelable;
};

/* The begin of a call whose entry check was made by the caller; it cannot fail. */
static inline void spg__wait_start(struct spg__wait *wait, struct spg__waiter *w,
				   enum spg__reason reason, const void *object)
{
	wait->waiter = w;
	wait->armed = false;
	wait->cancelable = true;
	wait->deadline_ns = w->deadline_ns;
	/* relaxed, both: read by dumps and spg_stop, which tolerate any moment. */
	atomic_store_explicit(&w->object, object, memory_order_relaxed);
	atomic_store_explicit(&w->reason, (uint8_t)reason, memory_order_relaxed);
}

/*
 * 0; the context's end (-ECANCELED or -ETIMEDOUT; it yielded first, so that a loop
 * that ignores errors starves nobody); or -ENOMEM (a foreign thread's first call).
 */
int spg__wait_begin(struct spg__wait *wait, enum spg__reason reason, const void *object);

/* The same for calls that no context ends: it always begins (NULL waiter: -ENOMEM). */
int spg__wait_begin_uncancelable(struct spg__wait *wait, enum spg__reason reason, const void *object);

/* Adds a deadline of the caller's own. Before the first park. */
static inline void spg__wait_until(struct spg__wait *wait, int64_t when_ns)
{
	if (when_ns < wait->deadline_ns)
		wait->deadline_ns = when_ns;
}

/* When it ends, as far as is known now (C7). A wait that no context ends has a time of its own, or SPG__NEVER. */
static inline int64_t spg__wait_deadline(const struct spg__wait *wait)
{
	if (spg__likely(wait->waiter->moving == NULL || wait->deadline_ns == SPG__NEVER || !wait->cancelable))
		return wait->deadline_ns;
	return spg__moving_nearest(wait->waiter, wait->deadline_ns);
}

/*
 * Parks once. 0: woken, look at the condition. -ECANCELED: the context (or
 * spg_stop) ended the wait. -ETIMEDOUT: the nearest deadline passed, the
 * context's or the caller's own: the caller that set one can compare.
 */
int spg__wait_park(struct spg__wait *wait);

/* For a wait that no context ends any more: parks once, at most so long. false: the time is over. */
bool spg__wait_park_for(struct spg__wait *wait, int64_t ns);

/* The checks of spg__wait_park without the park, for waits that park otherwise. */
int spg__wait_check(struct spg__wait *wait);

/* The same question of another's wait, who cannot run meanwhile: is it over? Counts and arms nothing. */
bool spg__wait_over(const struct spg__wait *wait);

/* Stops the timer of the deadline, so that another deadline may be set. */
void spg__wait_disarm(struct spg__wait *wait);

void spg__wait_end(struct spg__wait *wait);

#endif
