/*
 * Contexts as the scheduler sees them: a tree of nodes with a state, a deadline
 * and a list of the waiters whose current context they are.
 *
 * C1  state goes from 0 to -ECANCELED or -ETIMEDOUT once, by CAS: the winner
 *     walks the node, and only the winner.
 * C2  The canceler stores the state (seq_cst) and then unparks every waiter in
 *     the node's list, under the node's lock. A waiter checks the state before
 *     each park; a state stored after that check comes with an unpark after it,
 *     whose permit the park protocol keeps (P1). So no cancel is lost.
 * C3  The waiter leaves the list, under the lock, before its context reference
 *     goes. The canceler touches nothing of the waiter but its state word.
 * C4  A child is linked under its parent's lock, after a look at the parent's
 *     state: it is born ended if the parent has ended, else the walk finds it.
 * C5  A child's deadline is never later than its parent's. Deadlines need no
 *     timer to end waits: each wait is bounded by the deadline it finds. A node
 *     has a timer only when somebody asked for its done channel or an after.
 * C6  The root keeps no list of waiters: ending it walks all coroutines. A waiter
 *     whose context is the root is not linked.
 * C7  A movable deadline belongs to an object whose calls it bounds, those under way too.
 *     Its owner stores it (seq_cst) and then unparks every waiter under it, as in C2. A
 *     waiter under one has a deadline_ns of SPG__MOVABLE at most, so that waits without
 *     any pay nothing; each look reads the movable ones anew. A shield holds them back.
 *
 * Rejected: a hook published by each park and taken by the canceler. It costs two
 * RMWs on every park; here a canceled coroutine costs one switch more, once.
 */
#ifndef SPG__SCHED_CANCEL_H
#define SPG__SCHED_CANCEL_H

#include "coro/clock.h"
#include "coro/lock.h"
#include "coro/waiter.h"
#include "sched/timer.h"

/* Called once when the context ends, outside all locks. Freed by the callee. */
struct spg__ctx_hook {
	struct spg__list link;
	void (*fn)(struct spg__ctx_hook *hook, int err);
};

/* A value in the context, found by walking up. */
struct spg__ctx_value {
	struct spg__ctx_value *next;
	const void *key;
	void *value;
};

struct spg__ctx {
	_Atomic uint32_t refs;
	_Atomic int state;
	bool is_root;
	/* Read-only after the constructor. */
	int64_t deadline_ns;
	struct spg__ctx *parent;
	struct spg__lock lock;
	/* Under lock. */
	struct spg__list children, waiters, hooks;
	struct spg__ctx_value *values;
	/* Under the parent's lock. */
	struct spg__list sibling;
	/* The walk's work list: of the winner of C1 only. */
	struct spg__ctx *walk_next;
	/* Under lock; armed when there are hooks and a deadline. Holds a reference while queued. */
	struct spg__timer timer;
	bool timer_started;
	/* What the runtime keeps with it: the done channel. Under lock. */
	void *done;
	void (*free_done)(void *done);
};

/* When calls of an object end with -ETIMEDOUT; and what they end with at once, if not 0. */
struct spg__deadline {
	_Atomic int64_t when_ns;
	_Atomic int ended;
};

/* On the stack of a call under a movable deadline: one of a chain. */
struct spg__moving {
	struct spg__moving *outer;
	struct spg__deadline *deadline;
};

/* From here on w's waits obey the deadline too, until the leave; as scopes, last in first out. */
void spg__moving_enter(struct spg__waiter *w, struct spg__moving *moving, struct spg__deadline *deadline);
void spg__moving_leave(struct spg__waiter *w, struct spg__moving *moving);

/* The nearest of deadline_ns and the movable ones, now. */
int64_t spg__moving_nearest(const struct spg__waiter *w, int64_t deadline_ns);

/* The root: ended by the runtime's shutdown. Never freed. */
struct spg__ctx *spg__ctx_root(void);
/* Of a runtime that starts: no coroutine lives. */
void spg__ctx_root_reset(void);

/* What foreign threads start with: it never ends. */
struct spg__ctx *spg__ctx_background(void);

/* In a child of fork: the locks of these two are free. */
void spg__ctx_forked(void);

/* A node with one reference; inherits the parent's deadline when earlier. NULL: no memory. */
struct spg__ctx *spg__ctx_create(struct spg__ctx *parent, int64_t deadline_ns);

/* The same in memory of the caller's, freed by free(3) at the last unref. */
void spg__ctx_init(struct spg__ctx *ctx, struct spg__ctx *parent, int64_t deadline_ns);

void spg__ctx_end(struct spg__ctx *ctx, int err);

/* Adds a hook; false: the context has ended already, nothing was added. */
bool spg__ctx_hook_add(struct spg__ctx *ctx, struct spg__ctx_hook *hook);

/* 0, -ECANCELED or -ETIMEDOUT of the node alone (its ancestors' ends have reached it). */
static inline int spg__ctx_state(struct spg__ctx *ctx)
{
	/* seq_cst [C2]. */
	int state = atomic_load_explicit(&ctx->state, memory_order_seq_cst);

	if (state == 0 && spg__unlikely(ctx->deadline_ns != SPG__NEVER) &&
	    spg__clock_ns() >= ctx->deadline_ns)
		return -ETIMEDOUT;
	return state;
}

/* Slow half of spg__waiter_err: something may have ended. */
int spg__waiter_err_slow(struct spg__waiter *w);
/* A call found that its deadline has passed. */
void spg__count_timeout(void);

/* What ends the waiter's calls now: 0, -ECANCELED or -ETIMEDOUT; scopes and shields counted. */
static inline int spg__waiter_err(struct spg__waiter *w)
{
	struct spg__ctx *ctx = w->canceler;

	/* seq_cst [C2]; relaxed would do for interrupted: its store comes with an unpark. */
	if (spg__likely((ctx == NULL ||
			 atomic_load_explicit(&ctx->state, memory_order_seq_cst) == 0) &&
			w->deadline_ns == SPG__NEVER &&
			!atomic_load_explicit(&w->interrupted, memory_order_relaxed)))
		return 0;
	return spg__waiter_err_slow(w);
}

/* When its calls end; SPG__NEVER: no deadline is known now. */
static inline int64_t spg__waiter_deadline(const struct spg__waiter *w)
{
	return spg__likely(w->moving == NULL) ? w->deadline_ns : spg__moving_nearest(w, w->deadline_ns);
}

/* Makes ctx (a reference is taken over) the waiter's context at birth, and drops it at death. */
void spg__waiter_bind(struct spg__waiter *w, struct spg__ctx *ctx);
void spg__waiter_unbind(struct spg__waiter *w);

/* Replaces the current context, keeping membership right. The reference moves in; the old one moves out. */
struct spg__ctx *spg__waiter_swap(struct spg__waiter *w, struct spg__ctx *ctx);

/* Recomputes w->deadline_ns after a change of canceler or scopes. */
void spg__waiter_update(struct spg__waiter *w);

static inline struct spg__ctx *spg__ctx_hold(struct spg__ctx *ctx)
{
	/* relaxed: the caller holds a reference already. */
	if (!ctx->is_root)
		atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
	return ctx;
}

void spg__ctx_drop(struct spg__ctx *ctx);

#endif
