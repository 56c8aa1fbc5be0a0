/*
 * Small programs that are all coroutines and channels, and requests that fan out over
 * workers. The Go twins stand in bench/go/programs.go.
 *
 * skynet           a tree of coroutines, ten children each, 1,000,000 leaves; each leaf
 *                  sends its number up, each node the sum               200 to 1,000 ns a leaf
 * sieve            the first 2,000 primes through a chain of filters, one a prime
 *                                                                    100 to 400 us a prime
 * fanout_balanced  a request of 16 branches of 2,000 steps of work each   20 to 60 us
 * start            nothing at all: what a program costs that starts, and ends  1 to 5 ms
 * fanout_skewed    15 branches of 500 steps, and one, in turn, of 20,000  30 to 60 us
 * chunks           one of 128 chunks of 200,000 steps, all of them placed on shard 0
 *                  and then awaited: on two shards half of the time of one   0.2 to 0.5 ms
 */
#include "bench/bench.h"

#include <errno.h>
#include <pthread.h>

#define CHILDREN 10
#define BRANCHES 16

SPG_CHAN_DEFINE(num_chan, uint64_t)

struct node {
	num_chan *parent;
	uint64_t number, leaves;
};

static void skynet(void *arg)
{
	struct node *node = arg;
	num_chan *parent = node->parent;
	uint64_t sum = node->number;

	if (node->leaves > 1) {
		num_chan *below = num_chan_new(CHILDREN);
		uint64_t value, leaves = node->leaves / CHILDREN;

		if (below == NULL)
			bench_die("skynet: no memory");
		for (uint64_t i = 0; i < CHILDREN; i++) {
			struct node child = { below, node->number + i * leaves, leaves };

			if (spg_go_copy(skynet, &child, sizeof(child)) < 0)
				bench_die("skynet: no coroutine");
		}
		sum = 0;
		for (int i = 0; i < CHILDREN; i++) {
			if (num_chan_recv(below, &value) < 0)
				bench_die("skynet: a receive failed");
			sum += value;
		}
		spg_chan_unref(below);
	}
	if (num_chan_send(parent, sum) < 0)
		bench_die("skynet: a send failed");
}

static int skynet_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct node root = { num_chan_new(1), 0, 1 };
	int err;

	(void)o;
	while (root.leaves * CHILDREN <= ops)
		root.leaves *= CHILDREN;
	if (root.parent == NULL || spg_go_copy(skynet, &root, sizeof(root)) < 0)
		return -ENOMEM;
	err = num_chan_recv(root.parent, sum);
	spg_chan_unref(root.parent);
	return err < 0 || *sum == root.leaves * (root.leaves - 1) / 2 ? err : -EPROTO;
}

/* The n-th prime, by trial division: where the numbers may end. */
static uint64_t prime_last(uint64_t n)
{
	uint64_t candidate = 2;

	for (uint64_t found = 0;; candidate++) {
		uint64_t d = 2;

		while (d * d <= candidate && candidate % d != 0)
			d++;
		if (d * d > candidate && ++found == n)
			return candidate;
	}
}

struct filter {
	num_chan *in, *out;
	uint64_t prime; /* the generator: the last number */
	spg_wg *done;
};

static void end(struct filter *f)
{
	spg_chan_close(f->out);
	spg_chan_unref(f->out);
	spg_wg_done(f->done);
}

static void generate(void *arg)
{
	struct filter *f = arg;

	for (uint64_t i = 2; i <= f->prime; i++)
		if (num_chan_send(f->out, i) < 0)
			bench_die("sieve: a send failed");
	end(f);
}

static void filter(void *arg)
{
	struct filter *f = arg;
	uint64_t i;

	while (num_chan_recv(f->in, &i) == 0)
		if (i % f->prime != 0 && num_chan_send(f->out, i) < 0)
			bench_die("sieve: a send failed");
	spg_chan_unref(f->in);
	end(f);
}

/* Starts fn behind the channel `in`; returns the channel it sends to. */
static num_chan *chain(spg_fn fn, num_chan *in, uint64_t prime, spg_wg *done)
{
	struct filter f = { in, num_chan_new(0), prime, done };

	spg_wg_add(done, 1);
	if (f.out == NULL || spg_go_copy(fn, &f, sizeof(f)) < 0)
		bench_die("sieve: no memory");
	return spg_chan_ref(f.out);
}

static int sieve_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	spg_wg done = SPG_WG_INIT;
	num_chan *in = chain(generate, NULL, prime_last(ops), &done);
	uint64_t prime;

	(void)o;
	*sum = 0;
	for (uint64_t n = 0; n < ops; n++) {
		if (num_chan_recv(in, &prime) < 0)
			return -EPROTO;
		*sum += prime;
		in = chain(filter, in, prime, &done);
	}
	if (num_chan_recv(in, &prime) != -EPIPE)
		return -EPROTO;
	spg_chan_unref(in);
	bench_wait(&done);
	return 0;
}

static uint64_t synthetic_work(uint64_t seed, uint64_t n)
{
	uint64_t x = seed ^ 0x9E3779B97F4A7C15;

	for (uint64_t i = 0; i < n; i++) {
		x = x * 6364136223846793005 + (1442695040888963407 ^ i);
		x ^= x >> 29;
	}
	return x;
}

struct branch {
	spg_wg *done;
	uint64_t seed, steps, result;
};

static void branch(void *arg)
{
	struct branch *b = arg;

	b->result = synthetic_work(b->seed, b->steps);
	spg_wg_done(b->done);
}

static void *branch_thread(void *arg)
{
	struct branch *b = arg;

	b->result = synthetic_work(b->seed, b->steps);
	return NULL;
}

static void run_branches(struct branch *branches, spg_wg *done)
{
	spg_wg_add(done, BRANCHES);
	for (uint64_t i = 0; i < BRANCHES; i++)
		bench_go(NULL, branch, &branches[i]);
	bench_wait(done);
}

static void run_branch_threads(struct branch *branches)
{
	pthread_t threads[BRANCHES];

	for (uint64_t i = 0; i < BRANCHES; i++)
		if (pthread_create(&threads[i], NULL, branch_thread, &branches[i]) != 0)
			bench_die("no thread");
	for (uint64_t i = 0; i < BRANCHES; i++)
		pthread_join(threads[i], NULL);
}

/* One op is a request: start all branches, wait for all. */
static int fanout(const struct bench_options *o, uint64_t ops, uint64_t light, uint64_t hot, uint64_t *sum)
{
	struct branch branches[BRANCHES];
	spg_wg done = SPG_WG_INIT;

	*sum = 0;
	for (uint64_t request = 0; request < ops; request++) {
		int64_t start_ns = bench_now_ns();

		for (uint64_t i = 0; i < BRANCHES; i++)
			branches[i] = (struct branch){ &done, request << 8 | i,
						       i == request % BRANCHES ? hot : light, 0 };
		if (o->pthreads)
			run_branch_threads(branches);
		else
			run_branches(branches, &done);
		bench_record(0, start_ns);
		for (int i = 0; i < BRANCHES; i++)
			*sum += branches[i].result;
	}
	return 0;
}

static int fanout_balanced_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	return fanout(o, ops, 2000, 2000, sum);
}

static int fanout_skewed_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	return fanout(o, ops, 500, 20000, sum);
}

static int start_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	*sum = ops;
	return 0;
}

static int start_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, start_pass);
}

#define CHUNKS 128u
#define CHUNK_STEPS 200000u

static int chunks_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct branch chunks[CHUNKS];
	spg_wg done = SPG_WG_INIT;
	spg_attr attr = SPG_ATTR_INIT;

	(void)o;
	attr.place = SPG_PREFER(0);
	*sum = 0;
	for (uint64_t start = 0; start < ops; start += CHUNKS) {
		spg_wg_add(&done, CHUNKS);
		for (uint64_t i = 0; i < CHUNKS; i++) {
			chunks[i] = (struct branch){ &done, start + i, CHUNK_STEPS, 0 };
			bench_go(&attr, branch, &chunks[i]);
		}
		bench_wait(&done);
		for (uint64_t i = 0; i < CHUNKS; i++)
			*sum += chunks[i].result;
	}
	return 0;
}

static int skynet_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, skynet_pass);
}

static int sieve_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, sieve_pass);
}

static int fanout_balanced_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, fanout_balanced_pass);
}

static int fanout_skewed_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, fanout_skewed_pass);
}

static int chunks_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, chunks_pass);
}

const struct bench_row bench_rows_programs[] = {
	{ "start", start_row, true },
	{ "skynet", skynet_row, true },
	{ "sieve", sieve_row, true },
	{ "fanout_balanced", fanout_balanced_row, true },
	{ "fanout_skewed", fanout_skewed_row, true },
	{ "chunks", chunks_row, true },
	{ NULL, NULL, false },
};
