/*
 * Listeners and dialed connections of every network, and their options.
 */
#include "test/t.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/stat.h>

#define TEXT_BYTES 160
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A directory of the test's own, from the first path to temp_remove. */
static char temp_dir[32];

static const char *temp_path(const char *name)
{
	static char path[64];

	if (temp_dir[0] == '\0') {
		strcpy(temp_dir, "/tmp/spg-net-XXXXXX");
		T_OK(mkdtemp(temp_dir) != NULL);
	}
	snprintf(path, sizeof(path), "%s/%s", temp_dir, name);
	return path;
}

static void temp_remove(const char *name)
{
	T_EQ(unlink(temp_path(name)), 0);
	T_EQ(rmdir(temp_dir), 0);
	temp_dir[0] = '\0';
}

static int option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	T_EQ(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void local_text(int fd, char *out)
{
	struct sockaddr_storage name = { 0 };
	socklen_t len = sizeof(name);

	T_EQ(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&name, out, TEXT_BYTES) > 0);
}

/* Every socket of ours: blocking mode, close on exec. */
static void check_modes(int fd)
{
	T_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	T_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void exchange(int from, int to)
{
	char buf[8];

	T_EQ(spg_send(from, "hello", 5, 0), 5);
	T_EQ(spg_recv(to, buf, sizeof(buf), 0), 5);
	T_OK(memcmp(buf, "hello", 5) == 0);
}

struct pairing {
	const char *network, *address;
	int family, type;
};

static const struct pairing pairings[] = {
	{ "tcp", "127.0.0.1:0", AF_INET, SOCK_STREAM },
	{ "tcp4", ":0", AF_INET, SOCK_STREAM },
	{ "tcp6", "[::1]:0", AF_INET6, SOCK_STREAM },
	{ "tcp", ":0", AF_INET6, SOCK_STREAM },
	{ "udp4", "127.0.0.1:0", AF_INET, SOCK_DGRAM },
	{ "udp6", "[::1]:0", AF_INET6, SOCK_DGRAM },
	{ "udp", ":0", AF_INET6, SOCK_DGRAM },
	{ "unix", "@spg-test-stream", AF_UNIX, SOCK_STREAM },
	{ "unixgram", "@spg-test-gram", AF_UNIX, SOCK_DGRAM },
	{ "unixpacket", "@spg-test-packet", AF_UNIX, SOCK_SEQPACKET },
	{ "unix", NULL, AF_UNIX, SOCK_STREAM },
	{ "unixgram", NULL, AF_UNIX, SOCK_DGRAM },
	{ "unixpacket", NULL, AF_UNIX, SOCK_SEQPACKET },
};

static void pair_up(const struct pairing *p)
{
	const char *address = p->address != NULL ? p->address : temp_path("pair.sock");
	int listener = spg_listen(p->network, address, NULL), client, server;
	char text[TEXT_BYTES];

	T_OK(listener >= 0);
	check_modes(listener);
	T_EQ(option(listener, SOL_SOCKET, SO_DOMAIN), p->family);
	T_EQ(option(listener, SOL_SOCKET, SO_TYPE), p->type);
	local_text(listener, text);
	client = spg_dial(p->network, text, NULL);
	T_OK(client >= 0);
	check_modes(client);
	server = listener;
	if (p->type != SOCK_DGRAM)
		server = spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(server >= 0);
	exchange(client, server);
	if (p->type != SOCK_DGRAM) {
		exchange(server, client);
		T_EQ(spg_close(server), 0);
	}
	T_EQ(spg_close(client), 0);
	T_EQ(spg_close(listener), 0);
	if (p->address == NULL)
		temp_remove("pair.sock");
}

static int pair_up_all(void *arg)
{
	int fds;

	(void)arg;
	pair_up(&pairings[0]); /* a foreign thread's first wait makes its wake-up descriptor */
	fds = t_fds_count();
	for (size_t i = 0; i < COUNT(pairings); i++)
		pair_up(&pairings[i]);
	T_EQ(t_fds_count(), fds);
	return 0;
}

/* Goal: listen, ask the kernel's port, dial it, talk: each network, `_i` = 1 to 4 shards. */
START_TEST(every_network_connects)
{
	t_run((unsigned)_i, pair_up_all, NULL);
}
END_TEST

/* Goal: the same without a runtime, on a plain thread. */
START_TEST(every_network_connects_without_a_runtime)
{
	pair_up_all(NULL);
}
END_TEST

/* Goal: "tcp" means both families whatever the host's default is, "tcp6" IPv6 alone. */
START_TEST(dual_stack_is_decided_by_the_network)
{
	int dual = spg_listen("tcp", ":0", NULL), v6 = spg_listen("tcp6", ":0", NULL), fd;
	char text[TEXT_BYTES];

	T_OK(dual >= 0 && v6 >= 0);
	T_EQ(option(dual, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	T_EQ(option(v6, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	local_text(dual, text);
	fd = spg_dial("tcp4", strrchr(text, ':'), NULL);
	T_OK(fd >= 0);
	close(fd);
	local_text(v6, text);
	T_ERR(spg_dial("tcp4", strrchr(text, ':'), NULL), -ECONNREFUSED);
	fd = spg_dial("tcp", strrchr(text, ':'), NULL); /* IPv4 is refused, then IPv6 */
	T_OK(fd >= 0);
	T_EQ(option(fd, SOL_SOCKET, SO_DOMAIN), AF_INET6);
	close(fd);
	close(dual);
	close(v6);
}
END_TEST

/* Goal: a listener's options are set, and what it accepts inherits them. */
START_TEST(listen_options_are_applied)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int listener, client, server;
	char text[TEXT_BYTES];

	o.backlog = 7;
	o.rcvbuf_bytes = 40000;
	o.sndbuf_bytes = 50000;
	o.keepalive_ns = 2500 * SPG_MS;
	o.user_timeout_ns = 1500 * SPG_US;
	o.tos = 0x10;
	listener = spg_listen("tcp", "127.0.0.1:0", &o);
	T_OK(listener >= 0);
	T_EQ(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	T_EQ(info.tcpi_sacked, 7); /* of a listener: its backlog */
	local_text(listener, text);
	client = spg_dial("tcp", text, NULL);
	T_OK(client >= 0);
	server = spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(server >= 0);
	T_EQ(option(server, SOL_SOCKET, SO_RCVBUF), 80000); /* the kernel doubles */
	T_EQ(option(server, SOL_SOCKET, SO_SNDBUF), 100000);
	T_EQ(option(server, SOL_SOCKET, SO_KEEPALIVE), 1);
	T_EQ(option(server, IPPROTO_TCP, TCP_KEEPIDLE), 3);
	T_EQ(option(server, IPPROTO_TCP, TCP_KEEPINTVL), 3);
	T_EQ(option(server, IPPROTO_TCP, TCP_NODELAY), 1);
	T_EQ(option(server, IPPROTO_TCP, TCP_USER_TIMEOUT), 2);
	T_EQ(option(server, IPPROTO_IP, IP_TOS), 0x10);
	close(server);
	close(client);
	close(listener);
	o = (spg_listen_opts)SPG_LISTEN_OPTS_INIT;
	o.nodelay = false;
	o.keepalive_ns = 0;
	listener = spg_listen("tcp", "127.0.0.1:0", &o);
	T_OK(listener >= 0);
	T_EQ(option(listener, IPPROTO_TCP, TCP_NODELAY), 0);
	T_EQ(option(listener, SOL_SOCKET, SO_KEEPALIVE), 0);
	close(listener);
}
END_TEST

/* Goal: a port is shared when both say so, and only then. */
START_TEST(reuse_port_shares_a_port)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	char text[TEXT_BYTES];
	int first, second;

	o.reuse_port = true;
	for (int i = 0; i < 2; i++) {
		const char *network = i == 0 ? "tcp" : "udp";

		first = spg_listen(network, "127.0.0.1:0", &o);
		T_OK(first >= 0);
		local_text(first, text);
		T_ERR(spg_listen(network, text, NULL), -EADDRINUSE);
		second = spg_listen(network, text, &o);
		T_OK(second >= 0);
		close(first);
		close(second);
	}
}
END_TEST

/* Goal: IPv6 alone where it is asked for; the traffic class of either family; coalescing. */
START_TEST(ipv6_and_datagram_options_are_applied)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	spg_dial_opts d = SPG_DIAL_OPTS_INIT;
	char text[TEXT_BYTES];
	int fd, client;

	fd = spg_listen("tcp", ":0", &o);
	T_OK(fd >= 0);
	T_EQ(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	close(fd);
	o.v6only = true;
	o.tos = 0x20;
	fd = spg_listen("tcp", ":0", &o);
	T_OK(fd >= 0);
	T_EQ(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	T_EQ(option(fd, IPPROTO_IPV6, IPV6_TCLASS), 0x20);
	close(fd);
	o.udp_gro = true;
	fd = spg_listen("udp", "127.0.0.1:0", &o);
	T_OK(fd >= 0);
	T_EQ(option(fd, IPPROTO_UDP, UDP_GRO), 1);
	local_text(fd, text);
	d.udp_gro = true;
	d.tos = 0x20;
	client = spg_dial("udp", text, &d);
	T_OK(client >= 0);
	T_EQ(option(client, IPPROTO_UDP, UDP_GRO), 1);
	T_EQ(option(client, IPPROTO_IP, IP_TOS), 0x20);
	close(client);
	close(fd);
	fd = spg_listen("tcp", "127.0.0.1:0", &o); /* not TCP's: nothing happens */
	T_OK(fd >= 0);
	close(fd);
}
END_TEST

/* Goal: where from, buffers, delays: each option of dial is seen on the socket, and by the peer. */
START_TEST(dial_options_are_applied)
{
	int listener = spg_listen("tcp", "127.0.0.1:0", NULL), client, server;
	struct sockaddr_storage peer = { 0 };
	socklen_t len = sizeof(peer);
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;
	char text[TEXT_BYTES];

	T_OK(listener >= 0);
	local_text(listener, text);
	client = spg_dial("tcp", text, NULL);
	T_OK(client >= 0);
	T_EQ(option(client, IPPROTO_TCP, TCP_NODELAY), 1);
	close(client);
	close(spg_accept4(listener, NULL, NULL, 0));
	o.local = "127.0.0.9:0";
	o.nodelay = false;
	o.rcvbuf_bytes = 40000;
	o.sndbuf_bytes = 50000;
	o.keepalive_ns = 60 * SPG_SEC;
	o.user_timeout_ns = 30 * SPG_SEC;
	o.tos = 0x08;
	client = spg_dial("tcp", text, &o);
	T_OK(client >= 0);
	T_EQ(option(client, SOL_SOCKET, SO_RCVBUF), 80000);
	T_EQ(option(client, SOL_SOCKET, SO_SNDBUF), 100000);
	T_EQ(option(client, IPPROTO_TCP, TCP_NODELAY), 0);
	T_EQ(option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
	T_EQ(option(client, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	T_EQ(option(client, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
	T_EQ(option(client, IPPROTO_IP, IP_TOS), 0x08);
	server = spg_accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
	T_OK(server >= 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&peer, text, sizeof(text)) > 0);
	T_OK(strncmp(text, "127.0.0.9:", 10) == 0);
	close(server);
	close(client);
	local_text(listener, text);
	o.local = "[::1]:0";
	T_ERR(spg_dial("tcp", text, &o), -EADDRNOTAVAIL);
	o.local = "localhost:0";
	T_ERR(spg_dial("tcp", text, &o), -EINVAL);
	o.local = "127.0.0.1";
	T_ERR(spg_dial("tcp", text, &o), -EINVAL);
	close(listener);
}
END_TEST

static int names(void *arg)
{
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;
	char text[TEXT_BYTES], name[TEXT_BYTES];
	int listener = spg_listen("tcp4", "localhost:0", NULL), fd;

	(void)arg;
	T_OK(listener >= 0);
	local_text(listener, text);
	T_OK(strncmp(text, "127.0.0.1:", 10) == 0);
	snprintf(name, sizeof(name), "localhost%s", strchr(text, ':'));
	fd = spg_dial("tcp", name, NULL); /* whatever other addresses it has */
	T_OK(fd >= 0);
	T_EQ(option(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
	T_EQ(spg_close(fd), 0);
	T_ERR(spg_dial("tcp", "127.0.0.1:no-such-service", NULL), -EINVAL);
	T_ERR(spg_listen("tcp", "127.0.0.1:no-such-service", NULL), -EINVAL);
	o.timeout_ns = 0;
	T_ERR(spg_dial("tcp", name, &o), -ETIMEDOUT);
	T_EQ(spg_close(listener), 0);
	return 0;
}

/* Goal: a name of /etc/hosts is listened at and dialed, with `_i` = 1 to 4 shards. */
START_TEST(names_are_looked_up)
{
	t_run((unsigned)_i, names, NULL);
}
END_TEST

/* Goal: options that cannot be are refused. */
START_TEST(bad_options_are_refused)
{
	spg_listen_opts listen[] = { SPG_LISTEN_OPTS_INIT, SPG_LISTEN_OPTS_INIT, SPG_LISTEN_OPTS_INIT,
				     SPG_LISTEN_OPTS_INIT, SPG_LISTEN_OPTS_INIT };
	spg_dial_opts dial[] = { SPG_DIAL_OPTS_INIT, SPG_DIAL_OPTS_INIT, SPG_DIAL_OPTS_INIT };

	listen[0].backlog = -1;
	listen[1].rcvbuf_bytes = -1;
	listen[2].sndbuf_bytes = -1;
	listen[3].mode = 010000;
	listen[4].tos = 256;
	dial[0].rcvbuf_bytes = -1;
	dial[1].sndbuf_bytes = -1;
	dial[2].tos = -1;
	for (size_t i = 0; i < COUNT(listen); i++)
		T_ERR(spg_listen("tcp", "127.0.0.1:0", &listen[i]), -EINVAL);
	for (size_t i = 0; i < COUNT(dial); i++)
		T_ERR(spg_dial("tcp", "127.0.0.1:1", &dial[i]), -EINVAL);
}
END_TEST

/* Goal: a socket file is removed only if asked, only if it is a socket, only if nobody listens. */
START_TEST(stale_paths_are_removed_only_on_request)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	char path[TEXT_BYTES];
	struct stat st;
	int fd;

	strcpy(path, temp_path("stale.sock"));
	o.unlink_stale = true;
	o.mode = 0620;
	fd = spg_listen("unix", path, &o);
	T_OK(fd >= 0);
	T_EQ(stat(path, &st), 0);
	T_EQ(st.st_mode & 0777, 0620);
	T_ERR(spg_listen("unix", path, NULL), -EADDRINUSE);
	T_ERR(spg_listen("unix", path, &o), -EADDRINUSE); /* it lives */
	T_ERR(spg_listen("unixpacket", path, &o), -EADDRINUSE);
	close(fd);
	T_ERR(spg_listen("unix", path, NULL), -EADDRINUSE); /* stale, but nobody said to remove it */
	T_ERR(spg_dial("unix", path, NULL), -ECONNREFUSED);
	fd = spg_listen("unix", path, &o);
	T_OK(fd >= 0);
	close(fd);
	T_EQ(unlink(path), 0);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	T_OK(fd >= 0);
	close(fd);
	T_ERR(spg_listen("unix", path, &o), -EADDRINUSE); /* a regular file */
	T_EQ(stat(path, &st), 0);
	T_OK(S_ISREG(st.st_mode));
	T_EQ(unlink(path), 0);
	T_EQ(symlink("stale.target", path), 0);
	T_ERR(spg_listen("unix", path, &o), -EADDRINUSE); /* a link is not followed */
	T_EQ(lstat(path, &st), 0);
	temp_remove("stale.sock");
	T_ERR(spg_listen("unix", "/nonexistent/x.sock", &o), -ENOENT);
	T_ERR(spg_dial("unix", "/nonexistent/x.sock", NULL), -ENOENT);
}
END_TEST

T_MAIN(T_SHARDS(every_network_connects), T_TEST(every_network_connects_without_a_runtime),
       T_TEST(dual_stack_is_decided_by_the_network), T_TEST(listen_options_are_applied),
       T_TEST(ipv6_and_datagram_options_are_applied),
       T_TEST(reuse_port_shares_a_port), T_TEST(dial_options_are_applied),
       T_SHARDS(names_are_looked_up), T_TEST(bad_options_are_refused),
       T_TEST(stale_paths_are_removed_only_on_request))
