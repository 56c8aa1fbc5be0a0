/*
 * Which descriptors are sockets: a hint per number, asked of the kernel once and kept until
 * spg_close. close(2) behind our back makes it wrong; whoever relies on it hears so from the
 * kernel (-ENOTSOCK) and asks again.
 */
#ifndef SPG__IO_FDKIND_H
#define SPG__IO_FDKIND_H

#include "coro/base.h"

bool spg__fdkind_learn(int fd);
void spg__fdkind_forget(int fd);

enum spg__fdkind { SPG__FDKIND_UNKNOWN, SPG__FDKIND_SOCKET, SPG__FDKIND_OTHER };
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
	return spg__fdkind_learn(fd);
}

#endif
