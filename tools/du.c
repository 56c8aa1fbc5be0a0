/*
 * How much space trees take: spg_du as a program. Its options are those of du(1), as if -s
 * was always given; each argument is counted by itself.
 *
 * usage: du [options] [path...]      default "."
 *
 *   -b                 lengths instead of allocated space, in bytes
 *   -B N, -k, -m       in units of N bytes, KiB (the default), MiB; rounded up
 *   -h                 in a unit that makes the number short
 *   -L, -P             follow symlinks; do not (the default)
 *   -l                 count each name of a file with several
 *   -x                 stay on the file system of the argument
 *   -c                 a total at the end
 *   -j N               directories read at once
 *   -v                 how many files, directories ... on stderr
 *   --apparent-size    lengths instead of allocated space
 *
 * What cannot be read is complained about, skipped, and makes the exit status 1. A count that
 * takes more than two seconds shows a line of progress when stderr is a terminal.
 */
#include "tools/cli.h"

#include <getopt.h>
#include <inttypes.h>
#include <spg/spg.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_AFTER_NS (2 * SPG_SEC)
#define PROGRESS_EACH_NS (200 * SPG_MS)

static struct {
	spg_du_opts opts;
	uint64_t unit_bytes;
	bool human, sum, verbose;
	char **paths;
	/* While it counts. */
	int64_t begin_ns;
	bool line_shown, failed;
} du = { .unit_bytes = 1024 };

static void line_clear(void)
{
	if (du.line_shown)
		fputs("\r\033[K", stderr);
	du.line_shown = false;
}

/* Rounded up, as du(1): 1.5K, 12M. */
static void format_human(char *text, size_t n, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	uint64_t unit = 1, whole, tenths;
	size_t i = 0;

	while (bytes / unit >= 1024) {
		unit *= 1024;
		i++;
	}
	whole = bytes / unit;
	tenths = (bytes % unit * 10 + unit - 1) / (unit > 1 ? unit : 1);
	if (tenths == 10) {
		whole++;
		tenths = 0;
	}
	if (i == 0)
		snprintf(text, n, "%" PRIu64, bytes);
	else if (whole < 10)
		snprintf(text, n, "%" PRIu64 ".%" PRIu64 "%c", whole, tenths, units[i]);
	else
		snprintf(text, n, "%" PRIu64 "%c", whole + (tenths > 0), units[i]);
}

static void progress(const spg_du_result *so_far, void *arg)
{
	char text[32];

	(void)arg;
	if (spg_now() - du.begin_ns < PROGRESS_AFTER_NS)
		return;
	format_human(text, sizeof(text), so_far->total_bytes);
	fprintf(stderr, "\r\033[K%s, %" PRIu64 " files, %" PRIu64 " directories", text,
		so_far->total_entries - so_far->directories, so_far->directories);
	du.line_shown = true;
}

static void skipped(const char *path, int err, void *arg)
{
	(void)arg;
	line_clear();
	complain("cannot read '%s': %s", path, spg_strerror(err));
	du.failed = true;
}

static void print(uint64_t bytes, const char *path)
{
	char text[32];

	if (du.human) {
		format_human(text, sizeof(text), bytes);
		printf("%s\t%s\n", text, path);
	} else {
		uint64_t units = bytes / du.unit_bytes + (bytes % du.unit_bytes > 0);

		printf("%" PRIu64 "\t%s\n", units, path);
	}
}

static void print_counts(const spg_du_result *r)
{
	complain("%" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " symlinks, %" PRIu64 " others; %" PRIu64
		 " links, %" PRIu64 " on other file systems and %" PRIu64 " unreadable skipped",
		 r->files, r->directories, r->symlinks, r->others, r->skipped_links, r->skipped_cross_device,
		 r->skipped_errors);
}

static int count_all(void *arg)
{
	uint64_t sum_bytes = 0;
	spg_du_result result;

	(void)arg;
	for (char **path = du.paths; *path != NULL; path++) {
		int err;

		du.begin_ns = spg_now();
		err = spg_du(*path, &du.opts, &result);
		line_clear();
		if (err < 0) {
			complain("cannot count '%s': %s", *path, spg_strerror(err));
			du.failed = true;
			continue;
		}
		print(result.total_bytes, *path);
		if (du.verbose)
			print_counts(&result);
		sum_bytes += result.total_bytes;
	}
	if (du.sum)
		print(sum_bytes, "total");
	return 0;
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = { { "apparent-size", no_argument, NULL, 'A' }, { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "bB:kmhLPlxcsj:v", names, NULL)) >= 0) {
		switch (c) {
		case 'b':
			du.opts.size = SPG_DU_APPARENT;
			du.unit_bytes = 1;
			break;
		case 'A':
			du.opts.size = SPG_DU_APPARENT;
			break;
		case 'B':
			du.unit_bytes = cli_number("B", optarg, 1, UINT64_MAX);
			break;
		case 'k':
			du.unit_bytes = 1024;
			break;
		case 'm':
			du.unit_bytes = 1024 * 1024;
			break;
		case 'h':
			du.human = true;
			break;
		case 'L':
			du.opts.symlinks = SPG_DU_FOLLOW;
			break;
		case 'P':
			du.opts.symlinks = SPG_DU_NO_FOLLOW;
			break;
		case 'l':
			du.opts.hardlink_dedupe = false;
			break;
		case 'x':
			du.opts.one_file_system = true;
			break;
		case 'c':
			du.sum = true;
			break;
		case 's':
			break; /* as it is */
		case 'j':
			du.opts.workers_max = (unsigned)cli_number("j", optarg, 1, 1024);
			break;
		case 'v':
			du.verbose = true;
			break;
		default:
			exit(2); /* getopt has complained */
		}
	}
}

int main(int argc, char **argv)
{
	static char dot[] = ".";
	static char *here[] = { dot, NULL };
	spg_config cfg;
	int err;

	du.opts = (spg_du_opts)SPG_DU_OPTS_INIT;
	du.opts.errors = SPG_DU_SKIP;
	du.opts.skipped = skipped;
	du.opts.progress_ns = PROGRESS_EACH_NS;
	parse(argc, argv);
	if (isatty(STDERR_FILENO))
		du.opts.progress = progress;
	du.paths = optind < argc ? argv + optind : here;
	spg_config_init(&cfg);
	cfg.shards = 1; /* the work is the pool's */
	err = spg_run(&cfg, count_all, NULL);
	if (err < 0)
		complain("%s", spg_strerror(err));
	return err < 0 || du.failed;
}
