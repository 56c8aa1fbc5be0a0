/* Shard messages: what becomes of waits and of queued messages when the runtime stops. */
#include "msg_look.h"

#include "coro/fault.h"

static void *fill(void *arg)
{
	while (spg_msg_try_send(0, 0, 0) == 0)
		continue;
	return arg;
}

struct outside {
	pthread_t thread;
	int result;
	_Atomic bool at_call;
};

static void *send_blocked(void *arg)
{
	struct outside *o = arg;

	atomic_store(&o->at_call, true);
	o->result = spg_msg_send(0, 0, 1);
	return NULL;
}

/* Goal: spg_stop ends the waits of foreign threads, all of them in line; later calls find no runtime. */
START_TEST(spg_stop_ends_the_waits_of_threads)
{
	spg_config cfg = t_config((unsigned)_i);
	struct outside o[3] = { 0 };

	cfg.msg_queue = 2;
	for (int round = 0; round < 20; round++) {
		int canceled = 0;

		T_EQ(spg_start(&cfg), 0);
		fill(NULL);
		for (unsigned i = 0; i < 3; i++) {
			atomic_store(&o[i].at_call, false);
			T_EQ(pthread_create(&o[i].thread, NULL, send_blocked, &o[i]), 0);
		}
		/* In some rounds they are parked, in others about to. */
		for (unsigned i = 0; i < 3 && round % 2 == 0; i++)
			T_UNTIL(atomic_load(&o[i].at_call));
		if (round % 4 == 0)
			T_UNTIL(look_sender(0, 0, spg_shards()));
		T_EQ(spg_stop(), 0);
		for (unsigned i = 0; i < 3; i++) {
			T_EQ(pthread_join(o[i].thread, NULL), 0);
			T_OK(o[i].result == -ECANCELED || o[i].result == -EPIPE || o[i].result == -ESRCH);
			canceled += o[i].result == -ECANCELED;
		}
		/* The first in line was seen waiting. */
		T_OK(round % 4 != 0 || canceled > 0);
		T_ERR(spg_msg_try_send(0, 0, 1), -ESRCH);
	}
}
END_TEST

struct stopped {
	_Atomic unsigned at_call, ended;
	int send, recv, take, try_send, counter_add;
	uint64_t drained;
};

static struct stopped stopped;

static void shielded_send(void *arg)
{
	SPG_SHIELD_SCOPE();
	spg_msg msg = { .tag = 1 };

	(void)arg;
	while (spg_msg_try_send(0, 1, 5) == 0)
		continue;
	atomic_fetch_add(&stopped.at_call, 1);
	stopped.send = spg_msg_send(0, 1, 5);
	stopped.try_send = spg_msg_try_send(0, 1, 5);
	stopped.counter_add = spg_msg_counter_add(0, 1, 5);
	T_ERR(spg_msg_send_many(0, &msg, 1), -EPIPE);
	T_ERR(spg_msg_try_send_many(0, &msg, 1), -EPIPE);
	T_ERR(spg_msg_send(0, 1, 5), -EPIPE);
	T_ERR(spg_msg_try_send(0, 1, 5), -EPIPE);
	T_ERR(spg_msg_counter_add(0, 1, 5), -EPIPE);
	atomic_fetch_add(&stopped.ended, 1);
}

static void shielded_recv(void *arg)
{
	SPG_SHIELD_SCOPE();
	spg_msg msg;

	(void)arg;
	atomic_fetch_add(&stopped.at_call, 1);
	stopped.recv = spg_msg_recv_tag(2, &msg);
	/* What is queued may still be received. */
	while (spg_msg_recv(&msg) == 0)
		stopped.drained += msg.value;
	T_ERR(spg_msg_recv(&msg), -EPIPE);
	T_ERR(spg_msg_try_recv(&msg), -EPIPE);
	T_ERR(spg_msg_recv_tag(2, &msg), -EPIPE);
	T_ERR(spg_msg_try_recv_tag(2, &msg), -EPIPE);
	atomic_fetch_add(&stopped.ended, 1);
}

static void shielded_take(void *arg)
{
	SPG_SHIELD_SCOPE();
	uint64_t n;

	(void)arg;
	atomic_fetch_add(&stopped.at_call, 1);
	stopped.take = spg_msg_counter_wait(7, 100, &n);
	T_EQ(spg_msg_counter_take(7, &n), 0);
	T_EQ(n, 3);
	T_ERR(spg_msg_counter_take(7, &n), -EPIPE);
	T_ERR(spg_msg_counter_try_take(7, &n), -EPIPE);
	atomic_fetch_add(&stopped.ended, 1);
}

static int stop_with_waiters(void *arg)
{
	(void)arg;
	stopped = (struct stopped){ 0 };
	T_EQ(spg_msg_lane(2), 0);
	T_EQ(spg_msg_counter_add(0, 7, 3), 0);
	msg_go(spg_shards() - 1, shielded_send, NULL);
	msg_go(0, shielded_recv, NULL);
	msg_go(0, shielded_take, NULL);
	T_UNTIL(atomic_load(&stopped.at_call) == 3);
	T_UNTIL(look_sender(0, 0, spg_shards() - 1) && look_receiver(0, 1) && look_taker(0, 7));
	return 0;
}

/* Goal: the stop ends waits that no context ends; what is queued can still be had. */
START_TEST(a_stopping_runtime_ends_shielded_waits)
{
	msg_run((unsigned)_i, 4, stop_with_waiters, NULL);
	T_EQ(atomic_load(&stopped.ended), 3);
	T_ERR(stopped.send, -EPIPE);
	T_ERR(stopped.try_send, -EPIPE);
	T_ERR(stopped.counter_add, -EPIPE);
	T_ERR(stopped.recv, -EPIPE);
	T_ERR(stopped.take, -EPIPE);
	T_EQ(stopped.drained, 4 * 5);
}
END_TEST

static void recv_for_ever(void *arg)
{
	int *result = arg;
	spg_msg msg;

	while ((*result = spg_msg_recv(&msg)) == 0)
		continue;
}

static int leave_waiters(void *arg)
{
	for (int i = 0; i < spg_shards(); i++) {
		msg_go(i, recv_for_ever, (int *)arg + i);
		T_UNTIL(look_receiver(i, 0));
		T_EQ(spg_msg_lane(3), 0);
		T_EQ(spg_msg_send(i, 3, 1), 0); /* nobody will receive it */
	}
	return 0;
}

/* Goal: receivers left behind end with the root context; queued messages hold nothing up. */
START_TEST(the_end_of_main_cancels_receivers)
{
	int result[4] = { 0 };

	t_run((unsigned)_i, leave_waiters, result);
	for (int i = 0; i < _i; i++)
		T_ERR(result[i], -ECANCELED);
}
END_TEST

static int run_nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void never(void *arg)
{
	(void)arg;
	abort();
}

/* How many starts failed, until one had all it asked for. */
static int failed_starts(enum spg__fault_kind kind)
{
	spg_config cfg = t_config(1);
	int failed = 0, err;

	for (;;) {
		spg__fault_arm(kind, failed + 1, 1, -ENOMEM);
		err = spg_run(&cfg, run_nothing, NULL);
		spg__fault_disarm(kind);
		if (err == 0)
			return failed;
		T_ERR(err, -ENOMEM);
		failed++;
		T_ERR(spg_go(never, NULL), -ESRCH);
		T_ERR(spg_msg_try_send(0, 0, 1), -ESRCH);
		T_ERR(spg_msg_counter_add(0, 0, 1), -ESRCH);
	}
}

/* Goal: after a start that failed, whatever it lacked, there is no runtime to send to. */
START_TEST(a_failed_start_leaves_no_runtime)
{
	T_OK(failed_starts(SPG__FAULT_MAP) >= 2);
	T_OK(failed_starts(SPG__FAULT_ALLOC) >= 2);
}
END_TEST

T_MAIN(T_TEST(a_failed_start_leaves_no_runtime), T_SHARDS(spg_stop_ends_the_waits_of_threads),
       T_SHARDS(a_stopping_runtime_ends_shielded_waits), T_SHARDS(the_end_of_main_cancels_receivers))
