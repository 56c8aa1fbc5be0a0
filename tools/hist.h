/*
 * A log-linear histogram of latencies (after HdrHistogram): every value up to 2^64 - 1
 * lies in a bucket no wider than 1/128 of it; values below 256 are exact.
 *
 * H1  Shift s > 0 holds the values in [128 << s, 256 << s) in 128 buckets of 1 << s;
 *     shift 0 holds [0, 256) in 256 buckets of 1. Buckets follow each other without gap.
 * H2  A percentile is the upper end of its bucket, but no more than the maximum: it is
 *     never below the true value, and less than 1/128 above it.
 */
#ifndef TOOLS_HIST_H
#define TOOLS_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 7
#define HIST_SUB (1u << HIST_SUB_BITS)
#define HIST_BUCKETS ((64 - HIST_SUB_BITS - 1) * HIST_SUB + 2 * HIST_SUB)

/* All zero is empty. */
struct hist {
	uint64_t count, sum, max;
	uint64_t bucket[HIST_BUCKETS];
};

static inline unsigned hist_index(uint64_t value)
{
	unsigned shift;

	if (value < 2 * HIST_SUB)
		return (unsigned)value;
	shift = 63 - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return shift * HIST_SUB + (unsigned)(value >> shift);
}

/* The largest value of a bucket. */
static inline uint64_t hist_upper(unsigned index)
{
	unsigned shift = index < 2 * HIST_SUB ? 0 : index / HIST_SUB - 1;
	uint64_t lower = (uint64_t)(index - shift * HIST_SUB) << shift;

	return lower + (((uint64_t)1 << shift) - 1);
}

static inline void hist_record(struct hist *h, uint64_t value)
{
	h->bucket[hist_index(value)]++;
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
}

/* The value that `ppm` millionths of all do not exceed (500,000: the median); 0 when empty. */
static inline uint64_t hist_percentile(const struct hist *h, uint32_t ppm)
{
	uint64_t rank = (h->count * ppm + 999999) / 1000000, seen = 0;

	if (rank == 0)
		rank = 1;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= rank)
			return hist_upper(i) < h->max ? hist_upper(i) : h->max; /* H2 */
	}
	return h->max;
}

#endif
