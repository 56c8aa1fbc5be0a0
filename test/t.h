/*
 * What every test file uses: assertions that work on any thread and in any coroutine,
 * a runtime around a function, and a look at the process.
 *
 * A file is one Check program: T_MAIN lists its tests with T_TEST (once) and T_SHARDS
 * (four times, with `_i` = 1 to 4 shards). Each runs in a process of its own, for 30
 * seconds at most; a failed assertion prints where and what, and ends that process.
 *
 * SPG_TEST_ONLY=name runs one test of a program; SPG_TEST_NOFORK=1 runs without the
 * processes, for a debugger.
 */
#ifndef SPG__TEST_T_H
#define SPG__TEST_T_H

#include <spg/spg.h>

#include <check.h>
#include <errno.h>
#ifndef __cplusplus
#include <stdatomic.h>
#endif
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

void t_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

#define T_OK(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			t_fail(__FILE__, __LINE__, "%s", #cond);                                   \
	} while (0)

#define T_EQ(a, b)                                                                                 \
	do {                                                                                       \
		long long t_a = (long long)(a), t_b = (long long)(b);                              \
		if (t_a != t_b)                                                                    \
			t_fail(__FILE__, __LINE__, "%s is %lld, expected %s = %lld", #a, t_a, #b,  \
			       t_b);                                                               \
	} while (0)

/* The call returns this negative errno. */
#define T_ERR(call, err)                                                                           \
	do {                                                                                       \
		long long t_got = (long long)(call), t_err = (long long)(err);                     \
		if (t_got != t_err)                                                                \
			t_fail(__FILE__, __LINE__, "%s is %lld (%s), expected %s = %lld", #call,   \
			       t_got, t_got < 0 ? spg_strerror((int)t_got) : "no error", #err,     \
			       t_err);                                                             \
	} while (0)

#define T_STR(a, b)                                                                                \
	do {                                                                                       \
		const char *t_a = (a), *t_b = (b);                                                 \
		if (strcmp(t_a, t_b) != 0)                                                         \
			t_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #a, t_a, t_b); \
	} while (0)

/* In a test's own function: ends it as skipped, the machine lacks something. */
#define T_SKIP(reason)                                                                             \
	do {                                                                                       \
		t_skip(__func__, reason);                                                          \
		return;                                                                            \
	} while (0)
void t_skip(const char *function, const char *reason);

/* The default configuration with that many shards. */
spg_config t_config(unsigned shards);

/* Runs fn under spg_run with that many shards; its value must be 0. */
void t_run(unsigned shards, int (*fn)(void *), void *arg);
/* The same with a whole configuration; returns spg_run's value. */
int t_run_config(const spg_config *cfg, int (*fn)(void *), void *arg);

/*
 * Yields, or on a foreign thread gives the CPU away, until cond holds: for quiescing,
 * bounded by the test's timeout.
 */
#define T_UNTIL(cond)                                                                              \
	do {                                                                                       \
		while (!(cond))                                                                    \
			t_relax();                                                                 \
	} while (0)
void t_relax(void);

/* SPG_TEST_SEED, or a random one, never 0; printed on stderr. */
uint64_t t_seed(void);
/* The next number of the generator whose state began as a seed. */
uint64_t t_random(uint64_t *state);

/* The process: open descriptors, resident bytes, mappings, threads, CPU time. */
int t_fds_count(void);
size_t t_rss_bytes(void);
int t_maps_count(void);
int t_threads_count(void);
int64_t t_cpu_ns(void);
/* How long its threads were ready and had no CPU, or the CPUs no machine: what that adds to a latency, at most. */
int64_t t_delay_ns(void);

/* CLOCK_MONOTONIC. */
int64_t t_now_ns(void);

/* Under a sanitizer or Valgrind: timing means nothing and memory is padded. */
bool t_sanitized(void);
bool t_tsan(void);

struct t_case {
	const char *name;
	const TTest *test;
	bool shards; /* once each with 1 to 4 of them */
};
int t_main(const char *file, const struct t_case *cases, size_t n);

#ifdef __cplusplus
}
#endif

#define T_TEST(name) { #name, name, false }
#define T_SHARDS(name) { #name, name, true }
#define T_MAIN(...)                                                                                \
	int main(void)                                                                             \
	{                                                                                          \
		const struct t_case cases[] = { __VA_ARGS__ };                                     \
		return t_main(__FILE__, cases, sizeof(cases) / sizeof(cases[0]));                  \
	}

#endif
