/*
 * Whole files, by the calls of spg/io.h.
 */
#include "coro/alloc.h"

#include <fcntl.h>
#include <spg/fs.h>
#include <spg/io.h>
#include <string.h>

/* Files up to this size are read without asking how long they are. */
#define READ_BYTES_MIN ((size_t)16 << 10)

/* What has been read. */
struct content {
	char *data;
	size_t len, cap;
};

/* Room for more, and a byte behind it. */
static int content_grow(struct content *c, size_t cap)
{
	char *data = cap < SIZE_MAX ? spg__alloc(cap + 1) : NULL;

	if (data == NULL)
		return -ENOMEM;
	if (c->len > 0)
		memcpy(data, c->data, c->len);
	spg__free(c->data);
	c->data = data;
	c->cap = cap;
	return 0;
}

/* How much room the next read gets: the file's length tells, where it has one. */
static int content_cap(int fd, const struct content *c, size_t *cap)
{
	struct statx stx;
	int err;

	*cap = c->cap == 0 ? READ_BYTES_MIN : c->cap < SIZE_MAX / 2 ? c->cap * 2 : SIZE_MAX;
	if (c->cap != READ_BYTES_MIN)
		return 0;
	err = spg_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &stx);
	/* One more than its length: then the end shows without another growth. */
	if (err == 0 && stx.stx_size >= *cap)
		*cap = stx.stx_size < SIZE_MAX ? (size_t)stx.stx_size + 1 : SIZE_MAX;
	return err;
}

static int read_all(int fd, struct content *c)
{
	ssize_t n;

	for (;;) {
		if (c->len == c->cap) {
			size_t cap;
			int err = content_cap(fd, c, &cap);

			if (err == 0)
				err = content_grow(c, cap);
			if (err < 0)
				return err;
		}
		n = spg_read(fd, c->data + c->len, c->cap - c->len);
		if (n <= 0)
			return (int)n;
		c->len += (size_t)n;
	}
}

int spg_read_file(const char *path, void **data, size_t *n)
{
	struct content c = { 0 };
	int fd, err;

	if (path == NULL || data == NULL || n == NULL)
		return -EINVAL;
	fd = spg_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	err = read_all(fd, &c);
	(void)spg_close(fd); /* nothing was written */
	if (err < 0) {
		spg__free(c.data);
		return err;
	}
	c.data[c.len] = '\0';
	*data = c.data;
	*n = c.len;
	return 0;
}

int spg_write_file(const char *path, const void *data, size_t n, mode_t mode)
{
	ssize_t written = 0;
	int fd, err;

	if (path == NULL || (data == NULL && n > 0))
		return -EINVAL;
	fd = spg_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return fd;
	if (n > 0)
		written = spg_write_all(fd, data, n);
	err = spg_close(fd);
	return written < 0 ? (int)written : err;
}
