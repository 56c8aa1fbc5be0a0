/*
 * The calls of httpd: coroutines.
 */
#include "tools/httpd/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <poll.h>
#include <spg/spg.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Handlers keep their buffers elsewhere. */
#define STACK_BYTES (64 * 1024)
#define PAGE_BYTES 4096u
/* Of one sendfile: what the other coroutines of the shard wait for. */
#define SENDFILE_BYTES ((size_t)256 * 1024)

/* Ends call_serve. Made by call_run, before main_fn. */
static spg_ctx *serving;

ssize_t call_recv(int fd, void *buf, size_t len, int64_t timeout_ns)
{
	SPG_TIMEOUT_SCOPE(timeout_ns);

	return spg_recv(fd, buf, len, 0);
}

static ssize_t send_rest(int fd, const void *buf, size_t len, int64_t timeout_ns)
{
	SPG_TIMEOUT_SCOPE(timeout_ns);

	return spg_write_all(fd, buf, len);
}

/* When a piece of a file follows, the head before it goes out by this thread as well. */
static ssize_t send_now(int fd, const void *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n > 0 ? n : 0; /* what is wrong, the next one says */
}

ssize_t call_send(int fd, const void *buf, size_t len, bool more, int64_t timeout_ns)
{
	ssize_t n = more ? send_now(fd, buf, len) : 0;

	if ((size_t)n < len)
		n = send_rest(fd, (const char *)buf + n, len - (size_t)n, timeout_ns);
	return n < 0 ? n : (ssize_t)len;
}

/* cachestat(2), Linux 6.5, <linux/mman.h> */
#define SYS_CACHESTAT 451
struct cache_range {
	uint64_t offset, len;
};
struct cache_stat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
};

/* Would reading it not wait for a disk? False as well where the kernel cannot say. */
static bool is_in_memory(int file, off_t offset, size_t len)
{
	struct cache_range range = { .offset = (uint64_t)offset, .len = len };
	struct cache_stat stat;
	uint64_t first = range.offset / PAGE_BYTES, last = (range.offset + len - 1) / PAGE_BYTES;

	return syscall(SYS_CACHESTAT, file, &range, &stat, 0) == 0 && stat.cached == last - first + 1;
}

/* sendfile(2) on this thread, as nothing in it waits: neither for a disk nor for the peer. */
ssize_t call_sendfile(int fd, bool *ready, int file, off_t offset, size_t len, int64_t timeout_ns)
{
	int64_t until = spg_now() + timeout_ns;

	if (len > SENDFILE_BYTES)
		len = SENDFILE_BYTES;
	if (!is_in_memory(file, offset, len))
		return -EAGAIN;
	if (!*ready && fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return -EAGAIN;
	*ready = true;
	for (;;) {
		ssize_t n = sendfile(fd, file, &offset, len);
		int err;

		if (n >= 0)
			return n;
		err = spg_errno();
		if (err != EAGAIN)
			return err == EINVAL || err == ENOSYS ? -EAGAIN : -err;
		err = spg_poll(fd, POLLOUT, until - spg_now());
		if (err <= 0)
			return err < 0 ? err : -ETIMEDOUT;
	}
}

ssize_t call_write(int fd, const void *buf, size_t len)
{
	return spg_write_all(fd, buf, len);
}

ssize_t call_pread(int fd, void *buf, size_t len, off_t offset)
{
	return spg_pread(fd, buf, len, offset);
}

struct open_call {
	int dirfd;
	const char *path;
	struct open_how how;
};

static void prep_open(struct io_uring_sqe *sqe, void *arg)
{
	struct open_call *call = arg;

	io_uring_prep_openat2(sqe, call->dirfd, call->path, &call->how);
}

/* O_NONBLOCK: a FIFO without a writer is opened, then refused. */
int call_open(int dirfd, const char *path)
{
	struct open_call call = {
		.dirfd = dirfd,
		.path = path,
		.how = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS },
	};

	return spg_uring(prep_open, &call, NULL);
}

void call_close(int fd)
{
	spg_close(fd);
}

int call_sleep(int64_t ns)
{
	return spg_sleep(ns);
}

struct call_task *call_spawn(void *(*fn)(void *), void *arg)
{
	return (struct call_task *)spg_spawn(NULL, fn, arg);
}

static void join(spg_task *task)
{
	if (task != NULL && spg_join(task, NULL) < 0)
		spg_detach(task);
}

static int join_within(spg_task *task, int64_t limit_ns)
{
	SPG_TIMEOUT_SCOPE(limit_ns);

	return spg_join(task, NULL);
}

void call_join(struct call_task *task, int64_t limit_ns)
{
	spg_task *joined = (spg_task *)task;

	if (joined == NULL || join_within(joined, limit_ns) == 0)
		return;
	spg_task_cancel(joined);
	join(joined);
}

struct call_queue *call_queue_new(size_t value_bytes, size_t capacity)
{
	return (struct call_queue *)spg_chan_new(value_bytes, capacity);
}

int call_queue_put(struct call_queue *queue, const void *value)
{
	return spg_chan_try_send((spg_chan *)queue, value);
}

int call_queue_take(struct call_queue *queue, void *value)
{
	return spg_chan_recv((spg_chan *)queue, value);
}

int call_queue_try_take(struct call_queue *queue, void *value)
{
	return spg_chan_try_recv((spg_chan *)queue, value);
}

void call_queue_close(struct call_queue *queue)
{
	spg_chan_close((spg_chan *)queue);
}

void call_queue_free(struct call_queue *queue)
{
	spg_chan_unref((spg_chan *)queue);
}

unsigned call_shards_max(void)
{
	return SPG_SHARDS_MAX;
}

unsigned call_shards(void)
{
	return (unsigned)spg_shards();
}

struct run {
	int (*main_fn)(void *);
	void *arg;
};

static int run_main(void *arg)
{
	struct run *run = arg;
	int res = -ENOMEM;

	serving = spg_ctx_new(NULL);
	if (serving != NULL)
		res = run->main_fn(run->arg);
	spg_ctx_unref(serving);
	return res;
}

int call_run(int (*main_fn)(void *), void *arg)
{
	struct run run = { .main_fn = main_fn, .arg = arg };

	return spg_run(NULL, run_main, &run);
}

int call_listen(const char *address, bool reuse_port)
{
	spg_listen_opts opts = SPG_LISTEN_OPTS_INIT;

	opts.reuse_port = reuse_port;
	return spg_listen("tcp", address, &opts);
}

struct accepting {
	const struct call_server *server;
	int listener;
	spg_place place; /* of the handlers */
	spg_task *task;
	int res;
};

static void *accept_main(void *arg)
{
	struct accepting *a = arg;
	spg_serve_opts opts = SPG_SERVE_OPTS_INIT;

	opts.name = "connection";
	opts.connections_max = a->server->connections_max;
	opts.drain_ns = a->server->drain_ns;
	opts.stack_size = STACK_BYTES;
	opts.place = a->place;
	a->res = spg_serve(a->listener, a->server->handler, a->server->arg, &opts);
	if (spg_ctx_err(serving) != 0)
		a->res = 0; /* call_stop was called; what a listener says then does not matter */
	else if (a->res < 0)
		spg_ctx_cancel(serving); /* no server with half its listeners */
	return NULL;
}

int call_serve(const struct call_server *server)
{
	struct accepting *all = calloc(server->listeners_count, sizeof(*all));
	int res = 0;

	if (all == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < server->listeners_count; i++) {
		bool only = server->listeners_count == 1;
		spg_attr attr = { .name = "accept", .place = only ? SPG_ANY : SPG_PIN(i), .ctx = serving };

		all[i] = (struct accepting){ .server = server, .listener = server->listeners[i],
					     .place = only ? SPG_SPREAD : SPG_PREFER(i) };
		all[i].task = spg_spawn(&attr, accept_main, &all[i]);
		if (all[i].task == NULL)
			res = -ENOMEM;
	}
	if (res < 0)
		spg_ctx_cancel(serving);
	for (unsigned i = 0; i < server->listeners_count; i++) {
		join(all[i].task);
		if (res == 0)
			res = all[i].res;
	}
	free(all);
	return res;
}

void call_stop(void)
{
	spg_ctx_cancel(serving);
}

void call_stats(FILE *out)
{
	spg_stats_t *stats = malloc(sizeof(*stats));
	const struct spg_shard_stats *t;

	if (stats == NULL || spg_stats(stats) < 0) {
		free(stats);
		return;
	}
	t = &stats->total;
	fprintf(out, "runtime: shards %ju, spawned %ju, switches %ju, stolen %ju, sqes %ju, enters %ju, "
		"wakes %ju (%ju coalesced), sleeps %ju, timers fired %ju, cancels %ju, kicks %ju, stalls %ju\n",
		(uintmax_t)stats->shards, (uintmax_t)t->spawned, (uintmax_t)t->switches, (uintmax_t)t->stolen,
		(uintmax_t)t->sqes, (uintmax_t)t->enters, (uintmax_t)t->wakes_sent,
		(uintmax_t)t->wakes_coalesced, (uintmax_t)t->sleeps, (uintmax_t)t->timers_fired,
		(uintmax_t)t->cancels, (uintmax_t)t->kicks, (uintmax_t)t->stalls);
	free(stats);
}
