/*
 * What a kick does to a ring (sched/watchdog.h, D2 to D5 and D8).
 */
#include "io/kick.h"

#include "io/op.h"
#include "sched/queue.h"

#include <sys/syscall.h>
#include <unistd.h>

/* D8. The coroutine is put back by whoever takes the list: a kick's handler, the watchdog's next look, the owner. */
bool spg__kick_cancel_for(struct spg__shard *shard, struct spg__coro *coro)
{
	struct spg__ring *ring = shard->ring;
	struct spg__link *head;

	if (!spg__features.sync_cancel || !spg__op_over(coro))
		return false;
	/* relaxed first look; the CAS decides. */
	head = atomic_load_explicit(&ring->canceling, memory_order_relaxed);
	do {
		coro->link.next = head;
		/* seq_cst: ordered before the look at `sleeping` of the wake that follows (I1). */
	} while (!atomic_compare_exchange_weak_explicit(&ring->canceling, &head, &coro->link, memory_order_seq_cst,
							memory_order_relaxed));
	return true;
}

bool spg__kick_give_back(struct spg__ring *ring, bool ask)
{
	/* acq_rel: pairs with spg__kick_cancel_for. */
	struct spg__link *link = atomic_exchange_explicit(&ring->canceling, NULL, memory_order_acq_rel);
	bool any = link != NULL;

	while (link != NULL) {
		struct spg__coro *coro = spg__coro_of_link(link);

		link = link->next;
		if (ask) {
			spg__count(&ring->shard->counters.cancels);
			(void)spg__sync_cancel(ring->uring.ring_fd, (uint64_t)(uintptr_t)coro->op);
		}
		spg__inbox_put(ring->shard, coro);
	}
	return any;
}

static void enter_in_handler(struct spg__ring *ring, unsigned submit)
{
	/* The polling thread is woken whether it sleeps or not; it counts what it takes at the next submit (N6). */
	long n = syscall(SYS_io_uring_enter, ring->enter_fd, submit, 0,
			 IORING_ENTER_GETEVENTS | ring->enter_flags | (ring->sqpoll ? IORING_ENTER_SQ_WAKEUP : 0),
			 NULL, 0);

	spg__count(&ring->shard->counters.enters);
	if (n > 0 && !ring->sqpoll)
		spg__count_add(&ring->shard->counters.sqes, (uint64_t)n);
}

void spg__kick_surface(struct spg__shard *shard)
{
	struct spg__ring *ring = shard->ring;

	if (ring == NULL)
		return;
	enter_in_handler(ring, *ring->uring.sq.ktail - io_uring_smp_load_acquire(ring->uring.sq.khead));
	/* Behind the submission, so they find what they are meant for. */
	if (spg__kick_give_back(ring, true))
		enter_in_handler(ring, 0);
}

bool spg__kick_holds(struct spg__shard *shard)
{
	struct spg__ring *ring = shard->ring;

	/* acquire [DL-c]: an end that is seen comes with the end of the nap before it (DL3). */
	return atomic_load_explicit(&ring->begun, memory_order_acquire) !=
	       atomic_load_explicit(&ring->ended, memory_order_acquire);
}
