/*
 * The counting semaphore: first in, first out; a release with waiters hands its unit over.
 */
#include "runtime/waitq.h"

#include <spg/sync.h>

struct sem {
	struct spg__lock lock;
	unsigned count;
	struct spg__waitq queue;
};
_Static_assert(sizeof(struct sem) <= sizeof(spg_sem), "fits the public words");

static inline struct sem *of(spg_sem *s)
{
	return (struct sem *)(void *)s;
}

int spg_sem_init(spg_sem *s, int n)
{
	if (n < 0)
		return -EINVAL;
	*of(s) = (struct sem){ .count = (unsigned)n };
	return 0;
}

int spg_sem_acquire(spg_sem *s)
{
	struct sem *sem = of(s);
	struct spg__waitq_node node;
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_SEM, sem);

	if (err < 0)
		return err;
	spg__lock(&sem->lock);
	if (sem->count > 0) {
		sem->count--;
		spg__unlock(&sem->lock);
	} else {
		spg__waitq_push(&sem->queue, &node, wait.waiter);
		err = spg__waitq_wait(&sem->lock, &node, &wait);
	}
	spg__wait_end(&wait);
	return err;
}

int spg_sem_try_acquire(spg_sem *s)
{
	struct sem *sem = of(s);
	int err = -EAGAIN;

	spg__lock(&sem->lock);
	if (sem->count > 0) {
		sem->count--;
		err = 0;
	}
	spg__unlock(&sem->lock);
	return err;
}

int spg_sem_release(spg_sem *s)
{
	struct sem *sem = of(s);
	struct spg__waitq_node *node;
	int err = 0;

	spg__lock(&sem->lock);
	node = spg__waitq_pop(&sem->queue);
	if (node == NULL && sem->count == INT32_MAX)
		err = -EOVERFLOW;
	else if (node == NULL)
		sem->count++;
	spg__unlock(&sem->lock);
	if (node != NULL)
		spg__waitq_serve(node);
	return err;
}
