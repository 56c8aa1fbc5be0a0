/*
 * spg/call.h - code that blocks, and calls from other threads into the runtime.
 */
#ifndef SPG_CALL_H
#define SPG_CALL_H

#include <spg/base.h>

SPG__EXTERN_C_BEGIN

/**
 * spg_blocking - run fn where it may block its thread.
 * @fn:     runs on a thread of the blocking pool; on a foreign thread, on the caller itself
 * @arg:    passed to it
 * @result: receives what it returned; may be NULL
 *
 * The pool has at most spg_config.blocking_max threads, and spg_config.blocking_queue
 * calls may wait for one. fn must not use coroutine-local values of the caller; spg's
 * calls in it wait as on any foreign thread, under no context.
 *
 * Return: 0: fn has run; or, and then it never ran,
 *   -ECANCELED  the context was canceled while the call was queued
 *   -ETIMEDOUT  the context's deadline passed while it was queued
 *   -EAGAIN     blocking_queue calls wait already
 *   -ENOMEM     no thread could be started
 *   -EINVAL     fn is NULL
 * Cancellation: while queued; once fn runs it is waited for. Threads: any.
 * Allocates: a thread, at times. Source: -. Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_blocking(void *(*fn)(void *), void *arg, void **result);

/**
 * spg_call - run fn as a coroutine and wait until it has returned.
 * @fn:         runs on a shard; its calls block that coroutine alone
 * @arg:        passed to it
 * @timeout_ns: for the whole call, the wait for a turn included; negative: no limit
 * @result:     receives what fn returned, whenever it ran; may be NULL
 *
 * How a thread that is no shard asks something of the runtime. fn runs under a context of its
 * own, a child of the caller's (of the root's, for a thread that entered none), with the nearer of
 * timeout_ns and the caller's own deadline, scopes included. When the caller is canceled or that
 * deadline passes, fn's blocking calls fail; the call still waits until fn has returned, so what
 * arg points to may lie on the caller's stack. A coroutine may call it as well, and parks.
 * spg_config.calls_max bounds the calls in flight.
 *
 * Return: 0: fn ran, unhindered; or
 *   -ETIMEDOUT  the deadline passed before fn had returned, or before it had its turn
 *   -ECANCELED  the caller's context was canceled, or the runtime stopped, before fn had returned
 *   -EAGAIN     calls_max calls are in flight; fn never ran. Or coroutines_max are alive
 *   -ENOMEM     no memory; fn never ran
 *   -ESRCH      no runtime is running
 *   -EINVAL     fn is NULL
 * Cancellation: see above. Threads: any. Allocates: a coroutine and a context, until it returns.
 * Source: -. Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_call(int (*fn)(void *), void *arg, int64_t timeout_ns, int *result);

SPG__EXTERN_C_END

#endif
