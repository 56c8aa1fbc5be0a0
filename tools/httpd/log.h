/*
 * The access log: connections put records into a bounded queue and never wait; one task
 * takes them, formats, and writes many lines at once. What finds the queue full is
 * counted, and the count is a line of the log.
 */
#ifndef HTTPD_LOG_H
#define HTTPD_LOG_H

#include <netinet/in.h>
#include <stdint.h>
#include <time.h>

#define LOG_TARGET_BYTES 168

struct log_peer {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} address;
};

struct log_record {
	time_t when;
	uint64_t bytes;
	int64_t took_ns;
	const char *method; /* static */
	struct log_peer peer; /* all zero: unknown */
	uint16_t status;
	uint16_t target_len;
	char target[LOG_TARGET_BYTES]; /* its beginning */
};

/* NULL: no log. 0, or why not. */
int log_start(const char *path);
_Bool log_enabled(void);
void log_put(const struct log_record *record);
/*
 * Writes what is queued, and ends the task; what takes longer than limit_ns, as with a pipe
 * that nobody reads, is dropped. Returns how many records were dropped in all.
 */
uint64_t log_stop(int64_t limit_ns);

#endif
