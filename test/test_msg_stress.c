/*
 * Shard messages where all shards meet: senders of every kind, receivers of every kind, with
 * deadlines that end waits on both sides. SPG_TEST_SECONDS lengthens it.
 */
#include "msg_look.h"

#define TAG_COMMON 1u
#define TAG_LANE 2u
#define SENDERS_EACH 3
#define RECEIVERS_EACH 2
#define BATCH 16
/* However slow the machine. */
#define SENT_MIN 500u

struct stress {
	int64_t until_ns;
	uint64_t seed;
	_Atomic uint64_t seeds;
	/* What was accepted, and what arrived: how many, and the sum of their values. */
	_Atomic uint64_t sent, sent_sum, received, received_sum;
	_Atomic uint64_t timeouts, refused;
	_Atomic unsigned roles[4], threads_done;
	_Atomic bool stop;
	unsigned shards;
};

static uint64_t stress_seed(struct stress *s)
{
	return s->seed + (atomic_fetch_add(&s->seeds, 1) + 1) * 0x9E3779B97F4A7C15u;
}

static void accepted(struct stress *s, const spg_msg *msgs, ssize_t n)
{
	if (n < 0) {
		T_OK(n == -ETIMEDOUT || n == -EAGAIN);
		atomic_fetch_add(n == -EAGAIN ? &s->refused : &s->timeouts, 1);
		return;
	}
	T_OK(n > 0);
	atomic_fetch_add(&s->sent, (uint64_t)n);
	for (ssize_t i = 0; i < n; i++)
		atomic_fetch_add(&s->sent_sum, msgs[i].value);
}

static void send_some(struct stress *s, uint64_t *state)
{
	uint64_t random = t_random(state);
	int to = (int)(random % s->shards);
	size_t n = 1 + (random >> 8) % BATCH;
	spg_msg msgs[BATCH];
	ssize_t got;

	for (size_t i = 0; i < n; i++)
		msgs[i] = (spg_msg){ .tag = (t_random(state) & 1) ? TAG_LANE : TAG_COMMON,
				     .value = t_random(state) >> 20 };
	switch (random >> 16 & 7) {
	case 0:
		got = spg_msg_try_send_many(to, msgs, n);
		break;
	case 1:
		got = spg_msg_send_many(to, msgs, n);
		break;
	case 2: {
		SPG_TIMEOUT_SCOPE((int64_t)(random >> 24) % (50 * SPG_US));

		got = spg_msg_send_many(to, msgs, n);
		break;
	}
	case 3:
		got = spg_msg_try_send(to, msgs[0].tag, msgs[0].value);
		got = got < 0 ? got : 1;
		break;
	case 4: {
		SPG_TIMEOUT_SCOPE((int64_t)(random >> 24) % (50 * SPG_US));

		got = spg_msg_send(to, msgs[0].tag, msgs[0].value);
		got = got < 0 ? got : 1;
		break;
	}
	default:
		got = spg_msg_send(to, msgs[0].tag, msgs[0].value);
		got = got < 0 ? got : 1;
		break;
	}
	accepted(s, msgs, got);
	if ((random >> 40 & 63) == 0)
		T_EQ(spg_msg_flush(), 0);
	if ((random >> 46 & 7) == 0)
		t_relax();
}

static void sender(void *arg)
{
	struct stress *s = arg;
	uint64_t state = stress_seed(s);

	while (t_now_ns() < s->until_ns || atomic_load(&s->sent) < SENT_MIN)
		send_some(s, &state);
}

static void *sender_thread(void *arg)
{
	struct stress *s = arg;

	sender(s);
	atomic_fetch_add(&s->threads_done, 1);
	return NULL;
}

static void arrived(struct stress *s, const spg_msg *msgs, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++)
		atomic_fetch_add(&s->received_sum, msgs[i].value);
	atomic_fetch_add(&s->received, (uint64_t)n);
}

/* Pinned; one of two on a shard receives from the lane. Ends when told to, and nothing is left. */
static void receiver(void *arg)
{
	struct stress *s = arg;
	uint64_t state = stress_seed(s);
	bool lane = atomic_fetch_add(&s->roles[spg_shard()], 1) & 1;
	spg_msg msgs[BATCH];

	for (;;) {
		bool stop = atomic_load(&s->stop);
		uint64_t random = t_random(&state);
		ssize_t got;

		if (stop || random % 4 == 0) {
			got = lane ? spg_msg_try_recv_tag(TAG_LANE, msgs) : spg_msg_try_recv(msgs);
			got = got < 0 ? got : 1;
			if (got == -EAGAIN && !stop)
				t_relax();
		} else {
			SPG_TIMEOUT_SCOPE((int64_t)(random >> 8) % (200 * SPG_US));

			if (lane) {
				got = spg_msg_recv_tag(TAG_LANE, msgs);
				got = got < 0 ? got : 1;
			} else {
				got = spg_msg_recv_many(msgs, 1 + random % BATCH);
			}
		}
		T_OK(got > 0 || got == -EAGAIN || got == -ETIMEDOUT);
		if (got > 0)
			arrived(s, msgs, got);
		else if (stop && got == -EAGAIN && atomic_load(&s->received) == atomic_load(&s->sent))
			break;
		else if (stop)
			spg_yield();
	}
}

static void start_all(unsigned n, spg_fn fn, struct stress *s, struct msg_on *on, bool pinned)
{
	for (unsigned i = 0; i < n; i++) {
		if (pinned) {
			msg_on_start(&on[i], (int)(i % s->shards), fn, s);
			continue;
		}
		on[i] = (struct msg_on){ .fn = fn, .arg = s, .wg = SPG_WG_INIT };
		T_EQ(spg_wg_add(&on[i].wg, 1), 0);
		T_EQ(spg_go(msg_on_main, &on[i]), 0);
	}
}

static int storm(void *arg)
{
	struct stress *s = arg;
	struct msg_on senders[4 * SENDERS_EACH], receivers[4 * RECEIVERS_EACH];
	const char *seconds = getenv("SPG_TEST_SECONDS");
	pthread_t threads[2];

	s->shards = (unsigned)spg_shards();
	s->until_ns = t_now_ns() + (seconds != NULL ? atoi(seconds) * SPG_SEC : 300 * SPG_MS);
	T_EQ(spg_msg_lane(TAG_LANE), 0);
	start_all(RECEIVERS_EACH * s->shards, receiver, s, receivers, true);
	start_all(SENDERS_EACH * s->shards, sender, s, senders, false);
	for (int i = 0; i < 2; i++)
		T_EQ(pthread_create(&threads[i], NULL, sender_thread, s), 0);
	for (unsigned i = 0; i < SENDERS_EACH * s->shards; i++)
		msg_on_wait(&senders[i]);
	T_UNTIL(atomic_load(&s->threads_done) == 2); /* a join would keep this shard from receiving */
	for (int i = 0; i < 2; i++)
		T_EQ(pthread_join(threads[i], NULL), 0);
	atomic_store(&s->stop, true);
	for (unsigned i = 0; i < RECEIVERS_EACH * s->shards; i++)
		msg_on_wait(&receivers[i]);
	T_EQ(atomic_load(&s->received), atomic_load(&s->sent));
	T_OK(atomic_load(&s->received_sum) == atomic_load(&s->sent_sum));
	T_EQ(msg_stats(-1).msgs_sent, atomic_load(&s->sent));
	T_EQ(msg_stats(-1).msgs_received, atomic_load(&s->received));
	T_EQ(msg_stats(-1).migrations_in_flight, 0);
	return 0;
}

/* Goal: whatever ends whose wait, each accepted message arrives once. */
START_TEST(stress_every_accepted_message_arrives_once)
{
	static const unsigned queues[] = { 1, 3, 64 };

	for (unsigned i = 0; i < 3; i++) {
		struct stress s = { .seed = t_seed() };

		msg_run((unsigned)_i, queues[i], storm, &s);
	}
}
END_TEST

T_MAIN(T_SHARDS(stress_every_accepted_message_arrives_once))
