/*
 * spg/debug.h - looking inside: counters, traces, a page for both.
 *
 * SPG_DEBUG, or spg_config.debug, is a list of words with commas between:
 *
 *	schedtrace=1000ms  a line of counters on stderr each period, from 1 ms
 *	trace_events=64k   room for events of each shard's trace: a power of two, 64 to 4m
 *	stacks             how much stack coroutines took, by function, on stderr at the end (spg_stack_uses)
 *	locks              names pthread locks that are held over a wait; the program is started with
 *	                   LD_PRELOAD=libspg-locks.so, which sees them
 *	migrate            moves coroutines to another shard whenever that may be, to bring out
 *	                   code that keeps the address of a thread-local over a blocking call
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
	uint64_t spawned_foreign; /* of spawned: by plain threads; total only */
	uint64_t spawned_pinned; /* of the others: pinned to a shard */
	uint64_t runnable_local; /* in queues thieves do not see, when the last pass began */
	uint64_t asleep;	 /* now: 1 while the shard sleeps; in total how many do */
	uint64_t spinning;	 /* now: the same of looking for work without sleeping */
	uint64_t steal_scans;	 /* queues of others looked at */
	uint64_t steals_not_worth; /* of these: had something, but less than a move costs */
	uint64_t steals_failed_streak_max; /* attempts in a row that found nothing; in total the largest */
	uint64_t timeouts;	 /* times a deadline was found to have passed, ends of sleeps among them */
};

/* How shards steal: what spg_config said. */
struct spg_steal_config {
	uint64_t steal, steal_batch, steal_probe;
	uint64_t steal_backoff_min_ns, steal_backoff_max_ns;
	uint64_t spin_ns, run_budget;
};

typedef struct spg_stats_t {
	struct spg_shard_stats total;
	uint64_t shards;
	struct spg_shard_stats shard[SPG_SHARDS_MAX];
	struct spg_steal_config config;
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

/* Ratios of a shard, or of all; 0 where nothing was counted yet. */

/* Attempts to steal that brought something. */
static inline double spg_stats_steal_success_rate(const struct spg_shard_stats *s)
{
	return s->steals_tried == 0 ? 0 : (double)s->steals_won / (double)s->steals_tried;
}

/* Runs of coroutines that were not stolen for it. One that is stolen twice before it runs counts twice. */
static inline double spg_stats_local_hit_ratio(const struct spg_shard_stats *s)
{
	return s->switches <= s->stolen ? 0 : (double)(s->switches - s->stolen) / (double)s->switches;
}

/* Successful steals for each queue looked at. */
static inline double spg_stats_steals_per_scan(const struct spg_shard_stats *s)
{
	return s->steal_scans == 0 ? 0 : (double)s->steals_won / (double)s->steal_scans;
}

/* Coroutines that wait for a shard, all together and on the shard that has most. */
static inline uint64_t spg_stats_queued(const spg_stats_t *s)
{
	return s->total.runnable + s->total.runnable_local;
}

static inline uint64_t spg_stats_queued_max(const spg_stats_t *s)
{
	uint64_t max = 0;

	for (uint64_t i = 0; i < s->shards; i++) {
		uint64_t n = s->shard[i].runnable + s->shard[i].runnable_local;

		max = n > max ? n : max;
	}
	return max;
}

/* Operations in flight on the ring that has most. */
static inline uint64_t spg_stats_inflight_max(const spg_stats_t *s)
{
	uint64_t max = 0;

	for (uint64_t i = 0; i < s->shards; i++)
		max = s->shard[i].inflight > max ? s->shard[i].inflight : max;
	return max;
}

/**
 * spg_stats_json - the runtime's counters as JSON.
 * @fd: written to, from its offset on
 *
 * One object and a line end:
 *
 *	{"version": 1, "shards": N,
 *	 "total": {"spawned": 7, ...},       every field of struct spg_shard_stats
 *	 "shard": [{"spawned": 7, ...}, ...] N of them, without the fields that are total only
 *	 "ratios": {"steal_success_rate": 0.5, "local_hit_ratio": 1, "steals_per_scan": 0,
 *	            "queued": 0, "queued_max": 0, "inflight_max": 1},
 *	 "config": {"steal": 1, ...}}        every field of struct spg_steal_config
 *
 * Return: 0, or
 *   -ESRCH   no runtime is running; nothing was written
 *   -ENOMEM  no memory
 *   -ECANCELED, -ETIMEDOUT  the context ended
 *   other    the errno of write(2); a part may have been written
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: until it returns. Source: RFC 8259. Since: 0.1.
 */
SPG_API int spg_stats_json(int fd);

/**
 * spg_stats_prometheus - the runtime's counters in Prometheus' text format.
 * @fd: written to
 *
 * Counters are spg_<field>_total, what is "now" spg_<field>; each with a label shard="0",
 * the fields that are total only without one. Totals of the others are left to sum().
 *
 * Return, cancellation, threads, allocation: as spg_stats_json. Source: Prometheus,
 * "Exposition formats", text format 0.0.4. Since: 0.1.
 */
SPG_API int spg_stats_prometheus(int fd);

/**
 * spg_trace_start - record what the scheduler and the rings do.
 * @fd: receives the trace, a JSON file for ui.perfetto.dev or chrome://tracing; borrowed
 *      until spg_trace_stop, or the end of the runtime, has returned
 *
 * One track a shard shows which coroutine runs there and why it left; arrows lead from who
 * made it ready to where it ran; operations are asynchronous spans with name, descriptor and
 * result; spawns, steals, wakes, kicks, timers and cancels are instants. Plain threads and
 * the watchdog share a track. A thread of the library writes while the trace goes on.
 * Events wait for it in a buffer for each shard; what does not fit is left out, and counted
 * in the trace, in its place and at its end ("lost").
 *
 * Return: 0, or
 *   -EBADF     fd is not open for writing
 *   -EALREADY  a trace goes on
 *   -ESRCH     no runtime is running
 *   -ENOMEM    no memory for the buffers
 *   -EAGAIN    no thread could be started
 * Cancellation: none. Threads: any. Allocates: the buffers, 2 MiB for each shard (see
 * trace_events), until the trace ends; the writer: a node for each coroutine and operation
 * it knows of. Source: "Trace Event Format". Since: 0.1.
 */
SPG_API int spg_trace_start(int fd);

/**
 * spg_trace_stop - end the trace.
 *
 * Returns when fd has it all. The end of the runtime does the same.
 *
 * Return: 0, or
 *   -ESRCH   no trace goes on
 *   other    the errno of the first write(2) that failed, which ended the file there
 * Cancellation: none, it never returns early. Threads: any; a coroutine parks and may
 * resume on another thread. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API int spg_trace_stop(void);

/**
 * spg_debug_serve - an HTTP server for looks from outside.
 * @address: "host:port" as spg_listen takes it; without a host it is 127.0.0.1, port 0 lets
 *           the kernel choose
 *
 * Serves in coroutines of its own, until the runtime ends:
 *
 *	/                  an index
 *	/stats             spg_stats_json
 *	/metrics           spg_stats_prometheus
 *	/dump              spg_dump
 *	/trace?seconds=N   a trace of the next N seconds, 1 to 60; 409 while another goes on
 *
 * It answers GET, one request a connection, 16 connections at a time, and gives a client 10
 * seconds to send a request of 4 KiB at most. Nothing is protected: whoever reaches the
 * address reads it all.
 *
 * Return: the port, or
 *   -EINVAL  bad text
 *   -ESRCH   no runtime is running
 *   -ENOMEM  no memory
 *   other    as spg_listen
 * Cancellation: while it looks up a name. Threads: any. Allocates: per connection. Source:
 * RFC 9112; Go's net/http/pprof. Since: 0.1.
 */
SPG_API int spg_debug_serve(const char *address);
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

/* The stack use of coroutines that began with the same function, of those that have ended. */
typedef struct spg_stack_use {
	const void *fn;	     /* the function they were spawned for; NULL: of too many others */
	uint64_t coroutines; /* how many */
	size_t used_max;     /* bytes that the one took that took most */
	size_t stack_size;   /* of that one, the guard included */
} spg_stack_use;

/**
 * spg_stack_uses - how much stack coroutines took, by function.
 * @out: receives up to max of them, the largest first
 * @max: 0: out may be NULL
 *
 * Counted with SPG_DEBUG=stacks since the start: a coroutine that ends is measured by what it
 * wrote, to about 300 bytes, which is zeroed for the next one. A local array that it left alone
 * at the far end is not seen. The library itself takes less than 2 KiB of what is told.
 *
 * Return: how many functions there are, also above max; or
 *   -EINVAL   max is negative, or out is NULL
 *   -ESRCH    no runtime is running
 *   -ENOTSUP  SPG_DEBUG does not say "stacks"
 * Cancellation: none. Threads: any. Allocates: nothing to speak of (qsort). Source: -. Since: 0.1.
 */
SPG_API int spg_stack_uses(spg_stack_use *out, int max);

SPG__EXTERN_C_END

#endif
