/*
 * spg/net.h - listening, dialing, serving.
 *
 * Networks as in Go: tcp tcp4 tcp6 udp udp4 udp6 unix unixgram unixpacket. Addresses:
 * "host:port", "[::1]:80", ":8080", "/path.sock", "@abstract"; port 0 lets the kernel
 * choose. All sockets are close-on-exec.
 */
#ifndef SPG_NET_H
#define SPG_NET_H

#include <spg/base.h>
#include <spg/go.h>
#include <sys/socket.h>

struct addrinfo; /* <netdb.h> */

/* SPG_LISTEN_OPTS_INIT: the defaults. */
typedef struct spg_listen_opts {
	int backlog;	      /* 0: the kernel's maximum */
	int rcvbuf_bytes;     /* of accepted sockets; 0: the kernel's default */
	int sndbuf_bytes;
	bool reuse_port;      /* SO_REUSEPORT: several listeners share the address */
	bool nodelay;	      /* TCP_NODELAY on accepted sockets */
	bool unlink_stale;    /* unix: remove a socket file nobody listens on first */
	unsigned mode;	      /* unix: chmod of the socket file; 0: as umask leaves it */
	int64_t keepalive_ns; /* TCP: idle time before probes; 0: off */
	bool v6only;	      /* IPv6 alone also where the network is tcp or udp */
	bool udp_gro;	      /* UDP_GRO where the kernel has it: received datagrams are coalesced; see spg_stream_recv */
	int tos;	      /* IP_TOS and IPV6_TCLASS; 0: the kernel's default */
	int64_t user_timeout_ns; /* TCP_USER_TIMEOUT: sent data may be unacknowledged as long; 0: the kernel's default */
} spg_listen_opts;
#define SPG_LISTEN_OPTS_INIT { 0, 0, 0, false, true, false, 0, 0, false, false, 0, 0 }

/* SPG_DIAL_OPTS_INIT: the defaults. */
typedef struct spg_dial_opts {
	const char *local;	    /* address to dial from; NULL: the kernel chooses */
	int rcvbuf_bytes;	    /* 0: the kernel's default */
	int sndbuf_bytes;
	bool nodelay;		    /* TCP_NODELAY */
	int64_t keepalive_ns;	    /* TCP: idle time before probes; 0: off */
	int64_t timeout_ns;	    /* for the whole call; negative: no limit */
	int64_t address_timeout_ns; /* for each address; negative: no limit */
	int64_t attempt_delay_ns;   /* before the next address is tried beside (RFC 8305) */
	bool udp_gro;		    /* these three as in spg_listen_opts */
	int tos;
	int64_t user_timeout_ns;
} spg_dial_opts;
#define SPG_DIAL_OPTS_INIT { SPG__NET_NULL, 0, 0, true, 0, -1, -1, 250 * SPG_MS, false, 0, 0 }

/* SPG_SERVE_OPTS_INIT: the defaults. */
typedef struct spg_serve_opts {
	const char *name;	  /* of the handlers' coroutines */
	uint64_t connections_max; /* open at once; 0: no limit */
	int64_t drain_ns;	  /* how long handlers may go on after the context's end */
	size_t stack_size;	  /* of the handlers; 0: spg_config.stack_size */
	spg_place place;	  /* of the handlers */
	bool per_shard;		  /* a listener for each shard, see there */
} spg_serve_opts;
#define SPG_SERVE_OPTS_INIT { SPG__NET_NULL, 0, 5 * SPG_SEC, 0, SPG_SPREAD, false }

#ifdef __cplusplus
#define SPG__NET_NULL nullptr
#else
#define SPG__NET_NULL NULL
#endif

SPG__EXTERN_C_BEGIN

/**
 * spg_listen - a listening socket, or for datagram networks a bound one.
 * @network: tcp tcp4 tcp6 udp udp4 udp6 unix unixgram unixpacket
 * @address: as above; an empty host is every address of this machine
 * @o:       borrowed; NULL: the defaults
 *
 * TCP sockets have SO_REUSEADDR. "tcp" and "udp" without a host take IPv6 and IPv4 with one
 * socket, and IPv4 alone where there is no IPv6. Of a name's addresses one is taken, IPv4
 * first. The descriptor is close-on-exec and in blocking mode.
 *
 * Return: a descriptor, to be closed with spg_close, or
 *   -EINVAL      bad text, an address of another family than the network's, or a bad option
 *   -ENOENT      host or service is a name, and it has no address
 *   -ENODEV      no interface has the name of the IPv6 zone
 *   -EADDRINUSE  another listens there
 *   -ECANCELED, -ETIMEDOUT  the context ended while a name was looked up
 *   other        of the look-up, as spg_resolve; the errno of socket(2), setsockopt(2),
 *                bind(2), chmod(2) or listen(2)
 * Cancellation: while it looks up a name. Threads: any; then a coroutine may resume on
 * another thread. Allocates: for a name, until it returns. Source: Go's net.Listen. Since: 0.1.
 */
SPG_API int spg_listen(const char *network, const char *address, const spg_listen_opts *o);

/**
 * spg_dial - a connected socket.
 * @network: tcp tcp4 tcp6 udp udp4 udp6 unix unixgram unixpacket
 * @address: as above; an empty host is this machine
 * @o:       borrowed; NULL: the defaults
 *
 * Several addresses are tried as RFC 8305 says, families by turns, each with a head start
 * of attempt_delay_ns on the next; the first to connect wins, the others are closed before
 * the call returns. The descriptor is close-on-exec and in blocking mode.
 *
 * Return: a descriptor, to be closed with spg_close, or
 *   -EINVAL         bad text, an address of another family than the network's, a bad option
 *   -ENOENT         host or service is a name, and it has no address
 *   -ENODEV         no interface has the name of the IPv6 zone
 *   -EADDRNOTAVAIL  o->local is of another family than the address
 *   -ECANCELED      the context was canceled
 *   -ETIMEDOUT      a deadline passed, or the peer did not answer
 *   -ENOMEM         no memory
 *   other           the errno of socket(2), setsockopt(2), bind(2) or connect(2) for the
 *                   first address that failed: -ECONNREFUSED, -ENETUNREACH ...
 * Cancellation: yes; nothing stays open. A connection that was made counts. Threads: any; a
 * coroutine parks and may resume on another thread. Allocates: for several addresses, until
 * it returns. Source: RFC 8305, Go's net.Dial. Since: 0.1.
 */
SPG_API int spg_dial(const char *network, const char *address, const spg_dial_opts *o);

/**
 * spg_resolve - the addresses of a host and a service, without stalling a shard.
 * @host:    a name or a numeric address, borrowed; NULL: this machine, or with AI_PASSIVE every
 *           address; not NULL together with service
 * @service: a name or a port number, borrowed; NULL: port 0
 * @hints:   as getaddrinfo(3) takes them, borrowed; NULL: any family and type
 * @out:     receives a list, to be freed with freeaddrinfo(3); untouched after an error
 *
 * Return: 0, or
 *   -ENOENT     no such name, or it has no address
 *   -EAGAIN     the name server gave no answer, for now
 *   -EINVAL     out is NULL, host and service are, or bad hints
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     no memory
 *   other       the errno of a system call that failed
 * Cancellation: yes, at once: libc's look-up cannot be ended, and goes on without its caller, with
 * copies of the arguments; the runtime's end waits for it. Threads: any; a coroutine parks and may
 * resume on another thread; without a runtime a look-up is not interrupted. Allocates: the list,
 * and while it looks up a copy of the arguments. Source: getaddrinfo(3), RFC 3493. Since: 0.1.
 */
SPG_API int spg_resolve(const char *host, const char *service, const struct addrinfo *hints,
			struct addrinfo **out);

/**
 * spg_sockaddr_str - an address as text, as spg_dial takes it.
 * @sa:  IPv4, IPv6 or unix; borrowed
 * @buf: receives "192.0.2.1:80", "[fe80::1%eth0]:80", "/path.sock" or "@abstract"
 * @n:   bytes of buf, the final zero counted; 128 hold every address
 *
 * Return: the length without the final zero, or
 *   -EINVAL  sa or buf is NULL, or an unknown family
 *   -ENOSPC  it needs more than n bytes; what is in buf then is unspecified
 * Cancellation: none. Threads: any. Allocates: nothing. Source: inet_ntop(3), Go's
 * net.Addr. Since: 0.1.
 */
SPG_API int spg_sockaddr_str(const struct sockaddr *sa, char *buf, size_t n);

/**
 * spg_udp_send_segments - send a run of datagrams of one length, the last one maybe shorter.
 * @fd:          a UDP socket
 * @buf:         len bytes, borrowed
 * @len:         bytes; 0: one empty datagram
 * @segment_len: bytes of each datagram, 65535 at most
 * @addr:        where to; NULL: where the socket is connected to
 * @addr_len:    bytes of addr
 *
 * One system call for up to 64 of them, cut by the kernel or the device (UDP_SEGMENT, Linux
 * 4.18); where that does not work, and for segments beyond the path's MTU, one call each.
 *
 * Return: bytes sent, len unless an error came after some were sent; or
 *   -EINVAL     segment_len is 0 or too large, or buf is NULL
 *   -EMSGSIZE   a segment is longer than a datagram may be
 *   -ECANCELED  the context was canceled, or spg_close was called on fd
 *   -ETIMEDOUT  the context's deadline passed first
 *   other       the errno of sendmsg(2)
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: udp(7), Documentation/networking/segmentation-offloads. Since: 0.1.
 */
SPG_API ssize_t spg_udp_send_segments(int fd, const void *buf, size_t len, size_t segment_len,
				      const struct sockaddr *addr, socklen_t addr_len);

/**
 * spg_serve - accept connections, and run a handler for each in a coroutine of its own.
 * @listen_fd: a listening stream or unixpacket socket; stays the caller's
 * @handler:   serves one connection and closes fd
 * @arg:       passed to handler
 * @o:         borrowed; NULL: the defaults
 *
 * Accepts until the caller's context ends or listen_fd is closed. A connection is open
 * while its handler runs; at the limit further ones wait in the kernel's backlog. Out of
 * descriptors or memory it pauses until a handler ends, or tries again after 5 ms, then
 * longer, up to 1 s. In the end it stops accepting, waits for the handlers up to drain_ns,
 * cancels their context, and waits for them. Their context is none of the caller's: it ends
 * when the drain is over, or with the runtime.
 *
 * Handlers are spread over the shards by turns. With per_shard each shard accepts for itself,
 * from a socket of its own beside listen_fd (SO_REUSEPORT, which spg_listen_opts.reuse_port
 * sets), and its handlers start there, unless `place` says otherwise: no connection crosses
 * shards, and the kernel spreads them by their addresses, evenly when there are many. The limit
 * is shared out evenly. In the end connections that wait at those sockets are reset.
 *
 * Return: 0 after the drain, or
 *   -EINVAL    handler is NULL, listen_fd does not listen, or per_shard without SO_REUSEPORT
 *   -EBADF     listen_fd is not open
 *   -ENOTSOCK  listen_fd is no socket
 *   -ESRCH     no runtime is running
 *   -ENOMEM    no memory to begin with
 *   other      the errno of accept4(2) that does not pass; the handlers were drained
 * Cancellation: ends it, with 0. Threads: any; a coroutine parks and may resume on another
 * thread, a foreign thread waits for a coroutine that does the work, until the runtime ends
 * at the latest. Allocates: a node a connection, until its handler starts. Source: accept(2),
 * Go's http.Server.Serve. Since: 0.1.
 */
SPG_API int spg_serve(int listen_fd, void (*handler)(int fd, void *arg), void *arg,
		      const spg_serve_opts *o);

SPG__EXTERN_C_END

#endif
