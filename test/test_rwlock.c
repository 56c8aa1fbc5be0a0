/* The reader-writer lock. */
#include "crowd.h"

struct shared {
	spg_rwlock lock;
	_Atomic int readers, writers, seen_together, step;
	_Atomic bool go;
	_Atomic unsigned seeds;
	uint64_t seed;
	long value, copy;
	int rounds;
	spg_ctx *ctx;
};

static void stay_inside(void *arg)
{
	struct shared *s = arg;

	T_EQ(spg_rwlock_rdlock(&s->lock), 0);
	atomic_fetch_add(&s->readers, 1);
	T_UNTIL(atomic_load(&s->go));
	T_EQ(spg_rwlock_unlock(&s->lock), 0);
}

static int readers_share(void *arg)
{
	struct shared s = { .lock = SPG_RWLOCK_INIT };
	struct crowd crowd;

	(void)arg;
	crowd_start(&crowd, 6, 2, stay_inside, &s);
	T_UNTIL(atomic_load(&s.readers) == 8);
	atomic_store(&s.go, true);
	crowd_wait(&crowd);
	T_EQ(spg_rwlock_wrlock(&s.lock), 0);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	return 0;
}

/* Goal: all readers are inside at once. */
START_TEST(readers_share_the_lock)
{
	t_run((unsigned)_i, readers_share, NULL);
}
END_TEST

static void not_the_writer(void *arg)
{
	struct shared *s = arg;

	T_ERR(spg_rwlock_unlock(&s->lock), -EPERM);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_rwlock_wrlock_ctx(&s->lock), -ETIMEDOUT);
	}
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_rwlock_rdlock_ctx(&s->lock), -ETIMEDOUT);
	}
	T_ERR(spg_rwlock_unlock(&s->lock), -EPERM);
}

static int misuse(void *arg)
{
	struct shared s = { .lock = SPG_RWLOCK_INIT };

	(void)arg;
	T_ERR(spg_rwlock_unlock(&s.lock), -EPERM);
	T_EQ(spg_rwlock_wrlock(&s.lock), 0);
	T_ERR(spg_rwlock_wrlock(&s.lock), -EDEADLK);
	T_ERR(spg_rwlock_wrlock_ctx(&s.lock), -EDEADLK);
	T_ERR(spg_rwlock_rdlock(&s.lock), -EDEADLK);
	T_ERR(spg_rwlock_rdlock_ctx(&s.lock), -EDEADLK);
	if (spg_in_coroutine())
		crowd_run(1, 1, not_the_writer, &s);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	T_ERR(spg_rwlock_unlock(&s.lock), -EPERM);
	T_EQ(spg_rwlock_rdlock_ctx(&s.lock), 0);
	T_EQ(spg_rwlock_rdlock(&s.lock), 0);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	T_ERR(spg_rwlock_unlock(&s.lock), -EPERM);
	return 0;
}

/* Goal: misuse is an error, also without a runtime; a failed lock leaves nothing behind. */
START_TEST(rwlock_misuse_is_an_error)
{
	T_EQ(misuse(NULL), 0);
	t_run(2, misuse, NULL);
}
END_TEST

static void write_once(void *arg)
{
	struct shared *s = arg;

	T_EQ(spg_rwlock_wrlock(&s->lock), 0);
	T_EQ(atomic_load(&s->readers), 0);
	atomic_fetch_add(&s->writers, 1);
	atomic_store(&s->step, 1);
	T_EQ(spg_rwlock_unlock(&s->lock), 0);
}

/* A reader that does not get in within 1 ms: a writer holds or waits. */
static bool reader_is_held_back(struct shared *s)
{
	SPG_TIMEOUT_SCOPE(SPG_MS);
	int err = spg_rwlock_rdlock_ctx(&s->lock);

	if (err == 0)
		T_EQ(spg_rwlock_unlock(&s->lock), 0);
	else
		T_ERR(err, -ETIMEDOUT);
	return err != 0;
}

static int writer_first(void *arg)
{
	(void)arg;
	for (unsigned threads = 0; threads < 2; threads++) {
		struct shared s = { .lock = SPG_RWLOCK_INIT };
		struct crowd writer;

		T_EQ(spg_rwlock_rdlock(&s.lock), 0);
		crowd_start(&writer, 1 - threads, threads, write_once, &s);
		T_UNTIL(reader_is_held_back(&s));
		T_EQ(atomic_load(&s.writers), 0);
		T_EQ(spg_rwlock_unlock(&s.lock), 0);
		crowd_wait(&writer);
		T_OK(!reader_is_held_back(&s));
	}
	return 0;
}

/* Goal: a waiting writer holds back new readers, so no stream of readers starves it. */
START_TEST(a_waiting_writer_holds_back_readers)
{
	t_run((unsigned)_i, writer_first, NULL);
}
END_TEST

static void read_before_second_writer(void *arg)
{
	struct shared *s = arg;

	atomic_fetch_add(&s->readers, 1);
	T_EQ(spg_rwlock_rdlock(&s->lock), 0);
	T_EQ(atomic_load(&s->step), 0);
	atomic_fetch_sub(&s->readers, 1);
	T_EQ(spg_rwlock_unlock(&s->lock), 0);
}

static int readers_between_writers(void *arg)
{
	struct shared s = { .lock = SPG_RWLOCK_INIT };
	struct crowd readers, writer;

	(void)arg;
	T_EQ(spg_rwlock_wrlock(&s.lock), 0);
	crowd_start(&writer, 1, 0, write_once, &s);
	crowd_start(&readers, 5, 0, read_before_second_writer, &s);
	/* One shard: who has counted itself has run on into the queue. */
	T_UNTIL(atomic_load(&s.readers) == 5);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	crowd_wait(&readers);
	crowd_wait(&writer);
	T_EQ(atomic_load(&s.step), 1);
	return 0;
}

/* Goal: a writer that leaves lets in all readers that wait, before the next writer. */
START_TEST(waiting_readers_come_between_two_writers)
{
	t_run(1, readers_between_writers, NULL);
}
END_TEST

static void read_after_writer(void *arg)
{
	struct shared *s = arg;

	atomic_fetch_add(&s->seen_together, 1);
	T_EQ(spg_rwlock_rdlock(&s->lock), 0);
	T_EQ(atomic_load(&s->step), 1);
	T_EQ(spg_rwlock_unlock(&s->lock), 0);
}

static int reader_behind_writer(void *arg)
{
	struct shared s = { .lock = SPG_RWLOCK_INIT };
	struct crowd writer, reader;

	(void)arg;
	T_EQ(spg_rwlock_rdlock(&s.lock), 0);
	crowd_start(&writer, 1, 0, write_once, &s);
	for (int i = 0; i < 10; i++)
		spg_yield(); /* one shard: it runs, and parks in the queue */
	crowd_start(&reader, 3, 0, read_after_writer, &s);
	T_UNTIL(atomic_load(&s.seen_together) == 3);
	T_EQ(atomic_load(&s.step), 0);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	crowd_wait(&reader);
	crowd_wait(&writer);
	return 0;
}

/* Goal: readers that come after a writer read after it, though the lock is held for reading. */
START_TEST(readers_queue_behind_a_waiting_writer)
{
	t_run(1, reader_behind_writer, NULL);
}
END_TEST

static void write_canceled(void *arg)
{
	struct shared *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);

	T_ERR(spg_rwlock_wrlock_ctx(&s->lock), -ECANCELED);
	spg_ctx_leave(previous);
	atomic_fetch_add(&s->writers, 1);
}

static void read_once(void *arg)
{
	struct shared *s = arg;

	T_EQ(spg_rwlock_rdlock(&s->lock), 0);
	atomic_fetch_add(&s->readers, 1);
	T_EQ(spg_rwlock_unlock(&s->lock), 0);
}

static int writer_gives_up(void *arg)
{
	struct shared s = { .lock = SPG_RWLOCK_INIT };
	struct crowd writers, readers;

	(void)arg;
	s.ctx = spg_ctx_new(NULL);
	T_EQ(spg_rwlock_rdlock(&s.lock), 0);
	crowd_start(&writers, 2, 1, write_canceled, &s);
	T_UNTIL(reader_is_held_back(&s));
	crowd_start(&readers, 4, 1, read_once, &s);
	for (int i = 0; i < 100; i++)
		t_relax();
	spg_ctx_cancel(s.ctx);
	/* We still hold the lock for reading: only the writers' leaving lets them in. */
	crowd_wait(&readers);
	crowd_wait(&writers);
	T_EQ(atomic_load(&s.readers), 5);
	T_EQ(atomic_load(&s.writers), 3);
	/* On entry: fails though it could be had; the plain calls never fail. */
	{
		spg_ctx *previous = spg_ctx_enter(s.ctx);

		T_ERR(spg_rwlock_rdlock_ctx(&s.lock), -ECANCELED);
		T_EQ(spg_rwlock_rdlock(&s.lock), 0);
		T_EQ(spg_rwlock_unlock(&s.lock), 0);
		spg_ctx_leave(previous);
	}
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	T_EQ(spg_rwlock_wrlock(&s.lock), 0);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	spg_ctx_unref(s.ctx);
	return 0;
}

/* Goal: writers that are canceled let in the readers they held back. */
START_TEST(a_canceled_writer_lets_readers_in)
{
	t_run((unsigned)_i, writer_gives_up, NULL);
}
END_TEST

static int lock_somehow(spg_rwlock *rw, bool write, uint64_t how)
{
	if (how & 1)
		return write ? spg_rwlock_wrlock(rw) : spg_rwlock_rdlock(rw);
	{
		SPG_TIMEOUT_SCOPE((int64_t)(how >> 8) % (100 * SPG_US));
		return write ? spg_rwlock_wrlock_ctx(rw) : spg_rwlock_rdlock_ctx(rw);
	}
}

static void write_one(struct shared *s, bool pause)
{
	T_EQ(atomic_fetch_add(&s->writers, 1), 0);
	T_EQ(atomic_load(&s->readers), 0);
	s->value++;
	if (pause)
		t_relax();
	s->copy++;
	T_EQ(atomic_fetch_sub(&s->writers, 1), 1);
}

static void read_one(struct shared *s, bool pause)
{
	long before = s->value;

	T_OK(before == s->copy);
	if (atomic_fetch_add(&s->readers, 1) > 0)
		atomic_store(&s->seen_together, 1);
	T_EQ(atomic_load(&s->writers), 0);
	if (pause)
		t_relax();
	T_OK(s->value == before);
	atomic_fetch_sub(&s->readers, 1);
}

static void use_at_random(void *arg)
{
	struct shared *s = arg;
	uint64_t state = s->seed + atomic_fetch_add(&s->seeds, 1) * 0x9E3779B97F4A7C15u;

	for (int i = 0; i < s->rounds; i++) {
		uint64_t random = t_random(&state);
		bool write = (random >> 40) % 4 == 0, pause = (random >> 50) % 4 == 0;

		if (lock_somehow(&s->lock, write, random) < 0)
			continue;
		if (write)
			write_one(s, pause);
		else
			read_one(s, pause);
		T_EQ(spg_rwlock_unlock(&s->lock), 0);
	}
}

static int random_use(void *arg)
{
	struct shared s = { .lock = SPG_RWLOCK_INIT, .rounds = t_sanitized() ? 300 : 3000 };

	(void)arg;
	s.seed = t_seed();
	crowd_run(10, 3, use_at_random, &s);
	T_OK(s.value == s.copy && s.value > 0);
	T_OK(atomic_load(&s.seen_together));
	T_EQ(spg_rwlock_wrlock(&s.lock), 0);
	T_EQ(spg_rwlock_unlock(&s.lock), 0);
	return 0;
}

/* Goal: writers alone, readers never beside them, under random locks, some of which time out. */
START_TEST(prop_readers_and_writers_at_random)
{
	t_run((unsigned)_i, random_use, NULL);
}
END_TEST

static void read_forever(void *arg)
{
	struct shared *s = arg;

	while (!atomic_load(&s->go)) {
		T_EQ(spg_rwlock_rdlock(&s->lock), 0);
		t_relax();
		T_EQ(spg_rwlock_unlock(&s->lock), 0);
	}
}

static int no_starvation(void *arg)
{
	struct shared s = { .lock = SPG_RWLOCK_INIT };
	struct crowd readers;

	(void)arg;
	crowd_start(&readers, 8, 2, read_forever, &s);
	for (int i = 0; i < 200; i++) {
		T_EQ(spg_rwlock_wrlock(&s.lock), 0);
		T_EQ(spg_rwlock_unlock(&s.lock), 0);
	}
	atomic_store(&s.go, true);
	crowd_wait(&readers);
	return 0;
}

/* Goal: readers that overlap without end do not keep a writer out. */
START_TEST(overlapping_readers_do_not_starve_a_writer)
{
	t_run((unsigned)_i, no_starvation, NULL);
}
END_TEST

T_MAIN(T_SHARDS(readers_share_the_lock), T_TEST(rwlock_misuse_is_an_error),
       T_SHARDS(a_waiting_writer_holds_back_readers), T_TEST(waiting_readers_come_between_two_writers),
       T_TEST(readers_queue_behind_a_waiting_writer),
       T_SHARDS(a_canceled_writer_lets_readers_in), T_SHARDS(prop_readers_and_writers_at_random),
       T_SHARDS(overlapping_readers_do_not_starve_a_writer))
