/*
 * The thread-locals, and nothing else: compilers keep a thread-local's address over
 * a park, when the coroutine may be on another thread; so they are reached through
 * these calls only, and one asm (sched/shard.h). The Makefile keeps this file out of
 * link-time optimisation.
 */
#include "sched/shard.h"
#include "sched/thread.h"

_Thread_local struct spg__shard *spg__shard_tls;
static _Thread_local struct spg__thread *thread_self;

#if !SPG__SELF_INLINE
/* Callers never keep the result over a park. */
spg__noinline struct spg__shard *spg__shard_self(void)
{
	struct spg__shard *s = spg__shard_tls;

	__asm__ volatile("" : "+r"(s) : : "memory"); /* two calls may differ */
	return s;
}
#endif

spg__noinline void spg__shard_set_self(struct spg__shard *shard)
{
	spg__shard_tls = shard;
	__asm__ volatile("" : : : "memory");
}

spg__noinline struct spg__thread *spg__thread_self(void)
{
	struct spg__thread *t = thread_self;

	__asm__ volatile("" : "+r"(t) : : "memory");
	return t;
}

spg__noinline void spg__thread_set_self(struct spg__thread *thread)
{
	thread_self = thread;
	__asm__ volatile("" : : : "memory");
}
