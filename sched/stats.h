/*
 * Counters of a shard. Written by its thread only, read by anybody: relaxed, and
 * plain additions, no RMW.
 */
#ifndef SPG__SCHED_STATS_H
#define SPG__SCHED_STATS_H

#include "coro/base.h"
#include "coro/sanitize.h"

#define SPG__COUNTERS(X)                                                                           \
	X(spawned) X(ended) X(switches) X(parks) X(unparks) X(yields) X(steals_tried) X(steals_won) \
	X(stolen) X(steals_backoff) X(spills) X(spins) X(spin_hits) X(sleeps) X(idle_ns)           \
	X(wakes_sent) X(wakes_coalesced) X(sqes) X(cqes) X(enters) X(sq_full)          \
	X(cq_overflow) X(timers_fired) X(cancels) X(kicks) X(stalls) X(migrations_in_flight)       \
	X(spawned_pinned) X(steal_scans) X(steals_not_worth) X(steals_failed_streak_max)           \
	X(timeouts) X(runnable_local)                                                              \
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
#if defined(__x86_64__)
	/* The same in one instruction, which gcc does not make of a load, an addition and a store. */
	__asm__("addq %1, %0" : "+m"(*(uint64_t *)counter) : "er"(n) : "cc");
#else
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
#endif
}

/* The same for a counter that tells others what to look for: release, what was written before. */
static inline void spg__count_release(_Atomic uint64_t *counter)
{
#if defined(__x86_64__) && !defined(SPG__TSAN)
	/* Stores are in order there. */
	__asm__ volatile("addq $1, %0" : "+m"(*(uint64_t *)counter) : : "cc", "memory");
#else
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_release);
#endif
}

/* The owner's thread: a counter that is a level, or a maximum. */
static inline void spg__count_set(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, value, memory_order_relaxed); /* relaxed: as above */
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
