/*
 * What every file of the house may use: cache lines, checks, branch hints.
 */
#ifndef SPG__CORO_BASE_H
#define SPG__CORO_BASE_H

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPG__CACHELINE 64
#define SPG__PAGE_BYTES 4096u

/* An instant that never comes; deadlines and due times use it for "none". */
#define SPG__NEVER INT64_MAX
/* A waiter's deadline while it is under a movable one (sched/cancel.h, C7) and none is nearer. */
#define SPG__MOVABLE (INT64_MAX - 1)

#define spg__likely(x) __builtin_expect(!!(x), 1)
#define spg__unlikely(x) __builtin_expect(!!(x), 0)
#define spg__noinline __attribute__((noinline))

#define spg__container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Prints where and what on stderr, then aborts: the state can no longer be trusted. */
_Noreturn void spg__panic(const char *file, int line, const char *what);

/* Misuse, corruption, answers of the kernel that cannot be: always on. */
#define SPG_CHECK(cond)                                                                            \
	do {                                                                                       \
		if (spg__unlikely(!(cond)))                                                        \
			spg__panic(__FILE__, __LINE__, #cond);                                     \
	} while (0)

/* Our own invariants: on in debug and sanitizer builds. */
#ifdef SPG__DEBUG
#define SPG_ASSERT(cond) SPG_CHECK(cond)
#else
#define SPG_ASSERT(cond) ((void)0)
#endif

#endif
