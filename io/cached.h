/*
 * Reads that the page cache answers, without the ring: one system call that never waits for a disk
 * (preadv2 with RWF_NOWAIT) instead of an operation, a park and a switch. What is not there is read
 * on the ring.
 *
 * PC1 Only what cannot wait: regular files without O_DIRECT, at most 64 KiB (a copy of some us).
 * PC2 A miss costs about 6 us in vain. So a file that missed is read on the ring for some time
 *     (SPG__FDKIND_COLD), and a file whose file system has no such reads for good.
 * PC3 The loop that reads on and on lets others run, and lets the ring be looked at: after about
 *     100 us, as long as a shard's pass. Not after a few reads: what one coroutine reads is often
 *     near to what it read before, and what 32 of them read in turn is not.
 * PC4 A read counts as in flight on its descriptor (io/fdtab.h, F1 to F3): spg_close waits for it,
 *     and it never reads from a reused number. After a miss it counts until the ring is done.
 */
#ifndef SPG__IO_CACHED_H
#define SPG__IO_CACHED_H

#include "io/fdkind.h"

#include <sys/types.h>

#define SPG__CACHED_BYTES_MAX ((size_t)64 << 10)

bool spg__cached_try_slow(int fd);

/* May it be read so (PC1, PC2)? After spg__fdkind_is_socket or _is_stream: they learn. */
static inline bool spg__cached_try(int fd, size_t len)
{
	uint8_t kind;

	if ((size_t)(unsigned)fd >= SPG__FDKINDS)
		return false;
	/* relaxed: a hint. */
	kind = atomic_load_explicit(&spg__fdkinds[fd], memory_order_relaxed);
	if (kind < SPG__FDKIND_CACHED || len > SPG__CACHED_BYTES_MAX)
		return false;
	return kind == SPG__FDKIND_CACHED || spg__cached_try_slow(fd);
}

/* A read that began so: what moved; and after a miss, where it is still counted (PC4). Zeroed at first. */
struct spg__cached {
	ssize_t done;
	struct spg__ring *counted;
};

/*
 * true: c->done is the call's result. false: the ring has to go on behind c->done bytes, and
 * spg__cached_rest ends the call. Offset -1: the file's position.
 */
bool spg__cached_read(int fd, char *buf, unsigned len, off_t offset, struct spg__cached *c);

void spg__cached_leave(const struct spg__cached *c, int fd);

/* The result of the whole, the ring's being res: what moved is reported. */
static inline ssize_t spg__cached_rest(const struct spg__cached *c, int fd, int res)
{
	if (c->counted != NULL)
		spg__cached_leave(c, fd);
	return c->done == 0 || res >= 0 ? c->done + res : c->done;
}

#endif
