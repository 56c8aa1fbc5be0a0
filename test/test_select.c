/* Select: what it chooses, what it waits for, what it leaves behind. */
#include "chan_look.h"

#include "coro/fault.h"

#include <limits.h>

static int bad_arguments(void *arg)
{
	spg_chan *c = spg_chan_new(sizeof(long), 1);
	spg_case cases[2] = { SPG_RECV(c, NULL), SPG_DEFAULT };
	long v = 0;

	(void)arg;
	T_ERR(spg_select(NULL, 1), -EINVAL);
	T_ERR(spg_select(cases, (size_t)INT_MAX + 1), -EINVAL);
	cases[0] = (spg_case)SPG_SEND(c, NULL);
	T_ERR(spg_select(cases, 2), -EINVAL);
	cases[0] = (spg_case)SPG_READABLE(-1);
	T_ERR(spg_select(cases, 2), -EINVAL);
	cases[0] = (spg_case)SPG_WRITABLE(-1);
	T_ERR(spg_select(cases, 2), -EINVAL);
	cases[0] = (spg_case)SPG_JOINED(NULL);
	T_ERR(spg_select(cases, 2), -EINVAL);
	cases[0] = (spg_case)SPG_RECV(c, &v);
	cases[0].kind = 99;
	T_ERR(spg_select(cases, 2), -EINVAL);
	T_EQ(spg_chan_len(c), 0);
	look_empty(c);
	spg_chan_unref(c);
	return 0;
}

/* Goal: malformed cases are told, and nothing is done. */
START_TEST(malformed_cases_are_refused)
{
	T_EQ(bad_arguments(NULL), 0);
	t_run((unsigned)_i, bad_arguments, NULL);
}
END_TEST

static int ready_cases(void *arg)
{
	spg_chan *a = spg_chan_new(sizeof(long), 1), *b = spg_chan_new(sizeof(long), 1);
	long v = 5, w = 6;
	spg_case cases[4] = { SPG_RECV(a, &v), SPG_SEND(NULL, NULL), SPG_RECV(NULL, NULL), SPG_DEFAULT };

	(void)arg;
	cases[0].err = cases[1].err = 33;
	T_EQ(spg_select(cases, 4), 3);
	T_EQ(cases[3].err, 0);
	T_EQ(cases[0].err, 33); /* only the chosen one's is written */
	T_EQ(v, 5);
	cases[1] = spg_case_send(b, &w);
	T_EQ(spg_select(cases, 4), 1);
	T_EQ(cases[1].err, 0);
	T_EQ(spg_select(cases, 4), 3); /* b is full now */
	cases[2] = (spg_case)SPG_RECV(b, &v);
	T_EQ(spg_select(cases, 4), 2);
	T_EQ(v, 6);
	T_EQ(spg_chan_close(a), 0);
	cases[1] = spg_case_default();
	T_EQ(spg_select(cases, 3), 0);
	T_ERR(cases[0].err, -EPIPE);
	T_EQ(v, 0);
	cases[0] = (spg_case)SPG_SEND(a, &w);
	T_EQ(spg_select(cases, 3), 0);
	T_ERR(cases[0].err, -EPIPE);
	cases[0] = spg_case_recv(a, NULL);
	T_EQ(spg_select(cases, 1), 0);
	T_ERR(cases[0].err, -EPIPE);
	look_empty(a);
	look_empty(b);
	spg_chan_unref(a);
	spg_chan_unref(b);
	return 0;
}

/* Goal: a ready case runs and has its result; NULL channels are never ready; else the default. */
START_TEST(a_ready_case_runs_else_the_default)
{
	T_EQ(ready_cases(NULL), 0);
	t_run((unsigned)_i, ready_cases, NULL);
}
END_TEST

static int times(void *arg)
{
	spg_chan *c = spg_chan_new(sizeof(long), 1);
	int64_t start = spg_now();
	spg_case cases[4] = { SPG_AFTER(50 * SPG_SEC), SPG_AFTER(2 * SPG_MS), SPG_RECV(c, NULL),
			      SPG_AT(start + 90 * SPG_SEC) };

	(void)arg;
	cases[1].err = 1;
	T_EQ(spg_select(cases, 4), 1);
	T_EQ(cases[1].err, 0);
	T_OK(spg_now() - start >= 2 * SPG_MS);
	cases[3] = spg_case_at(start + 4 * SPG_MS);
	cases[1] = spg_case_after(INT64_MAX);
	T_EQ(spg_select(cases, 4), 3);
	T_OK(spg_now() - start >= 4 * SPG_MS);
	T_EQ(spg_select(cases, 4), 3); /* past times are ready */
	cases[3] = spg_case_after(-5);
	T_EQ(spg_select(cases, 4), 3);
	cases[3] = spg_case_after(0);
	cases[2] = spg_case_default();
	T_EQ(spg_select(cases, 4), 3);
	/* Counted anew from each entry. */
	cases[2] = spg_case_recv(c, NULL);
	cases[3] = spg_case_after(3 * SPG_MS);
	for (int i = 0; i < 3; i++) {
		start = spg_now();
		T_EQ(spg_select(cases, 4), 3);
		T_OK(spg_now() - start >= 3 * SPG_MS);
	}
	T_EQ(spg_chan_send(c, &start), 0);
	T_EQ(spg_select(cases, 4), 2);
	look_empty(c);
	spg_chan_unref(c);
	return 0;
}

/* Goal: the earliest time wins, never early, counted from the entry. */
START_TEST(times_are_kept)
{
	T_EQ(times(NULL), 0);
	t_run((unsigned)_i, times, NULL);
}
END_TEST

static int deadlines(void *arg)
{
	spg_chan *c = spg_chan_new(sizeof(long), 1);
	spg_case cases[2] = { SPG_RECV(c, NULL), SPG_AFTER(20 * SPG_SEC) };
	spg_ctx *ctx = spg_ctx_new(NULL), *previous;
	long v = 1;

	(void)arg;
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_select(cases, 2), -ETIMEDOUT);
		T_ERR(spg_select(NULL, 0), -ETIMEDOUT);
		T_EQ(spg_chan_try_send(c, &v), 0);
		T_ERR(spg_select(cases, 2), -ETIMEDOUT); /* on entry, though there is data */
	}
	{
		SPG_TIMEOUT_SCOPE(20 * SPG_SEC);
		T_EQ(spg_select(cases, 2), 0);
		cases[1] = spg_case_after(2 * SPG_MS);
		T_EQ(spg_select(cases, 2), 1); /* the case's own time came first */
	}
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_select(NULL, 0), -ETIMEDOUT); /* no case at all */
	}
	T_EQ(spg_chan_send(c, &v), 0);
	spg_ctx_cancel(ctx);
	previous = spg_ctx_enter(ctx);
	T_ERR(spg_select(cases, 2), -ECANCELED);
	T_ERR(spg_select(NULL, 0), -ECANCELED);
	cases[1] = spg_case_default();
	T_ERR(spg_select(cases, 2), -ECANCELED);
	spg_ctx_leave(previous);
	T_EQ(spg_chan_len(c), 1);
	spg_ctx_unref(ctx);
	spg_chan_unref(c);
	return 0;
}

/* Goal: the context's end and the cases' times: the nearest counts. */
START_TEST(deadlines_and_times_the_nearest_counts)
{
	T_EQ(deadlines(NULL), 0);
	t_run((unsigned)_i, deadlines, NULL);
}
END_TEST

#define WIDE 300

struct waiting {
	spg_chan *c[WIDE];
	size_t n;
	spg_ctx *ctx;
	int index, err;
	long in[WIDE], out[WIDE];
	_Atomic bool ended;
};

/* Receives from the even ones, sends to the odd ones. */
static void wait_wide(void *arg)
{
	struct waiting *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);
	spg_case *cases = calloc(s->n, sizeof(*cases));

	for (size_t i = 0; i < s->n; i++) {
		s->out[i] = 1000 + (long)i;
		cases[i] = i % 2 == 0 ? spg_case_recv(s->c[i], &s->in[i]) : spg_case_send(s->c[i], &s->out[i]);
		cases[i].err = 1;
	}
	s->index = spg_select(cases, s->n);
	s->err = s->index >= 0 ? cases[s->index].err : 0;
	free(cases);
	atomic_store(&s->ended, true);
	spg_ctx_leave(previous);
}

static void wide_open(struct waiting *s, size_t n)
{
	*s = (struct waiting){ .n = n, .ctx = spg_ctx_new(NULL) };
	for (size_t i = 0; i < n; i++)
		s->c[i] = spg_chan_new(sizeof(long), 0);
}

static void wide_close(struct waiting *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->c[i] == NULL)
			continue;
		look_empty(s->c[i]);
		spg_chan_unref(s->c[i]);
	}
	spg_ctx_unref(s->ctx);
}

static size_t wide_waiters(const struct waiting *s, size_t i)
{
	return look_receivers(s->c[i]) + look_senders(s->c[i]);
}

static void wake_one(size_t n, size_t which, bool foreign, bool closes)
{
	struct waiting *s = calloc(1, sizeof(*s));
	struct crowd crowd;
	long v = 7;

	wide_open(s, n);
	crowd_start(&crowd, !foreign, foreign, wait_wide, s);
	for (size_t i = 0; i < n; i++)
		T_UNTIL(wide_waiters(s, i) == 1);
	if (closes)
		T_EQ(spg_chan_close(s->c[which]), 0);
	else if (which % 2 == 0)
		T_EQ(spg_chan_try_send(s->c[which], &v), 0);
	else
		T_EQ(spg_chan_try_recv(s->c[which], &v), 0);
	/* It is decided: no other case runs. */
	for (size_t i = 0; i < n; i++) {
		if (i != which)
			T_ERR(i % 2 == 0 ? spg_chan_try_send(s->c[i], &v) : spg_chan_try_recv(s->c[i], &v), -EAGAIN);
	}
	crowd_wait(&crowd);
	T_EQ(s->index, which);
	T_ERR(s->err, closes ? -EPIPE : 0);
	if (!closes)
		T_EQ(which % 2 == 0 ? s->in[which] : v, which % 2 == 0 ? 7 : 1000 + (long)which);
	for (size_t i = 0; i < n; i += 2)
		T_EQ(s->in[i], i == which && !closes ? 7 : 0);
	wide_close(s);
	free(s);
}

static int wake_each(void *arg)
{
	(void)arg;
	for (size_t n = 1; n <= 9; n++) {
		for (size_t which = 0; which < n; which++) {
			for (int k = 0; k < 4; k++)
				wake_one(n, which, (k & 1) != 0, (k & 2) != 0);
		}
	}
	for (size_t which = 0; which < WIDE; which += 37)
		wake_one(WIDE, which, which % 3 == 0, which % 5 == 0);
	return 0;
}

/* Goal: each case of few and of hundreds can wake a parked select; it runs alone, and all queues are left. */
START_TEST(any_case_wakes_a_parked_select)
{
	t_run((unsigned)_i, wake_each, NULL);
}
END_TEST

static int cancel_wide(void *arg)
{
	(void)arg;
	for (size_t n = 1; n <= WIDE; n = n * 3 + 1) {
		for (unsigned foreign = 0; foreign < 2; foreign++) {
			struct waiting *s = calloc(1, sizeof(*s));
			struct crowd crowd;

			wide_open(s, n);
			crowd_start(&crowd, !foreign, foreign, wait_wide, s);
			T_UNTIL(wide_waiters(s, n - 1) == 1);
			spg_ctx_cancel(s->ctx);
			crowd_wait(&crowd);
			T_ERR(s->index, -ECANCELED);
			wide_close(s);
			free(s);
		}
	}
	return 0;
}

/* Goal: a canceled select runs no case and leaves all queues. */
START_TEST(a_canceled_select_leaves_all_queues)
{
	t_run((unsigned)_i, cancel_wide, NULL);
}
END_TEST

static int no_memory(void *arg)
{
	struct waiting *s = calloc(1, sizeof(*s));
	spg_case cases[64];
	spg_chan *ready = spg_chan_new(sizeof(long), 1);
	long v = 1;

	(void)arg;
	wide_open(s, 64);
	for (size_t i = 0; i < 64; i++)
		cases[i] = spg_case_recv(s->c[i], &v);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_ERR(spg_select(cases, 64), -ENOMEM);
	for (size_t i = 4; i < 64; i++)
		cases[i].chan = NULL; /* never ready, and no node */
	cases[9] = spg_case_after(SPG_MS);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1000, -ENOMEM);
	T_EQ(spg_select(cases, 64), 9);
	cases[9] = spg_case_recv(ready, &v);
	T_EQ(spg_chan_send(ready, &v), 0);
	T_EQ(spg_select(cases, 64), 9);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	wide_close(s);
	free(s);
	spg_chan_unref(ready);
	return 0;
}

/* Goal: many cases may lack memory; few need none. */
START_TEST(many_cases_may_find_no_memory)
{
	t_run((unsigned)_i, no_memory, NULL);
}
END_TEST

static int same_channel(void *arg)
{
	spg_chan *c = spg_chan_new(sizeof(long), 0), *d = spg_chan_new(sizeof(long), 0);
	long in[3] = { 0 }, out = 4;
	spg_case cases[5] = { SPG_RECV(c, &in[0]), SPG_SEND(c, &out), SPG_RECV(c, &in[1]), SPG_RECV(d, &in[2]),
			      SPG_AFTER(2 * SPG_MS) };

	(void)arg;
	for (int i = 0; i < 3; i++)
		T_EQ(spg_select(cases, 5), 4); /* a send and a receive of one select do not meet */
	cases[4] = spg_case_default();
	T_EQ(spg_select(cases, 5), 4);
	T_EQ(in[0] | in[1] | in[2], 0);
	look_empty(c);
	look_empty(d);
	spg_chan_unref(c);
	spg_chan_unref(d);

	c = spg_chan_new(sizeof(long), 1); /* with room they are both ready, in turn */
	for (int i = 0; i < 10; i++) {
		spg_case pair[2] = { SPG_RECV(c, &in[0]), SPG_SEND(c, &out) };

		T_EQ(spg_select(pair, 2), 1 - i % 2);
	}
	spg_chan_unref(c);
	return 0;
}

/* Goal: several cases on one channel, and a select that would have to meet itself does not. */
START_TEST(a_select_does_not_meet_itself)
{
	T_EQ(same_channel(NULL), 0);
	t_run((unsigned)_i, same_channel, NULL);
}
END_TEST

static void wait_same(void *arg)
{
	struct waiting *s = arg;
	long out = 8;
	spg_case cases[6] = { SPG_RECV(s->c[0], &s->in[0]), SPG_RECV(s->c[0], &s->in[1]),
			      SPG_RECV(s->c[1], &s->in[2]), SPG_RECV(s->c[0], &s->in[3]),
			      SPG_SEND(s->c[1], &out),	    SPG_RECV(s->c[0], &s->in[4]) };

	s->index = spg_select(cases, 6);
	s->err = cases[s->index].err;
	T_EQ(s->err, 0);
}

static int wake_same(void *arg)
{
	(void)arg;
	for (int i = 0; i < 60; i++) {
		struct waiting *s = calloc(1, sizeof(*s));
		struct crowd crowd;
		long v = 3;

		wide_open(s, 2);
		crowd_start(&crowd, i % 4 != 3, i % 4 == 3, wait_same, s);
		T_UNTIL(wide_waiters(s, 0) == 4 && wide_waiters(s, 1) == 2);
		switch (i % 3) {
		case 0:
			T_EQ(spg_chan_send(s->c[0], &v), 0);
			break;
		case 1:
			T_EQ(spg_chan_send(s->c[1], &v), 0);
			break;
		default:
			T_EQ(spg_chan_recv(s->c[1], &v), 0);
			T_EQ(v, 8);
		}
		crowd_wait(&crowd);
		if (i % 3 == 0)
			T_OK(s->index == 0 || s->index == 1 || s->index == 3 || s->index == 5);
		else
			T_EQ(s->index, i % 3 == 1 ? 2 : 4);
		T_EQ(s->in[0] + s->in[1] + s->in[3] + s->in[4], i % 3 == 0 ? 3 : 0);
		T_EQ(s->in[2], i % 3 == 1 ? 3 : 0);
		wide_close(s);
		free(s);
	}
	return 0;
}

/* Goal: a parked select with one channel in several cases runs one of them and leaves with the others. */
START_TEST(several_cases_on_one_channel)
{
	t_run((unsigned)_i, wake_same, NULL);
}
END_TEST

static void wait_without_references(void *arg)
{
	spg_chan **c = arg;
	long v;
	spg_case cases[4] = { SPG_RECV(c[0], &v), SPG_RECV(c[1], &v), SPG_RECV(c[2], &v), SPG_RECV(c[1], &v) };

	T_OK(spg_select(cases, 4) >= 0);
}

static int peers_drop(void *arg)
{
	(void)arg;
	for (int i = 0; i < (t_sanitized() ? 600 : 6000); i++) {
		spg_chan *c[3] = { spg_chan_new(sizeof(long), 0), spg_chan_new(sizeof(long), 0),
				   spg_chan_new(sizeof(long), 0) };
		struct crowd crowd;
		long v = 1;

		crowd_start(&crowd, i % 4 != 0, i % 4 == 0, wait_without_references, c);
		if (i % 8 < 6) /* it waits in all of them; else as it comes */
			T_UNTIL(look_receivers(c[0]) + look_receivers(c[1]) + look_receivers(c[2]) == 4);
		if (i % 2)
			T_EQ(spg_chan_send(c[i % 3], &v), 0);
		else
			T_EQ(spg_chan_close(c[i % 3]), 0);
		if (i % 2 == 0)
			T_EQ(spg_wg_wait(&crowd.wg), 0); /* a close says nothing of who has seen it */
		else if (i % 5 < 3)
			T_ERR(spg_chan_try_send(c[(i + 1) % 3], &v), -EAGAIN); /* meets what is left of the select */
		for (int k = 0; k < 3; k++)
			spg_chan_unref(c[(i + k) % 3]); /* the last ones */
		crowd_wait(&crowd);
	}
	return 0;
}

/* Goal: who has seen a case run may free the channels of all cases (AddressSanitizer watches). */
START_TEST(peers_may_drop_the_other_channels)
{
	t_run((unsigned)_i, peers_drop, NULL);
}
END_TEST

T_MAIN(T_SHARDS(malformed_cases_are_refused), T_SHARDS(a_ready_case_runs_else_the_default),
       T_SHARDS(times_are_kept), T_SHARDS(deadlines_and_times_the_nearest_counts),
       T_SHARDS(any_case_wakes_a_parked_select), T_SHARDS(a_canceled_select_leaves_all_queues),
       T_SHARDS(many_cases_may_find_no_memory), T_SHARDS(a_select_does_not_meet_itself),
       T_SHARDS(several_cases_on_one_channel), T_SHARDS(peers_may_drop_the_other_channels))
