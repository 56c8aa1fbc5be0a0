/* Semaphore, wait group, once, barrier. */
#include "crowd.h"

#include <limits.h>

struct units {
	spg_sem sem;
	_Atomic int inside, most, at_acquire, failed;
	int limit, rounds, expected;
	_Atomic unsigned seeds;
	uint64_t seed;
	spg_ctx *ctx;
	int order[8];
	_Atomic int order_n;
};

static int sem_limits(void *arg)
{
	spg_sem s;

	(void)arg;
	T_ERR(spg_sem_init(&s, -1), -EINVAL);
	T_EQ(spg_sem_init(&s, 2), 0);
	T_EQ(spg_sem_acquire(&s), 0);
	T_EQ(spg_sem_try_acquire(&s), 0);
	T_ERR(spg_sem_try_acquire(&s), -EAGAIN);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_sem_acquire(&s), -ETIMEDOUT);
	}
	T_EQ(spg_sem_release(&s), 0);
	T_EQ(spg_sem_acquire(&s), 0);
	T_ERR(spg_sem_try_acquire(&s), -EAGAIN);
	T_EQ(spg_sem_init(&s, INT_MAX), 0);
	T_ERR(spg_sem_release(&s), -EOVERFLOW);
	T_EQ(spg_sem_acquire(&s), 0);
	T_EQ(spg_sem_release(&s), 0);
	return 0;
}

/* Goal: the count bounds, on a foreign thread without a runtime and in a coroutine. */
START_TEST(a_semaphore_counts_its_units)
{
	T_EQ(sem_limits(NULL), 0);
	t_run(1, sem_limits, NULL);
}
END_TEST

static void acquire_in_order(void *arg)
{
	struct units *u = arg;
	int mine = atomic_fetch_add(&u->at_acquire, 1);

	T_EQ(spg_sem_acquire(&u->sem), 0);
	u->order[atomic_fetch_add(&u->order_n, 1)] = mine;
}

static int sem_fifo(void *arg)
{
	struct units u = { .limit = 0 };
	struct crowd crowd;

	(void)arg;
	T_EQ(spg_sem_init(&u.sem, 0), 0);
	crowd_start(&crowd, 8, 0, acquire_in_order, &u);
	T_UNTIL(atomic_load(&u.at_acquire) == 8);
	for (int i = 0; i < 8; i++) {
		T_EQ(spg_sem_release(&u.sem), 0);
		/* The unit is the oldest waiter's already: nobody overtakes it. */
		T_ERR(spg_sem_try_acquire(&u.sem), -EAGAIN);
		T_UNTIL(atomic_load(&u.order_n) == i + 1);
		T_EQ(u.order[i], i);
	}
	crowd_wait(&crowd);
	return 0;
}

/* Goal: units go to the waiters, first in, first out; no barging. */
START_TEST(a_released_unit_goes_to_the_oldest_waiter)
{
	t_run(1, sem_fifo, NULL);
}
END_TEST

static void acquire_canceled(void *arg)
{
	struct units *u = arg;
	spg_ctx *previous = spg_ctx_enter(u->ctx);

	atomic_fetch_add(&u->at_acquire, 1);
	T_ERR(spg_sem_acquire(&u->sem), -ECANCELED);
	spg_ctx_leave(previous);
}

static int sem_cancel(void *arg)
{
	struct units u = { .limit = 0 };
	struct crowd crowd;

	(void)arg;
	u.ctx = spg_ctx_new(NULL);
	T_EQ(spg_sem_init(&u.sem, 0), 0);
	crowd_start(&crowd, 20, 2, acquire_canceled, &u);
	T_UNTIL(atomic_load(&u.at_acquire) == 22);
	spg_ctx_cancel(u.ctx);
	crowd_wait(&crowd);
	/* On entry even if a unit is there, and none is taken. */
	T_EQ(spg_sem_release(&u.sem), 0);
	acquire_canceled(&u);
	T_EQ(spg_sem_try_acquire(&u.sem), 0);
	spg_ctx_unref(u.ctx);
	return 0;
}

/* Goal: canceled waiters take no unit. */
START_TEST(a_canceled_acquire_takes_nothing)
{
	t_run((unsigned)_i, sem_cancel, NULL);
}
END_TEST

static void acquire_at_random(void *arg)
{
	struct units *u = arg;
	uint64_t state = u->seed + atomic_fetch_add(&u->seeds, 1) * 0x9E3779B97F4A7C15u;

	for (int i = 0; i < u->rounds; i++) {
		uint64_t random = t_random(&state);
		int err;

		if (random % 4 == 0) {
			err = spg_sem_try_acquire(&u->sem);
		} else if (random % 4 == 1) {
			SPG_TIMEOUT_SCOPE((int64_t)(random >> 8) % (50 * SPG_US));
			err = spg_sem_acquire(&u->sem);
		} else {
			err = spg_sem_acquire(&u->sem);
		}
		if (err < 0) {
			T_OK(err == -EAGAIN || err == -ETIMEDOUT);
			continue;
		}
		T_OK(atomic_fetch_add(&u->inside, 1) < u->limit);
		if (random >> 40 & 1)
			t_relax();
		atomic_fetch_sub(&u->inside, 1);
		T_EQ(spg_sem_release(&u->sem), 0);
	}
}

static int sem_random(void *arg)
{
	struct units u = { .limit = 3, .rounds = t_sanitized() ? 300 : 3000 };

	(void)arg;
	u.seed = t_seed();
	T_EQ(spg_sem_init(&u.sem, u.limit), 0);
	crowd_run(10, 3, acquire_at_random, &u);
	for (int i = 0; i < u.limit; i++)
		T_EQ(spg_sem_try_acquire(&u.sem), 0);
	T_ERR(spg_sem_try_acquire(&u.sem), -EAGAIN);
	return 0;
}

/* Goal: never more holders than units, and all units are there in the end. */
START_TEST(prop_units_are_conserved)
{
	t_run((unsigned)_i, sem_random, NULL);
}
END_TEST

static int wg_misuse(void *arg)
{
	spg_wg w = SPG_WG_INIT;

	(void)arg;
	T_EQ(spg_wg_wait(&w), 0);
	T_ERR(spg_wg_done(&w), -EINVAL);
	T_ERR(spg_wg_add(&w, -1), -EINVAL);
	T_EQ(spg_wg_add(&w, 3), 0);
	T_ERR(spg_wg_add(&w, -4), -EINVAL);
	T_ERR(spg_wg_add(&w, INT_MIN), -EINVAL);
	T_EQ(spg_wg_add(&w, -2), 0);
	T_EQ(spg_wg_add(&w, 0), 0);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_wg_wait(&w), -ETIMEDOUT);
	}
	T_EQ(spg_wg_done(&w), 0);
	T_EQ(spg_wg_wait(&w), 0);
	T_EQ(spg_wg_add(&w, INT_MAX), 0);
	T_ERR(spg_wg_add(&w, 1), -EOVERFLOW);
	T_EQ(spg_wg_add(&w, -INT_MAX), 0);
	T_EQ(spg_wg_wait(&w), 0);
	return 0;
}

/* Goal: below zero and above INT_MAX are errors without effect. */
START_TEST(a_wait_group_never_falls_below_zero)
{
	T_EQ(wg_misuse(NULL), 0);
	t_run(1, wg_misuse, NULL);
}
END_TEST

struct fan {
	spg_wg wg, at_wait;
	_Atomic int done, waited;
	int expected;
	spg_ctx *ctx;
};

static void wait_for_all(void *arg)
{
	struct fan *f = arg;

	T_EQ(spg_wg_done(&f->at_wait), 0);
	T_EQ(spg_wg_wait(&f->wg), 0);
	T_EQ(atomic_load(&f->done), f->expected);
	atomic_fetch_add(&f->waited, 1);
}

static void finish_one(void *arg)
{
	struct fan *f = arg;

	t_relax();
	atomic_fetch_add(&f->done, 1);
	T_EQ(spg_wg_done(&f->wg), 0);
}

static int wg_many(void *arg)
{
	struct fan f = { .expected = 0 };

	(void)arg;
	for (int round = 0; round < 20; round++) {
		struct crowd waiters, workers;

		f.expected += 103;
		T_EQ(spg_wg_add(&f.wg, 103), 0);
		T_EQ(spg_wg_add(&f.at_wait, 7), 0);
		crowd_start(&waiters, 5, 2, wait_for_all, &f);
		T_EQ(spg_wg_wait(&f.at_wait), 0);
		crowd_start(&workers, 100, 3, finish_one, &f);
		crowd_wait(&workers);
		crowd_wait(&waiters);
	}
	T_EQ(atomic_load(&f.waited), 20 * 7);
	return 0;
}

/* Goal: all waiters return, and not before the last done; the group can be used again. */
START_TEST(a_wait_group_releases_all_waiters)
{
	t_run((unsigned)_i, wg_many, NULL);
}
END_TEST

static void wait_canceled(void *arg)
{
	struct fan *f = arg;
	spg_ctx *previous = spg_ctx_enter(f->ctx);

	T_EQ(spg_wg_done(&f->at_wait), 0);
	T_ERR(spg_wg_wait(&f->wg), -ECANCELED);
	spg_ctx_leave(previous);
}

static int wg_cancel(void *arg)
{
	struct fan f = { .expected = 1 };
	struct crowd canceled, patient;

	(void)arg;
	f.ctx = spg_ctx_new(NULL);
	T_EQ(spg_wg_add(&f.wg, 1), 0);
	T_EQ(spg_wg_add(&f.at_wait, 15), 0);
	crowd_start(&canceled, 10, 2, wait_canceled, &f);
	crowd_start(&patient, 2, 1, wait_for_all, &f);
	T_EQ(spg_wg_wait(&f.at_wait), 0);
	spg_ctx_cancel(f.ctx);
	crowd_wait(&canceled);
	T_EQ(atomic_load(&f.waited), 0);
	finish_one(&f);
	crowd_wait(&patient);
	spg_ctx_unref(f.ctx);
	return 0;
}

/* Goal: a canceled waiter leaves; the others still wait for the last done. */
START_TEST(a_canceled_wait_leaves_the_group_as_it_is)
{
	t_run((unsigned)_i, wg_cancel, NULL);
}
END_TEST

#define PATTERN 0xA5A5A5A5A5A5A5A5u

struct gone {
	spg_wg *wg;
	_Atomic int left;
};

static void done_and_leave(void *arg)
{
	struct gone *g = arg;

	T_EQ(spg_wg_done(g->wg), 0);
	atomic_fetch_sub(&g->left, 1);
}

static int wg_vanish(void *arg)
{
	(void)arg;
	for (int i = 0; i < (t_sanitized() ? 100 : 400); i++) {
		struct gone g = { .wg = calloc(1, sizeof(spg_wg)), .left = 4 };
		struct crowd crowd;

		T_EQ(spg_wg_add(g.wg, 4), 0);
		crowd_start(&crowd, 3, 1, done_and_leave, &g);
		T_EQ(spg_wg_wait(g.wg), 0);
		for (int k = 0; k < 4; k++)
			g.wg->spg__word[k] = PATTERN;
		T_UNTIL(atomic_load(&g.left) == 0);
		for (int k = 0; k < 4; k++)
			T_OK(g.wg->spg__word[k] == PATTERN);
		free(g.wg);
		crowd_wait(&crowd);
	}
	return 0;
}

/* Goal: the last done does not touch the group once a waiter may have returned. */
START_TEST(a_wait_group_may_vanish_when_its_wait_returns)
{
	t_run((unsigned)_i, wg_vanish, NULL);
}
END_TEST

struct single {
	spg_once once;
	_Atomic int runs, at_do, returned;
	_Atomic bool go;
	int nested;
	spg_ctx *ctx;
};

static void slow_init(void *arg)
{
	struct single *s = arg;

	atomic_fetch_add(&s->runs, 1);
	s->nested = spg_once_do(&s->once, slow_init, s);
	T_UNTIL(atomic_load(&s->go));
}

static void do_once(void *arg)
{
	struct single *s = arg;

	atomic_fetch_add(&s->at_do, 1);
	T_EQ(spg_once_do(&s->once, slow_init, s), 0);
	T_EQ(atomic_load(&s->runs), 1);
	T_OK(atomic_load(&s->go));
	atomic_fetch_add(&s->returned, 1);
}

static void do_once_canceled(void *arg)
{
	struct single *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);

	atomic_fetch_add(&s->at_do, 1);
	T_ERR(spg_once_do(&s->once, slow_init, s), -ECANCELED);
	spg_ctx_leave(previous);
}

static int once_main(void *arg)
{
	struct single s = { .once = SPG_ONCE_INIT };
	struct crowd crowd, canceled;

	(void)arg;
	T_ERR(spg_once_do(&s.once, NULL, NULL), -EINVAL);
	crowd_start(&crowd, 8, 3, do_once, &s);
	T_UNTIL(atomic_load(&s.at_do) == 11 && atomic_load(&s.runs) == 1);
	s.ctx = spg_ctx_new(NULL);
	crowd_start(&canceled, 4, 1, do_once_canceled, &s);
	T_UNTIL(atomic_load(&s.at_do) == 16);
	spg_ctx_cancel(s.ctx);
	crowd_wait(&canceled);
	T_EQ(atomic_load(&s.returned), 0);
	atomic_store(&s.go, true);
	crowd_wait(&crowd);
	T_EQ(s.nested, -EDEADLK);
	T_EQ(spg_once_do(&s.once, slow_init, &s), 0);
	T_EQ(atomic_load(&s.runs), 1);
	spg_ctx_unref(s.ctx);
	return 0;
}

/* Goal: fn runs once; the others return after it; from fn itself it is an error; a wait can be canceled. */
START_TEST(once_runs_once_and_all_wait_for_it)
{
	t_run((unsigned)_i, once_main, NULL);
}
END_TEST

static void count_run(void *arg)
{
	++*(int *)arg;
}

/* Goal: no runtime is needed. */
START_TEST(once_works_without_a_runtime)
{
	spg_once once = SPG_ONCE_INIT;
	int runs = 0;

	T_EQ(spg_once_do(&once, count_run, &runs), 0);
	T_EQ(spg_once_do(&once, count_run, &runs), 0);
	T_EQ(runs, 1);
}
END_TEST

struct seen {
	spg_once *once;
	_Atomic int left;
	_Atomic bool let_go;
};

static void mark_runner(void *arg)
{
	*(bool *)arg = true;
	t_relax();
}

static void last_takes_once_away(void *arg)
{
	struct seen *s = arg;
	bool runner = false;

	T_EQ(spg_once_do(s->once, mark_runner, &runner), 0);
	if (runner) {
		T_UNTIL(atomic_load(&s->let_go));
		for (int k = 0; k < 4; k++)
			T_OK(s->once->spg__word[k] == PATTERN);
	} else if (atomic_fetch_sub(&s->left, 1) == 1) {
		for (int k = 0; k < 4; k++)
			s->once->spg__word[k] = PATTERN;
		atomic_store(&s->let_go, true);
	}
}

static int once_vanish(void *arg)
{
	(void)arg;
	for (int i = 0; i < (t_sanitized() ? 100 : 400); i++) {
		struct seen s = { .once = calloc(1, sizeof(spg_once)), .left = 3 };

		crowd_run(2, 2, last_takes_once_away, &s);
		free(s.once);
	}
	return 0;
}

/* Goal: the runner writes nothing once the others may have seen it done. */
START_TEST(once_may_vanish_when_all_have_seen_it_done)
{
	t_run((unsigned)_i, once_vanish, NULL);
}
END_TEST

struct rounds {
	spg_barrier barrier;
	_Atomic int arrived, serial;
	int parties, rounds;
	spg_ctx *ctx;
};

static void pass_rounds(void *arg)
{
	struct rounds *r = arg;

	for (int i = 1; i <= r->rounds; i++) {
		int last;

		atomic_fetch_add(&r->arrived, 1);
		last = spg_barrier_wait(&r->barrier);
		T_OK(last == 0 || last == 1);
		atomic_fetch_add(&r->serial, last);
		/* All of this round have come; nobody is more than one round ahead. */
		T_OK(atomic_load(&r->arrived) >= i * r->parties);
		T_OK(atomic_load(&r->arrived) <= (i + 1) * r->parties);
	}
}

static int barrier_rounds(void *arg)
{
	struct rounds r = { .parties = 9, .rounds = t_sanitized() ? 100 : 1000 };

	(void)arg;
	T_ERR(spg_barrier_wait(&r.barrier), -EINVAL);
	T_ERR(spg_barrier_init(&r.barrier, 0), -EINVAL);
	T_EQ(spg_barrier_init(&r.barrier, 9), 0);
	crowd_run(6, 3, pass_rounds, &r);
	T_EQ(atomic_load(&r.serial), r.rounds);
	T_EQ(spg_barrier_init(&r.barrier, 1), 0);
	T_EQ(spg_barrier_wait(&r.barrier), 1);
	return 0;
}

/* Goal: no one passes before all have come, one a round gets 1, and round follows round. */
START_TEST(a_barrier_holds_round_after_round)
{
	t_run((unsigned)_i, barrier_rounds, NULL);
}
END_TEST

static void leave_barrier(void *arg)
{
	struct rounds *r = arg;
	spg_ctx *previous = spg_ctx_enter(r->ctx);

	atomic_fetch_add(&r->arrived, 1);
	T_ERR(spg_barrier_wait(&r->barrier), -ECANCELED);
	spg_ctx_leave(previous);
}

static int barrier_cancel(void *arg)
{
	struct rounds r = { .parties = 4, .rounds = 1 };
	struct crowd canceled, passing;

	(void)arg;
	T_EQ(spg_barrier_init(&r.barrier, 4), 0);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_barrier_wait(&r.barrier), -ETIMEDOUT);
	}
	r.ctx = spg_ctx_new(NULL);
	crowd_start(&canceled, 2, 1, leave_barrier, &r);
	T_UNTIL(atomic_load(&r.arrived) == 3);
	spg_ctx_cancel(r.ctx);
	crowd_wait(&canceled);
	atomic_store(&r.arrived, 0);
	crowd_start(&passing, 2, 1, pass_rounds, &r);
	T_UNTIL(atomic_load(&r.arrived) == 3);
	for (int i = 0; i < 100; i++)
		t_relax();
	T_EQ(atomic_load(&r.serial), 0);
	pass_rounds(&r);
	crowd_wait(&passing);
	T_EQ(atomic_load(&r.serial), 1);
	spg_ctx_unref(r.ctx);
	return 0;
}

/* Goal: who is canceled leaves uncounted: the barrier still waits for all of its parties. */
START_TEST(a_canceled_waiter_leaves_the_barrier_uncounted)
{
	t_run((unsigned)_i, barrier_cancel, NULL);
}
END_TEST

T_MAIN(T_TEST(a_semaphore_counts_its_units), T_TEST(a_released_unit_goes_to_the_oldest_waiter),
       T_SHARDS(a_canceled_acquire_takes_nothing), T_SHARDS(prop_units_are_conserved),
       T_TEST(a_wait_group_never_falls_below_zero), T_SHARDS(a_wait_group_releases_all_waiters),
       T_SHARDS(a_canceled_wait_leaves_the_group_as_it_is),
       T_SHARDS(a_wait_group_may_vanish_when_its_wait_returns), T_SHARDS(once_runs_once_and_all_wait_for_it),
       T_TEST(once_works_without_a_runtime), T_SHARDS(once_may_vanish_when_all_have_seen_it_done),
       T_SHARDS(a_barrier_holds_round_after_round), T_SHARDS(a_canceled_waiter_leaves_the_barrier_uncounted))
