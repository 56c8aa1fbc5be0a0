/*
 * Datagrams by streams, whole and with their source; runs of them sent and received at once.
 */
#include "test/stream.h"

#include <netinet/udp.h>
#include <sys/un.h>

struct udp {
	int server, client; /* the client is connected to the server */
	struct sockaddr_storage client_name;
	socklen_t client_len;
};

static void open_udp(struct udp *u, bool gro)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	char text[128];

	o.udp_gro = gro;
	u->server = spg_listen("udp4", "127.0.0.1:0", &o);
	T_OK(u->server >= 0);
	T_EQ(getsockname(u->server, (struct sockaddr *)&name, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&name, text, sizeof(text)) > 0);
	u->client = spg_dial("udp4", text, NULL);
	T_OK(u->client >= 0);
	u->client_len = sizeof(u->client_name);
	T_EQ(getsockname(u->client, (struct sockaddr *)&u->client_name, &u->client_len), 0);
}

static void close_udp(struct udp *u)
{
	T_EQ(spg_close(u->server), 0);
	T_EQ(spg_close(u->client), 0);
}

static int datagrams(void *arg)
{
	static const size_t lengths[] = { 1, 100, 0, 1400, 7, 0, 1200 };
	unsigned char bytes[2000];
	size_t from = 0;
	spg_slice slice;
	struct udp u;
	spg_stream *s;

	(void)arg;
	open_udp(&u, false);
	s = spg_stream_open(u.server, NULL);
	T_OK(s != NULL);
	for (int round = 0; round < 10; round++) {
		for (size_t i = 0, at = from; i < 7; at += lengths[i++]) {
			fill(bytes, at, lengths[i]);
			T_EQ(spg_send(u.client, bytes, lengths[i], 0), lengths[i]);
		}
		for (size_t i = 0; i < 7; i++) {
			T_EQ(spg_stream_recv(s, &slice), 0);
			T_EQ(slice.len, lengths[i]);
			T_OK(slice.data != NULL && !slice.truncated && slice.segment_len == 0);
			check(&slice, from);
			from += slice.len;
			T_EQ(slice.source_len, u.client_len);
			T_OK(memcmp(slice.source, &u.client_name, u.client_len) == 0);
			/* An answer to where it came from. */
			if (i == 0)
				T_EQ(spg_sendto(u.server, "yes", 3, 0, slice.source, slice.source_len), 3);
			spg_slice_release(&slice);
		}
		T_EQ(spg_recv(u.client, bytes, sizeof(bytes), 0), 3);
	}
	spg_stream_close(s);
	close_udp(&u);
	return 0;
}

/* Goal: datagrams come whole, in their bounds, the empty ones too, with where they came from. */
START_TEST(datagrams_come_whole)
{
	run_all_ways((unsigned)_i, datagrams, NULL);
}
END_TEST

static int too_long(void *arg)
{
	static unsigned char bytes[60000];
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	spg_slice slice;
	struct udp u;
	spg_stream *s;

	(void)arg;
	open_udp(&u, false);
	fill(bytes, 0, sizeof(bytes));
	s = spg_stream_open(u.server, NULL);
	T_OK(s != NULL);
	T_EQ(spg_send(u.client, bytes, 3000, 0), 3000);
	T_EQ(spg_stream_recv(s, &slice), 0);
	T_OK(slice.truncated && slice.len > 1500 && slice.len < 3000);
	check(&slice, 0);
	spg_slice_release(&slice);
	spg_stream_close(s);
	o.slice_bytes = SPG_SLICE_BYTES_MAX;
	s = spg_stream_open(u.server, &o);
	T_OK(s != NULL);
	T_EQ(spg_send(u.client, bytes, sizeof(bytes), 0), sizeof(bytes));
	T_EQ(spg_stream_recv(s, &slice), 0);
	T_EQ(slice.len, sizeof(bytes));
	T_OK(!slice.truncated);
	check(&slice, 0);
	spg_slice_release(&slice);
	spg_stream_close(s);
	close_udp(&u);
	return 0;
}

/* Goal: what does not fit says so, and the largest fits where it is asked for. */
START_TEST(a_long_datagram_is_cut_and_marked)
{
	run_all_ways((unsigned)_i, too_long, NULL);
}
END_TEST

static int refused(void *arg)
{
	spg_slice slice;
	struct udp u;
	spg_stream *s;

	(void)arg;
	open_udp(&u, false);
	s = spg_stream_open(u.client, NULL);
	T_OK(s != NULL);
	T_EQ(spg_close(u.server), 0);
	T_EQ(spg_stream_send_all(s, (struct iovec[]){ { &u, 3 }, { &u, 4 } }, 2), 0);
	T_ERR(spg_stream_recv(s, &slice), -ECONNREFUSED);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_stream_recv(s, &slice), -ETIMEDOUT); /* told once; the socket goes on */
	}
	spg_stream_close(s);
	T_EQ(spg_close(u.client), 0);
	return 0;
}

/* Goal: an error of a datagram socket is told once, and is no end. */
START_TEST(an_error_is_no_end_of_datagrams)
{
	run_all_ways((unsigned)_i, refused, NULL);
}
END_TEST

/* Receives `n` bytes in segments of `segment`; returns how many slices they came in. */
static int recv_segments(spg_stream *s, size_t n, size_t segment)
{
	spg_slice slice;
	int slices = 0;

	for (size_t got = 0; got < n; slices++) {
		T_EQ(spg_stream_recv(s, &slice), 0);
		T_OK(!slice.truncated);
		check(&slice, got);
		got += slice.len;
		if (slice.len > segment)
			T_EQ(slice.segment_len, segment);
		else
			T_OK(slice.len == segment || got == n);
		spg_slice_release(&slice);
	}
	return slices;
}

struct run_of {
	bool gro;
	size_t bytes, segment;
};

static int segments(void *arg)
{
	static unsigned char bytes[80000];
	const struct run_of *r = arg;
	spg_stream_opts o = SPG_STREAM_OPTS_INIT;
	int slices, buffer = 1 << 20;
	struct udp u;
	spg_stream *s;

	open_udp(&u, r->gro);
	(void)setsockopt(u.server, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)); /* as far as it may */
	fill(bytes, 0, sizeof(bytes));
	o.slice_bytes = r->gro ? SPG_SLICE_BYTES_MAX : 2000;
	s = spg_stream_open(u.server, &o);
	T_OK(s != NULL);
	for (int i = 0; i < 3; i++) {
		T_EQ(spg_udp_send_segments(u.client, bytes, r->bytes, r->segment, NULL, 0), r->bytes);
		slices = recv_segments(s, r->bytes, r->segment);
		if (r->gro && r->bytes < 60000 && r->segment < r->bytes)
			T_OK(slices < (int)(r->bytes / r->segment)); /* coalesced */
		if (!r->gro)
			T_EQ(slices, (r->bytes + r->segment - 1) / r->segment);
	}
	spg_stream_close(s);
	close_udp(&u);
	return 0;
}

/* Goal: a run of datagrams arrives as sent: one by one, or coalesced with its segment length. */
START_TEST(runs_of_datagrams_keep_their_bounds)
{
	static struct run_of runs[] = {
		{ false, 1200, 1200 }, { false, 500, 1200 },  { false, 1201, 1200 }, { false, 20000, 1200 },
		{ false, 2000, 20 },   { true, 20000, 1200 }, { true, 1200, 1200 },  { true, 12345, 1000 },
	};

	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
		run_all_ways((unsigned)_i, segments, &runs[i]);
}
END_TEST

static int bad_segments(void *arg)
{
	struct sockaddr_in nowhere = { .sin_family = AF_INET, .sin_port = htons(9),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	static unsigned char bytes[70000];
	struct udp u;

	(void)arg;
	open_udp(&u, false);
	T_ERR(spg_udp_send_segments(u.client, bytes, 10, 0, NULL, 0), -EINVAL);
	T_ERR(spg_udp_send_segments(u.client, bytes, 10, 65536, NULL, 0), -EINVAL);
	T_ERR(spg_udp_send_segments(u.client, NULL, 10, 5, NULL, 0), -EINVAL);
	T_ERR(spg_udp_send_segments(u.client, bytes, sizeof(bytes), 65535, NULL, 0), -EMSGSIZE);
	T_ERR(spg_udp_send_segments(-1, bytes, 10, 5, NULL, 0), -EBADF);
	T_ERR(spg_udp_send_segments(u.server, bytes, 10, 5, NULL, 0), -EDESTADDRREQ);
	T_EQ(spg_udp_send_segments(u.server, bytes, 10, 5, (struct sockaddr *)&nowhere, sizeof(nowhere)), 10);
	T_EQ(spg_udp_send_segments(u.client, NULL, 0, 5, NULL, 0), 0);
	T_EQ(spg_recv(u.server, bytes, sizeof(bytes), 0), 0); /* the empty one */
	{
		SPG_TIMEOUT_SCOPE(0);
		T_ERR(spg_udp_send_segments(u.client, bytes, 10, 5, NULL, 0), -ETIMEDOUT);
	}
	/* Longer than the path takes in one piece: as fragments, one call each. */
	T_EQ(spg_udp_send_segments(u.client, bytes, 120000 / 2, 40000, NULL, 0), 60000);
	T_EQ(spg_recv(u.server, bytes, sizeof(bytes), 0), 40000);
	T_EQ(spg_recv(u.server, bytes, sizeof(bytes), 0), 20000);
	close_udp(&u);
	return 0;
}

/* Goal: each error that the header names. */
START_TEST(bad_runs_are_errors)
{
	t_run((unsigned)_i, bad_segments, NULL);
}
END_TEST

static int local_packets(void *arg)
{
	spg_slice slice;
	spg_stream *s;
	int fds[2];

	(void)arg;
	for (int type = 0; type < 2; type++) {
		T_EQ(socketpair(AF_UNIX, (type == 0 ? SOCK_SEQPACKET : SOCK_DGRAM) | SOCK_CLOEXEC, 0, fds), 0);
		s = spg_stream_open(fds[1], NULL);
		T_OK(s != NULL);
		for (size_t i = 1; i < 50; i++) {
			send_bytes(fds[0], i, i);
			if (i % 5 != 0)
				continue;
			for (size_t k = i - 4; k <= i; k++)
				T_EQ(recv_checked(s, k), k);
		}
		for (size_t k = 46; k < 50; k++)
			T_EQ(recv_checked(s, k), k);
		T_EQ(spg_close(fds[0]), 0);
		if (type == 0) {
			T_EQ(recv_checked(s, 0), 0);
			T_EQ(recv_checked(s, 0), 0);
		} else {
			SPG_TIMEOUT_SCOPE(SPG_MS);
			/* A pair whose other half is gone says so once. */
			int err = spg_stream_recv(s, &slice);

			T_OK(err == -ECONNRESET || err == -ETIMEDOUT);
		}
		spg_stream_close(s);
		T_EQ(spg_close(fds[1]), 0);
	}
	return 0;
}

/* Goal: local datagrams and packets; only the latter have an end. */
START_TEST(local_packets_come_whole)
{
	run_all_ways((unsigned)_i, local_packets, NULL);
}
END_TEST

#define DATAGRAMS 20000
#define WINDOW 16

/* Sends a window, and goes on when all of it was answered for. */
static int send_windows(void *arg)
{
	struct udp *u = arg;
	unsigned char bytes[64];
	char token;

	for (size_t i = 0; i < DATAGRAMS; i++) {
		fill(bytes, i, sizeof(bytes));
		T_EQ(spg_send(u->client, bytes, sizeof(bytes), 0), sizeof(bytes));
		if (i % WINDOW == WINDOW - 1)
			T_EQ(spg_recv(u->client, &token, 1, 0), 1);
	}
	return 0;
}

static int many_datagrams(void *arg)
{
	spg_group *group = spg_group_new(0);
	spg_slice slice;
	struct udp u;
	spg_stream *s;

	(void)arg;
	T_OK(group != NULL);
	open_udp(&u, false);
	s = spg_stream_open(u.server, NULL);
	T_OK(s != NULL);
	T_EQ(spg_group_go(group, send_windows, &u), 0);
	for (size_t i = 0; i < DATAGRAMS; i++) {
		T_EQ(spg_stream_recv(s, &slice), 0);
		T_EQ(slice.len, 64);
		check(&slice, i);
		if (i % WINDOW == WINDOW - 1)
			T_EQ(spg_sendto(u.server, "t", 1, 0, slice.source, slice.source_len), 1);
		spg_slice_release(&slice);
	}
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	spg_stream_close(s);
	close_udp(&u);
	return 0;
}

/* Goal: no datagram is lost or twice there as long as the socket's buffer holds them. */
START_TEST(stress_datagrams_by_windows)
{
	t_run((unsigned)_i, many_datagrams, NULL);
}
END_TEST

T_MAIN(T_SHARDS(datagrams_come_whole), T_SHARDS(a_long_datagram_is_cut_and_marked),
       T_SHARDS(an_error_is_no_end_of_datagrams), T_SHARDS(runs_of_datagrams_keep_their_bounds),
       T_SHARDS(bad_runs_are_errors), T_SHARDS(local_packets_come_whole),
       T_SHARDS(stress_datagrams_by_windows))
