/*
 * The load client: N connections to an echo server, each with one request at a time in
 * flight, driven by one thread and epoll.
 *
 * L1  The bytes of a request follow from its connection and its sequence number alone;
 *     every byte of the reply is compared, and a byte too many is noticed.
 * L2  A connection that fails is closed and counted, never replaced.
 * L3  The closed loop counts what completes within the window. The open loop times a
 *     request from when it was due, and those due within the window all count: what
 *     is late or never answered does not vanish from the percentiles unmentioned.
 */
#ifndef TOOLS_LOAD_H
#define TOOLS_LOAD_H

#include "tools/hist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct load_options {
	const char *address;
	uint32_t connections;
	size_t bytes;
	int64_t warmup_ns, window_ns;
	uint64_t rate; /* requests a second in all; 0: closed loop */
	pid_t server_pid; /* 0: not looked at */
	bool json;
};

struct load_result {
	int64_t window_ns;	     /* as it was in the end */
	uint64_t completed;	     /* replies within the window */
	uint64_t errors, mismatches; /* of connections; of replies */
	uint64_t unanswered;	     /* open loop: due in the window, no reply even after it */
	int64_t client_cpu_ns;	     /* within the window, as what follows */
	int64_t server_cpu_ns;
	uint64_t server_switches;
	uint64_t server_threads;     /* at its end, as what follows */
	uint64_t server_rss_kib, server_rss_peak_kib, server_pte_kib;
	struct hist latency_ns;
};

/* A process watched from outside. */
struct load_server {
	int64_t cpu_ns; /* of all its threads, the kernel's work for them included */
	uint64_t switches; /* context switches of the threads that live */
	uint64_t threads, rss_kib, rss_peak_kib, pte_kib;
};

/* Runs the whole of it. 0, or a negative errno when it could not start (it has said why). */
int load_run(const struct load_options *options, struct load_result *result);

/* 0, or a negative errno: there is no such process. */
int load_server_read(pid_t pid, struct load_server *out);

#endif
