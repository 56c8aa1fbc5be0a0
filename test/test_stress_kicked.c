/*
 * What a kick may and may not do: to code that it interrupts, to the program's own handler, and
 * how often it comes.
 */
#include "test/burn.h"

#include <signal.h>
#include <time.h>

static int block_pipe[2];
static _Atomic bool slept;

/* User code that blocks in libc: what a kick does to it. */
static void block_in_libc(void *arg)
{
	struct timespec left = { .tv_nsec = 300000000 };
	int64_t start = t_now_ns();
	int interrupted = 0;
	char c;

	(void)arg;
	atomic_store(&burning, true);
	while (nanosleep(&left, &left) != 0) {
		T_EQ(spg_errno(), EINTR);
		interrupted++;
	}
	T_OK(t_now_ns() - start >= 300 * SPG_MS);
	T_OK(interrupted > 0);
	/* Not restarted even with SA_RESTART: signal(7). */
	T_EQ(poll(NULL, 0, 10000), -1);
	T_EQ(spg_errno(), EINTR);
	/* Restarted. */
	T_EQ(read(block_pipe[0], &c, 1), 1);
	atomic_store(&burning, false);
	atomic_store(&slept, true);
}

static void *serve_beside_a_sleeper(void *arg)
{
	static struct readers all;
	spg_attr attr = SPG_ATTR_INIT;
	uint64_t before;

	(void)arg;
	T_EQ(pipe(block_pipe), 0);
	all = (struct readers){ .expected = 1 };
	readers_start(&all, NULL);
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, block_in_libc, NULL), 0);
	T_UNTIL(atomic_load(&burning));
	/* All but the last, so that there is something to be kicked for. */
	for (int r = 0; r < READERS - 1; r++)
		T_EQ(write(all.pipes[r][1], "x", 1), 1);
	while (atomic_load(&all.ended) < READERS - 1)
		T_EQ(spg_sleep(SPG_MS), 0);
	T_OK(atomic_load(&burning));
	before = kicks();
	while (kicks() < before + 40) /* until it reads, and then a few */
		T_EQ(spg_sleep(SPG_MS), 0);
	T_OK(atomic_load(&burning));
	T_EQ(write(block_pipe[1], "x", 1), 1);
	while (!atomic_load(&slept))
		T_EQ(spg_sleep(SPG_MS), 0);
	T_EQ(write(all.pipes[READERS - 1][1], "x", 1), 1);
	T_UNTIL(atomic_load(&all.ended) == READERS);
	readers_end(&all);
	return NULL;
}

/* Goal: a coroutine that sleeps in libc holds up nobody; it sees EINTR where signal(7) says so. */
START_TEST(a_hog_that_sleeps_in_libc_is_interrupted)
{
	spg_config cfg = config(2);

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	T_EQ(spg_run(&cfg, on_shard_1, (void *)serve_beside_a_sleeper), 0);
}
END_TEST

#define KICKS 100

static void in_malloc(uint64_t *random)
{
	void *blocks[64];

	for (int i = 0; i < 64; i++) {
		blocks[i] = malloc(t_random(random) % 20000 + 1);
		T_OK(blocks[i] != NULL);
		*(char *)blocks[i] = 1;
	}
	for (int i = 0; i < 64; i++)
		free(blocks[i]);
}

static void do_nothing(void *arg)
{
	(void)arg;
}

/* The library's own code, its locks too. */
static void in_the_library(uint64_t *random)
{
	spg_chan *c = spg_chan_new(sizeof(*random), 8);
	spg_timer *timer = spg_timer_new();
	spg_ctx *ctx = spg_ctx_new(NULL);
	uint64_t value = t_random(random);

	for (int i = 0; i < 8; i++)
		T_EQ(spg_chan_try_send(c, &value), 0);
	T_EQ(spg_chan_try_send(c, &value), -EAGAIN);
	T_EQ(spg_chan_try_recv(c, &value), 0);
	T_EQ(spg_timer_reset(timer, spg_now() + SPG_SEC), 0);
	spg_timer_stop(timer);
	spg_timer_free(timer);
	spg_ctx_cancel(ctx);
	spg_ctx_unref(ctx);
	spg_chan_unref(c);
	T_EQ(spg_go(do_nothing, NULL), 0); /* the other shard gets it */
}

static void kicked_in(void *arg)
{
	void (*work)(uint64_t *) = (void (*)(uint64_t *))arg;
	uint64_t random = 42, before = kicks();
	static spg_stats_t stats;

	atomic_store(&burning, true);
	do {
		for (int i = 0; i < 100; i++)
			work(&random);
		T_EQ(spg_stats(&stats), 0);
	} while (stats.total.kicks < before + KICKS);
	atomic_store(&burning, false);
}

/* Cancels come with the kicks, too. */
static void *kick_inside(void *arg)
{
	static struct readers all, canceled;
	spg_attr attr = SPG_ATTR_INIT;
	spg_ctx *ctx = spg_ctx_new(NULL);

	all = (struct readers){ .expected = 1 };
	canceled = (struct readers){ .expected = -ECANCELED };
	readers_start(&all, NULL);
	readers_start(&canceled, ctx);
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, kicked_in, arg), 0);
	T_UNTIL(atomic_load(&burning));
	spg_ctx_cancel(ctx);
	while (atomic_load(&canceled.ended) < READERS)
		T_EQ(spg_sleep(SPG_MS), 0);
	T_OK(atomic_load(&burning));
	while (atomic_load(&burning))
		T_EQ(spg_sleep(SPG_MS), 0);
	for (int r = 0; r < READERS; r++)
		T_EQ(write(all.pipes[r][1], "x", 1), 1);
	T_UNTIL(atomic_load(&all.ended) == READERS);
	readers_end(&all);
	readers_end(&canceled);
	spg_ctx_unref(ctx);
	return NULL;
}

static void *kick_in_malloc(void *arg)
{
	(void)arg;
	return kick_inside((void *)in_malloc);
}

static void *kick_in_the_library(void *arg)
{
	(void)arg;
	return kick_inside((void *)in_the_library);
}

/* Goal: a kick may interrupt malloc and every lock of the library: it takes none. */
START_TEST(a_kick_interrupts_anything)
{
	spg_config cfg = config(2);

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	cfg.stall_ns = 2 * SPG_MS;
	T_EQ(spg_run(&cfg, on_shard_1, (void *)kick_in_malloc), 0);
	T_EQ(spg_run(&cfg, on_shard_1, (void *)kick_in_the_library), 0);
}
END_TEST

static _Atomic int handled;

static void count_signals(int number, siginfo_t *info, void *context)
{
	T_EQ(number, SIGURG);
	T_OK(info != NULL && context != NULL);
	atomic_fetch_add(&handled, 1);
}

static void *storm(void *arg)
{
	static struct readers all;
	uint64_t before;
	int64_t start;

	(void)arg;
	all = (struct readers){ .expected = 1 };
	readers_start(&all, NULL);
	before = kicks();
	start = t_now_ns();
	hog_start();
	T_EQ(spg_sleep(SPG_SEC), 0);
	T_OK(hog_end());
	/* One in stall_ns, and it takes two looks to find the first. */
	T_OK(kicks() - before <= (uint64_t)((t_now_ns() - start) / STALL_NS));
	T_OK(kicks() - before >= 1);
	for (int r = 0; r < READERS; r++)
		T_EQ(write(all.pipes[r][1], "x", 1), 1);
	T_UNTIL(atomic_load(&all.ended) == READERS);
	readers_end(&all);
	/* Each calls the handler that was there before, unless two became one on their way. */
	T_OK(atomic_load(&handled) >= 1 && (uint64_t)atomic_load(&handled) <= kicks());
	before = (uint64_t)atomic_load(&handled);
	T_EQ(kill(getpid(), SIGURG), 0);
	T_UNTIL((uint64_t)atomic_load(&handled) > before);
	return NULL;
}

/* Goal: kicks are counted, one in stall_ns at most, and the handler before ours is called. */
START_TEST(kicks_are_bounded_and_passed_on)
{
	spg_config cfg = config(2);
	struct sigaction action = { .sa_sigaction = count_signals, .sa_flags = SA_SIGINFO }, now;

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	T_EQ(sigaction(SIGURG, &action, NULL), 0);
	T_EQ(spg_run(&cfg, on_shard_1, (void *)storm), 0);
	T_EQ(sigaction(SIGURG, NULL, &now), 0);
	T_OK(now.sa_sigaction == count_signals);
}
END_TEST

static void *in_vain(void *arg)
{
	(void)arg;
	hog_start();
	T_EQ(spg_sleep(20 * STALL_NS), 0);
	T_OK(hog_end());
	T_EQ(kicks(), 0);
	return NULL;
}

static void *in_vain_with_readers(void *arg)
{
	static struct readers all;

	all = (struct readers){ .expected = 1 };
	readers_start(&all, NULL);
	in_vain(arg);
	for (int r = 0; r < READERS; r++)
		T_EQ(write(all.pipes[r][1], "x", 1), 1);
	T_UNTIL(atomic_load(&all.ended) == READERS);
	readers_end(&all);
	return NULL;
}

static void *everybody_burns(void *arg)
{
	static struct readers all;
	static spg_stats_t stats;
	int64_t until;
	uint64_t before = 0;

	(void)arg;
	all = (struct readers){ .expected = 1 };
	readers_start(&all, NULL);
	hog_start();
	do
		T_EQ(spg_stats(&stats), 0);
	while (stats.shard[0].stalls == 0 || stats.shard[1].stalls == 0);
	/* A look under way may have seen us in time still: it is over when the next one has begun. */
	until = t_now_ns() + 2 * STALL_NS;
	while (t_now_ns() < until)
		before = kicks();
	until = t_now_ns() + 20 * STALL_NS;
	while (t_now_ns() < until)
		continue;
	T_EQ(kicks(), before);
	T_OK(hog_end());
	for (int r = 0; r < READERS; r++)
		T_EQ(write(all.pipes[r][1], "x", 1), 1);
	T_UNTIL(atomic_load(&all.ended) == READERS);
	readers_end(&all);
	return NULL;
}

/* Goal: no kick where nothing is held, nobody may steal, it is off, or everybody computes. */
START_TEST(no_kick_in_vain)
{
	spg_config cfg = config(2);

	T_EQ(spg_run(&cfg, on_shard_1, (void *)in_vain), 0);
	cfg.steal = false;
	T_EQ(spg_run(&cfg, on_shard_1, (void *)in_vain_with_readers), 0);
	cfg = config(2);
	cfg.kick_signal = 0;
	T_EQ(spg_run(&cfg, on_shard_1, (void *)in_vain_with_readers), 0);
	cfg = config(2);
	T_EQ(spg_run(&cfg, on_shard_1, (void *)everybody_burns), 0);
}
END_TEST

T_MAIN(T_TEST(a_hog_that_sleeps_in_libc_is_interrupted), T_TEST(a_kick_interrupts_anything),
       T_TEST(kicks_are_bounded_and_passed_on), T_TEST(no_kick_in_vain))
