/*
 * Whole files, paths, directories.
 */
#include "test/tree.h"

#include "coro/fault.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>

static void check_roundtrip(struct tree *t, size_t n)
{
	const char *path = tree_path(t, "data");
	char *bytes = malloc(n + 1);
	void *data = NULL;
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)(i * 7 + n);
	T_EQ(spg_write_file(path, n > 0 ? bytes : NULL, n, 0640), 0);
	T_EQ(spg_read_file(path, &data, &len), 0);
	T_EQ(len, n);
	T_OK(data != NULL && memcmp(data, bytes, n) == 0);
	T_EQ(((char *)data)[n], 0);
	free(data);
	free(bytes);
}

static int whole_files(struct tree *t)
{
	static const size_t sizes[] = { 0, 1, 4096, 16383, 16384, 16385, 32768, 1000000 };
	struct stat st;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		check_roundtrip(t, sizes[i]);
	check_roundtrip(t, 5); /* shorter than before: truncated */
	T_EQ(fstatat(t->fd, "data", &st, 0), 0);
	T_EQ(st.st_mode & 07777, 0640);
	return 0;
}

/* Goal: any length goes out and comes back, at the edges of the buffer too. */
START_TEST(files_are_written_and_read_whole)
{
	with_tree(_i, whole_files);
}
END_TEST

START_TEST(a_foreign_thread_writes_and_reads_files)
{
	with_tree(0, whole_files);
}
END_TEST

static int odd_files(struct tree *t)
{
	void *data;
	size_t n = 0;

	T_EQ(spg_read_file("/proc/self/maps", &data, &n), 0);
	T_OK(n > 1000 && strlen(data) == n);
	free(data);
	T_ERR(spg_read_file(tree_path(t, "none"), &data, &n), -ENOENT);
	T_ERR(spg_read_file(t->root, &data, &n), -EISDIR);
	T_ERR(spg_read_file(NULL, &data, &n), -EINVAL);
	T_ERR(spg_read_file(t->root, NULL, &n), -EINVAL);
	T_ERR(spg_write_file(tree_path(t, "none/file"), "x", 1, 0644), -ENOENT);
	T_ERR(spg_write_file(tree_path(t, "file"), NULL, 1, 0644), -EINVAL);
	T_ERR(spg_write_file("/dev/full", "x", 1, 0644), -ENOSPC);
	T_OK(!tree_has(t, "file"));
	return 0;
}

/* Goal: files without a length, and every error of the headers. */
START_TEST(odd_files_are_read_and_errors_passed_on)
{
	with_tree(_i, odd_files);
}
END_TEST

static int no_memory(struct tree *t)
{
	void *data;
	size_t n;

	tree_file(t, "file", 100000);
	tree_dir(t, "dir");
	for (int64_t nth = 1; nth <= 2; nth++) {
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		T_ERR(spg_read_file(tree_path(t, "file"), &data, &n), -ENOMEM);
		spg__fault_disarm(SPG__FAULT_ALLOC);
	}
	tree_file(t, "dir/file", 1);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 3, -ENOMEM);
	T_ERR(spg_remove_all(tree_path(t, "dir")), -ENOMEM);
	T_ERR(spg_mkdir_all(tree_path(t, "x/y"), 0755), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_OK(tree_has(t, "dir/file"));
	return 0;
}

START_TEST(fault_no_memory_is_an_error)
{
	with_tree(_i, no_memory);
}
END_TEST

static void check_mkdir(struct tree *t, const char *name, const char *made)
{
	T_EQ(spg_mkdir_all(tree_path(t, name), 0750), 0);
	T_OK(tree_has(t, made));
}

static int mkdirs(struct tree *t)
{
	struct stat st;
	char *path = malloc(PATH_MAX + 10);

	umask(022);
	check_mkdir(t, "a", "a");
	check_mkdir(t, "a/b/c/d", "a/b/c/d");
	check_mkdir(t, "a/b/c/d", "a/b/c/d");
	check_mkdir(t, "e//f///", "e/f");
	check_mkdir(t, "g/./h/../i", "g/i");
	T_EQ(fstatat(t->fd, "a/b", &st, 0), 0);
	T_EQ(st.st_mode & 07777, 0750);
	tree_file(t, "file", 1);
	tree_link(t, "a", "link");
	tree_link(t, "none", "dangling");
	check_mkdir(t, "link/z", "a/z");
	T_ERR(spg_mkdir_all(tree_path(t, "file"), 0755), -ENOTDIR);
	T_ERR(spg_mkdir_all(tree_path(t, "file/x/y"), 0755), -ENOTDIR);
	T_ERR(spg_mkdir_all(tree_path(t, "dangling"), 0755), -EEXIST);
	T_ERR(spg_mkdir_all(tree_path(t, "dangling/x"), 0755), -EEXIST);
	T_ERR(spg_mkdir_all("", 0755), -ENOENT);
	T_ERR(spg_mkdir_all(NULL, 0755), -EINVAL);
	T_EQ(spg_mkdir_all("/", 0755), 0);
	memset(path, 'x', PATH_MAX + 8);
	path[PATH_MAX + 8] = '\0';
	T_ERR(spg_mkdir_all(path, 0755), -ENAMETOOLONG);
	free(path);
	T_EQ(fchdir(t->fd), 0);
	T_EQ(spg_mkdir_all("rel/x/y", 0755), 0);
	T_OK(tree_has(t, "rel/x/y"));
	T_EQ(chdir("/"), 0);
	return 0;
}

START_TEST(mkdir_all_makes_what_is_missing)
{
	with_tree(_i, mkdirs);
}
END_TEST

static int path_calls(struct tree *t)
{
	struct statx stx;
	char *real = NULL;

	tree_file(t, "file", 123);
	tree_link(t, "file", "link");
	tree_link(t, "loop", "loop");
	T_EQ(spg_stat(tree_path(t, "link"), &stx), 0);
	T_OK(S_ISREG(stx.stx_mode) && stx.stx_size == 123);
	T_EQ(spg_lstat(tree_path(t, "link"), &stx), 0);
	T_OK(S_ISLNK(stx.stx_mode));
	T_ERR(spg_stat(tree_path(t, "none"), &stx), -ENOENT);
	T_EQ(spg_chmod(tree_path(t, "link"), 0604), 0);
	T_EQ(spg_stat(tree_path(t, "file"), &stx), 0);
	T_EQ(stx.stx_mode & 07777, 0604);
	T_ERR(spg_chmod(tree_path(t, "none"), 0600), -ENOENT);
	T_ERR(spg_chmod(NULL, 0600), -EINVAL);
	T_EQ(spg_realpath(tree_path(t, "./link"), &real), 0);
	T_STR(real, tree_path(t, "file"));
	free(real);
	T_ERR(spg_realpath(tree_path(t, "none"), &real), -ENOENT);
	T_OK(real == NULL);
	T_ERR(spg_realpath(tree_path(t, "loop"), &real), -ELOOP);
	T_ERR(spg_realpath(NULL, &real), -EINVAL);
	return 0;
}

START_TEST(paths_are_resolved_and_changed)
{
	with_tree(_i, path_calls);
}
END_TEST

START_TEST(a_foreign_thread_uses_paths)
{
	with_tree(0, path_calls);
	with_tree(0, mkdirs);
}
END_TEST

static int remove_trees(struct tree *t)
{
	tree_dir(t, "outside");
	tree_file(t, "outside/kept", 1);
	tree_file(t, "file", 1);
	tree_link(t, "outside", "link");
	T_EQ(spg_remove_all(tree_path(t, "file")), 0);
	T_EQ(spg_remove_all(tree_path(t, "link/")), 0);
	T_OK(!tree_has(t, "file") && !tree_has(t, "link") && tree_has(t, "outside/kept"));

	T_EQ(tree_run("cd %s && mkdir -p d/a/b d/c d/.h && touch d/1 d/a/2 d/a/b/3 d/.h/.4 && ln -s ../outside d/l &&"
		      "mkfifo d/fifo && ln -s /nonexistent d/c/broken", t->root), 0);
	for (int i = 0; i < 800; i++) { /* three batches */
		char name[256];

		snprintf(name, sizeof(name), "d/c/%0200d", i);
		tree_file(t, name, 0);
	}
	T_EQ(spg_remove_all(tree_path(t, "d//")), 0);
	T_OK(!tree_has(t, "d") && tree_has(t, "outside/kept"));

	tree_deep(t, "deep", 150); /* 6 KiB of path, and more levels than descriptors kept */
	limit_fds(40);
	T_EQ(spg_remove_all(tree_path(t, "deep")), 0);
	T_OK(!tree_has(t, "deep"));

	T_EQ(spg_remove_all(tree_path(t, "none")), 0);
	T_EQ(spg_remove_all(tree_path(t, "none/none")), 0);
	T_EQ(fchdir(t->fd), 0);
	T_EQ(spg_remove_all("outside"), 0);
	T_OK(!tree_has(t, "outside"));
	T_EQ(chdir("/"), 0);
	return 0;
}

/* Goal: everything below goes, nothing beside, whatever the depth. */
START_TEST(remove_all_removes_trees)
{
	with_tree(_i, remove_trees);
}
END_TEST

START_TEST(a_foreign_thread_removes_trees)
{
	with_tree(0, remove_trees);
}
END_TEST

static int remove_cut(struct tree *t)
{
	int err;

	tree_deep(t, "deep", 100);
	{
		SPG_TIMEOUT_SCOPE(200 * SPG_US);

		err = spg_remove_all(tree_path(t, "deep"));
	}
	/* Done in a slice, or ended between two. */
	T_OK(err == -ETIMEDOUT || (err == 0 && !tree_has(t, "deep")));
	T_EQ(spg_remove_all(tree_path(t, "deep")), 0);
	T_OK(!tree_has(t, "deep"));
	return 0;
}

/* Goal: what a deadline cut off can be gone on with. */
START_TEST(a_deadline_ends_remove_all)
{
	with_tree(_i, remove_cut);
}
END_TEST

static int remove_refused(struct tree *t)
{
	tree_dir(t, "d");
	tree_file(t, "file", 1);
	T_ERR(spg_remove_all(NULL), -EINVAL);
	T_ERR(spg_remove_all(""), -EINVAL);
	T_ERR(spg_remove_all(tree_path(t, "d/.")), -EINVAL);
	T_ERR(spg_remove_all(tree_path(t, "d/..")), -EINVAL);
	T_ERR(spg_remove_all("."), -EINVAL);
	T_ERR(spg_remove_all("///"), -EBUSY);
	T_ERR(spg_remove_all(tree_path(t, "file/x")), -ENOTDIR);
	T_OK(tree_has(t, "d") && tree_has(t, "file"));
	return 0;
}

START_TEST(remove_all_refuses_what_is_dangerous)
{
	with_tree(_i, remove_refused);
}
END_TEST

/* Exchanges a directory inside the tree and a symlink to one outside, again and again. */
struct swapper {
	const struct tree *tree;
	pthread_mutex_t mutex; /* held while the tree is made */
	_Atomic bool stop;
	_Atomic unsigned swaps;
};

static void *swap_main(void *arg)
{
	struct swapper *s = arg;

	while (!atomic_load(&s->stop)) {
		pthread_mutex_lock(&s->mutex);
		if (renameat2(s->tree->fd, "d/x", s->tree->fd, "evil", RENAME_EXCHANGE) == 0)
			atomic_fetch_add(&s->swaps, 1);
		pthread_mutex_unlock(&s->mutex);
		sched_yield();
	}
	return NULL;
}

static void make_raced(struct swapper *s)
{
	const struct tree *t = s->tree;

	pthread_mutex_lock(&s->mutex);
	T_EQ(tree_run("cd %s && rm -rf d evil && mkdir -p d/x/y && ln -s outside evil && touch d/x/y/2", t->root), 0);
	for (int i = 0; i < 50; i++) {
		char name[32];

		snprintf(name, sizeof(name), "d/x/%d", i);
		tree_file(t, name, 0);
	}
	pthread_mutex_unlock(&s->mutex);
}

static int remove_raced(struct tree *t)
{
	struct swapper s = { .tree = t, .mutex = PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread;
	int64_t until_ns = t_now_ns() + 200 * SPG_MS;

	tree_dir(t, "outside");
	tree_file(t, "outside/kept", 1);
	T_EQ(pthread_create(&thread, NULL, swap_main, &s), 0);
	while (t_now_ns() < until_ns || atomic_load(&s.swaps) == 0) {
		make_raced(&s);
		/* It may fail, as what it has read goes elsewhere; it may not go too far. */
		(void)spg_remove_all(tree_path(t, "d"));
		T_OK(tree_has(t, "outside/kept"));
	}
	atomic_store(&s.stop, true);
	T_EQ(pthread_join(thread, NULL), 0);
	T_OK(atomic_load(&s.swaps) > 0);
	T_EQ(tree_run("rm -rf '%s/d'", t->root), 0);
	return 0;
}

/* Goal: a symlink that takes a directory's place is never followed. */
START_TEST(stress_remove_all_against_symlink_races)
{
	with_tree(_i, remove_raced);
}
END_TEST

static int dir_entries(struct tree *t)
{
	static const spg_file_type types[] = { SPG_FILE_DIR, SPG_FILE_REGULAR, SPG_FILE_SYMLINK, SPG_FILE_FIFO };
	bool seen[4] = { false };
	spg_dirent e;
	spg_dir *d;
	struct stat st;

	T_EQ(tree_run("cd %s && mkdir 0 && touch 1 && ln -s x 2 && mkfifo 3", t->root), 0);
	T_EQ(spg_dir_open(t->root, &d), 0);
	for (int i = 0; i < 4; i++) {
		int which;

		T_EQ(spg_dir_next(d, &e), 1);
		which = e.name[0] - '0';
		T_OK(which >= 0 && which < 4 && e.name[1] == '\0' && !seen[which]);
		seen[which] = true;
		T_EQ(e.type, types[which]);
		T_EQ(fstatat(spg_dir_fd(d), e.name, &st, AT_SYMLINK_NOFOLLOW), 0);
		T_EQ(e.ino, st.st_ino);
	}
	T_EQ(spg_dir_next(d, &e), 0);
	T_EQ(spg_dir_next(d, &e), 0);
	T_ERR(spg_dir_next(NULL, &e), -EINVAL);
	T_ERR(spg_dir_next(d, NULL), -EINVAL);
	spg_dir_close(d);
	spg_dir_close(NULL);
	T_ERR(spg_dir_fd(NULL), -EINVAL);
	T_ERR(spg_dir_open(tree_path(t, "1"), &d), -ENOTDIR);
	T_OK(d == NULL);
	T_ERR(spg_dir_open(tree_path(t, "none"), &d), -ENOENT);
	T_ERR(spg_dir_open(NULL, &d), -EINVAL);
	T_EQ(spg_dir_openat(t->fd, "0", &d), 0);
	T_EQ(spg_dir_next(d, &e), 0);
	spg_dir_close(d);
	return 0;
}

START_TEST(directories_hand_out_typed_entries)
{
	with_tree(_i, dir_entries);
}
END_TEST

#define MANY 1000

static int big_dir(struct tree *t)
{
	bool *seen = calloc(MANY, 1);
	spg_dirent e;
	spg_dir *d;
	int n = 0, res;

	for (int i = 0; i < MANY; i++) {
		char name[256];

		snprintf(name, sizeof(name), "%0*d", 4 + i % 240, i);
		tree_file(t, name, 0);
	}
	T_EQ(spg_dir_open(t->root, &d), 0);
	while ((res = spg_dir_next(d, &e)) == 1) {
		int i = atoi(e.name);

		T_OK(i >= 0 && i < MANY && !seen[i]);
		seen[i] = true;
		n++;
	}
	T_EQ(res, 0);
	T_EQ(n, MANY);
	spg_dir_close(d);
	free(seen);
	return 0;
}

/* Goal: over several batches, each entry once. */
START_TEST(big_directories_are_streamed)
{
	with_tree(_i, big_dir);
}
END_TEST

static int canceled(struct tree *t)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before;
	struct statx stx;
	spg_du_result r;
	spg_dir *d;
	void *data;
	char *real;
	size_t n;

	tree_dir(t, "d");
	tree_file(t, "file", 1);
	before = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	T_ERR(spg_read_file(tree_path(t, "file"), &data, &n), -ECANCELED);
	T_ERR(spg_write_file(tree_path(t, "file"), "xy", 2, 0644), -ECANCELED);
	T_ERR(spg_mkdir_all(tree_path(t, "a/b"), 0755), -ECANCELED);
	T_ERR(spg_remove_all(tree_path(t, "file")), -ECANCELED);
	T_ERR(spg_realpath(t->root, &real), -ECANCELED);
	T_ERR(spg_chmod(tree_path(t, "file"), 0), -ECANCELED);
	T_ERR(spg_stat(t->root, &stx), -ECANCELED);
	T_ERR(spg_lstat(t->root, &stx), -ECANCELED);
	T_ERR(spg_dir_open(t->root, &d), -ECANCELED);
	T_ERR(spg_du(t->root, NULL, &r), -ECANCELED);
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	T_OK(!tree_has(t, "a"));
	T_EQ(spg_stat(tree_path(t, "file"), &stx), 0);
	T_EQ(stx.stx_size, 1);
	T_EQ(stx.stx_mode & 0777, 0644);
	return 0;
}

/* Goal: every call obeys its context, and has then done nothing. */
START_TEST(an_ended_context_fails_every_call)
{
	with_tree(_i, canceled);
}
END_TEST

T_MAIN(T_SHARDS(files_are_written_and_read_whole), T_TEST(a_foreign_thread_writes_and_reads_files),
       T_SHARDS(odd_files_are_read_and_errors_passed_on), T_SHARDS(fault_no_memory_is_an_error),
       T_SHARDS(mkdir_all_makes_what_is_missing), T_SHARDS(paths_are_resolved_and_changed),
       T_TEST(a_foreign_thread_uses_paths), T_SHARDS(remove_all_removes_trees), T_TEST(a_foreign_thread_removes_trees),
       T_SHARDS(a_deadline_ends_remove_all),
       T_SHARDS(remove_all_refuses_what_is_dangerous), T_SHARDS(stress_remove_all_against_symlink_races),
       T_SHARDS(directories_hand_out_typed_entries), T_SHARDS(big_directories_are_streamed),
       T_SHARDS(an_ended_context_fails_every_call))
