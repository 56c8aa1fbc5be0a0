#include "coro/stack.h"
#include "io/ring.h"
#include "runtime/call.h"
#include "runtime/msg.h"
#include "sched/offload.h"
#include "sched/shard.h"

#include <spg/debug.h>
#include <spg/runtime.h>

#include <string.h>

static void shard_stats(struct spg_shard_stats *out, struct spg__shard *shard)
{
	struct spg__counters *c = &shard->counters;
	struct spg__ring *ring = spg__ring_of(shard);
	uint64_t local = (uint64_t)spg__runq_count(&shard->runq);

#define X(name) out->name = spg__count_read(&c->name);
	SPG__COUNTERS(X)
#undef X
	out->inflight = ring != NULL ? spg__count_read(&ring->begun) - spg__count_read(&ring->ended) : 0;
	out->timers = atomic_load_explicit(&shard->timers.count, memory_order_relaxed);
	out->runnable = local;
	out->asleep = atomic_load_explicit(&shard->asleep, memory_order_relaxed);
	out->spinning = atomic_load_explicit(&spg__sched.spinning[shard->id / 64], memory_order_relaxed) >>
				(shard->id % 64) & 1;
}

static void add(struct spg_shard_stats *total, const struct spg_shard_stats *one)
{
	uint64_t *to = (uint64_t *)(void *)total;
	const uint64_t *from = (const uint64_t *)(const void *)one;
	uint64_t max = total->steals_failed_streak_max;

	_Static_assert(sizeof(*total) % sizeof(uint64_t) == 0, "a struct of uint64_t");
	for (size_t i = 0; i < sizeof(*total) / sizeof(uint64_t); i++)
		to[i] += from[i];
	total->steals_failed_streak_max = max > one->steals_failed_streak_max ? max :
										one->steals_failed_streak_max;
}

static void config(struct spg_steal_config *out)
{
	const struct spg__sched_conf *conf = &spg__sched.conf;

	*out = (struct spg_steal_config){
		.steal = conf->steal,
		.steal_batch = conf->steal_batch,
		.steal_probe = conf->steal_probe,
		.steal_backoff_min_ns = (uint64_t)conf->steal_backoff_min_ns,
		.steal_backoff_max_ns = (uint64_t)conf->steal_backoff_max_ns,
		.spin_ns = (uint64_t)conf->spin_ns,
		.run_budget = conf->run_budget,
	};
}

struct life_count {
	uint64_t parked, live;
};

static void count_life(struct spg__coro *coro, void *arg)
{
	struct life_count *count = arg;

	/* relaxed, both: a snapshot of something that moves. */
	if (atomic_load_explicit(&coro->life, memory_order_relaxed) == SPG__LIFE_FREE)
		return;
	count->live++;
	count->parked += atomic_load_explicit(&coro->waiter.state, memory_order_relaxed) == 1;
}

int spg_stats(spg_stats_t *out)
{
	struct spg__stacks_count stacks;
	struct spg__offload_count pool;
	struct spg__calls_count calls;
	struct life_count life = { 0 };

	if (out == NULL)
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	if (!spg_running() && spg__shard_self() == NULL)
		return -ESRCH;
	out->shards = spg__sched.conf.shards;
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		shard_stats(&out->shard[i], spg__shard_at((int)i));
		add(&out->total, &out->shard[i]);
	}
	spg__msg_stats(&out->total);
	config(&out->config);
	spg__coro_each(count_life, &life);
	out->total.spawned_foreign = atomic_load_explicit(&spg__sched.foreign_spawned, memory_order_relaxed);
	out->total.spawned += out->total.spawned_foreign;
	out->total.live = life.live;
	out->total.parked = life.parked;
	out->total.runnable += atomic_load_explicit(&spg__sched.global_count, memory_order_relaxed);
	spg__stacks_count(&stacks);
	out->total.stack_bytes = stacks.mapped_bytes;
	out->total.stacks_cached = stacks.cached;
	spg__offload_count(&pool);
	out->total.blocking_threads = pool.threads;
	out->total.blocking_queued = pool.queued;
	out->total.blocking_done = pool.done;
	out->total.overloaded = pool.overloaded;
	spg__calls_count(&calls);
	out->total.calls = calls.total;
	out->total.calls_overloaded = calls.overloaded;
	out->total.calls_timed_out = calls.timed_out;
	out->total.calls_canceled = calls.canceled;
	out->total.calls_closed = calls.closed;
	return 0;
}
