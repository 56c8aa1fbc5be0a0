/*
 * pthread locks that a coroutine holds while it waits: SPG_DEBUG=locks. Another coroutine of the
 * thread that wants such a lock stops the thread for good, and an unlock from another thread is
 * undefined. libspg-locks.so, preloaded, knows what each thread holds (runtime/preload/locks.c).
 */
#ifndef SPG__RUNTIME_LOCKS_H
#define SPG__RUNTIME_LOCKS_H

#include "sched/shard.h"

/* For spg__sched_conf.leaves; NULL, and a line on stderr: nothing is preloaded. */
void (*spg__locks_start(void))(struct spg__coro *coro, enum spg__commit how);

#endif
