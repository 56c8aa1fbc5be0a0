/* Counters between shards: merged as they are sent, taken whole, waited for. */
#include "msg_look.h"

static void burst(void *arg)
{
	_Atomic bool *sent = arg;

	T_EQ(spg_msg_counter_add(spg_shards() - 1, 59, 1), 0);
	T_EQ(spg_msg_counter_add(spg_shards() - 1, 59, 2), 0);
	T_EQ(spg_msg_counter_add(spg_shards() - 1, 59, 3), 0);
	T_EQ(spg_msg_counter_add(spg_shards() - 1, 59, 0), 0);
	T_EQ(msg_stats(spg_shard()).msg_coalesced, 2);
	T_EQ(msg_stats(spg_shard()).msg_backpressure, 0);
	atomic_store(sent, true);
}

static void take_burst(void *arg)
{
	_Atomic bool *sent = arg;
	uint64_t n = 0;

	T_UNTIL(atomic_load(sent));
	T_EQ(spg_msg_counter_take(59, &n), 0);
	T_EQ(n, 6);
	n = 77;
	T_ERR(spg_msg_counter_try_take(59, &n), -EAGAIN);
	T_EQ(n, 77);
	/* Accumulates again, in two batches, next to the queue of the same tag. */
	T_EQ(spg_msg_counter_add(spg_shard(), 59, 4), 0);
	T_EQ(spg_msg_send(spg_shard(), 59, 1), 0);
	T_EQ(spg_msg_counter_add(spg_shard(), 59, 5), 0);
	T_EQ(spg_msg_counter_wait(59, 9, &n), 0);
	T_EQ(n, 9);
	T_EQ(spg_msg_counter_try_take(59, &n), 0);
	T_EQ(n, 9);
}

static int bursts(void *arg)
{
	_Atomic bool sent = false;
	struct msg_on taker, adder;

	(void)arg;
	msg_on_start(&taker, spg_shards() - 1, take_burst, &sent);
	msg_on_start(&adder, 0, burst, &sent);
	msg_on_wait(&adder);
	msg_on_wait(&taker);
	return 0;
}

/* Goal: queues of one message, and a burst of any length is absorbed. */
START_TEST(a_counter_absorbs_a_burst_where_a_queue_holds_one)
{
	msg_run((unsigned)_i, 1, bursts, NULL);
}
END_TEST

struct waiting {
	uint64_t least, got;
	_Atomic bool at_call, done;
	spg_ctx *ctx;
	int result;
};

static void wait_for(void *arg)
{
	struct waiting *w = arg;
	spg_ctx *previous = spg_ctx_enter(w->ctx);

	atomic_store(&w->at_call, true);
	if (w->least > 0)
		w->result = spg_msg_counter_wait(1, w->least, &w->got);
	else
		w->result = spg_msg_counter_take(1, &w->got);
	spg_ctx_leave(previous);
	atomic_store(&w->done, true);
}

static void start_waiting(struct waiting *w, struct msg_on *on, int shard)
{
	msg_on_start(on, shard, wait_for, w);
	T_UNTIL(atomic_load(&w->at_call) && look_taker(shard, 1));
}

static int thresholds(void *arg)
{
	int to = spg_shards() - 1;
	struct waiting ten = { .least = 10 }, five = { .least = 5 }, first = { .least = 0 };
	struct msg_on on[3];

	(void)arg;
	ten.ctx = five.ctx = first.ctx = spg_ctx_current();
	start_waiting(&ten, &on[0], to);
	start_waiting(&five, &on[1], to);
	/* Below both: nobody is woken. */
	T_EQ(spg_msg_counter_add(to, 1, 3), 0);
	T_OK(look_taker(to, 1));
	/* Crosses five: that one alone. */
	T_EQ(spg_msg_counter_add(to, 1, 4), 0);
	msg_on_wait(&on[1]);
	T_EQ(five.result, 0);
	T_EQ(five.got, 7);
	T_UNTIL(look_taker(to, 1));
	T_OK(!atomic_load(&ten.done));
	/* A take comes behind the one that waits for ten, and has the seven at once. */
	msg_on_start(&on[2], to, wait_for, &first);
	msg_on_wait(&on[2]);
	T_EQ(first.got, 7);
	/* Again, and now it waits: the first update wakes it, and starves nobody. */
	atomic_store(&first.at_call, false);
	start_waiting(&first, &on[2], to);
	T_EQ(spg_msg_counter_add(to, 1, 1), 0);
	msg_on_wait(&on[2]);
	T_EQ(first.result, 0);
	T_EQ(first.got, 1);
	T_OK(!atomic_load(&ten.done));
	for (unsigned i = 0; i < 5; i++)
		T_EQ(spg_msg_counter_add(to, 1, 2), 0);
	msg_on_wait(&on[0]);
	T_EQ(ten.result, 0);
	T_EQ(ten.got, 10);
	return 0;
}

/* Goal: an update wakes those whose threshold it reaches; a threshold never starves the first update. */
START_TEST(thresholds_wake_when_crossed_and_starve_nobody)
{
	t_run((unsigned)_i, thresholds, NULL);
}
END_TEST

static int cancel_waits(void *arg)
{
	int to = spg_shards() - 1;
	struct waiting canceled = { .least = 0 }, next = { .least = 3 };
	struct msg_on on[2];

	(void)arg;
	canceled.ctx = spg_ctx_new(NULL);
	next.ctx = spg_ctx_current();
	start_waiting(&next, &on[1], to);
	start_waiting(&canceled, &on[0], to);
	spg_ctx_cancel(canceled.ctx);
	msg_on_wait(&on[0]);
	T_ERR(canceled.result, -ECANCELED);
	T_UNTIL(look_taker(to, 1));
	T_EQ(spg_msg_counter_add(to, 1, 2), 0);
	T_OK(!atomic_load(&next.done));
	T_EQ(spg_msg_counter_add(to, 1, 2), 0);
	msg_on_wait(&on[1]);
	T_EQ(next.got, 4);
	/* On entry, though there is a count; and it is kept. */
	canceled.result = 0;
	msg_on_start(&on[0], to, wait_for, &canceled);
	msg_on_wait(&on[0]);
	T_ERR(canceled.result, -ECANCELED);
	next.least = 0;
	msg_on_start(&on[1], to, wait_for, &next);
	msg_on_wait(&on[1]);
	T_EQ(next.got, 4);
	spg_ctx_unref(canceled.ctx);
	return 0;
}

/* Goal: a canceled wait takes nothing, and those behind it are still woken. */
START_TEST(a_canceled_take_loses_nothing)
{
	t_run((unsigned)_i, cancel_waits, NULL);
}
END_TEST

static void bounded_wait(void *arg)
{
	uint64_t n = 0;

	(void)arg;
	T_EQ(spg_msg_counter_add(spg_shard(), 2, 3), 0);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_msg_counter_wait(2, 1000, &n), -ETIMEDOUT);
	}
	T_EQ(spg_msg_counter_wait(2, 0, &n), 0);
	T_EQ(n, 3);
	T_EQ(spg_msg_counter_take(2, &n), 0);
	T_EQ(n, 3);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_msg_counter_take(2, &n), -ETIMEDOUT);
		T_ERR(spg_msg_counter_wait(2, 0, &n), -ETIMEDOUT);
	}
}

static void overflow(void *arg)
{
	uint64_t n = 0;

	(void)arg;
	T_EQ(spg_msg_counter_add(spg_shard(), 3, UINT64_MAX - 1), 0);
	T_ERR(spg_msg_counter_add(spg_shard(), 3, 2), -EOVERFLOW);
	T_EQ(spg_msg_counter_add(spg_shard(), 3, 1), 0);
	T_ERR(spg_msg_counter_add(spg_shard(), 3, 1), -EOVERFLOW);
	T_EQ(spg_msg_counter_take(3, &n), 0);
	T_OK(n == UINT64_MAX);
	T_EQ(spg_msg_counter_add(spg_shard(), 3, 1), 0);
}

static int bounds(void *arg)
{
	struct msg_on on[2];

	(void)arg;
	msg_on_start(&on[0], spg_shards() - 1, bounded_wait, NULL);
	msg_on_start(&on[1], 0, overflow, NULL);
	msg_on_wait(&on[0]);
	msg_on_wait(&on[1]);
	return 0;
}

/* Goal: a deadline bounds how long first updates wait; a sum that does not fit is refused whole. */
START_TEST(deadlines_and_overflows_keep_the_count)
{
	t_run((unsigned)_i, bounds, NULL);
}
END_TEST

#define ADDS 20000u

static void add_many(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ADDS; i++) {
		T_EQ(spg_msg_counter_add(spg_shards() - 1, 4, i % 3), 0);
		if (i % 64 == 0)
			t_relax();
	}
}

static void *add_many_outside(void *arg)
{
	add_many(arg);
	return NULL;
}

/* Half of the time waits for more, but not for ever. */
static void take_all(void *arg)
{
	uint64_t wanted = *(uint64_t *)arg, sum = 0, n;

	for (unsigned i = 0; sum < wanted; i++) {
		if (i % 2 == 0) {
			SPG_TIMEOUT_SCOPE(100 * SPG_US);
			int err = spg_msg_counter_wait(4, 500, &n);

			T_OK(err == 0 ? n >= 500 : err == -ETIMEDOUT);
		}
		T_EQ(spg_msg_counter_take(4, &n), 0);
		T_OK(n > 0);
		sum += n;
	}
	T_EQ(sum, wanted);
	T_ERR(spg_msg_counter_try_take(4, &n), -EAGAIN);
}

static int storm(void *arg)
{
	unsigned shards = (unsigned)spg_shards();
	uint64_t each = 0, wanted;
	struct msg_on on[5];
	pthread_t thread;

	(void)arg;
	for (unsigned i = 0; i < ADDS; i++)
		each += i % 3;
	wanted = each * (shards + 1);
	msg_on_start(&on[4], (int)shards - 1, take_all, &wanted);
	for (unsigned i = 0; i < shards; i++)
		msg_on_start(&on[i], (int)i, add_many, NULL);
	T_EQ(pthread_create(&thread, NULL, add_many_outside, NULL), 0);
	for (unsigned i = 0; i < shards; i++)
		msg_on_wait(&on[i]);
	T_EQ(pthread_join(thread, NULL), 0);
	msg_on_wait(&on[4]);
	return 0;
}

/* Goal: no update is lost or counted twice, whoever adds and however it is waited for. */
START_TEST(stress_every_update_is_counted_once)
{
	t_run((unsigned)_i, storm, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_counter_absorbs_a_burst_where_a_queue_holds_one),
       T_SHARDS(thresholds_wake_when_crossed_and_starve_nobody), T_SHARDS(a_canceled_take_loses_nothing),
       T_SHARDS(deadlines_and_overflows_keep_the_count), T_SHARDS(stress_every_update_is_counted_once))
