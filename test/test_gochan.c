/*
 * What programs rely on in Go's channels, each said by a test of our own: operations that
 * do not wait against parked ones, select against select, order, duplicates, consumers.
 */
#include "chan_look.h"

struct peers {
	spg_chan *c, *d;
	long got;
	int index;
};

static void plain_recv(void *arg)
{
	struct peers *p = arg;

	T_EQ(spg_chan_recv(p->c, &p->got), 0);
}

static void plain_send(void *arg)
{
	struct peers *p = arg;
	long v = 6;

	T_EQ(spg_chan_send(p->c, &v), 0);
}

static void select_recv(void *arg)
{
	struct peers *p = arg;
	spg_case cases[2] = { SPG_RECV(p->d, NULL), SPG_RECV(p->c, &p->got) };

	p->index = spg_select(cases, 2);
}

static void select_send(void *arg)
{
	struct peers *p = arg;
	long v = 6;
	spg_case cases[3] = { SPG_SEND(p->c, &v), SPG_RECV(p->d, NULL), SPG_SEND(p->d, &v) };

	p->index = spg_select(cases, 3);
}

/* Moves a value past a parked peer without waiting: by a try, or by a select with a default. */
static void meet(struct peers *p, bool peer_sends, bool by_select)
{
	long v = peer_sends ? 0 : 6;
	spg_case cases[2] = { SPG_DEFAULT, SPG_DEFAULT };

	if (by_select) {
		cases[0] = peer_sends ? spg_case_recv(p->c, &v) : spg_case_send(p->c, &v);
		T_EQ(spg_select(cases, 2), 0);
		T_EQ(cases[0].err, 0);
	} else {
		T_EQ(peer_sends ? spg_chan_try_recv(p->c, &v) : spg_chan_try_send(p->c, &v), 0);
	}
	if (peer_sends)
		T_EQ(v, 6);
}

static int nonblocking(void *arg)
{
	static const struct {
		void (*peer)(void *);
		bool sends;
	} peers[] = { { plain_recv, false }, { plain_send, true }, { select_recv, false }, { select_send, true } };

	(void)arg;
	for (int k = 0; k < 64; k++) {
		struct peers p = { .c = spg_chan_new(sizeof(long), 0), .d = spg_chan_new(sizeof(long), 0) };
		bool sends = peers[k % 4].sends, by_select = (k & 4) != 0, foreign = (k & 8) != 0;
		spg_case empty[2] = { SPG_RECV(p.c, NULL), SPG_DEFAULT };
		struct crowd crowd;

		T_ERR(spg_chan_try_recv(p.c, NULL), -EAGAIN);
		T_EQ(spg_select(empty, 2), 1);
		crowd_start(&crowd, !foreign, foreign, peers[k % 4].peer, &p);
		T_UNTIL((sends ? look_senders(p.c) : look_receivers(p.c)) == 1);
		meet(&p, sends, by_select);
		crowd_wait(&crowd);
		if (!sends)
			T_EQ(p.got, 6);
		look_empty(p.c);
		look_empty(p.d);
		spg_chan_unref(p.c);
		spg_chan_unref(p.d);
	}
	return 0;
}

/* Goal: what does not wait meets parked sends, receives and selects. */
START_TEST(operations_that_do_not_wait_meet_parked_ones)
{
	t_run((unsigned)_i, nonblocking, NULL);
}
END_TEST

struct self {
	spg_chan *c;
	_Atomic int next_id;
	_Atomic long sent, received;
	long n;
};

/* Sends its own name or receives another's, whichever comes. */
static void send_or_recv(void *arg)
{
	struct self *s = arg;
	int me = atomic_fetch_add(&s->next_id, 1), other;

	for (long i = 0; i < s->n; i++) {
		spg_case cases[2] = { SPG_SEND(s->c, &me), SPG_RECV(s->c, &other) };
		int k;

		if (i % 2) { /* the other order */
			spg_case swap = cases[0];

			cases[0] = cases[1];
			cases[1] = swap;
		}
		other = me;
		k = spg_select(cases, 2);
		T_OK(k == 0 || k == 1);
		T_EQ(cases[k].err, 0);
		if (cases[k].send_ptr != NULL) {
			atomic_fetch_add(&s->sent, 1);
			continue;
		}
		atomic_fetch_add(&s->received, 1);
		T_OK(other != me || spg_chan_cap(s->c) > 0);
	}
	/* Somebody may be left over: help it. */
	while (atomic_load(&s->sent) + atomic_load(&s->received) < s->n * 2) {
		(void)spg_chan_try_recv(s->c, NULL);
		if (spg_chan_cap(s->c) == 0)
			(void)spg_chan_try_send(s->c, &me);
		t_relax();
	}
}

static int self_select(void *arg)
{
	(void)arg;
	for (size_t cap = 0; cap < 3; cap++) {
		for (unsigned threads = 0; threads < 2; threads++) {
			struct self s = { .c = spg_chan_new(sizeof(int), cap), .n = t_sanitized() ? 400 : 5000 };

			crowd_run(2 - threads, threads, send_or_recv, &s);
			if (cap == 0)
				look_empty(s.c);
			spg_chan_unref(s.c);
		}
	}
	return 0;
}

/* Goal: selects that send and receive on one channel meet each other, never themselves. */
START_TEST(selects_meet_each_other_not_themselves)
{
	t_run((unsigned)_i, self_select, NULL);
}
END_TEST

#define CHANS 4

struct stress {
	spg_chan *c[CHANS];
	long n;
	_Atomic int next;
	_Atomic long sum;
};

static void stress_send(void *arg)
{
	struct stress *s = arg;
	spg_chan *c = s->c[atomic_fetch_add(&s->next, 1) % CHANS];

	for (long i = 0; i < s->n; i++) {
		T_EQ(spg_chan_send(c, &i), 0);
		atomic_fetch_add(&s->sum, i);
	}
}

static void stress_recv(void *arg)
{
	struct stress *s = arg;
	spg_chan *c = s->c[atomic_fetch_add(&s->next, 1) % CHANS];
	long v;

	for (long i = 0; i < s->n; i++) {
		T_EQ(spg_chan_recv(c, &v), 0);
		atomic_fetch_sub(&s->sum, v);
	}
}

/*
 * n on each channel, in whatever order they are ready; a channel that is done becomes NULL.
 * The two sides name the channels in opposite orders.
 */
static void stress_select(struct stress *s, bool sends)
{
	long done[CHANS] = { 0 }, v = 0;
	spg_case cases[CHANS];

	for (int i = 0; i < CHANS; i++)
		cases[i] = sends ? spg_case_send(s->c[i], &done[i]) : spg_case_recv(s->c[CHANS - 1 - i], &v);
	for (long k = 0; k < s->n * CHANS; k++) {
		int i = spg_select(cases, CHANS);

		T_OK(i >= 0);
		T_EQ(cases[i].err, 0);
		if (sends)
			atomic_fetch_add(&s->sum, done[i]);
		else
			atomic_fetch_sub(&s->sum, v);
		if (++done[i] == s->n)
			cases[i].chan = NULL;
	}
}

static void stress_select_send(void *arg)
{
	stress_select(arg, true);
}

static void stress_select_recv(void *arg)
{
	stress_select(arg, false);
}

static int select_stress(void *arg)
{
	static const size_t caps[CHANS] = { 0, 0, 2, 3 };

	(void)arg;
	for (unsigned threads = 0; threads < 2; threads++) {
		struct stress s = { .n = t_sanitized() ? 300 : threads ? 2000 : 20000 };
		struct crowd senders, receivers, selects[2];

		for (int i = 0; i < CHANS; i++)
			s.c[i] = spg_chan_new(sizeof(long), caps[i]);
		crowd_start(&senders, CHANS - threads, threads, stress_send, &s);
		T_UNTIL(atomic_load(&s.next) == CHANS); /* then the others start at channel 0 again */
		crowd_start(&receivers, CHANS - threads, threads, stress_recv, &s);
		crowd_start(&selects[0], 1 - threads, threads, stress_select_send, &s);
		crowd_start(&selects[1], 1, 0, stress_select_recv, &s);
		crowd_wait(&senders);
		crowd_wait(&receivers);
		crowd_wait(&selects[0]);
		crowd_wait(&selects[1]);
		T_EQ(atomic_load(&s.sum), 0);
		for (int i = 0; i < CHANS; i++) {
			look_empty(s.c[i]);
			spg_chan_unref(s.c[i]);
		}
	}
	return 0;
}

/* Goal: sends, receives and selects in all pairings lose no value and no wake. */
START_TEST(stress_selects_against_plain_operations)
{
	t_run((unsigned)_i, select_stress, NULL);
}
END_TEST

#define BETWEEN 6

struct instant {
	spg_chan *a, *b, *idle;
	_Atomic bool over;
	bool found;
};

/* Fills the one before it empties the other: at no instant is nothing there. */
static void move_to_and_fro(void *arg)
{
	struct instant *s = arg;
	long v = 1;

	for (int i = 0; !atomic_load(&s->over); i++) {
		T_EQ(spg_chan_send(i % 2 ? s->a : s->b, &v), 0);
		while (spg_chan_try_recv(i % 2 ? s->b : s->a, NULL) == 0)
			continue;
		if (i % 64 == 0)
			t_relax();
	}
}

/* Whatever it takes it puts back. */
static void look_for_one(struct instant *s)
{
	spg_case cases[BETWEEN + 3];
	long v = 1;
	int k;

	cases[0] = spg_case_recv(s->b, NULL);
	for (int i = 1; i <= BETWEEN; i++)
		cases[i] = spg_case_recv(s->idle, NULL);
	cases[BETWEEN + 1] = spg_case_recv(s->a, NULL);
	cases[BETWEEN + 2] = spg_case_default();
	k = spg_select(cases, BETWEEN + 3);
	T_OK(k == 0 || k == BETWEEN + 1);
	T_EQ(spg_chan_send(cases[k].chan, &v), 0);
}

static int always_one_ready(void *arg)
{
	(void)arg;
	for (unsigned threads = 0; threads < 2; threads++) {
		struct instant s = { .a = spg_chan_new(sizeof(long), 8), .b = spg_chan_new(sizeof(long), 8),
				     .idle = spg_chan_new(sizeof(long), 1) };
		struct crowd crowd;
		long v = 1;

		T_EQ(spg_chan_send(s.a, &v), 0);
		crowd_start(&crowd, 1 - threads, threads, move_to_and_fro, &s);
		for (int i = 0; i < (t_sanitized() ? 3000 : 50000); i++) {
			look_for_one(&s);
			if (i % 64 == 0)
				spg_yield();
		}
		atomic_store(&s.over, true);
		crowd_wait(&crowd);
		spg_chan_unref(s.a);
		spg_chan_unref(s.b);
		spg_chan_unref(s.idle);
	}
	return 0;
}

/* Goal: the default means that at one instant nothing was ready. */
START_TEST(the_default_is_of_one_instant)
{
	t_run((unsigned)_i, always_one_ready, NULL);
}
END_TEST

static void find_value_or_close(void *arg)
{
	struct instant *s = arg;

	s->found = spg_chan_try_recv(s->a, NULL) != -EAGAIN;
}

static int value_or_close(void *arg)
{
	(void)arg;
	for (int i = 0; i < (t_sanitized() ? 500 : 5000); i++) {
		struct instant s = { .a = spg_chan_new(sizeof(long), 1) };
		struct crowd crowd;
		long v = 1;

		T_EQ(spg_chan_send(s.a, &v), 0);
		crowd_start(&crowd, i % 4 != 0, i % 4 == 0, find_value_or_close, &s);
		if (i % 8 < 4)
			spg_yield();
		T_EQ(spg_chan_close(s.a), 0);
		(void)spg_chan_recv(s.a, &v);
		crowd_wait(&crowd);
		T_OK(s.found);
		spg_chan_unref(s.a);
	}
	return 0;
}

/* Goal: a channel that is closed while it has a value never looks empty and open. */
START_TEST(closed_or_full_but_never_neither)
{
	t_run((unsigned)_i, value_or_close, NULL);
}
END_TEST

struct doubled {
	spg_chan *in[CHANS], *out;
	_Atomic int next;
	long n;
};

static void choose_and_send(void *arg)
{
	struct doubled *s = arg;

	for (long i = 0; i < s->n; i++) {
		spg_case cases[CHANS] = { SPG_SEND(s->in[0], &i), SPG_SEND(s->in[1], &i), SPG_SEND(s->in[2], &i),
					  SPG_SEND(s->in[3], &i) };

		T_OK(spg_select(cases, CHANS) >= 0);
	}
	for (int k = 0; k < CHANS; k++)
		T_EQ(spg_chan_close(s->in[k]), 0);
}

static void forward(void *arg)
{
	struct doubled *s = arg;
	spg_chan *in = s->in[atomic_fetch_add(&s->next, 1)];
	long v, last = -1;

	while (spg_chan_recv(in, &v) == 0) {
		T_OK(v > last); /* each channel keeps the order */
		last = v;
		T_EQ(spg_chan_send(s->out, &v), 0);
	}
}

static int double_select(void *arg)
{
	struct doubled s = { .n = t_sanitized() ? 2000 : 50000, .out = spg_chan_new(sizeof(long), 0) };
	unsigned char *seen = calloc(1, (size_t)s.n);
	struct crowd sender, forwarders;
	long v;

	(void)arg;
	for (int i = 0; i < CHANS; i++)
		s.in[i] = spg_chan_new(sizeof(long), 0);
	crowd_start(&forwarders, CHANS, 0, forward, &s);
	crowd_start(&sender, 1, 0, choose_and_send, &s);
	for (long i = 0; i < s.n; i++) {
		T_EQ(spg_chan_recv(s.out, &v), 0);
		T_EQ(seen[v]++, 0); /* once: a select that was decided twice would send twice */
	}
	crowd_wait(&sender);
	crowd_wait(&forwarders);
	for (int i = 0; i < CHANS; i++)
		spg_chan_unref(s.in[i]);
	spg_chan_unref(s.out);
	free(seen);
	return 0;
}

/* Goal: receivers that race for one select's send get each value once, in order. */
START_TEST(a_select_is_decided_once)
{
	t_run((unsigned)_i, double_select, NULL);
}
END_TEST

struct middle {
	spg_chan *c, *d;
	_Atomic int joined;
	int order[8];
	int select_at;
};

/* The select_at-th in c's queue is a select, which also waits for d, and twice for c. */
static void in_queue(void *arg)
{
	struct middle *m = arg;
	int me = atomic_fetch_add(&m->joined, 1), v = 0;
	size_t before = (size_t)(me > m->select_at ? me + 1 : me);

	T_UNTIL(look_receivers(m->c) == before);
	if (me == m->select_at) {
		spg_case cases[3] = { SPG_RECV(m->c, &v), SPG_RECV(m->d, NULL), SPG_RECV(m->c, &v) };

		T_EQ(spg_select(cases, 3), 1);
	} else {
		T_EQ(spg_chan_recv(m->c, &v), 0);
		m->order[v] = me;
	}
}

static int leave_the_middle(void *arg)
{
	(void)arg;
	for (int at = 0; at < 6; at++) {
		struct middle m = { .c = spg_chan_new(sizeof(int), 0), .d = spg_chan_new(0, 0), .select_at = at };
		struct crowd crowd;

		crowd_start(&crowd, 6, 0, in_queue, &m);
		T_UNTIL(look_receivers(m.c) == 7);
		T_EQ(spg_chan_send(m.d, NULL), 0);
		/* At once: the decided select may still stand in c's queue. */
		for (int v = 0; v < 5; v++)
			T_EQ(spg_chan_try_send(m.c, &v), 0);
		T_ERR(spg_chan_try_send(m.c, &at), -EAGAIN);
		crowd_wait(&crowd);
		for (int v = 0; v < 5; v++)
			T_EQ(m.order[v], v < at ? v : v + 1);
		look_empty(m.c);
		spg_chan_unref(m.c);
		spg_chan_unref(m.d);
	}
	return 0;
}

/* Goal: a select that another channel decided leaves a queue whole, whatever its place was. */
START_TEST(a_decided_select_leaves_the_queue_whole)
{
	t_run((unsigned)_i, leave_the_middle, NULL);
}
END_TEST

struct work {
	spg_chan *jobs, *results;
};

static void consume(void *arg)
{
	struct work *w = arg;
	long v;

	while (spg_chan_recv(w->jobs, &v) == 0) {
		if (v % 7 == 0)
			spg_yield();
		v *= 3;
		T_EQ(spg_chan_send(w->results, &v), 0);
	}
}

struct feed {
	spg_chan *jobs;
	long n;
};

static void feed(void *arg)
{
	struct feed *f = arg;

	for (long i = 0; i < f->n; i++)
		T_EQ(spg_chan_send(f->jobs, &i), 0);
	T_EQ(spg_chan_close(f->jobs), 0);
}

static int multi_consumer(void *arg)
{
	struct work w = { spg_chan_new(sizeof(long), 69), spg_chan_new(sizeof(long), 69) };
	struct feed f = { w.jobs, t_sanitized() ? 5000 : 100000 };
	struct crowd feeder, workers;
	long sum = 0, v;

	(void)arg;
	crowd_start(&workers, 20, 3, consume, &w);
	crowd_start(&feeder, 1, 0, feed, &f);
	for (long i = 0; i < f.n; i++) {
		T_EQ(spg_chan_recv(w.results, &v), 0);
		sum += v;
	}
	crowd_wait(&feeder);
	crowd_wait(&workers);
	T_EQ(sum, 3 * (f.n * (f.n - 1) / 2));
	look_empty(w.jobs);
	look_empty(w.results);
	spg_chan_unref(w.jobs);
	spg_chan_unref(w.results);
	return 0;
}

/* Goal: many consumers, coroutines and threads, share the jobs of one feeder. */
START_TEST(many_consumers_share_the_work)
{
	t_run((unsigned)_i, multi_consumer, NULL);
}
END_TEST

T_MAIN(T_SHARDS(operations_that_do_not_wait_meet_parked_ones), T_SHARDS(selects_meet_each_other_not_themselves),
       T_SHARDS(stress_selects_against_plain_operations), T_SHARDS(the_default_is_of_one_instant),
       T_SHARDS(closed_or_full_but_never_neither), T_SHARDS(a_select_is_decided_once),
       T_SHARDS(a_decided_select_leaves_the_queue_whole), T_SHARDS(many_consumers_share_the_work))
