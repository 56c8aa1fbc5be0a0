/*
 * The one upward path: what the scheduler asks of the floor that does I/O: to wait, to
 * poll, to wake, and four calls of the watchdog (sched/watchdog.h). Filled
 * by io/, wired by runtime/run.c; a second poller can stand beside the first.
 */
#ifndef SPG__SCHED_POLLER_H
#define SPG__SCHED_POLLER_H

#include "coro/base.h"

struct spg__shard;
struct spg__coro;

struct spg__poller {
	/* The shard's thread: submits, then sleeps until a completion, a wake, or due_ns. */
	void (*wait)(struct spg__shard *shard, int64_t due_ns);
	/* The shard's thread: submits and reaps without sleeping; cheap when there is nothing. */
	void (*poll)(struct spg__shard *shard);
	/* Any thread: ends the target's wait, now or the next one. Never fails. */
	void (*wake)(struct spg__shard *target);
	/*
	 * The shard's thread, in a signal handler, anywhere: submits what is whole, asks for the cancels
	 * of cancel_for, makes completions visible.
	 */
	void (*surface)(struct spg__shard *shard);
	/* Any thread: has it operations in flight, or queued? */
	bool (*holds)(struct spg__shard *shard);
	/* The watchdog: reaps in the owner's place what is visible. */
	void (*reap_for)(struct spg__shard *shard);
	/*
	 * The watchdog, with a coroutine out of the shard's inbox that has an operation there: if that is
	 * to be canceled, takes the coroutine until a surface, or the owner, has put it back. false: it is not.
	 */
	bool (*cancel_for)(struct spg__shard *shard, struct spg__coro *coro);
};

#endif
