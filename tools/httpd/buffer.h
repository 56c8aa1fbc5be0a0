/*
 * Buffers for responses and long requests. A connection has one only while it serves:
 * one that is idle holds none. Up to BUFFERS_KEPT free ones are kept, so that serving
 * allocates nothing.
 */
#ifndef HTTPD_BUFFER_H
#define HTTPD_BUFFER_H

#include <stddef.h>

#define BUFFER_BYTES (64 * 1024)
#define BUFFERS_KEPT 256

/* NULL: no memory. */
char *buffer_take(void);
void buffer_give(char *buffer);
/* Frees those that are kept. */
void buffers_fini(void);

#endif
