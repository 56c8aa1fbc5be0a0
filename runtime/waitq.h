/*
 * A queue of waiters of a lock-like object, first in, first out, under the object's
 * spinlock. All zero is an empty queue, so objects need no constructor.
 *
 * E1  A node is `queued` while it is in the queue; whoever clears that, under the lock,
 *     decides: a server that gives it what it waits for, or its waiter that gives up.
 * E2  The server unlocks first and serves last: the served may let the object go.
 *     Serving reads node->waiter first; its last access is the store of served.
 * E3  The queue's lock is a spinlock beside the queue, or a bit of a word of the object
 *     (spg__word_lock) where seeing that word's value alone lets the object go.
 */
#ifndef SPG__RUNTIME_WAITQ_H
#define SPG__RUNTIME_WAITQ_H

#include "coro/list.h"
#include "coro/lock.h"
#include "sched/wait.h"

struct spg__waitq {
	struct spg__list head;
};

struct spg__waitq_node {
	struct spg__list link;
	struct spg__waiter *waiter;
	bool queued;
	_Atomic bool served;
	/* Lowered, under the lock, when the waiter gives up; may be NULL. */
	uint32_t *count;
};

static inline bool spg__waitq_empty(const struct spg__waitq *q)
{
	return q->head.next == NULL || spg__list_empty(&q->head);
}

static inline void spg__waitq_push(struct spg__waitq *q, struct spg__waitq_node *node, struct spg__waiter *w)
{
	if (q->head.next == NULL)
		spg__list_init(&q->head);
	node->waiter = w;
	node->queued = true;
	node->count = NULL;
	atomic_init(&node->served, false);
	spg__list_append(&q->head, &node->link);
}

/* The oldest, out of the queue; NULL: empty. To be served after the unlock (E2). */
static inline struct spg__waitq_node *spg__waitq_pop(struct spg__waitq *q)
{
	struct spg__waitq_node *node;

	if (spg__waitq_empty(q))
		return NULL;
	node = spg__container_of(q->head.next, struct spg__waitq_node, link);
	spg__list_remove(&node->link);
	node->queued = false;
	return node;
}

static inline void spg__waitq_serve(struct spg__waitq_node *node)
{
	struct spg__waiter *waiter = node->waiter;

	/* release [E2]: pairs with the acquire in spg__waitq_park. */
	atomic_store_explicit(&node->served, true, memory_order_release);
	spg__unpark(waiter);
}

/* Moves all waiters to a list of the caller's, to be served after the unlock. */
void spg__waitq_take_all(struct spg__waitq *q, struct spg__list *out);
void spg__waitq_serve_all(struct spg__list *list);

/* Out of the queue, under the lock: its waiter gives up. false: a server has taken the node (E1). */
bool spg__waitq_leave(struct spg__waitq_node *node);

/* Parks until served: 0. Else the error that ended the wait: the node may still be in the queue. */
int spg__waitq_park(struct spg__waitq_node *node, struct spg__wait *wait);

/* For a waiter that could not leave: its server is about to store served. */
void spg__waitq_await(struct spg__waitq_node *node);

/*
 * The node is queued and the lock held: unlocks, waits to be served. 0, or the error of
 * wait->cancelable's context or deadline, and then the node has left the queue.
 */
int spg__waitq_wait(struct spg__lock *lock, struct spg__waitq_node *node, struct spg__wait *wait);

/*
 * A lock bit in a word that holds more, for objects whose last access must be the one that
 * makes the effect visible: the word's next value unlocks it too. Sections are as short as
 * those of spg__lock (L1). A word that is exactly `pending` counts as locked.
 */
#define SPG__WORD_LOCKED ((uintptr_t)2)

uintptr_t spg__word_lock_slow(_Atomic uintptr_t *word, uintptr_t pending);

/* Sets the bit; returns the word without it. */
static inline uintptr_t spg__word_lock(_Atomic uintptr_t *word, uintptr_t pending)
{
	/* relaxed: the CAS decides. */
	uintptr_t seen = atomic_load_explicit(word, memory_order_relaxed);

	/* acquire [E3]: what the former holder wrote. */
	if (spg__likely((seen & SPG__WORD_LOCKED) == 0 && seen != pending &&
			atomic_compare_exchange_strong_explicit(word, &seen, seen | SPG__WORD_LOCKED,
								memory_order_acquire, memory_order_relaxed)))
		return seen;
	return spg__word_lock_slow(word, pending);
}

static inline void spg__word_unlock(_Atomic uintptr_t *word, uintptr_t value)
{
	/* release [E3], and whatever the value itself publishes. */
	atomic_store_explicit(word, value, memory_order_release);
}

#endif
