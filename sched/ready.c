/*
 * Making coroutines runnable: which queue, and whom to wake (Q1-Q5, I1-I5).
 */
#include "sched/park.h"
#include "sched/queue.h"
#include "sched/trace.h"

#include "coro/clock.h"
#include "coro/usdt.h"

/* Coroutines taken from the global queue at once, at most. */
#define GLOBAL_BATCH 64u

/* Clears a shard's bit; true: it was set, and we are the one who cleared it (I4). */
static bool bit_clear(_Atomic uint64_t *mask, int id)
{
	_Atomic uint64_t *word = &mask[id / 64];
	uint64_t bit = (uint64_t)1 << (id % 64);

	/* seq_cst [W3]: a plain look first: most of the time it is not set. */
	if ((atomic_load_explicit(word, memory_order_seq_cst) & bit) == 0)
		return false;
	return spg__mask_clear(mask, id); /* [W4]: one winner */
}

/* seq_cst [W3]: one who spins will look after it stopped (I3). */
static bool anybody_spins(void)
{
	for (unsigned i = 0; i < SPG__SHARDS_MAX / 64; i++) {
		if (atomic_load_explicit(&spg__sched.spinning[i], memory_order_seq_cst) != 0)
			return true;
	}
	return false;
}

static void count_coalesced(void)
{
	struct spg__shard *self = spg__shard_self();

	if (self != NULL)
		spg__count(&self->counters.wakes_coalesced);
}

/* Its bit is taken (I4). */
static void wake(struct spg__shard *shard)
{
	struct spg__shard *self = spg__shard_self();

	if (self != NULL)
		spg__count(&self->counters.wakes_sent);
	if (spg__unlikely(spg__trace_any(self)))
		spg__trace_put_any(self, SPG__TRACE_WAKE, (uint64_t)shard->id, 0);
	spg__sched.poller->wake(shard);
}

void spg__shard_wake(struct spg__shard *shard)
{
	if (bit_clear(spg__sched.sleeping, shard->id)) {
		wake(shard);
		return;
	}
	if (atomic_load_explicit(&shard->asleep, memory_order_relaxed))
		count_coalesced();
	(void)bit_clear(spg__sched.spinning, shard->id); /* I5 */
}

void spg__wake_thief(void)
{
	for (unsigned i = 0; i < SPG__SHARDS_MAX / 64; i++) {
		/* seq_cst [W3]. */
		uint64_t word = atomic_load_explicit(&spg__sched.sleeping[i], memory_order_seq_cst);

		if (word == 0)
			continue;
		if (anybody_spins()) {
			count_coalesced();
			return;
		}
		while (word != 0) {
			int id = (int)i * 64 + __builtin_ctzll(word);

			word &= word - 1;
			if (bit_clear(spg__sched.sleeping, id)) {
				wake(spg__shard_at(id));
				return;
			}
		}
	}
}

/* A full run queue: a batch of it and the newcomer go to the global queue (Q3). */
static spg__noinline void spill(struct spg__shard *shard, struct spg__coro *coro)
{
	struct spg__coro *oldest[SPG__RUNQ_BATCH];
	struct spg__fifo batch = { 0 };
	uint32_t n = spg__runq_take_batch(&shard->runq, oldest);

	if (n == 0 && spg__runq_put(&shard->runq, coro))
		return; /* thieves made room */
	for (uint32_t i = 0; i < n; i++)
		spg__fifo_append(&batch, &oldest[i]->link);
	spg__fifo_append(&batch, &coro->link);
	spg__count(&shard->counters.spills);
	spg__global_put(&batch);
}

void spg__queue_tail(struct spg__shard *shard, struct spg__coro *coro, bool local)
{
	if (local || !spg__sched.stealing) {
		spg__fifo_append(&shard->local, &coro->link);
		return;
	}
	if (spg__unlikely(!spg__runq_put(&shard->runq, coro)))
		spill(shard, coro);
	if (spg__steal_worth(shard, NULL))
		spg__wake_thief();
}

void spg__queue_yielded(struct spg__shard *shard, struct spg__coro *coro)
{
	if (coro->pin >= 0 || !spg__sched.stealing)
		spg__fifo_append(&shard->local, &coro->link);
	else if (spg__unlikely(!spg__runq_put_quiet(&shard->runq, coro)))
		spill(shard, coro);
}

struct spg__coro *spg__queue_take(struct spg__shard *shard)
{
	struct spg__coro *coro = NULL;

	if (shard->local.first == NULL)
		return spg__runq_empty(&shard->runq) ? NULL : spg__runq_take(&shard->runq);
	shard->turn = !shard->turn;
	if (shard->turn && !spg__runq_empty(&shard->runq))
		coro = spg__runq_take(&shard->runq);
	return coro != NULL ? coro : spg__coro_of_link(spg__fifo_take(&shard->local));
}

/* Q7: to a shard among the first, one for each CPU, unless that one is busy with something long. */
static spg__noinline bool lend(struct spg__shard *shard, struct spg__coro *coro)
{
	struct spg__shard *to = spg__shard_at((int)((unsigned)shard->id % spg__sched.crowd_cpus));

	/* relaxed, all: estimates. What waits there for long the watchdog brings to others (sched/watchdog.h, D2). */
	if (atomic_load_explicit(&to->run_low_ns, memory_order_relaxed) >= SPG__WORTH_NS ||
	    (!atomic_load_explicit(&to->asleep, memory_order_relaxed) &&
	     spg__clock_ns() - atomic_load_explicit(&to->pass_ns, memory_order_relaxed) > SPG__SLICE_NS))
		return false;
	spg__inbox_put(to, coro);
	spg__shard_wake(to);
	return true;
}

/* On the shard that may run it. In a coroutine the hand-over slot, in the loop the tail. */
static void ready_here(struct spg__shard *shard, struct spg__coro *coro, bool local)
{
	struct spg__coro *displaced;

	local |= !spg__sched.stealing;
	if (spg__unlikely((unsigned)shard->id >= spg__sched.crowd_cpus && spg__sched.crowd_cpus != 0) && !local &&
	    shard->current == NULL && lend(shard, coro))
		return;
	spg__count(&shard->counters.unparks);
	if (shard->current == NULL) {
		/* One of a batch: by its turn the top of its stack is here. */
		__builtin_prefetch(coro->context);
		__builtin_prefetch((char *)coro->context + SPG__CACHELINE);
		__builtin_prefetch((char *)coro->context + 2 * SPG__CACHELINE);
		spg__queue_tail(shard, coro, local);
		return;
	}
	if (local) {
		displaced = shard->next_local;
		shard->next_local = coro;
		if (displaced != NULL)
			spg__fifo_append(&shard->local, &displaced->link);
		return;
	}
	/* acq_rel: a thief takes it by CAS, and sees the coroutine as we left it [R-c]. */
	displaced = atomic_exchange_explicit(&shard->next, coro, memory_order_acq_rel);
	if (displaced != NULL)
		spg__queue_tail(shard, displaced, false);
}

void spg__inbox_put(struct spg__shard *shard, struct spg__coro *coro)
{
	/* relaxed first look; the CAS decides. */
	struct spg__link *head = atomic_load_explicit(&shard->inbox, memory_order_relaxed);

	do {
		coro->link.next = head;
		/* seq_cst [W1]; release: the coroutine's fields. */
	} while (!atomic_compare_exchange_weak_explicit(&shard->inbox, &head, &coro->link,
							memory_order_seq_cst, memory_order_relaxed));
}

void spg__queue_send_away(struct spg__shard *shard)
{
	struct spg__shard *next = spg__shard_at((int)(((unsigned)shard->id + 1) % spg__sched.conf.shards));
	struct spg__coro *coro;

	if (!spg__sched.stealing)
		return;
	coro = atomic_exchange_explicit(&shard->next, NULL, memory_order_acq_rel); /* [R-c] */
	if (coro == NULL)
		coro = spg__runq_take(&shard->runq);
	for (; coro != NULL; coro = spg__runq_take(&shard->runq)) {
		spg__inbox_put(next, coro);
		spg__shard_wake(next);
	}
}

void spg__coro_ready(struct spg__coro *coro, int home)
{
	struct spg__shard *self = spg__shard_self();

	SPG__PROBE2(ready, coro->id, home);
	if (spg__likely(self != NULL && (home < 0 || home == self->id))) {
		ready_here(self, coro, home >= 0);
		return;
	}
	if (spg__unlikely(spg__sched.child)) /* K4 */
		return;
	/*
	 * From a foreign thread the runtime must not go away under our feet. The coroutine lives, and
	 * so keeps it up: where spg__sched_exit closed the door already, it will see that, and open
	 * again. So we need not ask, and must not wait: the caller may be inside (a spawn).
	 */
	if (self == NULL)
		atomic_fetch_add_explicit(&spg__sched.foreigners, 1, memory_order_seq_cst);
	if (home >= 0 || !spg__sched.stealing) {
		struct spg__shard *target = spg__shard_at(home >= 0 ? home : 0);

		spg__inbox_put(target, coro);
		spg__shard_wake(target);
	} else {
		struct spg__fifo batch = { 0 };

		spg__fifo_append(&batch, &coro->link);
		spg__global_put(&batch);
		spg__wake_thief();
	}
	if (self == NULL)
		spg__shard_leave_foreign();
}

void spg__shard_errand(struct spg__shard *shard, struct spg__errand *errand)
{
	struct spg__link *head = atomic_load_explicit(&shard->errands, memory_order_relaxed);

	do {
		errand->link.next = head;
		/* seq_cst [W1]. */
	} while (!atomic_compare_exchange_weak_explicit(&shard->errands, &head, &errand->link,
							memory_order_seq_cst, memory_order_relaxed));
	spg__shard_wake(shard);
}

static struct spg__link *take_reversed(_Atomic(struct spg__link *) *stack)
{
	/* acquire: what the pushers wrote. */
	struct spg__link *link = atomic_exchange_explicit(stack, NULL, memory_order_acq_rel);
	struct spg__link *oldest = NULL;

	while (link != NULL) {
		struct spg__link *next = link->next;

		link->next = oldest;
		oldest = link;
		link = next;
	}
	return oldest;
}

struct spg__link *spg__inbox_take(struct spg__shard *shard)
{
	return take_reversed(&shard->inbox);
}

bool spg__inbox_drain(struct spg__shard *shard)
{
	struct spg__link *link = NULL;
	bool any = false;

	/* relaxed: a miss here is found at the next pass, or by the last look. */
	if (atomic_load_explicit(&shard->errands, memory_order_relaxed) != NULL) {
		link = take_reversed(&shard->errands);
		any = true;
	}
	while (link != NULL) {
		struct spg__errand *errand = spg__container_of(link, struct spg__errand, link);

		link = link->next; /* the errand may be gone once it ran */
		errand->run(errand, shard);
	}
	if (atomic_load_explicit(&shard->inbox, memory_order_relaxed) == NULL)
		return any;
	link = take_reversed(&shard->inbox);
	while (link != NULL) {
		struct spg__coro *coro = spg__coro_of_link(link);

		link = link->next;
		spg__count(&shard->counters.unparks);
		/* Preferred ones came here to start, and may be stolen. */
		spg__queue_tail(shard, coro, coro->pin >= 0 || spg__coro_op_shard(coro) >= 0);
	}
	return true;
}

void spg__global_put(struct spg__fifo *batch)
{
	size_t count = batch->count;

	spg__lock(&spg__sched.global_lock);
	spg__fifo_splice(&spg__sched.global, batch);
	/* seq_cst [W1]. */
	atomic_fetch_add_explicit(&spg__sched.global_count, count, memory_order_seq_cst);
	spg__unlock(&spg__sched.global_lock);
}

bool spg__global_take(struct spg__shard *shard)
{
	struct spg__fifo batch = { 0 };
	size_t share, own, room;

	/* relaxed: a miss here is found at the next pass, or by the last look. */
	if (atomic_load_explicit(&spg__sched.global_count, memory_order_relaxed) == 0)
		return false;
	/*
	 * No more than the next pass runs: what timers and completions make ready goes behind it. And
	 * one at least, so that shards with much of their own do not starve the others.
	 */
	own = spg__runq_count(&shard->runq) + shard->local.count;
	room = own + 1 < shard->budget_max ? shard->budget_max - own : 1;
	if (room > GLOBAL_BATCH)
		room = GLOBAL_BATCH;
	spg__lock(&spg__sched.global_lock);
	share = spg__sched.global.count / spg__sched.conf.shards + 1;
	if (share > room)
		share = room;
	while (batch.count < share) {
		struct spg__link *link = spg__fifo_take(&spg__sched.global);

		if (link == NULL)
			break;
		spg__fifo_append(&batch, link);
	}
	atomic_fetch_sub_explicit(&spg__sched.global_count, batch.count, memory_order_seq_cst);
	spg__unlock(&spg__sched.global_lock);
	if (batch.count == 0)
		return false;
	for (struct spg__link *link = spg__fifo_take(&batch); link != NULL; link = spg__fifo_take(&batch))
		spg__queue_tail(shard, spg__coro_of_link(link), false);
	return true;
}
