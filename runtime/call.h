/*
 * spg_call for the rest of the runtime: its limit and its counters.
 */
#ifndef SPG__RUNTIME_CALL_H
#define SPG__RUNTIME_CALL_H

#include "coro/base.h"

/* Of a runtime that starts. */
void spg__calls_init(uint64_t max);

struct spg__calls_count {
	uint64_t total, overloaded, timed_out, canceled, closed;
};
void spg__calls_count(struct spg__calls_count *out);

#endif
