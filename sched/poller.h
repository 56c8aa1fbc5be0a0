/*
 * The one upward path: what the scheduler asks of the floor that does I/O. Filled
 * by io/, wired by runtime/run.c; a second poller can stand beside the first.
 */
#ifndef SPG__SCHED_POLLER_H
#define SPG__SCHED_POLLER_H

#include "coro/base.h"

struct spg__shard;

struct spg__poller {
	/* The shard's thread: submits, then sleeps until a completion, a wake, or due_ns. */
	void (*wait)(struct spg__shard *shard, int64_t due_ns);
	/* The shard's thread: submits and reaps without sleeping; cheap when there is nothing. */
	void (*poll)(struct spg__shard *shard);
	/* Any thread: ends the target's wait, now or the next one. Never fails. */
	void (*wake)(struct spg__shard *target);
};

#endif
