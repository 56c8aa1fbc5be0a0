/*
 * The stack arena. A stack is a slot of a power-of-two size in a chunk of
 * reserved address space: guard pages at the low end, the rest usable; only
 * touched pages are resident.
 *
 * K1  A stack is in one place: with a coroutine, in one shard's cache, or in the
 *     arena's free lists (under the class lock). `owner` is set while a coroutine
 *     has it.
 * K2  Chunks are published in an append-only table, so that the fault handler
 *     reads it without a lock. They are unmapped by spg__stacks_fini only, when no
 *     coroutine lives.
 * K3  The guard is in place before a stack is handed out: MADV_GUARD_INSTALL
 *     (Linux 6.13; page-table markers, one mapping for all stacks), else mprotect
 *     (two mappings a stack: vm.max_map_count bounds their number to about 32,000).
 * K4  Free stacks keep their pages up to the high-water mark; beyond it they are
 *     emptied in batches, and handed out last.
 *
 * Sources: madvise(2), process_madvise(2).
 */
#ifndef SPG__CORO_STACK_H
#define SPG__CORO_STACK_H

#include "coro/base.h"

struct spg__coro;

/* Slots of 16 KiB, 32 KiB ... 1 GiB. */
#define SPG__STACK_BYTES_MIN ((size_t)16 << 10)
#define SPG__STACK_CLASSES 17

struct spg__stack {
	struct spg__stack *next;
	struct spg__coro *owner;
	char *top;
	/* Where the last coroutine that ended on it waits for the next, or NULL (sched/run.c). */
	void *context;
	uint32_t valgrind_id;
	uint8_t class;
	bool emptied;
};

/* A shard's own free stacks, of the default class only. Owner access. */
struct spg__stack_cache {
	struct spg__stack *first;
	unsigned count;
};

struct spg__stacks_conf {
	size_t stack_bytes;  /* of the default class */
	unsigned cached_max; /* the high-water mark of K4 */
	bool no_guard_install, no_process_madvise;
};

/* 0 or -EINVAL: a stack size of 0 or above the largest class. */
int spg__stacks_init(const struct spg__stacks_conf *conf);
void spg__stacks_fini(void);

/* The class that holds `bytes` (0: the default's), or -EINVAL. */
int spg__stack_class(size_t bytes);

static inline size_t spg__stack_class_bytes(unsigned class)
{
	return SPG__STACK_BYTES_MIN << class;
}

/* Guard bytes at the low end: a page, or a sixteenth of large slots. */
size_t spg__stack_guard_bytes(unsigned class);

/* A stack of the class, or NULL: the kernel refused memory. */
struct spg__stack *spg__stack_get(struct spg__stack_cache *cache, unsigned class);
void spg__stack_put(struct spg__stack_cache *cache, struct spg__stack *stack);

/* A shard ends: its cache goes to the arena. */
void spg__stack_cache_flush(struct spg__stack_cache *cache);

/* For the fault handler: the stack whose guard holds addr, or NULL. Async-signal-safe. */
struct spg__stack *spg__stack_guard_at(const void *addr);

/* Lowest usable byte. */
static inline char *spg__stack_bottom(const struct spg__stack *stack)
{
	return stack->top - spg__stack_class_bytes(stack->class) + spg__stack_guard_bytes(stack->class);
}

/* Upper bound of the bytes ever used: by resident pages, exact within the last one. */
size_t spg__stack_high_water(const struct spg__stack *stack);

struct spg__stacks_count {
	uint64_t cached, mapped_bytes;
};
void spg__stacks_count(struct spg__stacks_count *out);

#endif
