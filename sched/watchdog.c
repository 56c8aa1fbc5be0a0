#include "sched/watchdog.h"

#include "coro/clock.h"
#include "sched/deadlock.h"
#include "coro/usdt.h"
#include "sched/queue.h"
#include "sched/sample.h"
#include "sched/thread.h"
#include "sched/trace.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Looks in a row that found all shards asleep, before it rests. */
#define QUIET_LOOKS 2
/* Between two looks when it does not look for stalls. */
#define LOOK_NS ((int64_t)10 * 1000000)
/* Between two looks for a deadlock that may come unnoticed, at most (D7). */
#define DEEP_NS_MAX ((int64_t)1000000000)

static struct {
	struct spg__watchdog_conf conf;
	bool started, hooked;
	pthread_t thread;
	struct sigaction previous;
	/* The futex it sleeps on: 0, or 1 to look at once. */
	_Atomic uint32_t word;
	_Atomic bool resting, ending;
	/* What it saw of each shard, and when. The watchdog's alone. */
	struct {
		int64_t pass_ns, kicked_ns;
	} seen[SPG__SHARDS_MAX];
} dog;

static void sleep_until(int64_t when_ns)
{
	struct timespec ts = spg__clock_timespec(when_ns);

	/* acquire: with the notice. Every return is a reason to look. */
	if (atomic_load_explicit(&dog.word, memory_order_acquire) == 0)
		syscall(SYS_futex, &dog.word, FUTEX_WAIT_BITSET_PRIVATE, 0, when_ns == SPG__NEVER ? NULL : &ts,
			NULL, FUTEX_BITSET_MATCH_ANY);
	atomic_store_explicit(&dog.word, 0, memory_order_seq_cst);
}

void spg__watchdog_look(void)
{
	/* seq_cst: what has changed is seen by the look that follows, or came before it. */
	atomic_store_explicit(&dog.word, 1, memory_order_seq_cst);
	syscall(SYS_futex, &dog.word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void spg__watchdog_notice(void)
{
	/* seq_cst [D6]. One waker is enough. */
	if (spg__unlikely(atomic_load_explicit(&dog.resting, memory_order_seq_cst)) &&
	    atomic_exchange_explicit(&dog.resting, false, memory_order_seq_cst))
		spg__watchdog_look();
}

/* On the stalled shard's thread, wherever it was (D3). */
static void on_kick(int signal, siginfo_t *info, void *context)
{
	int saved = errno;
	struct spg__shard *shard = spg__shard_self();

	if (shard != NULL) {
		spg__sample_answer(shard, context);
		spg__sched.poller->surface(shard);
	}
	if (dog.previous.sa_flags & SA_SIGINFO)
		dog.previous.sa_sigaction(signal, info, context);
	else if (dog.previous.sa_handler != SIG_DFL && dog.previous.sa_handler != SIG_IGN)
		dog.previous.sa_handler(signal);
	errno = saved;
}

static bool asleep(struct spg__shard *shard)
{
	return atomic_load_explicit(&shard->asleep, memory_order_seq_cst);
}

static bool all_asleep(void)
{
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		if (!asleep(spg__shard_at((int)i)))
			return false;
	}
	return true;
}

/* D1. */
static bool stalled(struct spg__shard *shard, int64_t now)
{
	int64_t pass = atomic_load_explicit(&shard->pass_ns, memory_order_relaxed);
	bool moved = pass != dog.seen[shard->id].pass_ns;

	dog.seen[shard->id].pass_ns = pass;
	return !moved && !asleep(shard) && now - pass >= dog.conf.stall_ns;
}

/* Could anybody else run what this shard holds? */
static bool helper_there(struct spg__shard *shard, int64_t now)
{
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		struct spg__shard *other = spg__shard_at((int)i);

		if (other != shard &&
		    (asleep(other) || now - atomic_load_explicit(&other->pass_ns, memory_order_relaxed) <
					      dog.conf.stall_ns))
			return true;
	}
	return false;
}

/* D2: what is not bound to the shard goes to everybody, what has been canceled to the kick, the rest back. */
static void rescue_inbox(struct spg__shard *shard)
{
	struct spg__link *link;
	struct spg__fifo loose = { 0 };
	bool kept = false;

	if (atomic_load_explicit(&shard->inbox, memory_order_relaxed) == NULL)
		return;
	link = spg__inbox_take(shard);
	while (link != NULL) {
		struct spg__coro *coro = spg__coro_of_link(link);

		link = link->next;
		if (spg__coro_op_shard(coro) >= 0) {
			if (dog.conf.kick_signal == 0 || !spg__sched.poller->cancel_for(shard, coro))
				spg__inbox_put(shard, coro);
			kept = true;
		} else if (coro->pin < 0) {
			spg__fifo_append(&loose, &coro->link);
		} else {
			spg__inbox_put(shard, coro);
			kept = true;
		}
	}
	/* It may have got up meanwhile, found an empty inbox and gone to sleep (I1). */
	if (kept)
		spg__shard_wake(shard);
	if (loose.count > 0)
		spg__global_put(&loose);
}

static void kick(struct spg__shard *shard, int64_t now)
{
	/* D5. */
	if (dog.conf.kick_signal == 0 || !spg__sched.poller->holds(shard) ||
	    now - dog.seen[shard->id].kicked_ns < dog.conf.stall_ns)
		return;
	dog.seen[shard->id].kicked_ns = now;
	spg__count(&shard->counters.kicks);
	if (spg__trace_any(NULL))
		spg__trace_put_any(NULL, SPG__TRACE_KICK, (uint64_t)shard->id, 0);
	SPG__PROBE1(kick, shard->id);
	pthread_kill(shard->thread, dog.conf.kick_signal);
}

/* D2, D4: to those who can use it. */
static void bring_out(struct spg__shard *shard, int64_t now)
{
	/* What the last kick brought to light, whose coroutines may be in the inbox; and then the next one (D4). */
	spg__sched.poller->reap_for(shard);
	rescue_inbox(shard);
	kick(shard, now);
	if (spg__runq_count(&shard->runq) > 0 ||
	    atomic_load_explicit(&shard->next, memory_order_relaxed) != NULL ||
	    atomic_load_explicit(&spg__sched.global_count, memory_order_seq_cst) > 0)
		spg__wake_thief();
}

/* In which system call the shard's thread sleeps; -1: none, or /proc does not say. */
static long blocked_in(const struct spg__shard *shard)
{
	char path[64], text[32];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", shard->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	/* "running", or the number and more. */
	if (n <= 0 || text[0] < '0' || text[0] > '9')
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

static void help(struct spg__shard *shard, int64_t now)
{
	long call = -1;

	/* The runtime may be on its way out: then nobody needs help. */
	if (spg__shard_enter_foreign() == NULL)
		return;
	if (!atomic_exchange_explicit(&shard->stalled, true, memory_order_seq_cst))
		spg__count(&shard->counters.stalls);
	/* relaxed: a timer that comes due right now is found at the next look. */
	if (now >= atomic_load_explicit(&shard->timers.next_due_ns, memory_order_relaxed))
		spg__timers_expire(&shard->timers, now);
	/* Before a kick, which interrupts it. */
	if (dog.conf.stalled != NULL)
		call = blocked_in(shard);
	if (spg__sched.stealing && helper_there(shard, now))
		bring_out(shard, now);
	if (dog.conf.stalled != NULL)
		dog.conf.stalled(shard, dog.seen[shard->id].pass_ns, now, call);
	spg__shard_leave_foreign();
}

/* Returns how long until the next look. */
static int64_t look(unsigned *quiet)
{
	int64_t now = spg__clock_ns(), pause = dog.conf.stall_ns > 0 ? dog.conf.stall_ns / 2 + 1 : LOOK_NS;
	bool kicked = false;

	for (unsigned i = 0; dog.conf.stall_ns > 0 && i < spg__sched.conf.shards; i++) {
		struct spg__shard *shard = spg__shard_at((int)i);

		if (stalled(shard, now)) {
			help(shard, now);
			kicked |= dog.seen[i].kicked_ns == now;
		}
	}
	/* A kicked shard's completions are there a moment later. */
	if (kicked)
		pause = pause / 16 + 1;
	*quiet = all_asleep() ? *quiet + 1 : 0;
	return pause;
}

/* D7. All shards sleep. Returns until when the watchdog may. */
static int64_t look_deep(int64_t *pause_ns)
{
	enum spg__deadlock found = dog.conf.deadlocked != NULL ? spg__deadlock_look() : SPG__DEADLOCK_NONE;

	if (found == SPG__DEADLOCK_PROVEN)
		dog.conf.deadlocked();
	if (found == SPG__DEADLOCK_NONE)
		return SPG__NEVER;
	/* Threads that are not ours may stay for ever. What is proven is so until somebody acts on it. */
	*pause_ns = found == SPG__DEADLOCK_LATER && *pause_ns > 0 ? *pause_ns * 2 : LOOK_NS;
	if (*pause_ns > DEEP_NS_MAX)
		*pause_ns = DEEP_NS_MAX;
	return spg__clock_after_ns(spg__clock_ns(), *pause_ns);
}

static void *dog_main(void *arg)
{
	int64_t deep_ns = 0;
	unsigned quiet = 0;
	char name[16];

	(void)arg;
	snprintf(name, sizeof(name), "%.9s-watch", dog.conf.name);
	(void)pthread_setname_np(pthread_self(), name);
	while (!atomic_load_explicit(&dog.ending, memory_order_seq_cst)) {
		int64_t pause = look(&quiet), until;

		if (quiet < QUIET_LOOKS) {
			deep_ns = quiet > 0 ? deep_ns : 0;
			sleep_until(spg__clock_ns() + pause);
			continue;
		}
		/* seq_cst [D6]: resting, then the last look. */
		atomic_store_explicit(&dog.resting, true, memory_order_seq_cst);
		until = look_deep(&deep_ns);
		if (all_asleep() && !atomic_load_explicit(&dog.ending, memory_order_seq_cst))
			sleep_until(until);
		atomic_store_explicit(&dog.resting, false, memory_order_seq_cst);
		/* Nobody got up: one look is enough. */
		quiet = spg__clock_ns() >= until ? QUIET_LOOKS - 1 : 0;
	}
	return NULL;
}

int spg__watchdog_start(const struct spg__watchdog_conf *conf)
{
	struct sigaction ours = { .sa_sigaction = on_kick, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
	sigset_t all, before;
	int err;

	dog.conf = *conf;
	dog.started = false;
	if (conf->stall_ns == 0) {
		dog.conf.kick_signal = 0;
		if (conf->deadlocked == NULL)
			return 0;
	}
	atomic_store_explicit(&dog.ending, false, memory_order_relaxed);
	atomic_store_explicit(&dog.resting, false, memory_order_relaxed);
	sigemptyset(&ours.sa_mask);
	if (dog.conf.kick_signal != 0 && sigaction(conf->kick_signal, &ours, &dog.previous) != 0)
		return -errno;
	dog.hooked = dog.conf.kick_signal != 0;
	/* No signal is for the watchdog. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&dog.thread, NULL, dog_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	dog.started = err == 0;
	return -err;
}

void spg__watchdog_stop(void)
{
	if (!dog.started)
		return;
	atomic_store_explicit(&dog.ending, true, memory_order_seq_cst);
	spg__watchdog_look();
	pthread_join(dog.thread, NULL);
	dog.started = false;
}

void spg__watchdog_unhook(void)
{
	struct sigaction now;

	if (!dog.hooked)
		return;
	dog.hooked = false;
	/* Somebody else's handler, set meanwhile, stays. */
	if (sigaction(dog.conf.kick_signal, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
	    now.sa_sigaction == on_kick)
		sigaction(dog.conf.kick_signal, &dog.previous, NULL);
}
