/*
 * The trace's recording side: what happens goes into rings in memory, one for each shard
 * and one for all other threads. Compiled in always; while no trace goes on a place that
 * records costs a load and a branch.
 *
 * TR1  A ring has one writer (the shard's thread; the others' ring has a lock) and one
 *      reader (the thread of runtime/trace.c). The writer stores head, the reader tail.
 * TR2  A record that does not fit is dropped and counted; before the next one that fits
 *      comes a LOST, so the reader knows where records are missing.
 * TR3  Rings are mapped when the first trace starts, and never unmapped: a writer that saw
 *      the trace go on may still write after its end. Such a record is older than the next
 *      trace's start, by which its reader drops it.
 * TR4  A record's time is read after what it tells of became visible to the writer, and
 *      before anybody can act on it through the writer. So all records sorted by time are in
 *      an order of cause and effect, as far as the CPUs' clocks agree.
 * TR5  Signal handlers record nothing.
 */
#ifndef SPG__SCHED_TRACE_H
#define SPG__SCHED_TRACE_H

#include "sched/shard.h"

enum spg__trace_kind {
	SPG__TRACE_LOST,     /* a: how many since the process began */
	SPG__TRACE_SPAWN,    /* a: id, b: function, how: pinned to, or -1 */
	SPG__TRACE_RUN,	     /* a: id, or 0: the loop; b: function; how the one before left, and sub: its reason */
	SPG__TRACE_NAME,     /* of the one in the RUN that follows: a, b: its bytes */
	SPG__TRACE_READY,    /* a: id */
	SPG__TRACE_STEAL,    /* a: from whom, b: how many */
	SPG__TRACE_WAKE,     /* a: which shard */
	SPG__TRACE_KICK,     /* a: which shard */
	SPG__TRACE_TIMERS,   /* a: how many fired */
	SPG__TRACE_SLEEP,    /* the shard does */
	SPG__TRACE_AWAKE,
	SPG__TRACE_SUBMIT,   /* a: user_data, b: the SQE's first 8 bytes; by the one that runs */
	SPG__TRACE_COMPLETE, /* a: user_data, b: the CQE's last 8 bytes; marks too */
	SPG__TRACE_CANCEL,   /* a: user_data */
};

/* Beside enum spg__commit: nobody left, the loop begins a pass. */
#define SPG__TRACE_FROM_LOOP (SPG__COMMIT_END + 1)

struct spg__trace_rec {
	/* 0: the time of the next record of the ring that has one. */
	uint64_t ticks;
	/* SPG__TRACE_WHAT: one store. */
	uint64_t what;
	uint64_t a, b;
};
_Static_assert(sizeof(struct spg__trace_rec) == 32, "two a cache line");

/* Positions in a ring count bytes, so that one addition finds the record. */
#define SPG__TRACE_STEP sizeof(struct spg__trace_rec)

struct spg__trace_ring {
	/* The writer's. limit: head must not pass it, by the last look at tail. */
	alignas(SPG__CACHELINE) char *recs;
	uint64_t mask;
	_Atomic uint64_t head;
	uint64_t limit;
	_Atomic uint64_t lost;
	bool gap;
	/* Of the trace: tells whose names are known. Written before the ring is published. */
	_Atomic uint8_t session;
	/* The reader's. */
	alignas(SPG__CACHELINE) _Atomic uint64_t tail;
	/* lost, as the trace before left it, and as told so far. */
	uint64_t lost_base, lost_seen;
};

#define SPG__TRACE_EVENTS_MIN 64u
#define SPG__TRACE_EVENTS_MAX (1u << 22)
#define SPG__TRACE_EVENTS 65536u

struct spg__trace {
	/* Set before shards run: how many records a ring holds, a power of two. */
	unsigned events;
	/* The other threads' ring, or NULL: off. */
	_Atomic(struct spg__trace_ring *) foreign;
	struct spg__lock foreign_lock;
	/* By shard; the last one is the others'. */
	struct spg__trace_ring rings[SPG__SHARDS_MAX + 1];
};
extern struct spg__trace spg__trace;

/*
 * A clock that all CPUs share and that costs little; its unit is found by comparing
 * (runtime/trace.c). The fence: it is read after the loads before it (TR4).
 */
static inline uint64_t spg__trace_ticks(void)
{
#if defined(__x86_64__)
	__builtin_ia32_lfence();
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	return ticks;
#else
#error "no clock for the trace"
#endif
}

/* The ring of a shard's own thread while a trace goes on, else NULL. */
static inline struct spg__trace_ring *spg__trace_of(struct spg__shard *shard)
{
	/* acquire [TR-a]: the ring as spg__trace_on left it. */
	return atomic_load_explicit(&shard->trace, memory_order_acquire);
}

#define SPG__TRACE_WHAT(kind, sub, how) ((uint32_t)(kind) | (uint32_t)(sub) << 8 | (uint32_t)(how) << 16)

/* At the ring's limit: makes room, or drops the record and counts it (TR2). */
void spg__trace_put_slow(struct spg__trace_ring *ring, uint64_t ticks, uint64_t what, uint64_t a, uint64_t b);

/* Records. The ring's writer only. */
static inline void spg__trace_put_at(struct spg__trace_ring *ring, uint64_t ticks, uint64_t what, uint64_t a,
				     uint64_t b)
{
	/* relaxed: our own. */
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	struct spg__trace_rec *rec;

	if (spg__unlikely(head == ring->limit)) {
		spg__trace_put_slow(ring, ticks, what, a, b);
		return;
	}
	rec = (struct spg__trace_rec *)(void *)(ring->recs + (head & ring->mask));
	rec->ticks = ticks;
	rec->what = what;
	rec->a = a;
	rec->b = b;
	/* release [TR-c]: the record; pairs with the reader. */
	atomic_store_explicit(&ring->head, head + SPG__TRACE_STEP, memory_order_release);
}

static inline void spg__trace_put(struct spg__trace_ring *ring, uint64_t what, uint64_t a, uint64_t b)
{
	spg__trace_put_at(ring, spg__trace_ticks(), what, a, b);
}

/* The same from any thread; self: its shard, or NULL. */
void spg__trace_put_any(struct spg__shard *self, uint64_t what, uint64_t a, uint64_t b);

static inline bool spg__trace_any(struct spg__shard *self)
{
	/* relaxed: spg__trace_put_any looks again. */
	return self != NULL ? atomic_load_explicit(&self->trace, memory_order_relaxed) != NULL :
			      atomic_load_explicit(&spg__trace.foreign, memory_order_relaxed) != NULL;
}

/*
 * A switch: who left, and how; NULL: the loop. Who runs now; NULL: the loop. Out of line, so
 * that the path without a trace stays small.
 */
void spg__trace_run(struct spg__trace_ring *ring, struct spg__coro *left, enum spg__commit how,
		    struct spg__coro *now);

/* A shard's own ring, or for self == NULL the others', locked; NULL: off. Then release it. */
struct spg__trace_ring *spg__trace_take(struct spg__shard *self);
void spg__trace_release(struct spg__shard *self);

/* How many records a ring holds, a power of two. While no shard runs. */
void spg__trace_conf(unsigned events);

/* Maps the rings of that many shards and the others'. 0 or -ENOMEM. The starter only. */
int spg__trace_map(unsigned shards);
/* Recording begins and ends. Between enter and leave_foreign, or on a shard. */
void spg__trace_on(unsigned shards);
void spg__trace_off(unsigned shards);
/* Gives the rings' pages back. The reader only, when it has read. */
void spg__trace_trim(unsigned shards);

#endif
