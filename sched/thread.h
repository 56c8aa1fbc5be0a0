/*
 * Foreign threads as waiters. One object per thread, made at its first blocking
 * call and reused after the thread has ended; never freed (W1).
 */
#ifndef SPG__SCHED_THREAD_H
#define SPG__SCHED_THREAD_H

#include "coro/waiter.h"

struct spg__thread {
	struct spg__waiter waiter;
	/* All of them, newest first; the list only grows. */
	struct spg__thread *older;
	/* Free ones, under the registry's lock. */
	struct spg__thread *next_free;
	/* The descriptor its I/O waits on, or -1, and the eventfd that ends that wait (io/foreign.c). */
	_Atomic int io_fd;
	_Atomic int wake_fd;
	void *locals;
};

/* The caller's own; NULL on a thread that never waited. */
struct spg__thread *spg__thread_self(void);
void spg__thread_set_self(struct spg__thread *thread);

/* The caller's own, made if need be; NULL: no memory. */
struct spg__thread *spg__thread_get(void);

/* Is the caller a thread of the blocking pool? */
bool spg__pool_thread(void);
void spg__pool_thread_set(void);

/* In a child of fork: the caller, so far the coroutine, goes on as a foreign thread (sched/fork.h, K2). */
struct spg__coro;
void spg__thread_adopt(struct spg__coro *coro);

/* spg_stop: ends, once, the waits that foreign threads are in now. */
void spg__threads_interrupt(void);

void spg__threads_each(void (*visit)(struct spg__thread *thread, void *arg), void *arg);

/* Called by the thread's end for its locals; set by runtime/. */
extern void (*spg__thread_locals_end)(void *locals);

static inline struct spg__thread *spg__thread_of(struct spg__waiter *w)
{
	SPG_ASSERT(w->kind == SPG__WAITER_THREAD);
	return spg__container_of(w, struct spg__thread, waiter);
}

/* Moves the calling thread off a CPU, if it may run on another; its affinity is as before in the end. */
void spg__thread_leave_cpu(int cpu);

#endif
