/*
 * spg_call: from foreign threads and coroutines, with deadlines, cancels, overload and stops; and
 * the runtime started and stopped again and again inside a program of pthreads.
 */
#include "test/t.h"

#include <pthread.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STARTS 60
#else
#define STARTS 1000
#endif

struct job {
	int value;
	_Atomic int ran;
	bool in_coroutine;
	spg_chan *gate;
	int err;
};

static int compute(void *arg)
{
	struct job *job = arg;

	job->in_coroutine = spg_in_coroutine();
	spg_yield();
	atomic_fetch_add(&job->ran, 1);
	return job->value;
}

/* Waits at the gate; its error is its value. */
static int stand(void *arg)
{
	struct job *job = arg;
	int err = spg_chan_recv(job->gate, NULL);

	job->err = err;
	atomic_fetch_add(&job->ran, 1);
	return err;
}

static uint64_t counter(size_t offset)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return *(const uint64_t *)(const void *)((const char *)&stats.total + offset);
}
#define COUNTER(name) counter(offsetof(struct spg_shard_stats, name))

static void with_runtime(unsigned shards, void (*test)(void))
{
	spg_config cfg = t_config(shards);

	T_EQ(spg_start(&cfg), 0);
	test();
	T_EQ(spg_stop(), 0);
}

static void returns(void)
{
	struct job job = { .value = 42 };
	int result = 0;

	T_EQ(spg_call(compute, &job, -1, &result), 0);
	T_EQ(result, 42);
	T_OK(job.in_coroutine);
	job.value = -7;
	T_EQ(spg_call(compute, &job, SPG_SEC * 10, &result), 0);
	T_EQ(result, -7);
	T_EQ(spg_call(compute, &job, -1, NULL), 0);
	T_EQ(job.ran, 3);
	T_EQ(COUNTER(calls), 3);
	T_ERR(spg_call(NULL, NULL, -1, NULL), -EINVAL);
}

START_TEST(a_call_runs_as_a_coroutine_and_gives_its_result)
{
	with_runtime((unsigned)_i, returns);
}
END_TEST

static void times_out(void)
{
	struct job job = { .gate = spg_chan_new(0, 0) };
	int result = 0, late = 0, ran;
	spg_ctx *ctx, *before;

	/* Cut short: it has returned all the same. On a busy machine it may be late for its turn. */
	while (job.ran == 0)
		T_ERR((late++, spg_call(stand, &job, 5 * SPG_MS, &result)), -ETIMEDOUT);
	T_ERR(job.err, -ETIMEDOUT);
	T_ERR(result, -ETIMEDOUT);
	/* No time at all: it never runs. */
	T_ERR((late++, spg_call(stand, &job, 0, &result)), -ETIMEDOUT);
	T_EQ(job.ran, 1);
	/* The caller's deadline and scopes travel with it. */
	while (job.ran == 1) {
		ctx = spg_ctx_with_timeout(NULL, 5 * SPG_MS);
		before = spg_ctx_enter(ctx);
		T_ERR((late++, spg_call(stand, &job, -1, NULL)), -ETIMEDOUT);
		ran = job.ran;
		T_ERR((late++, spg_call(stand, &job, -1, NULL)), -ETIMEDOUT);
		T_EQ(job.ran, ran);
		spg_ctx_leave(before);
		spg_ctx_unref(ctx);
	}
	while (job.ran == 2) {
		SPG_TIMEOUT_SCOPE(5 * SPG_MS);
		T_ERR((late++, spg_call(stand, &job, SPG_SEC, NULL)), -ETIMEDOUT);
	}
	T_EQ(COUNTER(calls_timed_out), late);
	spg_chan_unref(job.gate);
}

START_TEST(a_deadline_travels_with_the_call)
{
	with_runtime((unsigned)_i, times_out);
}
END_TEST

struct caller {
	struct job job;
	spg_ctx *ctx;
	int err;
	pthread_t thread;
};

/* Errors: spg_call: -ECANCELED */
static void *call_under_ctx(void *arg)
{
	struct caller *c = arg;
	spg_ctx *before = c->ctx != NULL ? spg_ctx_enter(c->ctx) : NULL;

	c->err = spg_call(stand, &c->job, -1, NULL);
	if (c->ctx != NULL)
		spg_ctx_leave(before);
	return NULL;
}

static void caller_start(struct caller *c, spg_chan *gate, spg_ctx *ctx)
{
	*c = (struct caller){ .job.gate = gate, .ctx = ctx };
	T_EQ(pthread_create(&c->thread, NULL, call_under_ctx, c), 0);
}

/* Until so many calls stand at the gate: parked coroutines. */
static void await_parked(uint64_t n)
{
	while (COUNTER(parked) < n)
		sched_yield();
}

static void canceled(void)
{
	spg_chan *gate = spg_chan_new(0, 0);
	spg_ctx *ctx = spg_ctx_new(NULL);
	struct caller c;

	caller_start(&c, gate, ctx);
	await_parked(1);
	spg_ctx_cancel(ctx);
	T_EQ(pthread_join(c.thread, NULL), 0);
	T_ERR(c.err, -ECANCELED);
	T_ERR(c.job.err, -ECANCELED);
	T_EQ(c.job.ran, 1);
	T_EQ(COUNTER(calls_canceled), 1);
	/* An ended context fails the call on entry. */
	caller_start(&c, gate, ctx);
	T_EQ(pthread_join(c.thread, NULL), 0);
	T_ERR(c.err, -ECANCELED);
	T_EQ(c.job.ran, 0);
	spg_ctx_unref(ctx);
	spg_chan_unref(gate);
}

START_TEST(a_cancel_of_the_caller_reaches_the_call)
{
	with_runtime((unsigned)_i, canceled);
}
END_TEST

#define LIMIT 8

START_TEST(calls_beyond_the_limit_are_refused_and_never_run)
{
	spg_config cfg = t_config((unsigned)_i);
	spg_chan *gate = spg_chan_new(0, 0);
	struct caller callers[LIMIT];
	struct job extra = { .gate = gate };

	cfg.calls_max = LIMIT;
	T_EQ(spg_start(&cfg), 0);
	for (int i = 0; i < LIMIT; i++)
		caller_start(&callers[i], gate, NULL);
	await_parked(LIMIT);
	T_ERR(spg_call(stand, &extra, -1, NULL), -EAGAIN);
	T_EQ(extra.ran, 0);
	T_EQ(COUNTER(calls_overloaded), 1);
	spg_chan_close(gate);
	for (int i = 0; i < LIMIT; i++) {
		T_EQ(pthread_join(callers[i].thread, NULL), 0);
		T_EQ(callers[i].err, 0);
		T_ERR(callers[i].job.err, -EPIPE);
	}
	T_EQ(spg_call(stand, &extra, -1, NULL), 0);
	T_EQ(spg_stop(), 0);
	spg_chan_unref(gate);
}
END_TEST

START_TEST(a_stop_ends_the_calls_and_later_ones_find_no_runtime)
{
	spg_config cfg = t_config((unsigned)_i);
	spg_chan *gate = spg_chan_new(0, 0);
	spg_ctx *ctx = spg_ctx_new(NULL);
	struct caller plain, own;
	int result;

	T_ERR(spg_call(compute, &plain.job, -1, &result), -ESRCH);
	T_EQ(spg_start(&cfg), 0);
	caller_start(&plain, gate, NULL);
	caller_start(&own, gate, ctx); /* not under the root: the interrupted wait ends it */
	await_parked(2);
	T_EQ(spg_stop(), 0);
	T_EQ(pthread_join(plain.thread, NULL), 0);
	T_EQ(pthread_join(own.thread, NULL), 0);
	T_ERR(plain.err, -ECANCELED);
	T_ERR(own.err, -ECANCELED);
	T_EQ(plain.job.ran + own.job.ran, 2);
	T_ERR(spg_call(compute, &plain.job, -1, &result), -ESRCH);
	spg_ctx_unref(ctx);
	spg_chan_unref(gate);
}
END_TEST

static int call_inside(void *arg)
{
	struct job job = { .value = 5 };
	int result = 0;

	(void)arg;
	T_EQ(spg_call(compute, &job, -1, &result), 0);
	T_EQ(result, 5);
	job.gate = spg_chan_new(0, 0);
	for (atomic_store(&job.ran, 0); job.ran == 0;) {
		SPG_TIMEOUT_SCOPE(3 * SPG_MS);
		T_ERR(spg_call(stand, &job, -1, NULL), -ETIMEDOUT);
	}
	T_ERR(job.err, -ETIMEDOUT);
	spg_chan_unref(job.gate);
	return 0;
}

START_TEST(a_coroutine_may_call_too)
{
	t_run((unsigned)_i, call_inside, NULL);
}
END_TEST

/* Many threads call, with deadlines around the time a call takes, until told to stop. */
struct crowd {
	_Atomic bool stop;
	_Atomic uint64_t fine, late, stopped, refused, lost;
};

static int nap(void *arg)
{
	_Atomic int *runs = arg;
	int err = spg_sleep(50 * SPG_US);

	atomic_fetch_add(runs, 1);
	return err;
}

static void *call_on(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t state = t_seed() ^ (uint64_t)(uintptr_t)&state;

	while (!atomic_load(&crowd->stop)) {
		_Atomic int runs = 0;
		int value = 1;
		/* Some come through however slow the machine is. */
		int64_t limit_ns = t_random(&state) % 8 == 0 ? -1 : (int64_t)(t_random(&state) % (120 * SPG_US));
		int err = spg_call(nap, (void *)&runs, limit_ns, &value);

		switch (err) {
		case 0:
			atomic_fetch_add(&crowd->fine, 1);
			if (runs != 1 || value != 0)
				atomic_fetch_add(&crowd->lost, 1);
			break;
		case -ETIMEDOUT:
			atomic_fetch_add(&crowd->late, 1);
			if (runs > 1)
				atomic_fetch_add(&crowd->lost, 1);
			break;
		case -ECANCELED:
			atomic_fetch_add(&crowd->stopped, 1);
			break;
		case -ESRCH:
			atomic_fetch_add(&crowd->refused, 1);
			sched_yield();
			break;
		default:
			t_fail(__FILE__, __LINE__, "%s", spg_strerror(err));
		}
	}
	return NULL;
}

/* Goal: neither deadlines nor stops lose a call or let one return before its function has. */
START_TEST(stress_calls_against_deadlines_and_stops)
{
	struct crowd crowd = { 0 };
	pthread_t threads[4];
	int64_t until_ns = spg_now() + SPG_SEC;

	for (int i = 0; i < 4; i++)
		T_EQ(pthread_create(&threads[i], NULL, call_on, &crowd), 0);
	while (spg_now() < until_ns || crowd.fine == 0 || crowd.late == 0) {
		spg_config cfg = t_config((unsigned)_i);
		uint64_t before = crowd.fine + crowd.late;

		T_EQ(spg_start(&cfg), 0);
		while (crowd.fine + crowd.late < before + 50)
			sched_yield();
		T_EQ(spg_stop(), 0);
	}
	atomic_store(&crowd.stop, true);
	for (int i = 0; i < 4; i++)
		T_EQ(pthread_join(threads[i], NULL), 0);
	T_EQ(crowd.lost, 0);
}
END_TEST

static void start_call_stop(unsigned shards)
{
	spg_config cfg = t_config(shards);
	struct job job = { .value = 1 };
	int result = 0;

	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_call(compute, &job, -1, &result), 0);
	T_EQ(result, 1);
	T_EQ(spg_stop(), 0);
}

START_TEST(a_thousand_starts_and_stops_leak_nothing)
{
	int fds, threads, mapped;

	for (int i = 0; i < 20; i++)
		start_call_stop((unsigned)_i);
	fds = t_fds_count();
	threads = t_threads_count();
	mapped = t_maps_count();
	for (int i = 0; i < STARTS; i++)
		start_call_stop((unsigned)_i);
	T_EQ(t_fds_count(), fds);
	T_EQ(t_threads_count(), threads);
	/* The allocator's arenas come and go a little. */
	T_OK(t_sanitized() || t_maps_count() <= mapped + 16);
}
END_TEST

T_MAIN(T_SHARDS(a_call_runs_as_a_coroutine_and_gives_its_result), T_SHARDS(a_deadline_travels_with_the_call),
       T_SHARDS(a_cancel_of_the_caller_reaches_the_call),
       T_SHARDS(calls_beyond_the_limit_are_refused_and_never_run),
       T_SHARDS(a_stop_ends_the_calls_and_later_ones_find_no_runtime), T_SHARDS(a_coroutine_may_call_too),
       T_SHARDS(stress_calls_against_deadlines_and_stops), T_SHARDS(a_thousand_starts_and_stops_leak_nothing))
