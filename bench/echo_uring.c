/*
 * What does an echo of 256 bytes cost when nothing stands between the program and the
 * ring? One thread, one receive or send per connection in flight, everything queued
 * in a round submitted by one io_uring_enter. This is the limit of the echo row: a
 * coroutine runtime does the same work and cannot do less. Expected: 5 to 10 us of
 * CPU a request, nearly all of it in the kernel's TCP.
 *
 * With `files` connections are registered files from their accept on and have no descriptors
 * (IORING_FILE_INDEX_ALLOC): what would registering save? Two references of a file a request.
 *
 * usage: echo_uring [port] [files]    prints "listening on 127.0.0.1:port", serves until killed
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES 4096
#define RING_ENTRIES 1024
#define CQ_ENTRIES 8192
#define FILES 8192

enum what { ACCEPT, RECV, SEND, CLOSE };

struct conn {
	int fd;
	uint32_t len;  /* bytes to send back */
	uint32_t sent; /* of them already sent */
	char buf[BUFFER_BYTES];
};

struct server {
	struct io_uring ring;
	int listen_fd;
	struct conn **conns; /* by fd */
	size_t conns_max;
	bool files; /* fd is a slot of the registered files */
};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("echo_uring: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static struct io_uring_sqe *next_sqe(struct server *s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);

	if (!sqe) {
		io_uring_submit(&s->ring);
		sqe = io_uring_get_sqe(&s->ring);
	}
	if (!sqe)
		die("no free submission queue entry");
	return sqe;
}

/* The last step of filling an SQE: some versions of io_uring_prep_* clear user_data. */
static void tag(struct io_uring_sqe *sqe, int fd, enum what what)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)(uint32_t)fd << 2 | what);
}

static void queue_accept(struct server *s)
{
	struct io_uring_sqe *sqe = next_sqe(s);

	if (s->files)
		io_uring_prep_multishot_accept_direct(sqe, s->listen_fd, NULL, NULL, 0);
	else
		io_uring_prep_multishot_accept(sqe, s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	tag(sqe, s->listen_fd, ACCEPT);
}

static void queue_recv(struct server *s, struct conn *c)
{
	struct io_uring_sqe *sqe = next_sqe(s);

	io_uring_prep_recv(sqe, c->fd, c->buf, sizeof(c->buf), 0);
	sqe->flags |= s->files ? IOSQE_FIXED_FILE : 0;
	tag(sqe, c->fd, RECV);
}

static void queue_send(struct server *s, struct conn *c)
{
	struct io_uring_sqe *sqe = next_sqe(s);

	io_uring_prep_send(sqe, c->fd, c->buf + c->sent, c->len - c->sent, MSG_NOSIGNAL);
	sqe->flags |= s->files ? IOSQE_FIXED_FILE : 0;
	tag(sqe, c->fd, SEND);
}

static void close_conn(struct server *s, int fd)
{
	struct io_uring_sqe *sqe;

	if (!s->files) {
		close(fd);
		return;
	}
	sqe = next_sqe(s);
	io_uring_prep_close_direct(sqe, (unsigned)fd);
	tag(sqe, fd, CLOSE);
}

static void drop(struct server *s, struct conn *c)
{
	s->conns[c->fd] = NULL;
	close_conn(s, c->fd);
	free(c);
}

static void on_accept(struct server *s, int32_t res, uint32_t flags)
{
	struct conn *c;

	if (!(flags & IORING_CQE_F_MORE))
		queue_accept(s);
	if (res < 0)
		return;
	c = (size_t)res < s->conns_max ? malloc(sizeof(*c)) : NULL;
	if (!c) {
		close_conn(s, res);
		return;
	}
	c->fd = res;
	s->conns[c->fd] = c;
	queue_recv(s, c);
}

static void on_recv(struct server *s, struct conn *c, int32_t res)
{
	if (res <= 0) {
		drop(s, c);
		return;
	}
	c->len = (uint32_t)res;
	c->sent = 0;
	queue_send(s, c);
}

static void on_send(struct server *s, struct conn *c, int32_t res)
{
	if (res < 0) {
		drop(s, c);
		return;
	}
	c->sent += (uint32_t)res;
	if (c->sent < c->len)
		queue_send(s, c);
	else
		queue_recv(s, c);
}

static void on_cqe(struct server *s, const struct io_uring_cqe *cqe)
{
	size_t fd = (size_t)(cqe->user_data >> 2);

	switch ((enum what)(cqe->user_data & 3)) {
	case ACCEPT:
		on_accept(s, cqe->res, cqe->flags);
		break;
	case RECV:
		on_recv(s, s->conns[fd], cqe->res);
		break;
	case SEND:
		on_send(s, s->conns[fd], cqe->res);
		break;
	case CLOSE:
		break;
	}
}

static void serve(struct server *s)
{
	for (;;) {
		struct io_uring_cqe *cqe;
		unsigned head;
		unsigned count = 0;
		int err = io_uring_submit_and_wait(&s->ring, 1);

		if (err < 0 && err != -EINTR && err != -EBUSY)
			die("io_uring_enter: %s", strerror(-err));
		io_uring_for_each_cqe(&s->ring, head, cqe) {
			on_cqe(s, cqe);
			count++;
		}
		io_uring_cq_advance(&s->ring, count);
	}
}

static void listen_on(struct server *s, uint16_t port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int on = 1;

	s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->listen_fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* What is accepted inherits it. */
	setsockopt(s->listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(s->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(s->listen_fd, 4096) != 0 ||
	    getsockname(s->listen_fd, (struct sockaddr *)&addr, &len) != 0)
		die("port %u: %s", port, strerror(errno));
	printf("listening on 127.0.0.1:%u\n", ntohs(addr.sin_port));
	fflush(stdout);
}

static void set_up(struct server *s)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	struct rlimit limit;
	int err = io_uring_queue_init_params(RING_ENTRIES, &s->ring, &params);

	if (err < 0)
		die("io_uring_setup: %s", strerror(-err));
	err = io_uring_register_ring_fd(&s->ring);
	if (err < 0)
		die("registering the ring: %s", strerror(-err));
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("getrlimit: %s", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("setrlimit: %s", strerror(errno));
	s->conns_max = (size_t)limit.rlim_cur;
	s->conns = calloc(s->conns_max, sizeof(*s->conns));
	if (!s->conns)
		die("no memory for %zu connections", s->conns_max);
	if (s->files) {
		err = io_uring_register_files_sparse(&s->ring, FILES);
		if (err < 0)
			die("registering files: %s", strerror(-err));
	}
}

int main(int argc, char **argv)
{
	struct server s = { .listen_fd = -1 };
	unsigned long port = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

	s.files = argc == 3 && strcmp(argv[2], "files") == 0;
	if (argc > 2 + s.files || port > UINT16_MAX)
		die("usage: echo_uring [port] [files]");
	set_up(&s);
	listen_on(&s, (uint16_t)port);
	queue_accept(&s);
	serve(&s);
}
