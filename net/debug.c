/*
 * spg_debug_serve: a small HTTP/1.1 server in coroutines.
 *
 * DB1  One request a connection; what is sent and read is bounded in bytes and in time, and
 *      so is the number of connections.
 * DB2  An answer is made in memory first (a memfd), so that its length and its errors are
 *      known before the first byte is sent, and a slow client holds up nobody but itself.
 *
 * Source: RFC 9110, RFC 9112.
 */
#include "net/debug.h"

#include "coro/alloc.h"
#include "sched/cancel.h"

#include <spg/spg.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SERVER_NAME "spg-debug"
#define CONNECTIONS_MAX 16
#define REQUEST_BYTES_MAX 4096
#define ANSWER_NS (30 * SPG_SEC)
/* After the answer: for the client to hang up, so that what it still sends does not reset it. */
#define LINGER_NS SPG_SEC
#define LINGER_BYTES_MAX 65536
#define TRACE_SECONDS_MAX 60
/* Of an answer: a trace may be large. */
#define ANSWER_BYTES_MAX ((off_t)256 << 20)

int64_t spg__debug_request_ns = 10 * SPG_SEC;

static const char index_text[] = "spg\n\n"
				 "/stats             counters, JSON\n"
				 "/metrics           counters, Prometheus\n"
				 "/dump              every coroutine\n"
				 "/trace?seconds=N   a trace of N seconds, for ui.perfetto.dev\n";

struct request {
	char *path, *query; /* query: NULL without one */
};

struct conn {
	int fd;
	size_t len;
	char buf[REQUEST_BYTES_MAX + 1];
	char head[512];
};

static const char *reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 409:
		return "Conflict";
	case 413:
		return "Content Too Large";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	default:
		return "Internal Server Error";
	}
}

/* The status line and the fields. 0 or an error. */
static int send_head(struct conn *conn, int status, const char *type, size_t len)
{
	int n = snprintf(conn->head, sizeof(conn->head),
			 "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
			 "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
			 status, reason(status), type, len, status == 405 ? "Allow: GET\r\n" : "");
	ssize_t sent = spg_write_all(conn->fd, conn->head, (size_t)n);

	return sent < 0 ? (int)sent : 0;
}

static void send_text(struct conn *conn, int status, const char *text)
{
	SPG_TIMEOUT_SCOPE(ANSWER_NS);

	if (send_head(conn, status, "text/plain; charset=utf-8", strlen(text)) == 0)
		(void)spg_write_all(conn->fd, text, strlen(text));
}

static void send_status(struct conn *conn, int status)
{
	char text[64];

	snprintf(text, sizeof(text), "%d %s\n", status, reason(status));
	send_text(conn, status, text);
}

/* An answer under way: sealed at its largest size, so that writing more fails. -errno on failure. */
static int body_open(void)
{
	int fd = memfd_create("spg-debug", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, ANSWER_BYTES_MAX) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0)
		return fd;
	close(fd);
	return -ENOMEM;
}

static int status_of(int err)
{
	switch (err) {
	case -EALREADY:
		return 409;
	case -EPERM: /* of the seal */
		return 413;
	case -ESRCH:
	case -ECANCELED:
		return 503;
	default:
		return 500;
	}
}

/* Runs `make` into memory, and sends that, or the status of its error. */
static void answer(struct conn *conn, const char *type, int (*make)(int fd, int64_t arg), int64_t arg)
{
	int fd = body_open();
	int err = fd < 0 ? fd : make(fd, arg);
	off_t len = fd < 0 ? 0 : lseek(fd, 0, SEEK_CUR);

	if (err < 0) {
		send_status(conn, status_of(err));
	} else {
		SPG_TIMEOUT_SCOPE(ANSWER_NS);
		off_t at = 0;

		if (send_head(conn, 200, type, (size_t)len) == 0)
			(void)spg_sendfile(conn->fd, fd, &at, (size_t)len);
	}
	if (fd >= 0)
		(void)spg_close(fd);
}

static int make_stats(int fd, int64_t arg)
{
	(void)arg;
	return spg_stats_json(fd);
}

static int make_metrics(int fd, int64_t arg)
{
	(void)arg;
	return spg_stats_prometheus(fd);
}

static int make_dump(int fd, int64_t arg)
{
	(void)arg;
	return spg_dump(fd);
}

static int make_trace(int fd, int64_t seconds)
{
	int err = spg_trace_start(fd), stopped;

	if (err < 0)
		return err;
	err = spg_sleep(seconds * SPG_SEC);
	stopped = spg_trace_stop();
	return err < 0 ? err : stopped;
}

/* "seconds=N"; none: 1. -EINVAL. */
static int trace_seconds(const char *query)
{
	static const char key[] = "seconds=";
	int n = 0;

	if (query == NULL)
		return 1;
	if (strncmp(query, key, sizeof(key) - 1) != 0)
		return -EINVAL;
	query += sizeof(key) - 1;
	for (; *query >= '0' && *query <= '9' && n <= TRACE_SECONDS_MAX; query++)
		n = n * 10 + (*query - '0');
	return *query == '\0' && n >= 1 && n <= TRACE_SECONDS_MAX ? n : -EINVAL;
}

static void route(struct conn *conn, const struct request *request)
{
	int seconds;

	if (strcmp(request->path, "/") == 0) {
		send_text(conn, 200, index_text);
	} else if (strcmp(request->path, "/stats") == 0) {
		answer(conn, "application/json", make_stats, 0);
	} else if (strcmp(request->path, "/metrics") == 0) {
		answer(conn, "text/plain; version=0.0.4; charset=utf-8", make_metrics, 0);
	} else if (strcmp(request->path, "/dump") == 0) {
		answer(conn, "text/plain; charset=utf-8", make_dump, 0);
	} else if (strcmp(request->path, "/trace") == 0) {
		seconds = trace_seconds(request->query);
		if (seconds < 0)
			send_status(conn, 400);
		else
			answer(conn, "application/json", make_trace, seconds);
	} else {
		send_status(conn, 404);
	}
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *text, size_t len)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c != '\0' && strchr(others, c) != NULL)))
			return false;
	}
	return len > 0;
}

/* Visible characters only: a path of ours, or a query. */
static bool is_target(const char *text)
{
	if (*text != '/')
		return false;
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

/* Takes the line at *at, which ends in CRLF, and ends it with a 0. NULL: no such line. */
static char *next_line(char **at)
{
	char *line = *at, *end = strstr(line, "\r\n");

	if (end == NULL || strcspn(line, "\r\n") != (size_t)(end - line))
		return NULL;
	*end = '\0';
	*at = end + 2;
	return line;
}

/* Fields are names, a colon, and what we do not read. One of them is Host (RFC 9112, 3.2). */
static bool fields_valid(char *at, bool host_needed)
{
	unsigned hosts = 0;
	char *line;

	while ((line = next_line(&at)) != NULL && *line != '\0') {
		char *colon = strchr(line, ':');

		if (colon == NULL || !is_token(line, (size_t)(colon - line)))
			return false;
		hosts += colon - line == 4 && strncasecmp(line, "host", 4) == 0;
	}
	return line != NULL && hosts <= 1 && (hosts == 1 || !host_needed);
}

/* The status: 200, and *request is filled; or what the client is told. */
static int parse(struct conn *conn, struct request *request)
{
	char *at = conn->buf, *line, *target, *version;

	/* A zero byte is part of no request; from here on zeros end what was cut off. */
	if (strlen(conn->buf) != conn->len)
		return 400;
	line = next_line(&at);
	if (line == NULL)
		return 400;
	target = strchr(line, ' ');
	version = target != NULL ? strchr(target + 1, ' ') : NULL;
	if (version == NULL || !is_token(line, (size_t)(target - line)))
		return 400;
	*target++ = '\0';
	*version++ = '\0';
	if (!is_target(target) || (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0) ||
	    !fields_valid(at, version[7] == '1'))
		return 400;
	if (strcmp(line, "GET") != 0)
		return 405;
	request->path = target;
	request->query = strchr(target, '?');
	if (request->query != NULL)
		*request->query++ = '\0';
	return 200;
}

/* Up to the empty line. The status: 200, or what the client is told; 0: it hung up. */
static int receive(struct conn *conn)
{
	SPG_TIMEOUT_SCOPE(spg__debug_request_ns);

	for (;;) {
		ssize_t n = spg_recv(conn->fd, conn->buf + conn->len, REQUEST_BYTES_MAX - conn->len, 0);
		char *end;

		if (n <= 0)
			return n == -ETIMEDOUT ? 408 : 0;
		conn->len += (size_t)n;
		conn->buf[conn->len] = '\0';
		end = memmem(conn->buf, conn->len, "\r\n\r\n", 4);
		if (end != NULL) {
			/* A body is no part of it; nobody reads it. */
			conn->len = (size_t)(end + 4 - conn->buf);
			*(end + 4) = '\0';
			return 200;
		}
		if (conn->len == REQUEST_BYTES_MAX)
			return 431;
	}
}

static void linger(struct conn *conn)
{
	SPG_TIMEOUT_SCOPE(LINGER_NS);
	size_t left = LINGER_BYTES_MAX;
	ssize_t n = spg_shutdown(conn->fd, SHUT_WR);

	while (n >= 0 && left > 0) {
		n = spg_recv(conn->fd, conn->buf, left < REQUEST_BYTES_MAX ? left : REQUEST_BYTES_MAX, 0);
		if (n <= 0)
			break;
		left -= (size_t)n;
	}
}

static void handle(int fd, void *arg)
{
	struct conn *conn = spg__alloc(sizeof(*conn));
	struct request request;
	int status;

	(void)arg;
	if (conn == NULL) {
		(void)spg_close(fd);
		return;
	}
	conn->fd = fd;
	conn->len = 0;
	status = receive(conn);
	if (status == 200)
		status = parse(conn, &request);
	if (status == 200)
		route(conn, &request);
	else if (status != 0)
		send_status(conn, status);
	if (status != 0)
		linger(conn);
	(void)spg_close(fd);
	spg__free(conn);
}

static void serve(void *arg)
{
	int listener = (int)(intptr_t)arg;
	spg_serve_opts opts = SPG_SERVE_OPTS_INIT;

	opts.name = SERVER_NAME;
	opts.connections_max = CONNECTIONS_MAX;
	opts.drain_ns = 0;
	(void)spg_serve(listener, handle, NULL, &opts); /* until the runtime ends */
	(void)spg_close(listener);
}

/* Under the root: it ends with the runtime, whoever started it. */
static int start(int listener)
{
	spg_attr attr = SPG_ATTR_INIT;
	int err;

	attr.name = SERVER_NAME;
	attr.ctx = spg__ctx_create(spg__ctx_root(), SPG__NEVER);
	if (attr.ctx == NULL)
		return -ENOMEM;
	err = spg_go_attr(&attr, serve, (void *)(intptr_t)listener);
	spg_ctx_unref(attr.ctx);
	return err;
}

static int port_of(int listener)
{
	struct sockaddr_storage name = { 0 };
	socklen_t len = sizeof(name);

	if (getsockname(listener, (struct sockaddr *)&name, &len) < 0)
		return -errno;
	return ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&name)->sin6_port :
						  ((struct sockaddr_in *)(void *)&name)->sin_port);
}

int spg_debug_serve(const char *address)
{
	char local[32];
	int listener, res;

	if (address == NULL)
		return -EINVAL;
	if (!spg_running() && !spg_in_coroutine())
		return -ESRCH;
	/* Without a host: this machine only. */
	if (address[0] == ':') {
		if (strlen(address) >= sizeof(local) - sizeof("127.0.0.1"))
			return -EINVAL;
		snprintf(local, sizeof(local), "127.0.0.1%.20s", address);
		address = local;
	}
	listener = spg_listen("tcp", address, NULL);
	if (listener < 0)
		return listener;
	res = port_of(listener);
	if (res >= 0) {
		int err = start(listener);

		res = err < 0 ? err : res;
	}
	if (res < 0)
		close(listener);
	return res;
}
