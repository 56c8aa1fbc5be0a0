/*
 * Timers: a queue per shard (sched/timerq.h), intrusive, so that starting one allocates
 * nothing. A timer lives in its owner's frame or object.
 *
 * T1  A queue's links are touched under its lock only; so is the pair (timer in
 *     queue, timer->queue). timer->queue == NULL: not queued.
 * T2  Expiring takes a timer out of the queue, reads what it needs, and stores
 *     queue = NULL (release [T-a]) as its last access. An owner that sees NULL in
 *     spg__timer_stop (acquire [T-a]) may let the memory go.
 * T3  A timer never fires before its time. It fires late by the shard's wake-up
 *     and spg__timers_slack, or when the shard computes, until another expires it.
 * T4  next_due_ns is stored under the lock and may be read by anybody. It may be earlier
 *     than the earliest timer (V3), never later.
 */
#ifndef SPG__SCHED_TIMER_H
#define SPG__SCHED_TIMER_H

#include "coro/lock.h"
#include "coro/waiter.h"
#include "sched/timerq.h"

struct spg__timers {
	struct spg__lock lock;
	int shard;
	_Atomic int64_t next_due_ns;
	_Atomic uint64_t count;
	struct spg__timerq queue;
};

void spg__timers_init(struct spg__timers *timers, int shard);

/* Unqueued, and so stoppable before it was ever started. */
static inline void spg__timer_init(struct spg__timer *timer, struct spg__waiter *waiter,
				   void (*fire)(struct spg__timer *))
{
	timer->waiter = waiter;
	timer->fire = fire;
	atomic_init(&timer->queue, NULL);
}

/*
 * Queues an unqueued timer on the caller's shard; from a foreign thread on a
 * shard of the running runtime. false: no runtime is running, nothing was started.
 */
bool spg__timer_start(struct spg__timer *timer, int64_t when_ns);

/* true: it was queued and will not fire. false: it has fired, or fire() is about to run. */
bool spg__timer_stop(struct spg__timer *timer);

/*
 * How long after the first timer a sleep may end: slack_ns for every timer that is due then, up to
 * 25. A lone sleeper wakes in time; of thousands a wake-up serves many.
 */
int64_t spg__timers_slack(struct spg__timers *timers, int64_t slack_ns);

/* Fires everything due. Returns how many. Any thread. */
unsigned spg__timers_expire(struct spg__timers *timers, int64_t now_ns);

#endif
