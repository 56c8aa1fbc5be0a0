/*
 * One connection: reads requests, answers them, closes.
 */
#ifndef HTTPD_CONN_H
#define HTTPD_CONN_H

#include "tools/httpd/options.h"

/* Serves fd until it is over, and closes it. */
void conn_serve(int fd, const struct options *options);
/* Says 503, and closes it: there are too many. */
void conn_refuse(int fd);

#endif
