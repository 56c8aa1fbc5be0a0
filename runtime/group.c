/*
 * Groups: structured concurrency.
 *
 * GR1  running counts children that have a slot; it changes under the lock. A slot is
 *      handed to who waits at the limit without being counted down.
 * GR2  A child's last access to the group is the unlock that counts it down: a waiter that
 *      then finds 0 under the lock may free the group.
 */
#include "runtime/ctx.h"
#include "runtime/spawn.h"
#include "runtime/waitq.h"
#include "sched/fork.h"

#include "coro/alloc.h"
#include "coro/leak.h"

#include <spg/ctx.h>
#include <spg/runtime.h>

struct spg_group {
	struct spg__ctx *ctx;
	struct spg__lock lock;
	unsigned limit, running;
	int first_err;
	struct spg__waitq at_limit, waiting;
};

struct child {
	struct spg_group *group;
	int (*fn)(void *);
	void *arg;
	int64_t deadline_ns;
};

spg_group *spg_group_new(int limit)
{
	struct spg_group *g = spg__calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->limit = limit > 0 ? (unsigned)limit : 0;
	g->ctx = spg_ctx_new(NULL);
	if (g->ctx != NULL) {
		spg__leak_gone(SPG__LEAK_CTX, (uintptr_t)g->ctx); /* it goes with the group */
		spg__leak_made(SPG__LEAK_GROUP, (uintptr_t)g, __builtin_return_address(0));
		return g;
	}
	spg__free(g);
	return NULL;
}

/* A slot comes free: GR1, GR2. */
static void slot_give(struct spg_group *g)
{
	struct spg__waitq_node *next;
	struct spg__list waiters;

	spg__list_init(&waiters);
	spg__lock(&g->lock);
	next = spg__waitq_pop(&g->at_limit);
	if (next == NULL && --g->running == 0)
		spg__waitq_take_all(&g->waiting, &waiters);
	spg__unlock(&g->lock);
	if (next != NULL)
		spg__waitq_serve(next);
	spg__waitq_serve_all(&waiters);
}

static int slot_take(struct spg_group *g)
{
	struct spg__waitq_node node;
	struct spg__wait wait;
	int err;

	spg__lock(&g->lock);
	if (g->limit == 0 || g->running < g->limit) {
		g->running++;
		spg__unlock(&g->lock);
		return 0;
	}
	spg__unlock(&g->lock);
	err = spg__wait_begin(&wait, SPG__REASON_GROUP, g);
	if (err < 0)
		return err;
	spg__lock(&g->lock);
	if (g->running < g->limit) {
		g->running++;
		spg__unlock(&g->lock);
	} else {
		spg__waitq_push(&g->at_limit, &node, wait.waiter);
		err = spg__waitq_wait(&g->lock, &node, &wait);
	}
	spg__wait_end(&wait);
	return err;
}

static void child_failed(struct spg_group *g, int err)
{
	bool first;

	spg__lock(&g->lock);
	first = g->first_err == 0;
	if (first)
		g->first_err = err;
	spg__unlock(&g->lock);
	if (first)
		spg__ctx_end(g->ctx, -ECANCELED);
}

static void child_main(void *arg)
{
	struct child *child = arg;
	struct spg_group *group = child->group;
	struct spg__scope scope;
	int res;

	spg__scope_deadline_enter(&scope, child->deadline_ns);
	res = child->fn(child->arg);
	spg__user_returned();
	spg__scope_leave(&scope);
	spg__free(child); /* not before: a dump reads fn */
	if (res < 0)
		child_failed(group, res);
	slot_give(group);
}

const struct spg__wrapper spg__wrapper_group = { .fn = child_main, .at = offsetof(struct child, fn) };

static int spawn_child(struct spg__spawn *spawn, const struct child *values)
{
	struct spg__ctx *ctx;
	struct child *child;
	int err;

	if (!spg__spawn_enter())
		return -ESRCH;
	child = spg__alloc(sizeof(*child));
	err = child != NULL ? spg__spawn_attr(spawn, NULL, &ctx) : -ENOMEM;
	if (err == 0) {
		*child = *values;
		spawn->arg = child;
		err = spg__spawn_under(spawn, values->group->ctx);
	}
	spg__spawn_leave();
	if (err < 0)
		spg__free(child);
	return err;
}

int spg_group_go(spg_group *g, int (*fn)(void *), void *arg)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_FN, .fn = child_main };
	struct spg__waiter *w = spg__self();
	int err;

	spawn.creator = __builtin_return_address(0);
	if (g == NULL || fn == NULL)
		return -EINVAL;
	if (w == NULL)
		return -ENOMEM;
	if (!spg_running() && spg__shard_self() == NULL)
		return -ESRCH;
	err = slot_take(g);
	if (err < 0)
		return err;
	err = spawn_child(&spawn, &(struct child){ .group = g, .fn = fn, .arg = arg,
						   .deadline_ns = spg__waiter_deadline(w) });
	if (err < 0)
		slot_give(g);
	return err;
}

static int wait_all(struct spg_group *g, struct spg__wait *wait)
{
	struct spg__waitq_node node;
	int err = 0;

	spg__lock(&g->lock);
	if (g->running == 0) {
		spg__unlock(&g->lock);
		return 0;
	}
	if (spg__unlikely(spg__sched.child)) { /* K1: they ran in the parent */
		spg__unlock(&g->lock);
		return -ESRCH;
	}
	spg__waitq_push(&g->waiting, &node, wait->waiter);
	err = spg__waitq_wait(&g->lock, &node, wait);
	if (err < 0)
		return err;
	spg__lock(&g->lock); /* GR2: the last child is out */
	spg__unlock(&g->lock);
	return 0;
}

int spg_group_wait(spg_group *g)
{
	struct spg__wait wait;
	int err;

	if (g == NULL)
		return -EINVAL;
	err = spg__wait_begin(&wait, SPG__REASON_GROUP, g);
	if (err < 0)
		return err;
	err = wait_all(g, &wait);
	spg__wait_end(&wait);
	return err < 0 ? err : g->first_err;
}

void spg_group_cancel(spg_group *g)
{
	if (g != NULL)
		spg__ctx_end(g->ctx, -ECANCELED);
}

void spg_group_free(spg_group *g)
{
	struct spg__wait wait;

	if (g == NULL)
		return;
	spg__ctx_end(g->ctx, -ECANCELED);
	/* No memory for a foreign thread's waiter: it never had children then. */
	if (spg__wait_begin_uncancelable(&wait, SPG__REASON_GROUP, g) == 0) {
		(void)wait_all(g, &wait);
		spg__wait_end(&wait);
	}
	spg__ctx_drop(g->ctx);
	spg__leak_gone(SPG__LEAK_GROUP, (uintptr_t)g);
	spg__free(g);
}
