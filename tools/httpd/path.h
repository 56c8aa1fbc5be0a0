/*
 * From a request's target to a path beneath the root folder, and back.
 */
#ifndef HTTPD_PATH_H
#define HTTPD_PATH_H

#include <stddef.h>

/* With the final zero; longer ones are 414. */
#define PATH_BYTES 1024
#define PATH_INDEX "index.html"

/*
 * Decodes %XX, drops the query, "." and empty segments, resolves "..". out is relative,
 * without a slash in front; a target that ends in a slash names the index file there.
 * Returns out's length, or minus the status of an error: 400 bad escapes, a zero byte, or
 * ".." above the root; 414 too long.
 */
int path_from_target(const char *target, size_t len, char out[PATH_BYTES]);

/* The target of a folder: "/", the path with %XX where needed, "/". 0: longer than size. */
size_t path_to_target(const char *path, size_t len, char *out, size_t size);

#endif
