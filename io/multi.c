#include "io/multi.h"

#include "coro/alloc.h"
#include "io/fdtab.h"

#define RESULTS_MIN 64u

int spg__multi_open(struct spg__multi *multi, int fd, void (*drop)(int32_t res),
		    void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg)
{
	struct spg__op op;
	int err;

	*multi = (struct spg__multi){ .fd = fd, .drop = drop, .cap = RESULTS_MIN };
	multi->results = spg__alloc(RESULTS_MIN * sizeof(*multi->results));
	if (multi->results == NULL)
		return -ENOMEM;
	err = spg__op_begin(&op, fd, IORING_OP_ACCEPT);
	if (err < 0) {
		spg__free(multi->results);
		return err;
	}
	prep(op.sqe, arg);
	op.sqe->user_data = (uint64_t)(uintptr_t)multi | SPG__UD_MULTI;
	multi->ring = op.ring;
	multi->coro = op.coro;
	multi->pin_before = op.coro->pin; /* M1 */
	op.coro->pin = (int16_t)op.ring->shard->id;
	atomic_store_explicit(&op.coro->op_shard, -1, memory_order_relaxed);
	multi->armed = true;
	spg__ring_trace(op.ring, op.sqe);
	spg__ring_begun(op.ring);
	spg__ring_filled(op.ring);
	spg__wait_end(&op.wait);
	return 0;
}

/* Room for one more; false: no memory. */
static bool grow(struct spg__multi *multi)
{
	int32_t *bigger = spg__alloc(2 * multi->cap * sizeof(*bigger));

	if (bigger == NULL)
		return false;
	for (uint32_t i = 0; i < multi->count; i++)
		bigger[i] = multi->results[(multi->head + i) % multi->cap];
	spg__free(multi->results);
	multi->results = bigger;
	multi->head = 0;
	multi->cap *= 2;
	return true;
}

void spg__multi_complete(struct spg__multi *multi, int32_t res, uint32_t flags)
{
	struct spg__coro *coro = multi->coro;
	struct spg__ring *ring = multi->ring;

	if (res >= 0) {
		if (multi->count == multi->cap && !grow(multi))
			multi->drop(res);
		else
			multi->results[(multi->head + multi->count++) % multi->cap] = res;
	}
	if ((flags & IORING_CQE_F_MORE) == 0) {
		spg__fdtab_leave(ring->fd_inflight, multi->fd);
		spg__ring_ended(ring);
		multi->err = res < 0 ? res : 0;
		multi->armed = false;
	}
	spg__unpark(&coro->waiter);
}

static bool ready(const struct spg__multi *multi)
{
	return multi->count > 0 || !multi->armed;
}

int spg__multi_next(struct spg__multi *multi)
{
	struct spg__wait wait;
	int err = 0, res;

	if (multi->count == 0) {
		err = spg__wait_begin(&wait, SPG__REASON_IO, spg__op_object(multi->fd, IORING_OP_ACCEPT));
		if (err < 0)
			return err;
		while (!ready(multi) && err == 0)
			err = spg__wait_park(&wait);
		spg__wait_end(&wait);
	}
	if (multi->count > 0) {
		res = multi->results[multi->head];
		multi->head = (multi->head + 1) % multi->cap;
		multi->count--;
		return res;
	}
	if (err < 0)
		return err;
	return multi->err < 0 ? multi->err : -ENODATA;
}

static void cancel(struct spg__multi *multi)
{
	struct io_uring_sqe *sqe;

	while ((sqe = spg__ring_sqe(multi->ring)) == NULL)
		spg__coro_yield();
	io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)multi | SPG__UD_MULTI, 0);
	sqe->user_data = SPG__UD_IGNORE;
}

void spg__multi_close(struct spg__multi *multi)
{
	struct spg__wait wait;
	int64_t pause_ns = SPG__CANCEL_AGAIN_NS;

	SPG_CHECK(spg__wait_begin_uncancelable(&wait, SPG__REASON_IO, spg__op_object(multi->fd, IORING_OP_ACCEPT)) == 0);
	if (multi->armed)
		cancel(multi);
	while (multi->armed) {
		if (spg__wait_park_for(&wait, pause_ns))
			continue;
		cancel(multi);
		pause_ns = spg__cancel_again_next(pause_ns);
	}
	spg__wait_end(&wait);
	for (; multi->count > 0; multi->count--) {
		multi->drop(multi->results[multi->head]);
		multi->head = (multi->head + 1) % multi->cap;
	}
	spg__free(multi->results);
	multi->coro->pin = multi->pin_before;
}
