/*
 * More shards than CPUs: what may move gathers on as many shards as there are CPUs, so that
 * the others sleep; what may not, and what those shards have no time for, stays where it is.
 */
#include "test/t.h"

#include <sched.h>
#include <sys/socket.h>

#define SHARDS 4
#define PAIRS 32
/* Operations looked at at once. */
#define WINDOW 5000
#define HOG_NS (2 * SPG_SEC)

/* The first CPU this process may use, as a list. */
static const char *one_cpu(void)
{
	static char text[16];
	cpu_set_t set;

	T_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		snprintf(text, sizeof(text), "%d", cpu);
		return text;
	}
	return NULL;
}

static spg_stats_t *stats(void)
{
	static spg_stats_t s;

	T_EQ(spg_stats(&s), 0);
	return &s;
}

/* Operations begun on shards beyond the first, and on all. */
struct spread {
	uint64_t beyond, all;
};

static struct spread look(void)
{
	struct spread s = { 0 };

	stats();
	for (int i = 0; i < SHARDS; i++) {
		uint64_t sqes = stats()->shard[i].sqes;

		s.all += sqes;
		s.beyond += i > 0 ? sqes : 0;
	}
	return s;
}

static int pairs[PAIRS][2];
static _Atomic int ended;
static _Atomic bool pinned, stop;

static void answer(void *arg)
{
	int fd = ((int *)arg)[1], home = spg_shard();
	char c;

	while (spg_read(fd, &c, 1) == 1) {
		if (atomic_load(&pinned))
			T_EQ(spg_shard(), home);
		T_EQ(spg_write(fd, &c, 1), 1);
	}
}

static void ask(void *arg)
{
	int fd = ((int *)arg)[0];
	char c = 0;

	while (!atomic_load(&stop)) {
		T_EQ(spg_write(fd, &c, 1), 1);
		T_EQ(spg_read(fd, &c, 1), 1);
	}
	T_EQ(spg_close(fd), 0);
	atomic_fetch_add(&ended, 1);
}

/* The share of the next operations on shards beyond the CPUs, in percent. */
static int share_beyond(void)
{
	struct spread before = look(), after;

	do {
		T_EQ(spg_sleep(5 * SPG_MS), 0);
		after = look();
	} while (after.all - before.all < WINDOW);
	return (int)((after.beyond - before.beyond) * 100 / (after.all - before.all));
}

static void pairs_start(bool pin)
{
	atomic_store(&pinned, pin);
	atomic_store(&stop, false);
	atomic_store(&ended, 0);
	for (int i = 0; i < PAIRS; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
		attr.place = pin ? SPG_PIN(i % SHARDS) : SPG_PREFER(i % SHARDS);
		T_EQ(spg_go_attr(&attr, answer, pairs[i]), 0);
		T_EQ(spg_go_attr(&attr, ask, pairs[i]), 0);
	}
}

static void pairs_end(void)
{
	atomic_store(&stop, true);
	while (atomic_load(&ended) < PAIRS)
		T_EQ(spg_sleep(SPG_MS), 0);
	for (int i = 0; i < PAIRS; i++)
		T_EQ(spg_close(pairs[i][1]), 0);
}

static int gather_main(void *arg)
{
	int share, windows = 0;

	(void)arg;
	pairs_start(true);
	share = share_beyond();
	fprintf(stderr, "beyond the CPUs: of pinned ones %d %% of the operations\n", share);
	T_OK(share >= 30); /* three quarters are there */
	pairs_end();
	pairs_start(false);
	/* At once, on an idle machine; while other programs have the CPU of the first shard others go on. */
	do {
		share = share_beyond();
		T_OK(++windows <= 200);
	} while (share > 10);
	fprintf(stderr, "beyond the CPUs: %d %% after %d windows\n", share, windows);
	pairs_end();
	return 0;
}

/* Goal: coroutines that wait for I/O gather on as many shards as there are CPUs; pinned ones stay. */
START_TEST(work_gathers_where_the_cpus_are)
{
	spg_config cfg = t_config(SHARDS);

	cfg.cpus = one_cpu();
	T_EQ(t_run_config(&cfg, gather_main, NULL), 0);
}
END_TEST

static _Atomic bool burning, enough;
static _Atomic int served;

static void hog(void *arg)
{
	int64_t until = t_now_ns() + HOG_NS;

	(void)arg;
	atomic_store(&burning, true);
	while (!atomic_load(&enough) && t_now_ns() < until)
		continue;
	atomic_store(&burning, false);
}

static void serve_one(void *arg)
{
	char c;

	T_EQ(spg_unpin_self(), 0);
	T_EQ(spg_read(*(int *)arg, &c, 1), 1);
	atomic_fetch_add(&served, 1);
}

/* On the last shard, whose work goes to the first. */
static void *serve_beside_a_hog(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	bool during;

	(void)arg;
	for (int i = 0; i < PAIRS; i++) {
		T_EQ(pipe(pairs[i]), 0);
		attr.place = SPG_PIN(SHARDS - 1);
		T_EQ(spg_go_attr(&attr, serve_one, &pairs[i][0]), 0);
	}
	while (stats()->shard[SHARDS - 1].inflight < PAIRS)
		T_EQ(spg_sleep(SPG_MS), 0);
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, hog, NULL), 0);
	while (!atomic_load(&burning))
		T_EQ(spg_sleep(SPG_MS), 0);
	for (int i = 0; i < PAIRS; i++)
		T_EQ(write(pairs[i][1], "x", 1), 1);
	while (atomic_load(&served) < PAIRS && atomic_load(&burning))
		T_EQ(spg_sleep(SPG_MS), 0);
	during = atomic_load(&burning);
	atomic_store(&enough, true);
	while (atomic_load(&served) < PAIRS)
		T_EQ(spg_sleep(SPG_MS), 0);
	for (int i = 0; i < PAIRS; i++) {
		T_EQ(spg_close(pairs[i][0]), 0);
		T_EQ(spg_close(pairs[i][1]), 0);
	}
	return (void *)(intptr_t)during;
}

static int hog_main(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	void *during;

	attr.place = SPG_PIN(SHARDS - 1);
	T_EQ(spg_join(spg_spawn(&attr, serve_beside_a_hog, arg), &during), 0);
	T_OK(during != NULL);
	return 0;
}

/* Goal: a shard that computes is lent nothing, or others take it back: it holds up nobody. */
START_TEST(nothing_waits_where_somebody_computes)
{
	spg_config cfg = t_config(SHARDS);

	cfg.cpus = one_cpu();
	T_EQ(t_run_config(&cfg, hog_main, NULL), 0);
}
END_TEST

T_MAIN(T_TEST(work_gathers_where_the_cpus_are), T_TEST(nothing_waits_where_somebody_computes))
