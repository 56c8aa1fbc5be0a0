/*
 * errno, safe to use before and after a park. glibc declares its accessor const, so
 * compilers keep the address in a register over a call that may end on another thread.
 * The Makefile includes this header in every file of the library.
 */
#ifndef SPG__CORO_ERRNO_H
#define SPG__CORO_ERRNO_H

#include <errno.h>

int *spg__errno_location(void);

#undef errno
#define errno (*spg__errno_location())

#endif
