/*
 * Channels from the inside, for select. The invariants (H1 ...) stand in chan.c.
 */
#ifndef SPG__RUNTIME_CHAN_H
#define SPG__RUNTIME_CHAN_H

#include "coro/lock.h"
#include "sched/wait.h"

#include <spg/chan.h>

/* What becomes of a node: two marks, then the result (0 or a negative errno). */
#define SPG__NODE_QUEUED 2
#define SPG__NODE_TAKEN 1

/* What the cases of one waiting select share. */
struct spg__select {
	struct spg__waiter *waiter;
	/* Won once, by a peer, a source, or the select itself that gives up (H3). */
	_Atomic bool claimed;
	_Atomic bool done;
	int index, err;
};

/* One who waits in a channel's queue: a send, a receive, or a case of a select. */
struct spg__chan_node {
	struct spg__chan_node *next, *prev;
	/* Where the value goes to, or comes from. */
	void *elem;
	union {
		struct spg__waiter *waiter; /* of a send or receive */
		struct spg_chan *chan;	    /* of a select's case */
	};
	struct spg__select *select; /* NULL: a send or receive */
	int index;		    /* of the case */
	_Atomic int state;
};

struct spg__chan_queue {
	/* Written under the lock, read without by the select's first look. */
	_Atomic(struct spg__chan_node *) first;
	struct spg__chan_node *last;
};

struct spg_chan {
	struct spg__lock lock;
	/* Nodes of decided selects that peers took out; their selects will count them off (H5). */
	uint32_t strays;
	_Atomic uint32_t refs;
	/* Written under the lock, read without by the select's first look. */
	_Atomic bool closed;
	/* The last reference is gone: the last node that leaves frees (H5). */
	bool orphan;
	size_t elem_size, cap;
	/* As closed; and by spg_chan_len. */
	_Atomic size_t count;
	size_t head, tail;
	struct spg__chan_queue receivers, senders;
	alignas(16) char buf[];
};

/* Under the lock, without waiting: 0, -EPIPE, or -EAGAIN. *peer: to be served after the unlock, or NULL. */
int spg__chan_send_now(struct spg_chan *c, const void *elem, struct spg__chan_node **peer);
int spg__chan_recv_now(struct spg_chan *c, void *elem, struct spg__chan_node **peer);

/* Would they not return -EAGAIN? Under the lock; drops the nodes of decided selects on the way. */
bool spg__chan_send_ready(struct spg_chan *c);
bool spg__chan_recv_ready(struct spg_chan *c);

/* H4. Outside the lock. */
void spg__chan_serve(struct spg__chan_node *node, int result);

/* A node of a decided select leaves, whether it is still queued or not. Takes the lock; may free c (H5). */
void spg__chan_leave(struct spg_chan *c, struct spg__chan_queue *queue, struct spg__chan_node *node);

/* Under the lock. */
static inline void spg__chan_enqueue(struct spg__chan_queue *queue, struct spg__chan_node *node)
{
	atomic_init(&node->state, SPG__NODE_QUEUED);
	node->next = NULL;
	node->prev = queue->last;
	if (queue->last != NULL)
		queue->last->next = node;
	else /* relaxed: a hint to those without the lock. */
		atomic_store_explicit(&queue->first, node, memory_order_relaxed);
	queue->last = node;
}

/*
 * Hints without the lock: would a send or receive find something? May be wrong either way
 * (relaxed): whoever acts on them locks and looks again.
 */
static inline bool spg__chan_send_hint(struct spg_chan *c)
{
	return atomic_load_explicit(&c->count, memory_order_relaxed) < c->cap ||
	       atomic_load_explicit(&c->receivers.first, memory_order_relaxed) != NULL ||
	       atomic_load_explicit(&c->closed, memory_order_relaxed);
}

static inline bool spg__chan_recv_hint(struct spg_chan *c)
{
	return atomic_load_explicit(&c->count, memory_order_relaxed) > 0 ||
	       atomic_load_explicit(&c->senders.first, memory_order_relaxed) != NULL ||
	       atomic_load_explicit(&c->closed, memory_order_relaxed);
}

/* The entry check of a blocking call: true: nothing ends it. */
static inline bool spg__chan_entered(struct spg__waiter *w)
{
	return spg__likely(w != NULL && spg__waiter_err(w) == 0);
}

/* It failed: the error; or 0, and spg__self() is not NULL (there is memory for a waiter now). */
int spg__chan_enter_slow(enum spg__reason reason, const void *object);

/* Wins the select for the caller; false: it is decided already. */
static inline bool spg__select_claim(struct spg__select *select)
{
	bool unclaimed = false;

	/* relaxed: it only decides; what the winner writes is released by done. */
	return atomic_compare_exchange_strong_explicit(&select->claimed, &unclaimed, true,
						       memory_order_relaxed, memory_order_relaxed);
}

/* By the winner: tells the result and wakes the select. Last access: done. */
static inline void spg__select_finish(struct spg__select *select, int index, int err)
{
	struct spg__waiter *waiter = select->waiter;

	select->index = index;
	select->err = err;
	/* release [H4]: pairs with the acquire in wait_decided. */
	atomic_store_explicit(&select->done, true, memory_order_release);
	spg__unpark(waiter);
}

#endif
