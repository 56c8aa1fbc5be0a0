/* Groups: structured concurrency. */
#include "crowd.h"

static int give_zero(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
	return 7; /* not negative: no failure */
}

static int basics(void *arg)
{
	spg_group *g = spg_group_new(-1);
	_Atomic int runs = 0;

	(void)arg;
	T_OK(g != NULL);
	T_EQ(spg_group_wait(g), 0);
	for (int i = 0; i < 100; i++)
		T_EQ(spg_group_go(g, give_zero, (void *)&runs), 0);
	T_EQ(spg_group_wait(g), 0);
	T_EQ(atomic_load(&runs), 100);
	T_EQ(spg_group_go(g, give_zero, (void *)&runs), 0);
	T_EQ(spg_group_wait(g), 0);
	T_EQ(atomic_load(&runs), 101);
	T_ERR(spg_group_go(g, NULL, NULL), -EINVAL);
	spg_group_free(g);
	T_ERR(spg_group_go(NULL, give_zero, NULL), -EINVAL);
	T_ERR(spg_group_wait(NULL), -EINVAL);
	spg_group_cancel(NULL);
	spg_group_free(NULL);
	return 0;
}

/* Goal: wait returns when all have run; the group can be used again; bad arguments are errors. */
START_TEST(a_group_waits_for_its_children)
{
	t_run((unsigned)_i, basics, NULL);
}
END_TEST

/* Goal: without a runtime there are no children, and the slot is free again. */
START_TEST(a_group_needs_a_runtime_to_spawn)
{
	spg_group *g = spg_group_new(1);
	_Atomic int runs = 0;

	T_ERR(spg_group_go(g, give_zero, (void *)&runs), -ESRCH);
	T_ERR(spg_group_go(g, give_zero, (void *)&runs), -ESRCH);
	T_EQ(spg_group_wait(g), 0);
	spg_group_free(g);
	T_EQ(atomic_load(&runs), 0);
}
END_TEST

struct team {
	spg_group *group;
	_Atomic int started, canceled, timed_out, inside, done;
	_Atomic bool go;
	int limit;
	int64_t deadline;
};

static int sleep_long(void *arg)
{
	struct team *t = arg;
	int err;

	atomic_fetch_add(&t->started, 1);
	err = spg_sleep(INT64_MAX);
	T_OK(err == -ECANCELED || err == -ETIMEDOUT);
	T_ERR(spg_ctx_err(NULL), err);
	atomic_fetch_add(err == -ECANCELED ? &t->canceled : &t->timed_out, 1);
	return err;
}

static int fail_later(void *arg)
{
	struct team *t = arg;

	T_UNTIL(atomic_load(&t->started) == 20);
	return -EPROTO;
}

static int first_error(void *arg)
{
	struct team t = { .group = spg_group_new(0) };

	(void)arg;
	for (int i = 0; i < 20; i++)
		T_EQ(spg_group_go(t.group, sleep_long, &t), 0);
	T_EQ(spg_group_go(t.group, fail_later, &t), 0);
	T_ERR(spg_group_wait(t.group), -EPROTO);
	T_EQ(atomic_load(&t.canceled), 20);
	T_EQ(spg_ctx_err(NULL), 0);
	/* It stays, and children that start now find their context ended. */
	T_EQ(spg_group_go(t.group, sleep_long, &t), 0);
	T_ERR(spg_group_wait(t.group), -EPROTO);
	T_EQ(atomic_load(&t.canceled), 21);
	spg_group_free(t.group);
	return 0;
}

/* Goal: the first negative result cancels the others, and is what wait returns; later ones do not count. */
START_TEST(the_first_error_cancels_the_others)
{
	t_run((unsigned)_i, first_error, NULL);
}
END_TEST

static int wait_for_go(void *arg)
{
	struct team *t = arg;

	atomic_fetch_add(&t->started, 1);
	T_UNTIL(atomic_load(&t->go));
	return 0;
}

static int count_inside(void *arg)
{
	struct team *t = arg;

	T_OK(atomic_fetch_add(&t->inside, 1) < t->limit);
	for (int i = 0; i < 3; i++)
		spg_yield();
	atomic_fetch_sub(&t->inside, 1);
	atomic_fetch_add(&t->done, 1);
	return 0;
}

static void add_children(void *arg)
{
	struct team *t = arg;

	for (int i = 0; i < 100; i++)
		T_EQ(spg_group_go(t->group, count_inside, t), 0);
}

static int limits(void *arg)
{
	struct team t = { .group = spg_group_new(3), .limit = 3 };

	(void)arg;
	crowd_run(2, 2, add_children, &t);
	T_EQ(spg_group_wait(t.group), 0);
	T_EQ(atomic_load(&t.done), 400);
	/* All of it can be used. */
	for (int i = 0; i < 3; i++)
		T_EQ(spg_group_go(t.group, wait_for_go, &t), 0);
	T_UNTIL(atomic_load(&t.started) == 3);
	atomic_store(&t.go, true);
	spg_group_free(t.group);
	return 0;
}

/* Goal: never more children than the limit, from coroutines and threads that add at once. */
START_TEST(the_limit_holds)
{
	t_run((unsigned)_i, limits, NULL);
}
END_TEST

static int canceled_at_the_limit(void *arg)
{
	struct team t = { .group = spg_group_new(2) };
	spg_ctx *ctx = spg_ctx_new(NULL), *previous;

	(void)arg;
	T_EQ(spg_group_go(t.group, wait_for_go, &t), 0);
	T_EQ(spg_group_go(t.group, wait_for_go, &t), 0);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_group_go(t.group, wait_for_go, &t), -ETIMEDOUT);
		T_ERR(spg_group_wait(t.group), -ETIMEDOUT);
	}
	previous = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	T_ERR(spg_group_go(t.group, wait_for_go, &t), -ECANCELED);
	T_ERR(spg_group_wait(t.group), -ECANCELED);
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	/* The two run on all the while, and nobody else. */
	atomic_store(&t.go, true);
	T_EQ(spg_group_wait(t.group), 0);
	T_EQ(atomic_load(&t.started), 2);
	spg_group_free(t.group);
	return 0;
}

/* Goal: the caller's context ends its waits, at the limit and for the children; the children go on. */
START_TEST(the_callers_context_ends_only_its_wait)
{
	t_run((unsigned)_i, canceled_at_the_limit, NULL);
}
END_TEST

static int frees(void *arg)
{
	struct team t = { .group = spg_group_new(0) };
	spg_ctx *ctx = spg_ctx_new(NULL), *previous;

	(void)arg;
	for (int i = 0; i < 50; i++)
		T_EQ(spg_group_go(t.group, sleep_long, &t), 0);
	T_UNTIL(atomic_load(&t.started) == 50);
	/* Also by a caller whose own context has ended. */
	previous = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	spg_group_free(t.group);
	T_EQ(atomic_load(&t.canceled), 50);
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	t.group = spg_group_new(0);
	for (int i = 0; i < 50; i++)
		T_EQ(spg_group_go(t.group, sleep_long, &t), 0);
	spg_group_cancel(t.group);
	T_ERR(spg_group_wait(t.group), -ECANCELED);
	T_EQ(atomic_load(&t.canceled), 100);
	T_EQ(spg_ctx_err(NULL), 0);
	spg_group_free(t.group);
	return 0;
}

/* Goal: free cancels and waits, whatever the caller's context; cancel alone ends the children. */
START_TEST(free_cancels_and_waits)
{
	t_run((unsigned)_i, frees, NULL);
}
END_TEST

static int inner_group(void *arg)
{
	struct team *t = arg;
	spg_group *inner = spg_group_new(0);
	int err;

	for (int i = 0; i < 5; i++)
		T_EQ(spg_group_go(inner, sleep_long, t), 0);
	err = spg_group_wait(inner);
	T_ERR(err, -ECANCELED);
	spg_group_free(inner);
	return err;
}

static int fail_when_told(void *arg)
{
	struct team *t = arg;

	T_UNTIL(atomic_load(&t->go));
	return -EPROTO;
}

static int fail_of_inner(void *arg)
{
	struct team *t = arg;
	spg_group *inner = spg_group_new(0);
	int err;

	T_EQ(spg_group_go(inner, sleep_long, t), 0);
	T_EQ(spg_group_go(inner, fail_when_told, t), 0);
	err = spg_group_wait(inner);
	T_ERR(err, -EPROTO);
	spg_group_free(inner);
	return err;
}

static int groups_in_groups(void *arg)
{
	struct team t = { .group = spg_group_new(0) };

	(void)arg;
	for (int i = 0; i < 4; i++)
		T_EQ(spg_group_go(t.group, inner_group, &t), 0);
	T_UNTIL(atomic_load(&t.started) == 20);
	spg_group_cancel(t.group);
	T_ERR(spg_group_wait(t.group), -ECANCELED);
	T_EQ(atomic_load(&t.canceled), 20);
	spg_group_free(t.group);

	/* An inner failure is contained, and handed on by its return value. */
	t = (struct team){ .group = spg_group_new(0) };
	for (int i = 0; i < 4; i++)
		T_EQ(spg_group_go(t.group, inner_group, &t), 0);
	T_EQ(spg_group_go(t.group, fail_of_inner, &t), 0);
	T_UNTIL(atomic_load(&t.started) == 21);
	atomic_store(&t.go, true);
	T_ERR(spg_group_wait(t.group), -EPROTO);
	T_EQ(atomic_load(&t.canceled), 21);
	spg_group_free(t.group);
	return 0;
}

/* Goal: a group made by a child ends with the group of its parent; errors pass up by return values. */
START_TEST(groups_nest)
{
	t_run((unsigned)_i, groups_in_groups, NULL);
}
END_TEST

static int check_deadline(void *arg)
{
	struct team *t = arg;
	int64_t when = -1;

	T_ERR(spg_ctx_deadline(NULL, &when), t->deadline > 0 ? 0 : -ENOENT);
	T_EQ(when, t->deadline > 0 ? t->deadline : -1);
	return 0;
}

static int sleep_with_grandchild(void *arg)
{
	struct team *t = arg;

	T_ERR(spg_sleep(INT64_MAX), -ETIMEDOUT);
	return sleep_long(t);
}

static int deadlines(void *arg)
{
	struct team t = { .group = spg_group_new(0) };

	(void)arg;
	T_EQ(spg_group_go(t.group, check_deadline, &t), 0);
	{
		SPG_TIMEOUT_SCOPE(SPG_SEC * 3600);
		T_EQ(spg_group_wait(t.group), 0);
		T_EQ(spg_ctx_deadline(NULL, &t.deadline), 0);
		T_EQ(spg_group_go(t.group, check_deadline, &t), 0);
		T_EQ(spg_group_wait(t.group), 0);
		{
			SPG_SHIELD_SCOPE(); /* held back: not the spawner's deadline now */
			t.deadline = 0;
			T_EQ(spg_group_go(t.group, check_deadline, &t), 0);
			T_EQ(spg_group_wait(t.group), 0);
		}
	}
	/* By value: it holds after the scope has gone, and ends that child alone. */
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_EQ(spg_group_go(t.group, sleep_with_grandchild, &t), 0);
	}
	T_ERR(spg_group_wait(t.group), -ETIMEDOUT);
	T_EQ(atomic_load(&t.timed_out), 1);
	spg_group_free(t.group);
	return 0;
}

/* Goal: children take the spawner's nearest deadline with them, shields counted. */
START_TEST(children_copy_the_deadline_of_the_spawner)
{
	t_run((unsigned)_i, deadlines, NULL);
}
END_TEST

static int refused(void *arg)
{
	struct team t = { .group = spg_group_new(5) };
	int err = 0, n = 0;

	(void)arg;
	while (n < 100 && (err = spg_group_go(t.group, wait_for_go, &t)) == 0)
		n++;
	T_ERR(err, -EAGAIN);
	T_EQ(n, 3);
	atomic_store(&t.go, true);
	T_EQ(spg_group_wait(t.group), 0);
	T_EQ(atomic_load(&t.started), 3);
	spg_group_free(t.group);
	return 0;
}

/* Goal: a refused spawn gives its slot back. */
START_TEST(a_refused_child_takes_no_slot)
{
	spg_config cfg = t_config(1);

	cfg.coroutines_max = 4;
	T_EQ(t_run_config(&cfg, refused, NULL), 0);
}
END_TEST

static int add_at_random(void *arg);

struct shape {
	uint64_t seed;
	int depth;
	_Atomic int live;
};

static _Atomic int born, buried;

static int child_at_random(void *arg)
{
	struct shape s = *(struct shape *)arg;
	int err;

	free(arg);
	atomic_fetch_add(&born, 1);
	err = add_at_random(&s);
	atomic_fetch_add(&buried, 1);
	return err;
}

/* A subtree of groups: some children fail, some groups are canceled, some are freed without a wait. */
static int add_at_random(void *arg)
{
	struct shape *s = arg;
	uint64_t state = s->seed | 1;
	spg_group *g;
	int n, err = 0;

	t_random(&state);
	if (s->depth == 0 || t_random(&state) % 5 == 0)
		return t_random(&state) % 4 == 0 ? -EPROTO : spg_sleep((int64_t)(t_random(&state) % (uint64_t)(300 * SPG_US)));
	g = spg_group_new((int)(t_random(&state) % 4));
	n = (int)(t_random(&state) % 6);
	for (int i = 0; i < n; i++) {
		struct shape *child = malloc(sizeof(*child));

		*child = (struct shape){ .seed = t_random(&state), .depth = s->depth - 1 };
		err = spg_group_go(g, child_at_random, child);
		if (err < 0) {
			T_ERR(err, -ECANCELED); /* an outer group ended while we stood at the limit */
			free(child);
		}
	}
	if (t_random(&state) % 4 == 0)
		spg_group_cancel(g);
	if (t_random(&state) % 4 != 0) {
		err = spg_group_wait(g);
		T_OK(err == 0 || err == -EPROTO || err == -ECANCELED);
	}
	spg_group_free(g);
	return err;
}

static int random_groups(void *arg)
{
	uint64_t state = *(uint64_t *)arg;

	for (int i = 0; i < (t_sanitized() ? 20 : 150); i++) {
		struct shape s = { .seed = t_random(&state), .depth = 4 };

		(void)add_at_random(&s);
		/* Structured: when the outermost group is gone, so is everybody. */
		T_EQ(atomic_load(&buried), atomic_load(&born));
	}
	T_OK(atomic_load(&born) > 100);
	return 0;
}

/* Goal: in random trees of groups no child outlives its group. */
START_TEST(prop_no_child_outlives_its_group)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, random_groups, &seed);
}
END_TEST

T_MAIN(T_SHARDS(a_group_waits_for_its_children), T_TEST(a_group_needs_a_runtime_to_spawn),
       T_SHARDS(the_first_error_cancels_the_others), T_SHARDS(the_limit_holds),
       T_SHARDS(the_callers_context_ends_only_its_wait), T_SHARDS(free_cancels_and_waits), T_SHARDS(groups_nest),
       T_SHARDS(children_copy_the_deadline_of_the_spawner), T_TEST(a_refused_child_takes_no_slot),
       T_SHARDS(prop_no_child_outlives_its_group))
