/*
 * The watchdog and the kick: a shard that computes delays itself and nobody else. Timing
 * is asserted, so the runner gives this program the machine to itself.
 */
#include "t.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#define STALL_NS (10 * SPG_MS)
/* The worst round trip, with a CPU to spare: what this process waited for one is taken off. */
#define WITHIN_NS (STALL_NS + 10 * SPG_MS)
#define CONNS 64
#define BURN_NS (2 * SPG_SEC)

static void burn(int64_t ns)
{
	int64_t until = spg_now() + ns;

	while (spg_now() < until)
		continue;
}

static int pairs[CONNS][2];
static _Atomic int answered;
static _Atomic bool burning;

static void answer(void *arg)
{
	int fd = *(int *)arg;
	char c;

	while (spg_read(fd, &c, 1) == 1)
		if (spg_write(fd, &c, 1) != 1)
			return;
}

static void start_and_burn(void *arg)
{
	(void)arg;
	for (int i = 0; i < CONNS; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		T_EQ(spg_go_attr(&attr, answer, &pairs[i][1]), 0);
	}
	/* All of them have their receive in flight on this shard's ring when the queue is empty again. */
	T_EQ(spg_sleep(5 * SPG_MS), 0);
	atomic_store(&burning, true);
	burn(BURN_NS);
	atomic_store(&burning, false);
}

/* Round trips; raw: with the time without a CPU. */
struct worst {
	int64_t ns, raw_ns;
};

/* On a thread of its own: no shard of ours is needed to ask. Returns the worst round trip. */
static void *ask(void *arg)
{
	struct worst worst = { 0 };

	T_UNTIL(atomic_load(&burning));
	sleep(1); /* well into the burn: that is what is measured */
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < CONNS; i += 2) {
			int64_t delay = t_delay_ns(), before = t_now_ns(), took;
			char c = (char)i;

			T_EQ(send(pairs[i][0], &c, 1, MSG_NOSIGNAL), 1);
			T_EQ(recv(pairs[i][0], &c, 1, 0), 1);
			T_EQ(c, (char)i);
			took = t_now_ns() - before;
			if (took > worst.raw_ns)
				worst.raw_ns = took;
			if (took > WITHIN_NS)
				took -= t_delay_ns() - delay;
			if (took > worst.ns)
				worst.ns = took;
			atomic_fetch_add(&answered, 1);
		}
	}
	*(struct worst *)arg = worst;
	return NULL;
}

static int serve_while_burning(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	pthread_t thread;

	(void)arg;
	for (int i = 0; i < CONNS; i++)
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
	T_EQ(pthread_create(&thread, NULL, ask, arg), 0);
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, start_and_burn, NULL), 0);
	while (!atomic_load(&burning))
		T_EQ(spg_sleep(SPG_MS), 0);
	while (atomic_load(&burning) || atomic_load(&answered) < CONNS / 2 * 3)
		T_EQ(spg_sleep(5 * SPG_MS), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	for (int i = 0; i < CONNS; i++) {
		spg_close(pairs[i][0]);
		spg_close(pairs[i][1]);
	}
	return 0;
}

static struct worst worst_round_trip(int kick_signal)
{
	spg_config cfg = t_config(2);
	struct worst worst = { 0 };

	cfg.stall_ns = STALL_NS;
	cfg.kick_signal = kick_signal;
	/* Everything starts on shard 0: what is in flight there must come out by the kick alone. */
	T_EQ(spg_run(&cfg, serve_while_burning, &worst), 0);
	return worst;
}

/* Goal: operations in flight on the ring of a shard that computes are served by the other. */
START_TEST(a_burning_shards_operations_are_served)
{
	struct worst worst;

	if (t_sanitized())
		T_SKIP("signals are delayed and timing means nothing under sanitizers");
	worst = worst_round_trip(SIGURG);
	fprintf(stderr, "worst round trip %.1f ms, %.1f ms with the time without a CPU\n", (double)worst.ns / 1e6,
		(double)worst.raw_ns / 1e6);
	T_OK(worst.ns <= WITHIN_NS);
}
END_TEST

/* Goal: it is the kick that does it: without, they wait until the shard has done computing. */
START_TEST(without_the_kick_they_wait)
{
	if (t_sanitized())
		T_SKIP("timing means nothing under sanitizers");
	T_OK(worst_round_trip(0).raw_ns > SPG_SEC / 2);
}
END_TEST

static _Atomic int64_t fired_late;

static void sleep_on_zero(void *arg)
{
	int64_t due = spg_now() + 50 * SPG_MS;

	(void)arg;
	T_EQ(spg_sleep_until(due), 0);
	atomic_store(&fired_late, spg_now() - due);
}

static void burn_on_zero(void *arg)
{
	(void)arg;
	burn(400 * SPG_MS);
}

static int timer_while_burning(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT, pin = SPG_ATTR_INIT;

	(void)arg;
	atomic_store(&fired_late, -1);
	pin.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, sleep_on_zero, NULL), 0);
	spg_yield();
	T_EQ(spg_go_attr(&pin, burn_on_zero, NULL), 0);
	while (atomic_load(&fired_late) < 0)
		T_EQ(spg_sleep(5 * SPG_MS), 0);
	return 0;
}

/* Goal: due timers of a shard that computes fire elsewhere. */
START_TEST(a_burning_shards_timers_fire)
{
	spg_config cfg = t_config(2);

	if (t_sanitized())
		T_SKIP("timing means nothing under sanitizers");
	T_EQ(spg_run(&cfg, timer_while_burning, NULL), 0);
	fprintf(stderr, "late by %.1f ms\n", (double)atomic_load(&fired_late) / 1e6);
	T_OK(atomic_load(&fired_late) < 100 * SPG_MS);
}
END_TEST

static _Atomic int hogs_done;

static void hog(void *arg)
{
	void *volatile block;

	(void)arg;
	for (int i = 0; i < 200; i++) {
		block = malloc(1000 + (size_t)i * 100);
		burn(100 * SPG_US);
		free(block);
	}
	atomic_fetch_add(&hogs_done, 1);
}

static int many_hogs(void *arg)
{
	static spg_stats_t stats;

	(void)arg;
	atomic_store(&hogs_done, 0);
	for (int i = 0; i < 20; i++)
		T_EQ(spg_go(hog, NULL), 0);
	while (atomic_load(&hogs_done) < 20)
		T_EQ(spg_sleep(10 * SPG_MS), 0);
	T_EQ(spg_stats(&stats), 0);
	/* At most one kick per stall_ns and shard. */
	T_OK(stats.total.kicks <= (uint64_t)(2 * 20 * 20 * SPG_MS / STALL_NS));
	return 0;
}

/* Goal: coroutines that compute, and allocate meanwhile, are survived; kicks are bounded. */
START_TEST(hogs_are_survived)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.stall_ns = STALL_NS;
	T_EQ(spg_run(&cfg, many_hogs, NULL), 0);
}
END_TEST

static _Atomic int user_signals;

static void on_user_signal(int number)
{
	(void)number;
	atomic_fetch_add(&user_signals, 1);
}

static int raise_it(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10; i++)
		T_EQ(raise(SIGURG), 0);
	T_EQ(atomic_load(&user_signals), 10);
	return 0;
}

/* Goal: the handler that was there before is still called, and comes back. */
START_TEST(the_users_handler_is_still_called)
{
	struct sigaction action = { .sa_handler = on_user_signal }, now;

	T_EQ(sigaction(SIGURG, &action, NULL), 0);
	t_run((unsigned)_i, raise_it, NULL);
	T_EQ(sigaction(SIGURG, NULL, &now), 0);
	T_OK(now.sa_handler == on_user_signal);
}
END_TEST

static int nobody_helps(void *arg)
{
	static spg_stats_t stats;

	(void)arg;
	burn(100 * SPG_MS);
	T_EQ(spg_stats(&stats), 0);
	T_EQ(stats.total.kicks, 0);
	return 0;
}

/* Goal: one shard is never kicked: nobody could help. */
START_TEST(no_kick_when_nobody_could_help)
{
	spg_config cfg = t_config(1);

	T_EQ(spg_run(&cfg, nobody_helps, NULL), 0);
}
END_TEST

static int be_idle(void *arg)
{
	int64_t before;

	(void)arg;
	T_EQ(spg_sleep(100 * SPG_MS), 0);
	before = t_cpu_ns();
	T_EQ(spg_sleep(SPG_SEC), 0);
	T_OK(t_cpu_ns() - before < 2 * SPG_MS);
	/* shards, watchdog, spg_run's caller; the pool has no thread yet */
	T_EQ(t_threads_count(), spg_shards() + 2);
	return 0;
}

/* Goal: an idle runtime uses no CPU, and the threads are those promised. */
START_TEST(an_idle_runtime_is_idle)
{
	if (t_sanitized())
		T_SKIP("sanitizers have threads and work of their own");
	t_run((unsigned)_i, be_idle, NULL);
}
END_TEST

T_MAIN(T_TEST(a_burning_shards_operations_are_served), T_TEST(without_the_kick_they_wait), T_TEST(a_burning_shards_timers_fire),
       T_SHARDS(hogs_are_survived), T_SHARDS(the_users_handler_is_still_called),
       T_TEST(no_kick_when_nobody_could_help), T_SHARDS(an_idle_runtime_is_idle))
