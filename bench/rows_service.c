/*
 * Small services and their clients: timers, files beside the network, short connections, requests
 * that fan out and need only the first answers. The twins stand in bench/go/service.go and
 * bench/rust; the rows over the peer also run with --pthreads.
 *
 * net_sparse     a command, one round trip of 64 bytes, 50 us of silence   20 to 60 us of CPU
 * net_fs         a request: a cached 4 KiB read, then a round trip of 256 bytes     20 to 60 us
 * net_deadline   a service: timers armed and dropped, 64 file reads, 8 streams of round trips
 * net_first_k    a request asks on 8 streams; the first 2 answers end it, the 6 reads that still
 *                wait are canceled                                                30 to 100 us
 * net_churn      connect, one round trip of 256 bytes, close                       30 to 80 us
 * timer_storm    8 timers of 200 us armed and dropped, then a sleep of 1 us         2 to 60 us
 */
#include "bench/streams.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define FS_BLOCKS 128	    /* net_fs reads these in turn */
#define DEADLINE_BLOCKS 256 /* and net_deadline these */
#define FIRST_K 2

SPG_CHAN_DEFINE(count_chan, uint64_t)

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

static int sparse_coroutines(uint64_t ops)
{
	struct courier c = { count_chan_new(1), count_chan_new(1), SPG_WG_INIT };
	uint64_t reply;

	spg_wg_add(&c.done, 1);
	bench_go(NULL, deliver, &c);
	for (uint64_t n = 0; n < ops; n++) {
		if (count_chan_send(c.commands, n) < 0 || count_chan_recv(c.replies, &reply) < 0 || reply != n)
			return -EPROTO;
		stream_sleep(50 * SPG_US);
	}
	spg_chan_close(c.commands);
	bench_wait(&c.done);
	spg_chan_unref(c.commands);
	spg_chan_unref(c.replies);
	return 0;
}

/* The same with threads: semaphores in place of the channels. */
struct messenger {
	sem_t commands, replies;
	uint64_t ops;
};

static void *carry(void *arg)
{
	struct messenger *m = arg;

	for (uint64_t n = 0; n < m->ops; n++) {
		sem_wait(&m->commands);
		windowed(&streams[0], n, 1, 64, 1);
		sem_post(&m->replies);
	}
	return NULL;
}

static int sparse_threads(uint64_t ops)
{
	struct messenger m = { .ops = ops };
	pthread_t thread;

	sem_init(&m.commands, 0, 0);
	sem_init(&m.replies, 0, 0);
	if (pthread_create(&thread, NULL, carry, &m) != 0)
		return -EAGAIN;
	for (uint64_t n = 0; n < ops; n++) {
		sem_post(&m.commands);
		sem_wait(&m.replies);
		stream_sleep(50 * SPG_US);
	}
	pthread_join(thread, NULL);
	return 0;
}

static int sparse_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	int err;

	streams_open(o);
	err = o->pthreads ? sparse_threads(ops) : sparse_coroutines(ops);
	*sum = streams_sum();
	return err;
}

/* Timers armed for 200 us and dropped, in rounds that end with a sleep of 1 us. */
static void timer_storm(uint64_t rounds, uint64_t batch, bool timed)
{
	spg_timer *timer = spg_timer_new();

	if (timer == NULL)
		bench_die("no memory");
	for (uint64_t r = 0; r < rounds; r++) {
		int64_t start_ns = bench_now_ns();

		for (uint64_t i = 0; i < batch; i++) {
			(void)spg_timer_reset(timer, spg_now() + 200 * SPG_US);
			(void)spg_timer_stop(timer);
		}
		stream_sleep(SPG_US);
		if (timed)
			bench_record(0, start_ns);
	}
	spg_timer_free(timer);
}

/* The same by timerfds: what a thread does without a runtime. */
static void timer_storm_threads(uint64_t rounds, uint64_t batch, bool timed)
{
	struct itimerspec armed = { .it_value.tv_nsec = 200 * SPG_US }, off = { .it_value.tv_nsec = 0 };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd < 0)
		bench_die("no timerfd");
	for (uint64_t r = 0; r < rounds; r++) {
		int64_t start_ns = bench_now_ns();

		for (uint64_t i = 0; i < batch; i++) {
			timerfd_settime(fd, 0, &armed, NULL);
			timerfd_settime(fd, 0, &off, NULL);
		}
		stream_sleep(SPG_US);
		if (timed)
			bench_record(0, start_ns);
	}
	close(fd);
}

static void storm(const struct bench_options *o, uint64_t rounds, uint64_t batch, bool timed)
{
	(o->pthreads ? timer_storm_threads : timer_storm)(rounds, batch, timed);
}

/* TS(1024,8): an op is a round. */
static int timer_storm_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_threads(o);
	storm(o, ops, 8, true);
	*sum = ops * 8;
	return 0;
}

static int fs_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	uint64_t read = 0;

	streams_open(o);
	file_open();
	for (uint64_t i = 0; i < ops; i++) {
		read += read_block(i % FS_BLOCKS);
		windowed(&streams[0], i, 1, 256, 1);
	}
	*sum = streams_sum() + read;
	return 0;
}

/* 128 round trips on each stream, HR(1024,1,0) of the reference. */
static void trips(struct stream *s, void *arg)
{
	(void)arg;
	for (uint64_t step = s->id; step < 1024; step += STREAMS)
		windowed(s, step, 1, 256, 1);
}

/* An op is one of the 1,024 round trips of a part. */
static int deadline_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	uint64_t read = 0;

	streams_open(o);
	file_open();
	for (uint64_t part = 0; part < ops / 1024; part++) {
		storm(o, 32, 4, false);
		for (uint64_t i = 0; i < 64; i++)
			read += read_block((part * 64 + i) % DEADLINE_BLOCKS);
		each_stream(trips, NULL);
	}
	*sum = streams_sum() + read;
	return 0;
}

/* One request: who asks wins; the others wait for what never comes, until they are canceled. */
struct race {
	uint64_t number;
	_Atomic unsigned answers; /* the FIRST_K-th ends the race */
	_Atomic unsigned canceled;
	spg_group *group;
	int end; /* threads: an eventfd that ends the wait of the losers */
};

struct racer {
	struct race *race;
	struct stream *stream;
};

static bool wins(const struct race *r, const struct stream *s)
{
	return (s->id + STREAMS - FIRST_K * r->number % STREAMS) % STREAMS < FIRST_K;
}

/* An answer has come. true: it was the last one needed. */
static bool answered(struct race *r)
{
	/* relaxed: only the count matters, the group orders the rest. */
	return atomic_fetch_add_explicit(&r->answers, 1, memory_order_relaxed) == FIRST_K - 1;
}

static int run_racer(void *arg)
{
	struct racer *racer = arg;
	struct race *r = racer->race;
	struct stream *s = racer->stream;
	unsigned char byte;

	if (wins(r, s)) {
		exchanged(s, r->number, 1, 256);
		if (answered(r))
			spg_group_cancel(r->group);
	} else {
		if (spg_read(s->fd, &byte, 1) != -ECANCELED)
			bench_die("first k: a loser was not canceled");
		atomic_fetch_add_explicit(&r->canceled, 1, memory_order_relaxed); /* relaxed: as above */
	}
	return 0;
}

static void race_coroutines(struct race *r)
{
	struct racer racers[STREAMS];

	r->group = spg_group_new(0);
	if (r->group == NULL)
		bench_die("no memory");
	for (unsigned i = 0; i < STREAMS; i++) {
		racers[i] = (struct racer){ r, &streams[i] };
		if (spg_group_go(r->group, run_racer, &racers[i]) < 0)
			bench_die("first k: no coroutine");
	}
	(void)spg_group_wait(r->group);
	spg_group_free(r->group);
}

static void race_thread(struct stream *s, void *arg)
{
	struct race *r = arg;
	struct pollfd wait[2] = { { .fd = s->fd, .events = POLLIN }, { .fd = r->end, .events = POLLIN } };

	if (wins(r, s)) {
		exchanged(s, r->number, 1, 256);
		if (answered(r))
			eventfd_write(r->end, 1);
	} else {
		if (poll(wait, 2, -1) < 1 || wait[0].revents != 0)
			bench_die("first k: a loser was not canceled");
		atomic_fetch_add_explicit(&r->canceled, 1, memory_order_relaxed); /* relaxed: as above */
	}
}

static void race_threads(struct race *r)
{
	r->end = eventfd(0, EFD_CLOEXEC);
	if (r->end < 0)
		bench_die("no eventfd");
	each_stream(race_thread, r);
	close(r->end);
}

static int first_k_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	uint64_t canceled = 0;

	streams_open(o);
	for (uint64_t i = 0; i < ops; i++) {
		struct race r = { .number = i };
		int64_t start_ns = bench_now_ns();

		(o->pthreads ? race_threads : race_coroutines)(&r);
		bench_record(STREAMS, start_ns);
		canceled += r.canceled;
	}
	*sum = streams_sum() + canceled;
	return 0;
}

static void churn(struct stream *s, void *arg)
{
	const struct bench_options *o = arg;

	for (uint64_t i = 0; i < o->n; i++) {
		struct linger reset = { .l_onoff = 1 };
		struct stream one = { .fd = stream_dial(o), .id = s->id, .buf = s->buf };

		windowed(&one, i, 1, 256, 1);
		s->sum += one.sum;
		/* A reset leaves no TIME_WAIT behind: the ports would run out. */
		setsockopt(one.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		if (o->pthreads)
			close(one.fd);
		else
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
ROW(sparse)
ROW(fs)
ROW(deadline)
ROW(first_k)
ROW(churn)
ROW(timer_storm)

const struct bench_row bench_rows_service[] = {
	{ "net_sparse", sparse_row, true },
	{ "net_fs", fs_row, true },
	{ "net_deadline", deadline_row, true },
	{ "net_first_k", first_k_row, true },
	{ "net_churn", churn_row, true },
	{ "timer_storm", timer_storm_row, true },
	{ NULL, NULL, false },
};
