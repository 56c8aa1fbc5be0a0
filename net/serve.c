/*
 * Accept loop, one coroutine a connection, drain.
 *
 * V1  A connection is open from its accept until its handler has returned. `started`
 *     counts the first, `ended` the second; their difference never exceeds the limit.
 * V2  Handlers run under a context of the server's own, a child of the root: the end of
 *     the caller's context stops the accepting and leaves the open connections alone
 *     until the drain is over; the runtime's end reaches them at once.
 * V3  The server lives on the caller's stack. A handler's last access to it is its
 *     spg_wg_done; spg_serve returns after the wait group's wait.
 * V4  The loop that waits for a handler's end sets `watching`, then reads `ended`; a
 *     handler that ends raises `ended`, then reads `watching` (all seq_cst). So one of
 *     the two sees the other, and no end is waited for that has happened.
 * V5  The listening descriptor is the caller's: never closed here.
 */
#include "net/serve.h"

#include "coro/alloc.h"
#include "coro/leak.h"
#include "coro/clock.h"
#include "io/features.h"
#include "io/multi.h"

#include <spg/spg.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER_NAME "spg-serve"
#define HANDLER_NAME "spg-handler"
/* How long to wait for descriptors or memory that others hold. Doubles. */
#define BACKOFF_MIN_NS (5 * SPG_MS)
#define BACKOFF_MAX_NS SPG_SEC

struct server {
	int listen_fd;
	void (*handler)(int fd, void *arg);
	void *arg;
	const spg_serve_opts *opts;
	spg_ctx *ctx;
	/* A token for the loop that watches; stale ones are harmless. */
	spg_chan *gate;
	spg_wg open;
	_Atomic uint64_t ended;
	_Atomic bool watching;
	/* The accept loop's own. */
	uint64_t started;
	int64_t backoff_ns;
};

struct connection {
	struct server *server;
	int fd;
};

/* Where descriptors come from: a multishot accept on the ring, or one accept at a time. */
struct acceptor {
	int fd;
	bool multishot, open;
	struct spg__multi multi;
};

static void drop_fd(int32_t fd)
{
	close(fd);
}

static void prep_accept(struct io_uring_sqe *sqe, void *arg)
{
	struct acceptor *acceptor = arg;

	io_uring_prep_multishot_accept(sqe, acceptor->fd, NULL, NULL, SOCK_CLOEXEC);
}

/* Connections that came and nobody took are closed. */
static void acceptor_close(struct acceptor *acceptor)
{
	if (acceptor->open)
		spg__multi_close(&acceptor->multi);
	acceptor->open = false;
}

static int multishot_next(struct acceptor *acceptor)
{
	int res = 0;

	if (!acceptor->open)
		res = spg__multi_open(&acceptor->multi, acceptor->fd, drop_fd, prep_accept, acceptor);
	if (res < 0)
		return res;
	acceptor->open = true;
	return spg__multi_next(&acceptor->multi);
}

/* A connection, or an error. */
static int acceptor_next(struct acceptor *acceptor)
{
	int res;

	while (acceptor->multishot) {
		res = multishot_next(acceptor);
		if (res >= 0)
			return res;
		acceptor_close(acceptor); /* it is over, or shall be */
		if (res == -EINVAL)
			acceptor->multishot = false; /* no such operation here: accept(2) knows what else it may be */
		else if (res != -ENODATA)
			return res;
	}
	return spg_accept4(acceptor->fd, NULL, NULL, SOCK_CLOEXEC);
}

static uint64_t open_count(struct server *s)
{
	/* seq_cst [V4]. */
	return s->started - atomic_load_explicit(&s->ended, memory_order_seq_cst);
}

static void connection_main(void *arg)
{
	struct connection conn = *(struct connection *)arg;
	struct server *s = conn.server;

	spg__free(arg);
	/* Who does not close it is the handler. */
	spg__leak_opened(conn.fd, (const char *)(void *)s->handler + 1);
	s->handler(conn.fd, s->arg);
	/* seq_cst, both [V4]. */
	atomic_fetch_add_explicit(&s->ended, 1, memory_order_seq_cst);
	if (atomic_load_explicit(&s->watching, memory_order_seq_cst))
		(void)spg_chan_try_send(s->gate, NULL); /* full: a token is there already */
	spg_wg_done(&s->open); /* V3 */
}

/*
 * Waits until fewer than `open` connections are open, or wait_ns have passed. 0, or the
 * error that ends the loop.
 */
static int await_fewer(struct server *s, uint64_t open, int64_t wait_ns)
{
	SPG_TIMEOUT_SCOPE(wait_ns);
	int err = 0;

	/* seq_cst [V4]. */
	atomic_store_explicit(&s->watching, true, memory_order_seq_cst);
	while (err == 0 && open_count(s) >= open)
		err = spg_chan_recv(s->gate, NULL);
	/* relaxed: a handler that still sees it sends a token too many. */
	atomic_store_explicit(&s->watching, false, memory_order_relaxed);
	return err;
}

/*
 * Is this the orderly end of the loop? The context's; or the listener was closed
 * (spg_close ends the call in flight with -ECANCELED, the next one with -EBADF, and it
 * was open at the start).
 */
static bool is_over(int err)
{
	return err == -ECANCELED || err == -EBADF || (err < 0 && spg_ctx_err(NULL) != 0);
}

/*
 * Descriptors, memory or coroutines are used up. A handler that ends gives some back:
 * fewer than `open` connections, and it is time to try again. What others free is found
 * by trying now and then.
 */
static int back_off(struct server *s, uint64_t open)
{
	int64_t wait_ns = s->backoff_ns;
	int err = await_fewer(s, open, wait_ns);

	s->backoff_ns = wait_ns * 2 < BACKOFF_MAX_NS ? wait_ns * 2 : BACKOFF_MAX_NS;
	return is_over(err) ? err : 0;
}

static int start_handler(struct server *s, int fd)
{
	struct connection *conn = spg__alloc(sizeof(*conn));
	spg_attr attr = SPG_ATTR_INIT;
	int err;

	if (conn == NULL)
		return -ENOMEM;
	*conn = (struct connection){ .server = s, .fd = fd };
	attr.name = s->opts->name != NULL ? s->opts->name : HANDLER_NAME;
	attr.stack_size = s->opts->stack_size;
	attr.place = s->opts->place;
	attr.ctx = s->ctx;
	err = spg_go_attr(&attr, connection_main, conn);
	if (err < 0)
		spg__free(conn);
	return err;
}

/* Takes the descriptor over, also when it fails. */
static int serve_one(struct server *s, int fd)
{
	uint64_t open = open_count(s);
	int err;

	spg_wg_add(&s->open, 1);
	s->started++;
	err = start_handler(s, fd);
	while (err == -ENOMEM || err == -EAGAIN) {
		err = back_off(s, open + 1); /* this one counts, and cannot end */
		if (err == 0)
			err = start_handler(s, fd);
	}
	if (err == 0)
		return 0;
	close(fd);
	s->started--;
	spg_wg_done(&s->open);
	return err;
}

/* accept(2): what a connection died of before we took it. The next one is another. */
static bool is_transient(int err)
{
	switch (err) {
	case -ECONNABORTED:
	case -EINTR:
	case -EPROTO:
	case -ENOPROTOOPT:
	case -EOPNOTSUPP: /* the descriptor does listen: checked at the start */
	case -ENONET:
	case -ENETDOWN:
	case -ENETUNREACH:
	case -EHOSTDOWN:
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -ECONNRESET:
		return true;
	default:
		return false;
	}
}

/* What passes when somebody gives something back. */
static bool is_shortage(int err)
{
	switch (err) {
	case -EMFILE: /* our descriptors */
	case -ENFILE: /* the host's */
	case -ENOBUFS:
	case -ENOMEM:
	case -EPERM: /* a firewall or a security module, for now */
	case -EAGAIN:
		return true;
	default:
		return false;
	}
}

/* One connection, or one reason why there is none. 0: go on. */
static int accept_one(struct server *s, struct acceptor *acceptor)
{
	uint64_t limit = s->opts->connections_max, open;
	int res;

	open = open_count(s); /* before the accept: back_off does not wait for an end that came during it */
	if (limit > 0 && open >= limit)
		return await_fewer(s, limit, SPG__NEVER);
	res = acceptor_next(acceptor);
	if (res >= 0) {
		s->backoff_ns = BACKOFF_MIN_NS;
		return serve_one(s, res);
	}
	if (is_over(res))
		return res;
	if (is_transient(res))
		return 0;
	return is_shortage(res) ? back_off(s, open) : res;
}

/* 0: the context ended, or the listener was closed; or why it cannot go on. */
static int accept_loop(struct server *s)
{
	struct acceptor acceptor = { .fd = s->listen_fd };
	int err = spg_ctx_err(NULL);

	/* With a limit the kernel must not take connections ahead of us. */
	acceptor.multishot = s->opts->connections_max == 0 && spg__features.multishot &&
			     spg__op_usable(IORING_OP_ACCEPT);
	/* Asked each time: a queue of results never empty would hide the end. */
	while (err == 0) {
		err = accept_one(s, &acceptor);
		if (err == 0)
			err = spg_ctx_err(NULL);
	}
	acceptor_close(&acceptor);
	return is_over(err) ? 0 : err;
}

/* Waits for the handlers: as long as they were promised, then with their context ended. */
static void drain(struct server *s)
{
	SPG_SHIELD_SCOPE();
	int err;

	{
		SPG_TIMEOUT_SCOPE(s->opts->drain_ns);
		err = spg_wg_wait(&s->open);
	}
	if (err == 0)
		return;
	spg_ctx_cancel(s->ctx);
	err = spg_wg_wait(&s->open);
	SPG_CHECK(err == 0); /* in a shield, without a deadline, on a coroutine */
}

static int serve(struct server *s)
{
	int err = accept_loop(s);

	drain(s);
	return err;
}

static void *serve_main(void *arg)
{
	return (void *)(intptr_t)serve(arg);
}

/*
 * A plain thread lets a coroutine do it. So the ring accepts for it as well, and the
 * runtime's end reaches the loop wherever it is: spg_stop ends one wait of the thread's,
 * and that only if it is in one.
 */
static int serve_for_thread(struct server *s)
{
	spg_attr attr = SPG_ATTR_INIT;
	void *result = NULL;
	spg_task *task;

	attr.name = SERVER_NAME;
	attr.ctx = spg__ctx_create(spg__ctx_root(), SPG__NEVER);
	task = attr.ctx != NULL ? spg_spawn(&attr, serve_main, s) : NULL;
	if (task != NULL && spg_join(task, &result) < 0) {
		SPG_SHIELD_SCOPE();

		spg_ctx_cancel(attr.ctx);
		while (spg_join(task, &result) < 0)
			; /* spg_stop's one wait */
	}
	spg_ctx_unref(attr.ctx);
	if (task == NULL)
		return spg_running() ? -ENOMEM : -ESRCH;
	return (int)(intptr_t)result;
}

static int check_listener(int fd)
{
	socklen_t len = sizeof(int);
	int listening = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
		return -errno;
	return listening ? 0 : -EINVAL;
}

int spg_serve(int listen_fd, void (*handler)(int fd, void *arg), void *arg, const spg_serve_opts *o)
{
	static const spg_serve_opts defaults = SPG_SERVE_OPTS_INIT;
	struct server s = {
		.listen_fd = listen_fd,
		.handler = handler,
		.arg = arg,
		.opts = o == NULL ? &defaults : o,
		.open = SPG_WG_INIT,
		.backoff_ns = BACKOFF_MIN_NS,
	};
	int err = handler == NULL ? -EINVAL : check_listener(listen_fd);

	if (err < 0)
		return err;
	if (s.opts->per_shard)
		return spg__serve_shards(listen_fd, handler, arg, s.opts);
	s.gate = spg_chan_new(0, 1);
	s.ctx = spg__ctx_create(spg__ctx_root(), SPG__NEVER); /* V2 */
	err = -ENOMEM;
	if (s.gate != NULL && s.ctx != NULL)
		err = spg_in_coroutine() ? serve(&s) : serve_for_thread(&s);
	spg_chan_unref(s.gate);
	spg_ctx_unref(s.ctx);
	return err;
}
