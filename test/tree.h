/*
 * Directories for tests: one of the test's own below /tmp, and plain calls that make files
 * in it. All but the first are relative to it.
 */
#ifndef SPG__TEST_TREE_H
#define SPG__TEST_TREE_H

#include "test/t.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TREE_PATH_MAX 4096

struct tree {
	char root[64];
	int fd; /* of the root */
};

static inline void tree_init(struct tree *t)
{
	snprintf(t->root, sizeof(t->root), "/tmp/spg-test-fs-XXXXXX");
	T_OK(mkdtemp(t->root) != NULL);
	t->fd = open(t->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	T_OK(t->fd >= 0);
}

static inline int tree_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The exit status of a shell command. */
static inline int tree_run(const char *format, ...)
{
	char command[TREE_PATH_MAX];
	va_list args;

	va_start(args, format);
	T_OK(vsnprintf(command, sizeof(command), format, args) < (int)sizeof(command));
	va_end(args);
	return system(command);
}

/* By rm(1), not by what is tested. */
static inline void tree_fini(struct tree *t)
{
	close(t->fd);
	T_EQ(tree_run("chmod -R u+rwx '%s' 2>/dev/null; rm -rf '%s'", t->root, t->root), 0);
}

/* The whole path of a name in it; good until the fourth call after this. */
static inline const char *tree_path(const struct tree *t, const char *name)
{
	static _Thread_local char paths[4][TREE_PATH_MAX];
	static _Thread_local unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, TREE_PATH_MAX, "%s/%s", t->root, name);
	return path;
}

static inline void tree_dir(const struct tree *t, const char *name)
{
	T_EQ(mkdirat(t->fd, name, 0755), 0);
}

/* A file of n bytes. */
static inline void tree_file(const struct tree *t, const char *name, size_t n)
{
	static const char bytes[4096] = "content";
	int fd = openat(t->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	T_OK(fd >= 0);
	while (n > 0) {
		size_t piece = n < sizeof(bytes) ? n : sizeof(bytes);

		T_EQ(write(fd, bytes, piece), piece);
		n -= piece;
	}
	close(fd);
}

static inline void tree_link(const struct tree *t, const char *target, const char *name)
{
	T_EQ(symlinkat(target, t->fd, name), 0);
}

static inline bool tree_has(const struct tree *t, const char *name)
{
	return faccessat(t->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A chain of directories longer than any path may be. */
static inline void tree_deep(const struct tree *t, const char *name, unsigned depth)
{
	static const char level[] = "a-directory-with-a-name-of-some-length";
	int fd;

	tree_dir(t, name);
	fd = openat(t->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < depth; i++) {
		int next, file;

		T_EQ(mkdirat(fd, level, 0755), 0);
		T_EQ(mkdirat(fd, "beside", 0755), 0);
		file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		T_EQ(write(file, "x", 1), 1);
		close(file);
		next = openat(fd, level, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		T_OK(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
}

/* Lets this process have so many descriptors more than now. */
static inline void limit_fds(int more)
{
	struct rlimit limit;

	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)(t_fds_count() + more);
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

struct tree_job {
	int (*fn)(struct tree *);
	struct tree tree;
};

static inline int tree_job_main(void *arg)
{
	struct tree_job *job = arg;

	return job->fn(&job->tree);
}

/* In a coroutine under that many shards, or with 0 on a foreign thread. Nothing stays open. */
static inline void with_tree(int shards, int (*fn)(struct tree *))
{
	struct tree_job job = { .fn = fn };
	int fds;

	tree_init(&job.tree);
	fds = t_fds_count();
	if (shards > 0)
		t_run((unsigned)shards, tree_job_main, &job);
	else
		T_EQ(tree_job_main(&job), 0);
	T_EQ(t_fds_count(), fds);
	tree_fini(&job.tree);
}

#endif
