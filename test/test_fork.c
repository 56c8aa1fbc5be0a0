/*
 * fork(2) in a program with a runtime: from coroutines, from foreign threads, from the pool; with
 * operations in flight; the child execs, exits, or goes on; the parent notices nothing.
 */
#include "test/t.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PAIRS 4
/* Of each kind; under sanitizers a fork copies much more. */
#define FORKS (t_sanitized() ? 5 : 25)

/* Coroutines that talk to each other on sockets, and count what came out of order. */
struct traffic {
	_Atomic bool stop;
	_Atomic uint64_t rounds, wrong;
	spg_wg ended;
	int fds[PAIRS][2], silent[2];
};

struct talker {
	struct traffic *traffic;
	int fd;
	bool first;
};

static void talk(void *arg)
{
	struct talker t = *(struct talker *)arg;
	uint64_t sent = 0, got = 0;

	while (!t.first || !atomic_load(&t.traffic->stop)) {
		if (t.first && spg_write_all(t.fd, &sent, sizeof(sent)) < 0)
			break;
		if (spg_read_full(t.fd, &got, sizeof(got)) != sizeof(got))
			break;
		if (!t.first && spg_write_all(t.fd, &got, sizeof(got)) < 0)
			break;
		atomic_fetch_add(&t.traffic->wrong, got != sent);
		atomic_fetch_add(&t.traffic->rounds, 1);
		sent++;
	}
	T_EQ(spg_shutdown(t.fd, SHUT_WR), 0);
	spg_wg_done(&t.traffic->ended);
}

/* Waits for what never comes: an operation in flight all the time, into this frame. */
static void listen_in_vain(void *arg)
{
	struct traffic *traffic = arg;
	char buf[64] = "untouched";

	T_EQ(spg_read(traffic->silent[0], buf, sizeof(buf)), 4);
	T_STR(buf, "end");
	spg_wg_done(&traffic->ended);
}

static void traffic_start(struct traffic *traffic)
{
	*traffic = (struct traffic){ .ended = SPG_WG_INIT };
	for (int i = 0; i < PAIRS; i++) {
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, traffic->fds[i]), 0);
		for (int j = 0; j < 2; j++) {
			struct talker talker = { traffic, traffic->fds[i][j], j == 0 };

			spg_wg_add(&traffic->ended, 1);
			T_EQ(spg_go_copy(talk, &talker, sizeof(talker)), 0);
		}
	}
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, traffic->silent), 0);
	spg_wg_add(&traffic->ended, 1);
	T_EQ(spg_go(listen_in_vain, traffic), 0);
	T_UNTIL(atomic_load(&traffic->rounds) > 0);
}

static void traffic_goes_on(struct traffic *traffic)
{
	uint64_t rounds = atomic_load(&traffic->rounds);

	T_UNTIL(atomic_load(&traffic->rounds) >= rounds + 2 * PAIRS);
	T_EQ(traffic->wrong, 0);
}

static void traffic_stop(struct traffic *traffic)
{
	atomic_store(&traffic->stop, true);
	T_EQ(spg_write_all(traffic->silent[1], "end", 4), 4);
	T_EQ(spg_wg_wait(&traffic->ended), 0);
	T_EQ(traffic->wrong, 0);
	for (int i = 0; i < PAIRS; i++) {
		T_EQ(spg_close(traffic->fds[i][0]), 0);
		T_EQ(spg_close(traffic->fds[i][1]), 0);
	}
	T_EQ(spg_close(traffic->silent[0]), 0);
	T_EQ(spg_close(traffic->silent[1]), 0);
}

/* The child's exit status, without blocking a shard. */
static int status_of(pid_t child)
{
	int status;

	T_OK(child > 0);
	T_UNTIL(waitpid(child, &status, WNOHANG) == child);
	if (WIFSIGNALED(status))
		t_fail(__FILE__, __LINE__, "the child ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void *nothing_too(void *arg)
{
	return arg;
}

static int nothing_int(void *arg)
{
	(void)arg;
	return 0;
}

static int rings_count(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++) {
		char path[32], target[64] = { 0 };

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, target, sizeof(target) - 1) > 0)
			n += strstr(target, "io_uring") != NULL;
	}
	return n;
}

/* What a child sees, whoever forked it. */
static void child_without_runtime(void)
{
	spg_attr pinned = { .place = SPG_PIN(0) };

	T_OK(!spg_running());
	T_OK(!spg_in_coroutine());
	T_EQ(spg_id(), 0);
	T_EQ(spg_shard(), -1);
	T_ERR(spg_go(nothing, NULL), -ESRCH);
	T_ERR(spg_go_copy(nothing, "x", 1), -ESRCH);
	T_ERR(spg_go_attr(&pinned, nothing, NULL), -ESRCH);
	T_OK(spg_spawn(NULL, nothing_too, NULL) == NULL);
	T_ERR(spg_call(nothing_int, NULL, -1, NULL), -ESRCH);
	T_ERR(spg_stop(), -ESRCH);
	T_ERR(spg_start(NULL), -EALREADY);
	T_ERR(spg_run(NULL, nothing_int, NULL), -EALREADY);
	spg_exit(3);
	spg_yield();
	T_EQ(rings_count(), 0);
}

/* What works without a runtime works here, too. */
static void child_on_its_own(struct traffic *traffic)
{
	spg_group *group = spg_group_new(0);
	spg_chan *chan = spg_chan_new(sizeof(int), 1);
	spg_mutex mutex = SPG_MUTEX_INIT;
	int fds[2], value = 5;
	char byte;

	T_OK(group != NULL && chan != NULL);
	T_ERR(spg_group_go(group, nothing_int, NULL), -ESRCH);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	T_EQ(spg_chan_send(chan, &value), 0);
	T_EQ(spg_chan_recv(chan, &value), 0);
	spg_chan_unref(chan);
	spg_mutex_lock(&mutex);
	T_EQ(spg_mutex_unlock(&mutex), 0);
	T_EQ(spg_sleep(SPG_US), 0);
	T_EQ(spg_pipe2(fds, O_CLOEXEC), 0);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_read(fds[0], &byte, 1), -ETIMEDOUT);
	}
	T_EQ(spg_write(fds[1], "x", 1), 1);
	T_EQ(spg_read(fds[0], &byte, 1), 1);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	/* Descriptors on which the parent has operations in flight. */
	T_EQ(spg_close(traffic->silent[0]), 0);
	T_EQ(spg_close(traffic->fds[0][0]), 0);
}

/* A coroutine forks inside a scope and a context, and its child leaves both. */
static pid_t fork_within(struct traffic *traffic, spg_key key)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before = spg_ctx_enter(ctx);
	pid_t child;

	{
		SPG_TIMEOUT_SCOPE(60 * SPG_SEC);
		child = fork();
		if (child == 0) {
			int64_t when;

			T_EQ(spg_ctx_deadline(NULL, &when), 0);
			T_OK(spg_key_get(key) == &rings_count);
			child_without_runtime();
		}
	}
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	if (child == 0)
		child_on_its_own(traffic);
	return child;
}

static int forks_and_exits(void *arg)
{
	struct traffic traffic;
	spg_key key;

	(void)arg;
	T_EQ(spg_key_create(&key, NULL), 0);
	T_EQ(spg_key_set(key, (void *)&rings_count), 0);
	traffic_start(&traffic);
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork_within(&traffic, key);

		if (child == 0)
			_exit(17);
		T_EQ(status_of(child), 17);
		traffic_goes_on(&traffic);
	}
	traffic_stop(&traffic);
	T_EQ(spg_key_delete(key), 0);
	return 0;
}

START_TEST(a_coroutine_forks_and_its_child_has_no_runtime)
{
	t_run((unsigned)_i, forks_and_exits, NULL);
}
END_TEST

/* Exits with 0 if no signal is blocked. */
#define SHELL_LOOKS_AT_SIGNALS "grep -q '^SigBlk:[[:space:]]*0*$' /proc/self/status"

static int forks_and_execs(void *arg)
{
	struct traffic traffic;

	(void)arg;
	traffic_start(&traffic);
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork();

		if (child == 0) {
			execl("/bin/sh", "sh", "-c", SHELL_LOOKS_AT_SIGNALS, NULL);
			_exit(99);
		}
		T_EQ(status_of(child), 0);
		traffic_goes_on(&traffic);
	}
	traffic_stop(&traffic);
	return 0;
}

START_TEST(a_coroutine_forks_and_execs_with_no_signal_blocked)
{
	t_run((unsigned)_i, forks_and_execs, NULL);
}
END_TEST

static void fork_and_return(void *arg)
{
	pid_t child = fork();

	/* The child's end is that of this function. */
	if (child > 0)
		atomic_store((_Atomic int *)arg, status_of(child));
}

static void *fork_and_return_task(void *arg)
{
	fork_and_return(arg);
	return arg;
}

static int fork_and_return_child(void *arg)
{
	fork_and_return(arg);
	return -EIO;
}

static int functions_return_twice(void *arg)
{
	spg_group *group = spg_group_new(0);
	_Atomic int status[3] = { -1, -1, -1 };
	spg_task *task;
	pid_t child;

	(void)arg;
	for (int i = 0; i < FORKS / 5; i++) {
		atomic_store(&status[0], -1);
		T_EQ(spg_go(fork_and_return, (void *)&status[0]), 0);
		task = spg_spawn(NULL, fork_and_return_task, (void *)&status[1]);
		T_EQ(spg_join(task, NULL), 0);
		T_EQ(spg_group_go(group, fork_and_return_child, (void *)&status[2]), 0);
		T_ERR(spg_group_wait(group), -EIO);
		T_UNTIL(atomic_load(&status[0]) == 0);
		T_EQ(status[1], 0);
		T_EQ(status[2], 0);
	}
	spg_group_free(group);
	child = fork();
	if (child > 0)
		T_EQ(status_of(child), 0);
	return 0;
}

START_TEST(a_child_ends_with_the_function_of_its_coroutine)
{
	t_run((unsigned)_i, functions_return_twice, NULL);
}
END_TEST

static void *wait_at(void *arg)
{
	return spg_chan_recv(arg, NULL) == -EPIPE ? arg : NULL;
}

static int wait_at_int(void *arg)
{
	return spg_chan_recv(arg, NULL) == -EPIPE ? 0 : -EIO;
}

/* Goal: the child touches what coroutines of the parent wait at; neither it nor they come to harm. */
static int shared_objects(void *arg)
{
	spg_chan *gate = spg_chan_new(0, 0);
	spg_task *task = spg_spawn(NULL, wait_at, gate);
	spg_group *group = spg_group_new(0);
	spg_stats_t stats;
	void *result;
	pid_t child;

	(void)arg;
	T_EQ(spg_group_go(group, wait_at_int, gate), 0);
	do {
		spg_yield();
		T_EQ(spg_stats(&stats), 0);
	} while (stats.total.parked < 2);
	child = fork();
	if (child == 0) {
		T_ERR(spg_join(task, NULL), -ESRCH);
		T_ERR(spg_group_wait(group), -ESRCH);
		T_EQ(spg_task_cancel(task), 0);
		T_EQ(spg_chan_close(gate), 0);
		spg_group_cancel(group);
		T_ERR(spg_stats(&stats), -ESRCH);
		_exit(0);
	}
	T_EQ(status_of(child), 0);
	T_EQ(spg_chan_close(gate), 0);
	T_EQ(spg_join(task, &result), 0);
	T_OK(result == gate);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	spg_chan_unref(gate);
	return 0;
}

START_TEST(a_child_may_touch_what_the_parent_waits_at)
{
	t_run((unsigned)_i, shared_objects, NULL);
}
END_TEST

static void *fork_and_exec(void *arg)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		child_without_runtime();
		if (arg != NULL)
			return NULL; /* the end, K3 */
		execl("/bin/sh", "sh", "-c", SHELL_LOOKS_AT_SIGNALS, NULL);
		_exit(99);
	}
	T_EQ(waitpid(child, &status, 0), child);
	T_EQ(status, 0);
	return (void *)1;
}

static int jobs_fork(void *arg)
{
	struct traffic traffic;
	void *result;

	traffic_start(&traffic);
	for (int i = 0; i < FORKS / 2; i++) {
		T_EQ(spg_blocking(fork_and_exec, i % 2 != 0 ? &traffic : arg, &result), 0);
		T_OK(result != NULL);
		traffic_goes_on(&traffic);
	}
	traffic_stop(&traffic);
	return 0;
}

START_TEST(a_job_of_the_pool_forks)
{
	t_run((unsigned)_i, jobs_fork, NULL);
}
END_TEST

static void *traffic_main(void *arg)
{
	traffic_start(arg);
	return arg;
}

START_TEST(a_foreign_thread_forks)
{
	spg_config cfg = t_config((unsigned)_i);
	struct traffic traffic;
	char byte;

	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_join(spg_spawn(NULL, traffic_main, &traffic), NULL), 0);
	{
		/* It has a wake_fd by now, which the child must not share. */
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_recv(traffic.silent[1], &byte, 1, 0), -ETIMEDOUT);
	}
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork();

		if (child == 0) {
			child_without_runtime();
			child_on_its_own(&traffic);
			_exit(23);
		}
		T_EQ(status_of(child), 23);
		T_OK(spg_running());
		traffic_goes_on(&traffic);
	}
	traffic_stop(&traffic);
	T_EQ(spg_stop(), 0);
}
END_TEST

START_TEST(a_child_forked_between_two_runtimes_may_start_one)
{
	pid_t child;

	t_run((unsigned)_i, nothing_int, NULL);
	child = fork();
	if (child == 0) {
		t_run((unsigned)_i, nothing_int, NULL);
		_exit(5);
	}
	t_run((unsigned)_i, nothing_int, NULL);
	T_EQ(status_of(child), 5);
}
END_TEST

/* Goal: a signal of the child's is the child's, and ends it; channels get the parent's, and only those. */
static int signals_to_channels(void *arg)
{
	spg_chan *chan = spg_chan_new(sizeof(int), 4);
	int wanted[] = { SIGUSR1 }, got = 0, status;
	pid_t child;

	(void)arg;
	T_EQ(spg_signal_notify(chan, wanted, 1), 0);
	child = fork();
	if (child == 0) {
		T_ERR(spg_signal_notify(chan, wanted, 1), -ESRCH);
		raise(SIGUSR1);
		_exit(1);
	}
	T_UNTIL(waitpid(child, &status, WNOHANG) == child);
	T_OK(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGUSR1);
	T_ERR(spg_chan_try_recv(chan, &got), -EAGAIN);
	T_EQ(kill(getpid(), SIGUSR1), 0);
	T_EQ(spg_chan_recv(chan, &got), 0);
	T_EQ(got, SIGUSR1);
	T_EQ(spg_signal_stop(chan), 0);
	spg_chan_unref(chan);
	return 0;
}

START_TEST(a_child_has_its_signals_to_itself)
{
	t_run((unsigned)_i, signals_to_channels, NULL);
}
END_TEST

struct storm {
	_Atomic bool stop;
	_Atomic int forks;
	int file;
};

static void *fork_on(void *arg)
{
	struct storm *storm = arg;

	while (!atomic_load(&storm->stop)) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			T_OK(!spg_running() || spg_go(nothing, NULL) == -ESRCH);
			T_OK(fcntl(storm->file, F_GETFD) >= 0);
			T_EQ(rings_count(), 0);
			_exit(0);
		}
		T_EQ(waitpid(child, &status, 0), child);
		T_EQ(status, 0);
		atomic_fetch_add(&storm->forks, 1);
	}
	return NULL;
}

static int fork_inside(void *arg)
{
	pid_t child = fork();

	(void)arg;
	if (child == 0)
		_exit(0);
	T_EQ(status_of(child), 0);
	return 0;
}

/* Goal: a fork at any moment of starts and stops leaves a child without rings, and with all else. */
START_TEST(stress_forks_against_starts_and_stops)
{
	struct storm storm = { .file = open("/dev/null", O_RDONLY | O_CLOEXEC) };
	pthread_t threads[2];
	int64_t until_ns = t_now_ns() + SPG_SEC;

	for (int i = 0; i < 2; i++)
		T_EQ(pthread_create(&threads[i], NULL, fork_on, &storm), 0);
	for (int i = 0; t_now_ns() < until_ns || atomic_load(&storm.forks) < 20; i++) {
		spg_config cfg = t_config((unsigned)_i);

		if (i % 2 == 0) {
			T_EQ(spg_run(&cfg, fork_inside, NULL), 0);
			continue;
		}
		T_EQ(spg_start(&cfg), 0);
		T_EQ(spg_stop(), 0);
	}
	atomic_store(&storm.stop, true);
	for (int i = 0; i < 2; i++)
		T_EQ(pthread_join(threads[i], NULL), 0);
	close(storm.file);
}
END_TEST

T_MAIN(T_SHARDS(a_coroutine_forks_and_its_child_has_no_runtime),
       T_SHARDS(a_coroutine_forks_and_execs_with_no_signal_blocked),
       T_SHARDS(a_child_ends_with_the_function_of_its_coroutine),
       T_SHARDS(a_child_may_touch_what_the_parent_waits_at), T_SHARDS(a_job_of_the_pool_forks),
       T_SHARDS(a_foreign_thread_forks), T_SHARDS(a_child_has_its_signals_to_itself),
       T_SHARDS(a_child_forked_between_two_runtimes_may_start_one),
       T_SHARDS(stress_forks_against_starts_and_stops))
