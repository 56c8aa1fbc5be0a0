#include "sched/thread.h"

#include "coro/alloc.h"
#include "coro/lock.h"
#include "sched/cancel.h"
#include "sched/park.h"

#include <pthread.h>
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

static void key_init(void)
{
	SPG_CHECK(pthread_key_create(&threads.key, thread_ended) == 0);
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
