#include "test/signals.h"

#include <sys/wait.h>

/* Goal: a signal that comes while the last channel stops is in it, or does its default: never lost. */
static int rounds(int otherwise)
{
	const char *text = getenv("SPG_TEST_ROUNDS");

	return text != NULL ? atoi(text) : otherwise;
}

struct stopping {
	_Atomic bool ready, go;
	unsigned stop_spin, kill_spin;
};

static void spin(unsigned turns)
{
	for (volatile unsigned i = 0; i < turns; i++)
		continue;
}

static void *kill_us(void *arg)
{
	struct stopping *s = arg;

	atomic_store(&s->ready, true);
	while (!atomic_load(&s->go))
		continue;
	spin(s->kill_spin);
	kill(getpid(), SIGTERM);
	return NULL;
}

static int stop_in_time(void *arg)
{
	struct stopping *s = arg;
	spg_chan *c = ints(1);
	pthread_t thread;
	int number;

	notify(c, SIGTERM);
	T_EQ(pthread_create(&thread, NULL, kill_us, s), 0);
	T_EQ(pthread_detach(thread), 0);
	T_UNTIL(atomic_load(&s->ready));
	atomic_store(&s->go, true);
	spin(s->stop_spin);
	T_EQ(spg_signal_stop(c), 0);
	if (spg_chan_try_recv(c, &number) == 0)
		_exit(7);
	return spg_sleep(3600 * SPG_SEC); /* it is to kill us */
}

static void stop_round(unsigned shards, uint64_t *seed, int outcomes[2])
{
	/* The signal is under way for 10 to 100 us. */
	struct stopping s = { .stop_spin = (unsigned)(t_random(seed) % 150000),
			      .kill_spin = (unsigned)(t_random(seed) % 1000) };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		t_run(shards, stop_in_time, &s);
		_exit(1);
	}
	T_EQ(waitpid(pid, &status, 0), pid);
	T_EQ(status, WIFEXITED(status) ? 7 << 8 : SIGTERM);
	outcomes[WIFEXITED(status)]++;
}

START_TEST(a_signal_during_the_stop_is_not_lost)
{
	uint64_t seed = t_seed();
	int outcomes[2] = { 0, 0 };

	/* It calls handlers by a table of its own, and by that there is none any more. */
	if (t_tsan())
		T_SKIP("ThreadSanitizer drops signals whose handler has just been replaced");
	no_handlers();
	for (int i = rounds(t_sanitized() ? 20 : 150); i > 0; i--)
		stop_round((unsigned)_i, &seed, outcomes);
	fprintf(stderr, "killed %d, in the channel %d\n", outcomes[0], outcomes[1]);
}
END_TEST

static struct sigaction over;

/* Goal: our handler, when nobody wants the signal any more, has it do what it does by default. */
static void on_over_default(int number, siginfo_t *info, void *context)
{
	signal(number, SIG_DFL);
	over.sa_sigaction(number, info, context); /* ours, as if it came late */
}

static int late_main(void *arg)
{
	struct sigaction action = { .sa_sigaction = on_over_default, .sa_flags = SA_SIGINFO };
	spg_chan *c = ints(1);

	(void)arg;
	notify(c, SIGTERM);
	T_EQ(sigaction(SIGTERM, &action, &over), 0);
	T_EQ(spg_signal_stop(c), 0);
	T_EQ(kill(getpid(), SIGTERM), 0);
	return spg_sleep(3600 * SPG_SEC);
}

START_TEST(a_signal_that_nobody_wants_any_more_does_its_default)
{
	int status;
	pid_t pid;

	no_handlers();
	pid = fork();
	if (pid == 0) {
		t_run((unsigned)_i, late_main, NULL);
		_exit(1);
	}
	T_EQ(waitpid(pid, &status, 0), pid);
	T_OK(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGTERM);
}
END_TEST

/* Goal: subscribing and stopping at full speed while signals come: no crash, no loss, no leak. */
static _Atomic bool over_now;

static void *shower(void *arg)
{
	(void)arg;
	while (!atomic_load(&over_now)) {
		kill(getpid(), SIGUSR1);
		sched_yield();
	}
	return NULL;
}

static int churn(void *arg)
{
	int number, n = rounds(t_sanitized() ? 100 : 400);

	(void)arg;
	for (int i = 0; i < n; i++) {
		spg_chan *c = ints(1);

		notify(c, SIGUSR1);
		if (i % 4 == 0)
			T_EQ(next(c), SIGUSR1);
		else if (i % 4 == 1)
			spg_yield();
		T_EQ(spg_signal_stop(c), 0);
		(void)spg_chan_try_recv(c, &number);
		spg_yield();
		nothing_in(c);
		spg_chan_unref(c);
	}
	return 0;
}

static int churn_main(void *arg)
{
	spg_group *group = spg_group_new(0);
	pthread_t thread;

	(void)arg;
	atomic_store(&over_now, false);
	T_EQ(pthread_create(&thread, NULL, shower, NULL), 0);
	for (int i = 0; i < 6; i++)
		T_EQ(spg_group_go(group, churn, NULL), 0);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	atomic_store(&over_now, true);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(spg__signals_subscribed(), 0);
	return 0;
}

START_TEST(subscriptions_come_and_go_in_a_shower_of_signals)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int before;

	T_EQ(sigaction(SIGUSR1, &ignore, NULL), 0);
	t_run((unsigned)_i, churn_main, NULL);
	before = t_fds_count();
	t_run((unsigned)_i, churn_main, NULL);
	T_EQ(t_fds_count(), before);
	same_action(SIGUSR1, &ignore);
}
END_TEST

T_MAIN(T_SHARDS(a_signal_during_the_stop_is_not_lost),
       T_SHARDS(a_signal_that_nobody_wants_any_more_does_its_default),
       T_SHARDS(subscriptions_come_and_go_in_a_shower_of_signals))
