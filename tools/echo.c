/*
 * echo: answers every byte it gets. One coroutine per connection; echo_pthread.c is the
 * same program with one thread per connection.
 *
 *	echo [address]         default 127.0.0.1:0; prints the address it listens on
 *
 * SIGINT and SIGTERM end it. SPG_SHARDS and the other variables configure the runtime.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spg/spg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_BYTES 4096

static sigset_t stop_signals;

static void serve_one(int fd, void *arg)
{
	char buf[BUF_BYTES];
	ssize_t n;

	(void)arg;
	while ((n = spg_read(fd, buf, sizeof(buf))) > 0) {
		if (spg_write_all(fd, buf, (size_t)n) < 0)
			break;
	}
	spg_close(fd);
}

/* Waits for the signal where it may block: on a thread of its own. */
static void *wait_for_stop(void *arg)
{
	int signal;

	(void)arg;
	sigwait(&stop_signals, &signal);
	spg_exit(0);
	return NULL;
}

static void print_address(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char text[128];

	if (getsockname(fd, (struct sockaddr *)&addr, &len) == 0 &&
	    spg_sockaddr_str((struct sockaddr *)&addr, text, sizeof(text)) > 0)
		printf("listening on %s\n", text);
	fflush(stdout);
}

static int echo_main(void *arg)
{
	spg_serve_opts opts = SPG_SERVE_OPTS_INIT;
	int fd = spg_listen("tcp", arg, NULL);
	int err;

	if (fd < 0) {
		fprintf(stderr, "echo: %s: %s\n", (const char *)arg, spg_strerror(fd));
		return 1;
	}
	print_address(fd);
	opts.drain_ns = 0;
	err = spg_serve(fd, serve_one, NULL, &opts);
	if (err < 0)
		fprintf(stderr, "echo: serve: %s\n", spg_strerror(err));
	spg_close(fd);
	return err < 0;
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
	return spg_run(NULL, echo_main, argc > 1 ? argv[1] : "127.0.0.1:0");
}
