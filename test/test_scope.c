/* Timeout scopes and shields. */
#include "crowd.h"

static int64_t deadline_or(int64_t none)
{
	int64_t when = none;
	int err = spg_ctx_deadline(NULL, &when);

	T_OK(err == 0 || err == -ENOENT);
	return when;
}

static int nested_timeouts(void *arg)
{
	int64_t start = spg_now();

	(void)arg;
	T_EQ(deadline_or(-1), -1);
	{
		SPG_TIMEOUT_SCOPE(SPG_SEC * 3600);
		int64_t outer = deadline_or(-1);

		T_OK(outer >= start + SPG_SEC * 3600 && outer < start + SPG_SEC * 3700);
		{
			SPG_TIMEOUT_SCOPE(2 * SPG_MS);

			T_OK(deadline_or(-1) < start + SPG_SEC * 3600);
			T_ERR(spg_sleep(SPG_SEC), -ETIMEDOUT);
			T_ERR(spg_ctx_err(NULL), -ETIMEDOUT);
			T_ERR(spg_sleep(0), -ETIMEDOUT);
		}
		T_EQ(spg_ctx_err(NULL), 0);
		T_EQ(spg_sleep(0), 0);
		T_EQ(deadline_or(-1), outer);
		{
			/* A longer one inside changes nothing. */
			SPG_TIMEOUT_SCOPE(SPG_SEC * 7200);
			T_EQ(deadline_or(-1), outer);
		}
		{
			SPG_TIMEOUT_SCOPE(INT64_MAX);
			T_EQ(deadline_or(-1), outer);
		}
	}
	{
		SPG_TIMEOUT_SCOPE(-7);
		T_ERR(spg_sleep(0), -ETIMEDOUT);
	}
	{
		/* The outer one is nearer. */
		SPG_TIMEOUT_SCOPE(SPG_MS);
		SPG_TIMEOUT_SCOPE(SPG_SEC * 3600);
		T_ERR(spg_sleep(SPG_SEC), -ETIMEDOUT);
	}
	T_EQ(deadline_or(-1), -1);
	T_EQ(spg_sleep(0), 0);
	return 0;
}

/* Goal: the nearest deadline wins, and each scope ends with its block; without a runtime too. */
START_TEST(the_nearest_timeout_wins)
{
	T_EQ(nested_timeouts(NULL), 0);
	t_run((unsigned)_i, nested_timeouts, NULL);
}
END_TEST

static int leave_early(int how)
{
	for (int i = 0; i < 3; i++) {
		SPG_TIMEOUT_SCOPE(0);
		T_ERR(spg_ctx_err(NULL), -ETIMEDOUT);
		if (how == 0)
			return 1;
		if (how == 1)
			break;
		if (how == 2)
			continue;
		goto out;
	}
out:
	return 2;
}

static int early_exits(void *arg)
{
	(void)arg;
	for (int how = 0; how < 4; how++) {
		T_OK(leave_early(how) > 0);
		T_EQ(spg_ctx_err(NULL), 0);
	}
	return 0;
}

/* Goal: return, break, continue and goto out of the block end the scope. */
START_TEST(a_scope_ends_however_its_block_is_left)
{
	T_EQ(early_exits(NULL), 0);
	t_run((unsigned)_i, early_exits, NULL);
}
END_TEST

static int shields(void *arg)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *inner = spg_ctx_new(NULL), *previous = spg_ctx_enter(ctx), *shielded;

	(void)arg;
	spg_ctx_cancel(ctx);
	{
		SPG_TIMEOUT_SCOPE(0);
		SPG_SHIELD_SCOPE();
		T_EQ(spg_ctx_err(NULL), 0);
		T_EQ(deadline_or(-1), -1);
		T_EQ(spg_sleep(SPG_MS), 0);
		T_ERR(spg_ctx_err(ctx), -ECANCELED);
		T_OK(spg_ctx_current() == ctx);
		{
			SPG_TIMEOUT_SCOPE(SPG_MS); /* opened inside: it applies */
			T_ERR(spg_sleep(SPG_SEC), -ETIMEDOUT);
			{
				SPG_SHIELD_SCOPE();
				T_EQ(spg_sleep(SPG_MS), 0);
			}
			T_ERR(spg_sleep(0), -ETIMEDOUT);
		}
		T_EQ(spg_sleep(0), 0);
		shielded = spg_ctx_enter(inner); /* entered inside: it applies */
		T_EQ(spg_sleep(0), 0);
		spg_ctx_cancel(inner);
		T_ERR(spg_sleep(0), -ECANCELED);
		{
			SPG_SHIELD_SCOPE();
			T_EQ(spg_sleep(0), 0);
		}
		T_ERR(spg_sleep(0), -ECANCELED);
		spg_ctx_leave(shielded);
		T_EQ(spg_sleep(0), 0); /* shielded again */
	}
	T_ERR(spg_sleep(0), -ECANCELED);
	spg_ctx_leave(previous);
	T_EQ(spg_sleep(0), 0);
	spg_ctx_unref(inner);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: a shield holds back what was current at its start, and only that. */
START_TEST(a_shield_holds_back_what_was_current)
{
	T_EQ(shields(NULL), 0);
	t_run((unsigned)_i, shields, NULL);
}
END_TEST

struct shielded {
	spg_ctx *ctx;
	_Atomic int inside, out;
};

static void sleep_shielded(void *arg)
{
	struct shielded *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);

	{
		SPG_SHIELD_SCOPE();
		atomic_fetch_add(&s->inside, 1);
		T_EQ(spg_sleep(20 * SPG_MS), 0);
		atomic_fetch_add(&s->out, 1);
	}
	T_ERR(spg_sleep(INT64_MAX), -ECANCELED);
	spg_ctx_leave(previous);
}

static int cancel_shielded(void *arg)
{
	struct shielded s = { .ctx = spg_ctx_new(NULL) };
	struct crowd crowd;

	(void)arg;
	crowd_start(&crowd, 20, 3, sleep_shielded, &s);
	T_UNTIL(atomic_load(&s.inside) == 23);
	spg_ctx_cancel(s.ctx);
	crowd_wait(&crowd);
	T_EQ(atomic_load(&s.out), 23);
	spg_ctx_unref(s.ctx);
	return 0;
}

/* Goal: a wait under way in a shield is not ended by a cancel; the next one outside is. */
START_TEST(a_cancel_reaches_no_shielded_wait)
{
	t_run((unsigned)_i, cancel_shielded, NULL);
}
END_TEST

struct born {
	int expected;
	spg_wg wg;
};

static void check_birth(void *arg)
{
	struct born *b = arg;

	T_ERR(spg_ctx_err(NULL), b->expected);
	T_ERR(spg_sleep(0), b->expected);
	T_EQ(spg_wg_done(&b->wg), 0);
}

static void *check_task_birth(void *arg)
{
	check_birth(arg);
	return arg;
}

static void spawn_both(struct born *b)
{
	spg_task *task;
	void *result = NULL;

	T_EQ(spg_wg_add(&b->wg, 2), 0);
	T_EQ(spg_go(check_birth, b), 0);
	task = spg_spawn(NULL, check_task_birth, b);
	T_OK(task != NULL);
	{
		SPG_SHIELD_SCOPE();
		T_EQ(spg_wg_wait(&b->wg), 0);
		T_EQ(spg_join(task, &result), 0);
	}
	T_OK(result == b);
}

static int births(void *arg)
{
	struct born b = { .wg = SPG_WG_INIT };
	spg_ctx *ctx = spg_ctx_new(NULL), *previous;

	(void)arg;
	{
		SPG_TIMEOUT_SCOPE(0); /* scopes are not inherited */
		spawn_both(&b);
	}
	previous = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	b.expected = -ECANCELED;
	{
		SPG_SHIELD_SCOPE(); /* nor are shields: the context is */
		spawn_both(&b);
	}
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: spawned coroutines inherit the context without the scopes around the spawn. */
START_TEST(scopes_belong_to_their_coroutine)
{
	t_run((unsigned)_i, births, NULL);
}
END_TEST

/*
 * The model: a stack of frames. What counts are the timeouts down to the nearest shield,
 * and the innermost entered context if it lies above that shield.
 */
enum frame_kind { ENTERED, TIMEOUT, SHIELD };

#define DEPTH_MAX 12

struct model {
	uint64_t state;
	int depth, checks;
	struct frame {
		enum frame_kind kind;
		int err; /* of the context, or of the timeout when it has passed */
	} frame[DEPTH_MAX];
	spg_ctx *good, *canceled, *expired;
};

static int expected_err(const struct model *m)
{
	bool passed = false, entered = false;
	int err = 0;

	for (int i = m->depth - 1; i >= 0 && m->frame[i].kind != SHIELD; i--) {
		if (m->frame[i].kind == TIMEOUT)
			passed |= m->frame[i].err != 0;
		else if (!entered)
			err = m->frame[i].err;
		entered |= m->frame[i].kind == ENTERED;
	}
	if (err != 0)
		return err;
	return passed ? -ETIMEDOUT : 0;
}

static void check_model(struct model *m)
{
	int err = expected_err(m);

	T_ERR(spg_ctx_err(NULL), err);
	if (m->checks++ % 8 == 0)
		T_ERR(spg_sleep(0), err);
}

static void push(struct model *m, enum frame_kind kind, int err)
{
	m->frame[m->depth++] = (struct frame){ kind, err };
	check_model(m);
}

static void nest(struct model *m);

static void nest_entered(struct model *m, uint64_t random)
{
	spg_ctx *ctx[] = { m->good, m->canceled, m->expired };
	static const int err[] = { 0, -ECANCELED, -ETIMEDOUT };
	spg_ctx *previous = spg_ctx_enter(ctx[random % 3]);

	push(m, ENTERED, err[random % 3]);
	nest(m);
	m->depth--;
	spg_ctx_leave(previous);
}

static void nest_timeout(struct model *m, uint64_t random)
{
	SPG_TIMEOUT_SCOPE(random & 1 ? SPG_SEC * 3600 : 0);

	push(m, TIMEOUT, random & 1 ? 0 : -ETIMEDOUT);
	nest(m);
	m->depth--;
}

static void nest_shield(struct model *m)
{
	SPG_SHIELD_SCOPE();

	push(m, SHIELD, 0);
	nest(m);
	m->depth--;
}

static void nest(struct model *m)
{
	while (m->depth < DEPTH_MAX && t_random(&m->state) % 8 < 5) {
		uint64_t random = t_random(&m->state);

		if (random % 4 < 2)
			nest_entered(m, random >> 8);
		else if (random % 4 == 2)
			nest_timeout(m, random >> 8);
		else
			nest_shield(m);
		check_model(m);
	}
}

static int random_nesting(void *arg)
{
	struct model m = { .state = *(uint64_t *)arg };

	m.good = spg_ctx_new(NULL);
	m.canceled = spg_ctx_new(NULL);
	m.expired = spg_ctx_with_timeout(NULL, 0);
	spg_ctx_cancel(m.canceled);
	while (m.checks < (t_sanitized() ? 5000 : 50000))
		nest(&m);
	T_EQ(spg_ctx_err(NULL), 0);
	spg_ctx_unref(m.good);
	spg_ctx_unref(m.canceled);
	spg_ctx_unref(m.expired);
	return 0;
}

/* Goal: any nesting of enters, timeouts and shields counts as the model says, at each step. */
START_TEST(prop_scopes_nest_as_the_model_says)
{
	uint64_t seed = t_seed();

	T_EQ(random_nesting(&seed), 0);
	t_run((unsigned)_i, random_nesting, &seed);
}
END_TEST

T_MAIN(T_SHARDS(the_nearest_timeout_wins), T_SHARDS(a_scope_ends_however_its_block_is_left),
       T_SHARDS(a_shield_holds_back_what_was_current), T_SHARDS(a_cancel_reaches_no_shielded_wait),
       T_SHARDS(scopes_belong_to_their_coroutine), T_SHARDS(prop_scopes_nest_as_the_model_says))
