/*
 * Loops with nothing but the ring in them, one thread, everything queued in a round submitted
 * by one enter: what a runtime on io_uring cannot do better than.
 *
 * raw_read_qd32    cached 4 KiB reads, 32 under way                            0.5 to 2 us
 * raw_direct_qd32  the same with O_DIRECT                                      5 to 50 us
 * raw_window       one stream to the peer, 4 KiB frames, 32 under way          2 to 10 us
 */
#include "bench/bench.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/tcp.h"

#define DEPTH 32
#define PAYLOAD 4096

static struct io_uring ring;

static void ring_open(void)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
						   IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
						   IORING_SETUP_SUBMIT_ALL };
	int err;

	if (ring.ring_fd > 0)
		return;
	err = io_uring_queue_init_params(2 * DEPTH, &ring, &params);
	if (err == 0)
		err = io_uring_register_ring_fd(&ring) == 1 ? 0 : -EINVAL;
	if (err < 0)
		bench_die("no ring: %s", strerror(-err));
}

static unsigned char *blocks; /* DEPTH of them */

static void queue_read(int fd, uint64_t slot, uint64_t i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (sqe == NULL)
		bench_die("the queue is full");
	io_uring_prep_read(sqe, fd, blocks + slot * BENCH_BLOCK, BENCH_BLOCK, bench_block_of(i) * BENCH_BLOCK);
	io_uring_sqe_set_data64(sqe, slot);
}

/* Slot n does reads n, n + 32, n + 64 ...: as a coroutine of the twin does. */
static int reads(int fd, uint64_t ops, uint64_t *sum)
{
	uint64_t next[DEPTH], done = 0;

	ring_open();
	if (blocks == NULL)
		blocks = aligned_alloc(BENCH_BLOCK, DEPTH * BENCH_BLOCK);
	if (blocks == NULL)
		return -ENOMEM;
	*sum = 0;
	for (uint64_t slot = 0; slot < DEPTH && slot < ops; slot++) {
		queue_read(fd, slot, slot);
		next[slot] = slot + DEPTH;
	}
	while (done < ops) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;
		int err = io_uring_submit_and_wait(&ring, 1);

		if (err < 0 && err != -EINTR)
			return err;
		io_uring_for_each_cqe(&ring, head, cqe) {
			uint64_t slot = cqe->user_data;

			if (cqe->res != BENCH_BLOCK)
				bench_die("a short read");
			*sum += bench_block_value((const uint64_t *)(void *)(blocks + slot * BENCH_BLOCK));
			if (next[slot] < ops)
				queue_read(fd, slot, next[slot]);
			next[slot] += DEPTH;
			count++;
		}
		io_uring_cq_advance(&ring, count);
		done += count;
	}
	return 0;
}

static int read_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return reads(bench_file(), ops, sum);
}

static int direct_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return reads(bench_file_direct(), ops, sum);
}

/* One operation, awaited: its result. */
static int32_t await(void)
{
	struct io_uring_cqe *cqe;
	int32_t res;
	int err;

	do
		err = io_uring_submit_and_wait(&ring, 1);
	while (err == -EINTR);
	if (err < 0 || io_uring_peek_cqe(&ring, &cqe) < 0)
		bench_die("the ring fails");
	res = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	if (res <= 0)
		bench_die("net: the peer is gone");
	return res;
}

static void send_all(int fd, const unsigned char *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		io_uring_prep_send(io_uring_get_sqe(&ring), fd, buf + done, len - done, MSG_NOSIGNAL);
		done += (size_t)await();
	}
}

static void recv_all(int fd, unsigned char *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		io_uring_prep_recv(io_uring_get_sqe(&ring), fd, buf + done, len - done, 0);
		done += (size_t)await();
	}
}

static int dial(const char *address)
{
	struct addrinfo *at;
	int err = tcp_resolve(address, 0, &at), fd, one = 1;

	if (err < 0)
		bench_die("%s: %s", address, strerror(-err));
	fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, at->ai_addr, at->ai_addrlen) < 0)
		bench_die("cannot connect to %s", address);
	freeaddrinfo(at);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* Twin of window_pass in rows_net.c. */
static int window_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	static unsigned char buf[DEPTH * PAYLOAD];
	static int fd = -1;

	ring_open();
	if (fd < 0)
		fd = dial(o->addr);
	*sum = 0;
	for (uint64_t i = 0; i < ops;) {
		uint64_t batch = ops - i < DEPTH ? ops - i : DEPTH;

		for (uint64_t k = 0; k < batch; k++)
			buf[k * PAYLOAD] = (unsigned char)(i + k);
		send_all(fd, buf, batch * PAYLOAD);
		recv_all(fd, buf, batch * PAYLOAD);
		for (uint64_t k = 0; k < batch; k++)
			*sum += buf[k * PAYLOAD];
		i += batch;
	}
	return 0;
}

static int read_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, read_pass);
}

static int direct_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, direct_pass);
}

static int window_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, window_pass);
}

const struct bench_row bench_rows_ring[] = {
	{ "raw_read_qd32", read_row, false },
	{ "raw_direct_qd32", direct_row, false },
	{ "raw_window", window_row, false },
	{ NULL, NULL, false },
};
