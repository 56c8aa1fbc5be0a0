#include "runtime/task.h"

#include "coro/alloc.h"
#include "runtime/spawn.h"
#include "sched/fork.h"
#include "sched/park.h"
#include "sched/wait.h"

#include <spg/go.h>

bool spg__task_watch(struct spg_task *task, struct spg__task_watch *watch)
{
	bool done;

	spg__lock(&task->lock);
	/* relaxed: changes under the lock. */
	done = atomic_load_explicit(&task->done, memory_order_relaxed);
	if (!done)
		spg__list_append(&task->watchers, &watch->link);
	spg__unlock(&task->lock);
	return !done;
}

void spg__task_unwatch(struct spg_task *task, struct spg__task_watch *watch)
{
	spg__lock(&task->lock);
	spg__list_remove(&watch->link);
	spg__unlock(&task->lock);
}

/* J1, J2. */
static void finish(struct spg_task *task)
{
	struct spg__list *node;

	spg__lock(&task->lock);
	/* release: the result; pairs with the acquire in spg_join. */
	atomic_store_explicit(&task->done, true, memory_order_release);
	while ((node = spg__list_first(&task->watchers)) != NULL) {
		struct spg__task_watch *watch = spg__container_of(node, struct spg__task_watch, link);

		spg__list_remove(node);
		watch->tell(watch);
	}
	spg__unlock(&task->lock);
}

static void *task_main(void *arg)
{
	struct spg_task *task = arg;

	task->result = task->fn(task->arg);
	spg__user_returned();
	/* Its context ends with it: descendants keep running, timers of the deadline go. */
	finish(task);
	return NULL;
}

const struct spg__wrapper spg__wrapper_task = {
	.fn = (void (*)(void *))(void (*)(void))task_main,
	.at = offsetof(struct spg_task, fn),
};

static struct spg_task *spawn_task(struct spg__spawn spawn, const spg_attr *attr, void *(*fn)(void *), void *arg)
{
	struct spg_task *task;
	struct spg__ctx *parent;

	if (spg__spawn_attr(&spawn, attr, &parent) < 0)
		return NULL;
	task = spg__calloc(1, sizeof(*task));
	if (task == NULL)
		return NULL;
	spg__ctx_init(&task->ctx, parent, SPG__NEVER);
	spg__ctx_hold(&task->ctx); /* the handle's; the first is the coroutine's */
	spg__list_init(&task->watchers);
	task->fn = fn;
	task->arg = arg;
	spawn.arg = task;
	spawn.ctx = &task->ctx;
	spawn.id = &task->coro_id;
	if (spg__coro_spawn(&spawn) < 0) {
		spg__ctx_drop(&task->ctx);
		spg__ctx_drop(&task->ctx);
		return NULL;
	}
	return task;
}

spg_task *spg_spawn(const spg_attr *attr, void *(*fn)(void *), void *arg)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_START, .start = task_main };
	struct spg_task *task;

	spawn.creator = __builtin_return_address(0);
	if (fn == NULL || !spg__spawn_enter())
		return NULL;
	task = spawn_task(spawn, attr, fn, arg);
	spg__spawn_leave();
	return task;
}

struct join {
	struct spg__task_watch watch;
	struct spg__waiter *waiter;
	_Atomic bool told;
};

static void join_tell(struct spg__task_watch *watch)
{
	struct join *join = spg__container_of(watch, struct join, watch);
	struct spg__waiter *waiter = join->waiter;

	/* release [S3]: the last access to the joiner's frame. */
	atomic_store_explicit(&join->told, true, memory_order_release);
	spg__unpark(waiter);
}

int spg_join(spg_task *task, void **result)
{
	struct join join = { .watch.tell = join_tell };
	struct spg__wait wait;
	int err;

	if (task == NULL)
		return -EINVAL;
	if (spg_id() != 0 && spg_id() == task->coro_id)
		return -EDEADLK;
	/* acquire: with finish. It ran in the parent, and ends nowhere (K1). */
	if (spg__unlikely(spg__sched.child) && !atomic_load_explicit(&task->done, memory_order_acquire))
		return -ESRCH;
	err = spg__wait_begin(&wait, SPG__REASON_JOIN, task);
	if (err < 0)
		return err;
	join.waiter = wait.waiter;
	atomic_init(&join.told, false);
	spg__list_init(&join.watch.link);
	if (spg__task_watch(task, &join.watch)) {
		while (!atomic_load_explicit(&join.told, memory_order_acquire)) {
			err = spg__wait_park(&wait);
			if (err == 0)
				continue;
			spg__task_unwatch(task, &join.watch);
			/* relaxed: told under the lock that unwatch just held. */
			if (atomic_load_explicit(&join.told, memory_order_relaxed))
				err = 0; /* the end came first */
			break;
		}
	}
	spg__wait_end(&wait);
	if (err < 0)
		return err;
	if (result != NULL)
		*result = task->result;
	spg__ctx_drop(&task->ctx);
	return 0;
}

int spg_task_cancel(spg_task *task)
{
	if (task == NULL)
		return -EINVAL;
	spg__ctx_end(&task->ctx, -ECANCELED);
	return 0;
}

int spg_detach(spg_task *task)
{
	if (task == NULL)
		return -EINVAL;
	spg__ctx_drop(&task->ctx);
	return 0;
}
