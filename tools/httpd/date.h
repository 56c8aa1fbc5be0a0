/*
 * Dates as HTTP writes them (RFC 9110, 5.6.7).
 */
#ifndef HTTPD_DATE_H
#define HTTPD_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define DATE_LEN 29

/* "Sun, 06 Nov 1994 08:49:37 GMT": DATE_LEN bytes, no final zero. */
void date_write(time_t when, char out[DATE_LEN]);
/* All three formats. False: it is none. */
bool date_read(const char *text, size_t len, time_t *when);

#endif
