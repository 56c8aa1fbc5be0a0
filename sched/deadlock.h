/*
 * The deadlock: every coroutine waits, and nothing is left that could wake one. The
 * watchdog looks for it when it finds all shards asleep; nothing else pays for it but one
 * counter, raised when a shard goes to sleep and when it gets up.
 *
 * A coroutine is readied by a shard that runs, by a completion, a timer, a job of the pool,
 * or a thread that is not ours. (A subscription to a signal is a read in flight.)
 *
 * DL1  shard->naps is odd while the shard's thread is in the kernel: it becomes odd after the
 *      last look at the queues, the timers and the completions, and even before the thread
 *      does anything else (seq_cst [DL-a]).
 * DL2  The proof reads, in this order: the naps, all odd; what could wake somebody; the
 *      number of threads; what could wake somebody, once more; the naps, unchanged.
 * DL3  So no shard ran between the first read and the last: nothing was begun in between but
 *      by a completion, a timer, a job or a thread that was there at the first.
 *        completions  an operation counts from before it is submitted until a shard has reaped
 *                     it, which ends the nap first: begun == ended and the same nap mean that
 *                     none is in flight, and none was at any moment of the proof
 *        timers       fire on a shard, or on the watchdog, which is busy with the proof
 *        jobs         count until after the coroutine they wake is on a queue [DL-b]
 *        threads      are counted by the kernel, in one number
 * DL4  Who may vanish and leave something behind is read before what it leaves: a job may start
 *      a thread; a thread may ready a coroutine, start a timer or end a hold. Our own threads
 *      are counted after all threads: one that ends in between makes the proof fail.
 * DL5  The kernel's workers for our rings are threads of the process, too, and may stay for
 *      ever. With nothing in flight none is created, so those found by name after the
 *      number was read were in it.
 * DL6  A proof that fails is tried again: when a shard gets up, or after a pause if what is in
 *      the way can go without that (a thread that ends).
 *
 * A proven deadlock stays one. What is only late is no deadlock to this: it must be proven.
 *
 * Rejected: the check by the last shard that goes to sleep. It would have to know of a
 * completion that another reaps, of a job that has finished and not yet woken anybody, and
 * to read /proc in the path of every ping-pong with a thread.
 */
#ifndef SPG__SCHED_DEADLOCK_H
#define SPG__SCHED_DEADLOCK_H

#include "coro/base.h"

enum spg__deadlock {
	/* Something is under way, and a shard gets up at its end. */
	SPG__DEADLOCK_NONE,
	/* A shard gets up, goes to sleep, or did so since the last look. */
	SPG__DEADLOCK_SOON,
	/* There is a thread that is not ours, or was a moment ago. */
	SPG__DEADLOCK_LATER,
	SPG__DEADLOCK_PROVEN,
};

/* The watchdog's thread only. */
enum spg__deadlock spg__deadlock_look(void);

/* Are all shards in the kernel? The sum moves whenever one gets up. Any thread, while the runtime runs. */
bool spg__shards_nap(uint64_t *sum);

/* While anybody holds there is no deadlock: something outside may wake a coroutine. Any thread. */
void spg__deadlock_hold(void);
void spg__deadlock_release(void);

/*
 * A thread of our own that wakes nobody by itself has started, and is about to end: told by
 * the thread, or by whoever starts and then joins it. Shards, the watchdog, the pool and
 * spg_run's caller need not.
 */
void spg__deadlock_thread(int change);

#endif
