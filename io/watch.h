/*
 * A readiness watch: a POLL_ADD that belongs to nobody's stack, for the descriptor cases
 * of a select. It holds no user memory, so nobody waits for its cancel.
 *
 * WA1  state and fire change hands under the lock: fire is called once, before detach
 *      has the lock, or never.
 * WA2  The CQE frees a detached watch; detaching frees one that has fired. A cancel holds a
 *      reference until it is in the ring.
 * WA3  It counts as an operation on its descriptor, so spg_close ends it (fdtab.h).
 * WA4  One cancel is enough, unlike an operation's (O3): a poll is in one table of the kernel's
 *      from its submission to its end, and ASYNC_CANCEL marks the one it finds even while an
 *      event is being looked at. (POLL_REMOVE gives up then, -EALREADY, and the poll may stay.)
 */
#ifndef SPG__IO_WATCH_H
#define SPG__IO_WATCH_H

#include "coro/lock.h"
#include "io/ring.h"

struct spg__watch {
	alignas(16) struct spg__errand errand;
	struct spg__lock lock;
	enum { SPG__WATCH_ARMED, SPG__WATCH_FIRED, SPG__WATCH_DETACHED } state;
	_Atomic unsigned refs;
	struct spg__ring *ring;
	int fd;
	/* Under the lock, on the shard's thread: the revents, or a negative errno. */
	void (*fire)(struct spg__watch *watch, int res);
	void *owner;
	int index;
};

/* A coroutine's: armed on the shard it runs on. NULL and *err: -ENOMEM, -EBADF. */
struct spg__watch *spg__watch_arm(int fd, unsigned events, void (*fire)(struct spg__watch *, int res),
				  void *owner, int index, int *err);

/* From then on fire is not called; the watch is gone for the caller. */
void spg__watch_detach(struct spg__watch *watch);

void spg__watch_complete(struct spg__watch *watch, int32_t res);

#endif
