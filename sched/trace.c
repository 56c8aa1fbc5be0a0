#include "sched/trace.h"

#include "coro/alloc.h"

#include <string.h>
#include <sys/mman.h>

struct spg__trace spg__trace = { .events = SPG__TRACE_EVENTS };

/* Empty, and of that many records. Whatever is left there is for nobody. */
static void size_ring(struct spg__trace_ring *ring)
{
	ring->end = ring->recs + spg__trace.events;
	ring->limit = ring->recs;
	ring->gap = false;
	/* relaxed: nobody writes or reads. */
	atomic_store_explicit(&ring->at, ring->recs, memory_order_relaxed);
	atomic_store_explicit(&ring->tail, ring->recs, memory_order_relaxed);
}

void spg__trace_conf(unsigned events)
{
	spg__trace.events = events;
	for (unsigned i = 0; i <= SPG__SHARDS_MAX; i++) {
		if (spg__trace.rings[i].recs != NULL)
			size_ring(&spg__trace.rings[i]);
	}
}

static size_t ring_bytes(void)
{
	return spg__trace.events * sizeof(struct spg__trace_rec);
}

/* Mapped for the most records, so that the next runtime may have another number (TR3). */
static int map_ring(struct spg__trace_ring *ring)
{
	if (ring->recs != NULL)
		return 0;
	ring->recs = spg__map(SPG__TRACE_EVENTS_MAX * sizeof(struct spg__trace_rec));
	if (ring->recs == NULL)
		return -ENOMEM;
	size_ring(ring);
	return 0;
}

int spg__trace_map(unsigned shards)
{
	int err = map_ring(&spg__trace.rings[SPG__SHARDS_MAX]);

	for (unsigned i = 0; i < shards && err == 0; i++)
		err = map_ring(&spg__trace.rings[i]);
	return err;
}

/* The reader skips what is left of the trace before (TR3). */
static void reset(struct spg__trace_ring *ring)
{
	/* acquire: a late writer's record is whole. */
	struct spg__trace_rec *at = atomic_load_explicit(&ring->at, memory_order_acquire);

	/* release [TR-b]. */
	atomic_store_explicit(&ring->tail, at != ring->end ? at : ring->recs, memory_order_release);
	ring->lost_base = ring->lost_seen = atomic_load_explicit(&ring->lost, memory_order_relaxed);
	/* relaxed: published by [TR-a]; 0 is no session's. */
	if (atomic_fetch_add_explicit(&ring->session, 1, memory_order_relaxed) == UINT8_MAX)
		atomic_store_explicit(&ring->session, 1, memory_order_relaxed);
}

void spg__trace_on(unsigned shards)
{
	struct spg__trace_ring *foreign = &spg__trace.rings[SPG__SHARDS_MAX];

	for (unsigned i = 0; i < shards; i++) {
		reset(&spg__trace.rings[i]);
		/* release [TR-a]. */
		atomic_store_explicit(&spg__shard_at((int)i)->trace, &spg__trace.rings[i],
				      memory_order_release);
	}
	reset(foreign);
	atomic_store_explicit(&spg__trace.foreign, foreign, memory_order_release);
}

void spg__trace_off(unsigned shards)
{
	/* relaxed: a writer that does not see it yet writes on for a moment (TR3). */
	atomic_store_explicit(&spg__trace.foreign, NULL, memory_order_relaxed);
	for (unsigned i = 0; i < shards; i++)
		atomic_store_explicit(&spg__shard_at((int)i)->trace, NULL, memory_order_relaxed);
}

void spg__trace_trim(unsigned shards)
{
	for (unsigned i = 0; i < shards; i++)
		(void)madvise(spg__trace.rings[i].recs, ring_bytes(), MADV_DONTNEED);
	(void)madvise(spg__trace.rings[SPG__SHARDS_MAX].recs, ring_bytes(), MADV_DONTNEED);
}

static bool make_room(struct spg__trace_ring *ring)
{
	struct spg__trace_rec *at = atomic_load_explicit(&ring->at, memory_order_relaxed);
	/* acquire [TR-b]: the reader is done with the slots before it. */
	struct spg__trace_rec *tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	uint64_t lost = atomic_load_explicit(&ring->lost, memory_order_relaxed);
	ptrdiff_t room;

	if (at == ring->end) {
		at = ring->recs;
		/* relaxed: the same place to the reader. */
		atomic_store_explicit(&ring->at, at, memory_order_relaxed);
	}
	room = tail - at - 1;
	if (room < 0)
		room += ring->end - ring->recs;
	/* After a gap two must fit: the LOST, and the caller's. */
	if (room < (ring->gap ? 2 : 1)) {
		ring->limit = at; /* look again each time, as long as it is full */
		ring->gap = true;
		atomic_store_explicit(&ring->lost, lost + 1, memory_order_relaxed);
		return false;
	}
	ring->limit = room < ring->end - at ? at + room : ring->end;
	if (ring->gap) {
		ring->gap = false;
		spg__trace_put(ring, SPG__TRACE_LOST, lost, 0);
	}
	return true;
}

spg__noinline void spg__trace_put_slow(struct spg__trace_ring *ring, uint64_t ticks, uint64_t what, uint64_t a,
				       uint64_t b)
{
	if (make_room(ring))
		spg__trace_put_at(ring, ticks, what, a, b);
}

struct spg__trace_ring *spg__trace_take(struct spg__shard *self)
{
	if (self != NULL)
		return spg__trace_of(self);
	spg__lock(&spg__trace.foreign_lock);
	return atomic_load_explicit(&spg__trace.foreign, memory_order_acquire); /* [TR-a] */
}

void spg__trace_release(struct spg__shard *self)
{
	if (self == NULL)
		spg__unlock(&spg__trace.foreign_lock);
}

void spg__trace_put_any(struct spg__shard *self, uint64_t what, uint64_t a, uint64_t b)
{
	struct spg__trace_ring *ring = spg__trace_take(self);

	if (ring != NULL)
		spg__trace_put(ring, what, a, b);
	spg__trace_release(self);
}

_Static_assert(SPG__CORO_NAME_MAX == 2 * sizeof(uint64_t), "two words");

/* Once a trace: the name, for the reader's list. */
static spg__noinline void put_name(struct spg__trace_ring *ring, struct spg__coro *coro)
{
	uint8_t session = atomic_load_explicit(&ring->session, memory_order_relaxed);
	uint64_t words[2];

	if (coro->trace_named == session)
		return;

	memcpy(words, coro->name, sizeof(words));
	coro->trace_named = session;
	spg__trace_put_at(ring, 0, SPG__TRACE_NAME, words[0], words[1]);
}

spg__noinline void spg__trace_switch(struct spg__shard *shard)
{
	struct spg__trace_ring *ring = shard->tracing;
	struct spg__coro *left = shard->leaving, *now = shard->current;
	uint64_t what = SPG__TRACE_WHAT(SPG__TRACE_RUN, 0, SPG__TRACE_FROM_LOOP);

	/* relaxed: its own, and it stands. */
	if (left != NULL)
		what = SPG__TRACE_WHAT(SPG__TRACE_RUN,
				       atomic_load_explicit(&left->waiter.reason, memory_order_relaxed),
				       shard->commit);
	if (now != NULL && now->name[0] != '\0')
		put_name(ring, now);
	spg__trace_put(ring, what, now != NULL ? now->id : 0, now != NULL ? (uint64_t)(uintptr_t)now->fn : 0);
}

static spg__noinline struct spg__transfer jump_slow(void *to, struct spg__shard *shard)
{
	spg__trace_switch(shard);
	return spg__jump(to, shard);
}

/* The record made most often, from one coroutine to another. It calls nothing, so it saves no registers. */
struct spg__transfer spg__trace_jump(void *to, void *arg)
{
	struct spg__shard *shard = arg;
	struct spg__trace_ring *ring = shard->tracing;
	const struct spg__coro *now = shard->current;
	struct spg__trace_rec *rec = atomic_load_explicit(&ring->at, memory_order_relaxed);

	_Static_assert(offsetof(struct spg__coro, fn) == offsetof(struct spg__coro, id) + sizeof(now->id) &&
			       offsetof(struct spg__trace_rec, b) == offsetof(struct spg__trace_rec, a) + sizeof(rec->a),
		       "copied together");
	if (spg__unlikely(now == NULL || now->name[0] != '\0' || rec == ring->limit))
		return jump_slow(to, shard);
	rec->ticks = spg__trace_ticks();
	rec->kind = SPG__TRACE_RUN;
	rec->sub = atomic_load_explicit(&shard->leaving->waiter.reason, memory_order_relaxed);
	rec->how = (int32_t)shard->commit;
	memcpy(&rec->a, &now->id, sizeof(rec->a) + sizeof(rec->b));
	/* release [TR-c]. */
	atomic_store_explicit(&ring->at, rec + 1, memory_order_release);
	return spg__jump(to, shard);
}

struct spg__transfer spg__watched_jump(void *to, void *arg)
{
	struct spg__shard *shard = arg;

	spg__sched.conf.leaves(shard->leaving, shard->commit);
	return shard->tracing != NULL ? spg__trace_jump(to, shard) : spg__jump(to, shard);
}
