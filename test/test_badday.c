/*
 * Bad days: broken pipes, resets, overflown stacks, completions late and out of order,
 * submissions refused, close and deadlines against operations in flight.
 */
#include "t.h"

#include "coro/fault.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define ROUNDS 400

static void pair(int fds[2])
{
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static int broken(void *arg)
{
	static char big[1 << 20];
	int fds[2];

	(void)arg;
	T_EQ(spg_pipe2(fds, O_CLOEXEC), 0);
	T_EQ(spg_close(fds[0]), 0);
	T_ERR(spg_write(fds[1], "x", 1), -EPIPE);
	T_ERR(spg_write_all(fds[1], big, sizeof(big)), -EPIPE);
	T_EQ(spg_close(fds[1]), 0);
	pair(fds);
	T_EQ(spg_close(fds[0]), 0);
	T_ERR(spg_write(fds[1], "x", 1), -EPIPE);
	T_ERR(spg_send(fds[1], "x", 1, 0), -EPIPE);
	T_EQ(spg_close(fds[1]), 0);
	T_ERR(spg_close(fds[1]), -EBADF);
	T_ERR(spg_read(fds[1], big, 1), -EBADF);
	T_ERR(spg_write(-1, big, 1), -EBADF);
	return 0;
}

/* Goal: a broken pipe is an errno, never a signal. */
START_TEST(broken_pipes_are_epipe)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	T_EQ(sigaction(SIGPIPE, &action, NULL), 0);
	T_EQ(broken(NULL), 0); /* on a foreign thread, too */
	t_run((unsigned)_i, broken, NULL);
}
END_TEST

static void *reset_later(void *arg)
{
	struct linger hard = { .l_onoff = 1 };
	int fd = *(int *)arg;
	char c;

	T_EQ(spg_read(fd, &c, 1), 1);
	T_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	T_EQ(spg_close(fd), 0);
	return NULL;
}

static int reset_mid_write(void *arg)
{
	static char big[8 << 20];
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int listener = spg_listen("tcp4", "127.0.0.1:0", NULL), client, server;
	char text[64];
	spg_task *task;
	ssize_t n;

	(void)arg;
	T_OK(listener >= 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&addr, text, sizeof(text)) > 0);
	client = spg_dial("tcp4", text, NULL);
	T_OK(client >= 0);
	server = spg_accept(listener, NULL, NULL);
	T_OK(server >= 0);
	task = spg_spawn(NULL, reset_later, &server);
	n = spg_write_all(client, big, sizeof(big));
	T_OK(n == -ECONNRESET || n == -EPIPE);
	T_EQ(spg_join(task, NULL), 0);
	T_EQ(spg_close(client), 0);
	T_EQ(spg_close(listener), 0);
	return 0;
}

/* Goal: a peer that resets in the middle of a write ends it with an errno. */
START_TEST(a_reset_ends_a_write)
{
	t_run((unsigned)_i, reset_mid_write, NULL);
}
END_TEST

static int deadlines(void *arg)
{
	uint64_t seed = t_seed();
	int fds[2], timed_out = 0, got = 0;

	(void)arg;
	pair(fds);
	for (int i = 0; i < ROUNDS; i++) {
		char buf[64];
		ssize_t n;

		memset(buf, 0x55, sizeof(buf));
		if (t_random(&seed) % 2 == 0)
			T_EQ(write(fds[0], "datadata", 8), 8);
		{
			SPG_TIMEOUT_SCOPE((int64_t)(t_random(&seed) % 200000));
			n = spg_read(fds[1], buf, sizeof(buf));
		}
		if (n == -ETIMEDOUT) {
			timed_out++;
			/* Nothing is in flight any more: what comes now stays out of our buffer. */
			T_EQ(write(fds[0], "late", 4), 4);
			for (size_t b = 0; b < sizeof(buf); b++)
				T_EQ(buf[b], 0x55);
			while (recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT) > 0)
				continue;
		} else {
			T_OK(n > 0);
			got++;
		}
	}
	T_OK(timed_out > 0 && got > 0);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

/* Goal: a deadline against arriving data: one or the other, and the buffer is ours afterwards. */
START_TEST(deadline_against_data)
{
	t_run((unsigned)_i, deadlines, NULL);
}
END_TEST

static void *read_until_closed(void *arg)
{
	char buf[32];
	ssize_t n;

	while ((n = spg_read(*(int *)arg, buf, sizeof(buf))) > 0)
		continue;
	T_EQ(spg_ctx_err(NULL), 0);
	return (void *)(intptr_t)n;
}

static int close_rounds(void *arg)
{
	uint64_t seed = t_seed();

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		spg_attr attr = SPG_ATTR_INIT;
		spg_task *readers[3];
		int fds[2];

		pair(fds);
		for (int r = 0; r < 3; r++) {
			attr.place = SPG_PIN((unsigned)r % (unsigned)spg_shards());
			readers[r] = spg_spawn(&attr, read_until_closed, &fds[1]);
			T_OK(readers[r] != NULL);
		}
		for (uint64_t y = t_random(&seed) % 8; y > 0; y--)
			spg_yield();
		if (t_random(&seed) % 2 == 0)
			T_EQ(write(fds[0], "some", 4), 4);
		T_EQ(spg_close(fds[1]), 0);
		for (int r = 0; r < 3; r++) {
			void *result;

			T_EQ(spg_join(readers[r], &result), 0);
			T_OK((intptr_t)result == -ECANCELED || (intptr_t)result == -EBADF);
		}
		T_EQ(spg_close(fds[0]), 0);
	}
	return 0;
}

/* Goal: spg_close wakes every reader on every shard. */
START_TEST(close_against_reads_in_flight)
{
	t_run((unsigned)_i, close_rounds, NULL);
}
END_TEST

static void *echo_some(void *arg)
{
	char buf[512];
	ssize_t n;

	while ((n = spg_read(*(int *)arg, buf, sizeof(buf))) > 0)
		T_EQ(spg_write_all(*(int *)arg, buf, (size_t)n), n);
	return NULL;
}

static int echo_traffic(void *arg)
{
	enum { PAIRS = 8 };
	int fds[PAIRS][2];
	spg_task *tasks[PAIRS];
	uint64_t seed = t_seed();

	(void)arg;
	for (int p = 0; p < PAIRS; p++) {
		pair(fds[p]);
		tasks[p] = spg_spawn(NULL, echo_some, &fds[p][1]);
	}
	for (int i = 0; i < 400; i++) {
		int p = (int)(t_random(&seed) % PAIRS);
		char out[300], in[300];

		for (size_t b = 0; b < sizeof(out); b++)
			out[b] = (char)t_random(&seed);
		T_EQ(spg_write_all(fds[p][0], out, sizeof(out)), (ssize_t)sizeof(out));
		T_EQ(spg_read_full(fds[p][0], in, sizeof(in)), (ssize_t)sizeof(in));
		T_EQ(memcmp(in, out, sizeof(in)), 0);
	}
	for (int p = 0; p < PAIRS; p++) {
		T_EQ(spg_close(fds[p][0]), 0);
		T_EQ(spg_join(tasks[p], NULL), 0);
		T_EQ(spg_close(fds[p][1]), 0);
	}
	return 0;
}

/* Goal: completions that come late and out of order lose nothing. */
START_TEST(late_completions_lose_nothing)
{
	spg__fault_arm(SPG__FAULT_LATE, 20, 2000, -EAGAIN);
	t_run((unsigned)_i, echo_traffic, NULL);
	spg__fault_disarm(SPG__FAULT_LATE);
}
END_TEST

/* Goal: moves of one byte lose nothing. */
START_TEST(short_moves_lose_nothing)
{
	spg__fault_arm(SPG__FAULT_SHORT, 1, 20000, -EAGAIN);
	t_run((unsigned)_i, echo_traffic, NULL);
	spg__fault_disarm(SPG__FAULT_SHORT);
}
END_TEST

/* Goal: an enter that fails for now is tried again. */
START_TEST(refused_submissions_are_tried_again)
{
	static const int errs[] = { -EINTR, -EAGAIN, -EBUSY };

	for (size_t e = 0; e < 3; e++) {
		spg__fault_arm(SPG__FAULT_SUBMIT, 30, 500, errs[e]);
		t_run((unsigned)_i, echo_traffic, NULL);
		spg__fault_disarm(SPG__FAULT_SUBMIT);
	}
}
END_TEST

static _Atomic int readers_done;

static void read_one(void *arg)
{
	char c;

	T_EQ(spg_read(*(int *)arg, &c, 1), 1);
	atomic_fetch_add(&readers_done, 1);
}

static int crowd(void *arg)
{
	enum { CROWD = 300 };
	static int fds[CROWD][2];
	static spg_stats_t stats;

	(void)arg;
	atomic_store(&readers_done, 0);
	for (int i = 0; i < CROWD; i++) {
		pair(fds[i]);
		T_EQ(spg_go(read_one, &fds[i][1]), 0);
	}
	for (int i = 0; i < CROWD; i++)
		T_EQ(spg_write(fds[i][0], "x", 1), 1);
	T_UNTIL(atomic_load(&readers_done) == CROWD);
	T_EQ(spg_stats(&stats), 0);
	T_EQ(stats.total.inflight, 0);
	for (int i = 0; i < CROWD; i++) {
		T_EQ(spg_close(fds[i][0]), 0);
		T_EQ(spg_close(fds[i][1]), 0);
	}
	return 0;
}

/* Goal: more operations than the smallest ring has room for. */
START_TEST(a_full_queue_makes_callers_wait_their_turn)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.ring_entries = 8;
	T_EQ(spg_run(&cfg, crowd, NULL), 0);
}
END_TEST

static int recurse(volatile char *up, int depth)
{
	volatile char frame[256];

	frame[0] = up != NULL ? up[0] : 1;
	return depth == 0 ? frame[0] : recurse(frame, depth - 1) + frame[0];
}

static void overflow_slowly(void *arg)
{
	(void)arg;
	spg_set_name("deep");
	exit(recurse(NULL, 1 << 20));
}

static void overflow_at_once(void *arg)
{
	volatile char frame[1 << 20];

	(void)arg;
	__asm__ volatile("" : : "r"(frame) : "memory"); /* all of it is there */
	frame[0] = 1;
	exit(frame[0] + frame[sizeof(frame) - 1]);
}

struct overflow {
	spg_fn fn;
	unsigned shard;
};

static int overflow_on(void *arg)
{
	struct overflow *o = arg;
	spg_attr attr = { .name = "deep", .place = SPG_PIN(o->shard) };

	T_EQ(spg_go_attr(&attr, o->fn, NULL), 0);
	return spg_sleep(10 * SPG_SEC);
}

static void overflow_reported(spg_config cfg, struct overflow o)
{
	char text[1024] = { 0 };
	int fds[2], status;
	size_t at = 0;
	pid_t child;

	T_EQ(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		dup2(fds[1], STDERR_FILENO);
		_exit(spg_run(&cfg, overflow_on, &o));
	}
	close(fds[1]);
	for (ssize_t n; (n = read(fds[0], text + at, sizeof(text) - 1 - at)) > 0;)
		at += (size_t)n;
	close(fds[0]);
	T_EQ(waitpid(child, &status, 0), child);
	T_OK(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGSEGV);
	if (strstr(text, "stack overflow in coroutine") == NULL || strstr(text, "\"deep\"") == NULL ||
	    strstr(text, "SPG_STACK") == NULL)
		t_fail(__FILE__, __LINE__, "no report: %s", text);
}

/* Goal: an overflow on any shard is named, by small frames and by a large one, in both guard modes. */
START_TEST(an_overflow_is_reported)
{
	if (t_sanitized())
		T_SKIP("sanitizers have their own handler");
	for (unsigned s = 0; s < (unsigned)_i; s++) {
		spg_config cfg = t_config((unsigned)_i);

		overflow_reported(cfg, (struct overflow){ overflow_slowly, s });
		overflow_reported(cfg, (struct overflow){ overflow_at_once, s });
		cfg.disable = "guard_install";
		overflow_reported(cfg, (struct overflow){ overflow_slowly, s });
	}
}
END_TEST

static void segv_exit(int number)
{
	_exit(number == SIGSEGV ? 77 : 1);
}

static int touch_null(void *arg)
{
	*(volatile int *)arg = 1;
	return 0;
}

/* Goal: other faults reach the handler that was there before. */
START_TEST(other_faults_reach_the_previous_handler)
{
	pid_t child;
	int status;

	if (t_sanitized())
		T_SKIP("sanitizers have their own handler");
	child = fork();
	if (child == 0) {
		struct sigaction action = { .sa_handler = segv_exit };
		spg_config cfg = t_config((unsigned)_i);

		sigaction(SIGSEGV, &action, NULL);
		_exit(spg_run(&cfg, touch_null, NULL));
	}
	T_EQ(waitpid(child, &status, 0), child);
	T_OK(WIFEXITED(status));
	T_EQ(WEXITSTATUS(status), 77);
}
END_TEST

static void nothing(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

static int starve(void *arg)
{
	_Atomic int ran = 0;
	int spawned = 0;

	(void)arg;
	/* Stacks of a class nobody has used: their chunk is refused for a while. */
	for (int i = 0; i < 50; i++) {
		spg_attr attr = { .stack_size = (size_t)1 << 21 };

		spg__fault_arm(SPG__FAULT_MAP, 1, 3, -ENOMEM);
		spawned += spg_go_attr(&attr, nothing, &ran) == 0;
		spawned += spg_go(nothing, &ran) == 0;
		spg_yield();
	}
	spg__fault_disarm(SPG__FAULT_MAP);
	T_EQ(spg_go(nothing, &ran), 0);
	T_UNTIL(atomic_load(&ran) == spawned + 1);
	return 0;
}

/* Goal: a coroutine whose stack is refused waits for one; none is lost. */
START_TEST(refused_stacks_delay_and_lose_nothing)
{
	t_run((unsigned)_i, starve, NULL);
}
END_TEST

T_MAIN(T_SHARDS(broken_pipes_are_epipe), T_SHARDS(a_reset_ends_a_write), T_SHARDS(deadline_against_data),
       T_SHARDS(close_against_reads_in_flight), T_SHARDS(late_completions_lose_nothing),
       T_SHARDS(short_moves_lose_nothing), T_SHARDS(refused_submissions_are_tried_again),
       T_SHARDS(a_full_queue_makes_callers_wait_their_turn), T_SHARDS(an_overflow_is_reported),
       T_SHARDS(other_faults_reach_the_previous_handler), T_SHARDS(refused_stacks_delay_and_lose_nothing))
