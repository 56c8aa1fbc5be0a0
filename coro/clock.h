/*
 * Time inside the house: int64_t nanoseconds on CLOCK_MONOTONIC.
 */
#ifndef SPG__CORO_CLOCK_H
#define SPG__CORO_CLOCK_H

#include "coro/base.h"

#include <time.h>

static inline int64_t spg__clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* now + delta_ns; negative deltas count as 0, sums saturate at SPG__NEVER. */
static inline int64_t spg__clock_after_ns(int64_t now, int64_t delta_ns)
{
	int64_t when;

	if (delta_ns < 0)
		delta_ns = 0;
	return __builtin_add_overflow(now, delta_ns, &when) ? SPG__NEVER : when;
}

static inline struct timespec spg__clock_timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

#endif
