/*
 * spg_serve on good days: connections served, the limit, the drain, its ends.
 */
#include "test/serve.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
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

/* Abstract names are the whole machine's: another run of this test may be under way. */
static const char *own_name(void)
{
	static char name[64];

	snprintf(name, sizeof(name), "@spg-test-serve-%d", (int)getpid());
	return name;
}

static void listen_shared(struct server *s)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	struct sockaddr_storage name = { 0 };
	socklen_t len = sizeof(name);

	o.reuse_port = true;
	o.rcvbuf_bytes = 40000;
	s->listener = spg_listen("tcp", "127.0.0.1:0", &o);
	T_OK(s->listener >= 0);
	T_EQ(getsockname(s->listener, (struct sockaddr *)&name, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&name, s->address, sizeof(s->address)) > 0);
}

static _Atomic int seen_on[4];

static void note_where(int fd, void *arg)
{
	int value = 0, nodelay = 0;
	socklen_t len = sizeof(value);

	T_OK(spg_shard() < 4);
	atomic_fetch_add(&seen_on[spg_shard()], 1);
	T_EQ(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, &len), 0);
	T_EQ(value, 80000);
	T_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
	T_EQ(nodelay, 1);
	echo(fd, arg);
}

static int serve_per_shard(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	int fds = t_fds_count(), shards = spg_shards();
	struct server s = { 0 };

	(void)arg;
	o.per_shard = true;
	for (int i = 0; i < 4; i++)
		atomic_store(&seen_on[i], 0);
	listen_shared(&s);
	server_start(&s, note_where, &o);
	/* All of them listen before the first connects: the kernel spreads over those that do. */
	T_UNTIL(t_fds_count() >= fds + shards);
	run_clients(&s, talking_client);
	run_clients(&s, short_client);
	server_stop(&s);
	T_EQ(atomic_load(&s.served), CLIENTS + 1000 / CLIENTS * CLIENTS);
	for (int i = 0; i < shards; i++)
		T_OK(atomic_load(&seen_on[i]) > 0);
	T_EQ(t_fds_count(), fds);
	return 0;
}

static int serve_spread(void *arg)
{
	struct server s = { 0 };

	(void)arg;
	for (int i = 0; i < 4; i++)
		atomic_store(&seen_on[i], 0);
	listen_shared(&s);
	server_start(&s, note_where, NULL);
	run_clients(&s, short_client);
	server_stop(&s);
	for (int i = 0; i < spg_shards(); i++)
		T_OK(atomic_load(&seen_on[i]) > 0);
	return 0;
}

/* Goal: without further ado a thousand connections are served on all shards. */
START_TEST(connections_are_spread)
{
	t_run((unsigned)_i, serve_spread, NULL);
}
END_TEST

/* Goal: a listener for each shard, all of them used, with the options of the first; none is left. */
START_TEST(each_shard_has_a_listener)
{
	t_run((unsigned)_i, serve_per_shard, NULL);
}
END_TEST

static int limit_per_shard(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };

	(void)arg;
	o.per_shard = true;
	o.connections_max = 3;
	listen_shared(&s);
	server_start(&s, echo, &o);
	run_clients(&s, short_client);
	T_OK(atomic_load(&s.open_max) <= 3);
	/* Closing the first ends all. */
	T_EQ(spg_close(s.listener), 0);
	s.listener = -1;
	server_join(&s, 0);
	/* And a deadline does. */
	listen_shared(&s);
	{
		SPG_TIMEOUT_SCOPE(10 * SPG_MS);
		T_EQ(spg_serve(s.listener, echo, &s, &o), 0);
	}
	T_EQ(spg_close(s.listener), 0);
	return 0;
}

/* Goal: the limit holds for all together; a close and a deadline end all. */
START_TEST(listeners_of_shards_share_a_limit_and_an_end)
{
	t_run((unsigned)_i, limit_per_shard, NULL);
}
END_TEST

static int not_shared(void *arg)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	struct server s = { 0 };

	(void)arg;
	o.per_shard = true;
	listen_on(&s, "tcp", "127.0.0.1:0");
	T_ERR(spg_serve(s.listener, echo, &s, &o), -EINVAL);
	T_EQ(spg_close(s.listener), 0);
	listen_on(&s, "unix", own_name());
	T_ERR(spg_serve(s.listener, echo, &s, &o), -EINVAL);
	T_EQ(spg_close(s.listener), 0);
	return 0;
}

/* Goal: an address that nobody may share is refused. */
START_TEST(a_listener_for_each_shard_needs_a_shared_port)
{
	t_run((unsigned)_i, not_shared, NULL);
}
END_TEST

static int deadline_ends(void *arg)
{
	struct server s = { 0 };

	(void)arg;
	listen_on(&s, "unix", own_name());
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

	return (void *)(intptr_t)spg_serve(s->listener, echo, s, s->opts);
}

static void serve_from_thread(unsigned shards, const spg_serve_opts *o)
{
	spg_config cfg = t_config(shards);
	struct server s = { .opts = o };
	pthread_t thread;
	void *result;
	int fd;

	T_EQ(spg_start(&cfg), 0);
	listen_shared(&s);
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

/* Goal: spg_serve on a plain thread, handlers on the shards; spg_stop ends it. With one listener and with many. */
START_TEST(a_foreign_thread_serves)
{
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;

	serve_from_thread((unsigned)_i, NULL);
	o.per_shard = true;
	serve_from_thread((unsigned)_i, &o);
}
END_TEST

T_MAIN(T_SHARDS(connections_are_served), T_SHARDS(connections_are_served_one_accept_at_a_time),
       T_SHARDS(the_limit_is_kept), T_SHARDS(handlers_finish_in_the_drain),
       T_SHARDS(handlers_are_canceled_after_the_drain), T_SHARDS(handlers_are_placed), T_SHARDS(connections_are_spread),
       T_SHARDS(each_shard_has_a_listener), T_SHARDS(listeners_of_shards_share_a_limit_and_an_end),
       T_SHARDS(a_listener_for_each_shard_needs_a_shared_port),
       T_SHARDS(a_deadline_ends_it), T_SHARDS(the_end_of_the_runtime_ends_it),
       T_SHARDS(a_foreign_thread_serves))
