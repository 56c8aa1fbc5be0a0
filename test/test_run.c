/*
 * Starting, stopping, configuring; and the bad days of starting.
 */
#include "t.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "coro/fault.h"
#include "sched/park.h"
#include "sched/thread.h"

static int forty_two(void *arg)
{
	return arg == NULL ? 42 : *(int *)arg;
}

/* Goal: spg_run returns main's value, again and again, in the shape it found things. */
START_TEST(a_thousand_runs_leak_nothing)
{
	int rounds = t_sanitized() ? 200 : 1000, fds = 0, maps = 0, value = 7;
	size_t rss = 0;
	spg_config cfg = t_config(2);

	for (int i = 1; i <= rounds; i++) {
		T_EQ(spg_run(&cfg, forty_two, &value), 7);
		if (i == rounds / 10) {
			fds = t_fds_count();
			maps = t_maps_count();
			rss = t_rss_bytes();
		}
	}
	T_EQ(t_fds_count(), fds);
	if (t_sanitized())
		return; /* their own memory grows */
	T_OK(t_maps_count() <= maps + 1);
	T_OK(t_rss_bytes() < rss + (1 << 20));
}
END_TEST

static void *parked(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)spg_sleep(3600 * SPG_SEC);
}

static int leave_parked(void *arg)
{
	spg_task **tasks = arg;

	for (int i = 0; i < 100; i++)
		tasks[i] = spg_spawn(NULL, parked, NULL);
	spg_yield();
	return 5;
}

/* Goal: what is left when main ends is canceled and awaited. */
START_TEST(main_ends_and_the_rest_is_canceled)
{
	spg_task *tasks[100];
	spg_config cfg = t_config((unsigned)_i);
	int64_t before = t_now_ns();

	T_EQ(spg_run(&cfg, leave_parked, tasks), 5);
	T_OK(t_now_ns() - before < 3 * SPG_SEC);
	for (int i = 0; i < 100; i++)
		spg_detach(tasks[i]);
}
END_TEST

static int exit_early(void *arg)
{
	(void)arg;
	spg_exit(9);
	spg_exit(10);
	T_EQ(spg_sleep(SPG_SEC), -ECANCELED);
	T_EQ(spg_ctx_err(NULL), -ECANCELED);
	return 11;
}

/* Goal: spg_exit fixes the value, first call wins, and cancels. */
START_TEST(exit_fixes_the_value)
{
	spg_config cfg = t_config((unsigned)_i);

	T_EQ(spg_run(&cfg, exit_early, NULL), 9);
}
END_TEST

static int run_inside(void *arg)
{
	(void)arg;
	T_EQ(spg_run(NULL, forty_two, NULL), -EALREADY);
	T_EQ(spg_start(NULL), -EALREADY);
	T_EQ(spg_stop(), -EDEADLK);
	T_OK(spg_running());
	return 0;
}

static void *start_beside(void *arg)
{
	*(int *)arg = spg_start(NULL);
	return NULL;
}

static int run_beside(void *arg)
{
	pthread_t thread;
	int err = 0;

	(void)arg;
	T_EQ(pthread_create(&thread, NULL, start_beside, &err), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(err, -EALREADY);
	return 0;
}

/* Goal: one runtime at a time. */
START_TEST(one_runtime_at_a_time)
{
	T_OK(!spg_running());
	t_run((unsigned)_i, run_inside, NULL);
	t_run((unsigned)_i, run_beside, NULL);
	T_EQ(spg_run(NULL, NULL, NULL), -EINVAL);
	T_EQ(spg_stop(), -ESRCH);
}
END_TEST

static void *sleep_foreign(void *arg)
{
	*(int *)arg = spg_sleep(3600 * SPG_SEC);
	T_EQ(spg_ctx_err(NULL), 0);
	T_EQ(spg_sleep(SPG_MS), 0); /* later calls work */
	return NULL;
}

static void count_waiting(struct spg__thread *thread, void *arg)
{
	*(int *)arg += atomic_load(&thread->waiter.state) == SPG__PARK_PARKED;
}

static int threads_waiting(void)
{
	int n = 0;

	spg__threads_each(count_waiting, &n);
	return n;
}

/* Goal: start and stop in an existing program; stop ends foreign waits once. */
START_TEST(start_and_stop_around_foreign_threads)
{
	spg_config cfg = t_config((unsigned)_i);
	pthread_t thread;
	int err = 0;

	T_EQ(spg_start(&cfg), 0);
	T_OK(spg_running());
	T_EQ(pthread_create(&thread, NULL, sleep_foreign, &err), 0);
	T_UNTIL(threads_waiting() == 1);
	T_EQ(spg_stop(), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(err, -ECANCELED);
	T_OK(!spg_running());
}
END_TEST

static void *sleep_shielded(void *arg)
{
	SPG_SHIELD_SCOPE();
	(void)arg;
	spg_sleep(300 * SPG_MS);
	return NULL;
}

static int leave_shielded(void *arg)
{
	(void)arg;
	spg_detach(spg_spawn(&(spg_attr){ .name = "stubborn" }, sleep_shielded, NULL));
	spg_yield();
	return 0;
}

/* Goal: coroutines that outlive the grace are named, and -EBUSY wins over main's value. */
START_TEST(the_grace_ends_with_ebusy)
{
	spg_config cfg = t_config((unsigned)_i);
	int pipe_fds[2];
	char text[512] = { 0 };
	pid_t child;

	T_EQ(pipe(pipe_fds), 0);
	child = fork();
	if (child == 0) {
		dup2(pipe_fds[1], STDERR_FILENO);
		cfg.shutdown_grace_ns = 50 * SPG_MS;
		_exit(spg_run(&cfg, leave_shielded, NULL) == -EBUSY ? 0 : 1);
	}
	close(pipe_fds[1]);
	for (ssize_t n, at = 0; (n = read(pipe_fds[0], text + at, sizeof(text) - 1 - (size_t)at)) > 0;)
		at += n;
	int status;
	T_EQ(waitpid(child, &status, 0), child);
	T_EQ(status, 0);
	T_OK(strstr(text, "\"stubborn\"") != NULL);
}
END_TEST

/* Runs in a child whose stderr is caught: what spg_run returned, and what it said. */
static int run_caught(const spg_config *cfg, void (*before)(void), char *text, size_t size)
{
	int pipe_fds[2], status;
	size_t at = 0;
	ssize_t n;
	pid_t child;

	T_EQ(pipe(pipe_fds), 0);
	child = fork();
	if (child == 0) {
		dup2(pipe_fds[1], STDERR_FILENO);
		if (before != NULL)
			before();
		_exit(-spg_run(cfg, forty_two, NULL) & 0xFF);
	}
	close(pipe_fds[1]);
	while ((n = read(pipe_fds[0], text + at, size - 1 - at)) > 0)
		at += (size_t)n;
	text[at] = '\0';
	close(pipe_fds[0]);
	T_EQ(waitpid(child, &status, 0), child);
	T_OK(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static void refused(spg_config cfg, const char *field)
{
	char text[512];

	T_EQ(run_caught(&cfg, NULL, text, sizeof(text)), -EINVAL);
	if (strstr(text, field) == NULL)
		t_fail(__FILE__, __LINE__, "%s is not named: %s", field, text);
}

/* Goal: a bad value is refused and named. */
START_TEST(bad_values_are_refused_and_named)
{
	spg_config cfg;
#define REFUSED(field, value) (cfg = t_config(1), cfg.field = (value), refused(cfg, #field))

	REFUSED(shards, 1000);
	REFUSED(stack_size, 0);
	REFUSED(stack_size, (size_t)-1);
	REFUSED(ring_entries, 1);
	REFUSED(ring_entries, 1 << 20);
	REFUSED(steal_batch, 0);
	REFUSED(steal_probe, 0);
	REFUSED(spin_ns, -1);
	REFUSED(run_budget, 0);
	REFUSED(timer_slack_ns, -1);
	REFUSED(stall_ns, -5);
	REFUSED(kick_signal, 99);
	REFUSED(dump_signal, -1);
	REFUSED(shutdown_grace_ns, -1);
	REFUSED(deadlock, 7);
	REFUSED(cpus, "1-");
	REFUSED(cpus, "zero");
	REFUSED(sqpoll_cpu, -2);
	REFUSED(sqpoll_cpu, 1024);
	REFUSED(disable, "no_such_feature");
	REFUSED(disable, "op:nothing");
	REFUSED(blocking_max, 0);
	REFUSED(blocking_queue, 0);
	cfg = t_config(1);
	cfg.blocking_min = cfg.blocking_max + 1;
	refused(cfg, "blocking_min");
	cfg = t_config(1);
	cfg.steal_backoff_min_ns = cfg.steal_backoff_max_ns + 1;
	refused(cfg, "steal_backoff_min_ns");
}
END_TEST

static void environment(const char *name, const char *value, bool good)
{
	spg_config cfg;
	char text[512];

	setenv(name, value, 1);
	spg_config_init(&cfg);
	if (cfg.shards == 0)
		cfg.shards = 1;
	T_EQ(run_caught(&cfg, NULL, text, sizeof(text)), good ? -(-42 & 0xFF) : -EINVAL);
	if (!good && strstr(text, name) == NULL)
		t_fail(__FILE__, __LINE__, "%s is not named: %s", name, text);
	unsetenv(name);
}

/* Goal: the environment configures; suffixes count; malformed values are refused. */
START_TEST(the_environment_configures)
{
	spg_config cfg;

	setenv("SPG_SHARDS", "3", 1);
	setenv("SPG_STACK", "64k", 1);
	setenv("SPG_STALL", "20ms", 1);
	setenv("SPG_SPIN_NS", "7us", 1);
	setenv("SPG_STEAL", "off", 1);
	setenv("SPG_DEADLOCK", "ignore", 1);
	setenv("SPG_DISABLE", "defer_taskrun", 1);
	spg_config_init(&cfg);
	T_EQ(cfg.shards, 3);
	T_EQ(cfg.stack_size, 65536);
	T_EQ(cfg.stall_ns, 20 * SPG_MS);
	T_EQ(cfg.spin_ns, 7 * SPG_US);
	T_EQ(cfg.steal, 0);
	T_EQ(cfg.deadlock, SPG_DEADLOCK_IGNORE);
	T_STR(cfg.disable, "defer_taskrun");
	environment("SPG_SHARDS", "2", true);
	environment("SPG_SHARDS", "-1", false);
	environment("SPG_SHARDS", "2x", false);
	environment("SPG_STACK", "lots", false);
	environment("SPG_STALL", "10parsecs", false);
	environment("SPG_STEAL", "maybe", false);
	environment("SPG_DEADLOCK", "panic", false);
}
END_TEST

static int in_burst(void *arg)
{
	spg_stats_t *stats = arg;

	T_EQ(spg_stats(stats), 0);
	return (int)stats->config.run_budget;
}

/* Goal: the preset sets what it names and runs; the environment wins; unknown presets are refused. */
START_TEST(a_preset_for_throughput)
{
	static spg_stats_t stats;
	spg_config plain, cfg;

	spg_config_init(&plain);
	cfg = plain;
	spg_config_throughput(&cfg, 7);
	T_EQ(cfg.ring_entries, 4096);
	T_EQ(cfg.run_budget, 256);
	T_EQ(cfg.timer_slack_ns, 40 * SPG_US);
	T_EQ(cfg.sqpoll_idle_ms, 7);
	cfg.ring_entries = plain.ring_entries;
	cfg.run_budget = plain.run_budget;
	cfg.timer_slack_ns = plain.timer_slack_ns;
	cfg.sqpoll_idle_ms = plain.sqpoll_idle_ms;
	T_EQ(memcmp(&cfg, &plain, sizeof(cfg)), 0); /* and nothing else */
	spg_config_throughput(&cfg, 0);
	T_EQ(cfg.sqpoll_idle_ms, 0);
	T_EQ(spg_run(&cfg, in_burst, &stats), 256);
	setenv("SPG_RUN_BUDGET", "9", 1);
	setenv("SPG_SQPOLL_IDLE_MS", "3", 1);
	spg_config_init(&cfg);
	spg_config_throughput(&cfg, 0);
	T_EQ(cfg.ring_entries, 4096);
	T_EQ(cfg.run_budget, 9);
	T_EQ(cfg.sqpoll_idle_ms, 3);
	setenv("SPG_PRESET", "throughput", 1);
	spg_config_init(&cfg);
	T_EQ(cfg.ring_entries, 4096);
	T_EQ(cfg.run_budget, 9);
	T_EQ(cfg.sqpoll_idle_ms, 3);
	unsetenv("SPG_SQPOLL_IDLE_MS");
	environment("SPG_PRESET", "throughput", true);
	environment("SPG_PRESET", "warp", false);
}
END_TEST

static void deny_io_uring(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
		_exit(99);
}

/* Goal: where io_uring is forbidden, one line says so, and the errno is returned. */
START_TEST(forbidden_io_uring_is_explained)
{
	spg_config cfg = t_config((unsigned)_i);
	char text[512];

	T_EQ(run_caught(&cfg, deny_io_uring, text, sizeof(text)), -EPERM);
	T_OK(strstr(text, "seccomp") != NULL);
	T_OK(strchr(text, '\n') == text + strlen(text) - 1);
	cfg.disable = "io_uring";
	T_EQ(run_caught(&cfg, NULL, text, sizeof(text)), -ENOSYS);
}
END_TEST

/* Goal: every fallback of the rings and stacks runs. */
START_TEST(fallbacks_run)
{
	static const char *const disable[] = {
		"defer_taskrun", "single_issuer", "taskrun_flag", "coop_taskrun", "submit_all",
		"registered_ring", "no_iowait", "msg_ring", "send_msg_ring", "guard_install",
		"process_madvise", "defer_taskrun,single_issuer,taskrun_flag,coop_taskrun,submit_all,msg_ring",
	};

	for (size_t i = 0; i < sizeof(disable) / sizeof(disable[0]); i++) {
		spg_config cfg = t_config((unsigned)_i);
		spg_task *tasks[100];

		cfg.disable = disable[i];
		T_EQ(spg_run(&cfg, leave_parked, tasks), 5);
		for (int t = 0; t < 100; t++)
			spg_detach(tasks[t]);
	}
}
END_TEST

/* Goal: memory refused at any point of the start is an error, and the next start works. */
START_TEST(refused_memory_fails_the_start_cleanly)
{
	static const enum spg__fault_kind kinds[] = { SPG__FAULT_ALLOC, SPG__FAULT_MAP };
	spg_config cfg = t_config((unsigned)_i);
	int fds = -1;

	for (int k = 0; k < 2; k++) {
		for (int nth = 1; nth < 40; nth++) {
			int value;

			spg__fault_arm(kinds[k], nth, 1, -ENOMEM);
			value = spg_run(&cfg, forty_two, NULL);
			spg__fault_disarm(kinds[k]);
			if (value != 42)
				T_EQ(value, -ENOMEM);
		}
		T_EQ(spg_run(&cfg, forty_two, NULL), 42);
		if (fds >= 0)
			T_EQ(t_fds_count(), fds);
		fds = t_fds_count();
	}
}
END_TEST

T_MAIN(T_TEST(a_thousand_runs_leak_nothing), T_SHARDS(main_ends_and_the_rest_is_canceled),
       T_SHARDS(exit_fixes_the_value), T_SHARDS(one_runtime_at_a_time),
       T_SHARDS(start_and_stop_around_foreign_threads), T_SHARDS(the_grace_ends_with_ebusy),
       T_TEST(bad_values_are_refused_and_named), T_TEST(the_environment_configures),
       T_TEST(a_preset_for_throughput),
       T_SHARDS(forbidden_io_uring_is_explained), T_SHARDS(fallbacks_run),
       T_SHARDS(refused_memory_fails_the_start_cleanly))
