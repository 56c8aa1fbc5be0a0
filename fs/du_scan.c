#include "fs/du.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "fs/pool.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DU_WAY_MAX 2048
#define DU_MASK (STATX_TYPE | STATX_NLINK | STATX_INO | STATX_SIZE | STATX_BLOCKS)

void spg__du_fail(struct spg__du *du, int err)
{
	pthread_mutex_lock(&du->mutex);
	if (du->err == 0)
		du->err = err;
	pthread_mutex_unlock(&du->mutex);
	/* relaxed: only makes workers end sooner. */
	atomic_store_explicit(&du->stop, true, memory_order_relaxed);
}

static bool follows(const struct spg__du *du)
{
	return du->opts.symlinks == SPG_DU_FOLLOW;
}

static struct spg__du_anchor *anchor_new(int fd, struct spg__du_anchor *parent, const char *path, size_t len)
{
	struct spg__du_anchor *anchor = spg__alloc(sizeof(*anchor) + len + 1);

	if (anchor == NULL)
		return NULL;
	atomic_init(&anchor->refs, 1);
	anchor->fd = fd;
	anchor->parent = parent;
	if (parent != NULL) /* relaxed: the parent is held by our caller */
		atomic_fetch_add_explicit(&parent->refs, 1, memory_order_relaxed);
	memcpy(anchor->path, path, len);
	anchor->path[len] = '\0';
	return anchor;
}

static void anchor_drop(struct spg__du_anchor *anchor)
{
	/* acq_rel [DU-a]: the last one sees what the others did with it. */
	while (anchor != NULL && atomic_fetch_sub_explicit(&anchor->refs, 1, memory_order_acq_rel) == 1) {
		struct spg__du_anchor *parent = anchor->parent;

		if (anchor->fd >= 0)
			(void)close(anchor->fd);
		spg__free(anchor);
		anchor = parent;
	}
}

/* DU2. The way to the directory, a slash if need be, the name. */
static struct spg__du_dir *dir_new(struct spg__du_anchor *anchor, const char *way, size_t way_len, const char *name)
{
	bool slash = name[0] != '\0' && way_len > 0 && way[way_len - 1] != '/';
	size_t name_len = strlen(name), len = way_len + slash + name_len;
	struct spg__du_dir *dir = spg__alloc(sizeof(*dir) + len + 1);

	if (dir == NULL)
		return NULL;
	/* relaxed: held by our caller. */
	atomic_fetch_add_explicit(&anchor->refs, 1, memory_order_relaxed);
	dir->next = NULL;
	dir->anchor = anchor;
	dir->way_len = len;
	memcpy(dir->way, way, way_len);
	if (slash)
		dir->way[way_len] = '/';
	memcpy(dir->way + way_len + slash, name, name_len + 1);
	return dir;
}

void spg__du_dir_free(struct spg__du_dir *dir)
{
	anchor_drop(dir->anchor);
	spg__free(dir);
}

/* The whole way of a skipped entry. name NULL: the directory's own. */
static struct spg__du_skip *skip_new(const struct spg__du_dir *dir, const char *name, int err)
{
	size_t len = dir->way_len + (name == NULL ? 0 : strlen(name) + 1);
	struct spg__du_skip *skip;
	size_t end;

	for (const struct spg__du_anchor *a = dir->anchor; a != NULL; a = a->parent)
		len += strlen(a->path) + 1;
	skip = spg__alloc(sizeof(*skip) + len + 1);
	if (skip == NULL)
		return NULL;
	skip->err = err;
	/* From its end to its beginning; an empty path is the root's anchor. */
	end = len;
	skip->path[end] = '\0';
	if (name != NULL) {
		end -= strlen(name);
		memcpy(skip->path + end, name, strlen(name));
		if (dir->way[dir->way_len - 1] != '/')
			skip->path[--end] = '/';
	}
	end -= dir->way_len;
	memcpy(skip->path + end, dir->way, dir->way_len);
	for (const struct spg__du_anchor *a = dir->anchor; a->path[0] != '\0'; a = a->parent) {
		skip->path[--end] = '/';
		end -= strlen(a->path);
		memcpy(skip->path + end, a->path, strlen(a->path));
	}
	memmove(skip->path, skip->path + end, len - end + 1);
	return skip;
}

/* By the errors policy: 0 to go on, or err. */
static int skip_error(struct spg__du_worker *w, const char *name, int err)
{
	struct spg__du *du = w->du;
	struct spg__du_skip *skip;

	if (du->opts.errors == SPG_DU_FAIL_FAST || err == -ENOMEM)
		return err;
	w->part.skipped_errors++;
	if (du->opts.skipped == NULL)
		return 0;
	skip = skip_new(w->dir, name, err);
	if (skip == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&du->mutex);
	skip->next = du->skips;
	du->skips = skip;
	pthread_mutex_unlock(&du->mutex);
	return 0;
}

/* 1: the first time; 0: seen before; -ENOMEM. */
static int see(struct spg__du *du, const struct statx *stx)
{
	bool dir = S_ISDIR(stx->stx_mode);
	int res;

	/* Directories have one name: only symlinks lead to one twice, and then round in circles. */
	if (!follows(du) && (dir || stx->stx_nlink < 2 || !du->opts.hardlink_dedupe))
		return 1;
	if (!dir && !du->opts.hardlink_dedupe)
		return 1;
	pthread_mutex_lock(&du->mutex);
	res = spg__idset_add(&du->seen, spg__statx_id(stx));
	pthread_mutex_unlock(&du->mutex);
	return res;
}

/* 1: counted; 0: skipped; -ENOMEM. */
static int count(struct spg__du *du, spg_du_result *part, const struct statx *stx)
{
	int res;

	if (du->opts.one_file_system && spg__statx_id(stx).dev != du->dev) {
		part->skipped_cross_device++;
		return 0;
	}
	res = see(du, stx);
	if (res < 0)
		return res;
	if (res == 0) {
		part->skipped_links++;
		return 0;
	}
	part->total_bytes += du->opts.size == SPG_DU_APPARENT ? stx->stx_size : stx->stx_blocks * 512;
	part->total_entries++;
	part->directories += S_ISDIR(stx->stx_mode);
	part->files += S_ISREG(stx->stx_mode);
	part->symlinks += S_ISLNK(stx->stx_mode);
	part->others += !S_ISDIR(stx->stx_mode) && !S_ISREG(stx->stx_mode) && !S_ISLNK(stx->stx_mode);
	return 1;
}

static int look(const struct spg__du *du, int dirfd, const char *name, struct statx *stx)
{
	int flags = AT_NO_AUTOMOUNT | (follows(du) ? 0 : AT_SYMLINK_NOFOLLOW);

	return statx(dirfd, name, flags, DU_MASK, stx) < 0 ? -errno : 0;
}

/* DU2. The new directory's anchor and way. */
static int found(struct spg__du_worker *w, const char *name)
{
	struct spg__du_dir *parent = w->dir, *dir;

	if (parent->way_len + strlen(name) < DU_WAY_MAX) {
		dir = dir_new(parent->anchor, parent->way, parent->way_len, name);
	} else {
		if (w->anchor == NULL)
			w->anchor = anchor_new(w->fd, parent->anchor, parent->way, parent->way_len);
		if (w->anchor == NULL)
			return -ENOMEM;
		dir = dir_new(w->anchor, "", 0, name);
	}
	if (dir == NULL)
		return -ENOMEM;
	dir->next = w->found;
	w->found = dir;
	w->found_count++;
	return 0;
}

static int entry(struct spg__du_worker *w, const char *name)
{
	struct statx stx;
	int res = look(w->du, w->fd, name, &stx);

	if (res < 0)
		return skip_error(w, name, res);
	res = count(w->du, &w->part, &stx);
	return res == 1 && S_ISDIR(stx.stx_mode) ? found(w, name) : res < 0 ? res : 0;
}

static void add(spg_du_result *sum, const spg_du_result *part)
{
	sum->total_bytes += part->total_bytes;
	sum->total_entries += part->total_entries;
	sum->files += part->files;
	sum->directories += part->directories;
	sum->symlinks += part->symlinks;
	sum->others += part->others;
	sum->skipped_errors += part->skipped_errors;
	sum->skipped_cross_device += part->skipped_cross_device;
	sum->skipped_links += part->skipped_links;
}

/* With the mutex held: what was found and counted is everybody's. */
static void publish(struct spg__du_worker *w)
{
	struct spg__du *du = w->du;

	while (w->found != NULL) {
		struct spg__du_dir *dir = w->found;

		w->found = dir->next;
		dir->next = du->stack;
		du->stack = dir;
	}
	du->stack_count += w->found_count;
	w->found_count = 0;
	add(&du->total, &w->part);
	w->part = (spg_du_result){ 0 };
}

/* The directory has been read, or is given up. */
static void finish(struct spg__du_worker *w)
{
	if (w->anchor != NULL)
		anchor_drop(w->anchor);
	else if (w->fd >= 0)
		(void)close(w->fd);
	w->anchor = NULL;
	w->fd = -1;
	spg__du_dir_free(w->dir);
	w->dir = NULL;
}

/* DU1. The next directory. false: there is none. */
static bool take(struct spg__du_worker *w)
{
	struct spg__du *du = w->du;

	pthread_mutex_lock(&du->mutex);
	w->dir = du->stack;
	if (w->dir != NULL) {
		du->stack = w->dir->next;
		du->stack_count--;
	} else {
		du->workers--;
	}
	pthread_mutex_unlock(&du->mutex);
	w->batch.end = false;
	w->batch.pos = w->batch.len = 0;
	return w->dir != NULL;
}

static int read_entries(struct spg__du_worker *w)
{
	const struct dirent64 *e;
	int fill_err, err = 0;

	if (w->fd < 0) {
		w->fd = spg__dir_open_fd(w->dir->anchor->fd, w->dir->way, follows(w->du));
		if (w->fd < 0) {
			w->batch.end = true;
			return skip_error(w, NULL, w->fd);
		}
	}
	fill_err = spg__dir_fill(w->fd, &w->batch);
	while (err == 0 && (e = spg__dir_entry(&w->batch)) != NULL)
		err = entry(w, e->d_name);
	if (fill_err < 0 && err == 0) {
		w->batch.end = true;
		err = skip_error(w, NULL, fill_err);
	}
	return err;
}

int spg__du_step(void *worker)
{
	struct spg__du_worker *w = worker;
	struct spg__du *du = w->du;
	bool help;
	int err;

	/* relaxed: see spg__du_fail. */
	if (atomic_load_explicit(&du->stop, memory_order_relaxed))
		return -ECANCELED; /* du->err says why */
	if (w->dir == NULL && !take(w))
		return SPG__DU_DONE;
	err = read_entries(w);
	if (err == 0 && w->batch.end)
		finish(w);
	pthread_mutex_lock(&du->mutex);
	publish(w);
	help = spg__du_wants_help(du);
	pthread_mutex_unlock(&du->mutex);
	if (err < 0)
		return err;
	if (help)
		return SPG__DU_HELP;
	return w->pause_ns != SPG__NEVER && spg__clock_ns() >= w->pause_ns ? SPG__DU_PAUSE : SPG__FS_MORE;
}

void spg__du_worker_fini(struct spg__du_worker *w)
{
	if (w->dir != NULL)
		finish(w);
	pthread_mutex_lock(&w->du->mutex);
	publish(w);
	pthread_mutex_unlock(&w->du->mutex);
}

int spg__du_root(struct spg__du *du, const char *root)
{
	struct spg__du_anchor *anchor;
	struct statx stx;
	int err = look(du, AT_FDCWD, root, &stx);

	if (err < 0)
		return err;
	du->dev = spg__statx_id(&stx).dev;
	err = count(du, &du->total, &stx);
	if (err < 0 || !S_ISDIR(stx.stx_mode))
		return err < 0 ? err : 0;
	anchor = anchor_new(AT_FDCWD, NULL, "", 0);
	if (anchor == NULL)
		return -ENOMEM;
	du->stack = dir_new(anchor, root, strlen(root), "");
	anchor_drop(anchor);
	if (du->stack == NULL)
		return -ENOMEM;
	du->stack_count = 1;
	return 0;
}
