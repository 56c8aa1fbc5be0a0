/*
 * A load client for echo servers: one process, one thread, epoll; every byte that comes
 * back is compared.
 *
 * usage: load host:port [--connections N] [--bytes B] [--seconds S] [--warmup S]
 *             [--rate R] [--server-pid PID] [--json]
 *
 * Closed loop: a connection sends its next request when it has the reply. With --rate, R
 * requests a second become due at even intervals whether the server keeps up or not, and
 * latency counts from then; at most N are in flight.
 *
 * Exit status: 0; 1: a connection failed, a reply was wrong or there was none; 2: usage.
 */
#include "tools/cli.h"
#include "tools/load/load.h"

#include <getopt.h>

#define CONNECTIONS_MAX (1u << 24) /* load/client.c mixes 24 bits of the index */
#define BYTES_MAX (16u << 20)
#define RATE_MAX 100000000u

static void usage(void)
{
	fprintf(stderr, "usage: load host:port [--connections N] [--bytes B] [--seconds S] [--warmup S]\n"
			"            [--rate R] [--server-pid PID] [--json]\n");
	exit(2);
}

static void set_option(struct load_options *o, int letter)
{
	switch (letter) {
	case 'c':
		o->connections = (uint32_t)cli_number("connections", optarg, 1, CONNECTIONS_MAX);
		break;
	case 'b':
		o->bytes = (size_t)cli_number("bytes", optarg, 1, BYTES_MAX);
		break;
	case 's':
		o->window_ns = cli_seconds_ns("seconds", optarg);
		break;
	case 'w':
		o->warmup_ns = cli_seconds_ns("warmup", optarg);
		break;
	case 'r':
		o->rate = cli_number("rate", optarg, 1, RATE_MAX);
		break;
	case 'p':
		o->server_pid = (pid_t)cli_number("server-pid", optarg, 1, INT32_MAX);
		break;
	case 'j':
		o->json = true;
		break;
	default:
		usage();
	}
}

static struct load_options parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "connections", required_argument, NULL, 'c' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "seconds", required_argument, NULL, 's' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "rate", required_argument, NULL, 'r' },
		{ "server-pid", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	struct load_options o = {
		.connections = 64,
		.bytes = 256,
		.window_ns = 3 * 1000000000ll,
		.warmup_ns = 500 * 1000000ll,
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1)
		set_option(&o, letter);
	if (optind + 1 != argc || o.window_ns == 0)
		usage();
	o.address = argv[optind];
	return o;
}

static double per_request(int64_t ns, const struct load_result *r)
{
	return r->completed > 0 ? (double)ns / (double)r->completed : 0;
}

static double latency_us(const struct load_result *r, uint32_t ppm)
{
	return (double)hist_percentile(&r->latency_ns, ppm) / 1e3;
}

static double mean_us(const struct load_result *r)
{
	return r->latency_ns.count > 0 ? (double)r->latency_ns.sum / (double)r->latency_ns.count / 1e3 : 0;
}

/* server_cpu_ns and client_cpu_ns are for one request. */
static void print_json(const struct load_options *o, const struct load_result *r)
{
	printf("{\"connections\":%u,\"bytes\":%zu,\"rate\":%llu,\"seconds\":%.3f,\"requests\":%llu,"
	       "\"per_second\":%.0f,\"errors\":%llu,\"mismatches\":%llu,\"unanswered\":%llu,",
	       o->connections, o->bytes, (unsigned long long)o->rate, (double)r->window_ns / 1e9,
	       (unsigned long long)r->completed, (double)r->completed * 1e9 / (double)r->window_ns,
	       (unsigned long long)r->errors, (unsigned long long)r->mismatches,
	       (unsigned long long)r->unanswered);
	printf("\"mean_us\":%.2f,\"p50_us\":%.2f,\"p95_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f,"
	       "\"client_cpu_ns\":%.0f",
	       mean_us(r), latency_us(r, 500000), latency_us(r, 950000), latency_us(r, 990000),
	       latency_us(r, 999000), (double)r->latency_ns.max / 1e3, per_request(r->client_cpu_ns, r));
	if (o->server_pid > 0)
		printf(",\"server_cpu_ns\":%.0f,\"server_switches\":%.4f,\"threads\":%llu,\"rss_kib\":%llu,\"rss_peak_kib\":%llu,"
		       "\"pte_kib\":%llu",
		       per_request(r->server_cpu_ns, r), per_request((int64_t)r->server_switches, r),
		       (unsigned long long)r->server_threads,
		       (unsigned long long)r->server_rss_kib, (unsigned long long)r->server_rss_peak_kib,
		       (unsigned long long)r->server_pte_kib);
	printf("}\n");
}

static void print_text(const struct load_options *o, const struct load_result *r)
{
	printf("%u connections, %zu bytes, ", o->connections, o->bytes);
	if (o->rate > 0)
		printf("%llu requests a second due", (unsigned long long)o->rate);
	else
		printf("closed loop");
	printf(", %.2f s\n", (double)r->window_ns / 1e9);
	printf("requests  %llu, %.0f a second; %llu errors, %llu mismatches", (unsigned long long)r->completed,
	       (double)r->completed * 1e9 / (double)r->window_ns, (unsigned long long)r->errors,
	       (unsigned long long)r->mismatches);
	if (r->unanswered > 0)
		printf(", %llu unanswered (in no percentile)", (unsigned long long)r->unanswered);
	printf("\nlatency   mean %.1f us, p50 %.1f, p95 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n", mean_us(r),
	       latency_us(r, 500000), latency_us(r, 950000), latency_us(r, 990000), latency_us(r, 999000),
	       (double)r->latency_ns.max / 1e3);
	printf("client    %.2f s CPU\n", (double)r->client_cpu_ns / 1e9);
	if (o->server_pid > 0)
		printf("server    %.2f s CPU, %.0f ns a request; %llu threads; %llu KiB resident (peak %llu), "
		       "%llu KiB page tables\n",
		       (double)r->server_cpu_ns / 1e9, per_request(r->server_cpu_ns, r),
		       (unsigned long long)r->server_threads, (unsigned long long)r->server_rss_kib,
		       (unsigned long long)r->server_rss_peak_kib, (unsigned long long)r->server_pte_kib);
}

int main(int argc, char **argv)
{
	static struct load_result result;
	struct load_options options = parse(argc, argv);

	raise_fd_limit();
	if (load_run(&options, &result) < 0)
		return 1;
	if (options.json)
		print_json(&options, &result);
	else
		print_text(&options, &result);
	return result.errors > 0 || result.mismatches > 0 || result.completed == 0;
}
