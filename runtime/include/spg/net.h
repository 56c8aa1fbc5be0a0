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
} spg_listen_opts;
#define SPG_LISTEN_OPTS_INIT { 0, 0, 0, false, true, false, 0, 0 }

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
} spg_dial_opts;
#define SPG_DIAL_OPTS_INIT { SPG__NET_NULL, 0, 0, true, 0, -1, -1, 250 * SPG_MS }

/* SPG_SERVE_OPTS_INIT: the defaults. */
typedef struct spg_serve_opts {
	const char *name;	  /* of the handlers' coroutines */
	uint64_t connections_max; /* open at once; 0: no limit */
	int64_t drain_ns;	  /* how long handlers may go on after the context's end */
	size_t stack_size;	  /* of the handlers; 0: spg_config.stack_size */
	spg_place place;	  /* of the handlers */
} spg_serve_opts;
#define SPG_SERVE_OPTS_INIT { SPG__NET_NULL, 0, 5 * SPG_SEC, 0, SPG_SPREAD }

#ifdef __cplusplus
#define SPG__NET_NULL nullptr
#else
#define SPG__NET_NULL NULL
#endif

SPG__EXTERN_C_BEGIN

/**
 * spg_listen - a listening socket (stream), or a bound one (datagram).
 * @network: see above
 * @address: see above; an empty host is every address
 * @o:       NULL: the defaults
 *
 * SO_REUSEADDR is set. "tcp" without a host listens on IPv6 and IPv4 where both are there.
 *
 * Return: a descriptor, to be closed with spg_close, or
 *   -EINVAL  bad text, or an option that does not fit
 *   other    the errno of socket, setsockopt, bind or listen: -EADDRINUSE, -EACCES ...
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's net.Listen. Since: 0.1.
 */
SPG_API int spg_listen(const char *network, const char *address, const spg_listen_opts *o);

/**
 * spg_dial - a connected socket.
 * @network: see above
 * @address: see above; an empty host is this machine
 * @o:       NULL: the defaults
 *
 * Return: a descriptor, to be closed with spg_close, or
 *   -EINVAL      bad text, or an option that does not fit
 *   -ECANCELED   the context was canceled
 *   -ETIMEDOUT   a deadline passed, or the peer did not answer
 *   other        the errno of socket, bind or connect: -ECONNREFUSED ...
 * Cancellation: yes; nothing stays open. Threads: any. Allocates: for several addresses.
 * Source: RFC 8305, Go's net.Dial. Since: 0.1.
 */
SPG_API int spg_dial(const char *network, const char *address, const spg_dial_opts *o);

/**
 * spg_sockaddr_str - an address as text, as spg_dial takes it.
 * @buf: n bytes; 128 hold every address
 *
 * Return: the length without the final zero; -EINVAL: an unknown family; -ENOSPC: buf is
 * too small.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_sockaddr_str(const struct sockaddr *sa, char *buf, size_t n);

/**
 * spg_serve - accept connections and run a handler for each in a coroutine of its own.
 * @listen_fd: a listening stream socket; stays the caller's
 * @handler:   serves one connection and closes fd
 * @arg:       passed to it
 * @o:         NULL: the defaults
 *
 * Accepts until its context ends; a connection counts as open while its handler runs. At
 * the limit further ones wait in the backlog. Out of descriptors or memory it pauses until
 * a handler has ended. Then it stops accepting, waits for the handlers up to drain_ns,
 * cancels the rest, and waits for them. The handlers' context is not the caller's: it ends
 * when the drain is over, or with the runtime.
 *
 * Return: 0 after the drain, or
 *   -EINVAL, -ENOTSOCK, -EBADF ...  the descriptor does not accept; handlers were drained
 *   -ENOMEM                         no memory to begin with
 * Cancellation: ends it, with 0. Threads: any. Allocates: a node per connection.
 * Source: Go's net/http Serve. Since: 0.1.
 */
SPG_API int spg_serve(int listen_fd, void (*handler)(int fd, void *arg), void *arg,
		      const spg_serve_opts *o);

SPG__EXTERN_C_END

#endif
