/*
 * All memory of the library comes from here, so that tests can refuse it.
 */
#ifndef SPG__CORO_ALLOC_H
#define SPG__CORO_ALLOC_H

#include "coro/base.h"

#include <stdlib.h>

void *spg__alloc(size_t bytes);
void *spg__calloc(size_t count, size_t bytes);

/* Takes NULL. */
static inline void spg__free(void *ptr)
{
	free(ptr);
}

/* Zeroed, private, page-aligned memory, reserved and not committed. NULL: refused. */
void *spg__map(size_t bytes);
void spg__unmap(void *ptr, size_t bytes);

#endif
