#include "net/bufio.h"

#include "coro/alloc.h"

#include <limits.h>
#include <string.h>

#define BUFFER_BYTES ((size_t)8192)

bool spg__buffer_init(struct spg__buffer *b, size_t size)
{
	*b = (struct spg__buffer){ .size = size > 0 ? size : BUFFER_BYTES };
	b->size_wanted = b->size;
	b->buf = b->size < SSIZE_MAX ? spg__alloc(b->size + 1) : NULL; /* RD3 */
	return b->buf != NULL;
}

void spg__buffer_shrink(struct spg__buffer *b)
{
	char *buf;

	if (spg__likely(b->size == b->size_wanted) || spg__buffered(b) > 0)
		return;
	buf = spg__alloc(b->size_wanted + 1);
	if (buf == NULL)
		return; /* the large one does as well */
	spg__free(b->buf);
	b->buf = buf;
	b->size = b->size_wanted;
	b->start = b->end = 0;
}

void spg__buffer_compact(struct spg__buffer *b)
{
	size_t n = spg__buffered(b);

	if (n > 0 && b->start > 0)
		memmove(b->buf, b->buf + b->start, n);
	b->start = 0;
	b->end = n;
}

bool spg__buffer_reserve(struct spg__buffer *b, size_t n)
{
	size_t buffered = spg__buffered(b);
	char *buf;

	if (n <= b->size)
		return true;
	buf = spg__alloc(n + 1);
	if (buf == NULL)
		return false;
	memcpy(buf, b->buf + b->start, buffered);
	spg__free(b->buf);
	b->buf = buf;
	b->size = n;
	b->start = 0;
	b->end = buffered;
	return true;
}

void spg__buffer_put(struct spg__buffer *b, const void *data, size_t n)
{
	if (n == 0)
		return;
	if (n > b->size - b->end)
		spg__buffer_compact(b);
	SPG_CHECK(n <= b->size - b->end);
	memcpy(b->buf + b->end, data, n);
	b->end += n;
}

spg_reader *spg_reader_new(spg_conn *c, size_t size)
{
	spg_reader *r = c != NULL ? spg__calloc(1, sizeof(*r)) : NULL;

	if (r == NULL)
		return NULL;
	r->conn = c;
	if (spg__buffer_init(&r->b, size))
		return r;
	spg__free(r);
	return NULL;
}

void spg_reader_free(spg_reader *r)
{
	if (r == NULL)
		return;
	spg__free(r->b.buf);
	spg__free(r);
}

size_t spg_reader_buffered(const spg_reader *r)
{
	return r != NULL ? spg__buffered(&r->b) : 0;
}

/* From the stream, past the buffer. RD2. */
static ssize_t read_stream(spg_reader *r, void *buf, size_t n)
{
	int err = r->err;

	r->err = 0;
	return err < 0 ? err : spg_conn_read(r->conn, buf, n);
}

ssize_t spg__reader_fill(spg_reader *r, size_t n)
{
	struct spg__buffer *b = &r->b;

	if (n <= b->size_wanted)
		spg__buffer_shrink(b);
	while (spg__buffered(b) < n) {
		ssize_t got;

		if (spg__buffered(b) == 0 || b->size - b->start < n)
			spg__buffer_compact(b);
		SPG_ASSERT(n <= b->size && b->end < b->size);
		got = read_stream(r, b->buf + b->end, b->size - b->end);
		if (got < 0)
			return got;
		if (got == 0)
			break;
		b->end += (size_t)got;
	}
	return (ssize_t)spg__buffered(b);
}

char *spg__reader_take(spg_reader *r, size_t n)
{
	char *data = r->b.buf + r->b.start;

	SPG_ASSERT(n <= spg__buffered(&r->b));
	r->b.start += n;
	return data;
}

static size_t take_into(spg_reader *r, void *buf, size_t n)
{
	size_t buffered = spg__buffered(&r->b);

	if (n > buffered)
		n = buffered;
	if (n > 0)
		memcpy(buf, spg__reader_take(r, n), n);
	return n;
}

ssize_t spg_reader_read(spg_reader *r, void *buf, size_t n)
{
	if (r == NULL)
		return -EINVAL;
	if (spg__buffered(&r->b) == 0 && n > 0) {
		bool past = n >= r->b.size_wanted;
		ssize_t got = past ? read_stream(r, buf, n) : spg__reader_fill(r, 1);

		if (past || got <= 0)
			return got;
	}
	return (ssize_t)take_into(r, buf, n);
}

/* An error after `done` bytes were taken: now, or later (RD2). */
static ssize_t taken_or(spg_reader *r, size_t done, ssize_t err)
{
	if (done == 0)
		return err;
	r->err = err < 0 ? (int)err : 0;
	return (ssize_t)done;
}

/* More than the buffer holds: past it. */
static ssize_t full_large(spg_reader *r, char *buf, size_t n)
{
	size_t done = take_into(r, buf, n);
	ssize_t got = 1;

	while (done < n && got > 0) {
		got = read_stream(r, buf + done, n - done);
		if (got > 0)
			done += (size_t)got;
	}
	return taken_or(r, done, got < 0 ? got : 0);
}

ssize_t spg_reader_full(spg_reader *r, void *buf, size_t n)
{
	ssize_t got;

	if (r == NULL)
		return -EINVAL;
	if (n > r->b.size_wanted)
		return full_large(r, buf, n < SSIZE_MAX ? n : SSIZE_MAX);
	got = spg__reader_fill(r, n);
	return got < 0 ? got : (ssize_t)take_into(r, buf, n);
}

/* How many bytes up to the delimiter and with it, or to the end; 0: it has ended. */
static ssize_t find(spg_reader *r, char delimiter)
{
	size_t limit = r->b.size_wanted, looked = 0;

	for (;;) {
		size_t buffered = spg__buffered(&r->b);
		const char *data = r->b.buf + r->b.start, *at = NULL;
		ssize_t got;

		if (buffered > looked)
			at = memchr(data + looked, delimiter, (buffered < limit ? buffered : limit) - looked);
		if (at != NULL)
			return at - data + 1;
		if (buffered >= limit)
			return -EMSGSIZE;
		looked = buffered;
		got = spg__reader_fill(r, looked + 1);
		if (got < 0 || (size_t)got == looked)
			return got;
	}
}

ssize_t spg_reader_until(spg_reader *r, char delimiter, char **data)
{
	ssize_t n;

	if (r == NULL || data == NULL)
		return -EINVAL;
	n = find(r, delimiter);
	if (n > 0)
		*data = spg__reader_take(r, (size_t)n);
	return n;
}

int spg_reader_line(spg_reader *r, char **line, size_t *len)
{
	ssize_t n;
	char *text;

	if (r == NULL || line == NULL)
		return -EINVAL;
	n = find(r, '\n');
	if (n <= 0)
		return (int)n;
	text = spg__reader_take(r, (size_t)n);
	if (text[n - 1] == '\n') {
		n--;
		if (n > 0 && text[n - 1] == '\r')
			n--;
	}
	text[n] = '\0'; /* over its end; or behind a last line, RD3 */
	*line = text;
	if (len != NULL)
		*len = (size_t)n;
	return 1;
}

ssize_t spg_reader_peek(spg_reader *r, size_t n, char **data)
{
	ssize_t got;

	if (r == NULL || data == NULL)
		return -EINVAL;
	if (n > r->b.size_wanted)
		return -EMSGSIZE;
	got = spg__reader_fill(r, n);
	if (got < 0)
		return got;
	*data = r->b.buf + r->b.start;
	return (size_t)got < n ? got : (ssize_t)n;
}

ssize_t spg_reader_discard(spg_reader *r, size_t n)
{
	size_t done = 0;
	ssize_t got = 1;

	if (r == NULL)
		return -EINVAL;
	if (n > SSIZE_MAX)
		n = SSIZE_MAX;
	while (done < n && got > 0) {
		size_t part = spg__buffered(&r->b) < n - done ? spg__buffered(&r->b) : n - done;

		(void)spg__reader_take(r, part);
		done += part;
		if (done < n)
			got = spg__reader_fill(r, 1);
	}
	return taken_or(r, done, got < 0 ? got : 0);
}
