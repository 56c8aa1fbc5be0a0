#include "sched/timer.h"

#include "sched/park.h"
#include "sched/shard.h"

/* Taken out under one lock. */
#define DUE_MAX 16
/* A sleep ends this many slacks after the first timer at most. */
#define SLACK_TIMES_MAX 25

void spg__timers_init(struct spg__timers *timers, int shard)
{
	*timers = (struct spg__timers){ .shard = shard };
	atomic_init(&timers->next_due_ns, SPG__NEVER);
}

/* Under the lock (T4). */
static void publish_due(struct spg__timers *timers)
{
	int64_t due = spg__timerq_due(&timers->queue);

	/* seq_cst [W2]: the idle protocol's last look reads it. */
	if (atomic_load_explicit(&timers->next_due_ns, memory_order_relaxed) != due)
		atomic_store_explicit(&timers->next_due_ns, due, memory_order_seq_cst);
}

static inline void count_add(struct spg__timers *timers, uint64_t n)
{
	/* relaxed: under the lock; read by statistics. */
	atomic_store_explicit(&timers->count,
			      atomic_load_explicit(&timers->count, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

bool spg__timer_start(struct spg__timer *timer, int64_t when_ns)
{
	struct spg__shard *self = spg__shard_self(), *shard = self;
	struct spg__timers *timers;
	bool earliest;

	if (spg__unlikely(self == NULL)) {
		shard = spg__shard_enter_foreign();
		if (shard == NULL)
			return false;
	}
	timers = &shard->timers;
	timer->node.when_ns = when_ns;
	spg__lock(&timers->lock);
	/* relaxed, both: a rough time keeps the wheel near; changes of queue are under the lock. */
	spg__timerq_advance(&timers->queue, atomic_load_explicit(&shard->pass_ns, memory_order_relaxed));
	atomic_store_explicit(&timer->queue, timers, memory_order_relaxed);
	spg__timerq_put(&timers->queue, &timer->node);
	count_add(timers, 1);
	publish_due(timers);
	/* relaxed: under the lock. */
	earliest = atomic_load_explicit(&timers->next_due_ns, memory_order_relaxed) == when_ns;
	spg__unlock(&timers->lock);
	if (spg__unlikely(self == NULL)) {
		if (earliest)
			spg__shard_wake(shard);
		spg__shard_leave_foreign();
	}
	return true;
}

bool spg__timer_stop(struct spg__timer *timer)
{
	/* acquire [T-a]. */
	struct spg__timers *timers = atomic_load_explicit(&timer->queue, memory_order_acquire);
	bool queued;

	if (timers == NULL)
		return false;
	spg__lock(&timers->lock);
	/* relaxed: changes under this lock only. */
	queued = atomic_load_explicit(&timer->queue, memory_order_relaxed) != NULL;
	if (queued) {
		spg__timerq_take(&timers->queue, &timer->node);
		atomic_store_explicit(&timer->queue, NULL, memory_order_relaxed);
		count_add(timers, (uint64_t)-1);
		publish_due(timers);
	}
	spg__unlock(&timers->lock);
	return queued;
}

/* What is needed of a timer that was taken out; of a waiter's, the timer itself may be gone. */
struct due {
	struct spg__timer *timer;
	struct spg__waiter *waiter;
	void (*fire)(struct spg__timer *timer);
};

/* Takes up to DUE_MAX out that are due. Without the lock held. */
static unsigned take_due(struct spg__timers *timers, int64_t now_ns, struct due *due)
{
	struct spg__timer_node *node = NULL;
	unsigned n = 0;

	spg__lock(&timers->lock);
	spg__timerq_advance(&timers->queue, now_ns);
	while (n < DUE_MAX && (node = spg__timerq_pop(&timers->queue, now_ns)) != NULL) {
		struct spg__timer *timer = spg__container_of(node, struct spg__timer, node);

		due[n++] = (struct due){ timer, timer->waiter, timer->fire };
		/* release [T-a]: the last access to a waiter's timer (T2). */
		atomic_store_explicit(&timer->queue, NULL, memory_order_release);
	}
	count_add(timers, (uint64_t)-(int64_t)n);
	publish_due(timers);
	spg__unlock(&timers->lock);
	return n;
}

unsigned spg__timers_expire(struct spg__timers *timers, int64_t now_ns)
{
	struct due due[DUE_MAX];
	unsigned fired = 0, n;

	do {
		n = take_due(timers, now_ns, due);
		for (unsigned i = 0; i < n; i++) {
			if (due[i].waiter != NULL)
				spg__unpark(due[i].waiter);
			else
				due[i].fire(due[i].timer);
		}
		fired += n;
	} while (n == DUE_MAX);
	return fired;
}

int64_t spg__timers_slack(struct spg__timers *timers, int64_t slack_ns)
{
	unsigned dense;

	spg__lock(&timers->lock);
	dense = spg__timerq_dense(&timers->queue);
	spg__unlock(&timers->lock);
	if (dense == 0)
		dense = 1;
	/* Divided first: the setting may be anything. */
	return slack_ns > INT64_MAX / SLACK_TIMES_MAX ? slack_ns :
							slack_ns * (dense < SLACK_TIMES_MAX ? dense : SLACK_TIMES_MAX);
}
