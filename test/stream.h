/*
 * Streams over pairs of connections, in all the ways there are to receive, with bytes that
 * tell their place.
 */
#ifndef SPG__TEST_STREAM_H
#define SPG__TEST_STREAM_H

#include "test/t.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* The ways to receive, as SPG_DISABLE. */
static const char *const ways[] = { "", "multishot", "buf_ring", "op:recv,op:recvmsg", "op:poll,multishot" };
#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* Local connections instead of TCP's. */
static bool local;

/*
 * A TCP connection within the process. Closing it is a reset: thousands of TIME_WAITs would use
 * up the ports of whoever comes next. Its end comes by shutdown.
 */
static inline void tcp_pair(int fds[2])
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(name);
	int one = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	T_OK(listener >= 0);
	T_EQ(bind(listener, (struct sockaddr *)&name, len), 0);
	T_EQ(listen(listener, 1), 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&name, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_OK(fds[0] >= 0);
	T_EQ(connect(fds[0], (struct sockaddr *)&name, len), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(fds[1] >= 0);
	close(listener);
	T_EQ(setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	for (int i = 0; i < 2; i++)
		T_EQ(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
}

static inline void pair(int fds[2])
{
	if (local)
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	else
		tcp_pair(fds);
}

static inline void run_all_ways(unsigned shards, int (*fn)(void *), void *arg)
{
	for (size_t i = 0; i <= WAYS; i++) {
		spg_config cfg = t_config(shards);

		local = i == WAYS;
		cfg.disable = ways[i % WAYS];
		T_EQ(t_run_config(&cfg, fn, arg), 0);
	}
}

/* Byte i of every test's data. */
static inline unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static inline void fill(unsigned char *buf, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = byte_at(from + i);
}

static inline void check(const spg_slice *slice, size_t from)
{
	const unsigned char *data = slice->data;

	for (size_t i = 0; i < slice->len; i++)
		T_EQ(data[i], byte_at(from + i));
}

/* Receives one slice, which begins with byte `from`, and releases it. Its length; 0 at the end. */
static inline size_t recv_checked(spg_stream *s, size_t from)
{
	spg_slice slice;
	size_t len;

	T_EQ(spg_stream_recv(s, &slice), 0);
	check(&slice, from);
	len = slice.len;
	T_EQ(slice.data == NULL, len == 0);
	spg_slice_release(&slice);
	T_OK(slice.data == NULL && slice.len == 0 && slice.owner == NULL);
	return len;
}

static inline void recv_exactly(spg_stream *s, size_t from, size_t n)
{
	while (n > 0) {
		size_t got = recv_checked(s, from);

		T_OK(got > 0 && got <= n);
		from += got;
		n -= got;
	}
}

static inline void send_bytes(int fd, size_t from, size_t n)
{
	unsigned char buf[4096];

	while (n > 0) {
		size_t len = n < sizeof(buf) ? n : sizeof(buf);

		fill(buf, from, len);
		T_EQ(spg_write_all(fd, buf, len), len);
		from += len;
		n -= len;
	}
}

struct flow {
	int fd;
	size_t bytes;
	uint64_t seed;
};

static inline int send_random(void *arg)
{
	struct flow *f = arg;
	uint64_t state = f->seed;

	for (size_t done = 0; done < f->bytes;) {
		size_t len = t_random(&state) % 3000 + 1;

		if (len > f->bytes - done)
			len = f->bytes - done;
		send_bytes(f->fd, done, len);
		done += len;
		if (t_random(&state) % 8 == 0)
			spg_yield();
	}
	T_EQ(spg_shutdown(f->fd, SHUT_WR), 0);
	return 0;
}

struct reader {
	spg_stream *s;
	_Atomic bool begun;
	int result;
};

static inline void *recv_once(void *arg)
{
	struct reader *r = arg;
	spg_slice slice;

	atomic_store(&r->begun, true);
	r->result = spg_stream_recv(r->s, &slice);
	T_OK(slice.owner == NULL || r->result == 0);
	spg_slice_release(&slice);
	return NULL;
}

static inline spg_task *start_reader(struct reader *r, spg_stream *s)
{
	spg_task *task;

	*r = (struct reader){ .s = s };
	task = spg_spawn(NULL, recv_once, r);
	T_OK(task != NULL);
	T_UNTIL(atomic_load(&r->begun));
	return task;
}

#endif
