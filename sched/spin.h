/*
 * Whether an idle shard looks for work for a while before it sleeps, by what came of it so far.
 *
 * SP1  After MISSES_MAX spins in a row that found nothing it is tried again now and then: one idle
 *      time in `every`, by chance (two shards that counted could miss each other for ever), and
 *      half as often after each try in vain.
 * SP2  Two shards that wait for each other's answers either both spin or both sleep, and each state
 *      keeps itself: one that sleeps answers a wake-up late, and by then the other's spin has ended
 *      in vain. So a try is LONG times as long where the last sleep was as short, and ended by
 *      another shard: it finds the late answer, the other's try finds ours, and both spin again.
 * SP3  Worse where both threads have come to be on one CPU: while one spins the other cannot answer,
 *      and as only one of them is ever runnable, no balancing of the kernel's moves them apart.
 *      So before such a try a shard leaves a CPU on which another one sleeps.
 */
#ifndef SPG__SCHED_SPIN_H
#define SPG__SCHED_SPIN_H

#include "coro/base.h"

#define SPG__SPIN_MISSES_MAX 4
#define SPG__SPIN_EVERY_MIN 16
#define SPG__SPIN_EVERY_MAX 128
/* About two wake-ups, the other's and our own, against the default spin_ns. */
#define SPG__SPIN_LONG 3

/* The shard's own. */
struct spg__spin {
	unsigned misses, every;
	bool woken_soon;
};

/* Is a spin now a try in spite of its misses? */
static inline bool spg__spin_is_try(const struct spg__spin *spin)
{
	return spin->misses > SPG__SPIN_MISSES_MAX;
}

/* How long to spin now; 0: not at all. random: 64 bits. */
static inline int64_t spg__spin_length(const struct spg__spin *spin, int64_t spin_ns, uint64_t random)
{
	if (!spg__spin_is_try(spin))
		return spin_ns;
	if ((random >> 32) % spin->every != 0)
		return 0;
	return spin->woken_soon ? SPG__SPIN_LONG * spin_ns : spin_ns;
}

static inline void spg__spin_ended(struct spg__spin *spin, bool found)
{
	if (found)
		*spin = (struct spg__spin){ .woken_soon = spin->woken_soon };
	else if (!spg__spin_is_try(spin))
		spin->misses++;
	if (!spg__spin_is_try(spin))
		spin->every = SPG__SPIN_EVERY_MIN / 2;
	else if (spin->every < SPG__SPIN_EVERY_MAX)
		spin->every *= 2;
}

/* It slept that long; by_shard: until another shard woke it. */
static inline void spg__spin_slept(struct spg__spin *spin, int64_t slept_ns, bool by_shard, int64_t spin_ns)
{
	spin->woken_soon = by_shard && slept_ns < SPG__SPIN_LONG * spin_ns;
}

#endif
