/*
 * What this kernel offers and what is used of it. Probed once per run, never guessed
 * by version; SPG_DISABLE takes features away, to run the fallbacks on any kernel.
 */
#ifndef SPG__IO_FEATURES_H
#define SPG__IO_FEATURES_H

#include "coro/base.h"
#include "io/uapi.h"

struct spg__features {
	bool io_uring;
	/* Ring flags. */
	bool submit_all, coop_taskrun, taskrun_flag, single_issuer, defer_taskrun;
	bool registered_ring, no_iowait, sqpoll;
	/* Wakes. */
	bool msg_ring, send_msg_ring;
	/* Cancels by a kick. */
	bool sync_cancel;
	/* Stacks. */
	bool guard_install, process_madvise;
	/* Multishot accept, receive and poll; provided buffer rings. */
	bool multishot, buf_ring;
	/* Operations by opcode. */
	bool op[SPG__OPS_MAX];
};

/* Everything on but what `disable` names ("defer_taskrun,op:statx"). 0; -EINVAL: an unknown name, pointed to by *bad. */
int spg__features_parse(struct spg__features *features, const char *disable, const char **bad);

/* One by one: its name in `disable`, what it is for. false: there are no more. */
struct spg__feature {
	const char *name, *what;
	bool on;
};
bool spg__feature_at(const struct spg__features *features, unsigned index, struct spg__feature *out);

/* Takes away what a ring says it lacks. May put one completion with that user_data into it. */
void spg__features_of_ring(struct spg__features *features, struct io_uring *uring, uint64_t user_data);

/* What the kernel has, by trying each. 0, or the errno with which it refuses io_uring. */
int spg__features_probe(struct spg__features *features);
/* That errno in words: why, and what to do. */
const char *spg__features_explain(int err);

/* A message to a ring from a thread without one. false: the kernel cannot, or the queue is full. */
bool spg__send_msg_ring(int ring_fd, uint64_t user_data);

/* Cancels the ring's operation with that user_data without an SQE. On the ring's own thread. false: the kernel cannot. */
bool spg__sync_cancel(int ring_fd, uint64_t user_data);

/* Of the running runtime. All true at first; the ring's set-up takes away what the kernel refuses. */
extern struct spg__features spg__features;

/* As SPG_DISABLE spells it; "op" for one without a name here. */
const char *spg__op_name(unsigned opcode);

static inline bool spg__op_usable(unsigned opcode)
{
	return spg__features.op[opcode];
}

#endif
