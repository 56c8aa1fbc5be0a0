/*
 * Short connections offered to an echo server: connect, requests of 256 bytes, reset. Every eighth
 * connection carries 16 requests, the others one; so many are open at a time. One thread, epoll;
 * every byte that comes back is compared.
 *
 * usage: accept_load host:port --server-pid PID [--seconds S] [--open N]
 *
 * Prints one JSON line; what it says of the server is for one connection.
 */
#include "tools/cli.h"
#include "tools/load/load.h"
#include "tools/tcp.h"

#include <getopt.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>

#define BYTES 256
#define HOT_EVERY 8
#define HOT_REQUESTS 16
#define WARMUP_NS 300000000

struct conn {
	int fd;
	unsigned left; /* requests, the one under way included */
	size_t got;
	uint64_t seed;
	int64_t start_ns;
	unsigned char request[BYTES];
};

static struct addrinfo *address;
static int epoll_fd;
static uint64_t begun, done, requests;
static struct hist lives;

__attribute__((noreturn)) static void die(const char *what)
{
	complain("%s: %s", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void send_request(struct conn *c)
{
	for (size_t i = 0; i < BYTES; i++)
		c->request[i] = (unsigned char)(c->seed * 0x9E3779B97F4A7C15 >> (i % 8 * 7)) ^ (unsigned char)i;
	c->seed++;
	c->got = 0;
	if (send(c->fd, c->request, BYTES, MSG_NOSIGNAL) != BYTES)
		die("send");
}

static void begin(struct conn *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

	c->start_ns = now_ns();
	c->left = begun++ % HOT_EVERY == 0 ? HOT_REQUESTS : 1;
	c->seed = begun << 8;
	c->fd = tcp_connect(address, 5000);
	if (c->fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("connect");
	send_request(c);
}

/* A reset leaves no TIME_WAIT behind: the ports would run out. */
static void end(struct conn *c)
{
	struct linger reset = { .l_onoff = 1 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(c->fd);
	hist_record(&lives, (uint64_t)(now_ns() - c->start_ns));
	done++;
}

static void receive(struct conn *c)
{
	unsigned char buf[BYTES];
	ssize_t n = recv(c->fd, buf, BYTES - c->got, 0);

	if (n <= 0)
		die("recv");
	if (memcmp(buf, c->request + c->got, (size_t)n) != 0) {
		complain("a wrong reply");
		exit(1);
	}
	c->got += (size_t)n;
	if (c->got < BYTES)
		return;
	requests++;
	if (--c->left > 0) {
		send_request(c);
		return;
	}
	end(c);
	begin(c);
}

static void run_until(int64_t end_ns)
{
	struct epoll_event events[64];

	while (now_ns() < end_ns) {
		int n = epoll_wait(epoll_fd, events, 64, 5000);

		if (n == 0) {
			complain("no reply within 5 s");
			exit(1);
		}
		for (int i = 0; i < n; i++)
			receive(events[i].data.ptr);
	}
}

static void print(int64_t window_ns, const struct load_server *before, const struct load_server *after)
{
	double each = (double)(done > 0 ? done : 1);

	printf("{\"connections\": %llu, \"requests\": %llu, \"mismatches\": 0, \"per_second\": %.0f, "
	       "\"server_cpu_ns\": %.0f, \"server_switches\": %.4f, \"threads\": %llu, \"rss_kib\": %llu, "
	       "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f}\n",
	       (unsigned long long)done, (unsigned long long)requests, each * 1e9 / (double)window_ns,
	       (double)(after->cpu_ns - before->cpu_ns) / each,
	       after->switches > before->switches ? (double)(after->switches - before->switches) / each : 0,
	       (unsigned long long)after->threads, (unsigned long long)after->rss_peak_kib,
	       (double)hist_percentile(&lives, 500000) / 1e3, (double)hist_percentile(&lives, 990000) / 1e3,
	       (double)hist_percentile(&lives, 999000) / 1e3);
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "server-pid", required_argument, NULL, 'p' }, { "seconds", required_argument, NULL, 's' },
		{ "open", required_argument, NULL, 'o' },	{ NULL, 0, NULL, 0 },
	};
	struct load_server before, after;
	int64_t seconds_ns = 1000000000, start_ns;
	uint64_t open = 32;
	struct conn *conns;
	pid_t server = 0;
	int letter;

	while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (letter) {
		case 'p': server = (pid_t)cli_number("server-pid", optarg, 1, INT32_MAX); break;
		case 's': seconds_ns = cli_seconds_ns("seconds", optarg); break;
		case 'o': open = cli_number("open", optarg, 1, 4096); break;
		default: exit(2);
		}
	if (optind + 1 != argc || server == 0 || tcp_resolve(argv[optind], 0, &address) < 0) {
		fprintf(stderr, "usage: accept_load host:port --server-pid PID [--seconds S] [--open N]\n");
		return 2;
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	conns = calloc(open, sizeof(*conns));
	if (epoll_fd < 0 || conns == NULL)
		die("start");
	for (uint64_t i = 0; i < open; i++)
		begin(&conns[i]);
	run_until(now_ns() + WARMUP_NS);
	memset(&lives, 0, sizeof(lives));
	done = requests = 0;
	if (load_server_read(server, &before) < 0)
		die("the server");
	start_ns = now_ns();
	run_until(start_ns + seconds_ns);
	if (load_server_read(server, &after) < 0)
		die("the server");
	print(now_ns() - start_ns, &before, &after);
	return 0;
}
