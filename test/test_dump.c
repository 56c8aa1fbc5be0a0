/*
 * spg_dump: everybody is in it, with what it waits on and where, whatever goes on meanwhile.
 */
#include "test/t.h"

#include "test/dump_text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

/* What the waiters wait on. */
struct place {
	spg_chan *empty, *full;
	spg_mutex held, cond_mutex;
	spg_cond cond;
	spg_rwlock rwlock;
	spg_sem sem;
	spg_wg wg;
	spg_barrier barrier;
	spg_timer *timer;
	spg_group *group;
	spg_task *task;
	int fds[2];
	_Atomic int ended, blocked;
	_Atomic bool unblock;
};

static struct place at;

static __attribute__((noinline)) void wait_receive(void *arg)
{
	int value;

	(void)arg;
	spg_set_name("receiver");
	T_EQ(spg_chan_recv(at.empty, &value), -EPIPE);
	at.ended++;
}

static __attribute__((noinline)) void wait_send(void *arg)
{
	(void)arg;
	T_EQ(spg_chan_send(at.full, &(int){ 1 }), -EPIPE);
	at.ended++;
}

static __attribute__((noinline)) void wait_select(void *arg)
{
	spg_case cases[] = { SPG_RECV(at.empty, NULL), SPG_SEND(at.full, &(int){ 1 }), SPG_AFTER(1000 * SPG_SEC) };

	(void)arg;
	T_OK(spg_select(cases, 3) >= 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_mutex(void *arg)
{
	(void)arg;
	T_EQ(spg_mutex_lock(&at.held), 0);
	T_EQ(spg_mutex_unlock(&at.held), 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_write_lock(void *arg)
{
	(void)arg;
	T_EQ(spg_rwlock_wrlock(&at.rwlock), 0);
	T_EQ(spg_rwlock_unlock(&at.rwlock), 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_cond(void *arg)
{
	(void)arg;
	T_EQ(spg_mutex_lock(&at.cond_mutex), 0);
	T_EQ(spg_cond_wait(&at.cond, &at.cond_mutex), 0);
	T_EQ(spg_mutex_unlock(&at.cond_mutex), 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_sem(void *arg)
{
	(void)arg;
	T_EQ(spg_sem_acquire(&at.sem), 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_wg(void *arg)
{
	(void)arg;
	T_EQ(spg_wg_wait(&at.wg), 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_barrier(void *arg)
{
	(void)arg;
	T_OK(spg_barrier_wait(&at.barrier) >= 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_sleep(void *arg)
{
	(void)arg;
	T_EQ(spg_sleep(1000 * SPG_SEC), -ECANCELED);
	at.ended++;
}

static __attribute__((noinline)) void wait_timer(void *arg)
{
	(void)arg;
	T_EQ(spg_timer_wait(at.timer), 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_join(void *arg)
{
	(void)arg;
	T_EQ(spg_join(at.task, NULL), 0);
	at.ended++;
}

static __attribute__((noinline)) void wait_recv(void *arg)
{
	char byte;

	(void)arg;
	T_EQ(spg_recv(at.fds[0], &byte, 1, 0), 1);
	at.ended++;
}

static __attribute__((noinline)) void wait_poll(void *arg)
{
	(void)arg;
	T_OK(spg_poll(at.fds[1], POLLIN, -1) > 0);
	at.ended++;
}

static void *block(void *arg)
{
	at.blocked = 1;
	T_UNTIL(at.unblock);
	return arg;
}

static __attribute__((noinline)) void wait_blocking(void *arg)
{
	(void)arg;
	T_EQ(spg_blocking(block, NULL, NULL), 0);
	at.ended++;
}

static __attribute__((noinline)) int wait_in_group(void *arg)
{
	(void)arg;
	T_EQ(spg_chan_recv(at.empty, NULL), -EPIPE);
	return 0;
}

static __attribute__((noinline)) void wait_group(void *arg)
{
	(void)arg;
	T_EQ(spg_group_wait(at.group), 0);
	at.ended++;
}

static __attribute__((noinline)) void *wait_in_task(void *arg)
{
	T_EQ(spg_chan_recv(at.empty, NULL), -EPIPE);
	return arg;
}

static void *wait_all_fns[] = {
	wait_receive, wait_send, wait_select, wait_mutex, wait_write_lock, wait_cond,  wait_sem,      wait_wg,
	wait_barrier, wait_sleep, wait_timer, wait_join,  wait_recv,	   wait_poll, wait_blocking, wait_group,
};
#define FNS ((int)(sizeof(wait_all_fns) / sizeof(wait_all_fns[0])))
/* The task and the group's child, too. */
#define WAITERS (FNS + 2)

static uint64_t parked(void)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return stats.total.parked;
}

static void place_open(void)
{
	memset(&at, 0, sizeof(at));
	at.empty = spg_chan_new(sizeof(int), 0);
	at.full = spg_chan_new(sizeof(int), 1);
	T_EQ(spg_chan_send(at.full, &(int){ 0 }), 0);
	T_EQ(spg_mutex_lock(&at.held), 0);
	T_EQ(spg_rwlock_rdlock(&at.rwlock), 0);
	T_EQ(spg_sem_init(&at.sem, 0), 0);
	T_EQ(spg_wg_add(&at.wg, 1), 0);
	T_EQ(spg_barrier_init(&at.barrier, 2), 0);
	at.timer = spg_timer_new();
	T_EQ(spg_timer_reset(at.timer, spg_now() + 1000 * SPG_SEC), 0);
	at.group = spg_group_new(0);
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, at.fds), 0);
}

static void place_close(spg_ctx *ctx)
{
	at.unblock = true;
	T_EQ(spg_chan_close(at.empty), 0);
	T_EQ(spg_chan_close(at.full), 0);
	T_EQ(spg_mutex_unlock(&at.held), 0);
	T_EQ(spg_rwlock_unlock(&at.rwlock), 0);
	T_EQ(spg_cond_broadcast(&at.cond), 0);
	T_EQ(spg_sem_release(&at.sem), 0);
	T_EQ(spg_wg_done(&at.wg), 0);
	T_OK(spg_barrier_wait(&at.barrier) >= 0);
	T_EQ(spg_timer_reset(at.timer, spg_now()), 0);
	T_EQ(spg_write_all(at.fds[0], "x", 1), 1);
	T_EQ(spg_write_all(at.fds[1], "x", 1), 1);
	spg_ctx_cancel(ctx);
	T_UNTIL(at.ended == FNS);
	spg_timer_free(at.timer);
	spg_group_free(at.group);
	spg_close(at.fds[0]);
	spg_close(at.fds[1]);
	spg_chan_unref(at.empty);
	spg_chan_unref(at.full);
}

/* One entry's head must be of this form, and its trace must name the function. */
struct expected {
	const char *function, *head;
};

static const struct expected expected[] = {
	{ "wait_receive", "coroutine N \"receiver\" [chan receive 0x" },
	{ "wait_send", "coroutine N [chan send 0x" },
	{ "wait_select", "coroutine N [select, 3 cases, " },
	{ "wait_mutex", "coroutine N [mutex 0x" },
	{ "wait_write_lock", "coroutine N [write lock 0x" },
	{ "wait_cond", "coroutine N [cond 0x" },
	{ "wait_sem", "coroutine N [semaphore 0x" },
	{ "wait_wg", "coroutine N [wait group 0x" },
	{ "wait_barrier", "coroutine N [barrier 0x" },
	{ "wait_sleep", "coroutine N [sleep, due in 16m" },
	{ "wait_timer", "coroutine N [timer 0x" },
	{ "wait_join", "coroutine N [join, coroutine " },
	{ "wait_recv", "coroutine N [I/O recv, fd " },
	{ "wait_poll", "coroutine N [I/O poll, fd " },
	{ "wait_blocking", "coroutine N [blocking" },
	{ "wait_group", "coroutine N [group 0x" },
	{ "wait_in_group", "coroutine N [chan receive 0x" },
	{ "wait_in_task", "coroutine N [chan receive 0x" },
};

static int waits_main(void *arg)
{
	spg_ctx *ctx = spg_ctx_new(NULL);
	spg_attr attr = SPG_ATTR_INIT;
	char *text, self[64];

	(void)arg;
	place_open();
	at.task = spg_spawn(NULL, wait_in_task, NULL);
	T_EQ(spg_group_go(at.group, wait_in_group, NULL), 0);
	for (int i = 0; i < FNS; i++) {
		attr.ctx = wait_all_fns[i] == (void *)wait_sleep ? ctx : NULL;
		T_EQ(spg_go_attr(&attr, (spg_fn)wait_all_fns[i], NULL), 0);
	}
	T_UNTIL(parked() == WAITERS && at.blocked == 1);
	text = dump_to_text();
	snprintf(self, sizeof(self), "coroutine %llu \"main\" [running, shard ", (unsigned long long)spg_id());
	T_OK(strstr(text, self) != NULL);
	T_OK(strstr(entry_of(text, self), "waits_main") != NULL);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		expect_entry(text, expected[i].function, expected[i].head);
	snprintf(self, sizeof(self), ", held by coroutine %llu, ", (unsigned long long)spg_id());
	T_OK(strstr(entry_of(text, "[mutex 0x"), self) != NULL);
	snprintf(self, sizeof(self), "[I/O recv, fd %d, ", at.fds[0]);
	T_OK(strstr(text, self) != NULL);
	free(text);
	place_close(ctx);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: each kind of wait is told with its object, and its function is in the trace. */
START_TEST(every_wait_is_told_with_what_it_waits_on)
{
	t_run((unsigned)_i, waits_main, NULL);
}
END_TEST

#define CROWD 1000

static int crowd_main(void *arg)
{
	char *text, *entry;

	(void)arg;
	memset(&at, 0, sizeof(at));
	at.empty = spg_chan_new(sizeof(int), 0);
	for (int i = 0; i < CROWD; i++)
		T_EQ(spg_go(wait_receive, NULL), 0);
	T_UNTIL(parked() == CROWD);
	text = dump_to_text();
	entry = entry_of(text, "\n1000 coroutines [chan receive 0x");
	/* All were named: each with its id, as far as there is room. */
	T_OK(strstr(entry, " \"receiver\"") != NULL && strstr(entry, " and 936 more\n") != NULL);
	T_OK(strstr(entry, "wait_receive") != NULL);
	T_EQ(entries_of(text), 2);
	free(text);
	T_EQ(spg_chan_close(at.empty), 0);
	T_UNTIL(at.ended == CROWD);
	spg_chan_unref(at.empty);
	return 0;
}

/* Goal: those at the same place are one entry. */
START_TEST(a_thousand_at_the_same_place_are_one_entry)
{
	t_run((unsigned)_i, crowd_main, NULL);
}
END_TEST

static void wait_nameless(void *arg)
{
	T_EQ(spg_chan_recv(arg, NULL), -EPIPE);
	at.ended++;
}

static int many_main(void *arg)
{
	int n = *(int *)arg;
	spg_chan *c = spg_chan_new(0, 0);
	char head[64], *text;
	int64_t start;

	memset(&at, 0, sizeof(at));
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
	T_UNTIL(at.ended == n);
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
	at.ended++;
}

static int numbered_main(void *arg)
{
	struct numbered n = { .c = spg_chan_new(0, 0) };
	int64_t start;
	char *text;

	(void)arg;
	memset(&at, 0, sizeof(at));
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
	T_UNTIL(at.ended == 1 << BITS);
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

static int new_main(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	char *text;

	(void)arg;
	memset(&at, 0, sizeof(at));
	at.empty = spg_chan_new(sizeof(int), 0);
	attr.name = "unborn";
	attr.place = SPG_PIN(0);
	T_EQ(spg_go_attr(&attr, wait_receive, NULL), 0);
	/* It is pinned where we run, and a thread dumps. */
	text = dump_to_text();
	T_OK(strstr(entry_of(text, " \"unborn\" [new, shard 0]"), "function wait_receive") != NULL);
	free(text);
	T_EQ(spg_chan_close(at.empty), 0);
	T_UNTIL(at.ended == 1);
	spg_chan_unref(at.empty);
	return 0;
}

/* Goal: one that never ran is shown as new. */
START_TEST(one_that_never_ran_is_new)
{
	t_run(1, new_main, NULL);
}
END_TEST

struct stuck {
	_Atomic unsigned running;
	_Atomic bool end;
};

static __attribute__((noinline)) void compute(void *arg)
{
	struct stuck *stuck = arg;

	stuck->running++;
	while (!stuck->end)
		;
	stuck->running--;
}

/* Each shard's entry has it; the address interrupted is in the function itself. */
static bool all_traced(const char *text)
{
	bool all = true;

	for (const char *run = text; (run = strstr(run, " [running")) != NULL; run++) {
		char *entry = entry_of(run, run);

		T_OK(strstr(entry, "function compute ") != NULL);
		all &= strstr(entry, "\tcompute+0x") != NULL;
	}
	return all;
}

static void dump_stuck(unsigned shards, int kick_signal)
{
	spg_config cfg = t_config(shards);
	struct stuck stuck = { 0 };
	char *text;
	bool traced;

	cfg.kick_signal = kick_signal;
	T_EQ(spg_start(&cfg), 0);
	for (unsigned i = 0; i < shards; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PIN((int)i);
		T_EQ(spg_go_attr(&attr, compute, &stuck), 0);
	}
	T_UNTIL(stuck.running == shards);
	do {
		text = dump_to_text();
		T_OK(strstr(text, " [running, ") != NULL);
		traced = all_traced(text);
		free(text);
		/* On a busy machine a thread may have no CPU for long: then once more. */
	} while (kick_signal != 0 && !traced);
	T_EQ(traced, kick_signal != 0);
	stuck.end = true;
	T_UNTIL(stuck.running == 0);
	T_EQ(spg_stop(), 0);
}

/* Goal: a thread dumps while no shard does anything, and the running ones tell where they are. */
START_TEST(shards_that_are_stuck_tell_where)
{
	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	dump_stuck((unsigned)_i, SIGURG);
}
END_TEST

/* Goal: the same without a signal to ask them by. */
START_TEST(shards_that_are_stuck_are_told_without_the_kick)
{
	dump_stuck((unsigned)_i, 0);
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

static int pipe_main(void *arg)
{
	int fds[2];
	char buf[256];
	size_t got = 0;
	ssize_t n;
	spg_task *task;
	void *result;

	(void)arg;
	memset(&at, 0, sizeof(at));
	at.empty = spg_chan_new(sizeof(int), 0);
	for (int i = 0; i < CROWD; i++)
		T_EQ(spg_go(wait_receive, NULL), 0);
	T_UNTIL(parked() == CROWD);
	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	T_OK(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 0);
	task = spg_spawn(NULL, dump_into, &fds[1]);
	while ((n = spg_read(fds[0], buf, sizeof(buf))) > 0)
		got += (size_t)n;
	T_EQ(n, 0);
	T_EQ(spg_join(task, &result), 0);
	T_EQ((intptr_t)result, 0);
	T_OK(got > 1000);
	spg_close(fds[0]);
	T_EQ(spg_chan_close(at.empty), 0);
	T_UNTIL(at.ended == CROWD);
	spg_chan_unref(at.empty);
	return 0;
}

/* Goal: a coroutine that dumps into a full pipe parks; its reader is on the same shard. */
START_TEST(a_reader_on_the_same_shard_gets_the_dump)
{
	t_run((unsigned)_i, pipe_main, NULL);
}
END_TEST

static int errors_main(void *arg)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[2];

	(void)arg;
	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	close(fds[0]);
	T_ERR(spg_dump(fds[1]), -EPIPE);
	close(fds[1]);
	T_ERR(spg_dump(-1), -EBADF);
	T_ERR(spg_dump(fd), -EBADF);
	close(fd);
	spg_ctx_cancel(ctx);
	before = spg_ctx_enter(ctx);
	T_ERR(spg_dump(1), -ECANCELED);
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: the errors of the header. */
START_TEST(errors_are_told)
{
	int fds[2];

	T_ERR(spg_dump(1), -ESRCH);
	t_run(1, errors_main, NULL);
	T_ERR(spg_dump(1), -ESRCH);
	T_EQ(spg_start(NULL), 0);
	T_ERR(spg_dump(-1), -EBADF);
	/* No signal either. */
	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	close(fds[0]);
	T_ERR(spg_dump(fds[1]), -EPIPE);
	close(fds[1]);
	T_EQ(spg_stop(), 0);
}
END_TEST

static int addr2line_main(void *arg)
{
	char *text = dump_to_text(), *entry = entry_of(text, "\"main\" [running"), *place;
	char command[1024], line[256] = "";
	FILE *out;

	(void)arg;
	place = strstr(entry, "\taddr2line_main+0x");
	T_OK(place != NULL);
	place = strchr(place, '(') + 1;
	*strchr(place, ')') = '\0';
	*strrchr(place, '+') = ' ';
	/* "path 0xaddress" now. */
	snprintf(command, sizeof(command), "addr2line -f -e %s", place);
	out = popen(command, "re");
	T_OK(out != NULL && fgets(line, sizeof(line), out) != NULL);
	T_STR(line, "addr2line_main\n");
	T_EQ(pclose(out), 0);
	free(text);
	return 0;
}

/* Goal: file+0xaddress is what addr2line(1) wants. */
START_TEST(addr2line_takes_the_addresses)
{
	t_run(1, addr2line_main, NULL);
}
END_TEST

T_MAIN(T_SHARDS(every_wait_is_told_with_what_it_waits_on), T_SHARDS(a_thousand_at_the_same_place_are_one_entry),
       T_TEST(a_hundred_thousand_take_less_than_two_seconds), T_TEST(different_traces_are_different_entries), T_TEST(one_that_never_ran_is_new),
       T_SHARDS(shards_that_are_stuck_tell_where), T_SHARDS(shards_that_are_stuck_are_told_without_the_kick),
       T_SHARDS(stress_dumps_in_a_storm), T_SHARDS(a_reader_on_the_same_shard_gets_the_dump),
       T_TEST(errors_are_told), T_TEST(addr2line_takes_the_addresses))
