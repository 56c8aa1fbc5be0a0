/*
 * A kernel that takes no submissions, now and then, while a function runs.
 */
#ifndef SPG__TEST_REFUSAL_H
#define SPG__TEST_REFUSAL_H

#include "t.h"

#include "coro/fault.h"

struct refusal {
	int err;
	int64_t nth; /* of the enters from now on, and the one behind it */
	_Atomic bool stop;
};

static inline int refuse_submits(void *arg)
{
	struct refusal *refusal = arg;

	while (!atomic_load(&refusal->stop)) {
		spg__fault_arm(SPG__FAULT_SUBMIT, refusal->nth, 2, refusal->err);
		spg_yield();
	}
	return 0;
}

/* fn in the middle of it. The caller disarms the fault when its runtime has ended. */
static inline int run_refused(int err, int64_t nth, int (*fn)(void *))
{
	struct refusal refusal = { .err = err, .nth = nth };
	spg_group *group = spg_group_new(0);

	T_EQ(spg_group_go(group, refuse_submits, &refusal), 0);
	T_EQ(fn(NULL), 0);
	atomic_store(&refusal.stop, true);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	return 0;
}

#endif
