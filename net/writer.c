#include "net/bufio.h"

#include "coro/alloc.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

spg_writer *spg_writer_new(spg_conn *c, size_t size)
{
	spg_writer *w = c != NULL ? spg__calloc(1, sizeof(*w)) : NULL;

	if (w == NULL)
		return NULL;
	w->conn = c;
	if (spg__buffer_init(&w->b, size))
		return w;
	spg__free(w);
	return NULL;
}

void spg_writer_free(spg_writer *w)
{
	if (w == NULL)
		return;
	spg__free(w->b.buf);
	spg__free(w);
}

size_t spg_writer_buffered(const spg_writer *w)
{
	return w != NULL ? spg__buffered(&w->b) : 0;
}

/* What is left: the buffer's bytes, then those of `more` behind the first `done`. How many buffers. */
static int lay_out(const struct spg__buffer *b, const struct iovec *more, int count, size_t done, struct iovec iov[3])
{
	int n = 0;

	if (spg__buffered(b) > 0)
		iov[n++] = (struct iovec){ b->buf + b->start, spg__buffered(b) };
	for (int i = 0; i < count; i++) {
		size_t skip = done < more[i].iov_len ? done : more[i].iov_len;

		done -= skip;
		if (skip < more[i].iov_len)
			iov[n++] = (struct iovec){ (char *)more[i].iov_base + skip, more[i].iov_len - skip };
	}
	return n;
}

size_t spg__writer_through(spg_writer *w, const struct iovec *more, int count, int *err)
{
	struct spg__buffer *b = &w->b;
	struct iovec iov[3];
	size_t done = 0;
	int buffers;

	SPG_CHECK(count <= 2);
	*err = 0;
	while ((buffers = lay_out(b, more, count, done, iov)) > 0) {
		ssize_t put = spg_conn_writev(w->conn, iov, buffers);
		size_t of_buffer;

		if (put < 0) {
			*err = (int)put;
			break;
		}
		of_buffer = (size_t)put < spg__buffered(b) ? (size_t)put : spg__buffered(b);
		b->start += of_buffer; /* WR1 */
		done += (size_t)put - of_buffer;
	}
	spg__buffer_shrink(b);
	/* WR2. The others end with the context or deadline that caused them, or with memory's return. */
	if (*err < 0 && *err != -ETIMEDOUT && *err != -ECANCELED && *err != -ENOMEM)
		w->err = *err;
	return done;
}

/* What its bytes may still be put into. */
static size_t room(const struct spg__buffer *b)
{
	return b->size - spg__buffered(b);
}

ssize_t spg_writer_write(spg_writer *w, const void *buf, size_t n)
{
	struct iovec more = { .iov_base = (void *)buf, .iov_len = n < SSIZE_MAX ? n : SSIZE_MAX };
	size_t done;
	int err;

	if (w == NULL)
		return -EINVAL;
	if (w->err < 0)
		return w->err;
	if (n <= room(&w->b)) {
		spg__buffer_put(&w->b, buf, n);
		return (ssize_t)n;
	}
	done = spg__writer_through(w, &more, 1, &err);
	return done > 0 ? (ssize_t)done : err;
}

int spg_writer_flush(spg_writer *w)
{
	int err;

	if (w == NULL)
		return -EINVAL;
	if (w->err < 0)
		return w->err;
	(void)spg__writer_through(w, NULL, 0, &err);
	return err;
}

/* Into the room behind what is buffered, RD3. The text's length, or an error of the format. */
static int format_here(spg_writer *w, const char *format, va_list args)
{
	int n;

	spg__buffer_compact(&w->b);
	n = vsnprintf(w->b.buf + w->b.end, room(&w->b) + 1, format, args);
	return n < 0 ? -errno : n;
}

/* Longer than the buffer. */
static ssize_t format_large(spg_writer *w, size_t n, const char *format, va_list args)
{
	char *text = spg__alloc(n + 1);
	ssize_t res;

	if (text == NULL)
		return -ENOMEM;
	(void)vsnprintf(text, n + 1, format, args);
	res = spg_writer_write(w, text, n);
	spg__free(text);
	return res;
}

static ssize_t format(spg_writer *w, const char *text, va_list args, va_list again)
{
	int n = format_here(w, text, args), err;

	if (n < 0)
		return n;
	if ((size_t)n > room(&w->b)) {
		if ((size_t)n > w->b.size_wanted)
			return format_large(w, (size_t)n, text, again);
		err = spg_writer_flush(w);
		if (err < 0)
			return err;
		(void)format_here(w, text, again);
	}
	w->b.end += (size_t)n;
	return n;
}

ssize_t spg_writer_printf(spg_writer *w, const char *text, ...)
{
	va_list args, again;
	ssize_t n;

	if (w == NULL || text == NULL)
		return -EINVAL;
	if (w->err < 0)
		return w->err;
	va_start(args, text);
	va_copy(again, args);
	n = format(w, text, args, again);
	va_end(again);
	va_end(args);
	return n;
}
