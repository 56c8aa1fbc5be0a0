#include "sched/thread.h"

#include "coro/alloc.h"
#include "coro/lock.h"
#include "sched/cancel.h"
#include "sched/park.h"
#include "sched/shard.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

static struct {
	struct spg__lock lock;
	struct spg__thread *free;
	_Atomic(struct spg__thread *) newest;
	pthread_once_t once;
	pthread_key_t key;
} threads = { .once = PTHREAD_ONCE_INIT };

void (*spg__thread_locals_end)(void *locals);

static void thread_ended(void *arg)
{
	struct spg__thread *thread = arg;
	int wake_fd = atomic_exchange_explicit(&thread->wake_fd, -1, memory_order_acq_rel);

	if (thread->locals != NULL && spg__thread_locals_end != NULL)
		spg__thread_locals_end(thread->locals);
	thread->locals = NULL;
	if (wake_fd >= 0)
		close(wake_fd);
	spg__waiter_unbind(&thread->waiter);
	spg__thread_set_self(NULL);
	spg__lock(&threads.lock);
	thread->next_free = threads.free;
	threads.free = thread;
	spg__unlock(&threads.lock);
}

/*
 * In the child of a fork: nobody else waits, and no wake_fd is shared with the parent. Others' are
 * let be: they may be changing hands right now, and exec closes them.
 */
static void forked(void)
{
	struct spg__thread *self = spg__thread_self();
	int wake_fd = self != NULL ? atomic_load_explicit(&self->wake_fd, memory_order_relaxed) : -1;

	atomic_store_explicit(&threads.lock.held, 0, memory_order_relaxed);
	threads.free = NULL; /* it may have been in the making */
	if (wake_fd >= 0)
		close(wake_fd);
	/* relaxed, all: there is no other thread. */
	for (struct spg__thread *thread = atomic_load_explicit(&threads.newest, memory_order_relaxed);
	     thread != NULL; thread = thread->older) {
		atomic_store_explicit(&thread->wake_fd, -1, memory_order_relaxed);
		atomic_store_explicit(&thread->io_fd, -1, memory_order_relaxed);
		atomic_store_explicit(&thread->waiter.state, SPG__PARK_NONE, memory_order_relaxed);
	}
}

void spg__thread_adopt(struct spg__coro *coro)
{
	static struct spg__thread adopted;
	const struct spg__waiter *from = &coro->waiter;
	struct spg__waiter *w = &adopted.waiter;

	w->kind = SPG__WAITER_THREAD;
	spg__list_init(&w->in_ctx);
	atomic_init(&adopted.io_fd, -1);
	atomic_init(&adopted.wake_fd, -1);
	spg__waiter_bind(w, spg__ctx_background());
	w->enter_depth = from->enter_depth;
	w->scope = from->scope;
	w->scope_deadline_ns = from->scope_deadline_ns;
	spg__waiter_update(w);
	adopted.locals = coro->locals;
	spg__thread_set_self(&adopted);
}

static void key_init(void)
{
	SPG_CHECK(pthread_key_create(&threads.key, thread_ended) == 0);
	SPG_CHECK(pthread_atfork(NULL, NULL, forked) == 0);
}

static struct spg__thread *thread_new(void)
{
	struct spg__thread *thread;

	spg__lock(&threads.lock);
	thread = threads.free;
	if (thread != NULL)
		threads.free = thread->next_free;
	spg__unlock(&threads.lock);
	if (thread != NULL)
		return thread;
	thread = spg__calloc(1, sizeof(*thread));
	if (thread == NULL)
		return NULL;
	thread->waiter.kind = SPG__WAITER_THREAD;
	spg__list_init(&thread->waiter.in_ctx);
	atomic_init(&thread->io_fd, -1);
	atomic_init(&thread->wake_fd, -1);
	spg__lock(&threads.lock);
	thread->older = atomic_load_explicit(&threads.newest, memory_order_relaxed);
	/* release [TH-a]: pairs with spg__threads_each. */
	atomic_store_explicit(&threads.newest, thread, memory_order_release);
	spg__unlock(&threads.lock);
	return thread;
}

struct spg__thread *spg__thread_get(void)
{
	struct spg__thread *thread = spg__thread_self();

	if (spg__likely(thread != NULL))
		return thread;
	pthread_once(&threads.once, key_init);
	thread = thread_new();
	if (thread == NULL)
		return NULL;
	if (pthread_setspecific(threads.key, thread) != 0) {
		spg__lock(&threads.lock);
		thread->next_free = threads.free;
		threads.free = thread;
		spg__unlock(&threads.lock);
		return NULL;
	}
	atomic_store_explicit(&thread->waiter.interrupted, false, memory_order_relaxed);
	spg__waiter_bind(&thread->waiter, spg__ctx_background());
	spg__thread_set_self(thread);
	return thread;
}

void spg__threads_each(void (*visit)(struct spg__thread *thread, void *arg), void *arg)
{
	/* acquire [TH-a]. */
	struct spg__thread *thread = atomic_load_explicit(&threads.newest, memory_order_acquire);

	for (; thread != NULL; thread = thread->older)
		visit(thread, arg);
}

static void interrupt(struct spg__thread *thread, void *arg)
{
	(void)arg;
	/* relaxed: a wait that begins later clears a stale flag at its end; the unpark orders the rest (P4). */
	if (atomic_load_explicit(&thread->waiter.reason, memory_order_relaxed) == SPG__REASON_NONE)
		return;
	atomic_store_explicit(&thread->waiter.interrupted, true, memory_order_relaxed);
	spg__unpark(&thread->waiter);
}

void spg__threads_interrupt(void)
{
	spg__threads_each(interrupt, NULL);
}

void spg__thread_leave_cpu(int cpu)
{
	cpu_set_t all, others;

	if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof(all), &all) != 0)
		return;
	others = all;
	CPU_CLR(cpu, &others);
	if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof(others), &others) == 0)
		(void)sched_setaffinity(0, sizeof(all), &all);
}
