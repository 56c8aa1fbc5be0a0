/*
 * A server of static files over HTTP/1.1: one coroutine a connection. httpd_pthread is the
 * same program with one thread a connection; tools/httpd/calls.h is all the difference.
 *
 * Prints "listening on host:port". SIGINT and SIGTERM end it when requests under way are
 * answered, or --drain-seconds are over.
 */
#include "tools/cli.h"
#include "tools/httpd/buffer.h"
#include "tools/httpd/calls.h"
#include "tools/httpd/conn.h"
#include "tools/httpd/counters.h"
#include "tools/httpd/file.h"
#include "tools/httpd/log.h"
#include "tools/httpd/marks.h"
#include "tools/httpd/options.h"
#include "tools/tcp.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* Connections beyond the limit that are being told so; more wait in the backlog. */
#define REFUSALS_MAX 64
#define ADDRESS_BYTES 300

static struct options options;
static sigset_t signals;
static _Atomic unsigned open_count;

static void handle(int fd, void *arg)
{
	(void)arg;
	/* relaxed, both: a number, nothing depends on it. */
	if (atomic_fetch_add_explicit(&open_count, 1, memory_order_relaxed) < options.connections_max)
		conn_serve(fd, &options);
	else
		conn_refuse(fd);
	atomic_fetch_sub_explicit(&open_count, 1, memory_order_relaxed);
	call_close(fd); /* who sees it closed finds room for another */
}

/*
 * The signals are blocked in every thread and taken here, where any function may be called.
 * Who comes from now on is refused at once, and may go to another server.
 */
static void *await_signal(void *arg)
{
	const struct call_server *server = arg;
	int number;

	sigwait(&signals, &number);
	marks_drain();
	call_stop();
	for (unsigned i = 0; i < server->listeners_count; i++)
		shutdown(server->listeners[i], SHUT_RDWR);
	return NULL;
}

/* The address a listener got: what the others of a group must ask for. */
static int address_of(int listener, char out[ADDRESS_BYTES])
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[TCP_HOST_BYTES], port[NI_MAXSERV];

	if (getsockname(listener, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	if (getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return -EINVAL;
	snprintf(out, ADDRESS_BYTES, sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return 0;
}

/* 0, or an error; *opened say how many are to be closed in any case. */
static int open_listeners(int *listeners, unsigned count, unsigned *opened)
{
	char address[ADDRESS_BYTES];
	int err = 0;

	for (*opened = 0; *opened < count && err == 0;) {
		int fd = call_listen(*opened == 0 ? options.address : address, count > 1);

		if (fd < 0)
			return fd;
		listeners[(*opened)++] = fd;
		if (*opened == 1)
			err = address_of(fd, address);
	}
	return err;
}

static int serve_on(const int *listeners, unsigned count)
{
	struct call_server server = {
		.listeners = listeners,
		.listeners_count = count,
		.connections_max = options.connections_max + REFUSALS_MAX,
		.drain_ns = options.drain_ns,
		.handler = handle,
	};
	pthread_t waiter;
	uint64_t dropped;
	int err = log_start(options.log_path);

	if (err < 0) {
		complain("cannot write %s: %s", options.log_path, strerror(-err));
		return err;
	}
	err = -pthread_create(&waiter, NULL, await_signal, &server);
	if (err == 0) {
		err = tcp_announce(listeners[0]);
		if (err == 0)
			err = call_serve(&server);
		pthread_kill(waiter, SIGTERM); /* it has had its signal, or gets one now */
		pthread_join(waiter, NULL);
	}
	dropped = log_stop(options.drain_ns);
	if (options.stats) {
		counters_print(stderr);
		fprintf(stderr, "httpd: log lines dropped %ju\n", (uintmax_t)dropped);
		call_stats(stderr);
	}
	return err;
}

static int serve(void *arg)
{
	unsigned count = options.reuse_port ? call_shards() : 1, opened;
	int *listeners = calloc(count, sizeof(int));
	int err = listeners == NULL ? -ENOMEM : open_listeners(listeners, count, &opened);

	(void)arg;
	if (listeners == NULL)
		return err;
	if (err < 0)
		complain("cannot listen on %s: %s", options.address, strerror(-err));
	else
		err = serve_on(listeners, count);
	while (opened > 0)
		call_close(listeners[--opened]);
	free(listeners);
	return err;
}

int main(int argc, char **argv)
{
	int root_fd, err;

	options_parse(&options, argc, argv);
	raise_fd_limit();
	root_fd = open(options.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0) {
		complain("%s: %s", options.root, strerror(errno));
		return 1;
	}
	signal(SIGPIPE, SIG_IGN); /* sendfile(2) knows no MSG_NOSIGNAL */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	err = marks_init();
	if (err == 0)
		err = files_init(root_fd, options.open_files, options.fresh_ns);
	if (err == 0)
		err = call_run(serve, NULL);
	if (err < 0)
		complain("%s", strerror(-err));
	files_fini();
	buffers_fini();
	marks_fini();
	close(root_fd);
	return err < 0;
}
