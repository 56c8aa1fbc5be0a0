/*
 * Reads of 4 KiB from a file of 16 MiB in the page cache. The twins stand in bench/go/net.go,
 * bench/rust and rows_loops.c; read_rtt also runs with --pthreads, where it is pread(2) in a loop.
 */
#include "bench/streams.h"

#define DEPTH 32
#define SAMPLE 16 /* every so many reads one is timed: two looks at the clock cost a tenth of a read */

static uint64_t timed_read(uint64_t i)
{
	int64_t start_ns;
	uint64_t sum;

	if (i / DEPTH % SAMPLE != 0)
		return read_block(block_of(i));
	start_ns = bench_now_ns();
	sum = read_block(block_of(i));
	bench_record((unsigned)(i % DEPTH), start_ns);
	return sum;
}

/* What does one cached 4 KiB read cost, one at a time?                      0.5 to 2 us */
static int read_rtt_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	streams_threads(o);
	file_open();
	*sum = 0;
	for (uint64_t i = 0; i < ops; i++)
		*sum += timed_read(i);
	return 0;
}

struct reader {
	uint64_t first, ops, sum;
	spg_wg *done;
};

static void read_some(void *arg)
{
	struct reader *r = arg;

	for (uint64_t i = r->first; i < r->ops; i += DEPTH)
		r->sum += timed_read(i);
	spg_wg_done(r->done);
}

/* And with 32 under way?                                                     0.5 to 2 us */
static int read_qd32_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct reader readers[DEPTH];
	spg_wg done = SPG_WG_INIT;

	streams_threads(o);
	file_open();
	*sum = 0;
	spg_wg_add(&done, DEPTH);
	for (uint64_t i = 0; i < DEPTH; i++) {
		readers[i] = (struct reader){ i, ops, 0, &done };
		bench_go(NULL, read_some, &readers[i]);
	}
	bench_wait(&done);
	for (int i = 0; i < DEPTH; i++)
		*sum += readers[i].sum;
	return 0;
}

#define ROW(name) \
	static int name##_row(const struct bench_options *o, struct bench_report *r) \
	{ \
		return bench_measure(o, r, name##_pass); \
	}
ROW(read_rtt)
ROW(read_qd32)

const struct bench_row bench_rows_read[] = {
	{ "read_rtt", read_rtt_row, true },
	{ "read_qd32", read_qd32_row, true },
	{ NULL, NULL, false },
};
