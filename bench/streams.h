/*
 * Streams to an echo server in another process (bench/peer.c), and work spread over them: what the
 * network rows are made of. With --pthreads the same work is done by threads and blocking calls.
 */
#ifndef BENCH_STREAMS_H
#define BENCH_STREAMS_H

#include "bench/bench.h"

#define STREAMS 8
#define WINDOW_MAX 32
#define PAYLOAD_MAX 4096
#define BLOCK 4096
#define FILE_BLOCKS 4096

struct stream {
	int fd;
	unsigned id;
	unsigned char *buf; /* WINDOW_MAX frames */
	uint64_t sum;
};

extern struct stream streams[STREAMS];

/* Notes whether there is a runtime (--pthreads); streams_open does so, too. */
void streams_threads(const struct bench_options *o);

/* A connection to the peer. */
int stream_dial(const struct bench_options *o);

/* Connects all streams at the first call; sets their sums to 0. */
void streams_open(const struct bench_options *o);

/* The streams' sums, each times its number from 1. */
uint64_t streams_sum(void);

/* frames there and back, up to `window` at once; the first byte of each is its number. Each window's
 * time is recorded. */
void windowed(struct stream *s, uint64_t first, uint64_t frames, size_t payload, uint64_t window);

/* The same for a single window that is not recorded. */
void exchanged(struct stream *s, uint64_t first, uint64_t frames, size_t payload);

/* fn for every stream, in a coroutine (a thread) each; returns when all are done. */
void each_stream(void (*fn)(struct stream *s, void *arg), void *arg);

/* Sleeps. */
void stream_sleep(int64_t ns);

/*
 * The block of the i-th read: scattered. With a stride, what one coroutine reads is small enough for
 * the L2 cache, and a row shows how long a scheduler lets one go on.
 */
static inline uint64_t block_of(uint64_t i)
{
	return bench_mix(i) % FILE_BLOCKS;
}

/* Reads block n of a 16 MiB file in the page cache; every block holds its number and 0xA5. */
void file_open(void);
int file_fd(void);
/* It once more, with O_DIRECT; skips the row where the file system has none. */
int file_direct(void);
uint64_t read_block(uint64_t n);

#endif
