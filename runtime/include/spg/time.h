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

/**
 * spg_now - the time.
 *
 * Return: ns on CLOCK_MONOTONIC.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: clock_gettime(2). Since: 0.1.
 */
SPG_API int64_t spg_now(void);

/**
 * spg_sleep - sleep.
 * @ns: from now; 0 and negative ones let other coroutines run, and return
 *
 * Wakes no earlier; later by spg_config.timer_slack_ns, where timers are dense by up to 25 times
 * that (a wake-up serves many), and by what runs meanwhile.
 *
 * Return: 0, or
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: nanosleep(2). Since: 0.1.
 */
SPG_API int spg_sleep(int64_t ns);

/**
 * spg_sleep_until - sleep until a point in time.
 * @when: ns on CLOCK_MONOTONIC; past ones let other coroutines run, and return
 *
 * Return: 0, or
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: clock_nanosleep(2), TIMER_ABSTIME. Since: 0.1.
 */
SPG_API int spg_sleep_until(int64_t when);

/**
 * spg_timer_new - make a timer that is not set.
 *
 * Return: the timer, for spg_timer_free; NULL: no memory.
 * Cancellation: none. Threads: any. Allocates: the timer. Source: Go's time.NewTimer.
 * Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_timer *spg_timer_new(void);

/**
 * spg_timer_reset - set a timer, or set it anew.
 * @t:    borrowed
 * @when: ns on CLOCK_MONOTONIC; past ones expire at once
 *
 * Who waits for it already waits for the new time.
 *
 * Return: 0, or
 *   -EINVAL  t is NULL
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's Timer.Reset. Since: 0.1.
 */
SPG_API int spg_timer_reset(spg_timer *t, int64_t when);

/**
 * spg_timer_wait - wait until the time a timer is set to.
 * @t: borrowed; one that is not set is waited for until somebody sets it
 *
 * Return: 0, or
 *   -ECANCELED  the context was canceled; or spg_timer_stop was called meanwhile, and then
 *               the caller's spg_ctx_err stays 0
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EINVAL     t is NULL
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any, several at once; a coroutine parks and may resume on
 * another thread. Allocates: nothing. Source: timerfd_settime(2). Since: 0.1.
 */
SPG_API int spg_timer_wait(spg_timer *t);

/**
 * spg_timer_expired - is a timer set, and its time past?
 * @t: borrowed; NULL: false
 *
 * Return: true or false.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API bool spg_timer_expired(const spg_timer *t);

/**
 * spg_timer_deadline - the time a timer is set to.
 * @t: borrowed
 *
 * Return: ns on CLOCK_MONOTONIC; INT64_MAX: it is not set, or NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: timerfd_gettime(2). Since: 0.1.
 */
SPG_API int64_t spg_timer_deadline(const spg_timer *t);

/**
 * spg_timer_stop - unset a timer; who waits for it returns -ECANCELED.
 * @t: borrowed
 *
 * Return: 1: it was set, its time still to come; 0: it was not; or
 *   -EINVAL  t is NULL
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's Timer.Stop. Since: 0.1.
 */
SPG_API int spg_timer_stop(spg_timer *t);

/**
 * spg_timer_free - free a timer.
 * @t: gone afterwards; nobody may wait for it: that ends the process; NULL does nothing
 *
 * Return: nothing.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_timer_free(spg_timer *t);

/**
 * spg_ticker_new - make a ticker: ticks at start, start + period, start + 2 * period ...
 * @start:  the first tick, ns on CLOCK_MONOTONIC
 * @period: ns between two ticks
 * @policy: what happens after ticks nobody took in time: SPG_MISSED_BURST, SPG_MISSED_DELAY
 *          or SPG_MISSED_SKIP
 *
 * Return: the ticker, for spg_ticker_free; NULL: period <= 0, an unknown policy, or no memory.
 * Cancellation: none. Threads: any. Allocates: the ticker. Source: Go's time.NewTicker;
 * Tokio's MissedTickBehavior. Since: 0.1.
 */
SPG_API SPG_MUST_USE spg_ticker *spg_ticker_new(int64_t start, int64_t period, int policy);

/**
 * spg_ticker_wait - wait for the next tick, and take it.
 * @t:         borrowed
 * @scheduled: receives the time it was due, ns on CLOCK_MONOTONIC; may be NULL
 *
 * Several may wait: each tick is taken by one of them.
 *
 * Return: 0, or, and then no tick was taken,
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EINVAL     t is NULL
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: Go's time.Ticker. Since: 0.1.
 */
SPG_API int spg_ticker_wait(spg_ticker *t, int64_t *scheduled);

/**
 * spg_ticker_free - free a ticker.
 * @t: gone afterwards; nobody may wait for it; NULL does nothing
 *
 * Return: nothing.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_ticker_free(spg_ticker *t);

SPG__EXTERN_C_END

#endif
