/* Cases of the calls that read, write, connect and wait. Part of io_calls.h. */
#ifndef SPG__TEST_IO_CALLS_STREAM_H
#define SPG__TEST_IO_CALLS_STREAM_H

#include "io_env.h"

#include <poll.h>

/* read and write */

static ssize_t read_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n;

	put(e->pipe[1], "abc");
	n = spg_read(e->pipe[0], buf, sizeof(buf));
	WORKED(n);
	expect(buf, "abc");
	return n;
}
static ssize_t read_bad(struct env *e) { return spg_read(e->pipe[1], (char[1]){ 0 }, 1); }
static ssize_t read_eof(struct env *e) { return spg_read(e->ended, (char[8]){ 0 }, 8); }
static ssize_t read_wait(struct env *e) { return spg_read(e->pipe[0], (char[8]){ 0 }, 8); }

static ssize_t write_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_write(e->pipe[1], "abcd", 4);

	WORKED(n);
	T_EQ(read(e->pipe[0], buf, sizeof(buf)), 4);
	expect(buf, "abcd");
	return n;
}
static ssize_t write_bad(struct env *e) { return spg_write(e->broken, "x", 1); }
static ssize_t write_wait(struct env *e) { return spg_write(e->full[1], "x", 1); }

static ssize_t pread_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_pread(e->file, buf, 4, 3);

	WORKED(n);
	expect(buf, "3456");
	return n;
}
static ssize_t pread_bad(struct env *e) { return spg_pread(e->pipe[0], (char[1]){ 0 }, 1, 0); }
static ssize_t pread_eof(struct env *e) { return spg_pread(e->file, (char[8]){ 0 }, 8, 10); }

static ssize_t pwrite_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_pwrite(e->file, "xyz", 3, 4);

	WORKED(n);
	T_EQ(pread(e->file, buf, 8, 2), 8);
	expect(buf, "23xyz789");
	return n;
}
static ssize_t pwrite_bad(struct env *e) { return spg_pwrite(e->file, "x", 1, -1); }

/* Of the cases that look at the bytes: one at a time. The others have theirs on the stack. */
static char iov_a[4], iov_b[4];
static struct iovec *two(const char *text)
{
	static struct iovec iov[2] = { { iov_a, 2 }, { iov_b, 4 } };

	memset(iov_a, 0, sizeof(iov_a));
	memset(iov_b, 0, sizeof(iov_b));
	if (text != NULL) {
		memcpy(iov_a, text, 2);
		memcpy(iov_b, text + 2, 4);
	}
	return iov;
}

static ssize_t readv_good(struct env *e)
{
	ssize_t n;

	put(e->pipe[1], "abcdef");
	n = spg_readv(e->pipe[0], two(NULL), 2);
	WORKED(n);
	expect(iov_a, "ab");
	expect(iov_b, "cdef");
	return n;
}
static ssize_t readv_on(int fd, int count)
{
	char buf[8];
	struct iovec iov[2] = { { buf, 2 }, { buf + 2, 6 } };

	return spg_readv(fd, iov, count);
}
static ssize_t readv_bad(struct env *e) { return readv_on(e->pipe[0], -1); }
static ssize_t readv_eof(struct env *e) { return readv_on(e->ended, 2); }
static ssize_t readv_wait(struct env *e) { return readv_on(e->pipe[0], 2); }

static ssize_t writev_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_writev(e->pipe[1], two("uvwxyz"), 2);

	WORKED(n);
	T_EQ(read(e->pipe[0], buf, sizeof(buf)), 6);
	expect(buf, "uvwxyz");
	return n;
}
static ssize_t writev_on(int fd)
{
	char buf[8] = "abcdef";
	struct iovec iov[2] = { { buf, 2 }, { buf + 2, 4 } };

	return spg_writev(fd, iov, 2);
}
static ssize_t writev_bad(struct env *e) { return writev_on(e->broken); }
static ssize_t writev_wait(struct env *e) { return writev_on(e->full[1]); }

static ssize_t preadv_good(struct env *e)
{
	ssize_t n = spg_preadv(e->file, two(NULL), 2, 1);

	WORKED(n);
	expect(iov_a, "12");
	expect(iov_b, "3456");
	return n;
}
static ssize_t preadv_bad(struct env *e) { return spg_preadv(e->pipe[0], two(NULL), 2, 0); }
static ssize_t preadv_eof(struct env *e) { return spg_preadv(e->file, two(NULL), 2, 100); }

static ssize_t pwritev_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_pwritev(e->file, two("ABCDEF"), 2, 2);

	WORKED(n);
	T_EQ(pread(e->file, buf, 8, 0), 8);
	expect(buf, "01ABCDEF");
	return n;
}
static ssize_t pwritev_bad(struct env *e) { return spg_pwritev(e->file, two("ABCDEF"), 2, -5); }

static ssize_t read_full_good(struct env *e)
{
	char buf[16] = "";
	ssize_t n = spg_read_full(e->file, buf, 10);

	WORKED(n);
	expect(buf, "0123456789");
	return n;
}
static ssize_t read_full_bad(struct env *e) { return spg_read_full(e->pipe[1], (char[1]){ 0 }, 1); }
static ssize_t read_full_eof(struct env *e) { return spg_read_full(e->ended, (char[8]){ 0 }, 8); }
static ssize_t read_full_wait(struct env *e)
{
	put(e->pipe[1], "abc");
	return spg_read_full(e->pipe[0], (char[8]){ 0 }, 8);
}

static ssize_t write_all_good(struct env *e) { return spg_write_all(e->file, "abc", 3); }
static ssize_t write_all_bad(struct env *e) { return spg_write_all(e->broken, "abc", 3); }
static ssize_t write_all_wait(struct env *e)
{
	static char much[1 << 20];

	return spg_write_all(e->pipe[1], much, sizeof(much));
}

/* sockets */

/* The second call would have to wait. */
static ssize_t now_empty(ssize_t second, ssize_t first)
{
	return second == -EAGAIN ? first : second;
}

static ssize_t recv_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n;

	put(e->sock[1], "abc");
	n = spg_recv(e->sock[0], buf, sizeof(buf), 0);
	WORKED(n);
	expect(buf, "abc");
	return now_empty(spg_recv(e->sock[0], buf, 1, MSG_DONTWAIT), n);
}
static ssize_t recv_bad(struct env *e) { return spg_recv(e->file, (char[1]){ 0 }, 1, 0); }
static ssize_t recv_eof(struct env *e) { return spg_recv(e->ended_sock, (char[8]){ 0 }, 8, 0); }
static ssize_t recv_wait(struct env *e) { return spg_recv(e->sock[0], (char[8]){ 0 }, 8, 0); }

static ssize_t send_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_send(e->sock[0], "abc", 3, 0);

	WORKED(n);
	T_EQ(read(e->sock[1], buf, sizeof(buf)), 3);
	expect(buf, "abc");
	return now_empty(spg_send(e->full_sock, buf, 1, MSG_DONTWAIT), n);
}
static ssize_t send_bad(struct env *e) { return spg_send(e->ended_sock, "x", 1, 0); }
static ssize_t send_wait(struct env *e) { return spg_send(e->full_sock, "x", 1, 0); }

static ssize_t recvfrom_good(struct env *e)
{
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	char buf[8] = "";
	ssize_t n;

	put(e->sock[1], "abc");
	n = spg_recvfrom(e->sock[0], buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
	WORKED(n);
	expect(buf, "abc");
	T_OK(len <= sizeof(from));
	return n;
}
static ssize_t recvfrom_bad(struct env *e)
{
	struct sockaddr_un from;

	return spg_recvfrom(e->sock[0], (char[1]){ 0 }, 1, 0, (struct sockaddr *)&from, NULL);
}
static ssize_t recvfrom_eof(struct env *e)
{
	struct sockaddr_un from;
	socklen_t len = sizeof(from);

	return spg_recvfrom(e->ended_sock, (char[8]){ 0 }, 8, 0, (struct sockaddr *)&from, &len);
}
static ssize_t recvfrom_wait(struct env *e) { return spg_recvfrom(e->sock[0], (char[1]){ 0 }, 1, 0, NULL, NULL); }

static ssize_t sendto_good(struct env *e)
{
	ssize_t n = spg_sendto(e->sock[0], "abc", 3, 0, NULL, 0);

	WORKED(n);
	T_EQ(read(e->sock[1], (char[8]){ 0 }, 8), 3);
	return n;
}
static ssize_t sendto_bad(struct env *e)
{
	return spg_sendto(e->sock[0], "x", 1, 0, (struct sockaddr *)&e->listener_name, e->listener_name_len);
}
static ssize_t sendto_wait(struct env *e) { return spg_sendto(e->full_sock, "x", 1, 0, NULL, 0); }

static ssize_t recvmsg_good(struct env *e)
{
	struct msghdr msg = { .msg_iov = two(NULL), .msg_iovlen = 2 };
	ssize_t n;

	put(e->sock[1], "abcdef");
	n = spg_recvmsg(e->sock[0], &msg, 0);
	WORKED(n);
	expect(iov_b, "cdef");
	T_EQ(msg.msg_flags & MSG_TRUNC, 0);
	return n;
}
static ssize_t recvmsg_on(int fd)
{
	char buf[8];
	struct iovec iov[2] = { { buf, 2 }, { buf + 2, 6 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	return spg_recvmsg(fd, &msg, 0);
}
static ssize_t recvmsg_bad(struct env *e) { return recvmsg_on(e->pipe[0]); }
static ssize_t recvmsg_eof(struct env *e) { return recvmsg_on(e->ended_sock); }
static ssize_t recvmsg_wait(struct env *e) { return recvmsg_on(e->sock[0]); }

static ssize_t sendmsg_on(int fd)
{
	char buf[8] = "abcdef";
	struct iovec iov[2] = { { buf, 2 }, { buf + 2, 4 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	return spg_sendmsg(fd, &msg, 0);
}
static ssize_t sendmsg_good(struct env *e) { return sendmsg_on(e->sock[0]); }
static ssize_t sendmsg_bad(struct env *e) { return sendmsg_on(e->ended_sock); }
static ssize_t sendmsg_wait(struct env *e) { return sendmsg_on(e->full_sock); }

static ssize_t accept_good(struct env *e)
{
	struct sockaddr_un peer = { 0 };
	socklen_t len = sizeof(peer);
	int guest = guest_of(&e->listener_name, e->listener_name_len);
	int fd = spg_accept(e->listener, (struct sockaddr *)&peer, &len);

	e->extra[0] = guest;
	OPENED(fd);
	T_EQ(peer.sun_family, AF_UNIX);
	put(guest, "hello");
	T_EQ(read(fd, (char[8]){ 0 }, 8), 5);
	return close(fd);
}
static ssize_t accept_bad(struct env *e) { return spg_accept(e->sock[0], NULL, NULL); }
static ssize_t accept_wait(struct env *e) { return spg_accept(e->listener, NULL, NULL); }

static ssize_t accept4_good(struct env *e)
{
	int guest = guest_of(&e->listener_name, e->listener_name_len);
	int fd = spg_accept4(e->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	e->extra[0] = guest;
	OPENED(fd);
	T_OK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	T_OK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return close(fd);
}
static ssize_t accept4_bad(struct env *e) { return spg_accept4(e->file, NULL, NULL, 0); }
static ssize_t accept4_wait(struct env *e) { return spg_accept4(e->listener, NULL, NULL, SOCK_CLOEXEC); }

static ssize_t connect_to(struct sockaddr_un *name, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int res = spg_connect(fd, (struct sockaddr *)name, len);

	close(fd);
	return res;
}
static ssize_t connect_good(struct env *e) { return connect_to(&e->listener_name, e->listener_name_len); }
static ssize_t connect_bad(struct env *e)
{
	struct sockaddr_un nobody = { .sun_family = AF_UNIX, .sun_path = "\0nobody listens here" };

	(void)e;
	return connect_to(&nobody, sizeof(nobody));
}
static ssize_t connect_wait(struct env *e)
{
	return spg_connect(e->connecting, (struct sockaddr *)&e->crowded_name, e->crowded_name_len);
}

static ssize_t shutdown_good(struct env *e)
{
	int res = spg_shutdown(e->sock[0], SHUT_WR);

	WORKED(res);
	T_EQ(read(e->sock[1], (char[8]){ 0 }, 8), 0);
	return res;
}
static ssize_t shutdown_bad(struct env *e) { return spg_shutdown(e->pipe[0], SHUT_WR); }

static ssize_t socket_good(struct env *e)
{
	int fd = spg_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)e;
	OPENED(fd);
	return close(fd);
}
static ssize_t socket_bad(struct env *e)
{
	(void)e;
	return spg_socket(-7, SOCK_STREAM, 0);
}

static ssize_t close_good(struct env *e)
{
	int fd = dup(e->file), res = spg_close(fd);

	WORKED(res);
	T_EQ(fcntl(fd, F_GETFD), -1);
	return res;
}
static ssize_t close_bad(struct env *e)
{
	(void)e;
	return spg_close(1 << 19);
}

static ssize_t pipe2_good(struct env *e)
{
	int fds[2], res = spg_pipe2(fds, O_CLOEXEC);

	WORKED(res);
	(void)e;
	put(fds[1], "x");
	close(fds[0]);
	close(fds[1]);
	return res;
}
static ssize_t pipe2_bad(struct env *e)
{
	int fds[2];

	(void)e;
	return spg_pipe2(fds, 0x40000000);
}

/* waiting */

static ssize_t poll_good(struct env *e)
{
	int res = spg_poll(e->pipe[0], POLLIN, 0);

	if (res == 0)
		res = spg_poll(e->pipe[0], POLLIN, SPG_MS);
	if (res != 0)
		return res;
	put(e->pipe[1], "x");
	res = spg_poll(e->pipe[0], POLLIN, 0);
	WORKED(res);
	return spg_poll(e->pipe[0], POLLIN, SPG_SEC);
}
static ssize_t poll_bad(struct env *e)
{
	(void)e;
	return spg_poll(1 << 19, POLLIN, -1);
}
static ssize_t poll_wait(struct env *e) { return spg_poll(e->pipe[0], POLLIN, -1); }

static ssize_t epoll_wait_good(struct env *e)
{
	struct epoll_event event = { 0 };
	int res = spg_epoll_wait(e->epoll, &event, 1, 0);

	if (res == 0)
		res = spg_epoll_wait(e->epoll, &event, 1, 1);
	if (res != 0)
		return res;
	put(e->pipe[1], "x");
	res = spg_epoll_wait(e->epoll, &event, 1, -1);
	WORKED(res);
	T_EQ(event.data.u64, 42);
	return 1;
}
static ssize_t epoll_wait_bad(struct env *e)
{
	struct epoll_event event;

	return spg_epoll_wait(e->pipe[0], &event, 1, -1);
}
static ssize_t epoll_wait_wait(struct env *e)
{
	struct epoll_event event;

	return spg_epoll_wait(e->epoll, &event, 1, -1);
}

#endif
