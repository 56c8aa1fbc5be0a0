/*
 * Running coroutines: spawn, switch, yield, end. A coroutine that leaves picks the
 * next one itself and switches to it directly; the shard's loop is entered only
 * when the budget is used up or nothing is left (Q4).
 */
#include "sched/cancel.h"
#include "sched/fork.h"
#include "sched/park.h"
#include "sched/queue.h"
#include "sched/thread.h"
#include "sched/trace.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "coro/stack_use.h"
#include "coro/usdt.h"

#include <string.h>

/* Ids are handed to shards in blocks: no shared line on the spawn path. */
#define IDS_BLOCK 1024u
/* Where stacks begin differs by so many steps of so many bytes; all within the first page. */
#define COLORS 16u
#define COLOR_BYTES 64u

static void coro_entry(struct spg__transfer t);

struct spg__coro *spg__coro_self(void)
{
	struct spg__shard *shard = spg__shard_self();

	return shard != NULL ? shard->current : NULL;
}

/* First run: binds a stack. false: the kernel has none; the coroutine waits among the starved. */
static spg__noinline bool bind(struct spg__shard *shard, struct spg__coro *coro)
{
	struct spg__stack *stack = spg__stack_get(&shard->stacks, coro->stack_class);
	char *bottom, *top;

	if (spg__unlikely(stack == NULL)) {
		spg__lock(&spg__sched.starved_lock);
		spg__fifo_append(&spg__sched.starved, &coro->link);
		atomic_fetch_add_explicit(&spg__sched.starved_count, 1, memory_order_seq_cst);
		spg__unlock(&spg__sched.starved_lock);
		return false;
	}
	stack->owner = coro;
	coro->stack = stack;
	bottom = spg__stack_bottom(stack);
	spg__san_create(&coro->san, bottom, (size_t)(stack->top - bottom));
	/* relaxed: for dumps. */
	atomic_store_explicit(&coro->life, SPG__LIFE_RUN, memory_order_relaxed);
	if (spg__likely(stack->context != NULL)) {
		coro->context = stack->context;
		return true;
	}
	/*
	 * Stacks lie a power of two apart: begun at their very tops they would share a few cache
	 * sets. So each begins a few lines lower, by its number.
	 */
	top = stack->top - (((uintptr_t)stack->top / spg__stack_class_bytes(stack->class)) % COLORS) * COLOR_BYTES;
	coro->context = spg__make_context(top, (size_t)(top - bottom), coro_entry);
	return true;
}

void spg__starved_retry(void)
{
	struct spg__link *link;

	spg__lock(&spg__sched.starved_lock);
	link = spg__fifo_take(&spg__sched.starved);
	if (link != NULL)
		atomic_fetch_sub_explicit(&spg__sched.starved_count, 1, memory_order_seq_cst);
	spg__unlock(&spg__sched.starved_lock);
	if (link != NULL)
		spg__coro_ready(spg__coro_of_link(link), spg__coro_of_link(link)->pin);
}

/* The next coroutine, ready to be entered; NULL: back to the loop. */
static struct spg__coro *pick(struct spg__shard *shard)
{
	struct spg__coro *coro;

	while (shard->budget > 0) {
		shard->budget--;
		coro = shard->next_local;
		if (coro != NULL) {
			shard->next_local = NULL;
		} else {
			/* relaxed look; the exchange takes [R-c]. */
			if (atomic_load_explicit(&shard->next, memory_order_relaxed) != NULL)
				coro = atomic_exchange_explicit(&shard->next, NULL, memory_order_acq_rel);
			if (coro == NULL)
				coro = spg__queue_take(shard);
		}
		if (coro == NULL)
			return NULL;
		if (spg__likely(coro->stack != NULL) || bind(shard, coro))
			return coro;
	}
	return NULL;
}

/*
 * With coroutines_max: one more lives, or -EAGAIN. One word for all shards: to sum up their counters
 * would touch two lines a shard for each spawn.
 */
static spg__noinline int limit_enter(void)
{
	/* relaxed, all: the value alone matters. */
	uint64_t live = atomic_load_explicit(&spg__sched.limited_live, memory_order_relaxed);

	do {
		if (live >= spg__sched.conf.coroutines_max)
			return -EAGAIN;
	} while (!atomic_compare_exchange_weak_explicit(&spg__sched.limited_live, &live, live + 1,
							memory_order_relaxed, memory_order_relaxed));
	return 0;
}

static inline void limit_leave(void)
{
	if (spg__unlikely(spg__sched.conf.coroutines_max != 0))
		atomic_fetch_sub_explicit(&spg__sched.limited_live, 1, memory_order_relaxed);
}

/* Frees what an ended coroutine had, on the stack of whoever came next. */
static void bury(struct spg__shard *shard, struct spg__coro *coro)
{
	spg__san_destroy(&coro->san);
#if !defined(SPG__ASAN) && !defined(SPG__TSAN)
	/* It stands in coro_entry, between two lives: the next coroutine on this stack goes on there. */
	coro->stack->context = coro->context;
#endif
	spg__stack_put(&shard->stacks, coro->stack);
	coro->stack = NULL;
	limit_leave(); /* before it counts as ended: who sees that may spawn */
	atomic_store_explicit(&coro->life, SPG__LIFE_FREE, memory_order_relaxed);
	spg__coro_put(&shard->coros, coro);
	if (spg__unlikely(atomic_load_explicit(&spg__sched.starved_count, memory_order_relaxed) != 0))
		spg__starved_retry();
	/* release: whoever sees the count sees the end. A shard that idles while the runtime stops checks the sum. */
	atomic_store_explicit(&shard->counters.ended, spg__count_read(&shard->counters.ended) + 1,
			      memory_order_release);
}

static void park_commit(struct spg__shard *shard, struct spg__coro *coro)
{
	uint32_t none = SPG__PARK_NONE;

	/* relaxed: coarse, for dumps. */
	atomic_store_explicit(&coro->waiter.since_ns,
			      atomic_load_explicit(&shard->pass_ns, memory_order_relaxed),
			      memory_order_relaxed);
	/* acq_rel [P4], P2: from here on anybody may resume it. */
	if (spg__likely(atomic_compare_exchange_strong_explicit(&coro->waiter.state, &none,
								SPG__PARK_PARKED, memory_order_acq_rel,
								memory_order_acquire)))
		return;
	/* P1: a permit came first. */
	atomic_exchange_explicit(&coro->waiter.state, SPG__PARK_NONE, memory_order_acq_rel);
	spg__queue_tail(shard, coro, coro->pin >= 0 || spg__coro_op_shard(coro) >= 0);
}

/* First thing after every jump: takes care of the side that was left. Returns the shard we are on now. */
static struct spg__shard *arrive(struct spg__transfer t, struct spg__coro *self)
{
	struct spg__shard *shard = t.data;
	struct spg__coro *left = shard->leaving;

	spg__san_arrive(self != NULL ? &self->san : &shard->loop_san, left == NULL ? &shard->loop_san : NULL);
	if (left == NULL) {
		shard->loop_context = t.context;
		return shard;
	}
	left->context = t.context;
	shard->leaving = NULL;
	switch (shard->commit) {
	case SPG__COMMIT_PARK:
		park_commit(shard, left);
		break;
	case SPG__COMMIT_YIELD:
		spg__queue_yielded(shard, left);
		break;
	case SPG__COMMIT_END:
		bury(shard, left);
		break;
	}
	return shard;
}

/* Before its stack changes: a dump that saw it rest will see that it did not go on (LK2). */
static inline void entering(struct spg__coro *coro)
{
	/* relaxed: one writer; x86 keeps the order of stores. */
	atomic_store_explicit(&coro->runs, atomic_load_explicit(&coro->runs, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* Z1: sanitizers must see the trace's record before the switch; else it is within (TR6). */
static inline struct spg__transfer jump(struct spg__shard *shard, struct spg__coro *self, void *to,
					struct spg__san *to_san, bool ending)
{
#if defined(SPG__NO_TRACE)
	spg__san_leave(&self->san, to_san, ending);
	return spg__jump(to, shard);
#elif defined(SPG__ASAN) || defined(SPG__TSAN)
	if (shard->jump == spg__watched_jump)
		spg__sched.conf.leaves(self, shard->commit);
	if (shard->tracing != NULL)
		spg__trace_switch(shard);
	spg__san_leave(&self->san, to_san, ending);
	return spg__jump(to, shard);
#else
	spg__san_leave(&self->san, to_san, ending);
	return shard->jump(to, shard);
#endif
}

static inline struct spg__transfer leave(struct spg__shard *shard, struct spg__coro *self,
					 enum spg__commit commit)
{
	struct spg__coro *next = pick(shard);
	void *to = shard->loop_context;
	struct spg__san *san = &shard->loop_san;

	shard->leaving = self;
	shard->commit = commit;
	shard->current = next;
	if (next != NULL) {
		spg__count(&shard->counters.switches);
		entering(next);
		to = next->context;
		san = &next->san;
		SPG__PROBE3(run, next->id, next->fn, shard->id);
	}
	return jump(shard, self, to, san, commit == SPG__COMMIT_END);
}

void spg__coro_leave(struct spg__shard *shard, struct spg__coro *self, enum spg__commit commit)
{
	arrive(leave(shard, self, commit), self);
}

void spg__run_pass(struct spg__shard *shard, struct spg__coro *first)
{
	if (first->stack == NULL && !bind(shard, first))
		return;
	shard->leaving = NULL;
	shard->current = first;
	entering(first);
	SPG__PROBE3(run, first->id, first->fn, shard->id);
	spg__trace_set_jump(shard);
	if (spg__unlikely(shard->tracing != NULL))
		spg__trace_switch(shard);
	spg__count(&shard->counters.switches);
	spg__san_leave(&shard->loop_san, &first->san, false);
	arrive(spg__jump(first->context, shard), NULL);
	shard->current = NULL;
}

static void call(struct spg__coro *self)
{
	switch ((enum spg__coro_kind)self->kind) {
	case SPG__KIND_FN:
		self->fn(self->arg);
		break;
	case SPG__KIND_START:
		(void)self->start(self->arg);
		break;
	case SPG__KIND_COPY:
		self->fn(self->arg);
		spg__free(self->arg);
		break;
	}
}

void (*spg__coro_locals_end)(struct spg__coro *coro);

static spg__noinline void call_measured(struct spg__coro *self)
{
	const void *fn = spg__stack_use_of(*(const void *const *)(const void *)&self->fn, self->arg);

	call(self);
	spg__stack_used(fn, self->stack);
}

/*
 * Who walks frame pointers (perf, debuggers) stops here: no frame before it, no return
 * address. coro_entry never returns; make_fcontext leaves addresses of code in both words.
 */
static void mark_bottom(void *frame)
{
	void *volatile *words = frame;

	words[0] = NULL;
	words[1] = NULL;
}

/* The bottom frame of every stack: one coroutine's life after the other. */
static void coro_entry(struct spg__transfer t)
{
	for (;;) {
		struct spg__coro *self = ((struct spg__shard *)t.data)->current;

		mark_bottom(__builtin_frame_address(0));
		arrive(t, self);
		if (spg__unlikely(spg__stack_uses_on))
			call_measured(self);
		else
			call(self);
		spg__user_returned();
		if (spg__unlikely(self->locals != NULL))
			spg__coro_locals_end(self);
		SPG_CHECK(spg__coro_op_shard(self) < 0);
		SPG__PROBE1(end, self->id);
		spg__waiter_unbind(&self->waiter);
		t = leave(spg__shard_self(), self, SPG__COMMIT_END);
	}
}

void spg__coro_yield(void)
{
	struct spg__shard *shard = spg__shard_self();
	struct spg__coro *self = shard->current;

	spg__count(&shard->counters.yields);
	/* Alone and with budget left: nobody to let go first. */
	if (shard->budget > 0 && shard->local.first == NULL && shard->next_local == NULL &&
	    atomic_load_explicit(&shard->next, memory_order_relaxed) == NULL &&
	    spg__runq_empty(&shard->runq)) {
		shard->budget--;
		return;
	}
	spg__coro_leave(shard, self, SPG__COMMIT_YIELD);
}

static uint64_t next_id(struct spg__shard *shard)
{
	/* relaxed, both: only the values must differ. */
	if (shard == NULL)
		return atomic_fetch_add_explicit(&spg__sched.ids_next, 1, memory_order_relaxed);
	if (shard->ids_next == shard->ids_end) {
		shard->ids_next = atomic_fetch_add_explicit(&spg__sched.ids_next, IDS_BLOCK,
							    memory_order_relaxed);
		shard->ids_end = shard->ids_next + IDS_BLOCK;
	}
	return shard->ids_next++;
}

/* The shard a new coroutine must or should start on, or -1. */
static int start_shard(const struct spg__spawn *spawn)
{
	switch (spawn->place) {
	case SPG__PLACE_ANY:
		return -1;
	case SPG__PLACE_SPREAD:
		/* relaxed: a rough round robin. */
		return (int)(atomic_fetch_add_explicit(&spg__sched.spread_next, 1, memory_order_relaxed) %
			     spg__sched.conf.shards);
	case SPG__PLACE_PIN:
	case SPG__PLACE_PREFER:
		break;
	}
	return spawn->shard;
}

static void spawn_counted(struct spg__shard *shard, bool pinned)
{
	if (spg__unlikely(pinned) && shard != NULL)
		spg__count(&shard->counters.spawned_pinned);
	/* release: with the last look of spg__coros_live. Foreign spawns are counted on shard 0 by RMW. */
	if (shard != NULL)
		atomic_store_explicit(&shard->counters.spawned, spg__count_read(&shard->counters.spawned) + 1,
				      memory_order_release);
	else
		atomic_fetch_add_explicit(&spg__sched.foreign_spawned, 1, memory_order_seq_cst);
}

static void coro_init(struct spg__coro *coro, const struct spg__spawn *spawn, struct spg__shard *self)
{
	coro->kind = (uint8_t)spawn->kind;
	coro->fn = spawn->fn;
	coro->arg = spawn->arg;
	coro->id = next_id(self);
	coro->locals = NULL;
	coro->creator = spawn->creator;
	coro->pin = spawn->place == SPG__PLACE_PIN ? (int16_t)spawn->shard : -1;
	atomic_store_explicit(&coro->op_shard, -1, memory_order_relaxed);
	coro->stack_class = (uint8_t)spawn->stack_class;
	coro->name[0] = '\0';
	coro->trace_named = 0;
	if (spg__unlikely(spawn->name != NULL)) {
		strncpy(coro->name, spawn->name, sizeof(coro->name) - 1);
		coro->name[sizeof(coro->name) - 1] = '\0';
	}
	atomic_store_explicit(&coro->waiter.reason, SPG__REASON_NONE, memory_order_relaxed);
	spg__waiter_bind(&coro->waiter, spawn->ctx);
	atomic_store_explicit(&coro->waiter.interrupted, false, memory_order_relaxed);
	/* release: dumps and the shutdown's walk see it whole. */
	atomic_store_explicit(&coro->life, SPG__LIFE_NEW, memory_order_release);
	/* A child of another tree than the root's, born while the runtime stops, is ended like the rest. */
	if (spg__unlikely(atomic_load_explicit(&spg__sched.stopping, memory_order_seq_cst)))
		atomic_store_explicit(&coro->waiter.interrupted, true, memory_order_relaxed);
}

static void spawn_place(struct spg__coro *coro, struct spg__shard *self, int start)
{
	bool pinned = coro->pin >= 0;

	if (start < 0 || (self != NULL && start == self->id))
		spg__coro_ready(coro, pinned ? start : -1);
	else
		spg__coro_ready(coro, start); /* by its inbox, from which unpinned ones join the run queue */
}

int spg__coro_spawn(const struct spg__spawn *spawn)
{
	struct spg__shard *self = spg__shard_self();
	struct spg__coro_cache none = { 0 };
	struct spg__coro *coro;
	int err = 0;

	if (spg__unlikely(self == NULL) && spg__shard_enter_foreign() == NULL)
		return -ESRCH;
	if (spg__unlikely(spg__sched.conf.coroutines_max != 0)) {
		err = limit_enter();
		if (err < 0)
			goto out;
	}
	coro = spg__coro_get(self != NULL ? &self->coros : &none);
	if (spg__unlikely(coro == NULL)) {
		limit_leave();
		err = -ENOMEM;
		goto out;
	}
	coro_init(coro, spawn, self);
	if (spawn->id != NULL)
		*spawn->id = coro->id;
	spawn_counted(self, coro->pin >= 0);
	if (spg__unlikely(spg__trace_any(self)))
		spg__trace_put_any(self, SPG__TRACE_WHAT(SPG__TRACE_SPAWN, 0, coro->pin), coro->id,
				   (uint64_t)(uintptr_t)coro->fn);
	SPG__PROBE3(spawn, coro->id, coro->fn, coro->pin);
	spawn_place(coro, self, start_shard(spawn));
out:
	if (spg__unlikely(self == NULL)) {
		spg__coro_cache_flush(&none);
		spg__shard_leave_foreign();
	}
	return err;
}

uint64_t spg__coros_live(void)
{
	uint64_t ended = 0, spawned = 0;

	/* Ends first: then equal sums mean that all that was spawned had ended (both only grow). */
	for (unsigned i = 0; i < spg__sched.conf.shards; i++)
		ended += atomic_load_explicit(&spg__shard_at((int)i)->counters.ended, memory_order_seq_cst);
	for (unsigned i = 0; i < spg__sched.conf.shards; i++)
		spawned += atomic_load_explicit(&spg__shard_at((int)i)->counters.spawned, memory_order_seq_cst);
	spawned += atomic_load_explicit(&spg__sched.foreign_spawned, memory_order_seq_cst);
	return spawned - ended;
}
