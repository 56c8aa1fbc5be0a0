#include "runtime/config.h"

#include "io/features.h"
#include "sched/trace.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { UINT, SIZE, U64, BOOL, NS, INT, TEXT, DEADLOCK };

static const struct field {
	const char *name, *env;
	enum kind kind;
	size_t offset;
	int64_t min, max;
} fields[] = {
#define FIELD(name, env, kind, min, max) { #name, env, kind, offsetof(spg_config, name), min, max }
	FIELD(shards, "SPG_SHARDS", UINT, 0, SPG__SHARDS_MAX),
	FIELD(pin_shards, "SPG_PIN_SHARDS", BOOL, 0, 1),
	FIELD(cpus, "SPG_CPUS", TEXT, 0, 0),
	FIELD(stack_size, "SPG_STACK", SIZE, (int64_t)SPG__STACK_BYTES_MIN, (int64_t)1 << 30),
	FIELD(stack_cache, "SPG_STACK_CACHE", UINT, 0, INT_MAX),
	FIELD(coroutines_max, "SPG_COROUTINES_MAX", U64, 0, INT64_MAX),
	FIELD(ring_entries, "SPG_RING_ENTRIES", UINT, 8, 32768),
	FIELD(sqpoll_idle_ms, "SPG_SQPOLL_IDLE_MS", UINT, 0, 3600000),
	FIELD(steal, "SPG_STEAL", BOOL, 0, 1),
	FIELD(steal_batch, "SPG_STEAL_BATCH", UINT, 1, SPG__RUNQ_BATCH),
	FIELD(steal_probe, "SPG_STEAL_PROBE", UINT, 1, SPG__SHARDS_MAX),
	FIELD(steal_backoff_min_ns, "SPG_STEAL_BACKOFF_MIN_NS", NS, 0, INT64_MAX),
	FIELD(steal_backoff_max_ns, "SPG_STEAL_BACKOFF_MAX_NS", NS, 0, INT64_MAX),
	FIELD(spin_ns, "SPG_SPIN_NS", NS, 0, INT64_MAX),
	FIELD(run_budget, "SPG_RUN_BUDGET", UINT, 1, INT_MAX),
	FIELD(timer_slack_ns, "SPG_TIMER_SLACK_NS", NS, 0, INT64_MAX),
	FIELD(blocking_min, "SPG_BLOCKING_MIN", UINT, 0, 4096),
	FIELD(blocking_max, "SPG_BLOCKING_MAX", UINT, 1, 4096),
	FIELD(blocking_queue, "SPG_BLOCKING_QUEUE", UINT, 1, INT_MAX),
	FIELD(calls_max, "SPG_CALLS_MAX", U64, 1, INT64_MAX),
	FIELD(msg_queue, "SPG_MSG_QUEUE", UINT, 1, 1048576),
	FIELD(stall_ns, "SPG_STALL", NS, 0, INT64_MAX),
	FIELD(kick_signal, "SPG_KICK_SIGNAL", INT, 0, 64),
	FIELD(overflow_report, "SPG_OVERFLOW_REPORT", BOOL, 0, 1),
	FIELD(dump_signal, "SPG_DUMP_SIGNAL", INT, 0, 64),
	FIELD(shutdown_grace_ns, "SPG_SHUTDOWN_GRACE_NS", NS, 0, INT64_MAX),
	FIELD(deadlock, "SPG_DEADLOCK", DEADLOCK, SPG_DEADLOCK_REPORT, SPG_DEADLOCK_IGNORE),
	FIELD(thread_name, "SPG_THREAD_NAME", TEXT, 0, 0),
	FIELD(debug, "SPG_DEBUG", TEXT, 0, 0),
	FIELD(disable, "SPG_DISABLE", TEXT, 0, 0),
#undef FIELD
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

static int64_t unit(const char *suffix, bool time)
{
	static const struct {
		const char *name;
		int64_t factor;
		bool time;
	} units[] = {
		{ "", 1, true },	  { "", 1, false },	 { "ns", 1, true },
		{ "us", 1000, true },	  { "ms", 1000000, true }, { "s", 1000000000, true },
		{ "m", 60000000000, true }, { "k", 1024, false },	 { "m", 1048576, false },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].time == time && strcmp(units[i].name, suffix) == 0)
			return units[i].factor;
	}
	return 0;
}

static int parse_number(const char *text, bool time, int64_t *value)
{
	char *end;
	long long number;
	int64_t factor;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoll(text, &end, 10);
	factor = unit(end, time);
	if (errno != 0 || factor == 0 || __builtin_mul_overflow(number, factor, value))
		return -EINVAL;
	return 0;
}

static int parse_word(const char *text, enum kind kind, int64_t *value)
{
	static const struct {
		const char *name;
		enum kind kind;
		int64_t value;
	} words[] = {
		{ "1", BOOL, 1 },	{ "true", BOOL, 1 },  { "yes", BOOL, 1 }, { "on", BOOL, 1 },
		{ "0", BOOL, 0 },	{ "false", BOOL, 0 }, { "no", BOOL, 0 },  { "off", BOOL, 0 },
		{ "report", DEADLOCK, SPG_DEADLOCK_REPORT }, { "ignore", DEADLOCK, SPG_DEADLOCK_IGNORE },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].kind == kind && strcmp(words[i].name, text) == 0) {
			*value = words[i].value;
			return 0;
		}
	}
	return -EINVAL;
}

/* The variable's text as the field's number; -EINVAL: malformed or out of range. */
static int parse(const struct field *field, const char *text, int64_t *value)
{
	int err = field->kind == BOOL || field->kind == DEADLOCK ?
			  parse_word(text, field->kind, value) :
			  parse_number(text, field->kind == NS, value);

	return err < 0 || *value < field->min || *value > field->max ? -EINVAL : 0;
}

static void store(void *at, const struct field *field, int64_t value)
{
	switch (field->kind) {
	case UINT:
		*(unsigned *)at = (unsigned)value;
		break;
	case SIZE:
		*(size_t *)at = (size_t)value;
		break;
	case U64:
		*(uint64_t *)at = (uint64_t)value;
		break;
	case BOOL:
		*(bool *)at = value != 0;
		break;
	case NS:
		*(int64_t *)at = value;
		break;
	case INT:
	case DEADLOCK:
		*(int *)at = (int)value;
		break;
	case TEXT:
		break;
	}
}

/* Values beyond int64_t come out as -1: out of range everywhere. */
static int64_t load(const void *at, const struct field *field)
{
	switch (field->kind) {
	case UINT:
		return *(const unsigned *)at;
	case SIZE:
		return *(const size_t *)at > INT64_MAX ? -1 : (int64_t)*(const size_t *)at;
	case U64:
		return *(const uint64_t *)at > INT64_MAX ? -1 : (int64_t)*(const uint64_t *)at;
	case BOOL:
		return *(const unsigned char *)at;
	case NS:
		return *(const int64_t *)at;
	case INT:
	case DEADLOCK:
		return *(const int *)at;
	case TEXT:
		break;
	}
	return 0;
}

void spg_config_init(spg_config *cfg)
{
	*cfg = (spg_config){
		.stack_size = (size_t)256 << 10,
		.stack_cache = 16384,
		.ring_entries = 256,
		.steal = true,
		.steal_batch = 32,
		.steal_probe = 4,
		.steal_backoff_min_ns = 1000,
		.steal_backoff_max_ns = 32000,
		.spin_ns = 20000,
		.run_budget = 64,
		.timer_slack_ns = 10000,
		.calls_max = 65536,
		.blocking_max = 64,
		.blocking_queue = 65536,
		.msg_queue = 4096,
		.stall_ns = 10 * SPG_MS,
		.kick_signal = SIGURG,
		.overflow_report = true,
		.shutdown_grace_ns = 5 * SPG_SEC,
		.deadlock = SPG_DEADLOCK_REPORT,
		.thread_name = "spg",
	};
	for (size_t i = 0; i < FIELDS; i++) {
		const char *text = getenv(fields[i].env);
		char *at = (char *)cfg + fields[i].offset;
		int64_t value;

		if (text == NULL)
			continue;
		/* A malformed one is refused by spg_run (spg__config_check). */
		if (fields[i].kind == TEXT)
			*(const char **)(void *)at = text;
		else if (parse(&fields[i], text, &value) == 0)
			store(at, &fields[i], value);
	}
}

int spg__cpu_list(const char *text, cpu_set_t *set)
{
	CPU_ZERO(set);
	while (*text != '\0') {
		char *end;
		long first = strtol(text, &end, 10), last = first;

		if (end == text || first < 0)
			return -EINVAL;
		if (*end == '-') {
			text = end + 1;
			last = strtol(text, &end, 10);
			if (end == text)
				return -EINVAL;
		}
		if (last < first || last >= CPU_SETSIZE || (*end != '\0' && *end != ','))
			return -EINVAL;
		for (long cpu = first; cpu <= last; cpu++)
			CPU_SET(cpu, set);
		text = *end == ',' ? end + 1 : end;
	}
	return CPU_COUNT(set) > 0 ? 0 : -EINVAL;
}

/* One word of SPG_DEBUG, cut out. */
static int debug_word(char *word, struct spg__debug *out)
{
	char *value = strchr(word, '=');
	int64_t number;

	if (value == NULL) {
		const struct {
			const char *word;
			bool *to;
		} known[] = { { "migrate", &out->migrate },
			      { "leaks", &out->leaks },
			      { "stalls", &out->stalls },
			      { "stacks", &out->stacks },
			      { "locks", &out->locks } };

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			if (strcmp(word, known[i].word) != 0)
				continue;
			*known[i].to = true;
			return 0;
		}
		return -EINVAL;
	}
	*value++ = '\0';
	if (strcmp(word, "schedtrace") == 0) {
		if (parse_number(value, true, &number) < 0 || number < SPG_MS)
			return -EINVAL;
		out->schedtrace_ns = number;
		return 0;
	}
	if (strcmp(word, "trace_events") != 0 || parse_number(value, false, &number) < 0 ||
	    number < SPG__TRACE_EVENTS_MIN || number > SPG__TRACE_EVENTS_MAX || (number & (number - 1)) != 0)
		return -EINVAL;
	out->trace_events = (unsigned)number;
	return 0;
}

int spg__debug_parse(const char *text, struct spg__debug *out, const char **bad)
{
	char word[64];

	*out = (struct spg__debug){ .trace_events = SPG__TRACE_EVENTS };
	*bad = text;
	for (const char *at = text != NULL ? text : ""; *at != '\0';) {
		size_t len = strcspn(at, ",");

		*bad = at;
		if (len >= sizeof(word))
			return -EINVAL;
		memcpy(word, at, len);
		word[len] = '\0';
		if (len > 0 && debug_word(word, out) < 0)
			return -EINVAL;
		at += len + (at[len] == ',');
	}
	return 0;
}

static int complain(const char *name, const char *value)
{
	fprintf(stderr, "spg: bad configuration: %s = %s\n", name, value);
	return -EINVAL;
}

/* 0, or -EINVAL: no handler may be set for it, or another one of ours is. */
static int check_signal(const char *name, int signal, int other)
{
	struct sigaction now;

	if (signal == 0)
		return 0;
	if (signal == SIGKILL || signal == SIGSTOP || sigaction(signal, NULL, &now) != 0)
		return complain(name, "no signal that can be handled");
	return signal == other ? complain(name, "the same as kick_signal") : 0;
}

static int check_field(const spg_config *cfg, const struct field *field)
{
	const char *env = getenv(field->env);
	int64_t value;
	char text[32];

	if (field->kind == TEXT)
		return 0;
	if (env != NULL && parse(field, env, &value) < 0)
		return complain(field->env, env);
	value = load((const char *)cfg + field->offset, field);
	if (value >= field->min && value <= field->max)
		return 0;
	snprintf(text, sizeof(text), "%lld", (long long)value);
	return complain(field->name, text);
}

int spg__config_check(const spg_config *cfg)
{
	struct spg__debug debug;
	cpu_set_t set;
	const char *bad;

	for (size_t i = 0; i < FIELDS; i++) {
		int err = check_field(cfg, &fields[i]);

		if (err < 0)
			return err;
	}
	if (cfg->cpus != NULL && cfg->cpus[0] != '\0' && spg__cpu_list(cfg->cpus, &set) < 0)
		return complain("cpus", cfg->cpus);
	if (cfg->blocking_min > cfg->blocking_max)
		return complain("blocking_min", "more than blocking_max");
	if (check_signal("kick_signal", cfg->kick_signal, 0) < 0 ||
	    check_signal("dump_signal", cfg->dump_signal, cfg->kick_signal) < 0)
		return -EINVAL;
	if (cfg->steal_backoff_min_ns > cfg->steal_backoff_max_ns)
		return complain("steal_backoff_min_ns", "more than steal_backoff_max_ns");
	if (spg__debug_parse(cfg->debug, &debug, &bad) < 0)
		return complain("debug", bad);
	if (spg__features_parse(&spg__features, cfg->disable, &bad) < 0)
		return complain("disable", bad);
	return 0;
}

unsigned spg__config_shards(const spg_config *cfg)
{
	unsigned cpus = spg__config_cpus(cfg);

	if (cfg->shards > 0)
		return cfg->shards;
	return cpus < SPG__SHARDS_MAX ? cpus : SPG__SHARDS_MAX;
}

unsigned spg__config_cpus(const spg_config *cfg)
{
	cpu_set_t set;

	if (cfg->cpus != NULL && cfg->cpus[0] != '\0' && spg__cpu_list(cfg->cpus, &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}
