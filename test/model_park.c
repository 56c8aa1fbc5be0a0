/*
 * Park, unpark, steal and cancel (sched/park.h P1-P4, sched/cancel.h C2): one coroutine
 * that waits for `served` or for the end of its context, a server and a canceler that
 * unpark it, two workers that take it from the queue.
 *
 * The coroutine's own steps are executed by whichever worker runs it: thread 0 or 1.
 * Worker 0 starts with the coroutine running.
 */
#include "model.h"

enum { STATE, SERVED, CANCELED, QUEUE, RUNNERS, FINISHED, SAVED };
enum { NONE, PARKED, PERMIT };

/* Program counters of a worker. */
enum { IDLE, CHECK_SERVED, CHECK_CTX, PARK_LOOK, PARK_TAKE, LEAVE, COMMIT, COMMIT_READY, FINISH };

enum {
	TRUSTS_WAKE = 1,
	PERMIT_LOST,
	ORDER_SWAPPED,
	TWO_READIERS,
	COMMIT_OVERWRITES,
	CANCEL_LATE,
	SERVE_LATE,
	TWO_TAKERS,
};

/* A permit is left over from an earlier wait (P3). */
static void init(struct m_state *s)
{
	s->thread[0].pc = CHECK_SERVED;
	s->var[RUNNERS] = 1;
	s->var[STATE] = PERMIT;
	s->thread[1].pc = IDLE;
}

static void init_server(struct m_state *s)
{
	init(s);
	s->thread[3].pc = M_DONE;
}

static void init_canceler(struct m_state *s)
{
	init(s);
	s->thread[2].pc = M_DONE;
}

/* A worker takes the coroutine from the run queue: the claim is one RMW (R3). */
static enum m_result take(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	if (s->var[FINISHED]) {
		me->pc = M_DONE;
		return M_STEPPED;
	}
	if (!m_drained(s, t))
		return M_BLOCKED;
	if (m_mutant == TWO_TAKERS && me->reg[0] == 0) {
		me->reg[0] = s->var[QUEUE] > 0;
		return me->reg[0] ? M_STEPPED : M_BLOCKED;
	}
	if (m_mutant != TWO_TAKERS) {
		if (s->var[QUEUE] == 0)
			return M_BLOCKED;
		s->var[QUEUE]--;
	} else if (s->var[QUEUE] > 0) {
		s->var[QUEUE]--;
	}
	me->reg[0] = 0;
	m_assert(s->var[SAVED], "resumed before its registers were saved");
	s->var[RUNNERS]++;
	s->var[SAVED] = 0;
	me->pc = CHECK_SERVED;
	return M_STEPPED;
}

static enum m_result worker(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case IDLE:
		return take(s, t);
	case CHECK_SERVED: /* S1: data wins, so it is looked at first */
		me->pc = m_load(s, t, SERVED) ? FINISH : CHECK_CTX;
		return M_STEPPED;
	case CHECK_CTX: /* [C2] */
		me->pc = m_load(s, t, CANCELED) ? FINISH : PARK_LOOK;
		return M_STEPPED;
	case PARK_LOOK:
		me->pc = m_load(s, t, STATE) == PERMIT ? PARK_TAKE : LEAVE;
		return M_STEPPED;
	case PARK_TAKE: /* [P4] exchange(NONE): the permit is used up */
		if (!m_drained(s, t))
			return M_BLOCKED;
		m_exchange(s, STATE, NONE);
		me->pc = m_mutant == TRUSTS_WAKE ? FINISH : CHECK_SERVED;
		return M_STEPPED;
	case LEAVE: /* the jump saves the registers, then the commit runs (P2) */
		if (m_mutant == ORDER_SWAPPED && me->reg[1] == 0) {
			if (!m_drained(s, t))
				return M_BLOCKED;
			me->reg[1] = 1;
			m_cas(s, STATE, NONE, PARKED);
			return M_STEPPED;
		}
		s->var[SAVED] = 1;
		s->var[RUNNERS]--;
		me->reg[1] = 0;
		me->pc = m_mutant == ORDER_SWAPPED ? IDLE : COMMIT;
		return M_STEPPED;
	case COMMIT: /* [P4] CAS NONE -> PARKED */
		if (!m_drained(s, t))
			return M_BLOCKED;
		if (m_mutant == COMMIT_OVERWRITES) {
			m_exchange(s, STATE, PARKED);
			me->pc = IDLE;
			return M_STEPPED;
		}
		me->pc = m_cas(s, STATE, NONE, PARKED) ? IDLE : COMMIT_READY;
		if (m_mutant == TWO_READIERS)
			me->pc = COMMIT_READY;
		return M_STEPPED;
	case COMMIT_READY: /* P1: a permit came first */
		if (!m_drained(s, t))
			return M_BLOCKED;
		m_exchange(s, STATE, NONE);
		s->var[QUEUE]++;
		me->pc = IDLE;
		return M_STEPPED;
	default: /* FINISH */
		m_assert(m_load(s, t, SERVED) || m_load(s, t, CANCELED), "returned without a reason");
		s->var[RUNNERS]--;
		s->var[FINISHED] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

/* Threads 2 and 3: store the reason, then unpark. */
static enum m_result unparker(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];
	unsigned what = t == 2 ? SERVED : CANCELED;
	bool swapped = m_mutant == (t == 2 ? SERVE_LATE : CANCEL_LATE);

	switch (me->pc) {
	case 0: /* release [S3], or seq_cst [C2] */
		if (swapped) {
			me->pc = 1;
			return M_STEPPED;
		}
		if (!m_store(s, t, what, 1))
			return M_BLOCKED;
		me->pc = 1;
		return M_STEPPED;
	case 1: /* [P4] CAS PARKED -> NONE, or anything -> PERMIT */
		if (!m_drained(s, t))
			return M_BLOCKED;
		if (m_cas(s, STATE, PARKED, NONE))
			me->pc = 2;
		else {
			if (m_mutant != PERMIT_LOST)
				m_exchange(s, STATE, PERMIT);
			me->pc = swapped ? 3 : M_DONE;
		}
		return M_STEPPED;
	case 2:
		s->var[QUEUE]++;
		me->pc = swapped ? 3 : M_DONE;
		return M_STEPPED;
	default:
		if (!m_store(s, t, what, 1))
			return M_BLOCKED;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

static enum m_result step(struct m_state *s, unsigned t)
{
	return t < 2 ? worker(s, t) : unparker(s, t);
}

static const char *always(const struct m_state *s)
{
	if (s->var[RUNNERS] > 1)
		return "two workers run one coroutine (P1)";
	if (s->var[QUEUE] > 1)
		return "on two queues at once (P1)";
	if (s->var[QUEUE] == 1 && s->var[RUNNERS] == 1)
		return "queued while it runs (P1)";
	return NULL;
}

static const char *at_end(const struct m_state *s)
{
	return s->var[FINISHED] ? NULL : "a wakeup was lost: the coroutine sleeps for ever";
}

static const struct m_mutant with_both[] = {
	{ TRUSTS_WAKE, "recheck dropped: the coroutine trusts a permit" },
	{ ORDER_SWAPPED, "order swapped: PARKED before the registers are saved" },
	{ TWO_READIERS, "two readiers: park_commit queues it although unpark ended PARKED" },
	{ TWO_TAKERS, "two takers: a worker takes from the queue without a claim" },
	{ 0, NULL },
};
static const struct m_mutant with_server[] = {
	{ PERMIT_LOST, "permit lost: an unpark before the park leaves nothing" },
	{ COMMIT_OVERWRITES, "the commit overwrites a permit" },
	{ SERVE_LATE, "the server unparks before it stores served" },
	{ 0, NULL },
};
static const struct m_mutant with_canceler[] = {
	{ CANCEL_LATE, "the canceler unparks before it stores the state" },
	{ PERMIT_LOST, "permit lost: a cancel before the park leaves nothing" },
	{ 0, NULL },
};

static const struct m_model both = { "park against server and canceler", 4, init, step, always, at_end, with_both };
static const struct m_model server = { "park against a server", 4, init_server, step, always, at_end, with_server };
static const struct m_model canceler = {
	"park against a canceler", 4, init_canceler, step, always, at_end, with_canceler
};

int main(void)
{
	const struct m_model *models[] = { &both, &server, &canceler };

	return m_main(models, 3);
}
