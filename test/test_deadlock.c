/*
 * Deadlocks: each shape is reported, drained and spg_run's value; and the runtime starts anew.
 */
#include "deadlock.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spg/call.h>

/* ---- Shapes: each waits for what never comes; its value is what the drain made of it. ---- */

static int chan_recv(void *arg)
{
	spg_chan *c = spg_chan_new(sizeof(int), 0);
	int err = spg_chan_recv(c, NULL);

	(void)arg;
	spg_chan_unref(c);
	return err;
}

static int chan_send(void *arg)
{
	spg_chan *c = spg_chan_new(sizeof(int), 1);
	int value = 1, err = spg_chan_send(c, &value);

	(void)arg;
	if (err == 0)
		err = spg_chan_send(c, &value);
	spg_chan_unref(c);
	return err;
}

static int select_never(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0), *d = spg_chan_new(0, 0);
	spg_case cases[] = { SPG_RECV(c, NULL), SPG_SEND(d, NULL), SPG_RECV(NULL, NULL) };
	int err = spg_select(cases, 3);

	(void)arg;
	spg_chan_unref(c);
	spg_chan_unref(d);
	return err;
}

static int wg_never(void *arg)
{
	spg_wg wg = SPG_WG_INIT;
	int err;

	(void)arg;
	spg_wg_add(&wg, 1);
	err = spg_wg_wait(&wg);
	spg_wg_done(&wg);
	return err;
}

static int sem_never(void *arg)
{
	spg_sem sem;

	(void)arg;
	spg_sem_init(&sem, 0);
	return spg_sem_acquire(&sem);
}

static int cond_never(void *arg)
{
	spg_mutex mutex = SPG_MUTEX_INIT;
	spg_cond cond = SPG_COND_INIT;
	int err;

	(void)arg;
	spg_mutex_lock(&mutex);
	err = spg_cond_wait(&cond, &mutex);
	spg_mutex_unlock(&mutex);
	return err;
}

static int barrier_never(void *arg)
{
	spg_barrier barrier;

	(void)arg;
	spg_barrier_init(&barrier, 2);
	return spg_barrier_wait(&barrier);
}

static int timer_never(void *arg)
{
	spg_timer *timer = spg_timer_new();
	int err = spg_timer_wait(timer);

	(void)arg;
	spg_timer_free(timer);
	return err;
}

static int child_never(void *arg)
{
	return chan_recv(arg);
}

static int group_never(void *arg)
{
	spg_group *g = spg_group_new(0);
	int err = spg_group_go(g, child_never, arg);

	if (err == 0)
		err = spg_group_wait(g);
	spg_group_free(g);
	return err;
}

static int msg_never(void *arg)
{
	spg_msg msg;

	(void)arg;
	return spg_msg_recv(&msg);
}

/* Two tasks that join each other, and main joins one of them. */
struct join_cycle {
	spg_task *task[2];
	spg_chan *ready;
};

static void *join_other(void *arg)
{
	struct join_cycle *cycle = ((void **)arg)[0];
	int other = (int)(intptr_t)((void **)arg)[1];

	if (spg_chan_recv(cycle->ready, NULL) == 0 && spg_join(cycle->task[other], NULL) < 0)
		spg_detach(cycle->task[other]); /* it is ours still */
	return NULL;
}

static int join_cycle(void *arg)
{
	static struct join_cycle cycle;
	static void *args[2][2] = { { &cycle, (void *)1 }, { &cycle, (void *)0 } };
	spg_wg never = SPG_WG_INIT;
	int err;

	(void)arg;
	cycle.ready = spg_chan_new(0, 0);
	for (int i = 0; i < 2; i++)
		cycle.task[i] = spg_spawn(NULL, join_other, args[i]);
	for (int i = 0; i < 2; i++)
		spg_chan_send(cycle.ready, NULL);
	spg_wg_add(&never, 1);
	err = spg_wg_wait(&never);
	spg_chan_unref(cycle.ready);
	return err;
}

/* Two mutexes in opposite orders. */
struct cross {
	spg_mutex mutex[2];
	spg_barrier both;
	spg_wg wg;
	int (*lock)(spg_mutex *);
};

static void lock_both(void *arg)
{
	struct cross *cross = ((void **)arg)[0];
	int first = (int)(intptr_t)((void **)arg)[1];

	spg_mutex_lock(&cross->mutex[first]);
	spg_barrier_wait(&cross->both);
	if (cross->lock(&cross->mutex[1 - first]) == 0)
		spg_mutex_unlock(&cross->mutex[1 - first]);
	spg_mutex_unlock(&cross->mutex[first]);
	spg_wg_done(&cross->wg);
}

static int cross_locked(struct cross *cross)
{
	static void *args[2][2];

	spg_barrier_init(&cross->both, 2);
	spg_wg_add(&cross->wg, 2);
	for (int i = 0; i < 2; i++) {
		args[i][0] = cross;
		args[i][1] = (void *)(intptr_t)i;
		spg_go(lock_both, args[i]);
	}
	return spg_wg_wait(&cross->wg);
}

/* What became of them is looked at when spg_run has returned. */
static struct cross soft;
static struct cross hard = { .mutex = { SPG_MUTEX_INIT, SPG_MUTEX_INIT }, .wg = SPG_WG_INIT, .lock = spg_mutex_lock };

static int cross_locked_ctx(void *arg)
{
	(void)arg;
	soft = (struct cross){
		.mutex = { SPG_MUTEX_INIT, SPG_MUTEX_INIT }, .wg = SPG_WG_INIT, .lock = spg_mutex_lock_ctx
	};
	return cross_locked(&soft);
}

static int cross_locked_hard(void *arg)
{
	(void)arg;
	return cross_locked(&hard);
}

static void wait_for_ever(void *arg)
{
	spg_chan_recv(arg, NULL);
	spg_chan_unref(arg);
}

/* A coroutine pinned to each shard, main as well. */
static int all_pinned(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	int err;

	(void)arg;
	for (int i = 0; i < spg_shards(); i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PIN(i);
		T_EQ(spg_go_attr(&attr, wait_for_ever, spg_chan_ref(c)), 0);
	}
	spg_pin_self();
	err = spg_chan_recv(c, NULL);
	spg_chan_unref(c);
	return err;
}

/* Many on one channel. */
static int a_thousand(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	int err;

	(void)arg;
	for (int i = 0; i < 1000; i++)
		T_EQ(spg_go(wait_for_ever, spg_chan_ref(c)), 0);
	err = spg_chan_recv(c, NULL);
	spg_chan_unref(c);
	return err;
}

static const struct {
	const char *name;
	int (*fn)(void *);
} shapes[] = {
	{ "recv", chan_recv },	      { "send", chan_send },	{ "select", select_never },
	{ "wait group", wg_never },   { "semaphore", sem_never }, { "cond", cond_never },
	{ "barrier", barrier_never }, { "timer", timer_never }, { "group", group_never },
	{ "join", join_cycle },	      { "mutex", cross_locked_ctx }, { "pinned", all_pinned },
	{ "thousand", a_thousand },   { "message", msg_never },
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Goal: every shape is reported, with the names of who waits; all is drained; and again. */
START_TEST(every_shape_is_reported)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;

	NEEDS_REPORTS();
	for (size_t i = 0; i < 2 * SHAPES; i++) {
		int value;

		capture_begin(&out);
		value = spg_run(&cfg, shapes[i % SHAPES].fn, NULL);
		capture_end(&out);
		if (value != -EDEADLK || !deadlock_reported(&out) || strstr(out.text, "\"main\"") == NULL)
			t_fail(__FILE__, __LINE__, "%s: %d, \"%s\"", shapes[i % SHAPES].name, value, out.text);
		T_OK(strstr(out.text, "cannot end") == NULL);
	}
}
END_TEST

static int forty_two(void *arg)
{
	return arg != NULL ? *(int *)arg : 42;
}

/* Goal: after a deadlock a run is a run. */
START_TEST(the_runtime_works_after_a_deadlock)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	int fds = -1;

	NEEDS_REPORTS();
	for (int i = 0; i < 5; i++) {
		capture_begin(&out);
		T_EQ(spg_run(&cfg, chan_recv, NULL), -EDEADLK);
		T_EQ(spg_run(&cfg, forty_two, NULL), 42);
		capture_end(&out);
		T_EQ(deadlocks_reported(&out), 1);
		if (fds >= 0)
			T_EQ(t_fds_count(), fds);
		fds = t_fds_count();
	}
}
END_TEST

/* Goal: locks that no cancel ends stay; they are named, and the value says deadlock all the same. */
START_TEST(locks_that_cannot_be_canceled_are_named)
{
	spg_config cfg = t_config((unsigned)_i);
	int64_t before = t_now_ns();
	struct captured out;

	NEEDS_REPORTS();
	cfg.shutdown_grace_ns = 3600 * SPG_SEC; /* not waited for: they cannot end */
	capture_begin(&out);
	T_EQ(spg_run(&cfg, cross_locked_hard, NULL), -EDEADLK);
	capture_end(&out);
	T_EQ(deadlocks_reported(&out), 1);
	T_OK(strstr(out.text, "2 coroutines cannot end") != NULL);
	T_OK(t_now_ns() - before < 20 * SPG_SEC);
	T_EQ(spg_run(&cfg, forty_two, NULL), -EALREADY);
	/* Their owners never end, so they stay locked; nobody else may unlock them. */
	for (int i = 0; i < 2; i++) {
		T_ERR(spg_mutex_trylock(&hard.mutex[i]), -EBUSY);
		T_ERR(spg_mutex_unlock(&hard.mutex[i]), -EPERM);
	}
}
END_TEST

/* Goal: locks that a cancel ends are given back on the way out: the mutexes are as good as new. */
START_TEST(mutexes_survive_a_deadlock_that_a_cancel_ends)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;

	NEEDS_REPORTS();
	for (int round = 0; round < 3; round++) {
		capture_begin(&out);
		T_EQ(spg_run(&cfg, cross_locked_ctx, NULL), -EDEADLK);
		capture_end(&out);
		T_EQ(deadlocks_reported(&out), 1);
		for (int i = 0; i < 2; i++) {
			T_EQ(spg_mutex_trylock(&soft.mutex[i]), 0);
			T_EQ(spg_mutex_unlock(&soft.mutex[i]), 0);
		}
	}
}
END_TEST

static int shielded(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	int *seen = arg, err = spg_chan_recv(c, NULL);

	*seen = spg_ctx_err(NULL);
	spg_exit(5);
	spg_chan_unref(c);
	return err == -ECANCELED ? 6 : 7;
}

/* Goal: the deadlock is the value, whatever main and spg_exit say afterwards; the root is canceled. */
START_TEST(the_value_is_edeadlk_whatever_main_returns)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	int seen = 0;

	NEEDS_REPORTS();
	capture_begin(&out);
	T_EQ(spg_run(&cfg, shielded, &seen), -EDEADLK);
	capture_end(&out);
	T_EQ(seen, -ECANCELED);
}
END_TEST

static int traced(void *arg)
{
	T_EQ(spg_trace_start(*(int *)arg), 0);
	return chan_recv(NULL);
}

/* Goal: threads of our own that only look do not hide a deadlock. */
START_TEST(found_while_debugging)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	NEEDS_REPORTS();
	cfg.debug = "schedtrace=1ms,migrate,leaks";
	for (int i = 0; i < 3; i++) {
		capture_begin(&out);
		T_EQ(spg_run(&cfg, traced, &null), -EDEADLK);
		capture_end(&out);
		T_EQ(deadlocks_reported(&out), 1);
	}
	close(null);
}
END_TEST

static void *pause_100ms(void *arg)
{
	(void)poll(NULL, 0, 100);
	return arg;
}

/* Cleans up for longer than it takes to find that nothing moves: asleep, on the pool, with a thread. */
static int slow_end(void *arg)
{
	int err = chan_recv(NULL);
	pthread_t thread;

	SPG_SHIELD_SCOPE();
	T_EQ(spg_sleep(100 * SPG_MS), 0);
	T_EQ(spg_blocking(pause_100ms, NULL, NULL), 0);
	T_EQ(pthread_create(&thread, NULL, pause_100ms, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	*(int *)arg = err;
	return 0;
}

/* Goal: what a deadlock canceled is waited for as long as anything of it moves. */
START_TEST(a_slow_end_is_waited_for)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	int ended = 0;

	NEEDS_REPORTS();
	capture_begin(&out);
	T_EQ(spg_run(&cfg, slow_end, &ended), -EDEADLK);
	capture_end(&out);
	T_EQ(ended, -ECANCELED);
	T_EQ(deadlocks_reported(&out), 1);
	T_OK(strstr(out.text, "cannot end") == NULL);
}
END_TEST

static int no_more(void *arg)
{
	(void)arg;
	spg_exit(9);
	return chan_recv(NULL);
}

/* Goal: a wait that is canceled on entry is no deadlock. */
START_TEST(a_canceled_main_is_no_deadlock)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;

	capture_begin(&out);
	T_EQ(spg_run(&cfg, no_more, NULL), 9);
	capture_end(&out);
	T_STR(out.text, "");
}
END_TEST

/* Goal: without a watchdog for stalls, or with a slow one, deadlocks are found. */
START_TEST(found_without_a_watchdog_for_stalls)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	static const int64_t stalls[] = { 0, 1, 100 * SPG_MS };

	NEEDS_REPORTS();
	for (int i = 0; i < 3; i++) {
		cfg.stall_ns = stalls[i];
		capture_begin(&out);
		T_EQ(spg_run(&cfg, chan_recv, NULL), -EDEADLK);
		capture_end(&out);
		T_EQ(deadlocks_reported(&out), 1);
	}
}
END_TEST

static void *do_nothing(void *arg)
{
	return arg;
}

/* A bit of everything that excludes while it is there. */
static int busy_then_dead(void *arg)
{
	spg_chan *c = spg_chan_new(0, 0);
	spg_case cases[] = { SPG_RECV(c, NULL), SPG_READABLE(0), SPG_AFTER(SPG_MS) };
	pthread_t thread;
	char byte;
	int fds[2], err;

	T_EQ(spg_pipe2(fds, O_CLOEXEC), 0);
	cases[1] = (spg_case)SPG_READABLE(fds[0]);
	T_EQ(spg_select(cases, 3), 2);
	T_EQ(spg_write(fds[1], "x", 1), 1);
	T_EQ(spg_read(fds[0], &byte, 1), 1);
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_close(fds[1]), 0);
	T_EQ(spg_blocking(do_nothing, NULL, NULL), 0);
	T_EQ(pthread_create(&thread, NULL, do_nothing, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(spg_fsync(*(int *)arg), 0); /* by a worker of the kernel's, which stays */
	err = spg_chan_recv(c, NULL);
	spg_chan_unref(c);
	return err;
}

/* Goal: what excludes a deadlock does so no longer than it lasts: threads, workers, jobs, timers, operations. */
START_TEST(found_after_much_has_been_going_on)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured out;
	char path[] = "/tmp/spg-deadlock-XXXXXX";
	int file = mkstemp(path);

	NEEDS_REPORTS();
	T_OK(file >= 0);
	T_EQ(unlink(path), 0);
	for (int i = 0; i < 3; i++) {
		T_EQ(write(file, "data", 4), 4);
		capture_begin(&out);
		T_EQ(spg_run(&cfg, busy_then_dead, &file), -EDEADLK);
		capture_end(&out);
		T_EQ(deadlocks_reported(&out), 1);
	}
	close(file);
}
END_TEST

T_MAIN(T_SHARDS(every_shape_is_reported), T_SHARDS(the_runtime_works_after_a_deadlock),
       T_SHARDS(locks_that_cannot_be_canceled_are_named),
       T_SHARDS(mutexes_survive_a_deadlock_that_a_cancel_ends), T_SHARDS(the_value_is_edeadlk_whatever_main_returns),
       T_SHARDS(a_slow_end_is_waited_for), T_SHARDS(a_canceled_main_is_no_deadlock), T_SHARDS(found_without_a_watchdog_for_stalls),
       T_SHARDS(found_after_much_has_been_going_on), T_SHARDS(found_while_debugging))
