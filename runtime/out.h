/*
 * Text into a descriptor, through a buffer. The first error sticks; what follows is dropped.
 */
#ifndef SPG__RUNTIME_OUT_H
#define SPG__RUNTIME_OUT_H

#include "coro/base.h"

#include <sys/types.h>

struct spg__out {
	int fd;
	int err;
	/* 0 or a negative errno: everything was written, or not. */
	int (*write)(int fd, const void *data, size_t len);
	size_t len;
	char buf[16384];
};

/* On the heap: too large for a coroutine's stack. NULL: no memory. Freed by spg__out_end. */
struct spg__out *spg__out_new(int fd, int (*write)(int fd, const void *data, size_t len));

void spg__out_text(struct spg__out *out, const char *text);
void spg__out_u64(struct spg__out *out, uint64_t value);
void spg__out_i64(struct spg__out *out, int64_t value);
void spg__out_hex(struct spg__out *out, uint64_t value);
/* With its quotes. */
void spg__out_json_string(struct spg__out *out, const char *text);
/* At most 255 bytes. */
void spg__out_printf(struct spg__out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void spg__out_flush(struct spg__out *out);

/* Writes what is left and frees it. 0, or the first error. */
int spg__out_end(struct spg__out *out);

/* A writer for it: parks a coroutine, and obeys its context. */
int spg__out_write(int fd, const void *data, size_t len);

#endif
