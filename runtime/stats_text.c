/*
 * The counters as JSON and in Prometheus' text format.
 */
#include "coro/alloc.h"
#include "runtime/out.h"

#include <spg/debug.h>

enum kind {
	COUNTER,    /* only grows */
	GAUGE,	    /* goes up and down */
	COUNTER_ALL, /* the same, not known by shard */
	GAUGE_ALL,
};

static const struct field {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *help;
} fields[] = {
#define FIELD(name, kind, help) { #name, kind, offsetof(struct spg_shard_stats, name), help }
	FIELD(spawned, COUNTER, "Coroutines spawned by the shard; in total also by plain threads."),
	FIELD(ended, COUNTER, "Coroutines that ended on the shard."),
	FIELD(live, GAUGE_ALL, "Coroutines that live."),
	FIELD(parked, GAUGE_ALL, "Coroutines that wait."),
	FIELD(runnable, GAUGE, "Coroutines in queues that thieves see."),
	FIELD(switches, COUNTER, "Runs of coroutines."),
	FIELD(parks, COUNTER, "Waits begun."),
	FIELD(unparks, COUNTER, "Coroutines made ready."),
	FIELD(yields, COUNTER, "Calls of spg_yield."),
	FIELD(steals_tried, COUNTER, "Attempts to steal."),
	FIELD(steals_won, COUNTER, "Attempts that brought something."),
	FIELD(stolen, COUNTER, "Coroutines stolen."),
	FIELD(steals_backoff, COUNTER, "Attempts left out after a lost race."),
	FIELD(spills, COUNTER, "Full queues that spilled to the global one."),
	FIELD(spins, COUNTER, "Times the shard looked for work before it slept."),
	FIELD(spin_hits, COUNTER, "Times that found some."),
	FIELD(sleeps, COUNTER, "Times the shard slept."),
	FIELD(idle_ns, COUNTER, "Nanoseconds asleep."),
	FIELD(wakes_sent, COUNTER, "Sleeping shards woken by this one."),
	FIELD(wakes_coalesced, COUNTER, "Wakes that another one made needless."),
	FIELD(sqes, COUNTER, "Ring entries submitted."),
	FIELD(cqes, COUNTER, "Completions reaped."),
	FIELD(enters, COUNTER, "Calls of io_uring_enter."),
	FIELD(inflight, GAUGE, "Operations in flight."),
	FIELD(sq_full, COUNTER, "Times the submission queue was full."),
	FIELD(cq_overflow, COUNTER, "Times the completion queue overflowed."),
	FIELD(timers, GAUGE, "Timers that run."),
	FIELD(timers_fired, COUNTER, "Timers that fired."),
	FIELD(cancels, COUNTER, "Operations asked to end early."),
	FIELD(kicks, COUNTER, "Signals to a shard stuck in one coroutine."),
	FIELD(stalls, COUNTER, "Times a shard was stuck in one coroutine."),
	FIELD(stack_bytes, GAUGE_ALL, "Address space of stacks."),
	FIELD(stacks_cached, GAUGE_ALL, "Free stacks that keep their pages."),
	FIELD(migrations_in_flight, COUNTER, "Coroutines moved with an operation in flight: stays 0."),
	FIELD(blocking_threads, GAUGE_ALL, "Threads of the blocking pool."),
	FIELD(blocking_queued, GAUGE_ALL, "Jobs that wait for a thread."),
	FIELD(blocking_done, COUNTER_ALL, "Jobs done."),
	FIELD(overloaded, COUNTER_ALL, "Jobs refused because too many waited."),
	FIELD(calls, COUNTER_ALL, "Calls of plain threads into the runtime."),
	FIELD(calls_overloaded, COUNTER_ALL, "Calls refused because too many ran."),
	FIELD(calls_timed_out, COUNTER_ALL, "Calls cut short by their deadline."),
	FIELD(calls_canceled, COUNTER_ALL, "Calls cut short by a cancel."),
	FIELD(calls_closed, COUNTER_ALL, "Calls that found no runtime, or its end."),
	FIELD(spawned_foreign, COUNTER_ALL, "Coroutines spawned by plain threads."),
	FIELD(spawned_pinned, COUNTER, "Coroutines spawned pinned to a shard."),
	FIELD(runnable_local, GAUGE, "Coroutines in queues thieves do not see, when the last pass began."),
	FIELD(asleep, GAUGE, "1 while the shard sleeps."),
	FIELD(spinning, GAUGE, "1 while the shard looks for work without sleeping."),
	FIELD(steal_scans, COUNTER, "Queues of others looked at."),
	FIELD(steals_not_worth, COUNTER, "Queues that had less than a move costs."),
	FIELD(steals_failed_streak_max, GAUGE, "Most attempts in a row that found nothing."),
	FIELD(timeouts, COUNTER, "Times a deadline was found to have passed, ends of sleeps among them."),
	FIELD(msgs_sent, COUNTER, "Shard messages sent."),
	FIELD(msgs_received, COUNTER, "Shard messages received."),
	FIELD(msg_doorbells, COUNTER, "Waiting shards that a message woke."),
	FIELD(msg_coalesced, COUNTER, "Additions to counters that were merged."),
	FIELD(msg_backpressure, COUNTER, "Messages that found no room."),
#undef FIELD
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))
_Static_assert(FIELDS == sizeof(struct spg_shard_stats) / sizeof(uint64_t), "every field has a line");

static const struct {
	const char *name;
	size_t offset;
} knobs[] = {
#define KNOB(name) { #name, offsetof(struct spg_steal_config, name) }
	KNOB(steal),		    KNOB(steal_batch),	        KNOB(steal_probe), KNOB(steal_backoff_min_ns),
	KNOB(steal_backoff_max_ns), KNOB(spin_ns),		KNOB(run_budget),
#undef KNOB
};
#define KNOBS (sizeof(knobs) / sizeof(knobs[0]))
_Static_assert(KNOBS == sizeof(struct spg_steal_config) / sizeof(uint64_t), "every knob has a line");

static uint64_t value_at(const void *object, size_t offset)
{
	return *(const uint64_t *)(const void *)((const char *)object + offset);
}

static bool by_shard(const struct field *field)
{
	return field->kind == COUNTER || field->kind == GAUGE;
}

static void json_pair(struct spg__out *out, bool first, const char *name, uint64_t value)
{
	spg__out_printf(out, "%s\"%s\":%llu", first ? "" : ",", name, (unsigned long long)value);
}

static void json_stats(struct spg__out *out, const struct spg_shard_stats *stats, bool total)
{
	spg__out_text(out, "{");
	for (size_t i = 0; i < FIELDS; i++)
		if (total || by_shard(&fields[i]))
			json_pair(out, i == 0, fields[i].name, value_at(stats, fields[i].offset));
	spg__out_text(out, "}");
}

static void json(struct spg__out *out, const spg_stats_t *s)
{
	spg__out_printf(out, "{\"version\":1,\"shards\":%llu,\"total\":", (unsigned long long)s->shards);
	json_stats(out, &s->total, true);
	spg__out_text(out, ",\"shard\":[");
	for (uint64_t i = 0; i < s->shards; i++) {
		spg__out_text(out, i == 0 ? "" : ",");
		json_stats(out, &s->shard[i], false);
	}
	spg__out_printf(out, "],\"ratios\":{\"steal_success_rate\":%.6g,\"local_hit_ratio\":%.6g,",
			spg_stats_steal_success_rate(&s->total), spg_stats_local_hit_ratio(&s->total));
	spg__out_printf(out, "\"steals_per_scan\":%.6g,", spg_stats_steals_per_scan(&s->total));
	json_pair(out, true, "queued", spg_stats_queued(s));
	json_pair(out, false, "queued_max", spg_stats_queued_max(s));
	json_pair(out, false, "inflight_max", spg_stats_inflight_max(s));
	spg__out_text(out, "},\"config\":{");
	for (size_t i = 0; i < KNOBS; i++)
		json_pair(out, i == 0, knobs[i].name, value_at(&s->config, knobs[i].offset));
	spg__out_text(out, "}}\n");
}

static void prometheus_field(struct spg__out *out, const spg_stats_t *s, const struct field *field)
{
	bool counter = field->kind == COUNTER || field->kind == COUNTER_ALL;
	const char *suffix = counter ? "_total" : "";

	spg__out_printf(out, "# HELP spg_%s%s %s\n", field->name, suffix, field->help);
	spg__out_printf(out, "# TYPE spg_%s%s %s\n", field->name, suffix, counter ? "counter" : "gauge");
	if (!by_shard(field)) {
		spg__out_printf(out, "spg_%s%s %llu\n", field->name, suffix,
				(unsigned long long)value_at(&s->total, field->offset));
		return;
	}
	for (unsigned i = 0; i < s->shards; i++)
		spg__out_printf(out, "spg_%s%s{shard=\"%u\"} %llu\n", field->name, suffix, i,
				(unsigned long long)value_at(&s->shard[i], field->offset));
}

static void prometheus(struct spg__out *out, const spg_stats_t *s)
{
	spg__out_printf(out, "# HELP spg_shards Shards.\n# TYPE spg_shards gauge\nspg_shards %llu\n",
			(unsigned long long)s->shards);
	for (size_t i = 0; i < FIELDS; i++)
		prometheus_field(out, s, &fields[i]);
}

static int print(int fd, void (*fn)(struct spg__out *out, const spg_stats_t *s))
{
	spg_stats_t *stats = spg__alloc(sizeof(*stats));
	struct spg__out *out = NULL;
	int err = -ENOMEM;

	if (stats == NULL)
		return err;
	err = spg_stats(stats);
	if (err < 0)
		goto out_stats;
	out = spg__out_new(fd, spg__out_write);
	err = -ENOMEM;
	if (out == NULL)
		goto out_stats;
	fn(out, stats);
	err = spg__out_end(out);
out_stats:
	spg__free(stats);
	return err;
}

int spg_stats_json(int fd)
{
	return print(fd, json);
}

int spg_stats_prometheus(int fd)
{
	return print(fd, prometheus);
}
