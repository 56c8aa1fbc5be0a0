/*
 * SPG_DEBUG=leaks: each thing that is left is named with the place that made it, and what is
 * given back is not.
 */
#include "deadlock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* ---- A leak each. The place is this file's, so the report names this program. ---- */

/* For ever, so that the sanitizer does not tell about them, too. */
static void *kept[64];
static unsigned kept_count;
static int kept_fds[2];

static void *keep(void *made)
{
	T_OK(kept_count < 64);
	return kept[kept_count++] = made;
}

static void sleep_long(void *arg)
{
	spg_sleep(3600 * SPG_SEC);
	(void)arg;
}

static int leak_coroutine(void *arg)
{
	(void)arg;
	return spg_go(sleep_long, NULL);
}

static int leak_channel(void *arg)
{
	(void)arg;
	return keep(spg_chan_new(4, 4)) == NULL;
}

static int leak_contexts(void *arg)
{
	(void)arg;
	(void)keep(spg_ctx_with_deadline(keep(spg_ctx_with_timeout(NULL, SPG_SEC)), spg_now() + SPG_SEC));
	return spg_ctx_done(keep(spg_ctx_new(NULL))) == NULL; /* part of it, no leak of its own */
}

static int leak_group(void *arg)
{
	(void)arg;
	return keep(spg_group_new(0)) == NULL;
}

static int leak_timer(void *arg)
{
	(void)arg;
	return keep(spg_timer_new()) == NULL;
}

static int leak_ticker(void *arg)
{
	(void)arg;
	return keep(spg_ticker_new(0, SPG_SEC, SPG_MISSED_SKIP)) == NULL;
}

static int keep_fd(int i, int fd)
{
	kept_fds[i] = fd;
	return fd < 0;
}

static int leak_open(void *arg)
{
	(void)arg;
	return keep_fd(0, spg_open("/dev/null", O_RDWR | O_CLOEXEC, 0));
}

static int leak_socket(void *arg)
{
	(void)arg;
	return keep_fd(0, spg_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int leak_pipe(void *arg)
{
	(void)arg;
	return spg_pipe2(kept_fds, O_CLOEXEC);
}

static int leak_listener(void *arg)
{
	(void)arg;
	return keep_fd(0, spg_listen("tcp", "127.0.0.1:0", NULL));
}

/* Both ends of a connection; the listener is closed. */
static int leak_connection(void *arg)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	char text[64];
	int listener = spg_listen("tcp", "127.0.0.1:0", NULL);

	(void)arg;
	if (getsockname(listener, (void *)&addr, &len) < 0 ||
	    spg_sockaddr_str((void *)&addr, text, sizeof(text)) < 0)
		return 1;
	return keep_fd(0, spg_dial("tcp", text, NULL)) || keep_fd(1, spg_accept(listener, NULL, NULL)) ||
	       spg_close(listener);
}

struct serving {
	int listener;
	spg_ctx *ctx;
	void (*handler)(int fd, void *ctx);
};

static void *serve_main(void *arg)
{
	struct serving *s = arg;

	return (void *)(intptr_t)spg_serve(s->listener, s->handler, s->ctx, NULL);
}

/* One connection; the handler ends the serving. */
static int serve_once(void (*handler)(int fd, void *ctx))
{
	struct serving s = { .listener = spg_listen("tcp", "localhost:0", NULL), .handler = handler };
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	spg_attr attr = SPG_ATTR_INIT;
	char text[128];
	spg_task *task;
	int fd, err;

	if (getsockname(s.listener, (void *)&addr, &len) < 0 ||
	    spg_sockaddr_str((void *)&addr, text, sizeof(text)) < 0)
		return 1;
	s.ctx = attr.ctx = spg_ctx_new(NULL);
	task = spg_spawn(&attr, serve_main, &s);
	fd = spg_dial("tcp", text, NULL);
	err = fd < 0 || spg_join(task, NULL) || spg_close(fd) || spg_close(s.listener);
	spg_ctx_unref(s.ctx);
	return err;
}

static void forget(int fd, void *ctx)
{
	kept_fds[0] = fd;
	spg_ctx_cancel(ctx);
}

/* A handler that does not close what it was given. */
static int leak_served(void *arg)
{
	(void)arg;
	return serve_once(forget);
}

static void close_kept(void)
{
	for (int i = 0; i < 2; i++) {
		if (kept_fds[i] > 0)
			close(kept_fds[i]);
		kept_fds[i] = 0;
	}
}

static const struct {
	int (*fn)(void *);
	const char *lines[4]; /* each names one place */
} leaks[] = {
	{ leak_coroutine, { "spg:   1 coroutine (" } },
	{ leak_channel, { "spg:   1 channel (0x" } },
	{ leak_contexts, { "spg:   1 context (0x", "spg:   1 context (0x", "spg:   1 context (0x" } },
	{ leak_group, { "spg:   1 group (0x" } },
	{ leak_timer, { "spg:   1 timer (0x" } },
	{ leak_ticker, { "spg:   1 ticker (0x" } },
	{ leak_open, { "spg:   1 descriptor (" } },
	{ leak_socket, { "spg:   1 descriptor (" } },
	{ leak_pipe, { "spg:   2 descriptors (one is " } },
	{ leak_listener, { "spg:   1 descriptor (" } },
	{ leak_connection, { "spg:   1 descriptor (", "spg:   1 descriptor (" } },
	{ leak_served, { "spg:   1 descriptor (" } },
};
#define LEAKS (sizeof(leaks) / sizeof(leaks[0]))
#define HEAD "spg: not freed, closed or ended when the runtime stopped:\n"

/* Exactly these lines, each with a place in this program. */
static bool is_report(const char *text, const char *const lines[4])
{
	if (strncmp(text, HEAD, strlen(HEAD)) != 0)
		return false;
	text += strlen(HEAD);
	for (int i = 0; i < 4 && lines[i] != NULL; i++) {
		const char *end = strchr(text, '\n'), *place = strstr(text, ", made at ");

		if (end == NULL || place == NULL || place > end || strncmp(text, lines[i], strlen(lines[i])) != 0)
			return false;
		place = strstr(place, "test_leaks+0x");
		if (place == NULL || place > end)
			return false;
		text = end + 1;
	}
	return *text == '\0';
}

static int run_captured(const spg_config *cfg, int (*fn)(void *), struct captured *out)
{
	int value;

	capture_begin(out);
	value = spg_run(cfg, fn, NULL);
	capture_end(out);
	return value;
}

/* Goal: each leak is named, once, with the place that made it. */
START_TEST(each_leak_is_named)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;

	cfg.debug = "leaks";
	for (size_t i = 0; i < LEAKS; i++) {
		int value = run_captured(&cfg, leaks[i].fn, &out);

		if (value != 0 || !is_report(out.text, leaks[i].lines))
			t_fail(__FILE__, __LINE__, "leak %zu: %d, \"%s\"", i, value, out.text);
		close_kept();
	}
}
END_TEST

/* Goal: without SPG_DEBUG=leaks nobody looks. */
START_TEST(silent_when_not_asked)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	static const char *const words[] = { NULL, "", ",", "migrate", "trace_events=1024,migrate" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		cfg.debug = words[i];
		T_EQ(run_captured(&cfg, leak_open, &out), 0);
		T_STR(out.text, "");
		close_kept();
	}
}
END_TEST

/* A coroutine that still does something when it has told main that it is done. */
static void done_and_more(void *arg)
{
	spg_wg_done(arg);
	for (int i = 0; i < 100; i++)
		spg_yield();
}

static void close_it(int fd, void *ctx)
{
	spg_close(fd);
	spg_ctx_cancel(ctx);
}

static int tidy(void *arg)
{
	spg_chan *c = spg_chan_new(0, 1);
	spg_ctx *ctx = spg_ctx_with_timeout(NULL, SPG_SEC);
	spg_group *g = spg_group_new(0);
	spg_timer *timer = spg_timer_new();
	spg_ticker *ticker = spg_ticker_new(0, SPG_SEC, SPG_MISSED_SKIP);
	spg_wg wg = SPG_WG_INIT;
	int fds[2], err = spg_pipe2(fds, O_CLOEXEC), fd = spg_open("/dev/null", O_RDWR | O_CLOEXEC, 0);
	struct statx stx;

	(void)arg;
	spg_wg_add(&wg, 50);
	for (int i = 0; i < 50; i++)
		err |= spg_go(done_and_more, &wg);
	err |= spg_ctx_done(ctx) == NULL;
	err |= spg_stat("/", &stx) | spg_mkdir_all("/tmp", 0777);
	err |= spg_close(fds[0]) | spg_close(fds[1]) | serve_once(close_it);
	close(fd); /* behind our back: it is closed all the same */
	spg_chan_unref(c);
	spg_ctx_unref(ctx);
	spg_group_free(g);
	spg_timer_free(timer);
	spg_ticker_free(ticker);
	return err | spg_wg_wait(&wg);
}

/* Goal: a program that gives back what it takes hears nothing. */
START_TEST(a_tidy_program_hears_nothing)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;

	cfg.debug = "leaks,leaks";
	for (int i = 0; i < 20; i++) {
		T_EQ(run_captured(&cfg, tidy, &out), 0);
		T_STR(out.text, "");
	}
}
END_TEST

static int leak_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++)
		T_EQ(spg_go(sleep_long, NULL), 0);
	return 0;
}

/* Goal: many of one place are one line; another run starts from nothing. */
START_TEST(places_are_told_once)
{
	static const char *const lines[4] = { "spg:   100 coroutines (one is " };
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;

	setenv("SPG_DEBUG", "leaks", 1);
	cfg = t_config((unsigned)_i);
	cfg.shutdown_grace_ns = 20 * SPG_SEC; /* a busy machine under ThreadSanitizer */
	for (int i = 0; i < 3; i++) {
		T_EQ(run_captured(&cfg, leak_many, &out), 0);
		T_OK(is_report(out.text, lines));
	}
}
END_TEST

T_MAIN(T_SHARDS(each_leak_is_named), T_SHARDS(silent_when_not_asked), T_SHARDS(a_tidy_program_hears_nothing),
       T_SHARDS(places_are_told_once))
