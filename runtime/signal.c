/*
 * Signals to channels: a handler notes the number and writes to an eventfd; a coroutine of
 * the runtime's own, the reader, sends what is noted to the channels.
 *
 * SG1  Subscriptions, dispositions and the reader's state change under the mutex, which is
 *      held over short system calls and never over a park. The handler takes no lock and
 *      touches atomics only.
 * SG2  Handler: raise `handlers`, read `wanted`, note in `pending`, write, lower `handlers`
 *      (all seq_cst [SG-a]). The last subscription of a signal ends by: put the disposition
 *      back; clear the bit of `wanted`; wait until `handlers` is 0; send what is pending.
 *      So a handler either saw the bit, and its signal is sent before the end returns; or it
 *      sees that nobody wants it. Then it was on its way when the disposition changed, and
 *      looks at what that is now: the default, for which it raises the signal anew; or ours
 *      again.
 * SG3  The first subscription of a signal begins the other way round: the channel is in the
 *      list and the bit set before the handler is there. So nothing is lost after the call.
 * SG4  The eventfd is closed with no subscription left and `handlers` 0 after that: no
 *      handler writes to a number that is another's.
 * SG5  There is a reader while there are subscriptions. It runs under the root context, whose
 *      end it takes for the end of all subscriptions. It leaves under the mutex.
 * SG6  A disposition that is not ours any more stays, and the signal keeps `installed`: ours may
 *      be called by the handler over it. To install ours once more, over that one, would be a
 *      circle.
 * SG7  Our handler blocks all signals, so that however many come at once need one frame of the
 *      alternate stack. The handler it calls after gets the mask it would have had.
 *
 * SG2 to SG5 are model-checked: test/model_signal.c.
 *
 * Rejected: signalfd, for which every thread of the program would have to block the signal.
 */
#include "runtime/signal.h"

#include "coro/alloc.h"
#include "coro/list.h"
#include "coro/stack.h"
#include "runtime/chan.h"
#include "sched/cancel.h"
#include "sched/shard.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spg/io.h>
#include <spg/signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Numbers are 1 to 64: a bit each. */
#define SIGNAL_MAX 64

struct subscription {
	struct spg__list link;
	struct spg_chan *chan;
	uint64_t signals;
};

static struct {
	pthread_mutex_t mutex;
	struct spg__list list;
	/* A runtime runs; the numbers it uses itself; those whose handler is ours; a reader lives. */
	bool started;
	uint64_t reserved, installed;
	bool reading;
	/* What our handlers replaced. */
	struct sigaction previous[SIGNAL_MAX + 1];
	_Atomic size_t count;

	/* The handler's: SG2. */
	_Atomic uint64_t wanted, pending;
	_Atomic unsigned handlers;
	_Atomic int event_fd;
	/* The function it calls after, if any: one of the two. */
	struct {
		_Atomic(void (*)(int)) plain;
		_Atomic(void (*)(int, siginfo_t *, void *)) info;
		_Atomic uint64_t mask;
	} chain[SIGNAL_MAX + 1];
} sig = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.list = { &sig.list, &sig.list },
	.event_fd = -1,
};

/* What a program does to itself. */
static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
#define FAULTS (sizeof(faults) / sizeof(faults[0]))

static uint64_t bit(int number)
{
	return number > 0 && number <= SIGNAL_MAX ? (uint64_t)1 << (number - 1) : 0;
}

/* The lowest number of a set that is not empty; it leaves the set. */
static int take_number(uint64_t *set)
{
	int number = __builtin_ctzll(*set) + 1;

	*set &= *set - 1;
	return number;
}

static void on_signal(int number, siginfo_t *info, void *context);

/* SG2. false: nobody wants it. */
static bool note(int number)
{
	bool wanted;

	atomic_fetch_add_explicit(&sig.handlers, 1, memory_order_seq_cst); /* [SG-a] */
	wanted = (atomic_load_explicit(&sig.wanted, memory_order_seq_cst) & bit(number)) != 0;
	if (wanted) {
		atomic_fetch_or_explicit(&sig.pending, bit(number), memory_order_seq_cst);
		/* relaxed: stored before `wanted`. A full counter means that the reader is about to look. */
		(void)!write(atomic_load_explicit(&sig.event_fd, memory_order_relaxed), &(uint64_t){ 1 },
			     sizeof(uint64_t));
	}
	atomic_fetch_sub_explicit(&sig.handlers, 1, memory_order_seq_cst);
	return wanted;
}

/* SG2: on its way when nobody wanted it any more. */
static void look_again(int number)
{
	struct sigaction now;

	if (sigaction(number, NULL, &now) != 0)
		return;
	if (now.sa_handler == SIG_DFL)
		raise(number); /* blocked until we return */
	else if (now.sa_sigaction == on_signal)
		(void)note(number); /* SG3: subscribed to anew, and wanted before ours was there */
}

/*
 * SG7: as if the kernel had called it: what was blocked where the signal came, and what it
 * asked to have blocked. The return from ours puts back the former.
 */
static void unblock_for(int number, const ucontext_t *context)
{
	uint64_t mask;

	memcpy(&mask, &context->uc_sigmask, sizeof(mask)); /* the kernel's part of it */
	/* relaxed: stored before the handler was installed. */
	mask |= atomic_load_explicit(&sig.chain[number].mask, memory_order_relaxed);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

/* On any thread, wherever it was. */
static void on_signal(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	bool wanted = note(number);
	/* relaxed, both: stored before the handler was installed. */
	void (*with_info)(int, siginfo_t *, void *) =
		atomic_load_explicit(&sig.chain[number].info, memory_order_relaxed);
	void (*plain)(int) = atomic_load_explicit(&sig.chain[number].plain, memory_order_relaxed);

	if (with_info != NULL || plain != NULL)
		unblock_for(number, context);
	if (with_info != NULL)
		with_info(number, info, context);
	else if (plain != NULL)
		plain(number);
	else if (!wanted)
		look_again(number);
	errno = saved;
}

static bool is_function(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/* Before the handler is there. */
static void set_chain(int number, const struct sigaction *action)
{
	bool info = (action->sa_flags & SA_SIGINFO) != 0, function = is_function(action);
	uint64_t mask;

	memcpy(&mask, &action->sa_mask, sizeof(mask));
	if (!(action->sa_flags & SA_NODEFER))
		mask |= bit(number);
	atomic_store_explicit(&sig.chain[number].mask, mask, memory_order_relaxed);
	atomic_store_explicit(&sig.chain[number].plain, function && !info ? action->sa_handler : NULL,
			      memory_order_relaxed);
	atomic_store_explicit(&sig.chain[number].info, function && info ? action->sa_sigaction : NULL,
			      memory_order_relaxed);
}

/* Under the mutex. One that is to be had. */
static void install(int number)
{
	struct sigaction *previous = &sig.previous[number];
	struct sigaction ours = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (sig.installed & bit(number)) /* SG6, or another channel's */
		return;
	SPG_CHECK(sigaction(number, NULL, previous) == 0);
	set_chain(number, previous);
	sigfillset(&ours.sa_mask); /* SG7 */
	for (size_t i = 0; i < FAULTS; i++)
		sigdelset(&ours.sa_mask, faults[i]);
	ours.sa_flags |= previous->sa_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT);
	ours.sa_flags |= is_function(previous) ? previous->sa_flags & SA_RESTART : SA_RESTART;
	SPG_CHECK(sigaction(number, &ours, NULL) == 0);
	sig.installed |= bit(number);
}

/* Under the mutex. */
static void restore(int number)
{
	struct sigaction now;

	if (!(sig.installed & bit(number)) || sigaction(number, NULL, &now) != 0)
		return;
	if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_signal)
		return; /* SG6 */
	SPG_CHECK(sigaction(number, &sig.previous[number], NULL) == 0);
	sig.installed &= ~bit(number);
}

/* Under the mutex: what the channels but one together want. */
static uint64_t subscribed(const struct subscription *but)
{
	uint64_t signals = 0;

	for (struct spg__list *node = sig.list.next; node != &sig.list; node = node->next) {
		const struct subscription *sub = spg__container_of(node, struct subscription, link);

		if (sub != but)
			signals |= sub->signals;
	}
	return signals;
}

static void deliver_one(int number)
{
	for (struct spg__list *node = sig.list.next; node != &sig.list; node = node->next) {
		struct subscription *sub = spg__container_of(node, struct subscription, link);

		/* -EAGAIN: full. -EPIPE: closed. */
		if (sub->signals & bit(number))
			(void)spg_chan_try_send(sub->chan, &number);
	}
}

/* Under the mutex. */
static void deliver(void)
{
	/* seq_cst [SG-a]. */
	uint64_t pending = atomic_exchange_explicit(&sig.pending, 0, memory_order_seq_cst);

	while (pending != 0)
		deliver_one(take_number(&pending));
}

/* Under the mutex. SG2: of subscriptions that are about to end, the signals nobody else wants. */
static void retire(uint64_t signals)
{
	uint64_t left = signals;

	while (left != 0)
		restore(take_number(&left));
	/* seq_cst [SG-a], both. */
	atomic_fetch_and_explicit(&sig.wanted, ~signals, memory_order_seq_cst);
	while (atomic_load_explicit(&sig.handlers, memory_order_seq_cst) != 0)
		sched_yield(); /* a few instructions of a handler on another thread */
	deliver();
}

/* Under the mutex. */
static void unlink_sub(struct subscription *sub)
{
	spg__list_remove(&sub->link);
	atomic_fetch_sub_explicit(&sig.count, 1, memory_order_relaxed);
	spg_chan_unref(sub->chan);
	spg__free(sub);
}

/* Under the mutex. */
static void end_all(void)
{
	struct spg__list *node;

	retire(subscribed(NULL));
	while ((node = spg__list_first(&sig.list)) != NULL)
		unlink_sub(spg__container_of(node, struct subscription, link));
}

/* SG5. false: the reader is no longer needed, or its time is over. */
static bool serve(bool over)
{
	pthread_mutex_lock(&sig.mutex);
	deliver();
	if (over)
		end_all();
	sig.reading = !spg__list_empty(&sig.list);
	over = !sig.reading;
	pthread_mutex_unlock(&sig.mutex);
	return !over;
}

static void reader_main(void *arg)
{
	int fd = (int)(intptr_t)arg;
	uint64_t count;

	ssize_t n;

	do
		n = spg_read(fd, &count, sizeof(count));
	while (serve(n < 0 && n != -EINTR));
}

static int start_reader(void)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_FN, .fn = reader_main, .name = "spg-signals" };
	int err;

	if (sig.reading)
		return 0;
	spawn.arg = (void *)(intptr_t)atomic_load_explicit(&sig.event_fd, memory_order_relaxed);
	spawn.stack_class = (unsigned)spg__stack_class(0);
	spawn.creator = __builtin_return_address(0);
	spawn.ctx = spg__ctx_root();
	err = spg__coro_spawn(&spawn);
	sig.reading = err == 0;
	return err;
}

/* Under the mutex: eventfd and reader, in that order. */
static int get_ready(void)
{
	int fd = atomic_load_explicit(&sig.event_fd, memory_order_relaxed);

	if (spg__ctx_state(spg__ctx_root()) != 0)
		return -ESRCH;
	if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC);
		if (fd < 0)
			return -errno;
		/* relaxed: the handler reads it after `wanted`, which is set after this. */
		atomic_store_explicit(&sig.event_fd, fd, memory_order_relaxed);
	}
	return start_reader();
}

static struct subscription *find(const struct spg_chan *c)
{
	for (struct spg__list *node = sig.list.next; node != &sig.list; node = node->next) {
		struct subscription *sub = spg__container_of(node, struct subscription, link);

		if (sub->chan == c)
			return sub;
	}
	return NULL;
}

/* Under the mutex. The channel's subscription, maybe of nothing yet; NULL: no memory. */
static struct subscription *sub_of(struct spg_chan *c)
{
	struct subscription *sub = find(c);

	if (sub != NULL)
		return sub;
	sub = spg__alloc(sizeof(*sub));
	if (sub == NULL)
		return NULL;
	*sub = (struct subscription){ .chan = spg_chan_ref(c) };
	spg__list_append(&sig.list, &sub->link);
	atomic_fetch_add_explicit(&sig.count, 1, memory_order_relaxed);
	return sub;
}

/* Under the mutex: with nothing left to do for it the reader goes. */
static void let_go(void)
{
	if (sig.reading && spg__list_empty(&sig.list))
		(void)!write(atomic_load_explicit(&sig.event_fd, memory_order_relaxed), &(uint64_t){ 1 },
			     sizeof(uint64_t));
}

static int subscribe(struct spg_chan *c, uint64_t signals)
{
	struct subscription *sub;
	int err = get_ready();

	if (err < 0)
		return err;
	sub = sub_of(c);
	if (sub == NULL)
		return -ENOMEM;
	deliver(); /* what came before is not for this one */
	/* SG3. */
	sub->signals |= signals;
	/* seq_cst [SG-a]. */
	atomic_fetch_or_explicit(&sig.wanted, signals, memory_order_seq_cst);
	while (signals != 0)
		install(take_number(&signals));
	return 0;
}

/* Under the mutex. */
static bool to_be_had(int number)
{
	struct sigaction now;

	for (size_t i = 0; i < FAULTS; i++) {
		if (number == faults[i])
			return false;
	}
	/* libc says no to its own. */
	return number != SIGKILL && number != SIGSTOP && bit(number) != 0 &&
	       (bit(number) & sig.reserved) == 0 && sigaction(number, NULL, &now) == 0;
}

/* Under the mutex. 0: one of them is not to be had. */
static uint64_t set_of(const int *signals, size_t n)
{
	uint64_t set = 0;

	for (size_t i = 0; i < n; i++) {
		if (!to_be_had(signals[i]))
			return 0;
		set |= bit(signals[i]);
	}
	return set;
}

static uint64_t set_of_all(void)
{
	uint64_t set = 0;

	for (int number = 1; number <= SIGNAL_MAX; number++) {
		if (number != SIGURG && to_be_had(number))
			set |= bit(number);
	}
	return set;
}

int spg_signal_notify(spg_chan *c, const int *signals, size_t n)
{
	uint64_t set;
	int err = -EINVAL;

	if (c == NULL || c->elem_size != sizeof(int) || (signals == NULL && n > 0))
		return -EINVAL;
	pthread_mutex_lock(&sig.mutex);
	if (!sig.started) {
		err = -ESRCH;
	} else {
		set = n > 0 ? set_of(signals, n) : set_of_all();
		if (set != 0)
			err = subscribe(c, set);
	}
	let_go();
	pthread_mutex_unlock(&sig.mutex);
	return err;
}

int spg_signal_stop(spg_chan *c)
{
	struct subscription *sub;

	if (c == NULL)
		return -EINVAL;
	pthread_mutex_lock(&sig.mutex);
	sub = find(c);
	if (sub != NULL) {
		retire(sub->signals & ~subscribed(sub));
		unlink_sub(sub);
		let_go();
	}
	pthread_mutex_unlock(&sig.mutex);
	return 0;
}

void spg__signals_start(int kick_signal, int dump_signal)
{
	pthread_mutex_lock(&sig.mutex);
	sig.reserved = bit(kick_signal) | bit(dump_signal);
	sig.started = true;
	pthread_mutex_unlock(&sig.mutex);
}

void spg__signals_close(void)
{
	pthread_mutex_lock(&sig.mutex);
	sig.started = false;
	pthread_mutex_unlock(&sig.mutex);
}

void spg__signals_fini(void)
{
	int fd;

	pthread_mutex_lock(&sig.mutex);
	/* The reader has ended, with all subscriptions (SG5). */
	SPG_CHECK(!sig.reading && spg__list_empty(&sig.list));
	/* relaxed: SG4. */
	fd = atomic_exchange_explicit(&sig.event_fd, -1, memory_order_relaxed);
	pthread_mutex_unlock(&sig.mutex);
	if (fd >= 0)
		close(fd);
}

void spg__signals_hold(void)
{
	pthread_mutex_lock(&sig.mutex);
}

void spg__signals_release(void)
{
	pthread_mutex_unlock(&sig.mutex);
}

/* The eventfd is the parent's reader's: a handler that was faster than us has woken it for nothing. */
void spg__signals_forked(void)
{
	uint64_t left = sig.installed;

	while (left != 0)
		restore(take_number(&left));
	sig.started = sig.reading = false;
	spg__list_init(&sig.list);
	/* relaxed, all: there is no other thread. */
	atomic_store_explicit(&sig.count, 0, memory_order_relaxed);
	atomic_store_explicit(&sig.wanted, 0, memory_order_relaxed);
	atomic_store_explicit(&sig.pending, 0, memory_order_relaxed);
	atomic_store_explicit(&sig.handlers, 0, memory_order_relaxed);
	atomic_store_explicit(&sig.event_fd, -1, memory_order_relaxed);
}

size_t spg__signals_subscribed(void)
{
	/* relaxed: a number that may change at any moment. */
	return atomic_load_explicit(&sig.count, memory_order_relaxed);
}
