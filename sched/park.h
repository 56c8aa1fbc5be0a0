/*
 * Park and unpark: how everything in the house waits.
 *
 *   NONE   --park_commit--> PARKED --unpark--> NONE, and on a run queue
 *   NONE   --unpark-------> PERMIT           (came first, or once more)
 *   PERMIT --park---------> NONE, without waiting
 *   PERMIT --park_commit--> NONE, and on a run queue
 *
 * P1  A park is readied once: by the unpark that ends PARKED, or by park_commit
 *     if a permit came first. So a coroutine is on at most one queue.
 * P2  PARKED is set after the registers are saved: park_commit runs on the stack
 *     of whoever the shard switched to. So any thread may resume the coroutine.
 * P3  Permits merge and may be stale: a waiter loops on a condition of its own.
 *     Waiters are type-stable (W1), so a late unpark is harmless.
 * P4  What the unparker wrote before spg__unpark is seen after spg__park returns,
 *     also by the waiter whose permit it merged with: every transition is an RMW
 *     of the state, acquire and release at once.
 * P5  A foreign thread waits on a futex at its state word while PARKED; it sets
 *     PARKED itself, and the unparker wakes the futex after ending PARKED. In ppoll it
 *     is POLLING instead: whoever ends that by an unpark writes its wake_fd once, and
 *     the thread waits for that write before it returns. So no write comes late, to a
 *     descriptor that is another's by then.
 *
 * Rejected: PARKED -> PERMIT by unpark, and an exchange of PERMIT -> NONE when
 * the park returns: a third RMW on each switch for the same guarantees.
 */
#ifndef SPG__SCHED_PARK_H
#define SPG__SCHED_PARK_H

#include "coro/waiter.h"

#include <poll.h>

enum spg__park_state { SPG__PARK_NONE, SPG__PARK_PARKED, SPG__PARK_PERMIT, SPG__PARK_POLLING };

/*
 * The caller as a waiter: the running coroutine's, or the foreign thread's own.
 * A thread's first call allocates; NULL then means no memory. A waiter is the
 * same for its whole life, so a coroutine may keep it over a park.
 */
struct spg__waiter *spg__self(void);

/*
 * Waits until somebody unparks w, which must be the caller. May return for a
 * stale permit (P3). deadline_ns matters to foreign threads only: a coroutine
 * that wants to be woken in time starts a timer.
 */
void spg__park(struct spg__waiter *w, int64_t deadline_ns);

/*
 * The same for a foreign thread, which also returns when fd is ready for one of the
 * poll(2) events. Without a descriptor to spare for wake_fd it looks for permits every
 * few milliseconds.
 */
void spg__park_poll(struct spg__waiter *w, int fd, unsigned events, int64_t deadline_ns);

/* The same for n descriptors, whose revents are filled in; fds has room for one more. */
void spg__park_poll_many(struct spg__waiter *w, struct pollfd *fds, size_t n, int64_t deadline_ns);

/* Any thread. Never fails, never blocks. */
void spg__unpark(struct spg__waiter *w);

#endif
