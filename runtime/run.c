/*
 * Starting and stopping the runtime.
 *
 * G1  state: IDLE -> STARTING -> RUNNING -> STOPPING -> IDLE, or STOPPING -> STUCK
 *     when coroutines outlive the grace; then everything stays allocated.
 * G2  Rings are opened on their shard's thread, one shard after the other, and closed
 *     by the stopping thread after all shard threads are joined: nobody wakes a closed
 *     ring.
 * G3  Stopping: end the root context, interrupt every coroutine and every foreign
 *     wait, wait until no coroutine lives (counted by idle shards), let the loops end.
 * G4  A deadlock is found by the watchdog and reported by spg_run's thread, which then stops.
 *     It is looked for as soon as main is on a queue: until then spg_run holds. Proven twice more
 *     after all were canceled, what is left cannot end: the second of these began after that.
 * G5  A fork finds each ring open or closed, not halfway: its child closes descriptors by
 *     what the memory says. No coroutine can hold up who opens or closes them.
 */
#include "runtime/call.h"
#include "runtime/config.h"
#include "runtime/signal.h"
#include "runtime/schedtrace.h"
#include "runtime/trace.h"
#include "runtime/dump.h"
#include "runtime/dump_signal.h"
#include "runtime/spawn.h"
#include "runtime/locks.h"
#include "runtime/report.h"
#include "runtime/stack_use.h"
#include "runtime/stall.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "coro/leak.h"
#include "coro/overflow.h"
#include "io/fdtab.h"
#include "io/ring.h"
#include "runtime/msg.h"
#include "sched/cancel.h"
#include "sched/deadlock.h"
#include "sched/fork.h"
#include "sched/offload.h"
#include "sched/park.h"
#include "sched/thread.h"
#include "sched/watchdog.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IOWQ_WORKERS_MAX 64
/* Names of coroutines that did not end in time, at most. */
#define STUCK_NAMES_MAX 32
/* How long what is about to end may take, when leaks are looked for. */
#define LEAKS_WAIT_NS ((int64_t)1000000000)

enum state { IDLE, STARTING, RUNNING, STOPPING, STUCK, FORKED };

static struct {
	_Atomic int state;
	spg_config cfg;
	struct spg__debug debug;
	unsigned shards;
	struct spg__ring *rings;
	bool by_run;
	/* Threads tell each other what happened, under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	int open_err;
	unsigned opened;
	bool main_ended, drained, deadlocked;
	unsigned proofs; /* of a deadlock, so far */
	/* Rings are opened and closed under it, and no fork comes between (G5). */
	pthread_mutex_t rings_mutex;
	bool forks_watched;
	/* Of who started the runtime. */
	sigset_t mask;
	_Atomic int64_t exit_value; /* NO_VALUE until somebody fixed it */
} rt = { .mutex = PTHREAD_MUTEX_INITIALIZER, .rings_mutex = PTHREAD_MUTEX_INITIALIZER };

#define NO_VALUE INT64_MIN

struct main_call {
	int (*fn)(void *);
	void *arg;
};

static void pin_shard(unsigned id)
{
	cpu_set_t allowed, one;
	int nth, seen = 0;

	if (rt.cfg.cpus != NULL && rt.cfg.cpus[0] != '\0')
		(void)spg__cpu_list(rt.cfg.cpus, &allowed);
	else if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return;
	if (!rt.cfg.pin_shards) {
		/* A CPU list without pinning confines all shards to the list. */
		if (rt.cfg.cpus != NULL && rt.cfg.cpus[0] != '\0')
			(void)sched_setaffinity(0, sizeof(allowed), &allowed);
		return;
	}
	nth = (int)id % CPU_COUNT(&allowed);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || seen++ != nth)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		(void)sched_setaffinity(0, sizeof(one), &one); /* best effort: cpusets may forbid it */
		return;
	}
}

static void thread_setup(unsigned id)
{
	char name[16];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	SPG_CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	snprintf(name, sizeof(name), "%.10s-%u", rt.cfg.thread_name ? rt.cfg.thread_name : "spg", id);
	(void)pthread_setname_np(pthread_self(), name);
	pin_shard(id);
}

static void *shard_main(void *arg)
{
	struct spg__shard *shard = arg;
	struct spg__ring_conf conf = {
		.entries = rt.cfg.ring_entries,
		.iowq_workers_max = IOWQ_WORKERS_MAX,
		.sqpoll_idle_ms = rt.cfg.sqpoll_idle_ms,
	};
	int err;

	thread_setup((unsigned)shard->id);
	err = spg__altstack_enter();
	if (err == 0) {
		err = spg__ring_open(&rt.rings[shard->id], shard, &conf);
		if (err < 0)
			spg__altstack_leave();
	}
	pthread_mutex_lock(&rt.mutex);
	rt.open_err = err;
	rt.opened++;
	pthread_cond_broadcast(&rt.cond);
	pthread_mutex_unlock(&rt.mutex);
	if (err < 0)
		return NULL;
	spg__shard_loop(shard);
	spg__ring_drain(&rt.rings[shard->id]);
	spg__altstack_leave();
	return NULL;
}

/* Starts one shard's thread and waits until its ring is open. */
static int shard_start(unsigned id)
{
	struct spg__shard *shard = spg__shard_at((int)id);
	int err = pthread_create(&shard->thread, NULL, shard_main, shard);

	if (err != 0)
		return -err;
	pthread_mutex_lock(&rt.mutex);
	while (rt.opened <= id)
		pthread_cond_wait(&rt.cond, &rt.mutex);
	err = rt.open_err;
	pthread_mutex_unlock(&rt.mutex);
	if (err < 0)
		pthread_join(shard->thread, NULL);
	return err;
}

static int start_shards(unsigned *started)
{
	int err = 0;

	pthread_mutex_lock(&rt.rings_mutex);
	while (*started < rt.shards && err == 0) {
		err = shard_start(*started);
		*started += err == 0;
	}
	pthread_mutex_unlock(&rt.rings_mutex);
	return err;
}

/* On a shard that idles while we stop: the last one to come sees that none lives. */
static void coro_ended(void)
{
	if (spg__coros_live() != 0)
		return;
	pthread_mutex_lock(&rt.mutex);
	rt.drained = true;
	pthread_cond_broadcast(&rt.cond);
	pthread_mutex_unlock(&rt.mutex);
}

static void join_shards(unsigned count)
{
	pthread_mutex_lock(&rt.rings_mutex);
	for (unsigned i = 0; i < count; i++)
		pthread_join(spg__shard_at((int)i)->thread, NULL);
	for (unsigned i = 0; i < count; i++)
		spg__ring_close(&rt.rings[i]); /* G2 */
	pthread_mutex_unlock(&rt.rings_mutex);
}

static void fork_prepare(void)
{
	pthread_mutex_lock(&rt.rings_mutex);
	spg__signals_hold();
}

static void fork_parent(void)
{
	spg__signals_release();
	pthread_mutex_unlock(&rt.rings_mutex);
}

/* sched/fork.h. With no runtime alive the child may start one. */
static void fork_child(void)
{
	fork_parent();
	/* relaxed: there is no other thread. */
	if (atomic_load_explicit(&rt.state, memory_order_relaxed) == IDLE)
		return;
	spg__rings_forked();
	spg__signals_forked();
	spg__sched_forked(&rt.mask);
	atomic_store_explicit(&rt.state, FORKED, memory_order_relaxed);
}

static int watch_forks(void)
{
	int err = rt.forks_watched ? 0 : -pthread_atfork(fork_prepare, fork_parent, fork_child);

	rt.forks_watched = err == 0;
	return err;
}

static void explain_ring(int err)
{
	fprintf(stderr, "spg: cannot set up io_uring: %s: %s\n", strerrordesc_np(-err),
		spg__features_explain(err));
}

static void release_parts(void)
{
	spg__msg_fini();
	spg__signals_fini();
	spg__offload_fini();
	spg__sched_fini();
	spg__stacks_fini();
	spg__fdtab_fini();
	if (rt.cfg.overflow_report)
		spg__overflow_remove();
	spg__free(rt.rings);
	rt.rings = NULL;
}

/*
 * The first stack is there before anything runs: a coroutine that gets none later waits for
 * one to come free, and the main coroutine would wait for ever.
 */
static int first_stack(void)
{
	struct spg__stack_cache cache = { 0 };
	struct spg__stack *stack = spg__stack_get(&cache, (unsigned)spg__stack_class(0));

	if (stack == NULL)
		return -ENOMEM;
	spg__stack_put(&cache, stack);
	spg__stack_cache_flush(&cache);
	return 0;
}

static int start_parts(void)
{
	struct spg__stacks_conf stacks = {
		.stack_bytes = rt.cfg.stack_size,
		.cached_max = rt.cfg.stack_cache,
		.no_guard_install = !spg__features.guard_install,
		.no_process_madvise = !spg__features.process_madvise,
	};
	struct spg__sched_conf sched = {
		.shards = rt.shards,
		.cpus = spg__config_cpus(&rt.cfg),
		.steal = rt.cfg.steal,
		.steal_batch = rt.cfg.steal_batch,
		.steal_probe = rt.cfg.steal_probe,
		.steal_backoff_min_ns = rt.cfg.steal_backoff_min_ns,
		.steal_backoff_max_ns = rt.cfg.steal_backoff_max_ns,
		.spin_ns = rt.cfg.spin_ns,
		.timer_slack_ns = rt.cfg.timer_slack_ns,
		.run_budget = rt.debug.migrate ? 1 : rt.cfg.run_budget,
		.coroutines_max = rt.cfg.coroutines_max,
		.migrate = rt.debug.migrate,
		.leaves = rt.debug.locks ? spg__locks_start() : NULL,
	};
	struct spg__offload_conf offload = {
		.threads_min = rt.cfg.blocking_min,
		.threads_max = rt.cfg.blocking_max,
		.queue_max = rt.cfg.blocking_queue,
		.name = rt.cfg.thread_name ? rt.cfg.thread_name : "spg",
	};
	int err = spg__stacks_init(&stacks);

	if (err < 0)
		return err;
	rt.rings = spg__calloc(rt.shards, sizeof(*rt.rings));
	if (rt.rings == NULL)
		return -ENOMEM;
	spg__msg_init(rt.cfg.msg_queue);
	err = spg__fdtab_init();
	if (err == 0)
		err = first_stack();
	if (err == 0)
		err = spg__offload_init(&offload);
	/* Last: foreign threads may come in from here on. */
	if (err == 0)
		err = spg__sched_init(&sched, &spg__ring_poller);
	if (err < 0) {
		spg__stacks_fini();
		spg__free(rt.rings);
		rt.rings = NULL;
		return err;
	}
	spg__trace_conf(rt.debug.trace_events);
	spg__sched.coro_ended = coro_ended;
	spg__fdtab_start();
	spg__calls_init(rt.cfg.calls_max);
	spg__dump_conf(rt.cfg.stall_ns > 0 ? rt.cfg.kick_signal : 0);
	if (rt.cfg.overflow_report)
		spg__overflow_install(spg__report_overflow);
	if (rt.debug.stacks)
		spg__stack_use_start();
	return 0;
}

/* The watchdog's word for it (G4). When main has ended the rest is canceled anyway. */
static void deadlocked(void)
{
	pthread_mutex_lock(&rt.mutex);
	rt.deadlocked |= !rt.main_ended;
	rt.proofs++;
	pthread_cond_broadcast(&rt.cond);
	pthread_mutex_unlock(&rt.mutex);
}

static int start(const spg_config *cfg, bool by_run)
{
	int idle = IDLE, err;
	unsigned started = 0;

	if (!atomic_compare_exchange_strong_explicit(&rt.state, &idle, STARTING, memory_order_acq_rel,
						     memory_order_relaxed))
		return -EALREADY;
	if (cfg != NULL)
		rt.cfg = *cfg;
	else
		spg_config_init(&rt.cfg);
	rt.by_run = by_run;
	SPG_CHECK(pthread_sigmask(SIG_SETMASK, NULL, &rt.mask) == 0);
	rt.main_ended = rt.drained = rt.deadlocked = false;
	rt.opened = 0;
	rt.open_err = 0;
	atomic_store_explicit(&rt.exit_value, NO_VALUE, memory_order_relaxed);
	err = spg__config_check(&rt.cfg);
	if (err < 0)
		goto err_state;
	rt.shards = spg__config_shards(&rt.cfg);
	(void)spg__debug_parse(rt.cfg.debug, &rt.debug, &(const char *){ NULL }); /* checked */
	err = watch_forks();
	if (err == 0)
		err = start_parts();
	if (err < 0)
		goto err_state;
	err = start_shards(&started);
	if (err < 0)
		goto err_shards;
	err = spg__watchdog_start(&(struct spg__watchdog_conf){
		.stall_ns = rt.cfg.stall_ns,
		.kick_signal = rt.cfg.kick_signal,
		.name = rt.cfg.thread_name ? rt.cfg.thread_name : "spg",
		.deadlocked = by_run && rt.cfg.deadlock == SPG_DEADLOCK_REPORT ? deadlocked : NULL,
		.stalled = spg__stall_conf(&rt.cfg, rt.debug.stalls) ? spg__stall_tell : NULL,
	});
	if (err < 0)
		goto err_shards;
	err = spg__dump_signal_start(rt.cfg.dump_signal, rt.cfg.thread_name ? rt.cfg.thread_name : "spg");
	if (err < 0)
		goto err_watchdog;
	spg__signals_start(rt.cfg.kick_signal, rt.cfg.dump_signal);
	if (rt.debug.leaks)
		spg__leaks_begin();
	atomic_store_explicit(&rt.state, RUNNING, memory_order_release);
	/* Without its thread there are no lines; the runtime runs all the same. */
	if (rt.debug.schedtrace_ns > 0)
		(void)spg__schedtrace_start(rt.debug.schedtrace_ns);
	return 0;

err_watchdog:
	spg__watchdog_stop();
err_shards:
	if (rt.opened > started)
		explain_ring(err);
	spg__msg_close(); /* a thread may wait for room already */
	spg__sched_exit();
	join_shards(started);
	spg__watchdog_unhook();
	release_parts();
err_state:
	atomic_store_explicit(&rt.state, IDLE, memory_order_release);
	return err;
}

static void interrupt_coro(struct spg__coro *coro, void *arg)
{
	(void)arg;
	if (atomic_load_explicit(&coro->life, memory_order_acquire) == SPG__LIFE_FREE)
		return;
	/* relaxed: comes with the unpark (P4). */
	atomic_store_explicit(&coro->waiter.interrupted, true, memory_order_relaxed);
	spg__unpark(&coro->waiter);
}

static void name_coro(struct spg__coro *coro, void *arg)
{
	unsigned *left = arg;

	if (*left == 0 || atomic_load_explicit(&coro->life, memory_order_acquire) == SPG__LIFE_FREE)
		return;
	(*left)--;
	fprintf(stderr, "spg:   coroutine %llu \"%s\", function %p\n", (unsigned long long)coro->id,
		coro->name, *(void **)(void *)&coro->fn);
}

static int report_stuck(void)
{
	unsigned left = STUCK_NAMES_MAX;

	fprintf(stderr, rt.deadlocked ? "spg: %llu coroutines cannot end:\n" :
					"spg: %llu coroutines did not end within shutdown_grace_ns:\n",
		(unsigned long long)spg__coros_live());
	spg__coro_each(name_coro, &left);
	atomic_store_explicit(&rt.state, STUCK, memory_order_release);
	return -EBUSY;
}

/* true: every coroutine has ended. */
static bool wait_drained(void)
{
	struct timespec until = spg__clock_timespec(
		spg__clock_after_ns(spg__clock_ns(), rt.cfg.shutdown_grace_ns));
	unsigned canceled;
	bool drained;
	int err = 0;

	pthread_mutex_lock(&rt.mutex);
	canceled = rt.proofs;
	drained = rt.drained && spg__coros_live() == 0;
	while (!drained && err == 0 && (!rt.deadlocked || rt.proofs - canceled < 2)) { /* G4 */
		rt.drained = false;
		err = pthread_cond_clockwait(&rt.cond, &rt.mutex, CLOCK_MONOTONIC, &until);
		/* A foreign thread may have spawned since: its shard will tell again. */
		drained = rt.drained && spg__coros_live() == 0;
	}
	pthread_mutex_unlock(&rt.mutex);
	/* Whoever is spawned from here on is waited for by spg__sched_exit. */
	return drained || spg__coros_live() == 0;
}

static void note_leak(struct spg__coro *coro, void *arg)
{
	(void)arg;
	if (atomic_load_explicit(&coro->life, memory_order_acquire) != SPG__LIFE_FREE)
		spg__leak_made(SPG__LEAK_CORO, coro->id, coro->creator);
}

/* Coroutines that main has not waited for. What is about to end may end first. */
static void note_leaks(void)
{
	int64_t until_ns = spg__clock_after_ns(spg__clock_ns(), LEAKS_WAIT_NS);
	uint64_t sum;

	while (!spg__shards_nap(&sum) && spg__clock_ns() < until_ns)
		usleep(1000);
	spg__coro_each(note_leak, NULL);
}

/* G3. 0 or -EBUSY. */
static int stop(void)
{
	if (spg__unlikely(atomic_load_explicit(&spg__leaks_on, memory_order_relaxed)) && !rt.deadlocked)
		note_leaks();
	spg__deadlock_hold(); /* we wake, and are no shard */
	spg__ctx_end(spg__ctx_root(), -ECANCELED);
	spg__signals_close();
	/* seq_cst: coroutines born from here on start interrupted. */
	atomic_store_explicit(&spg__sched.stopping, true, memory_order_seq_cst);
	SPG_CHECK(spg__shard_enter_foreign() != NULL);
	spg__coro_each(interrupt_coro, NULL);
	for (unsigned i = 0; i < rt.shards; i++)
		spg__shard_wake(spg__shard_at((int)i));
	spg__threads_interrupt();
	spg__msg_close(); /* contexts have ended: their error comes first */
	spg__shard_leave_foreign();
	spg__schedtrace_stop();
	spg__deadlock_release();
	if (!wait_drained())
		return report_stuck();
	spg__dump_signal_stop();
	spg__watchdog_stop();
	spg__sched_exit();
	join_shards(rt.shards);
	spg__trace_runtime_ended();
	spg__watchdog_unhook();
	release_parts();
	spg__stack_use_tell();
	if (spg__unlikely(atomic_load_explicit(&spg__leaks_on, memory_order_relaxed)))
		spg__leaks_end();
	atomic_store_explicit(&rt.state, IDLE, memory_order_release);
	return 0;
}

static void fix_value(int value)
{
	int64_t none = NO_VALUE;

	/* acq_rel: the first one wins. */
	atomic_compare_exchange_strong_explicit(&rt.exit_value, &none, value, memory_order_acq_rel,
						memory_order_acquire);
}

static void *main_coro(void *arg)
{
	struct main_call *call = arg;

	int value = call->fn(call->arg);

	spg__user_returned();
	fix_value(value);
	pthread_mutex_lock(&rt.mutex);
	rt.main_ended = true;
	pthread_cond_broadcast(&rt.cond);
	pthread_mutex_unlock(&rt.mutex);
	return NULL;
}

const struct spg__wrapper spg__wrapper_main = {
	.fn = (void (*)(void *))(void (*)(void))main_coro,
	.at = offsetof(struct main_call, fn),
};

static void report_deadlock(void)
{
	fprintf(stderr, "spg: all coroutines are asleep - deadlock!\n");
	(void)spg_dump(STDERR_FILENO);
}

/* Waits until main has ended (0) or the watchdog has proven a deadlock (-EDEADLK). */
static int await_main(void)
{
	bool ended;

	pthread_mutex_lock(&rt.mutex);
	while (!rt.main_ended && !rt.deadlocked)
		pthread_cond_wait(&rt.cond, &rt.mutex);
	ended = rt.main_ended;
	pthread_mutex_unlock(&rt.mutex);
	if (ended)
		return 0;
	report_deadlock();
	return -EDEADLK;
}

int spg_run(const spg_config *cfg, int (*main_fn)(void *), void *arg)
{
	struct main_call call = { .fn = main_fn, .arg = arg };
	struct spg__spawn spawn = { .kind = SPG__KIND_START, .start = main_coro, .arg = &call, .name = "main" };
	int err, stopped, dead = 0;

	if (main_fn == NULL)
		return -EINVAL;
	if (spg__shard_self() != NULL)
		return -EALREADY;
	spg__deadlock_hold(); /* G4 */
	err = start(cfg, true);
	if (err < 0) {
		spg__deadlock_release();
		return err;
	}
	spawn.ctx = spg__ctx_root();
	spawn.stack_class = (unsigned)spg__stack_class(0);
	spawn.creator = __builtin_return_address(0);
	err = spg__coro_spawn(&spawn);
	spg__deadlock_release();
	if (err == 0)
		dead = await_main();
	else
		fix_value(err);
	atomic_store_explicit(&rt.state, STOPPING, memory_order_release);
	stopped = stop();
	if (dead < 0)
		return dead;
	return stopped < 0 ? stopped : (int)atomic_load_explicit(&rt.exit_value, memory_order_acquire);
}

int spg_start(const spg_config *cfg)
{
	return spg__shard_self() != NULL ? -EALREADY : start(cfg, false);
}

int spg_stop(void)
{
	int running = RUNNING;

	if (spg__shard_self() != NULL)
		return -EDEADLK;
	if (atomic_load_explicit(&rt.state, memory_order_acquire) == RUNNING && rt.by_run)
		return -EINVAL;
	if (!atomic_compare_exchange_strong_explicit(&rt.state, &running, STOPPING, memory_order_acq_rel,
						     memory_order_acquire))
		return running == STUCK ? -EBUSY : -ESRCH;
	return stop();
}

void spg_exit(int value)
{
	if (!spg_running())
		return;
	fix_value(value);
	if (spg__shard_self() != NULL) {
		spg__ctx_end(spg__ctx_root(), -ECANCELED);
		spg__coro_each(interrupt_coro, NULL);
	} else if (spg__shard_enter_foreign() != NULL) {
		spg__ctx_end(spg__ctx_root(), -ECANCELED);
		spg__coro_each(interrupt_coro, NULL);
		spg__shard_leave_foreign();
	}
}

bool spg_running(void)
{
	return atomic_load_explicit(&rt.state, memory_order_acquire) == RUNNING;
}
