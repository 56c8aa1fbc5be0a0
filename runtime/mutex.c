/*
 * The mutex. `word` is the owner's waiter, or 0, and three bits: WAITERS, the queue is not
 * empty; WOKEN, one of it was woken and has not come back yet; LOCKED, the queue is being
 * changed (E3).
 *
 * MU1  Free and nobody waits: word is 0; lock is one CAS, unlock one subtraction.
 * MU2  An unlock takes its name out of the word, whatever the bits. What was left decides
 *      who goes on; the unlocker only if it left WAITERS alone, and in all other cases
 *      that was its last access: the next owner may let the mutex go.
 * MU3  A word of WAITERS alone is locked by the unlocker that left it (`pending`). It wakes
 *      the oldest waiter and sets WOKEN, or hands over, by its last access.
 * MU4  Who holds LOCKED while the word has an owner gives it up by CAS, and does what is to
 *      do when the owner has gone meanwhile: a locker takes the mutex, one that gives up
 *      acts as the unlocker. Without an owner the word is the holder's alone.
 * MU5  Barging: who was woken tries again against newcomers and goes back to the head of
 *      the queue when it loses. While WOKEN is set unlocks wake no other.
 * MU6  A waiter past 1 ms is handed the lock: the word names it before it wakes.
 *
 * Rejected: unlock by CAS, the queue's lock taken before the owner goes. Simpler, but 0.7 ns
 * of 4.2 slower in the uncontended pair.
 */
#include "runtime/sync.h"
#include "runtime/waitq.h"

#include "sched/shard.h"

#include <spg/sync.h>

#define HANDOFF_NS 1000000
/* About a section's length: an owner that runs on another CPU is likely to be out by then. */
#define LOOKS_MAX 4
#define PAUSES 30

#define WAITERS ((uintptr_t)1)
#define LOCKED SPG__WORD_LOCKED
#define WOKEN ((uintptr_t)4)
#define OWNER (~(WAITERS | LOCKED | WOKEN))
_Static_assert(alignof(struct spg__waiter) >= 8, "three bits are free");
_Static_assert(OWNER == SPG__MUTEX_OWNER, "as dumps read it");

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

/* The running coroutine, or NULL: then the slow paths ask spg__self. */
static inline struct spg__waiter *coro_self(void)
{
	struct spg__shard *shard = spg__shard_self();

	return spg__likely(shard != NULL && shard->current != NULL) ? &shard->current->waiter : NULL;
}

/* relaxed: only the owner itself stores its name or takes it away, and only it asks. */
static inline bool is_mine(struct mutex *m, struct spg__waiter *w)
{
	return (atomic_load_explicit(&m->word, memory_order_relaxed) & OWNER) == (uintptr_t)w;
}

/* acquire [MU-a]: the former owner's writes; pairs with whatever freed the word. */
static inline bool swap_word(struct mutex *m, uintptr_t *word, uintptr_t next)
{
	return atomic_compare_exchange_weak_explicit(&m->word, word, next, memory_order_acq_rel,
						     memory_order_acquire);
}

/* MU1. */
static inline bool take_free(struct mutex *m, struct spg__waiter *w)
{
	uintptr_t word = 0;

	/* acquire [MU-a]. */
	return atomic_compare_exchange_strong_explicit(&m->word, &word, (uintptr_t)w, memory_order_acquire,
						       memory_order_relaxed);
}

/* Free, though one that was woken may be on its way (MU5). */
static inline bool take_barging(struct mutex *m, struct spg__waiter *w)
{
	/* relaxed: the CAS decides. */
	uintptr_t word = atomic_load_explicit(&m->word, memory_order_relaxed);

	while ((word & ~WOKEN) == 0) {
		if (swap_word(m, &word, word | (uintptr_t)w))
			return true;
	}
	return false;
}

/*
 * An owner on another CPU may be gone in a moment. Looks are rare and come after the pauses, as in
 * Go: each costs the owner a cache miss, and a look at once often takes the lock out of a loop that
 * would have had it again for 10 ns (two shards that fight: 28 to 35 ns a pair, so 11).
 */
static bool spin(struct mutex *m, struct spg__waiter *w)
{
	for (int i = 0; i < LOOKS_MAX; i++) {
		for (int pause = 0; pause < PAUSES; pause++)
			spg__cpu_relax();
		/* relaxed: a hint. */
		if ((atomic_load_explicit(&m->word, memory_order_relaxed) & WAITERS) != 0)
			return false; /* others have waited longer */
		if (take_barging(m, w))
			return true;
	}
	return false;
}

/* The word has no owner and is ours (MU3, MU4); the queue is not empty. */
static spg__noinline void wake_oldest(struct mutex *m)
{
	struct spg__waitq_node *node = spg__waitq_pop(&m->queue);
	struct mutex_node *oldest = spg__container_of(node, struct mutex_node, node);
	uintptr_t word = spg__waitq_empty(&m->queue) ? 0 : WAITERS;

	oldest->handed = spg__clock_ns() - oldest->since_ns >= HANDOFF_NS; /* MU6 */
	word |= oldest->handed ? (uintptr_t)node->waiter : WOKEN;
	spg__word_unlock(&m->word, word); /* MU2 */
	spg__waitq_serve(node);
}

/* The queue is locked and we are in it. true: the owner has gone, the mutex is ours (MU4). */
static bool enqueued(struct mutex *m, struct mutex_node *mine, bool again)
{
	uintptr_t word = atomic_load_explicit(&m->word, memory_order_acquire);

	while ((word & OWNER) != 0) {
		uintptr_t next = (word & ~LOCKED) | WAITERS;

		if (swap_word(m, &word, again ? next & ~WOKEN : next))
			return false;
	}
	(void)spg__waitq_leave(&mine->node);
	word = (again ? 0 : word & WOKEN) | (uintptr_t)mine->node.waiter;
	spg__word_unlock(&m->word, spg__waitq_empty(&m->queue) ? word : word | WAITERS);
	return true;
}

/* The wait ended with err; 0: we were woken or handed the lock meanwhile. */
static int give_up(struct mutex *m, struct mutex_node *mine, int err)
{
	uintptr_t word = spg__word_lock(&m->word, WAITERS), waiters;
	bool left = spg__waitq_leave(&mine->node);

	waiters = spg__waitq_empty(&m->queue) ? 0 : WAITERS;
	word |= LOCKED;
	/* MU4: with waiters and neither an owner nor WOKEN it is on us to wake. */
	while (waiters == 0 || (word & (OWNER | WOKEN)) != 0) {
		if (swap_word(m, &word, (word & ~(LOCKED | WAITERS)) | waiters))
			goto out;
	}
	wake_oldest(m);
out:
	if (left)
		return err;
	spg__waitq_await(&mine->node);
	return 0;
}

static int lock_slow(struct mutex *m, struct spg__waiter *w, bool cancelable)
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
		uintptr_t word = spg__word_lock(&m->word, WAITERS);

		if ((word & OWNER) == 0) {
			spg__word_unlock(&m->word, (again ? word & ~WOKEN : word) | (uintptr_t)w);
			break;
		}
		spg__waitq_push(&m->queue, &mine.node, w);
		if (again) { /* MU5: it waited before all the others */
			spg__list_remove(&mine.node.link);
			spg__list_append(m->queue.head.next, &mine.node.link);
		} else {
			mine.since_ns = spg__clock_ns();
		}
		if (enqueued(m, &mine, again))
			break;
		err = spg__waitq_park(&mine.node, &wait);
		if (spg__unlikely(err < 0))
			err = give_up(m, &mine, err);
		again = true;
	}
	spg__wait_end(&wait);
	return err;
}

static spg__noinline int lock(struct mutex *m, bool cancelable)
{
	struct spg__waiter *w = spg__self();

	if (spg__unlikely(w == NULL))
		return -ENOMEM;
	if (take_barging(m, w))
		return 0;
	return is_mine(m, w) ? -EDEADLK : lock_slow(m, w, cancelable);
}

int spg_mutex_lock(spg_mutex *m)
{
	struct spg__waiter *w = coro_self();

	if (spg__likely(w != NULL && take_free(of(m), w)))
		return 0;
	return lock(of(m), false);
}

int spg_mutex_lock_ctx(spg_mutex *m)
{
	struct spg__wait entry;
	int err = spg__wait_begin(&entry, SPG__REASON_MUTEX, m);

	if (err < 0)
		return err;
	spg__wait_end(&entry);
	return lock(of(m), true);
}

int spg_mutex_trylock(spg_mutex *mutex)
{
	struct mutex *m = of(mutex);
	struct spg__waiter *w = spg__self();
	uintptr_t word;

	if (spg__unlikely(w == NULL))
		return -ENOMEM;
	if (take_free(m, w))
		return 0;
	if (is_mine(m, w))
		return -EDEADLK;
	/* Free, but there are waiters: only under LOCKED. */
	if (!is_mine(m, NULL))
		return -EBUSY;
	word = spg__word_lock(&m->word, WAITERS) | LOCKED;
	while ((word & OWNER) != 0) {
		if (swap_word(m, &word, word & ~LOCKED))
			return -EBUSY;
	}
	spg__word_unlock(&m->word, (word & ~LOCKED) | (uintptr_t)w);
	return 0;
}

/* MU2. */
static inline int unlock(struct mutex *m, struct spg__waiter *w)
{
	uintptr_t mine = (uintptr_t)w, left;

	/* Taken off as the value it is, not as the one just read: the RMW need not wait for the check. */
	__asm__("" : "+r"(mine));
	if (spg__unlikely(!is_mine(m, w)))
		return -EPERM;
	/* release [MU-a]: our writes, to whoever locks next; acquire: the queue, if we wake. */
	left = atomic_fetch_sub_explicit(&m->word, mine, memory_order_acq_rel) - mine;
	if (spg__unlikely(left == WAITERS))
		wake_oldest(m);
	return 0;
}

static spg__noinline int unlock_foreign(struct mutex *m)
{
	struct spg__waiter *w = spg__self();

	return w != NULL ? unlock(m, w) : -EPERM;
}

int spg_mutex_unlock(spg_mutex *m)
{
	struct spg__waiter *w = coro_self();

	return spg__likely(w != NULL) ? unlock(of(m), w) : unlock_foreign(of(m));
}

bool spg__mutex_mine(spg_mutex *m)
{
	struct spg__waiter *w = spg__self();

	return w != NULL && is_mine(of(m), w);
}
