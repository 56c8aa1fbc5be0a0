/*
 * spg_serve on good days: connections served, the limit, the drain, its ends.
 */
#include "test/serve.h"

#include <pthread.h>

static int short_client(void *arg)
{
	for (int i = 0; i < 1000 / CLIENTS; i++) {
		int fd = connect_to(arg);

		talk(fd, 1);
		hang_up(fd);
	}
	return 0;
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
       T_SHARDS(handlers_are_canceled_after_the_drain), T_SHARDS(handlers_are_placed),
       T_SHARDS(a_deadline_ends_it), T_SHARDS(the_end_of_the_runtime_ends_it),
       T_SHARDS(a_foreign_thread_serves))
