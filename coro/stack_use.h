/*
 * How much stack coroutines took, by the function they began with: SPG_DEBUG=stacks.
 *
 * A coroutine that ends is measured by the lowest word of its stack that is not zero, and what it
 * wrote is zeroed for the next one. Off, it costs a branch for each coroutine.
 */
#ifndef SPG__CORO_STACK_USE_H
#define SPG__CORO_STACK_USE_H

#include "coro/stack.h"

struct spg__stack_use {
	const void *fn;
	uint64_t coroutines;
	size_t used_max;
	/* Of the stack of that one. */
	size_t stack_bytes;
};

#define SPG__STACK_USES_MAX 512

/* While no coroutine runs. fn_of: the user's function for the object's fn and arg. */
void spg__stack_uses_begin(const void *(*fn_of)(const void *fn, const void *arg));
void spg__stack_uses_end(void);
/* Set by those two. */
extern bool spg__stack_uses_on;

/* Before it runs: whom it will count for. */
const void *spg__stack_use_of(const void *fn, const void *arg);
/* On that stack, after the coroutine's function has returned. */
void spg__stack_used(const void *fn, const struct spg__stack *stack);

/* Fills up to max, sorted, the largest use first. Returns how many there are. */
unsigned spg__stack_uses(struct spg__stack_use *out, unsigned max);

#endif
