/*
 * Sockets.
 */
#include "io/call.h"

#include "coro/fault.h"
#include "coro/leak.h"
#include "io/fdtab.h"

#include <spg/io.h>

/* A fault makes moves short, as a signal or a full buffer may. */
static inline unsigned move_len(size_t len)
{
	return spg__unlikely(len > 1 && spg__fault(SPG__FAULT_SHORT) < 0) ? 1 : spg__io_len(len);
}

static int recv_once(int fd, void *buf, size_t len, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_RECV, fd, buf, move_len(len), 0);
	sqe.msg_flags = (uint32_t)flags;
	return spg__io(&sqe, flags & MSG_DONTWAIT ? 0 : POLLIN);
}

/*
 * Sends never wait inside the kernel: io_uring's second try of a datagram to a full unix
 * socket sends what the first one left of it, which is nothing (Linux 6.18, io_send and
 * io_sendmsg: unix_dgram_sendmsg has consumed the iterator). -EAGAIN comes to us.
 */
static int send_sqe(struct io_uring_sqe *sqe, int flags)
{
	sqe->msg_flags = (uint32_t)flags | MSG_NOSIGNAL | MSG_DONTWAIT;
	return spg__io(sqe, flags & MSG_DONTWAIT ? 0 : POLLOUT);
}

/* May MSG_WAITALL go on after a short receive? On the ring it has done so already. */
static bool waits_for_all(int fd, int flags)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return (flags & MSG_WAITALL) != 0 && (flags & (MSG_DONTWAIT | MSG_PEEK)) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

ssize_t spg_recv(int fd, void *buf, size_t len, int flags)
{
	uint32_t word = spg__unlikely((flags & MSG_WAITALL) != 0) ? spg__fdtab_word(fd) : 0;
	ssize_t got = recv_once(fd, buf, len, flags);
	struct spg__hold hold;
	size_t done;

	if (spg__likely((flags & MSG_WAITALL) == 0) || got <= 0 || (size_t)got == len)
		return got;
	done = (size_t)got;
	if (spg__hold(&hold, fd, word) < 0)
		return got;
	if (waits_for_all(fd, flags)) {
		for (; done < len && got > 0; done += got > 0 ? (size_t)got : 0)
			got = recv_once(fd, (char *)buf + done, len - done, flags);
	}
	spg__unhold(&hold, 0);
	return (ssize_t)done;
}

ssize_t spg_send(int fd, const void *buf, size_t len, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_SEND, fd, buf, move_len(len), 0);
	return send_sqe(&sqe, flags);
}

ssize_t spg_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_RECVMSG, fd, msg, 1, 0);
	sqe.msg_flags = (uint32_t)flags;
	if (flags & MSG_DONTWAIT)
		return spg__io(&sqe, 0);
	/* Errors wait in a queue of their own. */
	return spg__io(&sqe, flags & MSG_ERRQUEUE ? POLLERR : POLLIN);
}

ssize_t spg_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_SENDMSG, fd, msg, 1, 0);
	return send_sqe(&sqe, flags);
}

ssize_t spg_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *addr_len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = move_len(len) };
	struct msghdr msg = { .msg_name = addr, .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t got;

	if (addr == NULL)
		return spg_recv(fd, buf, len, flags);
	if (addr_len == NULL)
		return -EFAULT;
	msg.msg_namelen = *addr_len;
	got = spg_recvmsg(fd, &msg, flags);
	if (got >= 0)
		*addr_len = msg.msg_namelen;
	return got;
}

ssize_t spg_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr, socklen_t addr_len)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = spg__io_len(len) };
	struct msghdr msg = {
		.msg_name = (void *)addr, .msg_namelen = addr_len, .msg_iov = &iov, .msg_iovlen = 1
	};

	return addr != NULL ? spg_sendmsg(fd, &msg, flags) : spg_send(fd, buf, len, flags);
}

int spg_accept4(int fd, struct sockaddr *addr, socklen_t *addr_len, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_ACCEPT, fd, addr, 0, (uint64_t)(uintptr_t)addr_len);
	sqe.accept_flags = (uint32_t)flags;
	return spg__leak_opened(spg__io(&sqe, POLLIN), __builtin_return_address(0));
}

int spg_accept(int fd, struct sockaddr *addr, socklen_t *addr_len)
{
	return spg__leak_opened(spg_accept4(fd, addr, addr_len, 0), __builtin_return_address(0));
}

/* The handshake goes on by itself: its end makes the socket writable. */
static int await_handshake(int fd)
{
	int err = spg__io_ready(fd, POLLOUT), value = 0;
	socklen_t len = sizeof(value);

	if (err < 0)
		return err;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) < 0)
		return -errno;
	return -value;
}

/* The second call finds it done, and the socket knows that it is connected. */
static int finish_connect(const struct io_uring_sqe *sqe)
{
	int err;

	do {
		err = await_handshake(sqe->fd);
		if (err == 0)
			err = spg__io(sqe, POLLOUT);
	} while (err == -EINPROGRESS || err == -EALREADY);
	return err == -EISCONN ? 0 : err;
}

int spg_connect(int fd, const struct sockaddr *addr, socklen_t addr_len)
{
	struct io_uring_sqe sqe;
	uint32_t word = spg__fdtab_word(fd);
	struct spg__hold hold;
	int err;

	spg__io_prep(&sqe, IORING_OP_CONNECT, fd, addr, 0, addr_len);
	err = spg__io(&sqe, POLLOUT);
	if (err != -EINPROGRESS)
		return err;
	err = spg__hold(&hold, fd, word);
	return err < 0 ? err : spg__unhold(&hold, finish_connect(&sqe));
}

int spg_shutdown(int fd, int how)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_SHUTDOWN, fd, NULL, (unsigned)how, 0);
	return spg__io(&sqe, 0);
}

int spg_socket(int domain, int type, int protocol)
{
	int err = spg__io_entry(), fd;

	if (err < 0)
		return err;
	fd = socket(domain, type, protocol); /* it never waits: cheaper than by the ring */
	return fd < 0 ? -errno : spg__leak_opened(fd, __builtin_return_address(0));
}
