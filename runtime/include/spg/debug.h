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
	uint64_t stack_bytes;	/* reserved address space, now; total only, as what follows */
	uint64_t stacks_cached; /* now */
	uint64_t migrations_in_flight; /* stays 0 */
	uint64_t blocking_threads, blocking_queued, blocking_done, overloaded;
};

typedef struct spg_stats_t {
	struct spg_shard_stats total;
	uint64_t shards;
	struct spg_shard_stats shard[SPG_SHARDS_MAX];
} spg_stats_t;

/**
 * spg_stats - the runtime's counters.
 * @out: filled; about 40 KiB: keep it off small stacks
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

/**
 * spg_dump - every coroutine: who, where, and what it waits on.
 * @fd: written to
 *
 * For each its id, name, state and function, what it waits on and since when (to about a
 * millisecond), a backtrace of its stack, and where it was spawned. Coroutines in the same
 * state with the same trace are one entry. Nobody is stopped: entries are of slightly
 * different moments. One that runs on another shard is interrupted by kick_signal to tell
 * its own trace, and shown without if it does not within 100 ms.
 *
 * Works while shards are busy or stuck. Frames are found by frame pointers (compile with
 * -fno-omit-frame-pointer), names in the symbol tables of the files; what has none is
 * file+0xaddress, for addr2line(1).
 *
 * Return: 0, or
 *   -ESRCH   no runtime is running
 *   -ENOMEM  no memory
 *   -ECANCELED, -ETIMEDOUT  the context ended; a part may have been written
 *   other    the errno of write(2); a part may have been written
 * Cancellation: while it writes. Threads: any; a coroutine parks to write and may resume on
 * another thread. It collects first, about 1.5 us for each coroutine, without a pause.
 * Allocates: until it returns, by mmap(2), some 70 bytes for each coroutine and 350 for
 * each entry. Source: Go's runtime.Stack. Since: 0.1.
 */
SPG_API int spg_dump(int fd);

SPG__EXTERN_C_END

#endif
