/*
 * Many more shards than CPUs: what one step costs does not grow with their number, and nothing
 * is overlooked for it. docs/scaling.md has the numbers.
 */
#include "crowd.h"

#include <sched.h>
#include <stdatomic.h>

#define SHARDS 48u
/* sched/steal.c. */
#define LOOKS_MAX 8u
#define LIMIT 40
#define SPAWNS 3000

static spg_stats_t stats;
static _Atomic int live, most, refused;

static void chunk(void *arg)
{
	crowd_spin(100 * SPG_US);
	spg_wg_done(arg);
}

static int chunks_on_one_shard(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	spg_wg wg = SPG_WG_INIT;

	(void)arg;
	attr.place = SPG_PREFER(0);
	for (int round = 0; round < 4; round++) {
		T_EQ(spg_wg_add(&wg, 200), 0);
		for (int i = 0; i < 200; i++)
			T_EQ(spg_go_attr(&attr, chunk, &wg), 0);
		T_EQ(spg_wg_wait(&wg), 0);
	}
	T_EQ(spg_stats(&stats), 0);
	return 0;
}

/* Goal: an attempt to steal looks at a few others, however many there are; work is found all the same. */
START_TEST(an_attempt_looks_at_a_few)
{
	t_run(SHARDS, chunks_on_one_shard, NULL);
	T_OK(stats.total.steals_tried > 0);
	T_OK(stats.total.stolen > 0);
	T_OK(stats.total.steal_scans <= stats.total.steals_tried * LOOKS_MAX);
}
END_TEST

/* Goal: a probe count above that is still what was asked for. */
START_TEST(more_probes_may_be_asked_for)
{
	spg_config cfg = t_config(SHARDS);

	cfg.steal_probe = 20;
	T_EQ(t_run_config(&cfg, chunks_on_one_shard, NULL), 0);
	T_OK(stats.total.steal_scans <= stats.total.steals_tried * 20);
	T_OK(stats.total.steal_scans > stats.total.steals_tried * LOOKS_MAX);
}
END_TEST

static _Atomic unsigned started;

/* Computes until all have begun: each needs a shard of its own. */
static void begin_with_all(void *arg)
{
	atomic_fetch_add(&started, 1);
	while (atomic_load(&started) < SHARDS)
		sched_yield();
	spg_wg_done(arg);
}

static int one_for_each_shard(void *arg)
{
	spg_wg wg = SPG_WG_INIT;

	(void)arg;
	atomic_store(&started, 0);
	T_EQ(spg_wg_add(&wg, SHARDS), 0);
	for (unsigned i = 0; i < SHARDS; i++)
		T_EQ(spg_go(begin_with_all, &wg), 0);
	T_EQ(spg_wg_wait(&wg), 0);
	return 0;
}

/*
 * Goal: work on one shard reaches all of them by wakes alone. Nobody looks for stalls here, so one
 * sleeper that is not woken would sleep on.
 */
START_TEST(work_reaches_every_shard)
{
	spg_config cfg = t_config(SHARDS);

	cfg.stall_ns = 0;
	for (int round = 0; round < 20; round++)
		T_EQ(t_run_config(&cfg, one_for_each_shard, NULL), 0);
}
END_TEST

static _Atomic bool ran;

static void run_me(void *arg)
{
	(void)arg;
	atomic_store(&ran, true);
}

/* On the last shard, where no scan from the first one begins: what it readies waits in its slot. */
static void ready_one_and_compute(void *arg)
{
	T_EQ(spg_go(run_me, NULL), 0);
	while (!atomic_load(&ran))
		continue; /* bounded by the test's time */
	spg_wg_done(arg);
}

static int slot_of_the_last(void *arg)
{
	spg_wg wg = SPG_WG_INIT;
	spg_attr attr = SPG_ATTR_INIT;

	(void)arg;
	attr.place = SPG_PIN(spg_shards() - 1);
	for (int i = 0; i < 10; i++) {
		atomic_store(&ran, false);
		T_EQ(spg_wg_add(&wg, 1), 0);
		T_EQ(spg_go_attr(&attr, ready_one_and_compute, &wg), 0);
		T_EQ(spg_wg_wait(&wg), 0);
	}
	return 0;
}

/* Goal: the slot of a shard that computes for ever is taken, though thieves look at a few only. */
START_TEST(a_stuck_shard_among_many_is_found)
{
	t_run(SHARDS, slot_of_the_last, NULL);
}
END_TEST

static void live_for_a_moment(void *arg)
{
	int n = atomic_fetch_add(&live, 1) + 1, seen = atomic_load(&most);

	(void)arg;
	while (n > seen && !atomic_compare_exchange_weak(&most, &seen, n))
		continue;
	spg_yield();
	atomic_fetch_sub(&live, 1);
}

static void spawn_many(void *arg)
{
	for (int i = 0; i < SPAWNS; i++) {
		int err = spg_go(live_for_a_moment, NULL);

		T_OK(err == 0 || err == -EAGAIN);
		atomic_fetch_add(&refused, err == -EAGAIN);
		if (err < 0)
			t_relax();
	}
	spg_wg_done(arg);
}

static void *spawn_from_outside(void *arg)
{
	spawn_many(arg);
	return NULL;
}

static void wait_there(void *arg)
{
	spg_chan_recv(arg, NULL);
}

static int over_the_limit(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	spg_wg wg = SPG_WG_INIT;
	pthread_t thread[4];

	(void)arg;
	T_EQ(spg_wg_add(&wg, 12), 0);
	for (int i = 0; i < 4; i++)
		T_EQ(pthread_create(&thread[i], NULL, spawn_from_outside, &wg), 0);
	for (int i = 0; i < 8; i++) {
		while (spg_go(spawn_many, &wg) == -EAGAIN)
			t_relax();
	}
	T_EQ(spg_wg_wait(&wg), 0);
	for (int i = 0; i < 4; i++)
		T_EQ(pthread_join(thread[i], NULL), 0);
	T_OK(atomic_load(&most) <= LIMIT - 1);
	T_OK(atomic_load(&refused) > 0);
	do {
		T_EQ(spg_stats(&stats), 0);
		t_relax();
	} while (stats.total.live > 1);
	/* Exactly so many fit beside main. */
	for (int i = 0; i < LIMIT - 1; i++)
		T_EQ(spg_go(wait_there, c), 0);
	T_ERR(spg_go(wait_there, c), -EAGAIN);
	T_EQ(spg_chan_close(c), 0);
	do {
		T_EQ(spg_stats(&stats), 0);
		t_relax();
	} while (stats.total.live > 1);
	spg_chan_unref(c);
	return 0;
}

/* Goal: coroutines_max is exact, whoever spawns and however many at once; ends make room again. */
START_TEST(the_limit_of_coroutines_is_exact)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.coroutines_max = LIMIT;
	for (int round = 0; round < 3; round++)
		T_EQ(t_run_config(&cfg, over_the_limit, NULL), 0);
}
END_TEST

T_MAIN(T_TEST(an_attempt_looks_at_a_few), T_TEST(more_probes_may_be_asked_for), T_TEST(work_reaches_every_shard),
       T_TEST(a_stuck_shard_among_many_is_found), T_SHARDS(the_limit_of_coroutines_is_exact))
