/*
 * Calls on paths that the ring refuses: a kernel knows the operation, and a sandbox, a flag or a
 * file system does not. The system call does them.
 */
#include "test/tree.h"

#include "coro/fault.h"

static const int refusals[] = { -EINVAL, -ENOSYS, -EOPNOTSUPP };

/* Every call on a path, one after the other: what each leaves behind the next one needs. */
static void every_call(struct tree *t)
{
	struct statx stx;
	size_t n = 0;
	void *data = NULL;
	int fd;

	T_EQ(spg_mkdirat(t->fd, "d", 0755), 0);
	fd = spg_openat(t->fd, "d/a", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	T_OK(fd >= 0);
	T_EQ(spg_write(fd, "four", 4), 4);
	T_EQ(spg_close(fd), 0);
	T_EQ(spg_linkat(t->fd, "d/a", t->fd, "d/b", 0), 0);
	T_EQ(spg_symlinkat("b", t->fd, "d/c"), 0);
	T_EQ(spg_statx(t->fd, "d/c", 0, STATX_BASIC_STATS, &stx), 0);
	T_EQ(stx.stx_size, 4);
	T_EQ(stx.stx_nlink, 2);
	T_EQ(spg_renameat2(t->fd, "d/a", t->fd, "d/e", RENAME_NOREPLACE), 0);
	T_EQ(spg_unlinkat(t->fd, "d/b", 0), 0);
	T_EQ(spg_lstat(tree_path(t, "d/c"), &stx), 0);
	T_OK(S_ISLNK(stx.stx_mode));
	T_EQ(spg_write_file(tree_path(t, "d/f"), "12345", 5, 0600), 0);
	T_EQ(spg_read_file(tree_path(t, "d/f"), &data, &n), 0);
	T_EQ(n, 5);
	free(data);
	T_EQ(spg_mkdir_all(tree_path(t, "d/g/h/i"), 0755), 0);
	T_EQ(spg_stat(tree_path(t, "d/g/h/i"), &stx), 0);
	T_EQ(spg_remove_all(tree_path(t, "d")), 0);
	T_ERR(spg_stat(tree_path(t, "d"), &stx), -ENOENT);
}

/* Errors are the system call's. */
static void every_error(struct tree *t)
{
	struct statx stx;

	T_ERR(spg_mkdirat(t->fd, ".", 0755), -EEXIST);
	T_ERR(spg_openat(t->fd, "none", O_RDONLY, 0), -ENOENT);
	T_ERR(spg_linkat(t->fd, "none", t->fd, "b", 0), -ENOENT);
	T_ERR(spg_symlinkat("b", t->fd, "none/c"), -ENOENT);
	T_ERR(spg_statx(t->fd, "none", 0, STATX_BASIC_STATS, &stx), -ENOENT);
	T_ERR(spg_statx(t->fd, ".", -1, STATX_BASIC_STATS, &stx), -EINVAL);
	T_ERR(spg_renameat2(t->fd, "none", t->fd, "e", ~0u), -EINVAL);
	T_ERR(spg_unlinkat(t->fd, "none", 0), -ENOENT);
}

static int refused(struct tree *t)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		spg__fault_arm(SPG__FAULT_REFUSE, 1, 1000000, refusals[i]);
		every_call(t);
		every_error(t);
		spg__fault_disarm(SPG__FAULT_REFUSE);
	}
	/* And now and then only. */
	for (int64_t after = 1; after < 20; after++) {
		spg__fault_arm(SPG__FAULT_REFUSE, after, 1, -EOPNOTSUPP);
		every_call(t);
		spg__fault_disarm(SPG__FAULT_REFUSE);
	}
	every_error(t);
	return 0;
}

START_TEST(fault_what_the_ring_refuses_the_system_call_does)
{
	with_tree(_i, refused);
}
END_TEST

static int canceled(struct tree *t)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before = spg_ctx_enter(ctx);

	spg__fault_arm(SPG__FAULT_REFUSE, 1, 1000000, -ENOSYS);
	spg_ctx_cancel(ctx);
	T_ERR(spg_mkdirat(t->fd, "d", 0755), -ECANCELED);
	spg_ctx_leave(before);
	spg__fault_disarm(SPG__FAULT_REFUSE);
	T_OK(!tree_has(t, "d"));
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: an ended context fails the call there too, and nothing is done. */
START_TEST(fault_an_ended_context_falls_back_to_nothing)
{
	with_tree(_i, canceled);
}
END_TEST

T_MAIN(T_SHARDS(fault_what_the_ring_refuses_the_system_call_does),
       T_SHARDS(fault_an_ended_context_falls_back_to_nothing))
