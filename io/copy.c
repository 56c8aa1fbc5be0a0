/*
 * Moving bytes from one descriptor to another.
 *
 * splice and tee are tried without waiting, so that no worker thread of the kernel
 * blocks on a pipe for as long as the pipe likes; the waits are polls of one descriptor
 * each, which contexts and spg_close end.
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

/* One try, with `in` counted as well: the SQE's fd is `out`. */
static int splice_try(const struct io_uring_sqe *sqe, uint32_t word_in)
{
	_Atomic uint16_t *counts = spg__io_counts();
	int fd_in = sqe->splice_fd_in;
	int res = counts != NULL ? spg__fdtab_enter_again(counts, fd_in, word_in) : -ENOMEM;

	if (res < 0)
		return res;
	res = spg__io(sqe, 0);
	spg__fdtab_leave(counts, fd_in);
	return res;
}

static int splice_wait(const struct io_uring_sqe *sqe, unsigned tries)
{
	int res = spg__io_ready(sqe->splice_fd_in, POLLIN);

	if (res >= 0)
		res = spg__io_ready(sqe->fd, POLLOUT);
	if (res >= 0 && tries >= 8)
		res = spg__io_pause(tries - 8);
	return res;
}

static int splice_sqe(struct io_uring_sqe *sqe)
{
	bool dont_wait = (sqe->splice_flags & SPLICE_F_NONBLOCK) != 0;
	uint32_t word_in = spg__fdtab_word(sqe->splice_fd_in);
	int res = spg__io_entry();

	if (res < 0)
		return res;
	if (word_in & 1)
		return -EBADF;
	sqe->splice_flags |= SPLICE_F_NONBLOCK;
	/* A socket as a source may not heed the flag. */
	if (!dont_wait && spg__fdkind_now(sqe->splice_fd_in) == SPG__FDKIND_SOCKET)
		res = spg__io_ready(sqe->splice_fd_in, POLLIN);
	for (unsigned tries = 0; res >= 0; tries++) {
		res = splice_try(sqe, word_in);
		if (res != -EAGAIN || dont_wait)
			return res;
		res = splice_wait(sqe, tries);
	}
	return res;
}

ssize_t spg_splice(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, unsigned flags)
{
	struct io_uring_sqe sqe;
	int res;

	spg__io_prep(&sqe, IORING_OP_SPLICE, fd_out, NULL, spg__io_len(len),
		     off_out != NULL ? (uint64_t)*off_out : SPG__OFF_CURRENT);
	sqe.splice_off_in = off_in != NULL ? (uint64_t)*off_in : SPG__OFF_CURRENT;
	sqe.splice_fd_in = fd_in;
	sqe.splice_flags = flags;
	if ((off_in != NULL && *off_in < 0) || (off_out != NULL && *off_out < 0))
		return -EINVAL;
	res = splice_sqe(&sqe);
	if (res > 0 && off_in != NULL)
		*off_in += res;
	if (res > 0 && off_out != NULL)
		*off_out += res;
	return res;
}

ssize_t spg_tee(int fd_in, int fd_out, size_t len, unsigned flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_TEE, fd_out, NULL, spg__io_len(len), 0);
	sqe.splice_fd_in = fd_in;
	sqe.splice_flags = flags;
	return splice_sqe(&sqe);
}

/* Where bytes come from and go to; off NULL: the descriptor's own position. */
struct transfer {
	int out, in;
	off_t *off;
	size_t left, moved;
};

static void moved(struct transfer *t, size_t n)
{
	t->moved += n;
	t->left -= n;
	if (t->off != NULL)
		*t->off += (off_t)n;
}

/* Read and not delivered: a file's position goes back; a stream's bytes are lost. */
static void give_back(const struct transfer *t, size_t n)
{
	if (t->off == NULL && n > 0)
		(void)lseek(t->in, -(off_t)n, SEEK_CUR);
}

/* Through memory. 0: all moved, or the end of in. */
static int by_buffer(struct transfer *t)
{
	size_t size = t->left < BUFFER_BYTES ? t->left : BUFFER_BYTES;
	char *buf = spg__alloc(size > 0 ? size : 1);
	ssize_t got = 0, put = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (t->left > 0) {
		size_t want = t->left < size ? t->left : size, done = 0;

		got = t->off != NULL ? spg_pread(t->in, buf, want, *t->off) : spg_read(t->in, buf, want);
		while (got > 0 && done < (size_t)got) {
			put = spg_write(t->out, buf + done, (size_t)got - done);
			if (put <= 0)
				break;
			done += (size_t)put;
		}
		moved(t, done);
		if (got <= 0 || done < (size_t)got) {
			give_back(t, got > 0 ? (size_t)got - done : 0);
			break;
		}
	}
	spg__free(buf);
	if (got < 0)
		return (int)got;
	return put < 0 ? (int)put : 0;
}

/* One fill of the pipe. Bytes moved; 0: the end. */
static ssize_t pipe_round(struct transfer *t, const int pipe_fds[2])
{
	size_t want = t->left < PIPE_BYTES ? t->left : PIPE_BYTES, done = 0;
	off_t from = t->off != NULL ? *t->off : 0;
	ssize_t got = spg_splice(t->in, t->off != NULL ? &from : NULL, pipe_fds[1], NULL, want, SPLICE_F_MOVE);
	ssize_t put = 0;

	if (got <= 0)
		return got;
	while (done < (size_t)got) {
		put = spg_splice(pipe_fds[0], NULL, t->out, NULL, (size_t)got - done, SPLICE_F_MOVE);
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

static ssize_t outcome(const struct transfer *t, int err)
{
	return t->moved > 0 ? (ssize_t)t->moved : err;
}

ssize_t spg_sendfile(int out, int in, off_t *off, size_t n)
{
	struct transfer t = { .out = out, .in = in, .off = off, .left = n < SSIZE_MAX ? n : SSIZE_MAX };
	int err = 0;

	if (off != NULL && *off < 0)
		return -EINVAL;
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

static bool is_regular(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int by_range(struct transfer *t)
{
	struct range range = { .out = t->out, .in = t->in };
	int err;

	do {
		range.len = t->left < RANGE_BYTES ? t->left : RANGE_BYTES;
		err = spg__offload(copy_range, &range);
		if (err == 0 && range.res > 0)
			moved(t, (size_t)range.res);
	} while (err == 0 && range.res > 0 && t->left > 0);
	return err < 0 ? err : (int)(range.res < 0 ? range.res : 0);
}

ssize_t spg_copy(int out, int in, size_t n)
{
	struct transfer t = { .out = out, .in = in, .left = n < SSIZE_MAX ? n : SSIZE_MAX };
	int err;

	if (n > 0 && is_regular(in) && is_regular(out)) {
		err = by_range(&t);
		/* Nothing moved: files of /proc say so although they have something; others refuse. */
		if (t.moved > 0 || err == -ECANCELED || err == -ETIMEDOUT)
			return outcome(&t, err);
	}
	err = by_buffer(&t);
	return outcome(&t, err);
}
