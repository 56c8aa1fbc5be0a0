/*
 * Whole programs of channels: a sieve, a chain of ten thousand, power series whose
 * coefficients are computed on demand. Each is ended by canceling its context.
 */
#include "chan_look.h"

#define CHANS_MAX 20001

/* A program: its coroutines run under ctx, its channels are freed when they have ended. */
struct program {
	spg_ctx *ctx, *previous;
	spg_wg running;
	spg_chan *chan[CHANS_MAX];
	_Atomic size_t chans;
};

static struct program *program_new(void)
{
	struct program *p = calloc(1, sizeof(*p));

	T_OK(p != NULL);
	p->ctx = spg_ctx_new(NULL);
	p->previous = spg_ctx_enter(p->ctx);
	return p;
}

static void program_end(struct program *p)
{
	spg_ctx_cancel(p->ctx);
	spg_ctx_leave(p->previous);
	T_EQ(spg_wg_wait(&p->running), 0);
	for (size_t i = 0; i < atomic_load(&p->chans); i++) {
		T_EQ(look_receivers(p->chan[i]) + look_senders(p->chan[i]), 0);
		spg_chan_unref(p->chan[i]);
	}
	spg_ctx_unref(p->ctx);
	free(p);
}

static spg_chan *program_chan(struct program *p, size_t size, size_t cap)
{
	size_t i = atomic_fetch_add(&p->chans, 1);

	T_OK(i < CHANS_MAX);
	p->chan[i] = spg_chan_new(size, cap);
	T_OK(p->chan[i] != NULL);
	return p->chan[i];
}

/* Starts fn with a copy of a part, whose first member is the program; fn ends with part_end. */
static void program_go(struct program *p, spg_fn fn, const void *part, size_t size)
{
	T_EQ(spg_wg_add(&p->running, 1), 0);
	T_EQ(spg_go_copy(fn, part, size), 0);
}

struct filter {
	struct program *p;
	spg_chan *in, *out;
	long prime;
};

static void numbers(void *arg)
{
	struct filter *f = arg;

	for (long i = 2; spg_chan_send(f->out, &i) == 0; i++)
		continue;
	T_EQ(spg_wg_done(&f->p->running), 0);
}

static void sift(void *arg)
{
	struct filter *f = arg;
	long v;

	while (spg_chan_recv(f->in, &v) == 0) {
		if (v % f->prime != 0 && spg_chan_send(f->out, &v) < 0)
			break;
	}
	T_EQ(spg_wg_done(&f->p->running), 0);
}

static int sieve(void *arg)
{
	static const struct {
		int n;
		long prime;
	} known[] = { { 1, 2 }, { 25, 97 }, { 168, 997 }, { 200, 1223 }, { 400, 2741 } };
	int want = t_sanitized() ? 200 : 400;

	for (size_t cap = 0; cap <= 2; cap += 2) {
		struct program *p = program_new();
		struct filter f = { .p = p, .out = program_chan(p, sizeof(long), cap) };
		size_t at = 0;

		program_go(p, numbers, &f, sizeof(f));
		for (int n = 1; n <= want; n++) {
			f.in = f.out;
			T_EQ(spg_chan_recv(f.in, &f.prime), 0);
			if (n == known[at].n)
				T_EQ(f.prime, known[at++].prime);
			f.out = program_chan(p, sizeof(long), cap);
			program_go(p, sift, &f, sizeof(f));
		}
		program_end(p);
	}
	(void)arg;
	return 0;
}

/* Goal: the sieve of chained filters finds the primes. */
START_TEST(a_sieve_of_filters_finds_primes)
{
	t_run((unsigned)_i, sieve, NULL);
}
END_TEST

static void add_one(void *arg)
{
	struct filter *f = arg;
	long v;

	T_EQ(spg_chan_recv(f->in, &v), 0);
	v++;
	T_EQ(spg_chan_send(f->out, &v), 0);
	T_EQ(spg_wg_done(&f->p->running), 0);
}

static int chain(void *arg)
{
	struct program *p = program_new();
	long links = t_tsan() ? 1000 : 10000, v = 0;
	struct filter f = { .p = p, .in = program_chan(p, sizeof(long), 0) };
	spg_chan *first = f.in;

	(void)arg;
	for (long i = 0; i < links; i++) {
		f.out = program_chan(p, sizeof(long), 0);
		program_go(p, add_one, &f, sizeof(f));
		f.in = f.out;
	}
	T_EQ(spg_chan_send(first, &v), 0);
	T_EQ(spg_chan_recv(f.in, &v), 0);
	T_EQ(v, links);
	program_end(p);
	return 0;
}

/* Goal: a value passes ten thousand coroutines. */
START_TEST(a_chain_of_ten_thousand_links)
{
	t_run((unsigned)_i, chain, NULL);
}
END_TEST

/* A rational number. */
struct rat {
	int64_t num, den;
};

static struct rat rat(int64_t num, int64_t den)
{
	int64_t a = num < 0 ? -num : num, b = den;

	while (b != 0) {
		int64_t rest = a % b;

		a = b;
		b = rest;
	}
	return (struct rat){ num / a, den / a };
}

static struct rat rat_add(struct rat a, struct rat b)
{
	return rat(a.num * b.den + b.num * a.den, a.den * b.den);
}

static struct rat rat_mul(struct rat a, struct rat b)
{
	return rat(a.num * b.num, a.den * b.den);
}

/* A power series: ask for the next coefficient, then get it. */
struct series {
	spg_chan *ask, *get;
};

static struct series series_new(struct program *p)
{
	return (struct series){ program_chan(p, 0, 0), program_chan(p, sizeof(struct rat), 0) };
}

static bool next(struct series s, struct rat *r)
{
	return spg_chan_send(s.ask, NULL) == 0 && spg_chan_recv(s.get, r) == 0;
}

/* Waits to be asked, and answers. */
static bool asked(struct series s)
{
	return spg_chan_recv(s.ask, NULL) == 0;
}

static bool answer(struct series s, struct rat r)
{
	return spg_chan_send(s.get, &r) == 0;
}

struct node {
	struct program *p;
	struct series f, g, out, out2;
	struct rat c;
};

static struct series node_start(spg_fn fn, struct node n)
{
	n.out = series_new(n.p);
	program_go(n.p, fn, &n, sizeof(n));
	return n.out;
}

/* c + c x + c x^2 + ... */
static void repeat_run(void *arg)
{
	struct node *n = arg;

	while (asked(n->out) && answer(n->out, n->c))
		continue;
	T_EQ(spg_wg_done(&n->p->running), 0);
}

/* f + g */
static void add_run(void *arg)
{
	struct node *n = arg;
	struct rat a, b;

	while (asked(n->out) && next(n->f, &a) && next(n->g, &b) && answer(n->out, rat_add(a, b)))
		continue;
	T_EQ(spg_wg_done(&n->p->running), 0);
}

/* c f */
static void scale_run(void *arg)
{
	struct node *n = arg;
	struct rat a;

	while (asked(n->out) && next(n->f, &a) && answer(n->out, rat_mul(n->c, a)))
		continue;
	T_EQ(spg_wg_done(&n->p->running), 0);
}

/* c + x f */
static void shift_run(void *arg)
{
	struct node *n = arg;
	bool more = asked(n->out) && answer(n->out, n->c);
	struct rat a;

	while (more)
		more = asked(n->out) && next(n->f, &a) && answer(n->out, a);
	T_EQ(spg_wg_done(&n->p->running), 0);
}

/* The integral of f, with c at 0. Like all here it asks no earlier than it must: so series may feed themselves. */
static void integral_run(void *arg)
{
	struct node *n = arg;
	bool more = asked(n->out) && answer(n->out, n->c);
	struct rat a;

	for (int64_t k = 1; more; k++)
		more = asked(n->out) && next(n->f, &a) && answer(n->out, rat_mul(a, rat(1, k)));
	T_EQ(spg_wg_done(&n->p->running), 0);
}

#define TERMS 64

/* f twice: each reader in its own time, and f is asked when the first of them needs more. */
static void split_run(void *arg)
{
	struct node *n = arg;
	struct series out[2] = { n->out, n->out2 };
	struct rat kept[TERMS];
	int at[2] = { 0, 0 }, have = 0;
	bool waits[2] = { false, false }, asking = false;

	for (;;) {
		spg_case cases[3];
		bool need = false;
		int k;

		for (int i = 0; i < 2; i++) {
			cases[i] = waits[i] ? spg_case_send(at[i] < have ? out[i].get : NULL, &kept[at[i]]) :
					      spg_case_recv(out[i].ask, NULL);
			need |= waits[i] && at[i] == have;
		}
		cases[2] = asking ? spg_case_recv(n->f.get, &kept[have]) : spg_case_send(need ? n->f.ask : NULL, "");
		k = spg_select(cases, 3);
		if (k < 0)
			break;
		if (k == 2) {
			have += asking;
			asking = !asking;
			T_OK(have < TERMS);
		} else {
			at[k] += waits[k];
			waits[k] = !waits[k];
		}
	}
	T_EQ(spg_wg_done(&n->p->running), 0);
}

static void split(struct program *p, struct series f, struct series *out, struct series *out2)
{
	struct node n = { .p = p, .f = f, .out = *out = series_new(p), .out2 = *out2 = series_new(p) };

	program_go(p, split_run, &n, sizeof(n));
}

static void mul_run(void *arg);

/* f g without the first term, over x: a G + b F + x F G, where a + x F = f and b + x G = g. */
static struct series mul_rest(struct node *n, struct rat a, struct rat b)
{
	struct series f[2], g[2], left, right, both;
	struct program *p = n->p;

	split(p, n->f, &f[0], &f[1]);
	split(p, n->g, &g[0], &g[1]);
	left = node_start(scale_run, (struct node){ .p = p, .f = g[0], .c = a });
	right = node_start(scale_run, (struct node){ .p = p, .f = f[0], .c = b });
	both = node_start(mul_run, (struct node){ .p = p, .f = f[1], .g = g[1] });
	both = node_start(shift_run, (struct node){ .p = p, .f = both, .c = { 0, 1 } });
	left = node_start(add_run, (struct node){ .p = p, .f = left, .g = right });
	return node_start(add_run, (struct node){ .p = p, .f = left, .g = both });
}

/* f g; each term that is asked for grows the net by one more multiplication. */
static void mul_run(void *arg)
{
	struct node *n = arg;
	struct rat a, b;
	bool more = asked(n->out) && next(n->f, &a) && next(n->g, &b) && answer(n->out, rat_mul(a, b));

	if (more && asked(n->out)) {
		struct series rest = mul_rest(n, a, b);

		do
			more = next(rest, &a) && answer(n->out, a);
		while (more && asked(n->out));
	}
	T_EQ(spg_wg_done(&n->p->running), 0);
}

static struct series geometric(struct program *p)
{
	return node_start(repeat_run, (struct node){ .p = p, .c = { 1, 1 } });
}

static void expect(struct series s, const struct rat *want, int n)
{
	for (int i = 0; i < n; i++) {
		struct rat r;

		T_OK(next(s, &r));
		T_EQ(r.num, want[i].num);
		T_EQ(r.den, want[i].den);
	}
}

#define SHORT 12

/* e^x is its own integral, but for the 1. */
static void check_exp(void)
{
	struct program *p = program_new();
	struct node n = { .p = p, .c = { 1, 1 }, .out = series_new(p) };
	struct series e, fed;
	struct rat want[SHORT] = { { 1, 1 } };

	split(p, n.out, &e, &fed);
	n.f = fed;
	program_go(p, integral_run, &n, sizeof(n));
	for (int i = 1; i < SHORT; i++)
		want[i] = rat(1, want[i - 1].den * i);
	expect(e, want, SHORT);
	program_end(p);
}

/* The derivative of tan is 1 + tan^2. */
static void check_tan(void)
{
	static const struct rat want[SHORT] = { { 0, 1 }, { 1, 1 },  { 0, 1 }, { 1, 3 },     { 0, 1 }, { 2, 15 },
						{ 0, 1 }, { 17, 315 }, { 0, 1 }, { 62, 2835 }, { 0, 1 }, { 1382, 155925 } };
	struct program *p = program_new();
	struct node n = { .p = p, .c = { 0, 1 }, .out = series_new(p) };
	struct series tan, fed, twice[2], square, one;

	split(p, n.out, &tan, &fed);
	split(p, fed, &twice[0], &twice[1]);
	square = node_start(mul_run, (struct node){ .p = p, .f = twice[0], .g = twice[1] });
	one = node_start(repeat_run, (struct node){ .p = p, .c = { 0, 1 } });
	one = node_start(shift_run, (struct node){ .p = p, .f = one, .c = { 1, 1 } });
	n.f = node_start(add_run, (struct node){ .p = p, .f = one, .g = square });
	program_go(p, integral_run, &n, sizeof(n));
	expect(tan, want, SHORT);
	program_end(p);
}

/* 1 / (1 - x)^3 has the triangular numbers. */
static void check_triangular(void)
{
	struct program *p = program_new();
	struct rat want[2 * SHORT];
	struct series s;

	s = node_start(mul_run, (struct node){ .p = p, .f = geometric(p), .g = geometric(p) });
	s = node_start(mul_run, (struct node){ .p = p, .f = s, .g = geometric(p) });
	for (int i = 0; i < 2 * SHORT; i++)
		want[i] = rat((i + 1) * (i + 2) / 2, 1);
	expect(s, want, 2 * SHORT);
	program_end(p);
}

static int power_series(void *arg)
{
	(void)arg;
	check_triangular();
	check_exp();
	check_tan();
	return 0;
}

/* Goal: nets of coroutines that grow on demand and feed themselves compute what they should. */
START_TEST(power_series_on_demand)
{
	t_run((unsigned)_i, power_series, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_sieve_of_filters_finds_primes), T_SHARDS(a_chain_of_ten_thousand_links),
       T_SHARDS(power_series_on_demand))
