#include "io/fdkind.h"

#include <sys/stat.h>
#include <unistd.h>

_Atomic uint8_t spg__fdkinds[SPG__FDKINDS];

static enum spg__fdkind ask(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return SPG__FDKIND_UNKNOWN;
	if (S_ISSOCK(st.st_mode))
		return SPG__FDKIND_SOCKET;
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
		return SPG__FDKIND_FILE;
	return lseek(fd, 0, SEEK_CUR) < 0 ? SPG__FDKIND_STREAM : SPG__FDKIND_FILE;
}

spg__noinline enum spg__fdkind spg__fdkind_learn(int fd)
{
	enum spg__fdkind kind = ask(fd);

	if ((size_t)(unsigned)fd < SPG__FDKINDS)
		atomic_store_explicit(&spg__fdkinds[fd], (uint8_t)kind, memory_order_relaxed);
	return kind;
}

void spg__fdkind_forget(int fd)
{
	if ((size_t)(unsigned)fd < SPG__FDKINDS)
		atomic_store_explicit(&spg__fdkinds[fd], SPG__FDKIND_UNKNOWN, memory_order_relaxed);
}
