/* The mutex and the condition variable. */
#include "crowd.h"

/* Of the mutex's first word: somebody waits in its queue. */
static bool has_waiters(spg_mutex *m)
{
	return (__atomic_load_n(&m->spg__word[0], __ATOMIC_ACQUIRE) & 1) != 0;
}

struct counted {
	spg_mutex mutex;
	long count;
	_Atomic int inside;
	_Atomic unsigned seeds;
	uint64_t seed;
	int rounds;
};

static void count_up(void *arg)
{
	struct counted *c = arg;

	for (int i = 0; i < c->rounds; i++) {
		T_EQ(spg_mutex_lock(&c->mutex), 0);
		T_EQ(atomic_fetch_add(&c->inside, 1), 0);
		c->count++;
		if (i % 16 == 0)
			t_relax();
		atomic_fetch_sub(&c->inside, 1);
		T_EQ(spg_mutex_unlock(&c->mutex), 0);
	}
}

static int excludes(void *arg)
{
	struct counted c = { .mutex = SPG_MUTEX_INIT, .rounds = t_sanitized() ? 300 : 3000 };

	(void)arg;
	crowd_run(8, 3, count_up, &c);
	T_EQ(c.count, 11L * c.rounds);
	T_EQ(spg_mutex_trylock(&c.mutex), 0);
	return 0;
}

/* Goal: one at a time, coroutines and foreign threads mixed, also over a yield. */
START_TEST(a_mutex_excludes_coroutines_and_threads)
{
	t_run((unsigned)_i, excludes, NULL);
}
END_TEST

static void not_my_mutex(void *arg)
{
	T_ERR(spg_mutex_unlock(arg), -EPERM);
	T_ERR(spg_mutex_trylock(arg), -EBUSY);
}

static int misuse(void *arg)
{
	spg_mutex m = SPG_MUTEX_INIT;

	(void)arg;
	T_ERR(spg_mutex_unlock(&m), -EPERM);
	T_EQ(spg_mutex_lock(&m), 0);
	T_ERR(spg_mutex_lock(&m), -EDEADLK);
	T_ERR(spg_mutex_lock_ctx(&m), -EDEADLK);
	T_ERR(spg_mutex_trylock(&m), -EDEADLK);
	crowd_run(1, 1, not_my_mutex, &m);
	T_EQ(spg_mutex_unlock(&m), 0);
	T_ERR(spg_mutex_unlock(&m), -EPERM);
	T_EQ(spg_mutex_lock_ctx(&m), 0);
	T_EQ(spg_mutex_unlock(&m), 0);
	return 0;
}

/* Goal: misuse is an error, in a coroutine and without any runtime. */
START_TEST(mutex_misuse_is_an_error)
{
	spg_mutex m = SPG_MUTEX_INIT;

	T_ERR(spg_mutex_unlock(&m), -EPERM);
	T_EQ(spg_mutex_trylock(&m), 0);
	T_ERR(spg_mutex_lock(&m), -EDEADLK);
	T_EQ(spg_mutex_unlock(&m), 0);
	t_run(2, misuse, NULL);
}
END_TEST

static int context_ends(void *arg)
{
	spg_mutex m = SPG_MUTEX_INIT;
	spg_ctx *ctx = spg_ctx_new(NULL), *previous = spg_ctx_enter(ctx);

	(void)arg;
	spg_ctx_cancel(ctx);
	T_EQ(spg_mutex_lock(&m), 0);
	T_EQ(spg_mutex_unlock(&m), 0);
	T_ERR(spg_mutex_lock_ctx(&m), -ECANCELED);
	T_ERR(spg_mutex_unlock(&m), -EPERM);
	T_EQ(spg_mutex_trylock(&m), 0);
	T_EQ(spg_mutex_unlock(&m), 0);
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: an ended context fails lock_ctx on entry, and lock and trylock never. */
START_TEST(only_lock_ctx_heeds_the_context)
{
	t_run((unsigned)_i, context_ends, NULL);
}
END_TEST

struct canceled {
	spg_mutex mutex;
	spg_ctx *ctx;
	int expected;
	_Atomic int at_lock;
};

static void lock_until_canceled(void *arg)
{
	struct canceled *c = arg;
	spg_ctx *previous = spg_ctx_enter(c->ctx);

	atomic_fetch_add(&c->at_lock, 1);
	T_ERR(spg_mutex_lock_ctx(&c->mutex), c->expected);
	T_ERR(spg_mutex_unlock(&c->mutex), -EPERM);
	spg_ctx_leave(previous);
}

static void lock_through(void *arg)
{
	struct canceled *c = arg;

	T_EQ(spg_mutex_lock(&c->mutex), 0);
	T_EQ(spg_mutex_unlock(&c->mutex), 0);
}

static int cancel_waiters(void *arg)
{
	struct canceled c = { .mutex = SPG_MUTEX_INIT, .expected = -ECANCELED };
	struct crowd canceled, patient;

	(void)arg;
	c.ctx = spg_ctx_new(NULL);
	T_EQ(spg_mutex_lock(&c.mutex), 0);
	crowd_start(&canceled, 20, 2, lock_until_canceled, &c);
	crowd_start(&patient, 5, 1, lock_through, &c);
	T_UNTIL(atomic_load(&c.at_lock) == 22 && has_waiters(&c.mutex));
	spg_ctx_cancel(c.ctx);
	crowd_wait(&canceled);
	T_EQ(spg_mutex_unlock(&c.mutex), 0);
	crowd_wait(&patient);
	spg_ctx_unref(c.ctx);

	/* The same by a deadline. */
	c.ctx = spg_ctx_with_timeout(NULL, 3 * SPG_MS);
	c.expected = -ETIMEDOUT;
	T_EQ(spg_mutex_lock(&c.mutex), 0);
	crowd_run(20, 2, lock_until_canceled, &c);
	T_EQ(spg_mutex_unlock(&c.mutex), 0);
	T_OK(!has_waiters(&c.mutex));
	spg_ctx_unref(c.ctx);
	return 0;
}

/* Goal: canceled waiters leave without the lock; those who wait on get it. */
START_TEST(canceled_waiters_leave_the_queue)
{
	t_run((unsigned)_i, cancel_waiters, NULL);
}
END_TEST

struct handed {
	spg_mutex mutex;
	_Atomic bool locked, release;
};

static void lock_and_hold(void *arg)
{
	struct handed *h = arg;

	T_EQ(spg_mutex_lock(&h->mutex), 0);
	atomic_store(&h->locked, true);
	T_UNTIL(atomic_load(&h->release));
	T_EQ(spg_mutex_unlock(&h->mutex), 0);
}

static int hand_over(void *arg)
{
	(void)arg;
	for (unsigned threads = 0; threads < 2; threads++) {
		struct handed h = { .mutex = SPG_MUTEX_INIT };
		struct crowd crowd;

		T_EQ(spg_mutex_lock(&h.mutex), 0);
		crowd_start(&crowd, 1 - threads, threads, lock_and_hold, &h);
		T_UNTIL(has_waiters(&h.mutex));
		crowd_spin(2 * SPG_MS);
		T_EQ(spg_mutex_unlock(&h.mutex), 0);
		T_ERR(spg_mutex_trylock(&h.mutex), -EBUSY);
		atomic_store(&h.release, true);
		crowd_wait(&crowd);
		T_OK(atomic_load(&h.locked));
	}
	return 0;
}

/* Goal: who has waited for more than 1 ms gets the lock with the unlock; nobody barges in. */
START_TEST(a_waiter_past_1_ms_is_handed_the_lock)
{
	t_run((unsigned)_i, hand_over, NULL);
}
END_TEST

static int barge(void *arg)
{
	bool barged = false;

	(void)arg;
	/* Where the CPU is taken away for 1 ms, the lock is handed over: try again. */
	for (int i = 0; i < 200 && !barged; i++) {
		struct handed h = { .mutex = SPG_MUTEX_INIT, .release = true };
		struct crowd crowd;

		T_EQ(spg_mutex_lock(&h.mutex), 0);
		crowd_start(&crowd, 1, 0, lock_and_hold, &h);
		T_UNTIL(has_waiters(&h.mutex));
		T_EQ(spg_mutex_unlock(&h.mutex), 0);
		barged = spg_mutex_trylock(&h.mutex) == 0;
		if (barged) {
			T_OK(!atomic_load(&h.locked));
			T_EQ(spg_mutex_unlock(&h.mutex), 0);
		}
		crowd_wait(&crowd);
	}
	T_OK(barged);
	return 0;
}

/* Goal: a fresh waiter does not stop the running coroutine from locking again. */
START_TEST(a_fresh_waiter_can_be_overtaken)
{
	t_run(1, barge, NULL);
}
END_TEST

struct hog {
	spg_mutex mutex;
	_Atomic bool stop;
	_Atomic long hogged;
};

static void hog_main(void *arg)
{
	struct hog *h = arg;

	while (!atomic_load(&h->stop)) {
		T_EQ(spg_mutex_lock(&h->mutex), 0);
		crowd_spin(50 * SPG_US);
		atomic_fetch_add(&h->hogged, 1);
		T_EQ(spg_mutex_unlock(&h->mutex), 0);
	}
}

static int starve(void *arg)
{
	struct hog h = { .mutex = SPG_MUTEX_INIT };
	struct crowd crowd;

	(void)arg;
	crowd_start(&crowd, 0, 2, hog_main, &h);
	T_UNTIL(atomic_load(&h.hogged) > 0);
	for (int i = 0; i < 50; i++) {
		T_EQ(spg_mutex_lock(&h.mutex), 0);
		T_EQ(spg_mutex_unlock(&h.mutex), 0);
	}
	atomic_store(&h.stop, true);
	crowd_wait(&crowd);
	return 0;
}

/* Goal: two threads that do nothing but lock again cannot keep a coroutine out. */
START_TEST(hogs_do_not_starve_a_waiter)
{
	t_run((unsigned)_i, starve, NULL);
}
END_TEST

struct ordered {
	spg_mutex mutex;
	int next, order[8];
	_Atomic int started;
};

static void record_order(void *arg)
{
	struct ordered *o = arg;
	int mine = atomic_fetch_add(&o->started, 1);

	T_EQ(spg_mutex_lock(&o->mutex), 0);
	o->order[o->next++] = mine;
	T_EQ(spg_mutex_unlock(&o->mutex), 0);
}

static int fifo(void *arg)
{
	struct ordered o = { .mutex = SPG_MUTEX_INIT };
	struct crowd crowd;

	(void)arg;
	T_EQ(spg_mutex_lock(&o.mutex), 0);
	crowd_start(&crowd, 8, 0, record_order, &o);
	T_UNTIL(atomic_load(&o.started) == 8);
	T_EQ(spg_mutex_unlock(&o.mutex), 0);
	crowd_wait(&crowd);
	for (int i = 0; i < 8; i++)
		T_EQ(o.order[i], i);
	return 0;
}

/* Goal: first in, first out. */
START_TEST(mutex_waiters_are_served_in_order)
{
	t_run(1, fifo, NULL);
}
END_TEST

static int overtaken(void *arg)
{
	bool barged = false;

	(void)arg;
	for (int i = 0; i < 200 && !barged; i++) {
		struct ordered o = { .mutex = SPG_MUTEX_INIT };
		struct crowd crowd;

		T_EQ(spg_mutex_lock(&o.mutex), 0);
		crowd_start(&crowd, 3, 0, record_order, &o);
		T_UNTIL(atomic_load(&o.started) == 3);
		T_EQ(spg_mutex_unlock(&o.mutex), 0);
		barged = spg_mutex_trylock(&o.mutex) == 0;
		if (barged) {
			/* The first one finds the mutex locked again and waits once more. */
			for (int k = 0; k < 10; k++)
				spg_yield();
			T_EQ(spg_mutex_unlock(&o.mutex), 0);
		}
		crowd_wait(&crowd);
		for (int k = 0; k < 3; k++)
			T_EQ(o.order[k], k);
	}
	T_OK(barged);
	return 0;
}

/* Goal: who was woken and overtaken goes back to the head of the queue, not to its end. */
START_TEST(an_overtaken_waiter_keeps_its_place)
{
	t_run(1, overtaken, NULL);
}
END_TEST

#define PATTERN 0xA5A5A5A5A5A5A5A5u

struct vanishing {
	spg_mutex *mutex;
	_Atomic int users, through;
};

static void last_one_takes_it_away(void *arg)
{
	struct vanishing *v = arg;

	T_EQ(spg_mutex_lock(v->mutex), 0);
	if (--v->users > 0) {
		T_EQ(spg_mutex_unlock(v->mutex), 0);
		atomic_fetch_add(&v->through, 1);
		return;
	}
	T_EQ(spg_mutex_unlock(v->mutex), 0);
	for (int i = 0; i < 4; i++)
		v->mutex->spg__word[i] = PATTERN;
	T_UNTIL(atomic_load(&v->through) == 3);
	for (int i = 0; i < 4; i++)
		T_OK(v->mutex->spg__word[i] == PATTERN);
}

static int vanish(void *arg)
{
	(void)arg;
	for (int i = 0; i < (t_sanitized() ? 100 : 1000); i++) {
		struct vanishing v = { .mutex = calloc(1, sizeof(spg_mutex)), .users = 4 };

		crowd_run(2, 2, last_one_takes_it_away, &v);
		free(v.mutex);
	}
	return 0;
}

/* Goal: no unlock touches the mutex once the next owner could have let it go. */
START_TEST(a_mutex_may_vanish_after_the_last_unlock)
{
	t_run((unsigned)_i, vanish, NULL);
}
END_TEST

static int lock_somehow(spg_mutex *m, uint64_t how)
{
	switch (how % 4) {
	case 0:
		return spg_mutex_trylock(m);
	case 1: {
		SPG_TIMEOUT_SCOPE((int64_t)(how >> 8) % (50 * SPG_US));
		return spg_mutex_lock_ctx(m);
	}
	default:
		return spg_mutex_lock(m);
	}
}

static void lock_at_random(void *arg)
{
	struct counted *c = arg;
	uint64_t state = c->seed + atomic_fetch_add(&c->seeds, 1) * 0x9E3779B97F4A7C15u;

	for (int i = 0; i < c->rounds; i++) {
		uint64_t random = t_random(&state);
		int err = lock_somehow(&c->mutex, random);

		if (err != 0) {
			T_OK(err == -EBUSY || err == -ETIMEDOUT);
			T_ERR(spg_mutex_unlock(&c->mutex), -EPERM);
			continue;
		}
		T_EQ(atomic_fetch_add(&c->inside, 1), 0);
		c->count++;
		if (random >> 32 & 1)
			t_relax();
		T_EQ(atomic_fetch_sub(&c->inside, 1), 1);
		c->count--;
		T_EQ(spg_mutex_unlock(&c->mutex), 0);
	}
}

static int random_locks(void *arg)
{
	struct counted c = { .mutex = SPG_MUTEX_INIT, .rounds = t_sanitized() ? 300 : 2000 };

	(void)arg;
	c.seed = t_seed();
	crowd_run(10, 3, lock_at_random, &c);
	T_EQ(c.count, 0);
	T_EQ(c.mutex.spg__word[0], 0);
	return 0;
}

/* Goal: any mix of lock, trylock and lock_ctx that times out keeps the lock whole, and leaves it free. */
START_TEST(prop_locks_at_random)
{
	t_run((unsigned)_i, random_locks, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_mutex_excludes_coroutines_and_threads), T_TEST(mutex_misuse_is_an_error),
       T_SHARDS(only_lock_ctx_heeds_the_context), T_SHARDS(canceled_waiters_leave_the_queue),
       T_SHARDS(a_waiter_past_1_ms_is_handed_the_lock), T_TEST(a_fresh_waiter_can_be_overtaken),
       T_SHARDS(hogs_do_not_starve_a_waiter), T_TEST(mutex_waiters_are_served_in_order),
       T_TEST(an_overtaken_waiter_keeps_its_place),
       T_SHARDS(a_mutex_may_vanish_after_the_last_unlock), T_SHARDS(prop_locks_at_random))
