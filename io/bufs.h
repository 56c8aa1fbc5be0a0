/*
 * Pools of receive buffers, one per shard and size, that the kernel takes from when data is
 * there: an idle connection holds none. Made when a stream first asks.
 *
 * B1  A published buffer is in the kernel's ring or out. `avail` counts the first, lowered
 *     when the CQE that took one is reaped: it is never less than what the ring has.
 * B2  The ring's tail is stored under the lock by whoever returns a buffer, on any thread.
 *     The kernel alone moves its head.
 * B3  Who needs a buffer that is not there waits only when avail is 0 and all that may be
 *     published is: under the lock. A return wakes as many as there are buffers, the last
 *     one wakes all. So while somebody waits a buffer is out, and its return is a wake.
 * B4  Whoever was woken and does not take a buffer wakes the next.
 * B5  A pool lives until its ring has been closed and its last buffer came back.
 * B6  release by the return, acquire by the take, both on `avail`: who gets a buffer sees
 *     what its last holder did with it.
 */
#ifndef SPG__IO_BUFS_H
#define SPG__IO_BUFS_H

#include "coro/list.h"
#include "coro/lock.h"
#include "io/ring.h"
#include "sched/wait.h"

struct spg__bufs;

/* A buffer: of a pool, or of the heap with its bytes behind it. */
struct spg__buf {
	/* In the queue of a stream. */
	struct spg__link link;
	struct spg__bufs *pool; /* NULL: the heap's */
	uint32_t len;
	uint16_t id;
	/* Not in the ring: a second release is found. */
	_Atomic bool out;
};

/* The smallest size that holds `bytes`, or the largest. */
unsigned spg__bufs_class(size_t bytes);
size_t spg__bufs_class_bytes(unsigned class);

/* The pool of the calling shard. NULL: no memory, or a kernel without buffer rings. */
struct spg__bufs *spg__bufs_get(struct spg__ring *ring, unsigned class);

/* The ring has been closed: nothing is in flight. */
void spg__bufs_close(struct spg__bufs *pool);

/* The buffer that a CQE names. By who reaps. */
struct spg__buf *spg__bufs_take(struct spg__bufs *pool, unsigned id, uint32_t len);

/*
 * The ring was found empty: returns when it may no longer be. 0, the context's error, or
 * -ECANCELED: fd was closed by spg_close (`word` is F6's). On a shard.
 */
int spg__bufs_await(struct spg__bufs *pool, struct spg__wait *wait, int fd, uint32_t word);

/* Woken by the above, and takes no buffer of that pool after all (B4). On a shard. */
void spg__bufs_pass(struct spg__bufs *pool);

/* spg_close wakes who waits for a buffer on fd's behalf. */
void spg__bufs_closing(struct spg__bufs *pool, int fd);

/* One from the heap, or NULL. */
struct spg__buf *spg__buf_new(size_t bytes);
char *spg__buf_data(struct spg__buf *buf);
/* Gives it back. Any thread. */
void spg__buf_put(struct spg__buf *buf);

#endif
