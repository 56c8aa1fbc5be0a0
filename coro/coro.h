/*
 * The coroutine object. Object and stack are two things: the object is made at
 * spawn, a stack is bound when it first runs and released when it ends.
 *
 * O1  Objects come from slabs that are never unmapped and never hold anything
 *     else (W1). A freed object keeps a valid state word.
 * O2  Who may write: the running coroutine itself; the shard that owns it in a
 *     queue, for `link`; the shard that switches, for `context`, `stack`.
 * O3  pin is written by the coroutine while it runs and read by whoever readies it,
 *     after ending PARKED (acquire). op_shard is set by the coroutine when it begins
 *     an operation and cleared by whoever completes it, before the result is stored.
 */
#ifndef SPG__CORO_CORO_H
#define SPG__CORO_CORO_H

#include "coro/sanitize.h"
#include "coro/stack.h"
#include "coro/switch.h"
#include "coro/timer.h"
#include "coro/waiter.h"

#define SPG__CORO_NAME_MAX 16

enum spg__coro_life { SPG__LIFE_FREE, SPG__LIFE_NEW, SPG__LIFE_RUN };

/* How the entry function is called, and what is freed behind it. */
enum spg__coro_kind {
	SPG__KIND_FN,    /* void fn(void *) */
	SPG__KIND_START, /* void *start(void *), result dropped */
	SPG__KIND_COPY,  /* void fn(void *), arg is ours to free */
};

struct spg__coro {
	struct spg__waiter waiter;
	/* Run queues: one at a time (P1). From here to stack is what a wake touches: one cache line. */
	struct spg__link link;
	void *context;
	/* The shard it is pinned to, or -1. */
	int16_t pin;
	/* The shard whose ring holds its operations, or -1. */
	_Atomic int16_t op_shard;
	/* How often it was entered, modulo 2^32; raised before. For dumps, which read it twice. */
	_Atomic uint32_t runs;
	struct spg__stack *stack;
	/* Of the deadline of the wait under way (sched/wait.c). */
	struct spg__timer timer;
	/* The trace copies these two as they are. */
	uint64_t id;
	union {
		void (*fn)(void *);
		void *(*start)(void *);
	};
	void *arg;
	/* Values by key (runtime/local.c). */
	void *locals;
	/* Return address of the spawn. */
	const void *creator;
	/* io/'s: the operation it waits for, while op_shard says that there is one. */
	void *op;
	uint8_t kind;
	uint8_t stack_class;
	_Atomic uint8_t life;
	/* The trace that has its name; 0: none (sched/trace.h). */
	uint8_t trace_named;
	char name[SPG__CORO_NAME_MAX];
	struct spg__san san;
};

#if !defined(SPG__ASAN) && !defined(SPG__TSAN)
_Static_assert(sizeof(struct spg__coro) <= 256, "memory per coroutine");
#endif

/* A shard's own free objects. */
struct spg__coro_cache {
	struct spg__link *first;
	unsigned count;
};

/* An object with a valid state word and everything else as it was left. NULL: no memory. */
struct spg__coro *spg__coro_get(struct spg__coro_cache *cache);
void spg__coro_put(struct spg__coro_cache *cache, struct spg__coro *coro);
void spg__coro_cache_flush(struct spg__coro_cache *cache);

/* A table for debuggers (tools/spg-gdb.py): the offsets and addresses they need. */
struct spg__layout {
	const char *name;
	const void *value;
};
#define SPG__LAYOUT_OFFSET(label, type, member) { label, (const void *)offsetof(type, member) }

/* Of the slabs; the end has no name. */
extern const struct spg__layout spg__layout_slabs[];

/* Visits every object ever made, free ones too (life tells). Any thread; the visitor takes no slab lock. */
void spg__coro_each(void (*visit)(struct spg__coro *coro, void *arg), void *arg);

static inline struct spg__coro *spg__coro_of(struct spg__waiter *w)
{
	SPG_ASSERT(w->kind == SPG__WAITER_CORO);
	return spg__container_of(w, struct spg__coro, waiter);
}

static inline int spg__coro_op_shard(struct spg__coro *coro)
{
	/* relaxed: a reader that misses the completion sends it home once more. */
	return atomic_load_explicit(&coro->op_shard, memory_order_relaxed);
}

static inline struct spg__coro *spg__coro_of_link(struct spg__link *link)
{
	return spg__container_of(link, struct spg__coro, link);
}

#endif
