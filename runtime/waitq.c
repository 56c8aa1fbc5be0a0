#include "runtime/waitq.h"

#include <sched.h>

/* As in coro/lock.c. */
#define SPINS_MAX 128

void spg__waitq_take_all(struct spg__waitq *q, struct spg__list *out)
{
	struct spg__waitq_node *node;

	spg__list_init(out);
	while ((node = spg__waitq_pop(q)) != NULL)
		spg__list_append(out, &node->link);
}

void spg__waitq_serve_all(struct spg__list *list)
{
	struct spg__list *link;

	while ((link = spg__list_first(list)) != NULL) {
		spg__list_remove(link);
		spg__waitq_serve(spg__container_of(link, struct spg__waitq_node, link));
	}
}

bool spg__waitq_leave(struct spg__waitq_node *node)
{
	if (!node->queued)
		return false;
	spg__list_remove(&node->link);
	node->queued = false;
	if (node->count != NULL)
		--*node->count;
	return true;
}

int spg__waitq_park(struct spg__waitq_node *node, struct spg__wait *wait)
{
	/* acquire [E2], here and below. */
	while (!atomic_load_explicit(&node->served, memory_order_acquire)) {
		int err = spg__wait_park(wait);

		if (spg__unlikely(err < 0))
			return err;
	}
	return 0;
}

void spg__waitq_await(struct spg__waitq_node *node)
{
	while (!atomic_load_explicit(&node->served, memory_order_acquire))
		spg__park(node->waiter, SPG__NEVER);
}

int spg__waitq_wait(struct spg__lock *lock, struct spg__waitq_node *node, struct spg__wait *wait)
{
	bool left;
	int err;

	spg__unlock(lock);
	err = spg__waitq_park(node, wait);
	if (spg__likely(err == 0))
		return 0;
	spg__lock(lock);
	left = spg__waitq_leave(node);
	spg__unlock(lock);
	if (left)
		return err;
	spg__waitq_await(node); /* data wins */
	return 0;
}

spg__noinline uintptr_t spg__word_lock_slow(_Atomic uintptr_t *word, uintptr_t pending)
{
	for (;;) {
		for (int i = 0; i < SPINS_MAX; i++) {
			/* relaxed: the CAS decides. */
			uintptr_t seen = atomic_load_explicit(word, memory_order_relaxed);

			/* acquire [E3]. */
			if ((seen & SPG__WORD_LOCKED) == 0 && seen != pending &&
			    atomic_compare_exchange_weak_explicit(word, &seen, seen | SPG__WORD_LOCKED,
								  memory_order_acquire, memory_order_relaxed))
				return seen;
			spg__cpu_relax();
		}
		sched_yield();
	}
}
