/*
 * The trace: start, stop, and the thread that writes it.
 *
 * TC1  state: IDLE -> STARTING -> RUNNING -> STOPPING -> IDLE. Who makes RUNNING into
 *      STOPPING ends the trace, and alone joins the writer.
 * TC2  A start happens inside a running runtime (on a shard, or between enter and
 *      leave_foreign), so the runtime's end finds IDLE, RUNNING, or somebody stopping.
 */
#include "runtime/trace.h"

#include "coro/clock.h"
#include "io/ring.h"
#include "sched/deadlock.h"

#include <spg/ctx.h>
#include <spg/debug.h>
#include <spg/go.h>
#include <spg/sync.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

/* How often the writer looks at the rings. */
#define PERIOD_NS ((int64_t)5 * 1000000)

enum state { IDLE, STARTING, RUNNING, STOPPING };

static struct {
	_Atomic int state;
	unsigned shards;
	struct spg__out *out;
	struct spg__trace_json *json;
	pthread_t writer;
	spg_wg done;
	int err;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool ending; /* under the mutex */
} session = { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .done = SPG_WG_INIT };

/* The closest pair of a few. */
static struct spg__trace_time time_now(void)
{
	struct spg__trace_time best = { 0 };
	uint64_t best_width = UINT64_MAX;

	for (int i = 0; i < 4; i++) {
		uint64_t before = spg__trace_ticks();
		int64_t ns = spg__clock_ns();
		uint64_t width = spg__trace_ticks() - before;

		if (width < best_width) {
			best = (struct spg__trace_time){ .ticks = before + width / 2, .ns = ns };
			best_width = width;
		}
	}
	return best;
}

/* On a plain thread of ours, with all signals blocked: EPIPE is a result. */
static int write_plain(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n >= 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			struct pollfd ready = { .fd = fd, .events = POLLOUT };

			(void)poll(&ready, 1, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* true: the trace ends. */
static bool wait_period(void)
{
	struct timespec until = spg__clock_timespec(spg__clock_ns() + PERIOD_NS);
	bool ending;

	pthread_mutex_lock(&session.mutex);
	if (!session.ending)
		(void)pthread_cond_clockwait(&session.cond, &session.mutex, CLOCK_MONOTONIC, &until);
	ending = session.ending;
	pthread_mutex_unlock(&session.mutex);
	return ending;
}

static void *writer_main(void *arg)
{
	bool ending = false;

	(void)arg;
	(void)pthread_setname_np(pthread_self(), "spg-trace");
	while (!ending) {
		ending = wait_period();
		spg__trace_json_drain(session.json, time_now());
		spg__out_flush(session.out);
	}
	spg__trace_json_end(session.json);
	session.err = spg__out_end(session.out);
	spg_wg_done(&session.done);
	return NULL;
}

static int start_writer(void)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&session.writer, NULL, writer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

/* The caller's own slice begins with the trace. Other shards' are known from their next pass on. */
static void tell_caller(void)
{
	struct spg__shard *self = spg__shard_self();

	if (self == NULL || self->current == NULL)
		return;
	spg__ring_of(self)->trace = spg__trace_of(self);
	spg__trace_set_jump(self);
	spg__trace_switch(self); /* `leaving` is NULL while it runs: as if from the loop */
}

/* In a runtime that stays (TC2), with the state STARTING. */
static int start(int fd)
{
	int err;

	session.shards = spg__sched.conf.shards;
	session.ending = false;
	if (spg__trace_map(session.shards) < 0)
		return -ENOMEM;
	session.out = spg__out_new(fd, write_plain);
	if (session.out == NULL)
		return -ENOMEM;
	session.json = spg__trace_json_new(session.out, session.shards, time_now());
	if (session.json == NULL) {
		(void)spg__out_end(session.out);
		return -ENOMEM;
	}
	spg__trace_on(session.shards);
	tell_caller();
	spg_wg_add(&session.done, 1);
	err = start_writer();
	if (err < 0) {
		spg_wg_done(&session.done);
		spg__trace_off(session.shards);
		session.out->len = 0; /* nothing was written */
		spg__trace_json_end(session.json);
		session.out->len = 0;
		(void)spg__out_end(session.out);
	} else {
		spg__deadlock_thread(1);
	}
	return err;
}

static bool is_writable(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

int spg_trace_start(int fd)
{
	bool foreign = spg__shard_self() == NULL;
	int idle = IDLE, err = -EALREADY;

	/* relaxed: the exchange below decides. */
	if (atomic_load_explicit(&session.state, memory_order_relaxed) != IDLE)
		return -EALREADY;
	if (!is_writable(fd))
		return -EBADF;
	if (foreign && spg__shard_enter_foreign() == NULL)
		return -ESRCH;
	/* acq_rel [TC-a]: what the trace before left. */
	if (atomic_compare_exchange_strong_explicit(&session.state, &idle, STARTING, memory_order_acq_rel,
						    memory_order_relaxed)) {
		err = start(fd);
		/* release [TC-a]: the session, for whoever stops it. */
		atomic_store_explicit(&session.state, err == 0 ? RUNNING : IDLE, memory_order_release);
	}
	if (foreign)
		spg__shard_leave_foreign();
	return err;
}

/* Parks a coroutine until the writer is about to end, so that its shard goes on. */
static void await_writer(void)
{
	SPG_SHIELD_SCOPE();

	(void)spg_wg_wait(&session.done);
}

int spg_trace_stop(void)
{
	int running = RUNNING, err;

	/* acq_rel [TC-a]. */
	if (!atomic_compare_exchange_strong_explicit(&session.state, &running, STOPPING, memory_order_acq_rel,
						     memory_order_relaxed))
		return -ESRCH;
	spg__trace_off(session.shards);
	spg__deadlock_thread(-1); /* from here on a coroutine may wait for it */
	pthread_mutex_lock(&session.mutex);
	session.ending = true;
	pthread_cond_signal(&session.cond);
	pthread_mutex_unlock(&session.mutex);
	if (spg_in_coroutine())
		await_writer();
	pthread_join(session.writer, NULL);
	spg__trace_trim(session.shards);
	err = session.err;
	atomic_store_explicit(&session.state, IDLE, memory_order_release);
	return err;
}

void spg__trace_runtime_ended(void)
{
	/* A plain thread may be about to end it: it writes and returns, whatever we do. */
	while (spg_trace_stop() < 0 && atomic_load_explicit(&session.state, memory_order_acquire) != IDLE)
		sched_yield();
}
