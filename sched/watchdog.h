/*
 * The watchdog and the kick. A thread that looks after shards stuck in one coroutine:
 * everything such a shard holds that others could use is brought to them.
 *
 * D1  A shard is stalled when it is awake and has not begun a pass for stall_ns. A pass
 *     ends with the budget, so a stalled shard is in one coroutine, or in few long ones.
 * D2  What a stalled shard holds, and how it gets away:
 *       due timers            expired here; the heap has a lock
 *       stealable coroutines  `stalled` makes them worth a thief, and one is woken
 *       the inbox             taken by exchange; what is not bound goes to the global queue
 *       completions           invisible to others while the ring's owner computes: the kick
 *       queued SQEs           submitted by the kick
 *       cancels               a coroutine whose context or deadline ended its operation there is in the
 *                             inbox; the kick asks the kernel for the cancel, and puts it back (D8)
 * D3  The kick is a signal to the shard's thread. Its handler enters the thread's own ring
 *     with GETEVENTS: it submits what is published (a release store of the SQ's tail, made
 *     when an SQE is whole), asks for cancels (D8) and makes completions visible. Besides it
 *     touches lock-free lists only, so it may interrupt anything: user code, malloc, the library
 *     itself. It saves errno, runs on the alternate stack, and calls the handler that was there
 *     before.
 * D4  The watchdog then reaps the ring in the owner's place, if it gets the CQ's lock. The
 *     owner holds it while it reaps; a handler that interrupted it there does no harm.
 * D5  At most one kick per stall_ns and shard; none when no other shard could help.
 * D6  It sleeps without a limit while all shards sleep. A shard that gets up wakes it if it
 *     finds `resting` (seq_cst, against the watchdog's last look at `asleep`).
 * D7  Before it does it looks for a deadlock (sched/deadlock.h), and if that may come without
 *     a shard that gets up it sleeps for a while only, longer each time.
 *
 * D8  A cancel goes by IORING_REGISTER_SYNC_CANCEL (Linux 6.0): a call, not an SQE, for the
 *     handler may have interrupted the filling of one. It names the operation by its address,
 *     which no other can have: from the watchdog's look until it is back in the inbox the
 *     coroutine is on one list only, the ring's `canceling`, and so does not run. Every look
 *     sorts anew what is still there.
 *
 * Limits. What is pinned to the stalled shard waits. So does spg_close of a descriptor with an
 * operation in flight on it, and a coroutine canceled by the shard's own coroutine before that
 * computes: it is in a queue only the shard sees. Blocking libc calls that SA_RESTART does not
 * cover (poll, nanosleep, epoll_wait ...) may return EINTR in a coroutine that stays in them.
 *
 * Rejected: a count of library depth in every call, and a box of completions filled by the
 * handler. The CQ's lock costs one RMW per reap, and the handler needs to know nothing.
 */
#ifndef SPG__SCHED_WATCHDOG_H
#define SPG__SCHED_WATCHDOG_H

#include "coro/base.h"

struct spg__shard;

struct spg__watchdog_conf {
	int64_t stall_ns;
	int kick_signal; /* 0: off */
	const char *name;
	/* Called when a deadlock is proven, maybe more than once; NULL: nobody looks for one. */
	void (*deadlocked)(void);
	/*
	 * Told at each look that finds a shard stalled, with the begin of its pass, and the number of the
	 * system call its thread slept in, -1: none, or not known. NULL: nobody is.
	 */
	void (*stalled)(struct spg__shard *shard, int64_t pass_ns, int64_t now_ns, long blocked_in);
};

/* 0, or the negative errno of the thread or the handler. stall_ns 0: no stalls, no kicks. */
int spg__watchdog_start(const struct spg__watchdog_conf *conf);

/* Ends the thread, while those of the shards are there to be kicked. */
void spg__watchdog_stop(void);

/* Something has changed that no shard gets up for: look soon. Any thread. */
void spg__watchdog_look(void);
/*
 * Puts the previous handler back. After the shards' threads have ended: a kick on its way would
 * find the signal's default action, which may be to end the process. Harmless without a start.
 */
void spg__watchdog_unhook(void);

/* A shard that was asleep gets up (D6). */
void spg__watchdog_notice(void);

#endif
