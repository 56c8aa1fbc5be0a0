/*
 * Addresses as text, to sockaddr and back. No look-up here: names are told apart
 * from numbers and left to the resolver.
 *
 *	network   tcp tcp4 tcp6 udp udp4 udp6 unix unixgram unixpacket
 *	address   "host:port" "192.0.2.1:80" "[::1]:80" "[fe80::1%eth0]:80" ":8080"
 *	          "/path.sock" "path.sock" "@abstract" for the unix networks
 *
 * A1  An endpoint borrows the address text: it lives as long as the text does.
 * A2  A host whose last label is a number is an IPv4 address or bad text; it never
 *     becomes a name. So "1.2.3" and "127.0.0.256" are refused, not looked up.
 */
#ifndef SPG__NET_ADDR_H
#define SPG__NET_ADDR_H

#include "coro/base.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct spg__addr {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

struct spg__network {
	int family; /* AF_UNSPEC: IPv4 or IPv6 */
	int type;   /* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
};

struct spg__endpoint {
	struct spg__network network;
	/* Not terminated. The path for AF_UNIX; brackets are gone; "" means every host, or this one. */
	const char *host;
	size_t host_len;
	/* Terminated: the rest of the text. */
	const char *service;
	/* Look-ups that are needed: host is no number; service is no number. */
	bool host_is_name, service_is_name;
};

/* What an empty host means. */
enum spg__addr_use { SPG__ADDR_LISTEN, SPG__ADDR_DIAL };

/* RFC 1035, 2.3.4; and a dot at the end. */
#define SPG__HOST_BYTES_MAX 254

/* An empty host gives two: IPv6 and IPv4. */
#define SPG__ADDRS_NUMERIC_MAX 2

/* 0, or -EINVAL: a NULL, an unknown network, or text of none of the forms above. */
int spg__endpoint_parse(const char *network, const char *address, struct spg__endpoint *out);

/* The same for a network that is known already. */
int spg__endpoint_parse_as(const struct spg__network *network, const char *address,
			   struct spg__endpoint *out);

/*
 * The addresses of an endpoint without names, in the order to try: how many, or
 *   -EINVAL   an address of the other family than the network's
 *   -ENODEV   no interface of the zone's name
 */
int spg__endpoint_addrs(const struct spg__endpoint *endpoint, enum spg__addr_use use,
			struct spg__addr out[SPG__ADDRS_NUMERIC_MAX]);

/* More addresses of one name than these are not tried. */
#define SPG__ADDRS_NAMED_MAX 16

/*
 * net/resolve.c: the addresses of an endpoint with names, in the resolver's order
 * (RFC 6724): how many, or the error of spg_resolve. Waits.
 */
int spg__endpoint_resolve(const struct spg__endpoint *endpoint, enum spg__addr_use use,
			  struct spg__addr *out, size_t max);

#endif
