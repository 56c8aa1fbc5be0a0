/*
 * A shard that computes, with operations in flight on its ring, and those who look at it from
 * shard 1. "While it computes" is proved by a shard that computes until it has happened; how
 * long that took is looked at beside.
 */
#ifndef SPG__TEST_BURN_H
#define SPG__TEST_BURN_H

#include "test/t.h"

#include <poll.h>

#define STALL_NS (10 * SPG_MS)
/* Beyond stall_ns, with a CPU to spare; what this process waited for one is taken off. */
#define BOUND_NS (10 * SPG_MS)
/* A hog gives up: what it waits for did not come. */
#define HOG_NS (2 * SPG_SEC)
#define READERS 8

static inline spg_config config(unsigned shards)
{
	spg_config cfg = t_config(shards);

	cfg.stall_ns = STALL_NS;
	return cfg;
}

static inline uint64_t kicks(void)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return stats.total.kicks;
}

static inline uint64_t inflight(int shard)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return stats.shard[shard].inflight;
}

static int64_t began, began_delay;

static inline void clock_start(void)
{
	began_delay = t_delay_ns();
	began = t_now_ns();
}

/* Since clock_start(), without the time this process had no CPU. */
static inline void clock_check(const char *what, int64_t limit_ns)
{
	int64_t took = t_now_ns() - began, delay = t_delay_ns() - began_delay;

	fprintf(stderr, "%s: %.1f ms, of which at most %.1f ms without a CPU\n", what, (double)took / 1e6,
		(double)delay / 1e6);
	if (!t_sanitized())
		T_OK(took - delay <= limit_ns);
}

/* Readers whose operation is in flight on shard 0's ring, and which any shard may run. */
struct readers {
	int pipes[READERS][2];
	_Atomic int ended, expected;
	int64_t scope_ns; /* 0: none */
	bool poll;	  /* with a timeout of its own */
	struct reader {
		struct readers *all;
		int fd;
	} each[READERS];
};

static inline void read_one(void *arg)
{
	struct reader *r = arg;
	char c;
	int res;

	T_EQ(spg_shard(), 0);
	T_EQ(spg_unpin_self(), 0);
	if (r->all->poll) {
		res = spg_poll(r->fd, POLLIN, r->all->scope_ns);
	} else if (r->all->scope_ns > 0) {
		SPG_TIMEOUT_SCOPE(r->all->scope_ns);
		res = (int)spg_read(r->fd, &c, 1);
	} else {
		res = (int)spg_read(r->fd, &c, 1);
	}
	T_EQ(res, atomic_load(&r->all->expected));
	atomic_fetch_add(&r->all->ended, 1);
}

static inline void readers_start(struct readers *all, spg_ctx *ctx)
{
	spg_attr attr = SPG_ATTR_INIT;
	uint64_t before = inflight(0);

	attr.place = SPG_PIN(0);
	attr.ctx = ctx;
	for (int i = 0; i < READERS; i++) {
		T_EQ(pipe(all->pipes[i]), 0);
		all->each[i] = (struct reader){ all, all->pipes[i][0] };
		T_EQ(spg_go_attr(&attr, read_one, &all->each[i]), 0);
	}
	T_UNTIL(inflight(0) == before + READERS);
}

static inline void readers_end(struct readers *all)
{
	for (int i = 0; i < READERS; i++) {
		T_EQ(spg_close(all->pipes[i][0]), 0);
		T_EQ(spg_close(all->pipes[i][1]), 0);
	}
}

static _Atomic bool burning, enough, gave_up;

/* Pinned to shard 0. */
static inline void hog(void *arg)
{
	int64_t until = t_now_ns() + HOG_NS;

	(void)arg;
	atomic_store(&burning, true);
	while (!atomic_load(&enough) && t_now_ns() < until)
		continue;
	atomic_store(&gave_up, !atomic_load(&enough));
	atomic_store(&burning, false);
}

static inline void hog_start(void)
{
	spg_attr attr = SPG_ATTR_INIT;

	atomic_store(&enough, false);
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, hog, NULL), 0);
	T_UNTIL(atomic_load(&burning));
}

/* Has it still computed up to now? */
static inline bool hog_end(void)
{
	atomic_store(&enough, true);
	T_UNTIL(!atomic_load(&burning));
	return !atomic_load(&gave_up);
}

/* Runs fn on shard 1, away from the hog. */
static inline int on_shard_1(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	void *(*fn)(void *) = (void *(*)(void *))arg;
	void *result;

	attr.place = SPG_PIN(1);
	T_EQ(spg_join(spg_spawn(&attr, fn, NULL), &result), 0);
	return (int)(intptr_t)result;
}

/* Did it happen while shard 0 computed? */
static inline bool happened(const spg_config *cfg, void *(*fn)(void *))
{
	int value = spg_run(cfg, on_shard_1, (void *)fn);

	T_OK(value == 0 || value == 1);
	return value == 1;
}

static inline bool until_ended(struct readers *all)
{
	while (atomic_load(&all->ended) < READERS && atomic_load(&burning))
		T_EQ(spg_sleep(SPG_MS / 2), 0);
	return hog_end();
}

#endif
