/*
 * Joinable coroutines. A task is a context (its own child context, for
 * spg_task_cancel) with a result behind it; both live in one block, kept by the
 * context's reference count: the coroutine holds one reference, the handle another.
 *
 * J1  `done` is stored under the lock, together with taking the watchers out: a
 *     watcher is told once, or finds done when it comes.
 * J2  The coroutine tells its watchers under the lock; a watcher's memory may go as
 *     soon as it was told, so unpark uses a copy of the waiter (W1).
 */
#ifndef SPG__RUNTIME_TASK_H
#define SPG__RUNTIME_TASK_H

#include "sched/cancel.h"

/* Somebody who wants to hear of the end: a join, or a case of a select. */
struct spg__task_watch {
	struct spg__list link;
	/* Under the task's lock; must not park or take locks below chan's. */
	void (*tell)(struct spg__task_watch *watch);
};

struct spg_task {
	struct spg__ctx ctx;
	struct spg__lock lock;
	struct spg__list watchers;
	_Atomic bool done;
	uint64_t coro_id;
	void *(*fn)(void *);
	void *arg;
	void *result;
};

/* false: the task has ended already, nothing was added. */
bool spg__task_watch(struct spg_task *task, struct spg__task_watch *watch);
/* Harmless when it was told already. */
void spg__task_unwatch(struct spg_task *task, struct spg__task_watch *watch);

#endif
