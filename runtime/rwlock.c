/*
 * The reader-writer lock, phase-fair: neither side starves.
 *
 * RW1  A reader waits while a writer holds the lock or waits for it.
 * RW2  A writer that leaves lets in all readers that wait by then, else the next writer.
 *      The last reader that leaves lets in the next writer.
 * RW3  The lock is handed over under the spinlock: who is served holds it.
 */
#include "runtime/waitq.h"

#include <spg/sync.h>

struct rwlock {
	struct spg__lock lock;
	uint32_t readers;
	struct spg__waiter *writer;
	struct spg__waitq reading, writing;
};
_Static_assert(sizeof(struct rwlock) <= sizeof(spg_rwlock), "fits the public words");

static inline struct rwlock *of(spg_rwlock *rw)
{
	return (struct rwlock *)(void *)rw;
}

/* Hands the lock on when it is free (RW2, RW3). Under the spinlock; `served` go after it. */
static void pass_on(struct rwlock *rw, bool readers_first, struct spg__list *served)
{
	struct spg__waitq_node *node;

	spg__list_init(served);
	if (rw->writer != NULL)
		return;
	if (!spg__waitq_empty(&rw->reading) && (readers_first || spg__waitq_empty(&rw->writing))) {
		while ((node = spg__waitq_pop(&rw->reading)) != NULL) {
			rw->readers++;
			spg__list_append(served, &node->link);
		}
		return;
	}
	if (rw->readers > 0)
		return;
	node = spg__waitq_pop(&rw->writing);
	if (node != NULL) {
		rw->writer = node->waiter;
		spg__list_append(served, &node->link);
	}
}

/* A writer gave up: the readers it held back may go in. */
static void gave_up(struct rwlock *rw)
{
	struct spg__list served;

	spg__lock(&rw->lock);
	pass_on(rw, false, &served);
	spg__unlock(&rw->lock);
	spg__waitq_serve_all(&served);
}

static int begin(struct spg__wait *wait, enum spg__reason reason, struct rwlock *rw, bool cancelable)
{
	return cancelable ? spg__wait_begin(wait, reason, rw) :
			    spg__wait_begin_uncancelable(wait, reason, rw);
}

static int rdlock(struct rwlock *rw, bool cancelable)
{
	struct spg__waitq_node node;
	struct spg__wait wait;
	int err = begin(&wait, SPG__REASON_RDLOCK, rw, cancelable);

	if (err < 0)
		return err;
	spg__lock(&rw->lock);
	if (rw->writer == wait.waiter) {
		err = -EDEADLK;
		spg__unlock(&rw->lock);
	} else if (rw->writer == NULL && spg__waitq_empty(&rw->writing)) {
		rw->readers++;
		spg__unlock(&rw->lock);
	} else {
		spg__waitq_push(&rw->reading, &node, wait.waiter); /* RW1 */
		err = spg__waitq_wait(&rw->lock, &node, &wait);
	}
	spg__wait_end(&wait);
	return err;
}

static int wrlock(struct rwlock *rw, bool cancelable)
{
	struct spg__waitq_node node;
	struct spg__wait wait;
	int err = begin(&wait, SPG__REASON_WRLOCK, rw, cancelable);

	if (err < 0)
		return err;
	spg__lock(&rw->lock);
	if (rw->writer == wait.waiter) {
		err = -EDEADLK;
		spg__unlock(&rw->lock);
	} else if (rw->writer == NULL && rw->readers == 0) {
		rw->writer = wait.waiter;
		spg__unlock(&rw->lock);
	} else {
		spg__waitq_push(&rw->writing, &node, wait.waiter);
		err = spg__waitq_wait(&rw->lock, &node, &wait);
		if (err < 0)
			gave_up(rw);
	}
	spg__wait_end(&wait);
	return err;
}

int spg_rwlock_rdlock(spg_rwlock *rw)
{
	return rdlock(of(rw), false);
}

int spg_rwlock_rdlock_ctx(spg_rwlock *rw)
{
	return rdlock(of(rw), true);
}

int spg_rwlock_wrlock(spg_rwlock *rw)
{
	return wrlock(of(rw), false);
}

int spg_rwlock_wrlock_ctx(spg_rwlock *rw)
{
	return wrlock(of(rw), true);
}

int spg_rwlock_unlock(spg_rwlock *lock)
{
	struct rwlock *rw = of(lock);
	struct spg__waiter *self = spg__self();
	struct spg__list served;
	bool was_writer;

	spg__lock(&rw->lock);
	was_writer = rw->writer != NULL && rw->writer == self;
	if (was_writer) {
		rw->writer = NULL;
	} else if (rw->writer == NULL && rw->readers > 0) {
		rw->readers--;
	} else {
		spg__unlock(&rw->lock);
		return -EPERM;
	}
	pass_on(rw, was_writer, &served);
	spg__unlock(&rw->lock);
	spg__waitq_serve_all(&served);
	return 0;
}
