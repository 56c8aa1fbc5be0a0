/*
 * What a request's conditions and range make of a file (RFC 9110, sections 13 and 14).
 */
#ifndef HTTPD_CONDITION_H
#define HTTPD_CONDITION_H

#include "tools/httpd/file.h"
#include "tools/httpd/request.h"

#include <stdint.h>

struct selection {
	int status; /* 200, 206, 304, 412, 416 */
	uint64_t first, len; /* the bytes to send, of 200 and 206 */
};

/* base: the buffer of the request's parts. */
struct selection condition_apply(const struct request *r, const char *base, const struct file *file);

#endif
