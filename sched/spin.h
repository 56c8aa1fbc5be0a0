/*
 * Whether an idle shard looks for work for a while before it sleeps, by what came of it so far.
 *
 * SP1  After MISSES_MAX spins in a row that found nothing only one idle time in RETRY spins, by
 *      chance: two shards that counted could miss each other for ever.
 * SP2  Two shards that wait for each other's answers either both spin or both sleep, and each state
 *      keeps itself: one that sleeps answers a wake-up late, and by then the other's spin has ended
 *      in vain. So a retry is LONG times as long where the last sleep was as short, and ended by
 *      another shard: it finds the late answer, the other's retry finds ours, and both spin again.
 *      What never answers so soon costs no more than before.
 */
#ifndef SPG__SCHED_SPIN_H
#define SPG__SCHED_SPIN_H

#include "coro/base.h"

#define SPG__SPIN_MISSES_MAX 4
#define SPG__SPIN_RETRY 16
/* About two wake-ups, the other's and our own, against the default spin_ns. */
#define SPG__SPIN_LONG 3

/* The shard's own. */
struct spg__spin {
	unsigned misses;
	bool woken_soon;
};

/* How long to spin now; 0: not at all. random: 64 bits. */
static inline int64_t spg__spin_length(const struct spg__spin *spin, int64_t spin_ns, uint64_t random)
{
	if (spin->misses <= SPG__SPIN_MISSES_MAX)
		return spin_ns;
	if ((random >> 32) % SPG__SPIN_RETRY != 0)
		return 0;
	return spin->woken_soon ? SPG__SPIN_LONG * spin_ns : spin_ns;
}

static inline void spg__spin_ended(struct spg__spin *spin, bool found)
{
	if (found)
		spin->misses = 0;
	else if (spin->misses <= SPG__SPIN_MISSES_MAX)
		spin->misses++;
}

/* It slept that long; by_shard: until another shard woke it. */
static inline void spg__spin_slept(struct spg__spin *spin, int64_t slept_ns, bool by_shard, int64_t spin_ns)
{
	spin->woken_soon = by_shard && slept_ns < SPG__SPIN_LONG * spin_ns;
}

#endif
