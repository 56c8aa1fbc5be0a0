#include "io/fdkind.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

_Atomic uint8_t spg__fdkinds[SPG__FDKINDS];

enum spg__fdkind spg__fdkind_now(int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) != 0)
		return SPG__FDKIND_UNKNOWN;
	if (S_ISSOCK(st.stx_mode))
		return SPG__FDKIND_SOCKET;
	if (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode) || S_ISBLK(st.stx_mode))
		return SPG__FDKIND_FILE;
	return SPG__FDKIND_STREAM;
}

/* A regular file without O_DIRECT: direct reads wait for the disk, whatever one asks for. */
static bool is_buffered(int fd)
{
	struct statx st;
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DIRECT) == 0 && statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) == 0 &&
	       S_ISREG(st.stx_mode);
}

spg__noinline enum spg__fdkind spg__fdkind_learn(int fd)
{
	enum spg__fdkind kind = spg__fdkind_now(fd);

	if (kind == SPG__FDKIND_STREAM && lseek(fd, 0, SEEK_CUR) >= 0)
		kind = SPG__FDKIND_FILE;
	else if (kind == SPG__FDKIND_FILE && is_buffered(fd))
		kind = SPG__FDKIND_CACHED;
	if ((size_t)(unsigned)fd < SPG__FDKINDS)
		atomic_store_explicit(&spg__fdkinds[fd], (uint8_t)kind, memory_order_relaxed);
	return kind;
}

void spg__fdkind_forget(int fd)
{
	if ((size_t)(unsigned)fd < SPG__FDKINDS)
		atomic_store_explicit(&spg__fdkinds[fd], SPG__FDKIND_UNKNOWN, memory_order_relaxed);
}
