/*
 * Reading directories, on the pool's threads.
 */
#ifndef SPG__FS_DIR_H
#define SPG__FS_DIR_H

#include "fs/idset.h"

#include <dirent.h>
#include <sys/stat.h>

/* A batch of getdents64: about 2,000 names of a usual length. */
#define SPG__DIR_BATCH_BYTES ((size_t)64 << 10)

/* A directory's entries as the kernel hands them out. */
struct spg__dir_batch {
	char *buf; /* SPG__DIR_BATCH_BYTES */
	size_t pos, len;
	bool end; /* of the directory */
};

/*
 * Blocks. Reads until the buffer is nearly full or the directory ends. 0; an error, and
 * then the entries read before it are still in the batch.
 */
int spg__dir_fill(int fd, struct spg__dir_batch *batch);

/* The next entry but "." and ".."; NULL: none is left in the batch. */
const struct dirent64 *spg__dir_entry(struct spg__dir_batch *batch);

/* Blocks. Opens a directory; follow: through a symlink in the last component. */
int spg__dir_open_fd(int dirfd, const char *path, bool follow);

/* Blocks. Which file a descriptor is. 0 or an error. */
int spg__file_id_of(int fd, struct spg__file_id *out);

static inline struct spg__file_id spg__statx_id(const struct statx *stx)
{
	return (struct spg__file_id){ (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor, stx->stx_ino };
}

#endif
