#include "sched/fork.h"

#include "sched/cancel.h"
#include "sched/offload.h"
#include "sched/thread.h"

#include <unistd.h>

/* Shards block SIGPIPE, the pool's threads nearly everything: the child's program must not inherit it. */
static void restore_signals(bool shard, const sigset_t *mask)
{
	sigset_t pipe;

	if (spg__pool_thread()) {
		SPG_CHECK(pthread_sigmask(SIG_SETMASK, mask, NULL) == 0);
	} else if (shard && !sigismember(mask, SIGPIPE)) {
		sigemptyset(&pipe);
		sigaddset(&pipe, SIGPIPE);
		SPG_CHECK(pthread_sigmask(SIG_UNBLOCK, &pipe, NULL) == 0);
	}
}

void spg__sched_forked(const sigset_t *mask)
{
	struct spg__shard *shard = spg__shard_self();

	spg__sched.child = true;
	/* relaxed: there is no other thread. */
	atomic_store_explicit(&spg__sched.running, false, memory_order_relaxed);
	restore_signals(shard != NULL, mask);
	spg__offload_forked();
	spg__ctx_forked();
	if (shard == NULL)
		return;
	spg__shard_set_self(NULL);
	if (shard->current != NULL)
		spg__thread_adopt(shard->current);
}

void spg__child_end(void)
{
	_exit(0);
}
