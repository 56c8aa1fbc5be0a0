/*
 * Static probes for bpftrace, perf and SystemTap: a nop each, and a note that says where
 * and with which arguments (docs/probes.md). Nothing where <sys/sdt.h> is missing.
 */
#ifndef SPG__CORO_USDT_H
#define SPG__CORO_USDT_H

#include "spg_probe.h"

#if SPG__HAVE_SDT
#include <sys/sdt.h>
/*
 * The header's own, with `inline`: gcc takes an asm for as long as its text has lines, these
 * for dozens of instructions, and would inline none of the functions around them.
 */
#undef _SDT_PROBE
#define _SDT_PROBE(provider, name, n, arglist)                                                     \
	do {                                                                                       \
		__asm__ __inline volatile(_SDT_ASM_BODY(provider, name, _SDT_ASM_ARGS, (n))        \
					  ::_SDT_ASM_OPERANDS_##n arglist);                        \
		__asm__ __inline volatile(_SDT_ASM_BASE);                                          \
	} while (0)
#define SPG__PROBE1(name, a) DTRACE_PROBE1(spg, name, a)
#define SPG__PROBE2(name, a, b) DTRACE_PROBE2(spg, name, a, b)
#define SPG__PROBE3(name, a, b, c) DTRACE_PROBE3(spg, name, a, b, c)
#else
#define SPG__PROBE1(name, a) ((void)(a))
#define SPG__PROBE2(name, a, b) ((void)(a), (void)(b))
#define SPG__PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
