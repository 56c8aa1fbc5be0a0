/*
 * Nobody starves: bounds on how long what is ready waits for its turn, counted in turns of
 * those who are before it, on the same shard. A pass has at most run_budget turns, and a
 * shard looks at everything between two.
 */
#include "test/t.h"

#include <pthread.h>

#define SHARDS_MOST 4
#define BUDGET 16
/* The pass that goes on, and one that began while it was published. */
#define TURNS_MAX (2 * BUDGET)
#define ROUNDS 50
#define YIELDERS_MAX 3

/* Turns taken on each shard. */
static _Atomic uint64_t turns[SHARDS_MOST];
static _Atomic bool stop;
static _Atomic int looping;

static spg_config config(unsigned shards)
{
	spg_config cfg = t_config(shards);

	cfg.run_budget = BUDGET;
	return cfg;
}

static void yield_for_ever(void *arg)
{
	(void)arg;
	atomic_fetch_add(&looping, 1);
	while (!atomic_load(&stop)) {
		atomic_fetch_add(&turns[spg_shard()], 1);
		spg_yield();
	}
	atomic_fetch_sub(&looping, 1);
}

static void yielders_start(int each)
{
	spg_attr attr = SPG_ATTR_INIT;

	atomic_store(&stop, false);
	for (int shard = 0; shard < spg_shards(); shard++) {
		attr.place = SPG_PIN(shard);
		for (int i = 0; i < each; i++)
			T_EQ(spg_go_attr(&attr, yield_for_ever, NULL), 0);
	}
	while (atomic_load(&looping) != each * spg_shards())
		T_EQ(spg_sleep(SPG_MS), 0);
}

static void yielders_end(void)
{
	atomic_store(&stop, true);
	while (atomic_load(&looping) != 0)
		T_EQ(spg_sleep(SPG_MS), 0);
}

/* What happens is published at a moment, and served by a shard: how many turns between? */
struct event {
	uint64_t at[SHARDS_MOST];
	_Atomic bool published, served;
	_Atomic uint64_t waited;
};

/* After it: turns taken while whoever publishes has no CPU do not count. */
static void published(struct event *e)
{
	for (int i = 0; i < SHARDS_MOST; i++)
		e->at[i] = atomic_load(&turns[i]);
	atomic_store(&e->published, true);
}

static void served(void *arg)
{
	struct event *e = arg;
	int shard = spg_shard();
	uint64_t now = atomic_load(&turns[shard]);

	/* Served before it was said to be published: no turns at all. */
	atomic_store(&e->waited, atomic_load(&e->published) && now > e->at[shard] ? now - e->at[shard] : 0);
	atomic_store(&e->served, true);
}

static void *spawn_from_outside(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct event *e = (struct event *)arg + i;

		T_EQ(spg_go(served, e), 0);
		published(e);
		while (!atomic_load(&e->served))
			usleep(100);
	}
	return NULL;
}

static void *join_thread(void *thread)
{
	T_EQ(pthread_join(*(pthread_t *)thread, NULL), 0);
	return NULL;
}

static void worst(const char *what, const struct event *events)
{
	uint64_t most = 0;

	for (int i = 0; i < ROUNDS; i++)
		most = events[i].waited > most ? events[i].waited : most;
	fprintf(stderr, "%s waited %llu turns at most\n", what, (unsigned long long)most);
	T_OK(most <= TURNS_MAX);
}

static int global_queue_main(void *arg)
{
	static struct event events[ROUNDS];

	(void)arg;
	for (int each = 1; each <= YIELDERS_MAX; each += 2) {
		pthread_t thread;

		memset(events, 0, sizeof(events));
		yielders_start(each);
		T_EQ(pthread_create(&thread, NULL, spawn_from_outside, events), 0);
		T_EQ(spg_blocking(join_thread, &thread, NULL), 0);
		yielders_end();
		worst("a foreign spawn", events);
	}
	return 0;
}

/* Goal: what foreign threads spawn, by the global queue or an inbox, is not starved by loops that yield. */
START_TEST(yielding_loops_do_not_starve_foreign_spawns)
{
	spg_config cfg = config((unsigned)_i);

	T_EQ(t_run_config(&cfg, global_queue_main, NULL), 0);
}
END_TEST

/* On shard 0. The first turn after the time has come publishes it. */
static struct event *_Atomic due_event;
static _Atomic int64_t due_ns;

static void watch_the_clock(void *arg)
{
	(void)arg;
	atomic_fetch_add(&looping, 1);
	while (!atomic_load(&stop)) {
		struct event *e = atomic_load(&due_event);

		atomic_fetch_add(&turns[0], 1);
		if (e != NULL && !atomic_load(&e->published) && spg_now() >= atomic_load(&due_ns))
			published(e);
		spg_yield();
	}
	atomic_fetch_sub(&looping, 1);
}

static void sleep_beside(void *arg)
{
	struct event *events = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int64_t due = spg_now() + SPG_MS;

		atomic_store(&due_ns, due);
		atomic_store(&due_event, &events[i]);
		T_EQ(spg_sleep_until(due), 0);
		served(&events[i]);
		atomic_store(&due_event, NULL);
	}
	atomic_store(&stop, true);
}

static int timers_main(void *arg)
{
	static struct event events[ROUNDS];

	(void)arg;
	for (int each = 1; each <= YIELDERS_MAX; each += 2) {
		spg_attr attr = SPG_ATTR_INIT;

		memset(events, 0, sizeof(events));
		yielders_start(each - 1);
		attr.place = SPG_PIN(0);
		T_EQ(spg_go_attr(&attr, watch_the_clock, NULL), 0);
		T_EQ(spg_go_attr(&attr, sleep_beside, events), 0);
		while (!atomic_load(&stop))
			T_EQ(spg_sleep(SPG_MS), 0);
		yielders_end();
		worst("a timer", events);
	}
	return 0;
}

/* Goal: nor are timers. */
START_TEST(yielding_loops_do_not_starve_timers)
{
	spg_config cfg = config((unsigned)_i);

	T_EQ(t_run_config(&cfg, timers_main, NULL), 0);
}
END_TEST

static int ends[2];
static struct event *_Atomic wanted;

static void write_now_and_then(void *arg)
{
	(void)arg;
	atomic_fetch_add(&looping, 1);
	while (!atomic_load(&stop)) {
		struct event *e = atomic_load(&wanted);

		atomic_fetch_add(&turns[0], 1);
		if (e != NULL && !atomic_load(&e->published)) {
			/* Not through a ring: it completes the reader's operation on shard 0's. */
			T_EQ(write(ends[1], "x", 1), 1);
			published(e);
		}
		spg_yield();
	}
	atomic_fetch_sub(&looping, 1);
}

static void read_beside(void *arg)
{
	struct event *events = arg;
	char c;

	for (int i = 0; i < ROUNDS; i++) {
		atomic_store(&wanted, &events[i]);
		T_EQ(spg_read(ends[0], &c, 1), 1);
		served(&events[i]);
		atomic_store(&wanted, NULL);
	}
	atomic_store(&stop, true);
}

static int completions_main(void *arg)
{
	static struct event events[ROUNDS];

	(void)arg;
	for (int each = 1; each <= YIELDERS_MAX; each += 2) {
		spg_attr attr = SPG_ATTR_INIT;

		T_EQ(pipe(ends), 0);
		memset(events, 0, sizeof(events));
		yielders_start(each - 1);
		attr.place = SPG_PIN(0);
		T_EQ(spg_go_attr(&attr, write_now_and_then, NULL), 0);
		T_EQ(spg_go_attr(&attr, read_beside, events), 0);
		while (!atomic_load(&stop))
			T_EQ(spg_sleep(SPG_MS), 0);
		yielders_end();
		worst("a completion", events);
		T_EQ(spg_close(ends[0]), 0);
		T_EQ(spg_close(ends[1]), 0);
	}
	return 0;
}

/* Goal: nor are completions. */
START_TEST(yielding_loops_do_not_starve_completions)
{
	spg_config cfg = config((unsigned)_i);

	T_EQ(t_run_config(&cfg, completions_main, NULL), 0);
}
END_TEST

static spg_chan *there, *back;

/* A pair that hands over to each other: each trip is two turns by the slot. */
static void serve_trips(void *arg)
{
	(void)arg;
	while (spg_chan_recv(there, NULL) == 0) {
		atomic_fetch_add(&turns[spg_shard()], 1);
		if (spg_chan_send(back, NULL) != 0)
			break;
	}
	atomic_fetch_sub(&looping, 1);
}

static void make_trips(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		atomic_fetch_add(&turns[spg_shard()], 1);
		T_EQ(spg_chan_send(there, NULL), 0);
		T_EQ(spg_chan_recv(back, NULL), 0);
	}
	T_EQ(spg_chan_close(there), 0);
	atomic_fetch_sub(&looping, 1);
}

/* Each round it waits behind the pair, on shard 0. */
static void wait_behind(void *arg)
{
	struct event *events = arg;

	for (int i = 0; i < ROUNDS; i++) {
		published(&events[i]);
		spg_yield();
		served(&events[i]);
	}
	atomic_store(&stop, true);
}

static int slot_main(void *arg)
{
	static struct event events[ROUNDS];

	(void)arg;
	/* Pinned: the local slot. Else the one that thieves see. */
	for (int pinned = 0; pinned <= 1; pinned++) {
		spg_attr attr = SPG_ATTR_INIT;

		memset(events, 0, sizeof(events));
		there = spg_chan_new(0, 0);
		back = spg_chan_new(0, 0);
		atomic_store(&stop, false);
		atomic_store(&looping, 2);
		attr.place = pinned ? SPG_PIN(0) : SPG_PREFER(0);
		T_EQ(spg_go_attr(&attr, serve_trips, NULL), 0);
		T_EQ(spg_go_attr(&attr, make_trips, NULL), 0);
		attr.place = SPG_PIN(0);
		T_EQ(spg_go_attr(&attr, wait_behind, events), 0);
		while (!atomic_load(&stop))
			T_EQ(spg_sleep(SPG_MS), 0);
		yielders_end();
		worst("what is behind a pair", events);
		spg_chan_unref(there);
		spg_chan_unref(back);
	}
	return 0;
}

/* Goal: the hand-over slot is bounded by the pass: a pair that hands over to each other lets others run. */
START_TEST(a_pair_that_hands_over_starves_nobody)
{
	spg_config cfg = config((unsigned)_i);

	T_EQ(t_run_config(&cfg, slot_main, NULL), 0);
}
END_TEST

T_MAIN(T_SHARDS(yielding_loops_do_not_starve_foreign_spawns), T_SHARDS(yielding_loops_do_not_starve_timers),
       T_SHARDS(yielding_loops_do_not_starve_completions), T_SHARDS(a_pair_that_hands_over_starves_nobody))
