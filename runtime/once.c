/*
 * Once: the first caller runs fn, the others wait until it has returned.
 *
 * ON1  word is FRESH, RUNNING or DONE, and the lock bit (E3). Whoever sees DONE may let the
 *      object go, so the store of DONE is the runner's last access: it unlocks too.
 */
#include "runtime/waitq.h"

#include <spg/sync.h>

enum { FRESH = 0, RUNNING = 4, DONE = 8 };

struct once {
	_Atomic uintptr_t word;
	struct spg__waiter *runner;
	struct spg__waitq queue;
};
#define NEVER_PENDING SPG__WORD_LOCKED
_Static_assert(sizeof(struct once) <= sizeof(spg_once), "fits the public words");

static void run(struct once *once, void (*fn)(void *), void *arg)
{
	struct spg__list waiters;

	fn(arg);
	(void)spg__word_lock(&once->word, NEVER_PENDING);
	spg__waitq_take_all(&once->queue, &waiters);
	spg__word_unlock(&once->word, DONE); /* ON1 [ON-a]: and what fn did */
	spg__waitq_serve_all(&waiters);
}

/* The word is locked, and fn runs: waits until it has returned. */
static int wait_done(struct once *once, struct spg__wait *wait)
{
	struct spg__waitq_node node;
	uintptr_t word;
	bool left;
	int err;

	spg__waitq_push(&once->queue, &node, wait->waiter);
	spg__word_unlock(&once->word, RUNNING);
	err = spg__waitq_park(&node, wait);
	if (err == 0)
		return 0;
	word = spg__word_lock(&once->word, NEVER_PENDING);
	left = spg__waitq_leave(&node);
	spg__word_unlock(&once->word, word);
	if (left)
		return err;
	spg__waitq_await(&node);
	return 0;
}

static int slow(struct once *once, void (*fn)(void *), void *arg)
{
	struct spg__wait wait;
	uintptr_t word;
	int err = spg__wait_begin(&wait, SPG__REASON_ONCE, once);

	if (err < 0)
		return err;
	word = spg__word_lock(&once->word, NEVER_PENDING);
	if (word == RUNNING && once->runner != wait.waiter) {
		err = wait_done(once, &wait);
	} else if (word == FRESH) {
		once->runner = wait.waiter;
		spg__word_unlock(&once->word, RUNNING);
	} else {
		spg__word_unlock(&once->word, word);
		err = word == RUNNING ? -EDEADLK : 0;
	}
	spg__wait_end(&wait);
	if (word == FRESH)
		run(once, fn, arg);
	return err;
}

int spg_once_do(spg_once *o, void (*fn)(void *), void *arg)
{
	struct once *once = (struct once *)(void *)o;

	if (fn == NULL)
		return -EINVAL;
	/* acquire [ON-a]. */
	if (spg__likely(atomic_load_explicit(&once->word, memory_order_acquire) == DONE))
		return 0;
	return slow(once, fn, arg);
}
