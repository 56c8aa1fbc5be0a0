#include "tools/httpd/conn.h"

#include "tools/httpd/buffer.h"
#include "tools/httpd/calls.h"
#include "tools/httpd/counters.h"
#include "tools/httpd/file.h"
#include "tools/httpd/log.h"
#include "tools/httpd/marks.h"
#include "tools/httpd/out.h"
#include "tools/httpd/request.h"
#include "tools/httpd/respond.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define NS_PER_SEC INT64_C(1000000000)
/* What most requests fit in. It is part of the connection's stack: an idle one has no more. */
#define SMALL_BYTES 1024
/* For the peer to take an answer after which the connection closes, before that is cut off. */
#define LINGER_NS NS_PER_SEC
#define LINGER_BYTES (256 * 1024)

struct conn {
	int fd;
	const struct options *options;
	struct request request;
	struct respond respond;
	struct out out;
	/* What has come: in[0] to in[in_len]; the request that is answered ends at in_end. */
	char *in;
	size_t in_len, in_end, in_size;
	int64_t until_ns;  /* the request has to be there; 0: not known yet */
	int64_t now_ns;	   /* when the request was there */
	bool first;	   /* no request has come yet */
	bool unread;	   /* it closes, and the peer may not have said all */
	struct counters counters;
	struct log_peer peer;
	char small[SMALL_BYTES];
};

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static void use_small(struct conn *c)
{
	if (c->in == c->small)
		return;
	if (c->in_len <= SMALL_BYTES)
		memcpy(c->small, c->in, c->in_len);
	buffer_give(c->in);
	c->in = c->small;
	c->in_size = SMALL_BYTES;
}

/* Room for at least one byte more. 0, an error's status, or -ENOMEM. */
static int make_room(struct conn *c)
{
	char *large;

	if (c->in_len < c->in_size)
		return 0;
	if (c->in != c->small || c->options->header_bytes_max <= SMALL_BYTES)
		return c->request.target_done ? 431 : 414;
	large = buffer_take();
	if (large == NULL)
		return -ENOMEM;
	memcpy(large, c->small, c->in_len);
	c->in = large;
	c->in_size = c->options->header_bytes_max;
	return 0;
}

/* The first bytes of a request. Until they come, the connection holds no buffer. */
static ssize_t receive_idle(struct conn *c)
{
	int64_t limit_ns = c->first ? c->options->request_ns : c->options->idle_ns;
	ssize_t n = -ESHUTDOWN;

	use_small(c);
	out_end(&c->out);
	if (marks_idle(c->fd))
		n = call_recv(c->fd, c->in, c->in_size, limit_ns);
	marks_busy(c->fd);
	return n;
}

static ssize_t receive_rest(struct conn *c)
{
	int64_t now = now_ns();

	if (c->until_ns == 0)
		c->until_ns = now + c->options->request_ns;
	if (now >= c->until_ns)
		return -ETIMEDOUT;
	return call_recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, c->until_ns - now);
}

/* 0: there is more. An error's status. Negative: the connection is over. */
static int receive(struct conn *c)
{
	int err = out_flush(&c->out); /* answers are not kept back while we wait */
	ssize_t n;

	if (err == 0)
		err = make_room(c);
	if (err != 0)
		return err;
	n = c->in_len == 0 ? receive_idle(c) : receive_rest(c);
	if (n > 0) {
		c->in_len += (size_t)n;
		return 0;
	}
	if (n == -ETIMEDOUT) {
		c->counters.timeouts++;
		return c->in_len > 0 ? 408 : -ETIMEDOUT;
	}
	return n < 0 ? (int)n : -ENOTCONN;
}

/* REQUEST_DONE, an error's status, or negative: the connection is over. */
static int read_request(struct conn *c)
{
	size_t parsed = 0;
	int status;

	request_begin(&c->request);
	c->until_ns = 0;
	for (;;) {
		if (parsed < c->in_len) {
			status = request_feed(&c->request, c->in, parsed, c->in_len, &c->in_end);
			if (status != REQUEST_MORE)
				return status;
			if (c->request.headers_done)
				c->in_len = c->request.kept_bytes; /* the rest was body */
			parsed = c->in_len;
		}
		if (c->request.headers_done && c->request.expects) {
			c->unread = true; /* the answer is the word it waits for, and the last */
			return REQUEST_DONE;
		}
		status = receive(c);
		if (status != 0)
			return status;
	}
}

static int status_of(int err)
{
	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
	case -ELOOP:
	case -EXDEV: /* out of the root */
	case -ENAMETOOLONG:
	case -ENXIO: /* a socket */
	case -ENODEV:
		return 404;
	case -EACCES:
	case -EPERM:
		return 403;
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
	case -EAGAIN:
		return 503;
	default:
		return 500;
	}
}

static void answer_file(struct conn *c)
{
	const struct part *target = &c->request.target;
	char *path = out_scratch(&c->out);
	struct file *file;
	int len = path_from_target(c->in + target->at, target->len, path);
	int err = len < 0 ? 0 : file_get(path, (size_t)len, c->now_ns, &file);

	if (len < 0) {
		respond_error(&c->respond, -len);
		return;
	}
	if (err < 0) {
		respond_error(&c->respond, status_of(err));
		return;
	}
	if (file->folder)
		respond_folder(&c->respond, path, (size_t)len);
	else
		respond_file(&c->respond, &c->request, c->in, file, c->now_ns);
	file_put(file);
}

/* Not part of its caller: its record would lie on every connection's stack. */
__attribute__((noinline)) static void log_answer(const struct conn *c)
{
	const struct part *target = &c->request.target;
	struct log_record record = {
		.when = c->respond.date_when,
		.bytes = c->respond.body_bytes,
		.took_ns = now_ns() - c->now_ns,
		.method = "-",
		.status = c->respond.status,
		.peer = c->peer,
	};

	if (target->len > 0)
		record.method = llhttp_method_name(c->request.parser.method);
	record.target_len = (uint16_t)(target->len < LOG_TARGET_BYTES ? target->len : LOG_TARGET_BYTES);
	memcpy(record.target, c->in + target->at, record.target_len);
	log_put(&record);
}

/* False: the connection is over, but for what is gathered. */
static bool answer(struct conn *c, int status)
{
	const llhttp_t *parser = &c->request.parser;
	struct respond *r = &c->respond;

	if (out_begin(&c->out) < 0)
		return false;
	c->now_ns = now_ns();
	c->first = false;
	r->head = c->request.headers_done && parser->method == HTTP_HEAD;
	r->keep = status == REQUEST_DONE && !c->unread && request_keeps_alive(&c->request) && !marks_draining();
	r->keep_says = parser->http_minor == 0;
	if (status != REQUEST_DONE) {
		c->unread = true;
		respond_error(r, status);
	} else if (parser->method != HTTP_GET && parser->method != HTTP_HEAD) {
		respond_error(r, 405);
	} else {
		answer_file(c);
	}
	c->counters.requests++;
	c->counters.answers[r->status / 100 % 6]++;
	c->counters.cut_short += r->cut_short;
	if (log_enabled())
		log_answer(c);
	return r->keep && !r->cut_short && c->out.err == 0;
}

/* What follows the answered request moves to the front. */
static void next_request(struct conn *c)
{
	c->in_len -= c->in_end;
	if (c->in_len > 0)
		memmove(c->in, c->in + c->in_end, c->in_len);
}

/*
 * A close with bytes unread would reset the connection, and the answer with it. So the
 * peer first hears that no more comes, and what it still says is dropped for a while.
 */
static void linger(int fd, char *buf, size_t len)
{
	int64_t until = now_ns() + LINGER_NS, left = LINGER_NS;
	size_t dropped = 0;

	shutdown(fd, SHUT_WR);
	while (left > 0 && dropped < LINGER_BYTES) {
		ssize_t n = call_recv(fd, buf, len, left);

		if (n <= 0)
			return;
		dropped += (size_t)n;
		left = until - now_ns();
	}
}

void conn_serve(int fd, const struct options *options)
{
	struct conn c;
	socklen_t peer_len = sizeof(c.peer.address);
	int status;

	memset(&c, 0, offsetof(struct conn, small));
	c.fd = fd;
	c.options = options;
	c.first = true;
	c.in = c.small;
	c.in_size = SMALL_BYTES;
	c.out = (struct out){ .fd = fd, .send_ns = options->send_ns };
	c.respond.out = &c.out;
	if (log_enabled())
		(void)getpeername(fd, &c.peer.address.sa, &peer_len); /* gone: the log says "-" */
	marks_open(fd);
	while ((status = read_request(&c)) > 0 && answer(&c, status))
		next_request(&c);
	if (out_flush(&c.out) == 0 && !c.respond.cut_short && (c.unread || c.in_end < c.in_len))
		linger(fd, c.small, SMALL_BYTES);
	use_small(&c);
	c.counters.connections = 1;
	c.counters.bytes_sent = c.out.bytes_sent;
	c.counters.timeouts += c.out.err == -ETIMEDOUT;
	counters_add(&c.counters);
	out_end(&c.out);
	marks_close(fd);
}

void conn_refuse(int fd)
{
	static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
				   "Content-Length: 0\r\nConnection: close\r\n\r\n";
	const struct counters counters = { .rejected = 1 };
	char buf[256];

	marks_open(fd);
	if (call_send(fd, text, sizeof(text) - 1, false, LINGER_NS) > 0)
		linger(fd, buf, sizeof(buf));
	counters_add(&counters);
	marks_close(fd);
}
