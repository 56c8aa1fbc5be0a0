/* Shard messages: sending, receiving, batches, lanes, handlers. */
#include "msg_look.h"

#include "coro/fault.h"

static int last_shard(void)
{
	return spg_shards() - 1;
}

/* The case itself, on the last shard. */
static int on_last(void *fn)
{
	struct msg_on on;

	msg_on_start(&on, last_shard(), *(spg_fn *)fn, NULL);
	msg_on_wait(&on);
	return 0;
}

static void recv_one(void *arg)
{
	spg_msg *msg = arg;

	T_EQ(spg_msg_recv(msg), 0);
}

static int one_message(void *arg)
{
	spg_msg msg = { .from = 77 };
	struct msg_on on;

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	msg_on_start(&on, last_shard(), recv_one, &msg);
	T_UNTIL(look_receiver(last_shard(), 0));
	T_EQ(spg_msg_send(last_shard(), 65535, UINT64_MAX - 1), 0);
	msg_on_wait(&on);
	T_EQ(msg.from, spg_shard());
	T_EQ(msg.tag, 65535);
	T_OK(msg.value == UINT64_MAX - 1);
	return 0;
}

/* Goal: what is received is what was sent, and from where; also to one's own shard. */
START_TEST(a_message_arrives_with_its_source_tag_and_value)
{
	t_run((unsigned)_i, one_message, NULL);
}
END_TEST

static void *arguments_of_a_thread(void *arg)
{
	spg_msg msg = { 0 };
	uint64_t n;

	T_ERR(spg_msg_recv(&msg), -ESRCH);
	T_ERR(spg_msg_try_recv(&msg), -ESRCH);
	T_ERR(spg_msg_recv_many(&msg, 1), -ESRCH);
	T_ERR(spg_msg_recv_tag(1, &msg), -ESRCH);
	T_ERR(spg_msg_try_recv_tag(1, &msg), -ESRCH);
	T_ERR(spg_msg_handle(1, (void (*)(const spg_msg *, void *))abort, NULL), -ESRCH);
	T_ERR(spg_msg_counter_take(1, &n), -ESRCH);
	T_ERR(spg_msg_counter_try_take(1, &n), -ESRCH);
	T_ERR(spg_msg_counter_wait(1, 1, &n), -ESRCH);
	return arg;
}

static void nothing(const spg_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
}

static int arguments(void *arg)
{
	spg_msg msg = { 0 };
	pthread_t thread;
	uint64_t n;

	(void)arg;
	T_ERR(spg_msg_send(-1, 0, 0), -EINVAL);
	T_ERR(spg_msg_send(spg_shards(), 0, 0), -EINVAL);
	T_ERR(spg_msg_send(0, 65536, 0), -EINVAL);
	T_ERR(spg_msg_try_send(INT32_MIN, 0, 0), -EINVAL);
	T_ERR(spg_msg_try_send(0, 65536, 0), -EINVAL);
	T_ERR(spg_msg_send_many(0, NULL, 1), -EINVAL);
	T_ERR(spg_msg_send_many(spg_shards(), &msg, 1), -EINVAL);
	T_ERR(spg_msg_try_send_many(0, NULL, 1), -EINVAL);
	T_ERR(spg_msg_try_send_many(-1, &msg, 1), -EINVAL);
	T_EQ(spg_msg_send_many(0, NULL, 0), 0);
	T_EQ(spg_msg_try_send_many(0, NULL, 0), 0);
	T_ERR(spg_msg_recv(NULL), -EINVAL);
	T_ERR(spg_msg_try_recv(NULL), -EINVAL);
	T_ERR(spg_msg_recv_many(NULL, 1), -EINVAL);
	T_EQ(spg_msg_recv_many(&msg, 0), 0);
	T_ERR(spg_msg_recv_tag(65536, &msg), -EINVAL);
	T_ERR(spg_msg_recv_tag(5, NULL), -EINVAL);
	T_ERR(spg_msg_recv_tag(5, &msg), -ENOENT);
	T_ERR(spg_msg_try_recv_tag(5, &msg), -ENOENT);
	T_ERR(spg_msg_lane(65536), -EINVAL);
	T_ERR(spg_msg_handle(65536, nothing, NULL), -EINVAL);
	T_ERR(spg_msg_handle(5, NULL, NULL), -EINVAL);
	T_ERR(spg_msg_counter_add(0, 65536, 1), -EINVAL);
	T_ERR(spg_msg_counter_add(spg_shards(), 0, 1), -EINVAL);
	T_ERR(spg_msg_counter_take(65536, &n), -EINVAL);
	T_ERR(spg_msg_counter_take(5, NULL), -EINVAL);
	T_ERR(spg_msg_counter_try_take(65536, &n), -EINVAL);
	T_ERR(spg_msg_counter_wait(65536, 1, &n), -EINVAL);
	/* Nothing of it made anything. */
	T_OK(atomic_load(&spg__msgs.parts) == NULL);
	T_EQ(pthread_create(&thread, NULL, arguments_of_a_thread, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_ERR(spg_msg_try_recv(&msg), -EAGAIN);
	T_ERR(spg_msg_counter_try_take(5, &n), -EAGAIN);
	return 0;
}

/* Goal: each mistake has its error, with and without a runtime, on threads and in coroutines. */
START_TEST(mistakes_are_refused)
{
	spg_msg msg = { 0 };

	T_ERR(spg_msg_send(0, 0, 0), -ESRCH);
	T_ERR(spg_msg_try_send(0, 0, 0), -ESRCH);
	T_ERR(spg_msg_send_many(0, &msg, 1), -ESRCH);
	T_ERR(spg_msg_try_send_many(0, &msg, 1), -ESRCH);
	T_ERR(spg_msg_lane(1), -ESRCH);
	T_ERR(spg_msg_flush(), -ESRCH);
	T_ERR(spg_msg_counter_add(0, 1, 1), -ESRCH);
	arguments_of_a_thread(NULL);
	t_run((unsigned)_i, arguments, NULL);
}
END_TEST

#define ORDERED 3000u

static void send_numbers(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < ORDERED; i++)
		T_EQ(spg_msg_send(last_shard(), (unsigned)(i % 100), i), 0);
}

static void ordered(void *arg)
{
	uint64_t next[5] = { 0 };
	struct msg_on on[4];
	unsigned shards = (unsigned)spg_shards();

	(void)arg;
	for (unsigned i = 0; i < shards; i++)
		msg_on_start(&on[i], (int)i, send_numbers, NULL);
	for (unsigned i = 0; i < ORDERED * shards; i++) {
		spg_msg msg;

		T_EQ(spg_msg_recv(&msg), 0);
		T_OK(msg.from >= 0 && msg.from < (int)shards);
		T_OK(msg.value == next[msg.from]++);
		T_EQ(msg.tag, msg.value % 100);
	}
	for (unsigned i = 0; i < shards; i++)
		msg_on_wait(&on[i]);
	T_EQ(msg_stats(-1).msgs_sent, ORDERED * shards);
	T_EQ(msg_stats(last_shard()).msgs_received, ORDERED * shards);
}

/* Goal: order per source, whether there is always room or hardly ever. */
START_TEST(messages_of_a_source_arrive_in_order)
{
	msg_run((unsigned)_i, 4096, on_last, &(spg_fn){ ordered });
	msg_run((unsigned)_i, 7, on_last, &(spg_fn){ ordered });
	msg_run((unsigned)_i, 1, on_last, &(spg_fn){ ordered });
}
END_TEST

static int batches(void *arg)
{
	spg_msg out[5], in[8];

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	for (unsigned i = 0; i < 5; i++)
		out[i] = (spg_msg){ .from = 99, .tag = (uint16_t)i, .value = 100 + i };
	T_EQ(spg_msg_send_many(0, out, 2), 2);
	T_EQ(spg_msg_send_many(0, out + 2, 3), 1);
	T_ERR(spg_msg_try_send_many(0, out + 3, 2), -EAGAIN);
	T_ERR(spg_msg_try_send(0, 3, 103), -EAGAIN);
	T_EQ(msg_stats(0).msg_backpressure, 3);
	T_EQ(spg_msg_recv_many(in, 2), 2);
	T_EQ(spg_msg_try_send_many(0, out + 3, 2), 2);
	T_EQ(spg_msg_recv_many(in + 2, 6), 3);
	for (unsigned i = 0; i < 5; i++) {
		T_EQ(in[i].tag, i);
		T_EQ(in[i].value, 100 + i);
		T_EQ(in[i].from, 0);
	}
	T_ERR(spg_msg_try_recv(in), -EAGAIN);
	T_EQ(msg_stats(0).msgs_sent, 5);
	T_EQ(msg_stats(0).msgs_received, 5);
	return 0;
}

/* Goal: a batch that does not fit is taken as far as it fits; a full queue is an error by name. */
START_TEST(a_batch_is_accepted_in_order_as_far_as_there_is_room)
{
	msg_run(1, 3, batches, NULL);
}
END_TEST

static int lanes(void *arg)
{
	spg_msg msg;
	spg_msg mixed[] = { { .tag = 8, .value = 1 }, { .tag = 7, .value = 2 }, { .tag = 7, .value = 3 },
			    { .tag = 9, .value = 4 }, { .tag = 8, .value = 5 } };

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	/* Sent before it has a lane: stays in the common one. */
	T_EQ(spg_msg_send(spg_shard(), 7, 70), 0);
	T_EQ(spg_msg_lane(7), 0);
	T_EQ(spg_msg_lane(7), 0);
	T_EQ(spg_msg_lane(9), 0);
	T_EQ(spg_msg_send(spg_shard(), 7, 71), 0);
	T_EQ(spg_msg_send(spg_shard(), 8, 80), 0);
	T_EQ(spg_msg_send(spg_shard(), 9, 90), 0);
	T_EQ(spg_msg_recv_tag(7, &msg), 0);
	T_EQ(msg.value, 71);
	T_ERR(spg_msg_try_recv_tag(7, &msg), -EAGAIN);
	T_EQ(spg_msg_recv(&msg), 0);
	T_EQ(msg.value, 70);
	T_EQ(spg_msg_recv(&msg), 0);
	T_EQ(msg.value, 80);
	T_ERR(spg_msg_try_recv(&msg), -EAGAIN);
	T_EQ(spg_msg_recv_tag(9, &msg), 0);
	T_EQ(msg.value, 90);
	/* Each lane has room of its own. */
	T_EQ(spg_msg_send_many(spg_shard(), mixed, 5), 5);
	T_ERR(spg_msg_try_send(spg_shard(), 8, 6), -EAGAIN);
	T_ERR(spg_msg_try_send(spg_shard(), 7, 6), -EAGAIN);
	T_EQ(spg_msg_try_send(spg_shard(), 9, 6), 0);
	/* The first that has no room ends a batch, also where later ones have. */
	mixed[0].tag = 9;
	T_ERR(spg_msg_try_send_many(spg_shard(), mixed, 5), -EAGAIN);
	T_EQ(spg_msg_recv_tag(9, &msg), 0);
	T_EQ(msg.value, 4);
	T_EQ(spg_msg_try_send_many(spg_shard(), mixed, 5), 1);
	for (unsigned i = 2; i <= 3; i++) {
		T_EQ(spg_msg_recv_tag(7, &msg), 0);
		T_EQ(msg.value, i);
	}
	return 0;
}

/* Goal: lanes are separate in order, room and receivers; the common lane keeps what it has. */
START_TEST(tags_have_lanes_of_their_own)
{
	msg_run((unsigned)_i, 2, lanes, NULL);
}
END_TEST

static int lanes_run_out(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < SPG_MSG_LANES_MAX; i++)
		T_EQ(spg_msg_lane(1000 * i), 0);
	T_ERR(spg_msg_lane(1), -ENOSPC);
	T_ERR(spg_msg_handle(1, nothing, NULL), -ENOSPC);
	T_EQ(spg_msg_lane(0), 0);
	T_EQ(spg_msg_lane(62000), 0);
	for (unsigned i = 0; i < SPG_MSG_LANES_MAX; i++)
		T_EQ(spg_msg_send(last_shard(), 1000 * i, i), 0);
	return 0;
}

/* Goal: the bound of lanes is an error by name; the next runtime begins without lanes. */
START_TEST(lanes_run_out_by_name)
{
	t_run(2, lanes_run_out, NULL);
	T_OK(atomic_load(&spg__msgs.parts) == NULL);
	t_run(2, lanes_run_out, NULL);
}
END_TEST

struct handled {
	int shard;
	_Atomic uint64_t seen;
	spg_wg ready;
	spg_ctx *ctx;
};

static void add_up(const spg_msg *msg, void *arg)
{
	struct handled *h = arg;

	T_EQ(spg_shard(), h->shard);
	T_EQ(msg->tag, 40);
	/* In order, one at a time, also when it blocks. */
	T_EQ(msg->value, atomic_load(&h->seen));
	spg_yield();
	atomic_fetch_add(&h->seen, 1);
}

static void install(void *arg)
{
	struct handled *h = arg;
	spg_ctx *previous = spg_ctx_enter(h->ctx);

	h->shard = spg_shard();
	T_EQ(spg_msg_handle(40, add_up, h), 0);
	spg_ctx_leave(previous);
	spg_wg_done(&h->ready);
}

static int handlers(void *arg)
{
	struct handled h = { .ready = SPG_WG_INIT };

	(void)arg;
	h.ctx = spg_ctx_new(NULL);
	T_EQ(spg_wg_add(&h.ready, 1), 0);
	msg_go(last_shard(), install, &h);
	T_EQ(spg_wg_wait(&h.ready), 0);
	for (uint64_t i = 0; i < 500; i++)
		T_EQ(spg_msg_send(last_shard(), 40, i), 0);
	T_UNTIL(atomic_load(&h.seen) == 500);
	T_UNTIL(look_receiver(last_shard(), 1));
	spg_ctx_cancel(h.ctx);
	T_UNTIL(!look_receiver(last_shard(), 1));
	/* Nobody handles any more. */
	T_EQ(spg_msg_send(last_shard(), 40, 500), 0);
	T_EQ(atomic_load(&h.seen), 500);
	spg_ctx_unref(h.ctx);
	return 0;
}

/* Goal: a handler sees each message of its tag in order, on its shard, until its context ends. */
START_TEST(handlers_are_called_until_their_context_ends)
{
	msg_run((unsigned)_i, 16, handlers, NULL);
}
END_TEST

struct point {
	int32_t x, y;
};
SPG_MSG_DEFINE(point, 300, struct point)
SPG_MSG_DEFINE(small, 301, uint8_t)
SPG_MSG_DEFINE(real, 302, double)

static int typed(void *arg)
{
	spg_msg msgs[2] = { point_msg((struct point){ 1, 2 }), small_msg(200) };
	struct point p;
	spg_msg msg;
	uint8_t s = 0;
	double r;

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	T_EQ(spg_msg_lane(point_tag), 0);
	T_EQ(spg_msg_lane(real_tag), 0);
	T_EQ(point_send(spg_shard(), (struct point){ -5, 7 }), 0);
	T_EQ(point_recv(&p), 0);
	T_OK(p.x == -5 && p.y == 7);
	T_EQ(real_try_send(spg_shard(), -0.25), 0);
	T_EQ(real_recv(&r), 0);
	T_OK(r == -0.25);
	T_EQ(spg_msg_send_many(spg_shard(), msgs, 2), 2);
	T_EQ(point_recv(&p), 0);
	T_OK(p.x == 1 && p.y == 2);
	T_EQ(spg_msg_recv(&msg), 0);
	T_OK(!point_is(&msg, &p));
	T_OK(small_is(&msg, &s) && s == 200);
	T_EQ(msg.value, 200);
	return 0;
}

/* Goal: what fits 64 bits travels by its type. */
START_TEST(typed_messages_carry_up_to_64_bits)
{
	t_run(1, typed, NULL);
}
END_TEST

static int too_many(void *arg)
{
	(void)arg;
	T_ERR(spg_msg_handle(1, nothing, NULL), -EAGAIN);
	return 0;
}

/* Goal: a handler is a coroutine, and counts as one. */
START_TEST(a_handler_counts_as_a_coroutine)
{
	spg_config cfg = t_config(1);

	cfg.coroutines_max = 1;
	T_EQ(t_run_config(&cfg, too_many, NULL), 0);
}
END_TEST

static void flood(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 200; i++)
		T_EQ(spg_msg_try_send(last_shard(), 1, i), 0);
}

static void *send_from_outside(void *arg)
{
	T_EQ(spg_msg_try_send(last_shard(), 2, 1), 0);
	return arg;
}

static void turns(void *arg)
{
	struct msg_on on;
	pthread_t thread;
	spg_msg msgs[201];
	unsigned at = 0;

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	msg_on_start(&on, last_shard(), flood, NULL);
	msg_on_wait(&on);
	T_EQ(pthread_create(&thread, NULL, send_from_outside, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(spg_msg_recv_many(msgs, 201), 201);
	while (msgs[at].tag != 2)
		at++;
	T_EQ(at, 64);
	T_EQ(msgs[at].from, -1);
}

/* Goal: a source that floods delays another one's message by one turn. */
START_TEST(sources_take_turns)
{
	t_run((unsigned)_i, on_last, &(spg_fn){ turns });
}
END_TEST

static int use_all(void *arg)
{
	(void)arg;
	T_EQ(spg_msg_lane(3), 0);
	for (int shard = 0; shard < spg_shards(); shard++) {
		T_EQ(spg_msg_send(shard, 3, 1), 0);
		T_EQ(spg_msg_send(shard, 4, 1), 0);
		T_EQ(spg_msg_counter_add(shard, 5, 1), 0);
		T_EQ(spg_msg_counter_add(shard, 65535, 1), 0);
	}
	return 0;
}

static int use_nothing(void *arg)
{
	(void)arg;
	T_OK(atomic_load(&spg__msgs.parts) == NULL);
	return 0;
}

/* Goal: what is mapped on demand goes with the runtime, queued messages included. */
START_TEST(nothing_is_mapped_before_it_is_used_or_after_the_runtime)
{
	int maps;

	t_run(4, use_nothing, NULL);
	T_OK(atomic_load(&spg__msgs.parts) == NULL);
	t_run(4, use_all, NULL);
	T_OK(atomic_load(&spg__msgs.parts) == NULL);
	maps = t_maps_count();
	for (int i = 0; i < 20; i++)
		t_run(4, use_all, NULL);
	if (!t_sanitized())
		T_OK(t_maps_count() <= maps + 10);
	t_run(4, use_nothing, NULL);
}
END_TEST

static void refuse(int64_t nth)
{
	spg__fault_arm(SPG__FAULT_MAP, nth, 1, -ENOMEM);
}

/* A thread's first blocking call makes its waiter. */
static void *refused_outside(void *arg)
{
	spg__fault_arm(SPG__FAULT_ALLOC, 1, INT64_MAX, -ENOMEM);
	T_ERR(spg_msg_send(0, 1, 5), -ENOMEM);
	T_EQ(spg_msg_try_send(0, 1, 6), 0);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	return arg;
}

static int refused(void *arg)
{
	spg_msg msg = { .tag = 1 };
	pthread_t thread;
	uint64_t n;

	(void)arg;
	T_EQ(spg_pin_self(), 0);
	T_EQ(spg_msg_lane(9), 0);
	refuse(1);
	T_ERR(spg_msg_recv(&msg), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_try_recv(&msg), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_recv_tag(9, &msg), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_try_recv_tag(9, &msg), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_send(spg_shard(), 1, 1), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_try_send(spg_shard(), 1, 1), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_send_many(spg_shard(), &msg, 1), -ENOMEM);
	refuse(2);
	T_ERR(spg_msg_try_send_many(spg_shard(), &msg, 1), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_counter_add(0, 1, 1), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_counter_take(1, &n), -ENOMEM);
	refuse(1);
	T_ERR(spg_msg_counter_try_take(1, &n), -ENOMEM);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_ERR(spg_msg_handle(9, nothing, NULL), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	spg__fault_disarm(SPG__FAULT_MAP);
	T_EQ(pthread_create(&thread, NULL, refused_outside, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(spg_msg_recv(&msg), 0);
	T_EQ(msg.value, 6);
	/* All of it works now. */
	T_EQ(spg_msg_send(spg_shard(), 1, 5), 0);
	T_EQ(spg_msg_recv(&msg), 0);
	T_EQ(msg.value, 5);
	T_EQ(spg_msg_counter_add(0, 1, 3), 0);
	T_EQ(spg_msg_counter_take(1, &n), 0);
	T_EQ(n, 3);
	return 0;
}

/* Goal: refused memory is an error by name, and nothing is half made. */
START_TEST(refused_memory_is_reported)
{
	t_run(1, refused, NULL);
}
END_TEST

/* Goal: the capacity comes from the configuration and the environment, within its bounds. */
START_TEST(the_capacity_is_configured)
{
	spg_config cfg = t_config(1);

	T_EQ(cfg.msg_queue, 4096);
	cfg.msg_queue = 0;
	T_ERR(spg_run(&cfg, use_nothing, NULL), -EINVAL);
	cfg.msg_queue = 1048577;
	T_ERR(spg_run(&cfg, use_nothing, NULL), -EINVAL);
	T_EQ(setenv("SPG_MSG_QUEUE", "3", 1), 0);
	cfg = t_config(1);
	T_EQ(cfg.msg_queue, 3);
	T_EQ(t_run_config(&cfg, batches, NULL), 0);
	T_EQ(unsetenv("SPG_MSG_QUEUE"), 0);
}
END_TEST

T_MAIN(T_SHARDS(a_message_arrives_with_its_source_tag_and_value), T_SHARDS(mistakes_are_refused),
       T_SHARDS(messages_of_a_source_arrive_in_order),
       T_TEST(a_batch_is_accepted_in_order_as_far_as_there_is_room), T_SHARDS(tags_have_lanes_of_their_own),
       T_TEST(lanes_run_out_by_name), T_SHARDS(handlers_are_called_until_their_context_ends),
       T_TEST(typed_messages_carry_up_to_64_bits), T_SHARDS(sources_take_turns),
       T_TEST(a_handler_counts_as_a_coroutine),
       T_TEST(nothing_is_mapped_before_it_is_used_or_after_the_runtime), T_TEST(refused_memory_is_reported),
       T_TEST(the_capacity_is_configured))
