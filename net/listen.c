#include "coro/alloc.h"
#include "coro/leak.h"
#include "net/addr.h"
#include "net/sockopt.h"

#include <limits.h>
#include <netinet/tcp.h>
#include <spg/spg.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE_MAX 07777u

/* Accepted sockets inherit all of these from the listener: no call per connection. */
static int stream_options(int fd, const struct spg__addr *addr, const spg_listen_opts *o)
{
	int err;

	if (addr->sa.sa_family == AF_UNIX)
		return 0;
	/* Addresses of connections in TIME_WAIT can be bound; a live listener's cannot. */
	err = spg__sockopt_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (err == 0 && o->nodelay)
		err = spg__sockopt_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (err == 0)
		err = spg__sockopt_keepalive(fd, o->keepalive_ns);
	return err < 0 ? err : spg__sockopt_user_timeout(fd, o->user_timeout_ns);
}

static int options(int fd, const struct spg__network *network, const struct spg__addr *addr,
		   const spg_listen_opts *o)
{
	int err = 0;

	if (network->type == SOCK_STREAM)
		err = stream_options(fd, addr, o);
	else if (o->udp_gro && addr->sa.sa_family != AF_UNIX)
		err = spg__sockopt_gro(fd);
	if (err == 0 && o->reuse_port && addr->sa.sa_family != AF_UNIX)
		err = spg__sockopt_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	/* Said in both directions: net.ipv6.bindv6only must not decide it. */
	if (err == 0 && addr->sa.sa_family == AF_INET6)
		err = spg__sockopt_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, network->family == AF_INET6 || o->v6only);
	if (err == 0)
		err = spg__sockopt_tos(fd, addr->sa.sa_family, o->tos);
	/* Before listen: the window scale is fixed by the SYN. */
	return err == 0 ? spg__sockopt_buffers(fd, o->rcvbuf_bytes, o->sndbuf_bytes) : err;
}

static int bind_once(int fd, const struct spg__addr *addr)
{
	return bind(fd, &addr->sa, addr->len) < 0 ? -errno : 0;
}

/* Does nobody hold this path's socket open? Only a refusal proves it: a full backlog or another type is life. */
static bool path_is_dead(int type, const struct spg__addr *addr)
{
	int fd = spg__socket(AF_UNIX, type | SOCK_NONBLOCK);
	bool dead;

	if (fd < 0)
		return false;
	dead = connect(fd, &addr->sa, addr->len) < 0 && errno == ECONNREFUSED;
	close(fd);
	return dead;
}

/*
 * Removes a socket file that a dead process left behind. The file is looked at again
 * after the probe; a process that takes the path over between that look and the
 * unlink loses it, as two servers that both remove stale files always can.
 */
static int path_reclaim(int type, const struct spg__addr *addr)
{
	const char *path = addr->un.sun_path;
	struct stat before, after;

	if (path[0] == '\0' || lstat(path, &before) < 0 || !S_ISSOCK(before.st_mode))
		return -EADDRINUSE;
	if (!path_is_dead(type, addr))
		return -EADDRINUSE;
	if (lstat(path, &after) < 0 || after.st_dev != before.st_dev || after.st_ino != before.st_ino)
		return -EADDRINUSE;
	return unlink(path) < 0 ? -errno : 0;
}

static int bind_path(int fd, int type, const struct spg__addr *addr, const spg_listen_opts *o)
{
	int err = bind_once(fd, addr);

	if (err == -EADDRINUSE && o->unlink_stale) {
		err = path_reclaim(type, addr);
		if (err == 0)
			err = bind_once(fd, addr);
	}
	if (err < 0 || o->mode == 0 || addr->un.sun_path[0] == '\0')
		return err;
	/* Between bind and listen nobody can connect, so the mode comes in time; fchmod would not reach the file. */
	if (chmod(addr->un.sun_path, o->mode) < 0) {
		err = -errno;
		unlink(addr->un.sun_path);
	}
	return err;
}

static int listen_at(const struct spg__network *network, const struct spg__addr *addr,
		     const spg_listen_opts *o)
{
	int fd = spg__socket(addr->sa.sa_family, network->type), err;

	if (fd < 0)
		return fd;
	err = options(fd, network, addr, o);
	if (err == 0 && addr->sa.sa_family == AF_UNIX)
		err = bind_path(fd, network->type, addr, o);
	else if (err == 0)
		err = bind_once(fd, addr);
	if (err == 0 && network->type != SOCK_DGRAM &&
	    listen(fd, o->backlog > 0 ? o->backlog : INT_MAX) < 0)
		err = -errno;
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

/* The first address that this host has. */
static int listen_first(const struct spg__network *network, const struct spg__addr *addrs, int n,
			const spg_listen_opts *o)
{
	int res = -EADDRNOTAVAIL;

	/* A host without one of the families, or with it switched off. */
	for (int i = 0; i < n && (res == -EADDRNOTAVAIL || res == -EAFNOSUPPORT); i++)
		res = listen_at(network, &addrs[i], o);
	return res;
}

static spg__noinline int listen_number(const struct spg__endpoint *endpoint, const spg_listen_opts *o)
{
	struct spg__addr addrs[SPG__ADDRS_NUMERIC_MAX];
	int n = spg__endpoint_addrs(endpoint, SPG__ADDR_LISTEN, addrs);

	return n < 0 ? n : listen_first(&endpoint->network, addrs, n, o);
}

/* A name's IPv4 address goes first, as in Go; for all hosts the IPv6 one, which covers both. */
static void prefer(struct spg__addr *addrs, int n, int family)
{
	for (int i = 0; i < n; i++) {
		struct spg__addr chosen = addrs[i];

		if (chosen.sa.sa_family != family)
			continue;
		addrs[i] = addrs[0];
		addrs[0] = chosen;
		return;
	}
}

static spg__noinline int listen_name(const struct spg__endpoint *endpoint, const spg_listen_opts *o)
{
	struct spg__addr *addrs = spg__calloc(SPG__ADDRS_NAMED_MAX, sizeof(*addrs));
	int n = -ENOMEM;

	if (addrs != NULL)
		n = spg__endpoint_resolve(endpoint, SPG__ADDR_LISTEN, addrs, SPG__ADDRS_NAMED_MAX);
	if (n > 0) {
		prefer(addrs, n, endpoint->host_len > 0 ? AF_INET : AF_INET6);
		n = listen_first(&endpoint->network, addrs, n, o);
	}
	spg__free(addrs);
	return n;
}

int spg_listen(const char *network, const char *address, const spg_listen_opts *o)
{
	static const spg_listen_opts defaults = SPG_LISTEN_OPTS_INIT;
	struct spg__endpoint endpoint;
	int err = spg__endpoint_parse(network, address, &endpoint);

	if (err < 0)
		return err;
	if (o == NULL)
		o = &defaults;
	if (o->backlog < 0 || o->rcvbuf_bytes < 0 || o->sndbuf_bytes < 0 || o->mode > MODE_MAX ||
	    o->tos < 0 || o->tos > UINT8_MAX)
		return -EINVAL;
	err = endpoint.host_is_name || endpoint.service_is_name ? listen_name(&endpoint, o) :
								    listen_number(&endpoint, o);
	return spg__leak_opened(err, __builtin_return_address(0));
}
