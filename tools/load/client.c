/* The connections, the loop that drives them, and the window in which they are measured. */
#include "tools/cli.h"
#include "tools/load/load.h"
#include "tools/tcp.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

#define SEC_NS 1000000000ll
#define CONNECT_TIMEOUT_MS 5000
#define DRAIN_NS (5 * SEC_NS) /* for replies that are under way at the end of the window */
#define PROGRESS_NS SEC_NS
#define EVENTS_MAX 256
#define SCRATCH_BYTES (256 * 1024)
#define COMPLAINTS_MAX 5

struct conn {
	int fd; /* -1: it has failed (L2) */
	uint32_t index;
	uint64_t sequence;
	int64_t start_ns; /* open loop: when the request was due */
	size_t sent, received;
	bool busy, wants_write;
	struct conn *idle_next;
	uint8_t *request;
};

enum phase { WARMUP, WINDOW, OVERTIME, DRAIN };

struct client {
	const struct load_options *opt;
	struct load_result *result;
	int epoll_fd;
	struct conn *conns;
	uint8_t *requests; /* all of them, one after another */
	uint8_t *scratch;
	uint32_t alive, busy;
	enum phase phase;
	int64_t window_start_ns, window_end_ns;
	/* Open loop: who is free, first in first out, and how many requests were begun. */
	struct conn *idle_head, **idle_tail;
	int64_t schedule_start_ns;
	uint64_t scheduled;
	int64_t progress_ns;
	uint64_t progress_completed;
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * SEC_NS + now.tv_nsec;
}

static int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* L1: 64-bit words in arithmetic progression from a start that mixes both numbers (splitmix64). */
static void fill(uint8_t *buf, size_t bytes, uint32_t index, uint64_t sequence)
{
	uint64_t word = (sequence << 24 | index) * 0x9E3779B97F4A7C15u;

	word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9u;
	word ^= word >> 27;
	for (size_t i = 0; i < bytes; i += sizeof(word), word += 0x94D049BB133111EBu) {
		size_t left = bytes - i;

		memcpy(buf + i, &word, left < sizeof(word) ? left : sizeof(word));
	}
}

/* L2. */
static void fail(struct client *cl, struct conn *c, uint64_t *counter, const char *what)
{
	if (++*counter <= COMPLAINTS_MAX)
		complain("connection %u, request %llu: %s", c->index, (unsigned long long)c->sequence, what);
	close(c->fd);
	c->fd = -1;
	cl->alive--;
	cl->busy -= c->busy;
}

static void watch(struct client *cl, struct conn *c, int how, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(cl->epoll_fd, how, c->fd, &event) != 0)
		fail(cl, c, &cl->result->errors, strerror(errno));
}

/* Sends what the socket takes; the rest when it takes more. */
static void send_more(struct client *cl, struct conn *c)
{
	ssize_t n = send(c->fd, c->request + c->sent, cl->opt->bytes - c->sent, MSG_NOSIGNAL);
	bool wants_write;

	if (n < 0 && errno != EAGAIN) {
		fail(cl, c, &cl->result->errors, strerror(errno));
		return;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	wants_write = c->sent < cl->opt->bytes;
	if (wants_write == c->wants_write)
		return;
	c->wants_write = wants_write;
	watch(cl, c, EPOLL_CTL_MOD, wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void start_request(struct client *cl, struct conn *c, int64_t start_ns)
{
	c->sequence++;
	c->start_ns = start_ns;
	c->sent = c->received = 0;
	c->busy = true;
	cl->busy++;
	fill(c->request, cl->opt->bytes, c->index, c->sequence);
	send_more(cl, c);
}

static void idle_push(struct client *cl, struct conn *c)
{
	c->idle_next = NULL;
	*cl->idle_tail = c;
	cl->idle_tail = &c->idle_next;
}

static struct conn *idle_pop(struct client *cl)
{
	struct conn *c = cl->idle_head;

	cl->idle_head = c->idle_next;
	if (cl->idle_head == NULL)
		cl->idle_tail = &cl->idle_head;
	return c;
}

static int64_t due_ns(const struct client *cl)
{
	return cl->schedule_start_ns + (int64_t)((__uint128_t)cl->scheduled * SEC_NS / cl->opt->rate);
}

/* Open loop: begins what is due on whoever is free; after the window only what was due in it. */
static void start_due(struct client *cl)
{
	int64_t due = due_ns(cl), until = now_ns();

	if (cl->phase == OVERTIME && until >= cl->window_end_ns)
		until = cl->window_end_ns - 1;
	while (cl->idle_head != NULL && due <= until) {
		struct conn *c = idle_pop(cl);

		if (c->fd < 0)
			continue; /* failed while it was free: the server closed it */
		cl->scheduled++;
		start_request(cl, c, due);
		due = due_ns(cl);
	}
}

static void finish_request(struct client *cl, struct conn *c)
{
	int64_t now = now_ns();
	bool counts = cl->phase == WINDOW;

	c->busy = false;
	cl->busy--;
	cl->result->completed += counts;
	if (cl->opt->rate > 0) /* L3 */
		counts = c->start_ns >= cl->window_start_ns && c->start_ns < cl->window_end_ns;
	if (counts)
		hist_record(&cl->result->latency_ns, (uint64_t)(now - c->start_ns));
	if (cl->opt->rate > 0)
		idle_push(cl, c);
	else if (cl->phase < OVERTIME)
		start_request(cl, c, now);
}

/* One byte more than is missing is asked for: a server that sends too much is found (L1). */
static void receive(struct client *cl, struct conn *c)
{
	size_t left = c->busy ? cl->opt->bytes - c->received : 0;
	ssize_t n = recv(c->fd, cl->scratch, left < SCRATCH_BYTES ? left + 1 : SCRATCH_BYTES, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		fail(cl, c, &cl->result->errors, n == 0 ? "closed by the server" : strerror(errno));
	else if ((size_t)n > left)
		fail(cl, c, &cl->result->mismatches, "more bytes than were sent");
	else if (c->received + (size_t)n > c->sent)
		fail(cl, c, &cl->result->mismatches, "bytes that were not sent yet");
	else if (memcmp(cl->scratch, c->request + c->received, (size_t)n) != 0)
		fail(cl, c, &cl->result->mismatches, "the reply differs");
	else if ((c->received += (size_t)n) == cl->opt->bytes)
		finish_request(cl, c);
}

static void progress(struct client *cl, int64_t now)
{
	uint64_t completed = cl->result->completed;

	if (now < cl->progress_ns)
		return;
	complain("%lld s of %.1f, %llu requests a second, %u connections",
		 (long long)((now - cl->window_start_ns) / SEC_NS), (double)cl->opt->window_ns / 1e9,
		 (unsigned long long)(completed - cl->progress_completed), cl->alive);
	cl->progress_completed = completed;
	cl->progress_ns += PROGRESS_NS;
}

/* Waits no longer than until the next request is due. */
static void step(struct client *cl, int64_t until_ns)
{
	struct epoll_event events[EVENTS_MAX];
	struct timespec timeout;
	int64_t wait_ns, now = now_ns();
	int n;

	if (cl->opt->rate > 0 && cl->phase != DRAIN && cl->idle_head != NULL && due_ns(cl) < until_ns)
		until_ns = due_ns(cl);
	wait_ns = until_ns > now ? until_ns - now : 0;
	timeout = (struct timespec){ .tv_sec = wait_ns / SEC_NS, .tv_nsec = wait_ns % SEC_NS };
	n = epoll_pwait2(cl->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (events[i].events & EPOLLOUT)
			send_more(cl, c);
		if (c->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT)
			receive(cl, c);
	}
	if (cl->opt->rate > 0 && cl->phase != DRAIN)
		start_due(cl);
}

/* Until then, or until nobody is left. */
static void run_until(struct client *cl, int64_t until_ns)
{
	while (cl->alive > 0 && now_ns() < until_ns) {
		int64_t pause_ns = cl->phase == WINDOW && cl->progress_ns < until_ns ? cl->progress_ns : until_ns;

		step(cl, pause_ns);
		if (cl->phase == WINDOW)
			progress(cl, now_ns());
	}
}

/*
 * Replies under way are awaited and compared as all others; in the open loop they count
 * (L3), and what became due in the window and waits for a free connection may begin yet.
 */
static void drain(struct client *cl)
{
	int64_t until_ns = now_ns() + DRAIN_NS;

	cl->phase = OVERTIME;
	while (cl->opt->rate > 0 && cl->alive > 0 && due_ns(cl) < cl->window_end_ns && now_ns() < until_ns)
		step(cl, until_ns);
	cl->phase = DRAIN;
	until_ns = now_ns() + DRAIN_NS;
	while (cl->busy > 0 && now_ns() < until_ns)
		step(cl, until_ns);
	for (uint32_t i = 0; i < cl->opt->connections; i++) {
		struct conn *c = &cl->conns[i];

		if (c->fd >= 0 && c->busy)
			fail(cl, c, &cl->result->errors, "no reply within 5 s after the end");
	}
}

/* How many requests the open loop has due in the window: the k with due time k / rate before its end. */
static uint64_t due_in_window(const struct client *cl)
{
	return (uint64_t)(((__uint128_t)cl->opt->window_ns * cl->opt->rate + SEC_NS - 1) / SEC_NS);
}

static void open_window(struct client *cl)
{
	cl->window_start_ns = now_ns();
	cl->window_end_ns = cl->window_start_ns + cl->opt->window_ns;
	cl->progress_ns = cl->opt->window_ns > 2 * SEC_NS ? cl->window_start_ns + PROGRESS_NS : INT64_MAX;
	cl->phase = WINDOW;
	/* What the warm-up left behind is not this window's. */
	cl->schedule_start_ns = cl->window_start_ns;
	cl->scheduled = 0;
}

static int measure(struct client *cl)
{
	const pid_t pid = cl->opt->server_pid;
	struct load_server before = { 0 }, after = { 0 };
	struct load_result *res = cl->result;
	int err = pid > 0 ? load_server_read(pid, &before) : 0;

	if (err < 0)
		return err;
	res->client_cpu_ns = -clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	open_window(cl);
	run_until(cl, cl->window_end_ns);
	err = pid > 0 ? load_server_read(pid, &after) : 0;
	res->window_ns = now_ns() - cl->window_start_ns;
	res->client_cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	res->server_cpu_ns = after.cpu_ns - before.cpu_ns;
	res->server_switches = after.switches > before.switches ? after.switches - before.switches : 0;
	res->server_threads = after.threads;
	res->server_rss_kib = after.rss_kib;
	res->server_rss_peak_kib = after.rss_peak_kib;
	res->server_pte_kib = after.pte_kib;
	drain(cl);
	if (cl->opt->rate > 0)
		res->unanswered = due_in_window(cl) - res->latency_ns.count;
	return err;
}

static int connect_one(struct client *cl, const struct addrinfo *at, uint32_t index)
{
	struct conn *c = &cl->conns[index];

	*c = (struct conn){
		.fd = tcp_connect(at, CONNECT_TIMEOUT_MS),
		.index = index,
		.request = cl->requests + index * cl->opt->bytes,
	};
	if (c->fd < 0) {
		complain("connection %u to %s: %s", index, cl->opt->address, strerror(-c->fd));
		return c->fd;
	}
	cl->alive++;
	watch(cl, c, EPOLL_CTL_ADD, EPOLLIN);
	return 0;
}

static int connect_all(struct client *cl)
{
	struct addrinfo *at;
	int err = tcp_resolve(cl->opt->address, 0, &at);

	if (err < 0) {
		complain("%s: %s", cl->opt->address, strerror(-err));
		return err;
	}
	for (uint32_t i = 0; err == 0 && i < cl->opt->connections; i++)
		err = connect_one(cl, at, i);
	freeaddrinfo(at);
	return err;
}

static void start_all(struct client *cl)
{
	cl->schedule_start_ns = now_ns();
	for (uint32_t i = 0; i < cl->opt->connections; i++) {
		struct conn *c = &cl->conns[i];

		if (c->fd >= 0 && cl->opt->rate > 0)
			idle_push(cl, c);
		else if (c->fd >= 0)
			start_request(cl, c, now_ns());
	}
}

static int run(struct client *cl)
{
	int err = connect_all(cl);

	if (err < 0)
		return err;
	start_all(cl);
	run_until(cl, cl->schedule_start_ns + cl->opt->warmup_ns);
	err = measure(cl);
	if (err < 0)
		complain("process %d: %s", (int)cl->opt->server_pid, strerror(-err));
	for (uint32_t i = 0; i < cl->opt->connections; i++)
		if (cl->conns[i].fd >= 0)
			close(cl->conns[i].fd);
	return err;
}

int load_run(const struct load_options *options, struct load_result *result)
{
	struct client cl = {
		.opt = options,
		.result = result,
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
		.conns = calloc(options->connections, sizeof(*cl.conns)),
		.requests = calloc(options->connections, options->bytes),
		.scratch = malloc(SCRATCH_BYTES),
		.progress_ns = INT64_MAX,
	};
	int err = -ENOMEM;

	cl.idle_tail = &cl.idle_head;
	prctl(PR_SET_TIMERSLACK, 1ul); /* the open loop's requests go out when they are due */
	if (cl.epoll_fd >= 0 && cl.conns != NULL && cl.requests != NULL && cl.scratch != NULL)
		err = run(&cl);
	else
		complain("no memory for %u connections of %zu bytes", options->connections, options->bytes);
	if (cl.epoll_fd >= 0)
		close(cl.epoll_fd);
	free(cl.conns);
	free(cl.requests);
	free(cl.scratch);
	return err;
}
