/*
 * The condition variable: first in, first out. A wait always returns holding the mutex.
 * A waiter that was signaled and canceled at once reports the signal: none is lost.
 */
#include "runtime/sync.h"
#include "runtime/waitq.h"

#include <spg/sync.h>

struct cond {
	struct spg__lock lock;
	struct spg__waitq queue;
};
_Static_assert(sizeof(struct cond) <= sizeof(spg_cond), "fits the public words");

static inline struct cond *of(spg_cond *c)
{
	return (struct cond *)(void *)c;
}

int spg_cond_wait(spg_cond *c, spg_mutex *m)
{
	struct cond *cond = of(c);
	struct spg__waitq_node node;
	struct spg__wait wait;
	int err;

	if (!spg__mutex_mine(m))
		return -EPERM;
	err = spg__wait_begin(&wait, SPG__REASON_COND, cond);
	if (err < 0)
		return err;
	spg__lock(&cond->lock);
	spg__waitq_push(&cond->queue, &node, wait.waiter);
	spg__unlock(&cond->lock);
	/* Queued before the mutex is free: a signal after that finds us. */
	SPG_CHECK(spg_mutex_unlock(m) == 0);
	spg__lock(&cond->lock);
	err = spg__waitq_wait(&cond->lock, &node, &wait);
	spg__wait_end(&wait);
	SPG_CHECK(spg_mutex_lock(m) == 0);
	return err;
}

int spg_cond_signal(spg_cond *c)
{
	struct cond *cond = of(c);
	struct spg__waitq_node *node;

	spg__lock(&cond->lock);
	node = spg__waitq_pop(&cond->queue);
	spg__unlock(&cond->lock);
	if (node != NULL)
		spg__waitq_serve(node);
	return 0;
}

int spg_cond_broadcast(spg_cond *c)
{
	struct cond *cond = of(c);
	struct spg__list waiters;

	spg__lock(&cond->lock);
	spg__waitq_take_all(&cond->queue, &waiters);
	spg__unlock(&cond->lock);
	spg__waitq_serve_all(&waiters);
	return 0;
}
