/*
 * Signals to channels, as starting and stopping the runtime see them.
 */
#ifndef SPG__RUNTIME_SIGNAL_H
#define SPG__RUNTIME_SIGNAL_H

#include "coro/base.h"

/* The runtime has started. Two signals it uses itself; 0: none. */
void spg__signals_start(int kick_signal, int dump_signal);

/* The root context has ended: from here on there are no new subscriptions. */
void spg__signals_close(void);

/* No coroutine lives. */
void spg__signals_fini(void);

/* Around a fork: nothing of this changes meanwhile. */
void spg__signals_hold(void);
void spg__signals_release(void);

/* In its child: no subscriptions, and the dispositions are the program's again. */
void spg__signals_forked(void);

/* Channels that signals are sent to: while there are, a coroutine that waits may be woken. */
size_t spg__signals_subscribed(void);

#endif
