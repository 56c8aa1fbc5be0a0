#include "t.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

/* The races below are repeated so often that each order of events comes up. */
#define ROUNDS (t_sanitized() ? 100 : 400)

static void streams(int fds[2], bool nonblocking)
{
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0, fds), 0);
}

/* Waits until n operations are in flight. */
static void await_inflight(uint64_t n)
{
	spg_stats_t *stats = malloc(sizeof(*stats));

	do {
		t_relax();
		T_EQ(spg_stats(stats), 0);
	} while (stats->total.inflight < n);
	free(stats);
}

/* Goal: a canceled read has no hold on its buffer, which is on a stack in use for other things. */
static void __attribute__((noinline)) read_and_expire(int fd)
{
	char buf[512];

	SPG_TIMEOUT_SCOPE(50 * SPG_US);
	T_EQ(spg_read(fd, buf, sizeof(buf)), -ETIMEDOUT);
}

static void __attribute__((noinline)) watch_stack(int fds[2])
{
	volatile char area[2048];
	static const char much[512] = { [0 ... 511] = 'X' };
	char sink[512];

	for (size_t i = 0; i < sizeof(area); i++)
		area[i] = (char)(i * 13);
	T_EQ(write(fds[1], much, sizeof(much)), sizeof(much));
	/* Everything that could still come has come when this has been read. */
	T_EQ(spg_read_full(fds[0], sink, sizeof(sink)), sizeof(sink));
	for (size_t i = 0; i < sizeof(area); i++)
		T_EQ(area[i], (char)(i * 13));
}

static int stack_main(void *arg)
{
	int fds[2];

	(void)arg;
	streams(fds, false);
	for (int i = 0; i < ROUNDS; i++) {
		read_and_expire(fds[0]);
		watch_stack(fds);
	}
	close(fds[0]);
	close(fds[1]);
	return 0;
}

START_TEST(a_canceled_read_leaves_the_stack_alone)
{
	t_run((unsigned)_i, stack_main, NULL);
}
END_TEST

/*
 * Goal: close wakes every call in flight on the descriptor, wherever it waits, and
 * nobody's context ends.
 */
#define READERS 6

struct crowd {
	int fd;
	_Atomic int begun, ended;
};

static void check_woken(struct crowd *crowd, ssize_t res)
{
	/* -EBADF: it began when the close was under way. */
	T_OK(res == -ECANCELED || res == -EBADF);
	T_EQ(spg_ctx_err(NULL), 0);
	atomic_fetch_add(&crowd->ended, 1);
}

static void crowd_read(void *arg)
{
	struct crowd *crowd = arg;
	char buf[16];

	atomic_fetch_add(&crowd->begun, 1);
	check_woken(crowd, spg_read(crowd->fd, buf, sizeof(buf)));
}

static void *crowd_read_thread(void *arg)
{
	crowd_read(arg);
	return NULL;
}

static void crowd_poll(void *arg)
{
	struct crowd *crowd = arg;

	atomic_fetch_add(&crowd->begun, 1);
	check_woken(crowd, spg_poll(crowd->fd, POLLIN, SPG_SEC * 60));
}

static void close_round(int round)
{
	struct crowd crowd = { 0 };
	spg_attr attr = SPG_ATTR_INIT;
	pthread_t thread;
	int fds[2];

	attr.place = SPG_SPREAD;
	streams(fds, round & 1);
	crowd.fd = fds[0];
	for (int i = 0; i < READERS; i++)
		T_EQ(spg_go_attr(&attr, i & 1 ? crowd_read : crowd_poll, &crowd), 0);
	T_EQ(pthread_create(&thread, NULL, crowd_read_thread, &crowd), 0);
	T_UNTIL(atomic_load(&crowd.begun) == READERS + 1);
	/* At times they are all in flight, at times some have just begun. */
	if (round % 4 == 0)
		await_inflight(READERS);
	T_EQ(spg_close(fds[0]), 0);
	T_UNTIL(atomic_load(&crowd.ended) == READERS + 1);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(fcntl(fds[0], F_GETFD), -1);
	close(fds[1]);
}

static int close_main(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++)
		close_round(i);
	return 0;
}

START_TEST(close_wakes_every_call_in_flight)
{
	t_run((unsigned)_i, close_main, NULL);
}
END_TEST

/* Goal: the same by a thread outside the runtime. */
static void *close_thread(void *arg)
{
	close_main(arg);
	return NULL;
}

static int close_foreign_main(void *arg)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, close_thread, arg), 0);
	while (pthread_tryjoin_np(thread, NULL) != 0)
		spg_sleep(SPG_MS);
	return 0;
}

START_TEST(close_by_a_foreign_thread_wakes_every_call)
{
	t_run((unsigned)_i, close_foreign_main, NULL);
}
END_TEST

/* Goal: and between threads alone. */
START_TEST(close_wakes_threads_without_a_runtime)
{
	for (int i = 0; i < ROUNDS / 4; i++) {
		struct crowd crowd = { 0 };
		pthread_t threads[3];
		int fds[2];

		streams(fds, i & 2);
		crowd.fd = fds[0];
		for (int j = 0; j < 3; j++)
			T_EQ(pthread_create(&threads[j], NULL, crowd_read_thread, &crowd), 0);
		T_UNTIL(atomic_load(&crowd.begun) == 3);
		for (int j = 0; j < i; j++)
			sched_yield(); /* another moment each time */
		T_EQ(spg_close(fds[0]), 0);
		for (int j = 0; j < 3; j++)
			T_EQ(pthread_join(threads[j], NULL), 0);
		T_EQ(atomic_load(&crowd.ended), 3);
		close(fds[1]);
	}
}
END_TEST

/* Goal: a number that another thread opens at once is never touched by what was in flight on it. */
struct reuse {
	_Atomic int number; /* of this round; -1: none */
	_Atomic int armed;  /* the opener is after it; -1: it is through with it */
	_Atomic bool stop;
	_Atomic uint64_t hits;
};

/* Opens until it gets the number: anybody who reads it then gets zeros. Lower ones are held meanwhile. */
static void open_number(struct reuse *reuse, int number)
{
	int held[64], count = 0, fd = -1;

	atomic_store(&reuse->armed, number);
	while (fd != number && atomic_load(&reuse->number) == number) {
		fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
		T_OK(fd >= 0 && count < 64);
		if (fd < number)
			held[count++] = fd;
		else if (fd > number)
			close(fd);
	}
	if (fd == number) {
		atomic_fetch_add(&reuse->hits, 1);
		T_UNTIL(atomic_load(&reuse->number) != number);
		close(fd);
	}
	while (count > 0)
		close(held[--count]);
	atomic_store(&reuse->armed, -1);
}

static void *open_always(void *arg)
{
	struct reuse *reuse = arg;

	while (!atomic_load(&reuse->stop)) {
		int number = atomic_load(&reuse->number);

		if (number >= 0)
			open_number(reuse, number);
		else
			sched_yield();
	}
	return NULL;
}

static void reuse_round(struct reuse *reuse, bool nonblocking, bool wait_for_hit)
{
	uint64_t hits = atomic_load(&reuse->hits);
	struct crowd crowd = { 0 };
	int fds[2];

	streams(fds, nonblocking);
	crowd.fd = fds[0];
	for (int i = 0; i < READERS; i++)
		T_EQ(spg_go(crowd_read, &crowd), 0);
	/* In flight on the old owner, for certain. */
	await_inflight(READERS);
	atomic_store(&reuse->number, fds[0]);
	T_UNTIL(atomic_load(&reuse->armed) == fds[0]);
	T_EQ(spg_close(fds[0]), 0);
	if (wait_for_hit)
		T_UNTIL(atomic_load(&reuse->hits) > hits);
	T_UNTIL(atomic_load(&crowd.ended) == READERS);
	atomic_store(&reuse->number, -1);
	T_UNTIL(atomic_load(&reuse->armed) < 0);
	close(fds[1]);
}

/* SPG_TEST_ROUNDS: how many; for long runs by hand. 0: two seconds. */
static uint64_t rounds_wanted(void)
{
	const char *text = getenv("SPG_TEST_ROUNDS");

	return text != NULL ? strtoull(text, NULL, 0) : 0;
}

static int reuse_main(void *arg)
{
	struct reuse reuse = { .number = -1, .armed = -1 };
	uint64_t wanted = rounds_wanted(), rounds = 0;
	int64_t end = spg_now() + 2 * SPG_SEC;
	pthread_t thread;

	(void)arg;
	T_EQ(pthread_create(&thread, NULL, open_always, &reuse), 0);
	for (; wanted > 0 ? rounds < wanted : spg_now() < end; rounds++)
		reuse_round(&reuse, rounds & 1, rounds % 4 == 0);
	atomic_store(&reuse.stop, true);
	T_EQ(pthread_join(thread, NULL), 0);
	fprintf(stderr, "close against open: %llu rounds, the number reused at once in %llu\n",
		(unsigned long long)rounds, (unsigned long long)atomic_load(&reuse.hits));
	T_OK(atomic_load(&reuse.hits) >= rounds / 4);
	return 0;
}

START_TEST(stress_close_never_touches_the_next_owner_s_number)
{
	t_run((unsigned)_i, reuse_main, NULL);
}
END_TEST

/* Goal: the deadline and the data come at the same moment: one of the two is reported, and is true. */
static void *write_at(void *arg)
{
	int *fds = arg;

	for (int i = 0; i < 20 + (int)(t_now_ns() % 64); i++)
		sched_yield();
	T_EQ(write(fds[1], "!", 1), 1);
	return NULL;
}

static int deadline_main(void *arg)
{
	int timed_out = 0, fds[2];

	(void)arg;
	streams(fds, false);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t thread;
		char byte = 0;
		ssize_t n;

		T_EQ(pthread_create(&thread, NULL, write_at, fds), 0);
		{
			SPG_TIMEOUT_SCOPE((20 + i % 100) * SPG_US);
			n = spg_read(fds[0], &byte, 1);
		}
		T_EQ(pthread_join(thread, NULL), 0);
		T_OK(n == 1 || n == -ETIMEDOUT);
		timed_out += n < 0;
		T_EQ(byte, n == 1 ? '!' : 0);
		if (n < 0)
			T_EQ(read(fds[0], &byte, 1), 1);
		T_EQ(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1); /* exactly one byte came */
	}
	fprintf(stderr, "deadline against data: %d of %d timed out\n", timed_out, ROUNDS);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

START_TEST(a_deadline_and_data_at_once_report_one_truth)
{
	t_run((unsigned)_i, deadline_main, NULL);
}
END_TEST

START_TEST(a_deadline_and_data_at_once_on_a_foreign_thread)
{
	deadline_main(NULL);
}
END_TEST

/* Goal: many coroutines canceled at once all return, soon. */
struct many {
	int fd;
	_Atomic int canceled;
};

static int many_read(void *arg)
{
	struct many *many = arg;
	char buf[16];

	T_EQ(spg_read(many->fd, buf, sizeof(buf)), -ECANCELED);
	atomic_fetch_add(&many->canceled, 1);
	return 0;
}

static int many_main(void *arg)
{
	struct many many = { 0 };
	spg_group *group = spg_group_new(0);
	int fds[2], n = t_tsan() ? 500 : 10000;
	int64_t started;

	(void)arg;
	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	many.fd = fds[0];
	for (int i = 0; i < n; i++)
		T_EQ(spg_group_go(group, many_read, &many), 0);
	await_inflight((uint64_t)n);
	started = spg_now();
	spg_group_cancel(group);
	(void)spg_group_wait(group);
	fprintf(stderr, "%d canceled within %lld us\n", n, (long long)((spg_now() - started) / 1000));
	T_EQ(atomic_load(&many.canceled), n);
	spg_group_free(group);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

START_TEST(ten_thousand_are_canceled_at_once)
{
	t_run((unsigned)_i, many_main, NULL);
}
END_TEST

/* Goal: cancels, closes, resets and data all at once: everything returns, with a result that can be. */
struct storm {
	int64_t end;
	uint64_t seed;
	_Atomic uint64_t rounds;
};

static void tcp_pair(int fds[2])
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(name);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	T_EQ(bind(listener, (struct sockaddr *)&name, sizeof(name)), 0);
	T_EQ(listen(listener, 1), 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&name, &len), 0);
	fds[0] = spg_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(spg_connect(fds[0], (struct sockaddr *)&name, len), 0);
	fds[1] = spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(fds[1] >= 0);
	T_EQ(spg_close(listener), 0);
}

static bool may_end_with(ssize_t n)
{
	return n == -ECANCELED || n == -ECONNRESET || n == -EPIPE || n == -EBADF;
}

static int storm_reader(void *arg)
{
	char buf[64];
	ssize_t n;

	do
		n = spg_read(*(int *)arg, buf, sizeof(buf));
	while (n > 0);
	T_OK(n == 0 || may_end_with(n));
	return 0;
}

static int storm_writer(void *arg)
{
	char buf[64] = { 0 };
	ssize_t n;

	do {
		n = spg_write(*(int *)arg, buf, sizeof(buf));
		spg_yield();
	} while (n > 0);
	T_OK(may_end_with(n));
	return 0;
}

/* What is still connected ends with a reset: thousands of rounds would use up the ports in TIME_WAIT. */
static void storm_hang_up(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	T_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	T_EQ(spg_close(fd), 0);
}

/* One of: cancel, close, reset by the peer, the peer's end. A closed one becomes -1. */
static void storm_strike(uint64_t kind, spg_group *group, int fds[2])
{
	switch (kind) {
	case 0:
		spg_group_cancel(group);
		break;
	case 1:
		T_EQ(spg_close(fds[0]), 0);
		fds[0] = -1;
		break;
	case 2:
		storm_hang_up(fds[1]);
		fds[1] = -1;
		break;
	default:
		(void)spg_shutdown(fds[1], SHUT_RDWR);
	}
}

/* A reader or writer that saw no end yet uses its own duplicate: a number closed here may be another's soon. */
static void storm_round(struct storm *storm, uint64_t *random)
{
	spg_group *group = spg_group_new(0);
	int fds[2], used[2];

	tcp_pair(fds);
	for (int i = 0; i < 2; i++)
		used[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
	T_EQ(spg_group_go(group, storm_reader, &used[0]), 0);
	T_EQ(spg_group_go(group, storm_writer, &used[1]), 0);
	if (t_random(random) & 1)
		spg_sleep((int64_t)(t_random(random) % 200) * SPG_US);
	storm_strike(t_random(random) % 4, group, fds);
	if (t_random(random) & 1)
		spg_sleep((int64_t)(t_random(random) % 50) * SPG_US);
	spg_group_cancel(group);
	(void)spg_group_wait(group);
	spg_group_free(group);
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			T_EQ(spg_close(fds[i]), 0);
		storm_hang_up(used[i]);
	}
	atomic_fetch_add(&storm->rounds, 1);
}

static int storm_worker(void *arg)
{
	struct storm *storm = arg;
	uint64_t random = storm->seed ^ spg_id() * 0x9E3779B97F4A7C15u;

	while (spg_now() < storm->end)
		storm_round(storm, &random);
	return 0;
}

static int storm_main(void *arg)
{
	struct storm storm = { .end = spg_now() + SPG_SEC, .seed = t_seed() };
	spg_group *group = spg_group_new(0);
	int before = t_fds_count();

	(void)arg;
	for (int i = 0; i < 8; i++)
		T_EQ(spg_group_go(group, storm_worker, &storm), 0);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	fprintf(stderr, "storm: %llu rounds\n", (unsigned long long)atomic_load(&storm.rounds));
	T_OK(t_fds_count() <= before + 1); /* the dead descriptor that spg_close keeps */
	return 0;
}

START_TEST(stress_cancels_closes_and_resets)
{
	t_run((unsigned)_i, storm_main, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_canceled_read_leaves_the_stack_alone), T_SHARDS(close_wakes_every_call_in_flight),
       T_SHARDS(close_by_a_foreign_thread_wakes_every_call), T_TEST(close_wakes_threads_without_a_runtime),
       T_SHARDS(stress_close_never_touches_the_next_owner_s_number),
       T_SHARDS(a_deadline_and_data_at_once_report_one_truth),
       T_TEST(a_deadline_and_data_at_once_on_a_foreign_thread), T_SHARDS(ten_thousand_are_canceled_at_once),
       T_SHARDS(stress_cancels_closes_and_resets))
