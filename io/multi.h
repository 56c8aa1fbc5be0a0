/*
 * A multishot operation: one SQE, many CQEs, until one comes without F_MORE.
 *
 * M1  The coroutine that opened it is pinned to its shard until spg__multi_close: the
 *     results' queue is touched by that shard's thread only.
 * M2  A CQE without F_MORE ends it; spg__multi_next says so once the queue is empty,
 *     and the caller may open it anew.
 * M3  Results nobody took are handed to `drop` (an accepted descriptor is closed).
 */
#ifndef SPG__IO_MULTI_H
#define SPG__IO_MULTI_H

#include "io/op.h"

struct spg__multi {
	alignas(16) struct spg__ring *ring;
	struct spg__coro *coro;
	int fd;
	bool armed;
	int16_t pin_before;
	/* Results in order, a growing ring buffer. */
	int32_t *results;
	uint32_t head, count, cap;
	/* How it ended: the last CQE's error, or 0. */
	int err;
	void (*drop)(int32_t res);
};

/* Starts it: prep fills the SQE. 0, the context's error, -EBADF, or -ENOMEM. The caller is a coroutine. */
int spg__multi_open(struct spg__multi *multi, int fd, void (*drop)(int32_t res),
		    void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg);

/* The next result >= 0; how it ended (<0); or the context's error. -ENODATA: ended without an error, open it anew. */
int spg__multi_next(struct spg__multi *multi);

/* Cancels, waits for the last CQE, drops what is left. */
void spg__multi_close(struct spg__multi *multi);

void spg__multi_complete(struct spg__multi *multi, int32_t res, uint32_t flags);

#endif
