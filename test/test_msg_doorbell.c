/* Shard messages: what wakes a sleeping shard, and what a flush waits for. */
#include "msg_look.h"

#include "coro/fault.h"
#include "io/features.h"

static int last_shard(void)
{
	return spg_shards() - 1;
}

/* Whoever has work for it must wake it now; unless it gets up by itself before. */
static bool sleeps(int shard)
{
	return (atomic_load(&spg__sched.sleeping[0]) >> shard & 1) != 0;
}

/* Idle shards sleep at once, and rings are entered, and counted, by their shards only. */
static spg_config sleepy(unsigned shards)
{
	spg_config cfg = t_config(shards);

	cfg.spin_ns = 0;
	cfg.kick_signal = 0;
	return cfg;
}

/* The case itself, on the first shard. */
static int on_first(void *fn)
{
	struct msg_on on;

	msg_on_start(&on, 0, *(spg_fn *)fn, NULL);
	msg_on_wait(&on);
	return 0;
}

static void recv_one(void *arg)
{
	spg_msg *msg = arg;

	T_EQ(spg_msg_recv(msg), 0);
}

#define DOORBELLS 50

static void recv_doorbells(void *arg)
{
	_Atomic uint64_t *got = arg;
	spg_msg msg;

	for (unsigned i = 0; i < DOORBELLS; i++) {
		T_EQ(spg_msg_recv(&msg), 0);
		T_EQ(msg.value, i);
		atomic_fetch_add(got, 1);
	}
}

static void doorbells(void *arg)
{
	_Atomic uint64_t got = 0;
	struct spg_shard_stats before, after, target;
	uint64_t wakes;
	struct msg_on on;

	(void)arg;
	msg_on_start(&on, 1, recv_doorbells, &got);
	T_UNTIL(look_receiver(1, 0) && sleeps(1));
	before = msg_stats(0);
	target = msg_stats(1);
	for (unsigned i = 0; i < DOORBELLS; i++) {
		T_EQ(spg_msg_send(1, 0, i), 0);
		T_UNTIL(atomic_load(&got) == i + 1);
		T_UNTIL(i + 1 == DOORBELLS ||
			(look_receiver(1, 0) && sleeps(1)));
	}
	after = msg_stats(0);
	T_EQ(after.msg_doorbells - before.msg_doorbells, DOORBELLS);
	wakes = after.wakes_sent - before.wakes_sent;
	T_OK(wakes > DOORBELLS / 2 && wakes <= DOORBELLS);
	if (spg__features.msg_ring) {
		/* Handed to this shard's ring, which says nothing; the other's ring delivers. */
		T_EQ(after.sqes - before.sqes, wakes);
		T_EQ(after.cqes - before.cqes, 0);
		T_OK(msg_stats(1).cqes - target.cqes >= wakes);
	}
	msg_on_wait(&on);
	/* Nobody waits: no doorbell, and no work for any ring. */
	before = msg_stats(0);
	for (unsigned i = 0; i < 1000; i++)
		T_EQ(spg_msg_send(1, 0, i), 0);
	after = msg_stats(0);
	T_EQ(after.msg_doorbells, before.msg_doorbells);
	T_EQ(after.sqes, before.sqes);
}

/*
 * Goal: a sleeping shard is woken by one doorbell for each time it waits, delivered while the
 * sender's completion is suppressed; with and without MSG_RING.
 */
START_TEST(a_doorbell_is_delivered_without_a_completion_for_its_sender)
{
	spg_config cfg = sleepy(2);

	T_EQ(t_run_config(&cfg, on_first, &(spg_fn){ doorbells }), 0);
	cfg.disable = "msg_ring";
	T_EQ(t_run_config(&cfg, on_first, &(spg_fn){ doorbells }), 0);
}
END_TEST

static void submit_fails(void *arg)
{
	static const int errs[] = { -EAGAIN, -EBUSY, -EINTR };
	struct spg_shard_stats before;
	_Atomic uint64_t got = 0;
	struct msg_on on;

	(void)arg;
	msg_on_start(&on, 1, recv_doorbells, &got);
	for (unsigned i = 0; i < DOORBELLS; i++) {
		T_UNTIL(look_receiver(1, 0) && sleeps(1));
		before = msg_stats(0);
		spg__fault_arm(SPG__FAULT_SUBMIT, 1, 1 + i % 3, errs[i % 3]);
		T_EQ(spg_msg_send(1, 0, i), 0);
		/* Handed in late, and before the flush's own. */
		T_EQ(spg_msg_flush(), 0);
		if (spg__features.msg_ring && msg_stats(0).wakes_sent > before.wakes_sent)
			T_OK(msg_stats(0).sqes - before.sqes >= 2);
		T_UNTIL(atomic_load(&got) == i + 1);
		spg__fault_disarm(SPG__FAULT_SUBMIT);
	}
	msg_on_wait(&on);
}

/* Goal: a busy kernel delays a doorbell; it loses none, and a flush waits for it. */
START_TEST(refused_submissions_only_delay_a_doorbell)
{
	spg_config cfg = sleepy(2);

	T_EQ(t_run_config(&cfg, on_first, &(spg_fn){ submit_fails }), 0);
}
END_TEST

static void *flush_outside(void *arg)
{
	T_EQ(spg_msg_flush(), 0);
	return arg;
}

static void flushes(void *arg)
{
	struct spg_shard_stats before;
	uint64_t wakes;
	spg_ctx *ctx, *previous;
	spg_msg msg = { 0 };
	struct msg_on on;
	pthread_t thread;
	int other = last_shard();

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	T_EQ(spg_msg_flush(), 0);
	before = msg_stats(0);
	T_EQ(spg_msg_flush(), 0);
	T_EQ(spg_msg_send(other, 0, 1), 0);
	T_EQ(spg_msg_flush(), 0);
	/* No doorbell was rung: there is nothing to wait for. */
	T_EQ(msg_stats(0).sqes, before.sqes);
	msg_on_start(&on, other, recv_one, &msg);
	msg_on_wait(&on);
	msg_on_start(&on, other, recv_one, &msg);
	T_UNTIL(look_receiver(other, 0) && (other == 0 || sleeps(other)));
	wakes = msg_stats(0).wakes_sent;
	T_EQ(spg_msg_send(other, 0, 2), 0);
	before = msg_stats(0);
	T_EQ(spg_msg_flush(), 0);
	T_EQ(msg_stats(0).cqes, before.cqes + (before.wakes_sent > wakes));
	msg_on_wait(&on);
	T_EQ(msg.value, 2);
	ctx = spg_ctx_new(NULL);
	previous = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	T_ERR(spg_msg_flush(), -ECANCELED);
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	{
		SPG_TIMEOUT_SCOPE(0);
		T_ERR(spg_msg_flush(), -ETIMEDOUT);
	}
	T_EQ(pthread_create(&thread, NULL, flush_outside, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
}

/* Goal: a flush waits for one completion behind the doorbells, and only if one was rung. */
START_TEST(a_flush_waits_for_the_doorbells)
{
	spg_config cfg = sleepy((unsigned)_i);

	T_EQ(t_run_config(&cfg, on_first, &(spg_fn){ flushes }), 0);
}
END_TEST

T_MAIN(T_TEST(a_doorbell_is_delivered_without_a_completion_for_its_sender),
       T_TEST(refused_submissions_only_delay_a_doorbell), T_SHARDS(a_flush_waits_for_the_doorbells))
