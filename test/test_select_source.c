/* Select over the ends of tasks and over descriptors, alone and beside channels. */
#include "chan_look.h"

#include "coro/fault.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

struct gate {
	spg_chan *open;
	_Atomic bool entered;
};

static void *wait_at_gate(void *arg)
{
	struct gate *g = arg;

	atomic_store(&g->entered, true);
	T_ERR(spg_chan_recv(g->open, NULL), -EPIPE);
	return g;
}

struct watcher {
	spg_task *task[8];
	size_t n;
	spg_chan *c;
	spg_ctx *ctx;
	int index, err;
	_Atomic int ended;
};

static void watch_tasks(void *arg)
{
	struct watcher *w = arg;
	spg_ctx *previous = spg_ctx_enter(w->ctx);
	spg_case cases[9];

	for (size_t i = 0; i < w->n; i++)
		cases[i] = spg_case_joined(w->task[i]);
	cases[w->n] = spg_case_recv(w->c, NULL);
	w->index = spg_select(cases, w->n + 1);
	w->err = w->index >= 0 ? cases[w->index].err : 0;
	spg_ctx_leave(previous);
	atomic_fetch_add(&w->ended, 1);
}

static int tasks(void *arg)
{
	(void)arg;
	for (int k = 0; k < 40; k++) {
		struct gate gates[8] = { 0 };
		struct watcher w = { .n = k % 2 ? 8 : 2, .c = spg_chan_new(1, 0), .ctx = spg_ctx_new(NULL) };
		size_t which = (size_t)k % w.n;
		struct crowd crowd;
		void *result;

		for (size_t i = 0; i < w.n; i++) {
			gates[i].open = spg_chan_new(1, 0);
			w.task[i] = spg_spawn(NULL, wait_at_gate, &gates[i]);
			T_OK(w.task[i] != NULL);
		}
		crowd_start(&crowd, k % 4 != 0, k % 4 == 0, watch_tasks, &w);
		T_UNTIL(look_receivers(w.c) == 1);
		if (k % 5 == 1)
			spg_ctx_cancel(w.ctx);
		else if (k % 5 == 2)
			T_EQ(spg_chan_send(w.c, ""), 0); /* and then the tasks end, and are joined, at once */
		else
			T_EQ(spg_chan_close(gates[which].open), 0);
		if (k % 5 != 2)
			crowd_wait(&crowd);
		for (size_t i = 0; i < w.n; i++) {
			(void)spg_chan_close(gates[i].open);
			T_EQ(spg_join(w.task[i], &result), 0); /* reported only: it is still to be joined */
			T_OK(result == &gates[i]);
			spg_chan_unref(gates[i].open);
		}
		if (k % 5 == 2)
			crowd_wait(&crowd);
		T_EQ(w.index, k % 5 == 1 ? -ECANCELED : k % 5 == 2 ? (int)w.n : (int)which);
		T_EQ(w.err, 0);
		look_empty(w.c);
		spg_chan_unref(w.c);
		spg_ctx_unref(w.ctx);
	}
	return 0;
}

/* Goal: the end of a task wakes a select, and is only reported; other cases win as well. */
START_TEST(the_end_of_a_task_is_a_case)
{
	t_run((unsigned)_i, tasks, NULL);
}
END_TEST

static int ended_tasks(void *arg)
{
	struct gate g = { .open = spg_chan_new(1, 0) };
	spg_task *t = spg_spawn(NULL, wait_at_gate, &g);
	spg_case cases[2] = { SPG_JOINED(t), SPG_DEFAULT };

	(void)arg;
	T_UNTIL(atomic_load(&g.entered));
	T_EQ(spg_select(cases, 2), 1);
	T_EQ(spg_chan_close(g.open), 0);
	T_EQ(spg_select(cases, 1), 0);
	T_EQ(spg_select(cases, 2), 0); /* before the default, as often as one asks */
	T_EQ(spg_select(cases, 2), 0);
	T_EQ(spg_join(t, NULL), 0);
	spg_chan_unref(g.open);
	return 0;
}

/* Goal: a task that has ended is a ready case. */
START_TEST(an_ended_task_is_ready)
{
	t_run((unsigned)_i, ended_tasks, NULL);
}
END_TEST

static int ready_fds(void *arg)
{
	int fds[2], dead;
	spg_case cases[3];
	char byte;

	(void)arg;
	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	cases[0] = spg_case_readable(fds[0]);
	cases[1] = spg_case_default();
	T_EQ(spg_select(cases, 2), 1);
	T_EQ(write(fds[1], "a", 1), 1);
	T_EQ(spg_select(cases, 2), 0);
	T_EQ(cases[0].err, 0);
	T_EQ(spg_select(cases, 1), 0); /* it reports only: the byte is still there */
	T_EQ(read(fds[0], &byte, 1), 1);
	cases[2] = spg_case_writable(fds[1]);
	cases[1] = spg_case_after(100 * SPG_SEC);
	T_EQ(spg_select(cases, 3), 2);
	T_EQ(close(fds[1]), 0);
	T_EQ(spg_select(cases, 1), 0); /* the end of the stream is to be read */
	T_EQ(close(fds[0]), 0);
	dead = fds[0];
	cases[0] = spg_case_readable(dead);
	cases[0].err = 1;
	T_EQ(spg_select(cases, 2), 0); /* errors count as ready */
	T_ERR(cases[0].err, -EBADF);
	return 0;
}

/* Goal: a descriptor that is ready, ended or dead is a ready case. */
START_TEST(a_ready_descriptor_is_a_case)
{
	T_EQ(ready_fds(NULL), 0);
	t_run((unsigned)_i, ready_fds, NULL);
}
END_TEST

struct polled {
	int fd[12][2];
	size_t n;
	spg_chan *c;
	spg_ctx *ctx;
	int index, err;
	int64_t after;
};

static void poll_wait(void *arg)
{
	struct polled *p = arg;
	spg_ctx *previous = spg_ctx_enter(p->ctx);
	spg_case cases[14];

	for (size_t i = 0; i < p->n; i++)
		cases[i] = spg_case_readable(p->fd[i][0]);
	cases[p->n] = spg_case_recv(p->c, NULL);
	cases[p->n + 1] = spg_case_after(p->after);
	p->index = spg_select(cases, p->n + 2);
	p->err = p->index >= 0 ? cases[p->index].err : 0;
	spg_ctx_leave(previous);
}

static void polled_open(struct polled *p, size_t n)
{
	*p = (struct polled){ .n = n, .c = spg_chan_new(1, 0), .ctx = spg_ctx_new(NULL), .after = 1000 * SPG_SEC };
	for (size_t i = 0; i < n; i++)
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fd[i]), 0);
}

static void polled_close(struct polled *p)
{
	look_empty(p->c);
	for (size_t i = 0; i < p->n; i++) {
		T_EQ(spg_close(p->fd[i][0]), 0);
		T_EQ(spg_close(p->fd[i][1]), 0);
	}
	spg_chan_unref(p->c);
	spg_ctx_unref(p->ctx);
}

static void poll_round(int k, bool foreign)
{
	struct polled p;
	struct crowd crowd;
	size_t which;
	int expected;

	polled_open(&p, k % 3 == 0 ? 1 : k % 3 == 1 ? 3 : 12);
	which = (size_t)k % p.n;
	expected = (int)which;
	if (k % 5 == 4) {
		p.after = SPG_MS;
		expected = (int)p.n + 1;
	}
	crowd_start(&crowd, !foreign, foreign, poll_wait, &p);
	if (k % 5 < 4)
		T_UNTIL(look_receivers(p.c) == 1);
	switch (k % 5) {
	case 0:
		T_EQ(write(p.fd[which][1], "x", 1), 1);
		break;
	case 1:
		T_EQ(shutdown(p.fd[which][1], SHUT_WR), 0);
		break;
	case 2:
		expected = (int)p.n;
		T_EQ(spg_chan_send(p.c, ""), 0);
		break;
	case 3:
		expected = -ECANCELED;
		spg_ctx_cancel(p.ctx);
		break;
	}
	crowd_wait(&crowd);
	T_EQ(p.index, expected);
	T_EQ(p.err, 0);
	polled_close(&p);
}

static int poll_rounds(void *arg)
{
	int before;

	(void)arg;
	poll_round(0, true); /* its wake-up descriptor */
	before = t_fds_count();
	for (int k = 0; k < 60; k++)
		poll_round(k, k % 2 == 1);
	T_UNTIL(t_fds_count() <= before); /* a thread's own goes with the thread */
	return 0;
}

/* Goal: a parked select wakes for data, end of stream, channel, cancel and time, one descriptor or many. */
START_TEST(a_descriptor_wakes_a_parked_select)
{
	t_run((unsigned)_i, poll_rounds, NULL);
}
END_TEST

static int closed_under_select(void *arg)
{
	(void)arg;
	for (int k = 0; k < 20; k++) {
		struct polled p;
		struct crowd crowd;

		polled_open(&p, 3);
		crowd_start(&crowd, 1, 0, poll_wait, &p);
		T_UNTIL(look_receivers(p.c) == 1);
		for (int i = 0; i < k; i++)
			spg_yield();
		T_EQ(spg_close(p.fd[1][0]), 0);
		crowd_wait(&crowd);
		T_EQ(p.index, 1);
		T_OK(p.err == -ECANCELED || p.err == -EBADF); /* it waited, or it came later than the close */
		p.fd[1][0] = dup(p.fd[1][1]);
		polled_close(&p);
	}
	return 0;
}

/* Goal: spg_close on a descriptor that a select waits for ends the wait with that case. */
START_TEST(closing_a_descriptor_ends_the_select)
{
	t_run((unsigned)_i, closed_under_select, NULL);
}
END_TEST

static void *refused(void *arg)
{
	struct polled p;
	spg_case cases[2];

	(void)arg;
	polled_open(&p, 1);
	cases[0] = spg_case_readable(p.fd[0][0]);
	cases[1] = spg_case_recv(p.c, NULL);
	spg__fault_arm(SPG__FAULT_ALLOC, 1, 1000, -ENOMEM);
	T_ERR(spg_select(cases, 2), -ENOMEM);
	spg__fault_disarm(SPG__FAULT_ALLOC);
	T_EQ(write(p.fd[0][1], "x", 1), 1);
	T_EQ(spg_select(cases, 2), 0);
	polled_close(&p);
	return NULL;
}

static int no_memory(void *arg)
{
	return refused(arg) == NULL ? 0 : -1;
}

/* Goal: without memory for a descriptor's watch, the select says so and has left all queues. */
START_TEST(a_watch_may_find_no_memory)
{
	t_run((unsigned)_i, no_memory, NULL);
}
END_TEST

/*
 * A select that ends while its shard's queue is full, and the kernel takes nothing: all on one shard.
 */
#define QUEUE 8
#define POLLS (2 * QUEUE)

struct full {
	spg_wg ended;
	spg_chan *c;
	int never, gate;
	_Atomic bool detached;
};

static uint64_t counted(size_t offset)
{
	spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return *(const uint64_t *)(const void *)((const char *)&stats.total + offset);
}
#define COUNTED(name) counted(offsetof(struct spg_shard_stats, name))

static void select_never(void *arg)
{
	struct full *f = arg;
	spg_case cases[] = { SPG_READABLE(f->never), SPG_RECV(f->c, NULL) };

	T_EQ(spg_select(cases, 2), 1);
	atomic_store(&f->detached, true);
	spg_wg_done(&f->ended);
}

static void fill_queue(void *arg)
{
	struct full *f = arg;

	T_EQ(spg_poll(f->gate, POLLIN, -1), POLLIN);
	spg_wg_done(&f->ended);
}

static int detach_in_full_queue(void *arg)
{
	struct full f = { .ended = SPG_WG_INIT, .c = spg_chan_new(0, 0) };
	spg_attr here = SPG_ATTR_INIT;
	uint64_t before;

	(void)arg;
	f.never = eventfd(0, EFD_CLOEXEC);
	f.gate = eventfd(0, EFD_CLOEXEC);
	T_EQ(spg_pin_self(), 0);
	here.place = SPG_PIN(spg_shard());
	spg_wg_add(&f.ended, 1 + POLLS);
	T_EQ(spg_go_attr(&here, select_never, &f), 0);
	T_UNTIL(look_receivers(f.c) == 1);
	T_EQ(spg_sleep(2 * SPG_MS), 0); /* the kernel has its poll */
	T_EQ(COUNTED(inflight), 1);
	before = COUNTED(sq_full);
	spg__fault_arm(SPG__FAULT_SUBMIT, 1, INT64_MAX / 2, -EBUSY);
	for (int i = 0; i < POLLS; i++)
		T_EQ(spg_go_attr(&here, fill_queue, &f), 0);
	T_UNTIL(COUNTED(sq_full) > before); /* and so it stays */
	T_EQ(spg_chan_close(f.c), 0);
	T_UNTIL(atomic_load(&f.detached));
	spg__fault_disarm(SPG__FAULT_SUBMIT);
	T_UNTIL(COUNTED(inflight) == POLLS); /* its descriptor is not ready, and open */
	T_EQ(write(f.gate, &(uint64_t){ 1 }, 8), 8);
	T_EQ(spg_wg_wait(&f.ended), 0);
	spg_chan_unref(f.c);
	T_EQ(close(f.never), 0);
	return close(f.gate);
}

/* Goal: a watch is canceled although there is no room for its cancel at first. */
START_TEST(a_watch_is_canceled_through_a_full_queue)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.ring_entries = QUEUE;
	cfg.kick_signal = 0; /* it would empty the queue */
	T_EQ(t_run_config(&cfg, detach_in_full_queue, NULL), 0);
}
END_TEST

T_MAIN(T_SHARDS(the_end_of_a_task_is_a_case), T_SHARDS(an_ended_task_is_ready),
       T_SHARDS(a_ready_descriptor_is_a_case), T_SHARDS(a_descriptor_wakes_a_parked_select),
       T_SHARDS(closing_a_descriptor_ends_the_select), T_SHARDS(a_watch_may_find_no_memory),
       T_SHARDS(a_watch_is_canceled_through_a_full_queue))
