#include "coro/stack_use.h"

#include "coro/frames.h"
#include "coro/lock.h"
#include "coro/sanitize.h"

#include <stdlib.h>
#include <string.h>

/* Of the frames that measure and clear: not cleared, and so counted for everybody. */
#define FRAMES_BYTES 256

bool spg__stack_uses_on;

static struct {
	struct spg__lock lock;
	const void *(*fn_of)(const void *fn, const void *arg);
	unsigned count;
	/* Filled from the front. What finds no place is counted by the last one, which has no function. */
	struct spg__stack_use uses[SPG__STACK_USES_MAX];
} all;

void spg__stack_uses_begin(const void *(*fn_of)(const void *fn, const void *arg))
{
	memset(all.uses, 0, sizeof(all.uses));
	all.count = 0;
	all.fn_of = fn_of;
	spg__stack_uses_on = true;
}

void spg__stack_uses_end(void)
{
	spg__stack_uses_on = false;
}

const void *spg__stack_use_of(const void *fn, const void *arg)
{
	return all.fn_of(fn, arg);
}

/* Under the lock. */
static struct spg__stack_use *use_of(const void *fn)
{
	for (unsigned i = 0; i < all.count; i++)
		if (all.uses[i].fn == fn)
			return &all.uses[i];
	if (all.count == SPG__STACK_USES_MAX)
		return &all.uses[SPG__STACK_USES_MAX - 1];
	all.uses[all.count].fn = all.count < SPG__STACK_USES_MAX - 1 ? fn : NULL;
	return &all.uses[all.count++];
}

#if SPG__HAVE_VALGRIND
#define WRITES_BELOW_BEGIN() VALGRIND_DISABLE_ERROR_REPORTING
#define WRITES_BELOW_END() VALGRIND_ENABLE_ERROR_REPORTING
#else
#define WRITES_BELOW_BEGIN() ((void)0)
#define WRITES_BELOW_END() ((void)0)
#endif

/* Whatever lies below this call's own frame. */
static SPG__NO_SANITIZE void clear(const struct spg__stack *stack, size_t used)
{
	volatile uint64_t *at = (volatile uint64_t *)(void *)(stack->top - used);
	volatile uint64_t *end = (volatile uint64_t *)(void *)((char *)__builtin_frame_address(0) - FRAMES_BYTES);

	WRITES_BELOW_BEGIN();
	while (at < end)
		*at++ = 0;
	WRITES_BELOW_END();
}

void spg__stack_used(const void *fn, const struct spg__stack *stack)
{
	size_t used = spg__stack_high_water(stack);
	struct spg__stack_use *use;

	spg__lock(&all.lock);
	use = use_of(fn);
	use->coroutines++;
	if (used > use->used_max) {
		use->used_max = used;
		use->stack_bytes = spg__stack_class_bytes(stack->class);
	}
	spg__unlock(&all.lock);
	clear(stack, used);
}

static int by_use(const void *a, const void *b)
{
	size_t x = ((const struct spg__stack_use *)a)->used_max, y = ((const struct spg__stack_use *)b)->used_max;

	return (x < y) - (x > y);
}

unsigned spg__stack_uses(struct spg__stack_use *out, unsigned max)
{
	unsigned count, n;

	spg__lock(&all.lock);
	count = all.count;
	n = count < max ? count : max;
	memcpy(out, all.uses, n * sizeof(*out));
	spg__unlock(&all.lock);
	qsort(out, n, sizeof(*out), by_use);
	return count;
}
