/*
 * Open files, with what every response about them says. Kept open for a while, so that a
 * request for one that is asked for often opens nothing.
 *
 * Only the descriptor, its size and times are kept, never content: that is read for each
 * response. An entry is trusted for fresh_ns; then its path is opened anew. So a path that
 * names another file, or a file that grew, is noticed fresh_ns later; content changed in
 * place at once, and its validators, which are older than the content then, never
 * make a client keep something stale.
 *
 * F1  An entry is reached from a lane's table only under the lane's lock, which is never
 *     held over a call that waits.
 * F2  refs counts its users and the table; who takes it to zero closes and frees.
 * F3  All but refs is written before the entry is in a table, and never again.
 */
#ifndef HTTPD_FILE_H
#define HTTPD_FILE_H

#include "tools/httpd/date.h"
#include "tools/httpd/path.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define FILE_ETAG_BYTES 40
#define FILE_HEAD_BYTES 256

struct file {
	_Atomic uint32_t refs;
	int fd;
	bool folder;
	uint64_t size_bytes;
	time_t modified;
	int64_t opened_ns;
	uint64_t hash;
	/* ETag, Last-Modified; then Content-Type, Accept-Ranges: header lines. */
	uint16_t validators_len, head_len;
	uint16_t etag_len;
	uint16_t path_len;
	char etag[FILE_ETAG_BYTES];
	char head[FILE_HEAD_BYTES];
	char path[]; /* with a final zero */
};

/* root_fd stays the caller's. 0, or -ENOMEM. */
int files_init(int root_fd, unsigned count_max, int64_t fresh_ns);
void files_fini(void);

/*
 * The file or folder at a path beneath the root, for file_put. now_ns: CLOCK_MONOTONIC.
 * 0, or the errno of openat2(2) or fstat(2); -EACCES: neither file nor folder; -ENOMEM.
 */
int file_get(const char *path, size_t len, int64_t now_ns, struct file **out);
void file_put(struct file *file);
/* It is not what it was: the next file_get opens it anew. */
void file_forget(struct file *file);

#endif
