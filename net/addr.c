#include "net/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <spg/spg.h>
#include <stdio.h>
#include <string.h>

#define PORT_MAX 65535u
/* RFC 1035, 2.3.4. */
#define NAME_BYTES_MAX (SPG__HOST_BYTES_MAX - 1)
#define LABEL_BYTES_MAX 63
/* An IPv6 address and a zone, as text. */
#define HOST_TEXT_BYTES (INET6_ADDRSTRLEN + IF_NAMESIZE)

static int network_parse(const char *text, struct spg__network *out)
{
	static const struct {
		const char *name;
		struct spg__network network;
	} known[] = {
		{ "tcp", { AF_UNSPEC, SOCK_STREAM } },
		{ "tcp4", { AF_INET, SOCK_STREAM } },
		{ "tcp6", { AF_INET6, SOCK_STREAM } },
		{ "udp", { AF_UNSPEC, SOCK_DGRAM } },
		{ "udp4", { AF_INET, SOCK_DGRAM } },
		{ "udp6", { AF_INET6, SOCK_DGRAM } },
		{ "unix", { AF_UNIX, SOCK_STREAM } },
		{ "unixgram", { AF_UNIX, SOCK_DGRAM } },
		{ "unixpacket", { AF_UNIX, SOCK_SEQPACKET } },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(text, known[i].name) == 0) {
			*out = known[i].network;
			return 0;
		}
	}
	return -EINVAL;
}

/* ASCII only, whatever the locale is. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool all_digits(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!is_digit(text[i]))
			return false;
	}
	return len > 0;
}

/* Decimal, 0 to max; -1: it is not. */
static int64_t number_parse(const char *text, size_t len, uint32_t max)
{
	int64_t value = 0;

	if (!all_digits(text, len))
		return -1;
	for (size_t i = 0; i < len; i++) {
		value = value * 10 + (text[i] - '0');
		if (value > max)
			return -1;
	}
	return value;
}

/* A port, or a name as RFC 6335 5.1 has them. 0 or -EINVAL. */
static int service_parse(const char *text, struct spg__endpoint *out)
{
	size_t len = strlen(text);

	out->service = text;
	out->service_is_name = !all_digits(text, len);
	if (!out->service_is_name)
		return number_parse(text, len, PORT_MAX) < 0 ? -EINVAL : 0;
	if (len == 0 || is_digit(text[0]) || text[0] == '-' || text[len - 1] == '-')
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (!is_alnum(text[i]) && text[i] != '-' && text[i] != '_')
			return -EINVAL;
	}
	return 0;
}

/* Labels of letters, digits, '-' and '_' with dots between; a dot at the end is allowed. */
static bool name_valid(const char *host, size_t len)
{
	size_t label = 0;

	if (len > 0 && host[len - 1] == '.')
		len--;
	if (len == 0 || len > NAME_BYTES_MAX)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i < len && host[i] != '.') {
			if (!is_alnum(host[i]) && host[i] != '-' && host[i] != '_')
				return false;
			label++;
			continue;
		}
		if (label == 0 || label > LABEL_BYTES_MAX)
			return false;
		if (i == len && all_digits(host + len - label, label))
			return false; /* A2 */
		label = 0;
	}
	return true;
}

/* A terminated copy for inet_pton; false: no number is that long. */
static bool host_copy(const char *host, size_t len, char out[HOST_TEXT_BYTES])
{
	if (len >= HOST_TEXT_BYTES || memchr(host, '\0', len) != NULL)
		return false;
	memcpy(out, host, len);
	out[len] = '\0';
	return true;
}

static bool ipv4_parse(const char *host, size_t len, struct in_addr *out)
{
	char text[HOST_TEXT_BYTES];

	return host_copy(host, len, text) && inet_pton(AF_INET, text, out) == 1;
}

/* *zone: the text behind '%', or NULL. */
static bool ipv6_parse(const char *host, size_t len, struct in6_addr *out, char text[HOST_TEXT_BYTES],
		       char **zone)
{
	if (!host_copy(host, len, text))
		return false;
	*zone = strchr(text, '%');
	if (*zone != NULL) {
		*(*zone)++ = '\0';
		if (**zone == '\0' || strlen(*zone) >= IF_NAMESIZE)
			return false;
	}
	return inet_pton(AF_INET6, text, out) == 1;
}

/* "[::1]:80": the host is an IPv6 address. */
static int bracket_parse(const char *address, struct spg__endpoint *out)
{
	const char *end = strchr(address, ']');
	char text[HOST_TEXT_BYTES];
	struct in6_addr ignored;
	char *zone;

	if (end == NULL || end[1] != ':')
		return -EINVAL;
	out->host = address + 1;
	out->host_len = (size_t)(end - out->host);
	if (!ipv6_parse(out->host, out->host_len, &ignored, text, &zone))
		return -EINVAL;
	return service_parse(end + 2, out);
}

static int host_port_parse(const char *address, struct spg__endpoint *out)
{
	const char *colon = strchr(address, ':');
	struct in_addr ignored;

	if (address[0] == '[')
		return bracket_parse(address, out);
	if (colon == NULL)
		return -EINVAL;
	out->host = address;
	out->host_len = (size_t)(colon - address);
	if (out->host_len > 0 && !ipv4_parse(out->host, out->host_len, &ignored)) {
		if (!name_valid(out->host, out->host_len))
			return -EINVAL;
		out->host_is_name = true;
	}
	return service_parse(colon + 1, out); /* a second colon is in no service */
}

/* A path leaves room for its terminator: unix(7) explains why a program should not do without. */
static int path_parse(const char *address, struct spg__endpoint *out)
{
	out->host = address;
	out->host_len = strlen(address);
	out->service = address + out->host_len;
	if (out->host_len == 0 || out->host_len >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -EINVAL;
	return address[0] == '@' && out->host_len == 1 ? -EINVAL : 0;
}

int spg__endpoint_parse_as(const struct spg__network *network, const char *address,
			   struct spg__endpoint *out)
{
	*out = (struct spg__endpoint){ .network = *network };
	if (address == NULL)
		return -EINVAL;
	return network->family == AF_UNIX ? path_parse(address, out) : host_port_parse(address, out);
}

int spg__endpoint_parse(const char *network, const char *address, struct spg__endpoint *out)
{
	struct spg__network known;
	int err = network == NULL ? -EINVAL : network_parse(network, &known);

	return err < 0 ? err : spg__endpoint_parse_as(&known, address, out);
}

static void ipv4_set(struct spg__addr *out, struct in_addr host, uint16_t port)
{
	*out = (struct spg__addr){ .len = sizeof(out->in) };
	out->in.sin_family = AF_INET;
	out->in.sin_addr = host;
	out->in.sin_port = htons(port);
}

static void ipv6_set(struct spg__addr *out, struct in6_addr host, uint16_t port)
{
	*out = (struct spg__addr){ .len = sizeof(out->in6) };
	out->in6.sin6_family = AF_INET6;
	out->in6.sin6_addr = host;
	out->in6.sin6_port = htons(port);
}

/* An interface's number or name. */
static int zone_parse(const char *zone, uint32_t *out)
{
	int64_t number = number_parse(zone, strlen(zone), UINT32_MAX);

	*out = number >= 0 ? (uint32_t)number : if_nametoindex(zone);
	return *out == 0 ? -ENODEV : 0;
}

static int path_addr(const struct spg__endpoint *endpoint, struct spg__addr *out)
{
	bool abstract = endpoint->host[0] == '@';

	*out = (struct spg__addr){ 0 };
	out->un.sun_family = AF_UNIX;
	memcpy(out->un.sun_path, endpoint->host, endpoint->host_len);
	if (abstract)
		out->un.sun_path[0] = '\0'; /* the name is what follows; its length ends it, not a NUL */
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + endpoint->host_len + !abstract);
	return 1;
}

/*
 * Nobody named: to listen, all addresses of both families through one IPv6 socket
 * (IPv4 alone where there is no IPv6); to dial, this host, IPv4 first as Go has it.
 */
static int anyhost_addrs(int family, enum spg__addr_use use, uint16_t port, struct spg__addr *out)
{
	bool listen = use == SPG__ADDR_LISTEN;
	struct spg__addr v4, v6;
	int n = 0;

	ipv4_set(&v4, (struct in_addr){ htonl(listen ? INADDR_ANY : INADDR_LOOPBACK) }, port);
	ipv6_set(&v6, listen ? in6addr_any : in6addr_loopback, port);
	if (family == AF_UNSPEC) {
		out[n++] = listen ? v6 : v4;
		out[n++] = listen ? v4 : v6;
		return n;
	}
	out[n++] = family == AF_INET ? v4 : v6;
	return n;
}

/* An IPv4 address that wears IPv6 clothes is what it means: a socket of either kind reaches it. */
static int ipv6_addr(int family, const struct in6_addr *host, const char *zone, uint16_t port,
		     struct spg__addr *out)
{
	if (IN6_IS_ADDR_V4MAPPED(host)) {
		struct in_addr v4;

		memcpy(&v4, &host->s6_addr[12], sizeof(v4));
		ipv4_set(out, v4, port);
		return family == AF_INET6 || zone != NULL ? -EINVAL : 1;
	}
	if (family == AF_INET)
		return -EINVAL;
	ipv6_set(out, *host, port);
	if (zone != NULL) {
		int err = zone_parse(zone, &out->in6.sin6_scope_id);

		if (err < 0)
			return err;
	}
	return 1;
}

int spg__endpoint_addrs(const struct spg__endpoint *endpoint, enum spg__addr_use use,
			struct spg__addr out[SPG__ADDRS_NUMERIC_MAX])
{
	int family = endpoint->network.family;
	char text[HOST_TEXT_BYTES], *zone;
	struct in6_addr v6;
	struct in_addr v4;
	uint16_t port;

	if (family == AF_UNIX)
		return path_addr(endpoint, out);
	SPG_CHECK(!endpoint->host_is_name && !endpoint->service_is_name);
	port = (uint16_t)number_parse(endpoint->service, strlen(endpoint->service), PORT_MAX);
	if (endpoint->host_len == 0)
		return anyhost_addrs(family, use, port, out);
	if (ipv4_parse(endpoint->host, endpoint->host_len, &v4)) {
		ipv4_set(out, v4, port);
		return family == AF_INET6 ? -EINVAL : 1;
	}
	SPG_CHECK(ipv6_parse(endpoint->host, endpoint->host_len, &v6, text, &zone));
	return ipv6_addr(family, &v6, zone, port, out);
}

/* What snprintf said, for a buffer of n bytes. */
static int text_fits(int len, size_t n)
{
	return len < 0 || (size_t)len >= n ? -ENOSPC : len;
}

static int ipv6_str(const struct sockaddr_in6 *in6, char *buf, size_t n)
{
	char host[INET6_ADDRSTRLEN], name[IF_NAMESIZE], zone[IF_NAMESIZE + 1] = "";

	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	if (in6->sin6_scope_id != 0 && if_indextoname(in6->sin6_scope_id, name) != NULL)
		snprintf(zone, sizeof(zone), "%%%s", name);
	else if (in6->sin6_scope_id != 0)
		snprintf(zone, sizeof(zone), "%%%u", (unsigned)in6->sin6_scope_id);
	return text_fits(snprintf(buf, n, "[%s%s]:%u", host, zone, ntohs(in6->sin6_port)), n);
}

/* An abstract name's length is not in the address: it ends before the zeros that fill it up. NULs show as '@'. */
static int unix_str(const struct sockaddr_un *un, char *buf, size_t n)
{
	size_t len = sizeof(un->sun_path);

	if (un->sun_path[0] != '\0')
		len = strnlen(un->sun_path, sizeof(un->sun_path));
	while (len > 1 && un->sun_path[len - 1] == '\0')
		len--;
	if (len >= n)
		return -ENOSPC;
	for (size_t i = 0; i < len; i++)
		buf[i] = un->sun_path[i] == '\0' ? '@' : un->sun_path[i];
	buf[len] = '\0';
	return (int)len;
}

int spg_sockaddr_str(const struct sockaddr *sa, char *buf, size_t n)
{
	char host[INET_ADDRSTRLEN];
	const struct sockaddr_in *in;

	if (sa == NULL || buf == NULL)
		return -EINVAL;
	switch (sa->sa_family) {
	case AF_INET:
		in = (const void *)sa;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		return text_fits(snprintf(buf, n, "%s:%u", host, ntohs(in->sin_port)), n);
	case AF_INET6:
		return ipv6_str((const void *)sa, buf, n);
	case AF_UNIX:
		return unix_str((const void *)sa, buf, n);
	default:
		return -EINVAL;
	}
}
