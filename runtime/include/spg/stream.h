/*
 * spg/stream.h - receiving without owning a buffer.
 *
 * spg_read needs a buffer while it waits; a stream takes one from its shard's pool when data
 * is there, so ten thousand idle connections hold none. On TCP and datagram sockets that is a
 * multishot receive with a provided buffer ring (Linux 6.0); elsewhere, and on plain threads,
 * a poll, and a receive into a buffer of its own when the descriptor is readable.
 *
 * A pool has 1 MiB at first and 16 MiB at most for each shard and size of slice. When all of
 * it is out, a receive waits until a slice is released: who keeps slices of many streams
 * while it waits for more of them should copy them.
 */
#ifndef SPG_STREAM_H
#define SPG_STREAM_H

#include <spg/base.h>

#include <sys/socket.h>
#include <sys/uio.h>

/* Reads a descriptor; the descriptor stays the caller's. */
typedef struct spg_stream spg_stream;

#define SPG_SLICE_BYTES_MAX 65536u

/* SPG_STREAM_OPTS_INIT: the defaults. */
typedef struct spg_stream_opts {
	size_t slice_bytes;  /* the longest slice: rounded up to 2, 4, 16 or 64 KiB; 0: 4 KiB, for datagrams just below 2 */
	unsigned slices_max; /* received ahead: beyond about so many the receive stops until they are taken; 0: 16 */
} spg_stream_opts;
#define SPG_STREAM_OPTS_INIT { 0, 0 }

/* Bytes lent by a stream until spg_slice_release. They may be written to. */
typedef struct spg_slice {
	void *data;
	size_t len;
	/* Of datagrams: where it came from (NULL: unknown), valid as long as data is. */
	const struct sockaddr *source;
	socklen_t source_len;
	/* UDP_GRO: data is a run of datagrams this long each, the last one maybe shorter; 0: it is one. */
	uint32_t segment_len;
	/* It was longer than a slice. */
	bool truncated;
	/* The library's. */
	void *owner;
} spg_slice;

SPG__EXTERN_C_BEGIN

/**
 * spg_stream_open - a stream over a descriptor.
 * @fd: a socket, or anything that read(2) reads; borrowed until spg_stream_close
 * @o:  borrowed; NULL: the defaults
 *
 * Nothing else should read from fd: a stream receives ahead.
 *
 * Return: a stream, or NULL: no memory, fd is not open, or slice_bytes is beyond
 * SPG_SLICE_BYTES_MAX.
 * Cancellation: none. Threads: any. Allocates: the stream. Source: io_uring_prep_recv_multishot(3).
 * Since: 0.1.
 */
SPG_API spg_stream *spg_stream_open(int fd, const spg_stream_opts *o);

/**
 * spg_stream_recv - the next bytes, or the next datagram.
 * @s:   one caller at a time
 * @out: receives a slice, to be given back with spg_slice_release; zeroed at the end and on errors
 *
 * Slices come in the order of the bytes. At the end of the stream len is 0 and data NULL. An
 * empty datagram has len 0 and data; data of a SOCK_SEQPACKET never is empty. What arrived
 * before the end or an error is delivered before it.
 *
 * Return: 0, or
 *   -EINVAL     s or out is NULL
 *   -EBUSY      another call of spg_stream_recv is under way
 *   -ECANCELED  the context was canceled, or spg_close was called on the descriptor
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     no memory
 *   other       the errno of recv(2)
 * Cancellation: yes; what has arrived or arrives later is for the next call. Threads: any; a
 * coroutine parks and may resume on another thread. Allocates: the shard's pool, the first
 * time; without multishot a slice. Source: recv(2). Since: 0.1.
 */
SPG_API int spg_stream_recv(spg_stream *s, spg_slice *out);

/**
 * spg_slice_release - give a slice back.
 * @p: of spg_stream_recv, zeroed; NULL or a zeroed one: nothing happens
 *
 * In any order, also after the stream was closed, or the runtime has ended. Releasing a copy
 * of a slice as well ends the process.
 *
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API void spg_slice_release(spg_slice *p);

/**
 * spg_stream_send_all - send bytes from several buffers.
 * @s:   a stream
 * @iov: n buffers, borrowed
 * @n:   of buffers, any number; for datagrams 1024 at most, and all of them are one datagram
 *
 * Goes on after short sends until everything is sent. A socket gets all buffers in one
 * sendmsg(2) as far as it takes them. Callers that send at the same time mix their bytes.
 *
 * Return: 0, or, even after some bytes were sent,
 *   -EINVAL     s or iov is NULL, n is negative or too large
 *   -EPIPE      nobody reads any more, and no signal
 *   -ECANCELED  the context was canceled, or spg_close was called on the descriptor
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     no memory
 *   other       the errno of sendmsg(2) or writev(2)
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: sendmsg(2). Since: 0.1.
 */
SPG_API int spg_stream_send_all(spg_stream *s, const struct iovec *iov, int n);

/**
 * spg_stream_close - end a stream; the descriptor stays open.
 * @s: no call on it may be under way; NULL: nothing happens
 *
 * When it returns the stream reads nothing any more. What it had received and nobody took is
 * dropped; slices stay valid until they are released.
 *
 * Cancellation: none; it waits for the kernel to let go. Threads: any; a coroutine parks and
 * may resume on another thread. Allocates: nothing. Since: 0.1.
 */
SPG_API void spg_stream_close(spg_stream *s);

SPG__EXTERN_C_END

#endif
