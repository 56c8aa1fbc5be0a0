/*
 * Streams: order, ends, leases, on sockets with a multishot receive and without.
 */
#include "test/stream.h"

#include "coro/fault.h"
#include "io/stream.h"

#include <fcntl.h>
#include <pthread.h>

static char part[1];

/* Holds some slices back, and releases them in another order; moves between shards now and then. */
static int recv_random(void *arg)
{
	enum { HELD = 5 };
	struct flow *f = arg;
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	uint64_t state = f->seed ^ 0x5bd1e995;
	spg_slice held[HELD] = { 0 }, slice;
	size_t got = 0;
	spg_stream *s;

	o.slices_max = (unsigned)(t_random(&state) % 4);
	s = spg_stream_open(f->fd, &o);
	T_OK(s != NULL);
	for (;;) {
		size_t k = t_random(&state) % HELD;

		T_EQ(spg_stream_recv(s, &slice), 0);
		if (slice.len == 0)
			break;
		check(&slice, got);
		got += slice.len;
		spg_slice_release(&held[k]);
		held[k] = slice;
		if (t_random(&state) % 4 == 0)
			spg_yield();
		if (t_random(&state) % 64 == 0)
			T_EQ(spg_sleep(50 * SPG_US), 0);
	}
	T_EQ(got, f->bytes);
	T_EQ(recv_checked(s, got), 0); /* the end stays */
	spg_stream_close(s);
	for (size_t k = 0; k < HELD; k++)
		spg_slice_release(&held[k]);
	return 0;
}

#define FLOWS 8

static int flows(void *arg)
{
	struct flow senders[FLOWS], readers[FLOWS];
	spg_group *group = spg_group_new(0);
	uint64_t seed = *(uint64_t *)arg;
	int fds[FLOWS][2];

	T_OK(group != NULL);
	for (int i = 0; i < FLOWS; i++) {
		pair(fds[i]);
		senders[i] = (struct flow){ fds[i][0], 200000, seed + (uint64_t)i };
		readers[i] = (struct flow){ fds[i][1], 200000, seed + (uint64_t)i };
		T_EQ(spg_group_go(group, recv_random, &readers[i]), 0);
		T_EQ(spg_group_go(group, send_random, &senders[i]), 0);
	}
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	for (int i = 0; i < FLOWS; i++) {
		T_EQ(spg_close(fds[i][0]), 0);
		T_EQ(spg_close(fds[i][1]), 0);
	}
	return 0;
}

/* Goal: every byte once and in order, whatever the sizes, the bounds and the shards do. */
START_TEST(prop_bytes_come_in_order)
{
	uint64_t seed = t_seed();

	run_all_ways((unsigned)_i, flows, &seed);
}
END_TEST

/* Goal: the same with rings so small that queues overflow, and operations' completions that come late. */
START_TEST(prop_bytes_come_in_order_by_tiny_rings)
{
	spg_config cfg = t_config((unsigned)_i);
	uint64_t seed = t_seed();

	cfg.ring_entries = 8;
	spg__fault_arm(SPG__FAULT_LATE, 100, 2000, -EAGAIN);
	T_EQ(t_run_config(&cfg, flows, &seed), 0);
	spg__fault_arm(SPG__FAULT_SUBMIT, 100, 2000, -EBUSY);
	T_EQ(t_run_config(&cfg, flows, &seed), 0);
	spg__fault_disarm(SPG__FAULT_LATE);
	spg__fault_disarm(SPG__FAULT_SUBMIT);
}
END_TEST

static int end_after_data(void *arg)
{
	int fds[2];
	spg_stream *s;

	(void)arg;
	pair(fds);
	send_bytes(fds[0], 0, 10000);
	T_EQ(shutdown(fds[0], SHUT_WR), 0);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	recv_exactly(s, 0, 10000);
	T_EQ(recv_checked(s, 0), 0);
	T_EQ(recv_checked(s, 0), 0);
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: data, then the end, again and again. */
START_TEST(the_end_comes_after_the_data)
{
	run_all_ways((unsigned)_i, end_after_data, NULL);
}
END_TEST

static bool in_flight(spg_stream *s)
{
	bool armed;

	spg__lock(&s->lock);
	armed = s->armed;
	spg__unlock(&s->lock);
	return armed;
}

static int reset_after_data(void *arg)
{
	spg_slice slice;
	spg_stream *s;
	int fds[2];

	(void)arg;
	tcp_pair(fds);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	send_bytes(fds[0], 0, 1000);
	recv_exactly(s, 0, 1000);
	send_bytes(fds[0], 1000, 1000);
	close(fds[0]);
	/* Both are there, if they came ahead. */
	T_UNTIL(!in_flight(s));
	recv_exactly(s, 1000, 1000);
	T_ERR(spg_stream_recv(s, &slice), -ECONNRESET);
	T_OK(slice.data == NULL);
	T_EQ(recv_checked(s, 0), 0); /* as recv(2) tells it: once */
	spg_stream_close(s);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: an error comes after the data before it, once. */
START_TEST(an_error_comes_after_the_data)
{
	run_all_ways((unsigned)_i, reset_after_data, NULL);
}
END_TEST

static int deadlines(void *arg)
{
	spg_slice slice;
	size_t got = 0;
	spg_stream *s;
	int fds[2];

	(void)arg;
	pair(fds);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	for (int i = 0; i < 50; i++) {
		{
			SPG_TIMEOUT_SCOPE(SPG_MS / 2);
			T_ERR(spg_stream_recv(s, &slice), -ETIMEDOUT);
			T_ERR(spg_stream_recv(s, &slice), -ETIMEDOUT); /* on entry */
		}
		/* With the receive of the call that timed out still in flight. */
		send_bytes(fds[0], got, 100);
		{
			SPG_TIMEOUT_SCOPE(0);
			T_ERR(spg_stream_recv(s, &slice), -ETIMEDOUT);
		}
		while (got < (size_t)(i + 1) * 100)
			got += recv_checked(s, got);
		T_EQ(got, (size_t)(i + 1) * 100);
	}
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: what arrives for a receive that gave up is there for the next one. */
START_TEST(a_deadline_loses_nothing)
{
	run_all_ways((unsigned)_i, deadlines, NULL);
}
END_TEST

static int cancel_and_close(void *arg)
{
	struct reader r;
	spg_slice slice;
	spg_task *task;
	spg_stream *s;
	int fds[2];

	(void)arg;
	pair(fds);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	task = start_reader(&r, s);
	T_ERR(spg_sleep(SPG_MS), 0);
	T_ERR(spg_stream_recv(s, &slice), -EBUSY);
	T_EQ(spg_task_cancel(task), 0);
	T_EQ(spg_join(task, NULL), 0);
	T_ERR(r.result, -ECANCELED);
	send_bytes(fds[0], 0, 100);
	recv_exactly(s, 0, 100);
	task = start_reader(&r, s);
	T_ERR(spg_sleep(SPG_MS), 0);
	T_EQ(spg_close(fds[1]), 0);
	T_EQ(spg_join(task, NULL), 0);
	T_ERR(r.result, -ECANCELED);
	/* The number may be another's by now. */
	T_ERR(spg_stream_recv(s, &slice), -ECANCELED);
	T_ERR(spg_stream_send_all(s, &(struct iovec){ part, 1 }, 1), -ECANCELED);
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	return 0;
}

/* Goal: the context and spg_close end a receive; a stream whose descriptor was closed touches no other. */
START_TEST(a_cancel_and_a_close_end_it)
{
	run_all_ways((unsigned)_i, cancel_and_close, NULL);
}
END_TEST

static int close_keeps_slices(void *arg)
{
	spg_slice slices[3];
	spg_stream *s;
	char buf[32];
	int fds[2];

	(void)arg;
	pair(fds);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	for (size_t i = 0; i < 3; i++) {
		send_bytes(fds[0], 100 * i, 100);
		T_EQ(spg_stream_recv(s, &slices[i]), 0);
		T_EQ(slices[i].len, 100);
	}
	spg_stream_close(s);
	/* The stream reads nothing any more: this is for the descriptor's next reader. */
	T_EQ(spg_write_all(fds[0], "after the stream", 16), 16);
	T_EQ(spg_read(fds[1], buf, sizeof(buf)), 16);
	T_OK(memcmp(buf, "after the stream", 16) == 0);
	for (size_t i = 0; i < 3; i++) {
		check(&slices[i], 100 * i);
		memset(slices[i].data, 'x', slices[i].len);
		spg_slice_release(&slices[i]);
		spg_slice_release(&slices[i]);
	}
	spg_slice_release(NULL);
	spg_stream_close(NULL);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: slices outlive their stream, and the descriptor is free for others after the close. */
START_TEST(slices_outlive_the_stream)
{
	run_all_ways((unsigned)_i, close_keeps_slices, NULL);
}
END_TEST

static int bad_arguments(void *arg)
{
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	struct iovec iov = { NULL, 0 };
	spg_slice slice;
	spg_stream *s;
	int fds[2];

	(void)arg;
	pair(fds);
	T_OK(spg_stream_open(-1, NULL) == NULL);
	T_OK(spg_stream_open(100000, NULL) == NULL);
	o.slice_bytes = SPG_SLICE_BYTES_MAX + 1;
	T_OK(spg_stream_open(fds[0], &o) == NULL);
	s = spg_stream_open(fds[0], NULL);
	T_OK(s != NULL);
	T_ERR(spg_stream_recv(NULL, &slice), -EINVAL);
	T_ERR(spg_stream_recv(s, NULL), -EINVAL);
	T_ERR(spg_stream_send_all(NULL, &iov, 1), -EINVAL);
	T_ERR(spg_stream_send_all(s, NULL, 1), -EINVAL);
	T_ERR(spg_stream_send_all(s, &iov, -1), -EINVAL);
	T_EQ(spg_stream_send_all(s, NULL, 0), 0);
	T_EQ(spg_stream_send_all(s, &iov, 1), 0);
	T_EQ(shutdown(fds[0], SHUT_WR), 0);
	T_ERR(spg_stream_send_all(s, &(struct iovec){ part, 1 }, 1), -EPIPE);
	spg_stream_close(s);
	T_EQ(spg_close(fds[1]), 0);
	T_EQ(spg_close(fds[0]), 0);
	return 0;
}

/* Goal: each error that the header names. */
START_TEST(bad_arguments_are_errors)
{
	run_all_ways((unsigned)_i, bad_arguments, NULL);
}
END_TEST

struct left {
	int fds[2];
	spg_stream *s;
	spg_slice slice;
};

static int leave_it_armed(void *arg)
{
	struct left *l = arg;
	struct reader r;
	spg_task *task;

	l->s = l->s != NULL ? l->s : spg_stream_open(l->fds[1], NULL);
	T_OK(l->s != NULL);
	send_bytes(l->fds[0], 0, 100);
	T_EQ(spg_stream_recv(l->s, &l->slice), 0);
	T_EQ(l->slice.len, 100);
	task = start_reader(&r, l->s);
	T_EQ(spg_task_cancel(task), 0);
	T_EQ(spg_join(task, NULL), 0);
	return 0;
}

/* Goal: a runtime that ends takes back what is in flight; the stream and its slices go on, on a thread and in the next one. */
START_TEST(streams_and_slices_outlive_the_runtime)
{
	struct left l = { 0 };
	unsigned char bytes[50];
	spg_slice first;

	pair(l.fds);
	t_run((unsigned)_i, leave_it_armed, &l);
	check(&l.slice, 0);
	fill(bytes, 0, sizeof(bytes));
	T_EQ(write(l.fds[0], bytes, sizeof(bytes)), sizeof(bytes));
	T_EQ(recv_checked(l.s, 0), sizeof(bytes));
	first = l.slice;
	t_run((unsigned)_i, leave_it_armed, &l);
	check(&first, 0);
	check(&l.slice, 0);
	spg_slice_release(&l.slice);
	spg_stream_close(l.s);
	check(&first, 0);
	spg_slice_release(&first);
	close(l.fds[0]);
	close(l.fds[1]);
}
END_TEST

static void *thread_reads(void *arg)
{
	struct left *l = arg;
	spg_slice slice;
	size_t got = 0;

	while (got < 100000) {
		T_EQ(spg_stream_recv(l->s, &slice), 0);
		check(&slice, got);
		got += slice.len;
		spg_slice_release(&slice);
	}
	spg_slice_release(&l->slice);
	spg_stream_close(l->s);
	return NULL;
}

static int thread_takes_over(void *arg)
{
	struct left l = { 0 };
	pthread_t thread;
	_Atomic bool done = false;

	(void)arg;
	(void)done;
	pair(l.fds);
	leave_it_armed(&l);
	T_EQ(pthread_create(&thread, NULL, thread_reads, &l), 0);
	send_bytes(l.fds[0], 0, 100000);
	while (pthread_tryjoin_np(thread, NULL) != 0)
		T_EQ(spg_sleep(SPG_MS), 0);
	T_EQ(spg_close(l.fds[0]), 0);
	T_EQ(spg_close(l.fds[1]), 0);
	return 0;
}

/* Goal: a plain thread takes what a coroutine's receive has in flight, goes on without it, releases and closes. */
START_TEST(a_plain_thread_takes_over)
{
	run_all_ways((unsigned)_i, thread_takes_over, NULL);
}
END_TEST

/* Goal: all of it on a thread without any runtime. */
START_TEST(a_plain_thread_needs_no_runtime)
{
	int fds[2];
	spg_slice slice;
	spg_stream *s;

	pair(fds);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	send_bytes(fds[0], 0, 10000);
	recv_exactly(s, 0, 10000);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_stream_recv(s, &slice), -ETIMEDOUT);
	}
	T_EQ(spg_stream_send_all(s, &(struct iovec){ part, 1 }, 1), 0);
	T_EQ(read(fds[0], &slice, 1), 1);
	T_EQ(shutdown(fds[0], SHUT_WR), 0);
	T_EQ(recv_checked(s, 0), 0);
	spg_stream_close(s);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static int nonblocking(void *arg)
{
	int fds[2], pipe_fds[2];
	spg_stream *s;

	(void)arg;
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	for (size_t i = 0; i < 10; i++) {
		send_bytes(fds[0], i * 10, 10);
		T_EQ(recv_checked(s, i * 10), 10);
	}
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	T_EQ(spg_pipe2(pipe_fds, O_CLOEXEC), 0);
	s = spg_stream_open(pipe_fds[0], NULL);
	T_OK(s != NULL);
	send_bytes(pipe_fds[1], 0, 9000);
	recv_exactly(s, 0, 9000);
	T_EQ(spg_close(pipe_fds[1]), 0);
	T_EQ(recv_checked(s, 0), 0);
	spg_stream_close(s);
	s = spg_stream_open(fds[0] = spg_open("/dev/null", O_RDWR | O_CLOEXEC, 0), NULL);
	T_OK(s != NULL);
	T_EQ(recv_checked(s, 0), 0);
	T_EQ(spg_stream_send_all(s, (struct iovec[]){ { part, 1 }, { part, 0 }, { part, 1 } }, 3), 0);
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(pipe_fds[0]), 0);
	return 0;
}

/* Goal: O_NONBLOCK sockets, pipes and devices are streams as well. */
START_TEST(anything_that_can_be_read_is_a_stream)
{
	run_all_ways((unsigned)_i, nonblocking, NULL);
}
END_TEST

#define PARTS 3000

static int send_parts(void *arg)
{
	static unsigned char bytes[PARTS * 50];
	static struct iovec iov[PARTS];
	spg_stream *s = arg;
	size_t at = 0;

	fill(bytes, 0, sizeof(bytes));
	for (size_t i = 0; i < PARTS; i++) {
		iov[i] = (struct iovec){ bytes + at, i % 3 == 0 ? 0 : 75 };
		at += iov[i].iov_len;
	}
	T_EQ(at, sizeof(bytes));
	T_EQ(spg_stream_send_all(s, iov, PARTS), 0);
	return 0;
}

static int send_and_recv(void *arg)
{
	spg_group *group = spg_group_new(0);
	int fds[2], small = 4096;
	spg_stream *from, *to;

	(void)arg;
	T_OK(group != NULL);
	pair(fds);
	T_EQ(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	from = spg_stream_open(fds[0], NULL);
	to = spg_stream_open(fds[1], NULL);
	T_OK(from != NULL && to != NULL);
	T_EQ(spg_group_go(group, send_parts, from), 0);
	recv_exactly(to, 0, PARTS * 50);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	spg_stream_close(from);
	spg_stream_close(to);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: more parts than one call takes, some of them empty, through a buffer that takes a few. */
START_TEST(every_part_is_sent)
{
	run_all_ways((unsigned)_i, send_and_recv, NULL);
}
END_TEST

T_MAIN(T_SHARDS(prop_bytes_come_in_order), T_SHARDS(prop_bytes_come_in_order_by_tiny_rings),
       T_SHARDS(the_end_comes_after_the_data),
       T_SHARDS(an_error_comes_after_the_data), T_SHARDS(a_deadline_loses_nothing),
       T_SHARDS(a_cancel_and_a_close_end_it), T_SHARDS(slices_outlive_the_stream),
       T_SHARDS(bad_arguments_are_errors), T_SHARDS(streams_and_slices_outlive_the_runtime), T_SHARDS(a_plain_thread_takes_over),
       T_TEST(a_plain_thread_needs_no_runtime), T_SHARDS(anything_that_can_be_read_is_a_stream),
       T_SHARDS(every_part_is_sent))
