/*
 * The blocking pool: a bounded number of threads for work that may block.
 *
 * B1  A coroutine's job is queued, then runs, then is done; `state` goes forward only.
 *     Canceled while queued it never runs; once it runs it is waited for.
 * B2  The worker's last access to a job is its store of DONE; then it unparks.
 */
#ifndef SPG__SCHED_OFFLOAD_H
#define SPG__SCHED_OFFLOAD_H

#include "coro/base.h"

struct spg__offload_conf {
	unsigned threads_min, threads_max, queue_max;
	const char *name;
};

int spg__offload_init(const struct spg__offload_conf *conf);
/* Waits for running jobs; no coroutine lives. */
void spg__offload_fini(void);
/* In a child of fork: there is no pool. */
void spg__offload_forked(void);

/*
 * Runs fn(arg) on the pool and waits. 0: it has run. Else it never ran: the context's
 * error, or -ENOMEM (no thread could be started). A job lies on its caller's stack, so
 * the queue itself has no limit: the library's own calls wait their turn in it.
 */
int spg__offload(void (*fn)(void *), void *arg);

/* The same for jobs of the user's: -EAGAIN when queue_max jobs wait already. */
int spg__offload_bounded(void (*fn)(void *), void *arg);

struct spg__offload_count {
	uint64_t threads, queued, running, done, overloaded;
};
void spg__offload_count(struct spg__offload_count *out);

#endif
