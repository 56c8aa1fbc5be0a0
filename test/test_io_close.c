/*
 * What is left of a call that was cut short: nothing. Over the table of calls.
 */
#include "io_calls.h"

#include "coro/fault.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

/* Those of the calls that wait, but for poll. */
#define OPERATIONS                                                                                 \
	"op:read,op:write,op:readv,op:writev,op:recv,op:send,op:recvmsg,op:sendmsg,op:accept,op:connect,op:splice,op:tee"

/* The call, if something it waits for can be closed. */
static const struct io_call *waiting(size_t i, bool runtime)
{
	bool not_here = !runtime && strcmp(io_calls[i].name, "uring") == 0;

	return io_calls[i].wait != NULL && io_calls[i].waits_on != NOTHING && !not_here ? &io_calls[i] : NULL;
}

static int *waits_on(struct env *e, const struct io_call *call)
{
	return (int *)((char *)e + call->waits_on);
}

/* As an argument: coroutines make the calls. */
static int with_runtime;

/* A number from the environment, or what is usual. */
static size_t rounds_wanted(const char *name, size_t usual)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : usual;
}

/*
 * Goal: when a call has been cut short nobody holds its buffers, reads its input, or writes
 * its output: everything that it waited for comes afterwards, and is all there, while the
 * stack that it stood on is in use for other things.
 */
static __attribute__((noinline)) void cut_short(struct env *e, const struct io_call *call, int64_t after_ns)
{
	SPG_TIMEOUT_SCOPE(after_ns);
	C_EQ(call->wait(e), -ETIMEDOUT);
}

static size_t drain(int fd, char *tail)
{
	static __thread char block[65536];
	int flags = fcntl(fd, F_GETFL);
	size_t done = 0;
	ssize_t n;

	T_EQ(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
	while ((n = read(fd, block, sizeof(block))) > 0) {
		done += (size_t)n;
		memcpy(tail, block + (n > 3 ? n - 3 : 0), 3);
	}
	T_EQ(fcntl(fd, F_SETFL, flags), 0);
	return done;
}

/* write_all has filled the pipe before it came to wait. */
static void feed_pipe(struct env *e)
{
	char tail[3];

	(void)drain(e->pipe[0], tail);
	put(e->pipe[1], "fed");
}

/* All that any call of the table may wait for. */
static void feed(struct env *e, size_t *drained)
{
	char tail[3];

	feed_pipe(e);
	put(e->sock[1], "fed");
	drained[0] = drain(e->full[0], tail);
	drained[1] = drain(e->full_peer, tail);
}

static void check_fed(struct env *e)
{
	char tail[3] = "";

	C_EQ(drain(e->pipe[0], tail), 3);
	C_EQ(memcmp(tail, "fed", 3), 0);
	C_EQ(drain(e->sock[0], tail), 3);
	C_EQ(memcmp(tail, "fed", 3), 0);
	/* What moved nothing has written nothing, now that there is room as well. */
	C_EQ(drain(e->sock[1], tail), 0);
	C_EQ(drain(e->full[0], tail), 0);
	C_EQ(drain(e->full_peer, tail), 0);
}

static __attribute__((noinline)) void watch_stack(struct env *e)
{
	volatile char area[4096];
	size_t drained[2];
	int guest, fd;

	for (size_t i = 0; i < sizeof(area); i++)
		area[i] = (char)(i * 13);
	feed(e, drained);
	C_EQ(drained[0], e->full_bytes);
	C_EQ(drained[1], e->full_sock_bytes);
	guest = guest_of(&e->listener_name, e->listener_name_len);
	/* Whatever was in flight on this ring would complete before this. */
	C_EQ(spg_poll(e->sock[0], POLLIN, -1), POLLIN);
	check_fed(e);
	/* The connection waits for who accepts next. */
	fd = spg_accept4(e->listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(fd >= 0);
	T_EQ(close(fd), 0);
	T_EQ(close(guest), 0);
	for (size_t i = 0; i < sizeof(area); i++)
		C_EQ(area[i], (char)(i * 13));
}

static int leave_nothing(void *arg)
{
	size_t rounds = rounds_wanted("SPG_TEST_ROUNDS", t_sanitized() ? 3 : 8);
	uint64_t random = t_seed();

	for (size_t i = 0; i < IO_CALLS; i++) {
		const struct io_call *call = waiting(i, arg != NULL);

		for (size_t round = 0; call != NULL && round < rounds; round++) {
			struct env e;

			current = call->name;
			env_open(&e, round & 1);
			cut_short(&e, call, (int64_t)(t_random(&random) % 200) * SPG_US);
			watch_stack(&e);
			env_close(&e);
		}
	}
	return 0;
}

START_TEST(stress_a_call_cut_short_leaves_nothing)
{
	t_run((unsigned)_i, leave_nothing, &with_runtime);
}
END_TEST

START_TEST(fault_a_call_cut_short_leaves_nothing_late)
{
	spg__fault_arm(SPG__FAULT_LATE, 1, 100000000, -1);
	t_run((unsigned)_i, leave_nothing, &with_runtime);
	spg__fault_disarm(SPG__FAULT_LATE);
}
END_TEST

START_TEST(a_call_cut_short_leaves_nothing_without_its_operation)
{
	spg_config cfg = t_config(2);

	cfg.disable = OPERATIONS;
	T_EQ(t_run_config(&cfg, leave_nothing, &with_runtime), 0);
	cfg.disable = OPERATIONS ",op:poll";
	T_EQ(t_run_config(&cfg, leave_nothing, &with_runtime), 0);
}
END_TEST

START_TEST(a_call_cut_short_on_a_thread_leaves_nothing)
{
	leave_nothing(NULL);
}
END_TEST

/*
 * Goal: spg_close ends each call that waits on the descriptor, on any shard and any thread,
 * and no context ends. The number is another's at once, for whom all is ready: nobody takes
 * anything of his.
 */
#define CALLERS 3

struct callers {
	const struct io_call *call;
	struct env e;
	_Atomic int begun, ended;
	_Atomic int tid; /* of the thread among them */
	bool waiting;	 /* all of them, when the close comes */
};

static void call_closed(void *arg)
{
	struct callers *c = arg;
	ssize_t res;

	atomic_fetch_add(&c->begun, 1);
	res = c->call->wait(&c->e);
	/* -EBADF: it began when the close was under way. */
	if (res != -EBADF || c->waiting)
		C_EQ(res, -ECANCELED);
	C_EQ(spg_ctx_err(NULL), 0);
	atomic_fetch_add(&c->ended, 1);
}

static void *call_closed_thread(void *arg)
{
	struct callers *c = arg;

	atomic_store(&c->tid, gettid());
	call_closed(arg);
	return NULL;
}

static uint64_t inflight(void)
{
	spg_stats_t *stats = malloc(sizeof(*stats));
	uint64_t n;

	T_EQ(spg_stats(stats), 0);
	n = stats->total.inflight;
	free(stats);
	return n;
}

/* Does it wait? For readiness, or where there is none for time to pass. */
static bool waits(int tid)
{
	char path[64], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	(void)!read(fd, text, sizeof(text) - 1);
	close(fd);
	return strtol(text, NULL, 10) == SYS_ppoll || strtol(text, NULL, 10) == SYS_futex; /* "running" is 0 */
}

/* Some calls are not for several at once: the second caller would fail for reasons of its own. */
static int coroutines_of(const struct io_call *call)
{
	bool alone = strcmp(call->name, "connect") == 0 || strcmp(call->name, "write_all") == 0 ||
		     strcmp(call->name, "read_full") == 0 || strcmp(call->name, "sendfile") == 0;

	return alone ? 1 : CALLERS;
}

/* The next owner of the number: the same, and ready for the call. */
static int ready_for(struct env *e, const struct io_call *call)
{
	size_t drained[2];

	feed(e, drained);
	return *waits_on(e, call);
}

/* With a runtime, coroutines and one thread; without, that thread alone. */
static void close_round(const struct io_call *call, size_t round, bool runtime)
{
	struct callers *c = calloc(1, sizeof(*c));
	int coroutines = runtime ? coroutines_of(call) : 0, number;
	/* A thread's ring operation is a coroutine's. */
	bool thread = coroutines != 1 && strcmp(call->name, "uring") != 0;
	spg_attr attr = SPG_ATTR_INIT;
	pthread_t caller;
	struct env next;

	*c = (struct callers){ .call = call, .waiting = round % 2 == 0 };
	env_open(&c->e, round & 2);
	env_open(&next, round & 2);
	number = *waits_on(&c->e, call);
	attr.place = SPG_SPREAD;
	for (int i = 0; i < coroutines; i++)
		T_EQ(spg_go_attr(&attr, call_closed, c), 0);
	if (thread)
		T_EQ(pthread_create(&caller, NULL, call_closed_thread, c), 0);
	T_UNTIL(atomic_load(&c->begun) == coroutines + thread);
	if (c->waiting) {
		T_UNTIL(coroutines == 0 || inflight() >= (uint64_t)coroutines);
		T_UNTIL(!thread || waits(atomic_load(&c->tid)));
	}
	T_EQ(spg_close(number), 0);
	if (c->waiting)
		T_EQ(dup3(ready_for(&next, call), number, O_CLOEXEC), number);
	T_UNTIL(atomic_load(&c->ended) == coroutines + thread);
	if (thread)
		T_EQ(pthread_join(caller, NULL), 0);
	if (!c->waiting)
		T_EQ(dup3(next.file, number, O_CLOEXEC), number); /* for env_close */
	env_close(&c->e);
	env_close(&next);
	free(c);
}

static int close_each(void *arg)
{
	size_t rounds = rounds_wanted("SPG_TEST_ROUNDS", t_sanitized() ? 4 : 8);
	T_OK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	for (size_t i = 0; i < IO_CALLS; i++) {
		const struct io_call *call = waiting(i, arg != NULL);

		for (size_t round = 0; call != NULL && round < rounds; round++) {
			current = call->name;
			close_round(call, round, arg != NULL);
		}
	}
	return 0;
}

START_TEST(stress_a_close_ends_every_call)
{
	t_run((unsigned)_i, close_each, &with_runtime);
}
END_TEST

START_TEST(a_close_ends_every_call_without_its_operation)
{
	spg_config cfg = t_config(2);

	cfg.disable = OPERATIONS;
	T_EQ(t_run_config(&cfg, close_each, &with_runtime), 0);
}
END_TEST

START_TEST(a_close_ends_every_call_of_a_thread)
{
	close_each(NULL);
}
END_TEST

/* Goal: and it does when completions are late and come in another order. */
START_TEST(fault_a_close_ends_every_call_by_late_completions)
{
	spg__fault_arm(SPG__FAULT_LATE, 1, 100000000, -1);
	t_run((unsigned)_i, close_each, &with_runtime);
	spg__fault_disarm(SPG__FAULT_LATE);
}
END_TEST

T_MAIN(T_SHARDS(stress_a_call_cut_short_leaves_nothing), T_SHARDS(fault_a_call_cut_short_leaves_nothing_late),
       T_TEST(a_call_cut_short_leaves_nothing_without_its_operation), T_TEST(a_call_cut_short_on_a_thread_leaves_nothing),
       T_SHARDS(stress_a_close_ends_every_call), T_TEST(a_close_ends_every_call_without_its_operation),
       T_TEST(a_close_ends_every_call_of_a_thread), T_SHARDS(fault_a_close_ends_every_call_by_late_completions))
