/*
 * Shard messages: bounded queues between shards, without locks.
 *
 * M1  A queue has one source and one receiving shard. head <= tail <= head + capacity, as
 *     unsigned differences. Only the source stores tail, only the receiving shard head. A slot
 *     in [head, tail) is not written. The foreign threads are one source, by a lock.
 * M2  A message is in the lane its tag had when it was sent, in the queue of the shard that
 *     ran the sender then: what one shard sends to one lane arrives in that order.
 * M3  Sender: [M-a] store tail; then [B-b] ring the receivers' bell. Receiver: arm the bell
 *     [B-a], then look at tail once more. So the doorbell rings when a queue becomes non-empty
 *     while somebody waits, once, and not at all while the receiver is awake.
 * M4  The other way round for room: the receiver stores head [M-b], then rings the senders'
 *     bell; a sender arms it, then looks at head once more.
 * M5  The runtime's stop stores `closed`, then rings every bell: each waiter finds `closed` at
 *     its last look, or is woken. What is queued may still be received.
 * M6  Lanes, queues and pages of counters are mapped when they are first used, published by a
 *     store under the lock, and unmapped after the last shard and foreign thread have left.
 * M7  On the receiving shard itself both sides are one thread: the same without seq_cst.
 *
 * Rejected: one queue per source and the messages sorted into lanes as they are taken (the
 * lanes would need room of their own, and one that nobody reads would have no bound); a
 * message per MSG_RING (a system call each, and the CQ is no bounded queue); an errand to the
 * receiving shard's loop as the doorbell (one more hop than waking the receiver at once).
 */
#include "runtime/msg.h"

#include "coro/alloc.h"

struct spg__msgs spg__msgs;

void spg__msg_init(uint32_t capacity)
{
	struct spg__msgs *m = &spg__msgs;

	m->capacity = capacity;
	atomic_store_explicit(&m->closed, false, memory_order_relaxed);
	atomic_store_explicit(&m->sent, 0, memory_order_relaxed);
	atomic_store_explicit(&m->doorbells, 0, memory_order_relaxed);
	atomic_store_explicit(&m->coalesced, 0, memory_order_relaxed);
	atomic_store_explicit(&m->backpressure, 0, memory_order_relaxed);
}

void spg__msg_fini(void)
{
	struct spg__msgs *m = &spg__msgs;
	struct spg__msg_part *part = atomic_load_explicit(&m->parts, memory_order_relaxed);
	unsigned lanes = atomic_load_explicit(&m->lanes, memory_order_relaxed);

	/* Newest first: a queue's home is in its lane. */
	while (part != NULL) {
		struct spg__msg_part *next = part->next;

		atomic_store_explicit(part->home, NULL, memory_order_relaxed);
		spg__unmap(part, part->bytes);
		part = next;
	}
	atomic_store_explicit(&m->parts, NULL, memory_order_relaxed);
	for (unsigned i = 1; i <= lanes; i++)
		atomic_store_explicit(&m->lane_of[m->lane_tag[i]], 0, memory_order_relaxed);
	atomic_store_explicit(&m->lanes, 0, memory_order_relaxed);
	for (unsigned i = 0; i < spg__sched.conf.shards; i++)
		atomic_store_explicit(&m->flushed[i], 0, memory_order_relaxed);
}

void spg__msg_close(void)
{
	struct spg__msg_part *part;

	/* seq_cst [B-b], M5: then the bells. */
	atomic_store_explicit(&spg__msgs.closed, true, memory_order_seq_cst);
	part = atomic_load_explicit(&spg__msgs.parts, memory_order_seq_cst);
	for (; part != NULL; part = part->next) {
		char *line = (char *)part->line;

		for (size_t i = 0; i < part->lines; i++, line += part->line_stride)
			spg__line_ring((struct spg__line *)(void *)line);
	}
}

void spg__msg_stats(struct spg_shard_stats *total)
{
	/* relaxed: a snapshot of what moves. */
	total->msgs_sent += atomic_load_explicit(&spg__msgs.sent, memory_order_relaxed);
	total->msg_doorbells += atomic_load_explicit(&spg__msgs.doorbells, memory_order_relaxed);
	total->msg_coalesced += atomic_load_explicit(&spg__msgs.coalesced, memory_order_relaxed);
	total->msg_backpressure += atomic_load_explicit(&spg__msgs.backpressure, memory_order_relaxed);
}

struct spg__msg_part *spg__msg_publish(_Atomic(struct spg__msg_part *) *home, struct spg__msg_part *part)
{
	struct spg__msg_part *there;

	part->home = home;
	spg__lock(&spg__msgs.lock);
	there = atomic_load_explicit(home, memory_order_relaxed);
	if (there == NULL) {
		part->next = atomic_load_explicit(&spg__msgs.parts, memory_order_relaxed);
		/*
		 * seq_cst, both: before the publisher's look at `closed` (M5), or at a bell (M3).
		 * They release what it initialised [M6].
		 */
		atomic_store_explicit(&spg__msgs.parts, part, memory_order_seq_cst);
		atomic_store_explicit(home, part, memory_order_seq_cst);
	}
	spg__unlock(&spg__msgs.lock);
	if (there == NULL)
		return part;
	spg__unmap(part, part->bytes);
	return there;
}

spg__noinline struct spg__msg_lane *spg__msg_lane_new(int shard, unsigned number)
{
	struct spg__msg_lane *lane = spg__map(sizeof(*lane));

	if (lane == NULL)
		return NULL;
	lane->part = (struct spg__msg_part){ .bytes = sizeof(*lane), .line = &lane->receivers, .lines = 1 };
	return spg__container_of(spg__msg_publish(&spg__msgs.lane[number][shard], &lane->part),
				 struct spg__msg_lane, part);
}

spg__noinline struct spg__msg_queue *spg__msg_queue_new(struct spg__msg_lane *lane, int source)
{
	uint32_t capacity = spg__msgs.capacity, slots = 1;
	bool foreign = source == (int)spg__sched.conf.shards;
	struct spg__msg_queue *q;
	size_t bytes;

	while (slots < capacity)
		slots *= 2;
	bytes = sizeof(*q) + slots * sizeof(q->slot[0]);
	q = spg__map(bytes);
	if (q == NULL)
		return NULL;
	q->part = (struct spg__msg_part){ .bytes = bytes, .line = &q->senders, .lines = 1 };
	q->capacity = capacity;
	q->mask = slots - 1;
	q->from = foreign ? -1 : source;
	q->senders.lock = foreign ? &q->lock : NULL;
	return spg__container_of(spg__msg_publish(&lane->from[source], &q->part), struct spg__msg_queue, part);
}

spg__noinline int spg__msg_entry_slow(void)
{
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_MESSAGE, NULL);

	if (err == 0)
		spg__wait_end(&wait);
	return err;
}

int spg__msg_wait_end(void)
{
	int err;

	if (spg__likely(!spg__msg_closed()))
		return 0;
	err = spg__waiter_err(spg__self());
	return err < 0 ? err : -EPIPE;
}
