#include "io/call.h"

#include "coro/fault.h"
#include "io/fdkind.h"
#include "io/fdtab.h"
#include "sched/offload.h"

#define OP_BIT(op) ((uint64_t)1 << (op))
/* Operations whose fd is a descriptor in use. */
static const uint64_t fd_ops =
	OP_BIT(IORING_OP_READ) | OP_BIT(IORING_OP_WRITE) | OP_BIT(IORING_OP_READV) | OP_BIT(IORING_OP_WRITEV) |
	OP_BIT(IORING_OP_READ_FIXED) | OP_BIT(IORING_OP_WRITE_FIXED) | OP_BIT(IORING_OP_FSYNC) |
	OP_BIT(IORING_OP_POLL_ADD) | OP_BIT(IORING_OP_SYNC_FILE_RANGE) | OP_BIT(IORING_OP_SENDMSG) |
	OP_BIT(IORING_OP_RECVMSG) | OP_BIT(IORING_OP_ACCEPT) | OP_BIT(IORING_OP_CONNECT) |
	OP_BIT(IORING_OP_FALLOCATE) | OP_BIT(IORING_OP_FADVISE) | OP_BIT(IORING_OP_SEND) |
	OP_BIT(IORING_OP_RECV) | OP_BIT(IORING_OP_SPLICE) | OP_BIT(IORING_OP_TEE) | OP_BIT(IORING_OP_SHUTDOWN) |
	OP_BIT(IORING_OP_FSETXATTR) | OP_BIT(IORING_OP_FGETXATTR) | OP_BIT(IORING_OP_URING_CMD) |
	OP_BIT(SPG__OP_FTRUNCATE) | OP_BIT(SPG__OP_BIND) | OP_BIT(SPG__OP_LISTEN);

int spg__io_fd(const struct io_uring_sqe *sqe)
{
	bool used = sqe->opcode < 64 && (fd_ops >> sqe->opcode & 1);

	return spg__likely(used && (sqe->flags & IOSQE_FIXED_FILE) == 0) ? sqe->fd : -1;
}

/* A fault: the kernel completes it with the errno. */
static spg__noinline void refuse(struct io_uring_sqe *sqe, int err)
{
	io_uring_prep_nop(sqe);
	sqe->rw_flags = SPG__NOP_INJECT_RESULT;
	sqe->len = (unsigned)err;
}

static int on_ring(const struct io_uring_sqe *sqe, int64_t when_ns)
{
	struct spg__op op;
	int err = spg__op_begin(&op, spg__io_fd(sqe), sqe->opcode);

	if (spg__unlikely(err < 0))
		return err;
	spg__wait_until(&op.wait, when_ns);
	*op.sqe = *sqe;
	err = spg__fault(SPG__FAULT_FAIL);
	if (spg__unlikely(err < 0))
		refuse(op.sqe, err);
	return spg__op_wait(&op);
}

int spg__io_ready(int fd, unsigned events)
{
	struct io_uring_sqe sqe;

	io_uring_prep_poll_add(&sqe, fd, events);
	return spg__io(&sqe, 0);
}

int spg__io_entry(void)
{
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_IO, spg__op_object(-1, 0));

	if (err == 0)
		spg__wait_end(&wait);
	return err;
}

_Atomic uint16_t *spg__io_counts(void)
{
	struct spg__shard *shard = spg__shard_self();

	return shard != NULL && shard->current != NULL ? spg__ring_of(shard)->fd_inflight : spg__fdtab_foreign();
}

int spg__hold(struct spg__hold *hold, int fd, uint32_t word)
{
	/* Those of where we are now, wherever we go. */
	*hold = (struct spg__hold){ .counts = spg__io_counts(), .word = word, .fd = fd };
	return hold->counts != NULL ? spg__fdtab_enter_again(hold->counts, fd, word) : -ENOMEM;
}

int spg__unhold(const struct spg__hold *hold, int res)
{
	/* Our own count keeps the number: a step that found it closing was not begun. */
	if (res == -EBADF && spg__fdtab_word(hold->fd) != hold->word)
		res = -ECANCELED;
	spg__fdtab_leave(hold->counts, hold->fd);
	return res;
}

/* Waits out a time of its own. when_ns is for the caller's deadline. 0, or an error. */
static int pause_until(unsigned tries, int64_t when_ns)
{
	int64_t until_ns = spg__clock_ns() + ((int64_t)1000000 << (tries < 4 ? tries : 4));
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_SLEEP, NULL);

	if (err < 0)
		return err;
	spg__wait_until(&wait, until_ns < when_ns ? until_ns : when_ns);
	while (err == 0)
		err = spg__wait_park(&wait);
	spg__wait_end(&wait);
	if (err != -ETIMEDOUT)
		return err;
	err = spg__waiter_err(wait.waiter);
	return err == 0 && spg__clock_ns() >= when_ns ? -ETIMEDOUT : err;
}

int spg__io_pause(unsigned tries)
{
	return pause_until(tries, SPG__NEVER);
}

/* On the pool's thread. */
struct performance {
	const struct io_uring_sqe *sqe;
	int res;
};

static void perform_blocking(void *arg)
{
	struct performance *p = arg;

	p->res = spg__perform(p->sqe, false);
}

/* Counted until it ends: who closes waits, and a queued job never meets the number's next owner. */
static int perform_on_pool(const struct io_uring_sqe *sqe, uint32_t word)
{
	struct performance p = { .sqe = sqe };
	struct spg__hold hold;
	int err = (word & 1) != 0 ? -EBADF : spg__hold(&hold, spg__io_fd(sqe), word);

	if (err < 0)
		return err;
	err = spg__offload(perform_blocking, &p);
	return spg__unhold(&hold, err < 0 ? err : p.res);
}

/* A call that goes on after an -EAGAIN, or without its opcode: counted until it ends (F6). */
struct call {
	const struct io_uring_sqe *sqe;
	unsigned events;
	int64_t when_ns;
	int fd;
};

static int try_once(const struct call *call)
{
	return spg__op_usable(call->sqe->opcode) ? on_ring(call->sqe, call->when_ns) :
						   spg__perform(call->sqe, true);
}

/* 0: ready, or try again for another reason. */
static int wait_ready(const struct call *call, unsigned tries)
{
	struct io_uring_sqe sqe;
	int res;

	/* No POLL_ADD, or readiness that the call does not share (a full peer of a datagram socket). */
	if (!spg__op_usable(IORING_OP_POLL_ADD) || tries >= 8) {
		res = pause_until(tries > 8 ? tries - 8 : 0, call->when_ns);
		if (res < 0 || !spg__op_usable(IORING_OP_POLL_ADD))
			return res;
	}
	io_uring_prep_poll_add(&sqe, call->fd, call->events);
	res = on_ring(&sqe, call->when_ns);
	return res < 0 && res != -EAGAIN ? res : 0;
}

static int try_until_ready(const struct call *call, bool try_first, uint32_t word)
{
	for (unsigned tries = 0;; tries++) {
		int64_t started_ns = spg__clock_ns();
		int res;

		if (tries > 0 || !try_first) {
			res = wait_ready(call, tries);
			if (res < 0)
				return res;
			if (spg__clock_ns() - started_ns > 1000000)
				tries = 1;
		}
		if (spg__fdtab_word(call->fd) != word)
			return -ECANCELED;
		res = try_once(call);
		if (res != -EAGAIN)
			return res;
	}
}

/* What the ring did not finish. word: the descriptor's when the call began. */
static spg__noinline int slow(const struct call *call, bool try_first, uint32_t word)
{
	struct spg__hold hold;
	int res = spg__hold(&hold, call->fd, word);

	return res < 0 ? res : spg__unhold(&hold, try_until_ready(call, try_first, word));
}

/* Did the caller ask not to wait? Then its thread is not in danger either. */
static bool never_waits(const struct io_uring_sqe *sqe)
{
	bool message = sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_SEND ||
		       sqe->opcode == IORING_OP_RECVMSG || sqe->opcode == IORING_OP_SENDMSG;

	return message && (sqe->msg_flags & MSG_DONTWAIT) != 0;
}

/* The operation is missing, or switched off. */
static spg__noinline int emulate(const struct call *call, uint32_t word)
{
	struct call poll = *call;
	int err;

	if (call->sqe->opcode == IORING_OP_POLL_ADD)
		poll.events = call->sqe->poll32_events;
	else if (!never_waits(call->sqe) && (call->events == 0 || !spg__fdkind_waits(spg__fdkind_now(call->fd))))
		return perform_on_pool(call->sqe, word);
	/* Entry rule as on the ring: an ended context fails the call even if it would not wait. */
	err = spg__io_entry();
	if (err < 0)
		return err;
	if (word & 1)
		return -EBADF;
	if (poll.events == 0 && never_waits(call->sqe))
		return spg__perform(call->sqe, true);
	return slow(&poll, true, word);
}

int spg__io_until(const struct io_uring_sqe *sqe, unsigned events, int64_t when_ns)
{
	struct call call = { .sqe = sqe, .events = events, .when_ns = when_ns, .fd = spg__io_fd(sqe) };
	uint32_t word;
	int res;

	if (spg__unlikely(spg__coro_self() == NULL))
		return spg__foreign_io(sqe, events, when_ns);
	word = spg__fdtab_word(call.fd);
	if (spg__unlikely(!spg__op_usable(sqe->opcode)))
		return emulate(&call, word);
	res = on_ring(sqe, when_ns);
	if (spg__likely(res != -EAGAIN) || events == 0)
		return res;
	return slow(&call, false, word);
}

int spg__io(const struct io_uring_sqe *sqe, unsigned events)
{
	return spg__io_until(sqe, events, SPG__NEVER);
}

/* Does it say that the operation cannot be had, or only may it? The system call knows. */
static bool is_refusal(int res)
{
	switch (res) {
	case -EINVAL:     /* an opcode or a flag the ring does not take */
	case -ENOSYS:     /* a sandbox */
	case -EOPNOTSUPP: /* a file system, or the ring */
		return true;
	default:
		return false;
	}
}

int spg__io_path(const struct io_uring_sqe *sqe)
{
	uint32_t word = spg__fdtab_word(spg__io_fd(sqe));
	int res;

	if (spg__coro_self() == NULL || !spg__op_usable(sqe->opcode))
		return spg__io(sqe, 0);
	res = spg__fault(SPG__FAULT_REFUSE);
	if (spg__likely(res == 0))
		res = spg__io(sqe, 0);
	return spg__unlikely(is_refusal(res)) ? perform_on_pool(sqe, word) : res;
}
