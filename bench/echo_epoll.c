/*
 * The echo server with nothing but epoll in it: one thread, level-triggered, a receive and a send a
 * request. The limit of those who wait for readiness, as echo_uring.c is the ring's.
 *
 * usage: echo_epoll [host:port]      prints "listening on host:port", serves until killed
 */
#include "tools/cli.h"
#include "tools/tcp.h"

#include <fcntl.h>
#include <sys/epoll.h>

#define BUFFER_BYTES 4096
#define EVENTS 512

static void accept_all(int epoll_fd, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			close(fd);
	}
}

/* Messages are small: a socket that cannot take one back has a peer that does not read. */
static void echo(int fd)
{
	static char buf[BUFFER_BYTES];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

int main(int argc, char **argv)
{
	int listener = tcp_listen(argc > 1 ? argv[1] : "127.0.0.1:0"), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, events[EVENTS];
	int err = listener;

	raise_fd_limit();
	if (err >= 0 && fcntl(listener, F_SETFL, O_NONBLOCK) < 0) /* accept_all ends when nobody is left */
		err = -errno;
	if (err >= 0)
		err = tcp_announce(listener);
	if (err < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0) {
		complain("cannot listen: %s", strerror(err < 0 ? -err : errno));
		return 1;
	}
	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_all(epoll_fd, listener);
			else
				echo(events[i].data.fd);
		}
	}
}
