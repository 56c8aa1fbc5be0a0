/*
 * One io_uring per shard: set-up flag by flag, submission, reaping, wakes.
 *
 * N1  Only the shard's thread touches its SQ and CQ (SINGLE_ISSUER).
 * N2  user_data of our SQEs: an operation's address (16-aligned), a multishot
 *     operation's address + 1, a watch's + 3, a stream's + 5, or one of the small marks below.
 * N3  A CQE is turned into a store and an unpark; nothing of the user's runs while
 *     the CQ is read.
 * N4  We move the SQ's tail ourselves: the ring array is the identity, and liburing's
 *     submitting calls are not used.
 * N5  An SQE taken is submitted at the latest by the shard's next poll or wait.
 * N6  With a polling thread of the kernel's (SQPOLL) what is published is taken at any
 *     time by that thread, so only whole SQEs are; it sleeps when idle, and whoever
 *     submits looks at its flag after the tail is stored.
 */
#ifndef SPG__IO_RING_H
#define SPG__IO_RING_H

#include "io/features.h"
#include "sched/trace.h"

#define SPG__UD_IGNORE 2u
#define SPG__UD_WAKE 4u
#define SPG__UD_EVENT 6u
/* A wake that failed: the target's number in the upper half. */
#define SPG__UD_WAKE_SENT 8u
#define SPG__UD_MARKS_END 16u
#define SPG__UD_MULTI 1u
#define SPG__UD_WATCH 3u
#define SPG__UD_STREAM 5u
#define SPG__UD_TAGS 15u

/* Sizes of receive buffers (io/bufs.h). */
#define SPG__BUFS_CLASSES 4u

struct spg__bufs;

struct spg__held {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

struct spg__ring {
	struct io_uring uring;
	struct spg__shard *shard;
	int enter_fd;
	unsigned enter_flags;
	/* N6; and how many of its SQEs the counters have. */
	bool sqpoll;
	unsigned sqes_counted;
	/* Ends a wait where MSG_RING does not work. A read on it is always in flight. */
	int event_fd;
	uint64_t event_value;
	/* Operations in flight per descriptor (io/fdtab.h), and how many entries. */
	_Atomic uint16_t *fd_inflight;
	/* Who reads the CQ: its owner, or the watchdog in its place (sched/watchdog.h, D4). */
	struct spg__lock cq_lock;
	/* Operations begun, by the owner; and ended, by whoever reaped, under the lock. */
	_Atomic uint64_t begun, ended;
	/* The owner's copy of shard->trace, as it was at the last poll (TR6). */
	struct spg__trace_ring *trace;
	/* Completions for the owner alone, reaped by another; and those held back by SPG__FAULT_LATE. */
	struct spg__held held[16];
	_Atomic unsigned held_count;
	/* Of io/cached.c: spent since others had their turn. */
	unsigned cached_ns;
	/* Pools of receive buffers, made by the owner when first asked for; the kernel may know no such thing. */
	_Atomic(struct spg__bufs *) bufs[SPG__BUFS_CLASSES];
	bool bufs_refused;
	/* Coroutines whose operation a kick is to cancel (sched/watchdog.h, D8). */
	_Atomic(struct spg__link *) canceling;
	/* Streams whose receive is in flight: raised by the owner, lowered by whoever reaped. */
	_Atomic unsigned streams;
};

struct spg__ring_conf {
	unsigned entries;
	unsigned iowq_workers_max;
	unsigned sqpoll_idle_ms; /* 0: no polling thread */
	int sqpoll_cpu;		 /* that it is bound to; -1: to none */
};

/* On the shard's thread, before its loop. 0 or the errno of the set-up. */
int spg__ring_open(struct spg__ring *ring, struct spg__shard *shard, const struct spg__ring_conf *conf);
/* On the shard's thread, after its loop: ends what streams have in flight that nobody closed. */
void spg__ring_drain(struct spg__ring *ring);
/* After that: nothing is in flight but our own read of event_fd. */
void spg__ring_close(struct spg__ring *ring);

/* In a child of fork: closes the descriptors of all open rings, which are not mapped here. */
void spg__rings_forked(void);

static inline struct spg__ring *spg__ring_of(struct spg__shard *shard)
{
	return shard->ring;
}

/*
 * A free SQE, zeroed but for nothing, or NULL: the queue is full even after a submit.
 * The caller fills it before it does anything else with the ring.
 */
struct io_uring_sqe *spg__ring_sqe(struct spg__ring *ring);

/* The SQE taken last is whole: a kick may submit it. */
static inline void spg__ring_filled(struct spg__ring *ring)
{
	/* release: the SQE's fields; pairs with the kernel, and with the handler on this thread. */
	io_uring_smp_store_release(ring->uring.sq.ktail, ring->uring.sq.sqe_tail);
}

/* Into the trace: the SQE is whole, the running coroutine's, and not yet visible to the kernel (TR4). */
void spg__trace_submit(struct spg__ring *ring, const struct io_uring_sqe *sqe);

static inline void spg__ring_trace(struct spg__ring *ring, const struct io_uring_sqe *sqe)
{
#ifdef SPG__NO_TRACE
	(void)ring;
	(void)sqe;
#else
	if (spg__unlikely(ring->trace != NULL))
		spg__trace_submit(ring, sqe);
#endif
}

/* One more operation is in flight, or one less. */
static inline void spg__ring_begun(struct spg__ring *ring)
{
	/* release [N-a]: the operation's fields, for a watchdog that reaps; the kernel orders them, too. */
	spg__count_release(&ring->begun);
}

static inline void spg__ring_ended(struct spg__ring *ring)
{
	/* Under cq_lock: one writer at a time. release [DL-c]: with ring_holds(). */
	atomic_store_explicit(&ring->ended, spg__count_read(&ring->ended) + 1, memory_order_release);
}

/* Submits what is queued, now. */
void spg__ring_submit(struct spg__ring *ring);

extern const struct spg__poller spg__ring_poller;

#endif
