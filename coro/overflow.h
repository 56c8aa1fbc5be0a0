/*
 * The stack overflow report: a fault in a guard page ends the process with lines
 * that name the coroutine, its function, its stack size and the knob; then its trace.
 * Every other SIGSEGV goes to the handler that was there before.
 */
#ifndef SPG__CORO_OVERFLOW_H
#define SPG__CORO_OVERFLOW_H

#include "coro/base.h"

struct spg__coro;

/*
 * Installs the handler for SIGSEGV and SIGBUS. trace: prints the innermost calls; in the handler, on
 * its own stack of 64 KiB, of a process that ends behind it: a fault there loses no more than the rest
 * of the text.
 */
void spg__overflow_install(void (*trace)(const struct spg__coro *coro, const void *const *frames,
					 unsigned depth));
/* Puts the previous handlers back, unless somebody has replaced ours. */
void spg__overflow_remove(void);

/* An alternate signal stack for the calling thread: 0 or -ENOMEM. */
int spg__altstack_enter(void);
void spg__altstack_leave(void);

#endif
