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
 */
#include "runtime/config.h"
#include "runtime/dump.h"
#include "runtime/dump_signal.h"
#include "runtime/spawn.h"
#include "runtime/stall.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "coro/overflow.h"
#include "io/fdtab.h"
#include "io/ring.h"
#include "sched/cancel.h"
#include "sched/offload.h"
#include "sched/park.h"
#include "sched/thread.h"
#include "sched/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define IOWQ_WORKERS_MAX 64
/* Names of coroutines that did not end in time, at most. */
#define STUCK_NAMES_MAX 32

enum state { IDLE, STARTING, RUNNING, STOPPING, STUCK };

static struct {
	_Atomic int state;
	spg_config cfg;
	unsigned shards;
	struct spg__ring *rings;
	bool by_run;
	/* Threads tell each other what happened, under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	int open_err;
	unsigned opened;
	bool main_ended, drained;
	_Atomic int64_t exit_value; /* NO_VALUE until somebody fixed it */
} rt = { .mutex = PTHREAD_MUTEX_INITIALIZER };

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
	struct spg__ring_conf conf = { .entries = rt.cfg.ring_entries, .iowq_workers_max = IOWQ_WORKERS_MAX };
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
	for (unsigned i = 0; i < count; i++)
		pthread_join(spg__shard_at((int)i)->thread, NULL);
	for (unsigned i = 0; i < count; i++)
		spg__ring_close(&rt.rings[i]); /* G2 */
}

static void explain_ring(int err)
{
	const char *what = err == -EPERM || err == -EACCES ?
				   "forbidden: see sysctl kernel.io_uring_disabled, or the container's seccomp profile" :
			   err == -ENOMEM ? "no memory for the ring: raise the memlock limit (ulimit -l)" :
			   err == -ENOSYS ? "not in this kernel, or disabled: Linux 5.18 or newer is needed" :
			   err == -EMFILE || err == -ENFILE ? "out of descriptors (ulimit -n)" :
							      "the kernel refused the set-up";

	fprintf(stderr, "spg: cannot set up io_uring: %s: %s\n", strerrordesc_np(-err), what);
}

static void release_parts(void)
{
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
		.steal = rt.cfg.steal,
		.steal_batch = rt.cfg.steal_batch,
		.steal_probe = rt.cfg.steal_probe,
		.steal_backoff_min_ns = rt.cfg.steal_backoff_min_ns,
		.steal_backoff_max_ns = rt.cfg.steal_backoff_max_ns,
		.spin_ns = rt.cfg.spin_ns,
		.timer_slack_ns = rt.cfg.timer_slack_ns,
		.run_budget = rt.cfg.run_budget,
		.coroutines_max = rt.cfg.coroutines_max,
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
	err = spg__fdtab_init();
	if (err == 0)
		err = spg__sched_init(&sched, &spg__ring_poller);
	if (err == 0)
		err = first_stack();
	if (err == 0)
		err = spg__offload_init(&offload);
	if (err < 0) {
		spg__stacks_fini();
		spg__free(rt.rings);
		rt.rings = NULL;
		return err;
	}
	spg__sched.coro_ended = coro_ended;
	spg__fdtab_start();
	spg__dump_conf(rt.cfg.stall_ns > 0 ? rt.cfg.kick_signal : 0);
	if (rt.cfg.overflow_report)
		spg__overflow_install();
	return 0;
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
	rt.main_ended = rt.drained = false;
	rt.opened = 0;
	rt.open_err = 0;
	atomic_store_explicit(&rt.exit_value, NO_VALUE, memory_order_relaxed);
	err = spg__config_check(&rt.cfg);
	if (err < 0)
		goto err_state;
	rt.shards = spg__config_shards(&rt.cfg);
	err = start_parts();
	if (err < 0)
		goto err_state;
	while (started < rt.shards && err == 0) {
		err = shard_start(started);
		started += err == 0;
	}
	if (err < 0)
		goto err_shards;
	err = spg__watchdog_start(&(struct spg__watchdog_conf){
		.stall_ns = rt.cfg.stall_ns,
		.kick_signal = rt.cfg.kick_signal,
		.name = rt.cfg.thread_name ? rt.cfg.thread_name : "spg",
		.stalled = spg__stall_conf(&rt.cfg) ? spg__stall_tell : NULL,
	});
	if (err < 0)
		goto err_shards;
	err = spg__dump_signal_start(rt.cfg.dump_signal, rt.cfg.thread_name ? rt.cfg.thread_name : "spg");
	if (err < 0)
		goto err_watchdog;
	atomic_store_explicit(&rt.state, RUNNING, memory_order_release);
	return 0;

err_watchdog:
	spg__watchdog_stop();
err_shards:
	if (rt.opened > started)
		explain_ring(err);
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

	fprintf(stderr, "spg: %llu coroutines did not end within shutdown_grace_ns:\n",
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
	int err = 0;

	pthread_mutex_lock(&rt.mutex);
	while (!rt.drained && err == 0)
		err = pthread_cond_clockwait(&rt.cond, &rt.mutex, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&rt.mutex);
	return spg__coros_live() == 0;
}

/* G3. 0 or -EBUSY. */
static int stop(void)
{
	spg__ctx_end(spg__ctx_root(), -ECANCELED);
	/* seq_cst: coroutines born from here on start interrupted. */
	atomic_store_explicit(&spg__sched.stopping, true, memory_order_seq_cst);
	SPG_CHECK(spg__shard_enter_foreign() != NULL);
	spg__coro_each(interrupt_coro, NULL);
	for (unsigned i = 0; i < rt.shards; i++)
		spg__shard_wake(spg__shard_at((int)i));
	spg__shard_leave_foreign();
	spg__threads_interrupt();
	if (!wait_drained())
		return report_stuck();
	spg__dump_signal_stop();
	spg__watchdog_stop();
	spg__sched_exit();
	join_shards(rt.shards);
	spg__watchdog_unhook();
	release_parts();
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

	fix_value(call->fn(call->arg));
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

int spg_run(const spg_config *cfg, int (*main_fn)(void *), void *arg)
{
	struct main_call call = { .fn = main_fn, .arg = arg };
	struct spg__spawn spawn = { .kind = SPG__KIND_START, .start = main_coro, .arg = &call, .name = "main" };
	int err;

	if (main_fn == NULL)
		return -EINVAL;
	if (spg__shard_self() != NULL)
		return -EALREADY;
	err = start(cfg, true);
	if (err < 0)
		return err;
	spawn.ctx = spg__ctx_root();
	spawn.stack_class = (unsigned)spg__stack_class(0);
	spawn.creator = __builtin_return_address(0);
	err = spg__coro_spawn(&spawn);
	if (err == 0) {
		pthread_mutex_lock(&rt.mutex);
		while (!rt.main_ended)
			pthread_cond_wait(&rt.cond, &rt.mutex);
		pthread_mutex_unlock(&rt.mutex);
	} else {
		fix_value(err);
	}
	atomic_store_explicit(&rt.state, STOPPING, memory_order_release);
	err = stop();
	return err < 0 ? err : (int)atomic_load_explicit(&rt.exit_value, memory_order_acquire);
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
