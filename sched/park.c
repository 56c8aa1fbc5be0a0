#include "sched/park.h"

#include "coro/clock.h"
#include "coro/usdt.h"
#include "sched/shard.h"
#include "sched/thread.h"
#include "sched/trace.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

struct spg__waiter *spg__self(void)
{
	struct spg__shard *shard = spg__shard_self();
	struct spg__thread *thread;

	/* A shard's loop itself never waits. */
	if (spg__likely(shard != NULL && shard->current != NULL))
		return &shard->current->waiter;
	thread = spg__thread_get();
	return thread != NULL ? &thread->waiter : NULL;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t deadline_ns)
{
	struct timespec ts = spg__clock_timespec(deadline_ns);

	/* Absolute CLOCK_MONOTONIC. Every return is a reason to look again. */
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
		deadline_ns == SPG__NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* P5. */
static void park_thread(struct spg__waiter *w, int64_t deadline_ns)
{
	uint32_t none = SPG__PARK_NONE, parked = SPG__PARK_PARKED;

	/* acq_rel [P4], here and below. */
	if (atomic_compare_exchange_strong_explicit(&w->state, &none, SPG__PARK_PARKED,
						    memory_order_acq_rel, memory_order_acquire)) {
		while (atomic_load_explicit(&w->state, memory_order_acquire) == SPG__PARK_PARKED) {
			futex_wait(&w->state, SPG__PARK_PARKED, deadline_ns);
			if (deadline_ns != SPG__NEVER && spg__clock_ns() >= deadline_ns)
				break;
		}
		/* Late or spurious: end PARKED ourselves; failing that an unpark has ended it. */
		if (atomic_compare_exchange_strong_explicit(&w->state, &parked, SPG__PARK_NONE,
							    memory_order_acq_rel, memory_order_acquire))
			return;
		if (parked == SPG__PARK_NONE)
			return;
	}
	atomic_exchange_explicit(&w->state, SPG__PARK_NONE, memory_order_acq_rel);
}

void spg__park(struct spg__waiter *w, int64_t deadline_ns)
{
	struct spg__shard *shard;

	if (spg__unlikely(w->kind == SPG__WAITER_THREAD)) {
		park_thread(w, deadline_ns);
		return;
	}
	shard = spg__shard_self();
	SPG_ASSERT(&shard->current->waiter == w);
	/* relaxed: a permit is taken by the RMW below (P4). */
	if (spg__unlikely(atomic_load_explicit(&w->state, memory_order_relaxed) == SPG__PARK_PERMIT)) {
		atomic_exchange_explicit(&w->state, SPG__PARK_NONE, memory_order_acq_rel);
		return;
	}
	spg__count(&shard->counters.parks);
	SPG__PROBE3(park, spg__coro_of(w)->id, *(uint8_t *)&w->reason, *(const void **)&w->object);
	spg__coro_leave(shard, spg__coro_of(w), SPG__COMMIT_PARK);
}

/* Between two looks for a permit when there is no wake_fd. */
#define POLL_BLIND_NS ((int64_t)5 * 1000000)

static int wake_fd(struct spg__thread *thread)
{
	/* relaxed: written by this thread; an unparker reads it after it ended POLLING (acquire). */
	int fd = atomic_load_explicit(&thread->wake_fd, memory_order_relaxed);

	if (fd >= 0)
		return fd;
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd >= 0)
		atomic_store_explicit(&thread->wake_fd, fd, memory_order_relaxed);
	return fd;
}

static void poll_until(struct pollfd *fds, nfds_t count, int64_t deadline_ns)
{
	int64_t left = deadline_ns != SPG__NEVER ? deadline_ns - spg__clock_ns() : 0;
	struct timespec ts = spg__clock_timespec(left > 0 ? left : 0);

	/* Every return is a reason to look again. */
	(void)ppoll(fds, count, deadline_ns != SPG__NEVER ? &ts : NULL, NULL);
}

void spg__park_poll(struct spg__waiter *w, int fd, unsigned events, int64_t deadline_ns)
{
	struct pollfd fds[2] = { { .fd = fd, .events = (short)events } };

	spg__park_poll_many(w, fds, 1, deadline_ns);
}

void spg__park_poll_many(struct spg__waiter *w, struct pollfd *fds, size_t n, int64_t deadline_ns)
{
	struct pollfd *wake = &fds[n];
	uint32_t none = SPG__PARK_NONE, polling = SPG__PARK_POLLING;
	uint64_t count;

	*wake = (struct pollfd){ .fd = wake_fd(spg__thread_of(w)), .events = POLLIN };
	/* acq_rel [P4], here and below. */
	if (spg__unlikely(wake->fd < 0)) {
		int64_t look_ns = spg__clock_ns() + POLL_BLIND_NS;

		if (atomic_exchange_explicit(&w->state, SPG__PARK_NONE, memory_order_acq_rel) == SPG__PARK_NONE)
			poll_until(fds, n, look_ns < deadline_ns ? look_ns : deadline_ns);
		return;
	}
	if (!atomic_compare_exchange_strong_explicit(&w->state, &none, SPG__PARK_POLLING,
						     memory_order_acq_rel, memory_order_acquire)) {
		atomic_exchange_explicit(&w->state, SPG__PARK_NONE, memory_order_acq_rel);
		return;
	}
	poll_until(fds, n + 1, deadline_ns);
	if (atomic_compare_exchange_strong_explicit(&w->state, &polling, SPG__PARK_NONE,
						    memory_order_acq_rel, memory_order_acquire))
		return;
	/* P5: the write is on its way. */
	while (read(wake->fd, &count, sizeof(count)) < 0)
		SPG_CHECK(errno == EINTR);
}

/* Ends PARKED or POLLING and returns it, or leaves a permit and returns anything else (P1). */
static inline uint32_t unpark(struct spg__waiter *w)
{
	uint32_t state = atomic_load_explicit(&w->state, memory_order_relaxed);

	for (;;) {
		uint32_t to = state == SPG__PARK_PARKED || state == SPG__PARK_POLLING ? SPG__PARK_NONE :
											 SPG__PARK_PERMIT;

		/* acq_rel [P4]: release what the unparker wrote, also when the permit merges. */
		if (atomic_compare_exchange_weak_explicit(&w->state, &state, to, memory_order_acq_rel,
							  memory_order_relaxed))
			return state;
	}
}

static spg__noinline void wake_thread(struct spg__waiter *w, uint32_t ended)
{
	uint64_t one = 1;

	if (ended == SPG__PARK_PARKED)
		syscall(SYS_futex, &w->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	else /* P5: it waits for this, so the descriptor is still its own. */
		SPG_CHECK(write(atomic_load_explicit(&spg__thread_of(w)->wake_fd, memory_order_relaxed), &one,
				sizeof(one)) == sizeof(one));
}

void spg__unpark(struct spg__waiter *w)
{
	struct spg__coro *coro;
	uint32_t ended = unpark(w);
	struct spg__shard *self;
	int home;

	if (ended != SPG__PARK_PARKED && ended != SPG__PARK_POLLING)
		return;
	if (spg__unlikely(w->kind == SPG__WAITER_THREAD)) {
		wake_thread(w, ended);
		return;
	}
	coro = spg__coro_of(w);
	self = spg__shard_self();
	if (spg__unlikely(spg__trace_any(self)))
		spg__trace_put_any(self, SPG__TRACE_READY, coro->id, 0);
	/* O3. One in flight goes to its ring's shard, a pinned one to its own: the same while in flight. */
	home = spg__coro_op_shard(coro);
	spg__coro_ready(coro, home >= 0 ? home : coro->pin);
}

void spg__unpark_completed(struct spg__coro *coro)
{
	if (unpark(&coro->waiter) == SPG__PARK_PARKED)
		spg__coro_ready(coro, coro->pin);
}
