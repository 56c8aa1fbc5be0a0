/*
 * Once: the first caller runs fn, the others wait until it has returned.
 */
#include "runtime/waitq.h"

#include <spg/sync.h>

enum { FRESH, RUNNING, DONE };

struct once {
	_Atomic uint32_t state;
	struct spg__lock lock;
	struct spg__waiter *runner;
	struct spg__waitq queue;
};
_Static_assert(sizeof(struct once) <= sizeof(spg_once), "fits the public words");

static void run(struct once *once, void (*fn)(void *), void *arg)
{
	struct spg__list waiters;

	fn(arg);
	spg__lock(&once->lock);
	/* release [ON-a]: what fn did. */
	atomic_store_explicit(&once->state, DONE, memory_order_release);
	once->runner = NULL;
	spg__waitq_take_all(&once->queue, &waiters);
	spg__unlock(&once->lock);
	spg__waitq_serve_all(&waiters);
}

static int slow(struct once *once, void (*fn)(void *), void *arg)
{
	struct spg__waitq_node node;
	struct spg__wait wait;
	uint32_t state;
	int err = spg__wait_begin(&wait, SPG__REASON_ONCE, once);

	if (err < 0)
		return err;
	spg__lock(&once->lock);
	state = atomic_load_explicit(&once->state, memory_order_relaxed);
	if (state == RUNNING && once->runner != wait.waiter) {
		spg__waitq_push(&once->queue, &node, wait.waiter);
		err = spg__waitq_wait(&once->lock, &node, &wait);
		spg__wait_end(&wait);
		return err;
	}
	if (state == FRESH) {
		atomic_store_explicit(&once->state, RUNNING, memory_order_relaxed);
		once->runner = wait.waiter;
	}
	spg__unlock(&once->lock);
	spg__wait_end(&wait);
	if (state == RUNNING)
		return -EDEADLK;
	if (state == FRESH)
		run(once, fn, arg);
	return 0;
}

int spg_once_do(spg_once *o, void (*fn)(void *), void *arg)
{
	struct once *once = (struct once *)(void *)o;

	if (fn == NULL)
		return -EINVAL;
	/* acquire [ON-a]. */
	if (spg__likely(atomic_load_explicit(&once->state, memory_order_acquire) == DONE))
		return 0;
	return slow(once, fn, arg);
}
