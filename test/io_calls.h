/*
 * Every call of spg/io.h, with what makes it succeed, fail, meet the end, or wait for
 * ever. test_io.c runs the table in every mode, and checks that it misses none.
 */
#ifndef SPG__TEST_IO_CALLS_H
#define SPG__TEST_IO_CALLS_H

#include "io_calls_file.h"
#include "io_calls_stream.h"

#include <liburing.h>
#include <stddef.h>

/* A call's case: its result. */
typedef ssize_t (*io_case)(struct env *e);

#define IO_RING_ONLY 1 /* elsewhere nothing can end the wait */

struct io_call {
	const char *name;    /* without spg_ */
	const char *disable; /* SPG_DISABLE for the fallback; NULL: it has none */
	io_case good;
	ssize_t good_result; /* -1: any >= 0 */
	io_case bad;
	ssize_t bad_result;
	io_case eof; /* 0 bytes */
	io_case wait;
	size_t waits_on; /* which descriptor of struct env, if any */
	int flags;
};
#define ON(member) offsetof(struct env, member)
#define NOTHING ((size_t)-1)

/* moving */

static ssize_t splice_good(struct env *e)
{
	off_t off = 2;
	ssize_t n = spg_splice(e->file, &off, e->pipe[1], NULL, 5, 0);
	char buf[8] = "";

	WORKED(n);
	T_EQ(off, 7);
	T_EQ(read(e->pipe[0], buf, sizeof(buf)), 5);
	expect(buf, "23456");
	return n;
}
static ssize_t splice_bad(struct env *e) { return spg_splice(e->file, NULL, e->sock[0], NULL, 5, 0); }
static ssize_t splice_eof(struct env *e) { return spg_splice(e->ended, NULL, e->sock[0], NULL, 5, 0); }
static ssize_t splice_wait(struct env *e) { return spg_splice(e->pipe[0], NULL, e->sock[0], NULL, 5, 0); }

static ssize_t tee_good(struct env *e)
{
	ssize_t n;

	T_EQ(pipe2(e->extra, O_CLOEXEC), 0);
	put(e->pipe[1], "abc");
	n = spg_tee(e->pipe[0], e->extra[1], 16, 0);
	WORKED(n);
	T_EQ(read(e->pipe[0], (char[8]){ 0 }, 8), 3);
	T_EQ(read(e->extra[0], (char[8]){ 0 }, 8), 3);
	return n;
}
static ssize_t tee_bad(struct env *e) { return spg_tee(e->file, e->pipe[1], 5, 0); }
static ssize_t tee_eof(struct env *e) { return spg_tee(e->ended, e->pipe[1], 5, 0); }
static ssize_t tee_wait(struct env *e) { return spg_tee(e->pipe[0], e->broken, 5, 0); }

static ssize_t sendfile_good(struct env *e)
{
	static char much[200000], back[200000];
	off_t off = 10;
	ssize_t n;

	for (size_t i = 0; i < sizeof(much); i++)
		much[i] = (char)(i * 7 + i / 251);
	T_EQ(pwrite(e->file, much, sizeof(much), 10), sizeof(much));
	/* More than a socket takes: the pieces are drained between. */
	for (size_t done = 0; done < sizeof(much);) {
		size_t want = sizeof(much) - done < 70000 ? sizeof(much) - done : 70000;

		n = spg_sendfile(e->sock[0], e->file, &off, want);
		if (n != (ssize_t)want)
			return n;
		T_EQ(recv(e->sock[1], back + done, want, MSG_WAITALL), want);
		done += want;
	}
	T_EQ(memcmp(much, back, sizeof(much)), 0);
	T_EQ(off, sizeof(much) + 10);
	return spg_sendfile(e->sock[0], e->file, NULL, 10);
}
static ssize_t sendfile_bad(struct env *e) { return spg_sendfile(e->sock[0], e->pipe[1], NULL, 5); }
static ssize_t sendfile_eof(struct env *e) { return spg_sendfile(e->sock[0], e->file, &(off_t){ 10 }, 5); }
static ssize_t sendfile_wait(struct env *e) { return spg_sendfile(e->full_sock, e->file, NULL, 5); }

static ssize_t copy_good(struct env *e)
{
	int to = openat(e->dir, "copy", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	char buf[16] = "";
	ssize_t n = spg_copy(to, e->file, 100), more;

	e->extra[0] = to;
	WORKED(n);
	T_EQ(pread(to, buf, sizeof(buf), 0), 10);
	expect(buf, "0123456789");
	put(e->pipe[1], "abc");
	more = spg_copy(e->sock[0], e->pipe[0], 3);
	return more == 3 ? n : more;
}
static ssize_t copy_bad(struct env *e) { return spg_copy(e->broken, e->file, 5); }
static ssize_t copy_eof(struct env *e) { return spg_copy(e->sock[0], e->ended, 5); }
static ssize_t copy_wait(struct env *e) { return spg_copy(e->sock[0], e->pipe[0], 5); }

struct one_read {
	int fd;
	char buf[8];
};
static void prep_read(struct io_uring_sqe *sqe, void *arg)
{
	struct one_read *r = arg;

	io_uring_prep_read(sqe, r->fd, r->buf, sizeof(r->buf), (uint64_t)-1);
}
static ssize_t uring_read(int fd)
{
	struct one_read r = { .fd = fd };

	return spg_uring(prep_read, &r, NULL);
}
static void prep_linked(struct io_uring_sqe *sqe, void *arg)
{
	(void)arg;
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_IO_LINK;
}
static ssize_t uring_good(struct env *e)
{
	put(e->pipe[1], "abc");
	return uring_read(e->pipe[0]);
}
static ssize_t uring_bad(struct env *e)
{
	(void)e;
	return spg_uring(prep_linked, NULL, NULL);
}
static ssize_t uring_eof(struct env *e) { return uring_read(e->ended); }
static ssize_t uring_wait(struct env *e) { return uring_read(e->pipe[0]); }

static const struct io_call io_calls[] = {
	{ "read", "op:read", read_good, 3, read_bad, -EBADF, read_eof, read_wait, ON(pipe[0]), 0 },
	{ "write", "op:write", write_good, 4, write_bad, -EPIPE, NULL, write_wait, ON(full[1]), 0 },
	{ "pread", "op:read", pread_good, 4, pread_bad, -ESPIPE, pread_eof, NULL, NOTHING, 0 },
	{ "pwrite", "op:write", pwrite_good, 3, pwrite_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "readv", "op:readv", readv_good, 6, readv_bad, -EINVAL, readv_eof, readv_wait, ON(pipe[0]), 0 },
	{ "writev", "op:writev", writev_good, 6, writev_bad, -EPIPE, NULL, writev_wait, ON(full[1]), 0 },
	{ "preadv", "op:readv", preadv_good, 6, preadv_bad, -ESPIPE, preadv_eof, NULL, NOTHING, 0 },
	{ "pwritev", "op:writev", pwritev_good, 6, pwritev_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "read_full", "op:read", read_full_good, 10, read_full_bad, -EBADF, read_full_eof, read_full_wait, ON(pipe[0]), 0 },
	{ "write_all", "op:write", write_all_good, 3, write_all_bad, -EPIPE, NULL, write_all_wait, ON(pipe[1]), 0 },
	{ "recv", "op:recv", recv_good, 3, recv_bad, -ENOTSOCK, recv_eof, recv_wait, ON(sock[0]), 0 },
	{ "send", "op:send", send_good, 3, send_bad, -EPIPE, NULL, send_wait, ON(full_sock), 0 },
	{ "recvfrom", "op:recvmsg,op:recv", recvfrom_good, 3, recvfrom_bad, -EFAULT, recvfrom_eof, recvfrom_wait,
	  ON(sock[0]), 0 },
	{ "sendto", "op:sendmsg,op:send", sendto_good, 3, sendto_bad, -EISCONN, NULL, sendto_wait, ON(full_sock), 0 },
	{ "recvmsg", "op:recvmsg", recvmsg_good, 6, recvmsg_bad, -ENOTSOCK, recvmsg_eof, recvmsg_wait, ON(sock[0]), 0 },
	{ "sendmsg", "op:sendmsg", sendmsg_good, 6, sendmsg_bad, -EPIPE, NULL, sendmsg_wait, ON(full_sock), 0 },
	{ "accept", "op:accept", accept_good, 0, accept_bad, -EINVAL, NULL, accept_wait, ON(listener), 0 },
	{ "accept4", "op:accept", accept4_good, 0, accept4_bad, -ENOTSOCK, NULL, accept4_wait, ON(listener), 0 },
	{ "connect", "op:connect", connect_good, 0, connect_bad, -ECONNREFUSED, NULL, connect_wait, ON(connecting), 0 },
	{ "shutdown", "op:shutdown", shutdown_good, 0, shutdown_bad, -ENOTSOCK, NULL, NULL, NOTHING, 0 },
	{ "socket", NULL, socket_good, 0, socket_bad, -EAFNOSUPPORT, NULL, NULL, NOTHING, 0 },
	{ "close", NULL, close_good, 0, close_bad, -EBADF, NULL, NULL, NOTHING, 0 },
	{ "pipe2", NULL, pipe2_good, 0, pipe2_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "poll", "op:poll", poll_good, POLLIN, poll_bad, -EBADF, NULL, poll_wait, ON(pipe[0]), 0 },
	{ "epoll_wait", "op:poll", epoll_wait_good, 1, epoll_wait_bad, -EINVAL, NULL, epoll_wait_wait, ON(epoll), 0 },
	{ "open", "op:openat", open_good, 0, open_bad, -ENOENT, NULL, open_wait, NOTHING, IO_RING_ONLY },
	{ "openat", "op:openat", openat_good, 0, openat_bad, -ENOTDIR, NULL, NULL, NOTHING, 0 },
	{ "fsync", "op:fsync", fsync_good, 0, fsync_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "fdatasync", "op:fsync", fdatasync_good, 0, fdatasync_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "sync_file_range", "op:sync_file_range", sync_file_range_good, 0, sync_file_range_bad, -ESPIPE, NULL, NULL,
	  NOTHING, 0 },
	{ "fallocate", "op:fallocate", fallocate_good, 0, fallocate_bad, -ESPIPE, NULL, NULL, NOTHING, 0 },
	{ "ftruncate", "op:ftruncate", ftruncate_good, 0, ftruncate_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "fadvise", "op:fadvise", fadvise_good, 0, fadvise_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "madvise", "op:madvise", madvise_good, 0, madvise_bad, -EINVAL, NULL, NULL, NOTHING, 0 },
	{ "statx", "op:statx", statx_good, 0, statx_bad, -ENOENT, NULL, NULL, NOTHING, 0 },
	{ "mkdirat", "op:mkdirat", mkdirat_good, 0, mkdirat_bad, -EEXIST, NULL, NULL, NOTHING, 0 },
	{ "unlinkat", "op:unlinkat", unlinkat_good, 0, unlinkat_bad, -ENOENT, NULL, NULL, NOTHING, 0 },
	{ "renameat2", "op:renameat2", renameat2_good, 0, renameat2_bad, -ENOENT, NULL, NULL, NOTHING, 0 },
	{ "linkat", "op:linkat", linkat_good, 0, linkat_bad, -ENOENT, NULL, NULL, NOTHING, 0 },
	{ "symlinkat", "op:symlinkat", symlinkat_good, 0, symlinkat_bad, -EEXIST, NULL, NULL, NOTHING, 0 },
	{ "fsetxattr", "op:fsetxattr", fsetxattr_good, 0, fsetxattr_bad, -EOPNOTSUPP, NULL, NULL, NOTHING, 0 },
	{ "fgetxattr", "op:fgetxattr", fgetxattr_good, 5, fgetxattr_bad, -EOPNOTSUPP, NULL, NULL, NOTHING, 0 },
	{ "splice", "op:splice", splice_good, 5, splice_bad, -EINVAL, splice_eof, splice_wait, ON(pipe[0]), 0 },
	{ "tee", "op:tee", tee_good, 3, tee_bad, -EINVAL, tee_eof, tee_wait, ON(pipe[0]), 0 },
	{ "sendfile", "op:splice", sendfile_good, 10, sendfile_bad, -EBADF, sendfile_eof, sendfile_wait, ON(full_sock), 0 },
	{ "copy", "op:read", copy_good, 10, copy_bad, -EPIPE, copy_eof, copy_wait, ON(pipe[0]), 0 },
	{ "uring", "op:read", uring_good, 3, uring_bad, -EINVAL, uring_eof, uring_wait, ON(pipe[0]), 0 },
};
#define IO_CALLS (sizeof(io_calls) / sizeof(io_calls[0]))

#endif
