/*
 * Moving bytes from one descriptor to another.
 *
 * splice and tee are tried without waiting, so that no worker thread of the kernel
 * blocks on a pipe for as long as the pipe likes; the waits are polls of one descriptor
 * each, which contexts and spg_close end.
 *
 * A copy that ends early loses nothing it can keep: what was not delivered is still in its source.
 *     a pipe on either side      is spliced from or to, with nothing in between
 *     a stream socket, or a pipe whose other side takes no splice
 *                                is looked at, and what was delivered is taken after that
 *     a file                     gets its position back
 *     datagrams, devices         lose what was read
 */
#include "io/call.h"
#include "io/fdkind.h"

#include "coro/alloc.h"
#include "io/fdtab.h"
#include "sched/offload.h"

#include <spg/io.h>

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)64 << 10)
/* Up to here a copy through memory is cheaper than a pipe. */
#define PIPE_WORTH_BYTES BUFFER_BYTES
#define PIPE_BYTES ((size_t)1 << 20)
/* Of one copy_file_range: what a canceled call waits for. */
#define RANGE_BYTES ((size_t)16 << 20)

/* Both ends, and their words (F6) when the call began. */
struct ends {
	int in, out;
	uint32_t word_in, word_out;
};

/*
 * To a socket at once: on the ring it would keep a worker of the kernel for as long as the
 * socket is full.
 */
static int splice_once(const struct io_uring_sqe *sqe)
{
	int res;

	if (spg__coro_self() == NULL || spg__fdkind_now(sqe->fd) != SPG__FDKIND_SOCKET)
		return spg__io(sqe, 0);
	do
		res = spg__perform(sqe, true);
	while (res == -EINTR);
	return res;
}

/* One try, with both counted. */
static int splice_try(const struct io_uring_sqe *sqe, const struct ends *ends)
{
	_Atomic uint16_t *counts = spg__io_counts();
	int res = counts != NULL ? spg__fdtab_enter_again(counts, ends->in, ends->word_in) : -ENOMEM;

	if (res < 0)
		return res;
	res = spg__fdtab_enter_again(counts, ends->out, ends->word_out);
	if (res == 0) {
		res = splice_once(sqe);
		/* Our own count keeps the number: it was not begun. */
		if (res == -EBADF && spg__fdtab_word(ends->out) != ends->word_out)
			res = -ECANCELED;
		spg__fdtab_leave(counts, ends->out);
	}
	spg__fdtab_leave(counts, ends->in);
	return res;
}

/* Waits for one end; the other may be closed meanwhile. */
static int end_ready(int fd, uint32_t word, unsigned events)
{
	struct spg__hold hold;
	int res = spg__hold(&hold, fd, word);

	return res < 0 ? res : spg__unhold(&hold, spg__io_ready(fd, events));
}

static int splice_wait(const struct ends *ends, unsigned tries)
{
	int res = end_ready(ends->in, ends->word_in, POLLIN);

	if (res >= 0)
		res = end_ready(ends->out, ends->word_out, POLLOUT);
	if (res >= 0 && tries >= 8)
		res = spg__io_pause(tries - 8);
	return res;
}

static struct ends ends_of(int in, int out)
{
	return (struct ends){ .in = in, .out = out, .word_in = spg__fdtab_word(in), .word_out = spg__fdtab_word(out) };
}

static int splice_sqe(struct io_uring_sqe *sqe, const struct ends *ends)
{
	bool dont_wait = (sqe->splice_flags & SPLICE_F_NONBLOCK) != 0;
	int res = spg__io_entry();

	if (res < 0)
		return res;
	if ((ends->word_in & 1) || (ends->word_out & 1))
		return -EBADF;
	sqe->splice_flags |= SPLICE_F_NONBLOCK;
	/* A socket as a source may not heed the flag. */
	if (!dont_wait && spg__fdkind_now(ends->in) == SPG__FDKIND_SOCKET)
		res = end_ready(ends->in, ends->word_in, POLLIN);
	for (unsigned tries = 0; res >= 0; tries++) {
		res = splice_try(sqe, ends);
		if (res != -EAGAIN || dont_wait)
			return res;
		res = splice_wait(ends, tries);
	}
	return res;
}

static ssize_t splice_ends(const struct ends *ends, off_t *off_in, off_t *off_out, size_t len, unsigned flags)
{
	struct io_uring_sqe sqe;
	int res;

	spg__io_prep(&sqe, IORING_OP_SPLICE, ends->out, NULL, spg__io_len(len),
		     off_out != NULL ? (uint64_t)*off_out : SPG__OFF_CURRENT);
	sqe.splice_off_in = off_in != NULL ? (uint64_t)*off_in : SPG__OFF_CURRENT;
	sqe.splice_fd_in = ends->in;
	sqe.splice_flags = flags;
	if ((off_in != NULL && *off_in < 0) || (off_out != NULL && *off_out < 0))
		return -EINVAL;
	res = splice_sqe(&sqe, ends);
	if (res > 0 && off_in != NULL)
		*off_in += res;
	if (res > 0 && off_out != NULL)
		*off_out += res;
	return res;
}

ssize_t spg_splice(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, unsigned flags)
{
	struct ends ends = ends_of(fd_in, fd_out);

	return splice_ends(&ends, off_in, off_out, len, flags);
}

static ssize_t tee_ends(const struct ends *ends, size_t len, unsigned flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_TEE, ends->out, NULL, spg__io_len(len), 0);
	sqe.splice_fd_in = ends->in;
	sqe.splice_flags = flags;
	return splice_sqe(&sqe, ends);
}

ssize_t spg_tee(int fd_in, int fd_out, size_t len, unsigned flags)
{
	struct ends ends = ends_of(fd_in, fd_out);

	return tee_ends(&ends, len, flags);
}

/* Where bytes come from and go to; off NULL: the descriptor's own position. */
struct transfer {
	struct ends ends;
	off_t *off;
	size_t left, moved;
	/* S_IFMT of both. */
	mode_t out_type, in_type;
};

static mode_t type_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

static struct transfer transfer(int out, int in, off_t *off, size_t n)
{
	return (struct transfer){
		.ends = ends_of(in, out), .off = off, .left = n < SSIZE_MAX ? n : SSIZE_MAX,
		.out_type = type_of(out), .in_type = type_of(in),
	};
}

static void moved(struct transfer *t, size_t n)
{
	t->moved += n;
	t->left -= n;
	if (t->off != NULL)
		*t->off += (off_t)n;
}

/* Read and not delivered: a file's position goes back; a device's bytes are lost. */
static void give_back(const struct transfer *t, size_t n)
{
	struct spg__hold hold;

	if (t->off != NULL || n == 0 || spg__hold(&hold, t->ends.in, t->ends.word_in) < 0)
		return;
	(void)lseek(t->ends.in, -(off_t)n, SEEK_CUR);
	spg__unhold(&hold, 0);
}

static ssize_t fetch(const struct transfer *t, char *buf, size_t n)
{
	int in = t->ends.in, res;
	struct spg__hold hold;

	res = spg__hold(&hold, in, t->ends.word_in);
	if (res < 0)
		return res;
	return spg__unhold(&hold, (int)(t->off != NULL ? spg_pread(in, buf, n, *t->off) : spg_read(in, buf, n)));
}

/* Writes n bytes, or as many as go before *err. */
static size_t deliver(const struct transfer *t, const char *buf, size_t n, int *err)
{
	struct spg__hold hold;
	size_t done = 0;

	*err = spg__hold(&hold, t->ends.out, t->ends.word_out);
	if (*err < 0)
		return 0;
	while (done < n && *err == 0) {
		ssize_t put = spg_write(t->ends.out, buf + done, n - done);

		if (put <= 0)
			*err = put < 0 ? (int)put : -EIO;
		else
			done += (size_t)put;
	}
	*err = spg__unhold(&hold, *err);
	return done;
}

/* Through memory. 0: all moved, or the end of in. */
static int by_buffer(struct transfer *t)
{
	size_t size = t->left < BUFFER_BYTES ? t->left : BUFFER_BYTES;
	char *buf = spg__alloc(size > 0 ? size : 1);
	int err = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (t->left > 0 && err == 0) {
		size_t want = t->left < size ? t->left : size, done;
		ssize_t got = fetch(t, buf, want);

		if (got <= 0) {
			err = (int)got;
			break;
		}
		done = deliver(t, buf, (size_t)got, &err);
		moved(t, done);
		give_back(t, (size_t)got - done);
	}
	spg__free(buf);
	return err;
}

/* One fill of the pipe. Bytes moved; 0: the end. */
static ssize_t pipe_round(struct transfer *t, const int pipe_fds[2])
{
	size_t want = t->left < PIPE_BYTES ? t->left : PIPE_BYTES, done = 0;
	off_t from = t->off != NULL ? *t->off : 0;
	struct ends fill = ends_of(t->ends.in, pipe_fds[1]), empty = ends_of(pipe_fds[0], t->ends.out);
	ssize_t put = 0, got;

	fill.word_in = t->ends.word_in;
	empty.word_out = t->ends.word_out;
	got = splice_ends(&fill, t->off != NULL ? &from : NULL, NULL, want, SPLICE_F_MOVE);
	if (got <= 0)
		return got;
	while (done < (size_t)got) {
		put = splice_ends(&empty, NULL, NULL, (size_t)got - done, SPLICE_F_MOVE);
		if (put <= 0)
			break;
		done += (size_t)put;
	}
	moved(t, done);
	if (done == (size_t)got)
		return got;
	give_back(t, (size_t)got - done);
	return put < 0 ? put : -EIO;
}

/* Through a pipe, without a copy. */
static int by_pipe(struct transfer *t)
{
	int fds[2];
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	(void)fcntl(fds[1], F_SETPIPE_SZ, (int)PIPE_BYTES); /* may be refused: then in smaller rounds */
	do
		n = pipe_round(t, fds);
	while (n > 0 && t->left > 0);
	close(fds[0]);
	close(fds[1]);
	return n < 0 ? (int)n : 0;
}

/* One of them is a pipe. */
static int by_splice(struct transfer *t)
{
	ssize_t n;

	do {
		off_t from = t->off != NULL ? *t->off : 0;

		n = splice_ends(&t->ends, t->off != NULL ? &from : NULL, NULL, t->left, SPLICE_F_MOVE);
		if (n > 0)
			moved(t, (size_t)n);
	} while (n > 0 && t->left > 0);
	return n < 0 ? (int)n : 0;
}

/* Bytes of a socket or pipe are looked at before they are taken. */
struct look {
	int in;
	uint32_t word;
	/* For what a pipe has: it can be looked at only in another one. -1: a socket. */
	int copy[2];
};

static int look_begin(struct look *look, const struct transfer *t)
{
	*look = (struct look){ .in = t->ends.in, .word = t->ends.word_in, .copy = { -1, -1 } };
	if (t->in_type == S_IFIFO && pipe2(look->copy, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static void look_end(const struct look *look)
{
	if (look->copy[0] < 0)
		return;
	close(look->copy[0]);
	close(look->copy[1]);
}

static ssize_t look_at(const struct look *look, char *buf, size_t size)
{
	struct ends ends = ends_of(look->in, look->copy[1]);
	struct spg__hold hold;
	ssize_t n;

	ends.word_in = look->word;
	if (look->copy[0] < 0) {
		n = spg__hold(&hold, look->in, look->word);
		return n < 0 ? n : spg__unhold(&hold, (int)spg_recv(look->in, buf, size, MSG_PEEK));
	}
	n = tee_ends(&ends, size, 0);
	if (n > 0)
		SPG_CHECK(read(look->copy[0], buf, (size_t)n) == n); /* ours alone: it is there */
	return n;
}

/* Takes n bytes that were looked at and delivered, over those in buf: they are there, so it does not wait. */
static void look_take(const struct look *look, char *buf, size_t n)
{
	struct spg__hold hold;
	struct io_uring_sqe sqe;
	int got = 1;

	if (spg__hold(&hold, look->in, look->word) < 0)
		return; /* closed meanwhile */
	while (n > 0 && got > 0) {
		bool socket = look->copy[0] < 0;

		spg__io_prep(&sqe, socket ? IORING_OP_RECV : IORING_OP_READ, look->in, buf, (unsigned)n,
			     socket ? 0 : SPG__OFF_CURRENT);
		if (socket)
			sqe.msg_flags = MSG_DONTWAIT | MSG_TRUNC; /* TCP drops them without a copy */
		got = spg__perform(&sqe, true);
		n -= got > 0 ? (size_t)got : 0;
	}
	spg__unhold(&hold, 0);
}

static int by_look(struct transfer *t)
{
	size_t size = t->left < BUFFER_BYTES ? t->left : BUFFER_BYTES;
	char *buf = spg__alloc(size > 0 ? size : 1);
	struct look look;
	int err = buf != NULL ? look_begin(&look, t) : -ENOMEM;

	if (err < 0) {
		spg__free(buf);
		return err;
	}
	while (t->left > 0 && err == 0) {
		ssize_t got = look_at(&look, buf, t->left < size ? t->left : size);
		size_t done;

		if (got <= 0) {
			err = (int)got;
			break;
		}
		done = deliver(t, buf, (size_t)got, &err);
		look_take(&look, buf, done);
		moved(t, done);
	}
	look_end(&look);
	spg__free(buf);
	return err;
}

static bool is_stream_socket(const struct transfer *t)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return t->in_type == S_IFSOCK && getsockopt(t->ends.in, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_STREAM;
}

/* Nothing is to be lost: 0, or an error; -EOPNOTSUPP: this is not the way, and nothing was moved. */
static int without_loss(struct transfer *t)
{
	int err = -EINVAL;

	if (t->left == 0)
		return -EOPNOTSUPP;
	if (t->in_type == S_IFIFO || t->out_type == S_IFIFO)
		err = by_splice(t);
	/* Append-only files and terminals know no splice. */
	if (err != -EINVAL || t->moved > 0)
		return err;
	if ((t->in_type == S_IFIFO || is_stream_socket(t)) && t->off == NULL)
		return by_look(t);
	return -EOPNOTSUPP;
}

static ssize_t outcome(const struct transfer *t, int err)
{
	return t->moved > 0 ? (ssize_t)t->moved : err;
}

ssize_t spg_sendfile(int out, int in, off_t *off, size_t n)
{
	struct transfer t = transfer(out, in, off, n);
	int err;

	if (off != NULL && *off < 0)
		return -EINVAL;
	err = without_loss(&t);
	if (err != -EOPNOTSUPP)
		return outcome(&t, err);
	if (t.left > PIPE_WORTH_BYTES) {
		err = by_pipe(&t);
		/* Some descriptors know no splice. */
		if (t.moved > 0 || (err != -EINVAL && err != -EMFILE && err != -ENFILE))
			return outcome(&t, err);
	}
	err = by_buffer(&t);
	return outcome(&t, err);
}

/* copy_file_range on the pool: it knows reflinks, and holes on some file systems. */
struct range {
	int out, in;
	size_t len;
	ssize_t res;
};

static void copy_range(void *arg)
{
	struct range *range = arg;

	range->res = copy_file_range(range->in, NULL, range->out, NULL, range->len, 0);
	if (range->res < 0)
		range->res = -errno;
}

/* One piece, with both held: files do not wait for each other. */
static int range_once(struct range *range, const struct ends *ends)
{
	struct spg__hold in, out;
	int err = spg__hold(&in, ends->in, ends->word_in);

	if (err < 0)
		return err;
	err = spg__hold(&out, ends->out, ends->word_out);
	if (err == 0)
		err = spg__unhold(&out, spg__offload(copy_range, range));
	return spg__unhold(&in, err);
}

static int by_range(struct transfer *t)
{
	struct range range = { .out = t->ends.out, .in = t->ends.in };
	int err;

	do {
		range.len = t->left < RANGE_BYTES ? t->left : RANGE_BYTES;
		range.res = 0;
		err = range_once(&range, &t->ends);
		if (err == 0 && range.res > 0)
			moved(t, (size_t)range.res);
	} while (err == 0 && range.res > 0 && t->left > 0);
	return err < 0 ? err : (int)(range.res < 0 ? range.res : 0);
}

ssize_t spg_copy(int out, int in, size_t n)
{
	struct transfer t = transfer(out, in, NULL, n);
	int err = without_loss(&t);

	if (err != -EOPNOTSUPP)
		return outcome(&t, err);
	if (n > 0 && t.in_type == S_IFREG && t.out_type == S_IFREG) {
		err = by_range(&t);
		/* Nothing moved: files of /proc say so although they have something; others refuse. */
		if (t.moved > 0 || err == -ECANCELED || err == -ETIMEDOUT)
			return outcome(&t, err);
	}
	err = by_buffer(&t);
	return outcome(&t, err);
}
