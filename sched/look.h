/*
 * Looking at coroutines from outside, while they run, park, end and are born. Nobody is
 * stopped and nothing on their way pays for it.
 *
 * LK1  A coroutine's object is read as plain words, twice. What says who it is and where it
 *      stands must be the same both times; else it is read again. Objects are type-stable
 *      (O1), so any moment may be read.
 * LK2  Its stack is read only while it rests: PARKED, which is set after its registers are
 *      saved (P2), or neither `current` nor `leaving` of any shard. Between the two readings
 *      of LK1 it is walked twice, and both walks must agree. Each entry of a coroutine is
 *      counted (runs) before its stack changes, and the count is part of LK1: so a trace is
 *      that of one moment, however long the reader was held up.
 * LK3  A walk stays between the saved stack pointer and the stack's top. Stacks are mapped as
 *      long as the runtime is held: by spg__shard_enter_foreign, or because the caller runs on it.
 * LK4  Who always moves is running, without a trace. One that runs on another thread tells its
 *      trace itself, in the handler of the kick (sched/sample.h).
 *
 * `current` and `leaving` are plain words of their shard. They are written in the order in
 * which LK2 reads them; where the CPU reorders stores (aarch64), one that has just left its
 * place may be taken for resting, and its trace may be wrong. It still stays on its stack.
 */
#ifndef SPG__SCHED_LOOK_H
#define SPG__SCHED_LOOK_H

#include "coro/frames.h"
#include "sched/shard.h"

enum spg__rest {
	SPG__REST_RUNNING,
	SPG__REST_RUNNABLE,
	SPG__REST_PARKED,
	SPG__REST_NEW, /* runnable, and never ran */
};

struct spg__look {
	uint64_t id;
	/* Of the object's kind. */
	const void *fn;
	const void *arg;
	const void *creator;
	/* What it waits on, if it is PARKED, since the begin of a pass. */
	const void *object;
	int64_t since_ns;
	/* Where it runs; where it is pinned or has an operation in flight; else -1. */
	int shard;
	uint8_t rest, reason;
	char name[SPG__CORO_NAME_MAX];
	unsigned depth;
	const void *frames[SPG__FRAMES_MAX];
};

/* false: it is free. The runtime is held (LK3). The caller itself is seen as running, with its trace. */
bool spg__look(struct spg__coro *coro, struct spg__look *out);

/* For debuggers, beside spg__layout_slabs. */
extern const struct spg__layout spg__layout[];

/* The shard's running coroutine, or NULL. Any thread; it may be another one by now. */
struct spg__coro *spg__look_current(const struct spg__shard *shard);

#endif
