/*
 * spg/time.h - the clock, sleeping, timers, tickers. int64_t ns on CLOCK_MONOTONIC.
 */
#ifndef SPG_TIME_H
#define SPG_TIME_H

#include <spg/base.h>

/* What a ticker does after a late tick. */
enum {
	SPG_MISSED_BURST, /* catches up: the missed ticks come at once */
	SPG_MISSED_DELAY, /* the next tick a period after the late one */
	SPG_MISSED_SKIP,  /* the next tick at the next multiple of the period */
};

SPG__EXTERN_C_BEGIN

/** spg_now - ns on CLOCK_MONOTONIC. Threads: any. Since: 0.1. */
SPG_API int64_t spg_now(void);

/**
 * spg_sleep - sleep for ns; negative counts as 0, and 0 yields.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT: the context ended first; -ENOMEM (a foreign thread's
 * first call).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: nanosleep(2). Since: 0.1.
 */
SPG_API int spg_sleep(int64_t ns);

/** spg_sleep_until - the same until a point in time; past ones yield and return. Since: 0.1. */
SPG_API int spg_sleep_until(int64_t when);

/**
 * spg_timer_new - a resettable timer, not set.
 *
 * Return: the timer; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the timer. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_timer *spg_timer_new(void);

/**
 * spg_timer_reset - set the timer, or set it anew; waiters wait for the new time.
 *
 * Return: 0; -EINVAL: t is NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_timer_reset(spg_timer *t, int64_t when);

/**
 * spg_timer_wait - wait until the time the timer is set to.
 *
 * A timer that is not set is waited for until somebody sets it.
 *
 * Return: 0; -ECANCELED: spg_timer_stop was called meanwhile (spg_ctx_err stays 0), or the
 * context was canceled; -ETIMEDOUT: the context's deadline passed first; -EINVAL: t is
 * NULL; -ENOMEM.
 * Cancellation: yes. Threads: any, several at once. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_timer_wait(spg_timer *t);

/** spg_timer_expired - is it set, and its time past? Threads: any. Since: 0.1. */
SPG_API bool spg_timer_expired(const spg_timer *t);

/** spg_timer_deadline - the time it is set to; INT64_MAX: not set. Threads: any. Since: 0.1. */
SPG_API int64_t spg_timer_deadline(const spg_timer *t);

/**
 * spg_timer_stop - unset the timer; its waiters return -ECANCELED.
 *
 * Return: 1: it was set and its time still to come; 0: not; -EINVAL: t is NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's Timer.Stop. Since: 0.1.
 */
SPG_API int spg_timer_stop(spg_timer *t);

/** spg_timer_free - free a timer nobody waits for; NULL is allowed. Threads: any. Since: 0.1. */
SPG_API void spg_timer_free(spg_timer *t);

/**
 * spg_ticker_new - ticks at start, start + period, ...
 * @policy: what happens after a late tick: SPG_MISSED_BURST, _DELAY, _SKIP
 *
 * Return: the ticker; NULL: period <= 0, an unknown policy, or no memory.
 * Cancellation: none. Threads: any. Allocates: the ticker. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ticker *spg_ticker_new(int64_t start, int64_t period, int policy);

/**
 * spg_ticker_wait - wait for the next tick.
 * @scheduled: receives the time it was due; may be NULL
 *
 * Several waiters share the ticks: each tick is taken by one.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT: no tick was taken; -EINVAL: t is NULL; -ENOMEM.
 * Cancellation: yes. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_ticker_wait(spg_ticker *t, int64_t *scheduled);

/** spg_ticker_free - free a ticker nobody waits for; NULL is allowed. Threads: any. Since: 0.1. */
SPG_API void spg_ticker_free(spg_ticker *t);

SPG__EXTERN_C_END

#endif
