/*
 * What socket calls mean beyond bytes: addresses, ancillary data, flags, bounds of messages, the
 * states of a connection. On coroutines and threads, with the operations and without.
 */
#include "t.h"

#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MOMENT_NS (2 * SPG_MS)

/* The ways to run a test, as SPG_DISABLE. */
static const char *const ways[] = {
	"", "op:recv,op:send,op:recvmsg,op:sendmsg,op:accept,op:connect,op:shutdown",
	"op:recv,op:send,op:recvmsg,op:sendmsg,op:accept,op:connect,op:shutdown,op:poll",
};

/* By each way on `shards`, and on this thread, with a runtime beside it and without. */
static void everywhere(unsigned shards, int (*fn)(void *))
{
	spg_config cfg;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		cfg = t_config(shards);
		cfg.disable = ways[i];
		T_EQ(t_run_config(&cfg, fn, NULL), 0);
	}
	T_EQ(fn(NULL), 0);
	cfg = t_config(shards);
	T_EQ(spg_start(&cfg), 0);
	T_EQ(fn(NULL), 0);
	T_EQ(spg_stop(), 0);
}

/* What another thread does in a moment. */
struct later {
	void (*fn)(int fd);
	int fd;
	pthread_t thread;
};

static void *later_main(void *arg)
{
	struct later *later = arg;
	struct timespec moment = { .tv_nsec = MOMENT_NS };

	nanosleep(&moment, NULL);
	later->fn(later->fd);
	return NULL;
}

static void later_start(struct later *later, void (*fn)(int fd), int fd)
{
	*later = (struct later){ .fn = fn, .fd = fd };
	T_EQ(pthread_create(&later->thread, NULL, later_main, later), 0);
}

static void later_end(struct later *later)
{
	T_EQ(pthread_join(later->thread, NULL), 0);
}

static void pair_of(int type, int fds[2])
{
	T_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_pair(const int fds[2])
{
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
}

/* Bound to the loopback address of a family; its address. */
static int bound(int family, int type, struct sockaddr_storage *addr, socklen_t *len)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = spg_socket(family, type | SOCK_CLOEXEC, 0);

	T_OK(fd >= 0);
	*len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	if (bind(fd, family == AF_INET ? (void *)&v4 : (void *)&v6, *len) < 0) {
		close(fd);
		return -errno; /* no IPv6 here */
	}
	T_EQ(getsockname(fd, (struct sockaddr *)addr, len), 0);
	return fd;
}

static int listening(int family, struct sockaddr_storage *addr, socklen_t *len)
{
	int fd = bound(family, SOCK_STREAM, addr, len);

	if (fd >= 0)
		T_EQ(listen(fd, 8), 0);
	return fd;
}

/* Closed, a connection is reset: none stays in TIME_WAIT. */
static void reset(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	T_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	T_EQ(spg_close(fd), 0);
}

static void connected(int fds[2])
{
	struct sockaddr_storage addr;
	socklen_t len;
	int listener = listening(AF_INET, &addr, &len);

	fds[0] = spg_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(spg_connect(fds[0], (struct sockaddr *)&addr, len), 0);
	fds[1] = spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(fds[1] >= 0);
	T_EQ(spg_close(listener), 0);
}

/* Goal: MSG_PEEK leaves what it shows; MSG_WAITALL waits for all, and ends with the stream, a deadline or a cancel. */
static void send_rest(int fd)
{
	T_EQ(send(fd, "defgh", 5, 0), 5);
}

static void send_and_end(int fd)
{
	T_EQ(send(fd, "de", 2, 0), 2);
	T_EQ(shutdown(fd, SHUT_WR), 0);
}

static int stream_flags(void *arg)
{
	struct later later;
	char buf[16] = "";
	int fds[2];

	(void)arg;
	pair_of(SOCK_STREAM, fds);
	T_EQ(spg_send(fds[1], "abc", 3, 0), 3);
	T_EQ(spg_recv(fds[0], buf, 2, MSG_PEEK), 2);
	T_EQ(memcmp(buf, "ab", 2), 0);
	later_start(&later, send_rest, fds[1]);
	T_EQ(spg_recv(fds[0], buf, 8, MSG_WAITALL), 8);
	T_EQ(memcmp(buf, "abcdefgh", 8), 0);
	later_end(&later);
	T_EQ(spg_send(fds[1], "abc", 3, 0), 3);
	{
		SPG_TIMEOUT_SCOPE(MOMENT_NS);
		T_EQ(spg_recv(fds[0], buf, 8, MSG_WAITALL), 3); /* moved bytes are reported */
		T_EQ(spg_recv(fds[0], buf, 8, MSG_WAITALL), -ETIMEDOUT);
	}
	T_EQ(spg_send(fds[1], "abc", 3, 0), 3);
	later_start(&later, send_and_end, fds[1]);
	T_EQ(spg_recv(fds[0], buf, 16, MSG_WAITALL), 5);
	T_EQ(spg_recv(fds[0], buf, 16, MSG_WAITALL), 0);
	later_end(&later);
	T_EQ(spg_recv(fds[0], buf, 0, 0), 0);
	close_pair(fds);
	return 0;
}

START_TEST(receives_peek_and_wait_for_all)
{
	everywhere((unsigned)_i, stream_flags);
}
END_TEST

/* Goal: datagrams and packets keep their bounds; what is cut says so; empty ones are no end. */
static int bounds_of(int type)
{
	struct iovec iov = { (char[4]){ 0 }, 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	char buf[16] = "";
	int fds[2];

	pair_of(type, fds);
	T_EQ(spg_send(fds[1], "first", 5, 0), 5);
	T_EQ(spg_send(fds[1], "", 0, 0), 0);
	T_EQ(spg_send(fds[1], "second", 6, 0), 6);
	T_EQ(spg_send(fds[1], "third", 5, 0), 5);
	T_EQ(spg_recv(fds[0], buf, sizeof(buf), 0), 5);
	T_EQ(spg_recvmsg(fds[0], &msg, 0), 0);
	T_EQ(msg.msg_flags & MSG_TRUNC, 0);
	T_EQ(spg_recv(fds[0], buf, 3, MSG_TRUNC | MSG_PEEK), 6); /* the whole length */
	T_EQ(spg_recvmsg(fds[0], &msg, 0), 4);
	T_OK(msg.msg_flags & MSG_TRUNC);
	T_EQ(spg_read(fds[0], buf, 2), 2);
	T_EQ(memcmp(buf, "th", 2), 0); /* the rest of it is gone */
	T_EQ(spg_recv(fds[0], buf, sizeof(buf), MSG_DONTWAIT), -EAGAIN);
	close_pair(fds);
	return 0;
}

static int messages_keep_bounds(void *arg)
{
	(void)arg;
	return bounds_of(SOCK_DGRAM) + bounds_of(SOCK_SEQPACKET);
}

START_TEST(messages_keep_their_bounds)
{
	everywhere((unsigned)_i, messages_keep_bounds);
}
END_TEST

/* Goal: descriptors and credentials travel with the bytes, close-on-exec where that is asked. */
union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(2 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

static void send_fds(int to, const int *fds, size_t n)
{
	union control control = { 0 };
	struct iovec iov = { (char[1]){ 'x' }, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	struct cmsghdr *cmsg;

	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	cmsg = CMSG_FIRSTHDR(&msg);
	*cmsg = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int))
	};
	memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
	T_EQ(spg_sendmsg(to, &msg, 0), 1);
}

static void check_fd(int fd, int like)
{
	struct stat a, b;

	T_EQ(fstat(fd, &a), 0);
	T_EQ(fstat(like, &b), 0);
	T_EQ(a.st_ino, b.st_ino);
	T_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	T_EQ(spg_close(fd), 0);
}

static int ancillary(void *arg)
{
	union control control = { 0 };
	struct iovec iov = { (char[8]){ 0 }, 8 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	int one = 1, fds[2], pipe_fds[2], got[2], before;
	bool rights = false, creds = false;
	struct ucred cred;

	(void)arg;
	pair_of(SOCK_STREAM, fds);
	T_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
	T_EQ(setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	send_fds(fds[1], pipe_fds, 2);
	msg.msg_controllen = sizeof(control);
	T_EQ(spg_recvmsg(fds[0], &msg, MSG_CMSG_CLOEXEC), 1);
	T_EQ(msg.msg_flags & MSG_CTRUNC, 0);
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg != NULL; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		T_EQ(cmsg->cmsg_level, SOL_SOCKET);
		if (cmsg->cmsg_type == SCM_RIGHTS) {
			memcpy(got, CMSG_DATA(cmsg), sizeof(got));
			rights = true;
		} else if (cmsg->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(cmsg), sizeof(cred));
			creds = true;
		}
	}
	T_OK(rights && creds);
	T_EQ(cred.pid, getpid());
	T_EQ(cred.uid, getuid());
	check_fd(got[0], pipe_fds[0]);
	check_fd(got[1], pipe_fds[1]);
	/* Without room for them nothing is installed. */
	before = t_fds_count();
	send_fds(fds[1], pipe_fds, 2);
	msg = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	T_EQ(spg_recvmsg(fds[0], &msg, 0), 1);
	T_OK(msg.msg_flags & MSG_CTRUNC);
	T_EQ(t_fds_count(), before);
	close_pair(pipe_fds);
	close_pair(fds);
	return 0;
}

START_TEST(descriptors_and_credentials_travel)
{
	everywhere((unsigned)_i, ancillary);
}
END_TEST

/* Goal: where datagrams come from is told, whole or as much as there is room for; replies reach them. */
static int addresses_of(int family)
{
	struct sockaddr_storage server_addr, client_addr, from;
	socklen_t server_len, client_len, from_len = sizeof(from);
	int server = bound(family, SOCK_DGRAM, &server_addr, &server_len), client;
	char buf[8];

	if (server < 0) {
		fprintf(stderr, "SKIP family %d: %s\n", family, spg_strerror(server));
		return 0;
	}
	client = bound(family, SOCK_DGRAM, &client_addr, &client_len);
	T_EQ(spg_sendto(client, "ask", 3, 0, (struct sockaddr *)&server_addr, server_len), 3);
	T_EQ(spg_recvfrom(server, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len), 3);
	T_EQ(from_len, client_len);
	T_EQ(memcmp(&from, &client_addr, client_len), 0);
	T_EQ(spg_sendto(server, "reply", 5, 0, (struct sockaddr *)&from, from_len), 5);
	memset(&from, 0x55, sizeof(from));
	from_len = 4; /* the family and the port */
	T_EQ(spg_recvfrom(client, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len), 5);
	T_EQ(from_len, server_len);
	T_EQ(memcmp(&from, &server_addr, 4), 0);
	T_EQ(((unsigned char *)&from)[4], 0x55);
	/* Where to is not known; then it is, and then again not. */
	T_EQ(spg_send(client, "x", 1, 0), -EDESTADDRREQ);
	T_EQ(spg_connect(client, (struct sockaddr *)&server_addr, server_len), 0);
	T_EQ(spg_send(client, "x", 1, 0), 1);
	T_EQ(spg_recvfrom(server, buf, sizeof(buf), 0, NULL, NULL), 1);
	T_EQ(spg_connect(client, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)), 0);
	T_EQ(spg_send(client, "x", 1, 0), -EDESTADDRREQ);
	T_EQ(spg_close(client), 0);
	T_EQ(spg_close(server), 0);
	return 0;
}

static int addresses(void *arg)
{
	(void)arg;
	return addresses_of(AF_INET) + addresses_of(AF_INET6);
}

START_TEST(datagrams_tell_where_they_come_from)
{
	everywhere((unsigned)_i, addresses);
}
END_TEST

/* Goal: a port nobody listens at is told to a connected datagram socket, once; the queue of errors has the rest. */
static int errors_of_datagrams(void *arg)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int nobody = bound(AF_INET, SOCK_DGRAM, &addr, &len), one = 1, fd;
	char space[256], data[8];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space };
	struct sock_extended_err err;

	(void)arg;
	T_EQ(spg_close(nobody), 0);
	fd = spg_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	T_EQ(spg_connect(fd, (struct sockaddr *)&addr, len), 0);
	T_EQ(spg_send(fd, "x", 1, 0), 1);
	T_EQ(spg_recv(fd, data, sizeof(data), 0), -ECONNREFUSED);
	T_EQ(setsockopt(fd, SOL_IP, IP_RECVERR, &one, sizeof(one)), 0);
	T_EQ(spg_send(fd, "lost", 4, 0), 4);
	msg.msg_controllen = sizeof(space);
	T_EQ(spg_recvmsg(fd, &msg, MSG_ERRQUEUE), 4);
	T_OK(msg.msg_flags & MSG_ERRQUEUE);
	T_EQ(memcmp(data, "lost", 4), 0);
	T_OK(CMSG_FIRSTHDR(&msg) != NULL);
	memcpy(&err, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(err));
	T_EQ(err.ee_errno, ECONNREFUSED);
	T_EQ(spg_close(fd), 0);
	return 0;
}

START_TEST(errors_of_datagrams_are_told)
{
	everywhere((unsigned)_i, errors_of_datagrams);
}
END_TEST

/* Goal: accept tells who came, as much as there is room for, and takes the flags; connect each of a socket's states. */
static int connections_of(int family)
{
	struct sockaddr_storage addr, peer, name;
	socklen_t len, peer_len = sizeof(peer), name_len = sizeof(name);
	int listener = listening(family, &addr, &len), fd, accepted;

	if (listener < 0)
		return 0; /* said above */
	fd = spg_socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	T_EQ(spg_connect(fd, (struct sockaddr *)&addr, len), 0); /* nonblocking: it waits all the same */
	T_EQ(spg_connect(fd, (struct sockaddr *)&addr, len), -EISCONN);
	accepted = spg_accept4(listener, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK);
	T_OK(accepted >= 0);
	T_EQ(fcntl(accepted, F_GETFD), 0);
	T_OK(fcntl(accepted, F_GETFL) & O_NONBLOCK);
	T_EQ(getsockname(fd, (struct sockaddr *)&name, &name_len), 0);
	T_EQ(peer_len, name_len);
	T_EQ(memcmp(&peer, &name, name_len), 0);
	reset(accepted);
	T_EQ(spg_close(fd), 0);
	/* Room for four bytes of the address. */
	fd = spg_socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(spg_connect(fd, (struct sockaddr *)&addr, len), 0);
	memset(&peer, 0x55, sizeof(peer));
	peer_len = 4;
	accepted = spg_accept(listener, (struct sockaddr *)&peer, &peer_len);
	T_OK(accepted >= 0);
	T_EQ(fcntl(accepted, F_GETFL) & O_NONBLOCK, 0);
	T_EQ(peer_len, len);
	T_EQ(((unsigned char *)&peer)[4], 0x55);
	reset(accepted);
	T_EQ(spg_close(fd), 0);
	T_EQ(spg_close(listener), 0);
	/* Nobody listens there any more. */
	fd = spg_socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(spg_connect(fd, (struct sockaddr *)&addr, len), -ECONNREFUSED);
	T_EQ(spg_close(fd), 0);
	return 0;
}

static int connections(void *arg)
{
	struct sockaddr_in odd = { .sin_family = 77 };
	int fd = spg_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)arg;
	T_EQ(spg_connect(fd, (struct sockaddr *)&odd, sizeof(odd)), -EAFNOSUPPORT);
	T_EQ(spg_accept(fd, NULL, NULL), -EINVAL); /* it does not listen */
	T_EQ(spg_recv(fd, (char[1]){ 0 }, 1, 0), -ENOTCONN);
	T_EQ(spg_send(fd, "x", 1, 0), -EPIPE);
	T_EQ(spg_shutdown(fd, SHUT_RDWR), -ENOTCONN);
	T_EQ(spg_shutdown(fd, 77), -EINVAL);
	T_EQ(spg_close(fd), 0);
	return connections_of(AF_INET) + connections_of(AF_INET6);
}

START_TEST(connections_are_made_and_refused)
{
	everywhere((unsigned)_i, connections);
}
END_TEST

/* Goal: a shutdown ends who waits, on either side; what was sent before it arrives. */
static void shut_both(int fd) { T_EQ(shutdown(fd, SHUT_RDWR), 0); }
static void shut_read(int fd) { T_EQ(shutdown(fd, SHUT_RD), 0); }

static int shutdowns_of(const int fds[2])
{
	struct later later;
	char buf[8];

	T_EQ(spg_send(fds[1], "last", 4, 0), 4);
	T_EQ(spg_shutdown(fds[1], SHUT_WR), 0);
	T_EQ(spg_send(fds[1], "x", 1, 0), -EPIPE);
	T_EQ(spg_recv(fds[0], buf, sizeof(buf), 0), 4);
	T_EQ(spg_recv(fds[0], buf, sizeof(buf), 0), 0);
	/* The other direction still works; who reads there is ended by his own shutdown. */
	T_EQ(spg_send(fds[0], "back", 4, 0), 4);
	T_EQ(spg_recv(fds[1], buf, sizeof(buf), 0), 4);
	later_start(&later, shut_read, fds[1]);
	T_EQ(spg_recv(fds[1], buf, sizeof(buf), 0), 0);
	later_end(&later);
	return 0;
}

static int shutdown_of_sends(const int fds[2])
{
	static char much[1 << 16];
	struct later later;
	ssize_t n;

	later_start(&later, shut_both, fds[0]);
	do
		n = spg_send(fds[0], much, sizeof(much), 0);
	while (n > 0);
	T_EQ(n, -EPIPE);
	later_end(&later);
	return 0;
}

static int shutdowns(void *arg)
{
	struct sockaddr_storage addr;
	struct later later;
	socklen_t len;
	int fds[2], listener = listening(AF_INET, &addr, &len);

	(void)arg;
	for (int i = 0; i < 4; i++) {
		if (i & 1)
			connected(fds);
		else
			pair_of(SOCK_STREAM, fds);
		T_EQ(i & 2 ? shutdowns_of(fds) : shutdown_of_sends(fds), 0);
		reset(fds[0]);
		reset(fds[1]);
	}
	later_start(&later, shut_both, listener);
	T_EQ(spg_accept(listener, NULL, NULL), -EINVAL);
	later_end(&later);
	T_EQ(spg_close(listener), 0);
	return 0;
}

START_TEST(a_shutdown_ends_who_waits)
{
	everywhere((unsigned)_i, shutdowns);
}
END_TEST

/* Goal: a peer's reset is -ECONNRESET to who receives, -EPIPE to who sends after it, whenever it comes. */
static void reset_plain(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	T_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	T_EQ(close(fd), 0);
}

static int resets(void *arg)
{
	static char much[1 << 16];
	struct later later;
	int fds[2];
	ssize_t n;

	(void)arg;
	connected(fds);
	later_start(&later, reset_plain, fds[1]);
	T_EQ(spg_recv(fds[0], (char[8]){ 0 }, 8, 0), -ECONNRESET);
	later_end(&later);
	T_EQ(spg_send(fds[0], "x", 1, 0), -EPIPE);
	T_EQ(spg_recv(fds[0], (char[8]){ 0 }, 8, 0), 0);
	T_EQ(spg_close(fds[0]), 0);
	connected(fds);
	later_start(&later, reset_plain, fds[1]);
	do
		n = spg_send(fds[0], much, sizeof(much), 0);
	while (n > 0);
	T_EQ(n, -ECONNRESET);
	later_end(&later);
	T_EQ(spg_close(fds[0]), 0);
	return 0;
}

START_TEST(a_reset_is_told)
{
	everywhere((unsigned)_i, resets);
}
END_TEST

/* Goal: urgent data comes out of band, and in its place when that is asked; POLLPRI tells. */
static int urgent(void *arg)
{
	int fds[2], mark = 0;
	char buf[8] = "";

	(void)arg;
	connected(fds);
	T_EQ(spg_recv(fds[1], buf, 1, MSG_OOB), -EINVAL); /* there is none */
	T_EQ(spg_send(fds[0], "ab", 2, 0), 2);
	T_EQ(spg_send(fds[0], "!", 1, MSG_OOB), 1);
	T_OK(spg_poll(fds[1], POLLPRI, -1) & POLLPRI);
	T_EQ(spg_recv(fds[1], buf, 1, MSG_OOB), 1);
	T_EQ(buf[0], '!');
	T_EQ(spg_recv(fds[1], buf, sizeof(buf), 0), 2);
	T_EQ(ioctl(fds[1], SIOCATMARK, &mark), 0);
	T_EQ(mark, 1);
	reset(fds[0]);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

START_TEST(urgent_data_is_told_apart)
{
	everywhere((unsigned)_i, urgent);
}
END_TEST

/* Goal: a send that is cut short reports what it moved, and the receiver gets exactly that. */
static size_t drained(int fd)
{
	static __thread char buf[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	return total;
}

static ssize_t send_by(int which, int fd, char *buf, size_t n)
{
	struct iovec iov[2] = { { buf, n / 2 }, { buf + n / 2, n - n / 2 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	switch (which) {
	case 0:
		return spg_send(fd, buf, n, 0);
	case 1:
		return spg_sendmsg(fd, &msg, 0);
	case 2:
		return spg_write(fd, buf, n);
	case 3:
		return spg_sendto(fd, buf, n, 0, NULL, 0);
	default:
		return spg_writev(fd, iov, 2);
	}
}

static int cut_sends(void *arg)
{
	char *buf = calloc(1, 8 << 20);

	(void)arg;
	for (int which = 0; which < 5; which++) {
		size_t sent;
		int fds[2];
		ssize_t n;

		pair_of(SOCK_STREAM, fds);
		n = send_by(which, fds[0], buf, 8 << 20); /* what there is room for */
		T_OK(n > 0);
		sent = (size_t)n;
		{
			SPG_TIMEOUT_SCOPE(MOMENT_NS);
			while ((n = send_by(which, fds[0], buf, 8 << 20)) > 0)
				sent += (size_t)n;
		}
		T_EQ(n, -ETIMEDOUT);
		T_EQ(drained(fds[1]), sent);
		close_pair(fds);
	}
	free(buf);
	return 0;
}

START_TEST(a_send_cut_short_counts_its_bytes)
{
	everywhere((unsigned)_i, cut_sends);
}
END_TEST

/* Goal: a datagram waits for room at its receiver, goes out whole or not at all. */
static void to_receiver(int fds[2])
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(name);

	fds[0] = spg_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	fds[1] = spg_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	T_EQ(bind(fds[1], (struct sockaddr *)&name, sizeof(sa_family_t)), 0);
	T_EQ(getsockname(fds[1], (struct sockaddr *)&name, &len), 0);
	T_EQ(spg_connect(fds[0], (struct sockaddr *)&name, len), 0);
}

static void take_one(int fd)
{
	char buf[512];

	T_EQ(recv(fd, buf, sizeof(buf), 0), 100);
}

static int full_peers(void *arg)
{
	char buf[100] = { 0 };
	struct later later;
	int fds[2], count = 0;

	(void)arg;
	to_receiver(fds);
	while (spg_send(fds[0], buf, sizeof(buf), MSG_DONTWAIT) == sizeof(buf))
		count++;
	T_EQ(spg_send(fds[0], buf, sizeof(buf), MSG_DONTWAIT), -EAGAIN);
	{
		SPG_TIMEOUT_SCOPE(MOMENT_NS);
		T_EQ(spg_send(fds[0], buf, sizeof(buf), 0), -ETIMEDOUT);
	}
	later_start(&later, take_one, fds[1]);
	T_EQ(spg_send(fds[0], buf, sizeof(buf), 0), sizeof(buf));
	later_end(&later);
	for (int i = 0; i < count; i++)
		T_EQ(spg_recv(fds[1], buf, sizeof(buf), 0), sizeof(buf));
	T_EQ(spg_recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT), -EAGAIN);
	close_pair(fds);
	return 0;
}

START_TEST(a_datagram_waits_for_its_receiver)
{
	everywhere((unsigned)_i, full_peers);
}
END_TEST

T_MAIN(T_SHARDS(receives_peek_and_wait_for_all), T_SHARDS(messages_keep_their_bounds),
       T_SHARDS(descriptors_and_credentials_travel), T_SHARDS(datagrams_tell_where_they_come_from),
       T_SHARDS(errors_of_datagrams_are_told), T_SHARDS(connections_are_made_and_refused),
       T_SHARDS(a_shutdown_ends_who_waits), T_SHARDS(a_reset_is_told), T_SHARDS(urgent_data_is_told_apart),
       T_SHARDS(a_send_cut_short_counts_its_bytes), T_SHARDS(a_datagram_waits_for_its_receiver))
