/*
 * spg/sync.h - locks and their relatives, for coroutines and foreign threads at once.
 *
 * All objects are opaque words; all zero is initialised. They work without a running
 * runtime too. Barging is allowed, but a waiter past 1 ms is handed the lock. Misuse is an
 * error in every build. No call touches an object after its effect is visible to another:
 * an object may live on the waiter's stack and vanish when its wait returns.
 *
 * Every call may also return -ENOMEM on a foreign thread's first one. Nothing here
 * allocates otherwise.
 */
#ifndef SPG_SYNC_H
#define SPG_SYNC_H

#include <spg/base.h>

typedef struct spg_mutex { uint64_t spg__word[4]; } spg_mutex;
typedef struct spg_rwlock { uint64_t spg__word[8]; } spg_rwlock;
typedef struct spg_cond { uint64_t spg__word[4]; } spg_cond;
typedef struct spg_sem { uint64_t spg__word[4]; } spg_sem;
typedef struct spg_wg { uint64_t spg__word[4]; } spg_wg;
typedef struct spg_once { uint64_t spg__word[4]; } spg_once;
typedef struct spg_barrier { uint64_t spg__word[6]; } spg_barrier;

#define SPG_MUTEX_INIT { { 0, 0, 0, 0 } }
#define SPG_RWLOCK_INIT { { 0, 0, 0, 0, 0, 0, 0, 0 } }
#define SPG_COND_INIT { { 0, 0, 0, 0 } }
#define SPG_WG_INIT { { 0, 0, 0, 0 } }
#define SPG_ONCE_INIT { { 0, 0, 0, 0 } }

SPG__EXTERN_C_BEGIN

/**
 * spg_mutex_lock - lock a mutex.
 *
 * Return: 0; -EDEADLK: the caller holds it already; -ENOMEM.
 * Cancellation: none. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_mutex_lock(3), error-checking kind. Since: 0.1.
 */
SPG_API int spg_mutex_lock(spg_mutex *m);

/**
 * spg_mutex_lock_ctx - lock a mutex unless the context ends first.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT: not locked; -EDEADLK; -ENOMEM.
 * Cancellation: yes. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_mutex_lock_ctx(spg_mutex *m);

/**
 * spg_mutex_trylock - lock a mutex if it is free.
 *
 * Return: 0; -EBUSY: somebody holds it; -EDEADLK: the caller does; -ENOMEM.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_mutex_trylock(spg_mutex *m);

/**
 * spg_mutex_unlock - unlock a mutex.
 *
 * Return: 0; -EPERM: the caller does not hold it.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_mutex_unlock(spg_mutex *m);

/**
 * spg_rwlock_rdlock - lock for reading.
 *
 * Phase-fair: a waiting writer holds back new readers, and a writer that leaves lets in
 * the readers that wait by then.
 *
 * Return: 0; -EDEADLK: the caller holds it for writing; -ENOMEM.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_rwlock_rdlock(3). Since: 0.1.
 */
SPG_API int spg_rwlock_rdlock(spg_rwlock *rw);
/** spg_rwlock_rdlock_ctx - the same, or -ECANCELED, -ETIMEDOUT when the context ends first. Threads: any. Since: 0.1. */
SPG_API SPG_MUST_USE int spg_rwlock_rdlock_ctx(spg_rwlock *rw);

/**
 * spg_rwlock_wrlock - lock for writing.
 *
 * Return: 0; -EDEADLK: the caller holds it for writing; -ENOMEM.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_rwlock_wrlock(3). Since: 0.1.
 */
SPG_API int spg_rwlock_wrlock(spg_rwlock *rw);
/** spg_rwlock_wrlock_ctx - the same, or -ECANCELED, -ETIMEDOUT when the context ends first. Threads: any. Since: 0.1. */
SPG_API SPG_MUST_USE int spg_rwlock_wrlock_ctx(spg_rwlock *rw);

/**
 * spg_rwlock_unlock - unlock, for reading or writing.
 *
 * Return: 0; -EPERM: a writer other than the caller holds it, or nobody does.
 * Cancellation: none. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_rwlock_unlock(spg_rwlock *rw);

/**
 * spg_cond_wait - unlock the mutex, wait for a signal, lock the mutex again.
 *
 * Returns holding the mutex, always. A signal that met a cancel is reported as 0.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT: the context ended first; -EPERM: the caller does not
 * hold the mutex; -ENOMEM.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: pthread_cond_wait(3). Since: 0.1.
 */
SPG_API int spg_cond_wait(spg_cond *c, spg_mutex *m);
/** spg_cond_signal - wake the longest waiter. Return: 0. Threads: any. Since: 0.1. */
SPG_API int spg_cond_signal(spg_cond *c);
/** spg_cond_broadcast - wake all waiters. Return: 0. Threads: any. Since: 0.1. */
SPG_API int spg_cond_broadcast(spg_cond *c);

/**
 * spg_sem_init - a semaphore of n units.
 *
 * Return: 0; -EINVAL: n is negative.
 * Cancellation: none. Threads: before others use it. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_sem_init(spg_sem *s, int n);

/**
 * spg_sem_acquire - take a unit; first in, first out.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT: none was taken; -ENOMEM.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: sem_wait(3). Since: 0.1.
 */
SPG_API int spg_sem_acquire(spg_sem *s);
/** spg_sem_try_acquire - take a unit if there is one. Return: 0; -EAGAIN: there is none. Threads: any. Since: 0.1. */
SPG_API int spg_sem_try_acquire(spg_sem *s);
/** spg_sem_release - give a unit. Return: 0; -EOVERFLOW: 2^31 - 1 units are there. Threads: any. Since: 0.1. */
SPG_API int spg_sem_release(spg_sem *s);

/**
 * spg_wg_add - add n, which may be negative, to a wait group.
 *
 * Return: 0; -EINVAL: it would fall below zero, nothing was changed; -EOVERFLOW.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's sync.WaitGroup. Since: 0.1.
 */
SPG_API int spg_wg_add(spg_wg *w, int n);
/** spg_wg_done - spg_wg_add(w, -1). Return: 0; -EINVAL: it is zero already. Threads: any. Since: 0.1. */
SPG_API int spg_wg_done(spg_wg *w);

/**
 * spg_wg_wait - wait until a wait group is zero.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT; -ENOMEM.
 * Cancellation: yes. Threads: any. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_wg_wait(spg_wg *w);

/**
 * spg_once_do - run fn(arg) once; return when it has returned.
 *
 * Return: 0; -ECANCELED, -ETIMEDOUT: the caller's wait for another's run ended;
 * -EDEADLK: called from fn itself; -EINVAL: fn is NULL; -ENOMEM.
 * Cancellation: of the wait. Threads: any. Allocates: nothing. Source: pthread_once(3). Since: 0.1.
 */
SPG_API int spg_once_do(spg_once *o, void (*fn)(void *), void *arg);

/**
 * spg_barrier_init - a barrier for n callers.
 *
 * Return: 0; -EINVAL: n is 0.
 * Cancellation: none. Threads: before others use it. Allocates: nothing. Since: 0.1.
 */
SPG_API int spg_barrier_init(spg_barrier *b, unsigned n);

/**
 * spg_barrier_wait - wait until n callers are there; then the barrier starts anew.
 *
 * Return: 1 to the last one, 0 to the others; -ECANCELED, -ETIMEDOUT: the caller left
 * uncounted; -EINVAL: not initialised; -ENOMEM.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: pthread_barrier_wait(3). Since: 0.1.
 */
SPG_API int spg_barrier_wait(spg_barrier *b);

SPG__EXTERN_C_END

#endif
