/*
 * Whom a wake wakes: no more shards than there is work for, once for many, and nobody for
 * what is about to run anyway, unless it does not.
 */
#include "test/t.h"

#include <sched.h>

#define CROWD 1000
#define ROUNDS 10
/* A hog gives up: what it waits for did not come. */
#define HOG_NS (2 * SPG_SEC)

static spg_sem gate;
static _Atomic int through;
static _Atomic bool released, held;

static spg_stats_t *stats(void)
{
	static spg_stats_t s;

	T_EQ(spg_stats(&s), 0);
	return &s;
}

/* All but ours are asleep. */
static void until_quiet(void)
{
	uint64_t others = (uint64_t)spg_shards() - 1;

	do
		T_EQ(spg_sleep(SPG_MS), 0);
	while (stats()->total.asleep < others || stats()->total.runnable > 0);
}

static void pass_the_gate(void *arg)
{
	for (int i = 0; i < *(int *)arg; i++) {
		T_EQ(spg_sem_acquire(&gate), 0);
		atomic_fetch_add(&through, 1);
	}
}

static void crowd_start(int shard, int *rounds)
{
	for (int i = 0; i < CROWD; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		if (shard >= 0)
			attr.place = SPG_PIN(shard);
		T_EQ(spg_go_attr(&attr, pass_the_gate, rounds), 0);
	}
}

static void crowd_release(void)
{
	for (int i = 0; i < CROWD; i++)
		T_EQ(spg_sem_release(&gate), 0);
}

static int crowd_main(void *arg)
{
	int rounds = ROUNDS;

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	for (int shard = -1; shard < spg_shards(); shard++) {
		spg_sem_init(&gate, 0);
		atomic_store(&through, 0);
		crowd_start(shard, &rounds);
		for (int round = 1; round <= ROUNDS; round++) {
			until_quiet();
			crowd_release();
			while (atomic_load(&through) < round * CROWD)
				spg_yield();
		}
	}
	/* One that wakes a shard takes its bit; the next has to find it asleep again. */
	T_OK(stats()->total.wakes_sent <= stats()->total.sleeps + stats()->shards);
	return 0;
}

/* Goal: of all who ready something for a shard that sleeps, one wakes it: never more wakes than sleeps. */
START_TEST(no_sleep_is_ended_twice)
{
	t_run((unsigned)_i, crowd_main, NULL);
}
END_TEST

static void hold_the_shard(void *arg)
{
	int64_t until;

	if (arg != NULL)
		T_EQ(spg_sem_acquire(arg), 0);
	atomic_store(&held, true);
	for (until = t_now_ns() + HOG_NS; !atomic_load(&released) && t_now_ns() < until;)
		continue;
	T_OK(atomic_load(&released));
	atomic_store(&held, false);
}

/* Wakes for a crowd of the last shard, which computes, or begins to when the first wake gets it up. */
static uint64_t wakes_of_held(bool asleep)
{
	spg_attr attr = SPG_ATTR_INIT;
	int rounds = 1, last = spg_shards() - 1;
	uint64_t before;
	spg_sem first;

	spg_sem_init(&gate, 0);
	spg_sem_init(&first, 0);
	atomic_store(&through, 0);
	atomic_store(&released, false);
	crowd_start(last, &rounds);
	attr.place = SPG_PIN(last);
	T_EQ(spg_go_attr(&attr, hold_the_shard, asleep ? &first : NULL), 0);
	if (asleep) {
		until_quiet();
		before = stats()->total.wakes_sent;
		T_EQ(spg_sem_release(&first), 0);
	} else {
		while (!atomic_load(&held))
			T_EQ(spg_sleep(SPG_MS), 0);
		before = stats()->total.wakes_sent;
	}
	crowd_release();
	before = stats()->total.wakes_sent - before;
	atomic_store(&released, true);
	while (atomic_load(&through) < CROWD || atomic_load(&held))
		T_EQ(spg_sleep(SPG_MS), 0);
	return before;
}

static void *count_held(void *arg)
{
	(void)arg;
	/* None while it is awake; then one gets it up, and the others see that. */
	T_EQ(wakes_of_held(false), 0);
	T_OK(wakes_of_held(true) <= 1);
	return NULL;
}

static int coalesced_main(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;

	(void)arg;
	attr.place = SPG_PIN(0);
	T_EQ(spg_join(spg_spawn(&attr, count_held, NULL), NULL), 0);
	return 0;
}

/* Goal: wakes coalesce: a thousand readies for a shard that computes send none, for one that slept one. */
START_TEST(many_readies_give_one_wake)
{
	if (_i > 1)
		t_run((unsigned)_i, coalesced_main, NULL);
}
END_TEST

static void count_one(void *arg)
{
	(void)arg;
	atomic_fetch_add(&through, 1);
}

/* Goal: no thundering herd: each spawn from outside gets one shard out of its sleep, not all. */
START_TEST(one_ready_wakes_one_shard)
{
	spg_config cfg = t_config((unsigned)_i);
	uint64_t before = 0, sleeps;

	T_EQ(spg_start(&cfg), 0);
	atomic_store(&through, 0);
	for (int i = 0; i <= CROWD; i++) {
		while (stats()->total.asleep < stats()->shards)
			usleep(20);
		before = i == 0 ? stats()->total.sleeps : before;
		if (i == CROWD)
			break;
		T_EQ(spg_go(count_one, NULL), 0);
		while (atomic_load(&through) <= i)
			sched_yield();
	}
	sleeps = stats()->total.sleeps - before;
	fprintf(stderr, "%d shards: %d wakes ended %llu sleeps\n", _i, CROWD, (unsigned long long)sleeps);
	/* A few more: who gets up for another reason, and finds nothing. */
	T_OK(sleeps >= CROWD / 2 && sleeps <= CROWD + CROWD / 2);
	T_EQ(spg_stop(), 0);
}
END_TEST

static spg_chan *there, *back;

static void *serve_trips(void *arg)
{
	(void)arg;
	while (spg_chan_recv(there, NULL) == 0)
		T_EQ(spg_chan_send(back, NULL), 0);
	return NULL;
}

static void *make_trips(void *arg)
{
	uint64_t before;

	(void)arg;
	for (int i = 0; i < 10; i++) { /* until they are on one shard */
		T_EQ(spg_chan_send(there, NULL), 0);
		T_EQ(spg_chan_recv(back, NULL), 0);
	}
	before = stats()->total.wakes_sent;
	for (int i = 0; i < 20 * CROWD; i++) {
		T_EQ(spg_chan_send(there, NULL), 0);
		T_EQ(spg_chan_recv(back, NULL), 0);
	}
	before = stats()->total.wakes_sent - before;
	T_EQ(spg_chan_close(there), 0);
	return (void *)(uintptr_t)before;
}

static int trips_main(void *arg)
{
	spg_task *server, *client;
	void *wakes;

	(void)arg;
	there = spg_chan_new(0, 0);
	back = spg_chan_new(0, 0);
	server = spg_spawn(NULL, serve_trips, NULL);
	client = spg_spawn(NULL, make_trips, NULL);
	T_EQ(spg_join(client, &wakes), 0);
	T_EQ(spg_join(server, NULL), 0);
	fprintf(stderr, "%d shards: %llu wakes for %d trips\n", spg_shards(), (unsigned long long)(uintptr_t)wakes,
		20 * CROWD);
	/* Where the pair is on two shards for a while, each trip may wake. */
	T_OK((uintptr_t)wakes <= CROWD);
	spg_chan_unref(there);
	spg_chan_unref(back);
	return 0;
}

/* Goal: who hands over to one on its own shard wakes nobody for it. */
START_TEST(a_hand_over_wakes_nobody)
{
	t_run((unsigned)_i, trips_main, NULL);
}
END_TEST

static _Atomic int ran_on;

static void run_elsewhere(void *arg)
{
	T_EQ(spg_sem_acquire(arg), 0);
	atomic_store(&ran_on, spg_shard());
}

/* On shard 0: readies one for its hand-over slot, and computes. Did somebody else run that meanwhile? */
static void *hand_over_and_burn(void *arg)
{
	bool spinner = arg != NULL;
	int64_t until;
	spg_sem sem;

	spg_sem_init(&sem, 0);
	atomic_store(&ran_on, -1);
	T_EQ(spg_go(run_elsewhere, &sem), 0);
	do
		spg_yield();
	while (stats()->total.parked < 2); /* it, and main */
	if (spinner)
		while (stats()->total.spinning == 0)
			spg_yield();
	else
		until_quiet();
	T_EQ(spg_sem_release(&sem), 0);
	for (until = t_now_ns() + HOG_NS / 4; atomic_load(&ran_on) < 0 && t_now_ns() < until;)
		continue;
	if (atomic_load(&ran_on) >= 0) {
		T_OK(atomic_load(&ran_on) != 0);
		return &ran_on;
	}
	while (atomic_load(&ran_on) < 0)
		spg_yield();
	return NULL;
}

static int slot_main(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	void *result;

	attr.place = SPG_PIN(0);
	T_EQ(spg_join(spg_spawn(&attr, hand_over_and_burn, arg), &result), 0);
	return result != NULL;
}

/* Goal: a thief takes a hand-over slot that its owner leaves alone: one that spins, or one the watchdog wakes. */
START_TEST(a_stale_hand_over_slot_is_stolen)
{
	spg_config cfg = t_config((unsigned)_i);
	cpu_set_t set;
	bool spinner = true;

	if (_i == 1)
		return;
	T_EQ(t_run_config(&cfg, slot_main, NULL), 1);
	/* By nobody else: */
	cfg.stall_ns = 0;
	T_EQ(t_run_config(&cfg, slot_main, NULL), 0);
	T_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	if (CPU_COUNT(&set) == 1)
		T_SKIP("nobody spins where there is one CPU");
	cfg.spin_ns = 10 * SPG_SEC;
	T_EQ(t_run_config(&cfg, slot_main, &spinner), 1);
}
END_TEST

T_MAIN(T_SHARDS(no_sleep_is_ended_twice), T_SHARDS(many_readies_give_one_wake), T_SHARDS(one_ready_wakes_one_shard),
       T_SHARDS(a_hand_over_wakes_nobody), T_SHARDS(a_stale_hand_over_slot_is_stolen))
