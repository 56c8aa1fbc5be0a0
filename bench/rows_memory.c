/*
 * What does a coroutine that waits cost, in memory and while nothing happens?
 *
 * parked  n coroutines that each ran, called printf, yielded, and wait in
 *         spg_chan_recv: (VmRSS + VmPTE) / n. One page of stack, the object, the page
 *         tables: 4,400 to 4,900 bytes.
 * conns   n coroutines in spg_read on socket pairs, measured with half of them and
 *         with all: the second half must cost what the first did.
 * idle    n parked and a timer an hour away. bench/run watches from outside: next to
 *         no CPU, a handful of context switches in five seconds.
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SETTLE_NS SPG_SEC /* for what the library gives back once it is idle */

struct crowd {
	spg_chan *gate; /* of uint64_t */
	spg_wg done;
	size_t n;
	_Atomic size_t arrived; /* relaxed: a hint when to look at the counters */
	_Atomic uint64_t sum;	/* relaxed: read after the wait group's wait */
};

static void wait_at_gate(void *arg)
{
	struct crowd *c = arg;
	uint64_t value;

	printf("coroutine %llu of %zu runs\n", (unsigned long long)spg_id(), c->n);
	spg_yield();
	atomic_fetch_add_explicit(&c->arrived, 1, memory_order_relaxed);
	if (spg_chan_recv(c->gate, &value) == 0)
		atomic_fetch_add_explicit(&c->sum, bench_mix(value), memory_order_relaxed);
	spg_wg_done(&c->done);
}

static const struct spg_shard_stats *totals(void)
{
	static spg_stats_t stats; /* too large for a coroutine's frame */

	spg_stats(&stats);
	return &stats.total;
}

/* Returns once all n have come to their last call and the library counts them as parked. */
static int wait_until_parked(_Atomic size_t *arrived, size_t n)
{
	while (atomic_load_explicit(arrived, memory_order_relaxed) < n || totals()->parked < n) {
		int err = spg_sleep(SPG_MS);

		if (err < 0)
			return err;
	}
	return spg_sleep(SETTLE_NS);
}

/* Spawns the crowd and returns once all of it waits. */
static int crowd_park(struct crowd *c, const struct bench_options *o)
{
	*c = (struct crowd){ .done = SPG_WG_INIT, .n = o->n };
	c->gate = spg_chan_new(sizeof(uint64_t), 0);
	if (!c->gate)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++) {
		spg_wg_add(&c->done, 1);
		bench_go(NULL, wait_at_gate, c);
	}
	return wait_until_parked(&c->arrived, c->n);
}

/* Hands each of the crowd a number and waits for their ends: all of them were alive. */
static int crowd_wake(struct crowd *c, uint64_t *sum)
{
	int err = 0;

	for (uint64_t i = 0; i < c->n && err == 0; i++)
		err = spg_chan_send(c->gate, &i);
	if (err < 0)
		return err;
	bench_wait(&c->done);
	spg_chan_unref(c->gate);
	*sum = atomic_load_explicit(&c->sum, memory_order_relaxed);
	return 0;
}

/* What rows print goes nowhere; the report has a stream of its own. */
static int discard_stdout(void)
{
	return freopen("/dev/null", "w", stdout) ? 0 : -EIO;
}

static int parked_row(const struct bench_options *o, struct bench_report *r)
{
	struct crowd c;
	int err = discard_stdout();
	size_t before = bench_resident_bytes();

	if (err == 0)
		err = crowd_park(&c, o);
	if (err < 0)
		return err;
	r->n = o->n;
	r->bytes_each = ((double)bench_resident_bytes() - (double)before) / (double)o->n;
	return crowd_wake(&c, &r->checksum);
}

static void *sleep_an_hour(void *arg)
{
	*(int *)arg = spg_sleep(3600 * SPG_SEC);
	return NULL;
}

static int idle_row(const struct bench_options *o, struct bench_report *r)
{
	struct crowd c;
	int sleep_err = 0;
	char line;
	int err = discard_stdout();
	spg_task *sleeper;

	if (err == 0)
		err = crowd_park(&c, o);
	if (err < 0)
		return err;
	sleeper = spg_spawn(NULL, sleep_an_hour, &sleep_err);
	if (!sleeper)
		return -ENOMEM;
	fputs("ready\n", bench_out());
	fflush(bench_out());
	if (spg_read(STDIN_FILENO, &line, 1) != 1)
		return -EIO;
	r->n = o->n;
	r->pool_threads = (int)totals()->blocking_threads;
	spg_task_cancel(sleeper);
	err = spg_join(sleeper, NULL);
	if (err == 0 && sleep_err != -ECANCELED)
		err = -EPROTO; /* an hour has not passed */
	return err < 0 ? err : crowd_wake(&c, &r->checksum);
}

struct conns {
	int (*pair)[2];
	spg_wg done;
	_Atomic size_t arrived; /* relaxed: tickets, and a hint when to look at the counters */
	_Atomic uint64_t sum;	/* relaxed: read after the wait group's wait */
};

static void read_one(void *arg)
{
	struct conns *c = arg;
	size_t i = atomic_fetch_add_explicit(&c->arrived, 1, memory_order_relaxed);
	uint64_t value;

	if (spg_read(c->pair[i][0], &value, sizeof(value)) == sizeof(value))
		atomic_fetch_add_explicit(&c->sum, bench_mix(value), memory_order_relaxed);
	spg_wg_done(&c->done);
}

static int raise_fd_limit(size_t fds)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_cur < fds + 64) /* shards' rings and the like */
		return -EMFILE;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}

/* Spawns the readers of connections [from, to) and returns once they all wait. */
static int conns_park(struct conns *c, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		spg_wg_add(&c->done, 1);
		bench_go(NULL, read_one, c);
	}
	return wait_until_parked(&c->arrived, to);
}

static int conns_wake(struct conns *c, size_t n, uint64_t *sum)
{
	for (uint64_t i = 0; i < n; i++)
		if (write(c->pair[i][1], &i, sizeof(i)) != sizeof(i))
			return -EIO;
	bench_wait(&c->done);
	*sum = atomic_load_explicit(&c->sum, memory_order_relaxed);
	return 0;
}

static int conns_measure(struct conns *c, const struct bench_options *o, struct bench_report *r)
{
	size_t before = bench_resident_bytes();
	size_t slab_before = bench_slab_bytes();
	int err = conns_park(c, 0, o->n / 2);

	if (err < 0)
		return err;
	r->bytes_each_half = ((double)bench_resident_bytes() - (double)before) /
			     (double)(o->n / 2);
	err = conns_park(c, o->n / 2, o->n);
	if (err < 0)
		return err;
	r->n = o->n;
	r->bytes_each = ((double)bench_resident_bytes() - (double)before) / (double)o->n;
	r->slab_bytes_each = ((double)bench_slab_bytes() - (double)slab_before) / (double)o->n;
	return conns_wake(c, o->n, &r->checksum);
}

static int conns_row(const struct bench_options *o, struct bench_report *r)
{
	struct conns c = { .done = SPG_WG_INIT };
	int err = raise_fd_limit(2 * o->n);

	if (err < 0)
		return err;
	c.pair = calloc(o->n, sizeof(*c.pair));
	if (!c.pair)
		return -ENOMEM;
	for (size_t i = 0; i < o->n; i++)
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c.pair[i]) != 0)
			bench_die("socketpair %zu of %zu failed", i, o->n);
	err = conns_measure(&c, o, r);
	for (size_t i = 0; i < o->n; i++) {
		close(c.pair[i][0]);
		close(c.pair[i][1]);
	}
	free(c.pair);
	return err;
}

const struct bench_row bench_rows_memory[] = {
	{ "parked", parked_row, true },
	{ "conns", conns_row, true },
	{ "idle", idle_row, true },
	{ NULL, NULL, false },
};
