/* Cancellation against every kind of wait; data beats cancel; careless loops. */
#include "crowd.h"

#include <poll.h>
#include <sys/socket.h>

struct stage {
	spg_ctx *ctx;
	spg_chan *chan;
	spg_mutex mutex, cond_mutex;
	spg_cond cond;
	spg_rwlock rwlock;
	spg_sem sem;
	spg_wg wg;
	spg_barrier barrier;
	spg_once once;
	spg_timer *timer;
	spg_ticker *ticker;
	spg_task *task;
	spg_group *group;
	int fd[2];
	_Atomic int waiting, ended;
	_Atomic bool release;
};

static int wait_cond(struct stage *s)
{
	int err;

	T_EQ(spg_mutex_lock(&s->cond_mutex), 0);
	err = spg_cond_wait(&s->cond, &s->cond_mutex);
	T_EQ(spg_mutex_unlock(&s->cond_mutex), 0);
	return err;
}

static int wait_select(struct stage *s)
{
	spg_case cases[] = { SPG_RECV(s->chan, NULL), SPG_AFTER(SPG_SEC * 3600), SPG_READABLE(s->fd[0]) };

	return spg_select(cases, 3);
}

static void hold_once(void *arg)
{
	struct stage *s = arg;

	T_UNTIL(atomic_load(&s->release));
}

static int wait_read(struct stage *s)
{
	char byte;

	return (int)spg_read(s->fd[0], &byte, 1);
}

/* One kind of wait each; all of them last until they are ended. */
#define KINDS 16

static int wait_kind(struct stage *s, int kind)
{
	switch (kind) {
	case 0: return spg_sleep(INT64_MAX);
	case 1: return spg_chan_recv(s->chan, NULL);
	case 2: return wait_select(s);
	case 3: return spg_mutex_lock_ctx(&s->mutex);
	case 4: return wait_cond(s);
	case 5: return spg_rwlock_rdlock_ctx(&s->rwlock);
	case 6: return spg_rwlock_wrlock_ctx(&s->rwlock);
	case 7: return spg_sem_acquire(&s->sem);
	case 8: return spg_wg_wait(&s->wg);
	case 9: return spg_barrier_wait(&s->barrier);
	case 10: return spg_once_do(&s->once, hold_once, s);
	case 11: return spg_timer_wait(s->timer);
	case 12: return spg_ticker_wait(s->ticker, NULL);
	case 13: return spg_group_wait(s->group);
	case 14: return wait_read(s);
	default: return spg_poll(s->fd[0], POLLIN, -1);
	}
}

struct one_wait {
	struct stage *stage;
	int kind, expected;
};

static void wait_once(void *arg)
{
	struct one_wait *w = arg;
	struct stage *s = w->stage;
	spg_ctx *previous = spg_ctx_enter(s->ctx);

	atomic_fetch_add(&s->waiting, 1);
	T_ERR(wait_kind(s, w->kind), w->expected);
	/* On entry as well. */
	T_ERR(wait_kind(s, w->kind), w->expected);
	spg_ctx_leave(previous);
	atomic_fetch_add(&s->ended, 1);
}

static void *wait_once_thread(void *arg)
{
	wait_once(arg);
	return NULL;
}

static void *hold_all(void *arg)
{
	struct stage *s = arg;

	T_EQ(spg_once_do(&s->once, hold_once, s), 0);
	return arg;
}

static int hold_group(void *arg)
{
	struct stage *s = arg;

	T_UNTIL(atomic_load(&s->release));
	return 0;
}

static void stage_open(struct stage *s)
{
	*s = (struct stage){ .chan = spg_chan_new(1, 0), .timer = spg_timer_new(), .group = spg_group_new(0) };
	s->ticker = spg_ticker_new(spg_now() + SPG_SEC * 3600, SPG_SEC, SPG_MISSED_BURST);
	T_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s->fd), 0);
	T_EQ(spg_mutex_lock(&s->mutex), 0);
	T_EQ(spg_rwlock_wrlock(&s->rwlock), 0);
	T_EQ(spg_sem_init(&s->sem, 0), 0);
	T_EQ(spg_wg_add(&s->wg, 1), 0);
	T_EQ(spg_barrier_init(&s->barrier, 1u << 20), 0);
	T_EQ(spg_group_go(s->group, hold_group, s), 0);
	s->task = spg_spawn(NULL, hold_all, s);
	T_OK(s->task != NULL);
	while (__atomic_load_n(&s->once.spg__word[0], __ATOMIC_ACQUIRE) == 0)
		t_relax();
}

static void stage_close(struct stage *s)
{
	atomic_store(&s->release, true);
	T_EQ(spg_join(s->task, NULL), 0);
	spg_group_free(s->group);
	T_EQ(spg_mutex_unlock(&s->mutex), 0);
	T_EQ(spg_rwlock_unlock(&s->rwlock), 0);
	/* Nobody took anything on the way out. */
	T_ERR(spg_sem_try_acquire(&s->sem), -EAGAIN);
	T_EQ(spg_wg_done(&s->wg), 0);
	T_EQ(spg_wg_wait(&s->wg), 0);
	spg_timer_free(s->timer);
	spg_ticker_free(s->ticker);
	T_EQ(spg_chan_len(s->chan), 0);
	spg_chan_unref(s->chan);
	close(s->fd[0]);
	close(s->fd[1]);
	spg_ctx_unref(s->ctx);
}

static void *cancel_thread(void *arg)
{
	spg_ctx_cancel(arg);
	return NULL;
}

static void cancel_by(spg_ctx *ctx, int how)
{
	pthread_t thread;

	if (how == 0) {
		spg_ctx_cancel(ctx);
		return;
	}
	T_EQ(pthread_create(&thread, NULL, cancel_thread, ctx), 0);
	T_EQ(pthread_join(thread, NULL), 0);
}

#define PER_KIND 150

static int every_kind(void *arg)
{
	static struct stage s;
	const int n = KINDS * (t_sanitized() ? PER_KIND / 10 : PER_KIND);
	struct one_wait *waits = calloc((size_t)n, sizeof(*waits));

	(void)arg;
	for (int how = 0; how < 3; how++) { /* cancel, cancel from a thread, deadline */
		stage_open(&s);
		s.ctx = how == 2 ? spg_ctx_with_timeout(NULL, 30 * SPG_MS) : spg_ctx_new(NULL);
		for (int i = 0; i < n; i++) {
			waits[i] = (struct one_wait){ &s, i % KINDS, how == 2 ? -ETIMEDOUT : -ECANCELED };
			T_EQ(spg_go(wait_once, &waits[i]), 0);
		}
		T_UNTIL(atomic_load(&s.waiting) == n);
		for (int i = 0; i < 3; i++)
			T_EQ(spg_sleep(SPG_MS), 0);
		if (how < 2) {
			T_EQ(atomic_load(&s.ended), 0);
			cancel_by(s.ctx, how);
		}
		T_UNTIL(atomic_load(&s.ended) == n || spg_sleep(SPG_MS) < 0);
		stage_close(&s);
	}
	free(waits);
	return 0;
}

/* Goal: thousands of coroutines in every kind of wait at once, all ended by one cancel or one deadline. */
START_TEST(a_cancel_ends_every_kind_of_wait)
{
	t_run((unsigned)_i, every_kind, NULL);
}
END_TEST

static int every_kind_foreign(void *arg)
{
	static struct stage s;
	struct one_wait waits[KINDS];
	pthread_t thread[KINDS];

	(void)arg;
	for (int how = 0; how < 2; how++) {
		stage_open(&s);
		s.ctx = how == 1 ? spg_ctx_with_timeout(NULL, 30 * SPG_MS) : spg_ctx_new(NULL);
		for (int i = 0; i < KINDS; i++) {
			waits[i] = (struct one_wait){ &s, i, how == 1 ? -ETIMEDOUT : -ECANCELED };
			T_EQ(pthread_create(&thread[i], NULL, wait_once_thread, &waits[i]), 0);
		}
		T_UNTIL(atomic_load(&s.waiting) == KINDS);
		T_EQ(spg_sleep(5 * SPG_MS), 0);
		if (how == 0) {
			T_EQ(atomic_load(&s.ended), 0);
			spg_ctx_cancel(s.ctx);
		}
		T_UNTIL(atomic_load(&s.ended) == KINDS || spg_sleep(SPG_MS) < 0);
		for (int i = 0; i < KINDS; i++)
			T_EQ(pthread_join(thread[i], NULL), 0);
		stage_close(&s);
	}
	return 0;
}

/* Goal: the same for foreign threads. */
START_TEST(a_cancel_ends_every_wait_of_a_thread)
{
	t_run((unsigned)_i, every_kind_foreign, NULL);
}
END_TEST

struct careless {
	struct stage *stage;
	int kind;
	_Atomic bool stop;
	_Atomic long turns;
	spg_wg wg;
};

static void ignore_errors(void *arg)
{
	struct careless *c = arg;
	spg_ctx *previous = spg_ctx_enter(c->stage->ctx);

	while (!atomic_load(&c->stop)) {
		T_ERR(wait_kind(c->stage, c->kind), -ECANCELED);
		atomic_fetch_add(&c->turns, 1);
	}
	spg_ctx_leave(previous);
	T_EQ(spg_wg_done(&c->wg), 0);
}

static int careless_loops(void *arg)
{
	static struct stage s;

	(void)arg;
	stage_open(&s);
	s.ctx = spg_ctx_new(NULL);
	spg_ctx_cancel(s.ctx);
	for (int kind = 0; kind < KINDS; kind++) {
		struct careless c = { .stage = &s, .kind = kind };

		T_EQ(spg_wg_add(&c.wg, 1), 0);
		T_EQ(spg_go(ignore_errors, &c), 0);
		while (atomic_load(&c.turns) < 3)
			spg_yield();
		atomic_store(&c.stop, true);
		T_EQ(spg_wg_wait(&c.wg), 0);
	}
	stage_close(&s);
	return 0;
}

/* Goal: on one shard, a loop that ignores the error of any blocking call lets the others run. */
START_TEST(loops_that_ignore_errors_starve_nobody)
{
	t_run(1, careless_loops, NULL);
}
END_TEST

/* What ends each wait with success. One shard: the waiter cannot run between that and the cancel. */
static void serve(struct stage *s, int kind)
{
	switch (kind) {
	case 1:
	case 2: T_EQ(spg_chan_try_send(s->chan, "x"), 0); break;
	case 3: crowd_spin(2 * SPG_MS); T_EQ(spg_mutex_unlock(&s->mutex), 0); break; /* handed over */
	case 4: T_EQ(spg_cond_signal(&s->cond), 0); break;
	case 5:
	case 6: T_EQ(spg_rwlock_unlock(&s->rwlock), 0); break;
	case 7: T_EQ(spg_sem_release(&s->sem), 0); break;
	case 8: T_EQ(spg_wg_done(&s->wg), 0); break;
	case 9: T_EQ(spg_barrier_wait(&s->barrier), 1); break;
	case 11: T_EQ(spg_timer_reset(s->timer, 0), 0); break;
	default: T_OK(false);
	}
}

static void wait_served(void *arg)
{
	struct one_wait *w = arg;
	spg_ctx *previous = spg_ctx_enter(w->stage->ctx);

	atomic_fetch_add(&w->stage->waiting, 1);
	T_ERR(wait_kind(w->stage, w->kind), 0);
	T_ERR(spg_ctx_err(NULL), w->expected);
	if (w->kind == 3)
		T_EQ(spg_mutex_unlock(&w->stage->mutex), 0);
	if (w->kind == 5 || w->kind == 6)
		T_EQ(spg_rwlock_unlock(&w->stage->rwlock), 0);
	spg_ctx_leave(previous);
	atomic_fetch_add(&w->stage->ended, 1);
}

static int data_wins(void *arg)
{
	static const int kinds[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 11 };
	static struct stage s;

	(void)arg;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct one_wait w = { &s, kinds[i], -ECANCELED };

		s = (struct stage){ .ctx = spg_ctx_new(NULL), .chan = spg_chan_new(1, 0), .timer = spg_timer_new() };
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s.fd), 0);
		T_EQ(spg_mutex_lock(&s.mutex), 0);
		T_EQ(spg_rwlock_wrlock(&s.rwlock), 0);
		T_EQ(spg_wg_add(&s.wg, 1), 0);
		T_EQ(spg_barrier_init(&s.barrier, 2), 0);
		T_EQ(spg_go(wait_served, &w), 0);
		T_UNTIL(atomic_load(&s.waiting) == 1);
		for (int k = 0; k < 20; k++)
			spg_yield();
		serve(&s, kinds[i]);
		spg_ctx_cancel(s.ctx);
		T_UNTIL(atomic_load(&s.ended) == 1);
		spg_chan_unref(s.chan);
		spg_timer_free(s.timer);
		spg_ctx_unref(s.ctx);
		close(s.fd[0]);
		close(s.fd[1]);
	}
	return 0;
}

/* Goal: a waiter that was served and then canceled before it ran reports success: data beats cancel. */
START_TEST(data_beats_cancel_in_every_wait)
{
	t_run(1, data_wins, NULL);
}
END_TEST

#define NODES 40
#define SLEEPERS 10

struct forest {
	spg_ctx *node[NODES];
	int parent[NODES];
	bool ended[NODES];
	_Atomic int asleep, woken[NODES];
};

struct sleeper {
	struct forest *forest;
	int node;
};

static void sleep_under(void *arg)
{
	struct sleeper s = *(struct sleeper *)arg;
	spg_ctx *previous = spg_ctx_enter(s.forest->node[s.node]);

	atomic_fetch_add(&s.forest->asleep, 1);
	T_ERR(spg_sleep(INT64_MAX), -ECANCELED);
	spg_ctx_leave(previous);
	atomic_fetch_add(&s.forest->woken[s.node], 1);
}

static void check_forest(struct forest *f)
{
	for (int i = 0; i < NODES; i++) {
		if (i > 0)
			f->ended[i] |= f->ended[f->parent[i]];
		T_ERR(spg_ctx_err(f->node[i]), f->ended[i] ? -ECANCELED : 0);
		if (f->ended[i])
			T_UNTIL(atomic_load(&f->woken[i]) == SLEEPERS);
		else
			T_EQ(atomic_load(&f->woken[i]), 0);
	}
}

static int random_trees(void *arg)
{
	uint64_t state = *(uint64_t *)arg;

	for (int round = 0; round < (t_sanitized() ? 3 : 20); round++) {
		struct forest f = { .asleep = 0 };

		for (int i = 0; i < NODES; i++) {
			f.parent[i] = i > 0 ? (int)(t_random(&state) % (uint64_t)i) : 0;
			f.node[i] = spg_ctx_new(i > 0 ? f.node[f.parent[i]] : NULL);
			for (int k = 0; k < SLEEPERS; k++)
				T_EQ(spg_go_copy(sleep_under, &(struct sleeper){ &f, i }, sizeof(struct sleeper)), 0);
		}
		T_UNTIL(atomic_load(&f.asleep) == NODES * SLEEPERS);
		while (!f.ended[0]) {
			int victim = (int)(t_random(&state) % NODES);

			cancel_by(f.node[victim], (int)(t_random(&state) % 2));
			f.ended[victim] = true;
			check_forest(&f);
		}
		for (int i = 0; i < NODES; i++)
			spg_ctx_unref(f.node[i]);
	}
	return 0;
}

/* Goal: in a random tree each cancel wakes exactly the sleepers of its subtree. */
START_TEST(prop_a_cancel_wakes_its_subtree_only)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, random_trees, &seed);
}
END_TEST

T_MAIN(T_SHARDS(a_cancel_ends_every_kind_of_wait), T_SHARDS(a_cancel_ends_every_wait_of_a_thread),
       T_TEST(loops_that_ignore_errors_starve_nobody), T_TEST(data_beats_cancel_in_every_wait),
       T_SHARDS(prop_a_cancel_wakes_its_subtree_only))
