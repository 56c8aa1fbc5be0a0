#ifndef HTTPD_MIME_H
#define HTTPD_MIME_H

/* The media type that a path's ending stands for. */
const char *mime_type(const char *path);

#endif
