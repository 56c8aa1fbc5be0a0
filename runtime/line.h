/*
 * A line of waiters on one side of an object that two sides share without a lock, and the
 * bell by which the other side wakes the first of them.
 *
 * B1  A line belongs to one side: to the coroutines of one shard, which take turns (one that
 *     waits is pinned, so that it acts there when it is woken), or to the holders of a lock.
 * B2  Only the first in line acts on the object, and a newcomer only where it may pass
 *     everybody (spg__line_may_pass): service is in the order of the line.
 * B3  The first, before it parks: [B-a] stores itself in `bell`, then looks at the object once
 *     more. The other side: [B-b] publishes its change, then reads `bell`. All four are
 *     seq_cst: either the first sees the change, or the other side sees the bell.
 * B4  Whoever empties the bell by an RMW wakes the one it got: one wake for one wait, and
 *     none while nobody waits. A wake that finds its waiter gone is a stale permit (P3).
 * B5  Who leaves the line, served or not, takes its own bell back and wakes the next, who
 *     looks for itself. So no change is lost when the one it woke gives up.
 *
 * All zero is an empty line.
 */
#ifndef SPG__RUNTIME_LINE_H
#define SPG__RUNTIME_LINE_H

#include "coro/list.h"
#include "coro/lock.h"
#include "sched/wait.h"

struct spg__line {
	/* The side's own (B1). */
	struct spg__list waiting;
	struct spg__lock *lock; /* NULL: the line of a shard */
	/* Read and emptied by the other side. */
	_Atomic(struct spg__waiter *) bell;
};

struct spg__line_node {
	struct spg__list link;
	struct spg__waiter *waiter;
	/* Smaller ones stand before larger ones, equals in order of arrival. */
	uint64_t least;
};

/* Its own side: the first, or NULL. */
static inline struct spg__line_node *spg__line_first(const struct spg__line *line)
{
	if (line->waiting.next == NULL || spg__list_empty(&line->waiting))
		return NULL;
	return spg__container_of(line->waiting.next, struct spg__line_node, link);
}

/* B2: would one who asks for `least` stand first? */
static inline bool spg__line_may_pass(const struct spg__line *line, uint64_t least)
{
	struct spg__line_node *first = spg__line_first(line);

	return spg__likely(first == NULL) || first->least > least;
}

/* Empties the bell and wakes who was in it. true: there was somebody. */
bool spg__line_ring_slow(struct spg__line *line);

/* The other side, after it published a change (B3). true: somebody was woken. */
static inline bool spg__line_ring(struct spg__line *line)
{
	/* seq_cst [B-b]. */
	if (spg__likely(atomic_load_explicit(&line->bell, memory_order_seq_cst) == NULL))
		return false;
	return spg__line_ring_slow(line);
}

/*
 * Waits in line until act() is true: it did what the caller came for, or found that it never
 * will. act runs while its caller is first, loads what the other side writes seq_cst (B3), and
 * is asked once more when the context has ended: data wins. 0, or the context's error.
 * The line's lock is held by the caller, and released.
 */
int spg__line_wait(struct spg__line *line, uint64_t least, enum spg__reason reason, bool (*act)(void *call),
		   void *call);

#endif
