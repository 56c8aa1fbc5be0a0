#include "runtime/schedtrace.h"

#include "coro/clock.h"
#include "sched/deadlock.h"

#include <spg/debug.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct {
	bool started;
	int64_t period_ns, start_ns;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool ending; /* under the mutex */
	/* The thread's own. */
	spg_stats_t now, before;
} st = { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static unsigned long long since(uint64_t now, uint64_t before)
{
	return (unsigned long long)(now - before);
}

/* After Go's: totals are of the last period, the rest is as it is now. */
static void print_line(void)
{
	const struct spg_shard_stats *t = &st.now.total, *b = &st.before.total;
	static char line[1024];
	int n = snprintf(line, sizeof(line),
			 "SCHED %lldms: shards=%llu asleep=%llu spinning=%llu live=%llu parked=%llu inflight=%llu "
			 "timers=%llu blocking=%llu switches=%llu steals=%llu/%llu wakes=%llu sqes=%llu enters=%llu "
			 "kicks=%llu runqueue=%llu [",
			 (long long)((spg__clock_ns() - st.start_ns) / 1000000),
			 (unsigned long long)st.now.shards, (unsigned long long)t->asleep,
			 (unsigned long long)t->spinning, (unsigned long long)t->live,
			 (unsigned long long)t->parked, (unsigned long long)t->inflight,
			 (unsigned long long)t->timers, (unsigned long long)t->blocking_threads,
			 since(t->switches, b->switches), since(t->steals_won, b->steals_won),
			 since(t->steals_tried, b->steals_tried), since(t->wakes_sent, b->wakes_sent),
			 since(t->sqes, b->sqes), since(t->enters, b->enters), since(t->kicks, b->kicks),
			 (unsigned long long)spg_stats_queued(&st.now));

	for (uint64_t i = 0; i < st.now.shards && n < (int)sizeof(line) - 24; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%s%llu", i > 0 ? " " : "",
			      (unsigned long long)(st.now.shard[i].runnable + st.now.shard[i].runnable_local));
	n += snprintf(line + n, sizeof(line) - (size_t)n, "]\n");
	(void)!write(STDERR_FILENO, line, (size_t)n); /* nobody to tell */
}

static bool wait_until(int64_t when_ns)
{
	struct timespec until = spg__clock_timespec(when_ns);
	int err = 0;

	pthread_mutex_lock(&st.mutex);
	while (!st.ending && err == 0)
		err = pthread_cond_clockwait(&st.cond, &st.mutex, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&st.mutex);
	return err != 0;
}

static void *print_main(void *arg)
{
	int64_t next_ns = st.start_ns + st.period_ns;

	(void)arg;
	(void)pthread_setname_np(pthread_self(), "spg-schedtrace");
	(void)spg_stats(&st.before);
	while (wait_until(next_ns)) {
		int64_t now = spg__clock_ns();

		if (spg_stats(&st.now) == 0)
			print_line();
		st.before = st.now;
		/* Periods that were missed are left out. */
		next_ns += ((now - next_ns) / st.period_ns + 1) * st.period_ns;
	}
	return NULL;
}

int spg__schedtrace_start(int64_t period_ns)
{
	sigset_t all, before;
	int err;

	st.period_ns = period_ns;
	st.start_ns = spg__clock_ns();
	st.ending = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&st.thread, NULL, print_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	st.started = err == 0;
	if (st.started)
		spg__deadlock_thread(1);
	return -err;
}

void spg__schedtrace_stop(void)
{
	if (!st.started)
		return;
	spg__deadlock_thread(-1);
	pthread_mutex_lock(&st.mutex);
	st.ending = true;
	pthread_cond_signal(&st.cond);
	pthread_mutex_unlock(&st.mutex);
	pthread_join(st.thread, NULL);
	st.started = false;
}
