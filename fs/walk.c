/*
 * spg_walk: depth first, a directory at a time.
 *
 * WK1  `path` is the whole path of what is being looked at. A level's directory is its first
 *      path_len bytes.
 * WK2  The kernel gets path from `base` on, relative to the anchor: the nearest level above
 *      that keeps its descriptor, or none. A level whose way from there is longer than
 *      WAY_MAX becomes the next anchor.
 * WK3  A level's names are read at once, by one call on the pool; fn runs between two calls,
 *      and the walk holds no lock and no descriptor but the anchors'.
 */
#include "coro/alloc.h"
#include "fs/dir.h"
#include "fs/pool.h"

#include <fcntl.h>
#include <spg/ctx.h>
#include <spg/fs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAY_MAX 2048
/* Entries looked at by one call on the pool. */
#define WINDOW 32

struct item {
	uint64_t ino;
	size_t name; /* in the level's names */
	unsigned char type;
};

/* What was found out about a few items of a level. */
struct window {
	size_t begin, end;
	int err[WINDOW];
	struct statx stx[WINDOW];
};

struct level {
	struct spg__file_id id;
	size_t path_len;
	/* WK2: this level's as an anchor, or -1. */
	int anchor_fd;
	struct item *items;
	size_t items_count, items_cap, next;
	char *names;
	size_t names_len, names_cap;
	struct window *window; /* made when first needed */
	/* The directory's own entry, for its second and later showings. */
	spg_walk_entry entry;
	struct statx stx;
};

struct walk {
	spg_walk_opts opts;
	int (*fn)(const spg_walk_entry *, void *);
	void *arg;
	char *path;
	size_t path_len, path_cap;
	struct level **levels;
	size_t depth, levels_cap;
	/* While a directory is read. */
	struct level *loading;
	int load_fd;
	struct statx root_stx;
	struct spg__dir_batch batch;
	char buf[SPG__DIR_BATCH_BYTES] __attribute__((aligned(8)));
};

/* Doubles an array until it has room for `need` elements. 0, or -ENOMEM. */
static int reserve(void **array, size_t *cap, size_t used, size_t need, size_t size)
{
	size_t bigger = *cap;
	void *copy;

	if (need <= *cap)
		return 0;
	while (bigger < need)
		bigger = bigger * 2 + 32;
	copy = spg__alloc(bigger * size);
	if (copy == NULL)
		return -ENOMEM;
	if (used > 0)
		memcpy(copy, *array, used * size);
	spg__free(*array);
	*array = copy;
	*cap = bigger;
	return 0;
}

/* WK1: path becomes its first len bytes and the name. */
static int path_set(struct walk *w, size_t len, const char *name)
{
	size_t name_len = strlen(name);
	bool slash = len > 0 && w->path[len - 1] != '/';
	void *path = w->path;
	int err = reserve(&path, &w->path_cap, w->path_len, len + slash + name_len + 1, 1);

	w->path = path;
	if (err < 0)
		return err;
	if (slash)
		w->path[len] = '/';
	memcpy(w->path + len + slash, name, name_len + 1);
	w->path_len = len + slash + name_len;
	return 0;
}

/* WK1: back to a level's own path. */
static void path_cut(struct walk *w, const struct level *level)
{
	w->path_len = level->path_len;
	w->path[w->path_len] = '\0';
}

/* WK2: where the kernel begins, and what it gets. */
static int anchor(const struct walk *w, const char **way)
{
	for (size_t i = w->depth; i-- > 0;) {
		const struct level *level = w->levels[i];

		if (level->anchor_fd < 0)
			continue;
		/* The level's own path is handled by who is above it. */
		*way = w->path + level->path_len + strspn(w->path + level->path_len, "/");
		return level->anchor_fd;
	}
	*way = w->path;
	return AT_FDCWD;
}

static int look(const struct walk *w, struct statx *stx)
{
	const char *way;
	int dirfd = anchor(w, &way);
	int res = -1;

	if (w->opts.follow)
		res = statx(dirfd, way, AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, stx);
	if (res == 0)
		return 0;
	/* A symlink that leads nowhere is shown as such, with why. */
	res = w->opts.follow ? -errno : 0;
	if (statx(dirfd, way, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, stx) < 0)
		return -errno;
	return res;
}

static int root_step(void *arg)
{
	struct walk *w = arg;

	return look(w, &w->root_stx);
}

static int load_entry(struct level *level, const struct dirent64 *entry)
{
	size_t bytes = strlen(entry->d_name) + 1;
	void *items = level->items, *names = level->names;
	int err = reserve(&items, &level->items_cap, level->items_count, level->items_count + 1,
			  sizeof(*level->items));

	level->items = items;
	if (err == 0)
		err = reserve(&names, &level->names_cap, level->names_len, level->names_len + bytes, 1);
	level->names = names;
	if (err < 0)
		return err;
	level->items[level->items_count++] = (struct item){
		.ino = entry->d_ino,
		.name = level->names_len,
		.type = entry->d_type,
	};
	memcpy(level->names + level->names_len, entry->d_name, bytes);
	level->names_len += bytes;
	return 0;
}

static int load_open(struct walk *w)
{
	const char *way;
	int dirfd = anchor(w, &way);

	w->load_fd = spg__dir_open_fd(dirfd, way, w->opts.follow);
	if (w->load_fd < 0)
		return w->load_fd;
	return spg__file_id_of(w->load_fd, &w->loading->id);
}

/* What load_step returns: the directory is not to be read. */
#define LOAD_UNWANTED 2

/* 0: this directory is to be read; LOAD_UNWANTED; or -ELOOP. */
static int load_wanted(const struct walk *w)
{
	struct spg__file_id id = w->loading->id;

	if (w->depth > 0 && w->opts.one_file_system && id.dev != w->levels[0]->id.dev)
		return LOAD_UNWANTED;
	for (size_t i = 0; w->opts.follow && i < w->depth; i++)
		if (spg__file_id_equal(w->levels[i]->id, id))
			return -ELOOP;
	return 0;
}

/* Opens and reads a directory, a batch a step. */
static int load_step(void *arg)
{
	struct walk *w = arg;
	const struct dirent64 *entry;
	int err;

	if (w->load_fd < 0) {
		err = load_open(w);
		if (err == 0)
			err = load_wanted(w);
		if (err != 0)
			return err;
	}
	err = spg__dir_fill(w->load_fd, &w->batch);
	while (err == 0 && (entry = spg__dir_entry(&w->batch)) != NULL)
		err = load_entry(w->loading, entry);
	return err < 0 ? err : w->batch.end ? 0 : SPG__FS_MORE;
}

static int compare(const void *a, const void *b, void *names)
{
	const struct item *x = a, *y = b;

	return strcmp((char *)names + x->name, (char *)names + y->name);
}

static void level_free(struct level *level)
{
	if (level->anchor_fd >= 0)
		(void)close(level->anchor_fd);
	spg__free(level->items);
	spg__free(level->names);
	spg__free(level->window);
	spg__free(level);
}

/* WK2. */
static void keep_anchor(struct walk *w, struct level *level)
{
	const char *way;

	(void)anchor(w, &way);
	if (w->load_fd >= 0 && w->path_len - (size_t)(way - w->path) > WAY_MAX) {
		level->anchor_fd = w->load_fd;
		w->load_fd = -1;
	}
}

/* Reads the directory at `path` into a new last level. 0, LOAD_UNWANTED, or an error. */
static int level_push(struct walk *w, const spg_walk_entry *entry)
{
	void *levels = w->levels;
	int err = reserve(&levels, &w->levels_cap, w->depth, w->depth + 1, sizeof(struct level *));

	w->levels = levels;
	w->loading = err == 0 ? spg__calloc(1, sizeof(*w->loading)) : NULL;
	if (w->loading == NULL)
		return -ENOMEM;
	w->loading->anchor_fd = w->load_fd = -1;
	w->loading->path_len = w->path_len;
	w->loading->entry = *entry;
	if (entry->stat != NULL) {
		w->loading->stx = *entry->stat;
		w->loading->entry.stat = &w->loading->stx;
	}
	w->batch = (struct spg__dir_batch){ .buf = w->buf };
	err = spg__fs_run(load_step, w);
	keep_anchor(w, w->loading);
	if (w->load_fd >= 0)
		(void)close(w->load_fd);
	if (w->opts.sorted && w->loading->items_count > 0)
		qsort_r(w->loading->items, w->loading->items_count, sizeof(struct item), compare,
			w->loading->names);
	w->levels[w->depth++] = w->loading;
	return err;
}

static int show(struct walk *w, spg_walk_entry *entry)
{
	entry->path = w->path;
	entry->path_len = w->path_len;
	entry->name = w->path;
	for (size_t i = w->path_len; i-- > 1;)
		if (w->path[i - 1] == '/' && w->path[i] != '/') {
			entry->name = w->path + i;
			break;
		}
	return w->fn(entry, w->arg);
}

static void level_pop(struct walk *w)
{
	level_free(w->levels[--w->depth]);
}

/* A directory was shown: into it. What ends the walk, or 0. */
static int enter(struct walk *w, const spg_walk_entry *entry)
{
	struct level *level;
	int err, ctx_err;

	if (w->opts.depth_max > 0 && entry->depth >= w->opts.depth_max)
		return 0;
	err = level_push(w, entry);
	if (err == LOAD_UNWANTED)
		level_pop(w);
	if (err >= 0)
		return 0;
	ctx_err = spg_ctx_err(NULL);
	if (err == -ENOMEM || ctx_err < 0)
		return err == -ENOMEM ? err : ctx_err;
	/* What was read before the error is shown after it. */
	level = w->levels[w->depth - 1];
	level->entry.err = err;
	err = show(w, &level->entry);
	level->entry.err = 0;
	if (err == SPG_WALK_SKIP)
		level->next = level->items_count;
	return err == SPG_WALK_SKIP ? 0 : err;
}

static bool needs_look(const struct walk *w, const struct item *item)
{
	return w->opts.stat || item->type == DT_UNKNOWN || (w->opts.follow && item->type == DT_LNK);
}

/* Looks at the next items of the last level. */
static int window_step(void *arg)
{
	struct walk *w = arg;
	struct level *level = w->levels[w->depth - 1];
	struct window *window = level->window;
	size_t left = level->items_count - level->next;

	window->begin = level->next;
	window->end = level->next + (left < WINDOW ? left : WINDOW);
	for (size_t i = window->begin; i < window->end; i++) {
		const struct item *item = &level->items[i];
		int err = needs_look(w, item) ? path_set(w, level->path_len, level->names + item->name) : 0;

		if (err < 0)
			return err;
		if (needs_look(w, item))
			window->err[i - window->begin] = look(w, &window->stx[i - window->begin]);
	}
	return 0;
}

static int window_fill(struct walk *w, struct level *level)
{
	if (level->window != NULL && level->next >= level->window->begin && level->next < level->window->end)
		return 0;
	if (level->window == NULL)
		level->window = spg__calloc(1, sizeof(*level->window));
	return level->window == NULL ? -ENOMEM : spg__fs_run(window_step, w);
}

static void look_to_entry(const struct walk *w, spg_walk_entry *entry, const struct statx *stx, int err)
{
	entry->err = err;
	if (stx->stx_mask == 0)
		return; /* nothing was found out */
	entry->type = (spg_file_type)IFTODT(stx->stx_mode);
	entry->ino = stx->stx_ino;
	entry->stat = w->opts.stat ? stx : NULL;
}

/* Shows the next item of the last level, and enters it. */
static int item_next(struct walk *w, struct level *level)
{
	const struct item *item = &level->items[level->next];
	spg_walk_entry entry = { .depth = level->entry.depth + 1, .type = (spg_file_type)item->type,
				 .ino = item->ino };
	int res = 0;

	if (needs_look(w, item)) {
		res = window_fill(w, level);
		if (res < 0)
			return res;
		look_to_entry(w, &entry, &level->window->stx[level->next - level->window->begin],
			      level->window->err[level->next - level->window->begin]);
	}
	level->next++;
	res = path_set(w, level->path_len, level->names + item->name);
	if (res == 0)
		res = show(w, &entry);
	if (res == 0 && entry.type == SPG_FILE_DIR && entry.err == 0)
		return enter(w, &entry);
	return res == SPG_WALK_SKIP ? 0 : res;
}

/* All below the last level has been shown. */
static int leave(struct walk *w, struct level *level)
{
	int res = 0;

	path_cut(w, level);
	if (w->opts.post_order) {
		level->entry.leaving = true;
		res = show(w, &level->entry);
	}
	level_pop(w);
	return res == SPG_WALK_SKIP ? 0 : res;
}

static int walk_root(struct walk *w, const char *root)
{
	spg_walk_entry entry = { 0 };
	int err = path_set(w, 0, root);
	int res;

	if (err == 0)
		err = spg__fs_run(root_step, w);
	if (err < 0 && w->root_stx.stx_mask == 0)
		return err;
	look_to_entry(w, &entry, &w->root_stx, err);
	res = show(w, &entry);
	if (res == 0 && entry.type == SPG_FILE_DIR)
		return enter(w, &entry);
	return res == SPG_WALK_SKIP ? 0 : res;
}

static int walk_all(struct walk *w, const char *root)
{
	int res = walk_root(w, root);

	while (res == 0 && w->depth > 0) {
		struct level *level = w->levels[w->depth - 1];

		res = spg_ctx_err(NULL);
		if (res == 0)
			res = level->next < level->items_count ? item_next(w, level) : leave(w, level);
	}
	return res;
}

int spg_walk(const char *root, const spg_walk_opts *o, int (*fn)(const spg_walk_entry *entry, void *arg), void *arg)
{
	struct walk *w;
	int res;

	if (root == NULL || root[0] == '\0' || fn == NULL)
		return -EINVAL;
	w = spg__alloc(sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	memset(w, 0, offsetof(struct walk, buf));
	w->opts = o != NULL ? *o : (spg_walk_opts)SPG_WALK_OPTS_INIT;
	w->fn = fn;
	w->arg = arg;
	res = walk_all(w, root);
	while (w->depth > 0)
		level_pop(w);
	spg__free(w->levels);
	spg__free(w->path);
	spg__free(w);
	return res;
}
