/*
 * What a shard that computes holds, one by one: cancels, deadlines, queued operations.
 */
#include "test/burn.h"

static void *cancel_them(void *arg)
{
	static struct readers all;
	spg_ctx *ctx = spg_ctx_new(NULL);
	bool during;

	(void)arg;
	all = (struct readers){ .expected = -ECANCELED };
	readers_start(&all, ctx);
	hog_start();
	T_EQ(spg_sleep(3 * STALL_NS), 0);
	clock_start();
	spg_ctx_cancel(ctx);
	during = until_ended(&all);
	if (during)
		clock_check("cancels", STALL_NS + BOUND_NS);
	T_UNTIL(atomic_load(&all.ended) == READERS);
	spg_ctx_unref(ctx);
	readers_end(&all);
	return (void *)(intptr_t)during;
}

/* Goal: operations on the ring of a shard that computes are canceled by a context that ends elsewhere. */
START_TEST(a_burning_shards_operations_are_canceled)
{
	spg_config cfg = config(2);

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	T_OK(happened(&cfg, cancel_them));
	cfg.sqpoll_idle_ms = 10;
	T_OK(happened(&cfg, cancel_them));
}
END_TEST

/* Goal: it is the kick that does it: without, or without the kernel's call, they wait. */
START_TEST(without_the_kick_cancels_wait)
{
	spg_config cfg = config(2);

	cfg.kick_signal = 0;
	T_OK(!happened(&cfg, cancel_them));
	cfg = config(2);
	cfg.disable = "sync_cancel";
	T_OK(!happened(&cfg, cancel_them));
}
END_TEST

static void *let_them_expire(void *arg)
{
	static struct readers all;
	bool during;

	/* Long enough for the hog to begin first. */
	all = (struct readers){ .expected = arg == NULL ? -ETIMEDOUT : 0, .scope_ns = 100 * SPG_MS, .poll = arg != NULL };
	readers_start(&all, NULL);
	hog_start();
	T_EQ(atomic_load(&all.ended), 0);
	during = until_ended(&all);
	T_UNTIL(atomic_load(&all.ended) == READERS);
	readers_end(&all);
	return (void *)(intptr_t)during;
}

static void *let_polls_expire(void *arg)
{
	(void)arg;
	return let_them_expire(&burning);
}

/* Goal: so are those whose deadline passes, a scope's or the call's own. */
START_TEST(a_burning_shards_deadlines_pass)
{
	spg_config cfg = config(2);

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	T_OK(happened(&cfg, let_them_expire));
	T_OK(happened(&cfg, let_polls_expire));
}
END_TEST

static int queued_pipe[2];
static _Atomic int queued;

static uint64_t sqes_of_0(void)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return stats.shard[0].sqes;
}

static void write_one(void *arg)
{
	(void)arg;
	T_EQ(spg_write(queued_pipe[1], "x", 1), 1);
}

/* On shard 0: computes behind an operation that is queued and not submitted. */
static void queue_and_burn(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	uint64_t before;

	attr.place = SPG_PIN(0);
	do { /* until no pass ends between the two */
		before = sqes_of_0();
		T_EQ(spg_go_attr(&attr, write_one, NULL), 0);
		atomic_fetch_add(&queued, 1);
		spg_yield();
	} while (sqes_of_0() != before);
	hog(arg);
}

static void *read_what_was_queued(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	char c;
	bool during;

	(void)arg;
	atomic_store(&enough, false);
	atomic_store(&queued, 0);
	T_EQ(pipe(queued_pipe), 0);
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, queue_and_burn, NULL), 0);
	T_UNTIL(atomic_load(&burning));
	clock_start();
	for (int i = 0; i < atomic_load(&queued); i++)
		T_EQ(spg_read(queued_pipe[0], &c, 1), 1);
	during = atomic_load(&burning);
	if (during)
		clock_check("queued operations", STALL_NS + BOUND_NS);
	during = hog_end() && during;
	T_EQ(spg_close(queued_pipe[0]), 0);
	T_EQ(spg_close(queued_pipe[1]), 0);
	return (void *)(intptr_t)during;
}

/* Goal: what was queued on a ring, and not submitted, before its shard computes is submitted. */
START_TEST(a_burning_shards_queued_operations_are_submitted)
{
	spg_config cfg = config(2);

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	T_OK(happened(&cfg, read_what_was_queued));
	cfg.kick_signal = 0;
	T_OK(!happened(&cfg, read_what_was_queued));
}
END_TEST

#define HOGS 20

static void *one_after_another(void *arg)
{
	static struct readers all;
	int during = 0;

	(void)arg;
	for (int i = 0; i < HOGS; i++) {
		all = (struct readers){ .expected = 1 };
		readers_start(&all, NULL);
		hog_start();
		for (int r = 0; r < READERS; r++)
			T_EQ(write(all.pipes[r][1], "x", 1), 1);
		clock_start();
		during += until_ended(&all);
		clock_check("a hog", STALL_NS + BOUND_NS);
		T_UNTIL(atomic_load(&all.ended) == READERS);
		readers_end(&all);
	}
	return (void *)(intptr_t)(during == HOGS);
}

/* Goal: each of many that compute, one after another, is left by what waits behind it. */
START_TEST(twenty_hogs_in_a_row_hold_up_nobody)
{
	spg_config cfg = config(2);

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	T_OK(happened(&cfg, one_after_another));
}
END_TEST

T_MAIN(T_TEST(a_burning_shards_operations_are_canceled), T_TEST(without_the_kick_cancels_wait),
       T_TEST(a_burning_shards_deadlines_pass), T_TEST(a_burning_shards_queued_operations_are_submitted),
       T_TEST(twenty_hogs_in_a_row_hold_up_nobody))
