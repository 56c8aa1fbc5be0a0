/*
 * Connections that come and go, for the echo servers: connect, 256 bytes there and back, close.
 * One process, one thread, 16 connections at a time, each step for all of them before the next;
 * every byte is compared. Source addresses 127.0.1.x in turn: no port is short of TIME_WAITs.
 *
 * usage: churn host:port seconds pid      pid: the server, whose CPU is read
 *
 * Prints one JSON line: connections, CPU of the server for each, connections a second.
 */
#include "tools/cli.h"
#include "tools/tcp.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define AT_ONCE 16
#define BYTES 256

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0) {
		complain("no such clock: %s", strerror(errno));
		exit(1);
	}
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	complain("%s: %s", what, strerror(errno));
	exit(1);
}

static int dial(const struct addrinfo *at, uint64_t n)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000101u + n % 250) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	must(fd >= 0, "socket");
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	must(bind(fd, (struct sockaddr *)&own, sizeof(own)) == 0, "bind");
	must(connect(fd, at->ai_addr, at->ai_addrlen) == 0, "connect");
	return fd;
}

static void round_of(const struct addrinfo *at, uint64_t first)
{
	unsigned char sent[BYTES], got[BYTES];
	int fds[AT_ONCE];

	for (uint64_t i = 0; i < AT_ONCE; i++)
		fds[i] = dial(at, first + i);
	for (uint64_t i = 0; i < AT_ONCE; i++) {
		memset(sent, (int)(first + i), sizeof(sent));
		must(send(fds[i], sent, BYTES, MSG_NOSIGNAL) == BYTES, "send");
	}
	for (uint64_t i = 0; i < AT_ONCE; i++) {
		memset(sent, (int)(first + i), sizeof(sent));
		must(recv(fds[i], got, BYTES, MSG_WAITALL) == BYTES, "recv");
		must(memcmp(sent, got, BYTES) == 0, "another answer");
		close(fds[i]);
	}
}

static uint64_t churn_for(const struct addrinfo *at, int64_t ns)
{
	int64_t until_ns = clock_ns(CLOCK_MONOTONIC) + ns;
	uint64_t n = 0;

	while (clock_ns(CLOCK_MONOTONIC) < until_ns) {
		round_of(at, n);
		n += AT_ONCE;
	}
	return n;
}

int main(int argc, char **argv)
{
	struct addrinfo *at;
	clockid_t server;
	int64_t cpu_ns, begin_ns, window_ns;
	uint64_t n;

	if (argc != 4 || tcp_resolve(argv[1], 0, &at) < 0 || at->ai_family != AF_INET) {
		complain("usage: churn host:port seconds pid");
		return 2;
	}
	must(clock_getcpuclockid((pid_t)cli_number("pid", argv[3], 1, INT32_MAX), &server) == 0, "pid");
	window_ns = cli_seconds_ns("seconds", argv[2]);
	churn_for(at, window_ns / 8);
	cpu_ns = clock_ns(server);
	begin_ns = clock_ns(CLOCK_MONOTONIC);
	n = churn_for(at, window_ns);
	window_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
	cpu_ns = clock_ns(server) - cpu_ns;
	printf("{\"requests\": %" PRIu64 ", \"cpu_ns_per_op\": %.0f, \"per_second\": %.0f}\n", n,
	       (double)cpu_ns / (double)n, (double)n * 1e9 / (double)window_ns);
	freeaddrinfo(at);
	return 0;
}
