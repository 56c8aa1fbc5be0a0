/*
 * spg/ctx.h - contexts: cancellation and deadlines, and groups of coroutines.
 *
 * A tree as in Go's package context, but ambient: each coroutine and foreign thread has a
 * current context, spawned coroutines inherit it, every blocking call obeys it.
 */
#ifndef SPG_CTX_H
#define SPG_CTX_H

#include <spg/base.h>

SPG__EXTERN_C_BEGIN

/**
 * spg_ctx_new - a child context that ends with its parent, or by spg_ctx_cancel.
 * @parent: borrowed; NULL: the caller's current context
 *
 * Return: the context with one reference, for spg_ctx_unref; NULL: no memory.
 * Cancellation: none: under a parent that has ended it is born ended. Threads: any.
 * Allocates: the context. Source: Go's context.WithCancel. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_new(spg_ctx *parent);

/**
 * spg_ctx_with_deadline - a child context that also ends at a point in time.
 * @parent: borrowed; NULL: the caller's current context
 * @when:   ns on CLOCK_MONOTONIC, may lie in the past; an earlier deadline of the parent counts
 *
 * Return: the context with one reference, for spg_ctx_unref; NULL: no memory.
 * Cancellation: none: under a parent that has ended it is born ended. Threads: any.
 * Allocates: the context. Source: Go's context.WithDeadline. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_with_deadline(spg_ctx *parent, int64_t when);

/**
 * spg_ctx_with_timeout - a child context that also ends some time from now.
 * @parent: borrowed; NULL: the caller's current context
 * @ns:     from now; negative counts as 0; a sum beyond int64_t never comes
 *
 * Return: the context with one reference, for spg_ctx_unref; NULL: no memory.
 * Cancellation: none: under a parent that has ended it is born ended. Threads: any.
 * Allocates: the context. Source: Go's context.WithTimeout. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_with_timeout(spg_ctx *parent, int64_t ns);

/**
 * spg_ctx_cancel - end a context and its whole subtree.
 * @c: borrowed; NULL does nothing; a context that has ended stays as it is
 *
 * When it returns, spg_ctx_err of c and its descendants is set and every blocking call
 * under them is on its way back. It does not wait for them.
 *
 * Return: nothing.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's context.CancelFunc.
 * Since: 0.1.
 */
SPG_API void spg_ctx_cancel(spg_ctx *c);

/**
 * spg_ctx_err - has a context ended, and how?
 * @c: borrowed; NULL: what ends the caller's own calls now, scopes and shields counted
 *
 * Return: 0: it goes on; or
 *   -ECANCELED  it was canceled
 *   -ETIMEDOUT  its deadline passed first
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's Context.Err.
 * Since: 0.1.
 */
SPG_API int spg_ctx_err(spg_ctx *c);

/**
 * spg_ctx_deadline - when a context ends at the latest.
 * @c:    borrowed; NULL: the nearest deadline of the caller, scopes and shields counted
 * @when: receives it, in ns on CLOCK_MONOTONIC; untouched after an error
 *
 * Return: 0, or
 *   -ENOENT  there is none
 *   -EINVAL  when is NULL
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's Context.Deadline.
 * Since: 0.1.
 */
SPG_API int spg_ctx_deadline(spg_ctx *c, int64_t *when);

/**
 * spg_ctx_done - a channel that is closed when a context ends.
 * @c: borrowed; NULL: the caller's current context, without the scopes
 *
 * For spg_select, beside other channels; no value is ever sent on it. The end by a
 * deadline is announced only while a runtime runs; a cancel always is.
 *
 * Return: the channel, borrowed: it lives as long as the context; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the channel, at the first call for c.
 * Source: Go's Context.Done. Since: 0.1.
 */
SPG_API spg_chan *spg_ctx_done(spg_ctx *c);

/**
 * spg_ctx_after - spawn fn(arg) when a context ends; at once if it has ended.
 * @c:   borrowed, a reference is held meanwhile; NULL: the current context, without the scopes
 * @fn:  runs in a coroutine of its own, under the root context
 * @arg: passed to fn
 *
 * When the context ends and no runtime runs by then, or there is no memory for the
 * coroutine, fn does not run.
 *
 * Return: 0, or
 *   -EINVAL  fn is NULL
 *   -ENOMEM  no memory
 *   -ESRCH   the context has ended, and no runtime is running
 *   -EAGAIN  the context has ended, and coroutines_max live already
 * Cancellation: none. Threads: any. Allocates: a node, until c ends.
 * Source: Go's context.AfterFunc. Since: 0.1.
 */
SPG_API int spg_ctx_after(spg_ctx *c, spg_fn fn, void *arg);

/**
 * spg_ctx_current - the caller's current context.
 *
 * What spawned coroutines inherit: without the scopes, and inside a shield too.
 *
 * Return: the context, borrowed until the caller leaves it; NULL: no memory (a foreign
 * thread's first call).
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API spg_ctx *spg_ctx_current(void);

/**
 * spg_ctx_enter - make a context the caller's current one, until spg_ctx_leave.
 * @c: a reference is held meanwhile
 *
 * Enters and leaves nest, last in, first out, also with scopes. Inside a shield the
 * context that is entered counts: only what was current at the shield's start is held back.
 *
 * Return: the context that was current, for spg_ctx_leave; NULL: c is NULL, or no memory
 * (a foreign thread's first call), and nothing was changed.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_enter(spg_ctx *c);

/**
 * spg_ctx_leave - make the context from before spg_ctx_enter current again.
 * @previous: what spg_ctx_enter returned; NULL does nothing
 *
 * Return: nothing. A leave without an enter ends the process.
 * Cancellation: none. Threads: the coroutine or foreign thread that entered.
 * Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_ctx_leave(spg_ctx *previous);

/**
 * spg_ctx_ref - take one more reference to a context.
 * @c: NULL is passed through
 *
 * Return: c.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API spg_ctx *spg_ctx_ref(spg_ctx *c);

/**
 * spg_ctx_unref - give a reference to a context back.
 * @c: NULL does nothing
 *
 * It does not cancel: coroutines that run under the context hold references of their own.
 *
 * Return: nothing.
 * Cancellation: none. Threads: any. Allocates: nothing; the last one frees. Source: -.
 * Since: 0.1.
 */
SPG_API void spg_ctx_unref(spg_ctx *c);

/**
 * spg_ctx_set - put a value into a context, seen by it and its descendants.
 * @c:     borrowed
 * @key:   compared by address; a static variable's is unique
 * @value: borrowed: nobody frees it; a former value under key is replaced
 *
 * Return: 0, or
 *   -EINVAL  c is NULL, or the root context
 *   -ENOMEM  no memory
 * Cancellation: none. Threads: any. Allocates: a node, freed with the context.
 * Source: Go's context.WithValue. Since: 0.1.
 */
SPG_API int spg_ctx_set(spg_ctx *c, const void *key, void *value);

/**
 * spg_ctx_get - find the nearest value under a key, from a context upwards.
 * @c:   borrowed; NULL: the caller's current context
 * @key: as given to spg_ctx_set
 *
 * Return: the value; NULL: none was set.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's Context.Value.
 * Since: 0.1.
 */
SPG_API void *spg_ctx_get(spg_ctx *c, const void *key);

/* A scope's frame: on the stack of the coroutine that opened it. */
struct spg__scope {
	struct spg__scope *previous;
	uint64_t saved[4];
};
SPG_API void spg__scope_timeout_enter(struct spg__scope *scope, int64_t ns);
SPG_API void spg__scope_shield_enter(struct spg__scope *scope);
SPG_API void spg__scope_leave(struct spg__scope *scope);

/**
 * spg_group_new - make a group: coroutines that are waited for, and canceled, together.
 * @limit: children that run at once, at most; 0 or less: no limit
 *
 * Its context is a child of the caller's current one.
 *
 * Return: the group, for spg_group_free; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the group and its context.
 * Source: Go's errgroup, Trio's nurseries. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_group *spg_group_new(int limit);

/**
 * spg_group_go - run fn(arg) as a child of a group; waits at the limit.
 * @g:   borrowed
 * @fn:  its first negative result in the group cancels the others
 * @arg: passed to fn
 *
 * The child runs under the group's context, bounded by the caller's nearest deadline,
 * scopes counted. In a group that was canceled children still start, and find their
 * context ended.
 *
 * Return: 0, or, and then fn does not run,
 *   -ECANCELED  the caller's context was canceled while it waited at the limit
 *   -ETIMEDOUT  the caller's deadline passed while it waited at the limit
 *   -EINVAL     g or fn is NULL
 *   -ENOMEM     no memory
 *   -EAGAIN     coroutines_max live already
 *   -ESRCH      no runtime is running
 * Cancellation: at the limit. Threads: any; at the limit a coroutine parks and may resume
 * on another thread. Allocates: a node, until fn starts. Source: Go's errgroup.Group.Go.
 * Since: 0.1.
 */
SPG_API int spg_group_go(spg_group *g, int (*fn)(void *), void *arg);

/**
 * spg_group_wait - wait until all children of a group have ended.
 * @g: borrowed; may be used again afterwards
 *
 * Return: 0; or the first negative result of a child, which canceled the others; or
 *   -ECANCELED  the caller's context was canceled: children may still run
 *   -ETIMEDOUT  the caller's deadline passed: children may still run
 *   -EINVAL     g is NULL
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: of the wait, not of the children. Threads: any; a coroutine parks and may
 * resume on another thread. Allocates: nothing. Source: Go's errgroup.Group.Wait.
 * Since: 0.1.
 */
SPG_API int spg_group_wait(spg_group *g);

/**
 * spg_group_cancel - cancel the children of a group.
 * @g: borrowed; NULL does nothing
 *
 * Return: nothing.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_group_cancel(spg_group *g);

/**
 * spg_group_free - cancel the children of a group, wait until all have ended, and free it.
 * @g: gone afterwards; NULL does nothing
 *
 * Return: nothing.
 * Cancellation: none: it waits whatever becomes of the caller's context. Threads: any but
 * the group's own children; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_group_free(spg_group *g);

SPG__EXTERN_C_END

#define SPG__JOIN2(a, b) a##b
#define SPG__JOIN(a, b) SPG__JOIN2(a, b)

/*
 * SPG_TIMEOUT_SCOPE(ns);  until the end of the block, calls fail with -ETIMEDOUT after ns
 * SPG_SHIELD_SCOPE();     until the end of the block, contexts and deadlines current at its
 *                         start are held back
 *
 * Declarations at the start of a block. A scope belongs to the calling coroutine or thread.
 * The nearest deadline wins; scopes opened inside a shield apply. Do not jump past one.
 */
#ifdef __cplusplus
struct spg__timeout_scope : spg__scope {
	explicit spg__timeout_scope(int64_t ns)
	{
		spg__scope_timeout_enter(this, ns);
	}
	~spg__timeout_scope()
	{
		spg__scope_leave(this);
	}
	spg__timeout_scope(const spg__timeout_scope &) = delete;
	spg__timeout_scope &operator=(const spg__timeout_scope &) = delete;
};
struct spg__shield_scope : spg__scope {
	spg__shield_scope()
	{
		spg__scope_shield_enter(this);
	}
	~spg__shield_scope()
	{
		spg__scope_leave(this);
	}
	spg__shield_scope(const spg__shield_scope &) = delete;
	spg__shield_scope &operator=(const spg__shield_scope &) = delete;
};
#define SPG_TIMEOUT_SCOPE(ns) spg__timeout_scope SPG__JOIN(spg__scope_, __COUNTER__)(ns)
#define SPG_SHIELD_SCOPE() spg__shield_scope SPG__JOIN(spg__scope_, __COUNTER__)
#else
static inline int spg__scope_opened_timeout(struct spg__scope *scope, int64_t ns)
{
	spg__scope_timeout_enter(scope, ns);
	return 0;
}
static inline int spg__scope_opened_shield(struct spg__scope *scope)
{
	spg__scope_shield_enter(scope);
	return 0;
}
#define SPG__SCOPE(name, open)                                                                     \
	__attribute__((cleanup(spg__scope_leave), unused)) struct spg__scope name;                 \
	__attribute__((unused)) int SPG__JOIN(name, _open) = open
#define SPG__TIMEOUT_SCOPE(name, ns) SPG__SCOPE(name, spg__scope_opened_timeout(&name, (ns)))
#define SPG__SHIELD_SCOPE(name) SPG__SCOPE(name, spg__scope_opened_shield(&name))
#define SPG_TIMEOUT_SCOPE(ns) SPG__TIMEOUT_SCOPE(SPG__JOIN(spg__scope_, __COUNTER__), ns)
#define SPG_SHIELD_SCOPE() SPG__SHIELD_SCOPE(SPG__JOIN(spg__scope_, __COUNTER__))
#endif

#endif
