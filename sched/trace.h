/*
 * The trace's recording side: what happens goes into rings in memory, one for each shard
 * and one for all other threads. Compiled in always.
 *
 * TR1  A ring has one writer (the shard's thread; the others' ring has a lock) and one
 *      reader (the thread of runtime/trace.c). The writer stores head, the reader tail.
 * TR2  A record that does not fit is dropped and counted; before the next one that fits
 *      comes a LOST, so the reader knows where records are missing.
 * TR3  Rings are mapped when the first trace starts, and never unmapped: a writer that saw
 *      the trace go on may still write after its end. Such a record is older than the next
 *      trace's start, by which its reader drops it.
 * TR4  A record's time is read after what it tells of became visible to the writer, and it is
 *      published before anybody can act on it through the writer: a SUBMIT before the kernel can
 *      see the operation, whose completion the watchdog may reap. So all records sorted by time
 *      are in an order of cause and effect, as far as the CPUs' clocks agree; and one that is
 *      published after a moment was caused by none with a later time than that.
 * TR5  Signal handlers record nothing.
 * TR6  While no trace goes on, what happens for each operation or switch costs at most two
 *      instructions: plain copies, set by the loop for a pass, say whether one does.
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
	/* 0: the time of the record before it. */
	uint64_t ticks;
	union {
		/* SPG__TRACE_WHAT: one store where all of it is known. */
		uint64_t what;
		struct {
			uint8_t kind, sub;
			int32_t how;
		};
	};
	uint64_t a, b;
};
_Static_assert(sizeof(struct spg__trace_rec) == 32, "two a cache line");

struct spg__trace_ring {
	/*
	 * The writer's. at: the next record, `end` stands for `recs`. One is left free before tail,
	 * so that at == tail is an empty ring. limit: at must not pass it, by the last look at tail.
	 */
	alignas(SPG__CACHELINE) _Atomic(struct spg__trace_rec *) at;
	struct spg__trace_rec *limit;
	struct spg__trace_rec *recs, *end;
	_Atomic uint64_t lost;
	bool gap;
	/* Of the trace: tells whose names are known. Written before the ring is published. */
	_Atomic uint8_t session;
	/* The reader's. */
	alignas(SPG__CACHELINE) _Atomic(struct spg__trace_rec *) tail;
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
 * (runtime/trace.c). It may be read before the loads in front of it, and not after a store behind it:
 * enough for what tells of something to come.
 */
static inline uint64_t spg__trace_ticks_soon(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	return ticks;
#else
#error "no clock for the trace"
#endif
}

/* Read after the loads before it (TR4). */
static inline uint64_t spg__trace_ticks(void)
{
#if defined(__x86_64__)
	__builtin_ia32_lfence();
#elif defined(__aarch64__)
	__asm__ volatile("isb" : : : "memory");
#endif
	return spg__trace_ticks_soon();
}

/*
 * The ring of a shard's own thread while a trace goes on, else NULL. SPG__NO_TRACE leaves all of it
 * out of a build: bench/gate compares with that.
 */
static inline struct spg__trace_ring *spg__trace_of(struct spg__shard *shard)
{
#ifdef SPG__NO_TRACE
	(void)shard;
	return NULL;
#else
	/* acquire [TR-a]: the ring as spg__trace_on left it. */
	return atomic_load_explicit(&shard->trace, memory_order_acquire);
#endif
}

/* As the union is on a little-endian machine. */
#define SPG__TRACE_WHAT(kind, sub, how) \
	((uint64_t)(uint8_t)(kind) | (uint64_t)(uint8_t)(sub) << 8 | (uint64_t)(uint32_t)(how) << 32)

/* At the ring's limit: makes room, or drops the record and counts it (TR2). */
void spg__trace_put_slow(struct spg__trace_ring *ring, uint64_t ticks, uint64_t what, uint64_t a, uint64_t b);

/* Records. The ring's writer only. */
static inline void spg__trace_put_at(struct spg__trace_ring *ring, uint64_t ticks, uint64_t what, uint64_t a,
				     uint64_t b)
{
	/* relaxed: our own. */
	struct spg__trace_rec *rec = atomic_load_explicit(&ring->at, memory_order_relaxed);

	if (spg__unlikely(rec == ring->limit)) {
		spg__trace_put_slow(ring, ticks, what, a, b);
		return;
	}
	*rec = (struct spg__trace_rec){ .ticks = ticks, .what = what, .a = a, .b = b };
	/* release [TR-c]: the record; pairs with the reader. */
	atomic_store_explicit(&ring->at, rec + 1, memory_order_release);
}

static inline void spg__trace_put(struct spg__trace_ring *ring, uint64_t what, uint64_t a, uint64_t b)
{
	spg__trace_put_at(ring, spg__trace_ticks(), what, a, b);
}

/* The same from any thread; self: its shard, or NULL. */
void spg__trace_put_any(struct spg__shard *self, uint64_t what, uint64_t a, uint64_t b);

static inline bool spg__trace_any(struct spg__shard *self)
{
#ifdef SPG__NO_TRACE
	(void)self;
	return false;
#else
	/* relaxed: spg__trace_put_any looks again. */
	return self != NULL ? atomic_load_explicit(&self->trace, memory_order_relaxed) != NULL :
			      atomic_load_explicit(&spg__trace.foreign, memory_order_relaxed) != NULL;
#endif
}

/*
 * Switches are the most frequent records, and a test at each would be the most frequent cost of
 * a trace that is off. So they go through a pointer of the shard's own: the plain jump, one
 * that records first, or one for debugging. The loop sets it for a pass.
 */
struct spg__transfer spg__trace_jump(void *to, void *shard);
/* The record alone: current is set, and leaving and commit, or leaving is NULL: from the loop. */
void spg__trace_switch(struct spg__shard *shard);

/* Tells conf.leaves first, then the trace, if one goes on. */
struct spg__transfer spg__watched_jump(void *to, void *shard);

static inline void spg__trace_set_jump(struct spg__shard *shard)
{
	shard->tracing = spg__trace_of(shard);
	shard->jump = shard->tracing == NULL ? spg__jump : spg__trace_jump;
	if (spg__unlikely(spg__sched.conf.leaves != NULL))
		shard->jump = spg__watched_jump;
}

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
