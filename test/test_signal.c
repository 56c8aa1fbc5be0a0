#include "test/signals.h"

#include "coro/fault.h"

#include <sys/resource.h>
#include <sys/socket.h>

/* Calls the function on a thread of its own. */
static void on_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, fn, arg), 0);
	T_EQ(pthread_join(thread, NULL), 0);
}

/* Goal: a signal to the process or to any thread of it arrives, each time. */
static void *raise_here(void *arg)
{
	raise(*(int *)arg);
	return NULL;
}

static int arrives(void *arg)
{
	spg_chan *c = ints(1);
	int number = SIGUSR1;

	(void)arg;
	notify(c, SIGUSR1);
	for (int i = 0; i < 200; i++) {
		T_EQ(kill(getpid(), SIGUSR1), 0);
		T_EQ(next(c), SIGUSR1);
	}
	if (!t_tsan()) { /* it holds back what comes to a thread that is not in libc */
		T_EQ(raise(SIGUSR1), 0);
		T_EQ(next(c), SIGUSR1);
	}
	on_thread(raise_here, &number);
	T_EQ(next(c), SIGUSR1);
	T_EQ(spg_signal_stop(c), 0);
	T_OK(is_default(SIGUSR1));
	nothing_in(c);
	T_EQ(spg_signal_stop(c), 0);
	spg_chan_unref(c);
	return 0;
}

START_TEST(a_signal_arrives_wherever_it_is_sent)
{
	spg_config cfg = t_config((unsigned)_i);
	int before;

	t_run((unsigned)_i, arrives, NULL);
	before = t_fds_count();
	t_run((unsigned)_i, arrives, NULL);
	T_EQ(t_fds_count(), before);
	T_EQ(spg_start(&cfg), 0);
	arrives(NULL); /* from a foreign thread */
	T_EQ(spg_stop(), 0);
	T_EQ(t_fds_count(), before);
}
END_TEST

/* Goal: each channel gets what it asked for, and no other. */
static int subscribers(void *arg)
{
	static const int both[] = { SIGUSR1, SIGUSR2 };
	spg_chan *a = ints(4), *b = ints(4), *c = ints(4);

	(void)arg;
	T_EQ(spg__signals_subscribed(), 0);
	notify(a, SIGUSR1);
	T_EQ(spg_signal_notify(b, both, 2), 0);
	notify(c, SIGHUP);
	notify(c, SIGUSR1); /* adds up */
	notify(c, SIGUSR1);
	T_EQ(spg__signals_subscribed(), 3);
	kill(getpid(), SIGUSR1);
	T_EQ(next(a), SIGUSR1);
	T_EQ(next(b), SIGUSR1);
	T_EQ(next(c), SIGUSR1);
	kill(getpid(), SIGUSR2);
	T_EQ(next(b), SIGUSR2);
	kill(getpid(), SIGHUP);
	T_EQ(next(c), SIGHUP);
	T_EQ(spg_signal_stop(b), 0);
	T_OK(is_default(SIGUSR2));
	T_OK(!is_default(SIGUSR1));
	kill(getpid(), SIGUSR1);
	T_EQ(next(a), SIGUSR1);
	T_EQ(next(c), SIGUSR1);
	T_EQ(spg_signal_stop(a), 0);
	kill(getpid(), SIGUSR1);
	T_EQ(next(c), SIGUSR1);
	T_EQ(spg_signal_stop(c), 0);
	T_EQ(spg__signals_subscribed(), 0);
	T_OK(is_default(SIGUSR1) && is_default(SIGHUP));
	nothing_in(a);
	nothing_in(b);
	nothing_in(c);
	spg_chan_unref(a);
	spg_chan_unref(b);
	spg_chan_unref(c);
	return 0;
}

START_TEST(each_channel_gets_what_it_asked_for)
{
	t_run((unsigned)_i, subscribers, NULL);
}
END_TEST

/* Goal: a full or closed channel holds nobody up; the channel lives as long as it is subscribed. */
static int full(void *arg)
{
	spg_chan *one = ints(1), *closed = ints(1), *none = ints(0), *c = ints(8);
	int number = 0;

	(void)arg;
	notify(one, SIGUSR1);
	notify(none, SIGUSR1);
	notify(closed, SIGUSR1);
	notify(c, SIGUSR1);
	spg_chan_close(closed);
	spg_chan_unref(closed); /* the subscription has it */
	for (int i = 0; i < 3; i++) {
		kill(getpid(), SIGUSR1);
		T_EQ(next(c), SIGUSR1);
	}
	/* The last one got it last: the others have theirs, or dropped it. */
	T_EQ(next(one), SIGUSR1);
	nothing_in(one);
	nothing_in(none);
	T_ERR(spg_chan_try_recv(closed, &number), -EPIPE);
	/* What is left is for the end of the runtime. */
	spg_chan_unref(none);
	spg_chan_unref(one);
	*(spg_chan **)arg = c;
	return 0;
}

START_TEST(a_full_channel_drops_and_the_runtimes_end_stops_all)
{
	spg_chan *c;
	int number, before;

	t_run((unsigned)_i, full, &c);
	before = t_fds_count();
	spg_chan_unref(c);
	t_run((unsigned)_i, full, &c);
	T_EQ(t_fds_count(), before);
	T_OK(is_default(SIGUSR1));
	T_EQ(spg__signals_subscribed(), 0);
	T_ERR(spg_chan_try_recv(c, &number), -EAGAIN); /* not closed */
	T_EQ(spg_signal_stop(c), 0);
	number = SIGUSR1;
	T_ERR(spg_signal_notify(c, &number, 1), -ESRCH);
	spg_chan_unref(c);
}
END_TEST

/* Goal: what was there before is called, as it expects to be, and is back at the end. */
static _Atomic int plain_calls, info_calls, over_calls;
static struct sigaction over;

static void on_plain(int number)
{
	sigset_t now;

	T_EQ(number, SIGUSR1);
	T_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	T_OK(sigismember(&now, SIGWINCH) && sigismember(&now, SIGUSR1));
	T_OK(!sigismember(&now, SIGUSR2) || t_tsan()); /* it tells of masks of its own */
	atomic_fetch_add(&plain_calls, 1);
}

static void on_info(int number, siginfo_t *info, void *context)
{
	T_EQ(number, SIGUSR2);
	T_EQ(info->si_signo, SIGUSR2);
	T_OK(context != NULL);
	atomic_fetch_add(&info_calls, 1);
}

/* Set over the library's, and calls what was there. */
static void on_over(int number, siginfo_t *info, void *context)
{
	atomic_fetch_add(&over_calls, 1);
	over.sa_sigaction(number, info, context);
}

static void handlers_over(spg_chan *c)
{
	struct sigaction action = { .sa_sigaction = on_over, .sa_flags = SA_SIGINFO };

	notify(c, SIGHUP);
	T_EQ(sigaction(SIGHUP, &action, &over), 0);
	kill(getpid(), SIGHUP);
	T_EQ(next(c), SIGHUP);
	T_EQ(atomic_load(&over_calls), 1);
	T_EQ(spg_signal_stop(c), 0);
	same_action(SIGHUP, &action);
	kill(getpid(), SIGHUP);
	T_UNTIL(atomic_load(&over_calls) == 2);
	nothing_in(c);
	/* Once more, without a circle. */
	notify(c, SIGHUP);
	same_action(SIGHUP, &action);
	kill(getpid(), SIGHUP);
	T_EQ(next(c), SIGHUP);
	T_EQ(spg_signal_stop(c), 0);
	/* The one over it takes itself away: from then on ours can go. */
	T_EQ(sigaction(SIGHUP, &over, NULL), 0);
	notify(c, SIGHUP);
	T_EQ(spg_signal_stop(c), 0);
	T_OK(is_default(SIGHUP));
}

static int chains(void *arg)
{
	struct sigaction plain = { .sa_handler = on_plain };
	struct sigaction info = { .sa_sigaction = on_info, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	spg_chan *c = ints(4);

	(void)arg;
	atomic_store(&plain_calls, 0);
	atomic_store(&info_calls, 0);
	atomic_store(&over_calls, 0);
	sigaddset(&plain.sa_mask, SIGWINCH);
	T_EQ(sigaction(SIGUSR1, &plain, NULL), 0);
	T_EQ(sigaction(SIGUSR2, &info, NULL), 0);
	T_EQ(sigaction(SIGTERM, &ignore, NULL), 0);
	notify(c, SIGUSR1);
	notify(c, SIGUSR2);
	notify(c, SIGTERM);
	kill(getpid(), SIGUSR1);
	T_EQ(next(c), SIGUSR1);
	T_UNTIL(atomic_load(&plain_calls) == 1);
	kill(getpid(), SIGUSR2);
	T_EQ(next(c), SIGUSR2);
	T_UNTIL(atomic_load(&info_calls) == 1);
	kill(getpid(), SIGTERM);
	T_EQ(next(c), SIGTERM);
	T_EQ(spg_signal_stop(c), 0);
	same_action(SIGUSR1, &plain);
	same_action(SIGUSR2, &info);
	same_action(SIGTERM, &ignore);
	kill(getpid(), SIGUSR1);
	T_UNTIL(atomic_load(&plain_calls) == 2);
	nothing_in(c);
	handlers_over(c);
	spg_chan_unref(c);
	return 0;
}

START_TEST(handlers_of_the_program_are_called_and_come_back)
{
	t_run((unsigned)_i, chains, NULL);
}
END_TEST

/* Goal: what cannot be had is refused, and changes nothing. */
static int refusals(void *arg)
{
	static const int bad[] = { 0,	   -1,	   65,	   32,	   33,	    INT32_MAX, INT32_MIN, SIGKILL, SIGSTOP,
				   SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS,    SIGURG,    SIGVTALRM };
	spg_chan *c = ints(1), *bytes = spg_chan_new(1, 1);
	int number = SIGUSR1;

	(void)arg;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int mixed[] = { SIGUSR1, bad[i] };

		T_ERR(spg_signal_notify(c, &bad[i], 1), -EINVAL);
		T_ERR(spg_signal_notify(c, mixed, 2), -EINVAL);
	}
	T_ERR(spg_signal_notify(NULL, &number, 1), -EINVAL);
	T_ERR(spg_signal_notify(c, NULL, 1), -EINVAL);
	T_ERR(spg_signal_notify(bytes, &number, 1), -EINVAL);
	T_ERR(spg_signal_stop(NULL), -EINVAL);
	T_OK(is_default(SIGUSR1));
	T_EQ(spg__signals_subscribed(), 0);
	for (int nth = 1; nth <= 2; nth++) {
		int err;

		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		err = spg_signal_notify(c, &number, 1);
		spg__fault_disarm(SPG__FAULT_ALLOC);
		T_OK(err == -ENOMEM || (nth > 1 && err == 0));
		T_EQ(spg__signals_subscribed(), err == 0);
		T_EQ(is_default(SIGUSR1), err < 0);
	}
	T_EQ(spg_signal_stop(c), 0);
	spg_exit(0);
	{
		SPG_SHIELD_SCOPE();
		T_ERR(spg_signal_notify(c, &number, 1), -ESRCH);
	}
	spg_chan_unref(c);
	spg_chan_unref(bytes);
	return 0;
}

START_TEST(what_cannot_be_had_is_refused)
{
	spg_chan *c = ints(1);
	spg_config cfg = t_config((unsigned)_i);
	int number = SIGUSR1, before = t_fds_count();

	T_ERR(spg_signal_notify(c, &number, 1), -ESRCH);
	T_EQ(t_fds_count(), before);
	cfg.dump_signal = SIGVTALRM;
	T_EQ(t_run_config(&cfg, refusals, NULL), 0);
	T_EQ(t_fds_count(), before);
	spg_chan_unref(c);
}
END_TEST

/* Goal: without room for the reader, or a descriptor, a subscription fails and leaves nothing. */
static int no_room(void *arg)
{
	spg_chan *c = ints(1);
	struct rlimit limit, none;
	int number = SIGUSR1;

	T_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	T_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	T_ERR(spg_signal_notify(c, &number, 1), -EMFILE);
	T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	T_ERR(spg_signal_notify(c, &number, 1), -EAGAIN);
	T_EQ(spg__signals_subscribed(), 0);
	T_OK(is_default(SIGUSR1));
	spg_chan_unref(c);
	(void)arg;
	return 0;
}

START_TEST(without_room_a_subscription_fails)
{
	spg_config cfg = t_config((unsigned)_i);
	int before = t_fds_count();

	cfg.coroutines_max = 1;
	T_EQ(t_run_config(&cfg, no_room, NULL), 0);
	T_EQ(t_fds_count(), before);
}
END_TEST

/* Goal: without a list all signals come that can; SIGURG does not. */
static int everything(void *arg)
{
	spg_chan *c = ints(64);

	(void)arg;
	T_EQ(spg_signal_notify(c, NULL, 0), 0);
	for (int number = 1; number <= 64; number++) {
		bool had = number != SIGKILL && number != SIGSTOP && number != SIGURG && number != SIGSEGV &&
			   number != SIGBUS && number != SIGFPE && number != SIGILL && number != SIGTRAP &&
			   number != SIGSYS && number != 32 && number != 33;

		/* SIGPIPE is blocked here, and SIGCHLD and SIGCONT do more than call a handler. */
		if (!had || number == SIGPIPE)
			continue;
		T_EQ(kill(getpid(), number), 0);
		T_EQ(next(c), number);
	}
	T_EQ(spg_signal_stop(c), 0);
	T_OK(is_default(SIGTERM) && is_default(SIGRTMAX) && is_default(SIGWINCH));
	spg_chan_unref(c);
	return 0;
}

START_TEST(without_a_list_all_signals_come)
{
	no_handlers();
	t_run((unsigned)_i, everything, NULL);
}
END_TEST

/* Goal: all that can come at once do, on the small stack that shards handle signals on. */
static int at_once(void *arg)
{
	spg_chan *c = ints(64);
	sigset_t all, before;
	uint64_t got = 0, sent = 0;

	(void)arg;
	T_EQ(spg_signal_notify(c, NULL, 0), 0);
	sigfillset(&all);
	T_EQ(pthread_sigmask(SIG_BLOCK, &all, &before), 0);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
		T_EQ(raise(number), 0);
		sent |= (uint64_t)1 << (number - 1);
	}
	T_EQ(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	while (got != sent)
		got |= (uint64_t)1 << (next(c) - 1);
	T_EQ(spg_signal_stop(c), 0);
	spg_chan_unref(c);
	return 0;
}

START_TEST(signals_that_come_at_once_need_one_frame)
{
	t_run((unsigned)_i, at_once, NULL);
}
END_TEST

/* Goal: a signal arrives while a shard computes, and the kick goes on beside. */
static _Atomic bool arrived;

static int receive(void *arg)
{
	T_EQ(next(arg), SIGUSR1);
	atomic_store(&arrived, true);
	return 0;
}

static int compute_main(void *arg)
{
	spg_group *group = spg_group_new(0);
	spg_chan *c = ints(1);

	(void)arg;
	atomic_store(&arrived, false);
	notify(c, SIGUSR1);
	T_EQ(spg_group_go(group, receive, c), 0);
	spg_yield(); /* the reader waits, on this shard or another */
	kill(getpid(), SIGUSR1);
	while (!atomic_load(&arrived))
		continue; /* no call of the library */
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	T_EQ(spg_signal_stop(c), 0);
	spg_chan_unref(c);
	return 0;
}

START_TEST(a_signal_arrives_while_a_shard_computes)
{
	if (t_tsan())
		T_SKIP("ThreadSanitizer holds signals back");
	if (_i == 1)
		return; /* nobody else could run */
	t_run((unsigned)_i, compute_main, NULL);
}
END_TEST

/* Goal: the recipe of spg/signal.h: SIGTERM lets the open connection finish, and ends the server. */
static void handler(int fd, void *arg)
{
	char byte;

	(void)arg;
	T_EQ(spg_write(fd, "a", 1), 1);
	T_EQ(spg_read(fd, &byte, 1), 1); /* the server drains meanwhile */
	T_EQ(byte, 'b');
	T_EQ(spg_write(fd, "c", 1), 1);
	spg_close(fd);
}

static int server(void *listener)
{
	return spg_serve((int)(intptr_t)listener, handler, NULL, NULL);
}

static int recipe(void *listener)
{
	static const int ends[] = { SIGINT, SIGTERM };
	spg_chan *signals = spg_chan_new(sizeof(int), 1);
	spg_group *serving = spg_group_new(0);
	int number, err;

	err = spg_signal_notify(signals, ends, 2);
	if (err == 0)
		err = spg_group_go(serving, server, listener);
	if (err == 0)
		err = spg_chan_recv(signals, &number);
	spg_signal_stop(signals);
	spg_group_free(serving); /* cancels, and waits until it has drained */
	spg_chan_unref(signals);
	return err;
}

static int client(void *arg)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char address[128], byte;
	int fd;

	T_EQ(getsockname((int)(intptr_t)arg, (struct sockaddr *)&sa, &len), 0);
	T_OK(spg_sockaddr_str((struct sockaddr *)&sa, address, sizeof(address)) > 0);
	fd = spg_dial("tcp", address, NULL);
	T_OK(fd >= 0);
	T_EQ(spg_read(fd, &byte, 1), 1);
	T_EQ(kill(getpid(), SIGTERM), 0);
	T_UNTIL(is_default(SIGTERM)); /* stopped: it drains, or is about to */
	T_EQ(spg_write(fd, "b", 1), 1);
	T_EQ(spg_read(fd, &byte, 1), 1);
	T_EQ(byte, 'c');
	T_EQ(spg_read(fd, &byte, 1), 0);
	return spg_close(fd);
}

static int recipe_main(void *arg)
{
	spg_group *group = spg_group_new(0);
	int listener = spg_listen("tcp", "127.0.0.1:0", NULL);

	(void)arg;
	T_OK(listener >= 0);
	T_EQ(spg_group_go(group, recipe, (void *)(intptr_t)listener), 0);
	T_EQ(spg_group_go(group, client, (void *)(intptr_t)listener), 0);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	return spg_close(listener);
}

START_TEST(a_server_drains_on_sigterm)
{
	no_handlers();
	t_run((unsigned)_i, recipe_main, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_signal_arrives_wherever_it_is_sent), T_SHARDS(each_channel_gets_what_it_asked_for),
       T_SHARDS(a_full_channel_drops_and_the_runtimes_end_stops_all),
       T_SHARDS(handlers_of_the_program_are_called_and_come_back), T_SHARDS(what_cannot_be_had_is_refused),
       T_SHARDS(without_room_a_subscription_fails), T_SHARDS(without_a_list_all_signals_come),
       T_SHARDS(signals_that_come_at_once_need_one_frame),
       T_SHARDS(a_signal_arrives_while_a_shard_computes),
       T_SHARDS(a_server_drains_on_sigterm))
