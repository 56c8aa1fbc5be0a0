/*
 * read, write and their relatives.
 */
#include "io/cached.h"
#include "io/call.h"

#include "coro/fault.h"
#include "io/fdkind.h"
#include "io/fdtab.h"

#include <spg/io.h>

/* A fault makes moves short, as a signal or a full buffer may. */
static inline unsigned move_len(size_t len)
{
	return spg__unlikely(len > 1 && spg__fault(SPG__FAULT_SHORT) < 0) ? 1 : spg__io_len(len);
}

/*
 * On sockets as RECV and SEND: the same meaning, and a shorter way through the kernel (about
 * 0.1 us each). What the table says is a hint: close(2) behind our back may have given the
 * number to something else, and then the kernel says so and READ and WRITE do.
 */
ssize_t spg_read(int fd, void *buf, size_t len)
{
	struct io_uring_sqe sqe;
	struct spg__cached cached = { 0 };
	int res;

	if (spg__likely(len > 0 && spg__fdkind_is_socket(fd))) {
		spg__io_prep(&sqe, IORING_OP_RECV, fd, buf, move_len(len), 0);
		res = spg__io(&sqe, POLLIN);
		if (spg__likely(res != -ENOTSOCK))
			return res;
		spg__fdkind_forget(fd);
	}
	if (spg__cached_try(fd, len) && spg__cached_read(fd, buf, move_len(len), -1, &cached))
		return cached.done;
	spg__io_prep(&sqe, IORING_OP_READ, fd, (char *)buf + cached.done, move_len(len - (size_t)cached.done),
		     SPG__OFF_CURRENT);
	return spg__cached_rest(&cached, fd, spg__io(&sqe, POLLIN));
}

ssize_t spg_write(int fd, const void *buf, size_t len)
{
	struct io_uring_sqe sqe;
	int res;

	if (spg__likely(len > 0 && spg__fdkind_is_socket(fd))) {
		spg__io_prep(&sqe, IORING_OP_SEND, fd, buf, move_len(len), 0);
		sqe.msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT; /* as all sends: io/socket.c */
		res = spg__io(&sqe, POLLOUT);
		if (spg__likely(res != -ENOTSOCK))
			return res;
		spg__fdkind_forget(fd);
	}
	spg__io_prep(&sqe, IORING_OP_WRITE, fd, buf, move_len(len), SPG__OFF_CURRENT);
	return spg__io(&sqe, POLLOUT);
}

/* May it be read or written at an offset? A fault is a disk's. */
static inline int check_at(int fd, off_t offset)
{
	if (offset < 0)
		return -EINVAL;
	if (spg__unlikely(spg__fdkind_is_stream(fd)))
		return -ESPIPE;
	return spg__fault(SPG__FAULT_DISK);
}

ssize_t spg_pread(int fd, void *buf, size_t len, off_t offset)
{
	struct io_uring_sqe sqe;
	struct spg__cached cached = { 0 };
	int err = check_at(fd, offset);

	if (spg__unlikely(err < 0))
		return err;
	if (spg__cached_try(fd, len) && spg__cached_read(fd, buf, move_len(len), offset, &cached))
		return cached.done;
	spg__io_prep(&sqe, IORING_OP_READ, fd, (char *)buf + cached.done, move_len(len - (size_t)cached.done),
		     (uint64_t)(offset + cached.done));
	return spg__cached_rest(&cached, fd, spg__io(&sqe, POLLIN));
}

ssize_t spg_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	struct io_uring_sqe sqe;
	int err = check_at(fd, offset);

	if (spg__unlikely(err < 0))
		return err;
	spg__io_prep(&sqe, IORING_OP_WRITE, fd, buf, move_len(len), (uint64_t)offset);
	return spg__io(&sqe, POLLOUT);
}

static ssize_t vectored(int op, int fd, const struct iovec *iov, int count, uint64_t offset, unsigned events)
{
	struct io_uring_sqe sqe;

	if (count < 0)
		return -EINVAL;
	spg__io_prep(&sqe, op, fd, iov, (unsigned)count, offset);
	return spg__io(&sqe, events);
}

ssize_t spg_readv(int fd, const struct iovec *iov, int count)
{
	return vectored(IORING_OP_READV, fd, iov, count, SPG__OFF_CURRENT, POLLIN);
}

ssize_t spg_writev(int fd, const struct iovec *iov, int count)
{
	return vectored(IORING_OP_WRITEV, fd, iov, count, SPG__OFF_CURRENT, POLLOUT);
}

static ssize_t at_offset(int op, int fd, const struct iovec *iov, int count, off_t offset, unsigned events)
{
	int err = check_at(fd, offset);

	return err < 0 ? err : vectored(op, fd, iov, count, (uint64_t)offset, events);
}

ssize_t spg_preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	return at_offset(IORING_OP_READV, fd, iov, count, offset, POLLIN);
}

ssize_t spg_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return at_offset(IORING_OP_WRITEV, fd, iov, count, offset, POLLOUT);
}

/* From *done on, one read after the other. 0: all, or the end. */
static int read_rest(int fd, char *buf, size_t n, size_t *done)
{
	while (*done < n) {
		ssize_t got = spg_read(fd, buf + *done, n - *done);

		if (got <= 0)
			return (int)got;
		*done += (size_t)got;
	}
	return 0;
}

ssize_t spg_read_full(int fd, void *buf, size_t n)
{
	uint32_t word = spg__fdtab_word(fd);
	ssize_t got = n > 0 ? spg_read(fd, buf, n) : 0;
	struct spg__hold hold;
	size_t done;
	int err;

	if (spg__likely(got <= 0 || (size_t)got == n))
		return got;
	done = (size_t)got;
	err = spg__hold(&hold, fd, word);
	if (err == 0)
		err = spg__unhold(&hold, read_rest(fd, buf, n, &done));
	return err < 0 ? err : (ssize_t)done;
}

static int write_rest(int fd, const char *buf, size_t n, size_t *done)
{
	while (*done < n) {
		ssize_t put = spg_write(fd, buf + *done, n - *done);

		if (put < 0)
			return (int)put;
		if (put == 0)
			return -EIO; /* a device that takes nothing and says nothing */
		*done += (size_t)put;
	}
	return 0;
}

ssize_t spg_write_all(int fd, const void *buf, size_t n)
{
	uint32_t word = spg__fdtab_word(fd);
	ssize_t put = n > 0 ? spg_write(fd, buf, n) : 0;
	struct spg__hold hold;
	size_t done;
	int err;

	if (spg__likely(put < 0 || (size_t)put == n))
		return put;
	done = (size_t)put;
	err = spg__hold(&hold, fd, word);
	if (err == 0)
		err = spg__unhold(&hold, write_rest(fd, buf, n, &done));
	return err < 0 ? err : (ssize_t)done;
}
