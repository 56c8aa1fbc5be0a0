/* Cases of the calls on files. Part of io_calls.h. */
#ifndef SPG__TEST_IO_CALLS_FILE_H
#define SPG__TEST_IO_CALLS_FILE_H

#include "io_env.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* files */

static ssize_t open_good(struct env *e)
{
	int fd = spg_open(e->path, O_RDONLY | O_CLOEXEC, 0);

	OPENED(fd);
	return close(fd);
}
static ssize_t open_bad(struct env *e)
{
	(void)e;
	return spg_open("/nonexistent/file", O_RDONLY, 0);
}
static ssize_t open_wait(struct env *e)
{
	T_EQ(mkfifoat(e->dir, "fifo", 0600), 0);
	return spg_openat(e->dir, "fifo", O_RDONLY | O_CLOEXEC, 0);
}
static ssize_t openat_good(struct env *e)
{
	int fd = spg_openat(e->dir, "new", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
	struct stat st;

	OPENED(fd);
	T_EQ(fstat(fd, &st), 0);
	T_EQ(st.st_mode & 0777, 0640);
	return close(fd);
}
static ssize_t openat_bad(struct env *e) { return spg_openat(e->file, "x", O_RDONLY, 0); }

static ssize_t fsync_good(struct env *e) { return spg_fsync(e->file); }
static ssize_t fsync_bad(struct env *e) { return spg_fsync(e->pipe[0]); }
static ssize_t fdatasync_good(struct env *e) { return spg_fdatasync(e->file); }
static ssize_t fdatasync_bad(struct env *e) { return spg_fdatasync(e->pipe[0]); }
static ssize_t sync_file_range_good(struct env *e) { return spg_sync_file_range(e->file, 0, (off_t)5 << 30, 2); }
static ssize_t sync_file_range_bad(struct env *e) { return spg_sync_file_range(e->pipe[0], 0, 10, 2); }

static off_t size_of(int fd)
{
	struct stat st;

	T_EQ(fstat(fd, &st), 0);
	return st.st_size;
}

static ssize_t fallocate_good(struct env *e)
{
	int res = spg_fallocate(e->file, 0, 0, 5000);

	WORKED(res);
	T_EQ(size_of(e->file), 5000);
	return res;
}
static ssize_t fallocate_bad(struct env *e) { return spg_fallocate(e->pipe[1], 0, 0, 10); }
static ssize_t ftruncate_good(struct env *e)
{
	int res = spg_ftruncate(e->file, 3);

	WORKED(res);
	T_EQ(size_of(e->file), 3);
	return res;
}
static ssize_t ftruncate_bad(struct env *e) { return spg_ftruncate(e->file, -1); }
static ssize_t fadvise_good(struct env *e) { return spg_fadvise(e->file, 0, 0, POSIX_FADV_SEQUENTIAL); }
static ssize_t fadvise_bad(struct env *e) { return spg_fadvise(e->file, 0, 0, 77); }

static ssize_t madvise_good(struct env *e)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int res;

	(void)e;
	page[7] = 1;
	res = spg_madvise(page, 4096, MADV_DONTNEED);
	T_EQ(page[7], res == 0 ? 0 : 1);
	munmap(page, 4096);
	return res;
}
static ssize_t madvise_bad(struct env *e)
{
	(void)e;
	return spg_madvise(NULL, 4096, 12345);
}

static ssize_t statx_good(struct env *e)
{
	struct statx stx;
	int res = spg_statx(e->dir, "file", 0, STATX_BASIC_STATS, &stx);

	WORKED(res);
	T_EQ(stx.stx_size, 10);
	return res;
}
static ssize_t statx_bad(struct env *e)
{
	struct statx stx;

	return spg_statx(e->dir, "none", 0, STATX_BASIC_STATS, &stx);
}

static bool exists(struct env *e, const char *name)
{
	return faccessat(e->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static ssize_t mkdirat_good(struct env *e)
{
	int res = spg_mkdirat(e->dir, "sub", 0700);

	WORKED(res);
	T_OK(exists(e, "sub"));
	return res;
}
static ssize_t mkdirat_bad(struct env *e) { return spg_mkdirat(e->dir, "file", 0700); }
static ssize_t unlinkat_good(struct env *e)
{
	int res = spg_unlinkat(e->dir, "file", 0);

	WORKED(res);
	T_OK(!exists(e, "file"));
	return res;
}
static ssize_t unlinkat_bad(struct env *e) { return spg_unlinkat(e->dir, "none", 0); }
static ssize_t renameat2_good(struct env *e)
{
	int res = spg_renameat2(e->dir, "file", e->dir, "moved", RENAME_NOREPLACE);

	WORKED(res);
	T_OK(!exists(e, "file") && exists(e, "moved"));
	return res;
}
static ssize_t renameat2_bad(struct env *e) { return spg_renameat2(e->dir, "none", e->dir, "moved", 0); }
static ssize_t linkat_good(struct env *e)
{
	int res = spg_linkat(e->dir, "file", e->dir, "link", 0);

	WORKED(res);
	T_OK(exists(e, "file") && exists(e, "link"));
	return res;
}
static ssize_t linkat_bad(struct env *e) { return spg_linkat(e->dir, "none", e->dir, "link", 0); }
static ssize_t symlinkat_good(struct env *e)
{
	char target[16] = "";
	int res = spg_symlinkat("file", e->dir, "symlink");

	WORKED(res);
	T_EQ(readlinkat(e->dir, "symlink", target, sizeof(target)), 4);
	expect(target, "file");
	return res;
}
static ssize_t symlinkat_bad(struct env *e) { return spg_symlinkat("x", e->dir, "file"); }

static ssize_t fsetxattr_good(struct env *e) { return spg_fsetxattr(e->file, "user.spg", "value", 5, 0); }
static ssize_t fsetxattr_bad(struct env *e) { return spg_fsetxattr(e->file, "nospace.x", "value", 5, 0); }
static ssize_t fgetxattr_good(struct env *e)
{
	char value[16] = "";
	ssize_t n;

	T_EQ(fsetxattr(e->file, "user.spg", "value", 5, 0), 0);
	n = spg_fgetxattr(e->file, "user.spg", value, sizeof(value));
	WORKED(n);
	expect(value, "value");
	return n;
}
static ssize_t fgetxattr_bad(struct env *e) { return spg_fgetxattr(e->file, "nospace.x", (char[1]){ 0 }, 1); }

#endif
