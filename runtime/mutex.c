/*
 * The mutex. `word` is the owner's waiter, or 0; its lowest bit says that somebody waits.
 *
 * MU1  Free and nobody waits: word is 0; lock and unlock are one CAS each.
 * MU2  The bit is set and cleared under the spinlock; set while the queue is not empty.
 *      An unlock that finds it goes the slow way.
 * MU3  Barging: the slow unlock frees the word and wakes the oldest waiter, which tries
 *      again against newcomers, and goes back to the head of the queue when it loses.
 *      A waiter past 1 ms is handed the lock: the word names it before it wakes.
 */
#include "runtime/sync.h"
#include "runtime/waitq.h"

#include <spg/sync.h>

#define HANDOFF_NS 1000000
#define WAITERS ((uintptr_t)1)

struct mutex {
	_Atomic uintptr_t word;
	struct spg__lock lock;
	struct spg__waitq queue;
};
_Static_assert(sizeof(struct mutex) <= sizeof(spg_mutex), "fits the public words");

struct mutex_node {
	struct spg__waitq_node node;
	int64_t since_ns;
};

static inline struct mutex *of(spg_mutex *m)
{
	return (struct mutex *)(void *)m;
}

/* Takes a free word, keeping the bit. */
static bool take(struct mutex *m, uintptr_t self)
{
	uintptr_t word = atomic_load_explicit(&m->word, memory_order_relaxed);

	while ((word & ~WAITERS) == 0) {
		/* acquire: the former owner's writes. */
		if (atomic_compare_exchange_weak_explicit(&m->word, &word, word | self, memory_order_acquire,
							  memory_order_relaxed))
			return true;
	}
	return false;
}

/* Sets the bit; false: the word came free, try again. Under the spinlock (MU2). */
static bool announce(struct mutex *m)
{
	uintptr_t word = atomic_load_explicit(&m->word, memory_order_relaxed);

	while ((word & ~WAITERS) != 0) {
		if (atomic_compare_exchange_weak_explicit(&m->word, &word, word | WAITERS, memory_order_relaxed,
							  memory_order_relaxed))
			return true;
	}
	return false;
}

/* The queue became empty: the bit goes. Under the spinlock. */
static void settle(struct mutex *m)
{
	if (spg__waitq_empty(&m->queue))
		atomic_fetch_and_explicit(&m->word, ~WAITERS, memory_order_relaxed);
}

static int lock_slow(struct mutex *m, struct spg__waiter *w, bool cancelable)
{
	struct mutex_node mine = { .since_ns = spg__clock_ns() };
	uintptr_t self = (uintptr_t)w;
	struct spg__wait wait;
	bool again = false;
	int err = 0;

	spg__wait_start(&wait, w, SPG__REASON_MUTEX, m);
	if (!cancelable) {
		wait.cancelable = false;
		wait.deadline_ns = SPG__NEVER;
	}
	while (!take(m, self)) {
		spg__lock(&m->lock);
		if (!announce(m)) {
			spg__unlock(&m->lock);
			continue;
		}
		spg__waitq_push(&m->queue, &mine.node, w);
		if (again) { /* MU3: it waited before all the others */
			spg__list_remove(&mine.node.link);
			spg__list_append(m->queue.head.next, &mine.node.link);
		}
		err = spg__waitq_wait(&m->lock, &mine.node, &wait);
		/* Handed over: the word is ours already. */
		if (err < 0 || (atomic_load_explicit(&m->word, memory_order_acquire) & ~WAITERS) == self)
			break;
		again = true;
	}
	spg__wait_end(&wait);
	if (err < 0) {
		spg__lock(&m->lock);
		settle(m);
		spg__unlock(&m->lock);
	}
	return err;
}

static inline int lock(spg_mutex *mutex, bool cancelable)
{
	struct mutex *m = of(mutex);
	struct spg__waiter *w = spg__self();
	uintptr_t free = 0;

	if (spg__unlikely(w == NULL))
		return -ENOMEM;
	if (cancelable && spg__unlikely(spg__waiter_err(w) < 0)) {
		struct spg__wait wait;
		int err = spg__wait_begin(&wait, SPG__REASON_MUTEX, m);

		if (err < 0)
			return err;
		spg__wait_end(&wait);
	}
	/* acquire: the former owner's writes. MU1. */
	if (spg__likely(atomic_compare_exchange_strong_explicit(&m->word, &free, (uintptr_t)w,
								memory_order_acquire, memory_order_relaxed)))
		return 0;
	if ((free & ~WAITERS) == (uintptr_t)w)
		return -EDEADLK;
	return lock_slow(m, w, cancelable);
}

int spg_mutex_lock(spg_mutex *m)
{
	return lock(m, false);
}

int spg_mutex_lock_ctx(spg_mutex *m)
{
	return lock(m, true);
}

int spg_mutex_trylock(spg_mutex *mutex)
{
	struct mutex *m = of(mutex);
	struct spg__waiter *w = spg__self();

	if (spg__unlikely(w == NULL))
		return -ENOMEM;
	if (take(m, (uintptr_t)w))
		return 0;
	/* relaxed: only we store our own name. */
	return (atomic_load_explicit(&m->word, memory_order_relaxed) & ~WAITERS) == (uintptr_t)w ? -EDEADLK :
												   -EBUSY;
}

static spg__noinline void unlock_slow(struct mutex *m)
{
	struct spg__waitq_node *node;
	uintptr_t word = 0;

	spg__lock(&m->lock);
	node = spg__waitq_pop(&m->queue);
	if (node != NULL) {
		struct mutex_node *waiter = spg__container_of(node, struct mutex_node, node);

		if (spg__clock_ns() - waiter->since_ns >= HANDOFF_NS)
			word = (uintptr_t)node->waiter; /* MU3 */
	}
	if (!spg__waitq_empty(&m->queue))
		word |= WAITERS;
	/* release: our writes, to whoever takes it. */
	atomic_store_explicit(&m->word, word, memory_order_release);
	spg__unlock(&m->lock);
	if (node != NULL)
		spg__waitq_serve(node);
}

int spg_mutex_unlock(spg_mutex *mutex)
{
	struct mutex *m = of(mutex);
	struct spg__waiter *w = spg__self();
	uintptr_t word = (uintptr_t)w;

	/* release: our writes, to whoever locks next. */
	if (spg__likely(atomic_compare_exchange_strong_explicit(&m->word, &word, 0, memory_order_release,
								memory_order_relaxed)))
		return 0;
	if ((word & ~WAITERS) != (uintptr_t)w || w == NULL)
		return -EPERM;
	unlock_slow(m);
	return 0;
}

bool spg__mutex_mine(spg_mutex *mutex)
{
	struct spg__waiter *w = spg__self();

	return w != NULL && (atomic_load_explicit(&of(mutex)->word, memory_order_relaxed) & ~WAITERS) == (uintptr_t)w;
}
