#include "tools/httpd/marks.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define FDS_MAX (1 << 20)

enum { CLOSED, BUSY, IDLE };

static _Atomic unsigned char *marks;
static int marks_count;
static _Atomic bool draining;

int marks_init(void)
{
	struct rlimit limit;

	marks_count = FDS_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_MAX)
		marks_count = (int)limit.rlim_cur;
	marks = calloc((size_t)marks_count, 1);
	return marks == NULL ? -ENOMEM : 0;
}

void marks_fini(void)
{
	free((void *)marks);
	marks = NULL;
}

static void mark(int fd, unsigned char what)
{
	if (fd < marks_count) /* beyond FDS_MAX a connection ends with the drain's time */
		atomic_store(&marks[fd], what); /* seq_cst: M1 */
}

void marks_open(int fd)
{
	mark(fd, BUSY);
}

bool marks_idle(int fd)
{
	mark(fd, IDLE);
	return !marks_draining();
}

void marks_busy(int fd)
{
	mark(fd, BUSY);
}

void marks_close(int fd)
{
	mark(fd, CLOSED);
}

bool marks_draining(void)
{
	return atomic_load(&draining); /* seq_cst: M1 */
}

void marks_drain(void)
{
	atomic_store(&draining, true); /* seq_cst: M1 */
	for (int fd = 0; fd < marks_count; fd++)
		if (atomic_load(&marks[fd]) == IDLE)
			shutdown(fd, SHUT_RD);
}

void marks_shutdown_all(void)
{
	for (int fd = 0; fd < marks_count; fd++)
		if (atomic_load(&marks[fd]) != CLOSED)
			shutdown(fd, SHUT_RDWR);
}
