#include "sched/timerq.h"

#include "coro/clock.h"

#define LISTS SPG__TIMERQ_LISTS
#define WORDS (LISTS / 64)
#define LIST_NS (UINT64_C(1) << SPG__TIMERQ_SHIFT)
#define WHEEL_NS (LISTS * LIST_NS)
#define DENSE_LISTS 4

/* Two heaps become one; either may be NULL. */
static struct spg__timer_node *meld(struct spg__timer_node *a, struct spg__timer_node *b)
{
	if (a == NULL)
		return b;
	if (b == NULL)
		return a;
	if (b->when_ns < a->when_ns) {
		struct spg__timer_node *swap = a;

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
static struct spg__timer_node *meld_siblings(struct spg__timer_node *first)
{
	struct spg__timer_node *pairs = NULL, *root = NULL;

	while (first != NULL) {
		struct spg__timer_node *a = first, *b = a->next;

		first = b != NULL ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b != NULL)
			b->next = b->prev = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs != NULL) {
		struct spg__timer_node *a = pairs;

		pairs = a->next;
		a->next = NULL;
		root = meld(root, a);
	}
	return root;
}

static void heap_put(struct spg__timer_node **root, struct spg__timer_node *node)
{
	node->child = node->next = node->prev = NULL;
	*root = meld(*root, node);
}

static void heap_take(struct spg__timer_node **root, struct spg__timer_node *node)
{
	struct spg__timer_node *below = meld_siblings(node->child);

	node->child = NULL;
	if (node == *root) {
		*root = below;
		return;
	}
	if (node->prev->child == node)
		node->prev->child = node->next;
	else
		node->prev->next = node->next;
	if (node->next != NULL)
		node->next->prev = node->prev;
	*root = meld(*root, below);
}

static inline void near_put(struct spg__timerq *q, struct spg__timer_node *node)
{
	heap_put(&q->near, node);
	q->near_count++;
}

static inline void near_take(struct spg__timerq *q, struct spg__timer_node *node)
{
	heap_take(&q->near, node);
	q->near_count--;
}

/* V1: times before the clock's start count as its start. */
static inline uint64_t time_of(const struct spg__timer_node *node)
{
	return node->when_ns > 0 ? (uint64_t)node->when_ns : 0;
}

static inline unsigned slot_of(uint64_t ns)
{
	return (unsigned)(ns >> SPG__TIMERQ_SHIFT) % LISTS;
}

static void list_put(struct spg__timerq *q, struct spg__timer_node *node)
{
	unsigned slot = slot_of(time_of(node));
	struct spg__timerq_list *list = &q->lists[slot];

	if (list->first == NULL || node->when_ns < list->due_ns)
		list->due_ns = node->when_ns;
	node->child = node->prev = NULL;
	node->next = list->first;
	if (list->first != NULL)
		list->first->prev = node;
	list->first = node;
	list->count++;
	q->used[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static void list_take(struct spg__timerq *q, struct spg__timer_node *node)
{
	unsigned slot = slot_of(time_of(node));
	struct spg__timerq_list *list = &q->lists[slot];

	if (node->next != NULL)
		node->next->prev = node->prev;
	if (node->prev != NULL)
		node->prev->next = node->next;
	else
		list->first = node->next;
	list->count--;
	if (list->first == NULL)
		q->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

/* Where the first list that holds something begins, at the horizon or later; UINT64_MAX: all are empty. */
static uint64_t first_list(const struct spg__timerq *q)
{
	unsigned from = slot_of(q->horizon_ns);

	for (unsigned i = 0; i <= WORDS; i++) {
		unsigned word = (from / 64 + i) % WORDS;
		uint64_t bits = q->used[word];

		if (i == 0)
			bits &= ~UINT64_C(0) << (from % 64);
		if (bits != 0) {
			unsigned slot = word * 64 + (unsigned)__builtin_ctzll(bits);

			return q->horizon_ns + (slot - from) % LISTS * LIST_NS;
		}
	}
	return UINT64_MAX;
}

void spg__timerq_put(struct spg__timerq *q, struct spg__timer_node *node)
{
	uint64_t when = time_of(node);

	if (when < q->horizon_ns)
		near_put(q, node);
	else if (when - q->horizon_ns < WHEEL_NS)
		list_put(q, node);
	else
		heap_put(&q->far, node);
}

void spg__timerq_take(struct spg__timerq *q, struct spg__timer_node *node)
{
	uint64_t when = time_of(node);

	if (when < q->horizon_ns)
		near_take(q, node);
	else if (when - q->horizon_ns < WHEEL_NS)
		list_take(q, node);
	else
		heap_take(&q->far, node);
}

/* The list that begins at the horizon goes to the near heap, the horizon behind it. */
static void pass_list(struct spg__timerq *q)
{
	unsigned slot = slot_of(q->horizon_ns);
	struct spg__timer_node *node = q->lists[slot].first;

	q->lists[slot].first = NULL;
	q->lists[slot].count = 0;
	q->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
	q->horizon_ns += LIST_NS;
	while (node != NULL) {
		struct spg__timer_node *next = node->next;

		near_put(q, node);
		node = next;
	}
}

void spg__timerq_advance(struct spg__timerq *q, int64_t now_ns)
{
	uint64_t now = now_ns > 0 ? (uint64_t)now_ns : 0;

	if (now < q->horizon_ns)
		return;
	while (q->horizon_ns <= now) {
		uint64_t start = first_list(q);

		if (start > now) {
			q->horizon_ns = (now & ~(LIST_NS - 1)) + LIST_NS;
			break;
		}
		q->horizon_ns = start;
		pass_list(q);
	}
	/* V2. */
	while (q->far != NULL && time_of(q->far) < q->horizon_ns + WHEEL_NS) {
		struct spg__timer_node *node = q->far;

		heap_take(&q->far, node);
		spg__timerq_put(q, node);
	}
}

struct spg__timer_node *spg__timerq_pop(struct spg__timerq *q, int64_t now_ns)
{
	struct spg__timer_node *node = q->near;

	if (node == NULL || node->when_ns > now_ns)
		return NULL;
	near_take(q, node);
	return node;
}

int64_t spg__timerq_due(const struct spg__timerq *q)
{
	uint64_t start;

	if (q->near != NULL)
		return q->near->when_ns;
	start = first_list(q);
	if (start != UINT64_MAX)
		return q->lists[slot_of(start)].due_ns;
	return q->far != NULL ? q->far->when_ns : SPG__NEVER;
}

unsigned spg__timerq_dense(const struct spg__timerq *q)
{
	uint64_t start = q->near != NULL ? q->horizon_ns : first_list(q);
	unsigned count = q->near_count;

	if (start == UINT64_MAX)
		return count;
	for (unsigned i = 0; i < DENSE_LISTS; i++)
		count += q->lists[(slot_of(start) + i) % LISTS].count;
	return count;
}
