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
 * @m: borrowed, not NULL; of all zero bytes at first
 *
 * Waits until the mutex is free, whatever becomes of the caller's context.
 *
 * Return: 0, or
 *   -EDEADLK  the caller holds it already
 *   -ENOMEM   a foreign thread's first call found no memory
 * Cancellation: none. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_mutex_lock(3), error-checking kind. Since: 0.1.
 */
SPG_API int spg_mutex_lock(spg_mutex *m);

/**
 * spg_mutex_lock_ctx - lock a mutex, unless the caller's context ends first.
 * @m: borrowed, not NULL
 *
 * Return: 0, or, and then the caller does not hold it by this call,
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EDEADLK    the caller holds it already
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_mutex_timedlock(3). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_mutex_lock_ctx(spg_mutex *m);

/**
 * spg_mutex_trylock - lock a mutex if it is free.
 * @m: borrowed, not NULL
 *
 * Return: 0, or
 *   -EBUSY    another holds it
 *   -EDEADLK  the caller holds it already
 *   -ENOMEM   a foreign thread's first call found no memory
 * Cancellation: none: contexts are ignored. Threads: any. Allocates: nothing.
 * Source: pthread_mutex_trylock(3). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_mutex_trylock(spg_mutex *m);

/**
 * spg_mutex_unlock - unlock a mutex.
 * @m: borrowed, not NULL; may be gone as soon as another could lock it
 *
 * The owner is a coroutine or a foreign thread, not the thread that happens to run it.
 *
 * Return: 0, or
 *   -EPERM  the caller does not hold it
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_mutex_unlock(3).
 * Since: 0.1.
 */
SPG_API int spg_mutex_unlock(spg_mutex *m);

/**
 * spg_rwlock_rdlock - lock for reading, together with other readers.
 * @rw: borrowed, not NULL; of all zero bytes at first
 *
 * Phase-fair: a writer that waits holds back new readers, and a writer that leaves lets in
 * the readers that wait by then. So a reader must not lock again for reading: with a writer
 * between the two it waits for itself.
 *
 * Return: 0, or
 *   -EDEADLK  the caller holds it for writing
 *   -ENOMEM   a foreign thread's first call found no memory
 * Cancellation: none. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_rwlock_rdlock(3). Since: 0.1.
 */
SPG_API int spg_rwlock_rdlock(spg_rwlock *rw);

/**
 * spg_rwlock_rdlock_ctx - lock for reading, unless the caller's context ends first.
 * @rw: borrowed, not NULL
 *
 * Return: 0, or, and then it is not locked by this call,
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EDEADLK    the caller holds it for writing
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_rwlock_timedrdlock(3). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_rwlock_rdlock_ctx(spg_rwlock *rw);

/**
 * spg_rwlock_wrlock - lock for writing, alone.
 * @rw: borrowed, not NULL
 *
 * A reader that locks for writing waits for itself.
 *
 * Return: 0, or
 *   -EDEADLK  the caller holds it for writing
 *   -ENOMEM   a foreign thread's first call found no memory
 * Cancellation: none. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_rwlock_wrlock(3). Since: 0.1.
 */
SPG_API int spg_rwlock_wrlock(spg_rwlock *rw);

/**
 * spg_rwlock_wrlock_ctx - lock for writing, unless the caller's context ends first.
 * @rw: borrowed, not NULL
 *
 * Return: 0, or, and then it is not locked by this call,
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EDEADLK    the caller holds it for writing
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_rwlock_timedwrlock(3). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_rwlock_wrlock_ctx(spg_rwlock *rw);

/**
 * spg_rwlock_unlock - unlock, for a reader or the writer.
 * @rw: borrowed, not NULL
 *
 * Readers are counted, not named: a caller that holds nothing while readers do is not found.
 *
 * Return: 0, or
 *   -EPERM  another holds it for writing, or nobody holds it
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pthread_rwlock_unlock(3).
 * Since: 0.1.
 */
SPG_API int spg_rwlock_unlock(spg_rwlock *rw);

/**
 * spg_cond_wait - unlock a mutex, wait for a signal, lock the mutex again.
 * @c: borrowed, not NULL; of all zero bytes at first
 * @m: borrowed, not NULL; held by the caller, and held again whatever is returned, but -EPERM
 *
 * Unlocks and begins to wait in one step: no signal falls between. A signal that meets the
 * context's end is reported as 0, so none is lost. Look at the condition again in any case.
 *
 * Return: 0, or
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EPERM      the caller does not hold m; nothing was done
 * Cancellation: yes; locking m again is not cut short. Threads: any; a coroutine parks and
 * may resume on another thread. Allocates: nothing. Source: pthread_cond_wait(3). Since: 0.1.
 */
SPG_API int spg_cond_wait(spg_cond *c, spg_mutex *m);

/**
 * spg_cond_signal - wake the one that has waited longest.
 * @c: borrowed, not NULL
 *
 * Return: 0, also when nobody waits: then the signal is lost, as with pthreads.
 * Cancellation: none. Threads: any, with or without the mutex. Allocates: nothing.
 * Source: pthread_cond_signal(3). Since: 0.1.
 */
SPG_API int spg_cond_signal(spg_cond *c);

/**
 * spg_cond_broadcast - wake all that wait.
 * @c: borrowed, not NULL
 *
 * Return: 0, also when nobody waits.
 * Cancellation: none. Threads: any, with or without the mutex. Allocates: nothing.
 * Source: pthread_cond_broadcast(3). Since: 0.1.
 */
SPG_API int spg_cond_broadcast(spg_cond *c);

/**
 * spg_sem_init - make a semaphore.
 * @s: filled; not NULL
 * @n: units at first
 *
 * There is no counterpart to call: a semaphore nobody waits on may simply go.
 *
 * Return: 0, or
 *   -EINVAL  n is negative
 * Cancellation: none. Threads: before others use it. Allocates: nothing.
 * Source: sem_init(3). Since: 0.1.
 */
SPG_API int spg_sem_init(spg_sem *s, int n);

/**
 * spg_sem_acquire - take a unit; first in, first out.
 * @s: borrowed, not NULL
 *
 * Return: 0, or, and then none was taken,
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: sem_wait(3). Since: 0.1.
 */
SPG_API int spg_sem_acquire(spg_sem *s);

/**
 * spg_sem_try_acquire - take a unit if there is one.
 * @s: borrowed, not NULL
 *
 * Return: 0, or
 *   -EAGAIN  there is none
 * Cancellation: none: contexts are ignored. Threads: any. Allocates: nothing.
 * Source: sem_trywait(3). Since: 0.1.
 */
SPG_API int spg_sem_try_acquire(spg_sem *s);

/**
 * spg_sem_release - give a unit; the one that has waited longest gets it.
 * @s: borrowed, not NULL; need not be who took one
 *
 * Return: 0, or
 *   -EOVERFLOW  2^31 - 1 units are there already
 * Cancellation: none. Threads: any. Allocates: nothing. Source: sem_post(3). Since: 0.1.
 */
SPG_API int spg_sem_release(spg_sem *s);

/**
 * spg_wg_add - add to a wait group.
 * @w: borrowed, not NULL; of all zero bytes at first
 * @n: may be negative; at zero all that wait are woken
 *
 * Return: 0, or, and then nothing was changed,
 *   -EINVAL     it would fall below zero
 *   -EOVERFLOW  it would exceed 2^31 - 1
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's sync.WaitGroup.Add.
 * Since: 0.1.
 */
SPG_API int spg_wg_add(spg_wg *w, int n);

/**
 * spg_wg_done - take one off a wait group.
 * @w: borrowed, not NULL; may be gone as soon as the last one is done
 *
 * Return: 0, or
 *   -EINVAL  it is zero already
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's sync.WaitGroup.Done.
 * Since: 0.1.
 */
SPG_API int spg_wg_done(spg_wg *w);

/**
 * spg_wg_wait - wait until a wait group is zero.
 * @w: borrowed, not NULL; the caller may let it go when 0 was returned
 *
 * What happened before each spg_wg_done happened before this returns 0.
 *
 * Return: 0, or
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any, several at once; a coroutine parks and may resume on
 * another thread. Allocates: nothing. Source: Go's sync.WaitGroup.Wait. Since: 0.1.
 */
SPG_API int spg_wg_wait(spg_wg *w);

/**
 * spg_once_do - run fn(arg) once in the life of o; return when it has returned.
 * @o:   borrowed, not NULL; of all zero bytes at first
 * @fn:  run by the first caller, on its own stack
 * @arg: passed to fn
 *
 * Return: 0: fn has run, now or before; or
 *   -ECANCELED  the context was canceled: before the call, or while another ran fn
 *   -ETIMEDOUT  the context's deadline passed: before the call, or while another ran fn
 *   -EDEADLK    called from fn itself
 *   -EINVAL     fn is NULL
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: of the wait for another; once fn has run, none. Threads: any; a coroutine
 * parks and may resume on another thread. Allocates: nothing. Source: pthread_once(3),
 * Go's sync.Once. Since: 0.1.
 */
SPG_API int spg_once_do(spg_once *o, void (*fn)(void *), void *arg);

/**
 * spg_barrier_init - make a barrier.
 * @b: filled; not NULL
 * @n: callers that meet
 *
 * Return: 0, or
 *   -EINVAL  n is 0
 * Cancellation: none. Threads: before others use it. Allocates: nothing.
 * Source: pthread_barrier_init(3). Since: 0.1.
 */
SPG_API int spg_barrier_init(spg_barrier *b, unsigned n);

/**
 * spg_barrier_wait - wait until n callers are there; then the barrier starts anew.
 * @b: borrowed, not NULL
 *
 * Return: 1 to one of the n, the last to come; 0 to the others; or
 *   -ECANCELED  the context was canceled: the caller left and is not counted
 *   -ETIMEDOUT  the context's deadline passed first: the same
 *   -EINVAL     of all zero bytes: spg_barrier_init was not called
 *   -ENOMEM     a foreign thread's first call found no memory
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: pthread_barrier_wait(3). Since: 0.1.
 */
SPG_API int spg_barrier_wait(spg_barrier *b);

SPG__EXTERN_C_END

#endif
