#include "tools/httpd/log.h"

#include "tools/cli.h"
#include "tools/httpd/calls.h"
#include "tools/httpd/date.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_RECORDS 8192
#define BATCH_BYTES (64 * 1024)
/* A line at its longest: every byte of the target escaped. */
#define LINE_BYTES (LOG_TARGET_BYTES * 4 + 256)
/* Between two batches: a wake for each record would cost more than the record. */
#define PAUSE_NS INT64_C(20000000)

static struct {
	struct call_queue *queue; /* NULL: no log */
	struct call_task *task;
	int fd;
	_Atomic uint64_t dropped;
	/* The task's own. */
	char *batch;
	size_t len, lines;
	uint64_t pending; /* records taken, neither written nor dropped */
	uint64_t dropped_told;
	_Bool failed;
} journal = { .fd = -1 };

_Bool log_enabled(void)
{
	return journal.queue != NULL;
}

/* Those not written are counted. */
static void drop(uint64_t records)
{
	/* relaxed: a number, nothing depends on it. */
	atomic_fetch_add_explicit(&journal.dropped, records, memory_order_relaxed);
}

void log_put(const struct log_record *record)
{
	if (call_queue_put(journal.queue, record) < 0)
		drop(1);
}

static void flush(void)
{
	ssize_t n = call_write(journal.fd, journal.batch, journal.len);

	if (n < 0 && !journal.failed)
		complain("cannot write the access log: %s", strerror((int)-n));
	journal.failed = n < 0;
	if (journal.failed)
		drop(journal.lines);
	journal.pending -= journal.lines;
	journal.len = journal.lines = 0;
}

static size_t escape(char *out, const char *text, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c > ' ' && c < 0x7f && c != '"' && c != '\\') {
			out[n++] = (char)c;
			continue;
		}
		memcpy(out + n, "\\x", 2);
		out[n + 2] = digits[c >> 4];
		out[n + 3] = digits[c & 15];
		n += 4;
	}
	return n;
}

static void add_line(const struct log_record *r)
{
	char address[INET6_ADDRSTRLEN] = "-", target[LOG_TARGET_BYTES * 4 + 1];
	char date[DATE_LEN];
	const void *raw = r->peer.address.sa.sa_family == AF_INET6 ? (const void *)&r->peer.address.in6.sin6_addr
							   : (const void *)&r->peer.address.in.sin_addr;

	if (r->peer.address.sa.sa_family == AF_INET || r->peer.address.sa.sa_family == AF_INET6)
		(void)inet_ntop(r->peer.address.sa.sa_family, raw, address, sizeof(address)); /* has room */
	target[escape(target, r->target, r->target_len)] = '\0';
	date_write(r->when, date);
	if (BATCH_BYTES - journal.len < LINE_BYTES)
		flush();
	journal.len += (size_t)snprintf(journal.batch + journal.len, LINE_BYTES,
					"%s [%.*s] \"%s%s%s\" %u %ju %jdus\n", address, DATE_LEN, date,
					r->method, target[0] != '\0' ? " " : "", target, r->status, (uintmax_t)r->bytes,
					(intmax_t)(r->took_ns / 1000));
	journal.lines++;
}

static void add_dropped(void)
{
	uint64_t dropped = atomic_load_explicit(&journal.dropped, memory_order_relaxed);

	if (dropped == journal.dropped_told)
		return;
	if (BATCH_BYTES - journal.len < LINE_BYTES)
		flush();
	journal.len += (size_t)snprintf(journal.batch + journal.len, LINE_BYTES, "# %ju lines dropped\n",
					(uintmax_t)(dropped - journal.dropped_told));
	journal.dropped_told = dropped;
}

static void *log_main(void *arg)
{
	struct log_record record;

	(void)arg;
	while (call_queue_take(journal.queue, &record) == 0) {
		do {
			journal.pending++;
			add_line(&record);
		} while (call_queue_try_take(journal.queue, &record) == 0);
		add_dropped();
		flush();
		call_sleep(PAUSE_NS);
	}
	add_dropped();
	if (journal.len > 0)
		flush();
	return NULL;
}

static void release(void)
{
	if (journal.queue != NULL)
		call_queue_free(journal.queue);
	if (journal.fd > STDERR_FILENO)
		close(journal.fd);
	free(journal.batch);
	journal.queue = NULL;
	journal.batch = NULL;
	journal.fd = -1;
}

int log_start(const char *path)
{
	if (path == NULL)
		return 0;
	journal.fd = strcmp(path, "-") == 0 ? STDOUT_FILENO
					    : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (journal.fd < 0)
		return -errno;
	journal.batch = malloc(BATCH_BYTES);
	journal.queue = call_queue_new(sizeof(struct log_record), QUEUE_RECORDS);
	if (journal.batch != NULL && journal.queue != NULL)
		journal.task = call_spawn(log_main, NULL);
	if (journal.task != NULL)
		return 0;
	release();
	return -ENOMEM;
}

uint64_t log_stop(int64_t limit_ns)
{
	struct log_record record;

	if (journal.queue != NULL) {
		call_queue_close(journal.queue);
		call_join(journal.task, limit_ns);
		drop(journal.pending);
		while (call_queue_try_take(journal.queue, &record) == 0)
			drop(1);
		release();
	}
	return atomic_load_explicit(&journal.dropped, memory_order_relaxed);
}
