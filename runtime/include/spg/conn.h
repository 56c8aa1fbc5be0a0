/*
 * spg/conn.h - byte streams: one interface over descriptors, pipes in memory, TLS; buffered
 * reading and writing; frames.
 *
 * A server of lines, for spg_serve:
 *
 *	static void serve_lines(int fd, void *arg)
 *	{
 *		spg_conn *c = spg_conn_fd(fd);
 *		spg_reader *r = spg_reader_new(c, 0);
 *		spg_writer *w = spg_writer_new(c, 0);
 *		char *line;
 *		size_t len;
 *
 *		spg_conn_set_deadline(c, spg_now() + 60 * SPG_SEC);
 *		while (spg_reader_line(r, &line, &len) > 0 && strcmp(line, "quit") != 0)
 *			if (spg_writer_printf(w, "%zu bytes: %s\n", len, line) < 0 || spg_writer_flush(w) < 0)
 *				break;
 *		spg_writer_free(w);
 *		spg_reader_free(r);
 *		spg_conn_close(c);
 *	}
 *
 * Errors of every call on a stream, beside those its own comment names:
 *     -ECANCELED  the context was canceled, or the stream was closed during the call
 *     -ETIMEDOUT  the context's deadline, or the stream's own, passed first
 *     -EBADF      the stream was closed before
 *     -EINVAL     a pointer that must not be is NULL
 *     -ENOMEM     a foreign thread's first call found no memory
 *     other       what the implementation says; a descriptor's are those of spg/io.h
 *
 * "Cancellation: yes" is: a context or deadline that ended before the call fails it on entry,
 * one that ends later cuts the wait short; data that moved is reported, never dropped.
 * "Threads: any" is: a coroutine parks and may resume on another thread.
 */
#ifndef SPG_CONN_H
#define SPG_CONN_H

#include <spg/base.h>

#include <sys/uio.h>

SPG__EXTERN_C_BEGIN

/*
 * A byte stream. Calls that read take turns, and so do calls that write, first come first
 * served; reading does not wait for writing. Any coroutine or thread may call as long as it
 * holds a reference, or somebody who waits for it does.
 */
typedef struct spg_conn spg_conn;

/*
 * How to implement one; for spg_conn_new. `self` is the implementation's own. At most one of
 * read, and one of write, writev and close_write, run at once; close runs alone, last. They may
 * block by calls of spg, which the stream's deadlines and its closing end as contexts do.
 * Later versions add members at the end: size says which are there.
 */
typedef struct spg_conn_ops {
	size_t size; /* sizeof(spg_conn_ops) */
	/* As spg_read: 1 to len bytes, 0 at the end, or a negative errno. len > 0. */
	ssize_t (*read)(void *self, void *buf, size_t len);
	/* As spg_write: 1 to len bytes, or a negative errno. len > 0. */
	ssize_t (*write)(void *self, const void *buf, size_t len);
	/* Frees self; its result is spg_conn_close's. */
	int (*close)(void *self);
	/* As spg_writev, 1 to 1024 buffers; NULL: write is used. */
	ssize_t (*writev)(void *self, const struct iovec *iov, int count);
	/* The peer reads the end; NULL: -EOPNOTSUPP. */
	int (*close_write)(void *self);
} spg_conn_ops;

/**
 * spg_conn_new - a stream of one's own making.
 * @ops:  read, write and close at least; copied
 * @self: passed to them; the stream's from now on
 *
 * Return: a stream with one reference; NULL: no memory, or bad ops, and self is the caller's.
 * Cancellation: none. Threads: any. Allocates: the stream. Source: Go's net.Conn. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_conn *spg_conn_new(const spg_conn_ops *ops, void *self);

/**
 * spg_conn_fd - a descriptor as a stream.
 * @fd: a connected socket, or anything that reads or writes; the stream's from now on
 *
 * close_write is shutdown(2), so -ENOTSOCK for what is no socket.
 *
 * Return: a stream with one reference; NULL: no memory or a negative fd, which stays the caller's.
 * Cancellation: none. Threads: any. Allocates: the stream. Source: Go's net.FileConn. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_conn *spg_conn_fd(int fd);

/**
 * spg_conn_pipe - two streams in memory, each what the other writes.
 * @ends: receives them, with one reference each
 *
 * A write is over when its bytes are in the buffer, 64 KiB for each direction. Reads get what was
 * written before the other end's close or close_write, then 0; writes to a closed end are -EPIPE.
 *
 * Return: 0; -ENOMEM; -EINVAL: ends is NULL.
 * Cancellation: none. Threads: any. Allocates: both streams and the buffers. Source: socketpair(2),
 * Go's net.Pipe. Since: 0.1.
 */
SPG_API int spg_conn_pipe(spg_conn *ends[2]);

/**
 * spg_conn_ref - one more who may use and must give up the stream.
 * @c: borrowed; may be NULL
 *
 * Return: c.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API spg_conn *spg_conn_ref(spg_conn *c);

/**
 * spg_conn_unref - give up a reference; the last one closes the stream, if nobody has.
 * @c: given up; may be NULL
 *
 * Cancellation: none. Threads: any; the last one parks as spg_conn_close does. Allocates:
 * nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_conn_unref(spg_conn *c);

/**
 * spg_conn_close - end the calls in flight, close, and give up the reference.
 * @c: the caller's reference is gone afterwards, but for -EINVAL and -ENOMEM
 *
 * Calls in flight in other coroutines and threads return -ECANCELED (their spg_ctx_err stays 0),
 * or their data; those that have more references get -EBADF from then on.
 *
 * Return: 0; -EBADF: it was closed before; -EINVAL: c is NULL; -ENOMEM: a foreign thread's first
 * call found no memory, and nothing happened; else what the implementation's close says.
 * Cancellation: none. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: close(2), Go's net.Conn. Since: 0.1.
 */
SPG_API int spg_conn_close(spg_conn *c);

/**
 * spg_conn_self - the implementation behind a stream.
 * @c:   borrowed
 * @ops: as it was passed to spg_conn_new
 *
 * Return: self; NULL: the stream is NULL, or made with other ops.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void *spg_conn_self(spg_conn *c, const spg_conn_ops *ops);

/**
 * spg_conn_read - read what has come, or wait for some.
 * @c:   a stream
 * @buf: receives up to len bytes
 * @len: bytes
 *
 * Return: bytes read, 0 at the end; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: read(2). Since: 0.1.
 */
SPG_API ssize_t spg_conn_read(spg_conn *c, void *buf, size_t len);

/**
 * spg_conn_write - write bytes.
 * @c:   a stream
 * @buf: len bytes, borrowed
 * @len: bytes
 *
 * Return: len; fewer: an error came after so many were written, and the next call is likely to
 * tell which; -EPIPE: nobody reads any more, or the direction was closed; -EIO: the
 * implementation took nothing and gave no error; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: write(2). Since: 0.1.
 */
SPG_API ssize_t spg_conn_write(spg_conn *c, const void *buf, size_t len);

/**
 * spg_conn_writev - write bytes from several buffers, one after the other.
 * @c:     a stream
 * @iov:   count buffers, borrowed
 * @count: of buffers
 *
 * Return: as spg_conn_write, of the sum of the lengths; -EINVAL: count is negative.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: writev(2). Since: 0.1.
 */
SPG_API ssize_t spg_conn_writev(spg_conn *c, const struct iovec *iov, int count);

/**
 * spg_conn_close_write - tell the peer that nothing more comes; reading goes on.
 * @c: a stream
 *
 * Comes after the writes that were called before.
 *
 * Return: 0; -EOPNOTSUPP: the implementation cannot; -ENOTSOCK: nor can a descriptor that is no
 * socket; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: shutdown(2). Since: 0.1.
 */
SPG_API int spg_conn_close_write(spg_conn *c);

/**
 * spg_conn_set_deadline - when calls on the stream end with -ETIMEDOUT.
 * @c:    a stream
 * @when: on CLOCK_MONOTONIC (spg_now), in the past too; 0 or INT64_MAX: never
 *
 * Counts for calls in flight as well as for later ones, until it is set again: a deadline in the
 * past ends all of them. The _read_ and _write_ variants set that of one direction (close_write
 * belongs to writing). It adds to contexts and scopes: the nearest wins. Closing has none.
 *
 * Return: 0; -EBADF: the stream was closed; -EINVAL: c is NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's net.Conn. Since: 0.1.
 */
SPG_API int spg_conn_set_deadline(spg_conn *c, int64_t when);
SPG_API int spg_conn_set_read_deadline(spg_conn *c, int64_t when);
SPG_API int spg_conn_set_write_deadline(spg_conn *c, int64_t when);

/**
 * spg_conn_copy - move bytes from one stream to another.
 * @dst: to
 * @src: from; nobody else reads it meanwhile
 * @n:   bytes; negative: until src ends
 *
 * No byte is lost: what was read from src and not written to dst when the call ends early is read
 * again from src by whoever reads next. All of it is bounded by the read deadline of src, the
 * writes also by the write deadline of dst.
 *
 * Return: bytes moved: n, or fewer: src has ended, or an error came after some had moved (the next
 * call tells: 0, or the error). -ENOMEM: no memory, nothing was moved; -EPIPE: nobody reads dst;
 * else an error of every call (see the top) of either.
 * Cancellation: yes. Threads: any. Allocates: 64 KiB at most, until it returns or what is left
 * of src's bytes has been read. Source: Go's io.CopyN. Since: 0.1.
 */
SPG_API ssize_t spg_conn_copy(spg_conn *dst, spg_conn *src, ssize_t n);

/*
 * Reading with a buffer. For one coroutine at a time. A call that fails has taken nothing out of
 * the buffer: it can be repeated, and nothing that came is lost.
 */
typedef struct spg_reader spg_reader;

/**
 * spg_reader_new - a buffer for reading a stream.
 * @c:    borrowed, until the reader is freed
 * @size: bytes of the buffer, and the limit of lines and peeks; 0: 8192
 *
 * Return: a reader, for spg_reader_free; NULL: no memory, or c is NULL.
 * Cancellation: none. Threads: any. Allocates: the reader and its buffer. Source: Go's
 * bufio.Reader. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_reader *spg_reader_new(spg_conn *c, size_t size);

/**
 * spg_reader_free - free it, and what is in its buffer. The stream stays.
 * @r: may be NULL
 *
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_reader_free(spg_reader *r);

/**
 * spg_reader_read - take what is in the buffer; if nothing is, read the stream once.
 * @r:   a reader
 * @buf: receives up to n bytes
 * @n:   bytes; as many as the buffer holds or more bypass it
 *
 * Return: bytes taken, 0 at the end; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's bufio.Reader. Since: 0.1.
 */
SPG_API ssize_t spg_reader_read(spg_reader *r, void *buf, size_t n);

/**
 * spg_reader_full - take n bytes.
 * @r:   a reader
 * @buf: receives n bytes
 * @n:   bytes
 *
 * Return: n; fewer: the stream has ended, or, only for n larger than the buffer, an error came
 * after so many had been taken: the next call returns it. 0: it had ended before. Else an error of
 * every call (see the top), and nothing was taken.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's io.ReadFull. Since: 0.1.
 */
SPG_API ssize_t spg_reader_full(spg_reader *r, void *buf, size_t n);

/**
 * spg_reader_line - take a line.
 * @r:    a reader
 * @line: receives its text, with a zero byte behind it, without its end: "\n" or "\r\n". In the
 *        reader's buffer, until the next call on it; may be changed
 * @len:  receives its length, zero bytes within counted; may be NULL
 *
 * The last line may lack its end; a "\r" elsewhere is text.
 *
 * Return: 1: a line, maybe an empty one; 0: the stream has ended; -EMSGSIZE: the line with its end
 * is longer than the buffer, and nothing was taken (spg_reader_read or _discard get rid of it);
 * else an error of every call (see the top), and nothing was taken.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's bufio.Scanner. Since: 0.1.
 */
SPG_API int spg_reader_line(spg_reader *r, char **line, size_t *len);

/**
 * spg_reader_until - take everything up to a delimiter, and it.
 * @r:         a reader
 * @delimiter: a byte
 * @data:      receives where it is: in the reader's buffer, until the next call on it; no zero byte
 *             is added
 *
 * Return: its length; without the delimiter as the last byte only at the end of the stream. 0: the
 * stream has ended; -EMSGSIZE: it is longer than the buffer, and nothing was taken; else an error of
 * every call (see the top), and nothing was taken.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's bufio.Reader.ReadSlice. Since: 0.1.
 */
SPG_API ssize_t spg_reader_until(spg_reader *r, char delimiter, char **data);

/**
 * spg_reader_peek - look at the next n bytes, which stay.
 * @r:    a reader
 * @n:    bytes
 * @data: receives where they are: in the reader's buffer, until the next call on it
 *
 * Return: n; fewer only at the end of the stream; -EMSGSIZE: more than the buffer holds; else an
 * error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's bufio.Reader. Since: 0.1.
 */
SPG_API ssize_t spg_reader_peek(spg_reader *r, size_t n, char **data);

/**
 * spg_reader_discard - drop n bytes.
 * @r: a reader
 * @n: bytes
 *
 * Return: n; fewer: the stream has ended, or an error came after so many had been dropped: the next
 * call returns it. Else an error of every call (see the top), and nothing was dropped.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's bufio.Reader. Since: 0.1.
 */
SPG_API ssize_t spg_reader_discard(spg_reader *r, size_t n);

/**
 * spg_reader_buffered - bytes that can be taken without waiting.
 * @r: a reader
 *
 * Return: bytes in the buffer; 0 for NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's bufio.Reader. Since: 0.1.
 */
SPG_API size_t spg_reader_buffered(const spg_reader *r);

/*
 * Writing with a buffer. For one coroutine at a time. Bytes that a call has taken are written, in
 * order, unless an error makes it impossible: -ETIMEDOUT, -ECANCELED and -ENOMEM leave what was not
 * written in the buffer, and the next call goes on; any other error stays, is every later call's
 * result, and nothing more is written.
 */
typedef struct spg_writer spg_writer;

/**
 * spg_writer_new - a buffer for writing a stream.
 * @c:    borrowed, until the writer is freed
 * @size: bytes of the buffer; 0: 8192
 *
 * Return: a writer, for spg_writer_free; NULL: no memory, or c is NULL.
 * Cancellation: none. Threads: any. Allocates: the writer and its buffer. Source: Go's
 * bufio.Writer. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_writer *spg_writer_new(spg_conn *c, size_t size);

/**
 * spg_writer_free - free it, and what is in its buffer: flush first. The stream stays.
 * @w: may be NULL
 *
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_writer_free(spg_writer *w);

/**
 * spg_writer_write - take bytes; what does not fit into the buffer is written.
 * @w:   a writer
 * @buf: n bytes, borrowed
 * @n:   bytes
 *
 * Return: n; fewer: so many were taken before an error came, which the next call is likely to tell;
 * else an error of every call (see the top) or the one that stays, and nothing was taken.
 * Cancellation: yes, where it writes. Threads: any. Allocates: nothing. Source: Go's bufio.Writer.
 * Since: 0.1.
 */
SPG_API ssize_t spg_writer_write(spg_writer *w, const void *buf, size_t n);

/**
 * spg_writer_printf - take formatted text of any length.
 * @w:      a writer
 * @format: as printf(3)
 *
 * Return: bytes of the text; fewer: as spg_writer_write, for text longer than the buffer; -ENOMEM:
 * no memory for such text; -EOVERFLOW: more than INT_MAX bytes; else an error as of
 * spg_writer_write, or of the format (-EILSEQ). After an error nothing was taken.
 * Cancellation: yes, where it writes. Threads: any. Allocates: text longer than the buffer, until it
 * returns. Source: printf(3). Since: 0.1.
 */
SPG_API ssize_t spg_writer_printf(spg_writer *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * spg_writer_flush - write what is in the buffer.
 * @w: a writer
 *
 * Return: 0: all is written; else an error of every call (see the top) or the one that stays; what
 * was not written is still in the buffer.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's bufio.Writer. Since: 0.1.
 */
SPG_API int spg_writer_flush(spg_writer *w);

/**
 * spg_writer_buffered - bytes taken and not written yet.
 * @w: a writer
 *
 * Return: bytes in the buffer; 0 for NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's bufio.Writer. Since: 0.1.
 */
SPG_API size_t spg_writer_buffered(const spg_writer *w);

/**
 * spg_frame_read - take a frame: four bytes of length, big-endian, and so many bytes.
 * @r:    a reader; its buffer grows for a frame that does not fit, as the frame comes in
 * @max:  bytes a frame may have
 * @data: receives where they are: in the reader's buffer, until the next call on it
 * @len:  receives how many
 *
 * Return: 1: a frame, maybe an empty one; 0: the stream has ended, between frames;
 *   -EMSGSIZE  the frame is longer than max; *len is its length, and nothing was taken: a larger
 *              max takes it, spg_reader_discard of *len + 4 skips it
 *   -EBADMSG   the stream has ended within a frame; what came of it is still there to be read
 *   -ENOMEM    no memory for so large a frame; nothing was taken
 *   else an error of every call (see the top), and nothing was taken
 * Cancellation: yes. Threads: any. Allocates: a larger buffer, at times. Source: -. Since: 0.1.
 */
SPG_API int spg_frame_read(spg_reader *r, size_t max, void **data, size_t *len);

/**
 * spg_frame_write - take a frame: four bytes of length, big-endian, and len bytes.
 * @w:    a writer
 * @data: len bytes, borrowed
 * @len:  bytes, up to UINT32_MAX
 *
 * A frame is taken as a whole or not at all. When its writing is cut short by a context or deadline
 * the buffer grows to keep the rest, the frame counts as taken, and the next call goes on; without
 * memory for that, -ENOMEM is the error that stays: the stream is broken within a frame.
 *
 * Return: 0: taken, to be flushed; -EMSGSIZE: len is larger than UINT32_MAX; else an error as of
 * spg_writer_write.
 * Cancellation: yes, where it writes. Threads: any. Allocates: see above. Source: -. Since: 0.1.
 */
SPG_API int spg_frame_write(spg_writer *w, const void *data, size_t len);

SPG__EXTERN_C_END

#endif
