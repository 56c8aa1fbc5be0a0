/*
 * Stealing: a shard with nothing to do takes a batch from another's run queue, or
 * a hand-over slot its owner has left alone for too long.
 */
#include "sched/queue.h"
#include "sched/trace.h"

#include "coro/clock.h"
#include "coro/usdt.h"

/* A victim is stuck when its switch count was the same at two looks so far apart. */
#define SLOT_STALE_NS 20000
/* Others that one attempt looks at: what it costs does not grow with the number of shards. */
#define LOOKS_MAX 8u

bool spg__steal_worth(struct spg__shard *victim, struct spg__shard *thief)
{
	uint32_t n = spg__runq_count(&victim->runq);
	int64_t run_ns;

	/* relaxed, both: estimates. */
	if (spg__unlikely(atomic_load_explicit(&victim->stalled, memory_order_relaxed)))
		return n > 0 || atomic_load_explicit(&victim->next, memory_order_relaxed) != NULL;
	run_ns = atomic_load_explicit(&victim->run_avg_ns, memory_order_relaxed);
	if (n == 0 || n * run_ns < SPG__WORTH_NS)
		return false;
	return !spg__crowded(thief) ||
	       atomic_load_explicit(&victim->run_low_ns, memory_order_relaxed) >= SPG__WORTH_NS;
}

/* Has the victim been in one coroutine for a while? */
static bool stuck(struct spg__shard *thief, struct spg__shard *victim, int64_t now_ns)
{
	uint64_t switches = spg__count_read(&victim->counters.switches);

	if (atomic_load_explicit(&victim->stalled, memory_order_relaxed))
		return true;
	if (switches != thief->seen[victim->id].switches) {
		thief->seen[victim->id].switches = switches;
		thief->seen[victim->id].since_ns = now_ns;
		return false;
	}
	return now_ns - thief->seen[victim->id].since_ns >=
	       (spg__unlikely(spg__sched.crowd_cpus != 0) ? SPG__SLICE_NS : SLOT_STALE_NS);
}

/*
 * Coroutine by coroutine: they are ours now (R3). The oldest is run next and enters no queue: another
 * thief would take it from there, another from that one, and where many thieves look it would be
 * stolen several times before it runs (tools/scaling-model). Nor is anybody woken for it.
 */
static void keep(struct spg__shard *thief, struct spg__shard *victim, struct spg__coro **batch, uint32_t n)
{
	spg__count(&thief->counters.steals_won);
	spg__count_add(&thief->counters.stolen, n);
	if (spg__unlikely(spg__trace_any(thief)))
		spg__trace_put_any(thief, SPG__TRACE_STEAL, (uint64_t)victim->id, n);
	SPG__PROBE3(steal, thief->id, victim->id, n);
	SPG_ASSERT(thief->stolen == NULL);
	thief->stolen = batch[0];
	for (uint32_t i = 0; i < n; i++) {
		SPG_ASSERT(batch[i]->pin < 0);
		/* In flight it would have to stay with its ring: the counter proves it never happens. */
		if (spg__unlikely(spg__coro_op_shard(batch[i]) >= 0))
			spg__count(&thief->counters.migrations_in_flight);
		if (i > 0)
			spg__queue_tail(thief, batch[i], false);
	}
}

/* What a stuck victim was about to run next. */
static bool steal_slot(struct spg__shard *thief, struct spg__shard *victim)
{
	/* acquire [R-c]. */
	struct spg__coro *coro = atomic_load_explicit(&victim->next, memory_order_acquire);

	/* acq_rel [R-c]: one taker. A recycled object in the slot is as good: it is runnable and unpinned. */
	if (coro == NULL ||
	    !atomic_compare_exchange_strong_explicit(&victim->next, &coro, NULL, memory_order_acq_rel,
						     memory_order_relaxed))
		return false;
	keep(thief, victim, &coro, 1);
	return true;
}

static bool steal_batch(struct spg__shard *thief, struct spg__shard *victim)
{
	struct spg__coro *batch[SPG__RUNQ_BATCH];
	uint32_t n = spg__runq_grab(&victim->runq, batch, spg__sched.conf.steal_batch);

	if (n > 0)
		keep(thief, victim, batch, n);
	return n > 0;
}

/* How many shards from its first one on an attempt looks at. */
static unsigned looks(void)
{
	unsigned most = spg__sched.conf.steal_probe > LOOKS_MAX ? spg__sched.conf.steal_probe : LOOKS_MAX;

	return spg__sched.conf.shards < most ? spg__sched.conf.shards : most;
}

/* The fullest of a few victims with a backlog that is worth it, or the next that has one. */
static struct spg__shard *choose(struct spg__shard *thief, unsigned start)
{
	unsigned shards = spg__sched.conf.shards;
	unsigned probes = 0;
	uint32_t backlog = 0;
	struct spg__shard *best = NULL;

	for (unsigned i = 0, most = looks(); i < most; i++) {
		struct spg__shard *victim = spg__shard_at((int)((start + i) % shards));
		uint32_t n;

		if (victim == thief)
			continue;
		n = spg__runq_count(&victim->runq);
		spg__count(&thief->counters.steal_scans);
		if (!spg__steal_worth(victim, thief)) {
			spg__count_add(&thief->counters.steals_not_worth, n > 0);
			continue;
		}
		if (n > backlog) {
			backlog = n;
			best = victim;
		}
		if (++probes >= spg__sched.conf.steal_probe && best != NULL)
			break;
	}
	return best;
}

/* A lost race means contention: pauses that double. An empty world costs little to look at. */
static void backoff(struct spg__shard *thief, int64_t now_ns)
{
	int64_t min = spg__sched.conf.steal_backoff_min_ns, max = spg__sched.conf.steal_backoff_max_ns;

	thief->steal_backoff_ns = thief->steal_backoff_ns == 0 ? min : thief->steal_backoff_ns * 2;
	if (thief->steal_backoff_ns > max)
		thief->steal_backoff_ns = max;
	thief->steal_after_ns = now_ns + thief->steal_backoff_ns;
}

/* Where the last look found something; else anywhere. */
static unsigned first_victim(struct spg__shard *thief)
{
	int hint = thief->steal_hint;

	thief->steal_hint = -1;
	return hint >= 0 ? (unsigned)hint : (unsigned)(spg__random(thief) % spg__sched.conf.shards);
}

static bool steal(struct spg__shard *thief, int64_t now_ns)
{
	unsigned shards = spg__sched.conf.shards, start = first_victim(thief);
	struct spg__shard *victim = choose(thief, start);

	if (victim != NULL) {
		if (steal_batch(thief, victim))
			return true;
		if (spg__runq_count(&victim->runq) > 0)
			backoff(thief, now_ns);
	}
	for (unsigned i = 0, most = looks(); i < most; i++) {
		victim = spg__shard_at((int)((start + i) % shards));
		if (victim != thief && stuck(thief, victim, now_ns) &&
		    (steal_batch(thief, victim) || steal_slot(thief, victim)))
			return true;
	}
	return false;
}

bool spg__steal_any(struct spg__shard *thief)
{
	for (unsigned i = 0; spg__sched.stealing && i < spg__sched.conf.shards; i++) {
		/* seq_cst [W2], in it. */
		if (spg__steal_worth(spg__shard_at((int)i), thief)) {
			thief->steal_hint = (int)i;
			return true;
		}
	}
	return false;
}

bool spg__steal(struct spg__shard *thief, int64_t now_ns)
{
	if (!spg__sched.stealing)
		return false;
	if (now_ns < thief->steal_after_ns) {
		spg__count(&thief->counters.steals_backoff);
		return false;
	}
	spg__count(&thief->counters.steals_tried);
	if (!steal(thief, now_ns)) {
		if (++thief->steals_failed > spg__count_read(&thief->counters.steals_failed_streak_max))
			spg__count_set(&thief->counters.steals_failed_streak_max, thief->steals_failed);
		return false;
	}
	thief->steals_failed = 0;
	thief->steal_backoff_ns = thief->steal_after_ns = 0;
	return true;
}
