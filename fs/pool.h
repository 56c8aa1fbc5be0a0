/*
 * File system work on the blocking pool, in slices: what takes long comes back between
 * them, so that a context's end is seen and other users of the pool get their turn.
 *
 * FP1  A step does a bounded piece of work and says whether there is more. It runs on the
 *      pool's thread and calls nothing that waits for a coroutine.
 * FP2  Steps of one call run one after another; the calling coroutine waits meanwhile, so
 *      they may use all it owns.
 */
#ifndef SPG__FS_POOL_H
#define SPG__FS_POOL_H

#include "coro/base.h"

/* A step's "call me again"; other values are its own. */
#define SPG__FS_MORE 1

/*
 * Steps for one slice of time. The last step's value; or the context's error, and then
 * none ran; or -ENOMEM (no thread could be started).
 */
int spg__fs_slice(int (*step)(void *), void *arg);

/* Slices until a step returns another value than SPG__FS_MORE: that value, or an error as above. */
int spg__fs_run(int (*step)(void *), void *arg);

#endif
