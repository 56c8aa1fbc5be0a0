/*
 * Backtraces by frame pointers: every frame begins with the caller's frame pointer and
 * the return address. What was compiled without frame pointers is left out or ends the
 * trace early; the walk never leaves the stack it was given.
 */
#ifndef SPG__CORO_FRAMES_H
#define SPG__CORO_FRAMES_H

#include "coro/base.h"

#define SPG__FRAMES_MAX 32

/* For what reads memory that others write meanwhile, and judges afterwards what it got. */
#define SPG__NO_SANITIZE __attribute__((noinline, no_sanitize("address"), no_sanitize("thread")))

/*
 * pc, and the return addresses found from the frame at fp upwards, all within [low, high).
 * Returns how many. Async-signal-safe.
 */
unsigned spg__frames_walk(const void **frames, unsigned max, uintptr_t pc, uintptr_t fp, uintptr_t low,
			  uintptr_t high);

/* Where a signal interrupted its thread: the ucontext_t that its handler got. */
struct spg__frames_at {
	uintptr_t pc, fp, sp;
};
struct spg__frames_at spg__frames_at(const void *ucontext);

#endif
