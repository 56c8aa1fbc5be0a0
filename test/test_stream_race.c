/*
 * Streams against what happens at the same time: closes, numbers used again, a shard that computes.
 */
#include "test/stream.h"

#define ROUNDS 200

struct victim {
	spg_stream *s;
	size_t got;
	_Atomic bool begun;
	int result;
};

/* Takes what comes, until an error or the end. */
static void *recv_all(void *arg)
{
	struct victim *v = arg;
	spg_slice slice;

	atomic_store(&v->begun, true);
	for (;;) {
		v->result = spg_stream_recv(v->s, &slice);
		if (v->result < 0 || slice.len == 0)
			return NULL;
		check(&slice, v->got);
		v->got += slice.len;
		spg_slice_release(&slice);
	}
}

/* All bytes of a connection whose descriptor has a number that was a stream's. */
static void read_plainly(int fds[2], size_t n)
{
	unsigned char buf[512], expected[512];

	send_bytes(fds[0], 7, n);
	T_EQ(spg_read_full(fds[1], buf, n), n);
	fill(expected, 7, n);
	T_OK(memcmp(buf, expected, n) == 0);
}

static int close_race(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	int reused = 0;

	for (int i = 0; i < ROUNDS; i++) {
		struct victim v = { 0 };
		int fds[2], next[2], number;
		spg_slice slice;
		spg_task *task;

		pair(fds);
		number = fds[1];
		v.s = spg_stream_open(fds[1], NULL);
		T_OK(v.s != NULL);
		task = spg_spawn(NULL, recv_all, &v);
		T_OK(task != NULL);
		for (size_t k = t_random(&state) % 8, sent = 0; k > 0; k--, sent += 300) {
			send_bytes(fds[0], sent, 300);
			if (t_random(&state) % 2 == 0)
				spg_yield();
		}
		T_EQ(spg_close(fds[1]), 0);
		/* The next one gets the number while the reader may not have heard yet. */
		pair(next);
		reused += next[0] == number || next[1] == number;
		read_plainly(next, t_random(&state) % 500 + 1);
		T_EQ(spg_join(task, NULL), 0);
		T_OK(v.result == -ECANCELED || v.result == -EBADF);
		T_ERR(spg_stream_recv(v.s, &slice), -ECANCELED);
		read_plainly(next, 100);
		spg_stream_close(v.s);
		read_plainly(next, 100);
		T_EQ(spg_close(fds[0]), 0);
		T_EQ(spg_close(next[0]), 0);
		T_EQ(spg_close(next[1]), 0);
	}
	T_OK(reused > 0);
	return 0;
}

/* Goal: a close ends the receive at any moment, and nothing of the number's next owner is taken. */
START_TEST(stress_a_close_at_any_moment)
{
	uint64_t seed = t_seed();

	run_all_ways((unsigned)_i, close_race, &seed);
}
END_TEST

static int stream_close_race(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	int fds[2];

	pair(fds);
	for (int i = 0; i < ROUNDS; i++) {
		spg_stream *s = spg_stream_open(fds[1], NULL);
		struct victim v = { .s = s };
		spg_task *task;

		T_OK(s != NULL);
		task = spg_spawn(NULL, recv_all, &v);
		T_OK(task != NULL);
		T_UNTIL(atomic_load(&v.begun));
		if (t_random(&state) % 2 == 0)
			spg_yield();
		T_EQ(spg_task_cancel(task), 0);
		T_EQ(spg_join(task, NULL), 0);
		T_ERR(v.result, -ECANCELED);
		T_EQ(v.got, 0);
		spg_stream_close(s);
		/* From here on the descriptor is free for others. */
		read_plainly(fds, t_random(&state) % 500 + 1);
	}
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: a cancel, then the stream's close, wherever the receive is: the bytes after it are for the next reader. */
START_TEST(stress_a_stream_closed_in_flight)
{
	uint64_t seed = t_seed();

	run_all_ways((unsigned)_i, stream_close_race, &seed);
}
END_TEST

static _Atomic bool computing, enough;

static void compute(void *arg)
{
	(void)arg;
	atomic_store(&computing, true);
	while (!atomic_load(&enough))
		continue;
}

/* On shard 1, pinned. */
static int stalled_owner(void)
{
	struct victim v = { 0 };
	spg_attr attr = SPG_ATTR_INIT;
	spg_task *task;
	int fds[2];

	atomic_store(&computing, false);
	atomic_store(&enough, false);
	pair(fds);
	v.s = spg_stream_open(fds[1], NULL);
	T_OK(v.s != NULL);
	/* Armed on shard 0, which then computes until all has arrived elsewhere. */
	attr.place = SPG_PREFER(0);
	task = spg_spawn(&attr, recv_all, &v);
	T_OK(task != NULL);
	T_UNTIL(atomic_load(&v.begun));
	T_EQ(spg_sleep(SPG_MS), 0);
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, compute, NULL), 0);
	T_UNTIL(atomic_load(&computing));
	for (size_t sent = 0; sent < 100000; sent += 1000) {
		send_bytes(fds[0], sent, 1000);
		if (sent % 10000 == 0)
			T_EQ(spg_sleep(SPG_MS), 0);
	}
	T_EQ(shutdown(fds[0], SHUT_WR), 0);
	T_EQ(spg_join(task, NULL), 0);
	T_EQ(v.result, 0);
	T_EQ(v.got, 100000);
	atomic_store(&enough, true);
	spg_stream_close(v.s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

struct start {
	spg_wg done;
	int result;
};

static void started(void *arg)
{
	struct start *start = arg;

	start->result = stalled_owner();
	spg_wg_done(&start->done);
}

static int start_on_shard_1(void *arg)
{
	struct start start = { .done = SPG_WG_INIT, .result = -1 };
	spg_attr attr = SPG_ATTR_INIT;

	(void)arg;
	attr.place = SPG_PIN(1);
	spg_wg_add(&start.done, 1);
	T_EQ(spg_go_attr(&attr, started, &start), 0);
	T_EQ(spg_wg_wait(&start.done), 0);
	return start.result;
}

/* Goal: what arrives on the ring of a shard that computes is delivered elsewhere, in order, by the watchdog. */
START_TEST(a_shard_that_computes_does_not_hold_a_stream_up)
{
	if (t_tsan())
		T_SKIP("ThreadSanitizer delays the kick");
	for (unsigned shards = 2; shards <= 4; shards++)
		t_run(shards, start_on_shard_1, NULL);
}
END_TEST

T_MAIN(T_SHARDS(stress_a_close_at_any_moment), T_SHARDS(stress_a_stream_closed_in_flight),
       T_TEST(a_shard_that_computes_does_not_hold_a_stream_up))
