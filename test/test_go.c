/*
 * Coroutines from the outside: spawning, placement, joining, yielding, local values.
 */
#include "t.h"

#include <pthread.h>

static _Atomic int count;

static void add_one(void *arg)
{
	atomic_fetch_add(&count, arg == NULL ? 1 : *(int *)arg);
}

static void *add_one_start(void *arg)
{
	atomic_fetch_add(&count, 1);
	return arg;
}

static int spawn_thousands(void *arg)
{
	(void)arg;
	atomic_store(&count, 0);
	for (int i = 0; i < 5000; i++) {
		T_EQ(spg_go(add_one, NULL), 0);
		T_EQ(spg_go(add_one_start, NULL), 0);
	}
	T_UNTIL(atomic_load(&count) == 10000);
	return 0;
}

/* Goal: both kinds of functions run, all of them, however many queue up. */
START_TEST(everything_spawned_runs)
{
	t_run((unsigned)_i, spawn_thousands, NULL);
}
END_TEST

struct copied {
	int values[100];
	int *sum;
};

static _Atomic int copies_ok;

static void check_copy(void *arg)
{
	struct copied *c = arg;

	for (int i = 0; i < 100; i++)
		T_EQ(c->values[i], i);
	atomic_fetch_add(&copies_ok, 1);
}

static int copy_and_overwrite(void *arg)
{
	struct copied c;

	(void)arg;
	atomic_store(&copies_ok, 0);
	for (int i = 0; i < 100; i++)
		c.values[i] = i;
	for (int i = 0; i < 50; i++)
		T_EQ(spg_go_copy(check_copy, &c, sizeof(c)), 0);
	memset(&c, 0xFF, sizeof(c));
	T_UNTIL(atomic_load(&copies_ok) == 50);
	T_EQ(spg_go_copy(add_one, NULL, 1), -EINVAL);
	T_EQ(spg_go_copy(NULL, &c, 1), -EINVAL);
	return 0;
}

/* Goal: a copy is the child's own. */
START_TEST(a_copy_is_private)
{
	t_run((unsigned)_i, copy_and_overwrite, NULL);
}
END_TEST

static void *where(void *arg)
{
	int first = spg_shard();

	(void)arg;
	for (int i = 0; i < 200; i++) {
		spg_yield();
		if (spg_shard() != first)
			return (void *)-1;
	}
	return (void *)(intptr_t)first;
}

static int place_everywhere(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	void *result;
	int shards = spg_shards();

	(void)arg;
	for (int s = 0; s < shards; s++) {
		attr.place = SPG_PIN(s);
		T_EQ(spg_join(spg_spawn(&attr, where, NULL), &result), 0);
		T_EQ((intptr_t)result, s);
	}
	attr.place = SPG_PIN(shards);
	T_OK(spg_spawn(&attr, where, NULL) == NULL);
	T_EQ(spg_go_attr(&attr, add_one, NULL), -EINVAL);
	attr.place = SPG_PREFER(shards);
	T_EQ(spg_go_attr(&attr, add_one, NULL), -EINVAL);
	for (uint64_t key = 0; key < 50; key++) {
		void *again;

		attr.place = SPG_STICKY(key);
		T_EQ(spg_join(spg_spawn(&attr, where, NULL), &result), 0);
		T_EQ(spg_join(spg_spawn(&attr, where, NULL), &again), 0);
		T_OK((intptr_t)result >= 0 && result == again);
	}
	return 0;
}

/* Goal: pinned stays, sticky is stable, a shard that is not there is refused. */
START_TEST(placement_is_kept)
{
	t_run((unsigned)_i, place_everywhere, NULL);
}
END_TEST

static void *shard_now(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)spg_shard();
}

static int spread(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	int seen[4] = { 0 }, shards = spg_shards();

	(void)arg;
	attr.place = SPG_SPREAD;
	for (int i = 0; i < 400; i++) {
		void *result;

		T_EQ(spg_join(spg_spawn(&attr, shard_now, NULL), &result), 0);
		seen[(intptr_t)result]++;
	}
	for (int s = 0; s < shards; s++)
		T_OK(seen[s] > 0);
	return 0;
}

/* Goal: spread coroutines reach every shard. */
START_TEST(spread_reaches_every_shard)
{
	t_run((unsigned)_i, spread, NULL);
}
END_TEST

static int pin_self(void *arg)
{
	int shard = spg_shard();

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	for (int i = 0; i < 100; i++) {
		T_EQ(spg_go(add_one, NULL), 0);
		spg_yield();
		T_EQ(spg_shard(), shard);
	}
	T_EQ(spg_unpin_self(), 0);
	return 0;
}

/* Goal: a coroutine can pin itself; a foreign thread has nothing to pin. */
START_TEST(pin_self_holds)
{
	T_EQ(spg_pin_self(), -ESRCH);
	T_EQ(spg_unpin_self(), -ESRCH);
	t_run((unsigned)_i, pin_self, NULL);
}
END_TEST

static void *plus_one(void *arg)
{
	return (char *)arg + 1;
}

static void *wait_for_cancel(void *arg)
{
	(void)arg;
	while (spg_sleep(SPG_SEC) == 0)
		continue;
	return (void *)(intptr_t)spg_ctx_err(NULL);
}

static _Atomic(spg_task *) self_task;

static void *join_self(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)spg_join(atomic_load(&self_task), NULL);
}

static int tasks(void *arg)
{
	spg_task *task;
	void *result;

	(void)arg;
	T_EQ(spg_join(spg_spawn(NULL, plus_one, (void *)41), &result), 0);
	T_EQ((intptr_t)result, 42);
	T_EQ(spg_join(NULL, NULL), -EINVAL);
	T_EQ(spg_detach(NULL), -EINVAL);
	T_EQ(spg_task_cancel(NULL), -EINVAL);
	T_OK(spg_spawn(NULL, NULL, NULL) == NULL);

	task = spg_spawn(NULL, wait_for_cancel, NULL);
	spg_yield();
	T_EQ(spg_ctx_err(NULL), 0);
	T_EQ(spg_task_cancel(task), 0);
	T_EQ(spg_join(task, &result), 0);
	T_EQ((intptr_t)result, -ECANCELED);
	T_EQ(spg_ctx_err(NULL), 0); /* that task only */

	task = spg_spawn(NULL, wait_for_cancel, NULL);
	{
		SPG_TIMEOUT_SCOPE(5 * SPG_MS);
		T_EQ(spg_join(task, NULL), -ETIMEDOUT);
	}
	T_EQ(spg_task_cancel(task), 0);
	T_EQ(spg_detach(task), 0);

	atomic_store(&self_task, NULL);
	task = spg_spawn(&(spg_attr){ .place = SPG_PIN(0) }, join_self, NULL);
	atomic_store(&self_task, task);
	T_EQ(spg_join(task, &result), 0);
	T_OK((intptr_t)result == -EDEADLK || (intptr_t)result == -EINVAL);
	return 0;
}

/* Goal: join hands over results, cancel reaches the task alone, a deadline bounds a join. */
START_TEST(tasks_join_cancel_detach)
{
	t_run((unsigned)_i, tasks, NULL);
}
END_TEST

static void *spawn_from_thread(void *arg)
{
	void *result;

	(void)arg;
	T_EQ(spg_id(), 0);
	T_OK(!spg_in_coroutine());
	T_EQ(spg_shard(), -1);
	for (int i = 0; i < 200; i++) {
		T_EQ(spg_go(add_one, NULL), 0);
		T_EQ(spg_join(spg_spawn(NULL, plus_one, (void *)1), &result), 0);
		T_EQ((intptr_t)result, 2);
	}
	return NULL;
}

static void *join_thread(void *thread)
{
	T_EQ(pthread_join(*(pthread_t *)thread, NULL), 0);
	return NULL;
}

static int foreign(void *arg)
{
	pthread_t threads[3];

	(void)arg;
	atomic_store(&count, 0);
	for (int i = 0; i < 3; i++)
		T_EQ(pthread_create(&threads[i], NULL, spawn_from_thread, NULL), 0);
	T_UNTIL(atomic_load(&count) == 600);
	/* They still join the last of theirs, and need a shard for it. */
	for (int i = 0; i < 3; i++)
		T_EQ(spg_blocking(join_thread, &threads[i], NULL), 0);
	return 0;
}

/* Goal: foreign threads spawn and join. */
START_TEST(foreign_threads_spawn_and_join)
{
	t_run((unsigned)_i, foreign, NULL);
}
END_TEST

static spg_key key;
static _Atomic int destroyed;

static void destroy(void *value)
{
	atomic_fetch_add(&destroyed, (int)(intptr_t)value);
}

static void *use_key(void *arg)
{
	T_OK(spg_key_get(key) == NULL);
	T_EQ(spg_key_set(key, arg), 0);
	spg_yield();
	T_OK(spg_key_get(key) == arg);
	return NULL;
}

static int locals(void *arg)
{
	spg_task *tasks_[10];
	spg_key other;

	(void)arg;
	atomic_store(&destroyed, 0);
	T_EQ(spg_key_create(&key, destroy), 0);
	for (int i = 0; i < 10; i++)
		tasks_[i] = spg_spawn(NULL, use_key, (void *)(intptr_t)(i + 1));
	for (int i = 0; i < 10; i++)
		T_EQ(spg_join(tasks_[i], NULL), 0);
	T_UNTIL(atomic_load(&destroyed) == 55);
	T_EQ(spg_key_set(key, &key), 0);
	T_EQ(spg_key_delete(key), 0);
	T_EQ(spg_key_delete(key), -EINVAL);
	T_EQ(spg_key_set(key, NULL), -EINVAL);
	T_OK(spg_key_get(key) == NULL);
	T_EQ(spg_key_create(&other, NULL), 0);
	T_OK(spg_key_get(other) == NULL); /* the number is used again, the value is not */
	T_EQ(spg_key_delete(other), 0);
	T_EQ(spg_key_create(NULL, NULL), -EINVAL);
	for (int i = 0; i < 1024; i++)
		T_EQ(spg_key_create(&other, NULL), 0);
	T_EQ(spg_key_create(&other, NULL), -EAGAIN);
	return 0;
}

/* Goal: values are the coroutine's own, and destructors run at its end. */
START_TEST(local_values_live_with_their_coroutine)
{
	t_run((unsigned)_i, locals, NULL);
}
END_TEST

static int limited(void *arg)
{
	int refused = 0;

	(void)arg;
	atomic_store(&count, 0);
	for (int i = 0; i < 100; i++)
		refused += spg_go(add_one, NULL) == -EAGAIN;
	T_OK(refused > 0);
	T_UNTIL(atomic_load(&count) == 100 - refused);
	return 0;
}

/* Goal: coroutines_max refuses, and nothing that was accepted is lost. */
START_TEST(coroutines_max_refuses)
{
	spg_config cfg = t_config(1);

	cfg.coroutines_max = 11;
	T_EQ(spg_run(&cfg, limited, NULL), 0);
}
END_TEST

/* Goal: without a runtime nothing is spawned. */
START_TEST(without_a_runtime_spawning_fails)
{
	T_EQ(spg_go(add_one, NULL), -ESRCH);
	T_OK(spg_spawn(NULL, plus_one, NULL) == NULL);
	T_EQ(spg_shards(), 0);
	T_EQ(spg_go_attr(NULL, NULL, NULL), -EINVAL);
	spg_yield();
}
END_TEST

static void burn_then_count(void *arg)
{
	int64_t until = spg_now() + (int64_t)(intptr_t)arg;

	while (spg_now() < until)
		continue;
	atomic_fetch_add(&count, 1);
}

static int chunks(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	static spg_stats_t stats;

	(void)arg;
	atomic_store(&count, 0);
	attr.place = SPG_PREFER(0);
	for (int i = 0; i < 200; i++)
		T_EQ(spg_go_attr(&attr, burn_then_count, (void *)(intptr_t)(200 * SPG_US)), 0);
	while (atomic_load(&count) < 200)
		T_EQ(spg_sleep(SPG_MS), 0);
	T_EQ(spg_stats(&stats), 0);
	if (spg_shards() > 1)
		T_OK(stats.total.stolen > 10);
	T_EQ(stats.total.migrations_in_flight, 0);
	return 0;
}

/* Goal: work that is all on one shard is stolen by the others. */
START_TEST(idle_shards_steal)
{
	t_run((unsigned)_i, chunks, NULL);
}
END_TEST

static void name_self(void *arg)
{
	(void)arg;
	spg_set_name("a name that is much longer than fifteen");
	spg_set_name(NULL);
	T_OK(spg_id() > 0);
	T_OK(spg_in_coroutine());
	T_OK(spg_stack_high_water() > 0);
	atomic_fetch_add(&count, 1);
}

static int names(void *arg)
{
	(void)arg;
	atomic_store(&count, 0);
	T_EQ(spg_go_attr(&(spg_attr){ .name = "named" }, name_self, NULL), 0);
	T_UNTIL(atomic_load(&count) == 1);
	T_STR(spg_strerror(-EPIPE), "Broken pipe");
	T_STR(spg_strerror(3), "Success");
	T_STR(spg_strerror(-99999), "Unknown error");
	return 0;
}

/* Goal: identity of a coroutine. */
START_TEST(coroutines_have_names_and_ids)
{
	T_EQ(spg_id(), 0);
	T_EQ(spg_stack_high_water(), 0);
	t_run((unsigned)_i, names, NULL);
}
END_TEST

T_MAIN(T_SHARDS(everything_spawned_runs), T_SHARDS(a_copy_is_private), T_SHARDS(placement_is_kept),
       T_SHARDS(spread_reaches_every_shard), T_SHARDS(pin_self_holds), T_SHARDS(tasks_join_cancel_detach),
       T_SHARDS(foreign_threads_spawn_and_join), T_SHARDS(local_values_live_with_their_coroutine),
       T_TEST(coroutines_max_refuses), T_TEST(without_a_runtime_spawning_fails), T_SHARDS(idle_shards_steal),
       T_SHARDS(coroutines_have_names_and_ids))
