/*
 * Rings with a polling thread of the kernel's (sqpoll_idle_ms). Its idle time is the shortest
 * there is, so that it sleeps and is woken many times.
 */
#include "t.h"

#include <dirent.h>
#include <sched.h>
#include <spg/features.h>
#include <sys/socket.h>

#define ROUNDS (t_sanitized() ? 200 : 1000)

static bool used_here(void)
{
	spg_feature features[32];
	int n = spg_features(features, 32);

	for (int i = 0; i < n && i < 32; i++) {
		if (strcmp(features[i].name, "sqpoll") == 0)
			return features[i].used;
	}
	return false;
}

struct case_of {
	int (*fn)(unsigned shards);
	unsigned shards;
};

static int case_main(void *arg)
{
	struct case_of *c = arg;

	T_OK(used_here());
	return c->fn(c->shards);
}

static void run_polled(unsigned shards, unsigned entries, int (*fn)(unsigned))
{
	struct case_of c = { fn, shards };
	spg_config cfg = t_config(shards);

	cfg.sqpoll_idle_ms = 1;
	cfg.ring_entries = entries;
	T_EQ(t_run_config(&cfg, case_main, &c), 0);
}

static void streams(int fds[2])
{
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[64];
	ssize_t n;

	while ((n = spg_read(fd, buf, sizeof(buf))) > 0)
		T_EQ(spg_write_all(fd, buf, (size_t)n), n);
	T_EQ(spg_close(fd), 0);
}

static int echo_case(unsigned shards)
{
	int fds[2];
	char buf[8];

	(void)shards;
	streams(fds);
	T_EQ(spg_go(echo, (void *)(intptr_t)fds[1]), 0);
	for (int i = 0; i < ROUNDS; i++) {
		T_EQ(spg_write_all(fds[0], "1234567", 8), 8);
		T_EQ(spg_read_full(fds[0], buf, 8), 8);
		T_STR(buf, "1234567");
		if (i % 100 == 0)
			T_EQ(spg_sleep(3 * SPG_MS), 0); /* the polling thread goes to sleep: the next write wakes it */
	}
	T_EQ(spg_close(fds[0]), 0);
	return 0;
}

/* Goal: bytes go and come, whether the polling thread is awake or asleep. */
START_TEST(bytes_go_and_come)
{
	run_polled((unsigned)_i, 256, echo_case);
}
END_TEST

/* Many more operations at once than the queue holds. */
static int crowd_case(unsigned shards)
{
	enum { PAIRS = 200 };
	static int fds[PAIRS][2];
	char byte;

	(void)shards;
	for (int i = 0; i < PAIRS; i++) {
		streams(fds[i]);
		T_EQ(spg_go(echo, (void *)(intptr_t)fds[i][1]), 0);
	}
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < PAIRS; i++)
			T_EQ(spg_write(fds[i][0], "x", 1), 1);
		for (int i = 0; i < PAIRS; i++)
			T_EQ(spg_read(fds[i][0], &byte, 1), 1);
	}
	for (int i = 0; i < PAIRS; i++)
		T_EQ(spg_close(fds[i][0]), 0);
	return 0;
}

/* Goal: a full queue is waited for. */
START_TEST(a_full_queue_is_waited_for)
{
	run_polled((unsigned)_i, 8, crowd_case);
}
END_TEST

static int cancel_case(unsigned shards)
{
	int fds[2];
	char byte;

	(void)shards;
	streams(fds);
	for (int i = 0; i < ROUNDS / 4; i++) {
		SPG_TIMEOUT_SCOPE((i % 10) * 100 * SPG_US);
		T_ERR(spg_read(fds[0], &byte, 1), -ETIMEDOUT);
	}
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: a deadline ends an operation, taken by the polling thread or not yet. */
START_TEST(deadlines_end_operations)
{
	run_polled((unsigned)_i, 256, cancel_case);
}
END_TEST

struct relay {
	spg_chan *to, *back;
};

static void relay_main(void *arg)
{
	struct relay *relay = arg;
	int value;

	while (spg_chan_recv(relay->to, &value) == 0)
		T_EQ(spg_chan_send(relay->back, &value), 0);
	spg_chan_close(relay->back);
}

/* Each message wakes a shard that sleeps, from one whose polling thread sleeps as well. */
static int wakes_case(unsigned shards)
{
	struct relay relay = { spg_chan_new(sizeof(int), 0), spg_chan_new(sizeof(int), 0) };
	spg_attr attr = SPG_ATTR_INIT;
	int value;

	attr.place = SPG_PIN(shards - 1);
	T_EQ(spg_go_attr(&attr, relay_main, &relay), 0);
	for (int i = 0; i < ROUNDS; i++) {
		T_EQ(spg_chan_send(relay.to, &i), 0);
		T_EQ(spg_chan_recv(relay.back, &value), 0);
		T_EQ(value, i);
		if (i % 100 == 0)
			T_EQ(spg_sleep(3 * SPG_MS), 0);
	}
	spg_chan_close(relay.to);
	T_ERR(spg_chan_recv(relay.back, &value), -EPIPE);
	spg_chan_unref(relay.to);
	spg_chan_unref(relay.back);
	return 0;
}

/* Goal: shards wake each other, by whichever means the kernel has. */
START_TEST(shards_wake_each_other)
{
	static const char *const disable[] = { NULL, "send_msg_ring", "msg_ring" };

	for (size_t i = 0; i < sizeof(disable) / sizeof(disable[0]); i++) {
		if (disable[i] != NULL)
			setenv("SPG_DISABLE", disable[i], 1);
		run_polled((unsigned)_i, 256, wakes_case);
	}
}
END_TEST

static void never_ready(void *arg)
{
	char byte;

	T_ERR(spg_read((int)(intptr_t)arg, &byte, 1), -ECANCELED);
}

static int left_behind_case(unsigned shards)
{
	int fds[2];

	(void)shards;
	streams(fds);
	for (int i = 0; i < 10; i++)
		T_EQ(spg_go(never_ready, (void *)(intptr_t)fds[0]), 0);
	spg_yield();
	return 0;
}

/* Goal: a runtime with operations in flight stops, its polling threads are gone, and it starts again. */
START_TEST(it_stops_and_starts_again)
{
	int threads = t_threads_count();

	for (int i = 0; i < 10; i++)
		run_polled((unsigned)_i, 64, left_behind_case);
	/* ThreadSanitizer starts a thread of its own meanwhile. */
	T_UNTIL(t_tsan() || t_threads_count() == threads);
}
END_TEST

/* How many polling threads of ours may use that CPU alone; -1: may use several. */
static int polling_threads(int cpu)
{
	DIR *dir = opendir("/proc/self/task");
	int n = 0;

	T_OK(dir != NULL);
	for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
		char path[300], name[32] = "";
		cpu_set_t set;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fgets(name, sizeof(name), file) != NULL && strncmp(name, "iou-sqp", 7) == 0 &&
		    sched_getaffinity(atoi(entry->d_name), sizeof(set), &set) == 0)
			n += cpu < 0 ? CPU_COUNT(&set) > 1 : CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set);
		fclose(file);
	}
	closedir(dir);
	return n;
}

static int bound_main(void *arg)
{
	T_OK(used_here());
	T_EQ(echo_case(0), 0);
	/* Each sets its own affinity as it starts. */
	T_UNTIL(polling_threads(*(int *)arg) == spg_shards());
	return 0;
}

/* Goal: a CPU asks for polling threads and binds them to it. */
START_TEST(polling_threads_are_bound_to_a_cpu)
{
	spg_config cfg;
	int cpu = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		T_SKIP("one CPU");
	setenv("SPG_SQPOLL_CPU", "0", 1);
	cfg = t_config((unsigned)_i);
	T_EQ(cfg.sqpoll_cpu, 0);
	T_OK(used_here());
	T_EQ(t_run_config(&cfg, bound_main, &cpu), 0);
}
END_TEST

/* Goal: a CPU that is not there binds to none. */
START_TEST(polling_threads_of_a_missing_cpu_are_free)
{
	spg_config cfg = t_config((unsigned)_i);
	int none = -1;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		T_SKIP("one CPU");
	cfg.sqpoll_cpu = 1023;
	T_EQ(t_run_config(&cfg, bound_main, &none), 0);
}
END_TEST

static int plain_main(void *arg)
{
	T_OK(!used_here());
	return echo_case(arg != NULL);
}

/* Goal: where the kernel refuses it, rings are as without. */
START_TEST(without_it_rings_are_plain)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.sqpoll_idle_ms = 1;
	cfg.disable = "sqpoll";
	T_EQ(t_run_config(&cfg, plain_main, NULL), 0);
}
END_TEST

T_MAIN(T_SHARDS(bytes_go_and_come), T_SHARDS(a_full_queue_is_waited_for), T_SHARDS(deadlines_end_operations),
       T_SHARDS(shards_wake_each_other), T_SHARDS(it_stops_and_starts_again), T_SHARDS(without_it_rings_are_plain),
       T_SHARDS(polling_threads_are_bound_to_a_cpu), T_SHARDS(polling_threads_of_a_missing_cpu_are_free))
