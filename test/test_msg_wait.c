/* Shard messages: waiting for messages and for room, cancellation, foreign threads. */
#include "msg_look.h"

/* Where those stand who wait: told by each before it calls. */
struct waiters {
	int to;
	_Atomic unsigned at_call, done;
	uint64_t order[8];
	int result;
	spg_ctx *ctx;
	spg_wg wg;
};

static void send_mine(void *arg)
{
	struct waiters *w = arg;
	uint64_t mine = atomic_fetch_add(&w->at_call, 1);

	T_EQ(spg_msg_send(w->to, 0, 100 + mine), 0);
	atomic_fetch_add(&w->done, 1);
}

static void blocked_senders(void *arg)
{
	struct waiters w = { .to = spg_shards() - 1 };
	int here = spg_shard();
	struct msg_on on[3];
	spg_msg msg;

	(void)arg;
	T_EQ(spg_msg_send(w.to, 0, 0), 0);
	T_EQ(spg_msg_send(w.to, 0, 1), 0);
	for (unsigned i = 0; i < 3; i++) {
		msg_on_start(&on[i], here, send_mine, &w);
		T_UNTIL(atomic_load(&w.at_call) == i + 1);
	}
	T_UNTIL(look_sender(w.to, 0, here));
	T_EQ(atomic_load(&w.done), 0);
	/* Behind them: no barging, though there is room for a moment. */
	T_ERR(spg_msg_try_send(w.to, 0, 999), -EAGAIN);
	T_EQ(msg_stats(here).msg_backpressure, 4);
	if (w.to == here) {
		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(msg.value, 0);
		T_ERR(spg_msg_try_send(w.to, 0, 999), -EAGAIN);
		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(msg.value, 1);
		for (uint64_t i = 100; i < 103; i++) {
			T_EQ(spg_msg_recv(&msg), 0);
			T_EQ(msg.value, i);
		}
	}
	for (unsigned i = 0; i < 3 && w.to == here; i++)
		msg_on_wait(&on[i]);
	/* Elsewhere the receiver is on_receive below. */
	for (unsigned i = 0; i < 3 && w.to != here; i++) {
		if (i == 0)
			T_EQ(spg_msg_counter_add(w.to, 0, 1), 0);
		msg_on_wait(&on[i]);
	}
	T_OK(!look_sender(w.to, 0, here));
}

/* Receives five once it is told to. */
static void receive_five(void *arg)
{
	static const uint64_t expected[] = { 0, 1, 100, 101, 102 };
	spg_msg msg;
	uint64_t n;

	(void)arg;
	if (spg_shard() == 0)
		return; /* one shard: blocked_senders receives itself */
	T_EQ(spg_msg_counter_take(0, &n), 0);
	for (unsigned i = 0; i < 5; i++) {
		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(msg.value, expected[i]);
	}
}

static int room(void *arg)
{
	struct msg_on receiver, sender;

	(void)arg;
	msg_on_start(&receiver, spg_shards() - 1, receive_five, NULL);
	msg_on_start(&sender, 0, blocked_senders, NULL);
	msg_on_wait(&sender);
	msg_on_wait(&receiver);
	return 0;
}

/* Goal: a full queue makes senders wait, in order, and nobody overtakes them. */
START_TEST(senders_wait_for_room_in_order)
{
	msg_run((unsigned)_i, 2, room, NULL);
}
END_TEST

static void send_under(void *arg)
{
	struct waiters *w = arg;
	spg_ctx *previous = spg_ctx_enter(w->ctx);

	atomic_fetch_add(&w->at_call, 1);
	w->result = spg_msg_send(w->to, 0, 7);
	spg_ctx_leave(previous);
	atomic_fetch_add(&w->done, 1);
}

static void send_canceled(void *arg)
{
	struct waiters first = { .to = spg_shards() - 1 }, second = { .to = first.to };
	int here = spg_shard();
	struct msg_on on[2];
	spg_msg msg;

	(void)arg;
	first.ctx = spg_ctx_new(NULL);
	T_EQ(spg_msg_send(first.to, 0, 1), 0);
	msg_on_start(&on[0], here, send_under, &first);
	T_UNTIL(atomic_load(&first.at_call) == 1);
	msg_on_start(&on[1], here, send_mine, &second);
	T_UNTIL(atomic_load(&second.at_call) == 1);
	T_UNTIL(look_sender(first.to, 0, here));
	/* The first in line gives up; the one behind it takes its place. */
	spg_ctx_cancel(first.ctx);
	msg_on_wait(&on[0]);
	T_ERR(first.result, -ECANCELED);
	T_EQ(atomic_load(&second.done), 0);
	T_UNTIL(look_sender(first.to, 0, here));
	/* On entry, with or without room. */
	first.result = 0;
	send_under(&first);
	T_ERR(first.result, -ECANCELED);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_msg_send(first.to, 0, 8), -ETIMEDOUT);
		msg.tag = 0;
		T_ERR(spg_msg_send_many(first.to, &msg, 1), -ETIMEDOUT);
	}
	T_EQ(spg_msg_counter_add(first.to, 0, 1), 0);
	if (first.to == here) {
		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(msg.value, 100);
		T_ERR(spg_msg_try_recv(&msg), -EAGAIN);
	}
	msg_on_wait(&on[1]);
	spg_ctx_unref(first.ctx);
}

static void receive_two(void *arg)
{
	spg_msg msg;
	uint64_t n;

	(void)arg;
	if (spg_shard() == 0)
		return;
	T_EQ(spg_msg_counter_take(0, &n), 0);
	T_EQ(spg_msg_recv(&msg), 0);
	T_EQ(msg.value, 1);
	T_EQ(spg_msg_recv(&msg), 0);
	T_EQ(msg.value, 100);
	T_ERR(spg_msg_try_recv(&msg), -EAGAIN);
}

static int cancel_senders(void *arg)
{
	struct msg_on receiver, sender;

	(void)arg;
	msg_on_start(&receiver, spg_shards() - 1, receive_two, NULL);
	msg_on_start(&sender, 0, send_canceled, NULL);
	msg_on_wait(&sender);
	msg_on_wait(&receiver);
	return 0;
}

/* Goal: a sender that gives up has sent nothing, and those behind it go on. */
START_TEST(a_canceled_send_sends_nothing)
{
	msg_run((unsigned)_i, 1, cancel_senders, NULL);
}
END_TEST

static void recv_mine(void *arg)
{
	struct waiters *w = arg;
	unsigned mine = atomic_fetch_add(&w->at_call, 1);
	spg_msg msg;

	T_EQ(spg_msg_recv(&msg), 0);
	w->order[mine] = msg.value;
	atomic_fetch_add(&w->done, 1);
}

static void recv_under(void *arg)
{
	struct waiters *w = arg;
	spg_ctx *previous = spg_ctx_enter(w->ctx);
	spg_msg msg;

	atomic_fetch_add(&w->at_call, 1);
	w->result = spg_msg_recv(&msg);
	spg_ctx_leave(previous);
}

static int receivers(void *arg)
{
	int to = spg_shards() - 1;
	struct waiters w = { .to = to }, canceled = { .to = to };
	struct msg_on on[5];

	(void)arg;
	canceled.ctx = spg_ctx_new(NULL);
	msg_on_start(&on[4], to, recv_under, &canceled);
	T_UNTIL(look_receiver(to, 0));
	for (unsigned i = 0; i < 4; i++) {
		msg_on_start(&on[i], to, recv_mine, &w);
		T_UNTIL(atomic_load(&w.at_call) == i + 1);
	}
	spg_ctx_cancel(canceled.ctx);
	msg_on_wait(&on[4]);
	T_ERR(canceled.result, -ECANCELED);
	for (uint64_t i = 0; i < 4; i++) {
		T_EQ(spg_msg_send(to, 0, i), 0);
		if (i % 2 == 0)
			T_UNTIL(atomic_load(&w.done) == i + 1);
	}
	for (unsigned i = 0; i < 4; i++) {
		msg_on_wait(&on[i]);
		T_EQ(w.order[i], i);
	}
	canceled.result = 0;
	T_EQ(spg_msg_send(to, 0, 4), 0);
	msg_on_start(&on[4], to, recv_under, &canceled);
	msg_on_wait(&on[4]);
	T_ERR(canceled.result, -ECANCELED); /* on entry, though a message is there */
	msg_on_start(&on[0], to, recv_mine, &w);
	msg_on_wait(&on[0]);
	T_EQ(w.order[4], 4);
	spg_ctx_unref(canceled.ctx);
	return 0;
}

/* Goal: waiting receivers are served first in, first out; a canceled one takes nothing. */
START_TEST(receivers_are_served_in_order)
{
	t_run((unsigned)_i, receivers, NULL);
}
END_TEST

static void recv_late(void *arg)
{
	int64_t start = t_now_ns();
	spg_msg msg;
	uint64_t n;

	(void)arg;
	{
		SPG_TIMEOUT_SCOPE(3 * SPG_MS);
		T_ERR(spg_msg_recv(&msg), -ETIMEDOUT);
	}
	T_OK(t_now_ns() - start >= 3 * SPG_MS);
	{
		SPG_TIMEOUT_SCOPE(0);
		T_EQ(spg_msg_send_many(spg_shard(), NULL, 0), -ETIMEDOUT);
		T_ERR(spg_msg_recv_many(&msg, 1), -ETIMEDOUT);
		T_ERR(spg_msg_recv_tag(5, &msg), -ETIMEDOUT);
		T_ERR(spg_msg_counter_take(1, &n), -ETIMEDOUT);
		T_ERR(spg_msg_counter_wait(1, 1, &n), -ETIMEDOUT);
		/* Those that do not wait ask no context. */
		T_EQ(spg_msg_try_send(spg_shard(), 5, 1), 0);
		T_EQ(spg_msg_counter_add(spg_shard(), 1, 1), 0);
		T_EQ(spg_msg_try_recv_tag(5, &msg), 0);
		T_EQ(spg_msg_counter_try_take(1, &n), 0);
	}
}

static int deadlines(void *arg)
{
	struct msg_on on;

	(void)arg;
	T_EQ(spg_msg_lane(5), 0);
	msg_on_start(&on, spg_shards() - 1, recv_late, NULL);
	msg_on_wait(&on);
	return 0;
}

/* Goal: deadlines end waits in time, and calls on entry. */
START_TEST(deadlines_end_waits)
{
	t_run((unsigned)_i, deadlines, NULL);
}
END_TEST

struct traveller {
	_Atomic int shard;
	_Atomic bool got;
};

static void recv_unpinned(void *arg)
{
	struct traveller *t = arg;
	int before;
	spg_msg msg;

	for (int i = 0; i < 200; i++) {
		before = spg_shard();
		atomic_store(&t->shard, before);
		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(spg_shard(), before);
		T_EQ(msg.value, before);
		T_EQ(spg__coro_self()->pin, -1);
		atomic_store(&t->got, true);
		for (int yields = 0; yields < 20; yields++)
			spg_yield();
	}
}

static void send_after(void *arg)
{
	struct traveller *t = arg;

	for (int i = 0; i < 200; i++) {
		int to;

		T_UNTIL((to = atomic_load(&t->shard)) >= 0);
		atomic_store(&t->shard, -1);
		T_EQ(spg_msg_send(to, 0, (uint64_t)to), 0);
		T_UNTIL(atomic_load(&t->got));
		atomic_store(&t->got, false);
	}
}

static int travel(void *arg)
{
	struct traveller t = { .shard = -1 };
	struct msg_on on = { .fn = recv_unpinned, .arg = &t, .wg = SPG_WG_INIT };

	(void)arg;
	T_EQ(spg_wg_add(&on.wg, 1), 0);
	T_EQ(spg_go(msg_on_main, &on), 0);
	send_after(&t);
	msg_on_wait(&on);
	return 0;
}

/* Goal: one that is not pinned stays where it is while it waits, and only then. */
START_TEST(who_waits_stays_on_its_shard)
{
	t_run((unsigned)_i, travel, NULL);
}
END_TEST

#define THREADS 4
#define FROM_EACH 2000u

struct outside {
	pthread_t thread;
	uint64_t number;
};

static void *send_numbers(void *arg)
{
	struct outside *o = arg;

	for (uint64_t i = 0; i < FROM_EACH; i++)
		T_EQ(spg_msg_send(spg_shards() - 1, (unsigned)o->number, i), 0);
	return NULL;
}

static void recv_from_threads(void *arg)
{
	uint64_t next[THREADS] = { 0 };

	(void)arg;
	for (unsigned i = 0; i < THREADS * FROM_EACH; i++) {
		spg_msg msg;

		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(msg.from, -1);
		T_EQ(msg.value, next[msg.tag]++);
	}
}

static int threads_send(void *arg)
{
	struct outside o[THREADS];
	struct msg_on on;

	(void)arg;
	msg_on_start(&on, spg_shards() - 1, recv_from_threads, NULL);
	for (uint64_t i = 0; i < THREADS; i++) {
		o[i].number = i;
		T_EQ(pthread_create(&o[i].thread, NULL, send_numbers, &o[i]), 0);
	}
	msg_on_wait(&on);
	for (unsigned i = 0; i < THREADS; i++)
		T_EQ(pthread_join(o[i].thread, NULL), 0);
	T_EQ(msg_stats(-1).msgs_sent, THREADS * FROM_EACH);
	return 0;
}

/* Goal: foreign threads send in order, each for itself, also when they wait for room. */
START_TEST(foreign_threads_are_a_source)
{
	msg_run((unsigned)_i, 4096, threads_send, NULL);
	msg_run((unsigned)_i, 3, threads_send, NULL);
}
END_TEST

static void *send_late(void *arg)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *previous;

	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_msg_send(0, 0, 1), -ETIMEDOUT);
	}
	previous = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	T_ERR(spg_msg_send(0, 0, 1), -ECANCELED);
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	T_ERR(spg_msg_try_send(0, 0, 1), -EAGAIN);
	return arg;
}

static void *fill(void *arg)
{
	while (spg_msg_try_send(0, 0, 0) == 0)
		continue;
	return arg;
}

static int thread_deadlines(void *arg)
{
	pthread_t thread;

	(void)arg;
	T_EQ(pthread_create(&thread, NULL, fill, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(pthread_create(&thread, NULL, send_late, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	return 0;
}

/* Goal: a foreign thread that waits for room obeys its own context. */
START_TEST(a_threads_wait_for_room_obeys_its_context)
{
	msg_run((unsigned)_i, 2, thread_deadlines, NULL);
}
END_TEST

T_MAIN(T_SHARDS(senders_wait_for_room_in_order), T_SHARDS(a_canceled_send_sends_nothing),
       T_SHARDS(receivers_are_served_in_order), T_SHARDS(deadlines_end_waits),
       T_SHARDS(who_waits_stays_on_its_shard), T_SHARDS(foreign_threads_are_a_source),
       T_SHARDS(a_threads_wait_for_room_obeys_its_context))
