/*
 * Files and paths. The kernel runs most of these on its own worker threads.
 */
#include "io/call.h"

#include "coro/leak.h"

#include <spg/io.h>

#include <fcntl.h>
#include <unistd.h>

/* SQEs hold some lengths in 32 bits: longer ones go in pieces of whole pages. */
#define PIECE_BYTES ((uint64_t)1 << 30)

static int open_once(int dirfd, const char *path, int flags, mode_t mode, unsigned sqe_flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_OPENAT, dirfd, path, mode, 0);
	sqe.open_flags = (uint32_t)flags;
	sqe.flags = (uint8_t)sqe_flags;
	return spg__io_path(&sqe);
}

static bool is_fifo(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* The ring tries with O_NONBLOCK first, and so may open a FIFO that has no other end yet. */
static bool opened_early(int res, int flags)
{
	if ((flags & (O_NONBLOCK | O_PATH | O_DIRECTORY)) || spg__coro_self() == NULL ||
	    !spg__op_usable(IORING_OP_OPENAT))
		return false;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return res == -ENXIO;
	return (flags & O_ACCMODE) == O_RDONLY && res >= 0 && is_fifo(res);
}

int spg_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	int early = open_once(dirfd, path, flags, mode, 0), res;

	if (!opened_early(early, flags))
		return spg__leak_opened(early, __builtin_return_address(0));
	res = open_once(dirfd, path, flags, mode, IOSQE_ASYNC);
	/* A writer that came for this end must not lose it meanwhile. */
	if (early >= 0)
		close(early);
	return spg__leak_opened(res, __builtin_return_address(0));
}

int spg_open(const char *path, int flags, mode_t mode)
{
	return spg__leak_opened(spg_openat(AT_FDCWD, path, flags, mode), __builtin_return_address(0));
}

static int sync_file(int fd, unsigned flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_FSYNC, fd, NULL, 0, 0);
	sqe.fsync_flags = flags;
	return spg__io(&sqe, 0);
}

int spg_fsync(int fd)
{
	return sync_file(fd, 0);
}

int spg_fdatasync(int fd)
{
	return sync_file(fd, IORING_FSYNC_DATASYNC);
}

/* prep at [offset, offset + len) in pieces; 0 is a length of its own: to the end. */
static int ranged(void (*prep)(struct io_uring_sqe *sqe, const void *args, uint64_t offset, uint32_t len),
		  const void *args, uint64_t offset, uint64_t len)
{
	struct io_uring_sqe sqe;
	int err;

	do {
		uint64_t piece = len < PIECE_BYTES ? len : PIECE_BYTES;

		prep(&sqe, args, offset, (uint32_t)piece);
		err = spg__io(&sqe, 0);
		offset += piece;
		len -= piece;
	} while (err >= 0 && len > 0);
	return err;
}

struct range_args {
	int fd, advice;
	unsigned flags;
};

static void prep_sync_range(struct io_uring_sqe *sqe, const void *args, uint64_t offset, uint32_t len)
{
	const struct range_args *range = args;

	spg__io_prep(sqe, IORING_OP_SYNC_FILE_RANGE, range->fd, NULL, len, offset);
	sqe->sync_range_flags = range->flags;
}

int spg_sync_file_range(int fd, off_t offset, off_t len, unsigned flags)
{
	struct range_args args = { .fd = fd, .flags = flags };

	if (offset < 0 || len < 0)
		return -EINVAL;
	return ranged(prep_sync_range, &args, (uint64_t)offset, (uint64_t)len);
}

static void prep_fadvise(struct io_uring_sqe *sqe, const void *args, uint64_t offset, uint32_t len)
{
	const struct range_args *range = args;

	spg__io_prep(sqe, IORING_OP_FADVISE, range->fd, NULL, len, offset);
	sqe->fadvise_advice = (uint32_t)range->advice;
}

int spg_fadvise(int fd, off_t offset, off_t len, int advice)
{
	struct range_args args = { .fd = fd, .advice = advice };

	if (offset < 0 || len < 0)
		return -EINVAL;
	return ranged(prep_fadvise, &args, (uint64_t)offset, (uint64_t)len);
}

static void prep_madvise(struct io_uring_sqe *sqe, const void *args, uint64_t offset, uint32_t len)
{
	const struct range_args *range = args;

	spg__io_prep(sqe, IORING_OP_MADVISE, -1, (const void *)(uintptr_t)offset, len, 0);
	sqe->fadvise_advice = (uint32_t)range->advice;
}

int spg_madvise(void *addr, size_t len, int advice)
{
	struct range_args args = { .advice = advice };

	return ranged(prep_madvise, &args, (uint64_t)(uintptr_t)addr, len);
}

int spg_fallocate(int fd, int mode, off_t offset, off_t len)
{
	struct io_uring_sqe sqe;

	if (offset < 0 || len <= 0)
		return -EINVAL;
	spg__io_prep(&sqe, IORING_OP_FALLOCATE, fd, NULL, (unsigned)mode, (uint64_t)offset);
	sqe.addr = (uint64_t)len;
	return spg__io(&sqe, 0);
}

int spg_ftruncate(int fd, off_t length)
{
	struct io_uring_sqe sqe;

	if (length < 0)
		return -EINVAL;
	spg__io_prep(&sqe, SPG__OP_FTRUNCATE, fd, NULL, 0, (uint64_t)length);
	return spg__io(&sqe, 0);
}

int spg_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *out)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_STATX, dirfd, path, mask, (uint64_t)(uintptr_t)out);
	sqe.statx_flags = (uint32_t)flags;
	return spg__io_path(&sqe);
}

int spg_mkdirat(int dirfd, const char *path, mode_t mode)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_MKDIRAT, dirfd, path, mode, 0);
	return spg__io_path(&sqe);
}

int spg_unlinkat(int dirfd, const char *path, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_UNLINKAT, dirfd, path, 0, 0);
	sqe.unlink_flags = (uint32_t)flags;
	return spg__io_path(&sqe);
}

int spg_renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_RENAMEAT, from_dirfd, from, (unsigned)to_dirfd, (uint64_t)(uintptr_t)to);
	sqe.rename_flags = flags;
	return spg__io_path(&sqe);
}

int spg_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_LINKAT, from_dirfd, from, (unsigned)to_dirfd, (uint64_t)(uintptr_t)to);
	sqe.hardlink_flags = (uint32_t)flags;
	return spg__io_path(&sqe);
}

int spg_symlinkat(const char *target, int dirfd, const char *path)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_SYMLINKAT, dirfd, target, 0, (uint64_t)(uintptr_t)path);
	return spg__io_path(&sqe);
}

static unsigned xattr_len(size_t size)
{
	return size < UINT32_MAX ? (unsigned)size : UINT32_MAX; /* far beyond XATTR_SIZE_MAX */
}

ssize_t spg_fgetxattr(int fd, const char *name, void *value, size_t size)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_FGETXATTR, fd, name, xattr_len(size), (uint64_t)(uintptr_t)value);
	return spg__io(&sqe, 0);
}

int spg_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	struct io_uring_sqe sqe;

	spg__io_prep(&sqe, IORING_OP_FSETXATTR, fd, name, xattr_len(size), (uint64_t)(uintptr_t)value);
	sqe.xattr_flags = (uint32_t)flags;
	return spg__io(&sqe, 0);
}

int spg_pipe2(int fds[2], int flags)
{
	int err = spg__io_entry();

	if (err < 0)
		return err;
	if (pipe2(fds, flags) < 0) /* it never waits */
		return -errno;
	spg__leak_opened(fds[0], __builtin_return_address(0));
	spg__leak_opened(fds[1], __builtin_return_address(0));
	return 0;
}
