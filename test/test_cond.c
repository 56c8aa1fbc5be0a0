/* The condition variable. */
#include "crowd.h"

struct shared {
	spg_mutex mutex;
	spg_cond cond;
	int waiting, woken, tokens;
	int order[8], order_n;
	spg_ctx *ctx;
};

static int misuse(void *arg)
{
	spg_mutex m = SPG_MUTEX_INIT;
	spg_cond c = SPG_COND_INIT;

	(void)arg;
	T_ERR(spg_cond_wait(&c, &m), -EPERM);
	T_EQ(spg_cond_signal(&c), 0);
	T_EQ(spg_cond_broadcast(&c), 0);
	T_EQ(m.spg__word[0], 0);
	return 0;
}

/* Goal: waiting takes the mutex; signals with nobody there are lost, as POSIX has it. */
START_TEST(waiting_without_the_mutex_is_an_error)
{
	spg_mutex m = SPG_MUTEX_INIT;
	spg_cond c = SPG_COND_INIT;

	T_ERR(spg_cond_wait(&c, &m), -EPERM);
	t_run(1, misuse, NULL);
}
END_TEST

static void wait_once(void *arg)
{
	struct shared *s = arg;
	int mine;

	T_EQ(spg_mutex_lock(&s->mutex), 0);
	mine = s->waiting++;
	T_EQ(spg_cond_wait(&s->cond, &s->mutex), 0);
	s->order[s->order_n++] = mine;
	s->woken++;
	T_EQ(spg_mutex_unlock(&s->mutex), 0);
}

static int read_locked(struct shared *s, const int *what)
{
	int value;

	T_EQ(spg_mutex_lock(&s->mutex), 0);
	value = *what;
	T_EQ(spg_mutex_unlock(&s->mutex), 0);
	return value;
}

static int wake_in_order(void *arg)
{
	struct shared s = { .mutex = SPG_MUTEX_INIT, .cond = SPG_COND_INIT };
	struct crowd crowd;

	(void)arg;
	crowd_start(&crowd, 5, 3, wait_once, &s);
	/* Who has counted itself under the mutex is in the queue when the mutex is free. */
	T_UNTIL(read_locked(&s, &s.waiting) == 8);
	for (int i = 0; i < 4; i++) {
		T_EQ(spg_cond_signal(&s.cond), 0);
		T_UNTIL(read_locked(&s, &s.woken) == i + 1);
	}
	for (int i = 0; i < 100; i++)
		t_relax();
	T_EQ(read_locked(&s, &s.woken), 4);
	for (int i = 0; i < 4; i++)
		T_EQ(s.order[i], i);
	T_EQ(spg_cond_broadcast(&s.cond), 0);
	crowd_wait(&crowd);
	T_EQ(s.woken, 8);
	return 0;
}

/* Goal: a signal wakes the oldest and nobody else; a broadcast wakes all. */
START_TEST(signal_wakes_the_oldest_broadcast_all)
{
	t_run((unsigned)_i, wake_in_order, NULL);
}
END_TEST

static void wait_canceled(void *arg)
{
	struct shared *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);

	T_EQ(spg_mutex_lock(&s->mutex), 0);
	s->waiting++;
	T_ERR(spg_cond_wait(&s->cond, &s->mutex), s->tokens);
	s->woken++;
	/* On entry too. */
	T_ERR(spg_cond_wait(&s->cond, &s->mutex), s->tokens);
	T_EQ(spg_mutex_unlock(&s->mutex), 0);
	spg_ctx_leave(previous);
}

static int cancel_all(void *arg)
{
	struct shared s = { .mutex = SPG_MUTEX_INIT, .cond = SPG_COND_INIT, .tokens = -ECANCELED };
	struct crowd crowd;

	(void)arg;
	s.ctx = spg_ctx_new(NULL);
	crowd_start(&crowd, 10, 2, wait_canceled, &s);
	T_UNTIL(read_locked(&s, &s.waiting) == 12);
	T_EQ(spg_mutex_lock(&s.mutex), 0);
	spg_ctx_cancel(s.ctx);
	for (int i = 0; i < 100; i++)
		t_relax();
	T_EQ(s.woken, 0); /* none returns without the mutex */
	T_EQ(spg_mutex_unlock(&s.mutex), 0);
	crowd_wait(&crowd);
	T_EQ(s.woken, 12);
	spg_ctx_unref(s.ctx);

	s = (struct shared){ .tokens = -ETIMEDOUT, .ctx = spg_ctx_with_timeout(NULL, 2 * SPG_MS) };
	crowd_run(10, 2, wait_canceled, &s);
	spg_ctx_unref(s.ctx);
	return 0;
}

/* Goal: a canceled wait returns its error holding the mutex, always. */
START_TEST(a_canceled_wait_returns_holding_the_mutex)
{
	t_run((unsigned)_i, cancel_all, NULL);
}
END_TEST

static void wait_maybe_canceled(void *arg)
{
	struct shared *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);
	int err;

	T_EQ(spg_mutex_lock(&s->mutex), 0);
	s->waiting++;
	err = spg_cond_wait(&s->cond, &s->mutex);
	T_OK(err == 0 || err == -ECANCELED);
	s->tokens += err == 0;
	s->woken++;
	T_EQ(spg_mutex_unlock(&s->mutex), 0);
	spg_ctx_leave(previous);
}

static void cancel_now(void *arg)
{
	spg_ctx_cancel(arg);
}

static int signal_against_cancel(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	int both = 0;

	for (int i = 0; i < (t_sanitized() ? 100 : 600); i++) {
		struct shared s = { .mutex = SPG_MUTEX_INIT, .cond = SPG_COND_INIT };
		struct crowd loser, winner, canceler;
		bool foreign = (t_random(&state) & 1) != 0;

		s.ctx = spg_ctx_new(NULL);
		crowd_start(&loser, !foreign, foreign, wait_maybe_canceled, &s);
		T_UNTIL(read_locked(&s, &s.waiting) == 1);
		crowd_start(&winner, 1, 0, wait_once, &s);
		T_UNTIL(read_locked(&s, &s.waiting) == 2);
		crowd_start(&canceler, 1, 0, cancel_now, s.ctx);
		if (t_random(&state) & 1)
			spg_yield();
		T_EQ(spg_cond_signal(&s.cond), 0);
		crowd_wait(&canceler);
		crowd_wait(&loser);
		if (s.tokens == 1) { /* it had the signal: the other one needs its own */
			both++;
			T_EQ(spg_cond_signal(&s.cond), 0);
		}
		crowd_wait(&winner);
		T_EQ(s.woken, 2);
		spg_ctx_unref(s.ctx);
	}
	fprintf(stderr, "the signal won %d times\n", both);
	return 0;
}

/* Goal: a signal that meets a cancel wakes the canceled one with 0, or the next: none is lost. */
START_TEST(prop_no_signal_is_lost_to_a_cancel)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, signal_against_cancel, &seed);
}
END_TEST

#define SLOTS 4

struct buffer {
	spg_mutex mutex;
	spg_cond full, empty;
	long slot[SLOTS];
	unsigned head, count;
	_Atomic long put, taken, sum;
	long total;
};

static void produce(void *arg)
{
	struct buffer *b = arg;
	long n;

	while ((n = atomic_fetch_add(&b->put, 1)) < b->total) {
		T_EQ(spg_mutex_lock(&b->mutex), 0);
		while (b->count == SLOTS)
			T_EQ(spg_cond_wait(&b->empty, &b->mutex), 0);
		b->slot[(b->head + b->count++) % SLOTS] = n;
		T_EQ(spg_cond_signal(&b->full), 0);
		T_EQ(spg_mutex_unlock(&b->mutex), 0);
	}
}

static void consume(void *arg)
{
	struct buffer *b = arg;

	while (atomic_fetch_add(&b->taken, 1) < b->total) {
		T_EQ(spg_mutex_lock(&b->mutex), 0);
		while (b->count == 0)
			T_EQ(spg_cond_wait(&b->full, &b->mutex), 0);
		atomic_fetch_add(&b->sum, b->slot[b->head++ % SLOTS]);
		b->count--;
		T_EQ(spg_mutex_unlock(&b->mutex), 0);
		T_EQ(spg_cond_signal(&b->empty), 0);
	}
}

static int bounded_buffer(void *arg)
{
	struct buffer b = { .total = t_sanitized() ? 2000 : 20000 };
	struct crowd producers, consumers;

	(void)arg;
	crowd_start(&producers, 4, 2, produce, &b);
	crowd_start(&consumers, 4, 2, consume, &b);
	crowd_wait(&producers);
	crowd_wait(&consumers);
	T_EQ(b.count, 0);
	T_EQ(atomic_load(&b.sum), b.total * (b.total - 1) / 2);
	return 0;
}

/* Goal: the classic bounded buffer, coroutines and threads on both sides. */
START_TEST(a_bounded_buffer_loses_nothing)
{
	t_run((unsigned)_i, bounded_buffer, NULL);
}
END_TEST

T_MAIN(T_TEST(waiting_without_the_mutex_is_an_error), T_SHARDS(signal_wakes_the_oldest_broadcast_all),
       T_SHARDS(a_canceled_wait_returns_holding_the_mutex), T_SHARDS(prop_no_signal_is_lost_to_a_cancel),
       T_SHARDS(a_bounded_buffer_loses_nothing))
