/*
 * Channels, after Go's runtime: a lock, a ring buffer, two queues of waiters.
 *
 * H1  A channel's fields and queues change under its lock only. A node's state goes from
 *     QUEUED to TAKEN under the lock, by whoever takes it out, and from TAKEN to a result
 *     by the same one, after the unlock.
 * H2  With buffered values nobody waits in `receivers`; with room nobody waits in
 *     `senders`; after the close nobody joins a queue, and who is in one is past sending
 *     and receiving. So whoever finds a peer hands over straight, between the two callers'
 *     memory, and order is first in, first out.
 * H3  The nodes of one select share its word. A peer that takes one out serves it only if
 *     it wins the word by CAS; else it counts it as a stray and goes on to the next.
 *
 * Who may still touch what. A call may be the last to see an object alive as soon as its
 * effect is visible: the peer that saw the value or the close may drop the last reference,
 * and a served waiter's frame ends.
 *
 * H4  A peer copies the value under the lock and serves after the unlock. Serving reads the
 *     waiter first; its last access to the node is the store of the result (to a select's
 *     frame: the store of done), then it unparks (W1).
 * H5  The unlock is a call's last access to the channel, and the last unref takes the lock
 *     once before the channel is freed: so the holder whose effect it has seen is out. Three
 *     touch the channel later than their effect, and are provided for:
 *     - A select that ran one case has still to leave the other cases' channels. Its nodes,
 *       queued or counted as strays, hold a channel: the last unref finds them and makes the
 *       channel an orphan; the node that leaves last frees it.
 *     - A waiter that gives up while a peer takes its node: see H6.
 *     - A close that has more waiters to wake than one hold of the lock takes: it has a
 *       reference of its own from the moment of the close.
 * H6  A waiter that gives up locks a giving-up lock, by the channel's address, then looks at
 *     its node. TAKEN: it does not touch the channel, and waits to be served (data wins).
 *     QUEUED: it locks the channel, too, and looks again. A channel's memory is freed by one
 *     who has passed through that giving-up lock: either it sees TAKEN, or the free waits.
 *     These locks are static, so both sides may always touch them.
 *
 * Rejected: a CAS QUEUED -> TAKEN or a reference per waiter, which do what H6 does and cost
 * every wake an atomic operation; type-stable channels, which hide a use after the last
 * unref from AddressSanitizer; values copied after the unlock (the channel would not order
 * them); readiness without the lock as the last word (two threads, each sending on one
 * channel and then finding the other's empty: both may miss in the store buffer).
 */
#include "runtime/chan.h"

#include "coro/alloc.h"
#include "coro/leak.h"

#include <string.h>

/* Waiters woken per hold of the lock by a close (L1). */
#define CLOSE_BATCH 32
#define GIVING_UP_LOCKS 64u

/* H6. */
static struct {
	alignas(SPG__CACHELINE) struct spg__lock lock;
} giving_up[GIVING_UP_LOCKS];

static struct spg__lock *giving_up_lock(const struct spg_chan *c)
{
	return &giving_up[((uintptr_t)c * 0x9E3779B97F4A7C15u >> 32) % GIVING_UP_LOCKS].lock;
}

spg_chan *spg_chan_new(size_t elem_size, size_t capacity)
{
	struct spg_chan *c;
	size_t bytes;

	if (__builtin_mul_overflow(elem_size, capacity, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*c), &bytes) || bytes > PTRDIFF_MAX)
		return NULL;
	c = spg__alloc(bytes);
	if (c == NULL)
		return NULL;
	*c = (struct spg_chan){ .elem_size = elem_size, .cap = capacity };
	atomic_init(&c->refs, 1);
	spg__leak_made(SPG__LEAK_CHAN, (uintptr_t)c, __builtin_return_address(0));
	return c;
}

spg_chan *spg_chan_ref(spg_chan *c)
{
	/* relaxed: the caller holds a reference already. */
	if (c != NULL)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

/* Nobody references it, no node is in it, nobody holds its lock. */
static void chan_free(struct spg_chan *c)
{
	struct spg__lock *lock = giving_up_lock(c);

	spg__lock(lock); /* H6 */
	spg__unlock(lock);
	spg__leak_gone(SPG__LEAK_CHAN, (uintptr_t)c);
	spg__free(c);
}

static struct spg__chan_node *first(const struct spg__chan_queue *queue)
{
	/* relaxed: under the lock. */
	return atomic_load_explicit(&queue->first, memory_order_relaxed);
}

/* Selects that have run another case may still be there (H5); nobody else may. */
static void check_decided(const struct spg__chan_queue *queue)
{
	for (struct spg__chan_node *node = first(queue); node != NULL; node = node->next)
		SPG_CHECK(node->select != NULL &&
			  atomic_load_explicit(&node->select->claimed, memory_order_relaxed));
}

/* Does anything of a select hold it? Under the lock. */
static bool held(const struct spg_chan *c)
{
	return first(&c->receivers) != NULL || first(&c->senders) != NULL || c->strays > 0;
}

void spg_chan_unref(spg_chan *c)
{
	bool orphan;

	/* acq_rel: the last one sees what the others did. */
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	spg__lock(&c->lock); /* H5 */
	check_decided(&c->receivers);
	check_decided(&c->senders);
	orphan = c->orphan = held(c);
	spg__unlock(&c->lock);
	if (!orphan)
		chan_free(c);
}

/* Values are mostly words: the sizes known at compile time become moves. */
static inline void copy(void *to, const void *from, size_t size)
{
	switch (size) {
	case 0:
		break;
	case 4:
		memcpy(to, from, 4);
		break;
	case 8:
		memcpy(to, from, 8);
		break;
	case 16:
		memcpy(to, from, 16);
		break;
	default:
		memcpy(to, from, size);
	}
}

static inline size_t after(const struct spg_chan *c, size_t at)
{
	return at + 1 == c->cap ? 0 : at + 1;
}

static inline size_t count(const struct spg_chan *c)
{
	/* relaxed: under the lock. */
	return atomic_load_explicit(&c->count, memory_order_relaxed);
}

static inline bool is_closed(const struct spg_chan *c)
{
	/* relaxed: under the lock. */
	return atomic_load_explicit(&c->closed, memory_order_relaxed);
}

static inline void put(struct spg_chan *c, const void *elem)
{
	copy(c->buf + c->tail * c->elem_size, elem, c->elem_size);
	c->tail = after(c, c->tail);
	/* relaxed: under the lock; a hint to others. */
	atomic_store_explicit(&c->count, count(c) + 1, memory_order_relaxed);
}

static inline void take(struct spg_chan *c, void *elem)
{
	if (elem != NULL)
		copy(elem, c->buf + c->head * c->elem_size, c->elem_size);
	c->head = after(c, c->head);
	/* relaxed: as in put. */
	atomic_store_explicit(&c->count, count(c) - 1, memory_order_relaxed);
}

/* H1. The caller sees to the state. */
static inline void unlink_node(struct spg__chan_queue *queue, struct spg__chan_node *node)
{
	if (node->next != NULL)
		node->next->prev = node->prev;
	else
		queue->last = node->prev;
	if (node->prev != NULL)
		node->prev->next = node->next;
	else /* relaxed: a hint to those without the lock. */
		atomic_store_explicit(&queue->first, node->next, memory_order_relaxed);
}

/* The oldest waiter, taken out of the queue and won (H3). NULL: none. */
static inline struct spg__chan_node *take_waiter(struct spg_chan *c, struct spg__chan_queue *queue)
{
	struct spg__chan_node *node;

	while ((node = first(queue)) != NULL) {
		unlink_node(queue, node);
		/* relaxed: read under the lock, or under H6's. */
		atomic_store_explicit(&node->state, SPG__NODE_TAKEN, memory_order_relaxed);
		if (spg__likely(node->select == NULL) || spg__select_claim(node->select))
			return node;
		c->strays++;
	}
	return NULL;
}

/* Is there a waiter nobody has won? */
static bool waiter_there(struct spg_chan *c, struct spg__chan_queue *queue)
{
	struct spg__chan_node *node;

	while ((node = first(queue)) != NULL) {
		/* relaxed: a claim that comes later is found by take_waiter. */
		if (node->select == NULL || !atomic_load_explicit(&node->select->claimed, memory_order_relaxed))
			return true;
		unlink_node(queue, node);
		atomic_store_explicit(&node->state, SPG__NODE_TAKEN, memory_order_relaxed);
		c->strays++;
	}
	return false;
}

static inline int send_now(struct spg_chan *c, const void *elem, struct spg__chan_node **peer)
{
	struct spg__chan_node *receiver;

	*peer = NULL;
	if (spg__unlikely(is_closed(c)))
		return -EPIPE;
	receiver = take_waiter(c, &c->receivers);
	if (receiver != NULL) {
		if (receiver->elem != NULL)
			copy(receiver->elem, elem, c->elem_size);
		*peer = receiver;
		return 0;
	}
	if (count(c) == c->cap)
		return -EAGAIN;
	put(c, elem);
	return 0;
}

static inline int recv_now(struct spg_chan *c, void *elem, struct spg__chan_node **peer)
{
	struct spg__chan_node *sender;

	/* Senders that a close has yet to wake (close_rest) are past sending. */
	sender = spg__likely(!is_closed(c)) ? take_waiter(c, &c->senders) : NULL;
	*peer = sender;
	if (count(c) > 0) {
		take(c, elem);
		/* It waited for room: its value goes to the end of the line. */
		if (sender != NULL)
			put(c, sender->elem);
		return 0;
	}
	if (sender != NULL) {
		if (elem != NULL)
			copy(elem, sender->elem, c->elem_size);
		return 0;
	}
	if (!is_closed(c))
		return -EAGAIN;
	if (elem != NULL)
		memset(elem, 0, c->elem_size);
	return -EPIPE;
}

int spg__chan_send_now(struct spg_chan *c, const void *elem, struct spg__chan_node **peer)
{
	return send_now(c, elem, peer);
}

int spg__chan_recv_now(struct spg_chan *c, void *elem, struct spg__chan_node **peer)
{
	return recv_now(c, elem, peer);
}

bool spg__chan_send_ready(struct spg_chan *c)
{
	return is_closed(c) || count(c) < c->cap || waiter_there(c, &c->receivers);
}

bool spg__chan_recv_ready(struct spg_chan *c)
{
	return is_closed(c) || count(c) > 0 || waiter_there(c, &c->senders);
}

void spg__chan_serve(struct spg__chan_node *node, int result)
{
	struct spg__waiter *waiter;

	if (node->select != NULL) {
		spg__select_finish(node->select, node->index, result);
		return;
	}
	waiter = node->waiter;
	/* release [H4]: pairs with the acquire in wait_served. */
	atomic_store_explicit(&node->state, result, memory_order_release);
	spg__unpark(waiter);
}

void spg__chan_leave(struct spg_chan *c, struct spg__chan_queue *queue, struct spg__chan_node *node)
{
	bool last;

	spg__lock(&c->lock);
	/* relaxed: under the lock (H1). */
	if (atomic_load_explicit(&node->state, memory_order_relaxed) == SPG__NODE_QUEUED)
		unlink_node(queue, node);
	else
		c->strays--;
	last = c->orphan && !held(c);
	spg__unlock(&c->lock);
	if (spg__unlikely(last))
		chan_free(c); /* H5 */
}

/* H6. false: a peer has taken the node. */
static spg__noinline bool give_up(struct spg_chan *c, struct spg__chan_queue *queue, struct spg__chan_node *node)
{
	struct spg__lock *lock = giving_up_lock(c);
	bool queued;

	spg__lock(lock);
	/* relaxed, both: ordered by this lock and the channel's. */
	queued = atomic_load_explicit(&node->state, memory_order_relaxed) == SPG__NODE_QUEUED;
	if (queued) {
		spg__lock(&c->lock);
		queued = atomic_load_explicit(&node->state, memory_order_relaxed) == SPG__NODE_QUEUED;
		if (queued)
			unlink_node(queue, node);
		spg__unlock(&c->lock);
	}
	spg__unlock(lock);
	return queued;
}

/* The node is queued and the lock released: waits for a peer, or for the context's end. */
static int wait_served(struct spg_chan *c, struct spg__chan_queue *queue, struct spg__chan_node *node,
		       enum spg__reason reason)
{
	struct spg__wait wait;
	int err, state;

	spg__wait_start(&wait, node->waiter, reason, c);
	/* acquire [H4]: the value, and all that the peer did before. */
	while ((state = atomic_load_explicit(&node->state, memory_order_acquire)) > 0) {
		err = spg__wait_park(&wait);
		if (spg__likely(err == 0))
			continue;
		if (give_up(c, queue, node)) {
			state = err;
			break;
		}
		/* Data wins: it is about to be served. */
		wait.cancelable = false;
		wait.deadline_ns = SPG__NEVER;
	}
	spg__wait_end(&wait);
	return state;
}

static inline void enqueue(struct spg__chan_queue *queue, struct spg__chan_node *node, struct spg__waiter *w,
			   void *elem)
{
	node->waiter = w;
	node->elem = elem;
	node->select = NULL;
	spg__chan_enqueue(queue, node);
}

spg__noinline int spg__chan_enter_slow(enum spg__reason reason, const void *object)
{
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, reason, object);

	if (err == 0)
		spg__wait_end(&wait);
	return err;
}

int spg_chan_send(spg_chan *c, const void *elem)
{
	struct spg__chan_node node, *peer;
	struct spg__waiter *w = spg__self();
	int err;

	if (spg__unlikely(c == NULL || (elem == NULL && c->elem_size > 0)))
		return -EINVAL;
	if (!spg__chan_entered(w)) {
		err = spg__chan_enter_slow(SPG__REASON_CHAN_SEND, c);
		if (err < 0)
			return err;
		w = spg__self();
	}
	spg__lock(&c->lock);
	err = send_now(c, elem, &peer);
	if (err == -EAGAIN) {
		enqueue(&c->senders, &node, w, (void *)(uintptr_t)elem);
		spg__unlock(&c->lock);
		return wait_served(c, &c->senders, &node, SPG__REASON_CHAN_SEND);
	}
	spg__unlock(&c->lock);
	if (peer != NULL)
		spg__chan_serve(peer, 0); /* H4 */
	return err;
}

int spg_chan_recv(spg_chan *c, void *elem)
{
	struct spg__chan_node node, *peer;
	struct spg__waiter *w = spg__self();
	int err;

	if (spg__unlikely(c == NULL))
		return -EINVAL;
	if (!spg__chan_entered(w)) {
		err = spg__chan_enter_slow(SPG__REASON_CHAN_RECV, c);
		if (err < 0)
			return err;
		w = spg__self();
	}
	spg__lock(&c->lock);
	err = recv_now(c, elem, &peer);
	if (err == -EAGAIN) {
		enqueue(&c->receivers, &node, w, elem);
		spg__unlock(&c->lock);
		return wait_served(c, &c->receivers, &node, SPG__REASON_CHAN_RECV);
	}
	spg__unlock(&c->lock);
	if (peer != NULL)
		spg__chan_serve(peer, 0);
	return err;
}

int spg_chan_try_send(spg_chan *c, const void *elem)
{
	struct spg__chan_node *peer;
	int err;

	if (c == NULL || (elem == NULL && c->elem_size > 0))
		return -EINVAL;
	spg__lock(&c->lock);
	err = send_now(c, elem, &peer);
	spg__unlock(&c->lock);
	if (peer != NULL)
		spg__chan_serve(peer, 0);
	return err;
}

int spg_chan_try_recv(spg_chan *c, void *elem)
{
	struct spg__chan_node *peer;
	int err;

	if (c == NULL)
		return -EINVAL;
	spg__lock(&c->lock);
	err = recv_now(c, elem, &peer);
	spg__unlock(&c->lock);
	if (peer != NULL)
		spg__chan_serve(peer, 0);
	return err;
}

/* The oldest waiters of a closed channel, linked by next, oldest first. Under the lock. */
static struct spg__chan_node *close_batch(struct spg_chan *c)
{
	struct spg__chan_node *batch = NULL, **end = &batch, *node;

	for (int n = 0; n < CLOSE_BATCH; n++) {
		node = take_waiter(c, &c->receivers);
		if (node != NULL && node->elem != NULL)
			memset(node->elem, 0, c->elem_size);
		if (node == NULL)
			node = take_waiter(c, &c->senders);
		if (node == NULL)
			break;
		*end = node;
		end = &node->next;
	}
	*end = NULL;
	return batch;
}

static void serve_batch(struct spg__chan_node *node)
{
	while (node != NULL) {
		struct spg__chan_node *next = node->next;

		spg__chan_serve(node, -EPIPE);
		node = next;
	}
}

/* H5: has a reference of its own. */
static void close_rest(struct spg_chan *c)
{
	struct spg__chan_node *batch;

	do {
		spg__lock(&c->lock);
		batch = close_batch(c);
		spg__unlock(&c->lock);
		serve_batch(batch);
	} while (batch != NULL);
	spg_chan_unref(c);
}

int spg_chan_close(spg_chan *c)
{
	struct spg__chan_node *batch;
	bool more;

	if (c == NULL)
		return -EINVAL;
	spg__lock(&c->lock);
	if (is_closed(c)) {
		spg__unlock(&c->lock);
		return -EPIPE;
	}
	/* relaxed: under the lock; a hint to others. */
	atomic_store_explicit(&c->closed, true, memory_order_relaxed);
	batch = close_batch(c);
	more = first(&c->receivers) != NULL || first(&c->senders) != NULL;
	if (more)
		spg_chan_ref(c);
	spg__unlock(&c->lock);
	serve_batch(batch);
	if (more)
		close_rest(c);
	return 0;
}

size_t spg_chan_len(const spg_chan *c)
{
	/* relaxed: a number that is old as soon as it is told. */
	return c != NULL ? atomic_load_explicit(&c->count, memory_order_relaxed) : 0;
}

size_t spg_chan_cap(const spg_chan *c)
{
	return c != NULL ? c->cap : 0;
}
