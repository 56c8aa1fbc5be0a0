/*
 * An SQE as a system call.
 *
 * Not to wait, a call on a socket says MSG_DONTWAIT and one on another stream
 * RWF_NOWAIT. Where the kernel takes neither (accept, connect, splice to a socket; read
 * and write on devices without RWF_NOWAIT) it asks poll(2) first, or makes the socket
 * nonblocking for the instant, under a lock that keeps our own calls on the descriptor from
 * taking each other's readiness.
 */
#include "io/call.h"
#include "io/fdkind.h"

#include "coro/fault.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Descriptors share locks: each is held for one call that does not wait. */
#define LOCKS 16u

static pthread_mutex_t locks[LOCKS] = {
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
	PTHREAD_MUTEX_INITIALIZER,
};

static pthread_mutex_t *lock_of(int fd)
{
	return &locks[(unsigned)fd % LOCKS];
}

void spg__perform_forked(void)
{
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_init(&locks[i], NULL);
}

static inline void *pointer(uint64_t value)
{
	return (void *)(uintptr_t)value;
}

static inline int result(long value)
{
	return value < 0 ? -errno : (int)value;
}

/* Events ready now, or 0. */
static unsigned ready_now(int fd, unsigned events)
{
	struct pollfd pollfd = { .fd = fd, .events = (short)events };

	return poll(&pollfd, 1, 0) > 0 ? (unsigned)(unsigned short)pollfd.revents : 0;
}

/* The parts of one read or write. */
struct move {
	const struct iovec *iov;
	int count;
	off_t offset; /* -1: the descriptor's own */
	int flags;
	bool write;
};

static int move_file(int fd, const struct move *m)
{
	/* An offset of -1 is the current position. */
	return result(m->write ? pwritev2(fd, m->iov, m->count, m->offset, m->flags) :
				 preadv2(fd, m->iov, m->count, m->offset, m->flags));
}

static int move_socket(int fd, const struct move *m, bool nonblocking)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)m->iov, .msg_iovlen = (size_t)m->count };
	int flags = nonblocking || (m->flags & RWF_NOWAIT) ? MSG_DONTWAIT : 0;

	if (m->offset >= 0)
		return -ESPIPE;
	return result(m->write ? sendmsg(fd, &msg, flags | MSG_NOSIGNAL) : recvmsg(fd, &msg, flags));
}

/* When poll says ready there is room for PIPE_BUF bytes, or something to read. */
static int move_polled(int fd, const struct move *m)
{
	struct move piece = *m;
	struct iovec first;
	int res;

	piece.flags &= ~RWF_NOWAIT;
	if (m->write && m->count > 0) {
		/* The first part that is not empty, and no more than fits. */
		while (piece.count > 1 && piece.iov->iov_len == 0) {
			piece.iov++;
			piece.count--;
		}
		first = piece.iov[0];
		if (first.iov_len > PIPE_BUF)
			first.iov_len = PIPE_BUF;
		piece.iov = &first;
		piece.count = 1;
	}
	pthread_mutex_lock(lock_of(fd));
	res = ready_now(fd, m->write ? POLLOUT : POLLIN) != 0 ? move_file(fd, &piece) : -EAGAIN;
	pthread_mutex_unlock(lock_of(fd));
	return res;
}

static int move(int fd, const struct move *m, bool nonblocking)
{
	struct move nowait = *m;
	int res;

	enum spg__fdkind kind = spg__fdkind_now(fd);

	if (kind == SPG__FDKIND_SOCKET)
		return move_socket(fd, m, nonblocking);
	if (!nonblocking || !spg__fdkind_waits(kind))
		return move_file(fd, m);
	nowait.flags |= RWF_NOWAIT;
	res = move_file(fd, &nowait);
	return res == -EOPNOTSUPP ? move_polled(fd, m) : res;
}

static int perform_move(const struct io_uring_sqe *sqe, bool nonblocking)
{
	struct iovec one = { .iov_base = pointer(sqe->addr), .iov_len = sqe->len };
	bool vectored = sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;
	struct move m = {
		.iov = vectored ? pointer(sqe->addr) : &one,
		.count = vectored ? (int)sqe->len : 1,
		.offset = (off_t)sqe->off,
		.flags = sqe->rw_flags,
		.write = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV,
	};

	return move(sqe->fd, &m, nonblocking);
}

static int perform_message(const struct io_uring_sqe *sqe, bool nonblocking)
{
	int flags = (int)sqe->msg_flags | (nonblocking ? MSG_DONTWAIT : 0);
	void *addr = pointer(sqe->addr);

	switch (sqe->opcode) {
	case IORING_OP_SENDMSG:
		return result(sendmsg(sqe->fd, addr, flags | MSG_NOSIGNAL));
	case IORING_OP_RECVMSG:
		return result(recvmsg(sqe->fd, addr, flags));
	case IORING_OP_SEND:
		return result(sendto(sqe->fd, addr, sqe->len, flags | MSG_NOSIGNAL, pointer(sqe->addr2),
				     sqe->addr_len));
	default:
		return result(recv(sqe->fd, addr, sqe->len, flags));
	}
}

/* What cannot have connections says so at once. */
static bool is_listening(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value != 0;
}

static int perform_accept(const struct io_uring_sqe *sqe, bool nonblocking)
{
	int res = -EAGAIN;

	if (!nonblocking)
		return result(accept4(sqe->fd, pointer(sqe->addr), pointer(sqe->addr2), (int)sqe->accept_flags));
	/* A connection that poll saw stays in the queue until somebody accepts it. */
	pthread_mutex_lock(lock_of(sqe->fd));
	if (ready_now(sqe->fd, POLLIN) != 0 || !is_listening(sqe->fd))
		res = result(accept4(sqe->fd, pointer(sqe->addr), pointer(sqe->addr2), (int)sqe->accept_flags));
	pthread_mutex_unlock(lock_of(sqe->fd));
	return res;
}

static int perform_connect(const struct io_uring_sqe *sqe, bool nonblocking)
{
	const struct sockaddr *addr = pointer(sqe->addr);
	socklen_t len = (socklen_t)sqe->off;
	int flags = nonblocking ? fcntl(sqe->fd, F_GETFL) : 0, res;

	if (flags < 0)
		return -errno;
	if (!nonblocking || (flags & O_NONBLOCK))
		return result(connect(sqe->fd, addr, len));
	pthread_mutex_lock(lock_of(sqe->fd));
	(void)fcntl(sqe->fd, F_SETFL, flags | O_NONBLOCK);
	res = result(connect(sqe->fd, addr, len));
	(void)fcntl(sqe->fd, F_SETFL, flags);
	pthread_mutex_unlock(lock_of(sqe->fd));
	return res;
}

static int perform_poll(const struct io_uring_sqe *sqe, bool nonblocking)
{
	uint32_t events = sqe->poll32_events;
	struct pollfd pollfd = { .fd = sqe->fd };
	int n;

#if __BYTE_ORDER == __BIG_ENDIAN
	events = events << 16 | events >> 16; /* as liburing stores it */
#endif
	pollfd.events = (short)events;
	n = poll(&pollfd, 1, nonblocking ? 0 : -1);
	if (n <= 0)
		return n < 0 ? -errno : -EAGAIN;
	return pollfd.revents & POLLNVAL ? -EBADF : (int)(unsigned short)pollfd.revents;
}

static int perform_splice(const struct io_uring_sqe *sqe, unsigned flags)
{
	off64_t in = (off64_t)sqe->splice_off_in, out = (off64_t)sqe->off;

	return result(splice(sqe->splice_fd_in, in != -1 ? &in : NULL, sqe->fd, out != -1 ? &out : NULL,
			     sqe->len, flags));
}

static int perform_pipe(const struct io_uring_sqe *sqe, bool nonblocking)
{
	unsigned flags = sqe->splice_flags | (nonblocking ? SPLICE_F_NONBLOCK : 0);
	int out_flags, res;

	if (sqe->opcode == IORING_OP_TEE)
		return result(tee(sqe->splice_fd_in, sqe->fd, sqe->len, flags));
	if (!nonblocking || spg__fdkind_now(sqe->fd) != SPG__FDKIND_SOCKET)
		return perform_splice(sqe, flags);
	/* A socket knows its own flag only. */
	out_flags = fcntl(sqe->fd, F_GETFL);
	if (out_flags < 0 || (out_flags & O_NONBLOCK))
		return perform_splice(sqe, flags);
	pthread_mutex_lock(lock_of(sqe->fd));
	(void)fcntl(sqe->fd, F_SETFL, out_flags | O_NONBLOCK);
	res = perform_splice(sqe, flags);
	(void)fcntl(sqe->fd, F_SETFL, out_flags);
	pthread_mutex_unlock(lock_of(sqe->fd));
	return res;
}

static int perform_path(const struct io_uring_sqe *sqe)
{
	const char *path = pointer(sqe->addr), *path2 = pointer(sqe->addr2);

	switch (sqe->opcode) {
	case IORING_OP_OPENAT:
		return result(openat(sqe->fd, path, (int)sqe->open_flags, (mode_t)sqe->len));
	case IORING_OP_STATX:
		return result(statx(sqe->fd, path, (int)sqe->statx_flags, sqe->len, pointer(sqe->off)));
	case IORING_OP_MKDIRAT:
		return result(mkdirat(sqe->fd, path, (mode_t)sqe->len));
	case IORING_OP_UNLINKAT:
		return result(unlinkat(sqe->fd, path, (int)sqe->unlink_flags));
	case IORING_OP_RENAMEAT:
		return result(renameat2(sqe->fd, path, (int)sqe->len, path2, sqe->rename_flags));
	case IORING_OP_LINKAT:
		return result(linkat(sqe->fd, path, (int)sqe->len, path2, (int)sqe->hardlink_flags));
	case IORING_OP_SYMLINKAT:
		return result(symlinkat(path, sqe->fd, path2));
	default:
		return -EOPNOTSUPP;
	}
}

static int perform_file(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_FSYNC:
		return result(sqe->fsync_flags & IORING_FSYNC_DATASYNC ? fdatasync(sqe->fd) : fsync(sqe->fd));
	case IORING_OP_SYNC_FILE_RANGE:
		return result(sync_file_range(sqe->fd, (off64_t)sqe->off, sqe->len, sqe->sync_range_flags));
	case IORING_OP_FALLOCATE:
		return result(fallocate(sqe->fd, (int)sqe->len, (off_t)sqe->off, (off_t)sqe->addr));
	case SPG__OP_FTRUNCATE:
		return result(ftruncate(sqe->fd, (off_t)sqe->off));
	case IORING_OP_FADVISE:
		return -posix_fadvise(sqe->fd, (off_t)sqe->off, (off_t)sqe->len, (int)sqe->fadvise_advice);
	case IORING_OP_FGETXATTR:
		return result(fgetxattr(sqe->fd, pointer(sqe->addr), pointer(sqe->addr2), sqe->len));
	case IORING_OP_FSETXATTR:
		return result(fsetxattr(sqe->fd, pointer(sqe->addr), pointer(sqe->addr2), sqe->len,
					(int)sqe->xattr_flags));
	case IORING_OP_CLOSE:
		return result(close(sqe->fd));
	default:
		return perform_path(sqe);
	}
}

int spg__perform(const struct io_uring_sqe *sqe, bool nonblocking)
{
	int err = spg__fault(SPG__FAULT_FAIL);

	if (spg__unlikely(err < 0))
		return err;
	/* Registered files and provided buffers are the ring's. */
	if (sqe->flags & (IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT))
		return -EOPNOTSUPP;
	switch (sqe->opcode) {
	case IORING_OP_NOP:
		return 0;
	case IORING_OP_READ:
	case IORING_OP_WRITE:
	case IORING_OP_READV:
	case IORING_OP_WRITEV:
		return perform_move(sqe, nonblocking);
	case IORING_OP_SEND:
	case IORING_OP_RECV:
	case IORING_OP_SENDMSG:
	case IORING_OP_RECVMSG:
		return perform_message(sqe, nonblocking);
	case IORING_OP_ACCEPT:
		return perform_accept(sqe, nonblocking);
	case IORING_OP_CONNECT:
		return perform_connect(sqe, nonblocking);
	case IORING_OP_SOCKET:
		return result(socket(sqe->fd, (int)sqe->off, (int)sqe->len));
	case IORING_OP_SHUTDOWN:
		return result(shutdown(sqe->fd, (int)sqe->len));
	case IORING_OP_POLL_ADD:
		return perform_poll(sqe, nonblocking);
	case IORING_OP_SPLICE:
	case IORING_OP_TEE:
		return perform_pipe(sqe, nonblocking);
	case IORING_OP_MADVISE:
		return result(madvise(pointer(sqe->addr), sqe->len, (int)sqe->fadvise_advice));
	case SPG__OP_WAITID:
		return result(syscall(SYS_waitid, sqe->len, sqe->fd, pointer(sqe->addr2), sqe->file_index, NULL));
	default:
		return perform_file(sqe);
	}
}
