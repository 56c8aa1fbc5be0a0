/* Channels: how waits end early, who closes first, and who lets go last. */
#include "chan_look.h"

struct ended {
	spg_chan *c;
	spg_ctx *ctx;
	int result;
	_Atomic int count;
};

static void recv_under(void *arg)
{
	struct ended *e = arg;
	spg_ctx *previous = spg_ctx_enter(e->ctx);
	long v = 77;

	T_ERR(spg_chan_recv(e->c, &v), e->result);
	T_EQ(v, 77);
	atomic_fetch_add(&e->count, 1);
	spg_ctx_leave(previous);
}

static void send_under(void *arg)
{
	struct ended *e = arg;
	spg_ctx *previous = spg_ctx_enter(e->ctx);
	long v = 77;

	T_ERR(spg_chan_send(e->c, &v), e->result);
	atomic_fetch_add(&e->count, 1);
	spg_ctx_leave(previous);
}

static int cancel_waiters(void *arg)
{
	(void)arg;
	for (int k = 0; k < 4; k++) {
		struct ended e = { .c = spg_chan_new(sizeof(long), 0) };
		struct crowd crowd;
		long v = 1;

		e.result = k < 2 ? -ECANCELED : -ETIMEDOUT;
		e.ctx = k < 2 ? spg_ctx_new(NULL) : spg_ctx_with_timeout(NULL, 20 * SPG_MS);
		crowd_start(&crowd, 20, 3, k % 2 ? send_under : recv_under, &e);
		if (k < 2) {
			T_UNTIL(look_receivers(e.c) + look_senders(e.c) == 23);
			spg_ctx_cancel(e.ctx);
		}
		crowd_wait(&crowd);
		T_EQ(atomic_load(&e.count), 23);
		look_empty(e.c);
		/* Nothing was taken or sent, and the channel is as good as new. */
		T_ERR(spg_chan_try_recv(e.c, &v), -EAGAIN);
		T_ERR(spg_chan_try_send(e.c, &v), -EAGAIN);
		spg_ctx_unref(e.ctx);
		spg_chan_unref(e.c);
	}
	return 0;
}

/* Goal: a canceled or expired call leaves the queue and has moved nothing. */
START_TEST(an_ended_context_takes_waiters_out)
{
	t_run((unsigned)_i, cancel_waiters, NULL);
}
END_TEST

static int entry(void *arg)
{
	spg_chan *c = spg_chan_new(sizeof(long), 2);
	spg_ctx *ctx = spg_ctx_new(NULL), *previous;
	long v = 3;

	(void)arg;
	T_EQ(spg_chan_send(c, &v), 0);
	spg_ctx_cancel(ctx);
	previous = spg_ctx_enter(ctx);
	T_ERR(spg_chan_recv(c, &v), -ECANCELED);
	T_ERR(spg_chan_send(c, &v), -ECANCELED);
	T_EQ(spg_chan_len(c), 1);
	T_EQ(spg_chan_try_send(c, &v), 0); /* tries ignore the context */
	T_EQ(spg_chan_try_recv(c, &v), 0);
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);

	ctx = spg_ctx_with_timeout(NULL, 0);
	previous = spg_ctx_enter(ctx);
	T_ERR(spg_chan_recv(c, &v), -ETIMEDOUT);
	{
		SPG_SHIELD_SCOPE();
		T_EQ(spg_chan_recv(c, &v), 0);
		T_EQ(spg_chan_send(c, &v), 0);
	}
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_EQ(spg_chan_recv(c, &v), 0);
		T_ERR(spg_chan_recv(c, &v), -ETIMEDOUT);
	}
	T_ERR(spg_chan_try_recv(c, &v), -EAGAIN);
	spg_chan_unref(c);
	return 0;
}

/* Goal: a context that ended before the call fails it on entry, even with data there. */
START_TEST(an_ended_context_fails_the_call_on_entry)
{
	T_EQ(entry(NULL), 0);
	t_run((unsigned)_i, entry, NULL);
}
END_TEST

struct starve {
	spg_chan *c;
	spg_ctx *ctx;
	_Atomic bool stop;
};

/* Ignores every error. */
static void careless(void *arg)
{
	struct starve *s = arg;
	spg_ctx *previous = spg_ctx_enter(s->ctx);

	while (!atomic_load(&s->stop))
		(void)spg_chan_recv(s->c, NULL);
	spg_ctx_leave(previous);
}

static int careless_loop(void *arg)
{
	struct starve s = { .c = spg_chan_new(1, 0), .ctx = spg_ctx_new(NULL) };
	struct crowd crowd;

	(void)arg;
	spg_ctx_cancel(s.ctx);
	crowd_start(&crowd, 8, 0, careless, &s);
	for (int i = 0; i < 100; i++)
		spg_yield();
	atomic_store(&s.stop, true);
	crowd_wait(&crowd);
	spg_ctx_unref(s.ctx);
	spg_chan_unref(s.c);
	return 0;
}

/* Goal: a loop that ignores the end of its context lets others run. */
START_TEST(a_careless_loop_starves_nobody)
{
	t_run((unsigned)_i, careless_loop, NULL);
}
END_TEST

struct race {
	spg_chan *c;
	spg_ctx *ctx;
	int err;
	long value;
	char *large; /* the waiter's element, where it is not value */
	unsigned wait_spins;
};

static void race_recv(void *arg)
{
	struct race *r = arg;
	spg_ctx *previous = spg_ctx_enter(r->ctx);

	r->value = -1;
	r->err = spg_chan_recv(r->c, r->large != NULL ? (void *)r->large : &r->value);
	if (r->large != NULL && r->err == 0)
		memcpy(&r->value, r->large, sizeof(r->value));
	spg_ctx_leave(previous);
}

static void race_send(void *arg)
{
	struct race *r = arg;
	spg_ctx *previous = spg_ctx_enter(r->ctx);
	long v = 9;

	if (r->large != NULL)
		memcpy(r->large, &v, sizeof(v));
	r->err = spg_chan_send(r->c, r->large != NULL ? (void *)r->large : &v);
	spg_ctx_leave(previous);
}

static void race_cancel(void *arg)
{
	struct race *r = arg;

	for (volatile unsigned i = 0; i < r->wait_spins; i++)
		continue;
	spg_ctx_cancel(r->ctx);
}

/* Copied for so long that the waiter mostly hears of the cancel meanwhile. */
#define MEDIUM (64 << 10)

/* One waiter, one that serves it by a try, one that cancels it: served or canceled, on both sides alike. */
static int cancel_against_data(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	int served = 0, rounds = t_sanitized() ? 2000 : 16000;
	char *ours = calloc(1, MEDIUM), *theirs = calloc(1, MEDIUM);
	struct crowd_hand waiting, canceling;

	crowd_hand_open(&waiting);
	crowd_hand_open(&canceling);
	for (int i = 0; i < rounds; i++) {
		uint64_t random = t_random(&state);
		bool foreign = (random & 3) == 0, sends = (random & 4) != 0;
		bool medium = (random & 32) != 0;
		struct race r = { .c = spg_chan_new(medium ? MEDIUM : sizeof(long), 0), .ctx = spg_ctx_new(NULL) };
		struct crowd waiter, canceler;
		void *elem = medium ? (void *)ours : &(long){ 0 };
		long v = 5;
		int err;

		r.large = medium ? theirs : NULL;
		memcpy(elem, &v, sizeof(v));
		r.wait_spins = random >> 8 & 255;
		crowd_hand_start(&waiting, &waiter, foreign, sends ? race_send : race_recv, &r);
		crowd_until(look_receivers(r.c) + look_senders(r.c) == 1);
		crowd_hand_start(&canceling, &canceler, (random & 8) == 0, race_cancel, &r);
		for (volatile unsigned k = 0; k < (random >> 16 & 1023); k++)
			continue;
		if (random & 16)
			spg_yield();
		err = sends ? spg_chan_try_recv(r.c, elem) : spg_chan_try_send(r.c, elem);
		memcpy(&v, elem, sizeof(v));
		/* We have seen the effect: the reference may go while the waiter is on its way out. */
		if (err == 0)
			spg_chan_unref(r.c);
		crowd_wait(&canceler);
		crowd_wait(&waiter);
		if (err == 0) {
			T_EQ(r.err, 0); /* data wins */
			T_EQ(sends ? v : r.value, sends ? 9 : 5);
		} else {
			T_ERR(err, -EAGAIN);
			T_ERR(r.err, -ECANCELED);
			T_EQ(r.value, sends ? 0 : -1);
			look_empty(r.c);
			spg_chan_unref(r.c);
		}
		served += err == 0;
		spg_ctx_unref(r.ctx);
	}
	crowd_hand_close(&waiting);
	crowd_hand_close(&canceling);
	free(ours);
	free(theirs);
	fprintf(stderr, "data won %d of %d\n", served, rounds);
	return 0;
}

/* Goal: a value that was handed over is received, canceled or not; and nobody touches a channel too late. */
START_TEST(prop_data_wins_over_cancel)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, cancel_against_data, &seed);
}
END_TEST

#define LARGE (4 << 20)

static void race_recv_large(void *arg)
{
	struct race *r = arg;
	spg_ctx *previous = spg_ctx_enter(r->ctx);
	r->err = spg_chan_recv(r->c, r->large);
	r->value = r->large[LARGE - 1];
	spg_ctx_leave(previous);
}

/* Copying takes long, so the canceled waiter comes to leave while a peer has the channel, and then frees it. */
static int give_up_during_copy(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	char *value = malloc(LARGE), *received = malloc(LARGE);

	memset(value, 7, LARGE);
	for (int i = 0; i < (t_tsan() ? 30 : 200); i++) {
		struct race r = { .c = spg_chan_new(LARGE, 0), .ctx = spg_ctx_new(NULL), .large = received };
		struct crowd waiter, canceler;
		int err;

		r.wait_spins = (unsigned)(t_random(&state) % 20000);
		crowd_start(&waiter, i % 2, 1 - i % 2, race_recv_large, &r);
		T_UNTIL(look_receivers(r.c) == 1);
		crowd_start(&canceler, 0, 1, race_cancel, &r);
		for (volatile unsigned k = 0, n = (unsigned)(t_random(&state) % 40000); k < n; k++)
			continue;
		err = spg_chan_try_send(r.c, value);
		spg_chan_unref(err == 0 ? r.c : NULL);
		crowd_wait(&canceler);
		crowd_wait(&waiter);
		T_ERR(r.err, err == 0 ? 0 : -ECANCELED);
		if (err == 0)
			T_EQ(r.value, 7);
		else
			spg_chan_unref(r.c);
		spg_ctx_unref(r.ctx);
	}
	free(value);
	free(received);
	return 0;
}

/* Goal: a waiter that gives up does not touch a channel that its server has freed (AddressSanitizer watches). */
START_TEST(a_waiter_that_gives_up_comes_too_late)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, give_up_during_copy, &seed);
}
END_TEST

static void recv_and_drop(void *arg)
{
	spg_chan *c = arg;
	long v = 0;
	int err = spg_chan_recv(c, &v);

	T_OK(err == -EPIPE || (err == 0 && v == 11));
	spg_chan_unref(c); /* the last reference: it was handed to us */
}

static void send_and_drop(void *arg)
{
	spg_chan *c = arg;
	long v = 11;
	int err = spg_chan_send(c, &v);

	T_OK(err == 0 || err == -EPIPE);
	spg_chan_unref(c);
}

/* Our side's call may be the one under way when the channel goes. */
static int peer_drops(void *arg)
{
	(void)arg;
	for (int i = 0; i < (t_sanitized() ? 400 : 4000); i++) {
		spg_chan *c = spg_chan_new(sizeof(long), i % 3 == 2 ? 1 : 0);
		struct crowd crowd;
		long v = 11;
		bool sends = (i & 1) != 0;

		if (sends && spg_chan_cap(c) > 0)
			T_EQ(spg_chan_send(c, &v), 0); /* full: it has to wait */
		crowd_start(&crowd, i % 5 != 0, i % 5 == 0, sends ? send_and_drop : recv_and_drop, c);
		switch (i / 6 % 3) {
		case 0: /* as it comes */
			T_EQ(sends ? spg_chan_recv(c, &v) : spg_chan_send(c, &v), 0);
			break;
		case 1: /* it waits already */
			T_UNTIL(look_receivers(c) + look_senders(c) == 1);
			T_EQ(sends ? spg_chan_try_recv(c, &v) : spg_chan_try_send(c, &v), 0);
			break;
		default:
			T_EQ(spg_chan_close(c), 0);
		}
		crowd_wait(&crowd);
	}
	return 0;
}

/* Goal: a peer that has seen the value or the close may free the channel (AddressSanitizer watches). */
START_TEST(a_peer_may_drop_the_last_reference)
{
	t_run((unsigned)_i, peer_drops, NULL);
}
END_TEST

static void close_one(void *arg)
{
	struct ended *e = arg;
	int err = spg_chan_close(e->c);

	T_OK(err == 0 || err == -EPIPE);
	if (err == 0)
		atomic_fetch_add(&e->count, 1);
}

static int many_closers(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++) {
		struct ended e = { .c = spg_chan_new(sizeof(long), 0) };

		crowd_run(5, 2, close_one, &e);
		T_EQ(atomic_load(&e.count), 1);
		spg_chan_unref(e.c);
	}
	return 0;
}

/* Goal: of many who close, one does. */
START_TEST(one_close_succeeds)
{
	t_run((unsigned)_i, many_closers, NULL);
}
END_TEST

struct traffic {
	spg_chan *c;
	_Atomic long sent, received, sent_sum, received_sum;
	_Atomic bool closed;
};

static void send_until_closed(void *arg)
{
	struct traffic *t = arg;
	long v = 1;
	int err;

	for (; (err = spg_chan_send(t->c, &v)) == 0; v++) {
		atomic_fetch_add(&t->sent, 1);
		atomic_fetch_add(&t->sent_sum, v);
	}
	T_ERR(err, -EPIPE);
	T_ERR(spg_chan_try_send(t->c, &v), -EPIPE);
}

static void recv_until_closed(void *arg)
{
	struct traffic *t = arg;
	long v;
	int err;

	while ((err = spg_chan_recv(t->c, &v)) == 0) {
		atomic_fetch_add(&t->received, 1);
		atomic_fetch_add(&t->received_sum, v);
	}
	T_ERR(err, -EPIPE);
	T_EQ(v, 0);
	T_ERR(spg_chan_try_recv(t->c, &v), -EPIPE);
}

static int close_in_traffic(void *arg)
{
	(void)arg;
	for (int i = 0; i < 24; i++) {
		struct traffic t = { .c = spg_chan_new(sizeof(long), (size_t[]){ 0, 1, 50 }[i % 3]) };
		struct crowd senders, receivers;
		int busy = i % 2 ? 60 : 4, few = 3;

		/* Many of one side wait when the close comes. */
		crowd_start(&senders, (unsigned)(i % 4 < 2 ? busy : few), 1, send_until_closed, &t);
		crowd_start(&receivers, (unsigned)(i % 4 < 2 ? few : busy), 1, recv_until_closed, &t);
		T_UNTIL(atomic_load(&t.received) > 300);
		T_EQ(spg_chan_close(t.c), 0);
		crowd_wait(&senders);
		crowd_wait(&receivers);
		T_EQ(atomic_load(&t.sent), atomic_load(&t.received));
		T_EQ(atomic_load(&t.sent_sum), atomic_load(&t.received_sum));
		look_empty(t.c);
		spg_chan_unref(t.c);
	}
	return 0;
}

/* Goal: in the midst of traffic a close loses no value that was sent, and makes none. */
START_TEST(close_against_traffic_loses_nothing)
{
	t_run((unsigned)_i, close_in_traffic, NULL);
}
END_TEST

static void send_counted(void *arg)
{
	struct traffic *t = arg;
	long v = 1;
	int err = spg_chan_send(t->c, &v);

	T_OK(err == 0 || err == -EPIPE);
	if (err == 0)
		atomic_fetch_add(&t->sent, 1);
	else
		atomic_store(&t->closed, true);
}

/* Takes what it gets until the close; once a sender was refused, there is nothing more. */
static void take_during_close(void *arg)
{
	struct traffic *t = arg;
	int err;

	do {
		bool closed = atomic_load(&t->closed);

		err = spg_chan_try_recv(t->c, NULL);
		T_OK(err == 0 || err == -EAGAIN || err == -EPIPE);
		T_OK(!closed || err == -EPIPE);
		if (err == 0)
			atomic_fetch_add(&t->received, 1);
		crowd_spin(2 * SPG_US);
	} while (err != -EPIPE);
}

static int close_is_atomic(void *arg)
{
	int senders_count = t_tsan() ? 500 : 2000;

	(void)arg;
	for (int i = 0; i < 10; i++) {
		struct traffic t = { .c = spg_chan_new(sizeof(long), 0) };
		struct crowd senders, taker;

		crowd_start(&senders, (unsigned)senders_count, 0, send_counted, &t);
		T_UNTIL(look_senders(t.c) == (size_t)senders_count);
		crowd_start(&taker, 0, 1, take_during_close, &t);
		crowd_until(atomic_load(&t.received) > 2);
		T_EQ(spg_chan_close(t.c), 0); /* wakes more than one hold of the lock is good for */
		crowd_wait(&taker);
		crowd_wait(&senders);
		T_EQ(atomic_load(&t.sent), atomic_load(&t.received));
		spg_chan_unref(t.c);
	}
	return 0;
}

/* Goal: a close is one instant, however many wait: what was not taken before is not sent. */
START_TEST(close_is_one_instant)
{
	t_run((unsigned)_i, close_is_atomic, NULL);
}
END_TEST

static void recv_either(void *arg)
{
	struct ended *e = arg;
	spg_ctx *previous = spg_ctx_enter(e->ctx);
	int err = spg_chan_recv(e->c, NULL);

	T_OK(err == -EPIPE || err == -ECANCELED);
	if (err == -EPIPE)
		atomic_fetch_add(&e->count, 1);
	spg_ctx_leave(previous);
}

static void close_it(void *arg)
{
	struct ended *e = arg;

	T_EQ(spg_chan_close(e->c), 0);
}

/* The close is seen before it has woken all; the others leave by themselves, and the last reference goes. */
static int drop_during_close(void *arg)
{
	uint64_t state = *(uint64_t *)arg;
	int canceled = 0, rounds = t_sanitized() ? 300 : 1000;

	for (int i = 0; i < rounds; i++) {
		struct ended e = { .c = spg_chan_new(sizeof(long), 0), .ctx = spg_ctx_new(NULL) };
		struct crowd waiters, closer;

		crowd_start(&waiters, 40, 0, recv_either, &e);
		T_UNTIL(look_receivers(e.c) == 40);
		crowd_start(&closer, 0, 1, close_it, &e);
		for (volatile unsigned k = 0, n = (unsigned)(t_random(&state) % 30000); k < n; k++)
			continue;
		spg_ctx_cancel(e.ctx);
		T_EQ(spg_wg_wait(&waiters.wg), 0);
		/* Those that were woken have seen it; when none was, the closer may not have begun. */
		if (atomic_load(&e.count) == 0)
			T_EQ(spg_wg_wait(&closer.wg), 0);
		spg_chan_unref(e.c);
		crowd_wait(&closer);
		canceled += atomic_load(&e.count) < 40;
		spg_ctx_unref(e.ctx);
	}
	fprintf(stderr, "of %d closes %d met waiters that left\n", rounds, canceled);
	return 0;
}

/* Goal: the last reference may go while a close still wakes (AddressSanitizer watches). */
START_TEST(a_channel_may_go_during_its_close)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, drop_during_close, &seed);
}
END_TEST

T_MAIN(T_SHARDS(an_ended_context_takes_waiters_out), T_SHARDS(an_ended_context_fails_the_call_on_entry),
       T_SHARDS(a_careless_loop_starves_nobody), T_SHARDS(prop_data_wins_over_cancel),
       T_SHARDS(a_waiter_that_gives_up_comes_too_late),
       T_SHARDS(a_peer_may_drop_the_last_reference), T_SHARDS(one_close_succeeds),
       T_SHARDS(close_against_traffic_loses_nothing), T_SHARDS(close_is_one_instant),
       T_SHARDS(a_channel_may_go_during_its_close))
