#include "fs/du.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "fs/pool.h"

#include <sched.h>
#include <spg/go.h>

#define WORKERS_MIN 4
#define PROGRESS_NS (100 * SPG_MS)

static struct spg__du_worker *worker_new(struct spg__du *du)
{
	struct spg__du_worker *w = spg__alloc(sizeof(*w));

	if (w == NULL)
		return NULL;
	w->du = du;
	w->dir = NULL;
	w->fd = -1;
	w->anchor = NULL;
	w->pause_ns = SPG__NEVER;
	w->found = NULL;
	w->found_count = 0;
	w->part = (spg_du_result){ 0 };
	w->batch = (struct spg__dir_batch){ .buf = w->buf };
	return w;
}

static void worker_free(struct spg__du_worker *w)
{
	if (w != NULL)
		spg__du_worker_fini(w);
	spg__free(w);
}

static int helper(void *arg);

/* As many as there is work for. Fewer, where no more coroutines can be had. */
static void call_help(struct spg__du *du)
{
	for (;;) {
		bool wanted;

		pthread_mutex_lock(&du->mutex);
		wanted = spg__du_wants_help(du);
		du->workers += wanted;
		pthread_mutex_unlock(&du->mutex);
		if (!wanted)
			return;
		if (spg_group_go(du->group, helper, du) == 0)
			continue;
		pthread_mutex_lock(&du->mutex);
		du->workers_max = --du->workers;
		pthread_mutex_unlock(&du->mutex);
		return;
	}
}

/* Until there is no more for it, or a pause is due: SPG__DU_DONE, SPG__DU_PAUSE, or an error. */
static int work(struct spg__du_worker *w)
{
	for (;;) {
		int res = spg__fs_slice(spg__du_step, w);

		if (res == SPG__DU_HELP)
			call_help(w->du);
		else if (res != SPG__FS_MORE)
			return res;
	}
}

static int helper(void *arg)
{
	struct spg__du *du = arg;
	struct spg__du_worker *w = worker_new(du);
	int err = w == NULL ? -ENOMEM : work(w);

	worker_free(w);
	if (err < 0)
		spg__du_fail(du, err);
	return err;
}

/* What the caller wants to be told. */
static void tell(struct spg__du *du, bool progress)
{
	struct spg__du_skip *skips;
	spg_du_result total;

	pthread_mutex_lock(&du->mutex);
	skips = du->skips;
	du->skips = NULL;
	total = du->total;
	pthread_mutex_unlock(&du->mutex);
	while (skips != NULL) {
		struct spg__du_skip *skip = skips;

		skips = skip->next;
		du->opts.skipped(skip->path, skip->err, du->opts.arg);
		spg__free(skip);
	}
	if (progress && du->opts.progress != NULL)
		du->opts.progress(&total, du->opts.arg);
}

static bool has_callbacks(const struct spg__du *du)
{
	return du->opts.progress != NULL || du->opts.skipped != NULL;
}

/* Are helpers still at work? Those that are not end without a wait. */
static bool has_workers(struct spg__du *du)
{
	bool some;

	pthread_mutex_lock(&du->mutex);
	some = du->workers > 0 && du->err == 0;
	pthread_mutex_unlock(&du->mutex);
	return some;
}

/* The helpers' end, or with callbacks the time for one. -EAGAIN: that. */
static int await_helpers(struct spg__du *du)
{
	int err;

	if (du->group == NULL)
		return 0;
	/* However short the time between two callbacks: the end is waited for without a limit. */
	if (!has_callbacks(du) || !has_workers(du))
		return spg_group_wait(du->group);
	{
		SPG_TIMEOUT_SCOPE(du->opts.progress_ns);

		err = spg_group_wait(du->group);
	}
	/* A helper's error, the caller's own deadline, or ours? relaxed: the group's end orders it. */
	if (err != -ETIMEDOUT || atomic_load_explicit(&du->stop, memory_order_relaxed) || spg_ctx_err(NULL) < 0)
		return err;
	return -EAGAIN;
}

/* The caller's own work, then the others'. 0, or an error. */
static int work_all(struct spg__du *du)
{
	struct spg__du_worker *w = worker_new(du);
	int res = SPG__DU_PAUSE;

	if (w == NULL)
		return -ENOMEM;
	while (res == SPG__DU_PAUSE) {
		if (has_callbacks(du))
			w->pause_ns = spg__clock_after_ns(spg__clock_ns(), du->opts.progress_ns);
		res = work(w);
		if (res == SPG__DU_PAUSE)
			tell(du, true);
	}
	worker_free(w);
	if (res < 0)
		return res;
	while ((res = await_helpers(du)) == -EAGAIN)
		tell(du, true);
	return res;
}

static unsigned workers_default(void)
{
	cpu_set_t cpus;
	unsigned n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? 2 * (unsigned)CPU_COUNT(&cpus) : 0;

	return n < WORKERS_MIN ? WORKERS_MIN : n;
}

static int options(struct spg__du *du, const spg_du_opts *o)
{
	du->opts = o != NULL ? *o : (spg_du_opts)SPG_DU_OPTS_INIT;
	if ((unsigned)du->opts.size > SPG_DU_APPARENT || (unsigned)du->opts.symlinks > SPG_DU_FOLLOW ||
	    (unsigned)du->opts.errors > SPG_DU_SKIP)
		return -EINVAL;
	if (du->opts.progress_ns <= 0)
		du->opts.progress_ns = PROGRESS_NS;
	du->workers_max = du->opts.workers_max > 0 ? du->opts.workers_max : workers_default();
	du->workers = 1;
	return 0;
}

struct root_args {
	struct spg__du *du;
	const char *root;
};

static int root_step(void *arg)
{
	struct root_args *a = arg;

	return spg__du_root(a->du, a->root);
}

static int run(struct spg__du *du, const char *root)
{
	struct root_args args = { du, root };
	int err;

	if (spg_in_coroutine() && du->workers_max > 1) {
		du->group = spg_group_new(0);
		if (du->group == NULL)
			return -ENOMEM;
	} else {
		du->workers_max = 1;
	}
	err = spg__fs_run(root_step, &args);
	if (err == 0 && du->stack != NULL)
		err = work_all(du);
	if (err < 0)
		spg__du_fail(du, err);
	spg_group_free(du->group);
	return du->err;
}

int spg_du(const char *root, const spg_du_opts *o, spg_du_result *out)
{
	struct spg__du du = { .mutex = PTHREAD_MUTEX_INITIALIZER };
	int err;

	if (root == NULL || root[0] == '\0' || out == NULL)
		return -EINVAL;
	*out = (spg_du_result){ 0 };
	err = options(&du, o);
	if (err < 0)
		return err;
	err = run(&du, root);
	*out = du.total;
	tell(&du, false);
	while (du.stack != NULL) {
		struct spg__du_dir *dir = du.stack;

		du.stack = dir->next;
		spg__du_dir_free(dir);
	}
	spg__idset_fini(&du.seen);
	pthread_mutex_destroy(&du.mutex);
	return err;
}
