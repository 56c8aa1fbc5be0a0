#include "runtime/waitq.h"

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

/* E1: gives up, unless a server was faster. */
static bool leave(struct spg__lock *lock, struct spg__waitq_node *node)
{
	bool queued;

	spg__lock(lock);
	queued = node->queued;
	if (queued) {
		spg__list_remove(&node->link);
		node->queued = false;
		if (node->count != NULL)
			--*node->count;
	}
	spg__unlock(lock);
	return queued;
}

int spg__waitq_wait(struct spg__lock *lock, struct spg__waitq_node *node, struct spg__wait *wait)
{
	int err = 0;

	spg__unlock(lock);
	/* acquire [E2]. */
	while (!atomic_load_explicit(&node->served, memory_order_acquire)) {
		err = spg__wait_park(wait);
		if (spg__likely(err == 0))
			continue;
		if (leave(lock, node))
			break;
		/* A server has us: it is about to store served. */
		wait->cancelable = false;
		wait->deadline_ns = SPG__NEVER;
		err = 0;
	}
	return err;
}
