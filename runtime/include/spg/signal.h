/*
 * spg/signal.h - signals as values in channels.
 *
 * A server that ends well: the first SIGINT or SIGTERM stops the accepting and lets open
 * connections finish; another one, after spg_signal_stop, ends the process at once.
 *
 *	static int server(void *listener)
 *	{
 *		return spg_serve((int)(intptr_t)listener, handler, NULL, NULL);
 *	}
 *
 *	static int run(void *listener)
 *	{
 *		static const int ends[] = { SIGINT, SIGTERM };
 *		spg_chan *signals = spg_chan_new(sizeof(int), 1);
 *		spg_group *serving = spg_group_new(0);
 *		int number, err;
 *
 *		err = spg_signal_notify(signals, ends, 2);
 *		if (err == 0)
 *			err = spg_group_go(serving, server, listener);
 *		if (err == 0)
 *			err = spg_chan_recv(signals, &number);
 *		spg_signal_stop(signals);
 *		spg_group_free(serving);	// cancels, and waits until it has drained
 *		spg_chan_unref(signals);
 *		return err;
 *	}
 */
#ifndef SPG_SIGNAL_H
#define SPG_SIGNAL_H

#include <spg/base.h>

SPG__EXTERN_C_BEGIN

/**
 * spg_signal_notify - send signals that come to a channel.
 * @c:       of int; a reference is held while it is subscribed
 * @signals: borrowed; their numbers
 * @n:       how many; 0: all that can be subscribed
 *
 * From the return on, each of these signals that comes to the process, or to any thread of
 * it, is sent to the channel in place of its default action, without waiting: a full channel
 * drops it, so it should have room for what is expected, at least 1. Signals of the same
 * number that come close together may be one. Several channels may have the same signal, each
 * gets it; calls for one channel add up. A closed channel gets nothing.
 *
 * A handler that was there is called all the same; SIG_IGN is not. A handler set over ours
 * later is left alone, and calls ours if it calls the one it replaced. A signal that all
 * threads block does not come.
 *
 * The end of the root context (main has returned, spg_exit, spg_stop) ends all
 * subscriptions: as spg_signal_stop. The channels are not closed.
 *
 * Not to be had: SIGKILL, SIGSTOP; SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, which a
 * program does to itself; spg_config's kick_signal and dump_signal. Without a list also
 * SIGURG is left out.
 *
 * Return: 0, or, and then nothing has changed,
 *   -EINVAL  c is NULL or not of int; a number that is no signal or not to be had
 *   -ESRCH   no runtime is running, or its root context has ended
 *   -EAGAIN  above coroutines_max
 *   -EMFILE  out of descriptors
 *   -ENOMEM  no memory
 * Cancellation: none. Threads: any. Allocates: the subscription. Source: Go's signal.Notify,
 * sigaction(2). Since: 0.1.
 */
SPG_API int spg_signal_notify(spg_chan *c, const int *signals, size_t n);

/**
 * spg_signal_stop - send no more signals to a channel.
 * @c: borrowed
 *
 * What came before is in the channel when it returns, and nothing comes after. A signal whose
 * last channel it was does again what it did before.
 *
 * Return: 0, also when it was not subscribed; -EINVAL: c is NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: Go's signal.Stop. Since: 0.1.
 */
SPG_API int spg_signal_stop(spg_chan *c);

SPG__EXTERN_C_END

#endif
