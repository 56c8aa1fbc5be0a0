#include "io/fdkind.h"

#include <sys/stat.h>

_Atomic uint8_t spg__fdkinds[SPG__FDKINDS];

spg__noinline bool spg__fdkind_learn(int fd)
{
	struct stat st;
	bool socket;

	if (fstat(fd, &st) != 0)
		return false;
	socket = S_ISSOCK(st.st_mode);
	atomic_store_explicit(&spg__fdkinds[fd], socket ? SPG__FDKIND_SOCKET : SPG__FDKIND_OTHER,
			      memory_order_relaxed);
	return socket;
}

void spg__fdkind_forget(int fd)
{
	if ((size_t)(unsigned)fd < SPG__FDKINDS)
		atomic_store_explicit(&spg__fdkinds[fd], SPG__FDKIND_UNKNOWN, memory_order_relaxed);
}
