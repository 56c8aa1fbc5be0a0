/*
 * Calls of several steps: between two of them nothing is in flight, and yet the number is theirs
 * until spg_close ends them.
 */
#include "t.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MUCH ((size_t)1 << 26)

/* A call that goes on and on: on the descriptor that is closed, with another that stays. */
struct steps {
	const char *name;
	ssize_t (*call)(int fd, int other);
	bool socket; /* the descriptor is one, not a pipe's end */
	bool writes;
};

static const char fed[20];

static ssize_t do_read_full(int fd, int other)
{
	char *buf = malloc(MUCH);
	ssize_t res = spg_read_full(fd, buf, MUCH);

	(void)other;
	free(buf);
	return res;
}
static ssize_t do_waitall(int fd, int other)
{
	char *buf = malloc(MUCH);
	ssize_t res = spg_recv(fd, buf, MUCH, MSG_WAITALL);

	(void)other;
	free(buf);
	return res;
}
static ssize_t do_write_all(int fd, int other)
{
	char *buf = calloc(1, MUCH);
	ssize_t res = spg_write_all(fd, buf, MUCH);

	(void)other;
	free(buf);
	return res;
}
static ssize_t do_send_all(int fd, int other)
{
	spg_stream *s = spg_stream_open(fd, NULL);
	char *buf = calloc(1, MUCH);
	ssize_t res = spg_stream_send_all(s, &(struct iovec){ buf, MUCH }, 1);

	(void)other;
	spg_stream_close(s);
	free(buf);
	return res;
}
static ssize_t do_copy_from(int fd, int other) { return spg_copy(other, fd, MUCH); }
static ssize_t do_copy_to(int fd, int other) { return spg_copy(fd, other, MUCH); }
static ssize_t do_sendfile_from(int fd, int other) { return spg_sendfile(other, fd, NULL, MUCH); }
static ssize_t do_sendfile_to(int fd, int other) { return spg_sendfile(fd, other, NULL, MUCH); }

static const struct steps calls[] = {
	{ "read_full", do_read_full, false, false },	   { "read_full of a socket", do_read_full, true, false },
	{ "recv of all", do_waitall, true, false },	   { "write_all", do_write_all, false, true },
	{ "write_all to a socket", do_write_all, true, true }, { "stream_send_all", do_send_all, true, true },
	{ "copy from a pipe", do_copy_from, false, false }, { "copy from a socket", do_copy_from, true, false },
	{ "copy to a pipe", do_copy_to, false, true },	   { "copy to a socket", do_copy_to, true, true },
	{ "sendfile from a pipe", do_sendfile_from, false, false },
	{ "sendfile from a socket", do_sendfile_from, true, false },
	{ "sendfile to a pipe", do_sendfile_to, false, true }, { "sendfile to a socket", do_sendfile_to, true, true },
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

struct ends {
	int fd, peer;
};

static struct ends ends_of(const struct steps *steps)
{
	int fds[2];

	if (steps->socket)
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	else
		T_EQ(pipe2(fds, O_CLOEXEC), 0);
	return steps->writes && !steps->socket ? (struct ends){ fds[1], fds[0] } : (struct ends){ fds[0], fds[1] };
}

struct round {
	const struct steps *steps;
	struct ends ends;
	int other;
	_Atomic size_t moved; /* by the peer */
	_Atomic bool ended, stop;
	ssize_t result;
};

static void run_call(void *arg)
{
	struct round *r = arg;

	r->result = r->steps->call(r->ends.fd, r->other);
	T_EQ(spg_ctx_err(NULL), 0);
	atomic_store(&r->ended, true);
}

static void *run_call_thread(void *arg)
{
	run_call(arg);
	return NULL;
}

/* The peer makes step after step possible. */
static void *pump(void *arg)
{
	struct round *r = arg;
	struct pollfd ready = { .fd = r->ends.peer, .events = r->steps->writes ? POLLIN : POLLOUT };
	char buf[4096] = { 0 };

	while (!atomic_load(&r->stop)) {
		ssize_t n = 0;

		/* Never all of it: the call goes on until the close, however late that comes. */
		if (atomic_load(&r->moved) > MUCH / 2)
			usleep(1000);
		else if (poll(&ready, 1, 1) == 1)
			n = r->steps->writes ? read(r->ends.peer, buf, sizeof(buf)) : write(r->ends.peer, buf, 7);
		if (n > 0)
			atomic_fetch_add(&r->moved, (size_t)n);
	}
	return NULL;
}

/* The next owner's: all that he was fed is to be read, or nothing is written. */
static bool untouched(const struct steps *steps, const struct ends *next)
{
	int bytes = 0;

	T_EQ(ioctl(steps->writes ? next->peer : next->fd, FIONREAD, &bytes), 0);
	return bytes == (steps->writes ? 0 : (int)sizeof(fed));
}

/* The other side: /dev/null takes all, an endless source gives all. */
static int other_of(const struct steps *steps)
{
	return open(steps->writes ? "/dev/zero" : "/dev/null", O_RDWR | O_CLOEXEC);
}

/* Bytes that the call has moved, at least: those written for it may still be in the pipe. */
static size_t has_moved(const struct round *r)
{
	size_t moved = atomic_load(&r->moved);
	int left = 0;

	if (!r->steps->writes)
		T_EQ(ioctl(r->ends.fd, FIONREAD, &left), 0); /* after the look at moved */
	return moved > (size_t)left ? moved - (size_t)left : 0;
}

static void steps_round(const struct steps *steps, uint64_t *random, bool thread)
{
	struct round *r = calloc(1, sizeof(*r));
	struct ends next = ends_of(steps);
	pthread_t pumper, caller;
	size_t after = 64 + t_random(random) % 3000;

	*r = (struct round){ .steps = steps, .ends = ends_of(steps), .other = other_of(steps) };
	if (!steps->writes)
		T_EQ(write(next.peer, fed, sizeof(fed)), sizeof(fed));
	T_EQ(pthread_create(&pumper, NULL, pump, r), 0);
	if (thread)
		T_EQ(pthread_create(&caller, NULL, run_call_thread, r), 0);
	else
		T_EQ(spg_go_attr(&(spg_attr){ .place = SPG_SPREAD }, run_call, r), 0);
	/* It is in the call, and at it. */
	T_UNTIL(has_moved(r) > after || atomic_load(&r->ended));
	T_OK(!atomic_load(&r->ended));
	T_EQ(spg_close(r->ends.fd), 0);
	T_EQ(dup3(next.fd, r->ends.fd, O_CLOEXEC), r->ends.fd);
	T_UNTIL(atomic_load(&r->ended) || !untouched(steps, &next));
	if (!untouched(steps, &next))
		t_fail(__FILE__, __LINE__, "%s took its next owner's number", steps->name);
	if (thread)
		T_EQ(pthread_join(caller, NULL), 0);
	atomic_store(&r->stop, true);
	T_EQ(pthread_join(pumper, NULL), 0);
	/* What a copy has moved it reports; the others promise all or an error. */
	if (strstr(steps->name, "copy") == NULL && strstr(steps->name, "sendfile") == NULL &&
	    r->result != -ECANCELED && !(strstr(steps->name, "recv") != NULL && r->result > 0))
		t_fail(__FILE__, __LINE__, "%s: %s", steps->name, spg_strerror((int)r->result));
	T_OK(untouched(steps, &next));
	close(r->ends.fd);
	close(r->ends.peer);
	close(next.fd);
	close(next.peer);
	close(r->other);
	free(r);
}

/* SPG_TEST_ROUNDS: how many of each; for long runs by hand. */
static size_t rounds_wanted(void)
{
	const char *text = getenv("SPG_TEST_ROUNDS");

	if (text != NULL)
		return strtoull(text, NULL, 0);
	return t_sanitized() ? 5 : 25;
}

static int steps_main(void *arg)
{
	bool thread = arg != NULL;
	uint64_t random = t_seed();

	T_OK(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* the peers' */
	for (size_t i = 0; i < CALLS; i++) {
		for (size_t round = 0; round < rounds_wanted(); round++)
			steps_round(&calls[i], &random, thread);
	}
	return 0;
}

/* Goal: a close ends them all, and the number's next owner notices nothing. */
START_TEST(stress_a_close_between_two_steps)
{
	t_run((unsigned)_i, steps_main, NULL);
}
END_TEST

START_TEST(stress_a_close_between_two_steps_without_operations)
{
	spg_config cfg = t_config(2);

	cfg.disable = "op:read,op:write,op:recv,op:send,op:recvmsg,op:sendmsg,op:splice,op:tee";
	T_EQ(t_run_config(&cfg, steps_main, NULL), 0);
}
END_TEST

START_TEST(stress_a_close_between_two_steps_of_a_thread)
{
	T_EQ(steps_main(&(int){ 1 }), 0);
}
END_TEST

T_MAIN(T_SHARDS(stress_a_close_between_two_steps), T_TEST(stress_a_close_between_two_steps_without_operations),
       T_TEST(stress_a_close_between_two_steps_of_a_thread))
