/*
 * What a timer is, for those it lies in; sched/timer.h says what it does.
 *
 * That of a coroutine's deadlines lies in its object, not on its stack: stacks are a page each,
 * objects lie together. A queue of ten thousand sleepers is walked without a miss of the TLB for
 * every one of them.
 */
#ifndef SPG__CORO_TIMER_H
#define SPG__CORO_TIMER_H

#include "coro/base.h"

#include <stdint.h>

struct spg__timers;
struct spg__waiter;

struct spg__timer_node {
	int64_t when_ns;
	/* In a heap: first child, next sibling, previous sibling or parent. In a list: next and previous. */
	struct spg__timer_node *child, *next, *prev;
};

struct spg__timer {
	struct spg__timer_node node;
	_Atomic(struct spg__timers *) queue;
	/* Exactly one of the two: unpark this waiter, or call fire(timer) after T2. */
	struct spg__waiter *waiter;
	void (*fire)(struct spg__timer *timer);
};

#endif
