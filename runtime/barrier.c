/*
 * The barrier: n callers wait for each other, again and again. One that is canceled
 * leaves uncounted.
 */
#include "runtime/waitq.h"

#include <spg/sync.h>

struct barrier {
	struct spg__lock lock;
	uint32_t total, arrived;
	struct spg__waitq queue;
};
_Static_assert(sizeof(struct barrier) <= sizeof(spg_barrier), "fits the public words");

static inline struct barrier *of(spg_barrier *b)
{
	return (struct barrier *)(void *)b;
}

int spg_barrier_init(spg_barrier *b, unsigned n)
{
	if (n == 0)
		return -EINVAL;
	*of(b) = (struct barrier){ .total = n };
	return 0;
}

int spg_barrier_wait(spg_barrier *b)
{
	struct barrier *barrier = of(b);
	struct spg__waitq_node node;
	struct spg__list waiters;
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_BARRIER, barrier);

	if (err < 0)
		return err;
	spg__lock(&barrier->lock);
	if (barrier->total == 0) {
		spg__unlock(&barrier->lock);
		spg__wait_end(&wait);
		return -EINVAL;
	}
	if (++barrier->arrived == barrier->total) {
		barrier->arrived = 0;
		spg__waitq_take_all(&barrier->queue, &waiters);
		spg__unlock(&barrier->lock);
		spg__waitq_serve_all(&waiters);
		spg__wait_end(&wait);
		return 1;
	}
	spg__waitq_push(&barrier->queue, &node, wait.waiter);
	node.count = &barrier->arrived;
	err = spg__waitq_wait(&barrier->lock, &node, &wait);
	spg__wait_end(&wait);
	return err;
}
