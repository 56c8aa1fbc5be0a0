/*
 * All that differs between httpd and httpd_pthread: calls that wait, and what runs beside
 * what. httpd/calls.c makes coroutines of it, httpd_pthread/calls.c threads; everything
 * else is compiled once and linked to either.
 *
 * Results are >= 0 or a negative errno. A time limit that passes is -ETIMEDOUT. A call may
 * return on another thread than it was made on: nothing thread-local is kept over one.
 */
#ifndef HTTPD_CALLS_H
#define HTTPD_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Bytes received; 0: the peer has closed. */
ssize_t call_recv(int fd, void *buf, size_t len, int64_t timeout_ns);
/* All of buf within the limit: len, or an error. more: something follows at once. */
ssize_t call_send(int fd, const void *buf, size_t len, bool more, int64_t timeout_ns);
/*
 * Sends a piece of a file that is in memory: bytes, at least one, at most len; 0: the file
 * ends there. -EAGAIN: it is not in memory, or no such file: read it, then send it. *ready:
 * false before a connection's first.
 */
ssize_t call_sendfile(int fd, bool *ready, int file, off_t offset, size_t len, int64_t timeout_ns);
/* All of buf, no limit: for the log. */
ssize_t call_write(int fd, const void *buf, size_t len);
ssize_t call_pread(int fd, void *buf, size_t len, off_t offset);
/* Opens for reading what path names beneath dirfd. -EXDEV: it leads out of there. */
int call_open(int dirfd, const char *path);
void call_close(int fd);
int call_sleep(int64_t ns);

/*
 * One that runs beside its caller; NULL: no memory. Join waits for its end and frees it. After
 * limit_ns its call_write, where it may wait for ever, ends with an error.
 */
struct call_task;
struct call_task *call_spawn(void *(*fn)(void *), void *arg);
void call_join(struct call_task *task, int64_t limit_ns);

/* A bounded queue of values of one size, any number of putters, one taker. */
struct call_queue;
struct call_queue *call_queue_new(size_t value_bytes, size_t capacity);
/* -EAGAIN: full. Never waits. */
int call_queue_put(struct call_queue *queue, const void *value);
/* Waits; -EPIPE: closed and empty. */
int call_queue_take(struct call_queue *queue, void *value);
/* -EAGAIN: empty. Never waits. */
int call_queue_try_take(struct call_queue *queue, void *value);
void call_queue_close(struct call_queue *queue);
void call_queue_free(struct call_queue *queue);

/* How many listeners make sense: known before call_run at most, then exactly. */
unsigned call_shards_max(void);
unsigned call_shards(void);
/* Runs main_fn; its value, or why it could not. */
int call_run(int (*main_fn)(void *), void *arg);
int call_listen(const char *address, bool reuse_port);

struct call_server {
	const int *listeners;
	unsigned listeners_count;
	unsigned connections_max; /* further ones wait in the backlog */
	int64_t drain_ns;
	/* Serves one connection and closes it. */
	void (*handler)(int fd, void *arg);
	void *arg;
};

/* Serves until call_stop, then until the handlers have ended or drain_ns are over. */
int call_serve(const struct call_server *server);
/* From any thread, after call_serve has begun or before; who waits for a connection is woken by the listener's end. */
void call_stop(void);

/* The runtime's own counters; before call_run's end. */
void call_stats(FILE *out);

#endif
