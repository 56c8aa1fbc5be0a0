/*
 * What is no deadlock: each thing that may still wake somebody, while everybody sleeps for
 * longer than it takes to find a deadlock. The event itself ends the wait.
 */
#include "deadlock.h"

#include "io/features.h"
#include "sched/deadlock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spg/call.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

/* When the event comes. A deadlock is found in about 20 ms. */
#define LATE_MS 150
#define LATE_NS (LATE_MS * SPG_MS)

static void late(void)
{
	(void)poll(NULL, 0, LATE_MS);
}

/* What a case may use: made before the runtime starts, so that nothing of it is a thread. */
struct help {
	int pipe[2]; /* a byte comes from another process */
	int listener; /* which connects, if this is there */
	pid_t child;
};

static void help_begin(struct help *h, bool listen_too)
{
	const struct sigaction ignored = { .sa_handler = SIG_IGN };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);

	T_EQ(sigaction(SIGUSR1, &ignored, NULL), 0); /* it is for one of the cases */
	T_EQ(pipe2(h->pipe, O_CLOEXEC), 0);
	h->listener = -1;
	if (listen_too) {
		h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		T_OK(h->listener >= 0);
		T_EQ(bind(h->listener, (void *)&addr, len), 0); /* the kernel chooses an abstract name */
		T_EQ(listen(h->listener, 8), 0);
		len = sizeof(addr);
		T_EQ(getsockname(h->listener, (void *)&addr, &len), 0);
	}
	h->child = fork();
	T_OK(h->child >= 0);
	if (h->child > 0)
		return;
	late();
	(void)kill(getppid(), SIGUSR1);
	if (listen_too && connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&addr, len) != 0)
		_exit(1);
	_exit(write(h->pipe[1], "x", 1) != 1);
}

static void help_end(struct help *h)
{
	int status;

	T_EQ(waitpid(h->child, &status, 0), h->child);
	T_EQ(status, 0);
	close(h->pipe[0]);
	close(h->pipe[1]);
	if (h->listener >= 0)
		close(h->listener);
}

/* ---- Timers. ---- */

static void sleep_and_send(void *arg)
{
	if (spg_sleep(LATE_NS) == 0)
		spg_chan_send(arg, NULL);
}

static int a_sleeper(struct help *h)
{
	spg_chan *c = spg_chan_new(0, 0);
	int err;

	(void)h;
	spg_go(sleep_and_send, c);
	err = spg_chan_recv(c, NULL);
	spg_chan_unref(c);
	return err;
}

static int a_scope(struct help *h)
{
	spg_chan *c = spg_chan_new(0, 0);
	int err;

	(void)h;
	{
		SPG_TIMEOUT_SCOPE(LATE_NS);
		err = spg_chan_recv(c, NULL);
	}
	spg_chan_unref(c);
	return err == -ETIMEDOUT ? 0 : -1;
}

static int a_context(struct help *h)
{
	spg_ctx *ctx = spg_ctx_with_timeout(NULL, LATE_NS);
	int err = spg_chan_recv(spg_ctx_done(ctx), NULL);

	(void)h;
	spg_ctx_unref(ctx);
	return err == -EPIPE ? 0 : -1;
}

static int a_select_after(struct help *h)
{
	spg_chan *c = spg_chan_new(0, 0);
	spg_case cases[] = { SPG_RECV(c, NULL), SPG_AFTER(LATE_NS) };
	int got = spg_select(cases, 2);

	(void)h;
	spg_chan_unref(c);
	return got == 1 ? 0 : -1;
}

static int a_ticker(struct help *h)
{
	spg_ticker *t = spg_ticker_new(spg_now() + LATE_NS, SPG_SEC, SPG_MISSED_SKIP);
	int err = spg_ticker_wait(t, NULL);

	(void)h;
	spg_ticker_free(t);
	return err;
}

/* ---- Operations. ---- */

static int a_read(struct help *h)
{
	char byte;

	return spg_read(h->pipe[0], &byte, 1) == 1 ? 0 : -1;
}

static int a_select_fd(struct help *h)
{
	spg_case cases[] = { SPG_READABLE(h->pipe[0]) };

	return spg_select(cases, 1);
}

static int a_poll(struct help *h)
{
	return spg_poll(h->pipe[0], POLLIN, -1) == POLLIN ? 0 : -1;
}

static int an_accept(struct help *h)
{
	int fd = spg_accept(h->listener, NULL, NULL);

	return fd >= 0 ? spg_close(fd) : fd;
}

static void end_serving(int fd, void *arg)
{
	spg_close(fd);
	spg_ctx_cancel(arg);
}

/* The accept comes again and again from one operation. */
static int a_server(struct help *h)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before = spg_ctx_enter(ctx);
	int err = spg_serve(h->listener, end_serving, ctx, NULL);

	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	return err;
}

static int a_signal(struct help *h)
{
	spg_chan *c = spg_chan_new(sizeof(int), 1);
	int signal = SIGUSR1, err = spg_signal_notify(c, &signal, 1);

	(void)h; /* which sends it before the byte */
	if (err == 0)
		err = spg_chan_recv(c, NULL);
	spg_signal_stop(c);
	spg_chan_unref(c);
	return err;
}

static int a_process(struct help *h)
{
	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
	char *argv[] = { (char *)"sleep", (char *)"0.15", NULL };
	spg_process *process;
	int status = -1, err;

	(void)h;
	opts.argv = argv;
	err = spg_process_start(&opts, &process);
	if (err < 0)
		return err;
	err = spg_process_wait(process, &status);
	spg_process_free(process);
	return err < 0 ? err : status;
}

/* ---- Jobs of the pool. ---- */

static void *late_job(void *arg)
{
	late();
	return arg;
}

static int a_job(struct help *h)
{
	(void)h;
	return spg_blocking(late_job, NULL, NULL);
}

static int child_job(void *arg)
{
	return a_job(arg);
}

/* One thread (see below): all but one wait for it. */
static int queued_jobs(struct help *h)
{
	spg_group *g = spg_group_new(0);
	int err;

	for (int i = 0; i < 3; i++)
		spg_group_go(g, child_job, h);
	err = spg_group_wait(g);
	spg_group_free(g);
	return err;
}

/* ---- Threads that are not ours. ---- */

struct foreign {
	spg_chan *c;
	struct help *help;
	pthread_t thread;
};

static int with_thread(struct help *h, void *(*fn)(void *))
{
	struct foreign f = { .c = spg_chan_new(0, 0), .help = h };
	int err;

	T_EQ(pthread_create(&f.thread, NULL, fn, &f), 0);
	err = spg_chan_recv(f.c, NULL);
	T_EQ(pthread_join(f.thread, NULL), 0);
	spg_chan_unref(f.c);
	return err;
}

static void *late_send(void *arg)
{
	late();
	T_EQ(spg_chan_send(((struct foreign *)arg)->c, NULL), 0);
	return NULL;
}

static int a_thread(struct help *h)
{
	return with_thread(h, late_send);
}

/* It is inside an spg wait itself all the time. */
static void *read_and_send(void *arg)
{
	struct foreign *f = arg;
	char byte;

	T_EQ(spg_read(f->help->pipe[0], &byte, 1), 1);
	T_EQ(spg_chan_send(f->c, NULL), 0);
	return NULL;
}

static int a_waiting_thread(struct help *h)
{
	return with_thread(h, read_and_send);
}

/* It leaves a coroutine behind. */
static void *go_and_end(void *arg)
{
	T_EQ(spg_go(sleep_and_send, ((struct foreign *)arg)->c), 0);
	return NULL;
}

static int a_thread_that_spawned(struct help *h)
{
	return with_thread(h, go_and_end);
}

static void *start_thread(void *arg)
{
	struct foreign *f = arg;

	T_EQ(pthread_create(&f->thread, NULL, late_send, f), 0);
	return NULL;
}

static int a_thread_of_a_job(struct help *h)
{
	struct foreign f = { .c = spg_chan_new(0, 0), .help = h };
	int err;

	T_EQ(spg_blocking(start_thread, &f, NULL), 0);
	err = spg_chan_recv(f.c, NULL);
	T_EQ(pthread_join(f.thread, NULL), 0);
	spg_chan_unref(f.c);
	return err;
}

static const struct {
	const char *name;
	int (*fn)(struct help *h);
	bool listens;
} comes[] = {
	{ "a sleeper", a_sleeper, false },
	{ "a scope", a_scope, false },
	{ "a context", a_context, false },
	{ "select after", a_select_after, false },
	{ "a ticker", a_ticker, false },
	{ "a read", a_read, false },
	{ "select readable", a_select_fd, false },
	{ "a poll", a_poll, false },
	{ "an accept", an_accept, true },
	{ "a server", a_server, true },
	{ "a signal", a_signal, false },
	{ "a process", a_process, false },
	{ "a job", a_job, false },
	{ "queued jobs", queued_jobs, false },
	{ "a thread", a_thread, false },
	{ "a waiting thread", a_waiting_thread, false },
	{ "a thread that spawned", a_thread_that_spawned, false },
	{ "a thread of a job", a_thread_of_a_job, false },
};
#define COMES (sizeof(comes) / sizeof(comes[0]))

struct call {
	int (*fn)(struct help *h);
	struct help *help;
};

static int call(void *arg)
{
	struct call *c = arg;

	return c->fn(c->help);
}

static void no_alarm(size_t i, unsigned shards, unsigned stall_ms)
{
	spg_config cfg = t_config(shards);
	struct help help;
	struct call c = { comes[i].fn, &help };
	struct captured out;
	int value;

	cfg.stall_ns = stall_ms * SPG_MS;
	cfg.blocking_max = 1;
	help_begin(&help, comes[i].listens);
	capture_begin(&out);
	value = spg_run(&cfg, call, &c);
	capture_end(&out);
	help_end(&help);
	if (value != 0 || out.text[0] != '\0')
		t_fail(__FILE__, __LINE__, "%s: %d, \"%s\"", comes[i].name, value, out.text);
}

/* Goal: no alarm while anything may wake a coroutine. */
START_TEST(no_alarm_while_something_may_come)
{
	for (size_t i = 0; i < COMES; i++)
		no_alarm(i, (unsigned)_i, 10);
}
END_TEST

/* Goal: the same without the watchdog's look for stalls. */
START_TEST(no_alarm_without_stalls_to_look_for)
{
	for (size_t i = 0; i < COMES; i++)
		no_alarm(i, (unsigned)_i, 0);
}
END_TEST

/* ---- What stops being in the way. ---- */

static void *late_nothing(void *arg)
{
	late();
	return arg;
}

static int thread_that_ends(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	int err;

	T_EQ(pthread_create(arg, NULL, late_nothing, NULL), 0);
	err = spg_chan_recv(c, NULL);
	spg_chan_unref(c);
	return err;
}

/* Goal: a thread that ends without waking anybody leaves a deadlock, which is then found. */
START_TEST(found_when_the_last_thread_has_ended)
{
	spg_config cfg = t_config((unsigned)_i);
	int64_t before = t_now_ns();
	struct captured out;
	pthread_t thread;

	NEEDS_REPORTS();
	capture_begin(&out);
	T_EQ(spg_run(&cfg, thread_that_ends, &thread), -EDEADLK);
	capture_end(&out);
	T_OK(deadlock_reported(&out));
	T_OK(t_now_ns() - before >= LATE_NS);
	T_EQ(pthread_join(thread, NULL), 0);
}
END_TEST

/* A connection of another process that sends a byte, and ends after a while. By TCP: others have no multishot receive. */
static int idle_peer(pid_t *child)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	socklen_t len = sizeof(addr);

	T_OK(listener >= 0);
	T_EQ(bind(listener, (void *)&addr, len), 0);
	T_EQ(listen(listener, 1), 0);
	T_EQ(getsockname(listener, (void *)&addr, &len), 0);
	*child = fork();
	T_OK(*child >= 0);
	if (*child == 0) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (void *)&addr, len) != 0 || write(fd, "x", 1) != 1)
			_exit(1);
		late();
		_exit(0);
	}
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(fd >= 0);
	close(listener);
	return fd;
}

static int unread_stream(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	spg_stream *s = spg_stream_open(*(int *)arg, NULL);
	spg_slice slice;
	int err;

	T_OK(s != NULL);
	T_EQ(spg_stream_recv(s, &slice), 0);
	spg_slice_release(&slice);
	/* From here on its receive goes on for nobody. */
	err = spg_chan_recv(c, NULL);
	spg_stream_close(s);
	spg_chan_unref(c);
	return err;
}

/* Goal: what a stream has in flight is in the way though nobody reads it (docs/deadlock.md), until its peer ends it. */
START_TEST(found_when_the_last_stream_has_ended)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	int64_t before;
	pid_t child;
	int fd;

	NEEDS_REPORTS();
	before = t_now_ns();
	fd = idle_peer(&child);
	capture_begin(&out);
	T_EQ(spg_run(&cfg, unread_stream, &fd), -EDEADLK);
	capture_end(&out);
	T_OK(deadlock_reported(&out));
	/* Without multishot receives nothing is in flight. */
	if (spg__features.multishot && spg__features.buf_ring)
		T_OK(t_now_ns() - before >= LATE_NS);
	T_EQ(waitpid(child, NULL, 0), child);
	close(fd);
}
END_TEST

static void release(int signal)
{
	(void)signal;
	spg__deadlock_release();
}

static int held(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	int err;

	(void)arg;
	spg__deadlock_hold();
	err = spg_chan_recv(c, NULL);
	spg_chan_unref(c);
	return err;
}

/* Goal: none while somebody holds; the end of the hold is enough, though no shard gets up for it. */
START_TEST(found_when_the_last_hold_has_ended)
{
	struct itimerval when = { .it_value.tv_usec = LATE_MS * 1000 };
	struct sigaction action = { .sa_handler = release, .sa_flags = SA_RESTART };
	spg_config cfg = t_config((unsigned)_i);
	int64_t before = t_now_ns();
	struct captured out;

	NEEDS_REPORTS();
	T_EQ(sigaction(SIGALRM, &action, NULL), 0);
	T_EQ(setitimer(ITIMER_REAL, &when, NULL), 0);
	capture_begin(&out);
	T_EQ(spg_run(&cfg, held, NULL), -EDEADLK);
	capture_end(&out);
	T_OK(deadlock_reported(&out));
	T_OK(t_now_ns() - before >= LATE_NS);
}
END_TEST

/* ---- Where nobody looks. ---- */

static void wait_for_ever(void *arg)
{
	spg_chan_recv(arg, NULL);
}

static void run_with_ignore(unsigned shards)
{
	spg_config cfg;

	setenv("SPG_DEADLOCK", "ignore", 1);
	cfg = t_config(shards);
	_exit(spg_run(&cfg, thread_that_ends, &(pthread_t){ 0 }) == 0);
}

/* No thread but ours either: it would be in the way as well. */
static void start_and_wait(unsigned shards)
{
	spg_config cfg = t_config(shards);
	spg_chan *c = spg_chan_new(0, 0);

	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_go(wait_for_ever, c), 0);
	late();
	late();
	(void)!write(STDERR_FILENO, spg_stop() == 0 ? "stopped\n" : "what?\n", 8);
	_exit(0);
}

/* What a process of its own says within the time. */
static void listen_to(void (*fn)(unsigned shards), unsigned shards, const char *expected)
{
	char text[256] = "";
	int fds[2], status;
	struct pollfd end = { .events = POLLIN };
	pid_t child;

	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	child = fork();
	T_OK(child >= 0);
	if (child == 0) {
		dup2(fds[1], STDERR_FILENO);
		fn(shards);
		_exit(1);
	}
	close(fds[1]);
	end.fd = fds[0];
	/* The first word, or none for long enough. */
	if (poll(&end, 1, 4 * LATE_MS) > 0)
		T_OK(read(fds[0], text, sizeof(text) - 1) > 0);
	T_EQ(kill(child, SIGKILL), 0);
	T_EQ(waitpid(child, &status, 0), child);
	close(fds[0]);
	T_STR(text, expected);
}

/* Goal: SPG_DEADLOCK=ignore says nothing and waits on. */
START_TEST(ignored_when_told_to)
{
	listen_to(run_with_ignore, (unsigned)_i, "");
}
END_TEST

/* Goal: spg_start is for programs whose threads are their own business. */
START_TEST(not_looked_for_under_spg_start)
{
	listen_to(start_and_wait, (unsigned)_i, "stopped\n");
}
END_TEST

T_MAIN(T_SHARDS(no_alarm_while_something_may_come), T_SHARDS(no_alarm_without_stalls_to_look_for),
       T_SHARDS(found_when_the_last_thread_has_ended),
       T_SHARDS(found_when_the_last_stream_has_ended), T_SHARDS(found_when_the_last_hold_has_ended),
       T_SHARDS(ignored_when_told_to), T_SHARDS(not_looked_for_under_spg_start))
