/*
 * load: a client for the echo servers. One process, one thread, epoll; every byte that
 * comes back is compared.
 *
 *	load host:port [--connections N] [--bytes B] [--seconds S] [--warmup S] [--rate R]
 *	     [--server-pid PID] [--json]
 *
 * Closed loop: each connection sends the next request when the reply has come. With --rate
 * R requests a second in all are due at fixed times, and latency counts from the due time.
 */
#include "hist.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BYTES_MAX (1 << 20)
#define EVENTS_MAX 256

struct conn {
	int fd;
	uint32_t number;
	uint64_t sequence;
	size_t sent, received;
	int64_t since_ns;
	bool busy;
};

static struct {
	const char *address;
	unsigned connections;
	size_t bytes;
	double seconds, warmup, rate;
	int server_pid;
	bool json;
} opt = { .connections = 64, .bytes = 256, .seconds = 3, .warmup = 0.5 };

static struct {
	int epfd;
	struct conn *conns;
	struct hist hist;
	uint64_t done, mismatches;
	bool measuring;
	unsigned next;
	char *out, *in;
} load;

struct usage {
	int64_t server_cpu_ns, own_cpu_ns, at_ns;
	long threads, rss_kib, pte_kib;
};

static int64_t clock_at(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) != 0)
		return 0;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t now_ns(void)
{
	return clock_at(CLOCK_MONOTONIC);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A field of /proc/PID/status, in its unit. */
static long status_field(int pid, const char *field)
{
	char path[64], line[256];
	long value = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':')
			value = atol(line + strlen(field) + 1);
	}
	if (file != NULL)
		fclose(file);
	return value;
}

static struct usage usage_now(void)
{
	struct usage u = { .own_cpu_ns = clock_at(CLOCK_PROCESS_CPUTIME_ID), .at_ns = now_ns() };
	clockid_t clock;

	if (opt.server_pid == 0)
		return u;
	if (clock_getcpuclockid(opt.server_pid, &clock) == 0)
		u.server_cpu_ns = clock_at(clock);
	u.threads = status_field(opt.server_pid, "Threads");
	u.rss_kib = status_field(opt.server_pid, "VmRSS");
	u.pte_kib = status_field(opt.server_pid, "VmPTE");
	return u;
}

/* The bytes of a request: its head names connection and sequence, the rest follows from them. */
static void fill(char *buf, const struct conn *c)
{
	uint64_t x = (uint64_t)c->number << 32 ^ c->sequence ^ 0x9E3779B97F4A7C15u;

	for (size_t i = 0; i < opt.bytes; i += 8) {
		size_t n = opt.bytes - i < 8 ? opt.bytes - i : 8;

		x = x * 6364136223846793005u + 1442695040888963407u;
		memcpy(buf + i, &x, n);
	}
}

static void watch(struct conn *c, uint32_t events, int how)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(load.epfd, how, c->fd, &event) != 0)
		die("epoll_ctl");
}

/* Sends what is left of the request. */
static void send_rest(struct conn *c)
{
	fill(load.out, c);
	while (c->sent < opt.bytes) {
		ssize_t n = send(c->fd, load.out + c->sent, opt.bytes - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
			return;
		}
		if (n <= 0)
			die("send");
		c->sent += (size_t)n;
	}
}

static void start(struct conn *c, int64_t due_ns)
{
	c->sequence++;
	c->sent = c->received = 0;
	c->since_ns = due_ns;
	c->busy = true;
	send_rest(c);
}

static void finish(struct conn *c)
{
	int64_t now = now_ns();

	c->busy = false;
	if (load.measuring) {
		load.done++;
		hist_add(&load.hist, (uint64_t)(now - c->since_ns));
	}
	if (opt.rate == 0)
		start(c, now);
}

static void receive(struct conn *c)
{
	ssize_t n = recv(c->fd, load.in, opt.bytes - c->received, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die(n == 0 ? "the server closed a connection" : "recv");
	fill(load.out, c);
	if (memcmp(load.in, load.out + c->received, (size_t)n) != 0)
		load.mismatches++;
	c->received += (size_t)n;
	if (c->received == opt.bytes)
		finish(c);
}

static void handle(const struct epoll_event *event)
{
	struct conn *c = event->data.ptr;

	if (event->events & EPOLLOUT) {
		watch(c, EPOLLIN, EPOLL_CTL_MOD);
		send_rest(c);
	}
	if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(c);
}

/* Open loop: starts what is due, on connections that are free. Returns ms until the next. */
static int start_due(int64_t began_ns, uint64_t *started)
{
	int64_t now = now_ns(), due;

	for (;;) {
		struct conn *c = NULL;

		due = began_ns + (int64_t)((double)*started * 1e9 / opt.rate);
		if (due > now)
			return (int)((due - now) / 1000000);
		for (unsigned i = 0; i < opt.connections && c == NULL; i++) {
			load.next = (load.next + 1) % opt.connections;
			if (!load.conns[load.next].busy)
				c = &load.conns[load.next];
		}
		if (c == NULL)
			return 1; /* all busy: it starts late, and its latency says so */
		++*started;
		start(c, due);
	}
}

static void run_for(double seconds, const char *what)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t began = now_ns(), until = began + (int64_t)(seconds * 1e9), shown = began;
	uint64_t started = 0;

	while (now_ns() < until) {
		int wait_ms = opt.rate > 0 ? start_due(began, &started) : 10;
		int n = epoll_wait(load.epfd, events, EVENTS_MAX, wait_ms > 10 ? 10 : wait_ms);

		for (int i = 0; i < n; i++)
			handle(&events[i]);
		if (now_ns() - shown > 2000000000 && !opt.json) {
			shown = now_ns();
			fprintf(stderr, "load: %s, %.0f s of %.0f s, %llu requests\n", what,
				(double)(shown - began) / 1e9, seconds, (unsigned long long)load.done);
		}
	}
}

static void connect_all(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	const char *colon = strrchr(opt.address, ':');
	char host[64];

	if (colon == NULL || (size_t)(colon - opt.address) >= sizeof(host)) {
		fprintf(stderr, "load: no host:port: %s\n", opt.address);
		exit(2);
	}
	memcpy(host, opt.address, (size_t)(colon - opt.address));
	host[colon - opt.address] = '\0';
	addr.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &addr.sin_addr) != 1) {
		fprintf(stderr, "load: not a numeric address: %s\n", host);
		exit(2);
	}
	for (unsigned i = 0; i < opt.connections; i++) {
		struct conn *c = &load.conns[i];
		int on = 1;

		*c = (struct conn){ .number = i, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
		if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
			die("connect");
		if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
			die("setsockopt");
		watch(c, EPOLLIN, EPOLL_CTL_ADD);
	}
}

static void report(const struct usage *before, const struct usage *after)
{
	double wall = (double)(after->at_ns - before->at_ns) / 1e9, done = load.done > 0 ? (double)load.done : 1;
	double p50 = (double)hist_quantile(&load.hist, 0.5) / 1e3, p99 = (double)hist_quantile(&load.hist, 0.99) / 1e3;
	double p95 = (double)hist_quantile(&load.hist, 0.95) / 1e3, p999 = (double)hist_quantile(&load.hist, 0.999) / 1e3;
	double cpu = (double)(after->server_cpu_ns - before->server_cpu_ns) / done;
	double own = (double)(after->own_cpu_ns - before->own_cpu_ns) / done;

	if (opt.json) {
		printf("{\"connections\":%u,\"bytes\":%zu,\"requests\":%llu,\"per_second\":%.0f,\"p50_us\":%.1f,"
		       "\"p95_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"mismatches\":%llu,"
		       "\"server_cpu_ns\":%.0f,\"client_cpu_ns\":%.0f,\"threads\":%ld,\"rss_kib\":%ld,\"pte_kib\":%ld}\n",
		       opt.connections, opt.bytes, (unsigned long long)load.done, done / wall, p50, p95, p99, p999,
		       (double)load.hist.max / 1e3, (unsigned long long)load.mismatches, cpu, own, after->threads,
		       after->rss_kib, after->pte_kib);
		return;
	}
	printf("%u connections, %zu bytes: %.0f req/s, p50 %.0f us, p95 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us\n",
	       opt.connections, opt.bytes, done / wall, p50, p95, p99, p999, (double)load.hist.max / 1e3);
	if (opt.server_pid != 0)
		printf("server: %.0f ns CPU a request, %ld threads, %ld KiB resident, %ld KiB page tables; client %.0f ns\n",
		       cpu, after->threads, after->rss_kib, after->pte_kib, own);
	if (load.mismatches > 0)
		printf("%llu replies differ\n", (unsigned long long)load.mismatches);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "connections", required_argument, NULL, 'c' }, { "bytes", required_argument, NULL, 'b' },
		{ "seconds", required_argument, NULL, 's' },	 { "warmup", required_argument, NULL, 'w' },
		{ "rate", required_argument, NULL, 'r' },	 { "server-pid", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },		 { NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'c': opt.connections = (unsigned)atoi(optarg); break;
		case 'b': opt.bytes = (size_t)atol(optarg); break;
		case 's': opt.seconds = atof(optarg); break;
		case 'w': opt.warmup = atof(optarg); break;
		case 'r': opt.rate = atof(optarg); break;
		case 'p': opt.server_pid = atoi(optarg); break;
		case 'j': opt.json = true; break;
		default: exit(2);
		}
	}
	if (optind + 1 != argc || opt.connections == 0 || opt.bytes == 0 || opt.bytes > BYTES_MAX || opt.rate < 0) {
		fprintf(stderr, "usage: load host:port [--connections N] [--bytes B] [--seconds S] [--warmup S]\n"
				"            [--rate R] [--server-pid PID] [--json]\n");
		exit(2);
	}
	opt.address = argv[optind];
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct usage before, after;

	parse(argc, argv);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	load.epfd = epoll_create1(EPOLL_CLOEXEC);
	load.conns = calloc(opt.connections, sizeof(*load.conns));
	load.out = malloc(opt.bytes);
	load.in = malloc(opt.bytes);
	if (load.epfd < 0 || load.conns == NULL || load.out == NULL || load.in == NULL)
		die("load");
	connect_all();
	for (unsigned i = 0; i < opt.connections && opt.rate == 0; i++)
		start(&load.conns[i], now_ns());
	run_for(opt.warmup, "warm-up");
	before = usage_now();
	load.measuring = true;
	run_for(opt.seconds, "measuring");
	after = usage_now();
	report(&before, &after);
	return load.mismatches == 0 && load.done > 0 ? 0 : 1;
}
