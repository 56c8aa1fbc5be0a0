/*
 * Errors that headers name and no other test meets (tools/check-errors): each provoked where it
 * belongs to, from a coroutine and, where both can, from a foreign thread.
 */
#include "test/t.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define NOBODY 65534

/* In a coroutine, then on this thread with a runtime beside it, then without. */
static void everywhere(unsigned shards, int (*fn)(void *))
{
	spg_config cfg = t_config(shards);

	t_run(shards, fn, NULL);
	T_EQ(spg_start(&cfg), 0);
	T_EQ(fn(NULL), 0);
	T_EQ(spg_stop(), 0);
	T_EQ(fn(NULL), 0);
}

static int wrong_offsets(void *arg)
{
	char byte = 'x';
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	int fds[2], file = memfd_create("errors", MFD_CLOEXEC);
	off_t offset = -1;

	(void)arg;
	T_OK(file >= 0);
	T_EQ(pipe(fds), 0);
	T_ERR(spg_pwrite(fds[1], "x", 1, 0), -ESPIPE);
	T_ERR(spg_pwritev(fds[1], &iov, 1, 0), -ESPIPE);
	T_ERR(spg_preadv(file, &iov, -1, 0), -EINVAL);
	T_ERR(spg_preadv(file, &iov, 1, -1), -EINVAL);
	T_ERR(spg_writev(fds[1], &iov, -1), -EINVAL);
	T_ERR(spg_sendfile(fds[1], file, &offset, 1), -EINVAL);
	T_EQ(offset, -1);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	T_EQ(spg_close(file), 0);
	return 0;
}

START_TEST(wrong_offsets_and_counts_are_refused)
{
	everywhere((unsigned)_i, wrong_offsets);
}
END_TEST

static int broken_outputs(void *arg)
{
	int fds[2], socks[2], file = memfd_create("errors", MFD_CLOEXEC);
	off_t offset = 0;

	(void)arg;
	T_EQ(pwrite(file, "0123456789", 10, 0), 10);
	T_EQ(pipe(fds), 0);
	close(fds[0]);
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	close(socks[0]);
	T_ERR(spg_splice(file, &offset, fds[1], NULL, 5, 0), -EPIPE);
	T_ERR(spg_sendfile(fds[1], file, NULL, 5), -EPIPE);
	T_ERR(spg_sendto(socks[1], "x", 1, 0, NULL, 0), -EPIPE);
	T_EQ(spg_close(fds[1]), 0);
	T_EQ(spg_close(socks[1]), 0);
	T_EQ(spg_close(file), 0);
	return 0;
}

START_TEST(outputs_nobody_reads_are_epipe)
{
	everywhere((unsigned)_i, broken_outputs);
}
END_TEST

static void fill(int fd)
{
	static const char page[4096];

	while (send(fd, page, sizeof(page), MSG_DONTWAIT) > 0)
		continue;
	while (send(fd, page, 1, MSG_DONTWAIT) > 0)
		continue;
}

static int without_waiting(void *arg)
{
	char byte = 'x';
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int socks[2];

	(void)arg;
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	T_ERR(spg_recvfrom(socks[0], &byte, 1, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
	T_ERR(spg_recvmsg(socks[0], &msg, MSG_DONTWAIT), -EAGAIN);
	fill(socks[0]);
	T_ERR(spg_sendto(socks[0], &byte, 1, MSG_DONTWAIT, NULL, 0), -EAGAIN);
	T_ERR(spg_sendmsg(socks[0], &msg, MSG_DONTWAIT), -EAGAIN);
	T_EQ(spg_close(socks[0]), 0);
	T_EQ(spg_close(socks[1]), 0);
	return 0;
}

START_TEST(msg_dontwait_does_not_wait)
{
	everywhere((unsigned)_i, without_waiting);
}
END_TEST

/* A socket that listens on the loopback, with one connection in its backlog. */
static int listener_with_guest(int *guest)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(bind(fd, (struct sockaddr *)&name, len), 0);
	T_EQ(listen(fd, 4), 0);
	T_EQ(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	T_EQ(connect(*guest, (struct sockaddr *)&name, len), 0);
	return fd;
}

#define FDS_MOST 100

/* Opens descriptors until there are none; all are below FDS_MOST then. */
static int take_descriptors(int *taken)
{
	int n = 0, fd;

	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		taken[n++] = fd;
	T_EQ(errno, EMFILE);
	return n;
}

static int no_descriptors(void *arg)
{
	struct rlimit limit, few;
	int guest, listener = listener_with_guest(&guest), fds[2], full[2], out, taken[FDS_MOST], fd, n;
	char byte = 'x';

	(void)arg;
	T_ERR(spg_accept4(listener, NULL, NULL, 1), -EINVAL);
	T_EQ(pipe2(full, O_CLOEXEC), 0);
	out = open("/tmp", O_TMPFILE | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	T_OK(out >= 0);
	T_EQ(write(full[1], &byte, 1), 1);
	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	few.rlim_cur = FDS_MOST;
	T_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	n = take_descriptors(taken);
	T_ERR(spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC), -EMFILE);
	T_ERR(spg_pipe2(fds, O_CLOEXEC), -EMFILE);
	/* For what knows no splice a pipe is looked at through another one. */
	T_ERR(spg_copy(out, full[0], 1), -EMFILE);
	T_ERR(spg_sendfile(out, full[0], NULL, 1), -EMFILE);
	while (n > 0)
		close(taken[--n]);
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	T_EQ(spg_copy(out, full[0], 1), 1);
	T_EQ(spg_close(full[0]), 0);
	T_EQ(spg_close(full[1]), 0);
	T_EQ(spg_close(out), 0);
	fd = spg_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_OK(fd >= 0);
	T_ERR(spg_shutdown(fd, SHUT_RDWR), -ENOTCONN);
	T_EQ(spg_close(fd), 0);
	T_EQ(spg_close(guest), 0);
	T_EQ(spg_close(listener), 0);
	return 0;
}

START_TEST(without_descriptors_calls_say_emfile)
{
	everywhere((unsigned)_i, no_descriptors);
}
END_TEST

static int names(void *arg)
{
	char path[] = "/tmp/spg-test-errors-XXXXXX";
	struct statx st;
	int fd;

	(void)arg;
	T_OK(mkdtemp(path) != NULL);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	T_EQ(symlinkat("x", fd, "a"), 0);
	T_EQ(symlinkat("x", fd, "b"), 0);
	T_ERR(spg_openat(fd, "none", O_RDONLY, 0), -ENOENT);
	T_ERR(spg_linkat(fd, "a", fd, "b", 0), -EEXIST);
	T_ERR(spg_renameat2(fd, "a", fd, "b", RENAME_NOREPLACE), -EEXIST);
	T_EQ(mkdirat(fd, "dir", 0700), 0);
	T_EQ(mkdirat(fd, "dir/below", 0700), 0);
	T_ERR(spg_unlinkat(fd, "dir", AT_REMOVEDIR), -ENOTEMPTY);
	T_ERR(spg_lstat("/tmp/spg-no-such-file", &st), -ENOENT);
	T_ERR(spg_chmod("/proc/self/comm", 0600), -EPERM);
	T_EQ(close(fd), 0);
	T_EQ(spg_remove_all(path), 0);
	return 0;
}

START_TEST(names_that_are_there_or_not)
{
	everywhere((unsigned)_i, names);
}
END_TEST

/* More than are read at once. */
#define MANY 3000

static int removed(void *arg)
{
	char path[] = "/tmp/spg-test-errors-XXXXXX", name[16];
	spg_dirent entry;
	spg_dir *dir;
	int fd, err;

	(void)arg;
	T_OK(mkdtemp(path) != NULL);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "%d", i);
		T_EQ(mknodat(fd, name, S_IFREG | 0600, 0), 0);
	}
	T_EQ(close(fd), 0);
	T_EQ(spg_dir_open(path, &dir), 0);
	T_EQ(spg_remove_all(path), 0);
	do
		err = spg_dir_next(dir, &entry);
	while (err == 1); /* what it had read before */
	T_ERR(err, -ENOENT);
	spg_dir_close(dir);
	return 0;
}

START_TEST(a_directory_is_removed_while_it_is_read)
{
	everywhere(1, removed);
}
END_TEST

static int loops(void *arg)
{
	char path[] = "/tmp/spg-test-errors-XXXXXX";
	spg_du_opts o = SPG_DU_OPTS_INIT;
	spg_du_result sums;
	int fd;

	(void)arg;
	T_OK(mkdtemp(path) != NULL);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	T_EQ(symlinkat("itself", fd, "itself"), 0);
	o.symlinks = SPG_DU_FOLLOW;
	T_ERR(spg_du(path, &o, &sums), -ELOOP);
	T_EQ(spg_remove_all(path), 0);
	T_EQ(close(fd), 0);
	return 0;
}

START_TEST(a_symlink_to_itself_is_eloop)
{
	everywhere((unsigned)_i, loops);
}
END_TEST

static int attributes(void *arg)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char value[8];

	(void)arg;
	if (fd < 0 || fsetxattr(fd, "user.is", "value", 5, 0) != 0) {
		t_skip(__func__, "/tmp has no attributes");
		close(fd);
		return 0;
	}
	T_ERR(spg_fgetxattr(fd, "user.not", value, sizeof(value)), -ENODATA);
	T_ERR(spg_fgetxattr(fd, "user.is", value, 2), -ERANGE);
	T_ERR(spg_fsetxattr(fd, "user.is", "x", 1, XATTR_CREATE), -EEXIST);
	T_ERR(spg_fsetxattr(fd, "user.not", "x", 1, XATTR_REPLACE), -ENODATA);
	T_EQ(spg_close(fd), 0);
	return 0;
}

START_TEST(attributes_that_are_there_or_not)
{
	everywhere((unsigned)_i, attributes);
}
END_TEST

static int room(void *arg)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	(void)arg;
	if (fd < 0) {
		t_skip(__func__, "no /dev/shm");
		return 0;
	}
	T_ERR(spg_fallocate(fd, 0, 0, (off_t)1 << 50), -ENOSPC);
	T_ERR(spg_fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	T_EQ(spg_close(fd), 0);
	return 0;
}

START_TEST(more_room_than_there_is_is_enospc)
{
	everywhere((unsigned)_i, room);
}
END_TEST

/* Calls that wait, under a deadline and a cancel. */

struct held {
	spg_chan *full;
	spg_mutex *mutex;
	spg_once *once;
};

static void once_waits(void *arg)
{
	(void)spg_chan_recv(arg, NULL);
}

static void recurse(void *arg)
{
	T_ERR(spg_once_do(arg, recurse, arg), -EDEADLK);
}

static void hold_once(void *arg)
{
	struct held *held = arg;

	T_EQ(spg_once_do(held->once, once_waits, held->full), 0);
}

static void waits_end(struct held *held)
{
	spg_cond cond = SPG_COND_INIT;
	spg_mutex own = SPG_MUTEX_INIT;
	char byte = 'x';

	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_once_do(held->once, once_waits, held->full), -ETIMEDOUT);
	}
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_mutex_lock_ctx(held->mutex), -ETIMEDOUT);
	}
	spg_mutex_lock(&own);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_cond_wait(&cond, &own), -ETIMEDOUT);
	}
	T_EQ(spg_mutex_unlock(&own), 0);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_sleep_until(spg_now() + 60 * SPG_SEC), -ETIMEDOUT);
	}
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		spg_chan *chan = spg_chan_new(1, 0);

		T_ERR(spg_chan_send(chan, &byte), -ETIMEDOUT);
		spg_chan_unref(chan);
	}
}

static void *waits_end_here(void *arg)
{
	waits_end(arg);
	return arg;
}

static void *join_thread(void *arg)
{
	T_EQ(pthread_join(*(pthread_t *)arg, NULL), 0);
	return NULL;
}

static void await_parked(uint64_t n)
{
	static spg_stats_t stats;

	do {
		t_relax();
		T_EQ(spg_stats(&stats), 0);
	} while (stats.total.parked < n);
}

static int deadlines(void *arg)
{
	spg_mutex mutex = SPG_MUTEX_INIT;
	spg_once once = SPG_ONCE_INIT, again = SPG_ONCE_INIT;
	struct held held = { spg_chan_new(0, 0), &mutex, &once };
	spg_task *task;
	pthread_t thread;

	(void)arg;
	T_EQ(spg_once_do(&again, recurse, &again), 0);
	spg_mutex_lock(&mutex);
	T_EQ(spg_go(hold_once, &held), 0);
	await_parked(1); /* it runs the once */
	task = spg_spawn(NULL, waits_end_here, &held);
	T_EQ(spg_join(task, NULL), 0);
	T_EQ(pthread_create(&thread, NULL, waits_end_here, &held), 0);
	T_EQ(spg_blocking(join_thread, &thread, NULL), 0);
	T_EQ(spg_mutex_unlock(&mutex), 0);
	spg_chan_close(held.full);
	T_EQ(spg_once_do(&once, once_waits, held.full), 0);
	spg_chan_unref(held.full);
	return 0;
}

START_TEST(deadlines_end_what_waits)
{
	t_run((unsigned)_i, deadlines, NULL);
}
END_TEST

static void *never(void *arg)
{
	T_OK(arg != arg);
	return NULL;
}

static ssize_t read_end(void *self, void *buf, size_t len)
{
	(void)self;
	(void)buf;
	(void)len;
	return 0;
}

static ssize_t write_nothing(void *self, const void *buf, size_t len)
{
	(void)self;
	(void)buf;
	(void)len;
	return 0;
}

static int close_nothing(void *self)
{
	(void)self;
	return 0;
}

static int streams(void *arg)
{
	const spg_conn_ops lazy = { sizeof(lazy), read_end, write_nothing, close_nothing, NULL, NULL };
	char byte = 'x';
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	spg_conn *c = spg_conn_new(&lazy, NULL);
	spg_stream *stream;
	int socks[2];

	(void)arg;
	T_ERR(spg_conn_write(c, "x", 1), -EIO);
	T_EQ(spg_conn_close(c), 0);
	c = spg_conn_fd(memfd_create("errors", MFD_CLOEXEC));
	T_ERR(spg_conn_close_write(c), -ENOTSOCK);
	T_EQ(spg_conn_close(c), 0);
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	fill(socks[0]);
	stream = spg_stream_open(socks[0], NULL);
	T_OK(stream != NULL);
	{
		SPG_TIMEOUT_SCOPE(SPG_MS);
		T_ERR(spg_stream_send_all(stream, &iov, 1), -ETIMEDOUT);
	}
	spg_stream_close(stream);
	T_EQ(spg_close(socks[0]), 0);
	T_EQ(spg_close(socks[1]), 0);
	return 0;
}

START_TEST(streams_that_take_nothing)
{
	everywhere((unsigned)_i, streams);
}
END_TEST

static void messages_canceled(void)
{
	spg_msg msg = { .tag = 1 };
	uint64_t n;

	T_EQ(spg_msg_lane(9), 0);
	T_ERR(spg_msg_recv(&msg), -ECANCELED);
	T_ERR(spg_msg_recv_tag(9, &msg), -ECANCELED);
	T_ERR(spg_msg_try_recv_tag(9, NULL), -EINVAL);
	T_ERR(spg_msg_send_many(0, &msg, 1), -ECANCELED);
	T_ERR(spg_msg_counter_take(1, &n), -ECANCELED);
}

/* Under a context that has ended. */
static int canceled(void *arg)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before;
	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
	spg_process *process;
	struct addrinfo *list;
	char name[] = "cat", *argv[] = { name, NULL };
	int status, fds[2];

	(void)arg;
	opts.argv = argv;
	opts.stdin_fd = SPG_STDIO_PIPE;
	T_EQ(spg_process_start(&opts, &process), 0);
	T_EQ(pipe(fds), 0);
	before = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	T_ERR(spg_sleep_until(0), -ECANCELED);
	T_ERR(spg_blocking(never, NULL, NULL), -ECANCELED);
	T_ERR(spg_process_wait(process, &status), -ECANCELED);
	T_ERR(spg_resolve("spg-no-such-host", "80", NULL, &list), -ECANCELED);
	T_ERR(spg_listen("tcp", "localhost:0", NULL), -ECANCELED);
	T_ERR(spg_dial("tcp", "localhost:1", NULL), -ECANCELED);
	T_ERR(spg_udp_send_segments(fds[1], "x", 1, 1, NULL, 0), -ECANCELED);
	if (spg_running())
		T_ERR(spg_stats_json(fds[1]), -ECANCELED);
	if (spg_in_coroutine())
		messages_canceled();
	{
		spg_process *another = NULL;

		T_ERR(spg_process_start(&opts, &another), -ECANCELED);
		T_OK(another == NULL);
	}
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	{
		SPG_TIMEOUT_SCOPE(0);
		T_ERR(spg_resolve("spg-no-such-host", "80", NULL, &list), -ETIMEDOUT);
		T_ERR(spg_listen("tcp", "localhost:0", NULL), -ETIMEDOUT);
		if (spg_running())
			T_ERR(spg_dump(fds[1]), -ETIMEDOUT);
	}
	T_EQ(close(spg_process_take_fd(process, 0)), 0);
	T_EQ(spg_process_wait(process, &status), 0);
	T_EQ(status, 0);
	spg_process_free(process);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

START_TEST(an_ended_context_fails_calls_on_entry)
{
	everywhere((unsigned)_i, canceled);
}
END_TEST

static int addresses(void *arg)
{
	const struct addrinfo bad = { .ai_family = AF_UNSPEC, .ai_socktype = 77 };
	struct addrinfo *list;

	(void)arg;
	T_ERR(spg_listen("tcp6", "[fe80::1%nosuchif]:0", NULL), -ENODEV);
	T_ERR(spg_dial("tcp6", "[fe80::1%nosuchif]:1", NULL), -ENODEV);
	T_ERR(spg_resolve(NULL, NULL, NULL, &list), -EINVAL);
	T_ERR(spg_resolve("127.0.0.1", "80", NULL, NULL), -EINVAL);
	T_ERR(spg_resolve("127.0.0.1", "80", &bad, &list), -EINVAL);
	T_ERR(spg_resolve("127.0.0.1", "spg-no-such-service", NULL, &list), -EINVAL);
	return 0;
}

START_TEST(addresses_that_cannot_be)
{
	everywhere((unsigned)_i, addresses);
}
END_TEST

static void replace_file(const char *path, const char *text)
{
	char other[] = "/tmp/spg-test-errors-XXXXXX";
	int fd = mkstemp(other);

	T_EQ(write(fd, text, strlen(text)), strlen(text));
	T_EQ(close(fd), 0);
	T_EQ(chmod(other, 0644), 0);
	T_EQ(mount(other, path, NULL, MS_BIND, NULL), 0);
	T_EQ(unlink(other), 0);
}

static int names_without_server(void *arg)
{
	struct addrinfo *list;

	(void)arg;
	T_ERR(spg_resolve("www.example.com", "80", NULL, &list), -EAGAIN);
	T_ERR(spg_resolve("spg-no-such-host.localhost.invalid", "80", NULL, &list), -EAGAIN);
	return 0;
}

static int names_without_dns(void *arg)
{
	struct addrinfo *list;

	(void)arg;
	T_ERR(spg_resolve("www.example.com", "80", NULL, &list), -ENOENT);
	T_ERR(spg_dial("tcp", "www.example.com:80", NULL), -ENOENT);
	return 0;
}

/* Goal: a name server that does not answer is -EAGAIN, a name that is nowhere -ENOENT. */
START_TEST(names_that_nobody_knows)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		T_SKIP("only root may look at a resolver of its own");
	if (access("/etc/resolv.conf", R_OK) != 0 || access("/etc/nsswitch.conf", R_OK) != 0)
		T_SKIP("no /etc/resolv.conf, or no /etc/nsswitch.conf");
	/* Nobody listens there. */
	replace_file("/etc/resolv.conf", "nameserver 127.255.255.254\noptions timeout:1 attempts:1\n");
	replace_file("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n");
	everywhere(1, names_without_server);
	T_EQ(umount("/etc/nsswitch.conf"), 0);
	replace_file("/etc/nsswitch.conf", "hosts: files\nservices: files\n");
	everywhere(1, names_without_dns);
}
END_TEST

static int unreachable(void *arg)
{
	(void)arg;
	T_ERR(spg_dial("tcp", "192.0.2.1:80", NULL), -ENETUNREACH);
	return 0;
}

START_TEST(a_network_without_a_route)
{
	if (unshare(CLONE_NEWNET) < 0)
		T_SKIP("only root may have a network of its own");
	everywhere((unsigned)_i, unreachable);
}
END_TEST

static int kill_as_nobody(void *arg)
{
	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
	spg_process *process;
	char name[] = "cat", *argv[] = { name, NULL };
	int status;

	(void)arg;
	opts.argv = argv;
	opts.stdin_fd = SPG_STDIO_PIPE;
	T_EQ(spg_process_start(&opts, &process), 0);
	T_EQ(setresuid(NOBODY, NOBODY, 0), 0);
	T_ERR(spg_process_kill(process, SIGTERM), -EPERM);
	T_EQ(setresuid(0, 0, 0), 0);
	T_EQ(close(spg_process_take_fd(process, 0)), 0);
	T_EQ(spg_process_wait(process, &status), 0);
	T_EQ(status, 0);
	spg_process_free(process);
	return 0;
}

START_TEST(a_process_of_another_user_is_not_killed)
{
	if (geteuid() != 0)
		T_SKIP("only root may become another");
	t_run((unsigned)_i, kill_as_nobody, NULL);
}
END_TEST

static int no_threads(void *arg)
{
	const struct rlimit none = { 0, 0 };
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)arg;
	T_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
	T_EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
	T_ERR(spg_blocking(never, NULL, NULL), -ENOMEM);
	T_ERR(spg_trace_start(fd), -EAGAIN);
	close(fd);
	return 0;
}

START_TEST(without_threads_there_is_no_pool_and_no_trace)
{
	if (geteuid() != 0)
		T_SKIP("only root may become another");
	if (t_sanitized())
		T_SKIP("sanitizers need threads of their own");
	t_run((unsigned)_i, no_threads, NULL);
}
END_TEST

static void ignore(void *arg)
{
	(void)arg;
}

static int crowded(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	spg_ctx *ctx = spg_ctx_new(NULL);

	(void)arg;
	spg_ctx_cancel(ctx);
	T_ERR(spg_go((spg_fn)NULL, NULL), -EINVAL);
	T_ERR(spg_go(ignore, NULL), -EAGAIN);
	T_ERR(spg_go_attr(&attr, ignore, NULL), -EAGAIN);
	T_ERR(spg_go_copy(ignore, "x", 1), -EAGAIN);
	T_ERR(spg_ctx_after(ctx, ignore, NULL), -EAGAIN);
	spg_ctx_unref(ctx);
	return 0;
}

START_TEST(above_coroutines_max_spawns_say_eagain)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.coroutines_max = 1;
	T_EQ(spg_run(&cfg, crowded, NULL), 0);
}
END_TEST

static void stay(void *arg)
{
	SPG_SHIELD_SCOPE();
	(void)spg_chan_recv(arg, NULL);
}

static void *stop_it(void *arg)
{
	T_ERR(spg_stop(), -EINVAL);
	return arg;
}

static int stopped_by_a_thread(void *arg)
{
	T_EQ(spg_blocking(stop_it, arg, NULL), 0);
	return 0;
}

/* Goal: what spg_run started is not spg_stop's; what does not end in time is -EBUSY. */
START_TEST(stops_that_cannot_be)
{
	spg_config cfg = t_config((unsigned)_i);
	spg_chan *gate = spg_chan_new(0, 0);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	t_run((unsigned)_i, stopped_by_a_thread, NULL);
	T_EQ(dup2(null, STDERR_FILENO), STDERR_FILENO);
	cfg.ring_entries = 1;
	T_ERR(spg_start(&cfg), -EINVAL);
	cfg = t_config((unsigned)_i);
	cfg.shutdown_grace_ns = SPG_MS;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_go(stay, gate), 0);
	await_parked(1);
	T_ERR(spg_stop(), -EBUSY);
	_exit(0); /* it stays */
}
END_TEST

T_MAIN(T_SHARDS(wrong_offsets_and_counts_are_refused), T_SHARDS(outputs_nobody_reads_are_epipe),
       T_SHARDS(msg_dontwait_does_not_wait), T_SHARDS(without_descriptors_calls_say_emfile),
       T_SHARDS(names_that_are_there_or_not), T_TEST(a_directory_is_removed_while_it_is_read),
       T_SHARDS(a_symlink_to_itself_is_eloop),
       T_SHARDS(attributes_that_are_there_or_not), T_SHARDS(more_room_than_there_is_is_enospc),
       T_SHARDS(deadlines_end_what_waits), T_SHARDS(an_ended_context_fails_calls_on_entry),
       T_SHARDS(streams_that_take_nothing), T_SHARDS(addresses_that_cannot_be), T_TEST(names_that_nobody_knows), T_SHARDS(a_network_without_a_route),
       T_SHARDS(a_process_of_another_user_is_not_killed), T_SHARDS(without_threads_there_is_no_pool_and_no_trace),
       T_SHARDS(above_coroutines_max_spawns_say_eagain), T_SHARDS(stops_that_cannot_be))
