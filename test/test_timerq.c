/*
 * The timer queue against a plain array: every timer comes out once, never early, in the order of
 * times, whatever the distances, removals and steps of the clock.
 */
#include "coro/clock.h"
#include "sched/timerq.h"
#include "test/t.h"

#define NODES 3000
#define STEPS 4000

struct item {
	struct spg__timer_node node;
	bool queued;
};

static struct spg__timerq queue;
static struct item items[NODES];

static int64_t least_queued(void)
{
	int64_t least = SPG__NEVER;

	for (int i = 0; i < NODES; i++)
		if (items[i].queued && items[i].node.when_ns < least)
			least = items[i].node.when_ns;
	return least;
}

/* From nanoseconds to days, so that all three parts are used. */
static int64_t distance(uint64_t *state)
{
	return (int64_t)(t_random(state) >> (16 + t_random(state) % 48));
}

static void add(struct item *item, int64_t when_ns)
{
	item->node.when_ns = when_ns;
	item->queued = true;
	spg__timerq_put(&queue, &item->node);
}

static void take(struct item *item)
{
	spg__timerq_take(&queue, &item->node);
	item->queued = false;
}

/* Every timer of the near heap, and of the next lists of the wheel. */
static void check_dense(void)
{
	uint64_t horizon = queue.horizon_ns, start = horizon, list_ns = 1u << SPG__TIMERQ_SHIFT;
	unsigned count = 0;

	if (queue.near == NULL && least_queued() != SPG__NEVER)
		start = (uint64_t)least_queued() / list_ns * list_ns;
	for (int i = 0; i < NODES; i++) {
		uint64_t when = (uint64_t)items[i].node.when_ns;

		count += items[i].queued && when < start + 4 * list_ns &&
			 (when < horizon || when - horizon < SPG__TIMERQ_LISTS * list_ns);
	}
	/* Where all is far, nothing is dense. */
	T_EQ(spg__timerq_dense(&queue), start - horizon < SPG__TIMERQ_LISTS * list_ns ? count : 0);
}

/* All that is due comes out, in order; what is left is later. */
static void pop_due(int64_t now_ns)
{
	int64_t last = INT64_MIN;
	struct spg__timer_node *node;

	spg__timerq_advance(&queue, now_ns);
	while ((node = spg__timerq_pop(&queue, now_ns)) != NULL) {
		struct item *item = spg__container_of(node, struct item, node);

		T_OK(item->queued);
		T_OK(node->when_ns <= now_ns);
		T_OK(node->when_ns >= last);
		last = node->when_ns;
		item->queued = false;
	}
	T_OK(least_queued() > now_ns);
}

START_TEST(prop_timers_come_out_once_in_order_and_never_early)
{
	uint64_t state = t_seed();
	int64_t now = (int64_t)(t_random(&state) >> 4);

	queue = (struct spg__timerq){ 0 };
	memset(items, 0, sizeof(items));
	for (int step = 0; step < STEPS; step++) {
		struct item *item = &items[t_random(&state) % NODES];

		if (!item->queued)
			add(item, now + distance(&state));
		else if (t_random(&state) % 2 == 0)
			take(item);
		if (t_random(&state) % 8 == 0) {
			int64_t due = spg__timerq_due(&queue);

			T_OK(due <= least_queued());
			check_dense();
			/* To the next timer, or anywhere. */
			if (t_random(&state) % 2 == 0 && due != SPG__NEVER)
				now = due > now ? due : now;
			else
				now += distance(&state) >> 8;
			pop_due(now);
		}
	}
	pop_due(SPG__NEVER - 1);
	T_EQ(spg__timerq_due(&queue), SPG__NEVER);
}
END_TEST

START_TEST(due_is_exact_without_removals)
{
	uint64_t state = t_seed();

	queue = (struct spg__timerq){ 0 };
	memset(items, 0, sizeof(items));
	spg__timerq_advance(&queue, SPG_SEC);
	for (int i = 0; i < NODES; i++) {
		add(&items[i], SPG_SEC + distance(&state));
		T_EQ(spg__timerq_due(&queue), least_queued());
	}
	while (least_queued() != SPG__NEVER) {
		T_EQ(spg__timerq_due(&queue), least_queued());
		pop_due(least_queued());
	}
}
END_TEST

START_TEST(times_before_the_clock_began_are_due_at_once)
{
	queue = (struct spg__timerq){ 0 };
	memset(items, 0, sizeof(items));
	add(&items[0], -5);
	add(&items[1], 0);
	add(&items[2], INT64_MIN);
	take(&items[1]);
	pop_due(0);
	T_OK(!items[0].queued && !items[2].queued);
}
END_TEST

T_MAIN(T_TEST(prop_timers_come_out_once_in_order_and_never_early), T_TEST(due_is_exact_without_removals),
       T_TEST(times_before_the_clock_began_are_due_at_once))
