/*
 * spg/debug.h - looking inside: counters.
 */
#ifndef SPG_DEBUG_H
#define SPG_DEBUG_H

#include <spg/base.h>

SPG__EXTERN_C_BEGIN

/* The most shards a runtime has. */
#define SPG_SHARDS_MAX 128

/* Counters of one shard, or of all. Totals since the start unless a comment says "now". */
struct spg_shard_stats {
	uint64_t spawned, ended;
	uint64_t live;	   /* now; total only */
	uint64_t parked;   /* now; total only */
	uint64_t runnable; /* now, in queues thieves see */
	uint64_t switches, parks, unparks, yields;
	uint64_t steals_tried, steals_won, stolen, steals_backoff, spills;
	uint64_t spins, spin_hits, sleeps, idle_ns;
	uint64_t wakes_sent, wakes_coalesced;
	uint64_t sqes, cqes, enters;
	uint64_t inflight; /* now */
	uint64_t sq_full, cq_overflow;
	uint64_t timers;   /* now */
	uint64_t timers_fired, cancels, kicks, stalls;
	uint64_t msgs_sent, msgs_received; /* shard messages, by the shard of the sender, of the receiver */
	uint64_t msg_doorbells;		   /* sends that woke a waiter of another shard */
	uint64_t msg_coalesced;		   /* counter adds that merged with earlier ones */
	uint64_t msg_backpressure;	   /* sends that found a full queue */
	uint64_t stack_bytes;	/* reserved address space, now; total only, as what follows */
	uint64_t stacks_cached; /* now */
	uint64_t migrations_in_flight; /* stays 0 */
	uint64_t blocking_threads, blocking_queued, blocking_done, overloaded;
	uint64_t calls, calls_overloaded, calls_timed_out, calls_canceled, calls_closed;
};

typedef struct spg_stats_t {
	struct spg_shard_stats total;
	uint64_t shards;
	struct spg_shard_stats shard[SPG_SHARDS_MAX];
} spg_stats_t;

/**
 * spg_stats - the runtime's counters.
 * @out: filled; about 50 KiB: keep it off small stacks
 *
 * A snapshot of counters that move: sums may differ by what happened meanwhile.
 *
 * Return: 0, or
 *   -ESRCH   no runtime is running; out is all zero
 *   -EINVAL  out is NULL
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's runtime/metrics.
 * Since: 0.1.
 */
SPG_API int spg_stats(spg_stats_t *out);

SPG__EXTERN_C_END

#endif
