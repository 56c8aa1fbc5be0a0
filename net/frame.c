/*
 * Frames: four bytes of length, big-endian, and so many bytes.
 */
#include "net/bufio.h"

#include <endian.h>
#include <string.h>

#define HEADER_BYTES sizeof(uint32_t)

/* Until the whole frame is buffered: 0. It grows as the bytes come in, never on the header's word alone. */
static int fill_frame(spg_reader *r, size_t whole)
{
	while (spg__buffered(&r->b) < whole) {
		size_t size = r->b.size, n = whole < size ? whole : size;
		ssize_t got;

		if (spg__buffered(&r->b) == size) {
			n = whole < 2 * size ? whole : 2 * size;
			if (!spg__buffer_reserve(&r->b, n))
				return -ENOMEM;
		}
		got = spg__reader_fill(r, n);
		if (got < 0)
			return (int)got;
		if ((size_t)got < n)
			return -EBADMSG;
	}
	return 0;
}

/* A buffer smaller than a header. */
static ssize_t fill_header(spg_reader *r)
{
	return spg__buffer_reserve(&r->b, HEADER_BYTES) ? spg__reader_fill(r, HEADER_BYTES) : -ENOMEM;
}

int spg_frame_read(spg_reader *r, size_t max, void **data, size_t *len)
{
	uint32_t header;
	ssize_t got;
	int err;

	if (r == NULL || data == NULL || len == NULL)
		return -EINVAL;
	got = fill_header(r);
	if (got <= 0)
		return (int)got;
	if ((size_t)got < HEADER_BYTES)
		return -EBADMSG;
	memcpy(&header, r->b.buf + r->b.start, HEADER_BYTES);
	*len = be32toh(header);
	if (*len > max)
		return -EMSGSIZE;
	err = fill_frame(r, HEADER_BYTES + *len);
	if (err < 0)
		return err;
	*data = spg__reader_take(r, HEADER_BYTES + *len) + HEADER_BYTES;
	return 1;
}

/* Written in part: the rest is kept. */
static int keep_rest(spg_writer *w, const struct iovec frame[2], size_t done)
{
	size_t whole = frame[0].iov_len + frame[1].iov_len, from;

	SPG_ASSERT(spg__buffered(&w->b) == 0);
	if (!spg__buffer_reserve(&w->b, whole - done)) {
		w->err = -ENOMEM;
		return -ENOMEM;
	}
	for (int i = 0; i < 2; i++) {
		from = done < frame[i].iov_len ? done : frame[i].iov_len;
		spg__buffer_put(&w->b, (const char *)frame[i].iov_base + from, frame[i].iov_len - from);
		done -= from;
	}
	return 0;
}

int spg_frame_write(spg_writer *w, const void *data, size_t len)
{
	uint32_t header = htobe32((uint32_t)len);
	struct iovec frame[2] = { { &header, HEADER_BYTES }, { (void *)data, len } };
	size_t done;
	int err;

	if (w == NULL || (data == NULL && len > 0))
		return -EINVAL;
	if (len > UINT32_MAX)
		return -EMSGSIZE;
	if (w->err < 0)
		return w->err;
	if (HEADER_BYTES + len <= w->b.size - spg__buffered(&w->b)) {
		spg__buffer_put(&w->b, &header, HEADER_BYTES);
		spg__buffer_put(&w->b, data, len);
		return 0;
	}
	done = spg__writer_through(w, frame, 2, &err);
	if (err == 0 || (w->err == 0 && done > 0))
		return err == 0 ? 0 : keep_rest(w, frame, done);
	return err;
}
