#include "runtime/chan.h"

#include "coro/alloc.h"
#include "sched/wait.h"

#include <string.h>

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
	spg__list_init(&c->receivers);
	spg__list_init(&c->senders);
	return c;
}

spg_chan *spg_chan_ref(spg_chan *c)
{
	/* relaxed: the caller holds a reference already. */
	if (c != NULL)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void spg_chan_unref(spg_chan *c)
{
	/* acq_rel: the last one sees what the others did (H5). */
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	SPG_CHECK(spg__list_empty(&c->receivers) && spg__list_empty(&c->senders));
	spg__free(c);
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

static inline char *slot(struct spg_chan *c, size_t at)
{
	return c->buf + at * c->elem_size;
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

static inline void put(struct spg_chan *c, const void *elem)
{
	copy(slot(c, c->tail), elem, c->elem_size);
	c->tail = after(c, c->tail);
	atomic_store_explicit(&c->count, count(c) + 1, memory_order_relaxed);
}

static inline void take(struct spg_chan *c, void *elem)
{
	if (elem != NULL)
		copy(elem, slot(c, c->head), c->elem_size);
	c->head = after(c, c->head);
	atomic_store_explicit(&c->count, count(c) - 1, memory_order_relaxed);
}

/* The first waiter that is still there, taken out of the queue and won (H3). NULL: none. */
static inline struct spg__chan_node *take_waiter(struct spg__list *queue)
{
	struct spg__list *link;

	while ((link = spg__list_first(queue)) != NULL) {
		struct spg__chan_node *node = spg__container_of(link, struct spg__chan_node, link);

		spg__list_remove(link);
		node->queued = false; /* H1 */
		if (node->select == NULL || spg__select_claim(node->select))
			return node;
	}
	return NULL;
}

/* Is there a waiter nobody has won? Dead nodes leave the queue. */
static bool waiter_there(struct spg__list *queue)
{
	struct spg__list *link;

	while ((link = spg__list_first(queue)) != NULL) {
		struct spg__chan_node *node = spg__container_of(link, struct spg__chan_node, link);

		/* relaxed: a claim that comes later is found by take_waiter. */
		if (node->select == NULL || !atomic_load_explicit(&node->select->claimed, memory_order_relaxed))
			return true;
		spg__list_remove(link);
		node->queued = false;
	}
	return false;
}

int spg__chan_send_now(struct spg_chan *c, const void *elem, struct spg__chan_node **peer)
{
	struct spg__chan_node *receiver;

	*peer = NULL;
	if (spg__unlikely(c->closed))
		return -EPIPE;
	receiver = take_waiter(&c->receivers);
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

int spg__chan_recv_now(struct spg_chan *c, void *elem, struct spg__chan_node **peer)
{
	struct spg__chan_node *sender;

	*peer = NULL;
	if (count(c) > 0) {
		take(c, elem);
		/* A sender that waited for room: its value goes to the end of the line. */
		sender = take_waiter(&c->senders);
		if (sender != NULL)
			put(c, sender->elem);
		*peer = sender;
		return 0;
	}
	sender = take_waiter(&c->senders);
	if (sender != NULL) {
		if (elem != NULL)
			copy(elem, sender->elem, c->elem_size);
		*peer = sender;
		return 0;
	}
	if (!c->closed)
		return -EAGAIN;
	if (elem != NULL)
		memset(elem, 0, c->elem_size);
	return -EPIPE;
}

bool spg__chan_send_ready(struct spg_chan *c)
{
	return c->closed || count(c) < c->cap || waiter_there(&c->receivers);
}

bool spg__chan_recv_ready(struct spg_chan *c)
{
	return c->closed || count(c) > 0 || waiter_there(&c->senders);
}

void spg__chan_serve(struct spg__chan_node *node, int result)
{
	struct spg__waiter *waiter = node->waiter;

	if (node->select != NULL) {
		spg__select_finish(node->select, node->index, result);
		return;
	}
	node->result = result;
	/* release [H4]: pairs with the acquire in wait_served. */
	atomic_store_explicit(&node->served, true, memory_order_release);
	spg__unpark(waiter);
}

/* Gives up, unless a peer has taken the node (H1). */
static bool leave(struct spg_chan *c, struct spg__chan_node *node)
{
	bool queued;

	spg__lock(&c->lock);
	queued = node->queued;
	if (queued) {
		spg__list_remove(&node->link);
		node->queued = false;
	}
	spg__unlock(&c->lock);
	return queued;
}

/* The node is queued and the lock released: waits for a peer, or for the context's end. */
static int wait_served(struct spg_chan *c, struct spg__chan_node *node, enum spg__reason reason)
{
	struct spg__wait wait;
	int err = 0;

	spg__wait_start(&wait, node->waiter, reason, c);
	/* acquire [H4]: the value, and all that the peer did before. */
	while (!atomic_load_explicit(&node->served, memory_order_acquire)) {
		err = spg__wait_park(&wait);
		if (spg__likely(err == 0))
			continue;
		if (leave(c, node))
			break;
		/* H2: data wins. */
		wait.cancelable = false;
		wait.deadline_ns = SPG__NEVER;
		err = 0;
	}
	spg__wait_end(&wait);
	return err < 0 ? err : node->result;
}

static inline void queue(struct spg__list *list, struct spg__chan_node *node, struct spg__waiter *w, void *elem)
{
	node->waiter = w;
	node->elem = elem;
	node->select = NULL;
	node->queued = true;
	atomic_init(&node->served, false);
	spg__list_append(list, &node->link);
}

/* The entry check failed: says how, as every blocking call does. */
static spg__noinline int entry_failed(enum spg__reason reason, const void *object)
{
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, reason, object);

	if (err == 0) {
		/* It was spg_stop's interruption, gone by now. */
		spg__wait_end(&wait);
		return -ECANCELED;
	}
	return err;
}

int spg_chan_send(spg_chan *c, const void *elem)
{
	struct spg__waiter *w = spg__self();
	struct spg__chan_node node, *peer;
	int err;

	if (spg__unlikely(c == NULL || (elem == NULL && c->elem_size > 0)))
		return -EINVAL;
	if (spg__unlikely(w == NULL || spg__waiter_err(w) < 0))
		return entry_failed(SPG__REASON_CHAN_SEND, c);
	spg__lock(&c->lock);
	err = spg__chan_send_now(c, elem, &peer);
	if (err != -EAGAIN) {
		spg__unlock(&c->lock);
		if (peer != NULL)
			spg__chan_serve(peer, 0); /* H2 */
		return err;
	}
	queue(&c->senders, &node, w, (void *)(uintptr_t)elem);
	spg__unlock(&c->lock);
	return wait_served(c, &node, SPG__REASON_CHAN_SEND);
}

int spg_chan_recv(spg_chan *c, void *elem)
{
	struct spg__waiter *w = spg__self();
	struct spg__chan_node node, *peer;
	int err;

	if (spg__unlikely(c == NULL))
		return -EINVAL;
	if (spg__unlikely(w == NULL || spg__waiter_err(w) < 0))
		return entry_failed(SPG__REASON_CHAN_RECV, c);
	spg__lock(&c->lock);
	err = spg__chan_recv_now(c, elem, &peer);
	if (err != -EAGAIN) {
		spg__unlock(&c->lock);
		if (peer != NULL)
			spg__chan_serve(peer, 0);
		return err;
	}
	queue(&c->receivers, &node, w, elem);
	spg__unlock(&c->lock);
	err = wait_served(c, &node, SPG__REASON_CHAN_RECV);
	return err;
}

int spg_chan_try_send(spg_chan *c, const void *elem)
{
	struct spg__chan_node *peer;
	int err;

	if (c == NULL || (elem == NULL && c->elem_size > 0))
		return -EINVAL;
	spg__lock(&c->lock);
	err = spg__chan_send_now(c, elem, &peer);
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
	err = spg__chan_recv_now(c, elem, &peer);
	spg__unlock(&c->lock);
	if (peer != NULL)
		spg__chan_serve(peer, 0);
	return err;
}

/* Moves the waiters nobody has won to a list of the caller's, under the lock. */
static void take_all(struct spg__list *queue_, struct spg__list *out)
{
	struct spg__chan_node *node;

	while ((node = take_waiter(queue_)) != NULL)
		spg__list_append(out, &node->link);
}

int spg_chan_close(spg_chan *c)
{
	struct spg__list waiters;
	struct spg__list *link;

	if (c == NULL)
		return -EINVAL;
	spg__list_init(&waiters);
	spg__lock(&c->lock);
	if (c->closed) {
		spg__unlock(&c->lock);
		return -EPIPE;
	}
	c->closed = true;
	take_all(&c->receivers, &waiters);
	for (link = waiters.next; link != &waiters; link = link->next) {
		struct spg__chan_node *node = spg__container_of(link, struct spg__chan_node, link);

		if (node->elem != NULL)
			memset(node->elem, 0, c->elem_size);
	}
	take_all(&c->senders, &waiters);
	spg__unlock(&c->lock);
	while ((link = spg__list_first(&waiters)) != NULL) {
		spg__list_remove(link);
		spg__chan_serve(spg__container_of(link, struct spg__chan_node, link), -EPIPE);
	}
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
