/*
 * spg/call.h - code that blocks.
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

SPG__EXTERN_C_END

#endif
