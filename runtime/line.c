#include "runtime/line.h"

#include "sched/shard.h"

static void hold(struct spg__line *line)
{
	if (line->lock != NULL)
		spg__lock(line->lock);
}

static void release(struct spg__line *line)
{
	if (line->lock != NULL)
		spg__unlock(line->lock);
}

static void join(struct spg__line *line, struct spg__line_node *node)
{
	struct spg__list *before;

	if (line->waiting.next == NULL)
		spg__list_init(&line->waiting);
	before = line->waiting.prev;
	while (before != &line->waiting &&
	       spg__container_of(before, struct spg__line_node, link)->least > node->least)
		before = before->prev;
	node->link.prev = before;
	node->link.next = before->next;
	before->next->prev = &node->link;
	before->next = &node->link;
}

/* B5. Whom to wake after the unlock, or NULL. */
static struct spg__waiter *leave(struct spg__line *line, struct spg__line_node *node)
{
	struct spg__waiter *mine = node->waiter;
	struct spg__line_node *next;

	/* relaxed, both: if a bell was taken from us, its wake comes as a stale permit. */
	(void)atomic_compare_exchange_strong_explicit(&line->bell, &mine, NULL, memory_order_relaxed,
						      memory_order_relaxed);
	spg__list_remove(&node->link);
	next = spg__line_first(line);
	return next != NULL ? next->waiter : NULL;
}

bool spg__line_ring_slow(struct spg__line *line)
{
	/* seq_cst, B4: one of several takes it. */
	struct spg__waiter *waiter = atomic_exchange_explicit(&line->bell, NULL, memory_order_seq_cst);

	if (waiter == NULL)
		return false;
	spg__unpark(waiter);
	return true;
}

/* B2, B3. true: acted. */
static bool act_as_first(struct spg__line *line, struct spg__line_node *node, bool ended,
			 bool (*act)(void *call), void *call)
{
	if (spg__line_first(line) != node)
		return false;
	if (act(call))
		return true;
	if (ended)
		return false;
	/* seq_cst [B-a], then the last look. */
	atomic_store_explicit(&line->bell, node->waiter, memory_order_seq_cst);
	return act(call);
}

/* B1: stays on its shard while it waits. Returns the coroutine's own pin. */
static int16_t pin(struct spg__waiter *w)
{
	struct spg__coro *coro;
	int16_t own;

	if (w->kind != SPG__WAITER_CORO)
		return -1;
	coro = spg__coro_of(w);
	own = coro->pin;
	coro->pin = (int16_t)spg__shard_self()->id; /* O3 */
	return own;
}

int spg__line_wait(struct spg__line *line, uint64_t least, enum spg__reason reason, bool (*act)(void *call),
		   void *call)
{
	struct spg__line_node node = { .waiter = spg__self(), .least = least };
	struct spg__waiter *next;
	struct spg__wait wait;
	int16_t own_pin = pin(node.waiter);
	bool done;
	int err = 0;

	spg__wait_start(&wait, node.waiter, reason, line);
	join(line, &node);
	while (!(done = act_as_first(line, &node, err < 0, act, call)) && err == 0) {
		release(line);
		err = spg__wait_park(&wait);
		hold(line);
	}
	next = leave(line, &node);
	release(line);
	if (spg__unlikely(next != NULL))
		spg__unpark(next);
	spg__wait_end(&wait);
	if (wait.waiter->kind == SPG__WAITER_CORO)
		spg__coro_of(wait.waiter)->pin = own_pin;
	return done ? 0 : err;
}
