/*
 * A look into shard messages: is the first in a line about to park, or parked? For quiescing.
 */
#ifndef SPG__TEST_MSG_LOOK_H
#define SPG__TEST_MSG_LOOK_H

#include "crowd.h"

#include "runtime/msg.h"

static inline bool look_bell(struct spg__line *line)
{
	return atomic_load(&line->bell) != NULL;
}

static inline struct spg__msg_lane *look_lane(int shard, unsigned lane)
{
	struct spg__msg_part *part = atomic_load(&spg__msgs.lane[lane][shard]);

	return part != NULL ? spg__container_of(part, struct spg__msg_lane, part) : NULL;
}

/* Somebody waits for a message in that lane. */
static inline bool look_receiver(int shard, unsigned lane)
{
	struct spg__msg_lane *at = look_lane(shard, lane);

	return at != NULL && look_bell(&at->receivers);
}

/* Somebody waits for room in the queue of that source (spg_shards(): the foreign threads). */
static inline bool look_sender(int shard, unsigned lane, int source)
{
	struct spg__msg_lane *at = look_lane(shard, lane);
	struct spg__msg_queue *q = at != NULL ? spg__msg_queue_at(at, source) : NULL;

	return q != NULL && look_bell(&q->senders);
}

/* Somebody waits for that counter. */
static inline bool look_taker(int shard, unsigned tag)
{
	struct spg__msg_part *part = atomic_load(&spg__msgs.page[tag / SPG__MSG_PAGE_TAGS][shard]);
	struct spg__msg_page *page;

	if (part == NULL)
		return false;
	page = spg__container_of(part, struct spg__msg_page, part);
	return look_bell(&page->counter[tag % SPG__MSG_PAGE_TAGS].takers);
}

static inline void msg_go(int shard, spg_fn fn, void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;

	attr.place = SPG_PIN(shard);
	T_EQ(spg_go_attr(&attr, fn, arg), 0);
}

/* fn on a shard of its own, awaited. */
struct msg_on {
	spg_fn fn;
	void *arg;
	spg_wg wg;
};

static inline void msg_on_main(void *arg)
{
	struct msg_on *on = arg;

	on->fn(on->arg);
	spg_wg_done(&on->wg);
}

static inline void msg_on_start(struct msg_on *on, int shard, spg_fn fn, void *arg)
{
	*on = (struct msg_on){ .fn = fn, .arg = arg, .wg = SPG_WG_INIT };
	T_EQ(spg_wg_add(&on->wg, 1), 0);
	msg_go(shard, msg_on_main, on);
}

static inline void msg_on_wait(struct msg_on *on)
{
	T_EQ(spg_wg_wait(&on->wg), 0);
}

/* Runs main_fn on that many shards with queues of that many messages. */
static inline void msg_run(unsigned shards, unsigned queue, int (*main_fn)(void *), void *arg)
{
	spg_config cfg = t_config(shards);

	cfg.msg_queue = queue;
	T_EQ(t_run_config(&cfg, main_fn, arg), 0);
}

static inline struct spg_shard_stats msg_stats(int shard)
{
	static spg_stats_t stats;
	static spg_mutex lock = SPG_MUTEX_INIT;
	struct spg_shard_stats one;

	T_EQ(spg_mutex_lock(&lock), 0);
	T_EQ(spg_stats(&stats), 0);
	one = shard < 0 ? stats.total : stats.shard[shard];
	T_EQ(spg_mutex_unlock(&lock), 0);
	return one;
}

#endif
