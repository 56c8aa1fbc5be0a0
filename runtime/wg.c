/*
 * The wait group.
 *
 * WG1  The counter reaches 0 under the spinlock only. The one that takes it there empties
 *      the queue in the same section; its unlock is its last access to the object.
 * WG2  A waiter that finds 0 without waiting passes through the spinlock before it
 *      returns: the object may vanish then, and nobody is inside any more.
 */
#include "runtime/waitq.h"

#include <spg/sync.h>

struct wg {
	_Atomic int32_t count;
	struct spg__lock lock;
	struct spg__waitq queue;
};
_Static_assert(sizeof(struct wg) <= sizeof(spg_wg), "fits the public words");

static inline struct wg *of(spg_wg *w)
{
	return (struct wg *)(void *)w;
}

/* WG1. Under the spinlock nobody else brings it to 0. */
static int reach_zero(struct wg *wg, int n)
{
	struct spg__waitq_node *first;
	struct spg__list others;
	int32_t count;

	spg__lock(&wg->lock);
	count = atomic_load_explicit(&wg->count, memory_order_relaxed);
	do {
		if (count + n < 0) {
			spg__unlock(&wg->lock);
			return -EINVAL;
		}
		/* acq_rel: what every finished one did is seen by the waiters. */
	} while (!atomic_compare_exchange_weak_explicit(&wg->count, &count, count + n, memory_order_acq_rel,
							memory_order_relaxed));
	if (count + n > 0 || spg__waitq_empty(&wg->queue)) {
		spg__unlock(&wg->lock);
		return 0;
	}
	first = spg__waitq_pop(&wg->queue);
	if (spg__likely(spg__waitq_empty(&wg->queue))) {
		spg__unlock(&wg->lock);
		spg__waitq_serve(first);
		return 0;
	}
	spg__waitq_take_all(&wg->queue, &others);
	spg__unlock(&wg->lock);
	spg__waitq_serve(first);
	spg__waitq_serve_all(&others);
	return 0;
}

int spg_wg_add(spg_wg *w, int n)
{
	struct wg *wg = of(w);
	int32_t count = atomic_load_explicit(&wg->count, memory_order_relaxed);
	int32_t sum;

	do {
		if (__builtin_add_overflow(count, n, &sum))
			return n > 0 ? -EOVERFLOW : -EINVAL;
		if (sum <= 0 && n < 0)
			return sum < 0 ? -EINVAL : reach_zero(wg, n);
		/* release: what the caller did, to the waiters, by way of the last one. */
	} while (!atomic_compare_exchange_weak_explicit(&wg->count, &count, sum, memory_order_release,
							memory_order_relaxed));
	return 0;
}

int spg_wg_done(spg_wg *w)
{
	return spg_wg_add(w, -1);
}

int spg_wg_wait(spg_wg *w)
{
	struct wg *wg = of(w);
	struct spg__waitq_node node;
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_WG, wg);

	if (err < 0)
		return err;
	spg__lock(&wg->lock);
	if (atomic_load_explicit(&wg->count, memory_order_acquire) == 0) {
		spg__unlock(&wg->lock); /* WG2 */
	} else {
		spg__waitq_push(&wg->queue, &node, wait.waiter);
		err = spg__waitq_wait(&wg->lock, &node, &wait);
	}
	spg__wait_end(&wait);
	return err;
}
