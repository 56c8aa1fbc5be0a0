/*
 * One connection: reads requests and answers them.
 */
#ifndef HTTPD_CONN_H
#define HTTPD_CONN_H

#include "tools/httpd/options.h"

/* Serves fd until it is over; then it wants to be closed. */
void conn_serve(int fd, const struct options *options);
/* Says 503: there are too many. */
void conn_refuse(int fd);

#endif
