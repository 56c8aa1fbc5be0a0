/*
 * What the tests of signals share: channels of numbers, and a look at dispositions.
 */
#ifndef SPG__TEST_SIGNALS_H
#define SPG__TEST_SIGNALS_H

#include "test/t.h"

#include "runtime/signal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

static inline spg_chan *ints(size_t capacity)
{
	spg_chan *c = spg_chan_new(sizeof(int), capacity);

	T_OK(c != NULL);
	return c;
}

/* Check's own handlers, which we inherit, end the test. */
static inline void no_handlers(void)
{
	static const int checks[] = { SIGALRM, SIGINT, SIGTERM };

	for (int i = 0; i < 3; i++)
		signal(checks[i], SIG_DFL);
}

static inline void notify(spg_chan *c, int number)
{
	T_EQ(spg_signal_notify(c, &number, 1), 0);
}

static inline int next(spg_chan *c)
{
	int number = -1;

	T_EQ(spg_chan_recv(c, &number), 0);
	return number;
}

static inline void nothing_in(spg_chan *c)
{
	int number;

	T_ERR(spg_chan_try_recv(c, &number), -EAGAIN);
}

static inline bool is_default(int number)
{
	struct sigaction now;

	T_EQ(sigaction(number, NULL, &now), 0);
	return now.sa_handler == SIG_DFL;
}

static inline void same_action(int number, const struct sigaction *expected)
{
	struct sigaction now;

	T_EQ(sigaction(number, NULL, &now), 0);
	T_OK(now.sa_handler == expected->sa_handler);
	T_EQ(now.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER),
	     expected->sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER));
	if (!t_tsan()) /* it shows masks of its own */
		T_EQ(sigismember(&now.sa_mask, SIGWINCH), sigismember(&expected->sa_mask, SIGWINCH));
}

#endif
