/*
 * What the calls of spg/io.h are tested with: descriptors of every state, fresh for each case.
 */
#ifndef SPG__TEST_IO_ENV_H
#define SPG__TEST_IO_ENV_H

#include "t.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Fresh for each case. Both ends of everything are the test's own. */
struct env {
	int pipe[2];	/* empty */
	int full[2];	/* a pipe without room */
	size_t full_bytes;
	int broken;	/* a pipe's write end, without a reader */
	int ended;	/* a pipe's read end, without a writer */
	int sock[2];	/* empty */
	int full_sock;	/* without room; its peer is full_peer */
	int full_peer;
	size_t full_sock_bytes;
	int ended_sock; /* the peer is gone */
	int file;	/* holds "0123456789" */
	int dir;
	int listener;	/* nobody has connected */
	struct sockaddr_un listener_name;
	socklen_t listener_name_len;
	int crowded;	/* its backlog is full */
	struct sockaddr_un crowded_name;
	socklen_t crowded_name_len;
	int guest;	/* waits in the backlog of crowded */
	int extra[2];	/* of a case's own; 0: none */
	int connecting; /* a socket that is none's peer yet */
	int epoll; /* watches pipe[0] */
	char path[64];
};

/* The call under test, for failures on other threads; and what it returns when all is well. */
static const char *current;
static ssize_t wanted __attribute__((unused));

/* With faults a call may return something else: then the case ends here, and its caller judges. */
#define WORKED(res)                                                                                \
	do {                                                                                       \
		if ((res) != wanted)                                                               \
			return (res);                                                              \
	} while (0)
/* The same for a call that returns a descriptor. */
#define OPENED(fd)                                                                                 \
	do {                                                                                       \
		if ((fd) < 0)                                                                      \
			return (fd);                                                               \
	} while (0)

#define C_EQ(call, value)                                                                          \
	do {                                                                                       \
		long long c_got = (long long)(call), c_want = (long long)(value);                  \
		if (c_got != c_want)                                                               \
			t_fail(__FILE__, __LINE__, "spg_%s: %s is %lld (%s), expected %lld", current, #call, \
			       c_got, spg_strerror((int)c_got), c_want);                            \
	} while (0)

static inline void put(int fd, const char *text)
{
	T_EQ(write(fd, text, strlen(text)), strlen(text));
}

static inline void expect(const char *got, const char *text)
{
	T_EQ(memcmp(got, text, strlen(text)), 0);
}

/* Until it takes no more. Returns how many bytes it took. */
static size_t fill(int fd)
{
	static char block[65536];
	int flags = fcntl(fd, F_GETFL);
	size_t done = 0;

	T_EQ(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
	for (size_t n = sizeof(block); n > 0;) {
		ssize_t put = write(fd, block, n);

		if (put < 0)
			n /= 2;
		else
			done += (size_t)put;
	}
	T_EQ(fcntl(fd, F_SETFL, flags), 0);
	return done;
}

static int listen_unix(struct sockaddr_un *name, socklen_t *len, int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A bind without a name: the kernel chooses an abstract one. */
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	T_EQ(bind(fd, (struct sockaddr *)name, sizeof(sa_family_t)), 0);
	*len = sizeof(*name);
	T_EQ(getsockname(fd, (struct sockaddr *)name, len), 0);
	T_EQ(listen(fd, backlog), 0);
	return fd;
}

static int guest_of(struct sockaddr_un *name, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	T_EQ(connect(fd, (struct sockaddr *)name, len), 0);
	return fd;
}

static void env_open(struct env *e, bool nonblocking)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 42 };
	int flags = O_CLOEXEC | (nonblocking ? O_NONBLOCK : 0), sock_flags, pair[2];

	sock_flags = SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
	T_EQ(pipe2(e->pipe, flags), 0);
	T_EQ(pipe2(e->full, flags), 0);
	e->full_bytes = fill(e->full[1]);
	T_EQ(pipe2(pair, flags), 0);
	close(pair[0]);
	e->broken = pair[1];
	T_EQ(pipe2(pair, flags), 0);
	close(pair[1]);
	e->ended = pair[0];
	T_EQ(socketpair(AF_UNIX, sock_flags, 0, e->sock), 0);
	T_EQ(fcntl(e->sock[1], F_SETFL, 0), 0); /* the test's own end */
	T_EQ(socketpair(AF_UNIX, sock_flags, 0, pair), 0);
	e->full_sock = pair[0];
	e->full_peer = pair[1];
	e->full_sock_bytes = fill(e->full_sock);
	T_EQ(socketpair(AF_UNIX, sock_flags, 0, pair), 0);
	close(pair[1]);
	e->ended_sock = pair[0];
	snprintf(e->path, sizeof(e->path), "/tmp/spg-test-io-XXXXXX");
	T_OK(mkdtemp(e->path) != NULL);
	e->dir = open(e->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	e->file = openat(e->dir, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	T_EQ(pwrite(e->file, "0123456789", 10, 0), 10);
	e->listener = listen_unix(&e->listener_name, &e->listener_name_len, 16);
	T_EQ(fcntl(e->listener, F_SETFL, nonblocking ? O_NONBLOCK : 0), 0);
	e->crowded = listen_unix(&e->crowded_name, &e->crowded_name_len, 0);
	e->guest = guest_of(&e->crowded_name, e->crowded_name_len);
	e->extra[0] = e->extra[1] = 0;
	e->connecting = socket(AF_UNIX, sock_flags, 0);
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	T_EQ(epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->pipe[0], &event), 0);
}

static void env_close(struct env *e)
{
	static const char *const names[] = { "file", "new", "moved", "link", "symlink", "copy", "fifo" };
	int fds[] = { e->pipe[0], e->pipe[1], e->full[0], e->full[1], e->broken, e->ended, e->sock[0], e->sock[1],
		      e->full_sock, e->full_peer, e->ended_sock, e->file, e->listener, e->crowded, e->guest,
		      e->connecting, e->epoll };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		T_EQ(close(fds[i]), 0); /* nothing of spg's has closed another's number */
	for (int i = 0; i < 2 && e->extra[i] > 0; i++)
		T_EQ(close(e->extra[i]), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(e->dir, names[i], 0);
	unlinkat(e->dir, "sub", AT_REMOVEDIR);
	close(e->dir);
	T_EQ(rmdir(e->path), 0);
}

#endif
