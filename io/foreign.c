/*
 * I/O on a foreign thread: the system call itself, which blocks nobody else. What can
 * wait is tried without waiting, and then waited for in ppoll, together with the
 * thread's wake_fd (sched/park.h, P5). Files are waited for inside the call.
 *
 * The thread counts itself by F1 to F5, and names the descriptor in io_fd before it
 * looks at the word for the last time: a closer that missed io_fd was seen by that look.
 */
#include "io/call.h"

#include "io/fdkind.h"
#include "io/fdtab.h"
#include "sched/thread.h"

#include <signal.h>

/* Writes to a broken pipe raise SIGPIPE, which is taken back before anybody sees it. */
struct sigpipe {
	sigset_t before;
	bool guarded, was_pending;
};

static bool may_raise(const struct io_uring_sqe *sqe)
{
	return sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV ||
	       sqe->opcode == IORING_OP_SPLICE;
}

static void sigpipe_hold(struct sigpipe *hold, const struct io_uring_sqe *sqe, enum spg__fdkind kind)
{
	sigset_t set, pending;

	/* Sends to sockets say MSG_NOSIGNAL, but splice cannot. */
	hold->guarded = may_raise(sqe) && (kind == SPG__FDKIND_STREAM || sqe->opcode == IORING_OP_SPLICE);
	if (!hold->guarded)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	SPG_CHECK(pthread_sigmask(SIG_BLOCK, &set, &hold->before) == 0);
	sigpending(&pending);
	hold->was_pending = sigismember(&pending, SIGPIPE);
}

static void sigpipe_release(struct sigpipe *hold, int res)
{
	static const struct timespec now = { 0 };
	sigset_t set;

	if (!hold->guarded)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	/* Ours only: one that was pending before stays so. */
	if (res == -EPIPE && !hold->was_pending)
		while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
			continue;
	SPG_CHECK(pthread_sigmask(SIG_SETMASK, &hold->before, NULL) == 0);
}

static int perform(const struct io_uring_sqe *sqe, enum spg__fdkind kind, bool nonblocking)
{
	struct sigpipe hold;
	int res;

	sigpipe_hold(&hold, sqe, kind);
	do
		res = spg__perform(sqe, nonblocking);
	while (res == -EINTR && nonblocking);
	sigpipe_release(&hold, res);
	return res;
}

/* Whether the wait goes on; the data was looked for before. */
static int wait_err(struct spg__wait *wait)
{
	int err = wait->cancelable ? spg__waiter_err(wait->waiter) : 0;
	int64_t deadline_ns = spg__wait_deadline(wait);

	if (err < 0)
		return err;
	return deadline_ns != SPG__NEVER && spg__clock_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}

#define PAUSE_NS ((int64_t)1000000)

/* Readiness that the call does not share (a full peer of a datagram socket): waits a while instead. */
static void park_pause(struct spg__wait *wait, unsigned tries)
{
	int64_t until_ns = spg__clock_ns() + (PAUSE_NS << (tries < 4 ? tries : 4));
	int64_t deadline_ns = spg__wait_deadline(wait);

	spg__park(wait->waiter, until_ns < deadline_ns ? until_ns : deadline_ns);
}

static int try_until_ready(struct spg__wait *wait, const struct io_uring_sqe *sqe, unsigned events,
			   enum spg__fdkind kind, uint32_t word)
{
	for (unsigned tries = 0;; tries++) {
		int64_t started_ns;
		int res, err;

		/* seq_cst: F5. */
		if (spg__fdtab_word(sqe->fd) != word)
			return -ECANCELED;
		res = perform(sqe, kind, true);
		if (res != -EAGAIN)
			return res;
		err = wait_err(wait);
		if (err < 0)
			return err;
		/* Ready, and yet it would wait: stale permits account for a few of these. */
		if (tries >= 8)
			park_pause(wait, tries - 8);
		started_ns = spg__clock_ns();
		spg__park_poll(wait->waiter, sqe->fd, events, spg__wait_deadline(wait));
		if (spg__clock_ns() - started_ns > PAUSE_NS)
			tries = 0;
	}
}

/* Files and calls on paths: only the kernel can end them. */
static int plain(struct spg__wait *wait, const struct io_uring_sqe *sqe, enum spg__fdkind kind)
{
	for (;;) {
		int res = perform(sqe, kind, false);
		int err;

		/* A signal of the program's own. Closing has happened all the same. */
		if (res != -EINTR || sqe->opcode == IORING_OP_CLOSE)
			return res;
		err = wait_err(wait);
		if (err < 0)
			return err;
	}
}

static int run(struct spg__wait *wait, const struct io_uring_sqe *sqe, unsigned events)
{
	struct spg__thread *thread = spg__thread_of(wait->waiter);
	int fd = spg__io_fd(sqe);
	/* Of before a close that is under way now: none completes while we are counted. */
	uint32_t word = spg__fdtab_word(fd) & ~1u;
	enum spg__fdkind kind = events != 0 || may_raise(sqe) ? spg__fdkind_now(sqe->fd) : SPG__FDKIND_FILE;
	int res;

	/* seq_cst: before the look at the word. */
	atomic_store_explicit(&thread->io_fd, fd, memory_order_seq_cst);
	if (sqe->opcode == IORING_OP_POLL_ADD || (events != 0 && spg__fdkind_waits(kind)))
		res = try_until_ready(wait, sqe, events, kind, word);
	else
		res = plain(wait, sqe, kind);
	atomic_store_explicit(&thread->io_fd, -1, memory_order_seq_cst);
	return res;
}

int spg__foreign_io(const struct io_uring_sqe *sqe, unsigned events, int64_t when_ns)
{
	_Atomic uint16_t *counts = spg__fdtab_foreign();
	int fd = spg__io_fd(sqe);
	struct spg__wait wait;
	int res;

	if (counts == NULL)
		return -ENOMEM;
	res = spg__wait_begin(&wait, SPG__REASON_IO, spg__op_object(fd, sqe->opcode));
	if (res < 0)
		return res;
	spg__wait_until(&wait, when_ns);
	res = spg__fdtab_enter(counts, fd);
	if (res == 0) {
		if (sqe->opcode == IORING_OP_POLL_ADD)
			events = sqe->poll32_events;
		res = run(&wait, sqe, events);
		spg__fdtab_leave(counts, fd);
	}
	spg__wait_end(&wait);
	return res;
}
