/*
 * Shard messages from the inside. Invariants: msg.c.
 */
#ifndef SPG__RUNTIME_MSG_H
#define SPG__RUNTIME_MSG_H

#include "runtime/line.h"
#include "sched/shard.h"

#include <spg/debug.h>
#include <spg/msg.h>

/* The common lane, and those of the tags that have their own. */
#define SPG__MSG_LANES (SPG_MSG_LANES_MAX + 1)
/* Counters are mapped so many tags at a time; a page is resident once it is used. */
#define SPG__MSG_PAGE_TAGS 1024u
#define SPG__MSG_PAGES ((SPG_MSG_TAG_MAX + 1) / SPG__MSG_PAGE_TAGS)

/* What was mapped on demand: never unmapped before the runtime has ended (M6). */
struct spg__msg_part {
	struct spg__msg_part *next;
	_Atomic(struct spg__msg_part *) *home;
	size_t bytes;
	/* The lines of waiters in it, for the close. */
	struct spg__line *line;
	size_t lines, line_stride;
};

/* Messages from one source to one lane of one shard. */
struct spg__msg_queue {
	struct spg__msg_part part;
	uint32_t capacity, mask;
	int from;
	/* The receiving shard's. */
	alignas(SPG__CACHELINE) _Atomic uint32_t head;
	uint32_t tail_seen;
	/* The source's. */
	alignas(SPG__CACHELINE) _Atomic uint32_t tail;
	uint32_t head_seen;
	struct spg__lock lock; /* of the foreign threads, which are one source */
	alignas(SPG__CACHELINE) struct spg__line senders;
	alignas(SPG__CACHELINE) spg_msg slot[];
};

/* One lane of one shard. */
struct spg__msg_lane {
	struct spg__msg_part part;
	alignas(SPG__CACHELINE) struct spg__line receivers;
	/* The receiving shard's: the source it is at, and how many it took there in a row. */
	alignas(SPG__CACHELINE) unsigned at, run;
	/* Of the shards, then the foreign threads' one. */
	alignas(SPG__CACHELINE) _Atomic(struct spg__msg_part *) from[SPG__SHARDS_MAX + 1];
};

struct spg__msg_counter {
	alignas(SPG__CACHELINE) _Atomic uint64_t count;
	/* What the first in line waits for; valid while the bell is set. */
	_Atomic uint64_t least;
	struct spg__line takers;
};
_Static_assert(sizeof(struct spg__msg_counter) == SPG__CACHELINE, "one line each");

struct spg__msg_page {
	struct spg__msg_part part;
	struct spg__msg_counter counter[SPG__MSG_PAGE_TAGS];
};

struct spg__msgs {
	/* Read by every call, hardly ever written. */
	uint32_t capacity;
	_Atomic bool closed;
	/* Tags that have a lane of their own. */
	_Atomic unsigned lanes;
	struct spg__lock lock;
	_Atomic(struct spg__msg_part *) parts;
	/* Of the foreign threads: RMW. */
	alignas(SPG__CACHELINE) _Atomic uint64_t sent, doorbells, coalesced, backpressure;
	/* The wakes a shard had sent at its last flush. */
	_Atomic uint64_t flushed[SPG__SHARDS_MAX];
	alignas(SPG__CACHELINE) _Atomic(struct spg__msg_part *) lane[SPG__MSG_LANES][SPG__SHARDS_MAX];
	_Atomic(struct spg__msg_part *) page[SPG__MSG_PAGES][SPG__SHARDS_MAX];
	uint16_t lane_tag[SPG__MSG_LANES];
	_Atomic uint8_t lane_of[SPG_MSG_TAG_MAX + 1];
};
extern struct spg__msgs spg__msgs;

/* Before foreign threads may come in; after the last one has left. */
void spg__msg_init(uint32_t capacity);
void spg__msg_fini(void);

/* The runtime stops: what is queued may still be received, all waits end. Inside enter/leave_foreign. */
void spg__msg_close(void);

/* Adds what foreign threads did. */
void spg__msg_stats(struct spg_shard_stats *total);

/* The mapped and initialised part becomes *home, unless another was faster; returns the one that is there. */
struct spg__msg_part *spg__msg_publish(_Atomic(struct spg__msg_part *) *home, struct spg__msg_part *part);

/* NULL: no memory. */
struct spg__msg_lane *spg__msg_lane_new(int shard, unsigned number);
struct spg__msg_queue *spg__msg_queue_new(struct spg__msg_lane *lane, int source);

/* The number of the tag's lane; 0: the common one. */
static inline unsigned spg__msg_lane_of(unsigned tag)
{
	/* acquire, both [M-c]: pairs with spg_msg_lane's stores. */
	if (spg__likely(atomic_load_explicit(&spg__msgs.lanes, memory_order_acquire) == 0))
		return 0;
	return atomic_load_explicit(&spg__msgs.lane_of[tag], memory_order_acquire);
}

static inline struct spg__msg_lane *spg__msg_lane_at(int shard, unsigned number)
{
	/* acquire [M6]: what the one who published it initialised. */
	struct spg__msg_part *part =
		atomic_load_explicit(&spg__msgs.lane[number][shard], memory_order_acquire);

	if (spg__unlikely(part == NULL))
		return spg__msg_lane_new(shard, number);
	return spg__container_of(part, struct spg__msg_lane, part);
}

/* The queue of that source; NULL: it has not sent yet. */
static inline struct spg__msg_queue *spg__msg_queue_at(struct spg__msg_lane *lane, int source)
{
	/* seq_cst [M-a]: on the receiving side it is part of the last look (M3). */
	struct spg__msg_part *part = atomic_load_explicit(&lane->from[source], memory_order_seq_cst);

	return part != NULL ? spg__container_of(part, struct spg__msg_queue, part) : NULL;
}

static inline bool spg__msg_closed(void)
{
	/* seq_cst [B-a]: a waiter's last look, against spg__msg_close. */
	return spg__unlikely(atomic_load_explicit(&spg__msgs.closed, memory_order_seq_cst));
}

/*
 * For one who waits: 0; or the runtime is stopping: the error of the caller's context, which
 * ended before, or -EPIPE where a shield holds that back.
 */
int spg__msg_wait_end(void);

/* The entry check of a blocking call: 0, the context's error, or -ENOMEM. self: the caller's shard, or NULL. */
int spg__msg_entry_slow(void);

static inline int spg__msg_entry(struct spg__shard *self)
{
	if (spg__likely(self != NULL && spg__waiter_err(&self->current->waiter) == 0))
		return 0;
	return spg__msg_entry_slow();
}

/*
 * A foreign thread's calls stand between enter and leave: they keep the runtime up. 0; -ESRCH:
 * none is running. Nothing to do on a shard.
 */
static inline int spg__msg_enter(struct spg__shard *self)
{
	return spg__likely(self != NULL) || spg__shard_enter_foreign() != NULL ? 0 : -ESRCH;
}

static inline void spg__msg_leave(struct spg__shard *self)
{
	if (spg__unlikely(self == NULL))
		spg__shard_leave_foreign();
}

/* The source that calls from there are: a shard, or the foreign threads. After enter. */
static inline int spg__msg_source(const struct spg__shard *self)
{
	return spg__likely(self != NULL) ? self->id : (int)spg__sched.conf.shards;
}

#endif
