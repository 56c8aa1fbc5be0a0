/*
 * Files: what one operation of 4 KiB, or one look at a file, costs. The twins stand in
 * bench/go/file.go and rows_loops.c; cached reads in rows_read.c.
 *
 * direct_qd32  O_DIRECT, 32 coroutines: the disk's matter                      5 to 50 us
 * write_rtt    buffered writes, one at a time                                  1 to 10 us
 * write_qd32   the same, 32 coroutines                                         1 to 10 us
 * stat_qd32    spg_stat of 64 files, 32 coroutines                             1 to 10 us
 */
#include "bench/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH 32
#define NAMES 64

/* An aligned buffer: O_DIRECT wants it so. */
static uint64_t read_direct(int fd, uint64_t i)
{
	uint64_t buf[BLOCK / 8] __attribute__((aligned(BLOCK)));

	if (spg_pread(fd, buf, BLOCK, (off_t)(block_of(i) * BLOCK)) != BLOCK)
		bench_die("a short read");
	return buf[0] + (buf[1] & 0xFF);
}

/* Writes what is there already. */
static uint64_t write_one(int fd, uint64_t i)
{
	uint64_t buf[BLOCK / 8];

	memset(buf, 0xA5, sizeof(buf));
	buf[0] = block_of(i);
	if (spg_pwrite(fd, buf, BLOCK, (off_t)(buf[0] * BLOCK)) != BLOCK)
		bench_die("a short write");
	return buf[0] + (buf[1] & 0xFF);
}

static char names[NAMES][48];

static uint64_t stat_one(int fd, uint64_t i)
{
	struct statx stx;
	int err = spg_stat(names[i % NAMES], &stx);

	(void)fd;
	if (err < 0)
		bench_die("%s: %s", names[i % NAMES], spg_strerror(err));
	return stx.stx_size;
}

/* A coroutine's share of a pass: each 32nd operation. */
struct share {
	uint64_t (*one)(int fd, uint64_t i);
	int fd;
	uint64_t first, ops, sum;
	spg_wg *done;
};

static void run_share(void *arg)
{
	struct share *s = arg;

	for (uint64_t i = s->first; i < s->ops; i += DEPTH)
		s->sum += s->one(s->fd, i);
	spg_wg_done(s->done);
}

static int at_once(uint64_t (*one)(int fd, uint64_t i), int fd, uint64_t ops, uint64_t *sum)
{
	struct share shares[DEPTH];
	spg_wg done = SPG_WG_INIT;

	*sum = 0;
	spg_wg_add(&done, DEPTH);
	for (uint64_t i = 0; i < DEPTH; i++) {
		shares[i] = (struct share){ one, fd, i, ops, 0, &done };
		bench_go(NULL, run_share, &shares[i]);
	}
	bench_wait(&done);
	for (int i = 0; i < DEPTH; i++)
		*sum += shares[i].sum;
	return 0;
}

static int in_turn(uint64_t (*one)(int fd, uint64_t i), int fd, uint64_t ops, uint64_t *sum)
{
	*sum = 0;
	for (uint64_t i = 0; i < ops; i++)
		*sum += one(fd, i);
	return 0;
}

static int direct_qd32_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return at_once(read_direct, file_direct(), ops, sum);
}

static int write_rtt_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	file_open();
	return in_turn(write_one, file_fd(), ops, sum);
}

static int write_qd32_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	file_open();
	return at_once(write_one, file_fd(), ops, sum);
}

static int stat_qd32_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	(void)o;
	return at_once(stat_one, -1, ops, sum);
}

/* File i is i bytes long. */
static void make_names(const char *dir)
{
	for (int i = 0; i < NAMES; i++) {
		int fd;

		snprintf(names[i], sizeof(names[i]), "%s/%d", dir, i);
		fd = open(names[i], O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, i) < 0 || close(fd) < 0)
			bench_die("cannot make %s", names[i]);
	}
}

static int stat_qd32_row(const struct bench_options *o, struct bench_report *r)
{
	char dir[] = "/tmp/spg-bench-XXXXXX";
	int err;

	if (mkdtemp(dir) == NULL)
		bench_die("no folder in /tmp");
	make_names(dir);
	err = bench_measure(o, r, stat_qd32_pass);
	(void)spg_remove_all(dir);
	return err;
}

#define ROW(name) \
	static int name##_row(const struct bench_options *o, struct bench_report *r) \
	{ \
		return bench_measure(o, r, name##_pass); \
	}
ROW(direct_qd32)
ROW(write_rtt)
ROW(write_qd32)

const struct bench_row bench_rows_file[] = {
	{ "direct_qd32", direct_qd32_row, true }, { "write_rtt", write_rtt_row, true },
	{ "write_qd32", write_qd32_row, true },	  { "stat_qd32", stat_qd32_row, true },
	{ NULL, NULL, false },
};
