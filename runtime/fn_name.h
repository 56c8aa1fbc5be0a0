/*
 * Names of functions by address, for people: "echo" where the dynamic linker knows it, else
 * "program+0x1530", which addr2line understands.
 */
#ifndef SPG__RUNTIME_FN_NAME_H
#define SPG__RUNTIME_FN_NAME_H

#include "coro/base.h"

#define SPG__FN_NAMES 64u

/* Those asked for last; all zero at first. The caller's alone. */
struct spg__fn_names {
	struct {
		uint64_t fn;
		char name[64];
	} entry[SPG__FN_NAMES];
};

/* Valid until the next call. */
const char *spg__fn_name(struct spg__fn_names *names, uint64_t fn);

#endif
