/*
 * Contexts and scopes: the public face of sched/cancel.h.
 *
 * Y1  spg_ctx_enter moves a reference in and the former one out, spg_ctx_leave back.
 * Y2  canceler is the current context, or NULL while the depth of enters is that of the
 *     nearest open shield: what was current at its start is held back.
 * Y3  A scope's frame keeps what leaving it restores: the former scope and the former
 *     nearest deadline of scopes; a shield's also its depth of enters, for Y2, and the
 *     movable deadlines (C7) it holds back.
 * Y4  Foreign threads start under one context that never ends, which is nobody's to cancel:
 *     a thread gets one of its own, for good, when it first asks for its current one.
 */
#include "runtime/ctx.h"

#include "coro/alloc.h"
#include "coro/leak.h"
#include "runtime/spawn.h"
#include "sched/park.h"

#include <spg/chan.h>
#include <spg/ctx.h>

enum { SAVED_DEADLINE, SAVED_KIND, SAVED_DEPTH, SAVED_MOVING };
enum { KIND_TIMEOUT, KIND_SHIELD };

/* Y2: after a change of the current context or of the shields. */
static void set_canceler(struct spg__waiter *w)
{
	struct spg__scope *scope = w->scope;

	while (scope != NULL && scope->saved[SAVED_KIND] != KIND_SHIELD)
		scope = scope->previous;
	w->canceler = scope != NULL && scope->saved[SAVED_DEPTH] == w->enter_depth ? NULL : w->ctx;
	spg__waiter_update(w);
}

/* Y4. NULL: no memory. */
static struct spg__ctx *own_context(struct spg__waiter *w)
{
	struct spg__ctx *own = spg__ctx_create(w->ctx, SPG__NEVER);

	if (own == NULL)
		return NULL;
	(void)spg__waiter_swap(w, own); /* the former one counts no references */
	set_canceler(w);
	return own;
}

static struct spg__ctx *or_current(struct spg__ctx *c)
{
	struct spg__waiter *w;

	if (c != NULL)
		return c;
	w = spg__self();
	if (w == NULL)
		return NULL;
	return spg__unlikely(w->ctx == spg__ctx_background()) ? own_context(w) : w->ctx;
}

static struct spg__ctx *ctx_new(struct spg__ctx *parent, int64_t when, const void *site)
{
	struct spg__ctx *c;

	parent = or_current(parent);
	c = parent != NULL ? spg__ctx_create(parent, when) : NULL;
	if (c != NULL)
		spg__leak_made(SPG__LEAK_CTX, (uintptr_t)c, site);
	return c;
}

spg_ctx *spg_ctx_with_deadline(spg_ctx *parent, int64_t when)
{
	return ctx_new(parent, when, __builtin_return_address(0));
}

spg_ctx *spg_ctx_new(spg_ctx *parent)
{
	return ctx_new(parent, SPG__NEVER, __builtin_return_address(0));
}

spg_ctx *spg_ctx_with_timeout(spg_ctx *parent, int64_t ns)
{
	return ctx_new(parent, spg__clock_after_ns(spg__clock_ns(), ns), __builtin_return_address(0));
}

static void wake(struct spg__coro *coro, void *arg)
{
	(void)arg;
	/* acquire: the waiter of a life is valid. A stale permit does no harm (P3). */
	if (atomic_load_explicit(&coro->life, memory_order_acquire) != SPG__LIFE_FREE)
		spg__unpark(&coro->waiter);
}

/* The root keeps no list of waiters (C6): all coroutines look again. */
static void cancel_root(struct spg__ctx *root)
{
	bool foreign = spg__shard_self() == NULL;

	spg__ctx_end(root, -ECANCELED);
	if (foreign && spg__shard_enter_foreign() == NULL)
		return;
	spg__coro_each(wake, NULL);
	if (foreign)
		spg__shard_leave_foreign();
}

void spg_ctx_cancel(spg_ctx *c)
{
	if (c == NULL || c == spg__ctx_background()) /* Y4 */
		return;
	if (spg__unlikely(c->is_root))
		cancel_root(c);
	else
		spg__ctx_end(c, -ECANCELED);
}

int spg_ctx_err(spg_ctx *c)
{
	struct spg__waiter *w;

	if (c != NULL)
		return spg__ctx_state(c);
	w = spg__self();
	return w != NULL ? spg__waiter_err(w) : 0;
}

int spg_ctx_deadline(spg_ctx *c, int64_t *when)
{
	struct spg__waiter *w = c == NULL ? spg__self() : NULL;
	int64_t deadline = c != NULL ? c->deadline_ns : w != NULL ? spg__waiter_deadline(w) : SPG__NEVER;

	if (when == NULL)
		return -EINVAL;
	if (deadline == SPG__NEVER)
		return -ENOENT;
	*when = deadline;
	return 0;
}

struct done {
	struct spg__ctx_hook hook;
	spg_chan *chan;
};

static void done_end(struct spg__ctx_hook *hook, int err)
{
	(void)err;
	spg_chan_close(spg__container_of(hook, struct done, hook)->chan);
}

static void done_free(void *arg)
{
	struct done *done = arg;

	spg_chan_unref(done->chan);
	spg__free(done);
}

/* Installs `done`, unless another thread was faster. Returns the one that stands. */
static struct done *done_install(struct spg__ctx *c, struct done *done)
{
	struct done *stands;

	spg__lock(&c->lock);
	if (c->done == NULL) {
		c->done = done;
		c->free_done = done_free;
	}
	stands = c->done;
	spg__unlock(&c->lock);
	if (stands != done)
		done_free(done);
	else if (!spg__ctx_hook_add(c, &done->hook))
		spg_chan_close(done->chan);
	return stands;
}

spg_chan *spg_ctx_done(spg_ctx *c)
{
	struct done *done;

	c = or_current(c);
	if (c == NULL)
		return NULL;
	spg__lock(&c->lock);
	done = c->done;
	spg__unlock(&c->lock);
	if (done != NULL)
		return done->chan;
	done = spg__calloc(1, sizeof(*done));
	if (done == NULL)
		return NULL;
	done->hook.fn = done_end;
	done->chan = spg_chan_new(0, 0);
	if (done->chan == NULL) {
		spg__free(done);
		return NULL;
	}
	spg__leak_gone(SPG__LEAK_CHAN, (uintptr_t)done->chan); /* it goes with the context */
	return done_install(c, done)->chan;
}

struct after {
	struct spg__ctx_hook hook;
	struct spg__ctx *ctx;
	spg_fn fn;
	void *arg;
};

static int after_spawn(struct after *after)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_FN, .fn = after->fn, .arg = after->arg };
	int err;

	spawn.stack_class = (unsigned)spg__stack_class(0);
	err = spg__spawn_under(&spawn, spg__ctx_root());
	spg__ctx_drop(after->ctx);
	spg__free(after);
	return err;
}

static void after_end(struct spg__ctx_hook *hook, int err)
{
	(void)err;
	(void)after_spawn(spg__container_of(hook, struct after, hook)); /* nobody left to tell */
}

int spg_ctx_after(spg_ctx *c, spg_fn fn, void *arg)
{
	struct after *after;

	if (fn == NULL)
		return -EINVAL;
	c = or_current(c);
	after = c != NULL ? spg__calloc(1, sizeof(*after)) : NULL;
	if (after == NULL)
		return -ENOMEM;
	*after = (struct after){ .hook.fn = after_end, .ctx = spg__ctx_hold(c), .fn = fn, .arg = arg };
	return spg__ctx_hook_add(c, &after->hook) ? 0 : after_spawn(after);
}

spg_ctx *spg_ctx_current(void)
{
	return or_current(NULL);
}

spg_ctx *spg_ctx_enter(spg_ctx *c)
{
	struct spg__waiter *w = spg__self();

	if (c == NULL || w == NULL)
		return NULL;
	w->enter_depth++;
	return spg__waiter_swap(w, spg__ctx_hold(c));
}

void spg_ctx_leave(spg_ctx *previous)
{
	struct spg__waiter *w = spg__self();

	if (previous == NULL)
		return;
	SPG_CHECK(w != NULL && w->enter_depth > 0);
	w->enter_depth--;
	spg__ctx_drop(spg__waiter_swap(w, previous)); /* Y1 */
	set_canceler(w);
}

spg_ctx *spg_ctx_ref(spg_ctx *c)
{
	return c != NULL ? spg__ctx_hold(c) : NULL;
}

void spg_ctx_unref(spg_ctx *c)
{
	if (c != NULL)
		spg__ctx_drop(c);
}

int spg_ctx_set(spg_ctx *c, const void *key, void *value)
{
	struct spg__ctx_value *node, *found;

	if (c == NULL || c->is_root)
		return -EINVAL;
	node = spg__alloc(sizeof(*node));
	if (node == NULL)
		return -ENOMEM;
	*node = (struct spg__ctx_value){ .key = key, .value = value };
	spg__lock(&c->lock);
	for (found = c->values; found != NULL && found->key != key; found = found->next)
		continue;
	if (found != NULL) {
		found->value = value;
	} else {
		node->next = c->values;
		c->values = node;
		node = NULL;
	}
	spg__unlock(&c->lock);
	spg__free(node);
	return 0;
}

void *spg_ctx_get(spg_ctx *c, const void *key)
{
	for (c = or_current(c); c != NULL; c = c->parent) {
		struct spg__ctx_value *node;
		void *value = NULL;

		spg__lock(&c->lock);
		for (node = c->values; node != NULL && node->key != key; node = node->next)
			continue;
		if (node != NULL)
			value = node->value;
		spg__unlock(&c->lock);
		if (node != NULL)
			return value;
	}
	return NULL;
}

/* A scope that cannot know its owner (no memory) has no effect. */
static void scope_open(struct spg__scope *scope, uint64_t kind)
{
	struct spg__waiter *w = spg__self();

	if (w == NULL) {
		scope->previous = scope;
		return;
	}
	scope->previous = w->scope;
	scope->saved[SAVED_DEADLINE] = (uint64_t)w->scope_deadline_ns;
	scope->saved[SAVED_KIND] = kind;
	scope->saved[SAVED_DEPTH] = w->enter_depth;
	scope->saved[SAVED_MOVING] = (uint64_t)(uintptr_t)w->moving;
	w->scope = scope;
}

void spg__scope_deadline_enter(struct spg__scope *scope, int64_t when)
{
	struct spg__waiter *w = spg__self();

	scope_open(scope, KIND_TIMEOUT);
	if (w == NULL)
		return;
	if (when < w->scope_deadline_ns)
		w->scope_deadline_ns = when;
	spg__waiter_update(w);
}

void spg__scope_timeout_enter(struct spg__scope *scope, int64_t ns)
{
	spg__scope_deadline_enter(scope, spg__clock_after_ns(spg__clock_ns(), ns));
}

void spg__scope_shield_enter(struct spg__scope *scope)
{
	struct spg__waiter *w = spg__self();

	scope_open(scope, KIND_SHIELD);
	if (w == NULL)
		return;
	w->scope_deadline_ns = SPG__NEVER;
	w->moving = NULL;
	set_canceler(w);
}

void spg__scope_leave(struct spg__scope *scope)
{
	struct spg__waiter *w = spg__self();

	if (w == NULL || scope->previous == scope)
		return;
	SPG_CHECK(w->scope == scope);
	w->scope = scope->previous;
	w->scope_deadline_ns = (int64_t)scope->saved[SAVED_DEADLINE];
	w->moving = (struct spg__moving *)(uintptr_t)scope->saved[SAVED_MOVING];
	set_canceler(w);
}
