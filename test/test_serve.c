/*
 * spg_serve: connections served, the limit, the drain, shortages, and nothing left over.
 */
#include "test/t.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>

#define MESSAGE_BYTES 64
#define CLIENTS 16

/* A server under a context of its own, and what its handlers saw. */
struct server {
	int listener;
	char address[128];
	spg_ctx *ctx;
	spg_task *task;
	const spg_serve_opts *opts;
	void (*handler)(int fd, void *arg);
	_Atomic int open, open_max, served, canceled, errors;
};

static void listen_on(struct server *s, const char *network, const char *address)
{
	struct sockaddr_storage name = { 0 };
	socklen_t len = sizeof(name);

	s->listener = spg_listen(network, address, NULL);
	T_OK(s->listener >= 0);
	T_EQ(getsockname(s->listener, (struct sockaddr *)&name, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&name, s->address, sizeof(s->address)) > 0);
}

static void *serve_main(void *arg)
{
	struct server *s = arg;

	return (void *)(intptr_t)spg_serve(s->listener, s->handler, s, s->opts);
}

/* Listens on a port of its own unless s->listener is there already. */
static void server_start(struct server *s, void (*handler)(int, void *), const spg_serve_opts *opts)
{
	spg_attr attr = SPG_ATTR_INIT;

	if (s->address[0] == '\0')
		listen_on(s, "tcp", "127.0.0.1:0");
	s->handler = handler;
	s->opts = opts;
	s->ctx = spg_ctx_new(NULL);
	T_OK(s->ctx != NULL);
	attr.ctx = s->ctx;
	s->task = spg_spawn(&attr, serve_main, s);
	T_OK(s->task != NULL);
}

static void server_join(struct server *s, int expected)
{
	void *result;

	T_EQ(spg_join(s->task, &result), 0);
	T_EQ((intptr_t)result, expected);
	if (s->listener >= 0) {
		T_EQ(fcntl(s->listener, F_GETFD), FD_CLOEXEC); /* it is ours, and open */
		T_EQ(spg_close(s->listener), 0);
	}
	spg_ctx_unref(s->ctx);
	T_EQ(atomic_load(&s->open), 0);
}

static void server_stop(struct server *s)
{
	spg_ctx_cancel(s->ctx);
	server_join(s, 0);
}

static void enter(struct server *s)
{
	int open = atomic_fetch_add(&s->open, 1) + 1, max = atomic_load(&s->open_max);

	while (open > max && !atomic_compare_exchange_weak(&s->open_max, &max, open))
		continue;
}

static void leave(struct server *s, int fd)
{
	atomic_fetch_sub(&s->open, 1);
	atomic_fetch_add(&s->served, 1);
	T_EQ(spg_close(fd), 0);
}

static void echo(int fd, void *arg)
{
	struct server *s = arg;
	char buf[MESSAGE_BYTES];
	ssize_t n;

	enter(s);
	while ((n = spg_recv(fd, buf, sizeof(buf), 0)) > 0) {
		n = spg_write_all(fd, buf, (size_t)n);
		if (n < 0)
			break;
	}
	if (n == -ECANCELED)
		atomic_fetch_add(&s->canceled, 1);
	else if (n < 0)
		atomic_fetch_add(&s->errors, 1);
	leave(s, fd);
}

static int connect_to(struct server *s)
{
	int fd = spg_dial("tcp", s->address, NULL);

	T_OK(fd >= 0);
	return fd;
}

static void talk(int fd, int rounds)
{
	char out[MESSAGE_BYTES], in[MESSAGE_BYTES];

	for (int i = 0; i < rounds; i++) {
		for (size_t k = 0; k < sizeof(out); k++)
			out[k] = (char)(fd + i + (int)k);
		T_EQ(spg_write_all(fd, out, sizeof(out)), sizeof(out));
		T_EQ(spg_read_full(fd, in, sizeof(in)), sizeof(in));
		T_OK(memcmp(in, out, sizeof(in)) == 0);
	}
}

/* Sends the end, and sees the server close. */
static void hang_up(int fd)
{
	char byte;

	T_EQ(spg_shutdown(fd, SHUT_WR), 0);
	T_EQ(spg_recv(fd, &byte, 1, 0), 0);
	T_EQ(spg_close(fd), 0);
}

static int talking_client(void *arg)
{
	int fd = connect_to(arg);

	talk(fd, 20);
	hang_up(fd);
	return 0;
}

static int short_client(void *arg)
{
	for (int i = 0; i < 1000 / CLIENTS; i++) {
		int fd = connect_to(arg);

		talk(fd, 1);
		hang_up(fd);
	}
	return 0;
}

/* CLIENTS of them at once. */
static void run_clients(struct server *s, int (*client)(void *))
{
	spg_group *group = spg_group_new(0);

	T_OK(group != NULL);
	for (int i = 0; i < CLIENTS; i++)
		T_EQ(spg_group_go(group, client, s), 0);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
}

static int serve_echo(void *arg)
{
	struct server s = { 0 };
	int fds = t_fds_count();

	(void)arg;
	server_start(&s, echo, NULL);
	run_clients(&s, talking_client);
	run_clients(&s, short_client);
	server_stop(&s);
	T_EQ(atomic_load(&s.served), CLIENTS + 1000 / CLIENTS * CLIENTS);
	T_EQ(atomic_load(&s.errors), 0);
	T_EQ(t_fds_count(), fds);
	return 0;
}

/* Goal: echo at 1 to 4 shards, with long talks and a thousand short ones; no descriptor is left. */
START_TEST(connections_are_served)
{
	t_run((unsigned)_i, serve_echo, NULL);
}
END_TEST

/* Goal: the same where the kernel has no multishot accept. */
START_TEST(connections_are_served_one_accept_at_a_time)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.disable = "multishot";
	T_EQ(t_run_config(&cfg, serve_echo, NULL), 0);
}
END_TEST

static int serve_limited(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };

	(void)arg;
	o.connections_max = 3;
	server_start(&s, echo, &o);
	run_clients(&s, talking_client);
	run_clients(&s, short_client);
	server_stop(&s);
	T_EQ(atomic_load(&s.served), CLIENTS + 1000 / CLIENTS * CLIENTS);
	T_OK(atomic_load(&s.open_max) <= 3);
	return 0;
}

/* Goal: never more handlers than the limit, and the others' turn comes. */
START_TEST(the_limit_is_kept)
{
	t_run((unsigned)_i, serve_limited, NULL);
}
END_TEST

static int drain_in_time(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };
	int fd;

	(void)arg;
	o.drain_ns = 30 * SPG_SEC;
	server_start(&s, echo, &o);
	fd = connect_to(&s);
	talk(fd, 1);
	spg_ctx_cancel(s.ctx);
	T_OK(spg_sleep(20 * SPG_MS) == 0);
	talk(fd, 10); /* served on, after the end of the server's context */
	hang_up(fd);
	server_join(&s, 0);
	T_EQ(atomic_load(&s.served), 1);
	T_EQ(atomic_load(&s.canceled), 0);
	return 0;
}

/* Goal: in the drain a handler goes on as before; serve returns when it has ended, not later. */
START_TEST(handlers_finish_in_the_drain)
{
	t_run((unsigned)_i, drain_in_time, NULL);
}
END_TEST

static int drain_over(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };
	int fds[CLIENTS];
	int64_t begin;
	char byte;

	(void)arg;
	o.drain_ns = 30 * SPG_MS;
	server_start(&s, echo, &o);
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = connect_to(&s);
		talk(fds[i], 1);
	}
	begin = t_now_ns();
	server_stop(&s);
	T_OK(t_now_ns() - begin >= 30 * SPG_MS);
	T_EQ(atomic_load(&s.canceled), CLIENTS);
	for (int i = 0; i < CLIENTS; i++) {
		T_EQ(spg_recv(fds[i], &byte, 1, 0), 0);
		T_EQ(spg_close(fds[i]), 0);
	}
	return 0;
}

/* Goal: who is still there when the drain is over is canceled, and waited for. */
START_TEST(handlers_are_canceled_after_the_drain)
{
	t_run((unsigned)_i, drain_over, NULL);
}
END_TEST


/* Clients that ask before anybody accepts: they wait in the backlog. */
static void ask_early(struct server *s, int *fds, int n)
{
	for (int i = 0; i < n; i++) {
		fds[i] = connect_to(s);
		T_EQ(spg_write_all(fds[i], "question", 8), 8);
		T_EQ(spg_shutdown(fds[i], SHUT_WR), 0);
	}
}

static void hear_answers(int *fds, int n)
{
	char buf[MESSAGE_BYTES];

	for (int i = 0; i < n; i++) {
		T_EQ(spg_read_full(fds[i], buf, sizeof(buf)), 8);
		T_OK(memcmp(buf, "question", 8) == 0);
		T_EQ(spg_close(fds[i]), 0);
	}
}

/* Leaves exactly `room` descriptors free; the others are in `taken`. Returns how many. */
static int take_fds(int source, int room, int *taken, int max)
{
	struct rlimit limit;
	int n = 0;

	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)max;
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while (n < max && (taken[n] = fcntl(source, F_DUPFD_CLOEXEC, 0)) >= 0)
		n++;
	T_OK(n >= room && n < max);
	for (; room > 0; room--)
		T_EQ(close(taken[--n]), 0);
	return n;
}

#define FDS_LIMIT 200

static int run_short_of_fds(void *arg)
{
	int fds[CLIENTS], taken[FDS_LIMIT], n;
	struct server s = { 0 };

	(void)arg;
	listen_on(&s, "tcp", "127.0.0.1:0");
	ask_early(&s, fds, CLIENTS);
	n = take_fds(s.listener, 3, taken, FDS_LIMIT);
	server_start(&s, echo, NULL);
	hear_answers(fds, CLIENTS);
	T_EQ(atomic_load(&s.errors), 0);
	T_OK(atomic_load(&s.open_max) <= 3 + CLIENTS); /* what the clients give back counts too */
	while (n > 0)
		T_EQ(close(taken[--n]), 0);
	server_stop(&s);
	T_EQ(atomic_load(&s.served), CLIENTS);
	return 0;
}

/* Goal: with room for three connections all are served, as the ones before them end. */
START_TEST(a_full_descriptor_table_delays)
{
	t_run((unsigned)_i, run_short_of_fds, NULL);
}
END_TEST

static int run_out_of_fds(void *arg)
{
	int fds[2], taken[FDS_LIMIT], n;
	struct server s = { 0 };
	int64_t cpu;

	(void)arg;
	listen_on(&s, "tcp", "127.0.0.1:0");
	ask_early(&s, fds, 2);
	n = take_fds(s.listener, 0, taken, FDS_LIMIT);
	server_start(&s, echo, NULL);
	cpu = t_cpu_ns();
	T_EQ(spg_sleep(200 * SPG_MS), 0);
	T_EQ(atomic_load(&s.served), 0);
	T_OK(t_cpu_ns() - cpu < 100 * SPG_MS || t_sanitized()); /* it waits, it does not spin */
	while (n > 0)
		T_EQ(close(taken[--n]), 0);
	hear_answers(fds, 2); /* found by itself: no handler has ended */
	n = take_fds(s.listener, 0, taken, FDS_LIMIT);
	server_stop(&s); /* in the pause */
	while (n > 0)
		T_EQ(close(taken[--n]), 0);
	return 0;
}

/* Goal: without any room it neither spins nor gives up; its end comes in the pause as well. */
START_TEST(an_empty_descriptor_table_is_survived)
{
	t_run((unsigned)_i, run_out_of_fds, NULL);
}
END_TEST

static int run_short_of_coroutines(void *arg)
{
	struct server s = { 0 };
	int fds[CLIENTS];

	(void)arg;
	listen_on(&s, "tcp", "127.0.0.1:0");
	ask_early(&s, fds, CLIENTS);
	server_start(&s, echo, NULL);
	hear_answers(fds, CLIENTS);
	server_stop(&s);
	T_EQ(atomic_load(&s.served), CLIENTS);
	T_OK(atomic_load(&s.open_max) <= 4);
	return 0;
}

/* Goal: at the runtime's limit of coroutines a connection waits, and is not dropped. */
START_TEST(too_many_coroutines_delay)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.coroutines_max = 6; /* main and the server are two */
	T_EQ(t_run_config(&cfg, run_short_of_coroutines, NULL), 0);
}
END_TEST

static int resetting_client(void *arg)
{
	static const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	for (int i = 0; i < 20; i++) {
		int fd = connect_to(arg);

		if (i % 2 == 0)
			talk(fd, 1);
		T_EQ(spg_send(fd, "x", 1, 0), 1);
		T_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
		T_EQ(spg_close(fd), 0);
	}
	return 0;
}

static int serve_resets(void *arg)
{
	struct server s = { 0 };
	int fds = t_fds_count();

	(void)arg;
	server_start(&s, echo, NULL);
	run_clients(&s, resetting_client);
	run_clients(&s, talking_client);
	T_UNTIL(atomic_load(&s.open) == 0);
	server_stop(&s);
	T_OK(atomic_load(&s.errors) > 0);
	T_EQ(atomic_load(&s.canceled), 0);
	T_EQ(t_fds_count(), fds);
	return 0;
}

/* Goal: peers that reset, before and after their accept, harm nobody else. */
START_TEST(resets_are_survived)
{
	t_run((unsigned)_i, serve_resets, NULL);
}
END_TEST

static int close_listener(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };
	int fd;

	(void)arg;
	o.drain_ns = 30 * SPG_SEC;
	server_start(&s, echo, &o);
	fd = connect_to(&s);
	talk(fd, 1);
	T_EQ(spg_close(s.listener), 0);
	s.listener = -1;
	talk(fd, 1);
	hang_up(fd);
	server_join(&s, 0);
	/* shutdown(2) makes accept fail; the handlers are drained before that is reported. */
	s = (struct server){ 0 };
	server_start(&s, echo, &o);
	fd = connect_to(&s);
	talk(fd, 1);
	T_EQ(spg_shutdown(s.listener, SHUT_RDWR), 0);
	talk(fd, 1);
	hang_up(fd);
	server_join(&s, -EINVAL);
	return 0;
}

/* Goal: closing the listener ends the accepting in an orderly way; a broken one is an error. */
START_TEST(a_listener_that_goes_ends_it)
{
	t_run((unsigned)_i, close_listener, NULL);
}
END_TEST

static int misuse(void *arg)
{
	int udp = spg_listen("udp", "127.0.0.1:0", NULL), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };
	int fd;

	(void)arg;
	T_OK(udp >= 0 && null >= 0);
	T_ERR(spg_serve(udp, echo, NULL, NULL), -EINVAL);
	T_ERR(spg_serve(null, echo, NULL, NULL), -ENOTSOCK);
	T_ERR(spg_serve(-1, echo, NULL, NULL), -EBADF);
	T_EQ(spg_close(udp), 0);
	T_EQ(spg_close(null), 0);
	o.place = SPG_PIN(99);
	server_start(&s, echo, &o);
	T_ERR(spg_serve(s.listener, NULL, NULL, NULL), -EINVAL);
	fd = connect_to(&s);
	server_join(&s, -EINVAL); /* no such shard */
	T_EQ(spg_close(fd), 0);
	return 0;
}

/* Goal: each error of the header. */
START_TEST(misuse_is_reported)
{
	int fd = spg_listen("tcp", "127.0.0.1:0", NULL);

	T_ERR(spg_serve(fd, echo, NULL, NULL), -ESRCH); /* no runtime */
	T_EQ(close(fd), 0);
	t_run(2, misuse, NULL);
}
END_TEST

static void note_shard(int fd, void *arg)
{
	struct server *s = arg;

	enter(s);
	atomic_fetch_add(&s->errors, spg_shard() != 0);
	leave(s, fd);
}

static int placed_client(void *arg)
{
	char byte;
	int fd = connect_to(arg);

	T_EQ(spg_recv(fd, &byte, 1, 0), 0);
	T_EQ(spg_close(fd), 0);
	return 0;
}

static int place(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };

	(void)arg;
	o.place = SPG_PIN(0);
	server_start(&s, note_shard, &o);
	run_clients(&s, placed_client);
	server_stop(&s);
	T_EQ(atomic_load(&s.served), CLIENTS);
	T_EQ(atomic_load(&s.errors), 0);
	return 0;
}

/* Goal: handlers run where the options say. */
START_TEST(handlers_are_placed)
{
	t_run((unsigned)_i, place, NULL);
}
END_TEST

static int deadline_ends(void *arg)
{
	struct server s = { 0 };

	(void)arg;
	listen_on(&s, "unix", "@spg-test-serve");
	{
		SPG_TIMEOUT_SCOPE(10 * SPG_MS);
		T_EQ(spg_serve(s.listener, echo, &s, NULL), 0);
		T_EQ(spg_serve(s.listener, echo, &s, NULL), 0); /* ended before it began */
	}
	T_EQ(spg_close(s.listener), 0);
	return 0;
}

/* Goal: a scope's deadline is an end of the context like another, also for a unix listener. */
START_TEST(a_deadline_ends_it)
{
	t_run((unsigned)_i, deadline_ends, NULL);
}
END_TEST

/* Connects until the server is gone. */
static void pester(void *arg)
{
	struct server *s = arg;

	for (;;) {
		int fd = spg_dial("tcp", s->address, NULL);

		if (fd < 0)
			break;
		T_EQ(spg_close(fd), 0);
		if (spg_ctx_err(s->ctx) != 0)
			break;
	}
	atomic_fetch_sub(&s->canceled, 1);
}

static int cancel_storm(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	uint64_t seed = t_seed();
	int fds = t_fds_count();

	(void)arg;
	for (int i = 0; i < 60; i++) {
		struct server s = { 0 };

		o.connections_max = i % 3 == 0 ? 2 : 0;
		o.drain_ns = 0;
		server_start(&s, note_shard, &o);
		atomic_store(&s.canceled, 4); /* here: the clients that are left */
		for (int k = 0; k < 4; k++)
			T_EQ(spg_go(pester, &s), 0);
		T_EQ(spg_sleep((int64_t)(t_random(&seed) % 3000) * SPG_US), 0);
		spg_ctx_cancel(s.ctx);
		T_UNTIL(atomic_load(&s.canceled) == 0);
		server_join(&s, 0);
		T_EQ(t_fds_count(), fds);
	}
	return 0;
}

/* Goal: cancel against connections that arrive: whoever came too late is closed, nobody is forgotten. */
START_TEST(stress_cancel_against_arrivals)
{
	t_run((unsigned)_i, cancel_storm, NULL);
}
END_TEST

static int leave_it_running(void *arg)
{
	struct server *s = arg;
	int fd;

	server_start(s, echo, NULL);
	T_EQ(spg_detach(s->task), 0);
	spg_ctx_unref(s->ctx);
	fd = connect_to(s);
	talk(fd, 1);
	return 0;
}

/* Goal: the runtime's end reaches the server and its handlers without a drain. */
START_TEST(the_end_of_the_runtime_ends_it)
{
	struct server s = { 0 };
	int64_t begin = t_now_ns();

	t_run((unsigned)_i, leave_it_running, &s);
	T_OK(t_now_ns() - begin < 4 * SPG_SEC);
	T_EQ(atomic_load(&s.open), 0);
	T_EQ(atomic_load(&s.canceled), 1);
}
END_TEST

static void *serve_on_thread(void *arg)
{
	struct server *s = arg;

	return (void *)(intptr_t)spg_serve(s->listener, echo, s, NULL);
}

/* Goal: spg_serve on a plain thread, handlers on the shards; spg_stop ends it. */
START_TEST(a_foreign_thread_serves)
{
	spg_config cfg = t_config((unsigned)_i);
	struct server s = { 0 };
	pthread_t thread;
	void *result;
	int fd;

	T_EQ(spg_start(&cfg), 0);
	listen_on(&s, "tcp", "127.0.0.1:0");
	T_EQ(pthread_create(&thread, NULL, serve_on_thread, &s), 0);
	for (int i = 0; i < 20; i++) {
		fd = connect_to(&s);
		talk(fd, 2);
		hang_up(fd);
	}
	fd = connect_to(&s);
	talk(fd, 1);
	T_EQ(spg_stop(), 0);
	T_EQ(pthread_join(thread, &result), 0);
	T_EQ((intptr_t)result, 0);
	T_EQ(atomic_load(&s.served), 21);
	T_EQ(atomic_load(&s.canceled), 1);
	close(fd);
	close(s.listener);
}
END_TEST

T_MAIN(T_SHARDS(connections_are_served), T_SHARDS(connections_are_served_one_accept_at_a_time),
       T_SHARDS(the_limit_is_kept), T_SHARDS(handlers_finish_in_the_drain),
       T_SHARDS(handlers_are_canceled_after_the_drain), T_SHARDS(a_full_descriptor_table_delays),
       T_SHARDS(an_empty_descriptor_table_is_survived), T_SHARDS(too_many_coroutines_delay),
       T_SHARDS(resets_are_survived), T_SHARDS(a_listener_that_goes_ends_it),
       T_TEST(misuse_is_reported), T_SHARDS(handlers_are_placed), T_SHARDS(a_deadline_ends_it),
       T_SHARDS(stress_cancel_against_arrivals), T_SHARDS(the_end_of_the_runtime_ends_it),
       T_SHARDS(a_foreign_thread_serves))
