/*
 * What was made and never given back, by the place that made it: SPG_DEBUG=leaks. Off, it
 * costs one branch where something is made or freed.
 */
#ifndef SPG__CORO_LEAK_H
#define SPG__CORO_LEAK_H

#include "coro/base.h"

enum spg__leak {
	SPG__LEAK_CORO,
	SPG__LEAK_CHAN,
	SPG__LEAK_CTX,
	SPG__LEAK_GROUP,
	SPG__LEAK_TIMER,
	SPG__LEAK_TICKER,
	SPG__LEAK_FD,
	SPG__LEAK_COUNT,
};

/* Set while a runtime runs that was told to look. */
extern _Atomic bool spg__leaks_on;

void spg__leak_add(enum spg__leak kind, uintptr_t key, const void *site);
void spg__leak_remove(enum spg__leak kind, uintptr_t key);

/* key: an address, or a number. Said again, the site is the newer one. */
static inline void spg__leak_made(enum spg__leak kind, uintptr_t key, const void *site)
{
	/* relaxed: who was not told in time is not counted. */
	if (spg__unlikely(atomic_load_explicit(&spg__leaks_on, memory_order_relaxed)))
		spg__leak_add(kind, key, site);
}

static inline void spg__leak_gone(enum spg__leak kind, uintptr_t key)
{
	if (spg__unlikely(atomic_load_explicit(&spg__leaks_on, memory_order_relaxed)))
		spg__leak_remove(kind, key);
}

/* The caller of a public function that opens descriptors; errors pass. Returns fd. */
static inline int spg__leak_opened(int fd, const void *site)
{
	if (fd >= 0)
		spg__leak_made(SPG__LEAK_FD, (uintptr_t)fd, site);
	return fd;
}

void spg__leaks_begin(void);
/* What is left, on stderr, and nothing if nothing is; then it is off. */
void spg__leaks_end(void);

#endif
