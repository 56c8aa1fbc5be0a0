/*
 * What do select, many-to-many channels, locks, wait groups and sleeps cost? The Go twins
 * stand in bench/go/sync.go.
 *
 * select4      a value through one of four unbuffered channels, by select       80 to 200 ns
 * select4_buf  the same with channels of capacity 128                            40 to 120 ns
 * chan4x4      a value through one channel of 128, four senders, four receivers  20 to 100 ns
 * mutex        lock and unlock, nobody else there                                10 to 20 ns
 * mutex_two    the same by two coroutines, one on each of two shards             20 to 100 ns
 * wg_fanout    one of 1,000 coroutines that are spawned, then awaited together   50 to 200 ns
 * sleepers     10,000 coroutines that sleep 1 to 50 ms again and again: how late they
 *              wake (p99), and the CPU of a wake                                 300 to 3,000 ns
 */
#include "bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define WAYS 4
#define FAN 1000
#define SLEEPERS 10000

SPG_CHAN_DEFINE(word_chan, uint64_t)

struct fork {
	word_chan *ways[WAYS];
	spg_wg done;
	uint64_t ops;
};

/* Sends to the four in turn. */
static void deal(void *arg)
{
	struct fork *f = arg;

	for (uint64_t i = 0; i < f->ops; i++)
		if (word_chan_send(f->ways[i % WAYS], bench_mix(i)) < 0)
			bench_die("select: a send failed");
	spg_wg_done(&f->done);
}

static int select_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum, size_t cap)
{
	struct fork f = { .done = SPG_WG_INIT, .ops = ops };
	spg_attr attr = bench_attr(o->place);
	uint64_t values[WAYS];
	spg_case cases[WAYS];

	*sum = 0;
	for (int i = 0; i < WAYS; i++) {
		f.ways[i] = word_chan_new(cap);
		if (f.ways[i] == NULL)
			return -ENOMEM;
		cases[i] = (spg_case)SPG_RECV(f.ways[i], &values[i]);
	}
	spg_wg_add(&f.done, 1);
	bench_go(&attr, deal, &f);
	for (uint64_t n = 0; n < ops; n++) {
		int i = spg_select(cases, WAYS);

		if (i < 0 || cases[i].err != 0)
			return i < 0 ? i : cases[i].err;
		*sum += values[i];
	}
	bench_wait(&f.done);
	for (int i = 0; i < WAYS; i++)
		spg_chan_unref(f.ways[i]);
	return 0;
}

static int select4_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	return select_pass(o, ops, sum, 0);
}

static int select4_buf_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	return select_pass(o, ops, sum, 128);
}

struct market {
	word_chan *c;
	spg_wg senders, receivers;
	uint64_t each;
	_Atomic uint64_t sum, count;
};

struct seller {
	struct market *market;
	uint64_t first;
};

static void sell(void *arg)
{
	struct seller *s = arg;

	for (uint64_t i = 0; i < s->market->each; i++)
		if (word_chan_send(s->market->c, bench_mix(s->first + i)) < 0)
			bench_die("chan4x4: a send failed");
	spg_wg_done(&s->market->senders);
}

static void buy(void *arg)
{
	struct market *m = arg;
	uint64_t value, sum = 0, count = 0;

	for (; word_chan_recv(m->c, &value) == 0; count++)
		sum += value;
	m->sum += sum;
	m->count += count;
	spg_wg_done(&m->receivers);
}

static int chan4x4_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct market m = { .senders = SPG_WG_INIT, .receivers = SPG_WG_INIT, .each = ops / WAYS };
	spg_attr attr = bench_attr(o->place);
	struct seller sellers[WAYS];

	m.c = word_chan_new(128);
	if (m.c == NULL)
		return -ENOMEM;
	spg_wg_add(&m.senders, WAYS);
	spg_wg_add(&m.receivers, WAYS);
	for (uint64_t i = 0; i < WAYS; i++) {
		sellers[i] = (struct seller){ &m, i * m.each };
		bench_go(&attr, buy, &m);
		bench_go(&attr, sell, &sellers[i]);
	}
	bench_wait(&m.senders);
	spg_chan_close(m.c);
	bench_wait(&m.receivers);
	spg_chan_unref(m.c);
	*sum = m.sum;
	return m.count == m.each * WAYS ? 0 : -EPROTO;
}

struct counter {
	spg_mutex lock;
	spg_wg done;
	uint64_t value, each;
};

static void count_up(void *arg)
{
	struct counter *c = arg;

	for (uint64_t i = 0; i < c->each; i++) {
		spg_mutex_lock(&c->lock);
		c->value++;
		spg_mutex_unlock(&c->lock);
	}
	spg_wg_done(&c->done);
}

static int mutex_counters(int coroutines, uint64_t ops, uint64_t *sum)
{
	struct counter c = { .lock = SPG_MUTEX_INIT, .done = SPG_WG_INIT, .each = ops / (uint64_t)coroutines };

	spg_wg_add(&c.done, coroutines);
	for (int i = 0; i < coroutines; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PREFER(i % spg_shards());
		bench_go(&attr, count_up, &c);
	}
	bench_wait(&c.done);
	*sum = c.value;
	return c.value == c.each * (uint64_t)coroutines ? 0 : -EPROTO;
}

/* The same with threads and their mutex. */
struct plain_counter {
	pthread_mutex_t lock;
	uint64_t value, each;
};

static void *count_plainly(void *arg)
{
	struct plain_counter *c = arg;

	for (uint64_t i = 0; i < c->each; i++) {
		pthread_mutex_lock(&c->lock);
		c->value++;
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static int plain_counters(int threads, uint64_t ops, uint64_t *sum)
{
	struct plain_counter c = { .lock = PTHREAD_MUTEX_INITIALIZER, .each = ops / (uint64_t)threads };
	pthread_t ids[2];

	for (int i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, count_plainly, &c) != 0)
			bench_die("no thread");
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	*sum = c.value;
	return 0;
}

static int mutex_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	return (o->pthreads ? plain_counters : mutex_counters)(1, ops, sum);
}

static int mutex_two_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	return (o->pthreads ? plain_counters : mutex_counters)(2, ops, sum);
}

struct fan {
	spg_wg done;
	_Atomic uint64_t sum;
};

struct blade {
	struct fan *fan;
	uint64_t number;
};

static void turn(void *arg)
{
	struct blade *b = arg;

	/* relaxed: the wait group orders it. */
	atomic_fetch_add_explicit(&b->fan->sum, bench_mix(b->number), memory_order_relaxed);
	spg_wg_done(&b->fan->done);
}

static int wg_fanout_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	static struct blade blades[FAN];
	static struct fan fan;
	spg_attr attr = bench_attr(o->place);

	fan.sum = 0;
	for (uint64_t start = 0; start < ops; start += FAN) {
		spg_wg_add(&fan.done, FAN);
		for (uint64_t i = 0; i < FAN; i++) {
			blades[i] = (struct blade){ &fan, start + i };
			bench_go(&attr, turn, &blades[i]);
		}
		bench_wait(&fan.done);
	}
	*sum = fan.sum;
	return 0;
}

struct sleeper {
	spg_wg *done;
	uint64_t seed;
	uint64_t naps;
	int64_t *late_ns;
};

/* The n-th nap of a sleeper, in ns: 1 to 50 ms. */
static int64_t nap_ns(uint64_t seed, uint64_t n)
{
	return SPG_MS + (int64_t)(bench_mix(seed * 1000003 + n) % (uint64_t)(49 * SPG_MS));
}

static void sleeper(void *arg)
{
	struct sleeper *s = arg;

	for (uint64_t i = 0; i < s->naps; i++) {
		int64_t due_ns = spg_now() + nap_ns(s->seed, i);

		if (spg_sleep_until(due_ns) < 0)
			bench_die("sleepers: a sleep failed");
		s->late_ns[i] = spg_now() - due_ns;
	}
	spg_wg_done(s->done);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* One pass is the whole measurement: its p99 is over all naps. */
static int sleepers_row(const struct bench_options *o, struct bench_report *r)
{
	uint64_t naps = o->ops / SLEEPERS > 0 ? o->ops / SLEEPERS : 1;
	struct sleeper *sleepers = calloc(SLEEPERS, sizeof(*sleepers));
	int64_t *late_ns = calloc(SLEEPERS * naps, sizeof(*late_ns));
	spg_wg done = SPG_WG_INIT;
	int64_t start_ns, cpu_start_ns;

	if (sleepers == NULL || late_ns == NULL)
		return -ENOMEM;
	r->ops = SLEEPERS * naps;
	r->passes = 1;
	start_ns = spg_now();
	cpu_start_ns = bench_cpu_ns();
	spg_wg_add(&done, SLEEPERS);
	for (uint64_t i = 0; i < SLEEPERS; i++) {
		sleepers[i] = (struct sleeper){ &done, i, naps, late_ns + i * naps };
		bench_go(NULL, sleeper, &sleepers[i]);
		for (uint64_t n = 0; n < naps; n++)
			r->checksum += (uint64_t)nap_ns(i, n);
	}
	bench_wait(&done);
	r->ns_per_op = (double)(spg_now() - start_ns) / (double)r->ops;
	r->cpu_ns_per_op = (double)(bench_cpu_ns() - cpu_start_ns) / (double)r->ops;
	qsort(late_ns, r->ops, sizeof(*late_ns), by_value);
	r->late_p99_us = (double)late_ns[r->ops * 99 / 100] / 1e3;
	r->late_p50_us = (double)late_ns[r->ops / 2] / 1e3;
	free(late_ns);
	free(sleepers);
	return 0;
}

static int select4_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, select4_pass);
}

static int select4_buf_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, select4_buf_pass);
}

static int chan4x4_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, chan4x4_pass);
}

static int mutex_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, mutex_pass);
}

static int mutex_two_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, mutex_two_pass);
}

static int wg_fanout_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, wg_fanout_pass);
}

const struct bench_row bench_rows_sync[] = {
	{ "select4", select4_row, true },
	{ "select4_buf", select4_buf_row, true },
	{ "chan4x4", chan4x4_row, true },
	{ "mutex", mutex_row, true },
	{ "mutex_two", mutex_two_row, true },
	{ "wg_fanout", wg_fanout_row, true },
	{ "sleepers", sleepers_row, true },
	{ NULL, NULL, false },
};
