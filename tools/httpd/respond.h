/*
 * Responses, into a connection's buffer; bodies too long for it are sent piece by piece.
 */
#ifndef HTTPD_RESPOND_H
#define HTTPD_RESPOND_H

#include "tools/httpd/file.h"
#include "tools/httpd/out.h"
#include "tools/httpd/request.h"

#include <stdbool.h>

struct respond {
	struct out *out;
	bool head;	     /* to HEAD: no body */
	bool keep;	     /* the connection goes on */
	bool keep_says;	     /* and the client, of HTTP/1.0, has to be told */
	time_t date_when;    /* what `date` says */
	char date[DATE_LEN];
	/* Of the last response: */
	uint16_t status;
	uint64_t body_bytes;
	bool cut_short;	     /* it ended before its end: the connection must */
};

/* An error and a line that says which. out_begin succeeded before, here and below. */
void respond_error(struct respond *r, int status);
/* To the same path with a slash behind it. */
void respond_folder(struct respond *r, const char *path, size_t len);
/* The file, a part of it, or why not. */
void respond_file(struct respond *r, const struct request *request, const char *base, struct file *file,
		  int64_t now_ns);

#endif
