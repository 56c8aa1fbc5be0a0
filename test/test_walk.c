/*
 * Walks over trees.
 */
#include "test/tree.h"

/* What a walk has shown, a line each. */
struct listing {
	char text[4096];
	size_t len;
	const char *skip, *stop;
	int count;
};

static int list(const spg_walk_entry *e, void *arg)
{
	struct listing *l = arg;
	char type = e->type == SPG_FILE_DIR ? 'd' : e->type == SPG_FILE_SYMLINK ? 'l' : 'f';

	T_EQ(strlen(e->path), e->path_len);
	T_OK(e->name > e->path && strcmp(e->path + e->path_len - strlen(e->name), e->name) == 0);
	l->len += (size_t)snprintf(l->text + l->len, sizeof(l->text) - l->len, "%s%s:%c%u%s%s ",
				   e->leaving ? "/" : "", e->name, e->depth == 0 ? 'r' : type, e->depth,
				   e->err < 0 ? "!" : "", e->err < 0 ? strerrorname_np(-e->err) : "");
	l->count++;
	if (l->stop != NULL && strcmp(l->stop, e->name) == 0)
		return 42;
	return l->skip != NULL && strcmp(l->skip, e->name) == 0 ? SPG_WALK_SKIP : 0;
}

static void check_walk(const struct tree *t, const spg_walk_opts *o, struct listing *l, int res, const char *expected)
{
	char *text;

	l->len = 0;
	l->text[0] = '\0';
	T_ERR(spg_walk(tree_path(t, "R"), o, list, l), res);
	text = l->text;
	T_STR(text, expected);
}

static int walks(struct tree *t)
{
	spg_walk_opts o = SPG_WALK_OPTS_INIT;
	struct listing l = { .len = 0 };

	T_EQ(tree_run("cd %s && mkdir -p R/b/c R/d && touch R/a R/b/x R/b/c/y R/e && ln -s .. R/d/up && ln -s none R/z",
		      t->root), 0);
	o.sorted = true;
	check_walk(t, &o, &l, 0, "R:r0 a:f1 b:d1 c:d2 y:f3 x:f2 d:d1 up:l2 e:f1 z:l1 ");
	o.post_order = true;
	check_walk(t, &o, &l, 0, "R:r0 a:f1 b:d1 c:d2 y:f3 /c:d2 x:f2 /b:d1 d:d1 up:l2 /d:d1 e:f1 z:l1 /R:r0 ");
	o.post_order = false;
	l.skip = "b";
	check_walk(t, &o, &l, 0, "R:r0 a:f1 b:d1 d:d1 up:l2 e:f1 z:l1 ");
	l.skip = NULL;
	l.stop = "y";
	check_walk(t, &o, &l, 42, "R:r0 a:f1 b:d1 c:d2 y:f3 ");
	l.stop = NULL;
	o.depth_max = 1;
	check_walk(t, &o, &l, 0, "R:r0 a:f1 b:d1 d:d1 e:f1 z:l1 ");
	o.depth_max = 0;
	o.follow = true;
	check_walk(t, &o, &l, 0,
		   "R:r0 a:f1 b:d1 c:d2 y:f3 x:f2 d:d1 up:d2 up:d2!ELOOP e:f1 z:l1!ENOENT ");
	T_ERR(spg_walk(tree_path(t, "none"), &o, list, &l), -ENOENT);
	T_ERR(spg_walk("", &o, list, &l), -EINVAL);
	T_ERR(spg_walk(t->root, &o, NULL, &l), -EINVAL);
	T_ERR(spg_walk(NULL, &o, list, &l), -EINVAL);
	T_EQ(spg_walk(tree_path(t, "R"), NULL, list, &l), 0);
	return 0;
}

/* Goal: every option shows exactly what it says, in order. */
START_TEST(walks_show_what_is_there)
{
	with_tree(_i, walks);
}
END_TEST

START_TEST(a_foreign_thread_walks)
{
	with_tree(0, walks);
}
END_TEST

struct cut {
	spg_ctx *ctx;
	int seen;
};

static int cut_at_three(const spg_walk_entry *e, void *arg)
{
	struct cut *cut = arg;

	T_EQ(e->err, 0);
	if (++cut->seen == 3)
		spg_ctx_cancel(cut->ctx);
	return 0;
}

static int walk_canceled(struct tree *t)
{
	struct cut cut = { .ctx = spg_ctx_new(NULL) };
	spg_ctx *before = spg_ctx_enter(cut.ctx);
	int err;

	tree_deep(t, "deep", 5);
	err = spg_walk(t->root, NULL, cut_at_three, &cut);
	spg_ctx_leave(before);
	spg_ctx_unref(cut.ctx);
	T_ERR(err, -ECANCELED);
	T_EQ(cut.seen, 3);
	return 0;
}

START_TEST(a_cancel_ends_a_walk)
{
	with_tree(_i, walk_canceled);
}
END_TEST

static int sum_sizes(const spg_walk_entry *e, void *arg)
{
	uint64_t *sums = arg;

	T_OK(e->err == 0 && e->stat != NULL);
	T_EQ((e->stat->stx_mode & S_IFMT) >> 12, e->type);
	T_EQ(e->stat->stx_ino, e->ino);
	sums[0]++;
	sums[1] += S_ISREG(e->stat->stx_mode) ? e->stat->stx_size : 0;
	spg_yield(); /* fn may switch */
	return 0;
}

static int walk_far(struct tree *t)
{
	spg_walk_opts o = SPG_WALK_OPTS_INIT;
	uint64_t sums[2] = { 0 };

	tree_dir(t, "big");
	for (int i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "big/%d", i);
		tree_file(t, name, 3);
	}
	tree_deep(t, "deep", 150);
	o.stat = true;
	limit_fds(12);
	T_EQ(spg_walk(t->root, &o, sum_sizes, sums), 0);
	T_EQ(sums[0], 1 + 201 + 1 + 150 * 3);
	T_EQ(sums[1], 200 * 3 + 150);
	return 0;
}

/* Goal: wide and deep trees, with attributes; few descriptors are open at any time. */
START_TEST(walks_go_deep)
{
	with_tree(_i, walk_far);
}
END_TEST

T_MAIN(T_SHARDS(walks_show_what_is_there), T_TEST(a_foreign_thread_walks), T_SHARDS(a_cancel_ends_a_walk),
       T_SHARDS(walks_go_deep))
