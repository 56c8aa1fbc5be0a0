/*
 * A set of files by device and inode number: open addressing, linear probing, at most
 * three quarters full. All-zero is an empty set. Its user serialises the calls.
 */
#ifndef SPG__FS_IDSET_H
#define SPG__FS_IDSET_H

#include "coro/base.h"

struct spg__file_id {
	uint64_t dev, ino;
};

struct spg__idset {
	/* {0, 0}: free. */
	struct spg__file_id *slots;
	size_t slots_count, used;
	bool has_zero;
};

/* 1: added; 0: was there; -ENOMEM. */
int spg__idset_add(struct spg__idset *set, struct spg__file_id id);
void spg__idset_fini(struct spg__idset *set);

static inline bool spg__file_id_equal(struct spg__file_id a, struct spg__file_id b)
{
	return a.dev == b.dev && a.ino == b.ino;
}

#endif
