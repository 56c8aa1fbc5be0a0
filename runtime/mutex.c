/*
 * The mutex. `word` is the owner's waiter, or 0, and three bits: WAITERS, the queue is not
 * empty; WOKEN, one of it was woken and has not come back yet; LOCKED, the queue is being
 * changed, and so is the word (E3).
 *
 * MU1  Free and nobody waits: word is 0; lock and unlock are one CAS each.
 * MU2  The store or CAS that frees the word is the last access of an unlock: the next owner
 *      may let the mutex go. So the queue's lock is a bit of the word, and not beside it.
 * MU3  Barging: an unlock frees the word and wakes the oldest waiter, which tries again
 *      against newcomers and goes back to the head of the queue when it loses. While one
 *      is on its way (WOKEN) unlocks wake no other.
 * MU4  A waiter past 1 ms is handed the lock: the word names it before it wakes.
 */
#include "runtime/sync.h"
#include "runtime/waitq.h"

#include "sched/shard.h"

#include <spg/sync.h>

#define HANDOFF_NS 1000000
/* About a section's length: an owner that runs on another CPU is likely to be out by then. */
#define SPINS_MAX 60

#define WAITERS ((uintptr_t)1)
#define WOKEN ((uintptr_t)4)
#define OWNER (~(WAITERS | SPG__WORD_LOCKED | WOKEN))
_Static_assert(alignof(struct spg__waiter) >= 8, "three bits are free");

struct mutex {
	_Atomic uintptr_t word;
	struct spg__waitq queue;
};
_Static_assert(sizeof(struct mutex) <= sizeof(spg_mutex), "fits the public words");

struct mutex_node {
	struct spg__waitq_node node;
	int64_t since_ns;
	bool handed;
};

static inline struct mutex *of(spg_mutex *m)
{
	return (struct mutex *)(void *)m;
}

/* relaxed: only the owner itself stores its name or takes it away, and only it asks. */
static inline bool is_mine(struct mutex *m, struct spg__waiter *w)
{
	return (atomic_load_explicit(&m->word, memory_order_relaxed) & OWNER) == (uintptr_t)w;
}

/* An owner on another CPU may be gone in a moment. */
static bool spin(struct mutex *m, struct spg__waiter *w)
{
	for (int i = 0; i < SPINS_MAX; i++) {
		uintptr_t word = atomic_load_explicit(&m->word, memory_order_relaxed);

		/* acquire [MU-a]: the former owner's writes; pairs with the release of unlock. */
		if ((word & (OWNER | SPG__WORD_LOCKED)) == 0 &&
		    atomic_compare_exchange_weak_explicit(&m->word, &word, word | (uintptr_t)w,
							  memory_order_acquire, memory_order_relaxed))
			return true;
		if ((word & WAITERS) != 0)
			return false; /* others have waited longer */
		spg__cpu_relax();
	}
	return false;
}

/* The wait ended with err: 0 if the lock was handed over or a wake is ours meanwhile. */
static int give_up(struct mutex *m, struct mutex_node *mine, int err)
{
	uintptr_t word = spg__word_lock(&m->word);
	bool left = spg__waitq_leave(&mine->node);

	if (spg__waitq_empty(&m->queue))
		word &= ~WAITERS;
	spg__word_unlock(&m->word, word);
	if (left)
		return err;
	spg__waitq_await(&mine->node);
	return 0;
}

static spg__noinline int lock_slow(struct mutex *m, struct spg__waiter *w, bool cancelable)
{
	struct mutex_node mine = { .handed = false };
	struct spg__wait wait;
	bool again = false;
	int err = 0;

	if (spg__sched.may_spin && spin(m, w))
		return 0;
	spg__wait_start(&wait, w, SPG__REASON_MUTEX, m);
	wait.cancelable = cancelable;
	if (!cancelable)
		wait.deadline_ns = SPG__NEVER;
	while (err == 0 && !mine.handed) {
		uintptr_t word = spg__word_lock(&m->word);

		if (again)
			word &= ~WOKEN; /* that was us */
		if ((word & OWNER) == 0) {
			spg__word_unlock(&m->word, word | (uintptr_t)w);
			break;
		}
		spg__waitq_push(&m->queue, &mine.node, w);
		if (again) { /* MU3: it waited before all the others */
			spg__list_remove(&mine.node.link);
			spg__list_append(m->queue.head.next, &mine.node.link);
		} else {
			mine.since_ns = spg__clock_ns();
		}
		spg__word_unlock(&m->word, word | WAITERS);
		err = spg__waitq_park(&mine.node, &wait);
		if (spg__unlikely(err < 0))
			err = give_up(m, &mine, err);
		again = true;
	}
	spg__wait_end(&wait);
	return err;
}

static inline int lock(struct mutex *m, struct spg__waiter *w, bool cancelable)
{
	uintptr_t word = 0;

	/* acquire [MU-a]. MU1. */
	if (spg__likely(atomic_compare_exchange_strong_explicit(&m->word, &word, (uintptr_t)w,
								memory_order_acquire, memory_order_relaxed)))
		return 0;
	if ((word & OWNER) == (uintptr_t)w)
		return -EDEADLK;
	return lock_slow(m, w, cancelable);
}

int spg_mutex_lock(spg_mutex *m)
{
	struct spg__waiter *w = spg__self();

	return spg__likely(w != NULL) ? lock(of(m), w, false) : -ENOMEM;
}

int spg_mutex_lock_ctx(spg_mutex *m)
{
	struct spg__wait entry;
	int err = spg__wait_begin(&entry, SPG__REASON_MUTEX, m);

	if (err < 0)
		return err;
	spg__wait_end(&entry);
	return lock(of(m), entry.waiter, true);
}

int spg_mutex_trylock(spg_mutex *mutex)
{
	struct mutex *m = of(mutex);
	struct spg__waiter *w = spg__self();
	uintptr_t word = 0;

	if (spg__unlikely(w == NULL))
		return -ENOMEM;
	/* acquire [MU-a]. */
	if (atomic_compare_exchange_strong_explicit(&m->word, &word, (uintptr_t)w, memory_order_acquire,
						    memory_order_relaxed))
		return 0;
	if ((word & OWNER) != 0)
		return (word & OWNER) == (uintptr_t)w ? -EDEADLK : -EBUSY;
	/* Free, with waiters on their way. */
	word = spg__word_lock(&m->word);
	spg__word_unlock(&m->word, (word & OWNER) == 0 ? word | (uintptr_t)w : word);
	return (word & OWNER) == 0 ? 0 : -EBUSY;
}

static spg__noinline void unlock_slow(struct mutex *m)
{
	uintptr_t word = spg__word_lock(&m->word);
	struct spg__waitq_node *node = NULL;

	word &= ~OWNER;
	if ((word & WOKEN) == 0)
		node = spg__waitq_pop(&m->queue);
	if (node != NULL) {
		struct mutex_node *oldest = spg__container_of(node, struct mutex_node, node);

		oldest->handed = spg__clock_ns() - oldest->since_ns >= HANDOFF_NS; /* MU4 */
		word |= oldest->handed ? (uintptr_t)node->waiter : WOKEN;
	}
	if (spg__waitq_empty(&m->queue))
		word &= ~WAITERS;
	spg__word_unlock(&m->word, word); /* MU2 */
	if (node != NULL)
		spg__waitq_serve(node);
}

int spg_mutex_unlock(spg_mutex *mutex)
{
	struct mutex *m = of(mutex);
	struct spg__waiter *w = spg__self();
	uintptr_t word = (uintptr_t)w;

	if (spg__unlikely(w == NULL))
		return -EPERM;
	/* release [MU-a]: our writes, to whoever locks next. MU1, MU2. */
	if (spg__likely(atomic_compare_exchange_strong_explicit(&m->word, &word, 0, memory_order_release,
								memory_order_relaxed)))
		return 0;
	if ((word & OWNER) != (uintptr_t)w)
		return -EPERM;
	/* MU3: nobody to wake. */
	if ((word & (WOKEN | SPG__WORD_LOCKED)) == WOKEN &&
	    atomic_compare_exchange_strong_explicit(&m->word, &word, word & ~OWNER, memory_order_release,
						    memory_order_relaxed))
		return 0;
	unlock_slow(m);
	return 0;
}

bool spg__mutex_mine(spg_mutex *m)
{
	struct spg__waiter *w = spg__self();

	return w != NULL && is_mine(of(m), w);
}
