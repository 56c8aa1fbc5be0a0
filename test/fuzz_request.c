/*
 * libFuzzer on httpd's request path: whole connections, with the calls of
 * tools/httpd/calls.h answered from memory. The first byte of an input says how the rest
 * arrives in pieces; what comes back must be well-formed responses with bodies as long as
 * they say, and no path may be asked for that leads out of the root.
 */
#include "tools/httpd/buffer.h"
#include "tools/httpd/calls.h"
#include "tools/httpd/conn.h"
#include "tools/httpd/file.h"
#include "tools/httpd/marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONNECTION_FD 1000000 /* beyond every descriptor: shutdown(2) refuses it */
#define SHORT_BYTES 26
#define LONG_BYTES 100000
#define SINK_BYTES (64 << 20)
#define START "HTTP/1.1 "

static struct {
	const uint8_t *data;
	size_t len;
	uint32_t piece;
} input;
static struct {
	char *data;
	size_t len;
} sink;
static int short_file, long_file;

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "fuzz_request: %s\n", what);
	abort();
}

ssize_t call_recv(int fd, void *buf, size_t len, int64_t timeout_ns)
{
	size_t n;

	check(fd == CONNECTION_FD && len > 0 && timeout_ns >= 0, "a receive that makes no sense");
	input.piece = input.piece * 1103515245u + 12345u;
	n = 1 + (input.piece >> 16) % (input.piece >> 8 & 1 ? 8 : 4096);
	if (n > len)
		n = len;
	if (n > input.len)
		n = input.len;
	memcpy(buf, input.data, n);
	input.data += n;
	input.len -= n;
	return (ssize_t)n;
}

ssize_t call_send(int fd, const void *buf, size_t len, bool more, int64_t timeout_ns)
{
	(void)more;
	check(fd == CONNECTION_FD && len > 0 && timeout_ns >= 0, "a send that makes no sense");
	if (SINK_BYTES - sink.len < len)
		return -EPIPE;
	memcpy(sink.data + sink.len, buf, len);
	sink.len += len;
	return (ssize_t)len;
}

ssize_t call_sendfile(int fd, bool *ready, int file, off_t offset, size_t len, int64_t timeout_ns)
{
	char piece[1000];
	ssize_t n;

	if (!*ready) { /* now by this way, now by the other */
		*ready = true;
		return -EAGAIN;
	}
	n = pread(file, piece, len < sizeof(piece) ? len : sizeof(piece), offset);
	return n > 0 ? call_send(fd, piece, (size_t)n, false, timeout_ns) : n;
}

ssize_t call_pread(int fd, void *buf, size_t len, off_t offset)
{
	return pread(fd, buf, len < 5000 ? len : 5000, offset);
}

int call_open(int dirfd, const char *path)
{
	(void)dirfd;
	check(path[0] != '/' && strstr(path, "//") == NULL, "an absolute path, or an empty segment");
	for (const char *at = path; at != NULL; at = strchr(at, '/')) {
		at += *at == '/';
		check(strncmp(at, "../", 3) != 0 && strcmp(at, "..") != 0, "a way up in a path");
	}
	if (strcmp(path, "index.html") == 0 || strcmp(path, "a.txt") == 0)
		return dup(short_file);
	if (strcmp(path, "long.txt") == 0)
		return dup(long_file);
	return strcmp(path, "sub") == 0 || strcmp(path, ".") == 0 ? open("/", O_RDONLY | O_DIRECTORY) : -ENOENT;
}

void call_close(int fd)
{
	check(close(fd) == 0, "a descriptor closed twice");
}

/* The log is off: nothing runs beside. */
struct call_task *call_spawn(void *(*fn)(void *), void *arg)
{
	(void)fn;
	(void)arg;
	return NULL;
}

void call_join(struct call_task *task, int64_t limit_ns)
{
	(void)task;
	(void)limit_ns;
}

int call_sleep(int64_t ns)
{
	(void)ns;
	return 0;
}

ssize_t call_write(int fd, const void *buf, size_t len)
{
	return write(fd, buf, len);
}

struct call_queue *call_queue_new(size_t value_bytes, size_t capacity)
{
	(void)value_bytes;
	(void)capacity;
	return NULL;
}

int call_queue_put(struct call_queue *queue, const void *value)
{
	(void)queue;
	(void)value;
	return -EAGAIN;
}

int call_queue_take(struct call_queue *queue, void *value)
{
	(void)queue;
	(void)value;
	return -EPIPE;
}

int call_queue_try_take(struct call_queue *queue, void *value)
{
	return call_queue_take(queue, value);
}

void call_queue_close(struct call_queue *queue)
{
	(void)queue;
}

void call_queue_free(struct call_queue *queue)
{
	(void)queue;
}

static bool starts(const char *at, size_t len)
{
	return len >= sizeof(START) - 1 && memcmp(at, START, sizeof(START) - 1) == 0;
}

/* One response; how long it is. No file holds what a response starts with. */
static size_t check_response(const char *at, size_t len)
{
	static const char length_name[] = "\r\nContent-Length: ";
	const char *end, *name;
	size_t head, body = 0;

	check(starts(at, len), "no status line");
	end = memmem(at, len, "\r\n\r\n", 4);
	check(end != NULL, "a head without an end");
	head = (size_t)(end - at) + 4;
	name = memmem(at, head, length_name, sizeof(length_name) - 1);
	check(name != NULL || memcmp(at + sizeof(START) - 1, "304", 3) == 0, "no length");
	if (name != NULL)
		body = strtoul(name + sizeof(length_name) - 1, NULL, 10);
	if (head == len || starts(at + head, len - head))
		return head; /* to a HEAD request, or the body is empty */
	check(len - head >= body, "a body that ends too early");
	return head + body;
}

static int make_file(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	for (size_t i = 0; i < bytes; i++)
		check(write(fd, &"abcdefghijklmnopqrstuvwxyz"[i % SHORT_BYTES], 1) == 1, "no memory file");
	return fd;
}

static void init(void)
{
	sink.data = malloc(SINK_BYTES);
	short_file = make_file("short", SHORT_BYTES);
	long_file = make_file("long", LONG_BYTES);
	check(sink.data != NULL && marks_init() == 0 && files_init(AT_FDCWD, 64, INT64_C(1000000)) == 0,
	      "no memory");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct options options = {
		.header_bytes_max = 2048,
		.idle_ns = INT64_C(1000000000),
		.request_ns = INT64_C(1000000000),
		.send_ns = INT64_C(1000000000),
	};
	size_t at = 0;

	if (sink.data == NULL)
		init();
	if (size == 0)
		return 0;
	input.piece = data[0];
	input.data = data + 1;
	input.len = size - 1;
	sink.len = 0;
	conn_serve(CONNECTION_FD, &options);
	while (at < sink.len)
		at += check_response(sink.data + at, sink.len - at);
	return 0;
}
