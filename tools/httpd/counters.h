/*
 * What the server did, for --stats. Connections count for themselves and add up at their end.
 */
#ifndef HTTPD_COUNTERS_H
#define HTTPD_COUNTERS_H

#include <stdint.h>
#include <stdio.h>

struct counters {
	uint64_t connections, rejected;
	uint64_t requests, bytes_sent;
	uint64_t answers[6];	/* by the first digit of their status */
	uint64_t timeouts;	/* ended for silence or slowness */
	uint64_t cut_short;	/* answers that could not be sent to the end */
};

void counters_add(const struct counters *c);
void counters_print(FILE *out);

#endif
