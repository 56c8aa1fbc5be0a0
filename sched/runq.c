#include "sched/runq.h"

static inline bool put(struct spg__runq *q, struct spg__coro *coro, memory_order order)
{
	/* relaxed: only the owner writes it (R2). */
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	/* acquire [R-a]: takers are done with the slots before head. */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);

	if (tail - head == SPG__RUNQ_CAP)
		return false;
	/* relaxed: published by the store of tail. */
	atomic_store_explicit(&q->slot[tail % SPG__RUNQ_CAP], coro, memory_order_relaxed);
	atomic_store_explicit(&q->tail, tail + 1, order);
	return true;
}

bool spg__runq_put(struct spg__runq *q, struct spg__coro *coro)
{
	/* seq_cst [W1]: ordered before the load of the sleepers that follows; release [R-b]. */
	return put(q, coro, memory_order_seq_cst);
}

bool spg__runq_put_quiet(struct spg__runq *q, struct spg__coro *coro)
{
	/* release [R-b]. */
	return put(q, coro, memory_order_release);
}

struct spg__coro *spg__runq_take(struct spg__runq *q)
{
	/* acquire [R-a]: with thieves' CAS. */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);

	for (;;) {
		/* relaxed: only the owner writes tail, and it wrote the slots. */
		uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
		struct spg__coro *coro;

		if (tail == head)
			return NULL;
		coro = atomic_load_explicit(&q->slot[head % SPG__RUNQ_CAP], memory_order_relaxed);
		/* acq_rel [R-a]: claims the slot (R3). */
		if (atomic_compare_exchange_weak_explicit(&q->head, &head, head + 1,
							  memory_order_acq_rel, memory_order_acquire))
			return coro;
	}
}

/* Copies n slots from head on, then claims them with one CAS. */
static uint32_t claim(struct spg__runq *q, uint32_t head, uint32_t n, struct spg__coro **out)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = atomic_load_explicit(&q->slot[(head + i) % SPG__RUNQ_CAP],
					      memory_order_relaxed); /* the CAS decides whether they count */
	/* acq_rel [R-a]: claims the slots (R3), and frees them for the owner. */
	if (!atomic_compare_exchange_strong_explicit(&q->head, &head, head + n, memory_order_acq_rel,
						     memory_order_relaxed))
		return 0;
	return n;
}

uint32_t spg__runq_take_batch(struct spg__runq *q, struct spg__coro **out)
{
	/* acquire [R-a]. */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	if (tail - head < SPG__RUNQ_CAP)
		return 0;
	return claim(q, head, SPG__RUNQ_BATCH, out);
}

uint32_t spg__runq_grab(struct spg__runq *q, struct spg__coro **out, uint32_t max)
{
	/* acquire [R-a]: with the owner's and thieves' CAS, slots before head are free. */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);
	/* acquire [R-b]: pairs with put's store of tail: the slots' contents. */
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);
	uint32_t n = tail - head;

	n -= n / 2;
	if (n == 0 || n > SPG__RUNQ_CAP / 2)
		return 0; /* empty, or head moved between the two loads: R1 does not bind a stale pair */
	return claim(q, head, n < max ? n : max, out);
}
