/*
 * Coroutines and foreign threads that run the same function at once.
 */
#ifndef SPG__TEST_CROWD_H
#define SPG__TEST_CROWD_H

#include "t.h"

#include <pthread.h>
#include <semaphore.h>

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

/*
 * A foreign thread that is always at hand, asleep: to start one for each round, or to poll for its
 * progress, takes far longer than the round where CPUs are few.
 */
struct crowd_hand {
	pthread_t thread;
	sem_t begin;
	struct crowd *crowd; /* NULL: end */
};

static inline void *crowd_hand_main(void *arg)
{
	struct crowd_hand *hand = arg;

	while (sem_wait(&hand->begin) == 0 && hand->crowd != NULL)
		crowd_member(hand->crowd);
	return NULL;
}

static inline void crowd_hand_open(struct crowd_hand *hand)
{
	T_EQ(sem_init(&hand->begin, 0, 0), 0);
	T_EQ(pthread_create(&hand->thread, NULL, crowd_hand_main, hand), 0);
}

static inline void crowd_hand_close(struct crowd_hand *hand)
{
	hand->crowd = NULL;
	T_EQ(sem_post(&hand->begin), 0);
	T_EQ(pthread_join(hand->thread, NULL), 0);
	T_EQ(sem_destroy(&hand->begin), 0);
}

/* A crowd of one: a coroutine, or the hand's thread. */
static inline void crowd_hand_start(struct crowd_hand *hand, struct crowd *crowd, bool foreign, void (*fn)(void *),
				    void *arg)
{
	crowd_start(crowd, !foreign, 0, fn, arg);
	if (!foreign)
		return;
	T_EQ(spg_wg_add(&crowd->wg, 1), 0);
	hand->crowd = crowd;
	T_EQ(sem_post(&hand->begin), 0);
}

/* As T_UNTIL in a coroutine, but sleeps when it takes long: somebody may need this CPU for it. */
#define crowd_until(cond)                                                                          \
	do {                                                                                       \
		for (int crowd_tries = 0; !(cond); crowd_tries++) {                                \
			if (crowd_tries < 20)                                                      \
				spg_yield();                                                       \
			else                                                                       \
				T_EQ(spg_sleep(20 * SPG_US), 0);                                   \
		}                                                                                  \
	} while (0)

/* Keeps the CPU busy. */
static inline void crowd_spin(int64_t ns)
{
	int64_t end = t_now_ns() + ns;

	while (t_now_ns() < end)
		continue;
}

#endif
