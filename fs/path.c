/*
 * Calls on paths.
 */
#include "coro/alloc.h"
#include "fs/pool.h"

#include <fcntl.h>
#include <limits.h>
#include <spg/fs.h>
#include <spg/io.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int spg_stat(const char *path, struct statx *out)
{
	return spg_statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, out);
}

int spg_lstat(const char *path, struct statx *out)
{
	return spg_statx(AT_FDCWD, path, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
			 out);
}

struct chmod_args {
	const char *path;
	mode_t mode;
};

static int chmod_step(void *arg)
{
	struct chmod_args *a = arg;

	return chmod(a->path, a->mode) < 0 ? -errno : 0;
}

int spg_chmod(const char *path, mode_t mode)
{
	struct chmod_args args = { path, mode };

	return path == NULL ? -EINVAL : spg__fs_run(chmod_step, &args);
}

struct realpath_args {
	const char *path;
	char *resolved;
};

static int realpath_step(void *arg)
{
	struct realpath_args *a = arg;

	a->resolved = realpath(a->path, NULL);
	return a->resolved == NULL ? -errno : 0;
}

int spg_realpath(const char *path, char **out)
{
	struct realpath_args args = { .path = path };
	int err;

	if (path == NULL || out == NULL)
		return -EINVAL;
	err = spg__fs_run(realpath_step, &args);
	*out = args.resolved;
	return err;
}

/* 0: there is a directory, made now or before; -ENOENT: its parent is missing; or why not. */
static int make_dir(const char *path, mode_t mode)
{
	struct statx stx;
	int err = spg_mkdirat(AT_FDCWD, path, mode);

	if (err == 0 || err == -ENOENT || err == -ECANCELED || err == -ETIMEDOUT)
		return err;
	/* Whatever else it is: on a read-only file system too, what is there need not be made. */
	if (spg_statx(AT_FDCWD, path, 0, STATX_TYPE, &stx) < 0)
		return err;
	if (S_ISDIR(stx.stx_mode))
		return 0;
	return err == -EEXIST ? -ENOTDIR : err;
}

/* Where the last of the first len bytes' components begins to be cut off: its parent's length. */
static size_t parent_len(const char *path, size_t len)
{
	while (len > 0 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 0 && path[len - 1] == '/')
		len--;
	return len;
}

/* The length of the component after the first len bytes, and of all before it. */
static size_t next_len(const char *path, size_t len)
{
	len += strspn(path + len, "/");
	return len + strcspn(path + len, "/");
}

static int make_prefix(char *path, size_t len, mode_t mode)
{
	char cut = path[len];
	int err;

	path[len] = '\0';
	err = make_dir(path, mode);
	path[len] = cut;
	return err;
}

/* Upwards to the first parent that is there or can be made, and down again. */
static int make_dirs(char *path, mode_t mode)
{
	size_t end = strlen(path), len = end;
	int err;

	while ((err = make_prefix(path, len, mode)) == -ENOENT) {
		len = parent_len(path, len);
		if (len == 0)
			break;
	}
	/* The working directory itself is gone, or a dangling symlink stands in the way. */
	if (err < 0 && len > 0)
		return err;
	while (len < end) {
		size_t next = next_len(path, len);

		if (next == len || path[next - 1] == '/')
			break; /* slashes at the end */
		len = next;
		err = make_prefix(path, len, mode);
		if (err < 0)
			return err;
	}
	return err;
}

int spg_mkdir_all(const char *path, mode_t mode)
{
	size_t bytes;
	char *copy;
	int err;

	if (path == NULL)
		return -EINVAL;
	if (path[0] == '\0')
		return -ENOENT;
	bytes = strlen(path) + 1;
	if (bytes > PATH_MAX)
		return -ENAMETOOLONG;
	err = make_dir(path, mode); /* most often this is all */
	if (err != -ENOENT)
		return err;
	copy = spg__alloc(bytes);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, path, bytes);
	err = make_dirs(copy, mode);
	spg__free(copy);
	return err;
}
