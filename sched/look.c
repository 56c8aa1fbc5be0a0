#include "sched/look.h"

#include "sched/park.h"

#include <string.h>

/* Readings of one that never looks the same twice. */
#define TRIES 8

/* Any type's memory. */
typedef uint64_t word __attribute__((may_alias));
_Static_assert(sizeof(struct spg__coro) % sizeof(word) == 0, "read as words");
_Static_assert(sizeof(struct spg__stack) % sizeof(word) == 0, "read as words");

SPG__NO_SANITIZE static void read_words(void *to, const void *from, size_t bytes)
{
	const volatile word *words = from;
	word *copy = to;

	for (size_t i = 0; i < bytes / sizeof(word); i++)
		copy[i] = words[i];
}

SPG__NO_SANITIZE struct spg__coro *spg__look_current(const struct spg__shard *shard)
{
	return *(struct spg__coro *const volatile *)&shard->current;
}

/* LK2. The shard that runs it, or is about to leave it; or -1. */
SPG__NO_SANITIZE static int shard_of(const struct spg__coro *coro)
{
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		const struct spg__shard *shard = spg__shard_at((int)i);

		if (spg__look_current(shard) == coro ||
		    *(struct spg__coro *const volatile *)&shard->leaving == coro)
			return (int)i;
	}
	return -1;
}

/* Two readings of the same coroutine at the same place? */
static bool same(const struct spg__coro *a, const struct spg__coro *b)
{
	return a->runs == b->runs && a->id == b->id && a->fn == b->fn && a->arg == b->arg && a->creator == b->creator &&
	       a->context == b->context && a->stack == b->stack && a->life == b->life &&
	       a->waiter.state == b->waiter.state && a->waiter.object == b->waiter.object &&
	       a->waiter.reason == b->waiter.reason && a->waiter.since_ns == b->waiter.since_ns &&
	       memcmp(a->name, b->name, sizeof(a->name)) == 0;
}

static enum spg__rest rest_of(const struct spg__coro *coro, const struct spg__coro *seen, int *shard)
{
	*shard = seen->op_shard >= 0 ? seen->op_shard : seen->pin;
	if (seen->waiter.state == SPG__PARK_PARKED)
		return SPG__REST_PARKED;
	if (seen->life == SPG__LIFE_NEW)
		return SPG__REST_NEW;
	if (shard_of(coro) < 0)
		return SPG__REST_RUNNABLE;
	*shard = shard_of(coro);
	return SPG__REST_RUNNING;
}

/* LK3. From where the context was saved. */
static unsigned walk(const struct spg__coro *seen, const void **frames)
{
#ifdef SPG__CONTEXT_FP
	struct spg__stack stack;
	uintptr_t low, top, at = (uintptr_t)seen->context;
	uint64_t saved[SPG__CONTEXT_BYTES / sizeof(uint64_t)];

	if (seen->stack == NULL)
		return 0;
	read_words(&stack, seen->stack, sizeof(stack));
	low = (uintptr_t)spg__stack_bottom(&stack);
	top = (uintptr_t)stack.top;
	if (at % sizeof(uint64_t) != 0 || at < low || at >= top || top - at < sizeof(saved))
		return 0;
	read_words(saved, (const void *)at, sizeof(saved));
	return spg__frames_walk(frames, SPG__FRAMES_MAX, saved[SPG__CONTEXT_PC / sizeof(uint64_t)],
				saved[SPG__CONTEXT_FP / sizeof(uint64_t)], at, top);
#else
	(void)seen;
	(void)frames;
	return 0;
#endif
}

/* Walked twice, from what was read of the object. false: not the same way. */
static bool walk_resting(const struct spg__coro *seen, struct spg__look *out)
{
	const void *again[SPG__FRAMES_MAX];

	out->depth = walk(seen, out->frames);
	return walk(seen, again) == out->depth &&
	       memcmp(again, out->frames, out->depth * sizeof(again[0])) == 0;
}

static void describe(const struct spg__coro *seen, struct spg__look *out)
{
	out->id = seen->id;
	out->fn = *(const void *const *)(const void *)&seen->fn;
	out->arg = seen->arg;
	out->creator = seen->creator;
	out->object = seen->waiter.object;
	out->since_ns = seen->waiter.since_ns;
	out->reason = out->rest == SPG__REST_PARKED ? seen->waiter.reason : SPG__REASON_NONE;
	memcpy(out->name, seen->name, sizeof(out->name));
	out->name[sizeof(out->name) - 1] = '\0';
}

/* The caller's own: it stands still. */
static void look_self(const struct spg__coro *self, struct spg__look *out)
{
	uintptr_t fp = (uintptr_t)__builtin_frame_address(0);

	out->depth = spg__frames_walk(out->frames, SPG__FRAMES_MAX, (uintptr_t)__builtin_return_address(0), fp, fp,
				      (uintptr_t)self->stack->top);
}

bool spg__look(struct spg__coro *coro, struct spg__look *out)
{
	struct spg__coro before, after;

	for (unsigned tries = 0; tries < TRIES; tries++) {
		bool steady = true;
		int shard;

		/* acquire: pairs with the end of coro_init; the object is whole. */
		if (atomic_load_explicit(&coro->life, memory_order_acquire) == SPG__LIFE_FREE)
			return false;
		read_words(&before, coro, sizeof(before));
		out->rest = rest_of(coro, &before, &out->shard);
		out->depth = 0;
		if (coro == spg__coro_self())
			look_self(coro, out);
		else if (out->rest == SPG__REST_PARKED || out->rest == SPG__REST_RUNNABLE)
			steady = walk_resting(&before, out);
		read_words(&after, coro, sizeof(after));
		describe(&after, out);
		if (after.life == SPG__LIFE_FREE)
			return false;
		if (steady && same(&before, &after) && rest_of(coro, &after, &shard) == out->rest)
			return true;
	}
	/* LK4. */
	out->rest = SPG__REST_RUNNING;
	out->reason = SPG__REASON_NONE;
	out->shard = -1;
	out->depth = 0;
	return true;
}

const struct spg__layout spg__layout[] = {
	{ "slabs", spg__layout_slabs },
	{ "shards", &spg__sched.shards },
	{ "shards_count", &spg__sched.conf.shards },
	{ "shard.size", (const void *)sizeof(struct spg__shard) },
	SPG__LAYOUT_OFFSET("shard.current", struct spg__shard, current),
	SPG__LAYOUT_OFFSET("shard.tid", struct spg__shard, tid),
	SPG__LAYOUT_OFFSET("coro.id", struct spg__coro, id),
	SPG__LAYOUT_OFFSET("coro.name", struct spg__coro, name),
	SPG__LAYOUT_OFFSET("coro.fn", struct spg__coro, fn),
	SPG__LAYOUT_OFFSET("coro.arg", struct spg__coro, arg),
	SPG__LAYOUT_OFFSET("coro.creator", struct spg__coro, creator),
	SPG__LAYOUT_OFFSET("coro.life", struct spg__coro, life),
	SPG__LAYOUT_OFFSET("coro.context", struct spg__coro, context),
	SPG__LAYOUT_OFFSET("coro.state", struct spg__coro, waiter.state),
	SPG__LAYOUT_OFFSET("coro.reason", struct spg__coro, waiter.reason),
	SPG__LAYOUT_OFFSET("coro.object", struct spg__coro, waiter.object),
	{ "life.free", (const void *)(uintptr_t)SPG__LIFE_FREE },
	{ "life.new", (const void *)(uintptr_t)SPG__LIFE_NEW },
	{ "state.parked", (const void *)(uintptr_t)SPG__PARK_PARKED },
	{ "reasons", spg__reason_names },
	{ "reasons_count", (const void *)(uintptr_t)SPG__REASON_COUNT },
	{ NULL, NULL },
};
