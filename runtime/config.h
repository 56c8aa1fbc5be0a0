/*
 * Reading, checking and translating spg_config.
 */
#ifndef SPG__RUNTIME_CONFIG_H
#define SPG__RUNTIME_CONFIG_H

#include "sched/shard.h"

#include <spg/runtime.h>

#include <sched.h>

/*
 * Checks every field and every SPG_* variable. 0, or -EINVAL after a line on stderr
 * that names the field and the value.
 */
int spg__config_check(const spg_config *cfg);

/* The shards that will run: cfg->shards, or one per CPU of the affinity mask (and of cfg->cpus). */
unsigned spg__config_shards(const spg_config *cfg);
/* The CPUs they may run on. */
unsigned spg__config_cpus(const spg_config *cfg);

/* What SPG_DEBUG asks for. */
struct spg__debug {
	int64_t schedtrace_ns; /* 0: no */
	unsigned trace_events;
	bool migrate, leaks, stalls, stacks, locks;
};

/* The words of spg_config.debug; NULL: none. 0, or -EINVAL and the bad word in *bad. */
int spg__debug_parse(const char *text, struct spg__debug *out, const char **bad);

/* Parses "0,2-3" into set. 0 or -EINVAL. */
int spg__cpu_list(const char *text, cpu_set_t *set);

#endif
