/*
 * spg/runtime.h - starting, stopping and configuring the runtime.
 */
#ifndef SPG_RUNTIME_H
#define SPG_RUNTIME_H

#include <spg/base.h>

/*
 * fork(2) while a runtime is alive: the child has no runtime and cannot start one (-EALREADY). A
 * coroutine that forks goes on in the child as a thread that is no shard: it may leave blocks and
 * functions, call what needs no runtime, exec and _exit; what needs one says -ESRCH, and its own
 * function's end is the child's, with status 0. What other coroutines and threads held stays
 * held, as always with fork: only exec, _exit and async-signal-safe calls are certain. The ring's
 * descriptors are closed there, and signals the library blocked for its threads are not blocked.
 * A fork waits while another thread is opening or closing rings in spg_start or spg_stop.
 */

SPG__EXTERN_C_BEGIN

/* What a deadlock under spg_run does (spg_config.deadlock): it is reported and ends spg_run, or nothing. */
enum { SPG_DEADLOCK_REPORT, SPG_DEADLOCK_IGNORE };

/* A coroutine that computes for long, or blocks its thread, as the watchdog finds it. Valid during the call that gets it. */
typedef struct spg_stall {
	int shard;		   /* whose other coroutines wait */
	uint64_t id;		   /* the coroutine's */
	const char *name;	   /* never NULL */
	const void *fn;		   /* the function it was spawned for */
	int64_t running_ns;	   /* so far; by few, one after the other, if they are long */
	const void *const *frames; /* return addresses, the innermost first */
	unsigned frames_count;	   /* 0: not known, as without kick_signal */
	uint64_t left_out;	   /* stalls that were not told since the last call */
	const char *blocked_in;	   /* the system call its thread slept in: "read"; NULL: none, it computes */
} spg_stall;

/*
 * The runtime's configuration. spg_config_init() fills in the defaults, in brackets here,
 * then the environment: the variable of a field is SPG_ and its name in capitals
 * (SPG_SHARDS, SPG_SPIN_NS ...), but SPG_STACK for stack_size and SPG_STALL for stall_ns.
 *
 *	times     ns; or with a suffix ns, us, ms, s, m
 *	sizes     bytes; counts; or with a suffix k, m (1024, 1048576)
 *	bool      1 true yes on, 0 false no off
 *	deadlock  SPG_DEADLOCK=report, ignore
 *	debug     SPG_DEBUG="leaks,schedtrace=1000ms,migrate,stalls,stacks,locks": words with commas between,
 *		  which <spg/debug.h> explains;
 *		  leaks: what was not given back is told at the end (docs/leaks.md)
 *	disable   SPG_DISABLE="defer_taskrun,guard_install,op:statx": the same
 *
 * A value that cannot be is -EINVAL from spg_run and spg_start, which name the field on
 * stderr. Strings are borrowed while the runtime runs.
 */
typedef struct spg_config {
	unsigned shards;	      /* [0] 0: one per CPU of the affinity mask; at most SPG_SHARDS_MAX */
	bool pin_shards;	      /* [false] each shard's thread to one CPU, best effort */
	const char *cpus;	      /* [NULL] "0,2-3": the CPUs shards may use; NULL: the affinity mask */
	size_t stack_size;	      /* [256 KiB] bytes reserved per coroutine, guard included; 16 KiB to 1 GiB */
	unsigned stack_cache;	      /* [16384] free stacks that keep their pages */
	uint64_t coroutines_max;      /* [0] that live at once; 0: no limit */
	unsigned ring_entries;	      /* [256] submission queue of each ring; 8 to 32768 */
	unsigned sqpoll_idle_ms;      /* [0] before the kernel's polling thread sleeps; 0: no such thread */
	bool steal;		      /* [true] idle shards take runnable coroutines from others */
	unsigned steal_batch;	      /* [32] most coroutines of one steal; 1 to 64 */
	unsigned steal_probe;	      /* [4] victims looked at before the fullest is chosen; from 1 */
	int64_t steal_backoff_min_ns; /* [1 us] first pause after a lost race; doubles */
	int64_t steal_backoff_max_ns; /* [32 us] up to this */
	int64_t spin_ns;	      /* [20 us] an idle shard looks for work so long before it sleeps; 0: never */
	unsigned run_budget;	      /* [64] coroutines run between two looks at the ring; from 1 */
	int64_t timer_slack_ns;	      /* [10 us] for each timer due soon, up to 25: how late a sleep may end */
	unsigned blocking_min;	      /* [0] threads the blocking pool keeps; at most blocking_max */
	unsigned blocking_max;	      /* [64] threads it may have; 1 to 4096 */
	unsigned blocking_queue;      /* [65536] jobs that may wait for one; from 1 */
	uint64_t calls_max;	      /* [65536] of spg_call in flight; more are refused */
	unsigned msg_queue;	      /* [4096] messages queued from one source to a lane of a shard; 1 to 1048576 */
	int64_t stall_ns;	      /* [10 ms] a coroutine that computes longer is a stall */
	/*
	 * [SIGURG] sent to a stalled shard's thread; 0: off. A handler that was there before spg_run is
	 * called too; one set later takes its place. What SA_RESTART does not cover, as poll and
	 * nanosleep (signal(7)), may return EINTR in a coroutine that stays there for stall_ns.
	 */
	int kick_signal;
	bool overflow_report;	      /* [true] a handler for SIGSEGV and SIGBUS that names overflown stacks */
	int dump_signal;	      /* [0] makes the process dump its coroutines on stderr; 0: off */
	/*
	 * [NULL] told of stalls: when one is found, and again when it has lasted twice as long, but
	 * once a second at most. On the watchdog's thread: it must not block for long.
	 * SPG_DEBUG=stalls prints the same on stderr.
	 */
	void (*stall_fn)(const spg_stall *stall, void *arg);
	void *stall_arg; /* [NULL] for stall_fn */
	int64_t shutdown_grace_ns;    /* [5 s] for coroutines to end after main has */
	int deadlock;		      /* [SPG_DEADLOCK_REPORT] */
	const char *thread_name;      /* ["spg"] of shards: "<name>-0"; 10 bytes of it show */
	const char *debug;	      /* [NULL] what to tell on stderr, see above; NULL: nothing */
	const char *disable;	      /* [NULL] kernel features not to use, see above; NULL: use all */
} spg_config;

/**
 * spg_config_init - the defaults, then the SPG_* environment variables.
 * @cfg: filled
 *
 * Return: nothing; a malformed variable is refused by spg_run and spg_start.
 * Cancellation: none. Threads: any. Allocates: nothing; strings are the environment's.
 * Source: -. Since: 0.1.
 */
SPG_API void spg_config_init(spg_config *cfg);

/**
 * spg_run - start the runtime, run main_fn as the main coroutine, stop it.
 * @cfg:     NULL: spg_config_init's values
 * @main_fn: its value is returned, unless spg_exit fixed another
 * @arg:     passed to main_fn
 *
 * The caller is none of the shards and waits. When main_fn has returned the root context
 * is canceled: blocking calls of what is left return -ECANCELED. All coroutines are
 * waited for, up to shutdown_grace_ns.
 *
 * When every coroutine waits and nothing is left that could wake one (no operation, timer
 * or job of the blocking pool, no subscription to a signal, and no thread in the process
 * but the caller and the library's own), that is reported on stderr, the root context is
 * canceled, and all is waited for in the same way. docs/deadlock.md says more.
 *
 * Return: main's value, or
 *   -EDEADLK   a deadlock was reported. What no cancel ends (spg_mutex_lock ...) is named
 *              as for -EBUSY, and stays
 *   -EALREADY  a runtime is running (or was, where this process was forked), or the caller is a coroutine
 *   -EINVAL    a bad value in cfg or the environment (named on stderr), or main_fn NULL
 *   -EBUSY     coroutines outlived the grace; they are named on stderr and stay
 *   -ENOMEM    no memory
 *   other      the errno of io_uring's set-up, explained by one line on stderr
 * Cancellation: none. Threads: foreign only. Allocates: yes, all freed at the end.
 * Source: io_uring_setup(2). Since: 0.1.
 */
SPG_API int spg_run(const spg_config *cfg, int (*main_fn)(void *), void *arg);

/**
 * spg_start - start the runtime in the background of an existing program.
 * @cfg: borrowed, copied; its strings must live until spg_stop; NULL: spg_config_init's values
 *
 * Return: 0, or
 *   -EALREADY  a runtime is running (or was, where this process was forked), or the caller is a coroutine
 *   -EINVAL    a bad value in cfg or the environment, named on stderr
 *   -ENOMEM    no memory
 *   other      the errno of io_uring's set-up, explained by one line on stderr
 * Cancellation: none. Threads: foreign only. Allocates: yes, until spg_stop.
 * Source: io_uring_setup(2). Since: 0.1.
 */
SPG_API int spg_start(const spg_config *cfg);

/**
 * spg_stop - stop what spg_start started.
 *
 * Cancels the root context, ends once with -ECANCELED the spg waits that foreign
 * threads are in at that moment, waits for all coroutines up to shutdown_grace_ns.
 *
 * Return: 0, or
 *   -EDEADLK  called by a coroutine
 *   -ESRCH    no runtime is running
 *   -EINVAL   it was started by spg_run: use spg_exit
 *   -EBUSY    coroutines outlived the grace; they are named on stderr and stay
 * Cancellation: none. Threads: foreign only. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API int spg_stop(void);

/**
 * spg_exit - fix spg_run's value and cancel the root context.
 * @value: what spg_run returns; the first call wins
 *
 * Returns to the caller. main_fn is awaited like every other coroutine.
 *
 * Return: nothing. Without a running runtime it does nothing.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_exit(int value);

/**
 * spg_running - is a runtime running, started and not yet stopping?
 *
 * Return: true or false.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API bool spg_running(void);

SPG__EXTERN_C_END

#endif
