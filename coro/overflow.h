/*
 * The stack overflow report: a fault in a guard page ends the process with a line
 * that names the coroutine, its function, its stack size and the knob. Every other
 * SIGSEGV goes to the handler that was there before.
 */
#ifndef SPG__CORO_OVERFLOW_H
#define SPG__CORO_OVERFLOW_H

#include "coro/base.h"

/* Installs the handler for SIGSEGV and SIGBUS. */
void spg__overflow_install(void);
/* Puts the previous handlers back, unless somebody has replaced ours. */
void spg__overflow_remove(void);

/* An alternate signal stack for the calling thread: 0 or -ENOMEM. */
int spg__altstack_enter(void);
void spg__altstack_leave(void);

#endif
