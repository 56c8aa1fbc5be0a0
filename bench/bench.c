/* The harness: options, runtime, clock, the JSON line. See bench.h. */
#include "bench/bench.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct run {
	const struct bench_row *row;
	struct bench_options options;
	struct bench_report report;
};

static FILE *out;
struct hist bench_latencies[BENCH_RECORDERS];

FILE *bench_out(void)
{
	return out;
}

void bench_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

void bench_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("{\"skipped\": \"", out);
	vfprintf(out, format, args);
	fputs("\"}\n", out);
	va_end(args);
	fflush(out);
	_exit(0);
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0)
		bench_die("clock_gettime failed");
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int64_t bench_cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t bench_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* What the process, and its peer, have used up. */
struct usage {
	int64_t wall_ns, cpu_ns, peer_cpu_ns;
	int64_t switches, preempted;
};

static struct usage usage_now(const struct bench_options *o)
{
	struct usage u = { .wall_ns = bench_now_ns(), .cpu_ns = bench_cpu_ns() };
	struct rusage self;
	clockid_t clock;

	getrusage(RUSAGE_SELF, &self);
	u.preempted = self.ru_nivcsw;
	u.switches = self.ru_nvcsw + self.ru_nivcsw;
	if (o->peer_pid > 0 && clock_getcpuclockid(o->peer_pid, &clock) == 0)
		u.peer_cpu_ns = clock_ns(clock);
	return u;
}

static void usage_add(struct usage *total, const struct usage *before, const struct usage *after)
{
	total->wall_ns += after->wall_ns - before->wall_ns;
	total->cpu_ns += after->cpu_ns - before->cpu_ns;
	total->peer_cpu_ns += after->peer_cpu_ns - before->peer_cpu_ns;
	total->switches += after->switches - before->switches;
	total->preempted += after->preempted - before->preempted;
}

static void latencies_reset(void)
{
	for (int i = 0; i < BENCH_RECORDERS; i++)
		if (bench_latencies[i].count > 0)
			memset(&bench_latencies[i], 0, sizeof(bench_latencies[i]));
}

static void latencies_report(struct bench_report *r)
{
	static struct hist all;

	for (int i = 0; i < BENCH_RECORDERS; i++) {
		const struct hist *h = &bench_latencies[i];

		for (unsigned b = 0; h->count > 0 && b < HIST_BUCKETS; b++)
			all.bucket[b] += h->bucket[b];
		all.count += h->count;
		all.max = h->max > all.max ? h->max : all.max;
	}
	if (all.count == 0)
		return;
	r->p50_us = (double)hist_percentile(&all, 500000) / 1e3;
	r->p99_us = (double)hist_percentile(&all, 990000) / 1e3;
	r->p999_us = (double)hist_percentile(&all, 999000) / 1e3;
}

static size_t proc_number(const char *path, const char *name);

static void usage_report(struct bench_report *r, const struct usage *total)
{
	double ops = (double)(r->ops * r->passes);

	r->ns_per_op = (double)total->wall_ns / ops;
	r->cpu_ns_per_op = (double)total->cpu_ns / ops;
	r->peer_cpu_ns_per_op = (double)total->peer_cpu_ns / ops;
	r->switches_per_op = (double)total->switches / ops;
	r->preempted_per_op = (double)total->preempted / ops;
	r->threads = (int)proc_number("/proc/self/status", "Threads");
	/* Not ru_maxrss: it begins with that of the program before exec. */
	r->rss_kib = (double)proc_number("/proc/self/status", "VmHWM");
	latencies_report(r);
}

int bench_measure(const struct bench_options *o, struct bench_report *r, bench_pass pass)
{
	struct usage total = { 0 };
	uint64_t sum;
	int err = o->once ? 0 : pass(o, o->ops / 10 + 1, &sum);

	if (err < 0)
		return err;
	latencies_reset();
	while (r->passes == 0 || (total.wall_ns < o->measure_ns && !o->once)) {
		struct usage before = usage_now(o), after;

		err = pass(o, o->ops, &sum);
		after = usage_now(o);
		usage_add(&total, &before, &after);
		if (err < 0)
			return err;
		if (r->passes > 0 && sum != r->checksum) /* B1 */
			bench_die("pass %" PRIu64 ": checksum %016" PRIx64 ", before %016" PRIx64,
				  r->passes, sum, r->checksum);
		r->checksum = sum;
		r->passes++;
	}
	r->ops = o->ops;
	usage_report(r, &total);
	return 0;
}

/* The value of a "Name:   123" line. */
static size_t proc_number(const char *path, const char *name)
{
	char line[256];
	size_t value = 0;
	size_t len = strlen(name);
	FILE *f = fopen(path, "re");

	if (!f)
		bench_die("cannot open %s", path);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, len) == 0 && line[len] == ':')
			value = strtoul(line + len + 1, NULL, 10);
	fclose(f);
	return value;
}

size_t bench_resident_bytes(void)
{
	return (proc_number("/proc/self/status", "VmRSS") + proc_number("/proc/self/status", "VmPTE")) << 10;
}

size_t bench_slab_bytes(void)
{
	return proc_number("/proc/meminfo", "Slab") << 10;
}

spg_attr bench_attr(int place)
{
	spg_attr attr = SPG_ATTR_INIT;

	if (place >= 0)
		attr.place = SPG_PIN(place);
	return attr;
}

void bench_go(const spg_attr *attr, spg_fn fn, void *arg)
{
	int err = spg_go_attr(attr, fn, arg);

	if (err < 0)
		bench_die("no coroutine: %s", spg_strerror(err));
}

void bench_wait(spg_wg *done)
{
	int err = spg_wg_wait(done);

	if (err < 0)
		bench_die("waiting: %s", spg_strerror(err));
}

static void print_number(const char *name, double value)
{
	if (value != 0)
		fprintf(out, ", \"%s\": %.3f", name, value);
}

static void print_usage(const struct bench_report *r)
{
	print_number("peer_cpu_ns_per_op", r->peer_cpu_ns_per_op);
	print_number("p50_us", r->p50_us);
	print_number("p99_us", r->p99_us);
	print_number("p999_us", r->p999_us);
	print_number("rss_kib", r->rss_kib);
	if (r->threads > 0)
		fprintf(out, ", \"threads\": %d, \"switches_per_op\": %.6f, \"preempted_per_op\": %.6f",
			r->threads, r->switches_per_op, r->preempted_per_op);
}

static void print_report(const struct run *run, const spg_config *cfg)
{
	const struct bench_report *r = &run->report;

	fprintf(out, "{\"row\": \"%s\"", run->row->name);
	print_number("ns_per_op", r->ns_per_op);
	print_number("cpu_ns_per_op", r->cpu_ns_per_op);
	if (r->passes > 0)
		fprintf(out, ", \"ops\": %" PRIu64 ", \"passes\": %" PRIu64, r->ops, r->passes);
	if (r->n > 0)
		fprintf(out, ", \"n\": %zu", r->n);
	print_number("bytes_each", r->bytes_each);
	print_number("bytes_each_half", r->bytes_each_half);
	print_number("slab_bytes_each", r->slab_bytes_each);
	print_number("late_p50_us", r->late_p50_us);
	print_number("late_p99_us", r->late_p99_us);
	print_usage(r);
	if (run->row->on_runtime && !run->options.pthreads)
		fprintf(out, ", \"shards\": %d, \"place\": %d, \"pin_shards\": %s, "
			"\"spin_ns\": %" PRId64 ", \"stack_bytes\": %zu, \"pool_threads\": %d",
			r->shards, run->options.place,
			cfg->pin_shards ? "true" : "false", cfg->spin_ns,
			cfg->stack_size, r->pool_threads);
	fprintf(out, ", \"checksum\": \"%016" PRIx64 "\"}\n", r->checksum);
	fflush(out);
}

static int main_coroutine(void *arg)
{
	struct run *run = arg;

	run->report.shards = run->row->on_runtime && !run->options.pthreads ? spg_shards() : 0;
	return run->row->fn(&run->options, &run->report);
}

static int run_row(struct run *run)
{
	const struct bench_options *o = &run->options;
	spg_config cfg;
	int err;

	spg_config_init(&cfg);
	if (o->shards > 0)
		cfg.shards = o->shards;
	if (o->spin_ns >= 0)
		cfg.spin_ns = o->spin_ns;
	if (o->stack_bytes > 0)
		cfg.stack_size = o->stack_bytes;
	if (o->pin_shards)
		cfg.pin_shards = true;
	err = run->row->on_runtime && !o->pthreads ? spg_run(&cfg, main_coroutine, run)
						   : main_coroutine(run);
	if (err < 0)
		bench_die("%s: %s", run->row->name, spg_strerror(err));
	print_report(run, &cfg);
	return 0;
}

static const struct bench_row *find_row(const char *name)
{
	const struct bench_row *tables[] = { bench_rows_core, bench_rows_memory, bench_rows_raw, bench_rows_msg,
					     bench_rows_sync, bench_rows_programs, bench_rows_net, bench_rows_service,
					     bench_rows_read, bench_rows_loops, bench_rows_stream, bench_rows_gate,
					     bench_rows_file, bench_rows_local };

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct bench_row *row = tables[i]; row->name; row++)
			if (name && strcmp(row->name, name) == 0)
				return row;
	return NULL;
}

static void usage(void)
{
	bench_die("usage: rows row [--shards N] [--place SHARD] [--spin-ns N] [--pin-shards]\n"
		  "       [--stack BYTES] [--n N] [--ops N] [--min-ms N] [--addr HOST:PORT]\n"
		  "       [--peer-pid PID] [--pthreads] [--once]");
}

static int64_t number(const char *text)
{
	char *end;
	int64_t value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < 0)
		bench_die("%s is no count", text);
	return value;
}

static void parse(struct bench_options *o, int argc, char **argv)
{
	static const struct option known[] = {
		{ "shards", required_argument, NULL, 's' }, { "place", required_argument, NULL, 'p' },
		{ "spin-ns", required_argument, NULL, 'w' }, { "pin-shards", no_argument, NULL, 'c' },
		{ "stack", required_argument, NULL, 'k' },  { "n", required_argument, NULL, 'n' },
		{ "ops", required_argument, NULL, 'o' },    { "min-ms", required_argument, NULL, 'm' },
		{ "addr", required_argument, NULL, 'a' },   { "peer-pid", required_argument, NULL, 'i' },
		{ "pthreads", no_argument, NULL, 't' },	    { "once", no_argument, NULL, '1' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 's': o->shards = (unsigned)number(optarg); break;
		case 'p': o->place = (int)number(optarg); break;
		case 'w': o->spin_ns = number(optarg); break;
		case 'c': o->pin_shards = true; break;
		case 'k': o->stack_bytes = (size_t)number(optarg); break;
		case 'n': o->n = (size_t)number(optarg); break;
		case 'o': o->ops = (uint64_t)number(optarg); break;
		case 'i': o->peer_pid = (pid_t)number(optarg); break;
		case 't': o->pthreads = true; break;
		case '1': o->once = true; break;
		case 'a': o->addr = optarg; break;
		case 'm': o->measure_ns = number(optarg) * SPG_MS; break;
		default: usage();
		}
	}
}

int main(int argc, char **argv)
{
	struct run run = {
		.row = find_row(argc > 1 ? argv[1] : NULL),
		.options = { .place = -1, .spin_ns = -1, .n = 10000, .ops = 100000, .addr = "127.0.0.1:7777",
			     .measure_ns = 200 * SPG_MS },
	};
	int fd = dup(STDOUT_FILENO); /* rows may send the standard stream elsewhere */

	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		bench_die("no standard output");
	if (!run.row)
		usage();
	parse(&run.options, argc - 1, argv + 1);
	return run_row(&run);
}
