/*
 * Clients of an echo server in another process (bench/peer.c): round trips, windows of frames,
 * hot spots that stay, rotate or flip, work after I/O, sparse wakes, files beside the network.
 * One pass is one whole workload; an op is a frame (or a round trip, a wake, a read). The twins
 * stand in bench/go/net.go and bench/rust.
 *
 * net_rtt            one stream, 256 bytes there and back, one at a time       15 to 60 us
 * net_window         one stream, 4 KiB frames, 32 under way                     3 to 10 us
 * net_imbalanced     8 streams, one with 2,048 frames, seven with 128
 * net_rotation       8 streams, 64 steps, in each another stream is hot
 * net_pipeline       8 streams, work after each frame, much of it on one that rotates
 * net_keyed          net_rotation, and for each frame 16 messages to one of two owners
 * net_flip           8 streams, 160 phases with a barrier after each, the hot one flips
 * net_sparse         a command, one round trip of 64 bytes, 50 us of silence
 * net_deadline       a service: timers armed and dropped, 64 file reads, 8 streams of round trips
 * net_churn          connect, one round trip of 256 bytes, close
 */
#include "bench/bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAMS 8
#define WINDOW_MAX 32
#define PAYLOAD_MAX 4096
#define BLOCKS 256

SPG_CHAN_DEFINE(count_chan, uint64_t)

struct stream {
	int fd;
	unsigned id;
	unsigned char *buf; /* WINDOW_MAX frames */
	uint64_t sum;
};

static struct stream streams[STREAMS];

static int dial(const struct bench_options *o)
{
	int fd = spg_dial("tcp", o->addr, NULL), one = 1;

	if (fd < 0)
		bench_die("cannot connect to %s: %s", o->addr, spg_strerror(fd));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void streams_open(const struct bench_options *o)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		if (streams[i].buf == NULL) {
			streams[i].buf = calloc(WINDOW_MAX, PAYLOAD_MAX);
			if (streams[i].buf == NULL)
				bench_die("no memory");
			streams[i].fd = dial(o);
			streams[i].id = i;
		}
		streams[i].sum = 0;
	}
}

static uint64_t streams_sum(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STREAMS; i++)
		sum += streams[i].sum * (i + 1);
	return sum;
}

/* frames there and back, up to `window` at once; the first byte of each is its number. */
static void windowed(struct stream *s, uint64_t first, uint64_t frames, size_t payload, uint64_t window)
{
	for (uint64_t i = 0; i < frames;) {
		uint64_t batch = frames - i < window ? frames - i : window;

		for (uint64_t k = 0; k < batch; k++)
			s->buf[k * payload] = (unsigned char)(first + i + k);
		if (spg_write_all(s->fd, s->buf, batch * payload) < 0 ||
		    spg_read_full(s->fd, s->buf, batch * payload) != (ssize_t)(batch * payload))
			bench_die("net: the peer is gone");
		for (uint64_t k = 0; k < batch; k++)
			s->sum += s->buf[k * payload];
		i += batch;
	}
}

/* Work over the streams: fn(stream) in a coroutine each, all awaited. */
struct job {
	void (*fn)(struct stream *s, void *arg);
	struct stream *stream;
	void *arg;
	spg_wg *done;
};

static void run_job(void *arg)
{
	struct job *job = arg;

	job->fn(job->stream, job->arg);
	spg_wg_done(job->done);
}

static void each_stream(void (*fn)(struct stream *s, void *arg), void *arg)
{
	struct job jobs[STREAMS];
	spg_wg done = SPG_WG_INIT;

	spg_wg_add(&done, STREAMS);
	for (unsigned i = 0; i < STREAMS; i++) {
		jobs[i] = (struct job){ fn, &streams[i], arg, &done };
		bench_go(NULL, run_job, &jobs[i]);
	}
	bench_wait(&done);
}

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

/* Steps in which one stream, in turn, has `heavy` frames and the others `light`. */
struct rotation {
	uint64_t steps, heavy, light, window;
	size_t payload;
	count_chan *owners[2];
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
	}
}

static int rotation_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct rotation r = { ops / 46, 32, 2, 32, 4096, { NULL, NULL } };

	streams_open(o);
	each_stream(rotate, &r);
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
	struct rotation r = { ops / 46, 32, 2, 32, 4096, { count_chan_new(4096), count_chan_new(4096) } };
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

struct courier {
	count_chan *commands, *replies;
	spg_wg done;
};

static void deliver(void *arg)
{
	struct courier *c = arg;
	uint64_t n;

	while (count_chan_recv(c->commands, &n) == 0) {
		windowed(&streams[0], n, 1, 64, 1);
		if (count_chan_send(c->replies, n) < 0)
			break;
	}
	spg_wg_done(&c->done);
}

static int sparse_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct courier c = { count_chan_new(1), count_chan_new(1), SPG_WG_INIT };
	uint64_t reply;

	streams_open(o);
	spg_wg_add(&c.done, 1);
	bench_go(NULL, deliver, &c);
	for (uint64_t n = 0; n < ops; n++) {
		if (count_chan_send(c.commands, n) < 0 || count_chan_recv(c.replies, &reply) < 0 || reply != n)
			return -EPROTO;
		if (spg_sleep(50 * SPG_US) < 0)
			return -EPROTO;
	}
	spg_chan_close(c.commands);
	bench_wait(&c.done);
	spg_chan_unref(c.commands);
	spg_chan_unref(c.replies);
	*sum = streams_sum();
	return 0;
}

/* Timers armed for 200 us and dropped, in rounds that end with a sleep of 1 us. */
static void timer_storm(uint64_t rounds, uint64_t batch)
{
	spg_timer *timer = spg_timer_new();

	if (timer == NULL)
		bench_die("no memory");
	for (uint64_t r = 0; r < rounds; r++) {
		for (uint64_t i = 0; i < batch; i++) {
			(void)spg_timer_reset(timer, spg_now() + 200 * SPG_US);
			(void)spg_timer_stop(timer);
		}
		if (spg_sleep(SPG_US) < 0)
			bench_die("a sleep failed");
	}
	spg_timer_free(timer);
}

/* Each part 1,024 steps of HR(1024,1,0): 8 streams, 128 round trips each; an op is one. */
static int deadline_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct rotation r = { 1024, 1, 0, 1, 256, { NULL, NULL } };
	uint64_t read = 0;
	int fd;

	streams_open(o);
	fd = bench_file();
	for (uint64_t part = 0; part < ops / 1024; part++) {
		timer_storm(32, 4);
		for (uint64_t i = 0; i < 64; i++)
			read += bench_block(fd, (part * 64 + i) % BLOCKS);
		each_stream(rotate, &r);
	}
	*sum = streams_sum() + read;
	return 0;
}

static void churn(struct stream *s, void *arg)
{
	const struct bench_options *o = arg;

	for (uint64_t i = 0; i < o->n; i++) {
		struct linger reset = { .l_onoff = 1 };
		struct stream one = { .fd = dial(o), .buf = s->buf };

		windowed(&one, i, 1, 256, 1);
		s->sum += one.sum;
		/* A reset leaves no TIME_WAIT behind: the ports would run out. */
		setsockopt(one.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		spg_close(one.fd);
	}
}

static int churn_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct bench_options mine = *o;

	streams_open(o);
	mine.n = ops / STREAMS;
	each_stream(churn, &mine);
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
ROW(keyed)
ROW(pipeline)
ROW(flip)
ROW(sparse)
ROW(deadline)
ROW(churn)

const struct bench_row bench_rows_net[] = {
	{ "net_rtt", rtt_row, true },	      { "net_window", window_row, true },
	{ "net_imbalanced", imbalanced_row, true }, { "net_rotation", rotation_row, true },
	{ "net_keyed", keyed_row, true },     { "net_pipeline", pipeline_row, true },
	{ "net_flip", flip_row, true },	      { "net_sparse", sparse_row, true },
	{ "net_deadline", deadline_row, true }, { "net_churn", churn_row, true },
	{ NULL, NULL, false },
};
