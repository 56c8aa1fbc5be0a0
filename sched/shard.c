#include "sched/shard.h"

#include "coro/alloc.h"
#include "coro/clock.h"
#include "sched/cancel.h"
#include "sched/queue.h"
#include "sched/thread.h"
#include "sched/trace.h"
#include "sched/watchdog.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A pass longer than this halves its budget, a much shorter one doubles it again. */
#define PASS_NS 100000
/* Until it is measured: a run is worth a thief. */
#define RUN_AVG_START_NS 50000

struct spg__sched spg__sched;

int spg__sched_init(const struct spg__sched_conf *conf, const struct spg__poller *poller)
{
	struct spg__sched *sched = &spg__sched;

	/* Mapped once, touched as far as used, never unmapped: late wakers may look at a shard. */
	if (sched->shards == NULL)
		sched->shards = spg__map(SPG__SHARDS_MAX * sizeof(struct spg__shard));
	if (sched->shards == NULL)
		return -ENOMEM;
	sched->conf = *conf;
	sched->poller = poller;
	sched->stealing = conf->shards > 1 && conf->steal;
	sched->may_spin = conf->shards > 1 && conf->spin_ns > 0 && conf->cpus > 1;
	sched->crowd_cpus = sched->stealing && conf->shards > conf->cpus ? conf->cpus : 0;
	for (unsigned i = 0; i < conf->shards; i++) {
		struct spg__shard *shard = &sched->shards[i];

		memset(shard, 0, sizeof(*shard));
		shard->id = (int)i;
		shard->budget_max = conf->run_budget;
		shard->steal_hint = -1;
		atomic_init(&shard->run_avg_ns, RUN_AVG_START_NS);
		shard->random = 0x9E3779B97F4A7C15u * (i + 1) ^ (uint64_t)spg__clock_ns();
		spg__timers_init(&shard->timers, (int)i);
	}
	for (unsigned i = 0; i < SPG__SHARDS_MAX / 64; i++) {
		atomic_store_explicit(&sched->sleeping[i], 0, memory_order_relaxed);
		atomic_store_explicit(&sched->spinning[i], 0, memory_order_relaxed);
	}
	atomic_store_explicit(&sched->stopping, false, memory_order_relaxed);
	atomic_store_explicit(&sched->exiting, false, memory_order_relaxed);
	atomic_store_explicit(&sched->foreign_spawned, 0, memory_order_relaxed);
	atomic_store_explicit(&sched->limited_live, 0, memory_order_relaxed);
	if (atomic_load_explicit(&sched->ids_next, memory_order_relaxed) == 0)
		atomic_store_explicit(&sched->ids_next, 1, memory_order_relaxed);
	spg__ctx_root_reset();
	/* seq_cst: foreign threads may come in from here on. */
	atomic_store_explicit(&sched->running, true, memory_order_seq_cst);
	return 0;
}

void spg__sched_fini(void)
{
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		struct spg__shard *shard = spg__shard_at((int)i);

		/* What foreign threads and contexts still have running fires now: its owner checks the time. */
		spg__timers_expire(&shard->timers, SPG__NEVER);
		spg__coro_cache_flush(&shard->coros);
		spg__stack_cache_flush(&shard->stacks);
	}
}

struct spg__shard *spg__shard_enter_foreign(void)
{
	/* seq_cst, both: teardown stores running, then waits for foreigners to be 0. */
	atomic_fetch_add_explicit(&spg__sched.foreigners, 1, memory_order_seq_cst);
	if (spg__likely(atomic_load_explicit(&spg__sched.running, memory_order_seq_cst)))
		return spg__shard_at((int)(atomic_fetch_add_explicit(&spg__sched.spread_next, 1,
								     memory_order_relaxed) %
					   spg__sched.conf.shards));
	spg__shard_leave_foreign();
	return NULL;
}

void spg__shard_leave_foreign(void)
{
	atomic_fetch_sub_explicit(&spg__sched.foreigners, 1, memory_order_seq_cst);
}

void spg__sched_exit(void)
{
	for (;;) {
		atomic_store_explicit(&spg__sched.running, false, memory_order_seq_cst);
		/* A few instructions, or a wake's system call: they are on their way out. */
		while (atomic_load_explicit(&spg__sched.foreigners, memory_order_seq_cst) != 0)
			sched_yield();
		if (spg__coros_live() == 0)
			break;
		/* One of them spawned at the last moment: its coroutine has to end first. */
		atomic_store_explicit(&spg__sched.running, true, memory_order_seq_cst);
		sched_yield();
	}
	atomic_store_explicit(&spg__sched.exiting, true, memory_order_seq_cst);
	for (unsigned i = 0; i < spg__sched.conf.shards; i++)
		spg__shard_wake(spg__shard_at((int)i));
}

/* What somebody may have published for us, or for everybody. */
static bool anything_here(struct spg__shard *shard)
{
	/* seq_cst [W2], all of them. */
	return atomic_load_explicit(&shard->inbox, memory_order_seq_cst) != NULL ||
	       atomic_load_explicit(&shard->errands, memory_order_seq_cst) != NULL ||
	       atomic_load_explicit(&spg__sched.global_count, memory_order_seq_cst) != 0 ||
	       atomic_load_explicit(&spg__sched.exiting, memory_order_seq_cst) || spg__queue_any(shard);
}

/* The last look (I2): the one look at all shards, once per sleep. */
static bool anything(struct spg__shard *shard)
{
	return anything_here(shard) || spg__steal_any(shard);
}

static int bits(_Atomic uint64_t *mask)
{
	int n = 0;

	for (unsigned i = 0; i < SPG__SHARDS_MAX / 64; i++)
		n += __builtin_popcountll(atomic_load_explicit(&mask[i], memory_order_relaxed));
	return n;
}

/* SP3: does another one sleep on this shard's CPU? */
static bool cpu_shared(struct spg__shard *shard, int cpu)
{
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		struct spg__shard *other = spg__shard_at((int)i);

		/* relaxed, both: a hint. */
		if (other != shard && atomic_load_explicit(&other->asleep, memory_order_relaxed) &&
		    atomic_load_explicit(&other->cpu, memory_order_relaxed) == cpu)
			return true;
	}
	return false;
}

/* How long to spin; 0: not at all. */
static int64_t spin_start(struct spg__shard *shard)
{
	int spinning, busy;
	int64_t length;

	if (!spg__sched.may_spin)
		return 0;
	length = spg__spin_length(&shard->spin, spg__sched.conf.spin_ns, spg__random(shard));
	if (length == 0)
		return 0;
	if (spg__unlikely(spg__crowded(shard)))
		return 0;
	/* relaxed: the limit may be overrun for a moment. */
	spinning = bits(spg__sched.spinning);
	busy = (int)spg__sched.conf.shards - bits(spg__sched.sleeping) - spinning - 1;
	/* More shards than CPUs: who waits for a CPU is no company for a spinner. */
	if (busy > (int)spg__sched.conf.cpus)
		busy = (int)spg__sched.conf.cpus;
	if (spinning >= (busy / 2 > 1 ? busy / 2 : 1))
		return 0;
	if (spg__spin_is_try(&shard->spin) && shard->spin.woken_soon &&
	    spg__sched.conf.shards <= spg__sched.conf.cpus) {
		int cpu = sched_getcpu();

		if (cpu_shared(shard, cpu))
			spg__thread_leave_cpu(cpu);
	}
	spg__mask_set(spg__sched.spinning, shard->id); /* I2 counts on it */
	return length;
}

/*
 * An idle shard that spun or was woken has found something. One wake, or none because it span, may
 * stand for work of many, who rely on it: it looks for more as before a sleep (I3), if there is
 * anybody to wake for that.
 */
static void pass_on(struct spg__shard *shard)
{
	bool sleepers = false;

	/* seq_cst [W3]: after our bit was cleared. */
	for (unsigned i = 0; i < SPG__SHARDS_MAX / 64; i++)
		sleepers |= atomic_load_explicit(&spg__sched.sleeping[i], memory_order_seq_cst) != 0;
	if (sleepers && spg__steal_any(shard))
		spg__wake_thief();
}

/*
 * Looks for work for a while, or until a timer is due. true: found. A timer is no find: the sleep
 * would have ended for it as well, and for less CPU.
 */
static bool spin(struct spg__shard *shard)
{
	int64_t length = spin_start(shard), now = spg__clock_ns(), until = now + length;
	bool found = false;

	if (length == 0)
		return false;
	spg__count(&shard->counters.spins);
	while (!found && now < until &&
	       /* relaxed: our own heap; a foreign start wakes us. */
	       now < atomic_load_explicit(&shard->timers.next_due_ns, memory_order_relaxed)) {
		spg__cpu_relax();
		spg__sched.poller->poll(shard);
		/* relaxed would do: I2 looks again, and at everybody. */
		found = anything_here(shard);
		now = spg__clock_ns();
		if (!found)
			found = spg__steal(shard, now);
	}
	(void)spg__mask_clear(spg__sched.spinning, shard->id); /* I5: a waker may have been faster */
	spg__spin_ended(&shard->spin, found);
	spg__count_add(&shard->counters.spin_hits, found);
	return found;
}

static void sleep_in_poller(struct spg__shard *shard)
{
	int64_t due, before, slept = 0;
	bool by_shard;

	if (spg__sched.may_spin)
		atomic_store_explicit(&shard->cpu, sched_getcpu(), memory_order_relaxed); /* relaxed: a hint */
	/* seq_cst [W4]: then the last look (I2). */
	atomic_store_explicit(&shard->asleep, true, memory_order_seq_cst);
	spg__mask_set(spg__sched.sleeping, shard->id);
	if (!anything(shard)) {
		/* Our ends are visible now: whoever comes here last sees all of them. */
		if (spg__unlikely(atomic_load_explicit(&spg__sched.stopping, memory_order_seq_cst)))
			spg__sched.coro_ended();
		/* seq_cst [W2]. */
		due = atomic_load_explicit(&shard->timers.next_due_ns, memory_order_seq_cst);
		before = spg__clock_ns();
		if (due > before) {
			spg__count(&shard->counters.sleeps);
			if (spg__unlikely(spg__trace_any(shard)))
				spg__trace_put_any(shard, SPG__TRACE_SLEEP, 0, 0);
			due = spg__clock_after_ns(
				due, spg__timers_slack(&shard->timers, spg__sched.conf.timer_slack_ns));
			spg__sched.poller->wait(shard, due);
			slept = spg__clock_ns() - before;
			spg__count_add(&shard->counters.idle_ns, (uint64_t)slept);
			if (spg__unlikely(spg__trace_any(shard)))
				spg__trace_put_any(shard, SPG__TRACE_AWAKE, 0, 0);
		}
	}
	/* I4: taken by one who had work for us; a thread of no shard counts as well. */
	by_shard = !spg__mask_clear(spg__sched.sleeping, shard->id);
	spg__spin_slept(&shard->spin, slept, by_shard, spg__sched.conf.spin_ns);
	/* seq_cst [D6]. */
	atomic_store_explicit(&shard->asleep, false, memory_order_seq_cst);
	atomic_store_explicit(&shard->pass_ns, spg__clock_ns(), memory_order_relaxed);
	spg__watchdog_notice();
}

/* Nothing to run here. false: the loop ends. */
static bool idle(struct spg__shard *shard, int64_t now)
{
	if (spg__steal(shard, now)) {
		pass_on(shard);
		return true;
	}
	/* Set when no coroutine lives and no foreign thread is inside. */
	if (spg__unlikely(atomic_load_explicit(&spg__sched.exiting, memory_order_seq_cst)))
		return false;
	if (spin(shard))
		pass_on(shard);
	else
		sleep_in_poller(shard);
	return true;
}

/* The first coroutine of a pass: queues before slots (Q4). */
static struct spg__coro *pass_first(struct spg__shard *shard)
{
	struct spg__coro *coro = shard->stolen;

	shard->stolen = NULL;
	if (coro == NULL)
		coro = spg__queue_take(shard);
	if (coro == NULL) {
		coro = shard->next_local;
		shard->next_local = NULL;
	}
	if (coro == NULL)
		coro = atomic_exchange_explicit(&shard->next, NULL, memory_order_acq_rel);
	return coro;
}

static void budget_adapt(struct spg__shard *shard, int64_t took_ns)
{
	uint64_t switches = spg__count_read(&shard->counters.switches);
	int64_t runs = (int64_t)(switches - shard->pass_switches);
	int64_t avg = atomic_load_explicit(&shard->run_avg_ns, memory_order_relaxed);

	shard->pass_switches = switches;
	if (runs > 0) {
		int64_t run_ns = took_ns / runs, last_ns = shard->run_last_ns;

		atomic_store_explicit(&shard->run_avg_ns, avg + (run_ns - avg) / 4, memory_order_relaxed);
		shard->run_last_ns = run_ns;
		atomic_store_explicit(&shard->run_low_ns, run_ns < last_ns ? run_ns : last_ns,
				      memory_order_relaxed);
	}
	if (took_ns > PASS_NS && shard->budget_max > 1)
		shard->budget_max /= 2;
	else if (took_ns < PASS_NS / 2 && shard->budget_max < spg__sched.conf.run_budget)
		shard->budget_max = shard->budget_max * 2 < spg__sched.conf.run_budget ?
					    shard->budget_max * 2 :
					    spg__sched.conf.run_budget;
}

static void expire(struct spg__shard *shard, int64_t now)
{
	unsigned fired = spg__timers_expire(&shard->timers, now);

	spg__count_add(&shard->counters.timers_fired, fired);
	if (spg__unlikely(spg__trace_any(shard)) && fired > 0)
		spg__trace_put_any(shard, SPG__TRACE_TIMERS, fired, 0);
}

void spg__shard_loop(struct spg__shard *shard)
{
	int64_t now = spg__clock_ns(), before = now;

	spg__shard_set_self(shard);
	/* relaxed: for looks from outside. */
	atomic_store_explicit(&shard->tid, (int)syscall(SYS_gettid), memory_order_relaxed);
	spg__san_adopt(&shard->loop_san);
	for (;; before = now, now = spg__clock_ns()) {
		struct spg__coro *first;

		budget_adapt(shard, now - before);
		atomic_store_explicit(&shard->pass_ns, now, memory_order_relaxed);
		/* relaxed: the watchdog will say so again. */
		if (spg__unlikely(atomic_load_explicit(&shard->stalled, memory_order_relaxed)))
			atomic_store_explicit(&shard->stalled, false, memory_order_relaxed);
		spg__sched.poller->poll(shard);
		if (spg__unlikely(spg__sched.conf.migrate))
			spg__queue_send_away(shard);
		spg__inbox_drain(shard);
		spg__global_take(shard);
		/* relaxed: our own heap; a foreign start wakes us. */
		if (now >= atomic_load_explicit(&shard->timers.next_due_ns, memory_order_relaxed))
			expire(shard, now);
		spg__count_set(&shard->counters.runnable_local, shard->local.count);
		first = pass_first(shard);
		if (first != NULL) {
			shard->budget = shard->budget_max;
			spg__run_pass(shard, first);
		} else {
			if (!idle(shard, now))
				break;
			now = spg__clock_ns(); /* idle time is no pass's length */
		}
	}
	spg__shard_set_self(NULL);
}
