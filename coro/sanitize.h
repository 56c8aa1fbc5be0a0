/*
 * What AddressSanitizer, ThreadSanitizer and Valgrind must be told about stacks
 * and switches. Without them every hook is empty.
 *
 * Z1  spg__san_leave runs on the stack that is left, immediately before the jump;
 *     spg__san_arrive on the stack that was entered, immediately after it.
 */
#ifndef SPG__CORO_SANITIZE_H
#define SPG__CORO_SANITIZE_H

#include "coro/base.h"
#include "spg_probe.h"

#if defined(__SANITIZE_ADDRESS__)
#define SPG__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPG__ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SPG__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SPG__TSAN 1
#endif
#endif

#ifdef SPG__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SPG__TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if SPG__HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* A context's own view for the sanitizers: one per coroutine and per shard loop. */
struct spg__san {
#ifdef SPG__ASAN
	void *fake_stack;
	const void *bottom;
	size_t size;
#endif
#ifdef SPG__TSAN
	void *fiber;
#endif
	char unused;
};

/* The thread's own stack: the shard loop. */
static inline void spg__san_adopt(struct spg__san *san)
{
	(void)san;
#ifdef SPG__TSAN
	san->fiber = __tsan_get_current_fiber();
#endif
}

/* A coroutine's stack was bound. */
static inline void spg__san_create(struct spg__san *san, void *bottom, size_t size)
{
	(void)san;
	(void)bottom;
	(void)size;
#ifdef SPG__ASAN
	san->fake_stack = NULL;
	san->bottom = bottom;
	san->size = size;
#endif
#ifdef SPG__TSAN
	san->fiber = __tsan_create_fiber(0);
#endif
}

/* The coroutine has ended and left its stack. */
static inline void spg__san_destroy(struct spg__san *san)
{
	(void)san;
#ifdef SPG__ASAN
	__asan_unpoison_memory_region(san->bottom, san->size);
#endif
#ifdef SPG__TSAN
	__tsan_destroy_fiber(san->fiber);
	san->fiber = NULL;
#endif
}

/* `ending`: the left stack will never be entered again. */
static inline void spg__san_leave(struct spg__san *from, struct spg__san *to, bool ending)
{
	(void)from;
	(void)to;
	(void)ending;
#ifdef SPG__ASAN
	__sanitizer_start_switch_fiber(ending ? NULL : &from->fake_stack, to->bottom, to->size);
#endif
#ifdef SPG__TSAN
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* `from` learns its bounds when it is a thread's stack, which nobody else knows. */
static inline void spg__san_arrive(struct spg__san *self, struct spg__san *from)
{
	(void)self;
	(void)from;
#ifdef SPG__ASAN
	const void *bottom;
	size_t size;

	__sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &size);
	if (from != NULL) {
		from->bottom = bottom;
		from->size = size;
	}
#endif
}

static inline unsigned spg__san_stack_register(void *bottom, void *top)
{
	(void)bottom;
	(void)top;
#if SPG__HAVE_VALGRIND
	return VALGRIND_STACK_REGISTER(bottom, top);
#else
	return 0;
#endif
}

static inline void spg__san_stack_deregister(unsigned id)
{
	(void)id;
#if SPG__HAVE_VALGRIND
	VALGRIND_STACK_DEREGISTER(id);
#endif
}

#endif
