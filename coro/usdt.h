/*
 * Static probes for bpftrace, perf and SystemTap: a nop each, and a note that says where
 * and with which arguments (docs/probes.md). Nothing where <sys/sdt.h> is missing.
 */
#ifndef SPG__CORO_USDT_H
#define SPG__CORO_USDT_H

#include "spg_probe.h"

#if SPG__HAVE_SDT
#include <sys/sdt.h>
#define SPG__PROBE1(name, a) DTRACE_PROBE1(spg, name, a)
#define SPG__PROBE2(name, a, b) DTRACE_PROBE2(spg, name, a, b)
#define SPG__PROBE3(name, a, b, c) DTRACE_PROBE3(spg, name, a, b, c)
#define SPG__PROBE4(name, a, b, c, d) DTRACE_PROBE4(spg, name, a, b, c, d)
#else
#define SPG__PROBE1(name, a) ((void)(a))
#define SPG__PROBE2(name, a, b) ((void)(a), (void)(b))
#define SPG__PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define SPG__PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif
