/*
 * A listener for each shard: what spg_serve does with per_shard.
 *
 * Each shard runs a spg_serve of its own, pinned, under one context: the end of one is the end
 * of all. The further sockets are copies of the caller's in all that connections inherit.
 */
#include "net/serve.h"

#include "coro/alloc.h"
#include "net/addr.h"
#include "net/sockopt.h"

#include <unistd.h>

#define SERVER_NAME "spg-serve"

struct group {
	void (*handler)(int fd, void *arg);
	void *arg;
	spg_ctx *ctx;
};

/* One shard's part. */
struct part {
	struct group *group;
	spg_serve_opts opts;
	int fd;
	spg_task *task;
};

/* Connections inherit these from their listener. */
static const struct {
	int level, name;
	bool doubled; /* the kernel answers twice what it was told */
} inherited[] = {
	{ SOL_SOCKET, SO_RCVBUF, true },
	{ SOL_SOCKET, SO_SNDBUF, true },
	{ SOL_SOCKET, SO_KEEPALIVE, false },
	{ IPPROTO_TCP, TCP_KEEPIDLE, false },
	{ IPPROTO_TCP, TCP_KEEPINTVL, false },
	{ IPPROTO_TCP, TCP_KEEPCNT, false },
	{ IPPROTO_TCP, TCP_NODELAY, false },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, false },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, false },
	{ IPPROTO_IP, IP_TOS, false },
	{ IPPROTO_IPV6, IPV6_TCLASS, false },
	{ IPPROTO_IPV6, IPV6_V6ONLY, false },
	{ SOL_SOCKET, SO_REUSEADDR, false },
	{ SOL_SOCKET, SO_REUSEPORT, false },
};

/* What the kernel does not know of this kind of socket is -1. */
static int option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, level, name, &value, &len) < 0 ? -1 : value;
}

static int copy_options(int from, int to)
{
	int err = 0;

	for (size_t i = 0; i < sizeof(inherited) / sizeof(inherited[0]) && err == 0; i++) {
		int level = inherited[i].level, name = inherited[i].name, value = option(from, level, name);

		if (value != option(to, level, name))
			err = spg__sockopt_set(to, level, name, inherited[i].doubled ? value / 2 : value);
	}
	return err;
}

static int backlog(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	/* Of a listener the field is its backlog. */
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? SOMAXCONN : (int)info.tcpi_sacked;
}

/* One more socket that listens where `fd` does. */
static int listen_beside(int fd)
{
	struct spg__addr addr = { .len = sizeof(addr) - offsetof(struct spg__addr, sa) };
	int beside, err;

	if (getsockname(fd, &addr.sa, &addr.len) < 0)
		return -errno;
	beside = spg__socket(addr.sa.sa_family, SOCK_STREAM);
	if (beside < 0)
		return beside;
	err = copy_options(fd, beside);
	if (err == 0 && (bind(beside, &addr.sa, addr.len) < 0 || listen(beside, backlog(fd)) < 0))
		err = -errno;
	if (err == 0)
		return beside;
	close(beside);
	return err;
}

static void *part_main(void *arg)
{
	struct part *part = arg;
	int err = spg_serve(part->fd, part->group->handler, part->group->arg, &part->opts);

	spg_ctx_cancel(part->group->ctx); /* the end of one */
	return (void *)(intptr_t)err;
}

/* The limit is shared out. */
static void part_opts(struct part *part, const spg_serve_opts *o, unsigned i, unsigned n)
{
	part->opts = *o;
	part->opts.per_shard = false;
	part->opts.connections_max = o->connections_max / n + (i < o->connections_max % n);
	if (o->place == SPG_SPREAD)
		part->opts.place = SPG_ANY; /* where they are accepted: they are spread already */
}

static int start(struct part *parts, unsigned n, struct group *group, int listen_fd, const spg_serve_opts *o)
{
	int err = 0;

	for (unsigned i = 0; i < n && err == 0; i++) {
		spg_attr attr = SPG_ATTR_INIT;
		struct part *part = &parts[i];

		part->group = group;
		part_opts(part, o, i, n);
		part->fd = i == 0 ? listen_fd : listen_beside(listen_fd);
		if (part->fd < 0)
			return part->fd;
		attr.name = SERVER_NAME;
		attr.place = SPG_PIN((int)i);
		attr.ctx = group->ctx;
		part->task = spg_spawn(&attr, part_main, part);
		if (part->task == NULL)
			err = spg_running() ? -ENOMEM : -ESRCH;
	}
	return err;
}

/* Waits for the parts; the first error of theirs, or `err`. */
static int finish(struct part *parts, unsigned n, struct group *group, int err)
{
	if (err < 0)
		spg_ctx_cancel(group->ctx);
	for (unsigned i = 0; i < n; i++) {
		void *result = NULL;

		if (parts[i].task != NULL && spg_join(parts[i].task, &result) < 0) {
			SPG_SHIELD_SCOPE();

			/* The caller's context has ended: that is the end of serving. */
			spg_ctx_cancel(group->ctx);
			while (spg_join(parts[i].task, &result) < 0)
				; /* spg_stop's one wait */
		}
		if (err == 0)
			err = (int)(intptr_t)result;
		if (i > 0 && parts[i].fd >= 0)
			close(parts[i].fd); /* nobody else knows it: there is no call to wake */
	}
	return err;
}

int spg__serve_shards(int listen_fd, void (*handler)(int fd, void *arg), void *arg, const spg_serve_opts *o)
{
	struct group group = { .handler = handler, .arg = arg };
	int shards = spg_shards(), err;
	unsigned n = shards > 0 ? (unsigned)shards : 1;
	struct part *parts;

	if (option(listen_fd, SOL_SOCKET, SO_REUSEPORT) != 1 || option(listen_fd, SOL_SOCKET, SO_DOMAIN) == AF_UNIX)
		return -EINVAL;
	if (o->connections_max > 0 && n > o->connections_max)
		n = (unsigned)o->connections_max;
	parts = spg__calloc(n, sizeof(*parts));
	group.ctx = spg_ctx_new(NULL);
	err = -ENOMEM;
	for (unsigned i = 0; parts != NULL && i < n; i++)
		parts[i].fd = -1;
	if (parts != NULL && group.ctx != NULL) {
		err = start(parts, n, &group, listen_fd, o);
		err = finish(parts, n, &group, err);
	}
	spg_ctx_unref(group.ctx);
	spg__free(parts);
	return err;
}
