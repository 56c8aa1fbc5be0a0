#include "tools/httpd/respond.h"

#include "tools/httpd/calls.h"
#include "tools/httpd/condition.h"

#include <errno.h>

/* Status line and headers at most: those of a redirect hold a path with every byte escaped. */
#define HEAD_ROOM (PATH_BYTES * 3 + 1024)
/* Up to here a copy into the buffer, sent in one piece with the head, costs less than sendfile. */
#define WHOLE_BYTES (32 * 1024)
_Static_assert(WHOLE_BYTES + HEAD_ROOM <= OUT_BYTES, "head and body in one piece");

static const struct {
	int status;
	const char *text;
} reasons[] = {
	{ 301, "301 Moved Permanently" },
	{ 400, "400 Bad Request" },
	{ 403, "403 Forbidden" },
	{ 404, "404 Not Found" },
	{ 405, "405 Method Not Allowed" },
	{ 408, "408 Request Timeout" },
	{ 412, "412 Precondition Failed" },
	{ 413, "413 Content Too Large" },
	{ 414, "414 URI Too Long" },
	{ 416, "416 Range Not Satisfiable" },
	{ 431, "431 Request Header Fields Too Large" },
	{ 501, "501 Not Implemented" },
	{ 503, "503 Service Unavailable" },
	{ 505, "505 HTTP Version Not Supported" },
};

static const char *reason_of(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "500 Internal Server Error";
}

static void put_text(struct out *out, const char *text)
{
	out_put(out, text, strlen(text));
}

static void begin_head(struct respond *r, int status, const char *reason)
{
	time_t now = time(NULL);

	r->status = (uint16_t)status;
	r->body_bytes = 0;
	r->cut_short = false;
	if (now != r->date_when) {
		date_write(now, r->date);
		r->date_when = now;
	}
	OUT_PUT(r->out, "HTTP/1.1 ");
	put_text(r->out, reason);
	OUT_PUT(r->out, "\r\nDate: ");
	out_put(r->out, r->date, DATE_LEN);
	OUT_PUT(r->out, "\r\n");
}

static void end_head(struct respond *r)
{
	if (!r->keep)
		OUT_PUT(r->out, "Connection: close\r\n");
	else if (r->keep_says)
		OUT_PUT(r->out, "Connection: keep-alive\r\n");
	OUT_PUT(r->out, "\r\n");
}

static void put_length(struct out *out, uint64_t len)
{
	OUT_PUT(out, "Content-Length: ");
	out_put_number(out, len);
	OUT_PUT(out, "\r\n");
}

/* The headers' end, and the reason as the body. */
static void end_with_reason(struct respond *r, const char *reason)
{
	size_t len = strlen(reason);

	OUT_PUT(r->out, "Content-Type: text/plain; charset=utf-8\r\n");
	put_length(r->out, len + 1);
	end_head(r);
	if (r->head)
		return;
	out_put(r->out, reason, len);
	OUT_PUT(r->out, "\n");
	r->body_bytes = len + 1;
}

void respond_error(struct respond *r, int status)
{
	const char *reason = reason_of(status);

	if (out_reserve(r->out, HEAD_ROOM) < 0)
		return;
	begin_head(r, status, reason);
	if (status == 405)
		OUT_PUT(r->out, "Allow: GET, HEAD\r\n");
	end_with_reason(r, reason);
}

void respond_folder(struct respond *r, const char *path, size_t len)
{
	const char *reason = reason_of(301);

	if (out_reserve(r->out, HEAD_ROOM) < 0)
		return;
	begin_head(r, 301, reason);
	OUT_PUT(r->out, "Location: ");
	r->out->len += path_to_target(path, len, r->out->buf + r->out->len, PATH_BYTES * 3 + 2);
	OUT_PUT(r->out, "\r\n");
	end_with_reason(r, reason);
}

static void respond_unsatisfied(struct respond *r, const struct file *file)
{
	begin_head(r, 416, reason_of(416));
	OUT_PUT(r->out, "Content-Range: bytes */");
	out_put_number(r->out, file->size_bytes);
	OUT_PUT(r->out, "\r\n");
	end_with_reason(r, reason_of(416));
}

static void respond_unmodified(struct respond *r, const struct file *file)
{
	begin_head(r, 304, "304 Not Modified");
	out_put(r->out, file->head, file->validators_len);
	end_head(r);
}

static void file_head(struct respond *r, const struct file *file, const struct selection *s)
{
	struct out *out = r->out;

	begin_head(r, s->status, s->status == 206 ? "206 Partial Content" : "200 OK");
	out_put(out, file->head, file->head_len);
	if (s->status == 206) {
		OUT_PUT(out, "Content-Range: bytes ");
		out_put_number(out, s->first);
		OUT_PUT(out, "-");
		out_put_number(out, s->first + s->len - 1);
		OUT_PUT(out, "/");
		out_put_number(out, file->size_bytes);
		OUT_PUT(out, "\r\n");
	}
	put_length(out, s->len);
	end_head(r);
}

/* As much as is there, up to len: fewer only at the end of the file; or an error. */
static ssize_t read_piece(int fd, char *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = call_pread(fd, buf + done, len - done, (off_t)(offset + done));

		if (n == 0)
			break;
		if (n < 0 && n != -EINTR)
			return n;
		if (n > 0)
			done += (size_t)n;
	}
	return (ssize_t)done;
}

/*
 * One piece of a body: sent as it lies in the page cache, or else read into the buffer, and
 * sent when that is full. Bytes; 0: the file ends there; or an error.
 */
static ssize_t body_piece(struct out *out, int fd, uint64_t first, uint64_t len)
{
	size_t room;
	ssize_t n = out_file(out, fd, first, len);

	if (n != -EAGAIN)
		return n;
	if (out_reserve(out, OUT_BYTES) < 0)
		return out->err;
	room = len < OUT_BYTES ? (size_t)len : OUT_BYTES;
	n = read_piece(fd, out->buf, room, first);
	if (n > 0)
		out->len = (size_t)n;
	return n;
}

/*
 * The promised length cannot be taken back: a file that became shorter, or cannot be read,
 * ends the connection.
 */
static void file_body(struct respond *r, const struct file *file, uint64_t first, uint64_t len)
{
	while (len > 0) {
		ssize_t n = body_piece(r->out, file->fd, first, len);

		if (n <= 0) {
			r->cut_short = true;
			return;
		}
		r->body_bytes += (uint64_t)n;
		first += (uint64_t)n;
		len -= (uint64_t)n;
	}
}

/*
 * Head and body in one piece. 0; -ESTALE: the file is shorter than it was when opened; or
 * why it could not be read. Then nothing was put.
 */
static int file_whole(struct respond *r, const struct file *file, const struct selection *s)
{
	size_t start = r->out->len;
	ssize_t n;

	file_head(r, file, s);
	if (r->head)
		return 0;
	n = read_piece(file->fd, r->out->buf + r->out->len, (size_t)s->len, s->first);
	if (n == (ssize_t)s->len) {
		r->out->len += (size_t)n;
		r->body_bytes = (uint64_t)n;
		return 0;
	}
	r->out->len = start;
	return n < 0 ? (int)n : -ESTALE;
}

/* What file_whole says, with the answers that have no body of the file's. */
static int respond_once(struct respond *r, const struct request *request, const char *base,
			const struct file *file)
{
	struct selection s = condition_apply(request, base, file);

	switch (s.status) {
	case 304:
		respond_unmodified(r, file);
		return 0;
	case 412:
		respond_error(r, 412);
		return 0;
	case 416:
		respond_unsatisfied(r, file);
		return 0;
	}
	if (r->head || s.len <= WHOLE_BYTES) {
		if (out_reserve(r->out, HEAD_ROOM + (r->head ? 0 : (size_t)s.len)) < 0)
			return 0; /* the connection is lost */
		return file_whole(r, file, &s);
	}
	file_head(r, file, &s);
	file_body(r, file, s.first, s.len);
	return 0;
}

void respond_file(struct respond *r, const struct request *request, const char *base, struct file *file,
		  int64_t now_ns)
{
	struct file *again;
	int err;

	if (out_reserve(r->out, HEAD_ROOM) < 0)
		return;
	err = respond_once(r, request, base, file);
	if (err == 0)
		return;
	file_forget(file);
	if (err == -ESTALE && file_get(file->path, file->path_len, now_ns, &again) == 0) {
		err = again->folder ? -EISDIR : respond_once(r, request, base, again);
		file_put(again);
	}
	if (err < 0)
		respond_error(r, 500);
}
