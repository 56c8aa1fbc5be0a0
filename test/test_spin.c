/*
 * Whether idle shards spin (sched/spin.h), on a clock of our own: two shards that answer each
 * other, and one that only hears of others.
 */
#include "t.h"

#include "sched/spin.h"
#include "sched/thread.h"

#include <sched.h>

#define SPIN_NS (20 * SPG_US)
/* From a store to the spinning shard that sees it. */
#define HOP_NS 300

struct idler {
	struct spg__spin spin;
	int64_t since_ns, spin_end_ns;
	int64_t spun_ns;
	unsigned idles, hits;
};

static uint64_t random_state;

static void idle_at(struct idler *idler, int64_t now)
{
	idler->since_ns = now;
	idler->spin_end_ns = now + spg__spin_length(&idler->spin, SPIN_NS, t_random(&random_state));
	idler->idles++;
}

/* Something for it at `now`: when it runs, by its state, and its way there. */
static int64_t arrive_at(struct idler *idler, int64_t now, int64_t wake_ns)
{
	bool spins = idler->spin_end_ns > idler->since_ns, found = now < idler->spin_end_ns;
	int64_t runs = now + (found ? HOP_NS : wake_ns);

	if (spins)
		spg__spin_ended(&idler->spin, found);
	if (!found)
		spg__spin_slept(&idler->spin, runs - idler->spin_end_ns, true, SPIN_NS);
	idler->hits += found;
	idler->spun_ns += (found ? now : idler->spin_end_ns) - idler->since_ns;
	return runs;
}

/* Both begin asleep, for a long time. Rounds until the last 100 messages all found their shard spinning; 0: never. */
static unsigned rounds_until_both_spin(int64_t wake_ns)
{
	const struct spg__spin asleep = { .misses = SPG__SPIN_MISSES_MAX + 1, .every = SPG__SPIN_EVERY_MAX };
	struct idler shard[2] = { { .spin = asleep }, { .spin = asleep } };
	unsigned row = 0;
	int64_t now = 0;

	idle_at(&shard[1], now);
	for (unsigned i = 1; i < 100000; i++) {
		struct idler *to = &shard[i % 2];
		unsigned hits = to->hits;

		/* The sender idles as soon as it has sent. */
		idle_at(&shard[1 - i % 2], now);
		now = arrive_at(to, now, wake_ns);
		row = to->hits > hits ? row + 1 : 0;
		if (row == 100)
			return i;
	}
	return 0;
}

/* Goal: shards that answer each other come to spin, however long a wake-up takes within reason. */
START_TEST(shards_that_answer_each_other_spin)
{
	random_state = t_seed();
	for (int64_t wake_ns = 5 * SPG_US; wake_ns < 29 * SPG_US; wake_ns += SPG_US / 2) {
		unsigned rounds = rounds_until_both_spin(wake_ns);

		if (rounds == 0 || rounds > 40000)
			t_fail(__FILE__, __LINE__, "wake-up of %lld ns: %u rounds", (long long)wake_ns, rounds);
	}
}
END_TEST

/* Goal: where nobody answers soon, hardly any time is spun away. */
START_TEST(shards_that_wait_long_sleep)
{
	static const struct {
		int64_t pause_ns;
		double most;
	} cases[] = {
		{ 50 * SPG_US, 0.15 },
		{ 70 * SPG_US, 0.01 },
		{ 200 * SPG_US, 0.002 },
		{ SPG_MS, 0.001 },
	};

	random_state = t_seed();
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct idler shard = { 0 };
		int64_t now = 0;

		for (int i = 0; i < 10000; i++) {
			idle_at(&shard, now);
			now = arrive_at(&shard, now + cases[c].pause_ns, 15 * SPG_US);
		}
		if ((double)shard.spun_ns / (double)now > cases[c].most)
			t_fail(__FILE__, __LINE__, "every %lld ns: %.3f of the time", (long long)cases[c].pause_ns,
			       (double)shard.spun_ns / (double)now);
	}
}
END_TEST

/* Goal: a thread leaves a CPU, keeps its affinity, and stays where it may not be elsewhere. */
START_TEST(a_thread_leaves_a_cpu)
{
	cpu_set_t all, one, after;
	int left = 0;

	T_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
	if (CPU_COUNT(&all) < 2)
		T_SKIP("one CPU");
	for (int i = 0; i < 100; i++) {
		int cpu = sched_getcpu();

		spg__thread_leave_cpu(cpu);
		left += sched_getcpu() != cpu; /* unless the kernel moves it back at once */
		T_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
		T_OK(CPU_EQUAL(&after, &all));
	}
	T_OK(left > 50);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	T_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	spg__thread_leave_cpu(sched_getcpu());
	T_OK(CPU_ISSET(sched_getcpu(), &one));
	T_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
	T_OK(CPU_EQUAL(&after, &one));
}
END_TEST

T_MAIN(T_TEST(a_thread_leaves_a_cpu), T_TEST(shards_that_answer_each_other_spin), T_TEST(shards_that_wait_long_sleep))
