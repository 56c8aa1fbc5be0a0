#include "coro/fault.h"

struct spg__fault spg__faults[SPG__FAULT_KINDS];

void spg__fault_arm(enum spg__fault_kind kind, int64_t after, int64_t times, int err)
{
	struct spg__fault *fault = &spg__faults[kind];

	atomic_store_explicit(&fault->err, err, memory_order_relaxed);
	atomic_store_explicit(&fault->times, times, memory_order_relaxed);
	/* release: the two above come with it. */
	atomic_store_explicit(&fault->after, after, memory_order_release);
}

void spg__fault_disarm(enum spg__fault_kind kind)
{
	atomic_store_explicit(&spg__faults[kind].after, 0, memory_order_release);
}

spg__noinline int spg__fault_slow(enum spg__fault_kind kind)
{
	struct spg__fault *fault = &spg__faults[kind];
	int64_t left = atomic_load_explicit(&fault->after, memory_order_acquire);

	/* Counts down to 1, and stays there while it strikes. */
	while (left > 1) {
		if (atomic_compare_exchange_weak_explicit(&fault->after, &left, left - 1,
							  memory_order_acq_rel, memory_order_acquire))
			return 0;
	}
	if (left == 0)
		return 0;
	if (atomic_fetch_sub_explicit(&fault->times, 1, memory_order_acq_rel) <= 1)
		spg__fault_disarm(kind);
	return atomic_load_explicit(&fault->err, memory_order_relaxed);
}
