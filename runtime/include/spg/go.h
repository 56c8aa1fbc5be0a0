/*
 * spg/go.h - coroutines: spawning, placement, joining, yielding, local values.
 */
#ifndef SPG_GO_H
#define SPG_GO_H

#include <spg/base.h>

/*
 * Where a coroutine runs. A constant expression: usable in static initialisers.
 *   SPG_ANY        the spawner's queue, stealable
 *   SPG_SPREAD     the next shard in turn, stealable
 *   SPG_PIN(s)     only ever on shard s
 *   SPG_PREFER(s)  starts on shard s, stealable
 *   SPG_STICKY(k)  a stable hash of the 64-bit key k chooses the shard, pinned
 */
typedef uint64_t spg_place;

#define SPG__PLACE(kind) ((spg_place)(kind) << 60)
#define SPG__KIND_OF(place) ((unsigned)((place) >> 60))
#define SPG_ANY SPG__PLACE(0)
#define SPG_SPREAD SPG__PLACE(1)
#define SPG_PIN(shard) (SPG__PLACE(2) | (uint32_t)(shard))
#define SPG_PREFER(shard) (SPG__PLACE(3) | (uint32_t)(shard))
#define SPG_STICKY(key) (SPG__PLACE(4) | ((uint64_t)(key) * 0x9E3779B97F4A7C15u) >> 4)

/* All zero: the defaults. */
typedef struct spg_attr {
	const char *name;  /* copied, 15 bytes at most */
	size_t stack_size; /* bytes, rounded up to a power of two; 0: spg_config.stack_size */
	spg_place place;
	spg_ctx *ctx;	   /* to run under; NULL: the spawner's current one */
} spg_attr;

#ifdef __cplusplus
#define SPG_ATTR_INIT { nullptr, 0, SPG_ANY, nullptr }
#else
#define SPG_ATTR_INIT { NULL, 0, SPG_ANY, NULL }
#endif

typedef uint32_t spg_key;

SPG__EXTERN_C_BEGIN

typedef void (*spg__key_dtor)(void *value);

/* What spg_go calls. */
SPG_API int spg__go_fn(spg_fn fn, void *arg);
SPG_API int spg__go_start(void *(*fn)(void *), void *arg);

/**
 * spg_go_copy - run fn in a new coroutine with a private copy of data.
 * @fn:   gets the copy, aligned for any type, which is freed when fn returns
 * @data: size bytes, borrowed; may be NULL when size is 0
 * @size: bytes, any
 *
 * Return: 0, or
 *   -ENOMEM  no memory
 *   -EAGAIN  coroutines_max live already
 *   -EINVAL  fn is NULL, or data is NULL and size is not 0
 *   -ESRCH   no runtime is running
 * Cancellation: none. Threads: any. Allocates: the copy, and from the runtime's pools.
 * Source: -. Since: 0.1.
 */
SPG_API int spg_go_copy(spg_fn fn, const void *data, size_t size);

/**
 * spg_go_attr - run fn(arg) in a new coroutine with attributes.
 * @a:   borrowed; NULL: the defaults
 * @fn:  its function
 * @arg: passed to fn
 *
 * Return: 0, or
 *   -ENOMEM  no memory
 *   -EAGAIN  coroutines_max live already
 *   -EINVAL  fn is NULL, no such shard, or a stack that is too large
 *   -ESRCH   no runtime is running
 * Cancellation: none. Threads: any. Allocates: from the runtime's pools.
 * Source: pthread_attr_init(3). Since: 0.1.
 */
SPG_API int spg_go_attr(const spg_attr *a, spg_fn fn, void *arg);

/**
 * spg_spawn - run fn(arg) in a new coroutine that can be joined and canceled.
 * @a:   borrowed; NULL: the defaults
 * @fn:  its result is handed to spg_join
 * @arg: passed to fn
 *
 * It runs under a context of its own, a child of the caller's current one or of a->ctx.
 *
 * Return: a handle, to be given to spg_join or spg_detach once; NULL: no memory,
 * coroutines_max live already, fn is NULL or a bad attribute, or no runtime is running.
 * Cancellation: none. Threads: any. Allocates: the handle, and from the runtime's pools.
 * Source: pthread_create(3). Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_task *spg_spawn(const spg_attr *a, void *(*fn)(void *), void *arg);

/**
 * spg_join - wait until a task has returned; frees the handle.
 * @t:      gone afterwards; after an error it is still the caller's
 * @result: receives what its function returned; may be NULL
 *
 * What the task did happened before this returns 0.
 *
 * Return: 0, or
 *   -ECANCELED  the caller's context was canceled first
 *   -ETIMEDOUT  the caller's deadline passed first
 *   -EDEADLK    the task is the caller
 *   -EINVAL     t is NULL
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: of the wait, not of the task. Threads: any; a coroutine parks and may
 * resume on another thread. Allocates: nothing. Source: pthread_join(3). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_join(spg_task *t, void **result);

/**
 * spg_task_cancel - cancel a task and its descendants, nobody else.
 * @t: borrowed; one that has returned already is left as it is
 *
 * Return: 0, or
 *   -EINVAL  t is NULL
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API int spg_task_cancel(spg_task *t);

/**
 * spg_detach - give up a handle; the task runs on, its result is dropped.
 * @t: gone afterwards
 *
 * Return: 0, or
 *   -EINVAL  t is NULL
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_detach(3). Since: 0.1.
 */
SPG_API int spg_detach(spg_task *t);

/**
 * spg_yield - let other runnable coroutines of this shard run first.
 *
 * On a foreign thread it does nothing.
 *
 * Return: nothing. Cancellation: none. Threads: any; a coroutine may resume on another
 * thread. Allocates: nothing. Source: sched_yield(2). Since: 0.1.
 */
SPG_API void spg_yield(void);

/**
 * spg_in_coroutine - is the caller a coroutine?
 *
 * Return: true; false on a foreign thread.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API bool spg_in_coroutine(void);

/**
 * spg_id - the caller's id.
 *
 * Return: a number no other coroutine of this process has or had; 0 on a foreign thread.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_self(3). Since: 0.1.
 */
SPG_API uint64_t spg_id(void);

/**
 * spg_set_name - name the calling coroutine, for dumps, traces and gdb.
 * @name: copied, 15 bytes at most; NULL: none
 *
 * Return: nothing; on a foreign thread it does nothing.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_setname_np(3). Since: 0.1.
 */
SPG_API void spg_set_name(const char *name);

/**
 * spg_shard - the shard that runs the caller.
 *
 * Return: 0 to spg_shards() - 1, true until the next blocking call unless the caller is
 * pinned; -1 on a foreign thread.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: sched_getcpu(3). Since: 0.1.
 */
SPG_API int spg_shard(void);

/**
 * spg_shards - how many shards run.
 *
 * Return: 1 to SPG_SHARDS_MAX; 0: no runtime is running.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API int spg_shards(void);

/**
 * spg_stack_high_water - the deepest stack use of the caller so far.
 *
 * Read from the stack's resident pages: stacks are reused, so what an earlier coroutine
 * touched counts too. An upper bound, exact on a fresh stack.
 *
 * Return: bytes; 0 on a foreign thread.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: mincore(2). Since: 0.1.
 */
SPG_API size_t spg_stack_high_water(void);

/**
 * spg_pin_self - stay on the shard that runs the caller now.
 *
 * Return: 0, or
 *   -ESRCH  the caller is no coroutine
 * Cancellation: none. Threads: coroutines. Allocates: nothing. Source: Go's
 * runtime.LockOSThread. Since: 0.1.
 */
SPG_API int spg_pin_self(void);

/**
 * spg_unpin_self - let other shards take the caller again.
 *
 * Return: 0, also when it was not pinned, or
 *   -ESRCH  the caller is no coroutine
 * Cancellation: none. Threads: coroutines. Allocates: nothing. Source: Go's
 * runtime.UnlockOSThread. Since: 0.1.
 */
SPG_API int spg_unpin_self(void);

/**
 * spg_key_create - make a key for values of each coroutine and foreign thread.
 * @key:  receives it
 * @dtor: called with a value that is not NULL when its coroutine or thread ends; may be NULL
 *
 * Destructors may set values again: they are called up to four times.
 *
 * Return: 0, or
 *   -EAGAIN  1,024 keys are in use
 *   -EINVAL  key is NULL
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_key_create(3).
 * Since: 0.1.
 */
SPG_API int spg_key_create(spg_key *key, void (*dtor)(void *));

/**
 * spg_key_set - set the caller's value under a key.
 * @key:   of spg_key_create
 * @value: borrowed; a former value is forgotten, no destructor runs
 *
 * Return: 0, or
 *   -EINVAL  no such key
 *   -ENOMEM  no memory
 * Cancellation: none. Threads: any. Allocates: room for the caller's values, at times.
 * Source: pthread_setspecific(3). Since: 0.1.
 */
SPG_API int spg_key_set(spg_key key, const void *value);

/**
 * spg_key_get - the caller's value under a key.
 * @key: of spg_key_create
 *
 * Return: the value; NULL: none was set, or no such key.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_getspecific(3).
 * Since: 0.1.
 */
SPG_API void *spg_key_get(spg_key key);

/**
 * spg_key_delete - give a key back; its values are forgotten, no destructor runs.
 * @key: of spg_key_create
 *
 * Return: 0, or
 *   -EINVAL  no such key
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_key_delete(3).
 * Since: 0.1.
 */
SPG_API int spg_key_delete(spg_key key);

SPG__EXTERN_C_END

/**
 * spg_go - run fn(arg) in a new coroutine.
 * @fn:  void fn(void *), or a pthread start routine (its result is dropped)
 * @arg: passed to it
 *
 * The child inherits the caller's current context, without its scopes.
 *
 * Return: 0, or
 *   -ENOMEM  no memory
 *   -EAGAIN  coroutines_max live already
 *   -EINVAL  fn is NULL (spg_go_attr: no such shard, or a stack that is too large)
 *   -ESRCH   no runtime is running
 * Cancellation: none. Threads: any. Allocates: from the runtime's pools.
 * Source: Go spec, "Go statements". Since: 0.1.
 */
#ifdef __cplusplus
static inline int spg_go(spg_fn fn, void *arg)
{
	return spg__go_fn(fn, arg);
}
static inline int spg_go(void *(*fn)(void *), void *arg)
{
	return spg__go_start(fn, arg);
}
template <class F> static inline auto spg_go(F fn, void *arg) -> decltype(spg_go(+fn, arg))
{
	return spg_go(+fn, arg);
}
#else
#define spg_go(fn, arg)                                                                            \
	_Generic((fn), void *(*)(void *): spg__go_start, default: spg__go_fn)((fn), (arg))
#endif

#endif
