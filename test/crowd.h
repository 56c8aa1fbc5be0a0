/*
 * Coroutines and foreign threads that run the same function at once.
 */
#ifndef SPG__TEST_CROWD_H
#define SPG__TEST_CROWD_H

#include "t.h"

#include <pthread.h>

#define CROWD_THREADS_MAX 8

struct crowd {
	void (*fn)(void *);
	void *arg;
	spg_wg wg;
	unsigned threads;
	pthread_t thread[CROWD_THREADS_MAX];
};

static inline void crowd_member(void *arg)
{
	struct crowd *crowd = arg;

	crowd->fn(crowd->arg);
	spg_wg_done(&crowd->wg);
}

static inline void *crowd_thread(void *arg)
{
	crowd_member(arg);
	return NULL;
}

static inline void crowd_start(struct crowd *crowd, unsigned coros, unsigned threads, void (*fn)(void *), void *arg)
{
	*crowd = (struct crowd){ .fn = fn, .arg = arg, .wg = SPG_WG_INIT, .threads = threads };
	T_EQ(spg_wg_add(&crowd->wg, (int)(coros + threads)), 0);
	for (unsigned i = 0; i < threads; i++)
		T_EQ(pthread_create(&crowd->thread[i], NULL, crowd_thread, crowd), 0);
	for (unsigned i = 0; i < coros; i++)
		T_EQ(spg_go(crowd_member, crowd), 0);
}

static inline void crowd_wait(struct crowd *crowd)
{
	T_EQ(spg_wg_wait(&crowd->wg), 0);
	for (unsigned i = 0; i < crowd->threads; i++)
		T_EQ(pthread_join(crowd->thread[i], NULL), 0);
}

static inline void crowd_run(unsigned coros, unsigned threads, void (*fn)(void *), void *arg)
{
	struct crowd crowd;

	crowd_start(&crowd, coros, threads, fn, arg);
	crowd_wait(&crowd);
}

/* Keeps the CPU busy. */
static inline void crowd_spin(int64_t ns)
{
	int64_t end = t_now_ns() + ns;

	while (t_now_ns() < end)
		continue;
}

#endif
