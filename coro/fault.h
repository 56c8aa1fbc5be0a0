/*
 * Forced failures for tests: the n-th allocation, mapping, submission or
 * completion from now on fails or comes late. Off, a fault costs one load.
 */
#ifndef SPG__CORO_FAULT_H
#define SPG__CORO_FAULT_H

#include "coro/base.h"

enum spg__fault_kind {
	SPG__FAULT_ALLOC,  /* spg__alloc, spg__calloc return NULL */
	SPG__FAULT_MAP,    /* spg__map returns NULL */
	SPG__FAULT_SUBMIT, /* an enter fails with the armed errno */
	SPG__FAULT_LATE,   /* a completion is held back until the next reap */
	SPG__FAULT_SHORT,  /* a read or write moves one byte at most */
	SPG__FAULT_FAIL,   /* an operation is not tried, and completes with the armed errno */
	SPG__FAULT_REFUSE, /* the ring refuses an operation on a path, with the armed errno */
	SPG__FAULT_DISK,   /* a pread, pwrite, preadv or pwritev fails with the armed errno */
	SPG__FAULT_KINDS,
};

struct spg__fault {
	/* Calls until it strikes; 0: off. */
	_Atomic int64_t after;
	/* How many calls in a row then fail. */
	_Atomic int64_t times;
	_Atomic int err;
};

extern struct spg__fault spg__faults[SPG__FAULT_KINDS];

/* Arms: the after-th call from now (1 = the next) and times - 1 more fail with err. */
void spg__fault_arm(enum spg__fault_kind kind, int64_t after, int64_t times, int err);
void spg__fault_disarm(enum spg__fault_kind kind);

int spg__fault_slow(enum spg__fault_kind kind);

/* 0, or the negative errno that this call must fail with. */
static inline int spg__fault(enum spg__fault_kind kind)
{
	/* relaxed: tests arm before they start what they watch. */
	if (spg__likely(atomic_load_explicit(&spg__faults[kind].after, memory_order_relaxed) == 0))
		return 0;
	return spg__fault_slow(kind);
}

#endif
