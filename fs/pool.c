#include "fs/pool.h"

#include "coro/clock.h"
#include "sched/offload.h"

/* Long beside the two thread switches a slice costs (about 0.1 ms), short to who waits for a cancel. */
#define SLICE_NS 4000000

struct slice {
	int (*step)(void *);
	void *arg;
	int res;
};

static void run_steps(void *arg)
{
	struct slice *slice = arg;
	int64_t until_ns = spg__clock_ns() + SLICE_NS;

	do {
		slice->res = slice->step(slice->arg);
	} while (slice->res == SPG__FS_MORE && spg__clock_ns() < until_ns);
}

int spg__fs_slice(int (*step)(void *), void *arg)
{
	struct slice slice = { .step = step, .arg = arg };
	int err = spg__offload(run_steps, &slice);

	return err < 0 ? err : slice.res;
}

int spg__fs_run(int (*step)(void *), void *arg)
{
	int res;

	do {
		res = spg__fs_slice(step, arg);
	} while (res == SPG__FS_MORE);
	return res;
}
