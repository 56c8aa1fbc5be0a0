/*
 * spg_debug_serve as its clients see it: curl, and requests that are none.
 */
#include "test/t.h"

#include "net/debug.h"

#include <fcntl.h>

static int port;

/* On the blocking pool: a shell command, with PORT in its environment. */
static void *shell_main(void *arg)
{
	char command[512];

	snprintf(command, sizeof(command), "PORT=%d; C='curl -sS -m 15'; U=http://127.0.0.1:$PORT; %s", port,
		 (const char *)arg);
	return (void *)(intptr_t)system(command);
}

static void shell(const char *command)
{
	void *status = NULL;

	T_EQ(spg_blocking(shell_main, (void *)(uintptr_t)command, &status), 0);
	if (status != NULL)
		t_fail(__FILE__, __LINE__, "status %ld of: %s", (long)(intptr_t)status, command);
}

static void serve(void)
{
	port = spg_debug_serve(":0");
	T_OK(port > 0);
}

static int pages_main(void *arg)
{
	char command[128];

	serve();
	shell("$C -f $U/ | grep -q '^/trace?seconds=N'");
	snprintf(command, sizeof(command),
		 "D=$(mktemp) && $C -f $U/stats >$D && python3 test/stats_check.py json $D %d && rm $D", *(int *)arg);
	shell(command);
	snprintf(command, sizeof(command),
		 "D=$(mktemp) && $C -f $U/metrics >$D && python3 test/stats_check.py prometheus $D %d && rm $D",
		 *(int *)arg);
	shell(command);
	shell("$C -f -D - -o /dev/null $U/metrics | grep -q '^Content-Type: text/plain; version=0.0.4'");
	shell("$C -f -D - -o /dev/null $U/stats | grep -q '^Content-Type: application/json'");
	shell("S=$($C -o /dev/null -w '%{http_code}' $U/dump); [ $S = 200 ]");
	shell("[ $($C -o /dev/null -w '%{http_code}' $U/nothing) = 404 ]");
	shell("[ $($C -o /dev/null -w '%{http_code}' -d x=y $U/stats) = 405 ]");
	shell("[ $($C -o /dev/null -w '%{http_code}' -I $U/stats) = 405 ]");
	shell("$C -D - -o /dev/null -X PUT $U/stats | grep -q '^Allow: GET'");
	shell("[ $($C -o /dev/null -w '%{http_code}' $U/trace?seconds=0) = 400 ]");
	shell("[ $($C -o /dev/null -w '%{http_code}' $U/trace?seconds=61) = 400 ]");
	shell("[ $($C -o /dev/null -w '%{http_code}' $U/trace?seconds=1x) = 400 ]");
	shell("[ $($C -o /dev/null -w '%{http_code}' $U/trace?second=1) = 400 ]");
	shell("[ $($C -o /dev/null -w '%{http_code}' -H \"X: $(head -c 5000 /dev/zero | tr '\\0' x)\" $U/) = 431 ]");
	return 0;
}

/* Goal: every page, by a client of its own. */
START_TEST(curl_gets_every_page)
{
	int shards = _i;

	t_run((unsigned)_i, pages_main, &shards);
}
END_TEST

/* Sends text, half-closes, and returns the status of the answer; 0: none. */
static int ask(const char *text, size_t len)
{
	char address[32], answer[512];
	int fd, status = 0;
	ssize_t n;

	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	fd = spg_dial("tcp", address, NULL);
	T_OK(fd >= 0);
	T_EQ(spg_write_all(fd, text, len), (ssize_t)len);
	n = spg_read_full(fd, answer, sizeof(answer) - 1);
	T_OK(n >= 0);
	answer[n] = '\0';
	if (n > 0)
		T_EQ(sscanf(answer, "HTTP/1.1 %d ", &status), 1);
	T_EQ(spg_close(fd), 0);
	return status;
}

static int requests_main(void *arg)
{
	static const struct {
		int status;
		const char *text;
	} requests[] = {
		{ 200, "GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 200, "GET /?x=y HTTP/1.1\r\nHost:\r\nAccept: */*\r\n\r\n" },
		{ 200, "GET / HTTP/1.0\r\n\r\n" },
		{ 200, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" },
		{ 400, "GET / HTTP/1.1\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n" },
		{ 400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n" },
		{ 400, "GET / HTTP/2.0\r\nHost: a\r\n\r\n" },
		{ 400, "GET / HTTP/1.11\r\nHost: a\r\n\r\n" },
		{ 400, "GET /\r\nHost: a\r\n\r\n" },
		{ 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, "GET / x HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, " / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 400, "\r\n\r\n" },
		{ 405, "get / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 405, "POST / HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 404, "GET /stats/ HTTP/1.1\r\nHost: a\r\n\r\n" },
		{ 404, "GET /.. HTTP/1.1\r\nHost: a\r\n\r\n" },
	};
	static const char zero[] = "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n";
	char *large = malloc(8192);

	(void)arg;
	serve();
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		int status = ask(requests[i].text, strlen(requests[i].text));

		if (status != requests[i].status)
			t_fail(__FILE__, __LINE__, "%d, expected %d, for %s", status, requests[i].status,
			       requests[i].text);
	}
	T_EQ(ask(zero, sizeof(zero) - 1), 400);
	memset(large, 'a', 8192);
	T_EQ(ask(large, 8192), 431);
	/* The last byte that fits. */
	memcpy(large, "GET / HTTP/1.1\r\nHost: ", 22);
	memcpy(large + 4092, "\r\n\r\n", 4);
	T_EQ(ask(large, 4096), 200);
	free(large);
	return 0;
}

/* Goal: what is no request is told so, whatever it is. */
START_TEST(requests_are_read_strictly)
{
	t_run((unsigned)_i, requests_main, NULL);
}
END_TEST

static int slow_main(void *arg)
{
	(void)arg;
	spg__debug_request_ns = 50 * SPG_MS;
	serve();
	T_EQ(ask("GET / HTTP/1.1\r\n", 16), 408);
	return 0;
}

/* Goal: a client that does not finish its request is told, and hung up on. */
START_TEST(a_slow_request_times_out)
{
	t_run((unsigned)_i, slow_main, NULL);
}
END_TEST

static int crowd_main(void *arg)
{
	char address[32];
	int idle[16];
	int64_t start = t_now_ns();

	(void)arg;
	spg__debug_request_ns = 200 * SPG_MS;
	serve();
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	for (int i = 0; i < 16; i++) {
		idle[i] = spg_dial("tcp", address, NULL);
		T_OK(idle[i] >= 0);
	}
	/* No place until one of them times out. */
	T_EQ(ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), 200);
	T_OK(t_now_ns() - start >= 200 * SPG_MS);
	for (int i = 0; i < 16; i++)
		T_EQ(spg_close(idle[i]), 0);
	return 0;
}

/* Goal: sixteen at a time; who comes later waits for a place. */
START_TEST(connections_are_bounded)
{
	t_run((unsigned)_i, crowd_main, NULL);
}
END_TEST

static _Atomic int computing;
static _Atomic bool done;

static void compute(void *arg)
{
	(void)arg;
	atomic_fetch_add(&computing, 1);
	while (!atomic_load(&done))
		;
}

static int busy_main(void *arg)
{
	int shards = *(int *)arg;

	serve();
	for (int i = 1; i < shards; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PIN((spg_shard() + i) % shards);
		T_EQ(spg_go_attr(&attr, compute, NULL), 0);
	}
	T_UNTIL(atomic_load(&computing) == shards - 1);
	shell("for I in 1 2 3 4; do $C -f -o /dev/null $U/stats || exit 1; done");
	atomic_store(&done, true);
	return 0;
}

/* Goal: it answers while all shards but one compute. */
START_TEST(it_answers_beside_busy_shards)
{
	int shards = _i;

	t_run((unsigned)_i, busy_main, &shards);
}
END_TEST

/* Without touching it: a bad descriptor is found after the trace that goes on. */
static bool tracing(void)
{
	return spg_trace_start(-1) == -EALREADY;
}

static void *get_trace(void *arg)
{
	shell("D=$(mktemp) && $C -f $U/trace?seconds=1 >$D && "
	      "python3 test/trace_check.py $D lost=0 slices'>='1 && rm $D");
	return arg;
}

static int trace_main(void *arg)
{
	spg_task *task;

	(void)arg;
	serve();
	task = spg_spawn(NULL, get_trace, NULL);
	T_OK(task != NULL);
	T_UNTIL(tracing());
	T_EQ(ask("GET /trace HTTP/1.1\r\nHost: a\r\n\r\n", 32), 409);
	T_EQ(spg_join(task, NULL), 0);
	return 0;
}

/* Goal: a trace over HTTP, one at a time. */
START_TEST(a_trace_comes_over_http)
{
	t_run((unsigned)_i, trace_main, NULL);
}
END_TEST

static int end_main(void *arg)
{
	char address[32];
	int fd;

	(void)arg;
	serve();
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	fd = spg_dial("tcp", address, NULL);
	T_OK(fd >= 0);
	T_EQ(spg_write_all(fd, "GET /trace?seconds=60 HTTP/1.1\r\nHost: a\r\n\r\n", 44), 44);
	T_UNTIL(tracing());
	return spg_close(fd);
}

/* Goal: the runtime ends while a trace is being served, and nothing is left open. */
START_TEST(the_runtime_ends_under_it)
{
	int before = t_fds_count();
	int64_t start = t_now_ns();

	t_run((unsigned)_i, end_main, NULL);
	T_EQ(t_fds_count(), before);
	T_OK(t_now_ns() - start < 20 * SPG_SEC);
}
END_TEST

static int errors_main(void *arg)
{
	char address[32];

	(void)arg;
	T_ERR(spg_debug_serve(NULL), -EINVAL);
	T_ERR(spg_debug_serve("nonsense"), -EINVAL);
	T_ERR(spg_debug_serve(":99999"), -EINVAL);
	T_ERR(spg_debug_serve(":1234567890123456789012345"), -EINVAL);
	serve();
	snprintf(address, sizeof(address), ":%d", port);
	T_ERR(spg_debug_serve(address), -EADDRINUSE);
	return 0;
}

/* Goal: each error named in the header; and without a host it is this machine's only. */
START_TEST(errors_are_told)
{
	T_ERR(spg_debug_serve(":0"), -ESRCH);
	t_run((unsigned)_i, errors_main, NULL);
}
END_TEST

T_MAIN(T_SHARDS(curl_gets_every_page), T_SHARDS(requests_are_read_strictly), T_SHARDS(a_slow_request_times_out),
       T_SHARDS(connections_are_bounded), T_SHARDS(it_answers_beside_busy_shards), T_SHARDS(a_trace_comes_over_http),
       T_SHARDS(the_runtime_ends_under_it), T_SHARDS(errors_are_told))
