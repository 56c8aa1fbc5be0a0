/*
 * The public headers from C++17: every header, every macro, in a program that runs. (Compiled with
 * -pedantic; tools/check-install looks that no macro is missing here.)
 */
#include "test/t.h"

#include <spg/base.h>
#include <spg/call.h>
#include <spg/chan.h>
#include <spg/conn.h>
#include <spg/ctx.h>
#include <spg/debug.h>
#include <spg/features.h>
#include <spg/fs.h>
#include <spg/go.h>
#include <spg/io.h>
#include <spg/msg.h>
#include <spg/net.h>
#include <spg/process.h>
#include <spg/runtime.h>
#include <spg/select.h>
#include <spg/signal.h>
#include <spg/stream.h>
#include <spg/sync.h>
#include <spg/time.h>

#include <atomic>
#include <csignal>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>

namespace {

struct point {
	int x, y;
};

SPG_CHAN_DEFINE(points, point)
SPG_CHAN_DEFINE(strings, std::string *)
SPG_MSG_DEFINE(greeting, 7, float)
static_assert(greeting_tag <= SPG_MSG_TAG_MAX && SPG_MSG_LANES_MAX > 0, "a tag");

template <class T, void (*end)(T *)> struct closer {
	void operator()(T *t) const
	{
		end(t);
	}
};
template <class T, void (*end)(T *)> using owned = std::unique_ptr<T, closer<T, end>>;
using chan_ptr = owned<spg_chan, spg_chan_unref>;
using ctx_ptr = owned<spg_ctx, spg_ctx_unref>;

/* Static initializers. */
spg_mutex mutex = SPG_MUTEX_INIT;
spg_rwlock rwlock = SPG_RWLOCK_INIT;
spg_cond cond = SPG_COND_INIT;
spg_once once = SPG_ONCE_INIT;

void count(void *arg)
{
	++*static_cast<std::atomic<int> *>(arg);
}

void *count_too(void *arg)
{
	count(arg);
	return arg;
}

int functions_and_lambdas(void *)
{
	std::atomic<int> ran{ 0 };
	spg_attr attr = SPG_ATTR_INIT;
	const spg_place places[] = { SPG_ANY, SPG_SPREAD, SPG_PIN(0), SPG_PREFER(0), SPG_STICKY(12345) };
	int expected = 0;

	T_EQ(spg_go(count, &ran), 0);
	T_EQ(spg_go(count_too, &ran), 0);
	T_EQ(spg_go([](void *arg) { count(arg); }, &ran), 0);
	T_EQ(spg_go([](void *arg) -> void * { return count_too(arg); }, &ran), 0);
	expected += 4;
	for (spg_place place : places) {
		attr.name = "placed";
		attr.place = place;
		T_EQ(spg_go_attr(&attr, count, &ran), 0);
		expected++;
	}
	std::atomic<int> *copy = &ran;
	T_EQ(spg_go_copy([](void *arg) { count(*static_cast<std::atomic<int> **>(arg)); }, &copy, sizeof(copy)), 0);
	expected++;
	T_UNTIL(ran == expected);

	spg_task *task = spg_spawn(nullptr, [](void *arg) -> void * { return count_too(arg); }, &ran);
	void *result = nullptr;
	T_OK(task != nullptr);
	T_EQ(spg_join(task, &result), 0);
	T_OK(result == &ran);
	T_OK(spg_in_coroutine() && spg_id() != 0 && spg_shard() >= 0 && spg_shards() <= SPG_SHARDS_MAX);
	return 0;
}

START_TEST(functions_and_lambdas_without_captures_become_coroutines)
{
	t_run((unsigned)_i, functions_and_lambdas, nullptr);
}
END_TEST

int channels(void *)
{
	points *c = points_new(2);
	point p{ 0, 0 };
	std::string text = "by reference";
	std::string *got = nullptr;

	T_ERR(points_try_recv(c, &p), -EAGAIN);
	T_EQ(points_send(c, point{ 1, 2 }), 0);
	T_EQ(points_try_send(c, point{ 3, 4 }), 0);
	T_ERR(points_try_send(c, point{ 5, 6 }), -EAGAIN);
	T_EQ(points_recv(c, &p), 0);
	T_OK(p.x == 1 && p.y == 2);
	T_EQ(points_try_recv(c, &p), 0);
	T_OK(p.x == 3 && p.y == 4);
	T_EQ(spg_chan_close(c), 0);
	T_ERR(points_send(c, p), -EPIPE);
	spg_chan_unref(c);

	strings *s = strings_new(1);
	T_EQ(strings_try_send(s, &text), 0);
	T_EQ(strings_try_recv(s, &got), 0);
	T_EQ(strings_send(s, &text), 0);
	T_EQ(strings_recv(s, &got), 0);
	T_OK(got == &text);
	spg_chan_unref(s);
	return 0;
}

START_TEST(typed_channels_carry_values)
{
	t_run((unsigned)_i, channels, nullptr);
}
END_TEST

int selects(void *)
{
	chan_ptr c(spg_chan_new(sizeof(int), 1)), full(spg_chan_new(sizeof(int), 1));
	spg_task *task = spg_spawn(nullptr, [](void *arg) { return arg; }, nullptr);
	int fds[2], v = 0, w = 5;

	T_EQ(spg_pipe2(fds, O_CLOEXEC), 0);
	T_EQ(spg_chan_send(full.get(), &w), 0);
	{
		spg_case cases[] = { SPG_RECV(c.get(), &v), SPG_SEND(full.get(), &w), SPG_READABLE(fds[0]), SPG_DEFAULT };
		T_EQ(spg_select(cases, 4), 3);
	}
	{
		spg_case cases[] = { SPG_SEND(c.get(), &w), SPG_AFTER(10 * SPG_SEC) };
		T_EQ(spg_select(cases, 2), 0);
		T_EQ(cases[0].err, 0);
	}
	{
		spg_case cases[] = { SPG_RECV(c.get(), &v), SPG_AT(spg_now() + 10 * SPG_SEC) };
		T_EQ(spg_select(cases, 2), 0);
		T_EQ(v, 5);
	}
	{
		spg_case cases[] = { SPG_WRITABLE(fds[1]), SPG_RECV(nullptr, nullptr) };
		T_EQ(spg_select(cases, 2), 0);
		/* The cast, which is C's compound literal and thus an extension here. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
		cases[0] = (spg_case)SPG_JOINED(task);
#pragma GCC diagnostic pop
		cases[1] = spg_case SPG_AFTER(20 * SPG_SEC); /* the same in C++ proper */
		T_EQ(spg_select(cases, 2), 0);
	}
	spg_case made[] = { spg_case_recv(c.get(), &v), spg_case_send(full.get(), &w), spg_case_after(SPG_SEC),
			    spg_case_at(INT64_MAX),	spg_case_readable(fds[0]),     spg_case_default() };
	T_EQ(spg_select(made, 6), 5);
	made[0] = spg_case_writable(fds[1]);
	T_EQ(spg_select(made, 1), 0);
	made[0] = spg_case_joined(task);
	T_EQ(spg_select(made, 1), 0);
	T_EQ(spg_join(task, nullptr), 0);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	return 0;
}

START_TEST(every_kind_of_case_is_selected)
{
	t_run((unsigned)_i, selects, nullptr);
}
END_TEST

/* Leaves two scopes by an exception. */
void throw_within()
{
	SPG_TIMEOUT_SCOPE(60 * SPG_SEC);
	SPG_SHIELD_SCOPE();
	SPG_TIMEOUT_SCOPE(SPG_MS);

	T_ERR(spg_sleep(10 * SPG_SEC), -ETIMEDOUT);
	throw std::runtime_error("out of three scopes");
}

int scopes(void *)
{
	ctx_ptr ctx(spg_ctx_new(nullptr));
	spg_ctx *before;
	int64_t when;

	T_ERR(spg_ctx_deadline(nullptr, &when), -ENOENT);
	for (int i = 0; i < 3; i++) {
		bool caught = false;

		try {
			throw_within();
		} catch (const std::runtime_error &) {
			caught = true;
		}
		T_OK(caught);
		T_ERR(spg_ctx_deadline(nullptr, &when), -ENOENT);
		T_EQ(spg_sleep(SPG_US), 0);
	}
	before = spg_ctx_enter(ctx.get());
	spg_ctx_cancel(ctx.get());
	T_ERR(spg_sleep(0), -ECANCELED);
	{
		SPG_SHIELD_SCOPE();
		T_EQ(spg_sleep(SPG_US), 0);
	}
	T_ERR(spg_ctx_err(nullptr), -ECANCELED);
	spg_ctx_leave(before);
	return 0;
}

START_TEST(scopes_end_with_their_block_also_by_an_exception)
{
	t_run((unsigned)_i, scopes, nullptr);
}
END_TEST

int groups(void *)
{
	owned<spg_group, spg_group_free> group(spg_group_new(2));
	std::atomic<int> ran{ 0 };

	for (int i = 0; i < 5; i++)
		T_EQ(spg_group_go(group.get(), [](void *arg) { count(arg); return 0; }, &ran), 0);
	T_EQ(spg_group_wait(group.get()), 0);
	T_EQ(ran, 5);
	T_EQ(spg_group_go(group.get(), [](void *) { return -EIO; }, nullptr), 0);
	T_ERR(spg_group_wait(group.get()), -EIO);
	return 0;
}

START_TEST(groups_run_lambdas)
{
	t_run((unsigned)_i, groups, nullptr);
}
END_TEST

int locks(void *)
{
	spg_wg wg = SPG_WG_INIT;
	std::atomic<int> ran{ 0 };
	spg_barrier barrier;
	spg_sem sem;

	T_EQ(spg_wg_add(&wg, 1), 0);
	T_EQ(spg_go([](void *arg) { spg_wg_done(static_cast<spg_wg *>(arg)); }, &wg), 0);
	T_EQ(spg_wg_wait(&wg), 0);
	T_EQ(spg_mutex_lock(&mutex), 0);
	T_EQ(spg_cond_signal(&cond), 0);
	T_EQ(spg_mutex_unlock(&mutex), 0);
	T_EQ(spg_rwlock_rdlock(&rwlock), 0);
	T_EQ(spg_rwlock_unlock(&rwlock), 0);
	T_EQ(spg_once_do(&once, count, &ran), 0);
	T_EQ(spg_once_do(&once, count, &ran), 0);
	T_OK(ran <= 1);
	T_EQ(spg_sem_init(&sem, 1), 0);
	T_EQ(spg_sem_acquire(&sem), 0);
	T_ERR(spg_sem_try_acquire(&sem), -EAGAIN);
	T_EQ(spg_barrier_init(&barrier, 1), 0);
	T_OK(spg_barrier_wait(&barrier) >= 0);
	return 0;
}

START_TEST(locks_have_static_initializers)
{
	t_run((unsigned)_i, locks, nullptr);
}
END_TEST

int times(void *)
{
	owned<spg_timer, spg_timer_free> timer(spg_timer_new());
	int64_t before = spg_now(), scheduled = 0;

	T_EQ(spg_timer_reset(timer.get(), before + SPG_MS), 0);
	T_EQ(spg_timer_wait(timer.get()), 0);
	T_OK(spg_now() >= before + SPG_MS);
	for (int policy : { SPG_MISSED_BURST, SPG_MISSED_DELAY, SPG_MISSED_SKIP }) {
		owned<spg_ticker, spg_ticker_free> ticker(spg_ticker_new(before, SPG_MS, policy));
		T_EQ(spg_ticker_wait(ticker.get(), &scheduled), 0);
	}
	return 0;
}

START_TEST(timers_and_tickers_tick)
{
	t_run((unsigned)_i, times, nullptr);
}
END_TEST

int files(void *)
{
	spg_walk_opts walk = SPG_WALK_OPTS_INIT;
	spg_du_opts du = SPG_DU_OPTS_INIT;
	spg_du_result sums;
	void *data = nullptr;
	size_t size = 0;
	int shown = 0;

	T_EQ(spg_read_file("/proc/self/comm", &data, &size), 0);
	T_OK(size > 0);
	free(data);
	walk.depth_max = 1;
	T_EQ(spg_walk("/proc/self/task", &walk,
		      [](const spg_walk_entry *entry, void *arg) {
			      ++*static_cast<int *>(arg);
			      return entry->depth > 0 ? SPG_WALK_SKIP : 0;
		      },
		      &shown),
	     0);
	T_OK(shown >= 2);
	du.size = SPG_DU_APPARENT;
	du.errors = SPG_DU_SKIP;
	T_EQ(spg_du("/proc/self/fdinfo", &du, &sums), 0);
	T_OK(sums.directories == 1);
	return 0;
}

START_TEST(files_are_read_and_trees_walked)
{
	t_run((unsigned)_i, files, nullptr);
}
END_TEST

void greet(int fd, void *)
{
	T_EQ(spg_write_all(fd, "hello", 5), 5);
	spg_close(fd);
}

/* The same greeting by a stream, and by a buffered reader. */
void streams(const std::string &address)
{
	spg_stream_opts opts = SPG_STREAM_OPTS_INIT;
	int fd = spg_dial("unix", address.c_str(), nullptr);
	spg_slice slice;
	std::string got;

	opts.slice_bytes = SPG_SLICE_BYTES_MAX;
	spg_stream *stream = spg_stream_open(fd, &opts);
	T_OK(stream != nullptr);
	while (spg_stream_recv(stream, &slice) == 0 && slice.len > 0) {
		got.append(static_cast<char *>(slice.data), slice.len);
		spg_slice_release(&slice);
	}
	T_STR(got.c_str(), "hello");
	spg_stream_close(stream);
	T_EQ(spg_close(fd), 0);

	spg_conn *conn = spg_conn_fd(spg_dial("unix", address.c_str(), nullptr));
	char text[6] = "";
	T_OK(conn != nullptr);
	T_EQ(spg_conn_read(conn, text, 5), 5);
	T_STR(text, "hello");
	T_EQ(spg_conn_close(conn), 0);
	T_OK(spg_features(nullptr, 0) > 0);
}

int sockets(void *)
{
	spg_listen_opts listen = SPG_LISTEN_OPTS_INIT;
	spg_dial_opts dial = SPG_DIAL_OPTS_INIT;
	std::string address = "@spg-test-cxx-" + std::to_string(getpid());
	int listener, fd;
	char text[6] = "";

	listen.backlog = 4;
	dial.timeout_ns = 10 * SPG_SEC;
	listener = spg_listen("unix", address.c_str(), &listen);
	T_OK(listener >= 0);
	spg_task *server = spg_spawn(
		nullptr,
		[](void *arg) -> void * {
			spg_serve_opts serve = SPG_SERVE_OPTS_INIT;

			serve.drain_ns = SPG_SEC;
			T_EQ(spg_serve(*static_cast<int *>(arg), greet, nullptr, &serve), 0);
			return nullptr;
		},
		&listener);
	fd = spg_dial("unix", address.c_str(), &dial);
	T_OK(fd >= 0);
	T_EQ(spg_read_full(fd, text, 5), 5);
	T_STR(text, "hello");
	T_EQ(spg_close(fd), 0);
	streams(address);
	T_EQ(spg_task_cancel(server), 0);
	T_EQ(spg_join(server, nullptr), 0);
	T_EQ(spg_close(listener), 0);
	return 0;
}

START_TEST(sockets_are_served_and_dialed)
{
	t_run((unsigned)_i, sockets, nullptr);
}
END_TEST

int streams(void *)
{
	spg_stream_opts opts = SPG_STREAM_OPTS_INIT;
	spg_conn *ends[2];
	spg_slice slice;
	iovec iov{ const_cast<char *>("lent"), 4 };
	char *line = nullptr;
	size_t len = 0;
	int fds[2];

	opts.slice_bytes = SPG_SLICE_BYTES_MAX;
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	owned<spg_stream, spg_stream_close> sender(spg_stream_open(fds[0], nullptr)),
		receiver(spg_stream_open(fds[1], &opts));
	T_EQ(spg_stream_send_all(sender.get(), &iov, 1), 0);
	T_EQ(spg_stream_recv(receiver.get(), &slice), 0);
	T_OK(std::string(static_cast<char *>(slice.data), slice.len) == "lent");
	spg_slice_release(&slice);
	sender.reset();
	receiver.reset();
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);

	T_EQ(spg_conn_pipe(ends), 0);
	owned<spg_conn, spg_conn_unref> near(ends[0]), far(ends[1]);
	owned<spg_reader, spg_reader_free> reader(spg_reader_new(far.get(), 0));
	spg_task *writer = spg_spawn(
		nullptr,
		[](void *arg) -> void * {
			owned<spg_writer, spg_writer_free> w(spg_writer_new(static_cast<spg_conn *>(arg), 0));
			T_EQ(spg_writer_printf(w.get(), "%s %d\n", "line", 1), 7);
			T_EQ(spg_writer_flush(w.get()), 0);
			return arg;
		},
		near.get());
	T_EQ(spg_reader_line(reader.get(), &line, &len), 1);
	T_OK(std::string(line, len) == "line 1");
	T_EQ(spg_join(writer, nullptr), 0);
	T_EQ(spg_conn_close(near.release()), 0);
	T_EQ(spg_conn_close(far.release()), 0);
	return 0;
}

START_TEST(streams_lend_and_buffer)
{
	t_run((unsigned)_i, streams, nullptr);
}
END_TEST

int messages(void *)
{
	spg_msg msg{};
	float value = 0;

	T_EQ(spg_pin_self(), 0);
	T_EQ(greeting_send(spg_shard(), 2.5f), 0);
	T_EQ(spg_msg_recv(&msg), 0);
	T_OK(greeting_is(&msg, &value));
	T_OK(value > 2.4f && value < 2.6f);
	T_EQ(spg_msg_lane(greeting_tag), 0);
	T_EQ(greeting_try_send(spg_shard(), 1.5f), 0);
	T_EQ(greeting_recv(&value), 0);
	T_OK(value < 1.6f);
	msg = greeting_msg(0.5f);
	T_EQ(spg_msg_send_many(spg_shard(), &msg, 1), 1);
	T_EQ(greeting_recv(&value), 0);
	T_OK(value < 0.6f);
	T_EQ(spg_unpin_self(), 0);
	return 0;
}

START_TEST(messages_carry_a_type)
{
	t_run((unsigned)_i, messages, nullptr);
}
END_TEST

int programs(void *)
{
	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
	const int wanted = SIGUSR1;
	chan_ptr signals(spg_chan_new(sizeof(int), 1));
	std::string name = "cat";
	char *argv[] = { name.data(), nullptr };
	void *out = nullptr;
	size_t size = 0;
	int status = -1, got = 0;

	opts.argv = argv;
	opts.input = "through cat";
	opts.input_bytes = 11;
	opts.stderr_fd = SPG_STDIO_NULL;
	T_EQ(spg_process_output(&opts, &out, &size, &status), 0);
	T_OK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	T_OK(std::string(static_cast<char *>(out), size) == "through cat");
	free(out);
	T_EQ(spg_signal_notify(signals.get(), &wanted, 1), 0);
	T_EQ(kill(getpid(), SIGUSR1), 0);
	T_EQ(spg_chan_recv(signals.get(), &got), 0);
	T_EQ(got, SIGUSR1);
	T_EQ(spg_signal_stop(signals.get()), 0);
	return 0;
}

START_TEST(programs_run_and_signals_arrive)
{
	t_run((unsigned)_i, programs, nullptr);
}
END_TEST

START_TEST(a_program_of_threads_calls_into_the_runtime)
{
	spg_config cfg = t_config((unsigned)_i);
	static spg_stats_t stats;
	int result = 0, value = 20;
	void *blocked = nullptr;

	cfg.deadlock = SPG_DEADLOCK_IGNORE;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_call([](void *arg) { return spg_in_coroutine() ? 2 * *static_cast<int *>(arg) : -1; }, &value,
		      10 * SPG_SEC, &result),
	     0);
	T_EQ(result, 40);
	T_EQ(spg_blocking([](void *arg) { return arg; }, &value, &blocked), 0);
	T_OK(blocked == &value);
	T_EQ(spg_stats(&stats), 0);
	T_EQ(stats.shards, cfg.shards);
	T_EQ(stats.total.calls, 1);
	T_OK(spg_stats_local_hit_ratio(&stats.total) <= 1 && spg_stats_steal_success_rate(&stats.total) <= 1);
	T_OK(spg_stats_queued(&stats) >= spg_stats_queued_max(&stats));
	T_OK(spg_stats_steals_per_scan(&stats.total) <= 1 && spg_stats_inflight_max(&stats) == 0);
	T_EQ(spg_stop(), 0);
	T_OK(spg_features(nullptr, 0) > 1);
	T_STR(spg_strerror(-ETIMEDOUT), strerror(ETIMEDOUT));
	T_OK(3 * SPG_SEC == 3000 * SPG_MS && SPG_MS == 1000 * SPG_US);
}
END_TEST

} // namespace

T_MAIN(T_SHARDS(functions_and_lambdas_without_captures_become_coroutines), T_SHARDS(typed_channels_carry_values),
       T_SHARDS(every_kind_of_case_is_selected), T_SHARDS(scopes_end_with_their_block_also_by_an_exception),
       T_SHARDS(groups_run_lambdas), T_SHARDS(locks_have_static_initializers), T_SHARDS(timers_and_tickers_tick),
       T_SHARDS(files_are_read_and_trees_walked), T_SHARDS(sockets_are_served_and_dialed),
       T_SHARDS(streams_lend_and_buffer), T_SHARDS(messages_carry_a_type), T_SHARDS(programs_run_and_signals_arrive),
       T_SHARDS(a_program_of_threads_calls_into_the_runtime))
