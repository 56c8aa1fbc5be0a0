/* Contexts: the tree, deadlines, done, after, values, foreign threads. */
#include "crowd.h"

static int tree(void *arg)
{
	spg_ctx *top = spg_ctx_new(NULL), *left = spg_ctx_new(top), *right = spg_ctx_new(top);
	spg_ctx *leaf = spg_ctx_new(left), *late;

	(void)arg;
	T_OK(top != NULL && left != NULL && right != NULL && leaf != NULL);
	spg_ctx_cancel(left);
	spg_ctx_cancel(left);
	spg_ctx_cancel(NULL);
	T_ERR(spg_ctx_err(left), -ECANCELED);
	T_ERR(spg_ctx_err(leaf), -ECANCELED);
	T_EQ(spg_ctx_err(top), 0);
	T_EQ(spg_ctx_err(right), 0);
	T_EQ(spg_ctx_err(NULL), 0);
	late = spg_ctx_new(leaf);
	T_ERR(spg_ctx_err(late), -ECANCELED);
	/* Children keep their parents in memory. */
	spg_ctx_unref(top);
	spg_ctx_unref(left);
	T_EQ(spg_ctx_err(right), 0);
	spg_ctx_unref(leaf);
	T_ERR(spg_ctx_err(late), -ECANCELED);
	spg_ctx_unref(late);
	T_OK(spg_ctx_ref(right) == right && spg_ctx_ref(NULL) == NULL);
	spg_ctx_unref(right);
	spg_ctx_unref(right);
	spg_ctx_unref(NULL);
	return 0;
}

/* Goal: a cancel ends the subtree, those born later included, and nothing else. */
START_TEST(cancel_ends_the_subtree_and_no_more)
{
	T_EQ(tree(NULL), 0);
	t_run((unsigned)_i, tree, NULL);
}
END_TEST

static int deadlines(void *arg)
{
	int64_t now = spg_now(), when = 0;
	spg_ctx *far = spg_ctx_with_deadline(NULL, now + SPG_SEC * 3600), *near, *past;

	(void)arg;
	T_ERR(spg_ctx_deadline(NULL, &when), -ENOENT);
	T_ERR(spg_ctx_deadline(far, NULL), -EINVAL);
	T_EQ(spg_ctx_deadline(far, &when), 0);
	T_EQ(when, now + SPG_SEC * 3600);
	/* A child's is never later than its parent's. */
	near = spg_ctx_with_deadline(far, now + SPG_SEC * 7200);
	T_EQ(spg_ctx_deadline(near, &when), 0);
	T_EQ(when, now + SPG_SEC * 3600);
	spg_ctx_unref(near);
	near = spg_ctx_with_timeout(far, 2 * SPG_MS);
	T_EQ(spg_sleep(3 * SPG_MS), 0);
	T_ERR(spg_ctx_err(near), -ETIMEDOUT);
	spg_ctx_cancel(near); /* too late */
	T_ERR(spg_ctx_err(near), -ETIMEDOUT);
	T_EQ(spg_ctx_err(far), 0);
	spg_ctx_unref(near);
	spg_ctx_unref(far);

	past = spg_ctx_with_timeout(NULL, -5);
	T_ERR(spg_ctx_err(past), -ETIMEDOUT);
	spg_ctx_unref(past);
	past = spg_ctx_with_timeout(NULL, INT64_MAX);
	T_ERR(spg_ctx_deadline(past, &when), -ENOENT);
	spg_ctx_unref(past);
	near = spg_ctx_with_timeout(NULL, 2 * SPG_MS);
	spg_ctx_cancel(near);
	T_EQ(spg_sleep(3 * SPG_MS), 0);
	T_ERR(spg_ctx_err(near), -ECANCELED); /* the first end stays */
	spg_ctx_unref(near);
	return 0;
}

/* Goal: the nearest deadline ends a context; whichever end came first stays. */
START_TEST(deadlines_end_contexts)
{
	T_EQ(deadlines(NULL), 0);
	t_run((unsigned)_i, deadlines, NULL);
}
END_TEST

static void check_current(void *arg)
{
	T_OK(spg_ctx_current() == *(spg_ctx **)arg);
	*(spg_ctx **)arg = NULL;
}

static int ambient(void *arg)
{
	spg_ctx *outer = spg_ctx_new(NULL), *inner = spg_ctx_new(outer), *top = spg_ctx_current(), *seen = outer;
	spg_attr attr = SPG_ATTR_INIT;

	(void)arg;
	T_OK(spg_ctx_enter(NULL) == NULL);
	spg_ctx_leave(NULL);
	T_OK(spg_ctx_enter(outer) == top);
	T_OK(spg_ctx_current() == outer);
	T_EQ(spg_go(check_current, &seen), 0);
	T_OK(spg_ctx_enter(inner) == outer);
	T_OK(spg_ctx_current() == inner);
	T_UNTIL(__atomic_load_n(&seen, __ATOMIC_ACQUIRE) == NULL);
	/* What is given at spawn comes before what is current. */
	seen = attr.ctx = outer;
	T_EQ(spg_go_attr(&attr, check_current, &seen), 0);
	T_UNTIL(__atomic_load_n(&seen, __ATOMIC_ACQUIRE) == NULL);
	/* The entered one is held. */
	spg_ctx_unref(inner);
	spg_ctx_cancel(outer);
	T_ERR(spg_ctx_err(NULL), -ECANCELED);
	T_ERR(spg_sleep(0), -ECANCELED);
	spg_ctx_leave(outer);
	T_OK(spg_ctx_current() == outer);
	T_ERR(spg_ctx_err(NULL), -ECANCELED);
	spg_ctx_leave(top);
	T_OK(spg_ctx_current() == top);
	T_EQ(spg_ctx_err(NULL), 0);
	T_EQ(spg_sleep(0), 0);
	spg_ctx_unref(outer);
	return 0;
}

/* Goal: contexts nest, are inherited at spawn, and are held while entered. */
START_TEST(the_current_context_is_ambient)
{
	t_run((unsigned)_i, ambient, NULL);
}
END_TEST

static int done_channels(void *arg)
{
	spg_ctx *parent = spg_ctx_new(NULL), *ctx = spg_ctx_new(parent);
	spg_chan *done = spg_ctx_done(ctx), *other = spg_ctx_done(parent);

	(void)arg;
	T_OK(done != NULL && other != NULL && other != done);
	T_OK(spg_ctx_done(ctx) == done);
	T_ERR(spg_chan_try_recv(done, NULL), -EAGAIN);
	spg_ctx_cancel(ctx);
	T_ERR(spg_chan_recv(done, NULL), -EPIPE);
	T_ERR(spg_chan_try_recv(other, NULL), -EAGAIN);
	spg_ctx_unref(ctx);
	/* Of one that has ended: closed from the start. */
	ctx = spg_ctx_new(parent);
	spg_ctx_cancel(parent);
	T_ERR(spg_chan_recv(other, NULL), -EPIPE);
	T_ERR(spg_chan_recv(spg_ctx_done(ctx), NULL), -EPIPE);
	spg_ctx_unref(ctx);
	spg_ctx_unref(parent);
	/* Let go before it ended. */
	ctx = spg_ctx_new(NULL);
	T_OK(spg_ctx_done(ctx) != NULL);
	spg_ctx_unref(ctx);
	ctx = spg_ctx_with_timeout(NULL, SPG_SEC * 3600);
	T_OK(spg_ctx_done(ctx) != NULL);
	spg_ctx_cancel(ctx);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: done closes when the context ends, by itself or by an ancestor. */
START_TEST(done_closes_when_the_context_ends)
{
	T_EQ(done_channels(NULL), 0);
	t_run((unsigned)_i, done_channels, NULL);
}
END_TEST

static int done_by_deadline(void *arg)
{
	spg_ctx *ctx = spg_ctx_with_timeout(NULL, 3 * SPG_MS), *child = spg_ctx_new(ctx), *previous;
	spg_case cases[] = { SPG_RECV(spg_ctx_done(ctx), NULL), SPG_AFTER(20 * SPG_SEC) };
	int64_t start = spg_now();

	(void)arg;
	T_EQ(spg_select(cases, 2), 0);
	T_ERR(cases[0].err, -EPIPE);
	T_OK(spg_now() - start >= 2 * SPG_MS);
	T_ERR(spg_chan_recv(spg_ctx_done(child), NULL), -EPIPE);
	T_ERR(spg_ctx_err(child), -ETIMEDOUT);
	previous = spg_ctx_enter(child);
	T_OK(spg_ctx_done(NULL) == spg_ctx_done(child));
	spg_ctx_leave(previous);
	spg_ctx_unref(child);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: a deadline closes it too, while everybody waits in a select. */
START_TEST(done_closes_at_the_deadline)
{
	t_run((unsigned)_i, done_by_deadline, NULL);
}
END_TEST

struct after {
	_Atomic int runs;
	spg_wg wg;
};

static void run_after(void *arg)
{
	struct after *a = arg;

	/* Not under the ended context. */
	T_EQ(spg_ctx_err(NULL), 0);
	T_EQ(spg_sleep(0), 0);
	atomic_fetch_add(&a->runs, 1);
	T_EQ(spg_wg_done(&a->wg), 0);
}

static int after_ends(void *arg)
{
	struct after a = { .wg = SPG_WG_INIT };
	spg_ctx *ctx = spg_ctx_new(NULL), *child = spg_ctx_new(ctx), *timed;

	(void)arg;
	T_ERR(spg_ctx_after(ctx, NULL, NULL), -EINVAL);
	T_EQ(spg_wg_add(&a.wg, 3), 0);
	T_EQ(spg_ctx_after(ctx, run_after, &a), 0);
	T_EQ(spg_ctx_after(ctx, run_after, &a), 0);
	T_EQ(spg_ctx_after(child, run_after, &a), 0);
	spg_ctx_unref(child);
	for (int i = 0; i < 20; i++)
		t_relax();
	T_EQ(atomic_load(&a.runs), 0);
	spg_ctx_cancel(ctx);
	T_EQ(spg_wg_wait(&a.wg), 0);
	/* Ended already: at once. */
	T_EQ(spg_wg_add(&a.wg, 1), 0);
	T_EQ(spg_ctx_after(ctx, run_after, &a), 0);
	T_EQ(spg_wg_wait(&a.wg), 0);
	/* By a deadline. */
	T_EQ(spg_wg_add(&a.wg, 2), 0);
	timed = spg_ctx_with_timeout(NULL, 2 * SPG_MS);
	T_EQ(spg_ctx_after(timed, run_after, &a), 0);
	T_EQ(spg_ctx_after(timed, run_after, &a), 0);
	T_EQ(spg_wg_wait(&a.wg), 0);
	T_EQ(atomic_load(&a.runs), 6);
	spg_ctx_unref(timed);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: after runs once for each call, when the context ends, or at once. */
START_TEST(after_runs_when_the_context_ends)
{
	t_run((unsigned)_i, after_ends, NULL);
}
END_TEST

/* Goal: without a runtime nothing is spawned, and the caller hears of it when it can. */
START_TEST(after_needs_a_runtime)
{
	struct after a = { .wg = SPG_WG_INIT };
	spg_ctx *ctx = spg_ctx_new(NULL);

	T_EQ(spg_ctx_after(ctx, run_after, &a), 0);
	spg_ctx_cancel(ctx);
	T_ERR(spg_ctx_after(ctx, run_after, &a), -ESRCH);
	T_EQ(atomic_load(&a.runs), 0);
	spg_ctx_unref(ctx);
}
END_TEST

static char key_a, key_b;

static void check_value(void *arg)
{
	T_EQ(*(int *)spg_ctx_get(NULL, &key_a), 1);
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
}

static int values(void *arg)
{
	spg_ctx *parent = spg_ctx_new(NULL), *child = spg_ctx_new(parent), *previous;
	int one = 1, two = 2;
	bool seen = false;

	(void)arg;
	T_OK(spg_ctx_get(child, &key_a) == NULL && spg_ctx_get(NULL, &key_a) == NULL);
	T_EQ(spg_ctx_set(parent, &key_a, &one), 0);
	T_OK(spg_ctx_get(parent, &key_a) == &one && spg_ctx_get(child, &key_a) == &one);
	T_OK(spg_ctx_get(child, &key_b) == NULL);
	T_EQ(spg_ctx_set(child, &key_a, &two), 0);
	T_OK(spg_ctx_get(child, &key_a) == &two && spg_ctx_get(parent, &key_a) == &one);
	T_EQ(spg_ctx_set(child, &key_a, NULL), 0);
	T_OK(spg_ctx_get(child, &key_a) == NULL); /* the nearest counts, also when it is NULL */
	T_ERR(spg_ctx_set(NULL, &key_a, &one), -EINVAL);
	previous = spg_ctx_enter(parent);
	T_OK(spg_ctx_get(NULL, &key_a) == &one);
	if (spg_in_coroutine()) {
		T_ERR(spg_ctx_set(previous, &key_a, &one), -EINVAL); /* the root */
		T_EQ(spg_go(check_value, &seen), 0);
		T_UNTIL(__atomic_load_n(&seen, __ATOMIC_ACQUIRE));
	}
	spg_ctx_leave(previous);
	spg_ctx_unref(child);
	spg_ctx_unref(parent);
	return 0;
}

/* Goal: values are found upwards, nearest first. */
START_TEST(values_are_inherited)
{
	T_EQ(values(NULL), 0);
	t_run((unsigned)_i, values, NULL);
}
END_TEST

struct thread {
	pthread_t id;
	spg_ctx *ctx;
	_Atomic bool ready;
	int expected;
	int64_t ns;
};

static void *thread_sleeps(void *arg)
{
	struct thread *t = arg;

	t->ctx = spg_ctx_ref(spg_ctx_current());
	T_OK(t->ctx != NULL && spg_ctx_current() == t->ctx);
	T_EQ(spg_ctx_err(NULL), 0);
	atomic_store(&t->ready, true);
	T_ERR(spg_sleep(t->ns), t->expected);
	T_ERR(spg_ctx_err(NULL), t->expected);
	return NULL;
}

/* Goal: each thread has a context of its own; a cancel from another thread ends its waits alone. */
START_TEST(a_foreign_thread_has_its_own_context)
{
	struct thread a = { .expected = -ECANCELED, .ns = INT64_MAX }, b = { .ns = 50 * SPG_MS };

	T_EQ(pthread_create(&a.id, NULL, thread_sleeps, &a), 0);
	T_EQ(pthread_create(&b.id, NULL, thread_sleeps, &b), 0);
	T_UNTIL(atomic_load(&a.ready) && atomic_load(&b.ready));
	T_OK(a.ctx != b.ctx);
	spg_ctx_cancel(a.ctx);
	T_EQ(pthread_join(a.id, NULL), 0);
	T_EQ(pthread_join(b.id, NULL), 0);
	T_ERR(spg_ctx_err(a.ctx), -ECANCELED);
	T_EQ(spg_ctx_err(b.ctx), 0);
	T_EQ(spg_sleep(0), 0);
	spg_ctx_unref(a.ctx);
	spg_ctx_unref(b.ctx);
}
END_TEST

static void sleep_until_canceled(void *arg)
{
	T_ERR(spg_sleep(INT64_MAX), -ECANCELED);
	T_EQ(spg_wg_done(arg), 0);
}

static int cancel_root(void *arg)
{
	spg_wg wg = SPG_WG_INIT;

	(void)arg;
	T_EQ(spg_wg_add(&wg, 50), 0);
	for (int i = 0; i < 50; i++)
		T_EQ(spg_go(sleep_until_canceled, &wg), 0);
	for (int i = 0; i < 100; i++)
		spg_yield();
	spg_ctx_cancel(spg_ctx_current());
	T_ERR(spg_ctx_err(NULL), -ECANCELED);
	{
		SPG_SHIELD_SCOPE();
		T_EQ(spg_wg_wait(&wg), 0);
	}
	return 0;
}

/* Goal: the root can be canceled like any other, and wakes what waits under it. The next runtime has a new one. */
START_TEST(a_canceled_root_wakes_everybody)
{
	t_run((unsigned)_i, cancel_root, NULL);
	t_run((unsigned)_i, cancel_root, NULL);
}
END_TEST

#define BIRTHS 64

struct nursery {
	spg_ctx *parent, *child[BIRTHS];
	_Atomic int born;
};

static void give_birth(void *arg)
{
	struct nursery *n = arg;

	for (int i; (i = atomic_fetch_add(&n->born, 1)) < BIRTHS;)
		n->child[i] = spg_ctx_new(n->parent);
}

static void cancel_parent(void *arg)
{
	struct nursery *n = arg;

	T_UNTIL(atomic_load(&n->born) > BIRTHS / 4);
	spg_ctx_cancel(n->parent);
}

/* Goal: children born during a cancel are ended by it, or born ended. */
START_TEST(stress_births_during_a_cancel)
{
	for (int round = 0; round < (t_sanitized() ? 200 : 3000); round++) {
		struct nursery n = { .parent = spg_ctx_new(NULL) };
		struct crowd mothers, canceler;

		crowd_start(&mothers, 0, 2, give_birth, &n);
		crowd_start(&canceler, 0, 1, cancel_parent, &n);
		crowd_wait(&mothers);
		crowd_wait(&canceler);
		for (int i = 0; i < BIRTHS; i++) {
			T_ERR(spg_ctx_err(n.child[i]), -ECANCELED);
			spg_ctx_unref(n.child[i]);
		}
		spg_ctx_unref(n.parent);
	}
}
END_TEST

T_MAIN(T_SHARDS(cancel_ends_the_subtree_and_no_more), T_SHARDS(deadlines_end_contexts),
       T_SHARDS(the_current_context_is_ambient), T_SHARDS(done_closes_when_the_context_ends),
       T_SHARDS(done_closes_at_the_deadline), T_SHARDS(after_runs_when_the_context_ends),
       T_TEST(after_needs_a_runtime), T_SHARDS(values_are_inherited), T_TEST(a_foreign_thread_has_its_own_context),
       T_SHARDS(a_canceled_root_wakes_everybody), T_TEST(stress_births_during_a_cancel))
