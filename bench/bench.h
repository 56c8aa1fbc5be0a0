/*
 * The harness of the C rows: one program, one row a run, one JSON line a row.
 * bench/run starts it beside its Go twin; bench/README.md says what each row means.
 *
 * B1  A pass moves `ops` operations' worth of data and sums up what arrived. Every
 *     pass of a run gives the same sum, and so does the twin's.
 * B2  Time, CPU and context switches are read around whole passes, after a tenth of a pass as
 *     warm-up; latencies are those of the measured passes alone.
 * B3  What goes wrong ends the program with a message and status 1: a row that
 *     could not be measured has no number.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "tools/hist.h"

#include <spg/spg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct bench_options {
	unsigned shards;    /* 0: the library's default */
	int place;	    /* the shard a row's coroutines are pinned to; -1: not pinned */
	int64_t spin_ns;    /* -1: the library's default */
	bool pin_shards;    /* bind each shard's thread to a CPU */
	size_t stack_bytes; /* 0: the library's default */
	size_t n;	    /* how many coroutines a memory row parks */
	uint64_t ops;	    /* operations in one pass */
	const char *addr;   /* of the peer, host:port */
	pid_t peer_pid;	    /* the peer, whose CPU time is read around the passes; 0: none */
	bool pthreads;	    /* threads and blocking calls in place of coroutines, no runtime */
	bool once;	    /* one pass and no warm-up: the program is measured from outside */
	int64_t measure_ns; /* passes are repeated until this much was measured */
};

struct bench_report {
	int shards;	  /* that ran */
	int pool_threads; /* of the blocking pool, where a row counts threads */
	double ns_per_op;
	double cpu_ns_per_op;
	double peer_cpu_ns_per_op; /* of the process at the other end */
	double switches_per_op;	   /* context switches, of all threads */
	double preempted_per_op;   /* of them involuntary */
	double p50_us, p99_us, p999_us; /* of single requests, where the row records them */
	int threads;
	double rss_kib; /* the largest resident set */
	uint64_t ops;
	uint64_t passes;
	size_t n;
	double bytes_each;	/* resident bytes per coroutine, all n parked */
	double bytes_each_half; /* the same with the first half parked */
	double slab_bytes_each; /* kernel memory of the whole machine, for orientation */
	double late_p50_us; /* of sleeps */
	double late_p99_us;
	uint64_t checksum;
};

/* Runs ops operations; 0 and the sum of the data that arrived, or a negative errno. */
typedef int (*bench_pass)(const struct bench_options *o, uint64_t ops, uint64_t *sum);

/* Measures a row: fills what the row has in the report. Negative errno on failure. */
typedef int (*bench_row_fn)(const struct bench_options *o, struct bench_report *r);

struct bench_row {
	const char *name;
	bench_row_fn fn;
	bool on_runtime; /* fn is the main coroutine; false: plain threads, no runtime */
};

extern const struct bench_row bench_rows_core[];
extern const struct bench_row bench_rows_memory[];
extern const struct bench_row bench_rows_raw[];
extern const struct bench_row bench_rows_msg[];
extern const struct bench_row bench_rows_sync[];
extern const struct bench_row bench_rows_programs[];
extern const struct bench_row bench_rows_net[];
extern const struct bench_row bench_rows_service[];
extern const struct bench_row bench_rows_read[];
extern const struct bench_row bench_rows_loops[];
extern const struct bench_row bench_rows_gate[];
extern const struct bench_row bench_rows_stream[];
extern const struct bench_row bench_rows_file[];
extern const struct bench_row bench_rows_local[];

/* Repeats pass until o->measure_ns have been measured. */
int bench_measure(const struct bench_options *o, struct bench_report *r, bench_pass pass);

/* CPU time of the process, all threads. */
int64_t bench_cpu_ns(void);

/* Where results go: the stdout the program was started with. */
FILE *bench_out(void);

/* Who records latencies at a time: a histogram each, so that shards need not meet. */
#define BENCH_RECORDERS 64
extern struct hist bench_latencies[BENCH_RECORDERS];

int64_t bench_now_ns(void);

/* Records that what began at start_ns is done. */
static inline void bench_record(unsigned who, int64_t start_ns)
{
	hist_record(&bench_latencies[who % BENCH_RECORDERS], (uint64_t)(bench_now_ns() - start_ns));
}

/* Prints to stderr and ends the program with status 1. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* VmRSS + VmPTE of this process, and the machine's slab memory, in bytes. */
size_t bench_resident_bytes(void);
size_t bench_slab_bytes(void);

/*
 * Spreads a counter over 64 bits (one step of splitmix64's output function), so that
 * a lost, repeated or altered value changes the sum. Twin of mix() in bench/go.
 */
static inline uint64_t bench_mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9E3779B97F4A7C15;
	return x ^ x >> 29;
}

/* The row cannot be had here: says why, and ends the program with status 0. */
void bench_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Attributes that pin to a shard; -1: the default place. */
spg_attr bench_attr(int place);

/* spg_go_attr that cannot fail (B3): what it starts may live on the caller's stack. */
void bench_go(const spg_attr *attr, spg_fn fn, void *arg);

/* spg_wg_wait that cannot end early (B3). */
void bench_wait(spg_wg *done);

#endif
