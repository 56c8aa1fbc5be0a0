/*
 * Reads that the page cache answers without the ring: the same bytes as read(2), at the end of the
 * file, after a miss, on file systems and descriptors that have no such reads, under a context;
 * a reader that goes on and on lets others run; a close waits.
 */
#include "io/cached.h"
#include "test/t.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FILE_BYTES (300 * 1000)

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 7 + (i >> 8));
}

static int file_make(const char *dir)
{
	char path[64];
	unsigned char *bytes = malloc(FILE_BYTES);
	int fd;

	snprintf(path, sizeof(path), "%s/spg-cached-XXXXXX", dir);
	fd = mkstemp(path);
	T_OK(fd >= 0 && bytes != NULL);
	T_EQ(unlink(path), 0);
	for (size_t i = 0; i < FILE_BYTES; i++)
		bytes[i] = byte_at(i);
	T_EQ(pwrite(fd, bytes, FILE_BYTES, 0), FILE_BYTES);
	free(bytes);
	return fd;
}

static unsigned kind_of(int fd)
{
	return atomic_load(&spg__fdkinds[fd]);
}

static void expect_bytes(const unsigned char *buf, size_t from, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++)
		T_EQ(buf[i], byte_at(from + (size_t)i));
}

static void read_everywhere(int fd)
{
	static unsigned char buf[200 * 1000];
	uint64_t state = t_seed();

	for (int i = 0; i < 300; i++) {
		size_t from = t_random(&state) % (FILE_BYTES + 1000);
		size_t len = t_random(&state) % (i % 10 == 0 ? sizeof(buf) : 9000);
		ssize_t left = from < FILE_BYTES ? (ssize_t)(FILE_BYTES - from) : 0;
		ssize_t want = (ssize_t)len < left ? (ssize_t)len : left;

		T_EQ(spg_pread(fd, buf, len, (off_t)from), want);
		expect_bytes(buf, from, want);
	}
}

static int cached(void *arg)
{
	int fd = file_make("/tmp");

	(void)arg;
	read_everywhere(fd);
	T_EQ(kind_of(fd), SPG__FDKIND_CACHED);
	T_EQ(spg_close(fd), 0);
	T_EQ(kind_of(fd), SPG__FDKIND_UNKNOWN);
	return 0;
}

START_TEST(cached_reads_give_the_files_bytes)
{
	t_run((unsigned)_i, cached, NULL);
}
END_TEST

static int position(void *arg)
{
	int fd = file_make("/tmp");
	unsigned char buf[4096];
	size_t at = 0;
	ssize_t n;

	(void)arg;
	while ((n = spg_read(fd, buf, sizeof(buf))) > 0) {
		expect_bytes(buf, at, n);
		at += (size_t)n;
	}
	T_EQ(n, 0);
	T_EQ(at, FILE_BYTES);
	T_EQ(lseek(fd, 0, SEEK_CUR), FILE_BYTES);
	T_EQ(spg_close(fd), 0);
	return 0;
}

START_TEST(reads_at_the_position_move_it)
{
	t_run((unsigned)_i, position, NULL);
}
END_TEST

/* Dropped from the cache: the first read misses, the next ones are the ring's, then it is tried again. */
static int missed(void *arg)
{
	int fd = file_make("/tmp");
	unsigned char buf[4096];
	bool cold = false;

	(void)arg;
	T_EQ(fsync(fd), 0);
	T_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	for (int i = 0; i < 64; i++) {
		size_t from = (size_t)i * 4096;

		T_EQ(spg_pread(fd, buf, sizeof(buf), (off_t)from), sizeof(buf));
		expect_bytes(buf, from, sizeof(buf));
		cold |= kind_of(fd) >= SPG__FDKIND_COLD;
	}
	for (int i = 0; i < 17; i++)
		T_EQ(spg_pread(fd, buf, sizeof(buf), 0), sizeof(buf));
	T_EQ(kind_of(fd), SPG__FDKIND_CACHED);
	if (!cold)
		t_skip(__func__, "the file system kept its pages");
	T_EQ(spg_close(fd), 0);
	return 0;
}

START_TEST(a_miss_is_read_on_the_ring)
{
	t_run((unsigned)_i, missed, NULL);
}
END_TEST

static int unsupported(void *arg)
{
	char byte = 'x';
	int fd = file_make("/dev/shm"), fds[2];

	(void)arg;
	read_everywhere(fd);
	T_OK(kind_of(fd) == SPG__FDKIND_FILE || kind_of(fd) == SPG__FDKIND_CACHED);
	T_EQ(spg_close(fd), 0);

	fd = open("/tmp", O_TMPFILE | O_RDWR | O_DIRECT, 0600);
	if (fd >= 0) {
		T_EQ(spg_pread(fd, &byte, 1, 0) <= 0, true);
		T_EQ(kind_of(fd), SPG__FDKIND_FILE); /* PC1: never tried */
		T_EQ(spg_close(fd), 0);
	}
	T_EQ(pipe(fds), 0);
	T_EQ(write(fds[1], &byte, 1), 1);
	T_EQ(spg_read(fds[0], &byte, 1), 1);
	T_EQ(kind_of(fds[0]), SPG__FDKIND_STREAM);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

START_TEST(what_has_no_such_reads_goes_to_the_ring)
{
	t_run((unsigned)_i, unsupported, NULL);
}
END_TEST

static int errors(void *arg)
{
	int fd = file_make("/tmp"), write_only;
	char path[64], byte;
	spg_ctx *ctx, *before;

	(void)arg;
	T_EQ(spg_pread(fd, &byte, 1, 0), 1);
	T_ERR(spg_pread(fd, &byte, 1, -1), -EINVAL);
	T_ERR(spg_pread(fd, (void *)1, 10, 0), -EFAULT);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	write_only = open(path, O_WRONLY);
	T_OK(write_only >= 0);
	T_ERR(spg_pread(write_only, &byte, 1, 0), -EBADF);
	T_EQ(spg_close(write_only), 0);

	ctx = spg_ctx_new(NULL);
	T_OK(ctx != NULL);
	before = spg_ctx_enter(ctx);
	spg_ctx_cancel(ctx);
	byte = 'x';
	T_ERR(spg_pread(fd, &byte, 1, 0), -ECANCELED);
	T_EQ(byte, 'x');
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	T_EQ(spg_close(fd), 0);
	T_ERR(spg_pread(fd, &byte, 1, 0), -EBADF);
	return 0;
}

START_TEST(errors_are_those_of_pread_and_an_ended_context_reads_nothing)
{
	t_run((unsigned)_i, errors, NULL);
}
END_TEST

struct fair {
	int fd;
	_Atomic bool stop;
	spg_wg done;
};

static void read_on(void *arg)
{
	struct fair *f = arg;
	char byte;

	while (!atomic_load(&f->stop))
		T_EQ(spg_pread(f->fd, &byte, 1, 0), 1);
	spg_wg_done(&f->done);
}

static int fair(void *arg)
{
	struct fair f = { .fd = file_make("/tmp"), .done = SPG_WG_INIT };

	(void)arg;
	spg_wg_add(&f.done, 1);
	T_EQ(spg_go(read_on, &f), 0);
	/* On one shard each turn here needs a yield there. */
	for (int i = 0; i < 1000; i++)
		spg_yield();
	atomic_store(&f.stop, true);
	T_EQ(spg_wg_wait(&f.done), 0);
	T_EQ(spg_close(f.fd), 0);
	return 0;
}

START_TEST(a_reader_that_goes_on_and_on_lets_others_run)
{
	t_run((unsigned)_i, fair, NULL);
}
END_TEST

struct ready {
	int fds[2];
	_Atomic bool seen;
	spg_wg done;
};

static void await_byte(void *arg)
{
	struct ready *r = arg;
	char byte;

	T_EQ(spg_read(r->fds[0], &byte, 1), 1);
	atomic_store(&r->seen, true);
	spg_wg_done(&r->done);
}

/* A read of 4 KiB counts as 0.8 us of a turn of 100: some turns at most until the ring is looked at. */
#define READS_MAX 1000

static int ring_seen(void *arg)
{
	struct ready r = { .done = SPG_WG_INIT };
	int fd = file_make("/tmp"), reads = 0;
	char buf[4096];

	(void)arg;
	T_EQ(spg_pipe2(r.fds, O_CLOEXEC), 0);
	spg_wg_add(&r.done, 1);
	T_EQ(spg_go(await_byte, &r), 0);
	for (int i = 0; i < 1000; i++)
		T_EQ(spg_pread(fd, buf, sizeof(buf), 0), sizeof(buf));
	T_EQ(write(r.fds[1], "x", 1), 1);
	for (; !atomic_load(&r.seen); reads++)
		T_EQ(spg_pread(fd, buf, sizeof(buf), 0), sizeof(buf));
	T_OK(reads < READS_MAX);
	T_EQ(spg_wg_wait(&r.done), 0);
	T_EQ(spg_close(r.fds[0]), 0);
	T_EQ(spg_close(r.fds[1]), 0);
	T_EQ(spg_close(fd), 0);
	return 0;
}

/* Goal: who reads on and on, alone on its shard, does not hide what the ring completes. */
START_TEST(a_reader_that_is_alone_lets_the_ring_be_seen)
{
	t_run(1, ring_seen, NULL);
}
END_TEST

#define PAGE_BYTES 4096

/* A page whose first touch waits for us, also inside a system call. -1: the machine refuses. */
static int page_watch(void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .range = { (uintptr_t)page, PAGE_BYTES },
					 .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	T_EQ(ioctl(fd, UFFDIO_API, &api), 0);
	T_EQ(ioctl(fd, UFFDIO_REGISTER, &range), 0);
	return fd;
}

static bool page_touched(int watch)
{
	struct uffd_msg msg;

	return read(watch, &msg, sizeof(msg)) == sizeof(msg) && msg.event == UFFD_EVENT_PAGEFAULT;
}

static void page_give(int watch, void *page)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)page, PAGE_BYTES } };

	T_EQ(ioctl(watch, UFFDIO_ZEROPAGE, &zero), 0);
}

struct closing {
	int fd, watch;
	unsigned char *page;
	_Atomic bool begun, closed;
	spg_wg done;
};

static void read_into_page(void *arg)
{
	struct closing *c = arg;

	T_EQ(spg_pread(c->fd, c->page, PAGE_BYTES, 0), PAGE_BYTES);
	expect_bytes(c->page, 0, PAGE_BYTES);
	spg_wg_done(&c->done);
}

static void close_it(void *arg)
{
	struct closing *c = arg;

	atomic_store(&c->begun, true);
	T_EQ(spg_close(c->fd), 0);
	atomic_store(&c->closed, true);
	spg_wg_done(&c->done);
}

static int close_during_read(void *arg)
{
	struct closing *c = arg;
	spg_attr reader = SPG_ATTR_INIT, closer = SPG_ATTR_INIT;
	char byte;

	T_EQ(spg_pin_self(), 0);
	closer.place = SPG_PIN(spg_shard());
	reader.place = SPG_PIN(1 - spg_shard());
	c->fd = file_make("/tmp");
	T_EQ(spg_pread(c->fd, &byte, 1, 0), 1);
	T_EQ(kind_of(c->fd), SPG__FDKIND_CACHED);
	spg_wg_add(&c->done, 2);
	T_EQ(spg_go_attr(&reader, read_into_page, c), 0);
	T_UNTIL(page_touched(c->watch));
	T_EQ(spg_go_attr(&closer, close_it, c), 0);
	T_UNTIL(atomic_load(&c->begun));
	/* On our shard: where it does not wait, it has run to its end before we go on. */
	for (int i = 0; i < 100; i++)
		spg_yield();
	T_OK(!atomic_load(&c->closed));
	T_OK(fcntl(c->fd, F_GETFD) >= 0);
	page_give(c->watch, c->page);
	T_EQ(spg_wg_wait(&c->done), 0);
	T_OK(atomic_load(&c->closed));
	return 0;
}

/* Goal: PC4, the number is not given back while a read without the ring is inside the kernel. */
START_TEST(close_waits_for_a_cached_read)
{
	struct closing c = { .done = SPG_WG_INIT };
	spg_config cfg = t_config(2);

	c.page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	T_OK(c.page != MAP_FAILED);
	c.watch = page_watch(c.page);
	if (c.watch < 0)
		T_SKIP("no userfaultfd for faults of the kernel");
	cfg.kick_signal = 0; /* its shard is in the kernel all the time */
	T_EQ(t_run_config(&cfg, close_during_read, &c), 0);
}
END_TEST

T_MAIN(T_SHARDS(cached_reads_give_the_files_bytes), T_SHARDS(reads_at_the_position_move_it),
       T_SHARDS(a_miss_is_read_on_the_ring), T_SHARDS(what_has_no_such_reads_goes_to_the_ring),
       T_SHARDS(errors_are_those_of_pread_and_an_ended_context_reads_nothing),
       T_SHARDS(a_reader_that_goes_on_and_on_lets_others_run),
       T_TEST(a_reader_that_is_alone_lets_the_ring_be_seen), T_TEST(close_waits_for_a_cached_read))
