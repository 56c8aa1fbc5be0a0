/*
 * For the tests of deadlocks: what is written to stderr meanwhile.
 */
#ifndef SPG__TEST_DEADLOCK_H
#define SPG__TEST_DEADLOCK_H

#include "t.h"

#include <sys/mman.h>

#define DEADLOCK_TEXT "spg: all coroutines are asleep - deadlock!\n"

/* ThreadSanitizer has threads of its own, which are in the way like anybody's. */
#define NEEDS_REPORTS()                                                                            \
	do {                                                                                       \
		if (t_tsan())                                                                      \
			T_SKIP("the sanitizer's own threads exclude a deadlock");                  \
	} while (0)

struct captured {
	int fd, saved;
	char text[1 << 17];
};

/* Between the two a failed assertion ends the test as ever, but its text goes into the file. */
static inline void capture_begin(struct captured *out)
{
	out->fd = memfd_create("stderr", MFD_CLOEXEC);
	T_OK(out->fd >= 0);
	out->saved = dup(STDERR_FILENO);
	T_OK(out->saved >= 0);
	T_OK(dup2(out->fd, STDERR_FILENO) >= 0);
}

static inline void capture_end(struct captured *out)
{
	ssize_t n;

	T_OK(dup2(out->saved, STDERR_FILENO) >= 0);
	close(out->saved);
	n = pread(out->fd, out->text, sizeof(out->text) - 1, 0);
	T_OK(n >= 0);
	out->text[n] = '\0';
	close(out->fd);
}

static inline int deadlocks_reported(const struct captured *out)
{
	int n = 0;

	for (const char *at = out->text; (at = strstr(at, DEADLOCK_TEXT)) != NULL; at++)
		n++;
	return n;
}

static inline bool deadlock_reported(const struct captured *out)
{
	return deadlocks_reported(out) == 1;
}

#endif
