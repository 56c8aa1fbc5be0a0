/*
 * Bounded FIFO of runnable coroutines: one owner appends at `tail`; the owner and
 * any number of thieves take at `head`. After Go's runtime (runqget, runqsteal).
 *
 * R1  head <= tail <= head + RUNQ_CAP, as unsigned differences.
 * R2  Only the owner stores tail. A slot in [head, tail) is not written.
 * R3  A take is the CAS on head that covers the slot: one taker a slot.
 */
#ifndef SPG__SCHED_RUNQ_H
#define SPG__SCHED_RUNQ_H

#include "coro/coro.h"

#define SPG__RUNQ_CAP 256u
/* Most that one call takes: the copies stand on a coroutine's stack. */
#define SPG__RUNQ_BATCH 64u

struct spg__runq {
	/* Raised by any taker's CAS; never lowered. */
	alignas(SPG__CACHELINE) _Atomic uint32_t head;
	/* Written by the owner only. */
	alignas(SPG__CACHELINE) _Atomic uint32_t tail;
	_Atomic(struct spg__coro *) slot[SPG__RUNQ_CAP];
};
_Static_assert((SPG__RUNQ_CAP & (SPG__RUNQ_CAP - 1)) == 0, "indices wrap by modulo");

/* Owner. false: full, nothing was put. */
bool spg__runq_put(struct spg__runq *q, struct spg__coro *coro);

/*
 * Owner, for a coroutine it will look at again itself before it sleeps: the store
 * of tail is a release only, so an idle shard may overlook it until the next put.
 */
bool spg__runq_put_quiet(struct spg__runq *q, struct spg__coro *coro);

/* Owner. NULL: empty. */
struct spg__coro *spg__runq_take(struct spg__runq *q);

/* Owner, when full: takes the oldest SPG__RUNQ_BATCH. 0: thieves made room meanwhile. */
uint32_t spg__runq_take_batch(struct spg__runq *q, struct spg__coro **out);

/* Any thread. Copies up to half of the victim's queue, at most max, into out; 0: empty, or another taker won. */
uint32_t spg__runq_grab(struct spg__runq *q, struct spg__coro **out, uint32_t max);

/* Owner: thieves may only make it emptier. */
static inline bool spg__runq_empty(struct spg__runq *q)
{
	/* relaxed, both: the owner wrote tail; a stale head makes it look fuller. */
	return atomic_load_explicit(&q->tail, memory_order_relaxed) ==
	       atomic_load_explicit(&q->head, memory_order_relaxed);
}

/* Any thread: a hint, exact only for the idle protocol's question "was anything published before". */
static inline uint32_t spg__runq_count(struct spg__runq *q)
{
	/* seq_cst [W2]. */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_seq_cst);
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_seq_cst);
	uint32_t n = tail - head;

	/* head moved between the two loads: R1 does not bind a stale pair. */
	return n > SPG__RUNQ_CAP ? 0 : n;
}

#endif
