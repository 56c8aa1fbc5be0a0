/*
 * The limits of the single-threaded rows: the same work by one thread with nothing but the ring, or
 * nothing but epoll, in between. A runtime does what they do and cannot do less.
 *
 * uring_rtt, epoll_rtt        net_rtt: 256 bytes there and back                       10 to 50 us
 * uring_window, epoll_window  net_window: 4 KiB frames, 32 under way                    1 to 5 us
 * uring_read_rtt, _qd32       cached reads of 4 KiB, one at a time and 32 at once       0.4 to 1 us
 * uring_direct_qd32           the same with O_DIRECT, 32 at once                        5 to 50 us
 */
#include "bench/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEPTH 32
#define SAMPLE 16 /* as in rows_read.c */

static struct io_uring ring;

static void ring_open(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
			 IORING_SETUP_SUBMIT_ALL,
	};
	int err = ring.ring_fd > 0 ? 0 : io_uring_queue_init_params(64, &ring, &params);

	if (err < 0)
		bench_die("io_uring_setup: %s", strerror(-err));
}

/* Submits what is queued and waits for `count` completions; each must have moved all its bytes. */
static void ring_run(unsigned count, int bytes)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;
	int err = 0;

	while (seen < count) {
		unsigned batch = 0;

		err = io_uring_submit_and_wait(&ring, count - seen);
		if (err < 0 && err != -EINTR)
			bench_die("io_uring_enter: %s", strerror(-err));
		io_uring_for_each_cqe(&ring, head, cqe) {
			if (cqe->res != bytes)
				bench_die("moved %d of %d bytes", cqe->res, bytes);
			batch++;
		}
		io_uring_cq_advance(&ring, batch);
		seen += batch;
	}
}

/* Both directions in one system call: the receive waits until all is back. */
static void ring_exchange(struct stream *s, unsigned char *back, size_t bytes)
{
	io_uring_prep_send(io_uring_get_sqe(&ring), s->fd, s->buf, bytes, MSG_WAITALL | MSG_NOSIGNAL);
	io_uring_prep_recv(io_uring_get_sqe(&ring), s->fd, back, bytes, MSG_WAITALL);
	ring_run(2, (int)bytes);
}

static void epoll_exchange(struct stream *s, unsigned char *back, size_t bytes)
{
	static int epoll_fd = -1;
	size_t sent = 0, got = 0;

	if (epoll_fd < 0) {
		struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (epoll_fd < 0 || fcntl(s->fd, F_SETFL, O_NONBLOCK) < 0 ||
		    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0)
			bench_die("epoll: %s", strerror(errno));
	}
	while (got < bytes) {
		struct epoll_event event;
		ssize_t n = sent < bytes ? send(s->fd, s->buf + sent, bytes - sent, MSG_NOSIGNAL) : 0;

		if (n > 0)
			sent += (size_t)n;
		n = recv(s->fd, back + got, bytes - got, 0);
		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			bench_die("net: the peer is gone");
		else if (epoll_wait(epoll_fd, &event, 1, -1) < 0 && errno != EINTR)
			bench_die("epoll_wait: %s", strerror(errno));
	}
}

/* windowed() of streams.h by one of the two loops. */
static uint64_t exchange_all(const struct bench_options *o, uint64_t frames, size_t payload, uint64_t window,
			     void (*exchange)(struct stream *, unsigned char *, size_t))
{
	static unsigned char back[WINDOW_MAX * PAYLOAD_MAX];
	struct bench_options plain = *o;
	struct stream *s = &streams[0];

	plain.pthreads = true; /* there is no runtime to dial */
	streams_open(&plain);
	for (uint64_t i = 0; i < frames;) {
		uint64_t batch = frames - i < window ? frames - i : window;
		int64_t start_ns = bench_now_ns();

		for (uint64_t k = 0; k < batch; k++)
			s->buf[k * payload] = (unsigned char)(i + k);
		exchange(s, back, batch * payload);
		for (uint64_t k = 0; k < batch; k++)
			s->sum += back[k * payload];
		bench_record(0, start_ns);
		i += batch;
	}
	return streams_sum();
}

static int uring_rtt_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	ring_open();
	*sum = exchange_all(o, ops, 256, 1, ring_exchange);
	return 0;
}

static int uring_window_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	ring_open();
	*sum = exchange_all(o, ops, 4096, 32, ring_exchange);
	return 0;
}

static int epoll_rtt_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	*sum = exchange_all(o, ops, 256, 1, epoll_exchange);
	return 0;
}

static int epoll_window_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	*sum = exchange_all(o, ops, 4096, 32, epoll_exchange);
	return 0;
}

/* Batches of `depth` reads, each batch by one system call. */
static uint64_t ring_reads(int fd, uint64_t ops, uint64_t depth)
{
	static uint64_t bufs[DEPTH][BLOCK / 8] __attribute__((aligned(BLOCK))); /* O_DIRECT wants it so */
	uint64_t sum = 0;

	ring_open();
	for (uint64_t i = 0; i < ops; i += depth) {
		uint64_t batch = ops - i < depth ? ops - i : depth;
		int64_t start_ns = i / DEPTH % SAMPLE == 0 ? bench_now_ns() : 0;

		for (uint64_t k = 0; k < batch; k++)
			io_uring_prep_read(io_uring_get_sqe(&ring), fd, bufs[k], BLOCK,
					   block_of(i + k) * BLOCK);
		ring_run((unsigned)batch, BLOCK);
		for (uint64_t k = 0; k < batch; k++)
			sum += bufs[k][0] + (bufs[k][1] & 0xFF);
		if (start_ns > 0)
			bench_record(0, start_ns);
	}
	return sum;
}

static int uring_read_rtt_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	file_open();
	*sum = ring_reads(file_fd(), ops, 1);
	return 0;
}

static int uring_read_qd32_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	file_open();
	*sum = ring_reads(file_fd(), ops, DEPTH);
	return 0;
}

static int uring_direct_qd32_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	*sum = ring_reads(file_direct(), ops, DEPTH);
	return 0;
}

#define ROW(name) \
	static int name##_row(const struct bench_options *o, struct bench_report *r) \
	{ \
		return bench_measure(o, r, name##_pass); \
	}
ROW(uring_rtt)
ROW(uring_window)
ROW(epoll_rtt)
ROW(epoll_window)
ROW(uring_read_rtt)
ROW(uring_read_qd32)
ROW(uring_direct_qd32)

const struct bench_row bench_rows_loops[] = {
	{ "uring_rtt", uring_rtt_row, false },
	{ "uring_window", uring_window_row, false },
	{ "epoll_rtt", epoll_rtt_row, false },
	{ "epoll_window", epoll_window_row, false },
	{ "uring_read_rtt", uring_read_rtt_row, false },
	{ "uring_read_qd32", uring_read_qd32_row, false },
	{ "uring_direct_qd32", uring_direct_qd32_row, false },
	{ NULL, NULL, false },
};
