#include "io/watch.h"

#include "coro/alloc.h"
#include "io/fdtab.h"

static void drop(struct spg__watch *watch)
{
	/* acq_rel: the last one frees what the others are done with. */
	if (atomic_fetch_sub_explicit(&watch->refs, 1, memory_order_acq_rel) == 1)
		spg__free(watch);
}

struct spg__watch *spg__watch_arm(int fd, unsigned events, void (*fire)(struct spg__watch *, int res),
				  void *owner, int index, int *err)
{
	struct spg__watch *watch = spg__calloc(1, sizeof(*watch));
	struct spg__ring *ring;
	struct io_uring_sqe *sqe;

	*err = -ENOMEM;
	if (watch == NULL)
		return NULL;
	/* The coroutine may move while it waits for room: the ring is looked up after that. */
	while ((sqe = spg__ring_sqe(ring = spg__ring_of(spg__shard_self()))) == NULL)
		spg__coro_yield();
	*err = spg__fdtab_enter(ring->fd_inflight, fd);
	if (*err < 0) {
		io_uring_prep_nop(sqe);
		sqe->user_data = SPG__UD_IGNORE;
		spg__free(watch);
		return NULL;
	}
	watch->ring = ring;
	watch->fd = fd;
	watch->fire = fire;
	watch->owner = owner;
	watch->index = index;
	atomic_init(&watch->refs, 1);
	io_uring_prep_poll_add(sqe, fd, events);
	sqe->user_data = (uint64_t)(uintptr_t)watch | SPG__UD_WATCH;
	spg__ring_trace(ring, sqe);
	spg__ring_begun(ring);
	spg__ring_filled(ring);
	return watch;
}

void spg__watch_complete(struct spg__watch *watch, int32_t res)
{
	spg__fdtab_leave(watch->ring->fd_inflight, watch->fd);
	spg__ring_ended(watch->ring);
	spg__lock(&watch->lock);
	if (watch->state == SPG__WATCH_ARMED) {
		watch->state = SPG__WATCH_FIRED;
		watch->fire(watch, res); /* WA1 */
		spg__unlock(&watch->lock);
		return;
	}
	spg__unlock(&watch->lock);
	drop(watch); /* WA2 */
}

static void cancel_here(struct spg__watch *watch, struct spg__shard *shard)
{
	struct io_uring_sqe *sqe = spg__ring_sqe(spg__ring_of(shard));

	/* Without room it stays until its descriptor is ready or closed: it holds nobody up. */
	if (sqe == NULL)
		return;
	io_uring_prep_poll_remove(sqe, (uint64_t)(uintptr_t)watch | SPG__UD_WATCH);
	sqe->user_data = SPG__UD_IGNORE;
}

static void cancel_run(struct spg__errand *errand, struct spg__shard *shard)
{
	struct spg__watch *watch = spg__container_of(errand, struct spg__watch, errand);

	cancel_here(watch, shard);
	drop(watch);
}

void spg__watch_detach(struct spg__watch *watch)
{
	struct spg__shard *self = spg__shard_self();
	bool fired;

	spg__lock(&watch->lock);
	fired = watch->state == SPG__WATCH_FIRED;
	watch->state = SPG__WATCH_DETACHED;
	if (!fired && watch->ring->shard != self)
		atomic_fetch_add_explicit(&watch->refs, 1, memory_order_relaxed);
	spg__unlock(&watch->lock);
	if (fired) {
		drop(watch);
	} else if (watch->ring->shard == self) {
		cancel_here(watch, self);
	} else {
		watch->errand.run = cancel_run;
		spg__shard_errand(watch->ring->shard, &watch->errand);
	}
}
