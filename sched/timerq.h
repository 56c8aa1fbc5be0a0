/*
 * The timers of a shard in the order of their times. Intrusive: nothing allocates. Three parts,
 * by time:
 *
 *      near: a pairing heap       wheel: 1,024 lists of 65.5 us each      far: a pairing heap
 *   ---------------------------|---------------------------------------|---------------------->
 *                           horizon                              horizon + 67 ms
 *
 * V1  The part a timer is in follows from its time and the horizon alone, so that it can be
 *     taken out again. The horizon is a multiple of a list's span and only grows.
 * V2  When the horizon passes a list, its timers go to the near heap; those of the far heap that
 *     the wheel now reaches go to the wheel.
 * V3  A list's due_ns is never later than its first timer; earlier only after a removal.
 *
 * So the heaps that are worked on stay small: of ten thousand sleepers one heap was 390
 * instructions and some twenty cache misses a wake.
 * Rejected: an array heap, which must allocate, and writes into every node it moves.
 */
#ifndef SPG__SCHED_TIMERQ_H
#define SPG__SCHED_TIMERQ_H

#include "coro/timer.h"

#define SPG__TIMERQ_LISTS 1024u
#define SPG__TIMERQ_SHIFT 16 /* a list spans 2^16 ns */

struct spg__timerq {
	struct spg__timer_node *near, *far;
	uint32_t near_count;
	uint64_t horizon_ns;
	uint64_t used[SPG__TIMERQ_LISTS / 64];
	struct spg__timerq_list {
		struct spg__timer_node *first;
		int64_t due_ns;
		uint32_t count;
	} lists[SPG__TIMERQ_LISTS];
};

/* All zero is an empty queue. */

void spg__timerq_put(struct spg__timerq *q, struct spg__timer_node *node);
void spg__timerq_take(struct spg__timerq *q, struct spg__timer_node *node);

/* Moves the horizon beyond now. */
void spg__timerq_advance(struct spg__timerq *q, int64_t now_ns);

/* Takes the earliest with when_ns <= now_ns out; NULL: none. After an advance to now_ns. */
struct spg__timer_node *spg__timerq_pop(struct spg__timerq *q, int64_t now_ns);

/* Not later than the earliest timer, V3; SPG__NEVER: empty. */
int64_t spg__timerq_due(const struct spg__timerq *q);

/* How many are due within a quarter of a millisecond after the earliest, roughly: up to a list's span. */
unsigned spg__timerq_dense(const struct spg__timerq *q);

#endif
