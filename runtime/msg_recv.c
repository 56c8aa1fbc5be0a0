/*
 * Receiving shard messages: lanes, turns, handlers. The invariants (M1 ...) stand in msg.c.
 */
#include "runtime/msg.h"

#include "coro/alloc.h"
#include "runtime/spawn.h"

/* Messages taken from one source before the next has its turn. */
#define TURN 64u

/* One attempt to receive. */
struct receiving {
	struct spg__msg_lane *lane;
	spg_msg *msgs;
	size_t n, got;
	int err;
	int shard;
};

/* M1. Up to n messages. */
static inline size_t take(struct spg__msg_queue *q, spg_msg *msgs, size_t n, bool same_shard)
{
	/* relaxed: our side wrote it. */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	size_t there = q->tail_seen - head;

	if (there < n) {
		/* seq_cst [M-a]: the slots; and M3's last look. */
		q->tail_seen = atomic_load_explicit(&q->tail, memory_order_seq_cst);
		there = q->tail_seen - head;
		if (n > there)
			n = there;
	}
	if (n == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		msgs[i] = q->slot[(head + (uint32_t)i) & q->mask];
	/* [M-b]: the slots are free; seq_cst for M4, but for M7. */
	if (same_shard)
		atomic_store_explicit(&q->head, head + (uint32_t)n, memory_order_release);
	else
		atomic_store_explicit(&q->head, head + (uint32_t)n, memory_order_seq_cst);
	spg__line_ring(&q->senders);
	return n;
}

/* From the source whose turn it is on, as long as it has something, at most TURN in a row. */
static size_t take_in_turn(struct spg__msg_lane *lane, int self, spg_msg *msgs, size_t n)
{
	unsigned sources = spg__sched.conf.shards + 1, empty = 0;
	size_t got = 0;

	while (got < n && empty < sources) {
		struct spg__msg_queue *q = spg__msg_queue_at(lane, (int)lane->at);
		size_t most = n - got < TURN - lane->run ? n - got : TURN - lane->run;
		size_t here = q != NULL ? take(q, msgs + got, most, (int)lane->at == self) : 0;

		got += here;
		lane->run += (unsigned)here;
		empty = here > 0 ? 0 : empty + 1;
		if (here > 0 && lane->run < TURN)
			continue;
		lane->at = lane->at + 1 == sources ? 0 : lane->at + 1;
		lane->run = 0;
	}
	return got;
}

/* The first in line. */
static bool recv_in_line(void *arg)
{
	struct receiving *r = arg;

	r->got = take_in_turn(r->lane, r->shard, r->msgs, r->n);
	r->err = r->got > 0 ? 0 : spg__msg_wait_end();
	return r->got > 0 || r->err < 0;
}

/* Up to n messages of a lane. The caller is a coroutine. */
static inline ssize_t recv_lane(struct spg__shard *self, unsigned lane, spg_msg *msgs, size_t n, bool may_wait)
{
	struct receiving r;
	int err;

	r.msgs = msgs;
	r.n = n;
	r.got = 0;
	r.shard = self->id;
	r.lane = spg__msg_lane_at(self->id, lane);
	if (spg__unlikely(r.lane == NULL))
		return -ENOMEM;
	if (spg__line_may_pass(&r.lane->receivers, 0)) /* B2 */
		r.got = take_in_turn(r.lane, r.shard, msgs, n);
	if (r.got == 0) {
		if (!may_wait)
			return spg__msg_closed() ? -EPIPE : -EAGAIN;
		err = spg__line_wait(&r.lane->receivers, 0, SPG__REASON_MESSAGE, recv_in_line, &r);
		if (err == 0)
			err = r.err;
		if (err < 0)
			return err;
	}
	/* Still on that shard: it was pinned while it waited. */
	spg__count_add(&self->counters.msgs_received, r.got);
	return (ssize_t)r.got;
}

static inline ssize_t recv_common(spg_msg *msgs, size_t n, bool may_wait)
{
	struct spg__shard *self = spg__shard_self();
	int err;

	if (spg__unlikely(msgs == NULL))
		return -EINVAL;
	if (spg__unlikely(self == NULL))
		return -ESRCH;
	err = may_wait ? spg__msg_entry(self) : 0;
	if (spg__unlikely(err < 0))
		return err;
	return spg__likely(n > 0) ? recv_lane(self, 0, msgs, n, may_wait) : 0;
}

static int recv_tagged(unsigned tag, spg_msg *msg, bool may_wait)
{
	struct spg__shard *self = spg__shard_self();
	unsigned lane;
	ssize_t got;
	int err;

	if (spg__unlikely(msg == NULL || tag > SPG_MSG_TAG_MAX))
		return -EINVAL;
	if (spg__unlikely(self == NULL))
		return -ESRCH;
	err = may_wait ? spg__msg_entry(self) : 0;
	if (spg__unlikely(err < 0))
		return err;
	lane = spg__msg_lane_of(tag);
	if (spg__unlikely(lane == 0))
		return -ENOENT;
	got = recv_lane(self, lane, msg, 1, may_wait);
	return got < 0 ? (int)got : 0;
}

int spg_msg_recv(spg_msg *msg)
{
	ssize_t got = recv_common(msg, 1, true);

	return got < 0 ? (int)got : 0;
}

int spg_msg_try_recv(spg_msg *msg)
{
	ssize_t got = recv_common(msg, 1, false);

	return got < 0 ? (int)got : 0;
}

ssize_t spg_msg_recv_many(spg_msg *msgs, size_t n)
{
	return recv_common(msgs, n, true);
}

int spg_msg_recv_tag(unsigned tag, spg_msg *msg)
{
	return recv_tagged(tag, msg, true);
}

int spg_msg_try_recv_tag(unsigned tag, spg_msg *msg)
{
	return recv_tagged(tag, msg, false);
}

int spg_msg_lane(unsigned tag)
{
	struct spg__shard *self = spg__shard_self();
	unsigned lanes;
	int err;

	if (tag > SPG_MSG_TAG_MAX)
		return -EINVAL;
	err = spg__msg_enter(self);
	if (err < 0)
		return err;
	spg__lock(&spg__msgs.lock);
	/* relaxed, both: under the lock. */
	lanes = atomic_load_explicit(&spg__msgs.lanes, memory_order_relaxed);
	if (atomic_load_explicit(&spg__msgs.lane_of[tag], memory_order_relaxed) == 0) {
		if (lanes < SPG_MSG_LANES_MAX) {
			spg__msgs.lane_tag[++lanes] = (uint16_t)tag;
			/* release, both [M-c]: pairs with spg__msg_lane_of. */
			atomic_store_explicit(&spg__msgs.lane_of[tag], (uint8_t)lanes, memory_order_release);
			atomic_store_explicit(&spg__msgs.lanes, lanes, memory_order_release);
		} else {
			err = -ENOSPC;
		}
	}
	spg__unlock(&spg__msgs.lock);
	spg__msg_leave(self);
	return err;
}

struct handler {
	unsigned tag;
	void (*fn)(const spg_msg *msg, void *arg);
	void *arg;
};

static void handle(void *arg)
{
	struct handler *handler = arg;
	spg_msg msg;

	while (spg_msg_recv_tag(handler->tag, &msg) == 0)
		handler->fn(&msg, handler->arg);
}

int spg_msg_handle(unsigned tag, void (*fn)(const spg_msg *msg, void *arg), void *arg)
{
	struct spg__shard *self = spg__shard_self();
	struct spg__spawn spawn = { .kind = SPG__KIND_COPY, .fn = handle, .name = "handler" };
	struct handler *handler;
	struct spg__ctx *ctx;
	int err;

	spawn.creator = __builtin_return_address(0);
	if (fn == NULL)
		return -EINVAL;
	if (self == NULL)
		return -ESRCH;
	err = spg_msg_lane(tag);
	if (err < 0)
		return err;
	err = spg__spawn_attr(&spawn, &(spg_attr){ .name = "handler", .place = SPG_PIN(self->id) }, &ctx);
	if (err < 0)
		return err;
	handler = spg__alloc(sizeof(*handler));
	if (handler == NULL)
		return -ENOMEM;
	*handler = (struct handler){ .tag = tag, .fn = fn, .arg = arg };
	spawn.arg = handler;
	err = spg__spawn_under(&spawn, ctx);
	if (err < 0)
		spg__free(handler);
	return err;
}
