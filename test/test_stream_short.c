/*
 * Streams when something is short: a peer that sends too much, buffers, memory.
 */
#include "test/stream.h"

#include "coro/fault.h"

#define LARGE_SLICES 256 /* the whole pool of the largest size */

/* Sends until the peer takes no more for a while. Bytes sent. */
static size_t flood(int fd)
{
	static unsigned char block[16384];
	size_t sent = 0;

	for (int refused = 0; refused < 20;) {
		ssize_t n = spg_send(fd, block, sizeof(block), MSG_DONTWAIT);

		if (n > 0) {
			sent += (size_t)n;
			refused = 0;
			continue;
		}
		T_ERR(n, -EAGAIN);
		refused++;
		T_EQ(spg_sleep(SPG_MS), 0);
	}
	return sent;
}

static int hog(void *arg)
{
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	spg_stream *hog, *other;
	int fds[2], quiet[2];
	spg_slice slice;
	int buffer = 100000;

	(void)arg;
	o.slice_bytes = SPG_SLICE_BYTES_MAX;
	o.slices_max = 4;
	pair(fds);
	T_EQ(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)), 0);
	T_EQ(setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)), 0);
	pair(quiet);
	hog = spg_stream_open(fds[1], &o);
	other = spg_stream_open(quiet[1], &o);
	T_OK(hog != NULL && other != NULL);
	/* From here on it receives ahead, and nobody takes. The pool has 16 MiB. */
	send_bytes(fds[0], 0, 1);
	T_EQ(recv_checked(hog, 0), 1);
	T_OK(flood(fds[0]) < 8000000);
	for (size_t i = 0; i < 100; i++) {
		send_bytes(quiet[0], i * 5000, 5000);
		recv_exactly(other, i * 5000, 5000);
	}
	/* It goes on where it stopped. */
	for (int i = 0; i < 100; i++) {
		T_EQ(spg_stream_recv(hog, &slice), 0);
		T_OK(slice.len > 0);
		spg_slice_release(&slice);
		T_OK(flood(fds[0]) < 8000000);
		i += 9;
	}
	spg_stream_close(hog);
	spg_stream_close(other);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	T_EQ(spg_close(quiet[0]), 0);
	T_EQ(spg_close(quiet[1]), 0);
	return 0;
}

/* Goal: a stream that nobody reads stops its peer, not its neighbours. */
START_TEST(a_hog_starves_nobody)
{
	run_all_ways((unsigned)_i, hog, NULL);
}
END_TEST

/* Takes every buffer of this shard's pool of the largest size. */
static void take_all(spg_stream *s, int fd, spg_slice *held)
{
	for (size_t i = 0; i < LARGE_SLICES; i++) {
		send_bytes(fd, i, 1);
		T_EQ(spg_stream_recv(s, &held[i]), 0);
		T_EQ(held[i].len, 1);
		check(&held[i], i);
	}
}

static spg_slice held[LARGE_SLICES];

static int starve(void *arg)
{
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	struct reader readers[3];
	spg_task *tasks[3];
	spg_stream *s, *others[3];
	spg_slice slice;
	int fds[2], more[3][2];

	(void)arg;
	T_EQ(spg_pin_self(), 0); /* one pool, even if there are four */
	o.slice_bytes = SPG_SLICE_BYTES_MAX;
	pair(fds);
	s = spg_stream_open(fds[1], &o);
	T_OK(s != NULL);
	take_all(s, fds[0], held);
	send_bytes(fds[0], 0, 300);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_stream_recv(s, &slice), -ETIMEDOUT);
	}
	spg_slice_release(&held[7]);
	T_EQ(recv_checked(s, 0), 300);
	send_bytes(fds[0], 0, 1);
	T_EQ(spg_stream_recv(s, &held[7]), 0);
	for (int i = 0; i < 3; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		pair(more[i]);
		others[i] = spg_stream_open(more[i][1], &o);
		T_OK(others[i] != NULL);
		send_bytes(more[i][0], 0, 10);
		readers[i] = (struct reader){ .s = others[i] };
		attr.place = SPG_PIN(spg_shard());
		tasks[i] = spg_spawn(&attr, recv_once, &readers[i]);
		T_OK(tasks[i] != NULL);
		T_UNTIL(atomic_load(&readers[i].begun));
	}
	T_EQ(spg_sleep(2 * SPG_MS), 0);
	/* One is canceled, one closed, while it has nothing in flight; one gets the buffer. */
	T_EQ(spg_task_cancel(tasks[0]), 0);
	T_EQ(spg_join(tasks[0], NULL), 0);
	T_ERR(readers[0].result, -ECANCELED);
	T_EQ(spg_close(more[1][1]), 0);
	T_EQ(spg_join(tasks[1], NULL), 0);
	T_ERR(readers[1].result, -ECANCELED);
	spg_slice_release(&held[0]);
	T_EQ(spg_join(tasks[2], NULL), 0);
	T_EQ(readers[2].result, 0);
	T_EQ(recv_checked(others[0], 0), 10); /* nothing was lost to the cancel */
	for (size_t i = 0; i < LARGE_SLICES; i++)
		spg_slice_release(&held[i]);
	for (int i = 0; i < 3; i++) {
		spg_stream_close(others[i]);
		T_EQ(spg_close(more[i][0]), 0);
		if (i != 1)
			T_EQ(spg_close(more[i][1]), 0);
	}
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: out of buffers a receive waits until one is released, and can be canceled, and closed. */
START_TEST(a_released_slice_ends_a_shortage)
{
	t_run((unsigned)_i, starve, NULL);
}
END_TEST

#define CROWD 64

/* Many readers share what is left of the pool: each holds a slice for a moment. */
static int crowd_reader(void *arg)
{
	struct flow *f = arg;
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	spg_slice slice;
	size_t got = 0;
	spg_stream *s;

	o.slice_bytes = SPG_SLICE_BYTES_MAX;
	s = spg_stream_open(f->fd, &o);
	T_OK(s != NULL);
	while (got < f->bytes) {
		T_EQ(spg_stream_recv(s, &slice), 0);
		T_OK(slice.len > 0);
		check(&slice, got);
		got += slice.len;
		spg_yield();
		spg_slice_release(&slice);
	}
	spg_stream_close(s);
	return 0;
}

static int shortage(void *arg)
{
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	struct flow senders[CROWD], readers[CROWD];
	spg_group *group = spg_group_new(0);
	int fds[2], many[CROWD][2];
	spg_stream *s;

	(void)arg;
	T_OK(group != NULL);
	T_EQ(spg_pin_self(), 0);
	o.slice_bytes = SPG_SLICE_BYTES_MAX;
	pair(fds);
	s = spg_stream_open(fds[1], &o);
	T_OK(s != NULL);
	take_all(s, fds[0], held);
	for (int i = 0; i < 3; i++)
		spg_slice_release(&held[i]);
	for (int i = 0; i < CROWD; i++) {
		pair(many[i]);
		readers[i] = (struct flow){ many[i][1], 20000, (uint64_t)i + 1 };
		senders[i] = (struct flow){ many[i][0], 20000, (uint64_t)i + 1 };
		T_EQ(spg_group_go(group, crowd_reader, &readers[i]), 0);
		T_EQ(spg_group_go(group, send_random, &senders[i]), 0);
	}
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	for (int i = 0; i < CROWD; i++) {
		T_EQ(spg_close(many[i][0]), 0);
		T_EQ(spg_close(many[i][1]), 0);
	}
	for (size_t i = 0; i < LARGE_SLICES; i++)
		spg_slice_release(&held[i]);
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: three buffers serve sixty-four readers, and no wake is lost. */
START_TEST(stress_a_shortage_passes_from_reader_to_reader)
{
	t_run((unsigned)_i, shortage, NULL);
}
END_TEST

static int nomem(void *arg)
{
	spg_slice slice;
	spg_stream *s;
	int fds[2];

	(void)arg;
	pair(fds);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_OK(spg_stream_open(fds[1], NULL) == NULL);
	s = spg_stream_open(fds[1], NULL);
	T_OK(s != NULL);
	send_bytes(fds[0], 0, 100);
	/* No pool: it goes by a buffer of its own. */
	spg__fault_arm(SPG__FAULT_MAP, 1, 1, -ENOMEM);
	T_EQ(recv_checked(s, 0), 100);
	spg__fault_disarm(SPG__FAULT_MAP);
	send_bytes(fds[0], 100, 100);
	/* Not even that. */
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 2, -ENOMEM);
	T_ERR(spg_stream_recv(s, &slice), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_EQ(recv_checked(s, 100), 100);
	spg_stream_close(s);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: refused memory is an error or a slower way, and loses nothing. */
START_TEST(without_memory_it_waits_or_says_so)
{
	run_all_ways((unsigned)_i, nomem, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_hog_starves_nobody), T_SHARDS(a_released_slice_ends_a_shortage),
       T_SHARDS(stress_a_shortage_passes_from_reader_to_reader), T_SHARDS(without_memory_it_waits_or_says_so))
