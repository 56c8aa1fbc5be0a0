/*
 * Echo of 256 bytes between the coroutines of one program: what a message costs both sides
 * together, sockets of the machine's own. 16 clients, each with a socket, one round trip at a
 * time; an op is a round trip. The twins stand in bench/go/local.go.
 *
 * echo_udp       one server coroutine, recvfrom and sendto                     5 to 20 us
 * echo_unix      a unix stream each, a server coroutine each                   3 to 15 us
 * echo_unixgram  unix datagrams, one server coroutine, recvfrom and sendto     3 to 15 us
 */
#include "bench/bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS 16
#define BYTES 256

struct client {
	int fd;
	uint64_t ops, sum;
	spg_wg *done;
};

/* The first eight bytes are the message's number; what comes back is summed up. */
static void ask(void *arg)
{
	struct client *c = arg;
	unsigned char buf[BYTES];

	memset(buf, 0x5A, sizeof(buf));
	for (uint64_t i = 0; i < c->ops; i++) {
		uint64_t n = bench_mix(i);

		memcpy(buf, &n, sizeof(n));
		if (spg_write(c->fd, buf, BYTES) != BYTES || spg_read_full(c->fd, buf, BYTES) != BYTES)
			bench_die("the server is gone");
		memcpy(&n, buf, sizeof(n));
		c->sum += n + buf[BYTES - 1];
	}
	spg_wg_done(c->done);
}

static void serve_stream(void *arg)
{
	int fd = (int)(intptr_t)arg;
	unsigned char buf[4096];
	ssize_t n;

	while ((n = spg_read(fd, buf, sizeof(buf))) > 0)
		if (spg_write_all(fd, buf, (size_t)n) < 0)
			break;
	spg_close(fd);
}

static void serve_datagrams(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct sockaddr_storage from;
	unsigned char buf[4096];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = spg_recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n < 0)
			break;
		if (spg_sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len) != n)
			bench_die("cannot answer");
	}
}

static void accept_all(void *arg)
{
	int listener = (int)(intptr_t)arg, fd;

	while ((fd = spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		bench_go(NULL, serve_stream, (void *)(intptr_t)fd);
}

/* Where the server of this program is. */
static struct sockaddr_storage server_name;
static socklen_t server_len;

static int server_fd(int fd)
{
	if (fd < 0)
		bench_die("no server: %s", spg_strerror(fd));
	server_len = sizeof(server_name);
	if (getsockname(fd, (struct sockaddr *)&server_name, &server_len) != 0)
		bench_die("no name");
	return fd;
}

/* A unix datagram socket needs a name to be answered: the kernel chooses one. */
static int client_fd(int type)
{
	int fd = spg_socket(server_name.ss_family, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un any = { .sun_family = AF_UNIX };

	if (fd >= 0 && server_name.ss_family == AF_UNIX && type == SOCK_DGRAM &&
	    bind(fd, (struct sockaddr *)&any, sizeof(any.sun_family)) != 0)
		bench_die("no name");
	if (fd < 0 || spg_connect(fd, (struct sockaddr *)&server_name, server_len) < 0)
		bench_die("cannot connect");
	return fd;
}

static int client_fds[CLIENTS];

static int echo_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct client clients[CLIENTS];
	spg_wg done = SPG_WG_INIT;

	(void)o;
	*sum = 0;
	spg_wg_add(&done, CLIENTS);
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){ client_fds[i], ops / CLIENTS, 0, &done };
		bench_go(NULL, ask, &clients[i]);
	}
	bench_wait(&done);
	for (int i = 0; i < CLIENTS; i++)
		*sum += clients[i].sum;
	return 0;
}

static int measure(const struct bench_options *o, struct bench_report *r, spg_fn serve, int fd, int type)
{
	int err;

	server_fd(fd);
	bench_go(NULL, serve, (void *)(intptr_t)fd);
	for (int i = 0; i < CLIENTS; i++)
		client_fds[i] = client_fd(type);
	err = bench_measure(o, r, echo_pass);
	for (int i = 0; i < CLIENTS; i++)
		spg_close(client_fds[i]);
	spg_close(fd); /* ends the server */
	return err;
}

static int echo_udp_row(const struct bench_options *o, struct bench_report *r)
{
	return measure(o, r, serve_datagrams, spg_listen("udp4", "127.0.0.1:0", NULL), SOCK_DGRAM);
}

/* An abstract name of this process's own. */
static int listen_unix(const char *network)
{
	char name[64];

	snprintf(name, sizeof(name), "@spg-bench-%d", (int)getpid());
	return spg_listen(network, name, NULL);
}

static int echo_unix_row(const struct bench_options *o, struct bench_report *r)
{
	return measure(o, r, accept_all, listen_unix("unix"), SOCK_STREAM);
}

static int echo_unixgram_row(const struct bench_options *o, struct bench_report *r)
{
	return measure(o, r, serve_datagrams, listen_unix("unixgram"), SOCK_DGRAM);
}

const struct bench_row bench_rows_local[] = {
	{ "echo_udp", echo_udp_row, true },
	{ "echo_unix", echo_unix_row, true },
	{ "echo_unixgram", echo_unixgram_row, true },
	{ NULL, NULL, false },
};
