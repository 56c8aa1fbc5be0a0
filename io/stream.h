/*
 * Streams: a multishot receive that takes buffers from a pool when data is there.
 *
 *   idle --arm, by the reader--> armed --CQE without F_MORE--> idle
 *
 * T1  At most one receive is in flight for a stream, armed by its reader on the ring of the
 *     shard the reader runs on. Where the reader goes afterwards does not matter.
 * T2  What belongs to both sides is under the stream's lock: the queue, `armed`, how the
 *     receive ended, whom to wake. The side of the ring is its shard's thread, or the
 *     watchdog in its place (D4): CQEs of a stream are reaped in their order by either.
 * T3  A receive is armed only when the queue is empty and none is in flight, and CQEs are
 *     appended in order. So bytes come in order, across re-arms and shards.
 * T4  The end of a receive is looked at when the queue is empty, told once, and forgotten:
 *     the next call arms anew, and the kernel says again what there is to say.
 * T5  -ENOBUFS: the reader, and nobody else, waits for a buffer of the pool of its shard and
 *     arms again. POLL_FIRST sees to it that the kernel wants one only when there is data.
 * T6  At each multiple of slices_max in the queue an errand asks the ring to stop. What the
 *     kernel had for us until then is queued as well.
 * T7  A reader that gives up leaves the receive in flight: what comes is for the next call.
 * T8  Clearing `armed` under the lock is the completer's last access; the same goes for the
 *     errand and `stopping`. Closing waits for both.
 * T9  A receive in flight counts as an operation on its descriptor (F1), so spg_close ends
 *     it; `word` (F6) keeps every later one off the number's next owner.
 */
#ifndef SPG__IO_STREAM_H
#define SPG__IO_STREAM_H

#include "io/bufs.h"

#include <spg/stream.h>

/* Bytes of a datagram's ancillary data, in front of it. */
#define SPG__STREAM_CONTROL 64u
/* What goes before a datagram in its buffer. */
#define SPG__STREAM_HEAD                                                                           \
	(sizeof(struct io_uring_recvmsg_out) + sizeof(struct sockaddr_storage) + SPG__STREAM_CONTROL)

struct spg_stream {
	alignas(16) struct spg__errand errand;
	struct spg__lock lock;
	/* Read-only. */
	int fd;
	uint32_t word;
	uint32_t slices_max;
	uint8_t class;
	bool datagrams;
	/* SOCK_SEQPACKET: an empty one is the end. */
	bool packets;
	bool socket;
	/* No multishot receive. Written by the side of the ring while armed, else by the reader. */
	bool plain;
	/* Under lock. */
	bool armed, stopping;
	/* How the last receive ended, until told (T4). */
	bool ended, starved;
	int res;
	struct spg__fifo queue;
	/* The reader, or who closes. */
	struct spg__waiter *waiter;
	struct spg__ring *ring;
	struct spg__bufs *pool;
};

void spg__stream_complete(struct spg_stream *s, int32_t res, uint32_t flags);

/* io/stream_plain.c: one slice without a multishot receive. 0 or an error. Any thread. */
int spg__stream_plain(struct spg_stream *s, struct spg__buf **out);

/* What is in the buffer, as a slice. */
void spg__stream_slice(const struct spg_stream *s, struct spg__buf *buf, struct spg_slice *out);

/* The lengths that the kernel needs to know of a datagram's head. */
extern const struct msghdr spg__stream_msghdr;

#endif
