#include "sched/timer.h"

#include "sched/park.h"
#include "sched/shard.h"

void spg__timers_init(struct spg__timers *heap, int shard)
{
	*heap = (struct spg__timers){ .shard = shard };
	atomic_init(&heap->next_due_ns, SPG__NEVER);
}

/* Two heaps become one; either may be NULL. */
static struct spg__timer *meld(struct spg__timer *a, struct spg__timer *b)
{
	if (a == NULL)
		return b;
	if (b == NULL)
		return a;
	if (b->when_ns < a->when_ns) {
		struct spg__timer *swap = a;

		a = b;
		b = swap;
	}
	/* b becomes a's first child; prev of a first child is its parent. */
	b->next = a->child;
	b->prev = a;
	if (a->child != NULL)
		a->child->prev = b;
	a->child = b;
	a->next = a->prev = NULL;
	return a;
}

/* The usual two passes: pairs from the left, then all from the right. Iterative. */
static struct spg__timer *meld_siblings(struct spg__timer *first)
{
	struct spg__timer *pairs = NULL, *root = NULL;

	while (first != NULL) {
		struct spg__timer *a = first, *b = a->next;

		first = b != NULL ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b != NULL)
			b->next = b->prev = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs != NULL) {
		struct spg__timer *a = pairs;

		pairs = a->next;
		a->next = NULL;
		root = meld(root, a);
	}
	return root;
}

/* Under the lock (T1). */
static void heap_remove(struct spg__timers *heap, struct spg__timer *timer)
{
	struct spg__timer *below = meld_siblings(timer->child);

	timer->child = NULL;
	if (timer == heap->root) {
		heap->root = below;
		return;
	}
	if (timer->prev->child == timer)
		timer->prev->child = timer->next;
	else
		timer->prev->next = timer->next;
	if (timer->next != NULL)
		timer->next->prev = timer->prev;
	heap->root = meld(heap->root, below);
}

/* Under the lock (T4). */
static void publish_due(struct spg__timers *heap)
{
	int64_t due = heap->root != NULL ? heap->root->when_ns : SPG__NEVER;

	/* seq_cst [W2]: the idle protocol's last look reads it. */
	if (atomic_load_explicit(&heap->next_due_ns, memory_order_relaxed) != due)
		atomic_store_explicit(&heap->next_due_ns, due, memory_order_seq_cst);
}

static inline void count_add(struct spg__timers *heap, uint64_t n)
{
	/* relaxed: under the lock; read by statistics. */
	atomic_store_explicit(&heap->count,
			      atomic_load_explicit(&heap->count, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

bool spg__timer_start(struct spg__timer *timer, int64_t when_ns)
{
	struct spg__shard *self = spg__shard_self();
	struct spg__timers *heap;
	bool earliest;

	if (spg__likely(self != NULL)) {
		heap = &self->timers;
	} else {
		struct spg__shard *other = spg__shard_enter_foreign();

		if (other == NULL)
			return false;
		heap = &other->timers;
	}
	timer->when_ns = when_ns;
	timer->child = timer->next = timer->prev = NULL;
	spg__lock(&heap->lock);
	atomic_store_explicit(&timer->heap, heap, memory_order_relaxed);
	heap->root = meld(heap->root, timer);
	earliest = heap->root == timer;
	count_add(heap, 1);
	publish_due(heap);
	spg__unlock(&heap->lock);
	if (self == NULL) {
		if (earliest)
			spg__shard_wake(spg__shard_at(heap->shard));
		spg__shard_leave_foreign();
	}
	return true;
}

bool spg__timer_stop(struct spg__timer *timer)
{
	/* acquire [T-a]. */
	struct spg__timers *heap = atomic_load_explicit(&timer->heap, memory_order_acquire);
	bool queued;

	if (heap == NULL)
		return false;
	spg__lock(&heap->lock);
	/* relaxed: changes under this lock only. */
	queued = atomic_load_explicit(&timer->heap, memory_order_relaxed) != NULL;
	if (queued) {
		heap_remove(heap, timer);
		atomic_store_explicit(&timer->heap, NULL, memory_order_relaxed);
		count_add(heap, (uint64_t)-1);
		publish_due(heap);
	}
	spg__unlock(&heap->lock);
	return queued;
}

unsigned spg__timers_expire(struct spg__timers *heap, int64_t now_ns)
{
	unsigned fired = 0;

	for (;;) {
		struct spg__timer *timer;
		struct spg__waiter *waiter;
		void (*fire)(struct spg__timer *);

		spg__lock(&heap->lock);
		timer = heap->root;
		if (timer == NULL || timer->when_ns > now_ns) {
			spg__unlock(&heap->lock);
			return fired;
		}
		heap_remove(heap, timer);
		waiter = timer->waiter;
		fire = timer->fire;
		count_add(heap, (uint64_t)-1);
		/* release [T-a]: the last access to a waiter's timer (T2). */
		atomic_store_explicit(&timer->heap, NULL, memory_order_release);
		publish_due(heap);
		spg__unlock(&heap->lock);
		fired++;
		if (waiter != NULL)
			spg__unpark(waiter);
		else
			fire(timer);
	}
}
