/*
 * Every call of spg/io.h, with what makes it succeed, fail, meet the end, or wait for
 * ever. test_io.c runs the table in every mode, and checks that it misses none.
 */
#ifndef SPG__TEST_IO_CALLS_H
#define SPG__TEST_IO_CALLS_H

#include "t.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>

/* Fresh for each case. Both ends of everything are the test's own. */
struct env {
	int pipe[2];	/* empty */
	int full[2];	/* a pipe without room */
	int broken;	/* a pipe's write end, without a reader */
	int ended;	/* a pipe's read end, without a writer */
	int sock[2];	/* empty */
	int full_sock;	/* without room; its peer is full_peer */
	int full_peer;
	int ended_sock; /* the peer is gone */
	int file;	/* holds "0123456789" */
	int dir;
	int listener;	/* nobody has connected */
	struct sockaddr_un listener_name;
	socklen_t listener_name_len;
	int crowded;	/* its backlog is full */
	struct sockaddr_un crowded_name;
	socklen_t crowded_name_len;
	int guest; /* waits in the backlog of crowded */
	int epoll; /* watches pipe[0] */
	char path[64];
};

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
	int flags;
};

static inline void put(int fd, const char *text)
{
	T_EQ(write(fd, text, strlen(text)), strlen(text));
}

static inline void expect(const char *got, const char *text)
{
	T_EQ(memcmp(got, text, strlen(text)), 0);
}

/* read and write */

static ssize_t read_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n;

	put(e->pipe[1], "abc");
	n = spg_read(e->pipe[0], buf, sizeof(buf));
	expect(buf, "abc");
	return n;
}
static ssize_t read_bad(struct env *e) { return spg_read(e->pipe[1], (char[1]){ 0 }, 1); }
static ssize_t read_eof(struct env *e) { return spg_read(e->ended, (char[8]){ 0 }, 8); }
static ssize_t read_wait(struct env *e) { return spg_read(e->pipe[0], (char[8]){ 0 }, 8); }

static ssize_t write_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_write(e->pipe[1], "abcd", 4);

	T_EQ(read(e->pipe[0], buf, sizeof(buf)), 4);
	expect(buf, "abcd");
	return n;
}
static ssize_t write_bad(struct env *e) { return spg_write(e->broken, "x", 1); }
static ssize_t write_wait(struct env *e) { return spg_write(e->full[1], "x", 1); }

static ssize_t pread_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_pread(e->file, buf, 4, 3);

	expect(buf, "3456");
	return n;
}
static ssize_t pread_bad(struct env *e) { return spg_pread(e->pipe[0], (char[1]){ 0 }, 1, 0); }
static ssize_t pread_eof(struct env *e) { return spg_pread(e->file, (char[8]){ 0 }, 8, 10); }

static ssize_t pwrite_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_pwrite(e->file, "xyz", 3, 4);

	T_EQ(pread(e->file, buf, 8, 2), 8);
	expect(buf, "23xyz789");
	return n;
}
static ssize_t pwrite_bad(struct env *e) { return spg_pwrite(e->file, "x", 1, -1); }

static char iov_a[4], iov_b[4];
static struct iovec *two(const char *text)
{
	static struct iovec iov[2] = { { iov_a, 2 }, { iov_b, 4 } };

	memset(iov_a, 0, sizeof(iov_a));
	memset(iov_b, 0, sizeof(iov_b));
	if (text != NULL) {
		memcpy(iov_a, text, 2);
		memcpy(iov_b, text + 2, 4);
	}
	return iov;
}

static ssize_t readv_good(struct env *e)
{
	ssize_t n;

	put(e->pipe[1], "abcdef");
	n = spg_readv(e->pipe[0], two(NULL), 2);
	expect(iov_a, "ab");
	expect(iov_b, "cdef");
	return n;
}
static ssize_t readv_bad(struct env *e) { return spg_readv(e->pipe[0], two(NULL), -1); }
static ssize_t readv_eof(struct env *e) { return spg_readv(e->ended, two(NULL), 2); }
static ssize_t readv_wait(struct env *e) { return spg_readv(e->pipe[0], two(NULL), 2); }

static ssize_t writev_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_writev(e->pipe[1], two("uvwxyz"), 2);

	T_EQ(read(e->pipe[0], buf, sizeof(buf)), 6);
	expect(buf, "uvwxyz");
	return n;
}
static ssize_t writev_bad(struct env *e) { return spg_writev(e->broken, two("abcdef"), 2); }
static ssize_t writev_wait(struct env *e) { return spg_writev(e->full[1], two("abcdef"), 2); }

static ssize_t preadv_good(struct env *e)
{
	ssize_t n = spg_preadv(e->file, two(NULL), 2, 1);

	expect(iov_a, "12");
	expect(iov_b, "3456");
	return n;
}
static ssize_t preadv_bad(struct env *e) { return spg_preadv(e->pipe[0], two(NULL), 2, 0); }
static ssize_t preadv_eof(struct env *e) { return spg_preadv(e->file, two(NULL), 2, 100); }

static ssize_t pwritev_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_pwritev(e->file, two("ABCDEF"), 2, 2);

	T_EQ(pread(e->file, buf, 8, 0), 8);
	expect(buf, "01ABCDEF");
	return n;
}
static ssize_t pwritev_bad(struct env *e) { return spg_pwritev(e->file, two("ABCDEF"), 2, -5); }

static ssize_t read_full_good(struct env *e)
{
	char buf[16] = "";
	ssize_t n = spg_read_full(e->file, buf, 10);

	expect(buf, "0123456789");
	return n;
}
static ssize_t read_full_bad(struct env *e) { return spg_read_full(e->pipe[1], (char[1]){ 0 }, 1); }
static ssize_t read_full_eof(struct env *e) { return spg_read_full(e->ended, (char[8]){ 0 }, 8); }
static ssize_t read_full_wait(struct env *e)
{
	put(e->pipe[1], "abc");
	return spg_read_full(e->pipe[0], (char[8]){ 0 }, 8);
}

static ssize_t write_all_good(struct env *e) { return spg_write_all(e->file, "abc", 3); }
static ssize_t write_all_bad(struct env *e) { return spg_write_all(e->broken, "abc", 3); }
static ssize_t write_all_wait(struct env *e)
{
	static char much[1 << 20];

	return spg_write_all(e->pipe[1], much, sizeof(much));
}

/* sockets */

static ssize_t recv_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n;

	put(e->sock[1], "abc");
	n = spg_recv(e->sock[0], buf, sizeof(buf), 0);
	expect(buf, "abc");
	T_EQ(spg_recv(e->sock[0], buf, 1, MSG_DONTWAIT), -EAGAIN);
	return n;
}
static ssize_t recv_bad(struct env *e) { return spg_recv(e->file, (char[1]){ 0 }, 1, 0); }
static ssize_t recv_eof(struct env *e) { return spg_recv(e->ended_sock, (char[8]){ 0 }, 8, 0); }
static ssize_t recv_wait(struct env *e) { return spg_recv(e->sock[0], (char[8]){ 0 }, 8, 0); }

static ssize_t send_good(struct env *e)
{
	char buf[8] = "";
	ssize_t n = spg_send(e->sock[0], "abc", 3, 0);

	T_EQ(read(e->sock[1], buf, sizeof(buf)), 3);
	expect(buf, "abc");
	T_EQ(spg_send(e->full_sock, buf, 1, MSG_DONTWAIT), -EAGAIN);
	return n;
}
static ssize_t send_bad(struct env *e) { return spg_send(e->ended_sock, "x", 1, 0); }
static ssize_t send_wait(struct env *e) { return spg_send(e->full_sock, "x", 1, 0); }

static ssize_t recvfrom_good(struct env *e)
{
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	char buf[8] = "";
	ssize_t n;

	put(e->sock[1], "abc");
	n = spg_recvfrom(e->sock[0], buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
	expect(buf, "abc");
	T_OK(len <= sizeof(from));
	return n;
}
static ssize_t recvfrom_bad(struct env *e)
{
	struct sockaddr_un from;

	return spg_recvfrom(e->sock[0], (char[1]){ 0 }, 1, 0, (struct sockaddr *)&from, NULL);
}
static ssize_t recvfrom_eof(struct env *e)
{
	struct sockaddr_un from;
	socklen_t len = sizeof(from);

	return spg_recvfrom(e->ended_sock, (char[8]){ 0 }, 8, 0, (struct sockaddr *)&from, &len);
}
static ssize_t recvfrom_wait(struct env *e) { return spg_recvfrom(e->sock[0], (char[1]){ 0 }, 1, 0, NULL, NULL); }

static ssize_t sendto_good(struct env *e)
{
	ssize_t n = spg_sendto(e->sock[0], "abc", 3, 0, NULL, 0);

	T_EQ(read(e->sock[1], (char[8]){ 0 }, 8), 3);
	return n;
}
static ssize_t sendto_bad(struct env *e)
{
	return spg_sendto(e->sock[0], "x", 1, 0, (struct sockaddr *)&e->listener_name, e->listener_name_len);
}
static ssize_t sendto_wait(struct env *e) { return spg_sendto(e->full_sock, "x", 1, 0, NULL, 0); }

static ssize_t recvmsg_good(struct env *e)
{
	struct msghdr msg = { .msg_iov = two(NULL), .msg_iovlen = 2 };
	ssize_t n;

	put(e->sock[1], "abcdef");
	n = spg_recvmsg(e->sock[0], &msg, 0);
	expect(iov_b, "cdef");
	T_EQ(msg.msg_flags & MSG_TRUNC, 0);
	return n;
}
static ssize_t recvmsg_on(int fd)
{
	struct msghdr msg = { .msg_iov = two(NULL), .msg_iovlen = 2 };

	return spg_recvmsg(fd, &msg, 0);
}
static ssize_t recvmsg_bad(struct env *e) { return recvmsg_on(e->pipe[0]); }
static ssize_t recvmsg_eof(struct env *e) { return recvmsg_on(e->ended_sock); }
static ssize_t recvmsg_wait(struct env *e) { return recvmsg_on(e->sock[0]); }

static ssize_t sendmsg_on(int fd)
{
	struct msghdr msg = { .msg_iov = two("abcdef"), .msg_iovlen = 2 };

	return spg_sendmsg(fd, &msg, 0);
}
static ssize_t sendmsg_good(struct env *e) { return sendmsg_on(e->sock[0]); }
static ssize_t sendmsg_bad(struct env *e) { return sendmsg_on(e->ended_sock); }
static ssize_t sendmsg_wait(struct env *e) { return sendmsg_on(e->full_sock); }

static int guest_of(struct sockaddr_un *name, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	T_EQ(connect(fd, (struct sockaddr *)name, len), 0);
	return fd;
}

static ssize_t accept_good(struct env *e)
{
	struct sockaddr_un peer = { 0 };
	socklen_t len = sizeof(peer);
	int guest = guest_of(&e->listener_name, e->listener_name_len);
	int fd = spg_accept(e->listener, (struct sockaddr *)&peer, &len);

	T_OK(fd >= 0);
	T_EQ(peer.sun_family, AF_UNIX);
	put(guest, "hello");
	T_EQ(read(fd, (char[8]){ 0 }, 8), 5);
	close(guest);
	return close(fd);
}
static ssize_t accept_bad(struct env *e) { return spg_accept(e->sock[0], NULL, NULL); }
static ssize_t accept_wait(struct env *e) { return spg_accept(e->listener, NULL, NULL); }

static ssize_t accept4_good(struct env *e)
{
	int guest = guest_of(&e->listener_name, e->listener_name_len);
	int fd = spg_accept4(e->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	T_OK(fd >= 0);
	T_OK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	T_OK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(guest);
	return close(fd);
}
static ssize_t accept4_bad(struct env *e) { return spg_accept4(e->file, NULL, NULL, 0); }
static ssize_t accept4_wait(struct env *e) { return spg_accept4(e->listener, NULL, NULL, SOCK_CLOEXEC); }

static ssize_t connect_to(struct sockaddr_un *name, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int res = spg_connect(fd, (struct sockaddr *)name, len);

	close(fd);
	return res;
}
static ssize_t connect_good(struct env *e) { return connect_to(&e->listener_name, e->listener_name_len); }
static ssize_t connect_bad(struct env *e)
{
	struct sockaddr_un nobody = { .sun_family = AF_UNIX, .sun_path = "\0nobody listens here" };

	(void)e;
	return connect_to(&nobody, sizeof(nobody));
}
static ssize_t connect_wait(struct env *e) { return connect_to(&e->crowded_name, e->crowded_name_len); }

static ssize_t shutdown_good(struct env *e)
{
	int res = spg_shutdown(e->sock[0], SHUT_WR);

	T_EQ(read(e->sock[1], (char[8]){ 0 }, 8), 0);
	return res;
}
static ssize_t shutdown_bad(struct env *e) { return spg_shutdown(e->pipe[0], SHUT_WR); }

static ssize_t socket_good(struct env *e)
{
	int fd = spg_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)e;
	T_OK(fd >= 0);
	return close(fd);
}
static ssize_t socket_bad(struct env *e)
{
	(void)e;
	return spg_socket(-7, SOCK_STREAM, 0);
}

static ssize_t close_good(struct env *e)
{
	int fd = dup(e->file), res = spg_close(fd);

	T_EQ(fcntl(fd, F_GETFD), -1);
	return res;
}
static ssize_t close_bad(struct env *e)
{
	(void)e;
	return spg_close(1 << 19);
}

static ssize_t pipe2_good(struct env *e)
{
	int fds[2], res = spg_pipe2(fds, O_CLOEXEC);

	(void)e;
	put(fds[1], "x");
	close(fds[0]);
	close(fds[1]);
	return res;
}
static ssize_t pipe2_bad(struct env *e)
{
	int fds[2];

	(void)e;
	return spg_pipe2(fds, 0x40000000);
}

/* waiting */

static ssize_t poll_good(struct env *e)
{
	T_EQ(spg_poll(e->pipe[0], POLLIN, 0), 0);
	T_EQ(spg_poll(e->pipe[0], POLLIN, SPG_MS), 0);
	put(e->pipe[1], "x");
	T_EQ(spg_poll(e->pipe[0], POLLIN, 0), POLLIN);
	return spg_poll(e->pipe[0], POLLIN, SPG_SEC);
}
static ssize_t poll_bad(struct env *e)
{
	(void)e;
	return spg_poll(1 << 19, POLLIN, -1);
}
static ssize_t poll_wait(struct env *e) { return spg_poll(e->pipe[0], POLLIN, -1); }

static ssize_t epoll_wait_good(struct env *e)
{
	struct epoll_event event = { 0 };

	T_EQ(spg_epoll_wait(e->epoll, &event, 1, 0), 0);
	T_EQ(spg_epoll_wait(e->epoll, &event, 1, 1), 0);
	put(e->pipe[1], "x");
	T_EQ(spg_epoll_wait(e->epoll, &event, 1, -1), 1);
	T_EQ(event.data.u64, 42);
	return 1;
}
static ssize_t epoll_wait_bad(struct env *e)
{
	struct epoll_event event;

	return spg_epoll_wait(e->pipe[0], &event, 1, -1);
}
static ssize_t epoll_wait_wait(struct env *e)
{
	struct epoll_event event;

	return spg_epoll_wait(e->epoll, &event, 1, -1);
}

/* files */

static ssize_t open_good(struct env *e)
{
	int fd = spg_open(e->path, O_RDONLY | O_CLOEXEC, 0);

	T_OK(fd >= 0);
	return close(fd);
}
static ssize_t open_bad(struct env *e)
{
	(void)e;
	return spg_open("/nonexistent/file", O_RDONLY, 0);
}
static ssize_t open_wait(struct env *e)
{
	T_EQ(mkfifoat(e->dir, "fifo", 0600), 0);
	return spg_openat(e->dir, "fifo", O_RDONLY | O_CLOEXEC, 0);
}
static ssize_t openat_good(struct env *e)
{
	int fd = spg_openat(e->dir, "new", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
	struct stat st;

	T_OK(fd >= 0);
	T_EQ(fstat(fd, &st), 0);
	T_EQ(st.st_mode & 0777, 0640);
	return close(fd);
}
static ssize_t openat_bad(struct env *e) { return spg_openat(e->file, "x", O_RDONLY, 0); }

static ssize_t fsync_good(struct env *e) { return spg_fsync(e->file); }
static ssize_t fsync_bad(struct env *e) { return spg_fsync(e->pipe[0]); }
static ssize_t fdatasync_good(struct env *e) { return spg_fdatasync(e->file); }
static ssize_t fdatasync_bad(struct env *e) { return spg_fdatasync(e->pipe[0]); }
static ssize_t sync_file_range_good(struct env *e) { return spg_sync_file_range(e->file, 0, (off_t)5 << 30, 2); }
static ssize_t sync_file_range_bad(struct env *e) { return spg_sync_file_range(e->pipe[0], 0, 10, 2); }

static off_t size_of(int fd)
{
	struct stat st;

	T_EQ(fstat(fd, &st), 0);
	return st.st_size;
}

static ssize_t fallocate_good(struct env *e)
{
	int res = spg_fallocate(e->file, 0, 0, 5000);

	T_EQ(size_of(e->file), 5000);
	return res;
}
static ssize_t fallocate_bad(struct env *e) { return spg_fallocate(e->pipe[1], 0, 0, 10); }
static ssize_t ftruncate_good(struct env *e)
{
	int res = spg_ftruncate(e->file, 3);

	T_EQ(size_of(e->file), 3);
	return res;
}
static ssize_t ftruncate_bad(struct env *e) { return spg_ftruncate(e->file, -1); }
static ssize_t fadvise_good(struct env *e) { return spg_fadvise(e->file, 0, 0, POSIX_FADV_SEQUENTIAL); }
static ssize_t fadvise_bad(struct env *e) { return spg_fadvise(e->file, 0, 0, 77); }

static ssize_t madvise_good(struct env *e)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int res;

	(void)e;
	page[7] = 1;
	res = spg_madvise(page, 4096, MADV_DONTNEED);
	T_EQ(page[7], 0);
	munmap(page, 4096);
	return res;
}
static ssize_t madvise_bad(struct env *e)
{
	(void)e;
	return spg_madvise(NULL, 4096, 12345);
}

static ssize_t statx_good(struct env *e)
{
	struct statx stx;
	int res = spg_statx(e->dir, "file", 0, STATX_BASIC_STATS, &stx);

	T_EQ(stx.stx_size, 10);
	return res;
}
static ssize_t statx_bad(struct env *e)
{
	struct statx stx;

	return spg_statx(e->dir, "none", 0, STATX_BASIC_STATS, &stx);
}

static bool exists(struct env *e, const char *name)
{
	return faccessat(e->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static ssize_t mkdirat_good(struct env *e)
{
	int res = spg_mkdirat(e->dir, "sub", 0700);

	T_OK(exists(e, "sub"));
	return res;
}
static ssize_t mkdirat_bad(struct env *e) { return spg_mkdirat(e->dir, "file", 0700); }
static ssize_t unlinkat_good(struct env *e)
{
	int res = spg_unlinkat(e->dir, "file", 0);

	T_OK(!exists(e, "file"));
	return res;
}
static ssize_t unlinkat_bad(struct env *e) { return spg_unlinkat(e->dir, "none", 0); }
static ssize_t renameat2_good(struct env *e)
{
	int res = spg_renameat2(e->dir, "file", e->dir, "moved", RENAME_NOREPLACE);

	T_OK(!exists(e, "file") && exists(e, "moved"));
	return res;
}
static ssize_t renameat2_bad(struct env *e) { return spg_renameat2(e->dir, "none", e->dir, "moved", 0); }
static ssize_t linkat_good(struct env *e)
{
	int res = spg_linkat(e->dir, "file", e->dir, "link", 0);

	T_OK(exists(e, "file") && exists(e, "link"));
	return res;
}
static ssize_t linkat_bad(struct env *e) { return spg_linkat(e->dir, "none", e->dir, "link", 0); }
static ssize_t symlinkat_good(struct env *e)
{
	char target[16] = "";
	int res = spg_symlinkat("file", e->dir, "symlink");

	T_EQ(readlinkat(e->dir, "symlink", target, sizeof(target)), 4);
	expect(target, "file");
	return res;
}
static ssize_t symlinkat_bad(struct env *e) { return spg_symlinkat("x", e->dir, "file"); }

static ssize_t fsetxattr_good(struct env *e) { return spg_fsetxattr(e->file, "user.spg", "value", 5, 0); }
static ssize_t fsetxattr_bad(struct env *e) { return spg_fsetxattr(e->file, "nospace.x", "value", 5, 0); }
static ssize_t fgetxattr_good(struct env *e)
{
	char value[16] = "";
	ssize_t n;

	T_EQ(spg_fsetxattr(e->file, "user.spg", "value", 5, 0), 0);
	n = spg_fgetxattr(e->file, "user.spg", value, sizeof(value));
	expect(value, "value");
	return n;
}
static ssize_t fgetxattr_bad(struct env *e) { return spg_fgetxattr(e->file, "nospace.x", (char[1]){ 0 }, 1); }

/* moving */

static ssize_t splice_good(struct env *e)
{
	off_t off = 2;
	ssize_t n = spg_splice(e->file, &off, e->pipe[1], NULL, 5, 0);
	char buf[8] = "";

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
	int out[2];
	ssize_t n;

	T_EQ(pipe(out), 0);
	put(e->pipe[1], "abc");
	n = spg_tee(e->pipe[0], out[1], 16, 0);
	T_EQ(read(e->pipe[0], (char[8]){ 0 }, 8), 3);
	T_EQ(read(out[0], (char[8]){ 0 }, 8), 3);
	close(out[0]);
	close(out[1]);
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
		T_EQ(n, want);
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
	ssize_t n = spg_copy(to, e->file, 100);

	T_EQ(pread(to, buf, sizeof(buf), 0), 10);
	expect(buf, "0123456789");
	close(to);
	put(e->pipe[1], "abc");
	T_EQ(spg_copy(e->sock[0], e->pipe[0], 3), 3);
	return n;
}
static ssize_t copy_bad(struct env *e) { return spg_copy(e->broken, e->file, 5); }
static ssize_t copy_eof(struct env *e) { return spg_copy(e->sock[0], e->ended, 5); }
static ssize_t copy_wait(struct env *e) { return spg_copy(e->sock[0], e->pipe[0], 5); }

static void prep_read(struct io_uring_sqe *sqe, void *arg)
{
	static char buf[8];

	io_uring_prep_read(sqe, *(int *)arg, buf, sizeof(buf), (uint64_t)-1);
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
	return spg_uring(prep_read, &e->pipe[0], NULL);
}
static ssize_t uring_bad(struct env *e)
{
	(void)e;
	return spg_uring(prep_linked, NULL, NULL);
}
static ssize_t uring_eof(struct env *e) { return spg_uring(prep_read, &e->ended, NULL); }
static ssize_t uring_wait(struct env *e) { return spg_uring(prep_read, &e->pipe[0], NULL); }

static const struct io_call io_calls[] = {
	{ "read", "op:read", read_good, 3, read_bad, -EBADF, read_eof, read_wait, 0 },
	{ "write", "op:write", write_good, 4, write_bad, -EPIPE, NULL, write_wait, 0 },
	{ "pread", "op:read", pread_good, 4, pread_bad, -ESPIPE, pread_eof, NULL, 0 },
	{ "pwrite", "op:write", pwrite_good, 3, pwrite_bad, -EINVAL, NULL, NULL, 0 },
	{ "readv", "op:readv", readv_good, 6, readv_bad, -EINVAL, readv_eof, readv_wait, 0 },
	{ "writev", "op:writev", writev_good, 6, writev_bad, -EPIPE, NULL, writev_wait, 0 },
	{ "preadv", "op:readv", preadv_good, 6, preadv_bad, -ESPIPE, preadv_eof, NULL, 0 },
	{ "pwritev", "op:writev", pwritev_good, 6, pwritev_bad, -EINVAL, NULL, NULL, 0 },
	{ "read_full", "op:read", read_full_good, 10, read_full_bad, -EBADF, read_full_eof, read_full_wait, 0 },
	{ "write_all", "op:write", write_all_good, 3, write_all_bad, -EPIPE, NULL, write_all_wait, 0 },
	{ "recv", "op:recv", recv_good, 3, recv_bad, -ENOTSOCK, recv_eof, recv_wait, 0 },
	{ "send", "op:send", send_good, 3, send_bad, -EPIPE, NULL, send_wait, 0 },
	{ "recvfrom", "op:recvmsg,op:recv", recvfrom_good, 3, recvfrom_bad, -EFAULT, recvfrom_eof, recvfrom_wait, 0 },
	{ "sendto", "op:sendmsg,op:send", sendto_good, 3, sendto_bad, -EISCONN, NULL, sendto_wait, 0 },
	{ "recvmsg", "op:recvmsg", recvmsg_good, 6, recvmsg_bad, -ENOTSOCK, recvmsg_eof, recvmsg_wait, 0 },
	{ "sendmsg", "op:sendmsg", sendmsg_good, 6, sendmsg_bad, -EPIPE, NULL, sendmsg_wait, 0 },
	{ "accept", "op:accept", accept_good, 0, accept_bad, -EINVAL, NULL, accept_wait, 0 },
	{ "accept4", "op:accept", accept4_good, 0, accept4_bad, -ENOTSOCK, NULL, accept4_wait, 0 },
	{ "connect", "op:connect", connect_good, 0, connect_bad, -ECONNREFUSED, NULL, connect_wait, 0 },
	{ "shutdown", "op:shutdown", shutdown_good, 0, shutdown_bad, -ENOTSOCK, NULL, NULL, 0 },
	{ "socket", NULL, socket_good, 0, socket_bad, -EAFNOSUPPORT, NULL, NULL, 0 },
	{ "close", NULL, close_good, 0, close_bad, -EBADF, NULL, NULL, 0 },
	{ "pipe2", NULL, pipe2_good, 0, pipe2_bad, -EINVAL, NULL, NULL, 0 },
	{ "poll", "op:poll", poll_good, POLLIN, poll_bad, -EBADF, NULL, poll_wait, 0 },
	{ "epoll_wait", "op:poll", epoll_wait_good, 1, epoll_wait_bad, -EINVAL, NULL, epoll_wait_wait, 0 },
	{ "open", "op:openat", open_good, 0, open_bad, -ENOENT, NULL, open_wait, IO_RING_ONLY },
	{ "openat", "op:openat", openat_good, 0, openat_bad, -ENOTDIR, NULL, NULL, 0 },
	{ "fsync", "op:fsync", fsync_good, 0, fsync_bad, -EINVAL, NULL, NULL, 0 },
	{ "fdatasync", "op:fsync", fdatasync_good, 0, fdatasync_bad, -EINVAL, NULL, NULL, 0 },
	{ "sync_file_range", "op:sync_file_range", sync_file_range_good, 0, sync_file_range_bad, -ESPIPE, NULL, NULL, 0 },
	{ "fallocate", "op:fallocate", fallocate_good, 0, fallocate_bad, -ESPIPE, NULL, NULL, 0 },
	{ "ftruncate", "op:ftruncate", ftruncate_good, 0, ftruncate_bad, -EINVAL, NULL, NULL, 0 },
	{ "fadvise", "op:fadvise", fadvise_good, 0, fadvise_bad, -EINVAL, NULL, NULL, 0 },
	{ "madvise", "op:madvise", madvise_good, 0, madvise_bad, -EINVAL, NULL, NULL, 0 },
	{ "statx", "op:statx", statx_good, 0, statx_bad, -ENOENT, NULL, NULL, 0 },
	{ "mkdirat", "op:mkdirat", mkdirat_good, 0, mkdirat_bad, -EEXIST, NULL, NULL, 0 },
	{ "unlinkat", "op:unlinkat", unlinkat_good, 0, unlinkat_bad, -ENOENT, NULL, NULL, 0 },
	{ "renameat2", "op:renameat2", renameat2_good, 0, renameat2_bad, -ENOENT, NULL, NULL, 0 },
	{ "linkat", "op:linkat", linkat_good, 0, linkat_bad, -ENOENT, NULL, NULL, 0 },
	{ "symlinkat", "op:symlinkat", symlinkat_good, 0, symlinkat_bad, -EEXIST, NULL, NULL, 0 },
	{ "fsetxattr", "op:fsetxattr", fsetxattr_good, 0, fsetxattr_bad, -EOPNOTSUPP, NULL, NULL, 0 },
	{ "fgetxattr", "op:fgetxattr", fgetxattr_good, 5, fgetxattr_bad, -EOPNOTSUPP, NULL, NULL, 0 },
	{ "splice", "op:splice", splice_good, 5, splice_bad, -EINVAL, splice_eof, splice_wait, 0 },
	{ "tee", "op:tee", tee_good, 3, tee_bad, -EINVAL, tee_eof, tee_wait, 0 },
	{ "sendfile", "op:splice", sendfile_good, 10, sendfile_bad, -EBADF, sendfile_eof, sendfile_wait, 0 },
	{ "copy", "op:read", copy_good, 10, copy_bad, -EPIPE, copy_eof, copy_wait, 0 },
	{ "uring", "op:read", uring_good, 3, uring_bad, -EINVAL, uring_eof, uring_wait, 0 },
};
#define IO_CALLS (sizeof(io_calls) / sizeof(io_calls[0]))

#endif
