/*
 * Removing a tree by directory descriptors.
 *
 * RM1  Every name is one component, relative to the descriptor of the directory that was
 *      read; directories are opened with O_NOFOLLOW. A symlink that appears on the way is
 *      removed, not followed.
 * RM2  At most OPEN_MAX_LEVELS levels have a descriptor. A level without one is opened again as
 *      ".." of its child, and is the right one only if device and inode are as before.
 * RM3  The last level's descriptor is open, and its names, as far as they were read, are of
 *      directories: other files are gone once read.
 */
#include "coro/alloc.h"
#include "fs/dir.h"
#include "fs/pool.h"

#include <fcntl.h>
#include <spg/fs.h>
#include <string.h>
#include <unistd.h>

#define OPEN_MAX_LEVELS 32
/* How often a directory that fills again is read again. */
#define READS_MAX 16

struct level {
	int fd;
	struct spg__file_id id;
	/* Subdirectories to enter, each name with its NUL; the last is next. */
	char *names;
	size_t names_len, names_cap;
	unsigned reads;
	bool read, failed;
};

struct removal {
	struct level *levels;
	size_t depth, levels_cap;
	/* The directory that holds the root, and the root's name in it. */
	int parent_fd;
	const char *name;
	bool begun;
	/* The first error. */
	int err;
	struct spg__dir_batch batch;
	char buf[SPG__DIR_BATCH_BYTES] __attribute__((aligned(8)));
};

static struct level *top(struct removal *r)
{
	return &r->levels[r->depth - 1];
}

/* Something stays: so do the directories above it. */
static void fail(struct removal *r, int err)
{
	if (r->err == 0)
		r->err = err;
	if (r->depth > 0)
		top(r)->failed = true;
}

static int name_push(struct level *level, const char *name)
{
	size_t bytes = strlen(name) + 1;

	if (level->names_cap - level->names_len < bytes) {
		size_t cap = level->names_cap * 2 + bytes + 64;
		char *names = spg__alloc(cap);

		if (names == NULL)
			return -ENOMEM;
		if (level->names_len > 0)
			memcpy(names, level->names, level->names_len);
		spg__free(level->names);
		level->names = names;
		level->names_cap = cap;
	}
	memcpy(level->names + level->names_len, name, bytes);
	level->names_len += bytes;
	return 0;
}

/* Valid until the next push to the level. NULL: none is left. */
static const char *name_pop(struct level *level)
{
	size_t begin;

	if (level->names_len == 0)
		return NULL;
	begin = level->names_len - 1;
	while (begin > 0 && level->names[begin - 1] != '\0')
		begin--;
	level->names_len = begin;
	return level->names + begin;
}

/* RM2: room for one more, and the level that leaves the window loses its descriptor. */
static int level_reserve(struct removal *r)
{
	if (r->depth == r->levels_cap) {
		size_t cap = r->levels_cap * 2 + 16;
		struct level *levels = spg__alloc(cap * sizeof(*levels));

		if (levels == NULL)
			return -ENOMEM;
		if (r->depth > 0)
			memcpy(levels, r->levels, r->depth * sizeof(*levels));
		spg__free(r->levels);
		r->levels = levels;
		r->levels_cap = cap;
	}
	if (r->depth >= OPEN_MAX_LEVELS) {
		struct level *far = &r->levels[r->depth - OPEN_MAX_LEVELS];

		if (far->fd >= 0)
			(void)close(far->fd);
		far->fd = -1;
	}
	return 0;
}

/* The directory cannot be entered: empty ones can be removed all the same. */
static void remove_unread(struct removal *r, int dirfd, const char *name, int err)
{
	/* RM1: no longer a directory. */
	int flags = err == -ENOTDIR || err == -ELOOP ? 0 : AT_REMOVEDIR;

	if (err == -ENOENT || unlinkat(dirfd, name, flags) == 0 || errno == ENOENT)
		return;
	fail(r, flags == 0 ? -errno : err);
}

static int enter(struct removal *r, int dirfd, const char *name)
{
	struct level level = { 0 };
	int err = level_reserve(r);

	if (err < 0)
		return err;
	level.fd = spg__dir_open_fd(dirfd, name, false);
	if (level.fd < 0) {
		remove_unread(r, dirfd, name, level.fd);
		return 0;
	}
	err = spg__file_id_of(level.fd, &level.id);
	if (err < 0) {
		(void)close(level.fd);
		return err;
	}
	r->levels[r->depth++] = level;
	r->batch.pos = r->batch.len = 0;
	r->batch.end = false;
	return 0;
}

/* RM3. 0, or -ENOMEM. */
static int remove_entry(struct removal *r, const struct dirent64 *entry)
{
	struct level *level = top(r);

	if (entry->d_type == DT_DIR)
		return name_push(level, entry->d_name);
	if (unlinkat(level->fd, entry->d_name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR)
		return name_push(level, entry->d_name);
	fail(r, -errno);
	return 0;
}

static int read_batch(struct removal *r)
{
	struct level *level = top(r);
	const struct dirent64 *entry;
	int err = spg__dir_fill(level->fd, &r->batch);

	if (err < 0)
		fail(r, err);
	level->read = err < 0 || r->batch.end;
	while ((entry = spg__dir_entry(&r->batch)) != NULL) {
		err = remove_entry(r, entry);
		if (err < 0)
			return err;
	}
	return 0;
}

/* RM2: the descriptor of the level above the last. 0 or an error. */
static int parent_reopen(struct removal *r)
{
	struct level *parent = &r->levels[r->depth - 2];
	struct spg__file_id id;
	int fd, err;

	if (parent->fd >= 0)
		return 0;
	fd = spg__dir_open_fd(top(r)->fd, "..", false);
	if (fd < 0)
		return fd;
	err = spg__file_id_of(fd, &id);
	if (err == 0 && !spg__file_id_equal(id, parent->id))
		err = -ESTALE; /* the tree was moved about */
	if (err < 0)
		(void)close(fd);
	else
		parent->fd = fd;
	return err;
}

static void level_drop(struct removal *r)
{
	struct level *level = top(r);

	if (level->fd >= 0)
		(void)close(level->fd);
	spg__free(level->names);
	r->depth--;
}

/* All below the last level is gone, or stays for a reason. */
static int leave(struct removal *r)
{
	bool failed = top(r)->failed;
	int err = r->depth > 1 ? parent_reopen(r) : 0;
	int parent_fd;
	const char *name;

	if (err < 0)
		return err;
	parent_fd = r->depth > 1 ? r->levels[r->depth - 2].fd : r->parent_fd;
	/* name_pop left the name behind the end of the list. */
	name = r->depth > 1 ? r->levels[r->depth - 2].names + r->levels[r->depth - 2].names_len : r->name;
	if (!failed && unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
		err = -errno;
		if ((err == -ENOTEMPTY || err == -EEXIST) && ++top(r)->reads < READS_MAX &&
		    lseek(top(r)->fd, 0, SEEK_SET) == 0) {
			top(r)->read = r->batch.end = false; /* somebody made a new file */
			return 0;
		}
		fail(r, err);
		failed = true;
	}
	level_drop(r);
	if (failed && r->depth > 0)
		top(r)->failed = true;
	return 0;
}

/* The root: most often a file, else the first level. */
static int begin(struct removal *r)
{
	r->begun = true;
	if (unlinkat(r->parent_fd, r->name, 0) == 0 || errno == ENOENT)
		return 0;
	return errno == EISDIR ? enter(r, r->parent_fd, r->name) : -errno;
}

static int remove_step(void *arg)
{
	struct removal *r = arg;
	const char *name;
	int err;

	if (!r->begun)
		err = begin(r);
	else if (!top(r)->read)
		err = read_batch(r);
	else if ((name = name_pop(top(r))) != NULL)
		err = enter(r, top(r)->fd, name);
	else
		err = leave(r);
	if (err < 0)
		return err;
	return r->depth > 0 ? SPG__FS_MORE : r->err;
}

struct parent {
	char *path;
	int fd;
};

static int open_parent_step(void *arg)
{
	struct parent *p = arg;

	p->fd = open(p->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return p->fd < 0 ? -errno : 0;
}

/* Cuts the path into parent and name, in place. 0, or an error. */
static int split(char *path, size_t len, struct parent *parent, const char **name)
{
	static char root[] = "/", here[] = ".";
	char *slash;

	while (len > 0 && path[len - 1] == '/')
		path[--len] = '\0';
	if (len == 0)
		return -EBUSY; /* of nothing but slashes; as rmdir("/") */
	slash = strrchr(path, '/');
	*name = slash == NULL ? path : slash + 1;
	if (strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0)
		return -EINVAL;
	parent->path = slash == NULL ? here : slash == path ? root : path;
	if (slash != NULL)
		*slash = '\0';
	return 0;
}

static int remove_at(int parent_fd, const char *name)
{
	struct removal *r = spg__alloc(sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	memset(r, 0, offsetof(struct removal, buf));
	r->batch.buf = r->buf;
	r->parent_fd = parent_fd;
	r->name = name;
	err = spg__fs_run(remove_step, r);
	while (r->depth > 0)
		level_drop(r);
	spg__free(r->levels);
	spg__free(r);
	return err;
}

int spg_remove_all(const char *path)
{
	struct parent parent = { .fd = -1 };
	const char *name = NULL;
	size_t bytes;
	char *copy;
	int err;

	if (path == NULL || path[0] == '\0')
		return -EINVAL;
	bytes = strlen(path) + 1;
	copy = spg__alloc(bytes);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, path, bytes);
	err = split(copy, bytes - 1, &parent, &name);
	if (err == 0)
		err = spg__fs_run(open_parent_step, &parent);
	if (err == 0)
		err = remove_at(parent.fd, name);
	else if (err == -ENOENT)
		err = 0; /* nor is there anything in it */
	if (parent.fd >= 0)
		(void)close(parent.fd);
	spg__free(copy);
	return err;
}
