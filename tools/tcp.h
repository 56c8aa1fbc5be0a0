/*
 * TCP in plain POSIX calls, for the programs that do without the library: what
 * spg_listen, spg_dial and spg_write_all do, as far as echo_pthread.c and load.c need it.
 */
#ifndef TOOLS_TCP_H
#define TOOLS_TCP_H

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCP_HOST_BYTES 256 /* a domain name has 253 characters at most */

/*
 * "host:port", "[::1]:port" or ":port" to addresses, for freeaddrinfo; flags as in
 * getaddrinfo(3). 0, or a negative errno.
 */
static inline int tcp_resolve(const char *address, int flags, struct addrinfo **out)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags };
	const char *colon = strrchr(address, ':');
	size_t len = colon != NULL ? (size_t)(colon - address) : 0;
	char host[TCP_HOST_BYTES];

	if (colon == NULL || len >= sizeof(host))
		return -EINVAL;
	if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
		address++;
		len -= 2;
	}
	snprintf(host, sizeof(host), "%.*s", (int)len, address);
	switch (getaddrinfo(len > 0 ? host : NULL, colon + 1, &hints, out)) {
	case 0:
		return 0;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_NONAME:
		return -ENOENT;
	case EAI_SYSTEM:
		return -errno;
	default:
		return -EINVAL;
	}
}

static inline int tcp_option(int fd, int level, int name)
{
	int on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* Accepted connections inherit TCP_NODELAY. */
static inline int tcp_listen_at(int fd, const struct addrinfo *at)
{
	int err = tcp_option(fd, SOL_SOCKET, SO_REUSEADDR);

	if (err == 0)
		err = tcp_option(fd, IPPROTO_TCP, TCP_NODELAY);
	if (err < 0)
		return err;
	return bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, INT_MAX) < 0 ? -errno : 0;
}

/* A listening socket, or a negative errno. */
static inline int tcp_listen(const char *address)
{
	struct addrinfo *at;
	int err = tcp_resolve(address, AI_PASSIVE, &at), fd;

	if (err < 0)
		return err;
	fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = fd < 0 ? -errno : tcp_listen_at(fd, at);
	freeaddrinfo(at);
	if (err == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

static inline int tcp_connect_at(int fd, const struct addrinfo *at, int timeout_ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	int err = 0;
	socklen_t len = sizeof(err);

	if (connect(fd, at->ai_addr, at->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	switch (poll(&ready, 1, timeout_ms)) {
	case 0:
		return -ETIMEDOUT;
	case 1:
		return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
	default:
		return -errno;
	}
}

static inline int tcp_connect_one(const struct addrinfo *at, int timeout_ms)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = tcp_connect_at(fd, at, timeout_ms);
	if (err == 0)
		err = tcp_option(fd, IPPROTO_TCP, TCP_NODELAY);
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

/* A nonblocking socket connected to the first address that answers, or a negative errno. */
static inline int tcp_connect(const struct addrinfo *at, int timeout_ms)
{
	int fd = -EINVAL;

	for (; fd < 0 && at != NULL; at = at->ai_next)
		fd = tcp_connect_one(at, timeout_ms);
	return fd;
}

/* The first line a server prints: where it listens, with the port the kernel chose. */
static inline int tcp_announce(int listener)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[TCP_HOST_BYTES], port[NI_MAXSERV];

	if (getsockname(listener, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	if (getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return -EINVAL;
	printf(sa.ss_family == AF_INET6 ? "listening on [%s]:%s\n" : "listening on %s:%s\n", host, port);
	fflush(stdout);
	return 0;
}

/* All of buf, or a negative errno. */
static inline ssize_t write_all(int fd, const void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = send(fd, (const char *)buf + done, len - done, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return (ssize_t)len;
}

#endif
