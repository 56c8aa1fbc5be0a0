/*
 * What do streams save: memory while connections idle, CPU per datagram?
 *
 * idle_stream  n TCP connections that each took one message of 16 KiB and wait for the next
 *              in spg_stream_recv: (VmRSS + VmPTE) / n. A page of stack, the objects, a share
 *              of the pools.
 * idle_buffer  the same in spg_read with a buffer of 16 KiB on the stack: five pages.
 *
 * udp_plain       windows of 32 datagrams of 1,200 bytes: spg_send, spg_recvfrom  2 to 6 us
 * udp_stream      the same, received by a stream
 * udp_gso         each window sent at once, spg_recvfrom
 * udp_gso_stream  each window sent at once, received by a stream
 * udp_gso_gro     the same, coalesced                                            0.3 to 1 us
 *
 * One pass of a udp row is `ops` datagrams from one coroutine to another over loopback; the
 * receiver answers each window by a channel, so that none is dropped.
 */
#include "bench/bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SETTLE_NS SPG_SEC /* for what the library gives back once it is idle */
#define MESSAGE_BYTES 16384
#define WINDOW 32
#define DATAGRAM_BYTES 1200

struct idle {
	int (*pair)[2];
	spg_wg done;
	_Atomic size_t begun, served; /* relaxed: tickets, and a hint when to look */
	_Atomic uint64_t sum;	      /* relaxed: read after the wait group's wait */
};

static void take_value(struct idle *c, const void *data, size_t len)
{
	uint64_t value;

	if (len != sizeof(value))
		bench_die("a value of %zu bytes", len);
	memcpy(&value, data, sizeof(value));
	atomic_fetch_add_explicit(&c->sum, bench_mix(value), memory_order_relaxed);
}

static void read_by_stream(void *arg)
{
	struct idle *c = arg;
	size_t i = atomic_fetch_add_explicit(&c->begun, 1, memory_order_relaxed), got = 0;
	spg_stream *s = spg_stream_open(c->pair[i][0], NULL);
	spg_slice slice;

	while (s && got < MESSAGE_BYTES && spg_stream_recv(s, &slice) == 0) {
		got += slice.len;
		spg_slice_release(&slice);
	}
	atomic_fetch_add_explicit(&c->served, 1, memory_order_relaxed);
	if (got == MESSAGE_BYTES && spg_stream_recv(s, &slice) == 0)
		take_value(c, slice.data, slice.len);
	spg_slice_release(&slice);
	spg_stream_close(s);
	spg_wg_done(&c->done);
}

static void read_by_buffer(void *arg)
{
	struct idle *c = arg;
	size_t i = atomic_fetch_add_explicit(&c->begun, 1, memory_order_relaxed);
	ssize_t got;
	char buf[MESSAGE_BYTES];

	got = spg_read_full(c->pair[i][0], buf, sizeof(buf));
	atomic_fetch_add_explicit(&c->served, 1, memory_order_relaxed);
	if (got == (ssize_t)sizeof(buf)) {
		got = spg_read(c->pair[i][0], buf, sizeof(buf));
		if (got > 0)
			take_value(c, buf, (size_t)got);
	}
	spg_wg_done(&c->done);
}

static int raise_fd_limit(size_t fds)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_cur < fds + 64) /* shards' rings and the like */
		return -EMFILE;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}

/* Connections that end by a reset: no TIME_WAIT takes up ports for the next run. */
static int connect_pairs(struct idle *c, size_t n)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	int listener = spg_listen("tcp4", "127.0.0.1:0", NULL);

	if (listener < 0)
		return listener;
	if (getsockname(listener, (struct sockaddr *)&name, &len) != 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		c->pair[i][1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->pair[i][1] < 0 || connect(c->pair[i][1], (struct sockaddr *)&name, len) != 0)
			return -errno;
		c->pair[i][0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (c->pair[i][0] < 0 ||
		    setsockopt(c->pair[i][1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0)
			return -errno;
	}
	return spg_close(listener);
}

static int serve_messages(struct idle *c, size_t n)
{
	static char message[MESSAGE_BYTES];
	int err = 0;

	/* One after the other: the pools stay as small as they begin, 1 MiB a shard. */
	for (size_t i = 0; i < n && err == 0; i++) {
		if (spg_write_all(c->pair[i][1], message, sizeof(message)) < 0)
			return -EIO;
		while (err == 0 && atomic_load_explicit(&c->served, memory_order_relaxed) < i + 1)
			err = spg_sleep(50 * SPG_US);
	}
	return err < 0 ? err : spg_sleep(SETTLE_NS);
}

static int idle_measure(struct idle *c, const struct bench_options *o, struct bench_report *r, spg_fn reader)
{
	size_t before = bench_resident_bytes();
	size_t slab_before = bench_slab_bytes();
	int err;

	for (size_t i = 0; i < o->n; i++) {
		spg_wg_add(&c->done, 1);
		bench_go(NULL, reader, c);
	}
	err = serve_messages(c, o->n);
	if (err < 0)
		return err;
	r->n = o->n;
	r->bytes_each = ((double)bench_resident_bytes() - (double)before) / (double)o->n;
	r->slab_bytes_each = ((double)bench_slab_bytes() - (double)slab_before) / (double)o->n;
	for (uint64_t i = 0; i < o->n; i++)
		if (write(c->pair[i][1], &i, sizeof(i)) != sizeof(i))
			return -EIO;
	bench_wait(&c->done);
	r->checksum = atomic_load_explicit(&c->sum, memory_order_relaxed);
	return 0;
}

static int idle_row(const struct bench_options *o, struct bench_report *r, spg_fn reader)
{
	struct idle c = { .done = SPG_WG_INIT };
	int err = raise_fd_limit(2 * o->n);

	if (err < 0)
		return err;
	c.pair = calloc(o->n, sizeof(*c.pair));
	if (!c.pair)
		return -ENOMEM;
	err = connect_pairs(&c, o->n);
	if (err < 0)
		bench_die("no %zu connections: %s", o->n, spg_strerror(err));
	err = idle_measure(&c, o, r, reader);
	for (size_t i = 0; i < o->n; i++) {
		close(c.pair[i][1]);
		close(c.pair[i][0]);
	}
	free(c.pair);
	return err;
}

static int idle_stream_row(const struct bench_options *o, struct bench_report *r)
{
	return idle_row(o, r, read_by_stream);
}

static int idle_buffer_row(const struct bench_options *o, struct bench_report *r)
{
	return idle_row(o, r, read_by_buffer);
}

struct udp {
	int server, client;
	bool segments, stream, gro;
	uint64_t ops, sum;
	spg_chan *tokens; /* a window was received */
	spg_wg done;
};

static int udp_open(struct udp *u)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	char text[128];

	o.udp_gro = u->gro;
	u->server = spg_listen("udp4", "127.0.0.1:0", &o);
	if (u->server < 0)
		return u->server;
	if (getsockname(u->server, (struct sockaddr *)&name, &len) != 0 ||
	    spg_sockaddr_str((struct sockaddr *)&name, text, sizeof(text)) < 0)
		return -EIO;
	u->client = spg_dial("udp4", text, NULL);
	u->tokens = spg_chan_new(0, 1);
	return u->client < 0 ? u->client : u->tokens ? 0 : -ENOMEM;
}

/* A run of datagrams, each with its number in front. */
static uint64_t take_datagrams(struct udp *u, const char *data, size_t len, uint64_t i)
{
	for (; len > 0; data += DATAGRAM_BYTES, len -= DATAGRAM_BYTES) {
		uint64_t value;

		if (len < DATAGRAM_BYTES)
			bench_die("a datagram of %zu bytes", len);
		memcpy(&value, data, sizeof(value));
		u->sum += bench_mix(value);
		if (++i % WINDOW == 0 && spg_chan_send(u->tokens, NULL) < 0)
			bench_die("the channel is gone");
	}
	return i;
}

static void receive_by_stream(struct udp *u)
{
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	spg_slice slice;
	spg_stream *s;
	int err = 0;

	o.slice_bytes = u->gro ? SPG_SLICE_BYTES_MAX : 0;
	s = spg_stream_open(u->server, &o);
	if (!s)
		bench_die("no stream");
	for (uint64_t i = 0; i < u->ops && err == 0;) {
		err = spg_stream_recv(s, &slice);
		if (err == 0)
			i = take_datagrams(u, slice.data, slice.len, i);
		spg_slice_release(&slice);
	}
	spg_stream_close(s);
	if (err < 0)
		bench_die("receive: %s", spg_strerror(err));
}

static void receive(void *arg)
{
	struct udp *u = arg;
	char buf[2048];

	if (u->stream) {
		receive_by_stream(u);
	} else {
		for (uint64_t i = 0; i < u->ops;) {
			struct sockaddr_storage name;
			socklen_t len = sizeof(name);
			ssize_t n = spg_recvfrom(u->server, buf, sizeof(buf), 0, (struct sockaddr *)&name, &len);

			if (n < 0)
				bench_die("receive: %s", spg_strerror((int)n));
			i = take_datagrams(u, buf, (size_t)n, i);
		}
	}
	spg_wg_done(&u->done);
}

static void send_window(struct udp *u, char *window, uint64_t first)
{
	for (uint64_t k = 0; k < WINDOW; k++) {
		uint64_t value = first + k;

		memcpy(window + k * DATAGRAM_BYTES, &value, sizeof(value));
		if (!u->segments &&
		    spg_send(u->client, window + k * DATAGRAM_BYTES, DATAGRAM_BYTES, 0) != DATAGRAM_BYTES)
			bench_die("send");
	}
	if (u->segments && spg_udp_send_segments(u->client, window, WINDOW * DATAGRAM_BYTES, DATAGRAM_BYTES,
						 NULL, 0) != WINDOW * DATAGRAM_BYTES)
		bench_die("send");
}

static int udp_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum, struct udp u)
{
	static char window[WINDOW * DATAGRAM_BYTES];
	spg_attr attr = bench_attr(o->place);
	int err = udp_open(&u);

	if (err < 0)
		return err;
	u.ops = ops / WINDOW * WINDOW;
	u.done = (spg_wg)SPG_WG_INIT;
	spg_wg_add(&u.done, 1);
	bench_go(&attr, receive, &u);
	for (uint64_t i = 0; i < u.ops && err == 0; i += WINDOW) {
		send_window(&u, window, i);
		err = spg_chan_recv(u.tokens, NULL);
	}
	bench_wait(&u.done);
	*sum = u.sum;
	spg_chan_unref(u.tokens);
	spg_close(u.server);
	spg_close(u.client);
	return err;
}

#define UDP_ROW(name, ...)                                                                         \
	static int name##_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)         \
	{                                                                                          \
		return udp_pass(o, ops, sum, (struct udp){ __VA_ARGS__ });                         \
	}                                                                                          \
	static int name##_row(const struct bench_options *o, struct bench_report *r)               \
	{                                                                                          \
		return bench_measure(o, r, name##_pass);                                           \
	}

UDP_ROW(udp_plain, .stream = false)
UDP_ROW(udp_stream, .stream = true)
UDP_ROW(udp_gso, .segments = true)
UDP_ROW(udp_gso_stream, .segments = true, .stream = true)
UDP_ROW(udp_gso_gro, .segments = true, .stream = true, .gro = true)

const struct bench_row bench_rows_stream[] = {
	{ "idle_stream", idle_stream_row, true },
	{ "idle_buffer", idle_buffer_row, true },
	{ "udp_plain", udp_plain_row, true },
	{ "udp_stream", udp_stream_row, true },
	{ "udp_gso", udp_gso_row, true },
	{ "udp_gso_stream", udp_gso_stream_row, true },
	{ "udp_gso_gro", udp_gso_gro_row, true },
	{ NULL, NULL, false },
};
