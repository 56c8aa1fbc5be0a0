#include "coro/errno.h"

#include "coro/base.h"

#undef errno

/* Seen by no optimiser but this file's own (no link-time optimisation): each call asks anew. */
spg__noinline int *spg__errno_location(void)
{
	int *location = __errno_location();

	__asm__ volatile("" : "+r"(location) : : "memory");
	return location;
}
