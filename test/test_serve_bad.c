/*
 * spg_serve on bad days: shortages, resets, listeners that go, cancels among arrivals.
 */
#include "test/serve.h"

#include <sys/resource.h>

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

static void hang_up_at_once(int fd, void *arg)
{
	enter(arg);
	leave(arg, fd);
}

/* Connects until the server is gone. Most hang up with a reset: thousands would use up the ports in TIME_WAIT. */
static void pester(void *arg)
{
	struct linger hard = { .l_onoff = 1 };
	struct server *s = arg;

	for (unsigned i = 0;; i++) {
		int fd = spg_dial("tcp", s->address, NULL);

		if (fd < 0)
			break;
		if (i % 8 != 0)
			T_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
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
		server_start(&s, hang_up_at_once, &o);
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

T_MAIN(T_SHARDS(a_full_descriptor_table_delays), T_SHARDS(an_empty_descriptor_table_is_survived),
       T_SHARDS(too_many_coroutines_delay), T_SHARDS(resets_are_survived),
       T_SHARDS(a_listener_that_goes_ends_it), T_TEST(misuse_is_reported),
       T_SHARDS(stress_cancel_against_arrivals))
