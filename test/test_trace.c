/*
 * Traces: the files they leave are checked by test/trace_check.py, counts included.
 */
#include "test/t.h"

#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

#define CHILDREN 60
#define ROUNDS 5

/* An empty file without a name. */
static int temp_file(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	T_OK(fd >= 0);
	return fd;
}

/* Runs the checker over what fd holds: that many expectations, each as "WHAT=COUNT". */
static void check_trace(int fd, int count, char expected[][48])
{
	static char python[] = "python3", script[] = "test/trace_check.py";
	char path[64];
	char *args[17] = { python, script, path };
	pid_t pid;
	int status;

	T_OK(count <= 13);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	for (int i = 0; i < count; i++)
		args[3 + i] = expected[i];
	T_EQ(posix_spawnp(&pid, "python3", NULL, NULL, args, environ), 0);
	T_EQ(waitpid(pid, &status, 0), pid);
	T_EQ(status, 0);
}

/* Trace on one runtime, checked after its end. */
struct traced {
	int fd;
	int (*work)(void *);
	uint64_t switches, stolen, wakes;
};

static void snapshot(uint64_t *switches, uint64_t *stolen, uint64_t *wakes)
{
	spg_stats_t *s = malloc(sizeof(*s));

	T_OK(s != NULL);
	T_EQ(spg_stats(s), 0);
	*switches = s->total.switches;
	*stolen = s->total.stolen;
	*wakes = s->total.wakes_sent;
	free(s);
}

static int traced_main(void *arg)
{
	struct traced *t = arg;
	uint64_t switches, stolen, wakes;

	snapshot(&switches, &stolen, &wakes);
	T_EQ(spg_trace_start(t->fd), 0);
	T_EQ(t->work(NULL), 0);
	snapshot(&t->switches, &t->stolen, &t->wakes);
	T_EQ(spg_trace_stop(), 0);
	t->switches -= switches;
	t->stolen -= stolen;
	t->wakes -= wakes;
	return 0;
}

static int pipes[CHILDREN][2];

/* Five reads and five writes, each through the ring; sleeps and yields between them. */
static void *child(void *arg)
{
	int *ends = pipes[(intptr_t)arg];
	char byte = 1;

	for (int i = 0; i < ROUNDS; i++) {
		T_EQ(spg_write(ends[1], &byte, 1), 1);
		T_EQ(spg_read(ends[0], &byte, 1), 1);
		spg_yield();
		T_EQ(spg_sleep(100 * SPG_US), 0);
	}
	return NULL;
}

static int mixed_work(void *arg)
{
	spg_task *tasks[CHILDREN];

	(void)arg;
	for (int i = 0; i < CHILDREN; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.name = i % 2 == 0 ? "even" : "odd \"quoted\"";
		attr.place = i % 3 == 0 ? SPG_SPREAD : SPG_ANY;
		T_EQ(spg_pipe2(pipes[i], O_CLOEXEC), 0);
		tasks[i] = spg_spawn(&attr, child, (void *)(intptr_t)i);
		T_OK(tasks[i] != NULL);
	}
	for (int i = 0; i < CHILDREN; i++) {
		T_EQ(spg_join(tasks[i], NULL), 0);
		T_EQ(spg_close(pipes[i][0]), 0);
		T_EQ(spg_close(pipes[i][1]), 0);
	}
	return 0;
}

/* Goal: the file is well-formed, and its numbers are the program's and the counters'. */
START_TEST(a_trace_tells_what_the_program_did)
{
	struct traced t = { .fd = temp_file(), .work = mixed_work };
	char expected[13][48];

	t_run((unsigned)_i, traced_main, &t);
	snprintf(expected[0], sizeof(expected[0]), "i:spawn=%d", CHILDREN);
	snprintf(expected[1], sizeof(expected[1]), "io:read=%d", CHILDREN * ROUNDS);
	snprintf(expected[2], sizeof(expected[2]), "io:write=%d", CHILDREN * ROUNDS);
	snprintf(expected[3], sizeof(expected[3]), "ended=%d", 2 * CHILDREN * ROUNDS);
	snprintf(expected[12], sizeof(expected[12]), "how:1=%d", 2 * CHILDREN * ROUNDS);
	snprintf(expected[4], sizeof(expected[4]), "left:end=%d", CHILDREN);
	snprintf(expected[5], sizeof(expected[5]), "left:sleep>=1");
	snprintf(expected[6], sizeof(expected[6]), "slices=%llu", (unsigned long long)t.switches + 1);
	snprintf(expected[7], sizeof(expected[7]), "stolen=%llu", (unsigned long long)t.stolen);
	snprintf(expected[8], sizeof(expected[8]), "run:even>=%d", CHILDREN / 2 * (2 * ROUNDS + 1));
	snprintf(expected[9], sizeof(expected[9]), "run:odd \"quoted\">=%d", CHILDREN / 2 * (2 * ROUNDS + 1));
	snprintf(expected[10], sizeof(expected[10]), "whose=0");
	snprintf(expected[11], sizeof(expected[11]), "lost=0");
	check_trace(t.fd, 13, expected);
	close(t.fd);
}
END_TEST

#define INTERRUPTS 300

/* A thread that interrupts a shard, at any place of its loop of operations, for longer than stall_ns. */
struct interrupted {
	pthread_t shard;
	_Atomic int round, handled;
	_Atomic bool end;
	int fd;
	uint64_t operations;
};
static struct interrupted interrupted;

static void on_interrupt(int number)
{
	int64_t until = t_now_ns() + 4 * SPG_MS;

	(void)number;
	while (t_now_ns() < until)
		;
	atomic_store(&interrupted.handled, atomic_load(&interrupted.round));
}

static void *interrupt(void *arg)
{
	unsigned seed = 1;

	for (int round = 1; !atomic_load(&interrupted.end);) {
		if (atomic_load(&interrupted.round) != round) {
			sched_yield();
			continue;
		}
		for (int64_t until = t_now_ns() + rand_r(&seed) % 30000; t_now_ns() < until;)
			;
		T_EQ(pthread_kill(interrupted.shard, SIGUSR1), 0);
		round++;
	}
	return arg;
}

/* What the kernel does at once: most of the time goes into beginning and leaving. */
static void prepare_nop(struct io_uring_sqe *sqe, void *arg)
{
	(void)arg;
	io_uring_prep_nop(sqe);
}

static void work_interrupted(void *arg)
{
	(void)arg;
	interrupted.shard = pthread_self();
	for (int round = 1; round <= INTERRUPTS; round++) {
		atomic_store(&interrupted.round, round);
		for (int i = 0; i < 200 && atomic_load(&interrupted.handled) != round; i++, interrupted.operations++)
			T_EQ(spg_uring(prepare_nop, NULL, NULL), 0);
		while (atomic_load(&interrupted.handled) != round)
			sched_yield();
	}
}

static int interrupted_main(void *arg)
{
	struct sigaction ours = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART | SA_ONSTACK }, before;
	spg_attr attr = SPG_ATTR_INIT;
	pthread_t thread;
	spg_task *task;

	(void)arg;
	T_EQ(sigaction(SIGUSR1, &ours, &before), 0);
	T_EQ(pthread_create(&thread, NULL, interrupt, NULL), 0);
	T_EQ(spg_trace_start(interrupted.fd), 0);
	attr.place = SPG_PIN(0);
	task = spg_spawn(&attr, (void *(*)(void *))(void (*)(void))work_interrupted, NULL);
	T_OK(task != NULL);
	T_EQ(spg_join(task, NULL), 0);
	T_EQ(spg_trace_stop(), 0);
	atomic_store(&interrupted.end, true);
	T_EQ(pthread_join(thread, NULL), 0);
	return sigaction(SIGUSR1, &before, NULL);
}

/*
 * Goal: an operation's end is not lost when its shard stood still between submitting it and
 * leaving, so that the kick submitted it and the watchdog reaped it meanwhile.
 */
START_TEST(an_end_that_the_watchdog_reaps_is_not_lost)
{
	spg_config cfg = t_config((unsigned)_i);
	char expected[3][48];

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	cfg.stall_ns = SPG_MS;
	interrupted = (struct interrupted){ .fd = temp_file() };
	T_EQ(t_run_config(&cfg, interrupted_main, NULL), 0);
	snprintf(expected[0], sizeof(expected[0]), "io:nop=%llu", (unsigned long long)interrupted.operations);
	snprintf(expected[1], sizeof(expected[1]), "how:0=%llu", (unsigned long long)interrupted.operations);
	snprintf(expected[2], sizeof(expected[2]), "lost=0");
	check_trace(interrupted.fd, 3, expected);
	close(interrupted.fd);
}
END_TEST

static int hand_over_work(void *arg)
{
	spg_chan *c = arg != NULL ? arg : spg_chan_new(sizeof(int), 0);

	T_OK(c != NULL);
	if (arg != NULL) {
		for (int i = 0; i < 100; i++)
			T_EQ(spg_chan_send(c, &i), 0);
		return 0;
	}
	T_EQ(spg_go((void (*)(void *))(void (*)(void))hand_over_work, c), 0);
	for (int i = 0; i < 100; i++)
		T_EQ(spg_chan_recv(c, &(int){ 0 }), 0);
	spg_chan_unref(c);
	return 0;
}

/* Goal: arrows lead from who made a coroutine ready to its run, for waits without I/O too. */
START_TEST(arrows_lead_from_unpark_to_run)
{
	struct traced t = { .fd = temp_file(), .work = hand_over_work };
	char expected[][48] = { "arrows ended>=100", "lost=0", "i:spawn=1" };

	t_run((unsigned)_i, traced_main, &t);
	check_trace(t.fd, 3, expected);
	close(t.fd);
}
END_TEST

static int in_flight_work(void *arg)
{
	SPG_TIMEOUT_SCOPE(2 * SPG_MS);
	int ends[2];
	char byte;

	(void)arg;
	T_EQ(spg_pipe2(ends, O_CLOEXEC), 0);
	T_ERR(spg_read(ends[0], &byte, 1), -ETIMEDOUT);
	T_EQ(close(ends[0]), 0);
	T_EQ(close(ends[1]), 0);
	return 0;
}

/* Goal: a canceled operation shows its cancel, and the kernel's result. */
START_TEST(a_timeout_shows_as_cancel)
{
	struct traced t = { .fd = temp_file(), .work = in_flight_work };
	char expected[][48] = { "io:read=1", "i:cancel=1", "how:-125=1" };

	t_run((unsigned)_i, traced_main, &t);
	check_trace(t.fd, 3, expected);
	close(t.fd);
}
END_TEST

static int endless_pipe[2];

static void endless_read(void *arg)
{
	char byte;

	(void)arg;
	T_ERR(spg_read(endless_pipe[0], &byte, 1), -ECANCELED);
}

static bool in_flight(void)
{
	spg_stats_t *s = malloc(sizeof(*s));
	bool any;

	T_OK(s != NULL);
	T_EQ(spg_stats(s), 0);
	any = s->total.inflight > 0;
	free(s);
	return any;
}

static int unstopped_main(void *arg)
{
	T_EQ(spg_pipe2(endless_pipe, O_CLOEXEC), 0);
	T_EQ(spg_trace_start(*(int *)arg), 0);
	T_EQ(spg_go(endless_read, NULL), 0);
	T_UNTIL(in_flight());
	return 0;
}

/* Goal: nobody stops it: the runtime's end does, after the last coroutine's. */
START_TEST(the_end_of_the_runtime_ends_the_trace)
{
	int fd = temp_file();
	char expected[][48] = { "io:read=1", "how:-125=1", "left:end=2", "i:spawn=1" };

	t_run((unsigned)_i, unstopped_main, &fd);
	check_trace(fd, 4, expected);
	T_ERR(spg_trace_stop(), -ESRCH);
	close(fd);
}
END_TEST

static void *stop_in_flight(void *arg)
{
	(void)arg;
	T_EQ(spg_trace_stop(), 0);
	return NULL;
}

static int in_flight_main(void *arg)
{
	pthread_t thread;

	T_EQ(spg_pipe2(endless_pipe, O_CLOEXEC), 0);
	T_EQ(spg_trace_start(*(int *)arg), 0);
	T_EQ(spg_go(endless_read, NULL), 0);
	T_UNTIL(in_flight());
	T_EQ(pthread_create(&thread, NULL, stop_in_flight, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	return 0;
}

/* Goal: what is open when the trace ends is closed, and says so. A plain thread may stop it. */
START_TEST(operations_in_flight_are_closed_at_the_end)
{
	int fd = temp_file();
	char expected[][48] = { "io:read=1", "how:in flight=1" };

	t_run((unsigned)_i, in_flight_main, &fd);
	check_trace(fd, 2, expected);
	close(fd);
}
END_TEST

static int many_yields(void *arg)
{
	(void)arg;
	T_EQ(spg_go((void (*)(void *))(void (*)(void))spg_yield, NULL), 0);
	for (int i = 0; i < 20000; i++) {
		spg_yield();
		if (i % 500 == 0)
			T_EQ(spg_sleep(1), 0);
	}
	return 0;
}

static int lossy_main(void *arg)
{
	T_EQ(spg_trace_start(*(int *)arg), 0);
	for (int i = 0; i < 50; i++)
		T_EQ(mixed_work(NULL), 0);
	T_EQ(many_yields(NULL), 0);
	return spg_trace_stop();
}

/* Goal: what does not fit is left out, counted, and the rest stays well-formed. */
START_TEST(a_full_buffer_loses_and_says_so)
{
	spg_config cfg = t_config((unsigned)_i);
	int fd = temp_file();
	char expected[][48] = { "lost>=1", "i:lost>=1" };

	cfg.debug = "trace_events=64";
	T_EQ(t_run_config(&cfg, lossy_main, &fd), 0);
	check_trace(fd, 2, expected);
	close(fd);
}
END_TEST

static int errors_main(void *arg)
{
	int readable = open("/dev/null", O_RDONLY | O_CLOEXEC), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int fd = temp_file(), path = open("/tmp", O_PATH | O_CLOEXEC);

	(void)arg;
	T_ERR(spg_trace_start(-1), -EBADF);
	T_ERR(spg_trace_start(readable), -EBADF);
	T_ERR(spg_trace_start(path), -EBADF);
	T_ERR(spg_trace_stop(), -ESRCH);
	T_EQ(spg_trace_start(fd), 0);
	T_ERR(spg_trace_start(fd), -EALREADY);
	T_EQ(spg_trace_stop(), 0);
	T_ERR(spg_trace_stop(), -ESRCH);
	T_OK(full >= 0);
	T_EQ(spg_trace_start(full), 0);
	T_ERR(spg_trace_stop(), -ENOSPC);
	close(readable);
	close(full);
	close(path);
	close(fd);
	return 0;
}

/* Goal: each error named in the header. */
START_TEST(errors_are_told)
{
	T_ERR(spg_trace_start(STDERR_FILENO), -ESRCH);
	T_ERR(spg_trace_stop(), -ESRCH);
	t_run((unsigned)_i, errors_main, NULL);
	T_ERR(spg_trace_start(STDERR_FILENO), -ESRCH);
}
END_TEST

static _Atomic bool busy_end;

static void busy(void *arg)
{
	spg_chan *c = arg;

	while (!atomic_load(&busy_end))
		if (spg_chan_send(c, &(int){ 1 }) < 0)
			break;
	spg_chan_unref(c);
}

static void busy_receive(void *arg)
{
	spg_chan *c = arg;

	while (spg_chan_recv(c, NULL) == 0)
		;
	spg_chan_unref(c);
}

static int stress_main(void *arg)
{
	int64_t until = t_now_ns() + (t_sanitized() ? 2 : 1) * SPG_SEC;
	spg_chan *c[4];
	int traces = 0;

	(void)arg;
	for (int i = 0; i < 4; i++) {
		c[i] = spg_chan_new(sizeof(int), 0);
		T_OK(c[i] != NULL);
		T_EQ(spg_go(busy, spg_chan_ref(c[i])), 0);
		T_EQ(spg_go(busy_receive, spg_chan_ref(c[i])), 0);
	}
	for (; t_now_ns() < until; traces++) {
		int fd = temp_file();

		T_EQ(spg_trace_start(fd), 0);
		T_EQ(spg_sleep((int64_t)(traces % 7) * 100 * SPG_US), 0);
		T_EQ(spg_trace_stop(), 0);
		if (traces % 16 == 0)
			check_trace(fd, 0, NULL);
		close(fd);
	}
	T_OK(traces > 0);
	atomic_store(&busy_end, true);
	for (int i = 0; i < 4; i++) {
		T_EQ(spg_chan_close(c[i]), 0);
		spg_chan_unref(c[i]);
	}
	return 0;
}

/* Goal: traces begin and end under load, and records of one never come into the next. */
START_TEST(traces_begin_and_end_under_load)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.debug = "trace_events=1k";
	T_EQ(t_run_config(&cfg, stress_main, NULL), 0);
}
END_TEST

T_MAIN(T_SHARDS(a_trace_tells_what_the_program_did), T_SHARDS(an_end_that_the_watchdog_reaps_is_not_lost),
       T_SHARDS(arrows_lead_from_unpark_to_run),
       T_SHARDS(a_timeout_shows_as_cancel), T_SHARDS(the_end_of_the_runtime_ends_the_trace),
       T_SHARDS(operations_in_flight_are_closed_at_the_end), T_SHARDS(a_full_buffer_loses_and_says_so),
       T_SHARDS(errors_are_told), T_SHARDS(traces_begin_and_end_under_load))
