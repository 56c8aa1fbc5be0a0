#include "coro/alloc.h"
#include "coro/fault.h"

#include <sys/mman.h>

void *spg__alloc(size_t bytes)
{
	return spg__fault(SPG__FAULT_ALLOC) < 0 ? NULL : malloc(bytes);
}

void *spg__calloc(size_t count, size_t bytes)
{
	return spg__fault(SPG__FAULT_ALLOC) < 0 ? NULL : calloc(count, bytes);
}

void *spg__map(size_t bytes)
{
	void *ptr;

	if (spg__fault(SPG__FAULT_MAP) < 0)
		return NULL;
	ptr = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return ptr == MAP_FAILED ? NULL : ptr;
}

void spg__unmap(void *ptr, size_t bytes)
{
	SPG_CHECK(munmap(ptr, bytes) == 0);
}
