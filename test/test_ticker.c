/* Tickers, and what becomes of missed ticks. */
#include "crowd.h"

#define PERIOD (10 * SPG_MS)
/* Ticks in the past: the policies are seen without waiting. */
#define MISSED 5

static int64_t next_tick(spg_ticker *t)
{
	int64_t scheduled = -1;

	T_EQ(spg_ticker_wait(t, &scheduled), 0);
	T_OK(spg_now() >= scheduled);
	return scheduled;
}

static int on_time(void *arg)
{
	int64_t start = spg_now() + PERIOD;

	(void)arg;
	for (int policy = SPG_MISSED_BURST; policy <= SPG_MISSED_SKIP; policy++) {
		spg_ticker *t = spg_ticker_new(start, PERIOD, policy);

		T_OK(t != NULL);
		T_EQ(next_tick(t), start);
		/* On a machine that keeps up all policies are alike. */
		if (spg_now() < start + PERIOD)
			T_EQ(next_tick(t), start + PERIOD);
		T_EQ(spg_ticker_wait(t, NULL), 0);
		spg_ticker_free(t);
		start = spg_now() + PERIOD;
	}
	return 0;
}

/* Goal: the first tick at start, then one a period, never early. */
START_TEST(ticks_come_a_period_apart)
{
	T_EQ(on_time(NULL), 0);
	t_run((unsigned)_i, on_time, NULL);
}
END_TEST

static int burst(void *arg)
{
	int64_t start = spg_now() - MISSED * PERIOD - PERIOD / 2;
	spg_ticker *t = spg_ticker_new(start, PERIOD, SPG_MISSED_BURST);

	(void)arg;
	for (int i = 0; i < MISSED + 2; i++)
		T_EQ(next_tick(t), start + i * PERIOD);
	spg_ticker_free(t);
	return 0;
}

/* Goal: BURST delivers every missed tick, at once, and is then on schedule. */
START_TEST(burst_catches_up)
{
	t_run((unsigned)_i, burst, NULL);
}
END_TEST

static int delay(void *arg)
{
	int64_t start = spg_now() - MISSED * PERIOD - PERIOD / 2;
	spg_ticker *t = spg_ticker_new(start, PERIOD, SPG_MISSED_DELAY);
	int64_t before = spg_now(), second;

	(void)arg;
	T_EQ(next_tick(t), start);
	second = next_tick(t);
	T_OK(second >= before + PERIOD);
	T_OK(second <= spg_now());
	/* From there the schedule goes on, unless that one was late by a period as well. */
	if (spg_now() < second + PERIOD)
		T_EQ(next_tick(t), second + PERIOD);
	spg_ticker_free(t);
	return 0;
}

/* Goal: DELAY drops the missed ticks and counts anew from the late one. */
START_TEST(delay_counts_from_the_late_tick)
{
	t_run((unsigned)_i, delay, NULL);
}
END_TEST

static int skip(void *arg)
{
	int64_t start = spg_now() - MISSED * PERIOD - PERIOD / 2;
	spg_ticker *t = spg_ticker_new(start, PERIOD, SPG_MISSED_SKIP);
	int64_t after, second;

	(void)arg;
	T_EQ(next_tick(t), start);
	after = spg_now();
	second = next_tick(t);
	T_EQ((second - start) % PERIOD, 0);
	T_OK(second >= start + (MISSED + 1) * PERIOD);
	T_OK(second <= after + PERIOD);
	spg_ticker_free(t);
	return 0;
}

/* Goal: SKIP drops the missed ticks and stays on multiples of the period. */
START_TEST(skip_stays_aligned)
{
	t_run((unsigned)_i, skip, NULL);
}
END_TEST

static int extremes(void *arg)
{
	spg_ticker *t;

	(void)arg;
	T_OK(spg_ticker_new(0, 0, SPG_MISSED_BURST) == NULL);
	T_OK(spg_ticker_new(0, -1, SPG_MISSED_BURST) == NULL);
	T_OK(spg_ticker_new(0, 1, -1) == NULL);
	T_OK(spg_ticker_new(0, 1, SPG_MISSED_SKIP + 1) == NULL);
	T_ERR(spg_ticker_wait(NULL, NULL), -EINVAL);
	spg_ticker_free(NULL);
	/* Times that saturate: a second tick never comes. */
	for (int policy = SPG_MISSED_BURST; policy <= SPG_MISSED_SKIP; policy++) {
		t = spg_ticker_new(INT64_MIN, INT64_MAX, policy);
		T_EQ(spg_ticker_wait(t, NULL), 0);
		{
			SPG_TIMEOUT_SCOPE(SPG_MS);
			T_ERR(spg_ticker_wait(t, NULL), -ETIMEDOUT);
		}
		spg_ticker_free(t);
	}
	return 0;
}

/* Goal: bad arguments are refused; huge ones overflow nothing. */
START_TEST(ticker_arguments_are_checked)
{
	T_EQ(extremes(NULL), 0);
	t_run(1, extremes, NULL);
}
END_TEST

struct canceled {
	spg_ticker *ticker;
	spg_ctx *ctx;
	_Atomic int waiting;
};

static void wait_canceled(void *arg)
{
	struct canceled *c = arg;
	spg_ctx *previous = spg_ctx_enter(c->ctx);
	int64_t scheduled = 77;

	atomic_fetch_add(&c->waiting, 1);
	T_ERR(spg_ticker_wait(c->ticker, &scheduled), -ECANCELED);
	T_EQ(scheduled, 77);
	spg_ctx_leave(previous);
}

static int cancel_takes_none(void *arg)
{
	int64_t start = spg_now() + 50 * SPG_MS;
	struct canceled c = { .ticker = spg_ticker_new(start, PERIOD, SPG_MISSED_BURST), .ctx = spg_ctx_new(NULL) };
	struct crowd crowd;

	(void)arg;
	crowd_start(&crowd, 4, 2, wait_canceled, &c);
	T_UNTIL(atomic_load(&c.waiting) == 6);
	spg_ctx_cancel(c.ctx);
	crowd_wait(&crowd);
	T_EQ(next_tick(c.ticker), start);
	spg_ticker_free(c.ticker);
	/* On entry, though a tick is due. */
	c.ticker = spg_ticker_new(0, PERIOD, SPG_MISSED_BURST);
	wait_canceled(&c);
	T_EQ(next_tick(c.ticker), 0);
	spg_ticker_free(c.ticker);
	spg_ctx_unref(c.ctx);
	return 0;
}

/* Goal: a canceled wait takes no tick. */
START_TEST(a_canceled_wait_takes_no_tick)
{
	t_run((unsigned)_i, cancel_takes_none, NULL);
}
END_TEST

#define SHARED_TICKS 60

struct shared {
	spg_ticker *ticker;
	int64_t start;
	_Atomic int taken[SHARED_TICKS], count;
};

static void take_ticks(void *arg)
{
	struct shared *s = arg;

	while (atomic_fetch_add(&s->count, 1) < SHARED_TICKS) {
		int64_t scheduled = next_tick(s->ticker);

		T_EQ((scheduled - s->start) % SPG_MS, 0);
		T_EQ(atomic_fetch_add(&s->taken[(scheduled - s->start) / SPG_MS], 1), 0);
	}
}

static int share(void *arg)
{
	struct shared s = { .start = spg_now() - 20 * SPG_MS };

	(void)arg;
	s.ticker = spg_ticker_new(s.start, SPG_MS, SPG_MISSED_BURST);
	crowd_run(5, 2, take_ticks, &s);
	for (int i = 0; i < SHARED_TICKS; i++)
		T_EQ(atomic_load(&s.taken[i]), 1);
	spg_ticker_free(s.ticker);
	return 0;
}

/* Goal: waiters share the ticks; each goes to one of them. */
START_TEST(each_tick_is_taken_once)
{
	t_run((unsigned)_i, share, NULL);
}
END_TEST

T_MAIN(T_SHARDS(ticks_come_a_period_apart), T_SHARDS(burst_catches_up), T_SHARDS(delay_counts_from_the_late_tick),
       T_SHARDS(skip_stays_aligned), T_TEST(ticker_arguments_are_checked), T_SHARDS(a_canceled_wait_takes_no_tick),
       T_SHARDS(each_tick_is_taken_once))
