/*
 * Which descriptors are sockets, which have no position, and which may be read from the page
 * cache (io/cached.c): a hint per number, asked of the kernel once and kept until spg_close.
 * close(2) behind our back makes it wrong; whoever relies on it hears so from the kernel
 * (-ENOTSOCK) and asks again.
 */
#ifndef SPG__IO_FDKIND_H
#define SPG__IO_FDKIND_H

#include "coro/base.h"

enum spg__fdkind {
	SPG__FDKIND_UNKNOWN,
	SPG__FDKIND_SOCKET,
	SPG__FDKIND_STREAM,
	/* Has a position. */
	SPG__FDKIND_FILE,
	/* So too: a regular file whose reads may find the page cache. */
	SPG__FDKIND_CACHED,
	/* It missed: COLD + n is to become CACHED again after n + 1 reads. */
	SPG__FDKIND_COLD,
};

/* By the kernel's word, now: FILE is a regular file, a directory or a block device; UNKNOWN: not open. */
enum spg__fdkind spg__fdkind_now(int fd);

/* May a call on it wait for long? What is not open says so itself, at once. */
static inline bool spg__fdkind_waits(enum spg__fdkind kind)
{
	return kind == SPG__FDKIND_SOCKET || kind == SPG__FDKIND_STREAM;
}

/* The hint, asked anew: a device with a position counts as a file. */
enum spg__fdkind spg__fdkind_learn(int fd);
void spg__fdkind_forget(int fd);

#define SPG__FDKINDS ((size_t)1 << 20)

/* Zeroed, touched as far as used; beyond it nothing is remembered. */
extern _Atomic uint8_t spg__fdkinds[SPG__FDKINDS];

static inline bool spg__fdkind_is_socket(int fd)
{
	uint8_t kind;

	if (spg__unlikely((size_t)(unsigned)fd >= SPG__FDKINDS))
		return false;
	/* relaxed: a hint. */
	kind = atomic_load_explicit(&spg__fdkinds[fd], memory_order_relaxed);
	if (spg__likely(kind != SPG__FDKIND_UNKNOWN))
		return kind == SPG__FDKIND_SOCKET;
	return spg__fdkind_learn(fd) == SPG__FDKIND_SOCKET;
}

/* Has it no position, so that pread(2) is -ESPIPE? io_uring would read the stream instead. */
static inline bool spg__fdkind_is_stream(int fd)
{
	enum spg__fdkind kind;

	if ((size_t)(unsigned)fd < SPG__FDKINDS &&
	    atomic_load_explicit(&spg__fdkinds[fd], memory_order_relaxed) >= SPG__FDKIND_FILE)
		return false;
	/* Unknown, or about to be refused: a hint is not enough. */
	kind = spg__fdkind_learn(fd);
	return spg__fdkind_waits(kind);
}

#endif
