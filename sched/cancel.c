#include "sched/cancel.h"

#include "coro/alloc.h"
#include "coro/leak.h"
#include "sched/park.h"
#include "sched/shard.h"

/* Waiters woken per hold of the lock. */
#define WAKE_BATCH 32

/* Both are static and never freed; ended and reset by the runtime. */
static struct spg__ctx root = { .is_root = true };
/* Of foreign threads: never ends. */
static struct spg__ctx background = { .is_root = true };

struct spg__ctx *spg__ctx_root(void)
{
	return &root;
}

struct spg__ctx *spg__ctx_background(void)
{
	return &background;
}

/* Static nodes' lists are linked at first use, before any thread of ours runs. */
__attribute__((constructor)) static void roots_init(void)
{
	struct spg__ctx *nodes[] = { &root, &background };

	for (int i = 0; i < 2; i++) {
		nodes[i]->deadline_ns = SPG__NEVER;
		spg__list_init(&nodes[i]->children);
		spg__list_init(&nodes[i]->waiters);
		spg__list_init(&nodes[i]->hooks);
		spg__list_init(&nodes[i]->sibling);
	}
}

void spg__ctx_root_reset(void)
{
	if (root.done != NULL)
		root.free_done(root.done);
	root.done = NULL;
	spg__list_init(&root.hooks);
	/* seq_cst: as C2's stores; no coroutine lives. */
	atomic_store_explicit(&root.state, 0, memory_order_seq_cst);
}

void spg__ctx_forked(void)
{
	/* relaxed: there is no other thread. */
	atomic_store_explicit(&root.lock.held, 0, memory_order_relaxed);
	atomic_store_explicit(&background.lock.held, 0, memory_order_relaxed);
}

static void deadline_fire(struct spg__timer *timer)
{
	struct spg__ctx *ctx = spg__container_of(timer, struct spg__ctx, timer);

	/* A runtime that stops fires early: the deadline still bounds every wait by itself (C5). */
	if (spg__clock_ns() >= ctx->deadline_ns)
		spg__ctx_end(ctx, -ETIMEDOUT);
	spg__ctx_drop(ctx);
}

void spg__ctx_init(struct spg__ctx *ctx, struct spg__ctx *parent, int64_t deadline_ns)
{
	int state;

	*ctx = (struct spg__ctx){ .deadline_ns = deadline_ns < parent->deadline_ns ? deadline_ns :
										     parent->deadline_ns };
	atomic_init(&ctx->refs, 1);
	spg__list_init(&ctx->children);
	spg__list_init(&ctx->waiters);
	spg__list_init(&ctx->hooks);
	spg__list_init(&ctx->sibling);
	spg__timer_init(&ctx->timer, NULL, deadline_fire);
	ctx->parent = spg__ctx_hold(parent);
	spg__lock(&parent->lock);
	/* seq_cst [C2], C4: under the lock either we see the end, or the walk sees us. */
	state = atomic_load_explicit(&parent->state, memory_order_seq_cst);
	atomic_init(&ctx->state, state); /* before a walk can find it and end it */
	if (state == 0)
		spg__list_append(&parent->children, &ctx->sibling);
	spg__unlock(&parent->lock);
}

struct spg__ctx *spg__ctx_create(struct spg__ctx *parent, int64_t deadline_ns)
{
	struct spg__ctx *ctx = spg__alloc(sizeof(*ctx));

	if (ctx != NULL)
		spg__ctx_init(ctx, parent, deadline_ns);
	return ctx;
}

static void free_values(struct spg__ctx_value *value)
{
	while (value != NULL) {
		struct spg__ctx_value *next = value->next;

		spg__free(value);
		value = next;
	}
}

void spg__ctx_drop(struct spg__ctx *ctx)
{
	/* A chain of last references is dropped in a loop, not by recursion. */
	while (ctx != NULL && !ctx->is_root) {
		struct spg__ctx *parent = ctx->parent;

		/* acq_rel: the last one sees what the others did. */
		if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
			return;
		/* Under the parent's lock also a walk that is just passing us is waited for. */
		spg__lock(&parent->lock);
		spg__list_remove(&ctx->sibling);
		spg__unlock(&parent->lock);
		/* A child holds a reference, and so does every hook but the done channel's own. */
		SPG_CHECK(spg__list_empty(&ctx->children));
		if (ctx->done != NULL)
			ctx->free_done(ctx->done);
		free_values(ctx->values);
		spg__leak_gone(SPG__LEAK_CTX, (uintptr_t)ctx);
		spg__free(ctx);
		ctx = parent;
	}
}

/* Wakes all waiters of the node, in batches, so that the lock is held briefly each time (L1). */
static void wake_waiters(struct spg__ctx *ctx)
{
	struct spg__waiter *batch[WAKE_BATCH];
	struct spg__list pending;
	unsigned n;

	spg__list_init(&pending);
	spg__lock(&ctx->lock);
	spg__list_splice(&pending, &ctx->waiters);
	do {
		struct spg__list *node;

		for (n = 0; n < WAKE_BATCH && (node = spg__list_first(&pending)) != NULL; n++) {
			spg__list_remove(node);
			spg__list_append(&ctx->waiters, node);
			batch[n] = spg__container_of(node, struct spg__waiter, in_ctx);
		}
		spg__unlock(&ctx->lock);
		/* C2. One that has left meanwhile gets a stale permit (W1, P3). */
		for (unsigned i = 0; i < n; i++)
			spg__unpark(batch[i]);
		spg__lock(&ctx->lock);
	} while (!spg__list_empty(&pending));
	spg__unlock(&ctx->lock);
}

/* Ends the children nobody has ended; those we won go on the work list, with a reference. */
static struct spg__ctx *win_children(struct spg__ctx *ctx, int err, struct spg__ctx *work)
{
	struct spg__list *node;

	spg__lock(&ctx->lock);
	for (node = ctx->children.next; node != &ctx->children; node = node->next) {
		struct spg__ctx *child = spg__container_of(node, struct spg__ctx, sibling);
		uint32_t refs;
		int running = 0;

		/* seq_cst [C2], C1. Our lock keeps a child in memory that waits to unlink itself. */
		if (!atomic_compare_exchange_strong_explicit(&child->state, &running, err,
							     memory_order_seq_cst, memory_order_relaxed))
			continue;
		refs = atomic_load_explicit(&child->refs, memory_order_relaxed);
		while (refs != 0 && !atomic_compare_exchange_weak_explicit(&child->refs, &refs, refs + 1,
									   memory_order_acq_rel,
									   memory_order_relaxed))
			continue;
		if (refs == 0)
			continue; /* its last reference is gone: it has no waiters, hooks or children */
		child->walk_next = work;
		work = child;
	}
	spg__unlock(&ctx->lock);
	return work;
}

static void run_hooks(struct spg__ctx *ctx, int err)
{
	for (;;) {
		struct spg__list *node;

		spg__lock(&ctx->lock);
		node = spg__list_first(&ctx->hooks);
		if (node != NULL)
			spg__list_remove(node);
		spg__unlock(&ctx->lock);
		if (node == NULL)
			return;
		spg__container_of(node, struct spg__ctx_hook, link)->fn(
			spg__container_of(node, struct spg__ctx_hook, link), err);
	}
}

void spg__ctx_end(struct spg__ctx *ctx, int err)
{
	struct spg__ctx *work = ctx;
	int running = 0;

	if (err == -ECANCELED && ctx->deadline_ns != SPG__NEVER && spg__clock_ns() >= ctx->deadline_ns)
		err = -ETIMEDOUT; /* it had ended already */
	/* seq_cst [C2], C1. */
	if (!atomic_compare_exchange_strong_explicit(&ctx->state, &running, err, memory_order_seq_cst,
						     memory_order_relaxed))
		return;
	spg__ctx_hold(ctx);
	ctx->walk_next = NULL;
	while (work != NULL) {
		struct spg__ctx *node = work;

		work = win_children(node, err, node->walk_next);
		wake_waiters(node);
		/* The timer's reference goes with it, unless it fires right now and drops it itself. */
		if (node->timer_started && spg__timer_stop(&node->timer))
			spg__ctx_drop(node);
		run_hooks(node, err);
		spg__ctx_drop(node);
	}
}

bool spg__ctx_hook_add(struct spg__ctx *ctx, struct spg__ctx_hook *hook)
{
	bool added, arm = false;

	spg__lock(&ctx->lock);
	/* seq_cst [C2]: the winner empties the list under this lock after it stored the state. */
	added = atomic_load_explicit(&ctx->state, memory_order_seq_cst) == 0;
	if (added) {
		spg__list_append(&ctx->hooks, &hook->link);
		arm = ctx->deadline_ns != SPG__NEVER && !ctx->timer_started;
		ctx->timer_started |= arm;
	}
	spg__unlock(&ctx->lock);
	if (!arm)
		return added;
	spg__ctx_hold(ctx);
	if (!spg__timer_start(&ctx->timer, ctx->deadline_ns)) {
		/* No runtime: nobody keeps time. A later hook may find one. */
		spg__lock(&ctx->lock);
		ctx->timer_started = false;
		spg__unlock(&ctx->lock);
		spg__ctx_drop(ctx);
	} else if (spg__ctx_state(ctx) != 0 && spg__timer_stop(&ctx->timer)) {
		spg__ctx_drop(ctx); /* it ended while we armed; the walk may have missed the timer */
	}
	return added;
}

/* C7: what the movable deadlines say. */
static int moving_err(const struct spg__waiter *w)
{
	for (const struct spg__moving *m = w->moving; m != NULL; m = m->outer) {
		/* seq_cst, both [C7]. */
		int ended = atomic_load_explicit(&m->deadline->ended, memory_order_seq_cst);
		int64_t when = atomic_load_explicit(&m->deadline->when_ns, memory_order_seq_cst);

		if (ended != 0)
			return ended;
		if (when != SPG__NEVER && spg__clock_ns() >= when)
			return -ETIMEDOUT;
	}
	return 0;
}

int64_t spg__moving_nearest(const struct spg__waiter *w, int64_t deadline_ns)
{
	for (const struct spg__moving *m = w->moving; m != NULL; m = m->outer) {
		/* seq_cst [C7]. */
		int64_t when = atomic_load_explicit(&m->deadline->when_ns, memory_order_seq_cst);

		if (when < deadline_ns)
			deadline_ns = when;
	}
	return deadline_ns < SPG__MOVABLE ? deadline_ns : SPG__NEVER;
}

void spg__moving_enter(struct spg__waiter *w, struct spg__moving *moving, struct spg__deadline *deadline)
{
	*moving = (struct spg__moving){ .outer = w->moving, .deadline = deadline };
	w->moving = moving;
	spg__waiter_update(w);
}

void spg__moving_leave(struct spg__waiter *w, struct spg__moving *moving)
{
	SPG_CHECK(w->moving == moving);
	w->moving = moving->outer;
	spg__waiter_update(w);
}

void spg__count_timeout(void)
{
	struct spg__shard *shard = spg__shard_self();

	if (shard != NULL)
		spg__count(&shard->counters.timeouts);
}

spg__noinline int spg__waiter_err_slow(struct spg__waiter *w)
{
	struct spg__ctx *ctx = w->canceler;
	int state = ctx != NULL ? atomic_load_explicit(&ctx->state, memory_order_seq_cst) : 0;

	if (state == -ETIMEDOUT || (state == 0 && w->deadline_ns < SPG__MOVABLE && spg__clock_ns() >= w->deadline_ns)) {
		spg__count_timeout();
		return -ETIMEDOUT;
	}
	if (state != 0)
		return state;
	state = moving_err(w);
	if (state == -ETIMEDOUT)
		spg__count_timeout();
	if (state != 0)
		return state;
	/* relaxed: stored before an unpark (P4), or stale, and then seen at the next park. A shield holds it back. */
	if (ctx != NULL && atomic_load_explicit(&w->interrupted, memory_order_relaxed))
		return -ECANCELED;
	return 0;
}

void spg__waiter_update(struct spg__waiter *w)
{
	int64_t deadline = w->scope_deadline_ns;

	if (w->canceler != NULL && w->canceler->deadline_ns < deadline)
		deadline = w->canceler->deadline_ns;
	if (w->moving != NULL && deadline > SPG__MOVABLE)
		deadline = SPG__MOVABLE; /* C7 */
	w->deadline_ns = deadline;
}

static void join_ctx(struct spg__waiter *w, struct spg__ctx *ctx)
{
	w->ctx = ctx;
	if (ctx->is_root) /* C6 */
		return;
	spg__lock(&ctx->lock);
	spg__list_append(&ctx->waiters, &w->in_ctx);
	spg__unlock(&ctx->lock);
}

static struct spg__ctx *leave_ctx(struct spg__waiter *w)
{
	struct spg__ctx *ctx = w->ctx;

	if (!ctx->is_root) { /* C3 */
		spg__lock(&ctx->lock);
		spg__list_remove(&w->in_ctx);
		spg__unlock(&ctx->lock);
	}
	return ctx;
}

void spg__waiter_bind(struct spg__waiter *w, struct spg__ctx *ctx)
{
	w->scope = NULL;
	w->moving = NULL;
	w->scope_deadline_ns = SPG__NEVER;
	w->enter_depth = 0;
	w->canceler = ctx;
	w->deadline_ns = ctx->deadline_ns;
	join_ctx(w, ctx);
}

void spg__waiter_unbind(struct spg__waiter *w)
{
	spg__ctx_drop(leave_ctx(w));
	w->ctx = w->canceler = NULL;
}

struct spg__ctx *spg__waiter_swap(struct spg__waiter *w, struct spg__ctx *ctx)
{
	struct spg__ctx *old = leave_ctx(w);

	w->canceler = ctx;
	join_ctx(w, ctx);
	spg__waiter_update(w);
	return old;
}
