/* Select: that the choice is uniform, that data wins, that nothing leaks. */
#include "chan_look.h"

#include <math.h>

#define CASES_MAX 24

/*
 * Draws of `classes` equally likely values: chi-square with classes - 1 degrees of freedom.
 * Beyond mean + 5 deviations + 20: about one run in ten million.
 */
static void check_uniform(const long *seen, unsigned classes, const char *what)
{
	double total = 0, expected, chi = 0, freedom = classes - 1, limit = freedom + 5 * sqrt(2 * freedom) + 20;

	for (unsigned i = 0; i < classes; i++)
		total += (double)seen[i];
	expected = total / classes;
	for (unsigned i = 0; i < classes; i++)
		chi += ((double)seen[i] - expected) * ((double)seen[i] - expected) / expected;
	if (chi > limit)
		t_fail(__FILE__, __LINE__, "%s, %u ready: chi-square %.1f, limit %.1f", what, classes, chi, limit);
}

/* n cases, of which those with a bit in the mask are ready; spread over receives, sends and closed ones. */
static void choose_buffered(unsigned n, uint32_t mask, long draws)
{
	spg_chan *c[CASES_MAX];
	spg_case cases[CASES_MAX];
	long seen[CASES_MAX] = { 0 }, index_of[CASES_MAX] = { 0 }, v = 1;
	unsigned ready = 0;

	for (unsigned i = 0; i < n; i++) {
		bool on = (mask >> i & 1) != 0, sends = i % 3 == 1;

		c[i] = spg_chan_new(sizeof(v), 1);
		cases[i] = sends ? spg_case_send(c[i], &v) : spg_case_recv(c[i], &v);
		if (on && i % 3 == 2)
			T_EQ(spg_chan_close(c[i]), 0);
		else if (on != sends)
			T_EQ(spg_chan_send(c[i], &v), 0);
		index_of[i] = on ? (long)ready++ : -1;
	}
	for (long k = 0; k < draws; k++) {
		int i = spg_select(cases, n);

		T_OK(i >= 0 && index_of[i] >= 0);
		seen[index_of[i]]++;
		if (i % 3 == 0)
			T_EQ(spg_chan_send(c[i], &v), 0);
		else if (i % 3 == 1)
			T_EQ(spg_chan_recv(c[i], &v), 0);
	}
	for (unsigned i = 0; i < n; i++)
		spg_chan_unref(c[i]);
	check_uniform(seen, ready, "buffered");
}

static int choose_all(void *arg)
{
	static const struct {
		unsigned n;
		uint32_t mask;
	} sets[] = { { 2, 3 }, { 4, 15 }, { 4, 3 }, { 4, 9 }, { 5, 22 }, { 9, 0x1FF }, { 9, 0x103 }, { 24, 0xFFFFFF },
		     { 24, 0x10300F } };

	(void)arg;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		choose_buffered(sets[i].n, sets[i].mask, t_sanitized() ? 4000 : 40000);
	return 0;
}

/* Goal: among ready cases each is chosen as often, wherever they stand (chi-square). */
START_TEST(the_choice_is_uniform)
{
	T_EQ(choose_all(NULL), 0);
	t_run((unsigned)_i, choose_all, NULL);
}
END_TEST

struct parked {
	spg_chan *c;
	_Atomic long values;
};

static void keep_sending(void *arg)
{
	struct parked *p = arg;

	while (spg_chan_send(p->c, NULL) == 0)
		atomic_fetch_add(&p->values, 1);
}

/* Every draw finds all senders parked; so the first look chooses, not the order of arrival. */
static int choose_parked(void *arg)
{
	struct parked p[5] = { 0 };
	struct crowd crowd[5];
	spg_case cases[6];
	long seen[5] = { 0 };

	(void)arg;
	for (int i = 0; i < 5; i++) {
		p[i].c = spg_chan_new(0, 0);
		cases[i] = spg_case_recv(p[i].c, NULL);
		crowd_start(&crowd[i], 1, 0, keep_sending, &p[i]);
	}
	cases[5] = spg_case_default();
	for (int k = 0; k < (t_sanitized() ? 2000 : 10000); k++) {
		int i;

		for (i = 0; i < 5; i++)
			T_UNTIL(look_senders(p[i].c) == 1);
		i = spg_select(cases, 6);
		T_OK(i >= 0 && i < 5);
		seen[i]++;
	}
	for (int i = 0; i < 5; i++) {
		T_EQ(spg_chan_close(p[i].c), 0);
		crowd_wait(&crowd[i]);
		T_EQ(atomic_load(&p[i].values), seen[i]);
		spg_chan_unref(p[i].c);
	}
	check_uniform(seen, 5, "parked senders");
	return 0;
}

/* Goal: the same among parked peers. */
START_TEST(the_choice_among_parked_peers_is_uniform)
{
	t_run((unsigned)_i, choose_parked, NULL);
}
END_TEST

static int choose_mixed(void *arg)
{
	spg_chan *full = spg_chan_new(sizeof(long), 1), *closed = spg_chan_new(sizeof(long), 0);
	long seen[6] = { 0 }, v = 1;
	int fds[2];
	spg_case cases[7];

	(void)arg;
	T_EQ(pipe(fds), 0);
	T_EQ(spg_chan_close(closed), 0);
	T_EQ(spg_chan_send(full, &v), 0);
	cases[0] = spg_case_recv(full, &v);
	cases[1] = spg_case_at(spg_now());
	cases[2] = spg_case_send(closed, &v);
	cases[3] = spg_case_writable(fds[1]);
	cases[4] = spg_case_recv(closed, &v);
	cases[5] = spg_case_after(-1);
	cases[6] = spg_case_readable(fds[0]); /* never */
	for (int k = 0; k < (t_sanitized() ? 3000 : 20000); k++) {
		int i = spg_select(cases, 7);

		T_OK(i >= 0 && i < 6);
		seen[i]++;
		if (i == 0)
			T_EQ(spg_chan_send(full, &v), 0);
	}
	check_uniform(seen, 6, "channels, times, descriptors");
	close(fds[0]);
	close(fds[1]);
	spg_chan_unref(full);
	spg_chan_unref(closed);
	return 0;
}

/* Goal: times that have come and descriptors count like channels. */
START_TEST(the_choice_among_all_kinds_is_uniform)
{
	T_EQ(choose_mixed(NULL), 0);
	t_run((unsigned)_i, choose_mixed, NULL);
}
END_TEST

struct race {
	spg_chan *c[3];
	spg_ctx *ctx;
	int index;
	int64_t after;
	long value;
	unsigned spins;
};

static void race_select(void *arg)
{
	struct race *r = arg;
	spg_ctx *previous = spg_ctx_enter(r->ctx);
	long out = 12;
	spg_case cases[4] = { SPG_RECV(r->c[0], &r->value), SPG_SEND(r->c[1], &out), SPG_RECV(r->c[2], &r->value),
			      SPG_AFTER(r->after) };

	r->index = spg_select(cases, 4);
	spg_ctx_leave(previous);
}

static void race_cancel(void *arg)
{
	struct race *r = arg;

	for (volatile unsigned i = 0; i < r->spins; i++)
		continue;
	spg_ctx_cancel(r->ctx);
}

static bool race_parked(struct race *r)
{
	return look_receivers(r->c[0]) + look_senders(r->c[1]) + look_receivers(r->c[2]) == 3;
}

/* One select; a peer, a cancel and a time compete for it. */
static int race_rounds(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	int served = 0, timed = 0, rounds = t_sanitized() ? 300 : 2000;

	for (int i = 0; i < rounds; i++) {
		uint64_t random = t_random(&state);
		struct race r = { .ctx = spg_ctx_new(NULL), .after = random & 64 ? SPG_SEC * 100 : 100 * SPG_US };
		struct crowd waiter, canceler;
		int which = (int)((random >> 40) % 3), err;
		bool foreign = (random & 3) == 0;
		long v = 21;

		for (int k = 0; k < 3; k++)
			r.c[k] = spg_chan_new(sizeof(long), 0);
		r.spins = random >> 8 & 255;
		crowd_start(&waiter, !foreign, foreign, race_select, &r);
		if (random & 64)
			T_UNTIL(race_parked(&r));
		crowd_start(&canceler, (random & 8) != 0, (random & 8) == 0, race_cancel, &r);
		for (volatile unsigned k = 0; k < (random >> 16 & 1023); k++)
			continue;
		if (random & 16)
			spg_yield();
		err = which == 1 ? spg_chan_try_recv(r.c[1], &v) : spg_chan_try_send(r.c[which], &v);
		if (err == 0) { /* H5: seen, so all of them may go */
			for (int k = 0; k < 3; k++)
				spg_chan_unref(r.c[k]);
		}
		crowd_wait(&canceler);
		crowd_wait(&waiter);
		if (err == 0) {
			T_EQ(r.index, which); /* data wins */
			T_EQ(which == 1 ? v : r.value, which == 1 ? 12 : 21);
		} else {
			T_ERR(err, -EAGAIN);
			T_OK(r.index == -ECANCELED || r.index == 3);
			for (int k = 0; k < 3; k++) {
				look_empty(r.c[k]);
				spg_chan_unref(r.c[k]);
			}
		}
		served += err == 0;
		timed += r.index == 3;
		spg_ctx_unref(r.ctx);
	}
	fprintf(stderr, "data won %d of %d, a time %d\n", served, rounds, timed);
	return 0;
}

/* Goal: what a peer saw done is what the select reports, against cancel and time. */
START_TEST(prop_data_wins_in_a_select)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, race_rounds, &seed);
}
END_TEST

struct rounds {
	spg_chan *data, *idle[4];
	long n;
};

static void feed(void *arg)
{
	struct rounds *r = arg;

	for (long i = 0; i < r->n; i++)
		T_EQ(spg_chan_send(r->data, &i), 0);
	T_EQ(spg_chan_close(r->data), 0);
}

/* Selects over one busy channel, idle ones and a far time; many cases too, whose nodes are allocated. */
static void drain(struct rounds *r, size_t width)
{
	spg_case cases[12];
	struct crowd crowd;
	long v = 0, sum = 0;
	int i;

	r->data = spg_chan_new(sizeof(long), 0);
	crowd_start(&crowd, 1, 0, feed, r);
	for (;;) {
		for (size_t k = 0; k < width; k++)
			cases[k] = spg_case_recv(r->idle[k % 4], NULL);
		cases[1] = spg_case_after(1000 * SPG_SEC);
		cases[2] = spg_case_recv(r->data, &v);
		i = spg_select(cases, width);
		T_EQ(i, 2);
		if (cases[2].err == -EPIPE)
			break;
		sum += v;
	}
	crowd_wait(&crowd);
	T_EQ(sum, r->n * (r->n - 1) / 2);
	spg_chan_unref(r->data);
}

static int leak_rounds(void *arg)
{
	struct rounds r = { .n = t_sanitized() ? 5000 : 100000 };
	size_t before = 0;

	(void)arg;
	for (int k = 0; k < 4; k++)
		r.idle[k] = spg_chan_new(sizeof(long), 0);
	for (int k = 0; k < 10; k++) {
		drain(&r, k % 2 ? 12 : 5);
		if (k == 1)
			before = t_rss_bytes();
	}
	for (int k = 0; k < 4; k++) {
		look_empty(r.idle[k]);
		spg_chan_unref(r.idle[k]);
	}
	if (!t_sanitized())
		T_OK(t_rss_bytes() <= before + (256 << 10));
	return 0;
}

/* Goal: a million selects that waited on idle channels leave nothing behind. */
START_TEST(a_million_selects_leave_nothing)
{
	t_run((unsigned)_i, leak_rounds, NULL);
}
END_TEST

T_MAIN(T_SHARDS(the_choice_is_uniform), T_SHARDS(the_choice_among_parked_peers_is_uniform),
       T_SHARDS(the_choice_among_all_kinds_is_uniform), T_SHARDS(prop_data_wins_in_a_select),
       T_SHARDS(a_million_selects_leave_nothing))
