#include "t.h"

#include "sched/offload.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

static _Atomic int running, running_most, ran;
static _Atomic bool release_all;

/* Blocks its thread until released. */
static void *hold(void *arg)
{
	int now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&running_most);

	while (now > most && !atomic_compare_exchange_weak(&running_most, &most, now))
		continue;
	while (!atomic_load(&release_all))
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	atomic_fetch_sub(&running, 1);
	atomic_fetch_add(&ran, 1);
	return arg;
}

static int hold_job(void *arg)
{
	void *result = NULL;
	int err = spg_blocking(hold, arg, &result);

	T_EQ(err, 0);
	T_OK(result == arg);
	return 0;
}

/* Goal: work that blocks runs on at most blocking_max threads, all of it, while shards go on. */
#define JOBS 40
#define THREADS_MAX 4

static int bounded_main(void *arg)
{
	spg_group *group = spg_group_new(0);

	(void)arg;
	for (intptr_t i = 0; i < JOBS; i++)
		T_EQ(spg_group_go(group, hold_job, (void *)i), 0);
	/* The shards are free although all pool threads are held. */
	T_UNTIL(atomic_load(&running) == THREADS_MAX);
	atomic_store(&release_all, true);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	T_EQ(atomic_load(&ran), JOBS);
	T_EQ(atomic_load(&running_most), THREADS_MAX);
	return 0;
}

START_TEST(the_pool_is_bounded_and_runs_everything)
{
	spg_config cfg = t_config((unsigned)_i);
	int before = t_threads_count();

	cfg.blocking_max = THREADS_MAX;
	T_EQ(t_run_config(&cfg, bounded_main, NULL), 0);
	if (!t_tsan()) /* it may start a thread of its own */
		T_EQ(t_threads_count(), before);
}
END_TEST

/* Goal: with blocking_queue jobs waiting the next one is refused and never runs. */
static _Atomic int held;

static int hold_one(void *arg)
{
	atomic_fetch_add(&held, 1);
	return hold_job(arg);
}

static int overload_main(void *arg)
{
	static spg_stats_t stats;
	spg_group *group = spg_group_new(0);
	struct spg__offload_count count;
	void *result = &count;

	(void)arg;
	for (int i = 0; i < 3; i++)
		T_EQ(spg_group_go(group, hold_one, NULL), 0);
	/* First that one runs, then that two wait: read the other way round, the one that runs may be counted twice. */
	T_UNTIL(atomic_load(&running) == 1);
	do {
		spg_yield();
		spg__offload_count(&count);
	} while (count.queued != 2);
	T_EQ(spg_blocking(hold, NULL, &result), -EAGAIN);
	T_OK(result == &count);
	spg__offload_count(&count);
	T_EQ(count.overloaded, 1);
	T_EQ(count.threads, 1);
	atomic_store(&release_all, true);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	T_EQ(spg_blocking(hold, NULL, NULL), 0);
	T_EQ(atomic_load(&ran), 4);
	/* And the public counters say the same; a job is counted a moment after its caller goes on. */
	do {
		spg_yield();
		T_EQ(spg_stats(&stats), 0);
	} while (stats.total.blocking_done != 4);
	T_EQ(stats.total.blocking_queued, 0);
	T_EQ(stats.total.blocking_threads, 1);
	T_EQ(stats.total.overloaded, 1);
	return 0;
}

START_TEST(a_full_queue_refuses_the_next_job)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.blocking_max = 1;
	cfg.blocking_queue = 2;
	T_EQ(t_run_config(&cfg, overload_main, NULL), 0);
}
END_TEST

/* Goal: canceled while queued a job never runs; once it runs it is waited for. */
static int canceled_job(void *arg)
{
	*(int *)arg = spg_blocking(hold, NULL, NULL);
	return 0;
}

static int cancel_main(void *arg)
{
	spg_group *first = spg_group_new(0), *second = spg_group_new(0);
	struct spg__offload_count count;
	int first_result = 1, second_result = 1;

	(void)arg;
	T_EQ(spg_group_go(first, canceled_job, &first_result), 0);
	T_UNTIL(atomic_load(&running) == 1);
	T_EQ(spg_group_go(second, canceled_job, &second_result), 0);
	do {
		spg_yield();
		spg__offload_count(&count);
	} while (count.queued != 1);
	spg_group_cancel(first);
	spg_group_cancel(second);
	(void)spg_group_wait(second);
	T_EQ(second_result, -ECANCELED);
	T_EQ(first_result, 1); /* still inside */
	atomic_store(&release_all, true);
	(void)spg_group_wait(first);
	T_EQ(first_result, 0);
	T_EQ(atomic_load(&ran), 1);
	spg_group_free(first);
	spg_group_free(second);
	{
		SPG_TIMEOUT_SCOPE(0);
		T_EQ(spg_blocking(hold, NULL, NULL), -ETIMEDOUT);
	}
	T_EQ(atomic_load(&ran), 1);
	return 0;
}

START_TEST(a_canceled_job_never_runs_or_is_waited_for)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.blocking_max = 1;
	T_EQ(t_run_config(&cfg, cancel_main, NULL), 0);
}
END_TEST

/* Goal: pool threads have their name, and no signal but their own faults reaches them. */
static void *look(void *arg)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	char name[16] = "";
	sigset_t mask;

	T_EQ(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	T_STR(name, "spg-pool");
	T_EQ(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
	T_OK(sigismember(&mask, SIGPIPE) && sigismember(&mask, SIGTERM) && sigismember(&mask, SIGURG));
	for (int i = 0; i < 4; i++)
		T_OK(!sigismember(&mask, own[i]));
	T_OK(!spg_in_coroutine());
	/* spg's calls wait here as on any thread. */
	T_EQ(spg_sleep(SPG_MS), 0);
	return arg;
}

static int look_main(void *arg)
{
	sigset_t before = { 0 }, after = { 0 };
	void *result = NULL;

	T_EQ(spg_blocking(NULL, NULL, NULL), -EINVAL);
	T_EQ(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
	T_EQ(spg_blocking(look, &result, &result), 0);
	T_OK(result == &result);
	T_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
	T_EQ(memcmp(&before, &after, sizeof(before)), 0);
	(void)arg;
	return 0;
}

START_TEST(pool_threads_are_named_and_shielded_from_signals)
{
	t_run((unsigned)_i, look_main, NULL);
}
END_TEST

/* Goal: a foreign thread runs it itself, under its context's entry check. */
static void *same_thread(void *arg)
{
	T_OK(pthread_equal(*(pthread_t *)arg, pthread_self()));
	return arg;
}

START_TEST(a_foreign_thread_runs_it_itself)
{
	pthread_t self = pthread_self();
	void *result = NULL;

	T_EQ(spg_blocking(same_thread, &self, &result), 0);
	T_OK(result == &self);
	{
		SPG_TIMEOUT_SCOPE(0);
		T_EQ(spg_blocking(same_thread, &self, NULL), -ETIMEDOUT);
	}
}
END_TEST

/* Goal: threads above blocking_min end after a while, and are started again when needed. */
static void *nothing(void *arg)
{
	return arg;
}

static int shrink_main(void *arg)
{
	spg_group *group = spg_group_new(0);
	struct spg__offload_count count;

	(void)arg;
	for (int i = 0; i < 6; i++)
		T_EQ(spg_group_go(group, hold_job, NULL), 0);
	T_UNTIL(atomic_load(&running) == 6);
	atomic_store(&release_all, true);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	spg__offload_count(&count);
	T_EQ(count.threads, 6);
	do {
		T_EQ(spg_sleep(50 * SPG_MS), 0);
		spg__offload_count(&count);
	} while (count.threads > 2);
	T_EQ(count.threads, 2);
	T_EQ(spg_blocking(nothing, NULL, NULL), 0);
	return 0;
}

START_TEST(idle_threads_above_the_minimum_end)
{
	spg_config cfg = t_config(1);

	cfg.blocking_min = 2;
	T_EQ(t_run_config(&cfg, shrink_main, NULL), 0);
}
END_TEST

T_MAIN(T_SHARDS(the_pool_is_bounded_and_runs_everything), T_SHARDS(a_full_queue_refuses_the_next_job),
       T_SHARDS(a_canceled_job_never_runs_or_is_waited_for),
       T_SHARDS(pool_threads_are_named_and_shielded_from_signals), T_TEST(a_foreign_thread_runs_it_itself),
       T_TEST(idle_threads_above_the_minimum_end))
