/*
 * Between the files of the scheduler: queues and steps of a shard. Owner only.
 */
#ifndef SPG__SCHED_QUEUE_H
#define SPG__SCHED_QUEUE_H

#include "sched/shard.h"

/* Q6: about what a wake-up and the cold caches cost. */
#define SPG__WORTH_NS 20000
/* Q7: a thread that made no step for so long had not just to leave its CPU to another for a time slice. */
#define SPG__SLICE_NS 5000000

/* A shard's bit in one of the masks of struct spg__sched. seq_cst, as I1 to I5 need it. */
static inline void spg__mask_set(_Atomic uint64_t *mask, int id)
{
	atomic_fetch_or_explicit(&mask[id / 64], (uint64_t)1 << (id % 64), memory_order_seq_cst);
}

/* true: it was set, and we are the one who cleared it. */
static inline bool spg__mask_clear(_Atomic uint64_t *mask, int id)
{
	uint64_t bit = (uint64_t)1 << (id % 64);

	return (atomic_fetch_and_explicit(&mask[id / 64], ~bit, memory_order_seq_cst) & bit) != 0;
}

/* Behind everything else on this shard. */
void spg__queue_tail(struct spg__shard *shard, struct spg__coro *coro, bool local);

/* The same for a coroutine that yields: it needs no thief. */
void spg__queue_yielded(struct spg__shard *shard, struct spg__coro *coro);

/* Is there anything to run here, slots apart? */
static inline bool spg__queue_any(struct spg__shard *shard)
{
	return shard->local.first != NULL || spg__runq_count(&shard->runq) != 0;
}

/* Takes from the two queues in turn; NULL: both are empty. */
struct spg__coro *spg__queue_take(struct spg__shard *shard);

/* Everything in the inbox to the queues, in order of arrival; runs the errands. true: there was something. */
bool spg__inbox_drain(struct spg__shard *shard);

/* Any thread: the whole inbox, oldest first; and one back into it, without a wake. */
struct spg__link *spg__inbox_take(struct spg__shard *shard);
void spg__inbox_put(struct spg__shard *shard, struct spg__coro *coro);

/* A share of the global queue to this shard. true: there was something. */
bool spg__global_take(struct spg__shard *shard);

void spg__global_put(struct spg__fifo *batch);

/* After publishing stealable work: wakes a sleeper when nobody spins (I1). */
void spg__wake_thief(void);

/* Are as many shards as there are CPUs awake, apart from this one if it is not NULL (Q7)? */
static inline bool spg__crowded(struct spg__shard *apart)
{
	unsigned awake = spg__sched.conf.shards;

	if (spg__likely(spg__sched.crowd_cpus == 0))
		return false;
	for (unsigned i = 0; i < SPG__SHARDS_MAX / 64; i++) {
		/* seq_cst [W3]: who is about to sleep sets its bit first, and then looks for what was published before. */
		uint64_t word = atomic_load_explicit(&spg__sched.sleeping[i], memory_order_seq_cst);

		if (apart != NULL && (unsigned)apart->id / 64 == i)
			word |= (uint64_t)1 << (apart->id % 64);
		awake -= (unsigned)__builtin_popcountll(word);
	}
	return awake >= spg__sched.crowd_cpus;
}

/* Is the victim's backlog worth a thief (Q6, Q7): this one, or if it is NULL any? */
bool spg__steal_worth(struct spg__shard *victim, struct spg__shard *thief);

/* Of the last look (I2): is there anything worth it anywhere? The next attempt begins there. */
bool spg__steal_any(struct spg__shard *thief);

/* Steals a batch from one of a few other shards: one to run next, the rest into our queue. true: there was something. */
bool spg__steal(struct spg__shard *thief, int64_t now_ns);

/* Runs coroutines until the budget is used up or nothing is left. From the loop. */
void spg__run_pass(struct spg__shard *shard, struct spg__coro *first);

/* For debugging: what thieves could take goes to the next shard. */
void spg__queue_send_away(struct spg__shard *shard);

/* A stack came free, or may be had now: one starved coroutine may try again. */
void spg__starved_retry(void);

#endif
