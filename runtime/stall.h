/*
 * Stalls told: who computes too long, to spg_config.stall_fn and to SPG_DEBUG=stalls. On the
 * watchdog's thread, once a second at most.
 */
#ifndef SPG__RUNTIME_STALL_H
#define SPG__RUNTIME_STALL_H

#include "sched/shard.h"

#include <spg/runtime.h>

/* Before the watchdog starts. false: nobody asked, spg__stall_tell is not needed. */
bool spg__stall_conf(const spg_config *cfg, bool print);

/* The watchdog finds a shard still in the pass that began then, in that system call. The runtime is held. */
void spg__stall_tell(struct spg__shard *shard, int64_t pass_ns, int64_t now_ns, long blocked_in);

#endif
