/*
 * httpd on disks that fail, with files that cannot be opened, without memory, and with calls that move
 * one byte: its parts run in the test, and its clients beside them. What fails has a defined answer,
 * others are served meanwhile, and nothing leaks.
 */
#include "t.h"

#include "coro/fault.h"
#include "tools/httpd/buffer.h"
#include "tools/httpd/calls.h"
#include "tools/httpd/conn.h"
#include "tools/httpd/file.h"
#include "tools/httpd/marks.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CLIENTS 8
#define ROUNDS (t_sanitized() ? 20 : 60)
#define SMALL_BYTES 1000
#define WHOLE_BYTES 30000  /* in one piece with the head */
#define LARGE_BYTES 150000 /* in pieces behind it */
#define TARGET_BYTES 2000 /* more than a connection without a buffer has room for */

/* The linker puts these in place of the calls that carry their names (Makefile). */
int __real_call_open(int dirfd, const char *path);
int __wrap_call_open(int dirfd, const char *path);
ssize_t __real_call_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_call_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __real_call_sendfile(int fd, bool *ready, int file, off_t offset, size_t len, int64_t timeout_ns);
ssize_t __wrap_call_sendfile(int fd, bool *ready, int file, off_t offset, size_t len, int64_t timeout_ns);
char *__real_buffer_take(void);
char *__wrap_buffer_take(void);

static struct {
	_Atomic int open_err;	  /* of "small" */
	_Atomic int sendfile_err; /* -EAGAIN: no file is in memory */
	_Atomic int buffers_left; /* negative: any number */
	_Atomic int disk_errors;  /* seen by the server */
	_Atomic bool stop;
	char address[64];
} world;

int __wrap_call_open(int dirfd, const char *path)
{
	int err = atomic_load(&world.open_err);

	return err < 0 && strcmp(path, "small") == 0 ? err : __real_call_open(dirfd, path);
}

ssize_t __wrap_call_pread(int fd, void *buf, size_t len, off_t offset)
{
	ssize_t n = __real_call_pread(fd, buf, len, offset);

	if (n == -EIO)
		atomic_fetch_add(&world.disk_errors, 1);
	return n;
}

ssize_t __wrap_call_sendfile(int fd, bool *ready, int file, off_t offset, size_t len, int64_t timeout_ns)
{
	int err = atomic_load(&world.sendfile_err);

	return err < 0 ? err : __real_call_sendfile(fd, ready, file, offset, len, timeout_ns);
}

char *__wrap_buffer_take(void)
{
	int left = atomic_load(&world.buffers_left);

	if (left == 0)
		return NULL;
	if (left > 0)
		atomic_fetch_sub(&world.buffers_left, 1);
	return __real_buffer_take();
}

static char byte_at(size_t size, size_t offset)
{
	return (char)('a' + (offset + size) % 26);
}

static void make_file(int dir, const char *name, size_t size)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char *data = malloc(size);

	for (size_t i = 0; i < size; i++)
		data[i] = byte_at(size, i);
	T_OK(fd >= 0);
	T_EQ(write(fd, data, size), size);
	T_EQ(close(fd), 0);
	free(data);
}

static const struct {
	const char *name;
	size_t size;
} files[] = { { "small", SMALL_BYTES }, { "whole", WHOLE_BYTES }, { "large", LARGE_BYTES } };

struct answer {
	int status; /* 0: the connection ended without one */
	bool cut;   /* fewer bytes than promised */
};

/* All that comes until the server closes; how much. */
static size_t read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;

	for (ssize_t n; (n = spg_read(fd, buf + len, size - len)) != 0; len += (size_t)n) {
		if (n == -ECONNRESET)
			break;
		T_OK(n > 0);
		T_OK(len + (size_t)n < size);
	}
	return len;
}

/* What a client gets on a connection of its own. A body of status 200 is right as far as it came. */
static struct answer fetch(const char *name, size_t size)
{
	char request[TARGET_BYTES + 100], *buf = calloc(1, LARGE_BYTES + 4096), *body;
	int fd = spg_dial("tcp4", world.address, NULL), len;
	struct answer answer = { 0 };
	size_t got;

	T_OK(fd >= 0);
	len = snprintf(request, sizeof(request), "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", name);
	T_OK(len < (int)sizeof(request));
	T_EQ(spg_write_all(fd, request, (size_t)len), len);
	got = read_all(fd, buf, LARGE_BYTES + 4096);
	T_EQ(spg_close(fd), 0);
	if (got > 0) {
		T_EQ(sscanf(buf, "HTTP/1.1 %d ", &answer.status), 1);
		body = strstr(buf, "\r\n\r\n");
		T_OK(body != NULL);
		body += 4;
		got -= (size_t)(body - buf);
		answer.cut = answer.status == 200 && got < size;
		for (size_t i = 0; i < got && answer.status == 200; i++)
			T_EQ(body[i], byte_at(size, i));
		if (answer.status != 200)
			T_EQ(atoi(body), answer.status); /* the reason is the body */
	}
	free(buf);
	return answer;
}

static void expect(int status, bool cut, const char *name, size_t size)
{
	struct answer answer = fetch(name, size);

	T_EQ(answer.status, status);
	T_EQ(answer.cut, cut);
}

static void others_are_served(void)
{
	expect(200, false, "other", SMALL_BYTES);
}

static void handle(int fd, void *arg)
{
	static const struct options options = {
		.header_bytes_max = 4096,
		.idle_ns = 20 * SPG_SEC,
		.request_ns = 20 * SPG_SEC,
		.send_ns = 20 * SPG_SEC,
	};

	(void)arg;
	conn_serve(fd, &options);
	call_close(fd);
}

static void *serve(void *arg)
{
	int listener = *(int *)arg;
	const struct call_server server = {
		.listeners = &listener,
		.listeners_count = 1,
		.connections_max = 100,
		.drain_ns = SPG_SEC,
		.handler = handle,
	};

	T_EQ(call_serve(&server), 0);
	return NULL;
}

static uint64_t live(void)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return stats.total.live;
}

/* Runs the scenario against a server; afterwards no coroutine of it is left. */
static int run(void *arg)
{
	int (*scenario)(void) = *(int (**)(void))arg;
	int listener = call_listen("127.0.0.1:0", false);
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	uint64_t before = live();
	struct call_task *task;

	T_OK(listener >= 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&name, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&name, world.address, sizeof(world.address)) > 0);
	task = call_spawn(serve, &listener);
	T_EQ(scenario(), 0);
	others_are_served();
	call_stop();
	call_join(task, 10 * SPG_SEC);
	call_close(listener);
	T_UNTIL(live() == before);
	return 0;
}

static void make_root(char *path)
{
	int dir;

	T_OK(mkdtemp(path) != NULL);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < 3; i++)
		make_file(dir, files[i].name, files[i].size);
	make_file(dir, "other", SMALL_BYTES);
	T_EQ(close(dir), 0);
}

static void remove_root(const char *path)
{
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < 3; i++)
		T_EQ(unlinkat(dir, files[i].name, 0), 0);
	T_EQ(unlinkat(dir, "other", 0), 0);
	T_EQ(close(dir), 0);
	T_EQ(rmdir(path), 0);
}

static void with_server(unsigned shards, int (*scenario)(void))
{
	char path[] = "/tmp/test_httpd_faults.XXXXXX", number[16];
	int fds = t_fds_count(), root;

	snprintf(number, sizeof(number), "%u", shards);
	setenv("SPG_SHARDS", number, 1);
	atomic_store(&world.buffers_left, -1);
	make_root(path);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	T_EQ(marks_init(), 0);
	T_EQ(files_init(root, 16, 5 * SPG_MS), 0);
	T_EQ(call_run(run, &scenario), 0);
	files_fini();
	buffers_fini();
	marks_fini();
	T_EQ(close(root), 0);
	remove_root(path);
	T_EQ(t_fds_count(), fds);
}

/* A disk that fails again and again, each time for one read. */
static void *fail_reads(void *arg)
{
	(void)arg;
	while (!atomic_load(&world.stop)) {
		if (atomic_load(&spg__faults[SPG__FAULT_DISK].after) == 0)
			spg__fault_arm(SPG__FAULT_DISK, 5, 1, -EIO);
		spg_yield();
	}
	spg__fault_disarm(SPG__FAULT_DISK);
	return NULL;
}

struct client {
	uint64_t seed;
	int right, failed;
};

static void *fetch_many(void *arg)
{
	struct client *client = arg;

	for (int round = 0; round < ROUNDS; round++) {
		size_t i = (size_t)(t_random(&client->seed) % 3);
		struct answer answer = fetch(files[i].name, files[i].size);

		if (answer.status == 200 && !answer.cut) {
			client->right++;
			continue;
		}
		client->failed++;
		/* After the head it is too late for a status. */
		if (files[i].size == LARGE_BYTES)
			T_OK(answer.status == 200 && answer.cut);
		else
			T_EQ(answer.status, 500);
	}
	return NULL;
}

static int failing_disk(void)
{
	struct client clients[CLIENTS] = { 0 };
	spg_task *tasks[CLIENTS], *failing;
	int right = 0, failed = 0;
	uint64_t seed = t_seed();

	atomic_store(&world.sendfile_err, -EAGAIN);
	failing = spg_spawn(NULL, fail_reads, NULL);
	for (int i = 0; i < CLIENTS; i++) {
		clients[i].seed = seed + (uint64_t)i;
		tasks[i] = spg_spawn(NULL, fetch_many, &clients[i]);
	}
	for (int i = 0; i < CLIENTS; i++) {
		T_EQ(spg_join(tasks[i], NULL), 0);
		right += clients[i].right;
		failed += clients[i].failed;
	}
	atomic_store(&world.stop, true);
	T_EQ(spg_join(failing, NULL), 0);
	T_EQ(failed, atomic_load(&world.disk_errors));
	T_EQ(right + failed, CLIENTS * ROUNDS);
	T_OK(failed > 0 && right > 0);
	for (size_t i = 0; i < 3; i++)
		expect(200, false, files[i].name, files[i].size);
	return 0;
}

/* Goal: a read that fails is 500, or an end where the head is sent already; each hits one answer. */
START_TEST(disk_errors_hit_who_reads_and_nobody_else)
{
	with_server((unsigned)_i, failing_disk);
}
END_TEST

static int sendfile_fails(void)
{
	static const int errs[] = { -EIO, -ENOMEM, -EPIPE };

	for (size_t i = 0; i < 3; i++) {
		atomic_store(&world.sendfile_err, errs[i]);
		expect(200, true, "large", LARGE_BYTES);
		expect(200, false, "whole", WHOLE_BYTES); /* without it */
		others_are_served();
		atomic_store(&world.sendfile_err, 0);
		expect(200, false, "large", LARGE_BYTES);
	}
	return 0;
}

/* Goal: an error in the middle of a file ends the connection. */
START_TEST(errors_of_sendfile_end_the_connection)
{
	with_server((unsigned)_i, sendfile_fails);
}
END_TEST

static int open_fails(void)
{
	static const struct {
		int err, status;
	} errors[] = {
		{ -EIO, 500 }, { -EROFS, 500 }, { -ENOENT, 404 }, { -ENOTDIR, 404 }, { -ELOOP, 404 },
		{ -EXDEV, 404 }, { -ENAMETOOLONG, 404 }, { -ENXIO, 404 }, { -EACCES, 403 }, { -EPERM, 403 },
		{ -EMFILE, 503 }, { -ENFILE, 503 }, { -ENOMEM, 503 }, { -EAGAIN, 503 },
	};

	expect(200, false, "small", SMALL_BYTES);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		T_EQ(spg_sleep(10 * SPG_MS), 0); /* a kept one is not fresh any more */
		atomic_store(&world.open_err, errors[i].err);
		expect(errors[i].status, false, "small", SMALL_BYTES);
		others_are_served();
		atomic_store(&world.open_err, 0);
		expect(200, false, "small", SMALL_BYTES);
	}
	return 0;
}

/* Goal: every reason why a file cannot be opened has its status. */
START_TEST(errors_of_open_have_their_status)
{
	with_server((unsigned)_i, open_fails);
}
END_TEST

static int no_buffers(void)
{
	char name[TARGET_BYTES] = "large?";

	atomic_store(&world.buffers_left, 0);
	expect(0, false, "small", SMALL_BYTES);
	atomic_store(&world.buffers_left, 1); /* the request's, which is long; none for the answer */
	memset(name + strlen(name), 'x', sizeof(name) - 1 - strlen(name));
	expect(0, false, name, LARGE_BYTES);
	T_EQ(atomic_load(&world.buffers_left), 0);
	atomic_store(&world.buffers_left, -1);
	others_are_served();
	return 0;
}

/* Goal: without memory for an answer the connection ends, and later ones are served. */
START_TEST(no_memory_ends_the_connection)
{
	with_server((unsigned)_i, no_buffers);
}
END_TEST

static int all_files(void)
{
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < 3; i++)
			expect(200, false, files[i].name, files[i].size);
	return 0;
}

/* Goal: moves of one byte, late completions and refused submissions change no answer. */
START_TEST(calls_that_move_little_or_late_change_nothing)
{
	static const struct {
		enum spg__fault_kind kind;
		int64_t after, times;
		int err;
	} faults[] = {
		{ SPG__FAULT_SHORT, 1, 20000, -EAGAIN },
		{ SPG__FAULT_LATE, 5, 300, -EAGAIN },
		{ SPG__FAULT_SUBMIT, 5, 100, -EBUSY },
	};

	for (size_t i = 0; i < 3; i++) {
		spg__fault_arm(faults[i].kind, faults[i].after, faults[i].times, faults[i].err);
		with_server((unsigned)_i, all_files);
		T_OK(atomic_load(&spg__faults[faults[i].kind].times) < faults[i].times); /* it did strike */
		spg__fault_disarm(faults[i].kind);
	}
}
END_TEST

T_MAIN(T_SHARDS(disk_errors_hit_who_reads_and_nobody_else), T_SHARDS(errors_of_sendfile_end_the_connection),
       T_SHARDS(errors_of_open_have_their_status), T_SHARDS(no_memory_ends_the_connection),
       T_SHARDS(calls_that_move_little_or_late_change_nothing))
