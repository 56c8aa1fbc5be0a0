#include "t.h"
#include "refusal.h"

#include "coro/fault.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PAIRS 8
#define MESSAGES 200
#define MESSAGE_BYTES 64

/* Echo traffic, every byte checked. */
static int echo_server(void *arg)
{
	int fd = *(int *)arg;
	char buf[MESSAGE_BYTES];
	ssize_t n;

	while ((n = spg_read(fd, buf, sizeof(buf))) > 0)
		T_EQ(spg_write_all(fd, buf, (size_t)n), n);
	T_EQ(n, 0);
	return 0;
}

static int echo_client(void *arg)
{
	int fd = *(int *)arg;
	char out[MESSAGE_BYTES], in[MESSAGE_BYTES];

	for (int i = 0; i < MESSAGES; i++) {
		for (size_t j = 0; j < sizeof(out); j++)
			out[j] = (char)(i * 31 + (int)j);
		T_EQ(spg_write_all(fd, out, sizeof(out)), sizeof(out));
		T_EQ(spg_read_full(fd, in, sizeof(in)), sizeof(in));
		T_EQ(memcmp(in, out, sizeof(in)), 0);
	}
	return spg_shutdown(fd, SHUT_WR);
}

static int echo_traffic(void *arg)
{
	int fds[PAIRS][2];
	spg_group *group = spg_group_new(0);

	(void)arg;
	for (int i = 0; i < PAIRS; i++) {
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
		T_EQ(spg_group_go(group, echo_server, &fds[i][1]), 0);
		T_EQ(spg_group_go(group, echo_client, &fds[i][0]), 0);
	}
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	for (int i = 0; i < PAIRS; i++) {
		T_EQ(spg_close(fds[i][0]), 0);
		T_EQ(spg_close(fds[i][1]), 0);
	}
	return 0;
}

/* Goal: completions that come late and in another order change nothing. */
START_TEST(fault_late_completions_change_nothing)
{
	spg__fault_arm(SPG__FAULT_LATE, 1, 3000, -1);
	t_run((unsigned)_i, echo_traffic, NULL);
	spg__fault_disarm(SPG__FAULT_LATE);
}
END_TEST

/* Goal: reads and writes of one byte each change nothing. */
START_TEST(fault_short_moves_change_nothing)
{
	spg__fault_arm(SPG__FAULT_SHORT, 1, 20000, -1);
	t_run((unsigned)_i, echo_traffic, NULL);
	spg__fault_disarm(SPG__FAULT_SHORT);
}
END_TEST

/* Goal: a kernel that refuses to take submissions for a while is asked again. */
static int refused_traffic(void *arg)
{
	return run_refused(*(int *)arg, 3, echo_traffic);
}

START_TEST(fault_refused_submissions_are_tried_again)
{
	int errs[] = { -EINTR, -EAGAIN, -EBUSY, -ENOMEM };

	for (int i = 0; i < 4; i++)
		t_run((unsigned)_i, refused_traffic, &errs[i]);
	spg__fault_disarm(SPG__FAULT_SUBMIT);
}
END_TEST

/* Goal: more operations than the queue has entries: the callers wait their turn. */
struct crowd {
	int fd;
	_Atomic int woken;
};

static int crowd_poll(void *arg)
{
	struct crowd *crowd = arg;

	T_EQ(spg_poll(crowd->fd, POLLIN, -1), POLLIN);
	atomic_fetch_add(&crowd->woken, 1);
	return 0;
}

#define CROWD 600

/* arg: not NULL when the completion queue must overflow. */
static int crowd_main(void *arg)
{
	struct crowd crowd = { .fd = eventfd(0, EFD_CLOEXEC) };
	spg_group *group = spg_group_new(0);
	spg_stats_t *stats = malloc(sizeof(*stats));
	uint64_t one = 1;

	for (int i = 0; i < CROWD; i++)
		T_EQ(spg_group_go(group, crowd_poll, &crowd), 0);
	do {
		spg_yield();
		T_EQ(spg_stats(stats), 0);
	} while (stats->total.inflight < CROWD);
	T_OK(stats->total.sq_full > 0);
	/* All of them complete at once: far more than the completion queue holds. */
	T_EQ(write(crowd.fd, &one, sizeof(one)), sizeof(one));
	T_EQ(spg_group_wait(group), 0);
	T_EQ(atomic_load(&crowd.woken), CROWD);
	T_EQ(spg_stats(stats), 0);
	T_EQ(stats->total.inflight, 0);
	fprintf(stderr, "full queue: %llu times, overflow: %llu times\n",
		(unsigned long long)stats->total.sq_full, (unsigned long long)stats->total.cq_overflow);
	if (arg != NULL)
		T_OK(stats->total.cq_overflow > 0);
	spg_group_free(group);
	free(stats);
	close(crowd.fd);
	return 0;
}

START_TEST(fault_small_queues_lose_nothing)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.ring_entries = 8;
	T_EQ(t_run_config(&cfg, crowd_main, NULL), 0);
	T_EQ(t_run_config(&cfg, echo_traffic, NULL), 0);
	/* With deferred task work the kernel hands out completions in portions, and none overflows. */
	cfg.disable = "defer_taskrun";
	T_EQ(t_run_config(&cfg, crowd_main, &cfg), 0);
}
END_TEST

/* Goal: a cancel finds its operation although the queue is full at that moment. */
static int canceled_poll(void *arg)
{
	T_EQ(spg_poll(*(int *)arg, POLLIN, -1), -ECANCELED);
	return 0;
}

static int cancel_full_main(void *arg)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	spg_group *group = spg_group_new(0);

	(void)arg;
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < CROWD / 4; i++)
			T_EQ(spg_group_go(group, canceled_poll, &fd), 0);
		spg_yield();
		spg_group_cancel(group);
		(void)spg_group_wait(group);
		spg_group_free(group);
		group = spg_group_new(0);
	}
	spg_group_free(group);
	return close(fd);
}

START_TEST(fault_cancels_go_through_a_full_queue)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.ring_entries = 8;
	T_EQ(t_run_config(&cfg, cancel_full_main, NULL), 0);
	spg__fault_arm(SPG__FAULT_LATE, 1, 500, -1);
	T_EQ(t_run_config(&cfg, cancel_full_main, NULL), 0);
	spg__fault_disarm(SPG__FAULT_LATE);
}
END_TEST

/* Goal: out of descriptors, an accept says so, and the connection is still there afterwards. */
static int emfile_main(void *arg)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(name);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), guest, fd;
	struct rlimit limit, low;

	(void)arg;
	T_EQ(bind(listener, (struct sockaddr *)&name, sizeof(sa_family_t)), 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&name, &len), 0);
	T_EQ(listen(listener, 4), 0);
	guest = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(connect(guest, (struct sockaddr *)&name, len), 0);
	fd = dup(guest); /* the highest number in use is below this one */
	close(fd);
	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)fd;
	T_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	T_EQ(spg_accept(listener, NULL, NULL), -EMFILE);
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fd = spg_accept(listener, NULL, NULL);
	T_OK(fd >= 0);
	close(fd);
	close(guest);
	close(listener);
	return 0;
}

START_TEST(fault_accept_without_descriptors_says_emfile)
{
	t_run(1, emfile_main, NULL);
	T_EQ(emfile_main(NULL), 0);
}
END_TEST

/* Goal: a thread that gets no wake descriptor still waits, and still hears of cancels and data. */
static void *starved_read(void *arg)
{
	int *fds = arg;
	char byte;
	{
		SPG_TIMEOUT_SCOPE(5 * SPG_MS);
		T_EQ(spg_read(fds[0], &byte, 1), -ETIMEDOUT);
	}
	T_EQ(spg_read(fds[0], &byte, 1), 1);
	T_EQ(spg_read(fds[0], &byte, 1), -ECANCELED);
	return NULL;
}

START_TEST(fault_threads_wait_without_a_wake_descriptor)
{
	struct rlimit limit, low;
	pthread_t thread;
	int fds[2], next;

	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	next = dup(fds[0]);
	close(next);
	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)next;
	T_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	T_EQ(pthread_create(&thread, NULL, starved_read, fds), 0);
	usleep(20000);
	T_EQ(write(fds[1], "x", 1), 1);
	usleep(20000);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	close(fds[1]);
}
END_TEST

/* Goal: without memory calls say so and nothing else happens. */
static int no_memory_main(void *arg)
{
	int fds[2];

	(void)arg;
	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	T_EQ(write(fds[1], "abc", 3), 3);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_EQ(spg_copy(fds[1], fds[0], 3), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_EQ(spg_copy(fds[1], fds[0], 3), 3);
	close(fds[0]);
	return close(fds[1]);
}

static void *first_call(void *arg)
{
	(void)arg;
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_EQ(spg_poll(0, POLLOUT, 0), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_OK(spg_poll(2, POLLOUT, 0) >= 0);
	return NULL;
}

START_TEST(fault_no_memory_is_reported)
{
	pthread_t thread;

	t_run(1, no_memory_main, NULL);
	T_EQ(pthread_create(&thread, NULL, first_call, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
}
END_TEST

T_MAIN(T_SHARDS(fault_late_completions_change_nothing), T_SHARDS(fault_short_moves_change_nothing),
       T_SHARDS(fault_refused_submissions_are_tried_again), T_SHARDS(fault_small_queues_lose_nothing),
       T_SHARDS(fault_cancels_go_through_a_full_queue), T_TEST(fault_accept_without_descriptors_says_emfile),
       T_TEST(fault_threads_wait_without_a_wake_descriptor), T_TEST(fault_no_memory_is_reported))
