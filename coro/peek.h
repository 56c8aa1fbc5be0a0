/*
 * Memory that may be gone, or not what one thinks: objects of users whose address is all a
 * dump has. The kernel reads it, and answers where a load would fault.
 */
#ifndef SPG__CORO_PEEK_H
#define SPG__CORO_PEEK_H

#include "coro/base.h"

/* Copies len bytes. false: some are not mapped, or process_vm_readv(2) is not permitted. */
bool spg__peek(const void *from, void *to, size_t len);

#endif
