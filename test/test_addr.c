/*
 * Addresses as text: what is read, what is refused, what is printed.
 */
#include "net/addr.h"
#include "test/t.h"

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

T_MAIN(T_TEST(addresses_are_read_and_printed), T_TEST(bad_text_is_refused), T_TEST(lengths_have_limits),
       T_TEST(names_are_left_to_the_resolver), T_TEST(a_buffer_too_small_is_an_error),
       T_TEST(odd_addresses_print))
