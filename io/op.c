#include "io/op.h"

#include "coro/usdt.h"
#include "io/fdtab.h"
#include "sched/trace.h"

/* An SQE, however long it takes: a full queue makes the caller wait its turn (never fail). */
static void take_sqe(struct spg__op *op)
{
	for (;;) {
		struct spg__shard *shard = spg__shard_self();

		op->ring = spg__ring_of(shard);
		op->sqe = spg__ring_sqe(op->ring);
		if (spg__likely(op->sqe != NULL))
			return;
		/* The loop reaps, which lets the kernel take more. */
		spg__coro_yield();
	}
}

static int begin(struct spg__op *op, int fd)
{
	int err;

	take_sqe(op);
	err = spg__fdtab_enter(op->ring->fd_inflight, fd);
	if (spg__unlikely(err < 0)) {
		/* The SQE is taken: it goes as a no-op. */
		io_uring_prep_nop(op->sqe);
		op->sqe->user_data = SPG__UD_IGNORE;
		spg__wait_end(&op->wait);
		return err;
	}
	op->fd = fd;
	op->coro = spg__coro_of(op->wait.waiter);
	op->coro->op = op;
	/* relaxed, O1: the park orders it. */
	atomic_store_explicit(&op->coro->op_shard, (int16_t)op->ring->shard->id, memory_order_relaxed);
	/* relaxed: published to nobody before the CQE. */
	atomic_store_explicit(&op->res, SPG__OP_PENDING, memory_order_relaxed);
	return 0;
}

int spg__op_begin(struct spg__op *op, int fd, unsigned opcode)
{
	int err = spg__wait_begin(&op->wait, SPG__REASON_IO, spg__op_object(fd, opcode));

	return spg__unlikely(err < 0) ? err : begin(op, fd);
}

/* Asks the ring to end the operation (O3). On its own shard: O1. */
static spg__noinline void cancel(struct spg__op *op)
{
	struct spg__shard *shard = spg__shard_self();
	struct io_uring_sqe *sqe;

	/* A permit that found it completed sent us elsewhere: the result is being stored. */
	if (shard != op->ring->shard)
		return;
	while ((sqe = spg__ring_sqe(op->ring)) == NULL) {
		spg__coro_yield();
		if (atomic_load_explicit(&op->res, memory_order_acquire) != SPG__OP_PENDING)
			return;
	}
	io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
	sqe->user_data = SPG__UD_IGNORE;
	spg__count(&shard->counters.cancels);
	if (spg__trace_any(shard))
		spg__trace_put_any(shard, SPG__TRACE_CANCEL, (uint64_t)(uintptr_t)op, 0);
}

/* O3 */
static spg__noinline void cancel_and_await(struct spg__op *op)
{
	int64_t pause_ns = SPG__CANCEL_AGAIN_NS;

	cancel(op);
	/* acquire [O2]: pairs with spg__op_complete. */
	while (atomic_load_explicit(&op->res, memory_order_acquire) == SPG__OP_PENDING) {
		if (spg__wait_park_for(&op->wait, pause_ns))
			continue;
		cancel(op);
		pause_ns = spg__cancel_again_next(pause_ns);
	}
}

/* Waits for the CQE; the first end of the context asks for it. Returns that end's error, or 0. */
static int await(struct spg__op *op)
{
	/* acquire [O2]: pairs with spg__op_complete. */
	while (atomic_load_explicit(&op->res, memory_order_acquire) == SPG__OP_PENDING) {
		int err = spg__wait_park(&op->wait);

		if (spg__likely(err == 0))
			continue;
		cancel_and_await(op);
		return err;
	}
	return 0;
}

/* Of the kernel's own, -ERESTARTSYS to -ERESTART_RESTARTBLOCK: some operations let it through. */
#define RESTART_MIN 512
#define RESTART_MAX 517

/* A worker thread of the kernel was interrupted: that is how they are canceled. */
static bool interrupted(int res)
{
	return res == -EINTR || (res <= -RESTART_MIN && res >= -RESTART_MAX);
}

/* O4: who ended it, the context or nobody. What spg_close ended is -ECANCELED already. */
static spg__noinline int failed(struct spg__op *op, int res, int ended)
{
	/* A kick may have asked for the cancel in our place (sched/watchdog.h, D8). */
	if (ended == 0 && (res == -ECANCELED || interrupted(res)))
		ended = spg__wait_check(&op->wait);
	if (interrupted(res))
		res = ended < 0 ? -ECANCELED : -EINTR;
	return res == -ECANCELED && ended < 0 ? ended : res;
}

int spg__op_wait(struct spg__op *op)
{
	int ended, res;

	op->sqe->user_data = (uint64_t)(uintptr_t)op;
	SPG__PROBE3(op_submit, op, op->sqe->opcode, op->sqe->fd);
	spg__ring_trace(op->ring, op->sqe);
	spg__ring_begun(op->ring);
	spg__ring_filled(op->ring);
	ended = await(op);
	res = atomic_load_explicit(&op->res, memory_order_relaxed);
	if (spg__unlikely(res < 0))
		res = failed(op, res, ended);
	spg__wait_end(&op->wait);
	return res;
}

bool spg__op_over(const struct spg__coro *coro)
{
	const struct spg__op *op = coro->op;

	return spg__wait_over(&op->wait);
}

/* O2: the store to res is the last access; the op's stack may be gone. */
void spg__op_complete(struct spg__op *op, int32_t res, uint32_t flags)
{
	struct spg__coro *coro = op->coro; /* before the store: O2 */
	struct spg__ring *ring = op->ring;

	SPG_CHECK(res != SPG__OP_PENDING);
	/* Looked at before the closer may go on: the number is another's after that. */
	if (spg__unlikely(res < 0) && interrupted(res) && (spg__fdtab_word(op->fd) & 1))
		res = -ECANCELED;
	SPG__PROBE3(op_complete, op, coro->id, res);
	op->flags = flags;
	spg__fdtab_leave(ring->fd_inflight, op->fd);
	spg__ring_ended(ring);
	/* relaxed: nothing is in flight any more; from here on it may be stolen. */
	atomic_store_explicit(&coro->op_shard, -1, memory_order_relaxed);
	/* release [O2]: pairs with the acquire in await(). */
	atomic_store_explicit(&op->res, res, memory_order_release);
	spg__unpark_completed(coro);
}
