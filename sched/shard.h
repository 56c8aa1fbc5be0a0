/*
 * Shards: one thread, one ring, one set of run queues, one timer heap each; and
 * the state they share.
 *
 * Q1  A runnable coroutine is on exactly one queue: a shard's hand-over slots,
 *     its local queue, its run queue, its inbox, the global queue, the starved list; or it was
 *     just stolen, and its thief runs it next.
 * Q2  The local queue, the local slot and the budget are the owner's alone. The
 *     run queue and the slot `next` are shared with thieves. What is pinned, or
 *     has an operation in flight, never enters the shared two.
 * Q3  Nothing is refused: a full run queue spills its oldest to the global queue,
 *     which is a list.
 * Q4  A pass runs at most `budget` coroutines without looking at the ring, the
 *     inbox, the global queue and the timers; each pass begins with what was stolen, then the
 *     queues, not the slots. So a pair that hands over to each other starves nobody.
 * Q5  A hand-over slot wakes nobody: its owner is running and about to take it.
 * Q6  Waking a shard costs the waker about 10 us, and moving a coroutine its cache. So a
 *     backlog is worth a thief when running it would take WORTH_NS here; below that
 *     nobody is woken for it, and a thief takes it only when the owner has made no
 *     step for SLOT_STALE_NS. A sleeping thief is then woken by the watchdog.
 *
 * Q7  More shards than CPUs: each that is awake beyond the CPUs costs switches between threads,
 *     and the more rings work is on, the fewer completions each enter brings. So as long as runs
 *     are short, nobody is woken, steals or spins beyond the CPUs, and what becomes ready on a
 *     shard beyond their number goes to one below, whose ring has its next operation then. A
 *     shard that computes gets nothing so: its runs are long, or its pass is.
 *
 * The idle protocol. Every access below is seq_cst.
 *
 * I1  Enqueuer: [W1] publish (tail, inbox, global count, next_due); then [W3] read
 *     `sleeping` and `spinning`; wake if a bit is set and nobody spins.
 * I2  Sleeper: clear its bit in `spinning`; [W4] set its bit in `sleeping`; [W2] look at
 *     everything once more; sleep in the poller only if all of it was empty.
 * I3  By I1 and I2 either the enqueuer sees the bit or the spinner, or the sleeper
 *     sees the work (spinners look after leaving: I2).
 * I4  A bit is taken by whoever clears it with an RMW: one waker per sleep. That
 *     one must deliver a wake; wakes after it coalesce. A wake that arrives after
 *     the sleeper got up by itself is harmless.
 * I5  A waker with work for a spinning shard clears its bit in `spinning` for it, and so
 *     frees the place for another spinner, itself first of all. The bit is the state and
 *     the place at once: with a counter beside it, an ended spin would hold the place for
 *     a moment, and an enqueuer that believes in it would wake nobody.
 *
 * A release store of tail followed by a load of `sleeping` is not enough: the store
 * may sit in the store buffer while the load is done, and the sleeper's last look
 * misses it.
 */
#ifndef SPG__SCHED_SHARD_H
#define SPG__SCHED_SHARD_H

#include "coro/coro.h"
#include "coro/lock.h"
#include "sched/poller.h"
#include "sched/runq.h"
#include "sched/stats.h"
#include "sched/timer.h"

#include <pthread.h>

#define SPG__SHARDS_MAX 128

struct spg__trace_ring;

/* What becomes of the coroutine that was left, done by whoever runs next (P2). */
enum spg__commit { SPG__COMMIT_PARK, SPG__COMMIT_YIELD, SPG__COMMIT_END };

/* Work for the thread of another shard: run by its loop, on the loop's stack. Must not park. */
struct spg__errand {
	struct spg__link link;
	void (*run)(struct spg__errand *errand, struct spg__shard *shard);
};

struct spg__shard {
	/* The owner's alone. */
	struct spg__coro *current;
	struct spg__coro *leaving;
	enum spg__commit commit;
	int id;
	/* While a trace goes on: where to write (sched/trace.h); else NULL. */
	_Atomic(struct spg__trace_ring *) trace;
	/* The owner's copy of it for a pass, and by that how a coroutine leaves (TR6). */
	struct spg__trace_ring *tracing;
	struct spg__transfer (*jump)(void *to, void *shard);
	unsigned budget, budget_max;
	bool turn;
	struct spg__coro *next_local;
	/* Begins the next pass. */
	struct spg__coro *stolen;
	struct spg__fifo local;
	void *loop_context;
	struct spg__san loop_san;
	struct spg__coro_cache coros;
	struct spg__stack_cache stacks;
	uint64_t ids_next, ids_end;
	uint64_t random;
	unsigned spin_misses;
	/* Steal back-off: no attempt before this time; doubles while attempts fail. */
	int64_t steal_after_ns, steal_backoff_ns;
	/* Attempts in a row that found nothing. */
	uint64_t steals_failed;
	/* The victim to begin with, or -1. */
	int steal_hint;
	/* What a thief saw of each victim's steps, for the stale rule. */
	struct {
		uint64_t switches;
		int64_t since_ns;
	} seen[SPG__SHARDS_MAX];
	/* io/'s: the ring of this shard. */
	void *ring;
	pthread_t thread;
	/* gettid(2) of it, for debuggers. */
	int tid;
	/* Start of the current pass; coarse time for dumps. */
	_Atomic int64_t pass_ns;
	/* Switches at that start, and how long a run takes, on average (Q6). */
	uint64_t pass_switches;
	_Atomic int64_t run_avg_ns;
	/* The same of the last pass, and of that or the one before, whichever was less (Q7): a pass may have had no CPU. */
	int64_t run_last_ns;
	_Atomic int64_t run_low_ns;

	/* Shared. */
	alignas(SPG__CACHELINE) _Atomic(struct spg__coro *) next;
	alignas(SPG__CACHELINE) _Atomic(struct spg__link *) inbox;
	_Atomic(struct spg__link *) errands;
	/* For the watchdog and statistics: it is in the poller [D6]; it is stuck in one coroutine [D1]. */
	alignas(SPG__CACHELINE) _Atomic bool asleep;
	_Atomic bool stalled;
	/* Odd: its thread is in the kernel (sched/deadlock.h, DL1). Written by that thread. */
	_Atomic uint64_t naps;
	struct spg__runq runq;
	struct spg__timers timers;
	alignas(SPG__CACHELINE) struct spg__counters counters;
};

struct spg__sched_conf {
	unsigned shards;
	unsigned cpus; /* they may run on */
	bool steal;
	unsigned steal_batch, steal_probe;
	int64_t steal_backoff_min_ns, steal_backoff_max_ns;
	int64_t spin_ns, timer_slack_ns;
	unsigned run_budget;
	uint64_t coroutines_max;
	bool migrate; /* for debugging: what becomes ready goes to another shard */
	/* For debugging, or NULL: whoever leaves, while it is still `leaving`, on its own stack. */
	void (*leaves)(struct spg__coro *coro, enum spg__commit how);
};

/* The shards' common state. There is one: one runtime at a time. */
struct spg__sched {
	struct spg__sched_conf conf;
	struct spg__shard *shards;
	const struct spg__poller *poller;
	/* With one shard there are no thieves: all work is local. */
	bool stealing;
	/* More than one CPU and more than one shard: spinning can pay. */
	bool may_spin;
	/* How many CPUs the shards share when they are more than those; else 0 (Q7). */
	unsigned crowd_cpus;
	/* This process was forked from one with a runtime (sched/fork.h). Never unset. */
	bool child;
	/* While stopping, a shard that idles calls this: the last one finds that none lives. */
	void (*coro_ended)(void);

	alignas(SPG__CACHELINE) _Atomic uint64_t sleeping[SPG__SHARDS_MAX / 64];
	alignas(SPG__CACHELINE) _Atomic uint64_t spinning[SPG__SHARDS_MAX / 64];
	alignas(SPG__CACHELINE) _Atomic bool running;
	_Atomic bool stopping; /* main has ended: ends are counted */
	_Atomic bool exiting;  /* no coroutine lives: loops end */
	_Atomic uint32_t foreigners;
	_Atomic uint32_t spread_next;
	_Atomic uint64_t ids_next;
	_Atomic uint64_t foreign_spawned;

	/* With a limit: coroutines that live. Without one nobody touches it: it is everybody's line. */
	alignas(SPG__CACHELINE) _Atomic uint64_t limited_live;

	struct spg__lock global_lock;
	struct spg__fifo global;
	_Atomic size_t global_count;

	/* Coroutines whose first stack the kernel refused; retried when one is freed. */
	struct spg__lock starved_lock;
	struct spg__fifo starved;
	_Atomic size_t starved_count;
};

extern struct spg__sched spg__sched;

/*
 * The calling thread's shard, or NULL. Never kept over a park. The volatile asm finds the thread
 * anew each time, which no expression does (sched/self.c); it reads spg__sched only to stay
 * behind calls that may write memory.
 */
#if defined(__x86_64__) && defined(__LP64__)
#define SPG__SELF_INLINE 1
static inline struct spg__shard *spg__shard_self(void)
{
	struct spg__shard *shard;

	__asm__ volatile("movq spg__shard_tls@gottpoff(%%rip), %0\n\t"
			 "movq %%fs:(%0), %0"
			 : "=r"(shard)
			 : "m"(spg__sched));
	return shard;
}
#else
#define SPG__SELF_INLINE 0
struct spg__shard *spg__shard_self(void);
#endif
void spg__shard_set_self(struct spg__shard *shard);

static inline struct spg__shard *spg__shard_at(int id)
{
	return &spg__sched.shards[id];
}

/* 0 or -ENOMEM. Before any shard thread runs. */
int spg__sched_init(const struct spg__sched_conf *conf, const struct spg__poller *poller);
/* After all shard threads have ended. */
void spg__sched_fini(void);

/* The body of a shard's thread, between the opening and the closing of its ring. */
void spg__shard_loop(struct spg__shard *shard);

/* All loops end as soon as they find nothing to do. No coroutine lives. */
void spg__sched_exit(void);

/* Where a new coroutine goes. */
enum spg__place_kind { SPG__PLACE_ANY, SPG__PLACE_SPREAD, SPG__PLACE_PIN, SPG__PLACE_PREFER };

struct spg__spawn {
	enum spg__coro_kind kind;
	union {
		void (*fn)(void *);
		void *(*start)(void *);
	};
	void *arg;
	/* A reference is taken over on success. */
	struct spg__ctx *ctx;
	enum spg__place_kind place;
	int shard;
	unsigned stack_class;
	const char *name;
	const void *creator;
	/* Receives the new coroutine's id before it can run; may be NULL. */
	uint64_t *id;
};

/* 0; -ENOMEM; -EAGAIN above coroutines_max; -ESRCH without a running runtime. */
int spg__coro_spawn(const struct spg__spawn *spawn);

/* Ends a coroutine's locals; set by runtime/. */
extern void (*spg__coro_locals_end)(struct spg__coro *coro);

/* The running coroutine, or NULL. */
struct spg__coro *spg__coro_self(void);

void spg__coro_yield(void);

/* Puts a coroutine that is ready on the right queue; home: a shard that must run it, or -1. */
void spg__coro_ready(struct spg__coro *coro, int home);

/* As spg__unpark, by the completion of the coroutine's own operation: it may be stolen again. */
void spg__unpark_completed(struct spg__coro *coro);

/* Leaves the running coroutine; returns when it is resumed, maybe on another shard. */
void spg__coro_leave(struct spg__shard *shard, struct spg__coro *self, enum spg__commit commit);

/* Around the kernel's wait of the shard's own thread (DL1). */
static inline void spg__shard_nap(struct spg__shard *shard)
{
	/* seq_cst [DL-a]: with spg__deadlock_look(). */
	atomic_store_explicit(&shard->naps, spg__count_read(&shard->naps) + 1, memory_order_seq_cst);
}

/* Wakes the shard if it sleeps. Any thread. */
void spg__shard_wake(struct spg__shard *shard);

/* Runs the errand on that shard's thread, soon. Any thread inside enter/leave_foreign, or a shard. */
void spg__shard_errand(struct spg__shard *shard, struct spg__errand *errand);

/* A foreign thread will touch shards: keeps the runtime from being torn down. NULL: none is running. */
struct spg__shard *spg__shard_enter_foreign(void);
void spg__shard_leave_foreign(void);

/* Coroutines spawned and not ended: 0 is exact when nothing else can spawn. */
uint64_t spg__coros_live(void);

static inline uint64_t spg__random(struct spg__shard *shard)
{
	uint64_t x = shard->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	shard->random = x;
	return x;
}

#endif
