/*
 * A lock for sections of a few dozen instructions that never park, never
 * allocate and never call out. One RMW to take, a plain store to release.
 *
 * L1  A holder never switches coroutines and never blocks, so a waiter spins
 *     for the section's length; only a preempted holder makes it yield the CPU.
 * L2  Signal handlers take no lock.
 */
#ifndef SPG__CORO_LOCK_H
#define SPG__CORO_LOCK_H

#include "coro/base.h"

struct spg__lock {
	_Atomic uint32_t held;
};

void spg__lock_slow(struct spg__lock *lock);

static inline bool spg__lock_try(struct spg__lock *lock)
{
	/* acquire [L-a]: what the former holder wrote; pairs with spg__unlock. */
	return atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) == 0;
}

static inline void spg__lock(struct spg__lock *lock)
{
	if (spg__unlikely(!spg__lock_try(lock)))
		spg__lock_slow(lock);
}

static inline void spg__unlock(struct spg__lock *lock)
{
	/* release [L-a]. */
	atomic_store_explicit(&lock->held, 0, memory_order_release);
}

static inline void spg__cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
