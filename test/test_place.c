/*
 * Where coroutines run, while others compute, wait and steal; and which CPUs and names the
 * shards' threads have.
 */
#include "test/t.h"

#include <pthread.h>
#include <sched.h>

#define SHARDS_MOST 4
#define KEYS 64
#define ROUNDS 40
#define EACH 32
/* They fit a run queue: none goes by the global one. */
#define CHUNKS 200

static _Atomic int left, moved_any;
static _Atomic int key_shard[KEYS];

static void compute(int64_t ns)
{
	int64_t until = spg_now() + ns;

	while (spg_now() < until)
		continue;
}

/* One of everything that may move a coroutine. */
static void wait_somehow(uint64_t *random, const int *pipe_ends)
{
	spg_chan *c;
	spg_sem sem;
	char x = 0;

	switch (t_random(random) % 6) {
	case 0:
		spg_yield();
		break;
	case 1:
		T_EQ(spg_sleep((int64_t)(t_random(random) % 100) * SPG_US), 0);
		break;
	case 2:
		T_EQ(spg_write(pipe_ends[1], &x, 1), 1);
		T_EQ(spg_read(pipe_ends[0], &x, 1), 1);
		break;
	case 3:
		spg_sem_init(&sem, 0);
		T_EQ(spg_sem_release(&sem), 0);
		T_EQ(spg_sem_acquire(&sem), 0);
		break;
	case 4:
		c = spg_chan_new(0, 0);
		{
			SPG_TIMEOUT_SCOPE(20 * SPG_US);
			T_EQ(spg_chan_recv(c, NULL), -ETIMEDOUT);
		}
		spg_chan_unref(c);
		break;
	default:
		compute((int64_t)(t_random(random) % 50) * SPG_US);
		break;
	}
}

struct placed {
	int shard; /* must be there; -1: anywhere */
	int key;   /* -1: none */
	uint64_t seed;
};

static void live(void *arg)
{
	struct placed *p = arg;
	uint64_t random = p->seed;
	int pipe_ends[2], here = spg_shard();

	T_EQ(pipe(pipe_ends), 0);
	if (p->key >= 0) {
		int known = -1;

		/* Of one key all are on one shard: the first says which. */
		if (!atomic_compare_exchange_strong(&key_shard[p->key], &known, here))
			T_EQ(here, known);
		p->shard = here;
	}
	for (int i = 0; i < ROUNDS; i++) {
		if (p->shard >= 0)
			T_EQ(spg_shard(), p->shard);
		else if (spg_shard() != here)
			atomic_store(&moved_any, 1);
		wait_somehow(&random, pipe_ends);
	}
	T_EQ(spg_close(pipe_ends[0]), 0);
	T_EQ(spg_close(pipe_ends[1]), 0);
	atomic_fetch_sub(&left, 1);
}

static int everything_main(void *arg)
{
	static struct placed placed[4 * EACH + KEYS * 2];
	static spg_stats_t stats;
	uint64_t seed = t_seed();
	int n = 0;

	(void)arg;
	for (int k = 0; k < KEYS; k++)
		atomic_store(&key_shard[k], -1);
	atomic_store(&left, 4 * EACH + 2 * KEYS);
	for (int i = 0; i < 4 * EACH + 2 * KEYS; i++, n++) {
		spg_attr attr = SPG_ATTR_INIT;
		int shard = (int)(t_random(&seed) % (uint64_t)spg_shards());

		placed[n] = (struct placed){ -1, -1, t_random(&seed) | 1 };
		if (i < EACH) {
			attr.place = SPG_PIN(shard);
			placed[n].shard = shard;
		} else if (i < 2 * EACH) {
			attr.place = SPG_PREFER(shard);
		} else if (i < 3 * EACH) {
			attr.place = SPG_SPREAD;
		} else if (i >= 4 * EACH) {
			placed[n].key = i % KEYS;
			attr.place = SPG_STICKY((uint64_t)placed[n].key);
		}
		T_EQ(spg_go_attr(&attr, live, &placed[n]), 0);
	}
	while (atomic_load(&left) > 0)
		T_EQ(spg_sleep(SPG_MS), 0);
	T_EQ(spg_stats(&stats), 0);
	T_EQ(stats.total.migrations_in_flight, 0);
	return 0;
}

/* Goal: pinned and sticky ones stay through every kind of wait while the others are stolen; same key, same shard. */
START_TEST(prop_placement_holds_under_load)
{
	t_run((unsigned)_i, everything_main, NULL);
}
END_TEST

static _Atomic int started[SHARDS_MOST];

static void started_here(void *arg)
{
	(void)arg;
	atomic_fetch_add(&started[spg_shard()], 1);
	atomic_fetch_sub(&left, 1);
}

static void start(int count, spg_place (*place)(int i))
{
	for (int s = 0; s < SHARDS_MOST; s++)
		atomic_store(&started[s], 0);
	atomic_store(&left, count);
	for (int i = 0; i < count; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = place(i);
		T_EQ(spg_go_attr(&attr, started_here, NULL), 0);
	}
	while (atomic_load(&left) > 0)
		T_EQ(spg_sleep(SPG_MS), 0);
}

static spg_place spread(int i)
{
	(void)i;
	return SPG_SPREAD;
}

static spg_place prefer_last(int i)
{
	(void)i;
	return SPG_PREFER(spg_shards() - 1);
}

static spg_place any(int i)
{
	(void)i;
	return SPG_ANY;
}

static spg_place sticky(int i)
{
	return SPG_STICKY((uint64_t)i);
}

static int exact_main(void *arg)
{
	int shards = spg_shards(), mine;

	(void)arg;
	start(100 * shards, spread);
	for (int s = 0; s < shards; s++)
		T_EQ(atomic_load(&started[s]), 100);
	start(100, prefer_last);
	T_EQ(atomic_load(&started[shards - 1]), 100);
	T_EQ(spg_pin_self(), 0);
	mine = spg_shard();
	start(100, any);
	T_EQ(atomic_load(&started[mine]), 100);
	T_EQ(spg_unpin_self(), 0);
	/* Numbers in a row as keys: no shard has less than half its share. */
	start(1000, sticky);
	for (int s = 0; s < shards; s++)
		T_OK(atomic_load(&started[s]) >= 1000 / shards / 2);
	return 0;
}

/* Goal: without stealing each starts exactly where its placement says; keys are spread. */
START_TEST(each_starts_where_it_was_placed)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.steal = false;
	T_EQ(t_run_config(&cfg, exact_main, NULL), 0);
}
END_TEST

static void chunk(void *arg)
{
	(void)arg;
	compute(500 * SPG_US);
	started_here(NULL);
}

static int preferred_main(void *arg)
{
	static spg_stats_t stats;
	int elsewhere = 0;

	(void)arg;
	for (int s = 0; s < SHARDS_MOST; s++)
		atomic_store(&started[s], 0);
	atomic_store(&left, CHUNKS);
	for (int i = 0; i < CHUNKS; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PREFER(0);
		T_EQ(spg_go_attr(&attr, chunk, NULL), 0);
	}
	while (atomic_load(&left) > 0)
		T_EQ(spg_sleep(SPG_MS), 0);
	for (int s = 1; s < SHARDS_MOST; s++)
		elsewhere += atomic_load(&started[s]);
	T_EQ(spg_stats(&stats), 0);
	/* What ran elsewhere was stolen, in batches: fewer steals than coroutines. */
	T_OK(elsewhere <= (int)stats.total.stolen);
	if (spg_shards() > 1) {
		T_OK(elsewhere > 0 && stats.total.steals_won < stats.total.stolen);
		T_OK(stats.total.stolen <= stats.total.steals_won * stats.config.steal_batch);
	}
	return 0;
}

/* Goal: preferred ones are stolen when their shard is busy, in batches of steal_batch at most. */
START_TEST(preferred_ones_are_stolen_in_batches)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.steal_batch = 4;
	cfg.stall_ns = 0; /* nor by the watchdog */
	T_EQ(t_run_config(&cfg, preferred_main, NULL), 0);
}
END_TEST

#define PIECES 200

/* When and where each ran. */
static struct piece {
	int64_t from, to;
} pieces[PIECES];

static void piece(void *arg)
{
	struct piece *p = arg;

	p->from = t_now_ns();
	compute(SPG_MS);
	p->to = t_now_ns();
	atomic_fetch_sub(&left, 1);
}

struct shared {
	int64_t took_ns, in_pieces_ns, delay_ns;
};

static int share_main(void *arg)
{
	struct shared *s = arg;
	int64_t begin, delay = t_delay_ns();

	atomic_store(&left, PIECES);
	begin = t_now_ns();
	for (int i = 0; i < PIECES; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PREFER(0);
		T_EQ(spg_go_attr(&attr, piece, &pieces[i]), 0);
	}
	while (atomic_load(&left) > 0)
		T_EQ(spg_sleep(SPG_MS), 0);
	s->delay_ns = t_delay_ns() - delay;
	for (int i = 0; i < PIECES; i++) {
		s->in_pieces_ns += pieces[i].to - pieces[i].from;
		if (pieces[i].to - begin > s->took_ns)
			s->took_ns = pieces[i].to - begin;
	}
	return 0;
}

/* Goal: what is placed on shard 0 takes two shards 1.25 times the ideal at most: they compute four fifths of the time. */
START_TEST(pieces_of_work_are_shared)
{
	spg_config cfg = t_config(2);
	struct shared s = { 0 };

	if (t_sanitized())
		T_SKIP("timing means nothing under sanitizers");
	T_EQ(t_run_config(&cfg, share_main, &s), 0);
	fprintf(stderr, "%.3f of the ideal, %.1f ms without a CPU\n", 2 * (double)s.took_ns / (double)s.in_pieces_ns,
		(double)s.delay_ns / 1e6);
	T_OK(2 * s.took_ns * 4 <= (s.in_pieces_ns + s.delay_ns) * 5);
	/* Without stealing it is one shard's work. */
	s = (struct shared){ 0 };
	cfg.steal = false;
	T_EQ(t_run_config(&cfg, share_main, &s), 0);
	T_OK(s.in_pieces_ns <= s.took_ns);
}
END_TEST

/* The first two CPUs this process may use; one: twice the same. */
static void two_cpus(int *cpus)
{
	cpu_set_t set;
	int n = 0;

	T_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	}
	if (n == 1)
		cpus[1] = cpus[0];
}

struct threads {
	int cpus[2];
	bool pinned;
	const char *name;
};

static void *look_at_thread(void *arg)
{
	const struct threads *t = arg;
	char name[16], expected[32];
	cpu_set_t set;

	T_EQ(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	snprintf(expected, sizeof(expected), "%.10s-%d", t->name, spg_shard());
	T_STR(name, expected);
	T_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	if (t->pinned) {
		T_EQ(CPU_COUNT(&set), 1);
		T_OK(CPU_ISSET(t->cpus[spg_shard() % (t->cpus[0] == t->cpus[1] ? 1 : 2)], &set));
	} else {
		T_EQ(CPU_COUNT(&set), t->cpus[0] == t->cpus[1] ? 1 : 2);
		T_OK(CPU_ISSET(t->cpus[0], &set) && CPU_ISSET(t->cpus[1], &set));
	}
	return NULL;
}

static int threads_main(void *arg)
{
	for (int s = 0; s < spg_shards(); s++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PIN(s);
		T_EQ(spg_join(spg_spawn(&attr, look_at_thread, arg), NULL), 0);
	}
	return 0;
}

/* Goal: a CPU list confines the shards' threads, pinning gives each one CPU of it in turn; threads have their names. */
START_TEST(threads_have_their_cpus_and_names)
{
	struct threads t = { .name = "spg" };
	spg_config cfg = t_config((unsigned)_i);
	char list[32];

	two_cpus(t.cpus);
	snprintf(list, sizeof(list), "%d,%d", t.cpus[1], t.cpus[0]);
	cfg.cpus = list;
	T_EQ(t_run_config(&cfg, threads_main, &t), 0);
	cfg.pin_shards = t.pinned = true;
	cfg.thread_name = t.name = "a-rather-long-name";
	T_EQ(t_run_config(&cfg, threads_main, &t), 0);
	snprintf(list, sizeof(list), "%d-%d", t.cpus[1], t.cpus[1]);
	t.cpus[0] = t.cpus[1];
	T_EQ(t_run_config(&cfg, threads_main, &t), 0);
}
END_TEST

static int one_shard_main(void *arg)
{
	(void)arg;
	T_EQ(spg_shards(), 1);
	return 0;
}

/* Goal: by default there is a shard for each CPU of the list. */
START_TEST(a_cpu_list_says_how_many_shards)
{
	spg_config cfg = t_config(0);
	int cpus[2];
	char list[32];

	two_cpus(cpus);
	snprintf(list, sizeof(list), "%d", cpus[1]);
	cfg.cpus = list;
	T_EQ(t_run_config(&cfg, one_shard_main, NULL), 0);
}
END_TEST

T_MAIN(T_SHARDS(prop_placement_holds_under_load), T_SHARDS(each_starts_where_it_was_placed),
       T_SHARDS(preferred_ones_are_stolen_in_batches), T_TEST(pieces_of_work_are_shared), T_SHARDS(threads_have_their_cpus_and_names),
       T_TEST(a_cpu_list_says_how_many_shards))
