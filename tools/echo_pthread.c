/*
 * echo_pthread: answers every byte it gets. One thread per connection; echo.c is the same
 * program with one coroutine per connection.
 *
 *	echo_pthread [address]   default 127.0.0.1:0; prints the address it listens on
 *
 * SIGINT and SIGTERM end it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUF_BYTES 4096
/* As much as a coroutine reserves by default; the pthread default of 8 MiB changes nothing but address space. */
#define STACK_BYTES (256 << 10)

static sigset_t stop_signals;

static ssize_t write_all(int fd, const char *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t put = send(fd, buf + done, n - done, MSG_NOSIGNAL);

		if (put < 0)
			return -1;
		done += (size_t)put;
	}
	return (ssize_t)done;
}

static void *serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[BUF_BYTES];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (write_all(fd, buf, (size_t)n) < 0)
			break;
	}
	close(fd);
	return NULL;
}

/* Waits for the signal where it may block: on a thread of its own. */
static void *wait_for_stop(void *arg)
{
	int signal;

	(void)arg;
	sigwait(&stop_signals, &signal);
	exit(0);
}

static void print_address(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) == 0)
		printf("listening on %s:%d\n", inet_ntoa(addr.sin_addr), ntohs(addr.sin_port));
	fflush(stdout);
}

static int listen_on(const char *address)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	const char *colon = strrchr(address, ':');
	char host[64];
	int fd, on = 1;

	if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
		return -1;
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = '\0';
	addr.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &addr.sin_addr) != 1)
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, SOMAXCONN) != 0)
		return -1;
	return fd;
}

static int echo_main(const char *address)
{
	int fd = listen_on(address);
	pthread_attr_t attr;

	if (fd < 0) {
		perror("echo_pthread");
		return 1;
	}
	print_address(fd);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int conn = accept(fd, NULL, NULL);
		pthread_t thread;

		if (conn >= 0 && pthread_create(&thread, &attr, serve_one, (void *)(intptr_t)conn) != 0)
			close(conn);
	}
}

int main(int argc, char **argv)
{
	pthread_t waiter;

	sigemptyset(&stop_signals);
	sigaddset(&stop_signals, SIGINT);
	sigaddset(&stop_signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
	if (pthread_create(&waiter, NULL, wait_for_stop, NULL) != 0)
		return EXIT_FAILURE;
	pthread_detach(waiter);
	return echo_main(argc > 1 ? argv[1] : "127.0.0.1:0");
}
