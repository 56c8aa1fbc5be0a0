/*
 * What do the scheduler's and the channels' smallest steps cost? Each row asks one
 * question; the Go twins stand in bench/go/rows.go.
 *
 * yield       letting the other of two coroutines run                     10 to 50 ns
 * spawn_wait  a coroutine, from spg_go until its end is known            30 to 200 ns
 * pingpong    question and answer over two unbuffered channels          100 to 250 ns
 *             ... between two shards, one of them asleep each time       30 to 90 us
 *             ... between two shards that spin                          200 to 1000 ns
 * chan128     a value through a channel of capacity 128                  10 to 50 ns
 */
#include "bench/bench.h"

#include <errno.h>

SPG_CHAN_DEFINE(u64_chan, uint64_t)

struct yielder {
	spg_wg *done;
	uint64_t id;
	uint64_t yields;
	uint64_t sum;
};

static void yielder(void *arg)
{
	struct yielder *y = arg;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < y->yields; i++) {
		sum += bench_mix(i << 1 | y->id);
		spg_yield();
	}
	y->sum = sum;
	spg_wg_done(y->done);
}

static uint64_t switches_count(void)
{
	static spg_stats_t stats; /* too large for a coroutine's frame */

	spg_stats(&stats);
	return stats.total.switches;
}

static int yield_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	spg_wg done = SPG_WG_INIT;
	spg_attr attr = bench_attr(o->place);
	struct yielder y[2];
	uint64_t before = switches_count();

	spg_wg_add(&done, 2);
	for (uint64_t id = 0; id < 2; id++) {
		y[id] = (struct yielder){ .done = &done, .id = id, .yields = ops / 2 };
		bench_go(&attr, yielder, &y[id]);
	}
	bench_wait(&done);
	*sum = y[0].sum + y[1].sum;
	/* A yield that does not switch would be cheap, and no yield. */
	if (switches_count() - before < ops / 2 * 2)
		bench_die("yield: fewer switches than yields");
	return 0;
}

struct child {
	spg_wg *done;
	uint64_t number;
	uint64_t sum;
};

static void child(void *arg)
{
	struct child *c = arg;

	c->sum += bench_mix(c->number);
	spg_wg_done(c->done);
}

static int spawn_wait_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	spg_wg done = SPG_WG_INIT;
	struct child c = { .done = &done };

	(void)o;
	for (uint64_t i = 0; i < ops; i++) {
		c.number = i;
		spg_wg_add(&done, 1);
		if (spg_go(child, &c) < 0)
			bench_die("no coroutine");
		bench_wait(&done);
	}
	*sum = c.sum;
	return 0;
}

struct table {
	u64_chan *there;
	u64_chan *back;
	spg_wg done;
	uint64_t ops;
	uint64_t sum;
	int err;
};

/* Answers each value with its mix until the channel is closed. */
static void answer(void *arg)
{
	struct table *t = arg;
	uint64_t value;

	while (u64_chan_recv(t->there, &value) == 0)
		if (u64_chan_send(t->back, bench_mix(value)) < 0)
			break;
	spg_chan_close(t->back);
	spg_wg_done(&t->done);
}

/* Asks ops questions and sums up the answers. */
static void ask(void *arg)
{
	struct table *t = arg;
	uint64_t value = 0;

	for (uint64_t i = 0; i < t->ops && t->err == 0; i++) {
		t->err = u64_chan_send(t->there, i);
		if (t->err == 0)
			t->err = u64_chan_recv(t->back, &value);
		t->sum += value;
	}
	spg_chan_close(t->there);
	if (t->err == 0 && u64_chan_recv(t->back, &value) != -EPIPE)
		t->err = -EPROTO; /* an answer without a question */
	spg_wg_done(&t->done);
}

static int pingpong(int asker_place, int answerer_place, uint64_t ops, uint64_t *sum)
{
	struct table t = { .done = SPG_WG_INIT, .ops = ops };
	spg_attr asker = bench_attr(asker_place);
	spg_attr answerer = bench_attr(answerer_place);

	t.there = u64_chan_new(0);
	t.back = u64_chan_new(0);
	if (!t.there || !t.back)
		bench_die("no memory for a channel");
	spg_wg_add(&t.done, 2);
	bench_go(&answerer, answer, &t);
	bench_go(&asker, ask, &t);
	bench_wait(&t.done);
	spg_chan_unref(t.there);
	spg_chan_unref(t.back);
	*sum = t.sum;
	return t.err;
}

static int pingpong_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	return pingpong(o->place, o->place, ops, sum);
}

static int pingpong_shards_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return pingpong(0, 1, ops, sum);
}

struct sender {
	u64_chan *out;
	uint64_t ops;
};

static void sender(void *arg)
{
	struct sender *s = arg;

	for (uint64_t i = 0; i < s->ops; i++)
		if (u64_chan_send(s->out, bench_mix(i)) < 0)
			break;
	spg_chan_close(s->out);
}

static int chan128_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct sender s = { .out = u64_chan_new(128), .ops = ops };
	spg_attr attr = bench_attr(o->place);
	uint64_t count = 0;
	uint64_t value;

	if (!s.out)
		return -ENOMEM;
	bench_go(&attr, sender, &s);
	*sum = 0;
	while (u64_chan_recv(s.out, &value) == 0)
		*sum += value ^ count++;
	spg_chan_unref(s.out);
	return count == ops ? 0 : -EPROTO;
}

static int yield_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, yield_pass);
}

static int spawn_wait_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, spawn_wait_pass);
}

static int pingpong_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, pingpong_pass);
}

static int pingpong_shards_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, pingpong_shards_pass);
}

static int chan128_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, chan128_pass);
}

const struct bench_row bench_rows_core[] = {
	{ "yield", yield_row, true },
	{ "spawn_wait", spawn_wait_row, true },
	{ "pingpong", pingpong_row, true },
	{ "pingpong_shards", pingpong_shards_row, true },
	{ "chan128", chan128_row, true },
	{ NULL, NULL, false },
};
