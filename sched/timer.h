/*
 * Timers: a pairing heap per shard, intrusive, so that starting one allocates
 * nothing. A timer lives in its owner's frame or object.
 *
 * T1  A heap's links are touched under its lock only; so is the pair (timer in
 *     heap, timer->heap). timer->heap == NULL: not queued.
 * T2  Expiring takes a timer out of the heap, reads what it needs, and stores
 *     heap = NULL (release [T-a]) as its last access. An owner that sees NULL in
 *     spg__timer_stop (acquire [T-a]) may let the memory go.
 * T3  A timer never fires before its time. It fires late by the shard's wake-up
 *     and timer_slack_ns, or when the shard computes, until another expires it.
 * T4  next_due_ns is stored under the lock and may be read by anybody.
 */
#ifndef SPG__SCHED_TIMER_H
#define SPG__SCHED_TIMER_H

#include "coro/lock.h"
#include "coro/waiter.h"

struct spg__timers;

struct spg__timer {
	int64_t when_ns;
	struct spg__timer *child, *next, *prev;
	_Atomic(struct spg__timers *) heap;
	/* Exactly one of the two: unpark this waiter, or call fire(timer) after T2. */
	struct spg__waiter *waiter;
	void (*fire)(struct spg__timer *timer);
};

struct spg__timers {
	struct spg__lock lock;
	struct spg__timer *root;
	_Atomic int64_t next_due_ns;
	_Atomic uint64_t count;
	int shard;
};

void spg__timers_init(struct spg__timers *heap, int shard);

/* Unqueued, and so stoppable before it was ever started. */
static inline void spg__timer_init(struct spg__timer *timer, struct spg__waiter *waiter,
				   void (*fire)(struct spg__timer *))
{
	timer->waiter = waiter;
	timer->fire = fire;
	atomic_init(&timer->heap, NULL);
}

/*
 * Queues an unqueued timer on the caller's shard; from a foreign thread on a
 * shard of the running runtime. false: no runtime is running, nothing was started.
 */
bool spg__timer_start(struct spg__timer *timer, int64_t when_ns);

/* true: it was queued and will not fire. false: it has fired, or fire() is about to run. */
bool spg__timer_stop(struct spg__timer *timer);

/* Fires everything due in the heap. Returns how many. Any thread. */
unsigned spg__timers_expire(struct spg__timers *heap, int64_t now_ns);

#endif
