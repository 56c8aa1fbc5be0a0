/*
 * Everything that the table says about one call, on the calling coroutine or thread.
 */
#ifndef SPG__TEST_IO_RUN_H
#define SPG__TEST_IO_RUN_H

#include "io_calls.h"

#include <pthread.h>
#include <time.h>

/* Long enough to be waiting when it passes; the result is the same if not. */
#define MOMENT_NS (2 * SPG_MS)

static void run_case(io_case fn, ssize_t result, bool nonblocking)
{
	struct env e;

	if (fn == NULL)
		return;
	env_open(&e, nonblocking);
	C_EQ(fn(&e), result);
	env_close(&e);
}

/* Once on each file system that may lack them. */
static bool lacks_xattr(const struct io_call *call)
{
	struct env e;
	int res = 0;

	if (strstr(call->name, "xattr") == NULL)
		return false;
	env_open(&e, false);
	res = fsetxattr(e.file, "user.spg", "value", 5, 0);
	env_close(&e);
	if (res < 0)
		fprintf(stderr, "SKIP spg_%s: no user attributes in /tmp\n", call->name);
	return res < 0;
}

static void run_deadline(io_case fn, bool nonblocking)
{
	struct env e;
	int64_t started, took;

	env_open(&e, nonblocking);
	started = spg_now();
	{
		SPG_TIMEOUT_SCOPE(MOMENT_NS);
		C_EQ(fn(&e), -ETIMEDOUT);
	}
	took = spg_now() - started;
	T_OK(took >= MOMENT_NS);
	if (!t_sanitized())
		T_OK(took < 5 * SPG_SEC);
	env_close(&e);
}

static void *cancel_soon(void *arg)
{
	struct timespec moment = { .tv_nsec = MOMENT_NS };

	nanosleep(&moment, NULL);
	spg_ctx_cancel(arg);
	return NULL;
}

static void run_cancel(io_case fn, bool nonblocking)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before = spg_ctx_enter(ctx);
	pthread_t thread;
	struct env e;

	env_open(&e, nonblocking);
	T_EQ(pthread_create(&thread, NULL, cancel_soon, ctx), 0);
	C_EQ(fn(&e), -ECANCELED);
	T_EQ(pthread_join(thread, NULL), 0);
	env_close(&e);
	/* From now on every call fails on entry. */
	env_open(&e, nonblocking);
	C_EQ(fn(&e), -ECANCELED);
	env_close(&e);
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
}

/* A context that has ended fails the call although it would succeed. */
static void run_entry(const struct io_call *call)
{
	spg_ctx *ctx, *before;
	struct env e;

	if (strcmp(call->name, "close") == 0 || call->wait != read_wait)
		return;
	ctx = spg_ctx_new(NULL);
	before = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	env_open(&e, false);
	put(e.pipe[1], "abc");
	C_EQ(spg_read(e.pipe[0], (char[8]){ 0 }, 8), -ECANCELED);
	T_EQ(read(e.pipe[0], (char[8]){ 0 }, 8), 3);
	env_close(&e);
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
}

struct mode {
	const struct io_call *call;
	bool ring;
};

/* Everything about one call, on the calling coroutine or thread. */
static int run_call(void *arg)
{
	const struct mode *mode = arg;
	const struct io_call *call = mode->call;

	current = call->name;
	wanted = call->good_result;
	if (lacks_xattr(call))
		return 0;
	for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
		run_case(call->good, call->good_result, nonblocking);
		run_case(call->bad, call->bad_result, nonblocking);
		run_case(call->eof, 0, nonblocking);
		if (call->wait == NULL || ((call->flags & IO_RING_ONLY) && !mode->ring))
			continue;
		run_deadline(call->wait, nonblocking);
		run_cancel(call->wait, nonblocking);
	}
	run_entry(call);
	return 0;
}

#endif
