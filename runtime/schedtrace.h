/*
 * SPG_DEBUG=schedtrace: a line about the scheduler on stderr each period, by a thread of its
 * own, so that shards which sleep go on sleeping.
 */
#ifndef SPG__RUNTIME_SCHEDTRACE_H
#define SPG__RUNTIME_SCHEDTRACE_H

#include "coro/base.h"

/* 0 or the negative errno of the thread. Once the runtime runs. */
int spg__schedtrace_start(int64_t period_ns);
/* Harmless when it was not started. */
void spg__schedtrace_stop(void);

#endif
