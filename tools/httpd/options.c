#include "tools/httpd/options.h"

#include "tools/cli.h"
#include "tools/httpd/buffer.h"
#include "tools/httpd/calls.h"

#include <getopt.h>

#define NS_PER_MS INT64_C(1000000)
#define HEADER_BYTES_MIN 1024
#define HEADER_BYTES_MAX BUFFER_BYTES

static const char usage[] =
	"usage: %s [options] FOLDER\n"
	"  --listen HOST:PORT    127.0.0.1:8080; port 0: the kernel chooses\n"
	"  --connections N       at most; others get 503 (10000)\n"
	"  --header-bytes N      of a request line and its headers at most (16384)\n"
	"  --idle-seconds S      a kept connection may be silent (60)\n"
	"  --request-seconds S   a request may take to arrive (10)\n"
	"  --send-seconds S      each 64 KiB of a response may take (30)\n"
	"  --drain-seconds S     requests may go on after SIGINT, SIGTERM (5)\n"
	"  --open-files N        kept open; 0: none (1024)\n"
	"  --fresh-ms N          before a kept file's path is looked up again (100)\n"
	"  --log FILE            access log; -: standard output\n"
	"  --reuse-port          a listener for each shard\n"
	"  --stats               counters on standard error at the end\n";

enum {
	OPT_LISTEN = 256, OPT_CONNECTIONS, OPT_HEADER, OPT_IDLE, OPT_REQUEST, OPT_SEND, OPT_DRAIN,
	OPT_OPEN_FILES, OPT_FRESH, OPT_LOG, OPT_REUSE_PORT, OPT_STATS, OPT_HELP,
};

static const struct option names[] = {
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "connections", required_argument, NULL, OPT_CONNECTIONS },
	{ "header-bytes", required_argument, NULL, OPT_HEADER },
	{ "idle-seconds", required_argument, NULL, OPT_IDLE },
	{ "request-seconds", required_argument, NULL, OPT_REQUEST },
	{ "send-seconds", required_argument, NULL, OPT_SEND },
	{ "drain-seconds", required_argument, NULL, OPT_DRAIN },
	{ "open-files", required_argument, NULL, OPT_OPEN_FILES },
	{ "fresh-ms", required_argument, NULL, OPT_FRESH },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "reuse-port", no_argument, NULL, OPT_REUSE_PORT },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static void set_option(struct options *o, int option)
{
	switch (option) {
	case OPT_LISTEN:
		o->address = optarg;
		break;
	case OPT_CONNECTIONS:
		o->connections_max = (unsigned)cli_number("connections", optarg, 1, 1000000);
		break;
	case OPT_HEADER:
		o->header_bytes_max = cli_number("header-bytes", optarg, HEADER_BYTES_MIN, HEADER_BYTES_MAX);
		break;
	case OPT_IDLE:
		o->idle_ns = cli_seconds_ns("idle-seconds", optarg);
		break;
	case OPT_REQUEST:
		o->request_ns = cli_seconds_ns("request-seconds", optarg);
		break;
	case OPT_SEND:
		o->send_ns = cli_seconds_ns("send-seconds", optarg);
		break;
	case OPT_DRAIN:
		o->drain_ns = cli_seconds_ns("drain-seconds", optarg);
		break;
	case OPT_OPEN_FILES:
		o->open_files = (unsigned)cli_number("open-files", optarg, 0, 1000000);
		break;
	case OPT_FRESH:
		o->fresh_ns = (int64_t)cli_number("fresh-ms", optarg, 0, 3600000) * NS_PER_MS;
		break;
	case OPT_LOG:
		o->log_path = optarg;
		break;
	case OPT_REUSE_PORT:
		o->reuse_port = true;
		break;
	case OPT_STATS:
		o->stats = true;
		break;
	case OPT_HELP:
		printf(usage, program_invocation_short_name);
		exit(0);
	default:
		fprintf(stderr, usage, program_invocation_short_name);
		exit(2);
	}
}

void options_parse(struct options *o, int argc, char **argv)
{
	int option;

	*o = (struct options){
		.address = "127.0.0.1:8080",
		.connections_max = 10000,
		.header_bytes_max = 16384,
		.idle_ns = 60000 * NS_PER_MS,
		.request_ns = 10000 * NS_PER_MS,
		.send_ns = 30000 * NS_PER_MS,
		.drain_ns = 5000 * NS_PER_MS,
		.fresh_ns = 100 * NS_PER_MS,
		.open_files = 1024,
	};
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
		set_option(o, option);
	if (optind + 1 != argc)
		set_option(o, 0);
	o->root = argv[optind];
	if (o->reuse_port && call_shards_max() == 1) {
		complain("--reuse-port: there are no shards here");
		exit(2);
	}
}
