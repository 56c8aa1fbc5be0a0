/*
 * stderr into memory: what the library prints by itself.
 */
#ifndef SPG__TEST_CAPTURED_H
#define SPG__TEST_CAPTURED_H

#include "test/t.h"

#include <sys/mman.h>

struct captured {
	int fd, before;
};

static inline struct captured capture(void)
{
	struct captured c = { .fd = memfd_create("stderr", MFD_CLOEXEC), .before = dup(STDERR_FILENO) };

	T_OK(c.fd >= 0 && c.before >= 0);
	T_OK(dup2(c.fd, STDERR_FILENO) >= 0);
	return c;
}

/* What came so far; for free(3). */
static inline char *captured_text(const struct captured *c)
{
	off_t len = lseek(c->fd, 0, SEEK_END);
	char *text = malloc((size_t)len + 1);

	T_OK(text != NULL);
	len = pread(c->fd, text, (size_t)len, 0);
	T_OK(len >= 0);
	text[len] = '\0';
	return text;
}

static inline bool captured_has(const struct captured *c, const char *what)
{
	char *text = captured_text(c);
	bool has = strstr(text, what) != NULL;

	free(text);
	return has;
}

static inline void captured_end(struct captured *c)
{
	T_OK(dup2(c->before, STDERR_FILENO) >= 0);
	close(c->before);
	close(c->fd);
}

#endif
