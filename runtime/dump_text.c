#include "runtime/dump.h"

#include "coro/clock.h"
#include "io/op.h"

#include <stdio.h>
#include <string.h>

/* Ids or ranges of a group, at most; the number of the others follows. */
#define IDS_MAX 64
/* How long somebody has run is said from here on: passes are short. */
#define RUNNING_NS ((int64_t)10 * 1000000)

const char *spg__dump_time(char buf[SPG__TIME_TEXT], int64_t ns)
{
	long long n = ns > 0 ? ns : 0;

	if (n < 1000000)
		snprintf(buf, SPG__TIME_TEXT, "%lldus", n / 1000);
	else if (n < 1000000000)
		snprintf(buf, SPG__TIME_TEXT, "%lldms", n / 1000000);
	else if (n < 60000000000)
		snprintf(buf, SPG__TIME_TEXT, "%lld.%llds", n / 1000000000, n / 100000000 % 10);
	else if (n < 3600000000000)
		snprintf(buf, SPG__TIME_TEXT, "%lldm%llds", n / 60000000000, n / 1000000000 % 60);
	else
		snprintf(buf, SPG__TIME_TEXT, "%lldh%lldm", n / 3600000000000, n / 60000000000 % 60);
	return buf;
}

static void put_part(struct spg__out *out, const char *text, size_t len)
{
	char part[128];

	len = len < sizeof(part) - 1 ? len : sizeof(part) - 1;
	memcpy(part, text, len);
	part[len] = '\0';
	spg__out_text(out, part);
}

void spg__dump_place(struct spg__out *out, struct spg__symbols *symbols, const void *pc, bool is_call)
{
	struct spg__symbol symbol;

	/* The call's own last byte: a call that never returns may end its function. */
	spg__symbols_find(symbols, (const char *)pc - (is_call ? 1 : 0), &symbol);
	if (symbol.name != NULL) {
		put_part(out, symbol.name, symbol.name_len);
		if (is_call) {
			spg__out_text(out, "+");
			spg__out_hex(out, symbol.offset + 1);
		}
		spg__out_text(out, " ");
	}
	if (symbol.path == NULL) {
		spg__out_hex(out, (uintptr_t)pc);
		return;
	}
	spg__out_text(out, symbol.name != NULL ? "(" : "");
	spg__out_text(out, symbol.path);
	spg__out_text(out, "+");
	spg__out_hex(out, symbol.file_addr);
	spg__out_text(out, symbol.name != NULL ? ")" : "");
}

static bool begins(const struct spg__symbol *symbol, const char *text)
{
	return symbol->name != NULL && symbol->name_len > strlen(text) &&
	       strncmp(symbol->name, text, strlen(text)) == 0;
}

static bool is_named(const struct spg__symbol *symbol, const char *name)
{
	return symbol->name != NULL && symbol->name_len == strlen(name) &&
	       strncmp(symbol->name, name, symbol->name_len) == 0;
}

/* The call that the user made, or else what is not surely ours. */
static unsigned innermost(struct spg__symbols *symbols, const void *const *frames, unsigned depth)
{
	unsigned ours = 0;

	for (unsigned i = 0; i < depth; i++) {
		struct spg__symbol symbol;

		spg__symbols_find(symbols, (const char *)frames[i] - 1, &symbol);
		if (begins(&symbol, "spg_") && !begins(&symbol, "spg__"))
			return i;
		if (ours == i && begins(&symbol, "spg__"))
			ours++;
	}
	return ours < depth ? ours : 0;
}

/* How many frames are left without those that every coroutine begins with. */
static unsigned outermost(struct spg__symbols *symbols, const void *const *frames, unsigned depth)
{
	while (depth > 0) {
		struct spg__symbol symbol;

		spg__symbols_find(symbols, (const char *)frames[depth - 1] - 1, &symbol);
		if (!is_named(&symbol, "coro_entry") && !is_named(&symbol, "make_fcontext"))
			break;
		depth--;
	}
	return depth;
}

void spg__dump_frames(struct spg__out *out, struct spg__symbols *symbols, const void *const *frames,
		      unsigned depth, bool waits)
{
	unsigned end = outermost(symbols, frames, depth);

	for (unsigned i = waits ? innermost(symbols, frames, end) : 0; i < end; i++) {
		spg__out_text(out, "\t");
		spg__dump_place(out, symbols, frames[i], true);
		spg__out_text(out, "\n");
	}
	if (depth == SPG__FRAMES_MAX)
		spg__out_text(out, "\t...\n");
}

/* Heapsort: qsort(3) may call malloc, and a million equal keys are no worst case here. */
static void sort(uint32_t *at, uint32_t n, bool (*less)(const struct spg__dump *, uint32_t, uint32_t),
		 const struct spg__dump *dump)
{
	for (uint32_t start = n / 2, end = n; end > 1;) {
		uint32_t root, child, moved;

		if (start > 0) {
			start--;
		} else {
			end--;
			moved = at[end];
			at[end] = at[0];
			at[0] = moved;
		}
		moved = at[start];
		for (root = start; (child = 2 * root + 1) < end; root = child) {
			if (child + 1 < end && less(dump, at[child], at[child + 1]))
				child++;
			if (!less(dump, moved, at[child]))
				break;
			at[root] = at[child];
		}
		at[root] = moved;
	}
}

/* Who runs first, then large groups before small ones. */
static bool group_less(const struct spg__dump *dump, uint32_t a, uint32_t b)
{
	const struct spg__dump_group *x = &dump->groups[a], *y = &dump->groups[b];

	if (x->rest != y->rest)
		return x->rest < y->rest;
	if (x->count != y->count)
		return x->count > y->count;
	return x->first_id < y->first_id;
}

static bool rec_less(const struct spg__dump *dump, uint32_t a, uint32_t b)
{
	const struct spg__dump_rec *x = &dump->recs[a], *y = &dump->recs[b];

	return x->group != y->group ? dump->rank[x->group] < dump->rank[y->group] : x->id < y->id;
}

static void sort_all(struct spg__dump *dump)
{
	/* order serves for the groups first. */
	for (uint32_t i = 0; i < dump->groups_count; i++)
		dump->order[i] = i;
	sort(dump->order, dump->groups_count, group_less, dump);
	for (uint32_t i = 0; i < dump->groups_count; i++)
		dump->rank[dump->order[i]] = i;
	for (uint32_t i = 0; i < dump->recs_count; i++)
		dump->order[i] = i;
	sort(dump->order, dump->recs_count, rec_less, dump);
}

static void put_state(struct spg__out *out, const struct spg__dump_group *group)
{
	static const char *const rests[] = {
		[SPG__REST_RUNNING] = "running",
		[SPG__REST_RUNNABLE] = "runnable",
		[SPG__REST_PARKED] = "parked",
		[SPG__REST_NEW] = "new",
	};

	if (group->rest != SPG__REST_PARKED || group->reason == SPG__REASON_NONE)
		spg__out_text(out, rests[group->rest]);
	else
		spg__out_text(out, spg__reason_name(group->reason));
	/* Opcode 0 stands for none. */
	if (group->reason == SPG__REASON_IO && group->opcode != 0) {
		spg__out_text(out, " ");
		spg__out_text(out, spg__op_name(group->opcode));
	}
}

static void put_id(struct spg__out *out, const char *before, int64_t id)
{
	if (id == 0)
		return;
	spg__out_text(out, before);
	spg__out_i64(out, id);
}

static void put_due(struct spg__out *out, int64_t due_ns, int64_t now_ns)
{
	char text[SPG__TIME_TEXT];

	if (due_ns == SPG__NEVER) {
		spg__out_text(out, ", never due");
		return;
	}
	spg__out_text(out, ", due in ");
	spg__out_text(out, spg__dump_time(text, due_ns - now_ns));
}

static void put_address(struct spg__out *out, const char *before, const void *object)
{
	spg__out_text(out, before);
	spg__out_hex(out, (uintptr_t)object);
}

/* The object waited on, for a coroutine alone or a group that shares it. */
static void put_object(struct spg__out *out, unsigned reason, const struct spg__dump_rec *rec, int64_t now_ns)
{
	switch (reason) {
	case SPG__REASON_NONE:
		break;
	case SPG__REASON_SLEEP:
		put_due(out, rec->detail, now_ns);
		break;
	case SPG__REASON_TIMER:
		put_address(out, " ", rec->object);
		put_due(out, rec->detail, now_ns);
		break;
	case SPG__REASON_SELECT:
		spg__out_printf(out, ", %llu cases", (unsigned long long)(uintptr_t)rec->object);
		break;
	case SPG__REASON_IO:
	case SPG__REASON_CLOSE:
		if (spg__op_object_fd(rec->object) >= 0)
			spg__out_printf(out, ", fd %d", spg__op_object_fd(rec->object));
		break;
	case SPG__REASON_MUTEX:
		put_address(out, " ", rec->object);
		put_id(out, ", held by coroutine ", rec->detail);
		break;
	case SPG__REASON_JOIN:
		put_id(out, ", coroutine ", rec->detail);
		break;
	default:
		if (rec->object != NULL)
			put_address(out, " ", rec->object);
	}
}

struct span {
	int64_t since_min, since_max;
	bool same_object, same_shard;
};

static struct span span_of(const struct spg__dump *dump, const uint32_t *order, uint32_t count)
{
	const struct spg__dump_rec *first = &dump->recs[order[0]];
	struct span span = { first->since_ns, first->since_ns, true, true };

	for (uint32_t i = 1; i < count; i++) {
		const struct spg__dump_rec *rec = &dump->recs[order[i]];

		span.since_min = rec->since_ns < span.since_min ? rec->since_ns : span.since_min;
		span.since_max = rec->since_ns > span.since_max ? rec->since_ns : span.since_max;
		span.same_object &= rec->object == first->object;
		span.same_shard &= rec->shard == first->shard;
	}
	return span;
}

static void put_waiting(struct spg__out *out, const struct span *span, int64_t now_ns)
{
	char low[SPG__TIME_TEXT], high[SPG__TIME_TEXT];

	spg__dump_time(low, now_ns - span->since_max);
	spg__dump_time(high, now_ns - span->since_min);
	spg__out_text(out, ", ");
	spg__out_text(out, low);
	if (strcmp(low, high) != 0) {
		spg__out_text(out, " to ");
		spg__out_text(out, high);
	}
}

static void put_running(struct spg__out *out, const struct spg__dump_rec *rec, int64_t now_ns)
{
	char text[SPG__TIME_TEXT];

	if (rec->shard < 0 || now_ns - rec->since_ns < RUNNING_NS)
		return;
	spg__out_text(out, ", ");
	spg__out_text(out, spg__dump_time(text, now_ns - rec->since_ns));
}

/* "[chan receive 0x7f..., 3.2s, shard 1]:" */
static void put_brackets(struct spg__dump *dump, const struct spg__dump_group *group, const uint32_t *order)
{
	const struct spg__dump_rec *first = &dump->recs[order[0]];
	struct span span = span_of(dump, order, group->count);
	struct spg__out *out = &dump->out;

	spg__out_text(out, " [");
	put_state(out, group);
	if (span.same_object && group->rest == SPG__REST_PARKED)
		put_object(out, group->reason, first, dump->now_ns);
	if (group->rest == SPG__REST_PARKED)
		put_waiting(out, &span, dump->now_ns);
	if (span.same_shard && first->shard >= 0)
		spg__out_printf(out, ", shard %d", first->shard);
	if (group->rest == SPG__REST_RUNNING)
		put_running(out, first, dump->now_ns);
	spg__out_text(out, "]:\n");
}

static void put_name(struct spg__out *out, const char *name)
{
	if (name[0] == '\0')
		return;
	spg__out_text(out, " ");
	spg__out_json_string(out, name);
}

/* "ids 18 "one", 20-1017": ranges of those without names. */
static void put_ids(struct spg__dump *dump, const uint32_t *order, uint32_t count)
{
	struct spg__out *out = &dump->out;
	unsigned items = 0;

	spg__out_text(out, "\tids ");
	for (uint32_t i = 0, next; i < count; i = next) {
		const struct spg__dump_rec *rec = &dump->recs[order[i]];

		if (items++ == IDS_MAX) {
			spg__out_printf(out, " and %u more", count - i);
			break;
		}
		for (next = i + 1; next < count && rec->name[0] == '\0'; next++) {
			const struct spg__dump_rec *after = &dump->recs[order[next]];

			if (after->id != rec->id + (next - i) || after->name[0] != '\0')
				break;
		}
		spg__out_text(out, i > 0 ? ", " : "");
		spg__out_u64(out, rec->id);
		if (next > i + 1)
			spg__out_printf(out, "-%llu", (unsigned long long)(rec->id + (next - i) - 1));
		put_name(out, rec->name);
	}
	spg__out_text(out, "\n");
}

static void put_group(struct spg__dump *dump, const struct spg__dump_group *group, const uint32_t *order)
{
	struct spg__out *out = &dump->out;

	if (group->count == 1) {
		spg__out_text(out, "\ncoroutine ");
		spg__out_u64(out, dump->recs[order[0]].id);
		put_name(out, dump->recs[order[0]].name);
	} else {
		spg__out_printf(out, "\n%u coroutines", group->count);
	}
	put_brackets(dump, group, order);
	if (group->count > 1)
		put_ids(dump, order, group->count);
	spg__dump_frames(out, &dump->symbols, group->frames, group->depth, group->rest != SPG__REST_RUNNING);
	spg__out_text(out, "\tfunction ");
	spg__dump_place(out, &dump->symbols, group->fn, false);
	if (group->creator != NULL) {
		spg__out_text(out, "\n\tcreated by ");
		spg__dump_place(out, &dump->symbols, group->creator, true);
	}
	spg__out_text(out, "\n");
}

void spg__dump_text(struct spg__dump *dump)
{
	struct spg__out *out = &dump->out;
	uint64_t all = dump->recs_count + dump->left_out;

	sort_all(dump);
	spg__out_printf(out, "spg: %llu coroutine%s, %u shard%s\n", (unsigned long long)all, all == 1 ? "" : "s",
			dump->shards, dump->shards == 1 ? "" : "s");
	for (uint32_t i = 0; i < dump->recs_count && out->err == 0;) {
		const struct spg__dump_group *group = &dump->groups[dump->recs[dump->order[i]].group];

		put_group(dump, group, &dump->order[i]);
		i += group->count;
	}
	if (dump->left_out > 0)
		spg__out_printf(out, "\n%llu coroutines more, of too many kinds to show\n",
				(unsigned long long)dump->left_out);
}
