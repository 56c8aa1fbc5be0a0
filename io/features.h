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
	/* Stacks. */
	bool guard_install, process_madvise;
	/* Multishot accept, receive and poll; provided buffer rings. */
	bool multishot, buf_ring;
	/* Operations by opcode. */
	bool op[SPG__OPS_MAX];
};

/* Everything on but what `disable` names ("defer_taskrun,op:statx"). 0; -EINVAL: an unknown name, pointed to by *bad. */
int spg__features_init(const char *disable, const char **bad);

extern struct spg__features spg__features;

/* As SPG_DISABLE spells it; "op" for one without a name here. */
const char *spg__op_name(unsigned opcode);

static inline bool spg__op_usable(unsigned opcode)
{
	return spg__features.op[opcode];
}

#endif
