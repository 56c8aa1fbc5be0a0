/*
 * Copies between descriptors that end early: each byte is in one of two places.
 */
#include "t.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum kind { PIPE, UNIX, TCP, KINDS };

/* fds[0] is read, fds[1] is written. */
static void make(enum kind kind, int fds[2])
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(name);
	int listener;

	if (kind == PIPE) {
		T_EQ(pipe2(fds, O_CLOEXEC), 0);
		return;
	}
	if (kind == UNIX) {
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		return;
	}
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(bind(listener, (struct sockaddr *)&name, sizeof(name)), 0);
	T_EQ(listen(listener, 1), 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&name, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(connect(fds[0], (struct sockaddr *)&name, len), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(fds[1] >= 0);
	close(listener);
}

static void done_with(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static char byte_at(size_t i)
{
	return (char)(i * 31 >> 4);
}

/* Writes until n bytes are written, or would wait. How many it was. */
static size_t put(int fd, size_t from, size_t n)
{
	size_t done = 0;

	T_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while (done < n) {
		char buf[1000];
		size_t part = n - done < sizeof(buf) ? n - done : sizeof(buf);
		ssize_t put_now;

		for (size_t i = 0; i < part; i++)
			buf[i] = byte_at(from + done + i);
		put_now = write(fd, buf, part);
		if (put_now < 0)
			break;
		done += (size_t)put_now;
	}
	T_EQ(fcntl(fd, F_SETFL, 0), 0);
	return done;
}

/* Reads n bytes that are there, or on the way, and compares. */
static void expect(int fd, size_t from, size_t n)
{
	char *buf = malloc(n + 1);

	T_EQ(spg_read_full(fd, buf, n), n);
	for (size_t i = 0; i < n; i++)
		T_EQ(buf[i], byte_at(from + i));
	free(buf);
}

/* Nothing more comes. */
static void expect_empty(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	T_EQ(poll(&pollfd, 1, 0), 0);
}

typedef ssize_t (*copy_fn)(int out, int in, size_t n);

static ssize_t by_sendfile(int out, int in, size_t n)
{
	return spg_sendfile(out, in, NULL, n);
}

/*
 * Goal: nobody reads the destination, which fills up, until a deadline ends the copy. What it says has
 * arrived, and the source has the rest.
 */
static void cut_short(copy_fn copy, enum kind from, enum kind to, size_t already)
{
	int in[2], out[2];
	size_t filled, have;
	ssize_t moved;

	make(from, in);
	make(to, out);
	filled = put(out[1], 7, already);
	have = put(in[1], 0, 3000000);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		moved = copy(out[1], in[0], 10000000);
		T_OK(moved > 0 || moved == -ETIMEDOUT);
		T_ERR(copy(out[1], in[0], 10000000), -ETIMEDOUT);
	}
	moved = moved > 0 ? moved : 0;
	T_OK((size_t)moved <= have);
	expect(out[0], 7, filled);
	expect(out[0], 0, (size_t)moved);
	expect(in[0], (size_t)moved, have - (size_t)moved);
	expect_empty(out[0]);
	expect_empty(in[0]);
	done_with(in);
	done_with(out);
}

static int cut_main(void *arg)
{
	(void)arg;
	for (int from = 0; from < KINDS; from++)
		for (int to = 0; to < KINDS; to++)
			for (size_t already = 0; already <= 3000000; already += 1000000) {
				cut_short(spg_copy, from, to, already);
				cut_short(by_sendfile, from, to, already);
			}
	return 0;
}

START_TEST(a_copy_cut_short_loses_nothing)
{
	t_run((unsigned)_i, cut_main, NULL);
}
END_TEST

START_TEST(a_copy_cut_short_on_a_thread_loses_nothing)
{
	cut_main(NULL);
}
END_TEST

/* Goal: so too when the destination is broken, full, or closed by another. */
static void broken(copy_fn copy, enum kind from)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), in[2], out[2];
	size_t have;

	T_OK(full >= 0);
	make(from, in);
	have = put(in[1], 0, 20000);
	T_ERR(copy(full, in[0], 20000), -ENOSPC);
	for (int to = 0; to < KINDS; to++) {
		ssize_t n;

		make(to, out);
		close(out[0]);
		do /* TCP learns of it by the answer to its first bytes */
			n = to == TCP ? spg_write(out[1], "x", 1) : -EPIPE;
		while (n > 0);
		T_OK(n == -EPIPE || n == -ECONNRESET);
		T_ERR(copy(out[1], in[0], 20000), -EPIPE);
		close(out[1]);
		T_ERR(copy(out[1], in[0], 20000), -EBADF);
	}
	T_ERR(copy(in[1], out[1], 20000), -EBADF);
	expect(in[0], 0, have);
	expect_empty(in[0]);
	close(full);
	done_with(in);
}

static int broken_main(void *arg)
{
	(void)arg;
	for (int from = 0; from < KINDS; from++) {
		broken(spg_copy, from);
		broken(by_sendfile, from);
	}
	return 0;
}

START_TEST(a_copy_to_what_is_broken_loses_nothing)
{
	t_run((unsigned)_i, broken_main, NULL);
	broken_main(NULL);
}
END_TEST

/* Goal: whole streams of any length cross, to the end; files that are appended to as well. */
struct feed {
	int fd;
	size_t n;
};

static int feed(void *arg)
{
	struct feed *f = arg;
	char buf[5000];

	for (size_t done = 0, part; done < f->n; done += part) {
		part = f->n - done < sizeof(buf) ? f->n - done : sizeof(buf);
		for (size_t i = 0; i < part; i++)
			buf[i] = byte_at(done + i);
		T_EQ(spg_write_all(f->fd, buf, part), part);
	}
	T_EQ(spg_close(f->fd), 0);
	return 0;
}

static int drain(void *arg)
{
	struct feed *f = arg;

	expect(f->fd, 0, f->n);
	return 0;
}

static void whole(copy_fn copy, enum kind from, enum kind to, size_t n)
{
	spg_group *group = spg_group_new(0);
	int in[2], out[2];
	struct feed source = { .n = n }, sink = { .n = n };
	size_t moved = 0;
	ssize_t res;

	make(from, in);
	make(to, out);
	source.fd = in[1];
	sink.fd = out[0];
	T_EQ(spg_group_go(group, feed, &source), 0);
	T_EQ(spg_group_go(group, drain, &sink), 0);
	while ((res = copy(out[1], in[0], 10000000)) > 0)
		moved += (size_t)res;
	T_EQ(res, 0);
	T_EQ(moved, n);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	close(in[0]);
	done_with(out);
}

static void appended(copy_fn copy, enum kind from)
{
	char path[] = "/tmp/spg-copy-XXXXXX";
	int fd = mkstemp(path), in[2];

	T_OK(fd >= 0);
	T_EQ(unlink(path), 0);
	T_EQ(fcntl(fd, F_SETFL, O_APPEND), 0);
	make(from, in);
	T_EQ(put(in[1], 0, 50000), 50000);
	T_EQ(copy(fd, in[0], 100), 100);
	T_EQ(copy(fd, in[0], 40000), 40000);
	expect(in[0], 40100, 9900);
	close(in[1]);
	T_EQ(copy(fd, in[0], 10), 0);
	T_EQ(lseek(fd, 0, SEEK_SET), 0);
	expect(fd, 0, 40100);
	close(in[0]);
	close(fd);
}

static int whole_main(void *arg)
{
	(void)arg;
	for (int from = 0; from < KINDS; from++) {
		for (int to = 0; to < KINDS; to++) {
			whole(spg_copy, from, to, 700000);
			whole(by_sendfile, from, to, 700001);
		}
		appended(spg_copy, from);
		appended(by_sendfile, from);
	}
	return 0;
}

START_TEST(whole_streams_cross)
{
	t_run((unsigned)_i, whole_main, NULL);
}
END_TEST

/* Goal: a file's position is that of what was moved, whatever takes it. */
static void positioned(copy_fn copy, enum kind to)
{
	char path[] = "/tmp/spg-copy-XXXXXX";
	int fd = mkstemp(path), out[2];
	size_t size = 10000000;
	ssize_t moved;

	T_OK(fd >= 0);
	T_EQ(unlink(path), 0);
	make(to, out);
	T_EQ(ftruncate(fd, (off_t)size), 0);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		moved = copy(out[1], fd, size);
	}
	T_OK(moved == -ETIMEDOUT || (moved > 0 && (size_t)moved < size));
	T_EQ(lseek(fd, 0, SEEK_CUR), moved > 0 ? moved : 0);
	close(fd);
	done_with(out);
}

static int positioned_main(void *arg)
{
	(void)arg;
	for (int to = 0; to < KINDS; to++) {
		positioned(spg_copy, to);
		positioned(by_sendfile, to);
	}
	return 0;
}

START_TEST(a_files_position_is_that_of_what_was_moved)
{
	t_run((unsigned)_i, positioned_main, NULL);
	positioned_main(NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_copy_cut_short_loses_nothing), T_TEST(a_copy_cut_short_on_a_thread_loses_nothing),
       T_SHARDS(a_copy_to_what_is_broken_loses_nothing), T_SHARDS(whole_streams_cross),
       T_SHARDS(a_files_position_is_that_of_what_was_moved))
