/*
 * Clients of an echo server in another process: round trips, windows of frames, hot spots that stay,
 * rotate or flip, work after I/O. One pass is one whole workload; an op is a frame. The twins stand
 * in bench/go/net.go, bench/rust, rows_loops.c, and in this file with --pthreads.
 *
 * net_rtt            one stream, 256 bytes there and back, one at a time       15 to 60 us
 * net_window         one stream, 4 KiB frames, 32 under way                     1 to 10 us
 * net_imbalanced     8 streams, one with 2,048 frames, seven with 128           1 to 5 us
 * net_rotation       8 streams, 64 steps, in each another stream is hot         1 to 5 us
 * net_rotation_sync  the same with a barrier after each step                    2 to 10 us
 * net_pipeline       8 streams, work after each frame, much of it on one that rotates  1 to 5 us
 * net_keyed          net_rotation, and for each frame 16 messages to one of two owners  2 to 8 us
 * net_keyed_sum      the same where only the owners' sums matter: counters in place of messages
 * net_flip           8 streams, 160 phases with a barrier after each, the hot one flips  1 to 5 us
 */
#include "bench/streams.h"

#include <errno.h>
#include <stdatomic.h>

SPG_CHAN_DEFINE(count_chan, uint64_t)

static int rtt_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_open(o);
	windowed(&streams[0], 0, ops, 256, 1);
	*sum = streams_sum();
	return 0;
}

static int window_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_open(o);
	windowed(&streams[0], 0, ops, 4096, 32);
	*sum = streams_sum();
	return 0;
}

static void imbalanced(struct stream *s, void *arg)
{
	uint64_t ops = *(uint64_t *)arg;

	/* 2,048 and 7 x 128 of 2,944. */
	windowed(s, 0, s->id == 0 ? ops * 16 / 23 : ops / 23, 4096, 32);
}

static int imbalanced_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_open(o);
	each_stream(imbalanced, &ops);
	*sum = streams_sum();
	return 0;
}

#define KEYS 7 /* the counters' tag */

/* Steps in which one stream, in turn, has `heavy` frames and the others `light`. */
struct rotation {
	uint64_t steps, heavy, light, window;
	size_t payload;
	count_chan *owners[2]; /* messages */
	void (*count)(unsigned owner); /* or counts */
};

static void rotate(struct stream *s, void *arg)
{
	const struct rotation *r = arg;

	for (uint64_t step = 0; step < r->steps; step++) {
		uint64_t frames = step % STREAMS == s->id ? r->heavy : r->light;

		windowed(s, step, frames, r->payload, r->window);
		for (uint64_t i = 0; r->owners[0] != NULL && i < frames * 16; i++)
			if (count_chan_send(r->owners[step % 2], 1) < 0)
				bench_die("net: an owner is gone");
		for (uint64_t i = 0; r->count != NULL && i < frames * 16; i++)
			r->count(step % 2);
	}
}

static int rotation_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct rotation r = { ops / 46, 32, 2, 32, 4096, { NULL, NULL }, NULL };

	streams_open(o);
	each_stream(rotate, &r);
	*sum = streams_sum();
	return 0;
}

static void sync_step(struct stream *s, void *arg)
{
	uint64_t step = *(uint64_t *)arg;

	windowed(s, step, step % STREAMS == s->id ? 32 : 2, 4096, 32);
}

static int rotation_sync_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_open(o);
	for (uint64_t step = 0; step < ops / 46; step++)
		each_stream(sync_step, &step);
	*sum = streams_sum();
	return 0;
}

struct owner {
	count_chan *in;
	uint64_t total;
	spg_wg *done;
};

static void own(void *arg)
{
	struct owner *owner = arg;
	uint64_t n;

	while (count_chan_recv(owner->in, &n) == 0)
		owner->total += n;
	spg_wg_done(owner->done);
}

static int keyed_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct rotation r = { ops / 46, 32, 2, 32, 4096, { count_chan_new(4096), count_chan_new(4096) }, NULL };
	struct owner owners[2];
	spg_wg done = SPG_WG_INIT;

	streams_open(o);
	spg_wg_add(&done, 2);
	for (int i = 0; i < 2; i++) {
		owners[i] = (struct owner){ r.owners[i], 0, &done };
		bench_go(NULL, own, &owners[i]);
	}
	each_stream(rotate, &r);
	for (int i = 0; i < 2; i++)
		spg_chan_close(r.owners[i]);
	bench_wait(&done);
	for (int i = 0; i < 2; i++)
		spg_chan_unref(r.owners[i]);
	*sum = streams_sum() + owners[0].total + owners[1].total * 3;
	return 0;
}

static _Atomic uint64_t thread_totals[2];

static void count_on_shard(unsigned owner)
{
	if (spg_msg_counter_add((int)owner, KEYS, 1) < 0)
		bench_die("net: an owner is gone");
}

/* relaxed: the threads are joined before the sums are read. */
static void count_in_threads(unsigned owner)
{
	atomic_fetch_add_explicit(&thread_totals[owner], 1, memory_order_relaxed);
}

struct shard_owner {
	uint64_t expect, total;
	spg_wg *done;
};

/* Takes what was added on its shard until all of it has come. */
static void own_shard(void *arg)
{
	struct shard_owner *owner = arg;
	uint64_t n;

	for (owner->total = 0; owner->total < owner->expect; owner->total += n)
		if (spg_msg_counter_take(KEYS, &n) < 0)
			bench_die("net: a counter failed");
	spg_wg_done(owner->done);
}

static uint64_t keyed_sum_coroutines(struct rotation *r)
{
	struct shard_owner owners[2];
	spg_wg done = SPG_WG_INIT;

	r->count = count_on_shard;
	spg_wg_add(&done, 2);
	for (int i = 0; i < 2; i++) {
		spg_attr attr = bench_attr(i);

		/* Even steps are owner 0's, odd ones owner 1's. */
		owners[i] = (struct shard_owner){ (r->steps + 1 - (uint64_t)i) / 2 * 46 * 16, 0, &done };
		bench_go(&attr, own_shard, &owners[i]);
	}
	each_stream(rotate, r);
	bench_wait(&done);
	return owners[0].total + owners[1].total * 3;
}

static uint64_t keyed_sum_threads(struct rotation *r)
{
	r->count = count_in_threads;
	thread_totals[0] = thread_totals[1] = 0;
	each_stream(rotate, r);
	return thread_totals[0] + thread_totals[1] * 3;
}

static int keyed_sum_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct rotation r = { ops / 46, 32, 2, 32, 4096, { NULL, NULL }, NULL };
	uint64_t totals;

	streams_open(o);
	totals = (o->pthreads ? keyed_sum_threads : keyed_sum_coroutines)(&r);
	*sum = streams_sum() + totals;
	return 0;
}

static uint64_t cpu_stage(uint64_t seed, uint64_t stream, uint64_t frame, uint64_t iters)
{
	uint64_t x = seed << 40 ^ stream << 17 ^ frame << 3 ^ 0x9E3779B97F4A7C15;

	for (uint64_t i = 0; i < iters; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		x += i * 0x27D4EB2D;
	}
	return x;
}

static void pipeline(struct stream *s, void *arg)
{
	uint64_t frames = *(uint64_t *)arg / STREAMS;

	for (uint64_t first = 0; first < frames; first += 32) {
		uint64_t batch = frames - first < 32 ? frames - first : 32;

		windowed(s, first, batch, 4096, 32);
		for (uint64_t frame = first; frame < first + batch; frame++)
			s->sum += cpu_stage(1, s->id, frame, frame / 64 % STREAMS == s->id ? 4000 : 150);
	}
}

static int pipeline_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_open(o);
	each_stream(pipeline, &ops);
	*sum = streams_sum();
	return 0;
}

static void phase(struct stream *s, void *arg)
{
	uint64_t n = *(uint64_t *)arg;

	windowed(s, n, n / 10 % STREAMS == s->id ? 96 : 2, 4096, 32);
}

/* 110 frames a phase; a barrier after each: new coroutines for all streams, awaited together. */
static int flip_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_open(o);
	for (uint64_t n = 0; n < ops / 110; n++)
		each_stream(phase, &n);
	*sum = streams_sum();
	return 0;
}

#define ROW(name) \
	static int name##_row(const struct bench_options *o, struct bench_report *r) \
	{ \
		return bench_measure(o, r, name##_pass); \
	}
ROW(rtt)
ROW(window)
ROW(imbalanced)
ROW(rotation)
ROW(rotation_sync)
ROW(keyed)
ROW(keyed_sum)
ROW(pipeline)
ROW(flip)

const struct bench_row bench_rows_net[] = {
	{ "net_rtt", rtt_row, true },
	{ "net_window", window_row, true },
	{ "net_imbalanced", imbalanced_row, true },
	{ "net_rotation", rotation_row, true },
	{ "net_rotation_sync", rotation_sync_row, true },
	{ "net_keyed", keyed_row, true },
	{ "net_keyed_sum", keyed_sum_row, true },
	{ "net_pipeline", pipeline_row, true },
	{ "net_flip", flip_row, true },
	{ NULL, NULL, false },
};
