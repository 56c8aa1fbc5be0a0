/*
 * What the library says on stderr by itself, with names of functions: stalls, overflows, locks held
 * over a wait, stack use. Memory comes from mmap(2), nothing of malloc's or the loader's is touched.
 */
#ifndef SPG__RUNTIME_REPORT_H
#define SPG__RUNTIME_REPORT_H

#include "runtime/dump.h"

struct spg__report {
	struct spg__out out;
	struct spg__symbols symbols;
};

/* NULL: no memory. Any thread, also in a signal handler. */
struct spg__report *spg__report_begin(void);
/* Writes it. */
void spg__report_end(struct spg__report *report);

/* `coroutine 12 "name"` */
void spg__report_coro(struct spg__report *report, uint64_t id, const char *name);

/* For spg__overflow_install. */
void spg__report_overflow(const struct spg__coro *coro, const void *const *frames, unsigned depth);

#endif
