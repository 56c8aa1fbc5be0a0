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
 * @parent: NULL: the caller's current context
 *
 * Return: the context with one reference; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the context. Source: Go's context.WithCancel. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_new(spg_ctx *parent);

/**
 * spg_ctx_with_deadline - a child context that also ends at a point in time.
 * @parent: NULL: the caller's current context
 * @when:   the parent's deadline counts too, if it is earlier
 *
 * Return: the context with one reference; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the context. Source: Go's context.WithDeadline. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_with_deadline(spg_ctx *parent, int64_t when);

/** spg_ctx_with_timeout - the same, ns from now; negative counts as 0. Since: 0.1. */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_with_timeout(spg_ctx *parent, int64_t ns);

/**
 * spg_ctx_cancel - end a context and its whole subtree.
 * @c: NULL does nothing; a context that has ended stays as it is
 *
 * Return: nothing; blocking calls under it are on their way back.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API void spg_ctx_cancel(spg_ctx *c);

/**
 * spg_ctx_err - has the context ended?
 * @c: NULL: the caller's current one, scopes and shields counted
 *
 * Return: 0; -ECANCELED; -ETIMEDOUT.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_ctx_err(spg_ctx *c);

/**
 * spg_ctx_deadline - the context's deadline.
 * @c:    NULL: the caller's nearest one, scopes and shields counted
 * @when: receives it
 *
 * Return: 0; -ENOENT: none; -EINVAL: when is NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_ctx_deadline(spg_ctx *c, int64_t *when);

/**
 * spg_ctx_done - a channel that is closed when the context ends.
 * @c: NULL: the caller's current context, without the scopes
 *
 * Deadlines need a running runtime to be announced on it.
 *
 * Return: the channel, borrowed: it lives as long as the context; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the channel, the first time. Since: 0.1.
 */
SPG_API spg_chan *spg_ctx_done(spg_ctx *c);

/**
 * spg_ctx_after - spawn fn(arg) when the context ends; at once if it has ended.
 * @c: NULL: the caller's current context, without the scopes
 *
 * The coroutine runs under the root context. It is not spawned when no runtime runs by then.
 *
 * Return: 0; -ENOMEM; -EINVAL: fn is NULL; -ESRCH: it has ended, and no runtime runs.
 * Cancellation: none. Threads: any. Allocates: a node. Source: Go's context.AfterFunc. Since: 0.1.
 */
SPG_API int spg_ctx_after(spg_ctx *c, spg_fn fn, void *arg);

/** spg_ctx_current - the caller's current context, borrowed, without the scopes; NULL: no memory. Threads: any. Since: 0.1. */
SPG_API spg_ctx *spg_ctx_current(void);

/**
 * spg_ctx_enter - make c the caller's current context, until spg_ctx_leave.
 *
 * Enters and leaves nest, last in, first out. A reference is held meanwhile.
 *
 * Return: the context that was current, for spg_ctx_leave; NULL: c is NULL, or no memory.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ctx *spg_ctx_enter(spg_ctx *c);

/** spg_ctx_leave - back to what spg_ctx_enter returned; NULL does nothing. Threads: the one that entered. Since: 0.1. */
SPG_API void spg_ctx_leave(spg_ctx *previous);

/** spg_ctx_ref - one reference more. Returns c. NULL is passed through. Threads: any. Since: 0.1. */
SPG_API spg_ctx *spg_ctx_ref(spg_ctx *c);

/** spg_ctx_unref - give a reference back; it does not cancel. NULL is allowed. Threads: any. Since: 0.1. */
SPG_API void spg_ctx_unref(spg_ctx *c);

/**
 * spg_ctx_set - put a value into the context, seen by it and its descendants.
 * @key: compared by address
 *
 * Return: 0; -ENOMEM; -EINVAL: c is NULL, or the root.
 * Cancellation: none. Threads: any. Allocates: a node. Source: Go's context.WithValue. Since: 0.1.
 */
SPG_API int spg_ctx_set(spg_ctx *c, const void *key, void *value);

/** spg_ctx_get - the nearest value under key, from c (NULL: current) upwards; NULL: none. Threads: any. Since: 0.1. */
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
 * spg_group_new - a group of coroutines that end together.
 * @limit: most children that run at once; <= 0: no limit
 *
 * Its context is a child of the caller's current one.
 *
 * Return: the group; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the group. Source: errgroup, nurseries. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_group *spg_group_new(int limit);

/**
 * spg_group_go - run fn(arg) as a child of the group; waits at the limit.
 *
 * The child runs under the group's context, bounded by the caller's nearest deadline. In a
 * group that has ended children still start, and find their context ended.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT: the caller's context ended while it waited at the
 * limit; -ENOMEM, -EAGAIN, -ESRCH as spg_go; -EINVAL: g or fn is NULL.
 * Cancellation: at the limit. Threads: any. Allocates: a node. Since: 0.1.
 */
SPG_API int spg_group_go(spg_group *g, int (*fn)(void *), void *arg);

/**
 * spg_group_wait - wait until all children have ended.
 *
 * Return: 0; the first negative result of a child, which canceled the others; or
 * -ECANCELED, -ETIMEDOUT: the caller's context ended first, children may still run;
 * -EINVAL: g is NULL; -ENOMEM.
 * Cancellation: of the wait. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_group_wait(spg_group *g);

/** spg_group_cancel - cancel the group's context. NULL is allowed. Threads: any. Since: 0.1. */
SPG_API void spg_group_cancel(spg_group *g);

/** spg_group_free - cancel, wait for all children, whatever the caller's context, and free. NULL is allowed. Threads: any. Since: 0.1. */
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
