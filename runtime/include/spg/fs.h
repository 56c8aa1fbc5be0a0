/*
 * spg/fs.h - whole files, paths, directories, trees.
 *
 * What the kernel may wait for runs on the ring or on the blocking pool; the calling
 * coroutine is parked, the shard runs others meanwhile. A foreign thread does the work
 * itself.
 *
 * Errors of every call, beside those its own comment and man page name:
 *     -ECANCELED  the context was canceled
 *     -ETIMEDOUT  the context's deadline passed first
 *     -EINVAL     a pointer that must be given is NULL
 *     -ENOMEM     no memory, or no thread of the blocking pool could be started
 *     other       the system call's errno, negated: -ENOENT, -EACCES, -ENOTDIR ...
 *
 * "Cancellation: yes" is: a context that ended before the call fails it on entry; one that
 * ends later ends it between two steps of a few milliseconds. A system call that has begun
 * on the pool, or on a foreign thread, is waited for. "Threads: any" is: a coroutine parks
 * and may resume on another thread. All descriptors are close-on-exec.
 */
#ifndef SPG_FS_H
#define SPG_FS_H

#include <spg/base.h>

#include <sys/stat.h>

#ifdef __cplusplus
#define SPG__FS_NULL nullptr
#else
#define SPG__FS_NULL NULL
#endif

/* What a name stands for; the kernel's d_type. */
typedef enum spg_file_type {
	SPG_FILE_UNKNOWN = 0, /* it could not be told: the file is gone, or may not be looked at */
	SPG_FILE_FIFO = 1,
	SPG_FILE_CHAR = 2,
	SPG_FILE_DIR = 4,
	SPG_FILE_BLOCK = 6,
	SPG_FILE_REGULAR = 8,
	SPG_FILE_SYMLINK = 10,
	SPG_FILE_SOCKET = 12
} spg_file_type;

/* An open directory. */
typedef struct spg_dir spg_dir;

/* An entry of a directory. */
typedef struct spg_dirent {
	const char *name; /* until the next call on the directory */
	uint64_t ino;	  /* inode number */
	int64_t offset;	  /* the file system's cookie for the place behind this entry */
	spg_file_type type;
} spg_dirent;

/* An entry of a tree, as spg_walk shows it. */
typedef struct spg_walk_entry {
	const char *path; /* the root as it was given, a slash, the way from there; until fn returns */
	const char *name; /* the last component, in path */
	size_t path_len;
	unsigned depth; /* 0: the root */
	spg_file_type type;
	uint64_t ino;
	const struct statx *stat; /* until fn returns; NULL unless asked for */
	int err; /* 0, or why this entry cannot be looked at or this directory not be read */
	bool leaving; /* with post_order: all below this directory has been shown */
} spg_walk_entry;

/* What spg_walk's fn returns to go on, but not into this directory. */
#define SPG_WALK_SKIP 1

/* SPG_WALK_OPTS_INIT: the defaults. */
typedef struct spg_walk_opts {
	bool sorted;	      /* each directory's entries by name, as strcmp; else as they come */
	bool stat;	      /* fill spg_walk_entry.stat */
	bool follow;	      /* symlinks are what they point to; a directory within itself is -ELOOP */
	bool one_file_system; /* show, but do not enter, directories of others than the root's */
	bool post_order;      /* show directories a second time, when leaving them */
	unsigned depth_max;   /* do not enter directories of this depth; 0: no limit */
} spg_walk_opts;
#define SPG_WALK_OPTS_INIT { false, false, false, false, false, 0 }

/* What spg_du sums. */
typedef enum spg_du_size {
	SPG_DU_ALLOCATED, /* space on the device: blocks of 512 bytes */
	SPG_DU_APPARENT	  /* lengths, of directories too */
} spg_du_size;

/* What spg_du makes of symlinks. */
typedef enum spg_du_symlinks {
	SPG_DU_NO_FOLLOW, /* they count themselves */
	SPG_DU_FOLLOW	  /* they are what they point to; each directory is entered once */
} spg_du_symlinks;

/* What spg_du makes of entries it cannot look at. */
typedef enum spg_du_errors {
	SPG_DU_FAIL_FAST, /* the first error ends the call */
	SPG_DU_SKIP	  /* errors are counted */
} spg_du_errors;

typedef struct spg_du_result {
	uint64_t total_bytes;
	uint64_t total_entries;	     /* the sum of the four below, the root included */
	uint64_t files;		     /* regular files */
	uint64_t directories;
	uint64_t symlinks;	     /* counted as such */
	uint64_t others;	     /* devices, FIFOs, sockets */
	uint64_t skipped_errors;     /* entries and directories that could not be read */
	uint64_t skipped_cross_device; /* entries on other file systems, with one_file_system */
	uint64_t skipped_links;	     /* further names of what is counted already */
} spg_du_result;

/* SPG_DU_OPTS_INIT: the defaults. */
typedef struct spg_du_opts {
	spg_du_size size;
	/* A file with several names counts once; when following, so does what is reached twice. */
	bool hardlink_dedupe;
	spg_du_symlinks symlinks;
	/* Entries of other file systems than the root's count nothing. */
	bool one_file_system;
	spg_du_errors errors;
	/* Directories read at once; 0: twice the CPUs of the process, 4 at least. */
	unsigned workers_max;
	/* Called by the caller of spg_du, now and then, with what is counted so far; NULL: not. */
	void (*progress)(const spg_du_result *so_far, void *arg);
	int64_t progress_ns; /* how often, roughly; <= 0: each 100 ms */
	/* Called by the caller of spg_du for each entry that was skipped, path until it returns; NULL: not. */
	void (*skipped)(const char *path, int err, void *arg);
	void *arg; /* passed to both */
} spg_du_opts;
#define SPG_DU_OPTS_INIT                                                                           \
	{                                                                                          \
		SPG_DU_ALLOCATED, true, SPG_DU_NO_FOLLOW, false, SPG_DU_FAIL_FAST, 0, SPG__FS_NULL, 0,  \
			SPG__FS_NULL, SPG__FS_NULL                                                 \
	}

SPG__EXTERN_C_BEGIN

/**
 * spg_read_file - the whole content of a file.
 * @path: borrowed
 * @data: receives the content, to be freed with free(); never NULL, a NUL stands behind it
 * @n:    receives its length in bytes
 *
 * Reads to the end, whatever length the file claims: /proc and pipes work. On an error
 * nothing is stored.
 *
 * Return: 0; -ENOENT: no such file; -EISDIR: a directory; else an error of every call.
 * Cancellation: yes. Threads: any. Allocates: the content. Source: Go's os.ReadFile.
 * Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_read_file(const char *path, void **data, size_t *n);

/**
 * spg_write_file - make bytes the whole content of a file.
 * @path: borrowed; created if missing, else truncated first
 * @data: borrowed; may be NULL if n is 0
 * @n:    bytes
 * @mode: permissions of a file that is created, less umask
 *
 * Nothing is flushed to the device: spg_fsync does that. After an error the file may hold a
 * part of the data.
 *
 * Return: 0; -ENOENT: no such directory; -ENOSPC, -EDQUOT: no room; else an error of every call.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: Go's os.WriteFile. Since: 0.1.
 */
SPG_API int spg_write_file(const char *path, const void *data, size_t n, mode_t mode);

/**
 * spg_mkdir_all - make a directory and all its missing parents.
 * @path: borrowed
 * @mode: permissions of those that are made, less umask
 *
 * A directory that is there already is as good as one made now.
 *
 * Return: 0; -ENOTDIR: a component is there and no directory; -EEXIST: a dangling symlink
 * stands there; -ENOENT: path is empty; -ENAMETOOLONG: longer than PATH_MAX; else an error
 * of every call.
 * Cancellation: yes; what was made stays. Threads: any. Allocates: a copy of the path, until
 * it returns. Source: Go's os.MkdirAll, mkdir(2). Since: 0.1.
 */
SPG_API int spg_mkdir_all(const char *path, mode_t mode);

/**
 * spg_remove_all - remove a file, or a directory and all below it.
 * @path: borrowed; slashes at its end count nothing
 *
 * Symlinks are removed, never followed, and a directory that is replaced by one meanwhile is
 * not left: all is done relative to the descriptors of the directories that were read, 33 at
 * most, whatever the depth. Goes on after an error and removes what can be removed. Mounted
 * file systems below path are emptied too.
 *
 * Return: 0: it is gone, or never was there; else the first error, and something is left:
 *   -EINVAL  path is empty, or its last component is "." or ".."
 *   -EBUSY   path is the root directory, or something is mounted there
 *   -ESTALE  a directory was moved elsewhere meanwhile
 *   other    an error of every call
 * Cancellation: yes; what is gone is gone. Threads: any. Allocates: names of the directories
 * on the way, until it returns. Source: Go's os.RemoveAll, unlinkat(2). Since: 0.1.
 */
SPG_API int spg_remove_all(const char *path);

/**
 * spg_realpath - the absolute path of a file, without symlinks, "." and "..".
 * @path: borrowed
 * @out:  receives the path, to be freed with free(); NULL after an error
 *
 * Return: 0; -ENOENT: no such file; -ELOOP: symlinks in a circle; else an error of every call.
 * Cancellation: on entry and while queued for the pool. Threads: any. Allocates: the path.
 * Source: realpath(3). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_realpath(const char *path, char **out);

/**
 * spg_chmod - change a file's permissions.
 * @path: borrowed; symlinks are followed
 * @mode: permission bits
 *
 * Return: 0; -ENOENT: no such file; -EPERM: not the caller's file; else an error of every call.
 * Cancellation: on entry and while queued for the pool. Threads: any. Allocates: nothing.
 * Source: chmod(2). Since: 0.1.
 */
SPG_API int spg_chmod(const char *path, mode_t mode);

/**
 * spg_stat - a file's attributes; symlinks are followed.
 * @path: borrowed
 * @out:  filled with the basic attributes and the time of birth; what is there, its stx_mask says
 *
 * Return: 0; -ENOENT: no such file; else an error of every call.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: statx(2). Since: 0.1.
 */
SPG_API int spg_stat(const char *path, struct statx *out);

/**
 * spg_lstat - a file's attributes; a symlink's own.
 * @path: borrowed
 * @out:  filled as spg_stat does
 *
 * Return: 0; -ENOENT: no such file; else an error of every call.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: statx(2). Since: 0.1.
 */
SPG_API int spg_lstat(const char *path, struct statx *out);

/**
 * spg_dir_open - open a directory and read its first entries.
 * @path: borrowed
 * @out:  receives the directory, to be closed with spg_dir_close; NULL after an error
 *
 * Return: 0; -ENOENT: no such file; -ENOTDIR: no directory; else an error of every call.
 * Cancellation: yes. Threads: any. Allocates: the directory, 64 KiB. Source: getdents(2).
 * Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_dir_open(const char *path, spg_dir **out);

/**
 * spg_dir_openat - the same, relative to a directory.
 * @dirfd: where relative paths begin; AT_FDCWD: the working directory
 * @path:  borrowed
 * @out:   receives the directory, to be closed with spg_dir_close; NULL after an error
 *
 * Return: as spg_dir_open.
 * Cancellation: yes. Threads: any. Allocates: the directory, 64 KiB. Source: getdents(2).
 * Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_dir_openat(int dirfd, const char *path, spg_dir **out);

/**
 * spg_dir_next - the next entry of a directory.
 * @d:   borrowed; one caller at a time
 * @out: filled
 *
 * In the file system's order, without "." and "..". About 2,000 entries are read at once, so
 * few calls wait. What appears or goes meanwhile may be seen or not. Types are found out
 * where the file system does not keep them with the names.
 *
 * Return: 1: an entry; 0: there are no more; -EINVAL: an argument is NULL; -ENOENT: the
 * directory was removed; else an error of every call.
 * Cancellation: yes, where it reads; entries that were read before are handed out.
 * Threads: any. Allocates: nothing. Source: getdents(2). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_dir_next(spg_dir *d, spg_dirent *out);

/**
 * spg_dir_fd - a directory's descriptor, for calls relative to it.
 * @d: borrowed, as the descriptor is
 *
 * Return: the descriptor; -EINVAL: d is NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: dirfd(3). Since: 0.1.
 */
SPG_API int spg_dir_fd(const spg_dir *d);

/**
 * spg_dir_close - close a directory.
 * @d: gone afterwards; NULL does nothing
 *
 * Return: nothing.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: closedir(3). Since: 0.1.
 */
SPG_API void spg_dir_close(spg_dir *d);

/**
 * spg_walk - show a tree, entry by entry.
 * @root: borrowed
 * @o:    borrowed; NULL: the defaults
 * @fn:   called by the caller for each entry, directories before what is in them; it may
 *        block. 0: go on; SPG_WALK_SKIP: not into this directory; anything else ends the walk
 * @arg:  passed to fn
 *
 * The root is shown as what it is, or with o->follow as what it points to. An entry that
 * cannot be looked at is shown with err; a directory that cannot be read is shown once more,
 * with err. The walk goes on if fn returns 0. Paths may grow longer than PATH_MAX, and depth
 * costs few descriptors: one each 2 KiB of path.
 *
 * Return: 0: all was shown; what fn returned, if that was neither 0 nor SPG_WALK_SKIP; or
 *   -EINVAL  root or fn is NULL, or root is empty
 *   -ENOENT  no such root; fn was not called
 *   other    an error of every call
 * Cancellation: yes, between entries. Threads: any. Allocates: the names of the directories
 * on the way, until it returns. Source: Go's filepath.WalkDir, fts(3). Since: 0.1.
 */
SPG_API int spg_walk(const char *root, const spg_walk_opts *o, int (*fn)(const spg_walk_entry *entry, void *arg),
		     void *arg);

/**
 * spg_du - how much space a tree takes.
 * @root: borrowed
 * @o:    borrowed; NULL: the defaults
 * @out:  filled; after an error with what was counted before it
 *
 * Directories are read on the blocking pool, several at a time, by a group of coroutines that
 * grows with the work; on a foreign thread one after another, by the caller. Depth is not
 * limited by PATH_MAX.
 *
 * With SPG_DU_SKIP a root that cannot be looked at is an error all the same.
 *
 * Return: 0; or
 *   -EINVAL  root or out is NULL, root is empty, or a bad option
 *   -ENOENT  no such root; with SPG_DU_FAIL_FAST also: an entry went away meanwhile, or is a
 *            dangling symlink to be followed
 *   -EACCES  with SPG_DU_FAIL_FAST: a directory may not be read
 *   -ELOOP   with SPG_DU_FAIL_FAST: a symlink to be followed that leads nowhere
 *   other    an error of every call
 * Cancellation: yes. Threads: any. Allocates: the names of directories that are yet to be
 * read, 16 bytes and more for each file with several names, 64 KiB for each worker, until it
 * returns. Source: du(1). Since: 0.1.
 */
SPG_API int spg_du(const char *root, const spg_du_opts *o, spg_du_result *out);

SPG__EXTERN_C_END

#endif
