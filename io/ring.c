#include "io/ring.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "coro/fault.h"
#include "io/bufs.h"
#include "io/fdtab.h"
#include "io/kick.h"
#include "io/multi.h"
#include "io/op.h"
#include "io/stream.h"
#include "io/watch.h"
#include "sched/queue.h"
#include "spg_probe.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#if SPG__HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* The kernel's answer has room for a burst from multishot operations. */
#define CQ_PER_SQ 4
#define ENTRIES_MIN 8
#define HELD_MAX (sizeof(((struct spg__ring *)0)->held) / sizeof(struct spg__held))

/* One flag the set-up tries, newest first: the first to be given up. */
static const struct {
	unsigned flag;
	size_t feature;
} setup_flags[] = {
	{ IORING_SETUP_DEFER_TASKRUN, offsetof(struct spg__features, defer_taskrun) },
	{ IORING_SETUP_SINGLE_ISSUER, offsetof(struct spg__features, single_issuer) },
	{ IORING_SETUP_TASKRUN_FLAG, offsetof(struct spg__features, taskrun_flag) },
	{ IORING_SETUP_COOP_TASKRUN, offsetof(struct spg__features, coop_taskrun) },
	{ IORING_SETUP_SUBMIT_ALL, offsetof(struct spg__features, submit_all) },
};
/* They make our thread run what the kernel's polling thread runs. */
#define NOT_WITH_SQPOLL (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN)
/* How often a full queue is waited for before the caller has to. */
#define SQ_WAITS_MAX 8
#define SETUP_FLAGS (sizeof(setup_flags) / sizeof(setup_flags[0]))

static bool *feature_at(size_t offset)
{
	return (bool *)((char *)&spg__features + offset);
}

static unsigned wanted_flags(bool sqpoll)
{
	unsigned flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;

	for (size_t i = 0; i < SETUP_FLAGS; i++)
		flags |= *feature_at(setup_flags[i].feature) ? setup_flags[i].flag : 0;
	if (sqpoll)
		flags = (flags & ~(unsigned)NOT_WITH_SQPOLL) | IORING_SETUP_SQPOLL;
	/* The kernel wants them in this company. */
	if (!(flags & IORING_SETUP_SINGLE_ISSUER))
		flags &= ~(unsigned)IORING_SETUP_DEFER_TASKRUN;
	if (!(flags & (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN)))
		flags &= ~(unsigned)IORING_SETUP_TASKRUN_FLAG;
	return flags;
}

/*
 * Gives up half of the entries at a time on -ENOMEM, one flag at a time on -EINVAL; before
 * that the polling thread, which may be forbidden or one too many.
 */
static int setup(struct spg__ring *ring, unsigned entries, unsigned sqpoll_idle_ms)
{
	size_t next = 0;

	for (;;) {
		bool sqpoll = sqpoll_idle_ms > 0 && spg__features.sqpoll;
		struct io_uring_params params = {
			.flags = wanted_flags(sqpoll),
			.cq_entries = entries * CQ_PER_SQ,
			.sq_thread_idle = sqpoll ? sqpoll_idle_ms : 0,
		};
		int err = spg__fault(SPG__FAULT_MAP);

		if (err == 0)
			err = io_uring_queue_init_params(entries, &ring->uring, &params);
		if (err == 0)
			return 0;
		if (err == -ENOMEM && entries / 2 >= ENTRIES_MIN) {
			entries /= 2;
			continue;
		}
		if (sqpoll) {
			spg__features.sqpoll = false;
			continue;
		}
		if (err != -EINVAL || next == SETUP_FLAGS)
			return err;
		*feature_at(setup_flags[next++].feature) = false;
	}
}

/* The read that makes event_fd end a wait. */
static void arm_event(struct spg__ring *ring)
{
	struct io_uring_sqe *sqe = spg__ring_sqe(ring);

	SPG_CHECK(sqe != NULL);
	io_uring_prep_read(sqe, ring->event_fd, &ring->event_value, sizeof(ring->event_value), 0);
	sqe->user_data = SPG__UD_EVENT;
}

int spg__ring_open(struct spg__ring *ring, struct spg__shard *shard, const struct spg__ring_conf *conf)
{
	unsigned workers[2] = { conf->iowq_workers_max, conf->iowq_workers_max };
	int err;

	*ring = (struct spg__ring){ .shard = shard, .event_fd = -1 };
	if (!spg__features.io_uring)
		return -ENOSYS;
	if (shard->id == 0)
		spg__features.sqpoll &= conf->sqpoll_idle_ms > 0;
	err = setup(ring, conf->entries, conf->sqpoll_idle_ms);
	if (err < 0)
		return err;
	ring->sqpoll = (ring->uring.flags & IORING_SETUP_SQPOLL) != 0;
	ring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->event_fd < 0) {
		err = -errno;
		goto err_uring;
	}
	ring->fd_inflight = spg__fdtab_counts_new();
	if (ring->fd_inflight == NULL) {
		err = -ENOMEM;
		goto err_event;
	}
	for (unsigned i = 0; i < ring->uring.sq.ring_entries; i++)
		ring->uring.sq.array[i] = i; /* N4 */
	ring->enter_fd = ring->uring.ring_fd;
	/* At most 16 a thread; a plain descriptor does as well. */
	if (spg__features.registered_ring && io_uring_register_ring_fd(&ring->uring) == 1) {
		ring->enter_fd = ring->uring.enter_ring_fd;
		ring->enter_flags = IORING_ENTER_REGISTERED_RING;
	}
	if (shard->id == 0)
		/* Before the other shards start. The wake that a probe leaves is harmless. */
		spg__features_of_ring(&spg__features, &ring->uring, SPG__UD_WAKE);
	/* A child of fork must not submit to our ring; it still needs our stacks. */
	(void)io_uring_ring_dontfork(&ring->uring);
	/* The default is tens of thousands. Refused by old kernels. */
	(void)io_uring_register_iowq_max_workers(&ring->uring, workers);
	shard->ring = ring;
	arm_event(ring);
	return 0;

err_event:
	close(ring->event_fd);
err_uring:
	io_uring_queue_exit(&ring->uring);
	return err;
}

void spg__ring_close(struct spg__ring *ring)
{
	spg__fdtab_counts_free(ring->fd_inflight);
	/* The kernel cancels the read of event_fd with the ring. */
	io_uring_queue_exit(&ring->uring);
	for (unsigned i = 0; i < SPG__BUFS_CLASSES; i++) {
		struct spg__bufs *pool = atomic_load_explicit(&ring->bufs[i], memory_order_acquire);

		if (pool != NULL)
			spg__bufs_close(pool);
	}
	close(ring->event_fd);
	ring->shard->ring = NULL;
}

void spg__rings_forked(void)
{
	for (unsigned i = 0; spg__sched.shards != NULL && i < spg__sched.conf.shards; i++) {
		struct spg__ring *ring = spg__ring_of(spg__shard_at((int)i));

		if (ring == NULL)
			continue;
		close(ring->uring.ring_fd);
		close(ring->event_fd);
		ring->shard->ring = NULL;
	}
}

/* Moves the tail over what was filled in (N4). Returns how many the kernel has not taken. */
static unsigned sq_publish(struct spg__ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;

	spg__ring_filled(ring);
	return sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
}

static int enter(struct spg__ring *ring, unsigned submit, unsigned min, unsigned flags,
		 struct io_uring_getevents_arg *arg)
{
	int err = spg__fault(SPG__FAULT_SUBMIT);
	long n;

	if (err < 0)
		return err;
	spg__count(&ring->shard->counters.enters);
	n = syscall(SYS_io_uring_enter, ring->enter_fd, submit, min,
		    flags | ring->enter_flags | (arg != NULL ? IORING_ENTER_EXT_ARG : 0), arg,
		    arg != NULL ? sizeof(*arg) : 0);
	if (n < 0)
		return -errno;
	spg__count_add(&ring->shard->counters.sqes, (uint64_t)n);
	return (int)n;
}

/* N6. The flags that wake the polling thread, if it sleeps and something is queued for it. */
static spg__noinline unsigned sqpoll_publish(struct spg__ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	unsigned tail = sq->sqe_tail;

	spg__count_add(&ring->shard->counters.sqes, tail - ring->sqes_counted);
	ring->sqes_counted = tail;
	/*
	 * seq_cst, both: the tail is stored before the flag is looked at. Pairs with the
	 * kernel's thread, which raises the flag before it looks at the tail a last time.
	 */
	__atomic_store_n(sq->ktail, tail, __ATOMIC_SEQ_CST);
	if ((__atomic_load_n(sq->kflags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP) == 0 ||
	    tail == io_uring_smp_load_acquire(sq->khead))
		return 0;
	return IORING_ENTER_SQ_WAKEUP;
}

/* What io_uring_enter is to submit; and into flags what it needs besides. */
static unsigned hand_in(struct spg__ring *ring, unsigned *flags)
{
	if (spg__likely(!ring->sqpoll))
		return sq_publish(ring);
	*flags |= sqpoll_publish(ring);
	return 0;
}

spg__noinline void spg__trace_submit(struct spg__ring *ring, const struct io_uring_sqe *sqe)
{
	uint64_t first;

	_Static_assert(offsetof(struct io_uring_sqe, fd) == 4, "opcode and descriptor in 8 bytes");
	memcpy(&first, sqe, sizeof(first));
	spg__trace_put_at(ring->trace, spg__trace_ticks_soon(), SPG__TRACE_SUBMIT, sqe->user_data, first);
}

void spg__ring_submit(struct spg__ring *ring)
{
	unsigned flags = 0, n = hand_in(ring, &flags);

	/* -EINTR, -EAGAIN, -EBUSY: they stay queued for the next poll (N5). */
	if (n > 0 || flags != 0)
		(void)enter(ring, n, 0, flags, NULL);
}

/* Of an operation, a multishot one, or a watch: neither a mark nor a wake. */
static bool is_somebodys(uint64_t user_data)
{
	return user_data >= SPG__UD_MARKS_END && user_data >> 32 != SPG__UD_WAKE_SENT;
}

static void complete(struct spg__ring *ring, uint64_t user_data, int32_t res, uint32_t flags)
{
	if (spg__likely(is_somebodys(user_data))) {
		void *what = (void *)(uintptr_t)(user_data & ~(uint64_t)SPG__UD_TAGS);

		if (spg__likely((user_data & SPG__UD_TAGS) == 0))
			spg__op_complete(what, res, flags);
		else if ((user_data & SPG__UD_TAGS) == SPG__UD_MULTI)
			spg__multi_complete(what, res, flags);
		else if ((user_data & SPG__UD_TAGS) == SPG__UD_STREAM)
			spg__stream_complete(what, res, flags);
		else
			spg__watch_complete(what, res);
		return;
	}
	if (user_data == SPG__UD_EVENT)
		arm_event(ring);
	else if (user_data >> 32 == SPG__UD_WAKE_SENT)
		/* Only failures come back. The queue holds the truth; this delivers the hint. */
		(void)!write(spg__ring_of(spg__shard_at((int)(uint32_t)user_data))->event_fd,
			     &(uint64_t){ 1 }, sizeof(uint64_t));
}

static inline unsigned least(unsigned a, size_t b)
{
	return a < b ? a : (unsigned)b;
}

/* As many of them as lie in a row, in both rings. Returns how many. */
static inline unsigned trace_some(struct spg__trace_ring *trace, const struct io_uring_cq *cq, unsigned head,
				  unsigned count, uint64_t ticks)
{
	const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
	struct spg__trace_rec *rec = atomic_load_explicit(&trace->at, memory_order_relaxed), *end;

	_Static_assert(sizeof(*cqe) == 2 * sizeof(uint64_t) && offsetof(struct io_uring_cqe, res) == 8 &&
			       offsetof(struct spg__trace_rec, b) == offsetof(struct spg__trace_rec, a) + 8,
		       "user_data, then result and flags: copied together");
	count = least(count, cq->ring_entries - (head & cq->ring_mask));
	count = least(count, (size_t)(trace->limit - rec));
	for (end = rec + count; rec != end; rec++, cqe++) {
		rec->ticks = ticks;
		rec->what = SPG__TRACE_WHAT(SPG__TRACE_COMPLETE, 0, 0);
		memcpy(&rec->a, cqe, sizeof(*cqe));
	}
	/* release [TR-c]. */
	atomic_store_explicit(&trace->at, rec, memory_order_release);
	return count;
}

/* Before they are acted on (TR4). */
static spg__noinline void trace_completions(struct spg__trace_ring *trace, const struct io_uring_cq *cq,
					    unsigned head, unsigned tail)
{
	uint64_t ticks = spg__trace_ticks();

	while (head != tail) {
		unsigned count = trace_some(trace, cq, head, tail - head, ticks);
		const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
		uint64_t last;

		head += count;
		if (count > 0)
			continue;
		memcpy(&last, &cqe->res, sizeof(last));
		spg__trace_put_slow(trace, ticks, SPG__TRACE_COMPLETE, cqe->user_data, last);
		head++;
	}
}

static spg__noinline void trace_completions_foreign(struct io_uring_cq *cq, unsigned head, unsigned tail)
{
	struct spg__trace_ring *trace = spg__trace_take(NULL);

	if (trace != NULL)
		trace_completions(trace, cq, head, tail);
	spg__trace_release(NULL);
}

/* Does it belong to an object of this tag? */
static bool is_tagged(const struct io_uring_cqe *cqe, unsigned tag)
{
	return is_somebodys(cqe->user_data) && (cqe->user_data & SPG__UD_TAGS) == tag;
}

/* Keeps a completion for the owner's next reap. false: no room. Under cq_lock. */
static spg__noinline bool hold_back(struct spg__ring *ring, const struct io_uring_cqe *cqe)
{
	unsigned n = atomic_load_explicit(&ring->held_count, memory_order_relaxed);

	/* A stream's come in order: what is held may be overtaken. */
	if (n == HELD_MAX || is_tagged(cqe, SPG__UD_STREAM))
		return false;
	ring->held[n] = (struct spg__held){ .user_data = cqe->user_data, .res = cqe->res, .flags = cqe->flags };
	/* seq_cst: ordered before the look at `sleeping` of the wake that follows (I1). */
	atomic_store_explicit(&ring->held_count, n + 1, memory_order_seq_cst);
	return true;
}

/* The first `count` of them, behind newer ones and in reverse: a fault may reorder. Under cq_lock. */
static spg__noinline void release_held(struct spg__ring *ring, unsigned count)
{
	struct spg__held held[HELD_MAX];
	unsigned left = atomic_load_explicit(&ring->held_count, memory_order_relaxed) - count;

	memcpy(held, ring->held, sizeof(held));
	memmove(ring->held, ring->held + count, left * sizeof(held[0]));
	atomic_store_explicit(&ring->held_count, left, memory_order_seq_cst);
	for (unsigned i = count; i-- > 0;)
		complete(ring, held[i].user_data, held[i].res, held[i].flags);
}

static unsigned reap(struct spg__ring *ring)
{
	struct io_uring_cq *cq = &ring->uring.cq;
	unsigned head, tail, seen, held;

	/* relaxed look: what comes right now is seen at the next poll. */
	if (IO_URING_READ_ONCE(*cq->khead) == IO_URING_READ_ONCE(*cq->ktail) &&
	    spg__likely(atomic_load_explicit(&ring->held_count, memory_order_seq_cst) == 0))
		return 0;
	spg__lock(&ring->cq_lock); /* D4 */
	held = atomic_load_explicit(&ring->held_count, memory_order_relaxed);
	head = *cq->khead;
	tail = io_uring_smp_load_acquire(cq->ktail);
	seen = tail - head;
#ifndef SPG__NO_TRACE
	if (spg__unlikely(ring->trace != NULL))
		trace_completions(ring->trace, cq, head, tail);
#endif
	for (; head != tail; head++) {
		const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];

		if (spg__unlikely(spg__fault(SPG__FAULT_LATE) < 0) && hold_back(ring, cqe))
			continue;
		complete(ring, cqe->user_data, cqe->res, cqe->flags); /* N3 */
	}
	if (seen > 0) {
		io_uring_smp_store_release(cq->khead, head);
		spg__count_add(&ring->shard->counters.cqes, seen);
	}
	if (spg__unlikely(held > 0))
		release_held(ring, held);
	spg__unlock(&ring->cq_lock);
	return seen + held;
}

/* D4. What concerns the owner alone is kept for it; when there is no room for that, the rest stays. */
static void ring_reap_for(struct spg__shard *shard)
{
	struct spg__ring *ring = shard->ring;
	struct io_uring_cq *cq = &ring->uring.cq;
	unsigned head, tail;
	bool kept = false;

	/* Those the kick did not get to: they may have ended, and are looked at again. */
	if (atomic_load_explicit(&ring->canceling, memory_order_relaxed) != NULL)
		(void)spg__kick_give_back(ring, false);
	if (!spg__lock_try(&ring->cq_lock))
		return;
	head = *cq->khead;
	tail = io_uring_smp_load_acquire(cq->ktail);
	/* acquire [N-a]: what completed had begun. */
	(void)atomic_load_explicit(&ring->begun, memory_order_acquire);
	if (spg__unlikely(spg__trace_any(NULL)))
		trace_completions_foreign(cq, head, tail);
	for (; head != tail; head++) {
		const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
		bool op = is_tagged(cqe, 0) || is_tagged(cqe, SPG__UD_STREAM);

		if (op)
			complete(ring, cqe->user_data, cqe->res, cqe->flags);
		else if (!hold_back(ring, cqe))
			break;
		kept |= !op;
	}
	io_uring_smp_store_release(cq->khead, head);
	spg__unlock(&ring->cq_lock);
	if (kept)
		spg__shard_wake(shard); /* it may be on its way to sleep by now */
}

struct io_uring_sqe *spg__ring_sqe(struct spg__ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (spg__likely(sqe != NULL))
		return sqe;
	spg__count(&ring->shard->counters.sq_full);
	spg__ring_submit(ring);
	sqe = io_uring_get_sqe(&ring->uring);
	/* The polling thread empties it in a moment; a signal ends the wait. */
	for (int i = 0; sqe == NULL && ring->sqpoll && i < SQ_WAITS_MAX; i++) {
		(void)enter(ring, 0, 0, IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT, NULL);
		sqe = io_uring_get_sqe(&ring->uring);
	}
	return sqe;
}

static void ring_poll(struct spg__shard *shard)
{
	struct spg__ring *ring = shard->ring;
	unsigned wakeup = 0, n = hand_in(ring, &wakeup);
	/* relaxed: a flag raised right now is seen at the next poll, or by the wait. */
	unsigned flags = IO_URING_READ_ONCE(*ring->uring.sq.kflags);

	/* relaxed: the same. They ask for their cancels themselves. */
	if (spg__unlikely(atomic_load_explicit(&ring->canceling, memory_order_relaxed) != NULL))
		(void)spg__kick_give_back(ring, false);
	ring->trace = spg__trace_of(shard);
	if (spg__unlikely(flags & IORING_SQ_CQ_OVERFLOW))
		spg__count(&shard->counters.cq_overflow);
	/* With work to hand in or task work to run; the completions come with it. */
	if (n > 0 || wakeup != 0 || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
		(void)enter(ring, n, 0, IORING_ENTER_GETEVENTS | wakeup, NULL);
	reap(ring);
}

#if SPG__HAVE_VALGRIND
/*
 * Valgrind does not know that io_uring_enter can block, and would hold back all other
 * threads: it waits in ppoll there. (Under it rings must not defer: SPG_DISABLE=defer_taskrun.)
 */
static bool wait_under_valgrind(struct spg__ring *ring, int64_t left_ns)
{
	struct pollfd ready = { .fd = ring->uring.ring_fd, .events = POLLIN };
	struct timespec ts = spg__clock_timespec(left_ns);
	unsigned n, flags = IORING_ENTER_GETEVENTS;

	if (!RUNNING_ON_VALGRIND)
		return false;
	n = hand_in(ring, &flags);
	spg__shard_nap(ring->shard);
	(void)enter(ring, n, 0, flags, NULL);
	(void)ppoll(&ready, 1, left_ns >= 0 ? &ts : NULL, NULL);
	(void)enter(ring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
	spg__shard_nap(ring->shard);
	reap(ring);
	return true;
}
#else
static bool wait_under_valgrind(struct spg__ring *ring, int64_t left_ns)
{
	(void)ring;
	(void)left_ns;
	return false;
}
#endif

static void ring_wait(struct spg__shard *shard, int64_t due_ns)
{
	struct spg__ring *ring = shard->ring;
	struct io_uring_getevents_arg arg = { .sigmask_sz = _NSIG / 8 };
	struct __kernel_timespec ts;
	int64_t left = -1;
	unsigned n, flags = IORING_ENTER_GETEVENTS | (spg__features.no_iowait ? SPG__ENTER_NO_IOWAIT : 0);

	if (reap(ring) > 0 || atomic_load_explicit(&ring->held_count, memory_order_seq_cst) > 0 ||
	    atomic_load_explicit(&ring->canceling, memory_order_seq_cst) != NULL)
		return;
	if (due_ns != SPG__NEVER) {
		left = due_ns - spg__clock_ns();
		if (left <= 0)
			return;
		ts = (struct __kernel_timespec){ .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
		arg.ts = (uint64_t)(uintptr_t)&ts;
	}
	if (wait_under_valgrind(ring, left))
		return;
	/* -ETIME, -EINTR: look again. -EAGAIN, -EBUSY: what was not submitted stays queued. */
	n = hand_in(ring, &flags);
	spg__shard_nap(shard);
	(void)enter(ring, n, 1, flags, &arg);
	spg__shard_nap(shard);
	reap(ring);
}

/* A round is a cancel and its completion; the time is for what has nothing to be canceled yet. */
#define DRAIN_ROUND_NS ((int64_t)10 * 1000000)

void spg__ring_drain(struct spg__ring *ring)
{
	struct io_uring_sqe *sqe;

	/* acquire: what the watchdog reaped last; it has ended. */
	while (atomic_load_explicit(&ring->streams, memory_order_acquire) > 0) {
		sqe = spg__ring_sqe(ring);
		if (sqe != NULL) {
			/* Every coroutine has ended: whatever is in flight belongs to no call. */
			io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
			sqe->user_data = SPG__UD_IGNORE;
		}
		ring_wait(ring->shard, spg__clock_ns() + DRAIN_ROUND_NS);
	}
	/* The last errands: no foreign thread can post one any more. */
	(void)spg__inbox_drain(ring->shard);
}

/* From a shard: a message by its own ring, at once. false: no room. */
static bool wake_by_ring(struct spg__ring *from, struct spg__ring *to)
{
	struct io_uring_sqe *sqe = spg__ring_sqe(from);

	if (sqe == NULL)
		return false;
	io_uring_prep_msg_ring(sqe, to->uring.ring_fd, 0, SPG__UD_WAKE, 0);
	/* On the source: with MSG_RING's own flag the *delivery* would be suppressed. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = (uint64_t)SPG__UD_WAKE_SENT << 32 | (uint32_t)to->shard->id;
	spg__ring_submit(from);
	return true;
}

static void ring_wake(struct spg__shard *target)
{
	struct spg__shard *self = spg__shard_self();
	struct spg__ring *to = target->ring;

	/* By a polling thread the message would take a detour. */
	bool by_ring = self != NULL && spg__features.msg_ring &&
		       !(spg__ring_of(self)->sqpoll && spg__features.send_msg_ring);

	if (by_ring && wake_by_ring(self->ring, to))
		return;
	if (!by_ring && spg__features.send_msg_ring && spg__send_msg_ring(to->uring.ring_fd, SPG__UD_WAKE))
		return;
	/* A full counter means that a wake is pending already. */
	(void)!write(to->event_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

const struct spg__poller spg__ring_poller = {
	.wait = ring_wait,
	.poll = ring_poll,
	.wake = ring_wake,
	.surface = spg__kick_surface,
	.holds = spg__kick_holds,
	.reap_for = ring_reap_for,
	.cancel_for = spg__kick_cancel_for,
};
