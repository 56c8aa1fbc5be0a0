/*
 * An echo server: one thread a connection. echo.c is the same program with one coroutine
 * a connection; `diff tools/echo_pthread.c tools/echo.c` is what a port takes.
 *
 * usage: echo_pthread [host:port]      default 127.0.0.1:0
 *
 * Prints "listening on host:port". SIGINT and SIGTERM end it.
 */
#include "tools/cli.h"
#include "tools/tcp.h"

#include <pthread.h>
#include <signal.h>

#define BUFFER_BYTES 4096
/* The default of 8 MiB gives nothing here and costs 4 KiB of page tables more for each thread. */
#define STACK_BYTES (64 * 1024)

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[BUFFER_BYTES];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write_all(fd, buf, (size_t)n) < 0)
			break;
	close(fd);
	return NULL;
}

static void accept_loop(int listener)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		int err = fd < 0 ? errno : pthread_create(&thread, &attr, echo, (void *)(intptr_t)fd);

		if (err == 0)
			continue;
		complain("cannot serve a connection: %s", strerror(err));
		if (fd >= 0)
			close(fd);
		usleep(10 * 1000); /* descriptors or memory are short until others end */
	}
}

static sigset_t signals;

/* The signals are blocked in every thread and taken here, where any function may be called. */
static void *await_signal(void *arg)
{
	int number;

	(void)arg;
	sigwait(&signals, &number);
	exit(0);
	return NULL;
}

static int serve(void *address)
{
	int listener = tcp_listen(address);
	int err = listener < 0 ? listener : tcp_announce(listener);
	pthread_t waiter;

	if (err == 0)
		err = -pthread_create(&waiter, NULL, await_signal, NULL);
	if (err == 0)
		accept_loop(listener);
	if (listener >= 0)
		close(listener);
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

	err = serve(argc > 1 ? argv[1] : any_port);
	if (err < 0)
		complain("%s", strerror(-err));
	return err < 0;
}
