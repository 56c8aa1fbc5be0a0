#include "coro/peek.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

bool spg__peek(const void *from, void *to, size_t len)
{
	struct iovec local = { .iov_base = to, .iov_len = len };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)from, .iov_len = len };

	/* Not libc's wrapper: sanitizers would take it for a read of their own. */
	return syscall(SYS_process_vm_readv, getpid(), &local, 1ul, &remote, 1ul, 0ul) == (long)len;
}
