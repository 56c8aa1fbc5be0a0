#include "fs/dir.h"

#include "coro/alloc.h"
#include "fs/pool.h"

#include <fcntl.h>
#include <spg/fs.h>
#include <spg/io.h>

/* Less room than this is not offered to the kernel: an entry needs up to 280 bytes. */
#define ROOM_MIN 1024

_Static_assert((int)SPG_FILE_FIFO == DT_FIFO && (int)SPG_FILE_CHAR == DT_CHR && (int)SPG_FILE_DIR == DT_DIR &&
		       (int)SPG_FILE_BLOCK == DT_BLK && (int)SPG_FILE_REGULAR == DT_REG &&
		       (int)SPG_FILE_SYMLINK == DT_LNK && (int)SPG_FILE_SOCKET == DT_SOCK,
	       "types are the kernel's d_type");

struct spg_dir {
	int fd;
	/* Found after the entries of the batch; told when those are used up. */
	int err;
	struct spg__dir_batch batch;
	char buf[SPG__DIR_BATCH_BYTES] __attribute__((aligned(8)));
};

int spg__dir_open_fd(int dirfd, const char *path, bool follow)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW);
	int fd;

	do {
		fd = openat(dirfd, path, flags);
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

int spg__file_id_of(int fd, struct spg__file_id *out)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO, &stx) < 0)
		return -errno;
	*out = spg__statx_id(&stx);
	return 0;
}

int spg__dir_fill(int fd, struct spg__dir_batch *batch)
{
	batch->pos = batch->len = 0;
	while (!batch->end && SPG__DIR_BATCH_BYTES - batch->len >= ROOM_MIN) {
		ssize_t n = getdents64(fd, batch->buf + batch->len, SPG__DIR_BATCH_BYTES - batch->len);

		if (n < 0 && errno == EINTR)
			continue;
		/* The next entry does not fit behind the others. */
		if (n < 0 && errno == EINVAL && batch->len > 0)
			break;
		if (n < 0)
			return -errno;
		batch->end = n == 0;
		batch->len += (size_t)n;
	}
	return 0;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

const struct dirent64 *spg__dir_entry(struct spg__dir_batch *batch)
{
	while (batch->pos < batch->len) {
		const struct dirent64 *entry = (const void *)(batch->buf + batch->pos);

		batch->pos += entry->d_reclen;
		if (!is_dots(entry->d_name))
			return entry;
	}
	return NULL;
}

/* File systems that do not keep the types with the names. */
static void find_types(struct spg_dir *d)
{
	struct dirent64 *entry;
	struct statx stx;

	for (size_t pos = 0; pos < d->batch.len; pos += entry->d_reclen) {
		entry = (void *)(d->batch.buf + pos);
		if (entry->d_type != DT_UNKNOWN)
			continue;
		if (statx(d->fd, entry->d_name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &stx) == 0)
			entry->d_type = IFTODT(stx.stx_mode);
	}
}

static int fill_step(void *arg)
{
	struct spg_dir *d = arg;

	d->err = spg__dir_fill(d->fd, &d->batch);
	find_types(d);
	return 0;
}

struct opening {
	struct spg_dir *dir;
	int dirfd;
	const char *path;
};

static int open_step(void *arg)
{
	struct opening *o = arg;

	o->dir->fd = spg__dir_open_fd(o->dirfd, o->path, true);
	return o->dir->fd < 0 ? o->dir->fd : fill_step(o->dir);
}

int spg_dir_openat(int dirfd, const char *path, spg_dir **out)
{
	struct opening o = { .dirfd = dirfd, .path = path };
	int err;

	if (path == NULL || out == NULL)
		return -EINVAL;
	*out = NULL;
	o.dir = spg__alloc(sizeof(*o.dir));
	if (o.dir == NULL)
		return -ENOMEM;
	o.dir->err = 0;
	o.dir->batch = (struct spg__dir_batch){ .buf = o.dir->buf };
	err = spg__fs_run(open_step, &o);
	if (err < 0)
		spg__free(o.dir);
	else
		*out = o.dir;
	return err;
}

int spg_dir_open(const char *path, spg_dir **out)
{
	return spg_dir_openat(AT_FDCWD, path, out);
}

int spg_dir_next(spg_dir *d, spg_dirent *out)
{
	const struct dirent64 *entry;
	int err;

	if (d == NULL || out == NULL)
		return -EINVAL;
	while ((entry = spg__dir_entry(&d->batch)) == NULL) {
		if (d->err < 0)
			return d->err;
		if (d->batch.end)
			return 0;
		err = spg__fs_run(fill_step, d);
		if (err < 0)
			return err;
	}
	*out = (spg_dirent){
		.name = entry->d_name,
		.ino = entry->d_ino,
		.offset = entry->d_off,
		.type = (spg_file_type)entry->d_type,
	};
	return 1;
}

int spg_dir_fd(const spg_dir *d)
{
	return d == NULL ? -EINVAL : d->fd;
}

void spg_dir_close(spg_dir *d)
{
	if (d == NULL)
		return;
	(void)spg_close(d->fd); /* a directory: nothing is written back */
	spg__free(d);
}
