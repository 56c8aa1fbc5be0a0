/*
 * The buffers of spg_reader and spg_writer, for the files that share them.
 *
 * RD1  buf[start, end) came from the stream and has not been taken. Only taking moves start.
 * RD2  `err` is an error that came after bytes had been taken: the next call that needs the stream
 *      returns it, once.
 * RD3  buf has room for one byte more than `size`: the zero byte behind a last line, or behind text.
 * RD4  `size` is larger than `size_wanted` while a frame needs it; an empty buffer shrinks again.
 * WR1  buf[start, end) was taken and has not been written. Only writing moves start.
 * WR2  `err` is the error that stays.
 */
#ifndef SPG__NET_BUFIO_H
#define SPG__NET_BUFIO_H

#include "coro/base.h"

#include <spg/conn.h>

struct spg__buffer {
	char *buf;
	size_t size, size_wanted, start, end;
};

struct spg_reader {
	spg_conn *conn;
	struct spg__buffer b;
	int err;
};

struct spg_writer {
	spg_conn *conn;
	struct spg__buffer b;
	int err;
};

static inline size_t spg__buffered(const struct spg__buffer *b)
{
	return b->end - b->start;
}

/* false: no memory. size 0: the usual one. */
bool spg__buffer_init(struct spg__buffer *b, size_t size);

/* Moves what is buffered to the front. */
void spg__buffer_compact(struct spg__buffer *b);

/* RD4: an empty buffer gets its wanted size back. */
void spg__buffer_shrink(struct spg__buffer *b);

/* Makes it large enough for n bytes in all. false: no memory, and nothing has changed. */
bool spg__buffer_reserve(struct spg__buffer *b, size_t n);

/* Appends; there is room for it, after compacting at the latest. */
void spg__buffer_put(struct spg__buffer *b, const void *data, size_t n);

/*
 * Reads until n bytes are buffered, at most the buffer's size. How many are: n or more, or fewer at
 * the end of the stream; or an error, and what came stays.
 */
ssize_t spg__reader_fill(spg_reader *r, size_t n);

/* Takes n buffered bytes; where they are, until the next call. */
char *spg__reader_take(spg_reader *r, size_t n);

/*
 * Writes what is buffered, and then up to two buffers more, by one call where possible. How many of
 * their bytes were written; *err: 0, or why not all; one that stays is kept (WR2).
 */
size_t spg__writer_through(spg_writer *w, const struct iovec *more, int count, int *err);

#endif
