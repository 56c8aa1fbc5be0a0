/*
 * Addresses as text; listeners and dialed connections of every network; socket options.
 */
#include "net/addr.h"
#include "test/t.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#define TEXT_BYTES 160
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The addresses of a text as spg_sockaddr_str prints them, with spaces between; or the error. */
static int canonical(const char *network, const char *address, enum spg__addr_use use, char *out, size_t n)
{
	struct spg__addr addrs[SPG__ADDRS_NUMERIC_MAX];
	struct spg__endpoint endpoint;
	int count = spg__endpoint_parse(network, address, &endpoint);
	char text[TEXT_BYTES];

	if (count < 0)
		return count;
	count = spg__endpoint_addrs(&endpoint, use, addrs);
	out[0] = '\0';
	for (int i = 0; i < count; i++) {
		T_EQ(spg_sockaddr_str(&addrs[i].sa, text, sizeof(text)), (int)strlen(text));
		snprintf(out + strlen(out), n - strlen(out), "%s%s", i > 0 ? " " : "", text);
	}
	return count;
}

/* Goal: every numeric form means the address it should, and comes back as text. */
START_TEST(addresses_are_read_and_printed)
{
	static const struct {
		const char *network, *address, *listen, *dial;
	} good[] = {
		{ "tcp", "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80" },
		{ "tcp4", "255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255:65535" },
		{ "udp", "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0" },
		{ "tcp", "127.0.0.1:00080", "127.0.0.1:80", "127.0.0.1:80" },
		{ "tcp", "[::1]:80", "[::1]:80", "[::1]:80" },
		{ "tcp6", "[::]:1", "[::]:1", "[::]:1" },
		{ "udp6", "[2001:DB8:0:0::0:7]:9", "[2001:db8::7]:9", "[2001:db8::7]:9" },
		{ "tcp", "[::ffff:127.0.0.1]:1", "127.0.0.1:1", "127.0.0.1:1" },
		{ "tcp4", "[::ffff:192.0.2.1]:1", "192.0.2.1:1", "192.0.2.1:1" },
		{ "tcp", "[fe80::1%lo]:9", "[fe80::1%lo]:9", "[fe80::1%lo]:9" },
		{ "tcp6", "[fe80::1%1]:9", "[fe80::1%lo]:9", "[fe80::1%lo]:9" },
		{ "tcp6", "[fe80::1%4000000000]:9", "[fe80::1%4000000000]:9", "[fe80::1%4000000000]:9" },
		{ "tcp", ":8080", "[::]:8080 0.0.0.0:8080", "127.0.0.1:8080 [::1]:8080" },
		{ "udp", ":0", "[::]:0 0.0.0.0:0", "127.0.0.1:0 [::1]:0" },
		{ "tcp4", ":8080", "0.0.0.0:8080", "127.0.0.1:8080" },
		{ "tcp6", ":8080", "[::]:8080", "[::1]:8080" },
		{ "unix", "/run/x.sock", "/run/x.sock", "/run/x.sock" },
		{ "unixgram", "x:1", "x:1", "x:1" },
		{ "unixpacket", "@name", "@name", "@name" },
		{ "unix", "@a b", "@a b", "@a b" },
	};
	char text[2 * TEXT_BYTES];

	for (size_t i = 0; i < COUNT(good); i++) {
		T_OK(canonical(good[i].network, good[i].address, SPG__ADDR_LISTEN, text, sizeof(text)) > 0);
		T_STR(text, good[i].listen);
		T_OK(canonical(good[i].network, good[i].address, SPG__ADDR_DIAL, text, sizeof(text)) > 0);
		T_STR(text, good[i].dial);
	}
}
END_TEST

/* Goal: text that is no address is refused, and by the public calls too. */
START_TEST(bad_text_is_refused)
{
	static const struct {
		const char *network, *address;
		int err;
	} bad[] = {
		{ NULL, "127.0.0.1:80", -EINVAL },
		{ "tcp", NULL, -EINVAL },
		{ "unix", NULL, -EINVAL },
		{ "", "127.0.0.1:80", -EINVAL },
		{ "TCP", "127.0.0.1:80", -EINVAL },
		{ "tcp5", "127.0.0.1:80", -EINVAL },
		{ "tcp ", "127.0.0.1:80", -EINVAL },
		{ "ip", "127.0.0.1:80", -EINVAL },
		{ "tcp", "", -EINVAL },
		{ "tcp", "127.0.0.1", -EINVAL },
		{ "tcp", ":", -EINVAL },
		{ "tcp", "127.0.0.1:", -EINVAL },
		{ "tcp", "127.0.0.1:65536", -EINVAL },
		{ "tcp", "127.0.0.1:18446744073709551696", -EINVAL },
		{ "tcp", "127.0.0.1:-1", -EINVAL },
		{ "tcp", "127.0.0.1:+1", -EINVAL },
		{ "tcp", "127.0.0.1: 1", -EINVAL },
		{ "tcp", "127.0.0.1:1 ", -EINVAL },
		{ "tcp", "127.0.0.1:0x50", -EINVAL },
		{ "tcp", "127.0.0.1:80:80", -EINVAL },
		{ "tcp", "127.0.0.1:ht/tp", -EINVAL },
		{ "tcp", " 127.0.0.1:80", -EINVAL },
		{ "tcp", "127.0.0.256:80", -EINVAL },
		{ "tcp", "127.0.0.0.1:80", -EINVAL },
		{ "tcp", "127.1:80", -EINVAL },
		{ "tcp", "2130706433:80", -EINVAL },
		{ "tcp", "a.1:80", -EINVAL },
		{ "tcp", "::1:80", -EINVAL },
		{ "tcp", "::1", -EINVAL },
		{ "tcp", "[::1]", -EINVAL },
		{ "tcp", "[::1]80", -EINVAL },
		{ "tcp", "[::1:80", -EINVAL },
		{ "tcp", "[]:80", -EINVAL },
		{ "tcp", "[::1]:", -EINVAL },
		{ "tcp", "[::1]]:80", -EINVAL },
		{ "tcp", "[[::1]:80", -EINVAL },
		{ "tcp", "[::g]:80", -EINVAL },
		{ "tcp", "[127.0.0.1]:80", -EINVAL },
		{ "tcp", "[localhost]:80", -EINVAL },
		{ "tcp", "[::1%]:80", -EINVAL },
		{ "tcp", "[::1%seventeen-letters]:80", -EINVAL },
		{ "tcp", "[fe80::1%nosuchif]:80", -ENODEV },
		{ "tcp", "[fe80::1%0]:80", -ENODEV },
		{ "tcp", "127.0.0.1%lo:80", -EINVAL },
		{ "tcp", ".:80", -EINVAL },
		{ "tcp", "a..b:80", -EINVAL },
		{ "tcp", ".a:80", -EINVAL },
		{ "tcp", "a b:80", -EINVAL },
		{ "tcp", "h\xc3\xb6st:80", -EINVAL },
		{ "tcp", "/path.sock", -EINVAL },
		{ "tcp4", "[::1]:80", -EINVAL },
		{ "udp4", "[::]:80", -EINVAL },
		{ "tcp6", "127.0.0.1:80", -EINVAL },
		{ "tcp6", "[::ffff:127.0.0.1]:80", -EINVAL },
		{ "unix", "", -EINVAL },
		{ "unix", "@", -EINVAL },
	};
	char text[2 * TEXT_BYTES];

	for (size_t i = 0; i < COUNT(bad); i++) {
		T_EQ(canonical(bad[i].network, bad[i].address, SPG__ADDR_DIAL, text, sizeof(text)), bad[i].err);
		T_EQ(spg_dial(bad[i].network, bad[i].address, NULL), bad[i].err);
		T_EQ(spg_listen(bad[i].network, bad[i].address, NULL), bad[i].err);
	}
}
END_TEST

/* Goal: lengths at their limits, one below and one above. */
START_TEST(lengths_have_limits)
{
	struct spg__endpoint endpoint;
	char text[300];

	memset(text, 'p', sizeof(text));
	text[107] = '\0';
	T_EQ(spg__endpoint_parse("unix", text, &endpoint), 0);
	text[107] = 'p';
	text[108] = '\0';
	T_EQ(spg__endpoint_parse("unix", text, &endpoint), -EINVAL);
	memset(text, 'h', sizeof(text));
	strcpy(text + 63, ":1");
	T_EQ(spg__endpoint_parse("tcp", text, &endpoint), 0);
	T_EQ(endpoint.host_len, 63u);
	T_EQ(endpoint.host_is_name, true);
	memset(text, 'h', sizeof(text));
	strcpy(text + 64, ":1");
	T_EQ(spg__endpoint_parse("tcp", text, &endpoint), -EINVAL);
	for (size_t len = 252; len < 256; len++) {
		memset(text, 'h', sizeof(text));
		for (size_t i = 50; i < len - 1; i += 51)
			text[i] = '.';
		strcpy(text + len, ":1");
		T_EQ(spg__endpoint_parse("tcp", text, &endpoint), len <= 253 ? 0 : -EINVAL);
	}
}
END_TEST

/* Goal: names are told from numbers. */
START_TEST(names_are_left_to_the_resolver)
{
	struct spg__endpoint e;

	T_EQ(spg__endpoint_parse("tcp", "localhost:80", &e), 0);
	T_OK(e.host_is_name && !e.service_is_name);
	T_EQ(spg__endpoint_parse("tcp", "1st_host.example.org.:http-alt", &e), 0);
	T_OK(e.host_is_name && e.service_is_name);
	T_EQ(spg__endpoint_parse("tcp", "127.0.0.1:http", &e), 0);
	T_OK(!e.host_is_name && e.service_is_name);
	T_EQ(spg__endpoint_parse("udp", ":53", &e), 0);
	T_OK(!e.host_is_name && !e.service_is_name && e.host_len == 0);
}
END_TEST

/* Goal: no byte is written past the buffer, and one too few is an error. */
START_TEST(a_buffer_too_small_is_an_error)
{
	static const struct {
		const char *network, *address;
	} forms[] = {
		{ "tcp", "192.0.2.1:65535" },
		{ "tcp", "[fe80::1%lo]:80" },
		{ "unix", "/run/x.sock" },
		{ "unix", "@name" },
	};

	for (size_t i = 0; i < COUNT(forms); i++) {
		size_t len = strlen(forms[i].address);
		struct spg__addr addrs[SPG__ADDRS_NUMERIC_MAX];
		struct spg__endpoint endpoint;
		char buf[TEXT_BYTES];

		T_EQ(spg__endpoint_parse(forms[i].network, forms[i].address, &endpoint), 0);
		T_EQ(spg__endpoint_addrs(&endpoint, SPG__ADDR_DIAL, addrs), 1);
		memset(buf, '#', sizeof(buf));
		T_EQ(spg_sockaddr_str(&addrs[0].sa, buf, len + 1), (int)len);
		T_STR(buf, forms[i].address);
		T_EQ(buf[len + 1], '#');
		memset(buf, '#', sizeof(buf));
		T_EQ(spg_sockaddr_str(&addrs[0].sa, buf, len), -ENOSPC);
		T_EQ(buf[len], '#');
		T_EQ(spg_sockaddr_str(&addrs[0].sa, buf, 0), -ENOSPC);
		T_EQ(spg_sockaddr_str(&addrs[0].sa, NULL, 100), -EINVAL);
	}
}
END_TEST

/* Goal: odd addresses: of no known family, without a name, with NULs in an abstract name. */
START_TEST(odd_addresses_print)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(5) };
	char buf[TEXT_BYTES];

	T_EQ(spg_sockaddr_str(NULL, buf, sizeof(buf)), -EINVAL);
	T_EQ(spg_sockaddr_str((struct sockaddr *)&un, buf, sizeof(buf)), 1);
	T_STR(buf, "@");
	memcpy(un.sun_path, "\0a\0b", 4);
	T_EQ(spg_sockaddr_str((struct sockaddr *)&un, buf, sizeof(buf)), 4);
	T_STR(buf, "@a@b");
	memset(un.sun_path, 'x', sizeof(un.sun_path));
	T_EQ(spg_sockaddr_str((struct sockaddr *)&un, buf, sizeof(buf)), (int)sizeof(un.sun_path));
	un.sun_family = AF_PACKET;
	T_ERR(spg_sockaddr_str((struct sockaddr *)&un, buf, sizeof(buf)), -EINVAL);
	memcpy(&in6.sin6_addr.s6_addr[10], "\xff\xff\x7f\0\0\1", 6);
	T_OK(spg_sockaddr_str((struct sockaddr *)&in6, buf, sizeof(buf)) > 0);
	T_STR(buf, "[::ffff:127.0.0.1]:5");
}
END_TEST

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
	client = spg_dial("tcp", text, &o);
	T_OK(client >= 0);
	T_EQ(option(client, SOL_SOCKET, SO_RCVBUF), 80000);
	T_EQ(option(client, SOL_SOCKET, SO_SNDBUF), 100000);
	T_EQ(option(client, IPPROTO_TCP, TCP_NODELAY), 0);
	T_EQ(option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
	T_EQ(option(client, IPPROTO_TCP, TCP_KEEPIDLE), 60);
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
				     SPG_LISTEN_OPTS_INIT };
	spg_dial_opts dial[] = { SPG_DIAL_OPTS_INIT, SPG_DIAL_OPTS_INIT };

	listen[0].backlog = -1;
	listen[1].rcvbuf_bytes = -1;
	listen[2].sndbuf_bytes = -1;
	listen[3].mode = 010000;
	dial[0].rcvbuf_bytes = -1;
	dial[1].sndbuf_bytes = -1;
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

T_MAIN(T_TEST(addresses_are_read_and_printed), T_TEST(bad_text_is_refused), T_TEST(lengths_have_limits),
       T_TEST(names_are_left_to_the_resolver), T_TEST(a_buffer_too_small_is_an_error),
       T_TEST(odd_addresses_print), T_SHARDS(every_network_connects),
       T_TEST(every_network_connects_without_a_runtime), T_TEST(dual_stack_is_decided_by_the_network),
       T_TEST(listen_options_are_applied), T_TEST(reuse_port_shares_a_port),
       T_TEST(dial_options_are_applied), T_SHARDS(names_are_looked_up), T_TEST(bad_options_are_refused),
       T_TEST(stale_paths_are_removed_only_on_request))
