/*
 * Counters of a shard. Written by its thread only, read by anybody: relaxed, and
 * plain additions, no RMW.
 */
#ifndef SPG__SCHED_STATS_H
#define SPG__SCHED_STATS_H

#include "coro/base.h"

#define SPG__COUNTERS(X)                                                                           \
	X(spawned) X(ended) X(switches) X(parks) X(unparks) X(yields) X(steals_tried) X(steals_won) \
	X(stolen) X(steals_backoff) X(spills) X(spins) X(spin_hits) X(sleeps) X(idle_ns)           \
	X(wakes_sent) X(wakes_coalesced) X(sqes) X(cqes) X(enters) X(sq_full)          \
	X(cq_overflow) X(timers_fired) X(cancels) X(kicks) X(stalls) X(migrations_in_flight)            \
	X(msgs_sent) X(msgs_received) X(msg_doorbells) X(msg_coalesced) X(msg_backpressure)

struct spg__counters {
#define X(name) _Atomic uint64_t name;
	SPG__COUNTERS(X)
#undef X
};

/* The owner's thread. */
static inline void spg__count_add(_Atomic uint64_t *counter, uint64_t n)
{
	/* relaxed: one writer; readers want a recent value, no order. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline void spg__count(_Atomic uint64_t *counter)
{
	spg__count_add(counter, 1);
}

static inline uint64_t spg__count_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
