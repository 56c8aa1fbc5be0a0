/*
 * Streams while calls wait: descriptors, pipes in memory and an implementation from outside, between
 * coroutines and foreign threads.
 */
#include "crowd.h"

#include "coro/fault.h"

#include <fcntl.h>
#include <sys/socket.h>

#define ROUNDS (t_sanitized() ? 20 : 100)

/* One stream through another, as TLS would be. */
static ssize_t outer_read(void *self, void *buf, size_t len)
{
	return spg_conn_read(self, buf, len);
}

static ssize_t outer_write(void *self, const void *buf, size_t len)
{
	return spg_conn_write(self, buf, len < 1000 ? len : 1000);
}

static int outer_close(void *self)
{
	return spg_conn_close(self);
}

static int outer_close_write(void *self)
{
	return spg_conn_close_write(self);
}

static const spg_conn_ops outer_ops = {
	.size = sizeof(spg_conn_ops),
	.read = outer_read,
	.write = outer_write,
	.close = outer_close,
	.close_write = outer_close_write,
};

enum kind { PIPE, SOCKETS, OUTER_PIPE, OUTER_SOCKETS, KINDS };

static void make(enum kind kind, spg_conn *ends[2])
{
	int fds[2];

	if (kind == PIPE || kind == OUTER_PIPE) {
		T_EQ(spg_conn_pipe(ends), 0);
	} else {
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		for (int i = 0; i < 2; i++)
			ends[i] = spg_conn_fd(fds[i]);
	}
	for (int i = 0; i < 2 && kind >= OUTER_PIPE; i++)
		ends[i] = spg_conn_new(&outer_ops, ends[i]);
	T_OK(ends[0] != NULL && ends[1] != NULL);
}

static void close_both(spg_conn *ends[2])
{
	T_EQ(spg_conn_close(ends[0]), 0);
	T_EQ(spg_conn_close(ends[1]), 0);
}

/* A function that runs for each kind under the runtime, or on the test's own thread. */
static int each_kind(void *arg)
{
	void (*fn)(enum kind) = *(void (**)(enum kind))arg;

	for (int kind = 0; kind < KINDS; kind++)
		fn(kind);
	return 0;
}

static void on_shards(int shards, void (*fn)(enum kind))
{
	t_run((unsigned)shards, each_kind, &fn);
}

/* Waits until that many coroutines are parked. */
static void await_parked(uint64_t n)
{
	spg_stats_t *stats = malloc(sizeof(*stats));

	do {
		t_relax();
		T_EQ(spg_stats(stats), 0);
	} while (stats->total.parked < n);
	free(stats);
}

/* A call in another coroutine or thread. */
struct other {
	ssize_t (*fn)(struct other *);
	spg_conn *c;
	void *buf;
	size_t len;
	ssize_t res;
	int ctx_err;
	_Atomic bool begun, ended;
	pthread_t thread;
};

static void other_run(void *arg)
{
	struct other *o = arg;

	atomic_store(&o->begun, true);
	o->res = o->fn(o);
	o->ctx_err = spg_ctx_err(NULL);
	atomic_store(&o->ended, true);
}

static void *other_thread(void *arg)
{
	other_run(arg);
	return NULL;
}

static ssize_t do_read(struct other *o)
{
	return spg_conn_read(o->c, o->buf, o->len);
}

static ssize_t do_write(struct other *o)
{
	return spg_conn_write(o->c, o->buf, o->len);
}

/* Begins it, and sees to it that it waits: for a thread, as far as can be told. */
static void other_start(struct other *o, ssize_t (*fn)(struct other *), spg_conn *c, bool thread)
{
	static char space[1 << 20];

	*o = (struct other){ .fn = fn, .c = c, .buf = space, .len = fn == do_write ? sizeof(space) : 100 };
	if (thread)
		T_EQ(pthread_create(&o->thread, NULL, other_thread, o), 0);
	else
		T_EQ(spg_go(other_run, o), 0);
	T_UNTIL(atomic_load(&o->begun));
	if (!thread)
		await_parked(1);
}

static ssize_t other_end(struct other *o, bool thread)
{
	T_UNTIL(atomic_load(&o->ended));
	if (thread)
		T_EQ(pthread_join(o->thread, NULL), 0);
	T_EQ(o->ctx_err, 0);
	return o->res;
}

/* Goal: bytes cross whole and in order, both ways, in pieces of any size; then half an end, then the other. */
struct traffic {
	spg_conn *c;
	uint64_t seed;
	size_t total;
};

static void send_all(struct traffic *t)
{
	uint64_t random = t->seed;
	char *data = malloc(100000);

	for (size_t sent = 0; sent < t->total;) {
		size_t n = 1 + t_random(&random) % (t_random(&random) % 4 == 0 ? 100000 : 1000);

		if (n > t->total - sent)
			n = t->total - sent;
		for (size_t i = 0; i < n; i++)
			data[i] = (char)((sent + i) * 31 >> 4);
		if (n & 1) {
			T_EQ(spg_conn_write(t->c, data, n), n);
		} else {
			struct iovec iov[4] = { { data, 0 }, { data, n / 3 }, { NULL, 0 }, { data + n / 3, n - n / 3 } };

			T_EQ(spg_conn_writev(t->c, iov, 4), n);
		}
		sent += n;
	}
	T_EQ(spg_conn_close_write(t->c), 0);
	free(data);
}

static void receive_all(struct traffic *t)
{
	uint64_t random = t->seed ^ 77;
	char *data = malloc(100000);
	size_t got = 0;
	ssize_t n;

	while ((n = spg_conn_read(t->c, data, 1 + t_random(&random) % 100000)) > 0)
		for (ssize_t i = 0; i < n; i++, got++)
			T_EQ(data[i], (char)(got * 31 >> 4));
	T_EQ(n, 0);
	T_EQ(got, t->total);
	T_EQ(spg_conn_read(t->c, data, 1), 0);
	free(data);
}

static void traffic_end(void *arg)
{
	send_all(arg);
}

static void *traffic_thread(void *arg)
{
	send_all(arg);
	receive_all(arg);
	return NULL;
}

static void cross(enum kind kind)
{
	size_t total = t_sanitized() ? 300000 : 3000000;
	uint64_t seed = t_seed();
	spg_conn *ends[2];
	struct traffic a = { .seed = seed, .total = total }, b = { .seed = seed + 2, .total = total };
	struct crowd crowd;
	pthread_t thread;

	make(kind, ends);
	a.c = ends[0];
	b.c = ends[1];
	/* One after the other with a thread; both ways at once between coroutines. */
	T_EQ(pthread_create(&thread, NULL, traffic_thread, &b), 0);
	receive_all(&a);
	send_all(&a);
	T_EQ(pthread_join(thread, NULL), 0);
	T_ERR(spg_conn_write(a.c, "x", 1), -EPIPE);
	close_both(ends);
	make(kind, ends);
	a.c = ends[0];
	b.c = ends[1];
	crowd_start(&crowd, 1, 0, traffic_end, &a);
	T_EQ(pthread_create(&thread, NULL, traffic_thread, &b), 0);
	receive_all(&a);
	crowd_wait(&crowd);
	T_EQ(pthread_join(thread, NULL), 0);
	close_both(ends);
}

START_TEST(bytes_cross_whole_and_in_order)
{
	on_shards(_i, cross);
}
END_TEST

/* Goal: what was written before a close is read; writes to a closed peer are -EPIPE. */
static void last_words(enum kind kind)
{
	spg_conn *ends[2];
	char buf[8];

	make(kind, ends);
	T_EQ(spg_conn_write(ends[0], "end", 3), 3);
	T_EQ(spg_conn_write(ends[0], "", 0), 0);
	T_EQ(spg_conn_writev(ends[0], NULL, 0), 0);
	T_ERR(spg_conn_writev(ends[0], NULL, -1), -EINVAL);
	T_EQ(spg_conn_read(ends[1], buf, 0), 0);
	T_EQ(spg_conn_close(ends[0]), 0);
	T_EQ(spg_conn_read(ends[1], buf, 8), 3);
	T_OK(memcmp(buf, "end", 3) == 0);
	T_EQ(spg_conn_read(ends[1], buf, 8), 0);
	T_ERR(spg_conn_write(ends[1], "x", 1), -EPIPE);
	T_EQ(spg_conn_close(ends[1]), 0);
}

START_TEST(what_was_written_before_a_close_is_read)
{
	on_shards(_i, last_words);
	for (int kind = 0; kind < KINDS; kind++)
		last_words(kind); /* a foreign thread, without a runtime */
}
END_TEST

/* Goal: a deadline that is set while a call waits ends it; its data stays, and later calls work again. */
static void deadline_in_flight(enum kind kind)
{
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t (*fn)(struct other *) = i & 1 ? do_write : do_read;
		bool thread = i & 2;
		spg_conn *ends[2];
		struct other o;
		ssize_t res;
		char c;

		make(kind, ends);
		other_start(&o, fn, ends[0], thread);
		if (i & 4)
			T_EQ(spg_conn_set_deadline(ends[0], spg_now() - 1), 0);
		else if (fn == do_read)
			T_EQ(spg_conn_set_read_deadline(ends[0], spg_now() + 100 * SPG_US), 0);
		else
			T_EQ(spg_conn_set_write_deadline(ends[0], spg_now() + 100 * SPG_US), 0);
		res = other_end(&o, thread);
		/* A write that had begun says how far it came. */
		T_OK(res == -ETIMEDOUT || (fn == do_write && res > 0 && res < (ssize_t)o.len));
		T_ERR(fn == do_read ? spg_conn_read(ends[0], &c, 1) : spg_conn_write(ends[0], "x", 1), -ETIMEDOUT);
		T_EQ(spg_conn_set_deadline(ends[0], i & 8 ? INT64_MAX : 0), 0);
		T_EQ(spg_conn_write(ends[1], "x", 1), 1);
		T_EQ(spg_conn_read(ends[0], &c, 1), 1);
		close_both(ends);
	}
}

START_TEST(a_deadline_ends_the_calls_in_flight)
{
	on_shards(_i, deadline_in_flight);
}
END_TEST

/* Goal: a deadline that moves away lets the call wait on; one that has passed fails calls though data is there. */
static void deadline_moved(enum kind kind)
{
	for (int thread = 0; thread < 2; thread++) {
		spg_conn *ends[2];
		struct other o;
		char c;

		make(kind, ends);
		T_EQ(spg_conn_set_read_deadline(ends[0], spg_now() + 300 * SPG_MS), 0);
		other_start(&o, do_read, ends[0], thread);
		T_EQ(spg_conn_set_read_deadline(ends[0], thread ? spg_now() + 3600 * SPG_SEC : 0), 0);
		T_EQ(spg_sleep(310 * SPG_MS), 0);
		T_OK(!atomic_load(&o.ended));
		T_EQ(spg_conn_write(ends[1], "ab", 1), 1);
		T_EQ(other_end(&o, thread), 1);
		T_EQ(spg_conn_write(ends[1], "cd", 2), 2);
		T_EQ(spg_conn_set_read_deadline(ends[0], 1), 0);
		T_ERR(spg_conn_read(ends[0], &c, 1), -ETIMEDOUT);
		T_EQ(spg_conn_write(ends[0], "x", 1), 1); /* the other direction */
		T_EQ(spg_conn_set_write_deadline(ends[0], -1), 0);
		T_ERR(spg_conn_write(ends[0], "x", 1), -ETIMEDOUT);
		T_ERR(spg_conn_close_write(ends[0]), -ETIMEDOUT);
		T_EQ(spg_conn_set_deadline(ends[0], 0), 0);
		T_EQ(spg_conn_read(ends[0], &c, 1), 1);
		T_EQ(c, 'c');
		close_both(ends);
	}
}

START_TEST(a_deadline_can_be_moved)
{
	on_shards(_i, deadline_moved);
}
END_TEST

/* Goal: contexts end calls as they end any other; the nearest of them and the deadline wins. */
static void contexts(enum kind kind)
{
	spg_conn *ends[2];
	char c;

	make(kind, ends);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_conn_read(ends[0], &c, 1), -ETIMEDOUT);
		T_EQ(spg_ctx_err(NULL), -ETIMEDOUT);
		T_EQ(spg_conn_set_deadline(ends[0], spg_now() + 3600 * SPG_SEC), 0);
		T_ERR(spg_conn_read(ends[0], &c, 1), -ETIMEDOUT);
	}
	T_EQ(spg_conn_set_deadline(ends[0], spg_now() + SPG_MS), 0);
	{
		SPG_TIMEOUT_SCOPE(3600 * SPG_SEC);
		T_ERR(spg_conn_read(ends[0], &c, 1), -ETIMEDOUT);
		T_EQ(spg_ctx_err(NULL), 0);
		SPG_SHIELD_SCOPE(); /* of contexts, not of what is the stream's own */
		T_ERR(spg_conn_read(ends[0], &c, 1), -ETIMEDOUT);
	}
	close_both(ends);
}

START_TEST(contexts_and_deadlines_bound_a_call_together)
{
	on_shards(_i, contexts);
	for (int kind = 0; kind < KINDS; kind++)
		contexts(kind);
}
END_TEST

/* Goal: close wakes calls in flight and those that wait for their turn, wherever they are. */
static void close_wakes(enum kind kind)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct other o[6];
		spg_conn *ends[2];
		char c;

		make(kind, ends);
		for (int j = 0; j < 6; j++)
			other_start(&o[j], j & 1 ? do_write : do_read, spg_conn_ref(ends[0]), j >= 3);
		if (i & 1)
			await_parked(3);
		T_EQ(spg_conn_close(ends[0]), 0);
		for (int j = 0; j < 6; j++) {
			ssize_t res = other_end(&o[j], j >= 3);

			/* -EBADF: it had only just begun. */
			T_OK(res == -ECANCELED || res == -EBADF || ((j & 1) && res > 0));
		}
		T_ERR(spg_conn_read(ends[0], &c, 1), -EBADF);
		T_ERR(spg_conn_write(ends[0], &c, 1), -EBADF);
		T_ERR(spg_conn_writev(ends[0], &(struct iovec){ &c, 1 }, 1), -EBADF);
		T_ERR(spg_conn_close_write(ends[0]), -EBADF);
		T_ERR(spg_conn_set_deadline(ends[0], 1), -EBADF);
		T_ERR(spg_conn_close(spg_conn_ref(ends[0])), -EBADF);
		for (int j = 0; j < 6; j++)
			spg_conn_unref(ends[0]);
		while ((o[0].res = spg_conn_read(ends[1], o[0].buf, 1000)) > 0)
			continue;
		T_EQ(o[0].res, 0);
		T_EQ(spg_conn_close(ends[1]), 0);
	}
}

START_TEST(close_wakes_every_call)
{
	on_shards(_i, close_wakes);
}
END_TEST

/* Goal: the last reference closes; close by a foreign thread wakes a coroutine. */
static void *closer_thread(void *arg)
{
	T_EQ(spg_conn_close(arg), 0);
	return NULL;
}

static void last_reference(enum kind kind)
{
	pthread_t thread;
	spg_conn *ends[2];
	struct other o;
	char c;

	make(kind, ends);
	T_OK(spg_conn_ref(ends[0]) == ends[0]);
	spg_conn_unref(ends[0]);
	T_EQ(spg_conn_write(ends[0], "x", 1), 1);
	spg_conn_unref(ends[0]);
	T_EQ(spg_conn_read(ends[1], &c, 1), 1);
	T_EQ(spg_conn_read(ends[1], &c, 1), 0);
	spg_conn_unref(ends[1]);
	make(kind, ends);
	other_start(&o, do_read, ends[0], false);
	T_EQ(pthread_create(&thread, NULL, closer_thread, ends[0]), 0);
	T_EQ(other_end(&o, false), -ECANCELED);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(spg_conn_close(ends[1]), 0);
}

START_TEST(the_last_reference_closes)
{
	on_shards(_i, last_reference);
}
END_TEST

/* Goal: writes of several coroutines and threads do not mix, and each gets its turn. */
#define BLOCK 3000
#define BLOCKS_EACH 20

struct blocks {
	spg_conn *c;
	_Atomic int next;
};

static void write_blocks(void *arg)
{
	struct blocks *b = arg;
	char block[BLOCK];

	memset(block, 'a' + atomic_fetch_add(&b->next, 1), sizeof(block));
	for (int i = 0; i < BLOCKS_EACH; i++)
		T_EQ(spg_conn_write(b->c, block, sizeof(block)), BLOCK);
}

static void turns(enum kind kind)
{
	spg_conn *ends[2];
	struct blocks blocks = { .next = 0 };
	struct crowd crowd;
	spg_reader *r;
	char block[BLOCK];
	int count[6] = { 0 };

	make(kind, ends);
	blocks.c = ends[0];
	r = spg_reader_new(ends[1], 0);
	crowd_start(&crowd, 4, 2, write_blocks, &blocks);
	for (int i = 0; i < 6 * BLOCKS_EACH; i++) {
		T_EQ(spg_reader_full(r, block, BLOCK), BLOCK);
		for (int j = 1; j < BLOCK; j++)
			T_EQ(block[j], block[0]);
		count[block[0] - 'a']++;
	}
	crowd_wait(&crowd);
	for (int i = 0; i < 6; i++)
		T_EQ(count[i], BLOCKS_EACH);
	spg_reader_free(r);
	close_both(ends);
}

START_TEST(writes_take_turns_and_do_not_mix)
{
	on_shards(_i, turns);
}
END_TEST

/* Goal: who waits for a turn can be canceled, and the turn goes on to the next. */
static int canceled_read(void *arg)
{
	char c;

	T_ERR(spg_conn_read(arg, &c, 1), -ECANCELED);
	return 0;
}

static void turn_canceled(enum kind kind)
{
	for (int i = 0; i < ROUNDS; i++) {
		spg_group *group = spg_group_new(0);
		struct other first, last;
		spg_conn *ends[2];

		make(kind, ends);
		other_start(&first, do_read, ends[0], false);
		for (int j = 0; j < 3; j++)
			T_EQ(spg_group_go(group, canceled_read, ends[0]), 0);
		await_parked(4);
		other_start(&last, do_read, ends[0], i & 1);
		spg_group_cancel(group);
		T_EQ(spg_group_wait(group), 0);
		spg_group_free(group);
		T_EQ(spg_conn_write(ends[1], "x", 1), 1);
		T_UNTIL(atomic_load(&first.ended) || atomic_load(&last.ended));
		T_EQ(spg_conn_write(ends[1], "x", 1), 1);
		T_EQ(other_end(&first, false), 1);
		T_EQ(other_end(&last, i & 1), 1);
		close_both(ends);
	}
}

START_TEST(a_canceled_turn_is_not_lost)
{
	on_shards(_i, turn_canceled);
}
END_TEST

/* Goal: no byte is lost between deadlines and data: what came before each -ETIMEDOUT is read later. */
struct account {
	spg_conn *c;
	uint64_t random;
	size_t sent;
	_Atomic bool stop;
};

static void account_send(void *arg)
{
	struct account *a = arg;
	char data[200];

	while (!atomic_load(&a->stop)) {
		size_t n = 1 + t_random(&a->random) % sizeof(data);
		ssize_t put;

		for (size_t i = 0; i < n; i++)
			data[i] = (char)((a->sent + i) * 31 >> 4);
		T_EQ(spg_conn_set_write_deadline(a->c, spg_now() + (int64_t)(t_random(&a->random) % 40) * SPG_US), 0);
		put = spg_conn_write(a->c, data, n);
		T_OK(put > 0 || put == -ETIMEDOUT);
		if (put > 0)
			a->sent += (size_t)put;
		if (t_random(&a->random) % 8 == 0)
			spg_yield();
	}
	T_EQ(spg_conn_set_write_deadline(a->c, 0), 0);
	T_EQ(spg_conn_close_write(a->c), 0);
}

/* Moves the deadline back and forth while the reader is in its call. */
static void account_disturb(void *arg)
{
	struct account *a = arg;
	uint64_t random = a->random ^ 99;

	while (!atomic_load(&a->stop)) {
		T_EQ(spg_conn_set_read_deadline(a->c, spg_now() + (int64_t)(t_random(&random) % 60) * SPG_US), 0);
		spg_yield();
	}
	T_EQ(spg_conn_set_read_deadline(a->c, 0), 0);
}

static void account(enum kind kind)
{
	uint64_t seed = t_seed();
	struct account a = { .random = seed }, b = { .random = seed };
	spg_conn *ends[2];
	struct crowd sender, disturber;
	size_t got = 0, races = t_sanitized() ? 500 : 5000, timeouts = 0;
	char data[300];
	ssize_t n = 1;

	make(kind, ends);
	a.c = ends[0];
	b.c = ends[1];
	crowd_start(&sender, 1, 0, account_send, &a);
	crowd_start(&disturber, seed & 2 ? 1 : 0, seed & 2 ? 0 : 1, account_disturb, &b);
	while (n != 0) {
		n = spg_conn_read(b.c, data, sizeof(data));
		T_OK(n >= 0 || n == -ETIMEDOUT);
		timeouts += n < 0;
		for (ssize_t i = 0; i < n; i++, got++)
			T_EQ(data[i], (char)(got * 31 >> 4));
		if (races > 0 && --races == 0) {
			atomic_store(&a.stop, true);
			atomic_store(&b.stop, true);
		}
	}
	crowd_wait(&sender);
	crowd_wait(&disturber);
	T_EQ(got, a.sent);
	fprintf(stderr, "kind %d: %zu bytes, %zu timeouts\n", (int)kind, got, timeouts);
	close_both(ends);
}

START_TEST(prop_no_byte_is_lost_between_moving_deadlines_and_data)
{
	on_shards(_i, account);
}
END_TEST

/* Goal: an early end of a copy, by whatever context or close, leaves each byte in one of two places. */
struct copy {
	spg_conn *dst, *src;
	int64_t timeout_ns;
	ssize_t res;
};

static void copy_run(void *arg)
{
	struct copy *copy = arg;

	SPG_TIMEOUT_SCOPE(copy->timeout_ns);
	copy->res = spg_conn_copy(copy->dst, copy->src, -1);
}

static void copies(enum kind kind)
{
	size_t total = 500000;
	uint64_t random = t_seed();

	for (int i = 0; i < ROUNDS / 4; i++) {
		struct traffic t = { .seed = random, .total = total };
		spg_conn *from[2], *to[2];
		struct copy copy = { .timeout_ns = (int64_t)(t_random(&random) % 300) * SPG_US };
		struct crowd crowd, sender;
		size_t seen = 0;
		char *data = malloc(total);
		ssize_t n;

		make(kind, from);
		make((kind + i) % KINDS, to);
		t.c = from[0];
		copy.src = from[1];
		copy.dst = to[0];
		crowd_start(&sender, 1, 0, traffic_end, &t);
		crowd_start(&crowd, i & 1, !(i & 1), copy_run, &copy);
		/* The reader stops at a random place, so that the copy's end finds a full buffer. */
		for (size_t stop = t_random(&random) % total; seen < stop; seen += (size_t)n) {
			T_EQ(spg_conn_set_read_deadline(to[1], spg_now() + 20 * SPG_MS), 0);
			n = spg_conn_read(to[1], data + seen, total - seen);
			if (n <= 0)
				break;
		}
		crowd_wait(&crowd);
		T_OK(copy.res > 0 || copy.res == -ETIMEDOUT);
		T_EQ(spg_conn_close_write(to[0]), 0);
		T_EQ(spg_conn_set_read_deadline(to[1], 0), 0);
		while ((n = spg_conn_read(to[1], data + seen, total - seen)) > 0)
			seen += (size_t)n;
		T_EQ(seen, copy.res > 0 ? (size_t)copy.res : 0);
		while (seen < total && (n = spg_conn_read(from[1], data + seen, total - seen)) > 0)
			seen += (size_t)n;
		T_EQ(seen, total);
		for (size_t j = 0; j < total; j++)
			T_EQ(data[j], (char)(j * 31 >> 4));
		crowd_wait(&sender);
		free(data);
		close_both(from);
		close_both(to);
	}
}

START_TEST(prop_a_copy_cut_short_loses_nothing)
{
	on_shards(_i, copies);
}
END_TEST

/* Goal: a copy goes on until the end, or as far as it was told; and closing either side ends it. */
static ssize_t do_copy(struct other *o)
{
	return spg_conn_copy(o->buf, o->c, -1);
}

static void copy_ends(enum kind kind)
{
	for (int i = 0; i < 3; i++) {
		spg_conn *from[2], *to[2];
		struct other o = { .fn = do_copy };
		char buf[10];

		make(kind, from);
		make(kind, to);
		T_EQ(spg_conn_write(from[0], "0123456789", 10), 10);
		T_EQ(spg_conn_copy(to[0], from[1], 0), 0);
		T_EQ(spg_conn_copy(to[0], from[1], 3), 3);
		T_ERR(spg_conn_copy(NULL, from[1], 3), -EINVAL);
		T_ERR(spg_conn_copy(to[0], NULL, 3), -EINVAL);
		spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
		T_ERR(spg_conn_copy(to[0], from[1], 3), -ENOMEM);
		spg__fault_disarm(SPG__FAULT_ALLOC);
		o.c = spg_conn_ref(from[1]);
		o.buf = spg_conn_ref(to[0]);
		T_EQ(spg_go(other_run, &o), 0);
		for (size_t got = 0; got < 10; got += (size_t)spg_conn_read(to[1], buf + got, 10 - got))
			continue;
		T_OK(memcmp(buf, "0123456789", 10) == 0);
		if (i == 0) {
			T_EQ(spg_conn_close_write(from[0]), 0);
		} else if (i == 1) {
			T_EQ(spg_conn_close(spg_conn_ref(from[1])), 0);
		} else {
			/* It is in its read: the next write finds out. */
			T_EQ(spg_conn_close(spg_conn_ref(to[0])), 0);
			T_EQ(spg_conn_write(from[0], "x", 1), 1);
		}
		T_EQ(other_end(&o, false), 7);
		if (i == 2)
			T_EQ(spg_conn_read(from[1], buf, 10), 1);
		spg_conn_unref(o.c);
		spg_conn_unref(o.buf);
		for (int j = 0; j < 2; j++) {
			spg_conn_unref(from[j]);
			spg_conn_unref(to[j]);
		}
	}
}

START_TEST(a_copy_ends_with_either_stream)
{
	on_shards(_i, copy_ends);
}
END_TEST

/* Goal: whatever an implementation waits for, the stream's deadline and close end it, and are told apart. */
struct waits {
	int which;
	int64_t started_ns;
	spg_chan *chan;
	spg_timer *timer;
};

static int group_child(void *arg)
{
	(void)arg;
	return spg_sleep(3600 * SPG_SEC);
}

static ssize_t wait_in_group(void)
{
	spg_group *group = spg_group_new(0);
	int res;

	T_EQ(spg_group_go(group, group_child, NULL), 0);
	res = spg_group_wait(group);
	spg_group_free(group);
	return res;
}

static int call_fn(void *arg)
{
	(void)arg;
	return spg_sleep(3600 * SPG_SEC);
}

static ssize_t wait_somehow(struct waits *w)
{
	spg_mutex m = SPG_MUTEX_INIT;
	spg_sem sem;
	int64_t when;
	int res;

	switch (w->which) {
	case 0:
		return spg_sleep(3600 * SPG_SEC);
	case 1:
		return spg_select(&(spg_case)SPG_AFTER(3600 * SPG_SEC), 1);
	case 2:
		return spg_chan_recv(w->chan, NULL);
	case 3:
		T_EQ(spg_sem_init(&sem, 0), 0);
		return spg_sem_acquire(&sem);
	case 4:
		T_EQ(spg_timer_reset(w->timer, spg_now() + 3600 * SPG_SEC), 0);
		return spg_timer_wait(w->timer);
	case 5:
		return wait_in_group();
	case 6:
		/* Locks do not fail, so this one comes and goes. */
		T_EQ(spg_mutex_lock(&m), 0);
		T_EQ(spg_mutex_unlock(&m), 0);
		res = spg_sleep(0);
		return res < 0 ? res : spg_sleep(3600 * SPG_SEC);
	case 7:
		return spg_call(call_fn, NULL, -1, &res);
	case 8:
		T_EQ(spg_ctx_deadline(NULL, &when), 0);
		return spg_poll(-1, 0, 3600 * SPG_SEC) == -EBADF ? spg_sleep_until(when + 1) : -EIO;
	case 9: {
		SPG_TIMEOUT_SCOPE(3600 * SPG_SEC);
		return spg_sleep(7200 * SPG_SEC);
	}
	default: {
		SPG_SHIELD_SCOPE();
		T_ERR(spg_ctx_deadline(NULL, &when), -ENOENT);
		T_EQ(spg_sleep(10 * SPG_MS), 0);
		return -EXDEV;
	}
	}
}

#define WAITS 11

static ssize_t waits_read(void *self, void *buf, size_t len)
{
	ssize_t res = wait_somehow(self);

	(void)buf;
	(void)len;
	return res == 0 ? 1 : res; /* what succeeded is no error */
}

static ssize_t waits_write(void *self, const void *buf, size_t len)
{
	(void)self;
	(void)buf;
	return (ssize_t)len;
}

static int waits_close(void *self)
{
	(void)self;
	return -ENOSPC;
}

static const spg_conn_ops waits_ops = {
	.size = sizeof(spg_conn_ops),
	.read = waits_read,
	.write = waits_write,
	.close = waits_close,
};

static int all_waits(void *arg)
{
	struct waits w = { .chan = spg_chan_new(0, 0), .timer = spg_timer_new() };
	char c;

	(void)arg;
	for (w.which = 0; w.which < WAITS; w.which++) {
		spg_conn *conn = spg_conn_new(&waits_ops, &w);
		int64_t deadline = spg_now() + 2 * SPG_MS;

		T_OK(spg_conn_self(conn, &waits_ops) == &w && spg_conn_self(conn, &outer_ops) == NULL);
		T_EQ(spg_conn_set_read_deadline(conn, deadline), 0);
		T_ERR(spg_conn_read(conn, &c, 1), w.which == WAITS - 1 ? -EXDEV : -ETIMEDOUT);
		T_OK(spg_now() >= deadline);
		T_EQ(spg_ctx_err(NULL), 0);
		T_ERR(spg_ctx_deadline(NULL, &deadline), -ENOENT);
		T_ERR(spg_conn_close_write(conn), -EOPNOTSUPP);
		T_ERR(spg_conn_close(conn), -ENOSPC);
	}
	spg_timer_free(w.timer);
	spg_chan_unref(w.chan);
	return 0;
}

static void *all_waits_thread(void *arg)
{
	all_waits(arg);
	return NULL;
}

static int all_waits_foreign(void *arg)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, all_waits_thread, arg), 0);
	while (pthread_tryjoin_np(thread, NULL) != 0)
		T_EQ(spg_sleep(SPG_MS), 0);
	return 0;
}

START_TEST(a_deadline_ends_whatever_an_implementation_waits_for)
{
	t_run((unsigned)_i, all_waits, NULL);
	t_run((unsigned)_i, all_waits_foreign, NULL);
}
END_TEST

/* Goal: and close does. */
static int closed_waits(void *arg)
{
	(void)arg;
	for (int which = 0; which < 8; which++)
		for (int thread = 0; thread < 2; thread++) {
			struct waits w = { .which = which, .chan = spg_chan_new(0, 0), .timer = spg_timer_new() };
			spg_conn *conn = spg_conn_new(&waits_ops, &w);
			struct other o;

			other_start(&o, do_read, conn, thread);
			T_ERR(spg_conn_close(spg_conn_ref(conn)), -ENOSPC);
			T_OK(other_end(&o, thread) == -ECANCELED || o.res == -EBADF);
			spg_conn_unref(conn);
			spg_timer_free(w.timer);
			spg_chan_unref(w.chan);
		}
	return 0;
}

START_TEST(close_ends_whatever_an_implementation_waits_for)
{
	t_run((unsigned)_i, closed_waits, NULL);
}
END_TEST

/* Goal: what cannot be, is refused, and leaves nothing. */
START_TEST(bad_arguments_and_no_memory_are_reported)
{
	spg_conn_ops ops = outer_ops;
	spg_conn *ends[2] = { NULL, NULL };
	int fds = t_fds_count();
	char c;

	T_OK(spg_conn_fd(-1) == NULL);
	T_OK(spg_conn_new(NULL, NULL) == NULL);
	ops.size = 3 * sizeof(void *);
	T_OK(spg_conn_new(&ops, NULL) == NULL);
	for (int i = 0; i < 3; i++) {
		ops = outer_ops;
		if (i == 0)
			ops.read = NULL;
		else if (i == 1)
			ops.write = NULL;
		else
			ops.close = NULL;
		T_OK(spg_conn_new(&ops, NULL) == NULL);
	}
	T_ERR(spg_conn_pipe(NULL), -EINVAL);
	T_ERR(spg_conn_read(NULL, &c, 1), -EINVAL);
	T_ERR(spg_conn_write(NULL, &c, 1), -EINVAL);
	T_ERR(spg_conn_writev(NULL, NULL, 0), -EINVAL);
	T_ERR(spg_conn_close_write(NULL), -EINVAL);
	T_ERR(spg_conn_close(NULL), -EINVAL);
	T_ERR(spg_conn_set_deadline(NULL, 1), -EINVAL);
	T_OK(spg_conn_ref(NULL) == NULL && spg_conn_self(NULL, &outer_ops) == NULL);
	spg_conn_unref(NULL);
	for (int64_t nth = 1; nth <= 3; nth++) {
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		T_ERR(spg_conn_pipe(ends), -ENOMEM);
		T_OK(ends[0] == NULL);
	}
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1, -ENOMEM);
	T_OK(spg_conn_fd(0) == NULL); /* and 0 is still the caller's */
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_OK(fcntl(0, F_GETFD) >= 0);
	T_EQ(t_fds_count(), fds);
}
END_TEST

static void *without_memory(void *arg)
{
	spg_conn **ends = arg;
	char c;

	spg__fault_arm(SPG__FAULT_ALLOC, 1, INT64_MAX, -ENOMEM);
	T_ERR(spg_conn_read(ends[0], &c, 1), -ENOMEM);
	T_ERR(spg_conn_write(ends[0], &c, 1), -ENOMEM);
	T_ERR(spg_conn_close(ends[0]), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	close_both(ends);
	return NULL;
}

START_TEST(a_threads_first_call_may_lack_memory)
{
	spg_conn *ends[2];
	pthread_t thread;

	make(OUTER_PIPE, ends);
	T_EQ(pthread_create(&thread, NULL, without_memory, ends), 0);
	T_EQ(pthread_join(thread, NULL), 0);
}
END_TEST

/* Goal: with moves of one byte, late completions and refused submissions the bytes are the same. */
static void faulty(enum kind kind)
{
	size_t total = 20000;
	spg_conn *ends[2];
	struct traffic a = { .seed = 5, .total = total }, b = { .seed = 6, .total = total };
	struct crowd crowd;

	make(kind, ends);
	a.c = ends[0];
	b.c = ends[1];
	spg__fault_arm(SPG__FAULT_SHORT, 1, 3000, -1);
	spg__fault_arm(SPG__FAULT_LATE, 3, 500, -1);
	spg__fault_arm(SPG__FAULT_SUBMIT, 2, 5, -EAGAIN);
	crowd_start(&crowd, 1, 0, traffic_end, &a);
	receive_all(&b);
	crowd_wait(&crowd);
	close_both(ends);
	spg__fault_disarm(SPG__FAULT_SHORT);
	spg__fault_disarm(SPG__FAULT_LATE);
	spg__fault_disarm(SPG__FAULT_SUBMIT);
}

START_TEST(fault_short_and_late_moves_change_nothing)
{
	on_shards(_i, faulty);
}
END_TEST

/* The server of the header's example. */
static void serve_lines(int fd, void *arg)
{
	spg_conn *c = spg_conn_fd(fd);
	spg_reader *r = spg_reader_new(c, 0);
	spg_writer *w = spg_writer_new(c, 0);
	char *line;
	size_t len;

	(void)arg;
	spg_conn_set_deadline(c, spg_now() + 60 * SPG_SEC);
	while (spg_reader_line(r, &line, &len) > 0 && strcmp(line, "quit") != 0)
		if (spg_writer_printf(w, "%zu bytes: %s\n", len, line) < 0 || spg_writer_flush(w) < 0)
			break;
	spg_writer_free(w);
	spg_reader_free(r);
	spg_conn_close(c);
}

static int server(void *arg)
{
	return spg_serve(*(int *)arg, serve_lines, NULL, NULL);
}

static void ask(const char *address)
{
	spg_conn *c = spg_conn_fd(spg_dial("unix", address, NULL));
	spg_reader *r = spg_reader_new(c, 0);
	char *line;
	size_t len;

	T_OK(c != NULL && r != NULL);
	T_EQ(spg_conn_write(c, "hello\r\n\nquit\nnot this", 22), 22);
	T_EQ(spg_reader_line(r, &line, &len), 1);
	T_STR(line, "5 bytes: hello");
	T_EQ(len, 14);
	T_EQ(spg_reader_line(r, &line, NULL), 1);
	T_STR(line, "0 bytes: ");
	T_OK(spg_reader_line(r, &line, NULL) <= 0); /* the end; or a reset, for what was not read */
	spg_reader_free(r);
	T_EQ(spg_conn_close(c), 0);
}

static int lines_main(void *arg)
{
	char address[64];
	spg_group *group = spg_group_new(0);
	int listener;

	(void)arg;
	snprintf(address, sizeof(address), "@spg-test-conn-%d", (int)getpid());
	listener = spg_listen("unix", address, NULL);
	T_OK(listener >= 0);
	T_EQ(spg_group_go(group, server, &listener), 0);
	for (int i = 0; i < 20; i++)
		ask(address);
	spg_group_cancel(group);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	T_EQ(spg_close(listener), 0);
	return 0;
}

START_TEST(a_server_of_lines)
{
	t_run((unsigned)_i, lines_main, NULL);
}
END_TEST

T_MAIN(T_SHARDS(bytes_cross_whole_and_in_order), T_SHARDS(what_was_written_before_a_close_is_read),
       T_SHARDS(a_deadline_ends_the_calls_in_flight), T_SHARDS(a_deadline_can_be_moved),
       T_SHARDS(contexts_and_deadlines_bound_a_call_together), T_SHARDS(close_wakes_every_call),
       T_SHARDS(the_last_reference_closes), T_SHARDS(writes_take_turns_and_do_not_mix),
       T_SHARDS(a_canceled_turn_is_not_lost), T_SHARDS(prop_no_byte_is_lost_between_moving_deadlines_and_data),
       T_SHARDS(prop_a_copy_cut_short_loses_nothing), T_SHARDS(a_copy_ends_with_either_stream),
       T_SHARDS(a_deadline_ends_whatever_an_implementation_waits_for),
       T_SHARDS(close_ends_whatever_an_implementation_waits_for),
       T_TEST(bad_arguments_and_no_memory_are_reported), T_TEST(a_threads_first_call_may_lack_memory),
       T_SHARDS(fault_short_and_late_moves_change_nothing), T_SHARDS(a_server_of_lines))
