/*
 * Calls of the watchdog and of its signal's handler on a shard's ring; sched/poller.h says what each is.
 */
#ifndef SPG__IO_KICK_H
#define SPG__IO_KICK_H

#include "io/ring.h"

void spg__kick_surface(struct spg__shard *shard);
bool spg__kick_holds(struct spg__shard *shard);
bool spg__kick_cancel_for(struct spg__shard *shard, struct spg__coro *coro);

/*
 * Puts all of `canceling` into the inbox, without a wake; ask: after asking for their cancels, on the
 * ring's own thread only. true: there was something. Any of those who may take the list.
 */
bool spg__kick_give_back(struct spg__ring *ring, bool ask);

#endif
