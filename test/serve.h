/*
 * A server under a context of its own, echo handlers, and clients that check every byte.
 */
#ifndef SPG__TEST_SERVE_H
#define SPG__TEST_SERVE_H

#include "test/t.h"

#include <fcntl.h>
#include <sys/socket.h>

#define MESSAGE_BYTES 64
#define CLIENTS 16

/* A server under a context of its own, and what its handlers saw. */
struct server {
	int listener;
	char address[128];
	spg_ctx *ctx;
	spg_task *task;
	const spg_serve_opts *opts;
	void (*handler)(int fd, void *arg);
	_Atomic int open, open_max, served, canceled, errors;
};

static inline void listen_on(struct server *s, const char *network, const char *address)
{
	struct sockaddr_storage name = { 0 };
	socklen_t len = sizeof(name);

	s->listener = spg_listen(network, address, NULL);
	T_OK(s->listener >= 0);
	T_EQ(getsockname(s->listener, (struct sockaddr *)&name, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&name, s->address, sizeof(s->address)) > 0);
}

static inline void *serve_main(void *arg)
{
	struct server *s = arg;

	return (void *)(intptr_t)spg_serve(s->listener, s->handler, s, s->opts);
}

/* Listens on a port of its own unless s->listener is there already. */
static inline void server_start(struct server *s, void (*handler)(int, void *), const spg_serve_opts *opts)
{
	spg_attr attr = SPG_ATTR_INIT;

	if (s->address[0] == '\0')
		listen_on(s, "tcp", "127.0.0.1:0");
	s->handler = handler;
	s->opts = opts;
	s->ctx = spg_ctx_new(NULL);
	T_OK(s->ctx != NULL);
	attr.ctx = s->ctx;
	s->task = spg_spawn(&attr, serve_main, s);
	T_OK(s->task != NULL);
}

static inline void server_join(struct server *s, int expected)
{
	void *result;

	T_EQ(spg_join(s->task, &result), 0);
	T_EQ((intptr_t)result, expected);
	if (s->listener >= 0) {
		T_EQ(fcntl(s->listener, F_GETFD), FD_CLOEXEC); /* it is ours, and open */
		T_EQ(spg_close(s->listener), 0);
	}
	spg_ctx_unref(s->ctx);
	T_EQ(atomic_load(&s->open), 0);
}

static inline void server_stop(struct server *s)
{
	spg_ctx_cancel(s->ctx);
	server_join(s, 0);
}

static inline void enter(struct server *s)
{
	int open = atomic_fetch_add(&s->open, 1) + 1, max = atomic_load(&s->open_max);

	while (open > max && !atomic_compare_exchange_weak(&s->open_max, &max, open))
		continue;
}

static inline void leave(struct server *s, int fd)
{
	atomic_fetch_sub(&s->open, 1);
	atomic_fetch_add(&s->served, 1);
	T_EQ(spg_close(fd), 0);
}

static inline void echo(int fd, void *arg)
{
	struct server *s = arg;
	char buf[MESSAGE_BYTES];
	ssize_t n;

	enter(s);
	while ((n = spg_recv(fd, buf, sizeof(buf), 0)) > 0) {
		n = spg_write_all(fd, buf, (size_t)n);
		if (n < 0)
			break;
	}
	if (n == -ECANCELED)
		atomic_fetch_add(&s->canceled, 1);
	else if (n < 0)
		atomic_fetch_add(&s->errors, 1);
	leave(s, fd);
}

static inline int connect_to(struct server *s)
{
	int fd = spg_dial("tcp", s->address, NULL);

	T_OK(fd >= 0);
	return fd;
}

static inline void talk(int fd, int rounds)
{
	char out[MESSAGE_BYTES], in[MESSAGE_BYTES];

	for (int i = 0; i < rounds; i++) {
		for (size_t k = 0; k < sizeof(out); k++)
			out[k] = (char)(fd + i + (int)k);
		T_EQ(spg_write_all(fd, out, sizeof(out)), sizeof(out));
		T_EQ(spg_read_full(fd, in, sizeof(in)), sizeof(in));
		T_OK(memcmp(in, out, sizeof(in)) == 0);
	}
}

/* Sends the end, and sees the server close. */
static inline void hang_up(int fd)
{
	char byte;

	T_EQ(spg_shutdown(fd, SHUT_WR), 0);
	T_EQ(spg_recv(fd, &byte, 1, 0), 0);
	T_EQ(spg_close(fd), 0);
}

static inline int talking_client(void *arg)
{
	int fd = connect_to(arg);

	talk(fd, 20);
	hang_up(fd);
	return 0;
}

/* CLIENTS of them at once. */
static inline void run_clients(struct server *s, int (*client)(void *))
{
	spg_group *group = spg_group_new(0);

	T_OK(group != NULL);
	for (int i = 0; i < CLIENTS; i++)
		T_EQ(spg_group_go(group, client, s), 0);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
}

#endif
