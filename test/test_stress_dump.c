/*
 * spg_dump of very many, and in storms of births, ends, starts and stops.
 */
#include "test/t.h"

#include "test/dump_text.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

static _Atomic int ended;

static void wait_nameless(void *arg)
{
	T_EQ(spg_chan_recv(arg, NULL), -EPIPE);
	ended++;
}

static int many_main(void *arg)
{
	int n = *(int *)arg;
	spg_chan *c = spg_chan_new(0, 0);
	char head[64], *text;
	int64_t start;

	ended = 0;
	for (int i = 0; i < n; i++)
		T_EQ(spg_go(wait_nameless, c), 0);
	T_UNTIL(parked() == (uint64_t)n);
	start = t_now_ns();
	text = dump_to_text();
	if (!t_sanitized())
		T_OK(t_now_ns() - start < 2 * SPG_SEC);
	snprintf(head, sizeof(head), "\n%d coroutines [chan receive 0x", n);
	/* Ids come in blocks: ranges, not a hundred thousand numbers. */
	T_OK(strstr(entry_of(text, head), "-") != NULL);
	T_OK(strlen(text) < 16384);
	free(text);
	T_EQ(spg_chan_close(c), 0);
	T_UNTIL(ended == n);
	spg_chan_unref(c);
	return 0;
}

/* Goal: the dump of 100,000 parked coroutines takes less than 2 s. */
START_TEST(a_hundred_thousand_take_less_than_two_seconds)
{
	/* ThreadSanitizer has no fibers for so many. */
	int n = t_tsan() ? 2000 : 100000;

	t_run(2, many_main, &n);
}
END_TEST

/* Two functions in the order of the bits: a trace of its own for each number. */
static inline int step(unsigned bits, int left, spg_chan *c);

static __attribute__((noinline)) int bit_clear(unsigned bits, int left, spg_chan *c)
{
	volatile int sum = step(bits, left, c); /* no tail call */

	return sum;
}

static __attribute__((noinline)) int bit_set(unsigned bits, int left, spg_chan *c)
{
	volatile int sum = step(bits, left, c);

	return sum + 1;
}

static inline __attribute__((always_inline)) int step(unsigned bits, int left, spg_chan *c)
{
	if (left == 0)
		return spg_chan_recv(c, NULL);
	return bits & 1 ? bit_set(bits >> 1, left - 1, c) : bit_clear(bits >> 1, left - 1, c);
}

#define BITS 12

struct numbered {
	spg_chan *c;
	unsigned number;
};

static void wait_numbered(void *arg)
{
	struct numbered *n = arg;

	T_EQ(step(n->number, BITS, n->c), -EPIPE + __builtin_popcount(n->number));
	ended++;
}

static int numbered_main(void *arg)
{
	struct numbered n = { .c = spg_chan_new(0, 0) };
	int64_t start;
	char *text;

	(void)arg;
	ended = 0;
	for (; n.number < 1 << BITS; n.number++)
		T_EQ(spg_go_copy(wait_numbered, &n, sizeof(n)), 0);
	T_UNTIL(parked() == 1 << BITS);
	start = t_now_ns();
	text = dump_to_text();
	if (!t_sanitized())
		T_OK(t_now_ns() - start < 2 * SPG_SEC);
	/* And main. */
	T_EQ(entries_of(text), (1 << BITS) + 1);
	ids_are_unique(text);
	free(text);
	T_EQ(spg_chan_close(n.c), 0);
	T_UNTIL(ended == 1 << BITS);
	spg_chan_unref(n.c);
	return 0;
}

/* Goal: thousands of traces that differ are thousands of entries, in less than 2 s. */
START_TEST(different_traces_are_different_entries)
{
	if (t_tsan())
		T_SKIP("ThreadSanitizer has no fibers for so many");
	t_run(2, numbered_main, NULL);
}
END_TEST

struct storm {
	_Atomic bool end;
	_Atomic int live;
	spg_chan *ping;
};

static __attribute__((noinline)) void storm_deep(unsigned depth, struct storm *storm)
{
	volatile char pad[64];

	pad[0] = (char)depth;
	if (depth == 0)
		spg_yield();
	else
		storm_deep(depth - 1, storm);
	pad[1] = pad[0];
}

static void storm_child(void *arg)
{
	struct storm *storm = arg;

	(void)spg_chan_try_send(storm->ping, &(int){ 1 });
	storm_deep((unsigned)spg_id() % 12, storm);
	storm->live--;
}

static void storm_parent(void *arg)
{
	struct storm *storm = arg;
	int value;

	while (!storm->end) {
		for (int i = 0; i < 8; i++) {
			storm->live++;
			T_EQ(spg_go(storm_child, storm), 0);
		}
		(void)spg_chan_try_recv(storm->ping, &value);
		(void)spg_sleep(1000);
		spg_yield();
	}
	storm->live--;
}

static int count_of(const char *text, const char *what)
{
	int n = 0;

	for (const char *found = text; (found = strstr(found, what)) != NULL; found++)
		n++;
	return n;
}

/*
 * Resting children are at their yield, as deep as their ids say, or about to begin: another
 * trace is made of two moments. Returns how many were at their yield.
 */
static int storm_check(const char *text)
{
	int yielding = 0;

	for (const char *head = text; (head = strstr(head, "\ncoroutine ")) != NULL; head++) {
		char *entry = entry_of(head, head);
		int deep = count_of(entry, "\tstorm_deep+"), id = atoi(entry + 11);

		if (strstr(entry, " [runnable") == NULL || strstr(entry, "\tfunction storm_child ") == NULL)
			continue;
		if (deep != 0 && (deep != id % 12 + 1 || count_of(entry, "\tstorm_child+") != 1))
			t_fail(__FILE__, __LINE__, "a trace of two moments: %s", entry);
		yielding += deep != 0;
	}
	return yielding;
}

/* Goal: dumps while coroutines are born, run and end are whole, and nothing crashes. */
START_TEST(stress_dumps_in_a_storm)
{
	const char *longer = getenv("SPG_TEST_SECONDS");
	int64_t until = t_now_ns() + (longer != NULL ? atoi(longer) : 1) * SPG_SEC;
	spg_config cfg = t_config((unsigned)_i);
	struct storm storm = { 0 };
	int dumps = 0, yielding = 0;

	T_EQ(spg_start(&cfg), 0);
	storm.ping = spg_chan_new(sizeof(int), 4);
	for (int i = 0; i < 4; i++) {
		storm.live++;
		T_EQ(spg_go(storm_parent, &storm), 0);
	}
	for (; dumps < 3 || t_now_ns() < until; dumps++) {
		char *text = dump_to_text();

		ids_are_unique(text);
		yielding += storm_check(text);
		free(text);
	}
	fprintf(stderr, "%d dumps, %d traces checked\n", dumps, yielding);
	storm.end = true;
	T_UNTIL(storm.live == 0);
	T_EQ(spg_stop(), 0);
	spg_chan_unref(storm.ping);
}
END_TEST

struct dumper {
	int fd;
	_Atomic bool end;
	_Atomic int dumps;
};

static void *dump_on_and_on(void *arg)
{
	struct dumper *dumper = arg;

	while (!dumper->end) {
		int err = spg_dump(dumper->fd);

		/* Between two runtimes, or interrupted by spg_stop while it writes. */
		T_OK(err == 0 || err == -ESRCH || err == -ECANCELED);
		dumper->dumps += err == 0;
	}
	return NULL;
}

static void compute_shortly(void *arg)
{
	int64_t until = t_now_ns() + SPG_MS / 2;

	while (t_now_ns() < until)
		;
	(*(_Atomic int *)arg)++;
}

/* Goal: dumps meet starts and stops, and a signal on its way does not meet its default action. */
START_TEST(stress_dumps_while_runtimes_come_and_go)
{
	struct dumper dumper = { .fd = open("/dev/null", O_WRONLY | O_CLOEXEC) };
	spg_config cfg = t_config((unsigned)_i);
	pthread_t thread;

	cfg.kick_signal = SIGUSR1;
	T_EQ(pthread_create(&thread, NULL, dump_on_and_on, &dumper), 0);
	for (int round = 0; round < 100 || dumper.dumps < 10; round++) {
		_Atomic int ran = 0;

		T_EQ(spg_start(&cfg), 0);
		for (int i = 0; i < 2 * _i; i++)
			T_EQ(spg_go(compute_shortly, (void *)&ran), 0);
		if (round % 2 == 0)
			T_UNTIL(ran == 2 * _i);
		T_EQ(spg_stop(), 0);
	}
	dumper.end = true;
	T_EQ(pthread_join(thread, NULL), 0);
	close(dumper.fd);
}
END_TEST

T_MAIN(T_TEST(a_hundred_thousand_take_less_than_two_seconds), T_TEST(different_traces_are_different_entries),
       T_SHARDS(stress_dumps_in_a_storm), T_SHARDS(stress_dumps_while_runtimes_come_and_go))
