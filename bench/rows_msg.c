/*
 * What do messages between two shards cost? The workloads and their constants are those of the
 * reference's coordination suite; the twins stand in bench/go/msg.go and bench/rust/src/tokio_msg.rs.
 *
 * steady_ping_pong_rtt       a question and its answer between shard 0 and shard 1, each with
 *                            one coroutine that stays; 256 rounds are one iteration of the
 *                            reference. With spinning 200 to 1000 ns, without 30 to 90 us.
 *                            Over unbuffered channels it is the row pingpong_shards.
 * steady_one_way_send_drain  2,048 messages from shard 0 to shard 1, a flush, FLUSH and its
 *                            ACK: one iteration. 20 to 60 ns a message; _batched_64 and _all,
 *                            with 64 and 2,048 messages in a call, 3 to 15 ns.
 * steady_one_way_chan        the same over a channel of 2,048: 20 to 80 ns a value, as pieces of
 *                            the sender's memory 2 to 5 ns.
 */
#include "bench/bench.h"

#include <errno.h>

#define ITERATION 2048u

enum { PING, PONG, DATA, FLUSH, ACK, STOP };

struct trips {
	spg_wg done;
	uint64_t ops;
	uint64_t sum;
	int err;
};

/* Answers each value with its mix until it is told to stop. */
static void answer(void *arg)
{
	struct trips *t = arg;
	spg_msg msg;

	while (spg_msg_recv(&msg) == 0 && msg.tag == PING)
		if (spg_msg_send(msg.from, PONG, bench_mix(msg.value)) < 0)
			break;
	spg_wg_done(&t->done);
}

/* Asks ops questions and sums up the answers. */
static void ask(void *arg)
{
	struct trips *t = arg;
	spg_msg msg;

	for (uint64_t i = 0; i < t->ops && t->err == 0; i++) {
		t->err = spg_msg_send(1, PING, i);
		if (t->err == 0)
			t->err = spg_msg_recv(&msg);
		if (t->err == 0 && (msg.tag != PONG || msg.from != 1))
			t->err = -EPROTO;
		t->sum += msg.value;
	}
	if (spg_msg_send(1, STOP, 0) < 0)
		bench_die("the answering coroutine cannot be stopped");
	spg_wg_done(&t->done);
}

static int ping_pong_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct trips t = { .done = SPG_WG_INIT, .ops = ops };
	spg_attr asker = bench_attr(0), answerer = bench_attr(1);

	(void)o;
	spg_wg_add(&t.done, 2);
	bench_go(&answerer, answer, &t);
	bench_go(&asker, ask, &t);
	bench_wait(&t.done);
	*sum = t.sum;
	return t.err;
}

struct drain {
	spg_wg done;
	uint64_t ops;
	size_t batch;
	uint64_t sum, count;
	int err;
};

/* One at a time, or batch by batch, the way a program with that much at hand would. */
static int send_values(const struct drain *d, uint64_t first, size_t n)
{
	static spg_msg out[ITERATION]; /* of the one sender */
	int err = 0;

	for (size_t i = 0; d->batch == 1 && i < n && err == 0; i++)
		err = spg_msg_send(1, DATA, (uint32_t)bench_mix(first + i));
	for (size_t at = 0; d->batch > 1 && at < n;) {
		size_t some = n - at < d->batch ? n - at : d->batch;

		for (size_t i = 0; i < some; i++)
			out[i] = (spg_msg){ .tag = DATA, .value = (uint32_t)bench_mix(first + at + i) };
		if (spg_msg_send_many(1, out, some) != (ssize_t)some)
			return -EPROTO; /* the queue holds an iteration */
		at += some;
	}
	return err;
}

static void send_all(void *arg)
{
	struct drain *d = arg;
	spg_msg msg;

	for (uint64_t at = 0; at < d->ops && d->err == 0; at += ITERATION) {
		uint64_t left = d->ops - at;

		d->err = send_values(d, at, left < ITERATION ? left : ITERATION);
		if (d->err == 0)
			d->err = spg_msg_flush();
		if (d->err == 0)
			d->err = spg_msg_send(1, FLUSH, 0);
		if (d->err == 0)
			d->err = spg_msg_recv(&msg);
	}
	if (spg_msg_send(1, STOP, 0) < 0)
		bench_die("the draining coroutine cannot be stopped");
	spg_wg_done(&d->done);
}

/* false: told to stop. */
static bool drained(struct drain *d, const spg_msg *msg)
{
	if (msg->tag == DATA)
		d->sum += msg->value ^ d->count++;
	else if (msg->tag == FLUSH && spg_msg_send(msg->from, ACK, 0) < 0)
		bench_die("no room for an ACK");
	return msg->tag != STOP;
}

static void drain_all(void *arg)
{
	static spg_msg in[ITERATION]; /* of the one receiver */
	struct drain *d = arg;
	bool going = true;

	while (going) {
		ssize_t n = d->batch == 1 ? spg_msg_recv(in) : spg_msg_recv_many(in, d->batch);

		if (d->batch == 1 && n == 0)
			n = 1;
		if (n < 0)
			bench_die("draining: %s", spg_strerror((int)n));
		for (ssize_t i = 0; i < n; i++)
			going = drained(d, &in[i]);
	}
	spg_wg_done(&d->done);
}

static int one_way(size_t batch, uint64_t ops, uint64_t *sum)
{
	struct drain d = { .done = SPG_WG_INIT, .ops = ops, .batch = batch };
	spg_attr sender = bench_attr(0), drainer = bench_attr(1);

	spg_wg_add(&d.done, 2);
	bench_go(&drainer, drain_all, &d);
	bench_go(&sender, send_all, &d);
	bench_wait(&d.done);
	*sum = d.sum;
	return d.err < 0 ? d.err : d.count == ops ? 0 : -EPROTO;
}

static int one_way_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return one_way(1, ops, sum);
}

static int one_way_64_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return one_way(64, ops, sum);
}

static int one_way_all_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return one_way(ITERATION, ops, sum);
}

/* The same over plain channels: values, or pieces of the iteration; nothing of it is copied. */
struct piece {
	const uint32_t *values; /* NULL: value is it, or n is 0: flush */
	uint32_t value, n;
};
SPG_CHAN_DEFINE(piece_chan, struct piece)

struct chan_drain {
	struct drain d;
	piece_chan *pieces;
	spg_chan *acks;
};

static int chan_send_values(struct chan_drain *c, uint64_t first, size_t n)
{
	static uint32_t out[ITERATION]; /* of the one sender; the receiver is done with it at the ACK */
	int err = 0;

	for (size_t i = 0; c->d.batch == 1 && i < n && err == 0; i++)
		err = piece_chan_send(c->pieces, (struct piece){ .value = (uint32_t)bench_mix(first + i), .n = 1 });
	for (size_t at = 0; c->d.batch > 1 && at < n && err == 0;) {
		size_t some = n - at < c->d.batch ? n - at : c->d.batch;

		for (size_t i = 0; i < some; i++)
			out[at + i] = (uint32_t)bench_mix(first + at + i);
		err = piece_chan_send(c->pieces, (struct piece){ .values = out + at, .n = (uint32_t)some });
		at += some;
	}
	return err;
}

static void chan_send_all(void *arg)
{
	struct chan_drain *c = arg;
	struct drain *d = &c->d;

	for (uint64_t at = 0; at < d->ops && d->err == 0; at += ITERATION) {
		uint64_t left = d->ops - at;

		d->err = chan_send_values(c, at, left < ITERATION ? left : ITERATION);
		if (d->err == 0)
			d->err = piece_chan_send(c->pieces, (struct piece){ 0 });
		if (d->err == 0)
			d->err = spg_chan_recv(c->acks, NULL);
	}
	spg_chan_close(c->pieces);
	spg_wg_done(&d->done);
}

static void chan_drain_all(void *arg)
{
	struct chan_drain *c = arg;
	struct drain *d = &c->d;
	struct piece piece;

	while (piece_chan_recv(c->pieces, &piece) == 0) {
		if (piece.n == 0 && spg_chan_send(c->acks, NULL) < 0)
			bench_die("no room for an ACK");
		for (uint32_t i = 0; i < piece.n; i++)
			d->sum += (piece.values != NULL ? piece.values[i] : piece.value) ^ d->count++;
	}
	spg_wg_done(&d->done);
}

static int one_way_chan(size_t batch, uint64_t ops, uint64_t *sum)
{
	struct chan_drain c = {
		.d = { .done = SPG_WG_INIT, .ops = ops, .batch = batch },
		.pieces = piece_chan_new(ITERATION),
		.acks = spg_chan_new(0, 1),
	};
	spg_attr sender = bench_attr(0), drainer = bench_attr(1);

	if (c.pieces == NULL || c.acks == NULL)
		return -ENOMEM;
	spg_wg_add(&c.d.done, 2);
	bench_go(&drainer, chan_drain_all, &c);
	bench_go(&sender, chan_send_all, &c);
	bench_wait(&c.d.done);
	spg_chan_unref(c.pieces);
	spg_chan_unref(c.acks);
	*sum = c.d.sum;
	return c.d.err < 0 ? c.d.err : c.d.count == ops ? 0 : -EPROTO;
}

static int one_way_chan_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return one_way_chan(1, ops, sum);
}

static int one_way_chan_64_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return one_way_chan(64, ops, sum);
}

static int one_way_chan_all_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return one_way_chan(ITERATION, ops, sum);
}

static int ping_pong_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, ping_pong_pass);
}

static int one_way_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, one_way_pass);
}

static int one_way_64_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, one_way_64_pass);
}

static int one_way_all_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, one_way_all_pass);
}

static int one_way_chan_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, one_way_chan_pass);
}

static int one_way_chan_64_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, one_way_chan_64_pass);
}

static int one_way_chan_all_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, one_way_chan_all_pass);
}

const struct bench_row bench_rows_msg[] = {
	{ "steady_ping_pong_rtt", ping_pong_row, true },
	{ "steady_one_way_send_drain", one_way_row, true },
	{ "steady_one_way_send_drain_batched_64", one_way_64_row, true },
	{ "steady_one_way_send_drain_all", one_way_all_row, true },
	{ "steady_one_way_chan", one_way_chan_row, true },
	{ "steady_one_way_chan_batched_64", one_way_chan_64_row, true },
	{ "steady_one_way_chan_all", one_way_chan_all_row, true },
	{ NULL, NULL, false },
};
