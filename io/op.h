/*
 * An operation: an SQE on the ring of the shard the coroutine runs on, a park, a CQE.
 *
 * O1  From spg__op_begin to its end the coroutine belongs to that shard (op_shard).
 * O2  The store to res is the completer's last access; the op's stack may be gone.
 * O3  spg__op_wait returns after the final CQE only: a canceled operation is asked to
 *     end, by an SQE behind its own, and then waited for like any other.
 *     A cancel misses what is on its way from one of the kernel's queues to another:
 *     it is sent again and again, at growing distances.
 * O4  The target's CQE decides: data that came wins over the cancel.
 * O5  Its user_data names the op's address; no other operation can have it before the
 *     CQE, and a cancel that comes too late finds nothing: the ring keeps their order.
 */
#ifndef SPG__IO_OP_H
#define SPG__IO_OP_H

#include "io/ring.h"
#include "sched/wait.h"

#define SPG__OP_PENDING INT32_MIN

/* O3: when a cancel is sent again; each time after twice as long. */
#define SPG__CANCEL_AGAIN_NS 1000000
#define SPG__CANCEL_AGAIN_NS_MAX (128 * SPG__CANCEL_AGAIN_NS)

static inline int64_t spg__cancel_again_next(int64_t ns)
{
	return ns < SPG__CANCEL_AGAIN_NS_MAX ? 2 * ns : ns;
}

struct spg__op {
	alignas(16) _Atomic int32_t res;
	uint32_t flags;
	struct spg__coro *coro;
	struct io_uring_sqe *sqe;
	struct spg__ring *ring;
	int fd;
	struct spg__wait wait;
};

/*
 * What an operation waits on, for dumps: its descriptor, or -1, and its opcode, in one word.
 * Opcode 0 is a no-op: it stands for "some operation".
 */
static inline const void *spg__op_object(int fd, unsigned opcode)
{
	return (const void *)((uintptr_t)opcode << 32 | (uint32_t)fd);
}

static inline int spg__op_object_fd(const void *object)
{
	return (int)(uint32_t)(uintptr_t)object;
}

static inline unsigned spg__op_object_opcode(const void *object)
{
	return (unsigned)((uintptr_t)object >> 32);
}

/*
 * 0: op->sqe is yours to prepare, and spg__op_wait must follow. Else the context's
 * error, or -EBADF: fd is being closed. fd -1: none. The opcode is for dumps. The caller is
 * a coroutine.
 */
int spg__op_begin(struct spg__op *op, int fd, unsigned opcode);

/* The CQE's result; -ECANCELED or -ETIMEDOUT when the context ended it. */
int spg__op_wait(struct spg__op *op);

/*
 * Is the operation of this coroutine to be canceled, by its context or its deadline? The caller
 * holds the coroutine: op_shard says that it has one, and it cannot run meanwhile.
 */
bool spg__op_over(const struct spg__coro *coro);

/* The shard that reaps. */
void spg__op_complete(struct spg__op *op, int32_t res, uint32_t flags);

#endif
