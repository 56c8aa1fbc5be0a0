/*
 * Rows that only bench/gate runs, under callgrind: paths the other rows do not isolate.
 *
 * socketpair   one byte there and back between two coroutines of a shard: spg_read, spg_write
 * runq_steal   what a thief does to a queue: half of 32 put is grabbed, the rest taken
 */
#include "bench/bench.h"
#include "sched/runq.h"

#include <errno.h>
#include <sys/socket.h>

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

static int runq_steal_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, runq_steal_pass);
}

const struct bench_row bench_rows_gate[] = {
	{ "socketpair", socketpair_row, true },
	{ "runq_steal", runq_steal_row, true },
	{ NULL, NULL, false },
};
