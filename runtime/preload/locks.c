/*
 * libspg-locks.so: LD_PRELOAD it, and SPG_DEBUG=locks names pthread locks held over a wait.
 *
 * Each thread keeps a list of what it holds. A lock that another thread unlocks stays in the list
 * of the one that locked it until it has been told: that is the fault looked for.
 */
#include "runtime/preload/locks.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
/* Deeper ones are not seen. */
#define HELD_MAX 64

static __thread struct {
	unsigned count;
	struct spg__held held[HELD_MAX];
} mine;

static __attribute__((noinline)) void locked(const void *lock, const void *site)
{
	if (mine.count < HELD_MAX)
		mine.held[mine.count++] = (struct spg__held){ .lock = lock, .site = site };
}

/* The newest of that lock: it may be recursive, or a read lock. */
static __attribute__((noinline)) void unlocked(const void *lock)
{
	for (unsigned i = mine.count; i-- > 0;) {
		if (mine.held[i].lock != lock)
			continue;
		memmove(&mine.held[i], &mine.held[i + 1], (mine.count - i - 1) * sizeof(mine.held[0]));
		mine.count--;
		return;
	}
}

EXPORT spg__locks_take_fn spg__locks_take;
unsigned spg__locks_take(struct spg__held *out, unsigned max)
{
	unsigned n = mine.count < max ? mine.count : max;

	memcpy(out, mine.held, n * sizeof(*out));
	mine.count = 0;
	return n;
}

/* The function behind ours. */
static void *real(const char *name)
{
	void *fn = dlsym(RTLD_NEXT, name);

	if (fn == NULL)
		abort();
	return fn;
}

/* name(lock, more...): on 0 the thread holds it. */
#define LOCKS(name, params, args)                                                                  \
	EXPORT int name params                                                                     \
	{                                                                                          \
		static int(*_Atomic next) params;                                                  \
		int err;                                                                           \
                                                                                                   \
		if (next == NULL)                                                                  \
			next = (int(*) params)real(#name);                                         \
		err = next args;                                                                   \
		if (err == 0)                                                                      \
			locked(lock, __builtin_return_address(0));                                 \
		return err;                                                                        \
	}

#define UNLOCKS(name, type)                                                                        \
	EXPORT int name(type *lock)                                                                \
	{                                                                                          \
		static int (*_Atomic next)(type *);                                                \
                                                                                                   \
		if (next == NULL)                                                                  \
			next = (int (*)(type *))real(#name);                                       \
		unlocked(lock);                                                                    \
		return next(lock);                                                                 \
	}

LOCKS(pthread_mutex_lock, (pthread_mutex_t * lock), (lock))
LOCKS(pthread_mutex_trylock, (pthread_mutex_t * lock), (lock))
LOCKS(pthread_mutex_timedlock, (pthread_mutex_t * lock, const struct timespec *until), (lock, until))
LOCKS(pthread_mutex_clocklock,
      (pthread_mutex_t * lock, clockid_t clock, const struct timespec *until), (lock, clock, until))
UNLOCKS(pthread_mutex_unlock, pthread_mutex_t)
LOCKS(pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock))
LOCKS(pthread_rwlock_wrlock, (pthread_rwlock_t * lock), (lock))
LOCKS(pthread_rwlock_tryrdlock, (pthread_rwlock_t * lock), (lock))
LOCKS(pthread_rwlock_trywrlock, (pthread_rwlock_t * lock), (lock))
UNLOCKS(pthread_rwlock_unlock, pthread_rwlock_t)
