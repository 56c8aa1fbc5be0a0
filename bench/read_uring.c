/*
 * Would registered buffers and files pay for reads? 4 KiB blocks of a file, in an order that is no
 * order, so many in flight, by nothing but the ring: plain READ on a descriptor, or READ_FIXED
 * into a registered buffer, or with a registered file, or both. `direct` goes round the page cache.
 * Expected: cached 0.5 to 1 us of CPU a read, direct 3 to 10 us; registering saves pinning of the
 * page (direct) and a reference of the file, tens of ns.
 *
 * usage: read_uring [ab] [cached|direct] [buffers] [files] [--qd N] [--ops N] [--min-ms N]
 *
 * `ab` measures the plain operation as well, by turns of a pass each in one process: what the rest
 * of the machine does then happens to both. ratio: registered / plain, of CPU, median of the turns.
 *
 * Prints one JSON line. Exit status 3: the file system here knows no O_DIRECT.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define BLOCKS 4096u /* a power of two: 16 MiB */
#define QD_MAX 256u

struct reader {
	struct io_uring ring;
	int fd;
	bool ab, direct, buffers, files;
	unsigned qd;
	char *memory; /* qd blocks */
	uint64_t ops, min_ms;
};

static void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

static void die(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("read_uring: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(status);
}

/* Twin of bench_mix in bench.h. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9E3779B97F4A7C15;
	return x ^ x >> 29;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Each block begins with the mix of its number. The file has no name left. */
static void file_make(struct reader *r)
{
	char path[] = "build/read_uring.XXXXXX";
	static uint64_t block[BLOCK / sizeof(uint64_t)];
	int fd = mkstemp(path);

	if (fd < 0)
		die(1, "%s: %s", path, strerror(errno));
	for (uint64_t i = 0; i < BLOCKS; i++) {
		block[0] = mix(i);
		if (write(fd, block, BLOCK) != (ssize_t)BLOCK)
			die(1, "%s: %s", path, strerror(errno));
	}
	fsync(fd);
	r->fd = open(path, O_RDONLY | O_CLOEXEC | (r->direct ? O_DIRECT : 0));
	if (r->fd < 0)
		die(errno == EINVAL ? 3 : 1, "%s: %s", path, strerror(errno));
	unlink(path);
	close(fd);
}

static void set_up(struct reader *r)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	};
	struct iovec iov;
	int err = io_uring_queue_init_params(QD_MAX, &r->ring, &params);

	if (err == 0)
		err = io_uring_register_ring_fd(&r->ring) == 1 ? 0 : -EINVAL;
	if (err < 0)
		die(1, "io_uring: %s", strerror(-err));
	r->memory = aligned_alloc(BLOCK, (size_t)r->qd * BLOCK);
	memset(r->memory, 0, (size_t)r->qd * BLOCK);
	iov = (struct iovec){ r->memory, (size_t)r->qd * BLOCK };
	if (r->buffers)
		err = io_uring_register_buffers(&r->ring, &iov, 1);
	if (err == 0 && r->files)
		err = io_uring_register_files(&r->ring, &r->fd, 1);
	if (err < 0)
		die(1, "registering: %s", strerror(-err));
}

static void queue_read(struct reader *r, unsigned slot, uint64_t i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	uint64_t offset = (mix(i) % BLOCKS) * BLOCK;
	char *to = r->memory + (size_t)slot * BLOCK;
	int fd = r->files ? 0 : r->fd;

	if (r->buffers)
		io_uring_prep_read_fixed(sqe, fd, to, BLOCK, offset, 0);
	else
		io_uring_prep_read(sqe, fd, to, BLOCK, offset);
	if (r->files)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, slot);
}

static uint64_t pass(struct reader *r)
{
	uint64_t sum = 0, queued = 0, done = 0;

	for (; queued < r->qd && queued < r->ops; queued++)
		queue_read(r, (unsigned)queued, queued);
	while (done < r->ops) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;
		int err = io_uring_submit_and_wait(&r->ring, 1);

		if (err < 0 && err != -EINTR)
			die(1, "io_uring_enter: %s", strerror(-err));
		io_uring_for_each_cqe(&r->ring, head, cqe) {
			unsigned slot = (unsigned)cqe->user_data;
			uint64_t first;

			if (cqe->res != (int)BLOCK)
				die(1, "a read: %d", cqe->res);
			memcpy(&first, r->memory + (size_t)slot * BLOCK, sizeof(first));
			sum += first;
			count++;
			if (queued < r->ops)
				queue_read(r, slot, queued++);
		}
		io_uring_cq_advance(&r->ring, count);
		done += count;
	}
	return sum;
}

static void options(struct reader *r, int argc, char **argv)
{
	*r = (struct reader){ .qd = 1, .ops = 20000, .min_ms = 200 };
	for (int i = 1; i < argc; i++) {
		unsigned long long value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;

		if (strcmp(argv[i], "ab") == 0)
			r->ab = true;
		else if (strcmp(argv[i], "direct") == 0)
			r->direct = true;
		else if (strcmp(argv[i], "cached") == 0)
			r->direct = false;
		else if (strcmp(argv[i], "buffers") == 0)
			r->buffers = true;
		else if (strcmp(argv[i], "files") == 0)
			r->files = true;
		else if (strcmp(argv[i], "--qd") == 0 && value > 0 && value <= QD_MAX && i++)
			r->qd = (unsigned)value;
		else if (strcmp(argv[i], "--ops") == 0 && value > 0 && i++)
			r->ops = value;
		else if (strcmp(argv[i], "--min-ms") == 0 && value > 0 && i++)
			r->min_ms = value;
		else
			die(2, "usage: read_uring [ab] [cached|direct] [buffers] [files] [--qd N] [--ops N] [--min-ms N]");
	}
}

/* One pass: its CPU time. */
static int64_t pass_cpu_ns(struct reader *r, uint64_t sum)
{
	int64_t before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	if (pass(r) != sum)
		die(1, "a pass gave another sum");
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define TURNS_MAX 10000

static void by_turns(struct reader *registered)
{
	static double ratios[TURNS_MAX];
	struct reader plain = *registered;
	int64_t until = clock_ns(CLOCK_MONOTONIC) + (int64_t)registered->min_ms * 1000000;
	size_t turns = 0;
	uint64_t sum;

	plain.buffers = plain.files = false;
	set_up(&plain);
	sum = pass(&plain); /* warm-up, both */
	if (pass(registered) != sum)
		die(1, "the other sum");
	while (turns < TURNS_MAX && (turns == 0 || clock_ns(CLOCK_MONOTONIC) < until)) {
		struct reader *first = turns % 2 == 0 ? &plain : registered;
		int64_t one = pass_cpu_ns(first, sum);
		int64_t other = pass_cpu_ns(first == &plain ? registered : &plain, sum);

		ratios[turns++] = first == &plain ? (double)other / (double)one : (double)one / (double)other;
	}
	qsort(ratios, turns, sizeof(ratios[0]), by_size);
	printf("{\"row\": \"read_uring ab\", \"ratio\": %.3f, \"q1\": %.3f, \"q3\": %.3f, \"turns\": %zu}\n",
	       ratios[turns / 2], ratios[turns / 4], ratios[turns * 3 / 4], turns);
}

int main(int argc, char **argv)
{
	int64_t wall = 0, cpu = 0;
	uint64_t passes = 0, sum;
	struct reader r;

	options(&r, argc, argv);
	file_make(&r);
	set_up(&r);
	if (r.ab) {
		by_turns(&r);
		return 0;
	}
	sum = pass(&r); /* warm-up */
	for (; passes == 0 || wall < (int64_t)r.min_ms * 1000000; passes++) {
		int64_t wall_before = clock_ns(CLOCK_MONOTONIC), cpu_before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

		if (pass(&r) != sum)
			die(1, "a pass gave another sum");
		cpu += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
		wall += clock_ns(CLOCK_MONOTONIC) - wall_before;
	}
	printf("{\"row\": \"read_uring\", \"ns_per_op\": %.3f, \"cpu_ns_per_op\": %.3f, \"ops\": %llu, \"passes\": %llu, "
	       "\"checksum\": \"%016llx\"}\n",
	       (double)wall / (double)(r.ops * passes), (double)cpu / (double)(r.ops * passes),
	       (unsigned long long)r.ops, (unsigned long long)passes, (unsigned long long)sum);
	return 0;
}
