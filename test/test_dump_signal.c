/*
 * The dump on a signal: it comes whatever the shards do, and leaves the program's own handler alone.
 */
#include "test/captured.h"

#include <signal.h>

struct stuck {
	_Atomic unsigned running;
	_Atomic bool end;
};

static void compute(void *arg)
{
	struct stuck *stuck = arg;

	stuck->running++;
	while (!stuck->end)
		;
	stuck->running--;
}

static void wait_for_ever(void *arg)
{
	(void)spg_chan_recv(arg, NULL);
}

/* Goal: all shards and the pool are busy, and the dump comes, whole. */
START_TEST(a_signal_dumps_while_everything_is_stuck)
{
	spg_config cfg = t_config((unsigned)_i);
	struct stuck stuck = { 0 };
	spg_chan *c = spg_chan_new(0, 0);
	struct captured err = capture();

	cfg.dump_signal = SIGUSR1;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_go(wait_for_ever, c), 0);
	for (int i = 0; i < _i; i++) {
		spg_attr attr = SPG_ATTR_INIT;

		attr.place = SPG_PIN(i);
		attr.name = "stuck";
		T_EQ(spg_go_attr(&attr, compute, &stuck), 0);
	}
	T_UNTIL(stuck.running == (unsigned)_i);
	T_EQ(kill(getpid(), SIGUSR1), 0);
	/* Its last entry is the one that waits, or never ran. */
	T_UNTIL(captured_has(&err, "\"stuck\" [running") && captured_has(&err, "function wait_for_ever"));
	stuck.end = true;
	T_EQ(spg_chan_close(c), 0);
	T_EQ(spg_stop(), 0);
	captured_end(&err);
	spg_chan_unref(c);
}
END_TEST

static _Atomic int handled;

static void on_usr2(int signal)
{
	handled += signal == SIGUSR2;
}

static void on_usr2_info(int signal, siginfo_t *info, void *context)
{
	handled += signal == SIGUSR2 && info != NULL && context != NULL;
}

static void chained(const struct sigaction *own)
{
	spg_config cfg = t_config(2);
	struct captured err = capture();
	struct sigaction now;

	handled = 0;
	T_EQ(sigaction(SIGUSR2, own, NULL), 0);
	cfg.dump_signal = SIGUSR2;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(raise(SIGUSR2), 0);
	T_EQ(handled, 1);
	T_UNTIL(captured_has(&err, "spg: 0 coroutines, 2 shards\n"));
	T_EQ(spg_stop(), 0);
	T_EQ(sigaction(SIGUSR2, NULL, &now), 0);
	T_OK(now.sa_handler == own->sa_handler);
	T_EQ(raise(SIGUSR2), 0);
	T_EQ(handled, 2);
	captured_end(&err);
}

/* Goal: the handler that was there is called as before, and is back after the end. */
START_TEST(the_previous_handler_is_called_and_comes_back)
{
	struct sigaction plain = { .sa_handler = on_usr2 };
	struct sigaction info = { .sa_sigaction = on_usr2_info, .sa_flags = SA_SIGINFO };

	chained(&plain);
	chained(&info);
}
END_TEST

/* Goal: a handler set meanwhile stays. */
START_TEST(a_handler_set_meanwhile_stays)
{
	spg_config cfg = t_config(1);
	struct sigaction own = { .sa_handler = on_usr2 }, now;

	cfg.dump_signal = SIGUSR2;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(sigaction(SIGUSR2, &own, NULL), 0);
	T_EQ(spg_stop(), 0);
	T_EQ(sigaction(SIGUSR2, NULL, &now), 0);
	T_OK(now.sa_handler == on_usr2);
}
END_TEST

/* Goal: off unless asked for; a start and stop leave no thread and no descriptor. */
START_TEST(without_a_signal_there_is_no_handler_and_no_thread)
{
	spg_config cfg = t_config(1);
	struct sigaction before[32], now;
	int threads, fds = t_fds_count();

	T_EQ(cfg.dump_signal, 0);
	for (int signal = 1; signal < 32; signal++)
		T_EQ(sigaction(signal, NULL, &before[signal]), 0);
	T_EQ(spg_start(&cfg), 0);
	threads = t_threads_count();
	for (int signal = 1; signal < 32; signal++) {
		T_EQ(sigaction(signal, NULL, &now), 0);
		T_EQ(now.sa_handler == before[signal].sa_handler,
		     signal != cfg.kick_signal && signal != SIGSEGV && signal != SIGBUS);
	}
	T_EQ(spg_stop(), 0);
	cfg.dump_signal = SIGUSR1;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(t_threads_count(), threads + 1);
	T_EQ(spg_stop(), 0);
	cfg.dump_signal = 0;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(t_threads_count(), threads);
	T_EQ(spg_stop(), 0);
	T_EQ(t_fds_count(), fds);
}
END_TEST

/* Goal: a storm of signals ends in at least one dump, and in no other harm. */
START_TEST(many_signals_are_some_dumps)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured err = capture();

	cfg.dump_signal = SIGRTMIN;
	T_EQ(spg_start(&cfg), 0);
	for (int i = 0; i < 500; i++)
		T_EQ(kill(getpid(), SIGRTMIN), 0);
	T_UNTIL(captured_has(&err, "spg: 0 coroutines"));
	T_EQ(spg_stop(), 0);
	captured_end(&err);
}
END_TEST

static void refused(int dump_signal, const char *text)
{
	spg_config cfg = t_config(1);
	struct captured err = capture();

	cfg.dump_signal = dump_signal;
	T_ERR(spg_start(&cfg), -EINVAL);
	T_OK(captured_has(&err, text));
	captured_end(&err);
}

/* Goal: signals that cannot be are refused by name. */
START_TEST(a_bad_signal_is_refused)
{
	refused(SIGKILL, "dump_signal");
	refused(SIGSTOP, "dump_signal");
	refused(SIGURG, "dump_signal = the same as kick_signal");
	refused(65, "dump_signal");
	refused(-1, "dump_signal");
}
END_TEST

T_MAIN(T_SHARDS(a_signal_dumps_while_everything_is_stuck), T_TEST(the_previous_handler_is_called_and_comes_back),
       T_TEST(a_handler_set_meanwhile_stays), T_TEST(without_a_signal_there_is_no_handler_and_no_thread),
       T_SHARDS(many_signals_are_some_dumps), T_TEST(a_bad_signal_is_refused))
