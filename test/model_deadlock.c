/*
 * The proof of a deadlock (sched/deadlock.h DL1-DL6): a shard whose one coroutine waits,
 * whoever is to wake it, and the watchdog that looks. In every model but the dead ones the
 * wake comes for certain, so an alarm is false.
 *
 * The last two models are the watchdog's rest (sched/watchdog.h D6, D7): an alarm that is due
 * must come.
 */
#include "model.h"

enum {
	NAP,	 /* shard->naps */
	BEGUN,	 /* operations */
	ENDED,
	CQE,	 /* the kernel has completed it */
	TIMER,	 /* next_due_ns is not NEVER */
	QUEUE,	 /* inbox or global queue */
	WAKE,	 /* the shard's wait in the kernel ends */
	JOBS,	 /* of the pool: queued + running */
	HOLDS,
	ALL,	 /* threads of the process, shards and watchdog apart */
	POOL,	 /* pool.threads */
	WORKERS, /* the kernel's, for our rings */
	STARTED, /* the job's thread may begin */
	ALARM,
	ASLEEP,
	RESTING,
	WORD,
	HOPELESS, /* nobody wakes the coroutine */
};

enum {
	NO_RING = 1,
	NAP_OVER_REAP,
	NO_SECOND_NAP,
	NO_TIMER,
	NO_JOBS,
	DONE_BEFORE_WAKE,
	FIRST_LOOK_DROPPED,
	SECOND_LOOK_DROPPED,
	NO_THREADS,
	OWN_BEFORE_ALL,
	WORKERS_BEFORE_ALL,
	NO_HOLDS,
	RELEASED_BEFORE_SPAWN,
	NO_QUEUE,
	WORKERS_FORGOTTEN,
	RELEASE_WAKES_NOBODY,
	WORD_CLEARED_LATE,
	RESTING_AFTER_LOOK,
	NO_PAUSE,
};

/* ---- Thread 0: the shard. All its accesses are seq_cst or acquire and release. ---- */

enum { S_LOOK, S_LAST_REAP, S_NAP, S_KERNEL, S_UP, S_REAP, S_ENDED, S_EXPIRE, S_LATE_UP };

static enum m_result shard(struct m_state *s)
{
	struct m_thread *me = &s->thread[0];

	switch (me->pc) {
	case S_LOOK: /* the loop, and the last look at the queues: takes what is there, and it runs */
		me->pc = s->var[QUEUE] ? M_DONE : S_LAST_REAP;
		s->var[QUEUE] = 0;
		return M_STEPPED;
	case S_LAST_REAP:
		me->pc = s->var[CQE] ? S_REAP : S_NAP;
		return M_STEPPED;
	case S_NAP: /* [DL-a] */
		s->var[NAP]++;
		me->pc = S_KERNEL;
		return M_STEPPED;
	case S_KERNEL:
		if (!s->var[WAKE] && !s->var[CQE] && !s->var[TIMER])
			return M_BLOCKED;
		s->var[WAKE] = 0;
		me->pc = m_mutant == NAP_OVER_REAP ? S_REAP : S_UP;
		return M_STEPPED;
	case S_UP: /* [DL-a] */
		s->var[NAP]++;
		me->pc = S_REAP;
		return M_STEPPED;
	case S_REAP:
		me->pc = s->var[CQE] ? S_ENDED : S_EXPIRE;
		s->var[CQE] = 0;
		return M_STEPPED;
	case S_ENDED: /* release [DL-c]: it may reach memory later */
		if (!m_store(s, 0, ENDED, s->var[ENDED] + 1))
			return M_BLOCKED;
		me->pc = m_mutant == NAP_OVER_REAP ? S_LATE_UP : M_DONE; /* on the local queue, and it runs */
		return M_STEPPED;
	case S_EXPIRE:
		me->pc = s->var[TIMER] ? M_DONE : m_mutant == NAP_OVER_REAP ? S_LATE_UP : S_LOOK;
		s->var[TIMER] = 0;
		return M_STEPPED;
	default: /* S_LATE_UP */
		s->var[NAP]++;
		me->pc = S_LOOK;
		return M_STEPPED;
	}
}

/* ---- Thread 1: the proof. ---- */

enum {
	D_NAP,
	D_JOBS, /* anything_expected, in its order */
	D_HOLDS,
	D_QUEUE,
	D_RING,
	D_TIMER,
	D_ALL,
	D_OWN,
	D_WORKERS,
	D_NAP_AGAIN,
	D_ALARM,
};
enum { R_NAP, R_ALL, R_OWN, R_WORKERS, R_SECOND, R_LAST };

static unsigned after_look(const struct m_thread *me)
{
	if (me->reg[R_SECOND])
		return m_mutant == NO_SECOND_NAP ? D_ALARM : D_NAP_AGAIN;
	return m_mutant == NO_THREADS ? D_NAP_AGAIN : m_mutant == OWN_BEFORE_ALL ? D_OWN :
	       m_mutant == WORKERS_BEFORE_ALL ? D_WORKERS : D_ALL;
}

/* The next read of the look, or from the beginning: there is something. */
static enum m_result expected(struct m_thread *me, bool something)
{
	me->pc = something ? D_NAP : me->pc == D_TIMER ? (uint8_t)after_look(me) : me->pc + 1;
	return M_STEPPED;
}

static enum m_result threads_counted(struct m_thread *me)
{
	unsigned own = me->reg[R_OWN] + (m_mutant == WORKERS_FORGOTTEN ? 0 : me->reg[R_WORKERS]);

	me->reg[R_SECOND] = 1;
	me->pc = me->reg[R_ALL] != own		    ? D_NAP :
		 m_mutant == SECOND_LOOK_DROPPED ? D_NAP_AGAIN : D_JOBS;
	return M_STEPPED;
}

/* The three counts, in the order the code has or the mutant swaps. */
static enum m_result count_threads(struct m_state *s, struct m_thread *me)
{
	switch (me->pc) {
	case D_ALL:
		me->reg[R_ALL] = s->var[ALL];
		if (m_mutant == OWN_BEFORE_ALL) {
			me->pc = D_WORKERS;
			return M_STEPPED;
		}
		me->pc = D_OWN;
		return M_STEPPED;
	case D_OWN:
		me->reg[R_OWN] = s->var[POOL];
		if (m_mutant == WORKERS_BEFORE_ALL)
			return threads_counted(me);
		me->pc = m_mutant == OWN_BEFORE_ALL ? D_ALL : D_WORKERS;
		return M_STEPPED;
	default: /* D_WORKERS */
		me->reg[R_WORKERS] = s->var[WORKERS];
		if (m_mutant == WORKERS_BEFORE_ALL) {
			me->pc = D_ALL;
			return M_STEPPED;
		}
		return threads_counted(me);
	}
}

static enum m_result proof(struct m_state *s)
{
	struct m_thread *me = &s->thread[1];

	switch (me->pc) {
	case D_NAP: /* [DL-a] */
		if (s->var[NAP] % 2 == 0)
			return s->thread[0].pc == M_DONE ? M_BLOCKED : M_STEPPED;
		/* DL6: again and again; once more after everybody else has ended must do. */
		if (me->reg[R_LAST])
			return M_BLOCKED;
		memset(me->reg, 0, sizeof(me->reg));
		me->reg[R_LAST] = s->thread[0].pc == S_KERNEL && s->thread[2].pc == M_DONE &&
				  s->thread[3].pc == M_DONE;
		me->reg[R_NAP] = s->var[NAP];
		me->pc = D_JOBS;
		if (m_mutant == FIRST_LOOK_DROPPED)
			me->pc = D_ALL;
		return M_STEPPED;
	case D_JOBS: /* [DL-b] */
		return expected(me, s->var[JOBS] && m_mutant != NO_JOBS);
	case D_HOLDS:
		return expected(me, s->var[HOLDS] && m_mutant != NO_HOLDS);
	case D_QUEUE:
		return expected(me, s->var[QUEUE] && m_mutant != NO_QUEUE);
	case D_RING: /* [DL-c] */
		return expected(me, s->var[BEGUN] != s->var[ENDED] && m_mutant != NO_RING);
	case D_TIMER:
		return expected(me, s->var[TIMER] && m_mutant != NO_TIMER);
	case D_ALL:
	case D_OWN:
	case D_WORKERS:
		return count_threads(s, me);
	case D_NAP_AGAIN: /* [DL-a] */
		me->pc = s->var[NAP] == me->reg[R_NAP] ? D_ALARM : D_NAP;
		return M_STEPPED;
	default: /* D_ALARM */
		m_assert(s->var[HOPELESS], "a false alarm");
		s->var[ALARM] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

/* ---- Threads 2 and 3: who wakes the coroutine. A script each: what is done, one access a step. ---- */

enum action { END, COMPLETE, READY, KICK, JOB_ENDS, POOL_LEAVES, EXIT, START, AWAIT_START, ARM, RELEASE, WORKER_EXITS };

static const uint8_t *script[2];

static enum m_result actor(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch ((enum action)script[t - 2][me->pc]) {
	case COMPLETE:
		s->var[CQE] = 1;
		break;
	case READY: /* [W1] */
		s->var[QUEUE] = 1;
		break;
	case KICK:
		s->var[WAKE] = 1;
		break;
	case JOB_ENDS:
		s->var[JOBS]--;
		break;
	case POOL_LEAVES:
		s->var[POOL]--;
		break;
	case EXIT:
		s->var[ALL]--;
		break;
	case START:
		s->var[ALL]++;
		s->var[STARTED] = 1;
		break;
	case AWAIT_START:
		if (!s->var[STARTED])
			return M_BLOCKED;
		break;
	case ARM:
		s->var[TIMER] = 1;
		break;
	case RELEASE:
		s->var[HOLDS]--;
		break;
	case WORKER_EXITS: /* one number less for the kernel, one name less in its list */
		s->var[WORKERS]--;
		s->var[ALL]--;
		break;
	case END:
		me->pc = M_DONE;
		return M_STEPPED;
	}
	me->pc++;
	return M_STEPPED;
}

static enum m_result step(struct m_state *s, unsigned t)
{
	return t == 0 ? shard(s) : t == 1 ? proof(s) : actor(s, t);
}

static const uint8_t nothing[] = { END };

static void scripts(const uint8_t *first, const uint8_t *second)
{
	script[0] = first != NULL ? first : nothing;
	script[1] = second != NULL ? second : nothing;
}

static void init_dead(struct m_state *s)
{
	s->var[HOPELESS] = 1;
	s->thread[2].pc = s->thread[3].pc = M_DONE;
	scripts(NULL, NULL);
}

/* A thread that wakes nobody, and workers of the kernel's that stay. */
static void init_dead_later(struct m_state *s)
{
	static const uint8_t thread[] = { EXIT, END };

	s->var[HOPELESS] = 1;
	s->var[ALL] = 3;
	s->var[POOL] = s->var[WORKERS] = 1;
	s->thread[3].pc = M_DONE;
	scripts(thread, NULL);
}

static void init_ring(struct m_state *s)
{
	static const uint8_t kernel[] = { COMPLETE, END };

	s->var[BEGUN] = 1;
	scripts(kernel, NULL);
}

static void init_timer(struct m_state *s)
{
	s->var[TIMER] = 1;
	scripts(NULL, NULL);
}

static void init_job(struct m_state *s)
{
	static const uint8_t job[] = { READY, KICK, JOB_ENDS, POOL_LEAVES, EXIT, END };
	static const uint8_t early[] = { JOB_ENDS, READY, KICK, END };

	s->var[JOBS] = s->var[POOL] = s->var[ALL] = 1;
	scripts(m_mutant == DONE_BEFORE_WAKE ? early : job, NULL);
}

/* The job starts a thread, which wakes the coroutine. */
static void init_job_thread(struct m_state *s)
{
	static const uint8_t job[] = { START, JOB_ENDS, END };
	static const uint8_t thread[] = { AWAIT_START, READY, KICK, EXIT, END };

	s->var[JOBS] = s->var[POOL] = s->var[ALL] = 1;
	scripts(job, thread);
}

static void init_thread(struct m_state *s)
{
	static const uint8_t thread[] = { READY, KICK, EXIT, END };

	s->var[ALL] = 1;
	scripts(thread, NULL);
}

/* It starts a timer, and ends; a thread of the pool ends, too. */
static void init_thread_timer(struct m_state *s)
{
	static const uint8_t thread[] = { ARM, KICK, EXIT, END };
	static const uint8_t pool[] = { POOL_LEAVES, EXIT, END };

	s->var[ALL] = 2;
	s->var[POOL] = 1;
	scripts(thread, pool);
}

/* A worker of the kernel's ends meanwhile. */
static void init_thread_worker(struct m_state *s)
{
	static const uint8_t thread[] = { READY, KICK, EXIT, END };
	static const uint8_t worker[] = { WORKER_EXITS, END };

	s->var[ALL] = 2;
	s->var[WORKERS] = 1;
	scripts(thread, worker);
}

/* spg_run's thread puts main on a queue. */
static void init_hold(struct m_state *s)
{
	static const uint8_t run[] = { READY, KICK, RELEASE, END };
	static const uint8_t early[] = { RELEASE, READY, KICK, END };

	s->var[HOLDS] = 1;
	scripts(m_mutant == RELEASED_BEFORE_SPAWN ? early : run, NULL);
}

static const char *alarm_came(const struct m_state *s)
{
	return s->var[ALARM] ? NULL : "a deadlock and no alarm";
}

static const char *resumed(const struct m_state *s)
{
	return s->thread[0].pc == M_DONE ? NULL : "the coroutine was not resumed";
}

/* ---- The rest: thread 0 is a shard that gets up once, 1 the watchdog, 2 the kernel or a release. ---- */

enum { N_KERNEL, N_ENDED, N_UP, N_NOTICE, N_CLAIM, N_POKE, N_SLEEP };

static enum m_result napper(struct m_state *s)
{
	struct m_thread *me = &s->thread[0];

	switch (me->pc) {
	case N_KERNEL:
		if (!s->var[CQE])
			return M_BLOCKED;
		s->var[CQE] = 0;
		me->pc = N_ENDED;
		return M_STEPPED;
	case N_ENDED:
		s->var[ENDED]++;
		me->pc = N_UP;
		return M_STEPPED;
	case N_UP: /* [D6] */
		s->var[ASLEEP] = 0;
		me->pc = N_NOTICE;
		return M_STEPPED;
	case N_NOTICE: /* [D6] */
		me->pc = s->var[RESTING] ? N_CLAIM : N_SLEEP;
		return M_STEPPED;
	case N_CLAIM:
		me->pc = m_exchange(s, RESTING, 0) ? N_POKE : N_SLEEP;
		return M_STEPPED;
	case N_POKE:
		s->var[WORD] = 1;
		me->pc = N_SLEEP;
		return M_STEPPED;
	default: /* N_SLEEP: its coroutine waits again, and for nothing */
		s->var[ASLEEP] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

enum { W_QUIET, W_RESTING, W_DEEP, W_RESTING_LATE, W_LAST, W_SLEEP, W_CLEAR, W_UP };

static enum m_result watchdog(struct m_state *s)
{
	struct m_thread *me = &s->thread[1];

	switch (me->pc) {
	case W_QUIET: /* it looks every few milliseconds: here whenever it likes */
		if (!s->var[ASLEEP])
			return M_STEPPED;
		me->pc = m_mutant == RESTING_AFTER_LOOK ? W_DEEP : W_RESTING;
		return M_STEPPED;
	case W_RESTING: /* [D6] */
		s->var[RESTING] = 1;
		me->pc = W_DEEP;
		return M_STEPPED;
	case W_DEEP: /* D7 */
		me->reg[0] = !s->var[ASLEEP] && m_mutant != NO_PAUSE; /* SPG__DEADLOCK_SOON */
		if (!s->var[HOLDS] && s->var[BEGUN] == s->var[ENDED] && s->var[ASLEEP]) {
			s->var[ALARM] = 1;
			me->pc = M_DONE;
			return M_STEPPED;
		}
		me->pc = m_mutant == RESTING_AFTER_LOOK ? W_RESTING_LATE : W_LAST;
		return M_STEPPED;
	case W_RESTING_LATE:
		s->var[RESTING] = 1;
		me->pc = W_LAST;
		return M_STEPPED;
	case W_LAST: /* [D6] */
		if (m_mutant == WORD_CLEARED_LATE)
			s->var[WORD] = 0;
		me->pc = s->var[ASLEEP] ? W_SLEEP : W_UP;
		return M_STEPPED;
	case W_SLEEP:
		if (!s->var[WORD] && !me->reg[0]) /* or the pause is over */
			return M_BLOCKED;
		me->pc = W_CLEAR;
		return M_STEPPED;
	case W_CLEAR:
		s->var[WORD] = 0;
		me->pc = W_UP;
		return M_STEPPED;
	default: /* W_UP */
		s->var[RESTING] = 0;
		me->pc = W_QUIET;
		return M_STEPPED;
	}
}

/* A completion; or a hold that ends. */
static enum m_result event(struct m_state *s)
{
	struct m_thread *me = &s->thread[2];

	switch (me->pc) {
	case 0:
		if (s->var[HOLDS])
			s->var[HOLDS] = 0;
		else
			s->var[CQE] = 1;
		me->pc = s->thread[0].pc == M_DONE && m_mutant != RELEASE_WAKES_NOBODY ? 1 : M_DONE;
		return M_STEPPED;
	default: /* spg__watchdog_look() */
		s->var[WORD] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

static enum m_result rest_step(struct m_state *s, unsigned t)
{
	return t == 0 ? napper(s) : t == 1 ? watchdog(s) : event(s);
}

static void init_rest_ring(struct m_state *s)
{
	s->var[BEGUN] = s->var[ASLEEP] = 1;
}

static void init_rest_hold(struct m_state *s)
{
	s->var[HOLDS] = s->var[ASLEEP] = 1;
	s->thread[0].pc = M_DONE;
}

#define MUTANTS(name, ...) static const struct m_mutant name[] = { __VA_ARGS__, { 0, NULL } }

MUTANTS(none, { 0, NULL });
MUTANTS(dead_later, { WORKERS_FORGOTTEN, "the kernel's workers count as strangers" });
MUTANTS(ring_mutants, { NO_RING, "operations in flight are not looked at" },
	{ NAP_OVER_REAP, "order swapped: the nap ends after the reap" },
	{ NO_SECOND_NAP, "recheck dropped: the naps are read once" });
MUTANTS(timer_mutants, { NO_TIMER, "timers are not looked at" });
MUTANTS(job_mutants, { NO_JOBS, "jobs of the pool are not looked at" },
	{ DONE_BEFORE_WAKE, "order swapped: a job is done before it wakes" },
	{ NO_QUEUE, "queues are not looked at" });
MUTANTS(job_thread_mutants, { FIRST_LOOK_DROPPED, "order swapped: threads before jobs" });
MUTANTS(thread_mutants, { NO_THREADS, "threads are not counted" },
	{ SECOND_LOOK_DROPPED, "recheck dropped: no look after the threads" });
MUTANTS(thread_timer_mutants, { NO_TIMER, "timers are not looked at" },
	{ OWN_BEFORE_ALL, "order swapped: our own threads are counted first" });
MUTANTS(thread_worker_mutants, { WORKERS_BEFORE_ALL, "order swapped: the kernel's workers are counted first" });
MUTANTS(hold_mutants, { NO_HOLDS, "holds are not looked at" },
	{ RELEASED_BEFORE_SPAWN, "order swapped: released before main is on a queue" });
MUTANTS(rest_ring_mutants, { RESTING_AFTER_LOOK, "order swapped: the rest begins after the look" },
	{ NO_PAUSE, "a look that met a shard on its way is not tried again" });
MUTANTS(rest_hold_mutants, { RELEASE_WAKES_NOBODY, "the end of a hold wakes nobody" },
	{ WORD_CLEARED_LATE, "the word is cleared between the look and the sleep" });

static const struct m_model all[] = {
	{ "a deadlock is proven", 2, init_dead, step, NULL, alarm_came, none },
	{ "a deadlock after a thread's end", 3, init_dead_later, step, NULL, alarm_came, dead_later },
	{ "no alarm with an operation in flight", 3, init_ring, step, NULL, resumed, ring_mutants },
	{ "no alarm with a timer", 2, init_timer, step, NULL, resumed, timer_mutants },
	{ "no alarm with a job of the pool", 3, init_job, step, NULL, resumed, job_mutants },
	{ "no alarm with a job that starts a thread", 4, init_job_thread, step, NULL, resumed, job_thread_mutants },
	{ "no alarm with a thread", 3, init_thread, step, NULL, resumed, thread_mutants },
	{ "no alarm with a thread's timer", 4, init_thread_timer, step, NULL, resumed, thread_timer_mutants },
	{ "no alarm with a thread and a worker", 4, init_thread_worker, step, NULL, resumed, thread_worker_mutants },
	{ "no alarm before main is there", 3, init_hold, step, NULL, resumed, hold_mutants },
	{ "a rest until a shard gets up", 3, init_rest_ring, rest_step, NULL, alarm_came, rest_ring_mutants },
	{ "a rest until a hold ends", 3, init_rest_hold, rest_step, NULL, alarm_came, rest_hold_mutants },
};

#define MODELS (sizeof(all) / sizeof(all[0]))

int main(void)
{
	const struct m_model *models[MODELS];

	for (size_t i = 0; i < MODELS; i++)
		models[i] = &all[i];
	return m_main(models, MODELS);
}
