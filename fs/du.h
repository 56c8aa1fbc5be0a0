/*
 * spg_du: what its two files share. fs/du_scan.c reads directories on the pool's threads;
 * fs/du.c is the coroutines that send it there.
 *
 * DU1  A directory to be read is on the stack or belongs to one worker. A worker ends only
 *      when it finds the stack empty, so the last one leaves it empty.
 * DU2  A directory's way is kept from an anchor: a descriptor some way above it. Beyond
 *      DU_WAY_MAX bytes the directory that is being read becomes the next anchor. So no path
 *      grows too long, and depth costs few descriptors. An anchor lives as long as somebody
 *      below it needs it.
 * DU3  All that workers share is under the mutex, held for a few steps and never over a call
 *      that waits. `stop` is read without it.
 */
#ifndef SPG__FS_DU_H
#define SPG__FS_DU_H

#include "fs/dir.h"

#include <pthread.h>
#include <spg/ctx.h>
#include <spg/fs.h>

struct spg__du_anchor {
	_Atomic unsigned refs;
	int fd;
	struct spg__du_anchor *parent; /* NULL: path is the root's, or relative to the working directory */
	char path[];
};

/* A directory to be read. */
struct spg__du_dir {
	struct spg__du_dir *next;
	struct spg__du_anchor *anchor; /* a reference */
	size_t way_len;
	char way[];
};

/* An entry that was skipped, to be told. */
struct spg__du_skip {
	struct spg__du_skip *next;
	int err;
	char path[];
};

struct spg__du {
	spg_du_opts opts;
	uint64_t dev; /* the root's */
	spg_group *group; /* NULL: the caller works alone */
	/* Set once: no step does anything more. */
	_Atomic bool stop;
	pthread_mutex_t mutex;
	/* DU3: under the mutex, all below. */
	struct spg__du_dir *stack;
	size_t stack_count;
	unsigned workers, workers_max;
	int err; /* the first */
	struct spg__du_skip *skips;
	struct spg__idset seen;
	spg_du_result total;
};

/* What a step returns beside SPG__FS_MORE. */
enum {
	SPG__DU_DONE = 0,  /* the stack is empty; the worker no longer counts */
	SPG__DU_HELP = 2,  /* others could work too */
	SPG__DU_PAUSE = 3, /* it is time for a callback */
};

struct spg__du_worker {
	struct spg__du *du;
	/* The directory that is being read; NULL: none. */
	struct spg__du_dir *dir;
	int fd;
	/* DU2: made of `dir` when its first far child was found; owns fd then. */
	struct spg__du_anchor *anchor;
	/* The caller's: when to pause. Others: never. */
	int64_t pause_ns;
	/* Not yet told to the others. */
	struct spg__du_dir *found;
	size_t found_count;
	spg_du_result part;
	struct spg__dir_batch batch;
	char buf[SPG__DIR_BATCH_BYTES] __attribute__((aligned(8)));
};

/* With the mutex held: there is more to read than workers could have begun. */
static inline bool spg__du_wants_help(const struct spg__du *du)
{
	return du->stack_count > du->workers && du->workers < du->workers_max;
}

/* Looks at the root. 0, or an error. */
int spg__du_root(struct spg__du *du, const char *root);
/* A step (fs/pool.h) of a struct spg__du_worker: a batch of entries. */
int spg__du_step(void *worker);
/* Ends a worker, whatever it was at. */
void spg__du_worker_fini(struct spg__du_worker *w);
/* The first error stays. */
void spg__du_fail(struct spg__du *du, int err);
void spg__du_dir_free(struct spg__du_dir *dir);

#endif
