#include "sched/trace.h"

#include "coro/alloc.h"

#include <string.h>
#include <sys/mman.h>

struct spg__trace spg__trace = { .events = SPG__TRACE_EVENTS };

void spg__trace_conf(unsigned events)
{
	spg__trace.events = events;
	/* Whatever is left there is for nobody. */
	for (unsigned i = 0; i <= SPG__SHARDS_MAX; i++) {
		struct spg__trace_ring *ring = &spg__trace.rings[i];

		ring->mask = (events - 1) * SPG__TRACE_STEP;
		ring->limit = atomic_load_explicit(&ring->head, memory_order_relaxed);
		ring->gap = false;
	}
}

static size_t ring_bytes(void)
{
	return spg__trace.events * SPG__TRACE_STEP;
}

/* Mapped for the most records, so that the next runtime may have another number (TR3). */
static int map_ring(struct spg__trace_ring *ring)
{
	if (ring->recs == NULL)
		ring->recs = spg__map(SPG__TRACE_EVENTS_MAX * SPG__TRACE_STEP);
	return ring->recs == NULL ? -ENOMEM : 0;
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
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);

	/* release [TR-b]. */
	atomic_store_explicit(&ring->tail, head, memory_order_release);
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
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint64_t lost = atomic_load_explicit(&ring->lost, memory_order_relaxed);
	/* acquire [TR-b]: the reader is done with the slots before it. */
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);

	/* After a gap two must fit: the LOST, and the caller's. */
	ring->limit = tail + ring->mask + SPG__TRACE_STEP;
	if (ring->limit - head < (ring->gap ? 2 : 1) * SPG__TRACE_STEP) {
		ring->limit = head; /* look again each time, as long as it is full */
		ring->gap = true;
		atomic_store_explicit(&ring->lost, lost + 1, memory_order_relaxed);
		return false;
	}
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

spg__noinline void spg__trace_run(struct spg__trace_ring *ring, struct spg__coro *left, enum spg__commit how,
				  struct spg__coro *now)
{
	uint64_t what = SPG__TRACE_WHAT(SPG__TRACE_RUN, 0, SPG__TRACE_FROM_LOOP);

	/* relaxed: its own, and it stands. */
	if (left != NULL)
		what = SPG__TRACE_WHAT(SPG__TRACE_RUN,
				       atomic_load_explicit(&left->waiter.reason, memory_order_relaxed), how);
	if (now == NULL) {
		spg__trace_put(ring, what, 0, 0);
		return;
	}
	if (spg__unlikely(now->name[0] != '\0'))
		put_name(ring, now);
	spg__trace_put(ring, what, now->id, (uint64_t)(uintptr_t)now->fn);
}
