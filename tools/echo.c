/*
 * An echo server: one coroutine a connection. echo_pthread.c is the same program with
 * one thread a connection; `diff tools/echo_pthread.c tools/echo.c` is what a port takes.
 *
 * usage: echo [host:port]      default 127.0.0.1:0
 *
 * Prints "listening on host:port". SIGINT and SIGTERM end it.
 */
#include "tools/cli.h"
#include "tools/tcp.h"

#include <pthread.h>
#include <signal.h>
#include <spg/spg.h>

#define BUFFER_BYTES 4096

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[BUFFER_BYTES];
	ssize_t n;

	while ((n = spg_read(fd, buf, sizeof(buf))) > 0)
		if (spg_write_all(fd, buf, (size_t)n) < 0)
			break;
	spg_close(fd);
	return NULL;
}

static void accept_loop(int listener)
{
	for (;;) {
		int fd = spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		int err = fd < 0 ? fd : spg_go(echo, (void *)(intptr_t)fd);

		if (err == 0)
			continue;
		if (err == -ECANCELED)
			return;
		complain("cannot serve a connection: %s", spg_strerror(err));
		if (fd >= 0)
			spg_close(fd);
		spg_sleep(10 * SPG_MS); /* descriptors or memory are short until others end */
	}
}

static sigset_t signals;

/* The signals are blocked in every thread and taken here, where any function may be called. */
static void *await_signal(void *arg)
{
	int number;

	(void)arg;
	sigwait(&signals, &number);
	spg_exit(0);
	return NULL;
}

static int serve(void *address)
{
	int listener = spg_listen("tcp", address, NULL);
	int err = listener < 0 ? listener : tcp_announce(listener);
	pthread_t waiter;

	if (err == 0)
		err = -pthread_create(&waiter, NULL, await_signal, NULL);
	if (err == 0)
		accept_loop(listener);
	if (listener >= 0)
		spg_close(listener);
	return err;
}

int main(int argc, char **argv)
{
	static char any_port[] = "127.0.0.1:0";
	int err;

	if (argc > 2) {
		complain("one argument at most: host:port");
		return 2;
	}
	raise_fd_limit();
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	err = spg_run(NULL, serve, argc > 1 ? argv[1] : any_port);
	if (err < 0)
		complain("%s", strerror(-err));
	return err < 0;
}
