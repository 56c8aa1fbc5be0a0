#include "coro/lock.h"

#include <sched.h>

/* About the length of the longest section, twice: beyond it the holder is likely preempted. */
#define SPINS_MAX 128

spg__noinline void spg__lock_slow(struct spg__lock *lock)
{
	for (;;) {
		for (int i = 0; i < SPINS_MAX; i++) {
			/* relaxed: only a hint that spg__lock_try may succeed. */
			if (atomic_load_explicit(&lock->held, memory_order_relaxed) == 0 &&
			    spg__lock_try(lock))
				return;
			spg__cpu_relax();
		}
		sched_yield();
	}
}
