/*
 * Between the parts of the trace: control (trace.c), and records into JSON (trace_json.c).
 */
#ifndef SPG__RUNTIME_TRACE_H
#define SPG__RUNTIME_TRACE_H

#include "runtime/out.h"
#include "sched/trace.h"

/* Two clocks at one moment. */
struct spg__trace_time {
	uint64_t ticks;
	int64_t ns;
};

struct spg__trace_json;

/* NULL: no memory. */
struct spg__trace_json *spg__trace_json_new(struct spg__out *out, unsigned shards, struct spg__trace_time start);
/* What the rings hold up to `now`, in the order of time. */
void spg__trace_json_drain(struct spg__trace_json *json, struct spg__trace_time now);
/* Closes what is open at the time of the last drain, and the document. */
void spg__trace_json_end(struct spg__trace_json *json);

/* The runtime has ended: so does its trace. */
void spg__trace_runtime_ended(void);

#endif
