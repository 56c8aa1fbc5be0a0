/* Channels: what one operation does, alone and with parked peers. */
#include "chan_look.h"

#include "coro/fault.h"

SPG_CHAN_DEFINE(long_chan, long)

static void sizes_and_arguments(void)
{
	spg_chan *c = spg_chan_new(8, 3);
	uint64_t v = 1;

	T_OK(c != NULL);
	T_EQ(spg_chan_cap(c), 3);
	T_EQ(spg_chan_len(c), 0);
	T_EQ(spg_chan_send(c, &v), 0);
	T_EQ(spg_chan_len(c), 1);
	T_ERR(spg_chan_send(c, NULL), -EINVAL);
	T_ERR(spg_chan_try_send(c, NULL), -EINVAL);
	T_ERR(spg_chan_send(NULL, &v), -EINVAL);
	T_ERR(spg_chan_recv(NULL, &v), -EINVAL);
	T_ERR(spg_chan_try_send(NULL, &v), -EINVAL);
	T_ERR(spg_chan_try_recv(NULL, &v), -EINVAL);
	T_ERR(spg_chan_close(NULL), -EINVAL);
	T_EQ(spg_chan_len(NULL), 0);
	T_EQ(spg_chan_cap(NULL), 0);
	T_OK(spg_chan_ref(NULL) == NULL);
	spg_chan_unref(NULL);
	T_OK(spg_chan_ref(c) == c);
	spg_chan_unref(c);
	T_EQ(spg_chan_recv(c, &v), 0);
	spg_chan_unref(c);

	T_OK(spg_chan_new(SIZE_MAX, 2) == NULL);
	T_OK(spg_chan_new(SIZE_MAX / 2, 2) == NULL);
	T_OK(spg_chan_new(1, SIZE_MAX) == NULL);
	T_OK(spg_chan_new(2, PTRDIFF_MAX / 2) == NULL);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_OK(spg_chan_new(8, 1) == NULL);
	spg__fault_disarm(SPG__FAULT_ALLOC);
}

/* Goal: sizes that overflow, NULL and lack of memory are told by results. */
START_TEST(arguments_are_checked)
{
	sizes_and_arguments();
}
END_TEST

static int buffered(void *arg)
{
	long_chan *c = long_chan_new(5);
	long v = 0;

	(void)arg;
	for (long round = 0; round < 23; round++) { /* the ring wraps at every place */
		for (long i = 0; i < 5; i++)
			T_EQ(long_chan_send(c, round * 10 + i), 0);
		T_EQ(spg_chan_len(c), 5);
		T_ERR(long_chan_try_send(c, 99), -EAGAIN);
		for (long i = 0; i < 3; i++) {
			T_EQ(long_chan_recv(c, &v), 0);
			T_EQ(v, round * 10 + i);
		}
		T_EQ(long_chan_try_send(c, -round), 0);
		T_EQ(spg_chan_recv(c, NULL), 0); /* drops the fourth */
		T_EQ(spg_chan_try_recv(c, NULL), 0);
		T_EQ(long_chan_try_recv(c, &v), 0);
		T_EQ(v, -round);
		T_ERR(long_chan_try_recv(c, &v), -EAGAIN);
		T_EQ(v, -round);
	}
	T_EQ(long_chan_send(c, 7), 0);
	T_EQ(long_chan_send(c, 8), 0);
	T_EQ(spg_chan_close(c), 0);
	T_ERR(spg_chan_close(c), -EPIPE);
	T_ERR(long_chan_send(c, 9), -EPIPE);
	T_ERR(long_chan_try_send(c, 9), -EPIPE);
	T_EQ(spg_chan_len(c), 2);
	T_EQ(long_chan_recv(c, &v), 0);
	T_EQ(v, 7);
	T_EQ(long_chan_try_recv(c, &v), 0);
	T_EQ(v, 8);
	T_ERR(long_chan_recv(c, &v), -EPIPE);
	T_EQ(v, 0);
	v = 1;
	T_ERR(long_chan_try_recv(c, &v), -EPIPE);
	T_EQ(v, 0);
	T_ERR(spg_chan_recv(c, NULL), -EPIPE);
	spg_chan_unref(c);
	return 0;
}

/* Goal: a buffer is first in, first out, and drains after the close; then values are zero. */
START_TEST(a_buffer_is_fifo_and_drains_after_close)
{
	t_run((unsigned)_i, buffered, NULL);
}
END_TEST

/* And on a thread that knows no runtime. */
START_TEST(a_buffer_works_without_a_runtime)
{
	T_EQ(buffered(NULL), 0);
}
END_TEST

struct sized {
	spg_chan *c;
	size_t size;
	int values;
};

static void fill(unsigned char *buf, size_t size, int seed)
{
	for (size_t i = 0; i < size; i++)
		buf[i] = (unsigned char)((size_t)seed * 31 + i * 7 + 1);
}

static void send_sized(void *arg)
{
	struct sized *s = arg;
	unsigned char *buf = malloc(s->size + 1);

	for (int i = 0; i < s->values; i++) {
		fill(buf, s->size, i);
		T_EQ(spg_chan_send(s->c, buf), 0);
		memset(buf, 0xEE, s->size); /* the value is the receiver's by now */
	}
	free(buf);
}

static void recv_sized(struct sized *s)
{
	unsigned char *buf = malloc(s->size + 1), *want = malloc(s->size + 1);

	for (int i = 0; i < s->values; i++) {
		buf[s->size] = 0xA5;
		T_EQ(spg_chan_recv(s->c, buf), 0);
		fill(want, s->size, i);
		T_OK(memcmp(buf, want, s->size) == 0);
		T_EQ(buf[s->size], 0xA5);
	}
	T_EQ(spg_chan_close(s->c), 0);
	T_ERR(spg_chan_recv(s->c, buf), -EPIPE);
	for (size_t i = 0; i < s->size; i++)
		T_EQ(buf[i], 0);
	T_EQ(buf[s->size], 0xA5);
	free(buf);
	free(want);
}

static int all_sizes(void *arg)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 63, 64, 1000, 100000 };
	static const size_t caps[] = { 0, 1, 3 };

	(void)arg;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int k = 0; k < 6; k++) {
			struct sized s = { spg_chan_new(sizes[i], caps[k / 2]), sizes[i], 9 };
			struct crowd crowd;

			crowd_start(&crowd, k % 2 == 0, k % 2, send_sized, &s);
			if (i % 2 == 0) /* senders wait; else it is as it comes */
				T_UNTIL(look_senders(s.c) == 1);
			recv_sized(&s);
			crowd_wait(&crowd);
			look_empty(s.c);
			spg_chan_unref(s.c);
		}
	}
	return 0;
}

/* Goal: values of every size arrive whole, from coroutines and threads, straight and buffered. */
START_TEST(values_of_all_sizes_arrive_whole)
{
	t_run((unsigned)_i, all_sizes, NULL);
}
END_TEST

static int empty_values(void *arg)
{
	spg_chan *c = spg_chan_new(0, SIZE_MAX); /* only a counter: any capacity will do */

	(void)arg;
	for (int i = 0; i < 1000; i++)
		T_EQ(spg_chan_send(c, NULL), 0);
	T_EQ(spg_chan_len(c), 1000);
	for (int i = 0; i < 1000; i++)
		T_EQ(spg_chan_recv(c, NULL), 0);
	T_ERR(spg_chan_try_recv(c, NULL), -EAGAIN);
	spg_chan_unref(c);
	return 0;
}

/* Goal: values without a size count. */
START_TEST(values_of_size_zero_count)
{
	t_run((unsigned)_i, empty_values, NULL);
}
END_TEST

struct line {
	spg_chan *c;
	_Atomic int joined;
	int order[64];
	int result;
};

/* The n-th to come: waits until the others before it are in the queue. */
static void line_recv(void *arg)
{
	struct line *l = arg;
	int me = atomic_fetch_add(&l->joined, 1), v = 0;

	T_UNTIL(look_receivers(l->c) == (size_t)me);
	T_EQ(spg_chan_recv(l->c, &v), l->result);
	l->order[me] = v;
}

static void line_send(void *arg)
{
	struct line *l = arg;
	int me = atomic_fetch_add(&l->joined, 1);

	T_UNTIL(look_senders(l->c) == (size_t)me);
	T_EQ(spg_chan_send(l->c, &me), l->result);
	l->order[me] = me;
}

static int receivers_in_line(void *arg)
{
	struct line l = { .c = spg_chan_new(sizeof(int), *(size_t *)arg) };
	struct crowd crowd;

	crowd_start(&crowd, 10, 3, line_recv, &l);
	T_UNTIL(look_receivers(l.c) == 13);
	for (int i = 0; i < 13; i++) {
		int v = 100 + i;

		T_EQ(spg_chan_try_send(l.c, &v), 0);
		T_EQ(spg_chan_len(l.c), 0); /* straight to the waiting one */
	}
	crowd_wait(&crowd);
	for (int i = 0; i < 13; i++)
		T_EQ(l.order[i], 100 + i);
	spg_chan_unref(l.c);
	return 0;
}

/* Goal: the longest waiting receiver is served first, buffered or not. */
START_TEST(receivers_are_served_in_order)
{
	size_t cap = 0;

	t_run((unsigned)_i, receivers_in_line, &cap);
	cap = 4;
	t_run((unsigned)_i, receivers_in_line, &cap);
}
END_TEST

static int senders_in_line(void *arg)
{
	size_t cap = *(size_t *)arg;
	struct line l = { .c = spg_chan_new(sizeof(int), cap) };
	struct crowd crowd;
	int v;

	for (int i = 0; i < (int)cap; i++) {
		v = -i;
		T_EQ(spg_chan_send(l.c, &v), 0);
	}
	crowd_start(&crowd, 10, 3, line_send, &l);
	T_UNTIL(look_senders(l.c) == 13);
	for (int i = 0; i < (int)cap; i++) {
		T_EQ(spg_chan_try_recv(l.c, &v), 0);
		T_EQ(v, -i);
		T_EQ(spg_chan_len(l.c), cap); /* the oldest sender's value has moved up */
	}
	for (int i = 0; i < 13; i++) {
		T_EQ(spg_chan_try_recv(l.c, &v), 0);
		T_EQ(v, i);
	}
	T_ERR(spg_chan_try_recv(l.c, &v), -EAGAIN);
	crowd_wait(&crowd);
	spg_chan_unref(l.c);
	return 0;
}

/* Goal: the longest waiting sender is served first, and values keep their order. */
START_TEST(senders_are_served_in_order)
{
	size_t cap = 0;

	t_run((unsigned)_i, senders_in_line, &cap);
	cap = 4;
	t_run((unsigned)_i, senders_in_line, &cap);
}
END_TEST

struct closing {
	spg_chan *c;
	_Atomic int ended;
};

static void recv_closed(void *arg)
{
	struct closing *s = arg;
	unsigned char v[3] = { 1, 2, 3 };

	T_ERR(spg_chan_recv(s->c, v), -EPIPE);
	T_OK(v[0] == 0 && v[1] == 0 && v[2] == 0);
	atomic_fetch_add(&s->ended, 1);
}

static void recv_closed_drop(void *arg)
{
	struct closing *s = arg;

	T_ERR(spg_chan_recv(s->c, NULL), -EPIPE);
	atomic_fetch_add(&s->ended, 1);
}

static void send_closed(void *arg)
{
	struct closing *s = arg;

	T_ERR(spg_chan_send(s->c, "abc"), -EPIPE);
	atomic_fetch_add(&s->ended, 1);
}

static int close_all(void *arg)
{
	(void)arg;
	for (int round = 0; round < 3; round++) {
		void (*const fns[])(void *) = { recv_closed, recv_closed_drop, send_closed };
		struct closing s = { .c = spg_chan_new(3, round == 2 ? 2 : 0) };
		struct crowd crowd;
		char v[3];

		for (size_t i = 0; i < spg_chan_cap(s.c); i++)
			T_EQ(spg_chan_send(s.c, "xyz"), 0);
		crowd_start(&crowd, 200, 4, fns[round], &s);
		T_UNTIL(look_receivers(s.c) + look_senders(s.c) == 204);
		T_EQ(spg_chan_close(s.c), 0);
		/* None of those who waited sends any more. */
		for (size_t i = 0; i < spg_chan_cap(s.c); i++) {
			T_EQ(spg_chan_try_recv(s.c, v), 0);
			T_OK(memcmp(v, "xyz", 3) == 0);
		}
		T_ERR(spg_chan_try_recv(s.c, v), -EPIPE);
		crowd_wait(&crowd);
		T_EQ(atomic_load(&s.ended), 204);
		look_empty(s.c);
		spg_chan_unref(s.c);
	}
	return 0;
}

/* Goal: no waiter outlives a close. */
START_TEST(close_wakes_every_waiter)
{
	t_run((unsigned)_i, close_all, NULL);
}
END_TEST

struct tried {
	spg_chan *c;
	int op_err;
	long got;
};

static void recv_one(void *arg)
{
	struct tried *t = arg;

	t->op_err = spg_chan_recv(t->c, &t->got);
}

static void send_one(void *arg)
{
	struct tried *t = arg;
	long v = 41;

	t->op_err = spg_chan_send(t->c, &v);
}

static int tries(void *arg)
{
	(void)arg;
	for (unsigned foreign = 0; foreign < 2; foreign++) {
		struct tried t = { .c = spg_chan_new(sizeof(long), 0), .op_err = 1 };
		struct crowd crowd;
		long v = 17;

		T_ERR(spg_chan_try_send(t.c, &v), -EAGAIN);
		T_ERR(spg_chan_try_recv(t.c, &v), -EAGAIN);
		crowd_start(&crowd, !foreign, foreign, recv_one, &t);
		T_UNTIL(look_receivers(t.c) == 1);
		T_ERR(spg_chan_try_recv(t.c, &v), -EAGAIN);
		T_EQ(spg_chan_try_send(t.c, &v), 0);
		crowd_wait(&crowd);
		T_EQ(t.op_err, 0);
		T_EQ(t.got, 17);
		crowd_start(&crowd, !foreign, foreign, send_one, &t);
		T_UNTIL(look_senders(t.c) == 1);
		T_ERR(spg_chan_try_send(t.c, &v), -EAGAIN);
		T_EQ(spg_chan_try_recv(t.c, &v), 0);
		T_EQ(v, 41);
		crowd_wait(&crowd);
		T_EQ(t.op_err, 0);
		spg_chan_unref(t.c);
	}
	return 0;
}

/* Goal: an operation that does not wait meets a parked peer, and only a peer of the other side. */
START_TEST(tries_meet_parked_peers)
{
	t_run((unsigned)_i, tries, NULL);
}
END_TEST

static void publish(void *arg)
{
	struct sized *s = arg;

	for (int i = 0; i < s->values; i++) {
		long *boxed = malloc(sizeof(*boxed));

		*boxed = i; /* plain memory: the channel orders it */
		T_EQ(spg_chan_send(s->c, &boxed), 0);
	}
}

static int publication(void *arg)
{
	struct sized s = { .values = t_sanitized() ? 500 : 5000 };

	for (int k = 0; k < 4; k++) {
		struct crowd crowd;
		long sum = 0, n = s.values;

		s.c = spg_chan_new(sizeof(long *), k < 2 ? 0 : 7);
		crowd_start(&crowd, k % 2 ? 0 : 2, k % 2 ? 2 : 0, publish, &s);
		for (long i = 0; i < 2 * n; i++) {
			long *boxed;

			T_EQ(spg_chan_recv(s.c, &boxed), 0);
			sum += *boxed;
			free(boxed);
		}
		crowd_wait(&crowd);
		T_EQ(sum, n * (n - 1));
		spg_chan_unref(s.c);
	}
	(void)arg;
	return 0;
}

/* Goal: what happens before a send happens after its receive (ThreadSanitizer watches). */
START_TEST(a_value_publishes_what_it_points_to)
{
	t_run((unsigned)_i, publication, NULL);
}
END_TEST

static void *thread_pong(void *arg)
{
	spg_chan **c = arg;
	long v;

	while (spg_chan_recv(c[0], &v) == 0)
		T_EQ(spg_chan_send(c[1], &v), 0);
	T_EQ(spg_chan_close(c[1]), 0);
	return NULL;
}

/* Goal: two plain threads talk over channels; no runtime runs. */
START_TEST(threads_alone_can_use_channels)
{
	spg_chan *c[2] = { spg_chan_new(sizeof(long), 0), spg_chan_new(sizeof(long), 2) };
	pthread_t thread;
	long v;

	T_EQ(pthread_create(&thread, NULL, thread_pong, c), 0);
	for (long i = 0; i < 2000; i++) {
		T_EQ(spg_chan_send(c[0], &i), 0);
		T_EQ(spg_chan_recv(c[1], &v), 0);
		T_EQ(v, i);
	}
	T_EQ(spg_chan_close(c[0]), 0);
	T_ERR(spg_chan_recv(c[1], &v), -EPIPE);
	T_EQ(pthread_join(thread, NULL), 0);
	spg_chan_unref(c[0]);
	spg_chan_unref(c[1]);
}
END_TEST

static void *first_call_without_memory(void *arg)
{
	spg_chan *c = arg;
	long v = 5;

	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1000, -ENOMEM);
	T_ERR(spg_chan_recv(c, &v), -ENOMEM);
	T_ERR(spg_chan_send(c, &v), -ENOMEM);
	T_EQ(spg_chan_try_send(c, &v), 0); /* waits for nothing, needs nothing */
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_EQ(spg_chan_send(c, &v), 0);
	return NULL;
}

/* Goal: a thread's first wait needs memory, and says so. */
START_TEST(a_threads_first_wait_may_find_no_memory)
{
	spg_chan *c = spg_chan_new(sizeof(long), 4);
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, first_call_without_memory, c), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(spg_chan_len(c), 2);
	spg_chan_unref(c);
}
END_TEST

T_MAIN(T_TEST(arguments_are_checked), T_SHARDS(a_buffer_is_fifo_and_drains_after_close),
       T_TEST(a_buffer_works_without_a_runtime), T_SHARDS(values_of_all_sizes_arrive_whole),
       T_SHARDS(values_of_size_zero_count), T_SHARDS(receivers_are_served_in_order),
       T_SHARDS(senders_are_served_in_order), T_SHARDS(close_wakes_every_waiter),
       T_SHARDS(tries_meet_parked_peers), T_SHARDS(a_value_publishes_what_it_points_to),
       T_TEST(threads_alone_can_use_channels), T_TEST(a_threads_first_wait_may_find_no_memory))
