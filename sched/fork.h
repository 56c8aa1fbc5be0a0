/*
 * fork(2) while a runtime is alive. The child has the thread that forked and nothing else:
 * no shard, no watchdog, no pool.
 *
 * K1  The child is a program without a runtime: what needs one says -ESRCH, what waits does
 *     so as on a foreign thread. The rings are not mapped there and their descriptors are
 *     closed, so nothing it does reaches the parent's operations.
 * K2  Forked in a coroutine, it goes on on that coroutine's stack, as a foreign thread with the
 *     coroutine's scopes and values: it may leave blocks and functions.
 * K3  The coroutine's own function has nowhere to return to: the child ends there, with
 *     status 0, like a program whose last pthread returns. So does a job of the pool.
 * K4  An unpark of a coroutine does nothing there.
 * K5  The library's own locks are free in the child, whoever held them. Those of objects
 *     (channels, contexts, tasks) are as fork found them, like any pthread mutex.
 */
#ifndef SPG__SCHED_FORK_H
#define SPG__SCHED_FORK_H

#include "sched/shard.h"

#include <signal.h>

/* In the child, once, before it returns from fork. mask: of the thread that started the runtime. */
void spg__sched_forked(const sigset_t *mask);

_Noreturn void spg__child_end(void);

/* Behind each call of a function of the user's whose caller is the library (K3). */
static inline void spg__user_returned(void)
{
	if (spg__unlikely(spg__sched.child))
		spg__child_end();
}

#endif
