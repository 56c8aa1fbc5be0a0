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

/* Is the word among those of spg_config.debug? */
bool spg__config_debug(const spg_config *cfg, const char *word);

/* Parses "0,2-3" into set. 0 or -EINVAL. */
int spg__cpu_list(const char *text, cpu_set_t *set);

#endif
