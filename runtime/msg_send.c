/*
 * Sending shard messages. The invariants (M1 ...) stand in msg.c.
 */
#include "runtime/msg.h"

#include "io/op.h"

#include <spg/runtime.h>

/* One attempt to send: a batch, and what became of it. */
struct sending {
	struct spg__shard *self; /* the caller's shard; NULL: a foreign thread */
	int source, to;
	const spg_msg *msgs;
	size_t n;
	struct spg__msg_lane *lane;
	struct spg__msg_queue *q;
	ssize_t done;
};

/* M1. How many of the n messages there was room for. */
static inline size_t put(struct spg__msg_queue *q, const spg_msg *msgs, size_t n, bool same_shard)
{
	/* relaxed: our side wrote it. */
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	size_t room = q->capacity - (tail - q->head_seen);

	if (room < n) {
		/* seq_cst [M-b]: slots before head are free; and M4's last look. */
		q->head_seen = atomic_load_explicit(&q->head, memory_order_seq_cst);
		room = q->capacity - (tail - q->head_seen);
		if (n > room)
			n = room;
	}
	for (size_t i = 0; i < n; i++) {
		spg_msg *slot = &q->slot[(tail + (uint32_t)i) & q->mask];

		*slot = msgs[i];
		slot->from = q->from;
	}
	if (n == 0)
		return 0;
	/* [M-a]: the slots; seq_cst for M3, but for M7. */
	if (same_shard)
		atomic_store_explicit(&q->tail, tail + (uint32_t)n, memory_order_release);
	else
		atomic_store_explicit(&q->tail, tail + (uint32_t)n, memory_order_seq_cst);
	return n;
}

static void sent(const struct sending *s, size_t n)
{
	bool rang = spg__line_ring(&s->lane->receivers);
	struct spg__shard *self = s->self;

	if (spg__likely(self != NULL)) {
		spg__count_add(&self->counters.msgs_sent, n);
		if (rang && self->id != s->to)
			spg__count(&self->counters.msg_doorbells);
		return;
	}
	/* relaxed: many writers, no order. */
	atomic_fetch_add_explicit(&spg__msgs.sent, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&spg__msgs.doorbells, rang, memory_order_relaxed);
}

static void backpressure(struct spg__shard *self)
{
	if (self != NULL)
		spg__count(&self->counters.msg_backpressure);
	else
		atomic_fetch_add_explicit(&spg__msgs.backpressure, 1, memory_order_relaxed);
}

/* The first in line, under the lock of a foreign source. */
static bool send_in_line(void *arg)
{
	struct sending *s = arg;

	s->done = spg__msg_wait_end();
	if (s->done == 0)
		s->done = (ssize_t)put(s->q, s->msgs, s->n, s->source == s->to);
	return s->done != 0;
}

/* How many of the first messages go to the same lane; s->lane and s->q are theirs. 0 or -ENOMEM. */
static inline int route(struct sending *s, size_t *n)
{
	unsigned number = spg__msg_lane_of(s->msgs[0].tag);
	size_t run = 1;

	if (spg__likely(atomic_load_explicit(&spg__msgs.lanes, memory_order_relaxed) == 0)) {
		run = s->n;
	} else {
		while (run < s->n && spg__msg_lane_of(s->msgs[run].tag) == number)
			run++;
	}
	s->lane = spg__msg_lane_at(s->to, number);
	if (spg__unlikely(s->lane == NULL))
		return -ENOMEM;
	s->q = spg__msg_queue_at(s->lane, s->source);
	if (spg__unlikely(s->q == NULL))
		s->q = spg__msg_queue_new(s->lane, s->source);
	*n = run;
	return s->q != NULL ? 0 : -ENOMEM;
}

/* Without waiting: how many of n there was room for. With may_wait the lock is kept when there was none. */
static inline size_t send_now(struct sending *s, size_t n, bool may_wait)
{
	struct spg__lock *lock = s->q->senders.lock;
	size_t got = 0;

	if (lock != NULL)
		spg__lock(lock);
	if (spg__line_may_pass(&s->q->senders, 0)) /* B2 */
		got = put(s->q, s->msgs, n, s->source == s->to);
	if (lock != NULL && (got > 0 || !may_wait))
		spg__unlock(lock);
	if (spg__likely(got > 0))
		sent(s, got);
	return got;
}

/* Nothing was sent yet, and there is no room. */
static spg__noinline ssize_t send_wait(struct sending *s, size_t n)
{
	int err;

	s->n = n;
	err = spg__line_wait(&s->q->senders, 0, SPG__REASON_MESSAGE, send_in_line, s);
	if (err < 0)
		return err;
	if (s->done > 0)
		sent(s, (size_t)s->done);
	return s->done;
}

static ssize_t send_all(struct sending *s, bool may_wait)
{
	ssize_t total = 0;

	while (s->n > 0) {
		size_t n, got;
		int err = route(s, &n);

		if (err < 0)
			return total > 0 ? total : err;
		may_wait &= total == 0;
		got = send_now(s, n, may_wait);
		total += (ssize_t)got;
		if (spg__unlikely(got < n)) {
			backpressure(s->self);
			if (total > 0)
				return total;
			return may_wait ? send_wait(s, n) : -EAGAIN;
		}
		s->msgs += n;
		s->n -= n;
	}
	return total;
}

static inline ssize_t post(int shard, const spg_msg *msgs, size_t n, bool may_wait)
{
	struct sending s;
	ssize_t done;
	int err;

	s.self = spg__shard_self();
	err = may_wait ? spg__msg_entry(s.self) : 0;
	if (spg__unlikely(err < 0))
		return err;
	err = spg__msg_enter(s.self);
	if (spg__unlikely(err < 0))
		return err;
	s.source = spg__msg_source(s.self);
	s.to = shard;
	s.msgs = msgs;
	s.n = n;
	if (spg__unlikely(shard < 0 || shard >= (int)spg__sched.conf.shards))
		done = -EINVAL;
	else if (spg__msg_closed())
		done = -EPIPE;
	else
		done = send_all(&s, may_wait);
	spg__msg_leave(s.self);
	return done;
}

static inline int send_one(int shard, unsigned tag, uint64_t value, bool may_wait)
{
	spg_msg msg = { .tag = (uint16_t)tag, .value = value };
	ssize_t done;

	if (spg__unlikely(tag > SPG_MSG_TAG_MAX))
		return -EINVAL;
	done = post(shard, &msg, 1, may_wait);
	return done < 0 ? (int)done : 0;
}

int spg_msg_send(int shard, unsigned tag, uint64_t value)
{
	return send_one(shard, tag, value, true);
}

int spg_msg_try_send(int shard, unsigned tag, uint64_t value)
{
	return send_one(shard, tag, value, false);
}

ssize_t spg_msg_send_many(int shard, const spg_msg *msgs, size_t n)
{
	if (msgs == NULL && n > 0)
		return -EINVAL;
	return post(shard, msgs, n, true);
}

ssize_t spg_msg_try_send_many(int shard, const spg_msg *msgs, size_t n)
{
	if (msgs == NULL && n > 0)
		return -EINVAL;
	return post(shard, msgs, n, false);
}

int spg_msg_flush(void)
{
	struct spg__shard *self = spg__shard_self();
	_Atomic uint64_t *flushed;
	struct spg__op op;
	uint64_t wakes;
	int res;

	/* A thread's wakes are system calls, done when they return. */
	if (self == NULL)
		return spg_running() ? 0 : -ESRCH;
	wakes = spg__count_read(&self->counters.wakes_sent);
	flushed = &spg__msgs.flushed[self->id];
	/* relaxed, here and below: a flush too many does no harm. */
	if (atomic_load_explicit(flushed, memory_order_relaxed) == wakes)
		return spg__msg_entry(self);
	res = spg__op_begin(&op, -1, IORING_OP_NOP);
	if (res < 0)
		return res;
	/* Behind the doorbells in the queue; they are done when they are submitted, and so is this. */
	io_uring_prep_nop(op.sqe);
	res = spg__op_wait(&op);
	if (res < 0)
		return res;
	atomic_store_explicit(flushed, wakes, memory_order_relaxed);
	return 0;
}
