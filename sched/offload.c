#include "sched/offload.h"

#include "coro/list.h"
#include "sched/fork.h"
#include "sched/thread.h"
#include "sched/wait.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* A thread above threads_min that found nothing to do for so long ends. */
#define IDLE_SEC 5

enum { JOB_QUEUED, JOB_RUNNING, JOB_DONE };

/* On the frame of the coroutine that waits for it. */
struct job {
	struct spg__list link;
	void (*fn)(void *);
	void *arg;
	struct spg__waiter *waiter;
	_Atomic int state;
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t work, ended;
	struct spg__offload_conf conf;
	/* Under the mutex, all below. */
	struct spg__list queue;
	unsigned queued, running, threads, idle;
	/* Of the threads: those that have decided to end, and bury the last one first. */
	unsigned leaving;
	bool stopping;
	/* The last thread that ended: joined by the next one, or by fini. */
	pthread_t corpse;
	bool has_corpse;
	uint64_t done, overloaded;
} pool = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.ended = PTHREAD_COND_INITIALIZER,
	.queue = { &pool.queue, &pool.queue },
};

int spg__offload_init(const struct spg__offload_conf *conf)
{
	pthread_mutex_lock(&pool.mutex);
	pool.conf = *conf;
	pool.stopping = false;
	pool.done = pool.overloaded = 0;
	pthread_mutex_unlock(&pool.mutex);
	return 0;
}

/* Joins the thread that ended last. Called and returns with the mutex held. */
static void bury(void)
{
	while (pool.has_corpse) {
		pthread_t corpse = pool.corpse;

		pool.has_corpse = false;
		pthread_mutex_unlock(&pool.mutex);
		pthread_join(corpse, NULL);
		pthread_mutex_lock(&pool.mutex);
	}
}

void spg__offload_fini(void)
{
	pthread_mutex_lock(&pool.mutex);
	pool.stopping = true;
	pthread_cond_broadcast(&pool.work);
	while (pool.threads > 0)
		pthread_cond_wait(&pool.ended, &pool.mutex);
	bury();
	pthread_mutex_unlock(&pool.mutex);
}

void spg__offload_forked(void)
{
	/* It may have been held, by a thread that is not here. */
	pthread_mutex_init(&pool.mutex, NULL);
	pool.threads = pool.idle = pool.queued = 0;
}

/* Threads that will look for another job: those that leave take none. With the mutex held. */
static unsigned staying(void)
{
	return pool.threads - pool.leaving;
}

/* With the mutex held. false: this thread is no longer needed. */
static bool await_job(void)
{
	while (pool.queued == 0) {
		struct timespec until = spg__clock_timespec(
			spg__clock_after_ns(spg__clock_ns(), (int64_t)IDLE_SEC * 1000000000));
		bool spare = staying() > pool.conf.threads_min;
		int err = 0;

		if (pool.stopping) {
			pool.leaving++;
			return false;
		}
		pool.idle++;
		if (spare)
			err = pthread_cond_clockwait(&pool.work, &pool.mutex, CLOCK_MONOTONIC, &until);
		else
			pthread_cond_wait(&pool.work, &pool.mutex);
		pool.idle--;
		if (err == ETIMEDOUT && pool.queued == 0 &&
		    staying() > pool.conf.threads_min) {
			pool.leaving++;
			return false;
		}
	}
	return true;
}

static void run(struct job *job)
{
	struct spg__waiter *waiter = job->waiter;

	job->fn(job->arg);
	spg__user_returned();
	/* release [B2]: what fn did; pairs with the acquire in spg__offload. The last access. */
	atomic_store_explicit(&job->state, JOB_DONE, memory_order_release);
	spg__unpark(waiter);
}

static void *worker_main(void *arg)
{
	char name[16];

	(void)arg;
	snprintf(name, sizeof(name), "%.10s-pool", pool.conf.name);
	(void)pthread_setname_np(pthread_self(), name);
	spg__pool_thread_set();
	pthread_mutex_lock(&pool.mutex);
	pool.idle--;
	while (await_job()) {
		struct job *job = spg__container_of(spg__list_first(&pool.queue), struct job, link);

		spg__list_remove(&job->link);
		pool.queued--;
		pool.running++;
		/* relaxed: changes from QUEUED under the mutex, where withdraw reads it. */
		atomic_store_explicit(&job->state, JOB_RUNNING, memory_order_relaxed);
		pthread_mutex_unlock(&pool.mutex);
		run(job);
		pthread_mutex_lock(&pool.mutex);
		pool.running--; /* [DL-b]: whom it woke is on a queue */
		pool.done++;
	}
	bury();
	pool.corpse = pthread_self();
	pool.has_corpse = true;
	pool.threads--;
	pool.leaving--;
	pthread_cond_signal(&pool.ended);
	pthread_mutex_unlock(&pool.mutex);
	return NULL;
}

/* One thread more, with every signal blocked that is not its own fault. With the mutex held. */
static bool start_thread(void)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };
	pthread_t thread;
	sigset_t blocked, before;
	int err;

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&blocked, own[i]);
	/* It inherits the mask: no signal finds it unprepared. */
	SPG_CHECK(pthread_sigmask(SIG_SETMASK, &blocked, &before) == 0);
	err = pthread_create(&thread, NULL, worker_main, NULL);
	SPG_CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	pool.threads += err == 0;
	pool.idle += err == 0; /* until it has the mutex */
	return err == 0;
}

/* B1. 0, -EAGAIN (bounded only) or -ENOMEM. */
static int submit(struct job *job, bool bounded)
{
	int err = 0;

	pthread_mutex_lock(&pool.mutex);
	/* What idle threads are about to take does not wait. */
	if (bounded && staying() >= pool.conf.threads_max && pool.queued >= pool.conf.queue_max + pool.idle) {
		pool.overloaded++;
		err = -EAGAIN;
		goto out;
	}
	spg__list_append(&pool.queue, &job->link);
	pool.queued++;
	if (pool.queued <= pool.idle) {
		pthread_cond_signal(&pool.work);
	} else if (staying() < pool.conf.threads_max && !start_thread() && staying() == 0) {
		spg__list_remove(&job->link);
		pool.queued--;
		err = -ENOMEM;
	}
out:
	pthread_mutex_unlock(&pool.mutex);
	return err;
}

/* true: it was still queued and will never run. */
static bool withdraw(struct job *job)
{
	bool queued;

	pthread_mutex_lock(&pool.mutex);
	/* relaxed: leaves QUEUED under the mutex. */
	queued = atomic_load_explicit(&job->state, memory_order_relaxed) == JOB_QUEUED;
	if (queued) {
		spg__list_remove(&job->link);
		pool.queued--;
	}
	pthread_mutex_unlock(&pool.mutex);
	return queued;
}

/* Waits until the job has run, or withdraws it when the context ends. */
static int await_done(struct job *job, struct spg__wait *wait)
{
	/* acquire [B2]. */
	while (atomic_load_explicit(&job->state, memory_order_acquire) != JOB_DONE) {
		int err = spg__wait_park(wait);

		if (err == 0)
			continue;
		if (withdraw(job))
			return err;
		wait->cancelable = false;
		wait->deadline_ns = SPG__NEVER;
	}
	return 0;
}

static int offload(void (*fn)(void *), void *arg, bool bounded)
{
	struct job job = { .fn = fn, .arg = arg };
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_BLOCKING, arg);

	if (err < 0)
		return err;
	if (wait.waiter->kind == SPG__WAITER_THREAD) {
		/* It may block itself. */
		spg__wait_end(&wait);
		fn(arg);
		return 0;
	}
	atomic_init(&job.state, JOB_QUEUED);
	job.waiter = wait.waiter;
	err = submit(&job, bounded);
	if (err == 0)
		err = await_done(&job, &wait);
	spg__wait_end(&wait);
	return err;
}

int spg__offload(void (*fn)(void *), void *arg)
{
	return offload(fn, arg, false);
}

int spg__offload_bounded(void (*fn)(void *), void *arg)
{
	return offload(fn, arg, true);
}

void spg__offload_count(struct spg__offload_count *out)
{
	pthread_mutex_lock(&pool.mutex);
	*out = (struct spg__offload_count){
		.threads = pool.threads,
		.queued = pool.queued,
		.running = pool.running,
		.done = pool.done,
		.overloaded = pool.overloaded,
	};
	pthread_mutex_unlock(&pool.mutex);
}
