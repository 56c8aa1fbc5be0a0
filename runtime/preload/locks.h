/*
 * Between libspg-locks.so and the library.
 */
#ifndef SPG__RUNTIME_PRELOAD_LOCKS_H
#define SPG__RUNTIME_PRELOAD_LOCKS_H

struct spg__held {
	const void *lock;
	/* Return address of the call that locked it. */
	const void *site;
};

/*
 * What the calling thread has locked through libpthread and not unlocked, up to max. They are told
 * once: from here on the thread is taken not to hold them.
 */
typedef unsigned spg__locks_take_fn(struct spg__held *out, unsigned max);
#define SPG__LOCKS_TAKE "spg__locks_take"

#endif
