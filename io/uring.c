#include "io/call.h"

#include "sched/cancel.h"

#include <spg/io.h>

/* Parts of a chain, completions that do not come, buffers from groups nobody has. */
#define FLAGS_REFUSED                                                                              \
	(IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN | IOSQE_CQE_SKIP_SUCCESS | IOSQE_BUFFER_SELECT)

/* Completions that come again, and messages that put any user_data they like into a ring. */
static bool refused(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_ACCEPT:
		return (sqe->ioprio & IORING_ACCEPT_MULTISHOT) != 0;
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
		return (sqe->ioprio & IORING_RECV_MULTISHOT) != 0;
	case IORING_OP_POLL_ADD:
		return (sqe->len & (IORING_POLL_ADD_MULTI | IORING_POLL_UPDATE_EVENTS |
				    IORING_POLL_UPDATE_USER_DATA)) != 0;
	case IORING_OP_TIMEOUT:
		return (sqe->timeout_flags & SPG__TIMEOUT_MULTISHOT) != 0;
	case IORING_OP_LINK_TIMEOUT:
	case IORING_OP_SEND_ZC:
	case IORING_OP_SENDMSG_ZC:
	case IORING_OP_MSG_RING:
	case IORING_OP_POLL_REMOVE:
	case SPG__OP_READ_MULTISHOT:
	case SPG__OP_RECV_ZC:
		return true;
	default:
		return false;
	}
}

/* What a missing operation may have to wait for. */
static unsigned events_of(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
	case IORING_OP_ACCEPT:
		return POLLIN;
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
	case IORING_OP_SEND:
	case IORING_OP_SENDMSG:
	case IORING_OP_CONNECT:
		return POLLOUT;
	default:
		return 0;
	}
}

static int run(const struct io_uring_sqe *sqe, uint32_t *cqe_flags)
{
	struct spg__op op;
	int res;

	if (!spg__op_usable(sqe->opcode)) {
		*cqe_flags = 0;
		return spg__io(sqe, events_of(sqe));
	}
	res = spg__op_begin(&op, spg__io_fd(sqe), sqe->opcode);
	if (res < 0)
		return res;
	*op.sqe = *sqe;
	res = spg__op_wait(&op);
	*cqe_flags = op.flags;
	return res;
}

/* A foreign thread's operation, run by a coroutine. Lives on the thread's frame. */
struct delegate {
	const struct io_uring_sqe *sqe;
	struct spg__waiter *waiter;
	uint32_t flags;
	int res;
	_Atomic bool done;
};

static void delegate_main(void *arg)
{
	struct delegate *delegate = arg;
	struct spg__waiter *waiter = delegate->waiter;

	delegate->res = run(delegate->sqe, &delegate->flags);
	/* release: the result; the last access. */
	atomic_store_explicit(&delegate->done, true, memory_order_release);
	spg__unpark(waiter);
}

/* The thread's current context and nearest deadline, as one node. NULL: no memory. */
static struct spg__ctx *thread_ctx(struct spg__waiter *w)
{
	struct spg__ctx *parent = w->canceler;

	/* In a shield, or never canceled: it still ends with the runtime. */
	if (parent == NULL || parent == spg__ctx_background())
		parent = spg__ctx_root();
	return spg__ctx_create(parent, spg__waiter_deadline(w));
}

static int on_runtime(const struct io_uring_sqe *sqe, uint32_t *cqe_flags)
{
	struct delegate delegate = { .sqe = sqe };
	struct spg__spawn spawn = { .kind = SPG__KIND_FN, .fn = delegate_main, .arg = &delegate, .name = "uring" };
	struct spg__wait wait;
	int err = spg__io_entry();

	if (err < 0)
		return err;
	/* What ends the operation is the coroutine's context; the thread waits for its end. */
	err = spg__wait_begin_uncancelable(&wait, SPG__REASON_CALL, NULL);
	if (err < 0)
		return err;
	delegate.waiter = wait.waiter;
	spawn.stack_class = (unsigned)spg__stack_class(0);
	spawn.creator = __builtin_return_address(0);
	spawn.ctx = thread_ctx(wait.waiter);
	err = spawn.ctx != NULL ? spg__coro_spawn(&spawn) : -ENOMEM;
	if (err < 0 && spawn.ctx != NULL)
		spg__ctx_drop(spawn.ctx);
	/* acquire: pairs with delegate_main. */
	while (err == 0 && !atomic_load_explicit(&delegate.done, memory_order_acquire))
		(void)spg__wait_park(&wait);
	spg__wait_end(&wait);
	if (err < 0)
		return err;
	*cqe_flags = delegate.flags;
	return delegate.res;
}

int spg_uring(void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg, uint32_t *cqe_flags)
{
	struct io_uring_sqe sqe;
	uint32_t flags = 0;
	int res;

	if (prep == NULL)
		return -EINVAL;
	memset(&sqe, 0, sizeof(sqe));
	prep(&sqe, arg);
	if ((sqe.flags & FLAGS_REFUSED) != 0 || refused(&sqe))
		return -EINVAL;
	res = spg__coro_self() != NULL ? run(&sqe, &flags) : on_runtime(&sqe, &flags);
	if (cqe_flags != NULL)
		*cqe_flags = flags;
	return res;
}
