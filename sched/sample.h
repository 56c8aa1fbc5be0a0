/*
 * The backtrace of a coroutine that runs on another thread, taken by that thread itself in
 * the handler of kick_signal.
 *
 * SA1  One request at a time: FREE -> TAKEN (a requester's CAS) -> ASKED -> the handler's CAS
 *      to FILLING -> DONE -> FREE. The slot is the handler's while FILLING, else the requester's.
 * SA2  A requester that waits no longer takes ASKED back by CAS. Failing that the handler is at
 *      work, a few hundred instructions, and it waits for DONE.
 * SA3  The handler reads the interrupted thread's own registers and stack. Frames are taken
 *      only if the stack pointer lies in the stack of the shard's running coroutine.
 */
#ifndef SPG__SCHED_SAMPLE_H
#define SPG__SCHED_SAMPLE_H

#include "coro/frames.h"
#include "sched/shard.h"

struct spg__sample {
	/* Whose; 0: no coroutine ran, or nobody answered. */
	uint64_t id;
	unsigned depth;
	const void *frames[SPG__FRAMES_MAX];
};

/*
 * Interrupts the shard's thread with the signal and takes its trace. false: it did not answer
 * in time (its thread may have no CPU), or another request is under way. Not on that thread itself.
 */
bool spg__sample(struct spg__shard *shard, int signal, int64_t wait_ns, struct spg__sample *out);

/* In the handler of that signal, on a shard's thread. */
void spg__sample_answer(struct spg__shard *shard, void *ucontext);

#endif
