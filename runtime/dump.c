#include "runtime/dump.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "coro/peek.h"
#include "io/op.h"
#include "runtime/spawn.h"
#include "runtime/sync.h"
#include "runtime/task.h"
#include "sched/sample.h"

#include <spg/debug.h>
#include <spg/runtime.h>

#include <poll.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 65536u
/* How long the thread of a running coroutine may take to tell where it is. */
#define SAMPLE_NS ((int64_t)100 * 1000000)
/* Born while we collect. */
#define SPARE 1024u

static int kick_signal;

void spg__dump_conf(int signal)
{
	kick_signal = signal;
}

/* The next part of the mapping. */
static void *take(char **at, size_t bytes)
{
	void *part = *at;

	*at += (bytes + SPG__CACHELINE - 1) & ~(size_t)(SPG__CACHELINE - 1);
	return part;
}

static struct spg__dump *dump_new(uint64_t live)
{
	struct spg__dump sizes, *dump;
	size_t bytes;
	char *at;

	sizes.recs_max = live + SPARE < UINT32_MAX / 2 ? (uint32_t)(live + SPARE) : UINT32_MAX / 2;
	sizes.groups_max = sizes.recs_max < GROUPS_MAX ? sizes.recs_max : GROUPS_MAX;
	bytes = sizeof(*dump) + sizes.recs_max * (sizeof(struct spg__dump_rec) + sizeof(uint32_t)) +
		sizes.groups_max * (sizeof(struct spg__dump_group) + sizeof(uint32_t)) +
		(GROUPS_MAX * 2 + 64) * sizeof(uint32_t) + 8 * SPG__CACHELINE;
	dump = spg__map(bytes);
	if (dump == NULL)
		return NULL;
	at = (char *)dump;
	(void)take(&at, sizeof(*dump));
	dump->bytes = bytes;
	dump->recs_max = sizes.recs_max;
	dump->groups_max = sizes.groups_max;
	dump->recs = take(&at, dump->recs_max * sizeof(*dump->recs));
	dump->groups = take(&at, dump->groups_max * sizeof(*dump->groups));
	dump->order = take(&at, dump->recs_max * sizeof(*dump->order));
	dump->rank = take(&at, dump->groups_max * sizeof(*dump->rank));
	dump->buckets = take(&at, GROUPS_MAX * 2 * sizeof(*dump->buckets));
	dump->buckets_mask = GROUPS_MAX * 2 - 1;
	SPG_CHECK(at <= (char *)dump + bytes);
	return dump;
}

void spg__dump_free(struct spg__dump *dump)
{
	spg__symbols_fini(&dump->symbols);
	spg__unmap(dump, dump->bytes);
}

const void *spg__dump_entry(const void *fn, const void *arg)
{
	static const struct spg__wrapper *const wrappers[] = { &spg__wrapper_task, &spg__wrapper_group,
							       &spg__wrapper_main };
	const void *inner;

	for (size_t i = 0; i < sizeof(wrappers) / sizeof(wrappers[0]); i++) {
		if (fn == *(const void *const *)(const void *)&wrappers[i]->fn &&
		    spg__peek((const char *)arg + wrappers[i]->at, &inner, sizeof(inner)))
			return inner;
	}
	return fn;
}

/* The owner's id, 0: nobody's. */
static uint64_t mutex_owner(const void *mutex)
{
	struct spg__coro owner;
	uintptr_t word;

	if (!spg__peek(mutex, &word, sizeof(word)) || (word & SPG__MUTEX_OWNER) == 0)
		return 0;
	word = (word & SPG__MUTEX_OWNER) - offsetof(struct spg__coro, waiter);
	if (!spg__peek((const void *)word, &owner, sizeof(owner)) || owner.waiter.kind != SPG__WAITER_CORO)
		return 0;
	return owner.id;
}

static int64_t detail(const struct spg__look *look)
{
	const struct spg_task *task = look->object;
	int64_t value = 0;

	switch (look->reason) {
	case SPG__REASON_SLEEP:
		return (int64_t)(intptr_t)look->object;
	case SPG__REASON_TIMER:
		return spg__peek(look->object, &value, sizeof(value)) ? value : 0;
	case SPG__REASON_MUTEX:
		return (int64_t)mutex_owner(look->object);
	case SPG__REASON_JOIN:
		return spg__peek(&task->coro_id, &value, sizeof(value)) ? value : 0;
	default:
		return 0;
	}
}

/* A running coroutine of another thread: asked for its trace. */
static void sample(struct spg__look *look)
{
	struct spg__sample sample;

	if (look->shard < 0 || look->depth > 0 ||
	    !spg__sample(spg__shard_at(look->shard), kick_signal, SAMPLE_NS, &sample) || sample.id != look->id)
		return;
	look->depth = sample.depth;
	memcpy(look->frames, sample.frames, sample.depth * sizeof(sample.frames[0]));
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
	return hash ^ hash >> 29;
}

static void key_of(const struct spg__look *look, struct spg__dump_group *key)
{
	key->fn = spg__dump_entry(look->fn, look->arg);
	key->creator = look->creator;
	key->rest = look->rest;
	key->reason = look->reason;
	key->opcode = look->reason == SPG__REASON_IO ? (uint16_t)spg__op_object_opcode(look->object) : 0;
	/* Who runs is an entry of its own, with its shard. */
	key->shard = look->rest == SPG__REST_RUNNING ? (int16_t)look->shard : -1;
	key->depth = look->depth;
	memcpy(key->frames, look->frames, look->depth * sizeof(look->frames[0]));
	key->hash = mix(mix(mix(key->rest, key->reason), key->opcode), (uintptr_t)key->fn);
	key->hash = mix(key->hash, (uint64_t)key->shard);
	for (unsigned i = 0; i < key->depth; i++)
		key->hash = mix(key->hash, (uintptr_t)key->frames[i]);
}

static bool key_same(const struct spg__dump_group *a, const struct spg__dump_group *b)
{
	return a->hash == b->hash && a->fn == b->fn && a->shard == b->shard && a->rest == b->rest &&
	       a->reason == b->reason && a->opcode == b->opcode && a->depth == b->depth &&
	       memcmp(a->frames, b->frames, a->depth * sizeof(a->frames[0])) == 0;
}

/* The group's number, or groups_max: too many. The next free group serves as the key. */
static uint32_t group_of(struct spg__dump *dump)
{
	struct spg__dump_group *key = &dump->groups[dump->groups_count];
	uint32_t at;

	if (dump->groups_count == dump->groups_max)
		return dump->groups_max;
	key_of(&dump->look, key);
	for (at = (uint32_t)key->hash & dump->buckets_mask; dump->buckets[at] != 0;
	     at = (at + 1) & dump->buckets_mask) {
		if (key_same(key, &dump->groups[dump->buckets[at] - 1]))
			return dump->buckets[at] - 1;
	}
	key->count = 0;
	key->first_id = UINT64_MAX;
	dump->buckets[at] = ++dump->groups_count;
	return dump->groups_count - 1;
}

static void visit(struct spg__coro *coro, void *arg)
{
	struct spg__dump *dump = arg;
	struct spg__look *look = &dump->look;
	struct spg__dump_group *group;
	struct spg__dump_rec *rec;
	unsigned depth = 0;
	uint32_t number;

	if (!spg__look(coro, look))
		return;
	if (look->rest == SPG__REST_RUNNING)
		sample(look);
	/* What is no code is a frame pointer that was something else. */
	while (depth < look->depth && spg__symbols_code(&dump->symbols, look->frames[depth]))
		depth++;
	look->depth = depth;
	number = dump->recs_count < dump->recs_max ? group_of(dump) : dump->groups_max;
	if (number == dump->groups_max) {
		dump->left_out++;
		return;
	}
	group = &dump->groups[number];
	group->count++;
	if (group->creator != look->creator)
		group->creator = NULL;
	if (look->id < group->first_id)
		group->first_id = look->id;
	rec = &dump->recs[dump->recs_count++];
	*rec = (struct spg__dump_rec){ .id = look->id,
				       .object = look->object,
				       .detail = detail(look),
				       .since_ns = look->since_ns,
				       .group = number,
				       .shard = (int16_t)look->shard };
	memcpy(rec->name, look->name, sizeof(rec->name));
}

struct spg__dump *spg__dump_collect(void)
{
	struct spg__dump *dump = dump_new(spg__coros_live());

	if (dump == NULL)
		return NULL;
	dump->shards = spg__sched.conf.shards;
	spg__symbols_init(&dump->symbols);
	spg__coro_each(visit, dump);
	dump->now_ns = spg__clock_ns();
	return dump;
}

int spg__dump_write_plain(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		struct pollfd wait = { .fd = fd, .events = POLLOUT };
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EAGAIN)
			(void)poll(&wait, 1, -1);
		else if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int spg__dump(int fd, int (*write)(int fd, const void *data, size_t len))
{
	struct spg__shard *self = spg__shard_self();
	struct spg__dump *dump;
	int err;

	if (self == NULL && spg__shard_enter_foreign() == NULL)
		return -ESRCH;
	dump = spg__dump_collect();
	if (self == NULL)
		spg__shard_leave_foreign();
	if (dump == NULL)
		return -ENOMEM;
	dump->out.fd = fd;
	dump->out.write = write;
	spg__dump_text(dump);
	spg__out_flush(&dump->out);
	err = dump->out.err;
	spg__dump_free(dump);
	return err;
}

int spg_dump(int fd)
{
	/* A shard's loop itself cannot park. */
	bool loop = spg__shard_self() != NULL && spg__coro_self() == NULL;

	return spg__dump(fd, loop ? spg__dump_write_plain : spg__out_write);
}
