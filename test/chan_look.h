/*
 * A look into a channel: how many wait in its queues. For quiescing: a test goes on
 * when its peers are parked, and sleeps for nobody.
 */
#ifndef SPG__TEST_CHAN_LOOK_H
#define SPG__TEST_CHAN_LOOK_H

#include "crowd.h"

#include "runtime/chan.h"

static inline size_t look_count(spg_chan *c, struct spg__chan_queue *queue)
{
	size_t n = 0;

	spg__lock(&c->lock);
	for (struct spg__chan_node *node = atomic_load(&queue->first); node != NULL; node = node->next)
		n++;
	spg__unlock(&c->lock);
	return n;
}

static inline size_t look_receivers(spg_chan *c)
{
	return look_count(c, &c->receivers);
}

static inline size_t look_senders(spg_chan *c)
{
	return look_count(c, &c->senders);
}

/* Nothing of anybody is left in it. */
static inline void look_empty(spg_chan *c)
{
	T_EQ(look_receivers(c), 0);
	T_EQ(look_senders(c), 0);
	T_EQ(c->strays, 0);
	T_EQ(spg_chan_len(c), 0);
}

#endif
