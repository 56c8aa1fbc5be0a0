/* Clock, sleep, timers, tickers. */
#include "crowd.h"

#include "sched/timer.h"

/* How late a wake may be on a loaded machine before a test fails. */
#define LATE_NS (t_sanitized() ? 2 * SPG_SEC : SPG_SEC)

static void check_slept(int64_t start, int64_t ns)
{
	int64_t slept = spg_now() - start;

	T_OK(slept >= ns);
	T_OK(slept < ns + LATE_NS);
}

static int sleeps(void *arg)
{
	int64_t start = spg_now();

	(void)arg;
	T_OK(start > 0 && start <= t_now_ns());
	T_EQ(spg_sleep(2 * SPG_MS), 0);
	check_slept(start, 2 * SPG_MS);
	start = spg_now();
	T_EQ(spg_sleep_until(start + 3 * SPG_MS), 0);
	check_slept(start, 3 * SPG_MS);
	start = spg_now();
	T_EQ(spg_sleep(0), 0);
	T_EQ(spg_sleep(-5), 0);
	T_EQ(spg_sleep(INT64_MIN), 0);
	T_EQ(spg_sleep_until(0), 0);
	T_EQ(spg_sleep_until(INT64_MIN), 0);
	T_EQ(spg_sleep_until(start), 0);
	check_slept(start, 0);
	return 0;
}

/* Goal: never shorter than asked, with a runtime and without; past times return at once. */
START_TEST(a_sleep_lasts_its_time)
{
	T_EQ(sleeps(NULL), 0);
	t_run((unsigned)_i, sleeps, NULL);
}
END_TEST

static void count_turns(void *arg)
{
	_Atomic int *turns = arg;

	for (int i = 0; i < 3; i++) {
		atomic_fetch_add(turns, 1);
		T_EQ(spg_sleep(0), 0);
	}
}

static int zero_yields(void *arg)
{
	_Atomic int turns = 0;

	(void)arg;
	T_EQ(spg_go(count_turns, (void *)&turns), 0);
	while (atomic_load(&turns) < 3)
		T_EQ(spg_sleep(0), 0);
	return 0;
}

/* Goal: a sleep of nothing lets the others run. */
START_TEST(sleeping_for_nothing_yields)
{
	t_run(1, zero_yields, NULL);
}
END_TEST

struct sleeper {
	spg_ctx *ctx;
	int expected;
	_Atomic int asleep;
};

static void sleep_long(void *arg)
{
	struct sleeper *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);

	atomic_fetch_add(&s->asleep, 1);
	T_ERR(spg_sleep(INT64_MAX), s->expected);
	/* On entry too, also where there is nothing to wait for. */
	T_ERR(spg_sleep(0), s->expected);
	T_ERR(spg_sleep_until(0), s->expected);
	spg_ctx_leave(previous);
}

static int sleep_ends(void *arg)
{
	struct sleeper s = { .ctx = spg_ctx_new(NULL), .expected = -ECANCELED };
	int64_t start = spg_now();
	struct crowd crowd;

	(void)arg;
	crowd_start(&crowd, 100, 3, sleep_long, &s);
	T_UNTIL(atomic_load(&s.asleep) == 103);
	spg_ctx_cancel(s.ctx);
	crowd_wait(&crowd);
	spg_ctx_unref(s.ctx);

	s.ctx = spg_ctx_with_timeout(NULL, 2 * SPG_MS);
	s.expected = -ETIMEDOUT;
	crowd_run(100, 3, sleep_long, &s);
	spg_ctx_unref(s.ctx);
	check_slept(start, 2 * SPG_MS);

	start = spg_now();
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_sleep(SPG_SEC * 3600), -ETIMEDOUT);
		check_slept(start, 2 * SPG_MS);
		T_ERR(spg_sleep(0), -ETIMEDOUT);
	}
	{
		SPG_TIMEOUT_SCOPE(SPG_SEC * 3600);
		T_EQ(spg_sleep(SPG_MS), 0);
	}
	return 0;
}

/* Goal: cancel and deadlines end sleeps; a deadline that comes later does not. */
START_TEST(cancel_and_deadlines_end_a_sleep)
{
	t_run((unsigned)_i, sleep_ends, NULL);
}
END_TEST

struct woken {
	_Atomic int order_n;
	int64_t base;
	struct late {
		struct woken *all;
		int64_t when, woke;
		int order;
	} late[2000];
};

static void wake_at(void *arg)
{
	struct late *l = arg;

	T_EQ(spg_sleep_until(l->when), 0);
	l->woke = spg_now();
	l->order = atomic_fetch_add(&l->all->order_n, 1);
}

static int compare_when(const void *a, const void *b)
{
	const struct late *x = a, *y = b;

	return x->when < y->when ? -1 : x->when > y->when;
}

static int wake_in_order(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	static struct woken w;
	const int n = t_sanitized() ? 500 : 2000;

	atomic_store(&w.order_n, 0);
	w.base = spg_now() + 50 * SPG_MS;
	for (int i = 0; i < n; i++) {
		w.late[i] = (struct late){ .all = &w };
		w.late[i].when = w.base + (int64_t)(t_random(&state) % (uint64_t)(100 * SPG_MS));
		T_EQ(spg_go(wake_at, &w.late[i]), 0);
	}
	T_UNTIL(atomic_load(&w.order_n) == n || spg_sleep(SPG_MS) < 0);
	for (int i = 0; i < n; i++) {
		T_OK(w.late[i].woke >= w.late[i].when);
		T_OK(w.late[i].woke < w.late[i].when + LATE_NS);
	}
	if (spg_shards() > 1)
		return 0;
	/* One shard: those due in different rounds of it wake in the order of their times. */
	qsort(w.late, (size_t)n, sizeof(w.late[0]), compare_when);
	for (int i = 1; i < n; i++) {
		if (w.late[i].when - w.late[i - 1].when > 20 * SPG_MS)
			T_OK(w.late[i].order > w.late[i - 1].order);
		T_OK(w.late[i].woke >= w.late[i].when);
	}
	return 0;
}

/* Goal: each of 2,000 sleepers wakes after its time, and not much later. */
START_TEST(prop_sleepers_wake_in_time)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, wake_in_order, &seed);
}
END_TEST

/* Goal: one timer gets one slack, dense ones one each, up to 25; far ones are not dense. */
START_TEST(slack_grows_with_what_is_due_soon)
{
	static struct spg__timers timers;
	struct spg__timer_node nodes[40] = { 0 };
	int64_t second = SPG_SEC;

	spg__timers_init(&timers, 0);
	spg__timerq_advance(&timers.queue, second);
	T_EQ(spg__timers_slack(&timers, 10), 10);
	for (int i = 0; i < 40; i++) {
		nodes[i].when_ns = second + SPG_MS + i;
		spg__timerq_put(&timers.queue, &nodes[i]);
		T_EQ(spg__timers_slack(&timers, 10), i < 25 ? (i + 1) * 10 : 250);
		T_EQ(spg__timers_slack(&timers, 0), 0);
		T_EQ(spg__timers_slack(&timers, INT64_MAX), INT64_MAX);
	}
	for (int i = 0; i < 40; i++)
		spg__timerq_take(&timers.queue, &nodes[i]);
	/* A lone one with others an hour behind. */
	for (int i = 0; i < 40; i++) {
		nodes[i].when_ns = second + (i == 0 ? SPG_MS : 3600 * SPG_SEC + i);
		spg__timerq_put(&timers.queue, &nodes[i]);
	}
	T_EQ(spg__timers_slack(&timers, 10), 10);
}
END_TEST

static int timer_basics(void *arg)
{
	spg_timer *t = spg_timer_new();
	int64_t start = spg_now();

	(void)arg;
	T_OK(t != NULL && !spg_timer_expired(t));
	T_EQ(spg_timer_deadline(t), INT64_MAX);
	T_EQ(spg_timer_stop(t), 0);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_timer_wait(t), -ETIMEDOUT); /* not set: nobody ends it */
	}
	T_EQ(spg_timer_reset(t, start + 3 * SPG_MS), 0);
	T_EQ(spg_timer_deadline(t), start + 3 * SPG_MS);
	T_EQ(spg_timer_wait(t), 0);
	check_slept(start, 3 * SPG_MS);
	T_OK(spg_timer_expired(t));
	T_EQ(spg_timer_wait(t), 0); /* it stays expired */
	T_EQ(spg_timer_stop(t), 0);
	T_OK(!spg_timer_expired(t));
	T_EQ(spg_timer_reset(t, INT64_MIN), 0);
	T_OK(spg_timer_expired(t));
	T_EQ(spg_timer_wait(t), 0);
	T_EQ(spg_timer_reset(t, spg_now() + SPG_SEC * 3600), 0);
	T_EQ(spg_timer_stop(t), 1);
	T_EQ(spg_timer_deadline(t), INT64_MAX);
	spg_timer_free(t);

	T_ERR(spg_timer_reset(NULL, 0), -EINVAL);
	T_ERR(spg_timer_wait(NULL), -EINVAL);
	T_ERR(spg_timer_stop(NULL), -EINVAL);
	T_OK(!spg_timer_expired(NULL));
	spg_timer_free(NULL);
	return 0;
}

/* Goal: set, wait, expired, stop, in a coroutine and without a runtime. */
START_TEST(a_timer_is_waited_for_until_its_time)
{
	T_EQ(timer_basics(NULL), 0);
	t_run((unsigned)_i, timer_basics, NULL);
}
END_TEST

struct timed {
	spg_timer *timer;
	spg_ctx *ctx;
	_Atomic int at_wait, ended;
	_Atomic int64_t woke;
	int expected;
};

static void wait_timer(void *arg)
{
	struct timed *t = arg;
	spg_ctx *previous = t->ctx != NULL ? spg_ctx_enter(t->ctx) : NULL;
	int64_t earliest;

	atomic_fetch_add(&t->at_wait, 1);
	T_ERR(spg_timer_wait(t->timer), t->expected);
	earliest = atomic_load(&t->woke);
	while (earliest < spg_now() && !atomic_compare_exchange_weak(&t->woke, &earliest, spg_now()))
		continue;
	if (t->ctx == NULL)
		T_EQ(spg_ctx_err(NULL), 0);
	spg_ctx_leave(previous);
	atomic_fetch_add(&t->ended, 1);
}

static int timer_changes(void *arg)
{
	struct timed t = { .timer = spg_timer_new() };
	int64_t start = spg_now();
	struct crowd crowd;

	(void)arg;
	/* Set while they wait; then moved away, then to a near time. */
	crowd_start(&crowd, 5, 2, wait_timer, &t);
	T_UNTIL(atomic_load(&t.at_wait) == 7);
	T_EQ(spg_timer_reset(t.timer, start + SPG_SEC * 3600), 0);
	T_EQ(spg_sleep(SPG_MS), 0);
	T_EQ(atomic_load(&t.ended), 0);
	T_EQ(spg_timer_reset(t.timer, start + 5 * SPG_MS), 0);
	crowd_wait(&crowd);
	check_slept(start, 5 * SPG_MS);

	/* Later again and again: they wait for the last. */
	start = spg_now();
	T_EQ(spg_timer_reset(t.timer, start + 200 * SPG_MS), 0);
	atomic_store(&t.at_wait, 0);
	atomic_store(&t.ended, 0);
	crowd_start(&crowd, 5, 2, wait_timer, &t);
	T_UNTIL(atomic_load(&t.at_wait) == 7);
	for (int i = 1; i <= 3; i++)
		T_EQ(spg_timer_reset(t.timer, start + (200 + i * 10) * SPG_MS), 0);
	T_EQ(spg_timer_deadline(t.timer), start + 230 * SPG_MS);
	crowd_wait(&crowd);
	check_slept(start, 230 * SPG_MS);
	spg_timer_free(t.timer);
	return 0;
}

/* Goal: a reset moves the time for those who wait already, both ways. */
START_TEST(a_reset_moves_the_time_of_waiters)
{
	t_run((unsigned)_i, timer_changes, NULL);
}
END_TEST

static int timer_stops(void *arg)
{
	struct timed t = { .timer = spg_timer_new(), .expected = -ECANCELED };
	struct crowd crowd;

	(void)arg;
	T_EQ(spg_timer_reset(t.timer, spg_now() + SPG_SEC * 3600), 0);
	crowd_start(&crowd, 5, 2, wait_timer, &t);
	T_UNTIL(atomic_load(&t.at_wait) == 7);
	while (atomic_load(&t.ended) < 7) { /* the last ones may be on their way into the wait */
		T_OK(spg_timer_stop(t.timer) >= 0);
		t_relax();
	}
	crowd_wait(&crowd);

	/* By the context. */
	t.ctx = spg_ctx_new(NULL);
	atomic_store(&t.at_wait, 0);
	T_EQ(spg_timer_reset(t.timer, spg_now() + SPG_SEC * 3600), 0);
	crowd_start(&crowd, 5, 2, wait_timer, &t);
	T_UNTIL(atomic_load(&t.at_wait) == 7);
	spg_ctx_cancel(t.ctx);
	crowd_wait(&crowd);
	T_EQ(spg_timer_stop(t.timer), 1);
	spg_ctx_unref(t.ctx);
	spg_timer_free(t.timer);
	return 0;
}

/* Goal: stop and cancel end the wait with -ECANCELED; after a stop the context is as it was. */
START_TEST(a_stop_ends_the_waits)
{
	t_run((unsigned)_i, timer_stops, NULL);
}
END_TEST

struct storm {
	spg_timer *timer;
	_Atomic bool stop;
	_Atomic long waits, stops;
};

static void storm_waiter(void *arg)
{
	struct storm *s = arg;

	while (!atomic_load(&s->stop)) {
		int64_t before = spg_timer_deadline(s->timer);
		int err = spg_timer_wait(s->timer);

		T_OK(err == 0 || err == -ECANCELED);
		/* Deadlines only grow here: what it waited for was not before the one seen. */
		if (err == 0 && before != INT64_MAX)
			T_OK(spg_now() >= before);
		atomic_fetch_add(err == 0 ? &s->waits : &s->stops, 1);
		t_relax(); /* an expired timer is not waited for */
	}
}

static int reset_storm(void *arg)
{
	struct storm s = { .timer = spg_timer_new() };
	uint64_t state = *(uint64_t *)arg;
	struct crowd crowd;
	int64_t when = spg_now();

	T_EQ(spg_timer_reset(s.timer, when), 0);
	crowd_start(&crowd, 6, 2, storm_waiter, &s);
	for (int i = 0; i < (t_sanitized() ? 500 : 5000); i++) {
		uint64_t random = t_random(&state);
		int64_t now = spg_now();

		when = (when > now ? when : now) + (int64_t)(random % (uint64_t)(20 * SPG_US));
		T_EQ(spg_timer_reset(s.timer, when), 0);
		if (random >> 32 & 1)
			t_relax();
		if ((random >> 40) % 64 == 0)
			T_OK(spg_timer_stop(s.timer) >= 0);
	}
	T_EQ(spg_timer_reset(s.timer, when), 0);
	T_UNTIL(atomic_load(&s.waits) > 0);
	atomic_store(&s.stop, true);
	T_EQ(spg_timer_reset(s.timer, when), 0);
	crowd_wait(&crowd);
	spg_timer_free(s.timer);
	return 0;
}

/* Goal: thousands of resets against many waiters: none wakes early, none is left behind. */
START_TEST(prop_resets_against_waits)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, reset_storm, &seed);
}
END_TEST

#define TIMERS_MAX 500000

struct plain {
	struct spg__timer timer;
	_Atomic bool fired;
	bool stopped;
};

static _Atomic int fired_early, fired_count;

static void plain_fire(struct spg__timer *timer)
{
	struct plain *p = spg__container_of(timer, struct plain, timer);

	if (t_now_ns() < timer->node.when_ns)
		atomic_fetch_add(&fired_early, 1);
	atomic_store(&p->fired, true);
	atomic_fetch_add(&fired_count, 1);
}

static int half_a_million(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	const int n = t_sanitized() ? TIMERS_MAX / 20 : TIMERS_MAX;
	struct plain *all = calloc((size_t)n, sizeof(*all));
	int64_t base = spg_now() + 300 * SPG_MS;
	int stopped = 0;

	T_OK(all != NULL);
	for (int i = 0; i < n; i++) {
		spg__timer_init(&all[i].timer, NULL, plain_fire);
		T_OK(spg__timer_start(&all[i].timer, base + (int64_t)(t_random(&state) % (uint64_t)(200 * SPG_MS))));
	}
	/* Every third is stopped, every third moved: the usual fate of a deadline. */
	for (int i = 0; i < n; i++) {
		if (i % 3 == 2 || !spg__timer_stop(&all[i].timer))
			continue;
		all[i].stopped = i % 3 == 0;
		stopped += all[i].stopped;
		if (!all[i].stopped)
			T_OK(spg__timer_start(&all[i].timer, base + (int64_t)(t_random(&state) % (uint64_t)(200 * SPG_MS))));
	}
	T_UNTIL(atomic_load(&fired_count) == n - stopped || spg_sleep(SPG_MS) < 0);
	for (int i = 0; i < n; i++)
		T_OK(all[i].stopped != atomic_load(&all[i].fired));
	T_EQ(atomic_load(&fired_early), 0);
	T_OK(t_sanitized() || stopped > n / 4);
	free(all);
	return 0;
}

/* Goal: 500,000 timers started, stopped and moved: each that stayed fires once, none early. */
START_TEST(half_a_million_timers)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, half_a_million, &seed);
}
END_TEST

static int cancel_storm(void *arg)
{
	const int rounds = t_sanitized() ? 200 : 1024;
	spg_stats_t stats;

	(void)arg;
	for (int i = 0; i < rounds; i++) {
		for (int k = 0; k < 8; k++) {
			spg_ctx *ctx = spg_ctx_with_timeout(NULL, 200 * SPG_US);
			spg_ctx *previous = spg_ctx_enter(ctx);

			spg_ctx_cancel(ctx);
			T_OK(spg_sleep(200 * SPG_US) < 0);
			spg_ctx_leave(previous);
			spg_ctx_unref(ctx);
		}
		T_EQ(spg_sleep(SPG_US), 0);
	}
	T_EQ(spg_stats(&stats), 0);
	T_EQ(stats.total.timers, 0);
	return 0;
}

/* Goal: canceled and rescheduled sleeps leave no timer behind. */
START_TEST(a_cancel_storm_leaves_no_timer)
{
	t_run((unsigned)_i, cancel_storm, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_sleep_lasts_its_time), T_TEST(sleeping_for_nothing_yields),
       T_SHARDS(cancel_and_deadlines_end_a_sleep), T_SHARDS(prop_sleepers_wake_in_time),
       T_TEST(slack_grows_with_what_is_due_soon),
       T_SHARDS(a_timer_is_waited_for_until_its_time), T_SHARDS(a_reset_moves_the_time_of_waiters),
       T_SHARDS(a_stop_ends_the_waits), T_SHARDS(prop_resets_against_waits), T_SHARDS(half_a_million_timers),
       T_SHARDS(a_cancel_storm_leaves_no_timer))
