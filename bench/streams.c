/* Streams to the peer. See streams.h. */
#include "bench/streams.h"
#include "tools/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct stream streams[STREAMS];
static bool threads; /* --pthreads: no runtime is there */
static int file = -1;

void streams_threads(const struct bench_options *o)
{
	threads = o->pthreads;
}

/* A blocking socket. */
static int plain_dial(const struct bench_options *o)
{
	struct addrinfo *at;
	int err = tcp_resolve(o->addr, 0, &at), fd;

	if (err < 0)
		return err;
	fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) < 0)
		err = -errno;
	freeaddrinfo(at);
	return err < 0 ? err : fd;
}

int stream_dial(const struct bench_options *o)
{
	int fd = o->pthreads ? plain_dial(o) : spg_dial("tcp", o->addr, NULL), one = 1;

	if (fd < 0)
		bench_die("cannot connect to %s: %s", o->addr, spg_strerror(fd));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

void streams_open(const struct bench_options *o)
{
	threads = o->pthreads;
	for (unsigned i = 0; i < STREAMS; i++) {
		if (streams[i].buf == NULL) {
			streams[i].buf = calloc(WINDOW_MAX, PAYLOAD_MAX);
			if (streams[i].buf == NULL)
				bench_die("no memory");
			streams[i].fd = stream_dial(o);
			streams[i].id = i;
		}
		streams[i].sum = 0;
	}
}

uint64_t streams_sum(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STREAMS; i++)
		sum += streams[i].sum * (i + 1);
	return sum;
}

static bool read_all(int fd, unsigned char *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, buf + done, len - done);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static bool exchange(struct stream *s, size_t len)
{
	if (threads)
		return write_all(s->fd, s->buf, len) == (ssize_t)len && read_all(s->fd, s->buf, len);
	return spg_write_all(s->fd, s->buf, len) >= 0 && spg_read_full(s->fd, s->buf, len) == (ssize_t)len;
}

void exchanged(struct stream *s, uint64_t first, uint64_t frames, size_t payload)
{
	for (uint64_t k = 0; k < frames; k++)
		s->buf[k * payload] = (unsigned char)(first + k);
	if (!exchange(s, frames * payload))
		bench_die("net: the peer is gone");
	for (uint64_t k = 0; k < frames; k++)
		s->sum += s->buf[k * payload];
}

void windowed(struct stream *s, uint64_t first, uint64_t frames, size_t payload, uint64_t window)
{
	for (uint64_t i = 0; i < frames;) {
		uint64_t batch = frames - i < window ? frames - i : window;
		int64_t start_ns = bench_now_ns();

		exchanged(s, first + i, batch, payload);
		bench_record(s->id, start_ns);
		i += batch;
	}
}

struct job {
	void (*fn)(struct stream *s, void *arg);
	struct stream *stream;
	void *arg;
	spg_wg *done;
};

static void run_job(void *arg)
{
	struct job *job = arg;

	job->fn(job->stream, job->arg);
	spg_wg_done(job->done);
}

static void *run_thread(void *arg)
{
	struct job *job = arg;

	job->fn(job->stream, job->arg);
	return NULL;
}

static void each_in_threads(struct job *jobs)
{
	pthread_t ids[STREAMS];

	for (unsigned i = 0; i < STREAMS; i++)
		if (pthread_create(&ids[i], NULL, run_thread, &jobs[i]) != 0)
			bench_die("no thread");
	for (unsigned i = 0; i < STREAMS; i++)
		pthread_join(ids[i], NULL);
}

void each_stream(void (*fn)(struct stream *s, void *arg), void *arg)
{
	struct job jobs[STREAMS];
	spg_wg done = SPG_WG_INIT;

	for (unsigned i = 0; i < STREAMS; i++)
		jobs[i] = (struct job){ fn, &streams[i], arg, &done };
	if (threads) {
		each_in_threads(jobs);
		return;
	}
	spg_wg_add(&done, STREAMS);
	for (unsigned i = 0; i < STREAMS; i++)
		bench_go(NULL, run_job, &jobs[i]);
	bench_wait(&done);
}

void stream_sleep(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / SPG_SEC, .tv_nsec = ns % SPG_SEC };

	if (threads ? nanosleep(&t, NULL) != 0 : spg_sleep(ns) < 0)
		bench_die("a sleep failed");
}

void file_open(void)
{
	char path[] = "/tmp/spg-bench-XXXXXX";
	unsigned char block[BLOCK];

	if (file >= 0)
		return;
	file = mkstemp(path);
	if (file < 0 || unlink(path) < 0)
		bench_die("no file in /tmp");
	memset(block, 0xA5, sizeof(block));
	for (uint64_t i = 0; i < FILE_BLOCKS; i++) {
		memcpy(block, &i, sizeof(i));
		if (pwrite(file, block, BLOCK, (off_t)(i * BLOCK)) != BLOCK)
			bench_die("cannot write to /tmp");
	}
	if (fsync(file) < 0)
		bench_die("cannot sync /tmp");
}

int file_fd(void)
{
	return file;
}

int file_direct(void)
{
	static int fd = -1;
	uint64_t block[BLOCK / 8] __attribute__((aligned(BLOCK)));
	char path[32];

	if (fd >= 0)
		return fd;
	file_open();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || pread(fd, block, BLOCK, 0) != BLOCK)
		bench_skip("no O_DIRECT on the file system of /tmp");
	return fd;
}

uint64_t read_block(uint64_t n)
{
	uint64_t buf[BLOCK / 8];
	ssize_t got = threads ? pread(file, buf, BLOCK, (off_t)(n * BLOCK))
			      : spg_pread(file, buf, BLOCK, (off_t)(n * BLOCK));

	if (got != BLOCK)
		bench_die("a short read");
	return buf[0] + (buf[1] & 0xFF);
}
