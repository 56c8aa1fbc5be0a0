/*
 * Channels from the inside, for select and contexts.
 *
 * H1  A channel's fields and queues change under its lock only. A node is `queued`
 *     while it is in a queue; whoever clears that, under the lock, decides its fate:
 *     a peer that serves it, or its own waiter that gives up.
 * H2  A peer copies the value under the lock and serves the node after the unlock:
 *     the served may drop the channel's last reference, so serving is the last thing.
 *     A waiter that finds its node not queued and not served waits for the serving.
 * H3  Nodes of one select share its word: a peer that takes one out of a queue serves
 *     it only if it wins the word by CAS; else the node is dead and passed over.
 * H4  Serving reads node->waiter first; its last access is the store of served (or of
 *     the select's done), then the unpark (W1).
 * H5  Everybody inside a call holds a reference, his own or his caller's. The last
 *     unref comes after its owner saw the others' effects, which come after their
 *     unlock: the lock word is not touched after the free.
 */
#ifndef SPG__RUNTIME_CHAN_H
#define SPG__RUNTIME_CHAN_H

#include "coro/list.h"
#include "coro/lock.h"
#include "sched/park.h"

#include <spg/chan.h>

struct spg_chan {
	struct spg__lock lock;
	_Atomic uint32_t refs;
	size_t elem_size, cap;
	/* Written under the lock, read without by spg_chan_len. */
	_Atomic size_t count;
	size_t head, tail;
	bool closed;
	struct spg__list receivers, senders;
	char buf[];
};

/* What the cases of one waiting select share. */
struct spg__select {
	struct spg__waiter *waiter;
	_Atomic bool claimed, done;
	int index, err;
};

struct spg__chan_node {
	struct spg__list link;
	struct spg__waiter *waiter;
	/* Where the value goes to, or comes from. */
	void *elem;
	struct spg__select *select; /* NULL: a send or receive of its own */
	int index;		    /* of the case */
	bool queued;
	int result;
	_Atomic bool served;
};

/* Under the lock, without waiting: 0, -EPIPE, or -EAGAIN. *peer: to be served after the unlock, or NULL. */
int spg__chan_send_now(struct spg_chan *c, const void *elem, struct spg__chan_node **peer);
int spg__chan_recv_now(struct spg_chan *c, void *elem, struct spg__chan_node **peer);

/* Would they not return -EAGAIN? Under the lock; drops dead nodes on the way. */
bool spg__chan_send_ready(struct spg_chan *c);
bool spg__chan_recv_ready(struct spg_chan *c);

/* H4. Outside the lock. */
void spg__chan_serve(struct spg__chan_node *node, int result);

/* Wins the select for the caller; false: it is decided already. */
static inline bool spg__select_claim(struct spg__select *select)
{
	bool free = false;

	/* acq_rel: one winner; the loser needs nothing of it. */
	return atomic_compare_exchange_strong_explicit(&select->claimed, &free, true, memory_order_acq_rel,
						       memory_order_relaxed);
}

/* By the winner: tells the result and wakes the select. Last access: done. */
static inline void spg__select_finish(struct spg__select *select, int index, int err)
{
	struct spg__waiter *waiter = select->waiter;

	select->index = index;
	select->err = err;
	/* release [H4]: pairs with the acquire in spg_select. */
	atomic_store_explicit(&select->done, true, memory_order_release);
	spg__unpark(waiter);
}

#endif
