/* Memory refused: what allocates says so, and leaves nothing behind. */
#include "crowd.h"

#include "coro/fault.h"

#include <fcntl.h>
#include <liburing.h>
#include <netdb.h>

static void refuse(int64_t times)
{
	spg__fault_arm(SPG__FAULT_ALLOC, 1, times, -ENOMEM);
}

static void allow(void)
{
	spg__fault_disarm(SPG__FAULT_ALLOC);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* A thread's first blocking call makes its waiter; here that fails each time. */
static void *first_calls(void *arg)
{
	spg_mutex m = SPG_MUTEX_INIT;
	spg_rwlock rw = SPG_RWLOCK_INIT;
	spg_cond c = SPG_COND_INIT;
	spg_wg wg = SPG_WG_INIT;
	spg_once once = SPG_ONCE_INIT;
	spg_barrier barrier;
	spg_sem sem;

	T_EQ(spg_sem_init(&sem, 1), 0);
	T_EQ(spg_barrier_init(&barrier, 1), 0);
	refuse(INT64_MAX);
	T_ERR(spg_mutex_lock(&m), -ENOMEM);
	T_ERR(spg_mutex_lock_ctx(&m), -ENOMEM);
	T_ERR(spg_mutex_trylock(&m), -ENOMEM);
	T_ERR(spg_mutex_unlock(&m), -EPERM);
	T_ERR(spg_rwlock_rdlock(&rw), -ENOMEM);
	T_ERR(spg_rwlock_rdlock_ctx(&rw), -ENOMEM);
	T_ERR(spg_rwlock_wrlock(&rw), -ENOMEM);
	T_ERR(spg_rwlock_wrlock_ctx(&rw), -ENOMEM);
	T_ERR(spg_rwlock_unlock(&rw), -EPERM);
	T_ERR(spg_cond_wait(&c, &m), -EPERM); /* who cannot wait holds no mutex */
	T_ERR(spg_sem_acquire(&sem), -ENOMEM);
	T_ERR(spg_wg_wait(&wg), -ENOMEM);
	T_ERR(spg_once_do(&once, nothing, NULL), -ENOMEM);
	T_ERR(spg_barrier_wait(&barrier), -ENOMEM);
	T_ERR(spg_sleep(0), -ENOMEM);
	T_ERR(spg_sleep_until(0), -ENOMEM);
	T_OK(spg_ctx_current() == NULL);
	T_EQ(spg_ctx_err(NULL), 0);
	{
		SPG_TIMEOUT_SCOPE(0); /* without effect */
		SPG_SHIELD_SCOPE();
		T_EQ(spg_ctx_err(NULL), 0);
	}
	allow();
	/* All of it was left as it was. */
	T_EQ(spg_mutex_trylock(&m), 0);
	T_EQ(spg_rwlock_wrlock(&rw), 0);
	T_EQ(spg_sem_try_acquire(&sem), 0);
	T_EQ(spg_once_do(&once, nothing, NULL), 0);
	T_EQ(spg_barrier_wait(&barrier), 1);
	return arg;
}

/* Goal: a foreign thread without memory for its waiter gets -ENOMEM and has changed nothing. */
START_TEST(a_threads_first_call_may_lack_memory)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, first_calls, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
}
END_TEST

static void *wait_on_objects(void *arg)
{
	spg_timer *timer = spg_timer_new();
	spg_ticker *ticker = spg_ticker_new(0, 1, SPG_MISSED_BURST);

	refuse(INT64_MAX);
	T_ERR(spg_timer_wait(timer), -ENOMEM);
	T_ERR(spg_ticker_wait(ticker, NULL), -ENOMEM);
	allow();
	spg_timer_free(timer);
	spg_ticker_free(ticker);
	return arg;
}

static int ten(void *arg)
{
	(void)arg;
	return 10;
}

static int constructors(void *arg)
{
	spg_ctx *ctx = spg_ctx_new(NULL);
	spg_group *g = spg_group_new(1);
	static char key;
	int value = 1;

	(void)arg;
	T_OK(ctx != NULL && g != NULL);
	refuse(INT64_MAX);
	T_OK(spg_ctx_new(NULL) == NULL);
	T_OK(spg_ctx_with_deadline(ctx, 5) == NULL);
	T_OK(spg_ctx_with_timeout(ctx, 5) == NULL);
	T_OK(spg_ctx_done(ctx) == NULL);
	T_ERR(spg_ctx_after(ctx, nothing, NULL), -ENOMEM);
	T_ERR(spg_ctx_set(ctx, &key, &value), -ENOMEM);
	T_OK(spg_ctx_get(ctx, &key) == NULL);
	T_OK(spg_timer_new() == NULL);
	T_OK(spg_ticker_new(0, 1, SPG_MISSED_BURST) == NULL);
	T_OK(spg_group_new(0) == NULL);
	if (spg_running())
		T_ERR(spg_group_go(g, ten, NULL), -ENOMEM);
	allow();
	/* Each allocation of those that make several. */
	for (int64_t nth = 1; nth <= 2; nth++) {
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		T_OK(spg_group_new(0) == NULL);
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		T_OK(spg_ctx_done(ctx) == NULL);
	}
	allow();
	T_OK(spg_ctx_done(ctx) != NULL);
	/* The slot of the child that was not is free. */
	if (spg_running())
		T_EQ(spg_group_go(g, ten, NULL), 0);
	T_EQ(spg_group_wait(g), 0);
	spg_group_free(g);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: constructors return NULL, calls -ENOMEM, each allocation failed in turn. */
START_TEST(refused_memory_is_reported)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, wait_on_objects, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(constructors(NULL), 0);
	t_run(1, constructors, NULL);
}
END_TEST

/* No allocation and no mapping; what was allocated before may be used up first. */
static void refuse_all(void)
{
	refuse(INT64_MAX);
	spg__fault_arm(SPG__FAULT_MAP, 1, INT64_MAX, -ENOMEM);
}

static void allow_all(void)
{
	allow();
	spg__fault_disarm(SPG__FAULT_MAP);
}

#define COROUTINES_MANY 100000

/* Parks until the gate opens, so that no coroutine that ended, on any shard, gives memory back. */
static void wait_gate(void *gate)
{
	spg_wg_wait(gate);
}

static int spawns(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;
	static spg_wg gate = SPG_WG_INIT;
	char data[64] = "";
	int err = 0;

	(void)arg;
	spg_wg_add(&gate, 1);
	refuse_all();
	T_ERR(spg_go_copy(nothing, data, sizeof(data)), -ENOMEM);
	for (int i = 0; i < COROUTINES_MANY && err == 0; i++)
		err = spg_go(wait_gate, &gate);
	T_ERR(err, -ENOMEM);
	T_ERR(spg_go_attr(&attr, nothing, NULL), -ENOMEM);
	T_OK(spg_spawn(NULL, wait_on_objects, NULL) == NULL);
	allow_all();
	spg_wg_done(&gate);
	spg_yield();
	T_EQ(spg_go(nothing, NULL), 0);
	return 0;
}

/* Goal: without memory for coroutines spawns fail, and what was spawned runs. */
START_TEST(spawns_without_memory_fail)
{
	t_run((unsigned)_i, spawns, NULL);
}
END_TEST

static void serve_none(int fd, void *arg)
{
	(void)arg;
	spg_close(fd);
}

static int in_a_coroutine(void *arg)
{
	int listener = spg_listen("tcp", "127.0.0.1:0", NULL), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	spg_key key;

	(void)arg;
	T_OK(listener >= 0 && null >= 0);
	T_EQ(spg_key_create(&key, NULL), 0);
	refuse_all();
	T_ERR(spg_key_set(key, &key), -ENOMEM);
	T_ERR(spg_serve(listener, serve_none, NULL, NULL), -ENOMEM);
	T_ERR(spg_debug_serve("127.0.0.1:0"), -ENOMEM);
	T_ERR(spg_stats_json(null), -ENOMEM);
	T_ERR(spg_dump(null), -ENOMEM);
	T_ERR(spg_trace_start(null), -ENOMEM);
	T_ERR(spg_call(ten, NULL, -1, NULL), -ENOMEM);
	allow_all();
	T_EQ(spg_stats_json(null), 0);
	T_EQ(spg_key_set(key, &key), 0);
	T_EQ(spg_key_delete(key), 0);
	T_EQ(spg_close(listener), 0);
	T_EQ(spg_close(null), 0);
	return 0;
}

START_TEST(calls_of_a_coroutine_without_memory)
{
	t_run((unsigned)_i, in_a_coroutine, NULL);
}
END_TEST

struct owned {
	spg_task *task;
	spg_group *group;
	spg_process *process;
	spg_stream *stream;
};

static void no_operation(struct io_uring_sqe *sqe, void *arg)
{
	(void)arg;
	io_uring_prep_nop(sqe);
}

/* The first calls of a thread, on objects that others made. */
static void *on_a_new_thread(void *arg)
{
	struct owned *owned = arg;
	struct addrinfo *list;
	void *result;
	int status;

	refuse_all();
	T_ERR(spg_join(owned->task, &result), -ENOMEM);
	T_ERR(spg_group_wait(owned->group), -ENOMEM);
	T_ERR(spg_process_wait(owned->process, &status), -ENOMEM);
	T_ERR(spg_resolve("spg-no-such-host", "80", NULL, &list), -ENOMEM);
	T_ERR(spg_dial("tcp", "127.0.0.1:1", NULL), -ENOMEM);
	T_ERR(spg_uring(no_operation, NULL, NULL), -ENOMEM);
	T_ERR(spg_stream_send_all(owned->stream, &(struct iovec){ owned, 1 }, 1), -ENOMEM);
	allow_all();
	T_EQ(spg_join(owned->task, &result), 0);
	T_EQ(spg_group_wait(owned->group), 0);
	T_EQ(spg_process_wait(owned->process, &status), 0);
	return arg;
}

static void *nothing_too(void *arg)
{
	return arg;
}

START_TEST(calls_of_a_new_thread_without_memory)
{
	spg_config cfg = t_config((unsigned)_i);
	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
	struct owned owned;
	pthread_t thread;
	int socks[2];

	refuse_all();
	T_ERR(spg_start(&cfg), -ENOMEM);
	allow_all();
	T_EQ(spg_start(&cfg), 0);
	opts.path = "true";
	T_EQ(spg_process_start(&opts, &owned.process), 0);
	owned.task = spg_spawn(NULL, nothing_too, NULL);
	owned.group = spg_group_new(0);
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	owned.stream = spg_stream_open(socks[0], NULL);
	T_OK(owned.stream != NULL);
	T_EQ(pthread_create(&thread, NULL, on_a_new_thread, &owned), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	spg_process_free(owned.process);
	spg_group_free(owned.group);
	spg_stream_close(owned.stream);
	T_EQ(close(socks[0]), 0);
	T_EQ(close(socks[1]), 0);
	T_EQ(spg_stop(), 0);
}
END_TEST

T_MAIN(T_TEST(a_threads_first_call_may_lack_memory), T_TEST(refused_memory_is_reported),
       T_SHARDS(spawns_without_memory_fail), T_SHARDS(calls_of_a_coroutine_without_memory),
       T_SHARDS(calls_of_a_new_thread_without_memory))
