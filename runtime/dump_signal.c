#include "runtime/dump_signal.h"

#include "runtime/dump.h"
#include "sched/deadlock.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	int signal; /* 0: not started */
	pthread_t thread;
	struct sigaction previous;
	/* The futex the thread sleeps on: raised by each signal, and by the end. */
	_Atomic uint32_t wanted;
	_Atomic bool ending;
} ds;

static void want(void)
{
	/* release: `ending`; pairs with the load in dump_main. */
	atomic_fetch_add_explicit(&ds.wanted, 1, memory_order_release);
	syscall(SYS_futex, &ds.wanted, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	int saved = errno;

	want();
	if (ds.previous.sa_flags & SA_SIGINFO)
		ds.previous.sa_sigaction(signal, info, context);
	else if (ds.previous.sa_handler != SIG_DFL && ds.previous.sa_handler != SIG_IGN)
		ds.previous.sa_handler(signal);
	errno = saved;
}

/* Signals that come during a dump are one dump after it. */
static void *dump_main(void *arg)
{
	uint32_t seen = 0;

	(void)arg;
	for (;;) {
		/* acquire: with want(). */
		uint32_t now = atomic_load_explicit(&ds.wanted, memory_order_acquire);

		if (now == seen) {
			syscall(SYS_futex, &ds.wanted, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
			continue;
		}
		seen = now;
		if (atomic_load_explicit(&ds.ending, memory_order_relaxed))
			return NULL;
		/* Whom would one tell that stderr cannot be written? */
		(void)spg__dump(STDERR_FILENO, spg__dump_write_plain);
	}
}

static int thread_start(const char *name)
{
	sigset_t all, before;
	char text[16];
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&ds.thread, NULL, dump_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != 0)
		return -err;
	snprintf(text, sizeof(text), "%.10s-dump", name);
	(void)pthread_setname_np(ds.thread, text);
	return 0;
}

static void thread_stop(void)
{
	atomic_store_explicit(&ds.ending, true, memory_order_relaxed);
	want();
	pthread_join(ds.thread, NULL);
}

int spg__dump_signal_start(int signal, const char *thread_name)
{
	struct sigaction ours = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
	int err;

	if (signal == 0)
		return 0;
	atomic_store_explicit(&ds.wanted, 0, memory_order_relaxed);
	atomic_store_explicit(&ds.ending, false, memory_order_relaxed);
	err = thread_start(thread_name);
	if (err < 0)
		return err;
	spg__deadlock_thread(1);
	sigemptyset(&ours.sa_mask);
	if (sigaction(signal, &ours, &ds.previous) != 0) {
		err = -errno;
		thread_stop();
		spg__deadlock_thread(-1);
		return err;
	}
	ds.signal = signal;
	return 0;
}

void spg__dump_signal_stop(void)
{
	struct sigaction now;

	if (ds.signal == 0)
		return;
	if (sigaction(ds.signal, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_signal)
		sigaction(ds.signal, &ds.previous, NULL);
	ds.signal = 0;
	thread_stop();
	spg__deadlock_thread(-1);
}
