/*
 * A log-linear histogram of latencies: 64 linear steps in each power of two, so a value is
 * known to 1.6 %.
 */
#ifndef SPG__TOOLS_HIST_H
#define SPG__TOOLS_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_BUCKETS ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count, max;
	uint64_t buckets[HIST_BUCKETS];
};

static inline unsigned hist_index(uint64_t value)
{
	unsigned shift;

	if (value < (1u << HIST_SUB_BITS))
		return (unsigned)value;
	shift = 63 - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return ((shift + 1) << HIST_SUB_BITS) + (unsigned)(value >> shift) - (1u << HIST_SUB_BITS);
}

/* The largest value that falls into the bucket. */
static inline uint64_t hist_upper(unsigned index)
{
	unsigned shift = index >> HIST_SUB_BITS;
	uint64_t sub = index & ((1u << HIST_SUB_BITS) - 1);

	if (shift == 0)
		return sub;
	return ((sub + (1u << HIST_SUB_BITS) + 1) << (shift - 1)) - 1;
}

static inline void hist_add(struct hist *h, uint64_t value)
{
	h->count++;
	h->buckets[hist_index(value)]++;
	if (value > h->max)
		h->max = value;
}

/* The value below which `part` (0 to 1) of all lie; 0 for an empty one. */
static inline uint64_t hist_quantile(const struct hist *h, double part)
{
	uint64_t rank = (uint64_t)((double)h->count * part), seen = 0;

	if (rank >= h->count)
		return h->max;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > rank)
			return hist_upper(i) < h->max ? hist_upper(i) : h->max;
	}
	return h->max;
}

#endif
