/*
 * Socket options, errors as negative errno.
 */
#ifndef SPG__NET_SOCKOPT_H
#define SPG__NET_SOCKOPT_H

#include "coro/base.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

/*
 * Sockets of the house are in blocking mode and close on exec. The ring waits for a
 * blocking descriptor by itself; for one with O_NONBLOCK kernels may answer -EAGAIN
 * first, which costs a poll and a second try. Foreign threads ask for MSG_DONTWAIT
 * call by call. And read(2), stdio or a child that gets the descriptor find what
 * they expect.
 */
static inline int spg__socket(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static inline int spg__sockopt_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* 0 leaves the kernel's default. */
static inline int spg__sockopt_buffers(int fd, int rcvbuf_bytes, int sndbuf_bytes)
{
	int err = 0;

	if (rcvbuf_bytes > 0)
		err = spg__sockopt_set(fd, SOL_SOCKET, SO_RCVBUF, rcvbuf_bytes);
	if (err == 0 && sndbuf_bytes > 0)
		err = spg__sockopt_set(fd, SOL_SOCKET, SO_SNDBUF, sndbuf_bytes);
	return err;
}

/* Probes after that much silence, and as far apart; 0: none. The kernel counts in seconds, up to 32767. */
static inline int spg__sockopt_keepalive(int fd, int64_t idle_ns)
{
	int64_t idle_s = idle_ns / 1000000000 + (idle_ns % 1000000000 != 0);
	int err;

	if (idle_ns <= 0)
		return 0;
	if (idle_s > 32767)
		idle_s = 32767;
	err = spg__sockopt_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (err == 0)
		err = spg__sockopt_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
	return err == 0 ? spg__sockopt_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)idle_s) : err;
}

/* Linux 5.0. */
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* 0 leaves the kernel's default. An IPv6 socket may carry IPv4 as well. */
static inline int spg__sockopt_tos(int fd, int family, int tos)
{
	int err = 0;

	if (tos == 0 || family == AF_UNIX)
		return 0;
	if (family == AF_INET6)
		err = spg__sockopt_set(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
	return err < 0 ? err : spg__sockopt_set(fd, IPPROTO_IP, IP_TOS, tos);
}

/* Kernels without it deliver datagrams one by one: no error. */
static inline int spg__sockopt_gro(int fd)
{
	int err = spg__sockopt_set(fd, IPPROTO_UDP, UDP_GRO, 1);

	return err == -ENOPROTOOPT ? 0 : err;
}

/* The kernel counts in milliseconds; 0 leaves its default. */
static inline int spg__sockopt_user_timeout(int fd, int64_t timeout_ns)
{
	int64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);

	if (timeout_ns <= 0)
		return 0;
	return spg__sockopt_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ms < INT32_MAX ? (int)ms : INT32_MAX);
}

#endif
