/*
 * A request as it arrives: llhttp finds its parts, this keeps where they are.
 *
 * Q1  From a request's first byte until its answer its line and headers stay where they
 *     are in the caller's buffer, or move as a whole: parts are offsets, never pointers.
 * Q2  Nothing behind a request's end is looked at before request_begin.
 */
#ifndef HTTPD_REQUEST_H
#define HTTPD_REQUEST_H

#include <llhttp/llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A body nobody asked for is skipped up to here; longer ones are 413. */
#define REQUEST_BODY_BYTES_MAX (64 * 1024)

/* Results of request_feed; others are the status of an error, 400 to 599. */
enum { REQUEST_MORE = 0, REQUEST_DONE = 1 };

struct part {
	uint32_t at, len;
};

struct request {
	llhttp_t parser;
	const char *base;	/* of the buffer, during a feed */
	struct part target;
	struct part name;	/* of the header that is being read */
	struct part *value;	/* where its value goes; NULL: nowhere */
	struct part range, if_range, if_match, if_none_match;
	struct part if_modified_since, if_unmodified_since;
	struct part host;
	uint32_t kept_bytes;	/* the buffer's part that must stay: line and headers */
	uint32_t body_bytes;
	uint16_t status;	/* of an error one of our callbacks found */
	uint8_t hosts_count;
	bool headers_done, done;
	bool target_done;
	bool expects;		/* the client waits with the body for a word of ours */
};

void request_begin(struct request *r);

/*
 * Parses base[from] to base[to]; the request began at base[0]. On REQUEST_DONE *end is
 * where it ends; on REQUEST_MORE all was taken, and base[r->kept_bytes] and what follows
 * may be overwritten if headers_done.
 */
int request_feed(struct request *r, const char *base, size_t from, size_t to, size_t *end);

bool request_keeps_alive(const struct request *r);

#endif
