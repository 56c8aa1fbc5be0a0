/*
 * A blocking call as an SQE: every spg_<name> prepares one and runs it here.
 *
 *   a coroutine, operation usable      on the ring (io/op.h)
 *   a coroutine, operation missing     as a system call: nonblocking and POLL_ADD where
 *                                      `events` says what to wait for, else on the pool
 *   a foreign thread                   as a system call, waiting in ppoll (io/foreign.c)
 *
 * `events` also covers O_NONBLOCK descriptors: the kernel answers -EAGAIN instead of
 * waiting, so the call waits for the event and tries again.
 */
#ifndef SPG__IO_CALL_H
#define SPG__IO_CALL_H

#include "io/op.h"

#include <poll.h>
#include <string.h>

/* The kernel's own limit of one read or write: read(2). */
#define SPG__IO_BYTES_MAX 0x7ffff000u
#define SPG__OFF_CURRENT ((uint64_t)-1)

/* Runs the SQE; events 0: -EAGAIN is the result, not a reason to wait. The CQE's result, or the context's error. */
int spg__io(const struct io_uring_sqe *sqe, unsigned events);

/* The same with a deadline of the caller's own: -ETIMEDOUT (spg__waiter_err tells whose it was). */
int spg__io_until(const struct io_uring_sqe *sqe, unsigned events, int64_t when_ns);

/*
 * A call on a path. What the ring refuses (-EINVAL, -ENOSYS, -EOPNOTSUPP) is done, or refused for
 * good, by the system call on the pool.
 */
int spg__io_path(const struct io_uring_sqe *sqe);

/* Waits until fd is ready for one of the events: the revents, or an error. */
int spg__io_ready(int fd, unsigned events);

/* io/perform.c: the SQE as a system call: its value or -errno. nonblocking: -EAGAIN instead of waiting. */
int spg__perform(const struct io_uring_sqe *sqe, bool nonblocking);

/* In a child of fork: whoever held its locks is not here. */
void spg__perform_forked(void);

/* io/foreign.c: the SQE on a foreign thread. */
int spg__foreign_io(const struct io_uring_sqe *sqe, unsigned events, int64_t when_ns);

/* The descriptor spg_close watches; -1: the SQE's fd is none, or something else. */
int spg__io_fd(const struct io_uring_sqe *sqe);

/*
 * A pause between two tries, longer with each up to 16 ms: for what has no readiness to
 * wait for. Ends early with the wait's context. 0, or its error.
 */
int spg__io_pause(unsigned tries);

/* For calls that never wait: 0, or what ends calls on entry. */
int spg__io_entry(void);

/* The counts of calls in flight of whoever calls: its shard's, or the foreign threads'. NULL: no memory. */
_Atomic uint16_t *spg__io_counts(void);

/*
 * A call of several steps: between two of them its descriptor is counted (F6), so that the
 * number stays its own until it hears of a close. A step that waits for another descriptor
 * holds nothing: it would keep the closer waiting.
 */
struct spg__hold {
	_Atomic uint16_t *counts;
	uint32_t word;
	int fd;
};

/* word: the descriptor's when the call began. 0, -ECANCELED: closed since then, or -ENOMEM. */
int spg__hold(struct spg__hold *hold, int fd, uint32_t word);
/* Lets go. Returns the step's result: -ECANCELED for one that found the descriptor closing. */
int spg__unhold(const struct spg__hold *hold, int res);

static inline unsigned spg__io_len(size_t len)
{
	return len < SPG__IO_BYTES_MAX ? (unsigned)len : SPG__IO_BYTES_MAX;
}

/* The fields that most operations have; the others are 0. */
static inline void spg__io_prep(struct io_uring_sqe *sqe, unsigned op, int fd, const void *addr, unsigned len,
				uint64_t offset)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->fd = fd;
	sqe->off = offset;
	sqe->addr = (uint64_t)(uintptr_t)addr;
	sqe->len = len;
}

#endif
