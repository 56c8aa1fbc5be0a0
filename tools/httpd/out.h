/*
 * The way out of a connection: a buffer that gathers responses, also several of pipelined
 * requests, and is sent when it is full or the connection waits.
 */
#ifndef HTTPD_OUT_H
#define HTTPD_OUT_H

#include "tools/httpd/buffer.h"

#include <stdbool.h>
#include "tools/httpd/path.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* What a buffer gathers; behind it is room for a path, which a small stack has not. */
#define OUT_BYTES (BUFFER_BYTES - PATH_BYTES)

struct out {
	int fd;
	int err;	     /* of a send; nothing is sent after it */
	bool file_ready;     /* of call_sendfile */
	int64_t send_ns;     /* limit for each send */
	char *buf;	     /* BUFFER_BYTES, or NULL: none is held */
	size_t len;
	uint64_t bytes_sent;
};

/* Takes a buffer if none is held. 0, -ENOMEM, or the error of an earlier send. */
int out_begin(struct out *out);
/* Sends what is gathered. 0, or an error, which stays. */
int out_flush(struct out *out);
/*
 * Sends what is gathered, and a piece of a file in memory behind it. Bytes of the file, 0
 * at its end; -EAGAIN: it has to be read; other errors stay.
 */
ssize_t out_file(struct out *out, int file, uint64_t offset, uint64_t len);
/* At least `room` bytes are free then. 0, or an error. */
int out_reserve(struct out *out, size_t room);
/* Gives the buffer back. */
void out_end(struct out *out);

/* Within what out_reserve promised. */
static inline void out_put(struct out *out, const char *text, size_t len)
{
	memcpy(out->buf + out->len, text, len);
	out->len += len;
}

/* PATH_BYTES that responses do not touch. out_begin succeeded before. */
static inline char *out_scratch(struct out *out)
{
	return out->buf + OUT_BYTES;
}

#define OUT_PUT(out, literal) out_put(out, literal, sizeof(literal) - 1)

void out_put_number(struct out *out, uint64_t number);

#endif
