/*
 * Records into Chrome's trace events.
 *
 * TJ1  Records of all rings are taken in the order of their time. Those after `now` stay for
 *      the next drain: a record not yet published when the rings are looked at may have
 *      caused them (TR4).
 * TJ2  A track's times never go back, and each B has its E: a slice open at a gap or at the
 *      end is closed. A shard's track is in a coroutine's slice or in the loop's, in which
 *      it may sleep.
 * TJ3  An arrow's start is written once until its end is, and the end only after it. An
 *      operation's end is written only after its begin; its user_data is free for another
 *      by then.
 *
 * Source: "Trace Event Format", Google, 2016.
 */
#include "runtime/trace.h"

#include "coro/alloc.h"
#include "io/features.h"
#include "runtime/fn_name.h"

#include <search.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of user_data: a plain operation has none of these bits (io/ring.h, N2). */
#define TAG_BITS 15u

enum slice { NO_SLICE, LOOP_SLICE, CORO_SLICE };

/* A record, taken apart. */
struct rec {
	unsigned kind, sub;
	int how;
	uint64_t a, b;
};

struct track {
	/* Where its ring's records ended at the begin of the drain. */
	const struct spg__trace_rec *head;
	int64_t last_ns;
	uint64_t last_ticks;
	enum slice slice;
	bool asleep, named;
	uint64_t id;
	/* Of the next one that runs. */
	char name[SPG__CORO_NAME_MAX + 1];
};

/* What is known of a coroutine: its name, or an arrow that waits for its run. */
struct known_coro {
	uint64_t id; /* first: the key */
	uint64_t arrow;
	char name[SPG__CORO_NAME_MAX + 1];
};

/* An operation in flight. */
struct known_op {
	uint64_t user_data; /* first: the key */
	uint64_t number, id;
	uint8_t opcode;
	int tid;
};

struct spg__trace_json {
	struct spg__out *out;
	unsigned shards;
	int pid;
	/* Ticks of the last drain's end, and of the trace's start. */
	struct spg__trace_time from, start;
	double ns_per_tick;
	void *coros, *ops; /* trees */
	uint64_t arrows, numbers;
	struct spg__fn_names fns;
	struct track tracks[SPG__SHARDS_MAX + 1];
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The node of that key, made when there is none. NULL: no memory. */
static void *tree_get(void **tree, uint64_t key, size_t bytes)
{
	void **found = tfind(&key, tree, compare);
	uint64_t *node;

	if (found != NULL)
		return *found;
	node = spg__calloc(1, bytes);
	if (node == NULL)
		return NULL;
	*node = key;
	if (tsearch(node, tree, compare) != NULL)
		return node;
	spg__free(node);
	return NULL;
}

static void *tree_find(void **tree, uint64_t key)
{
	void **found = tfind(&key, tree, compare);

	return found != NULL ? *found : NULL;
}

static void tree_drop(void **tree, void *node)
{
	tdelete(node, tree, compare);
	spg__free(node);
}

/* Begins an event; its caller goes on with ,"key":value pairs and event_end. */
static void event(struct spg__trace_json *json, const char *ph, unsigned tid, int64_t ns)
{
	struct spg__out *out = json->out;
	uint64_t since = (uint64_t)(ns - json->start.ns);
	const char thousandths[] = { '.', (char)('0' + since % 1000 / 100), (char)('0' + since % 100 / 10),
				     (char)('0' + since % 10), '\0' };

	spg__out_text(out, ",\n{\"ph\":\"");
	spg__out_text(out, ph);
	spg__out_text(out, "\",\"pid\":");
	spg__out_u64(out, (uint64_t)json->pid);
	spg__out_text(out, ",\"tid\":");
	spg__out_u64(out, tid);
	spg__out_text(out, ",\"ts\":");
	spg__out_u64(out, since / 1000);
	spg__out_text(out, thousandths);
}

static void event_end(struct spg__trace_json *json)
{
	spg__out_text(json->out, "}");
}

static void pair_text(struct spg__trace_json *json, const char *key, const char *value)
{
	spg__out_text(json->out, key);
	spg__out_json_string(json->out, value);
}

static void pair_i64(struct spg__trace_json *json, const char *key, int64_t value)
{
	spg__out_text(json->out, key);
	spg__out_i64(json->out, value);
}

static void instant(struct spg__trace_json *json, unsigned tid, const char *name, const char *key, int64_t value)
{
	event(json, "i", tid, json->tracks[tid].last_ns);
	pair_text(json, ",\"s\":\"t\",\"name\":", name);
	pair_i64(json, key, value);
	spg__out_text(json->out, "}");
	event_end(json);
}

static void slice_begin(struct spg__trace_json *json, unsigned tid, const char *name)
{
	event(json, "B", tid, json->tracks[tid].last_ns);
	pair_text(json, ",\"name\":", name);
	event_end(json);
}

static void slice_end(struct spg__trace_json *json, unsigned tid)
{
	event(json, "E", tid, json->tracks[tid].last_ns);
	event_end(json);
}

/* Whatever is open on the track (TJ2); why: why a coroutine left, or NULL. */
static void close_slices(struct spg__trace_json *json, unsigned tid, const char *why)
{
	struct track *track = &json->tracks[tid];

	if (track->asleep)
		slice_end(json, tid);
	if (track->slice != NO_SLICE) {
		event(json, "E", tid, track->last_ns);
		if (track->slice == CORO_SLICE && why != NULL) {
			pair_text(json, ",\"args\":{\"why\":", why);
			spg__out_text(json->out, "}");
		}
		event_end(json);
	}
	track->asleep = false;
	track->slice = NO_SLICE;
}

/* An arrow from here to the coroutine's next run (TJ3). */
static void arrow_begin(struct spg__trace_json *json, unsigned tid, uint64_t id)
{
	struct known_coro *coro = tree_get(&json->coros, id, sizeof(*coro));
	bool outside = tid == json->shards; /* no slice is open there: the arrow needs one */

	if (coro == NULL || coro->arrow != 0)
		return;
	coro->arrow = ++json->arrows;
	if (outside)
		slice_begin(json, tid, "ready");
	event(json, "s", tid, json->tracks[tid].last_ns);
	pair_i64(json, ",\"cat\":\"sched\",\"name\":\"ready\",\"id\":", (int64_t)coro->arrow);
	pair_i64(json, ",\"args\":{\"coroutine\":", (int64_t)id);
	spg__out_text(json->out, "}");
	event_end(json);
	if (outside)
		slice_end(json, tid);
}

static void arrow_end(struct spg__trace_json *json, unsigned tid, struct known_coro *coro)
{
	event(json, "f", tid, json->tracks[tid].last_ns);
	pair_i64(json, ",\"bp\":\"e\",\"cat\":\"sched\",\"name\":\"ready\",\"id\":", (int64_t)coro->arrow);
	event_end(json);
	coro->arrow = 0;
}

static void coro_begin(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	struct known_coro *coro = tree_find(&json->coros, rec->a);
	bool named = coro != NULL && coro->name[0] != '\0';

	event(json, "B", tid, json->tracks[tid].last_ns);
	pair_text(json, ",\"name\":", named ? coro->name : spg__fn_name(&json->fns, rec->b));
	pair_i64(json, ",\"args\":{\"coroutine\":", (int64_t)rec->a);
	pair_text(json, ",\"function\":", spg__fn_name(&json->fns, rec->b));
	spg__out_text(json->out, "}");
	event_end(json);
	if (coro != NULL && coro->arrow != 0)
		arrow_end(json, tid, coro);
	if (coro != NULL && !named)
		tree_drop(&json->coros, coro);
}

static const char *left_name(const struct rec *rec)
{
	switch (rec->how) {
	case SPG__COMMIT_YIELD:
		return "yield";
	case SPG__COMMIT_END:
		return "end";
	default:
		return spg__reason_name(rec->sub);
	}
}

static void learn_name(struct spg__trace_json *json, struct track *track, uint64_t id)
{
	struct known_coro *coro = tree_get(&json->coros, id, sizeof(*coro));

	if (coro != NULL)
		memcpy(coro->name, track->name, sizeof(coro->name));
	track->named = false;
}

static void on_run(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	struct track *track = &json->tracks[tid];
	struct known_coro *ended = NULL;

	close_slices(json, tid, left_name(rec));
	if (track->named)
		learn_name(json, track, rec->a);
	if (rec->how == SPG__COMMIT_END && track->id != 0)
		ended = tree_find(&json->coros, track->id);
	if (ended != NULL)
		tree_drop(&json->coros, ended);
	track->id = rec->a;
	if (rec->a != 0)
		coro_begin(json, tid, rec);
	else
		slice_begin(json, tid, "loop");
	track->slice = rec->a != 0 ? CORO_SLICE : LOOP_SLICE;
}

static void on_name(struct track *track, const struct rec *rec)
{
	memcpy(track->name, &rec->a, sizeof(rec->a));
	memcpy(track->name + sizeof(rec->a), &rec->b, sizeof(rec->b));
	track->name[SPG__CORO_NAME_MAX] = '\0';
	track->named = true;
}

static void on_spawn(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	event(json, "i", tid, json->tracks[tid].last_ns);
	pair_i64(json, ",\"s\":\"t\",\"name\":\"spawn\",\"args\":{\"coroutine\":", (int64_t)rec->a);
	pair_text(json, ",\"function\":", spg__fn_name(&json->fns, rec->b));
	pair_i64(json, ",\"pinned\":", rec->how);
	spg__out_text(json->out, "}");
	event_end(json);
	arrow_begin(json, tid, rec->a);
}

static void on_sleep(struct spg__trace_json *json, unsigned tid, bool sleeps)
{
	struct track *track = &json->tracks[tid];

	if (track->slice != LOOP_SLICE || track->asleep == sleeps)
		return; /* the trace began, or a gap ended, while it slept */
	track->asleep = sleeps;
	if (sleeps)
		slice_begin(json, tid, "sleep");
	else
		slice_end(json, tid);
}

/* The head of an asynchronous event: begin, instant and end share category, name and number. */
static void op_event(struct spg__trace_json *json, const char *ph, int tid, int64_t ns, const struct known_op *op)
{
	event(json, ph, (unsigned)tid, ns);
	pair_text(json, ",\"cat\":\"io\",\"name\":", spg__op_name(op->opcode));
	pair_i64(json, ",\"id\":", (int64_t)op->number);
}

static void op_close(struct spg__trace_json *json, struct known_op *op, int64_t ns, const char *how)
{
	op_event(json, "e", op->tid, ns, op);
	pair_text(json, ",\"args\":{\"result\":", how);
	spg__out_text(json->out, "}");
	event_end(json);
}

static void on_submit(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	struct known_op *op = tree_get(&json->ops, rec->a, sizeof(*op));

	if (op == NULL)
		return;
	/* Its completion is in a gap. */
	if (op->number != 0)
		op_close(json, op, json->tracks[op->tid].last_ns, "lost");
	op->number = ++json->numbers;
	op->id = json->tracks[tid].id;
	op->opcode = (uint8_t)rec->b;
	op->tid = (int)tid;
	op_event(json, "b", op->tid, json->tracks[tid].last_ns, op);
	pair_i64(json, ",\"args\":{\"fd\":", (int32_t)(rec->b >> 32));
	pair_i64(json, ",\"coroutine\":", (int64_t)op->id);
	spg__out_text(json->out, "}");
	event_end(json);
}

static void on_complete(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	struct known_op *op = tree_find(&json->ops, rec->a);
	bool more = ((rec->b >> 32) & IORING_CQE_F_MORE) != 0;

	if (op == NULL)
		return; /* begun before the trace, or in a gap */
	op_event(json, more ? "n" : "e", op->tid, json->tracks[tid].last_ns, op);
	pair_i64(json, ",\"args\":{\"result\":", (int32_t)rec->b);
	spg__out_text(json->out, "}");
	event_end(json);
	if (more)
		return;
	if ((rec->a & TAG_BITS) == 0)
		arrow_begin(json, tid, op->id);
	tree_drop(&json->ops, op);
}

static void on_cancel(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	struct known_op *op = tree_find(&json->ops, rec->a);

	instant(json, tid, "cancel", ",\"args\":{\"id\":", op != NULL ? (int64_t)op->number : 0);
}

/* Of records that say all in a word and a number. */
static void on_instant(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	switch (rec->kind) {
	case SPG__TRACE_STEAL:
		event(json, "i", tid, json->tracks[tid].last_ns);
		pair_i64(json, ",\"s\":\"t\",\"name\":\"steal\",\"args\":{\"from\":", (int64_t)rec->a);
		pair_i64(json, ",\"coroutines\":", (int64_t)rec->b);
		spg__out_text(json->out, "}");
		event_end(json);
		return;
	case SPG__TRACE_WAKE:
		instant(json, tid, "wake", ",\"args\":{\"shard\":", (int64_t)rec->a);
		return;
	case SPG__TRACE_KICK:
		instant(json, tid, "kick", ",\"args\":{\"shard\":", (int64_t)rec->a);
		return;
	case SPG__TRACE_TIMERS:
		instant(json, tid, "timers", ",\"args\":{\"fired\":", (int64_t)rec->a);
		return;
	default:
		return;
	}
}

/* Tracks are the shards, and after them the others. */
static struct spg__trace_ring *ring_of(struct spg__trace_json *json, unsigned tid)
{
	return &spg__trace.rings[tid < json->shards ? tid : SPG__SHARDS_MAX];
}

static void on_lost(struct spg__trace_json *json, unsigned tid, uint64_t lost)
{
	struct spg__trace_ring *ring = ring_of(json, tid);

	json->tracks[tid].id = 0;
	json->tracks[tid].named = false;
	instant(json, tid, "lost", ",\"args\":{\"events\":", (int64_t)(lost - ring->lost_seen));
	ring->lost_seen = lost;
}

static void handle(struct spg__trace_json *json, unsigned tid, const struct rec *rec)
{
	switch (rec->kind) {
	case SPG__TRACE_LOST:
		on_lost(json, tid, rec->a);
		return;
	case SPG__TRACE_SPAWN:
		on_spawn(json, tid, rec);
		return;
	case SPG__TRACE_RUN:
		on_run(json, tid, rec);
		return;
	case SPG__TRACE_NAME:
		on_name(&json->tracks[tid], rec);
		return;
	case SPG__TRACE_READY:
		arrow_begin(json, tid, rec->a);
		return;
	case SPG__TRACE_SLEEP:
	case SPG__TRACE_AWAKE:
		on_sleep(json, tid, rec->kind == SPG__TRACE_SLEEP);
		return;
	case SPG__TRACE_SUBMIT:
		on_submit(json, tid, rec);
		return;
	case SPG__TRACE_COMPLETE:
		on_complete(json, tid, rec);
		return;
	case SPG__TRACE_CANCEL:
		on_cancel(json, tid, rec);
		return;
	default:
		on_instant(json, tid, rec);
		return;
	}
}

static struct spg__trace_rec *next_rec(const struct spg__trace_ring *ring, struct spg__trace_rec *rec)
{
	return rec + 1 != ring->end ? rec + 1 : ring->recs;
}

/* When the oldest record of a ring was; UINT64_MAX: there is none. */
static uint64_t oldest_ticks(struct spg__trace_json *json, unsigned tid)
{
	struct track *track = &json->tracks[tid];
	struct spg__trace_rec *rec = atomic_load_explicit(&ring_of(json, tid)->tail, memory_order_relaxed); /* our own */

	if (rec == track->head)
		return UINT64_MAX;
	return rec->ticks != 0 ? rec->ticks : track->last_ticks;
}

static void take(struct spg__trace_json *json, unsigned tid, uint64_t ticks)
{
	struct spg__trace_ring *ring = ring_of(json, tid);
	struct track *track = &json->tracks[tid];
	struct spg__trace_rec *raw = atomic_load_explicit(&ring->tail, memory_order_relaxed); /* our own */
	struct rec rec = {
		.kind = raw->kind,
		.sub = raw->sub,
		.how = raw->how,
		.a = raw->a,
		.b = raw->b,
	};
	/* Late ones are from before the last drain. */
	int64_t ns = json->from.ns + (int64_t)((double)(int64_t)(ticks - json->from.ticks) * json->ns_per_tick);

	/* release [TR-b]: the slot is free. */
	atomic_store_explicit(&ring->tail, next_rec(ring, raw), memory_order_release);
	if (ticks < json->start.ticks)
		return; /* TR3 */
	if (rec.kind == SPG__TRACE_LOST)
		close_slices(json, tid, NULL); /* at the last time known before the gap */
	track->last_ticks = ticks;
	track->last_ns = ns > track->last_ns ? ns : track->last_ns;
	handle(json, tid, &rec);
}

void spg__trace_json_drain(struct spg__trace_json *json, struct spg__trace_time now)
{
	json->ns_per_tick = (double)(now.ns - json->from.ns) / (double)(now.ticks - json->from.ticks);
	for (unsigned i = 0; i <= json->shards; i++) {
		struct spg__trace_ring *ring = ring_of(json, i);
		/* acquire [TR-c]. */
		struct spg__trace_rec *at = atomic_load_explicit(&ring->at, memory_order_acquire);

		json->tracks[i].head = at != ring->end ? at : ring->recs;
	}
	for (;;) {
		uint64_t oldest = UINT64_MAX;
		unsigned tid = 0;

		for (unsigned i = 0; i <= json->shards; i++) {
			uint64_t ticks = oldest_ticks(json, i);

			if (ticks < oldest) {
				oldest = ticks;
				tid = i;
			}
		}
		if (oldest > now.ticks)
			break;
		take(json, tid, oldest);
	}
	json->from = now;
}

static void metadata(struct spg__trace_json *json, const char *what, unsigned tid, const char *name)
{
	spg__out_text(json->out, tid == 0 && what[0] == 'p' ? "\n" : ",\n");
	spg__out_printf(json->out, "{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"%s\",\"args\":{\"name\":\"%s\"}}",
			json->pid, tid, what, name);
}

struct spg__trace_json *spg__trace_json_new(struct spg__out *out, unsigned shards, struct spg__trace_time start)
{
	struct spg__trace_json *json = spg__calloc(1, sizeof(*json));
	char name[32];

	if (json == NULL)
		return NULL;
	json->out = out;
	json->shards = shards;
	json->pid = (int)getpid();
	json->from = json->start = start;
	for (unsigned i = 0; i <= shards; i++)
		json->tracks[i] = (struct track){ .last_ns = start.ns, .last_ticks = start.ticks };
	spg__out_text(out, "{\"traceEvents\":[");
	metadata(json, "process_name", 0, "spg");
	for (unsigned i = 0; i < shards; i++) {
		snprintf(name, sizeof(name), "shard %u", i);
		metadata(json, "thread_name", i, name);
	}
	metadata(json, "thread_name", shards, "other threads");
	return json;
}

static void close_op(const void *nodep, VISIT which, void *closure)
{
	struct spg__trace_json *json = closure;

	if (which == leaf || which == postorder)
		op_close(json, *(struct known_op *const *)nodep, json->from.ns, "in flight");
}

void spg__trace_json_end(struct spg__trace_json *json)
{
	uint64_t lost = 0;

	for (unsigned i = 0; i <= json->shards; i++) {
		struct spg__trace_ring *ring = ring_of(json, i);

		uint64_t now = atomic_load_explicit(&ring->lost, memory_order_relaxed);

		lost += now - ring->lost_base;
		if (now != ring->lost_seen)
			close_slices(json, i, NULL);
		json->tracks[i].last_ns = json->from.ns;
		close_slices(json, i, "trace ends");
		if (now != ring->lost_seen)
			on_lost(json, i, now);
	}
	twalk_r(json->ops, close_op, json);
	spg__out_printf(json->out, "\n],\"displayTimeUnit\":\"ns\",\"otherData\":{\"version\":1,\"shards\":%u,\"lost\":%llu}}\n",
			json->shards, (unsigned long long)lost);
	tdestroy(json->ops, free);
	tdestroy(json->coros, free);
	spg__free(json);
}
