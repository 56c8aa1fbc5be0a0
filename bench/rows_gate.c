/*
 * Rows that only bench/gate runs, under callgrind: paths the other rows do not isolate.
 *
 * socketpair   one byte there and back between two coroutines of a shard: spg_read, spg_write
 * echo64       the same over 64 pairs at a time; echo64_traced: while a trace goes on
 * runq_steal   what a thief does to a queue: half of 32 put is grabbed, the rest taken
 */
#include "bench/bench.h"
#include "sched/runq.h"
#include "sched/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define ECHO_CONNECTIONS 64

struct echoer {
	int fd;
	spg_wg done;
};

static void echo_bytes(void *arg)
{
	struct echoer *e = arg;
	uint8_t byte;

	while (spg_read(e->fd, &byte, 1) == 1)
		if (spg_write(e->fd, &byte, 1) != 1)
			bench_die("socketpair: a write failed");
	spg_wg_done(&e->done);
}

static int socketpair_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct echoer e = { .done = SPG_WG_INIT };
	int fds[2];

	(void)o;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	e.fd = fds[1];
	spg_wg_add(&e.done, 1);
	bench_go(NULL, echo_bytes, &e);
	*sum = 0;
	for (uint64_t i = 0; i < ops; i++) {
		uint8_t byte = (uint8_t)bench_mix(i);

		if (spg_write(fds[0], &byte, 1) != 1 || spg_read(fds[0], &byte, 1) != 1)
			return -EPROTO;
		*sum += byte;
	}
	spg_close(fds[0]);
	bench_wait(&e.done);
	spg_close(fds[1]);
	return 0;
}

struct echo_client {
	int fd;
	uint64_t rounds, sum;
	spg_wg *done;
};

static void echo_client(void *arg)
{
	struct echo_client *c = arg;

	for (uint64_t i = 0; i < c->rounds; i++) {
		uint8_t byte = (uint8_t)bench_mix(i);

		/* By the clock a pass takes long under callgrind, and the next would be cut shorter, or not. */
		spg__shard_self()->budget_max = 4 * ECHO_CONNECTIONS;
		if (spg_write(c->fd, &byte, 1) != 1 || spg_read(c->fd, &byte, 1) != 1)
			bench_die("echo64: no echo");
		c->sum += byte;
	}
	spg_close(c->fd);
	spg_wg_done(c->done);
}

/* Both ends of all connections are coroutines of one shard: it has many completions at a time. */
static int echo64_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct echo_client clients[ECHO_CONNECTIONS];
	struct echoer echoers[ECHO_CONNECTIONS];
	spg_wg done = SPG_WG_INIT;

	(void)o;
	spg_wg_add(&done, ECHO_CONNECTIONS);
	for (int i = 0; i < ECHO_CONNECTIONS; i++) {
		int fds[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
			bench_die("echo64: no sockets");
		echoers[i] = (struct echoer){ .fd = fds[1], .done = SPG_WG_INIT };
		clients[i] = (struct echo_client){ .fd = fds[0], .rounds = ops / ECHO_CONNECTIONS, .done = &done };
		spg_wg_add(&echoers[i].done, 1);
		bench_go(NULL, echo_bytes, &echoers[i]);
		bench_go(NULL, echo_client, &clients[i]);
	}
	bench_wait(&done);
	*sum = 0;
	for (int i = 0; i < ECHO_CONNECTIONS; i++) {
		bench_wait(&echoers[i].done);
		spg_close(echoers[i].fd);
		*sum += clients[i].sum;
	}
	return 0;
}

static int runq_steal_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	static struct spg__runq queue;
	static struct spg__coro coros[32];
	struct spg__coro *out[SPG__RUNQ_BATCH];

	(void)o;
	*sum = 0;
	for (uint64_t i = 0; i < ops; i++) {
		for (int k = 0; k < 32; k++)
			if (!spg__runq_put(&queue, &coros[k]))
				return -EPROTO;
		*sum += spg__runq_grab(&queue, out, SPG__RUNQ_BATCH);
		while (spg__runq_take(&queue) != NULL)
			++*sum;
	}
	return *sum == ops * 32 ? 0 : -EPROTO;
}

static int socketpair_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, socketpair_pass);
}

/* The same while a trace goes on. */
static int traced(const struct bench_options *o, struct bench_report *r, bench_pass pass)
{
	int fd = spg_open("/dev/null", O_WRONLY | O_CLOEXEC, 0), err;

	if (fd < 0)
		return fd;
	err = spg_trace_start(fd);
	if (err == 0) {
		err = bench_measure(o, r, pass);
		(void)spg_trace_stop();
	}
	spg_close(fd);
	return err;
}

static int echo64_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, echo64_pass);
}

static int echo64_traced_row(const struct bench_options *o, struct bench_report *r)
{
	return traced(o, r, echo64_pass);
}

static int runq_steal_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, runq_steal_pass);
}

const struct bench_row bench_rows_gate[] = {
	{ "socketpair", socketpair_row, true },
	{ "echo64", echo64_row, true },
	{ "echo64_traced", echo64_traced_row, true },
	{ "runq_steal", runq_steal_row, true },
	{ NULL, NULL, false },
};
