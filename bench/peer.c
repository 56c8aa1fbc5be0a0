/*
 * The peer of the network rows: an echo server outside all runtimes, one thread a connection,
 * 64 KiB buffers, no delay. bench/run binds it to a CPU.
 *
 * usage: peer      prints "listening on host:port"; SIGTERM ends it
 */
#include "tools/cli.h"
#include "tools/tcp.h"

#include <netinet/tcp.h>
#include <pthread.h>

#define BUFFER_BYTES (64 * 1024)

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg, one = 1;
	char *buf = malloc(BUFFER_BYTES);
	ssize_t n;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	while (buf != NULL && (n = read(fd, buf, BUFFER_BYTES)) > 0)
		if (write_all(fd, buf, (size_t)n) < 0)
			break;
	free(buf);
	close(fd);
	return NULL;
}

int main(void)
{
	int listener = tcp_listen("127.0.0.1:0");
	int err = listener < 0 ? listener : tcp_announce(listener);

	while (err == 0) {
		pthread_t thread;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		err = -pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd);
		if (err == 0)
			pthread_detach(thread);
	}
	complain("%s", strerror(-err));
	return 1;
}
