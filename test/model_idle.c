/*
 * The idle protocol (sched/shard.h I1-I5, tags [W1]-[W4]): a shard that goes to sleep, by
 * way of a spin, against two enqueuers that publish one piece of work each: thread 1 into
 * the sleeper's inbox (pinned work), thread 2 into a run queue any shard may steal from.
 * Thread 3 takes nothing: the sleeper has to find both.
 */
#include "model.h"

enum { INBOX, TAIL, SPINNING, SLEEPING, WAKE, GOT_INBOX, GOT_TAIL, GIVEN };

enum { PLAIN_PUBLISH = 1, LOOK_DROPPED, LOOK_BEFORE_BIT, SPIN_AFTER_LOOK, WAKE_FORGOTTEN, PLACE_LATE };

/* The sleeper. */
enum { LOOK_FOR_WORK, SPIN_BEGIN, SPIN_LOOK, SPIN_LEAVE, BIT, LAST_INBOX, LAST_TAIL, SLEEP, UP };

static bool take_work(struct m_state *s)
{
	bool inbox = s->var[INBOX] && !s->var[GOT_INBOX], tail = s->var[TAIL] && !s->var[GOT_TAIL];

	s->var[GOT_INBOX] |= inbox;
	s->var[GOT_TAIL] |= tail;
	return inbox || tail;
}

static enum m_result sleeper(struct m_state *s)
{
	struct m_thread *me = &s->thread[0];

	if (!m_drained(s, 0)) /* every access of the sleeper is seq_cst */
		return M_BLOCKED;
	switch (me->pc) {
	case LOOK_FOR_WORK:
		if (s->var[GOT_INBOX] && s->var[GOT_TAIL]) {
			me->pc = M_DONE;
			return M_STEPPED;
		}
		me->pc = take_work(s) ? LOOK_FOR_WORK : SPIN_BEGIN;
		return M_STEPPED;
	case SPIN_BEGIN:
		s->var[SPINNING] = 1;
		me->pc = SPIN_LOOK;
		return M_STEPPED;
	case SPIN_LOOK: /* at work, or at nothing for spin_ns */
		me->reg[2] = (s->var[INBOX] && !s->var[GOT_INBOX]) || (s->var[TAIL] && !s->var[GOT_TAIL]);
		me->pc = m_mutant == SPIN_AFTER_LOOK && !me->reg[2] ? BIT : SPIN_LEAVE;
		return M_STEPPED;
	case SPIN_LEAVE: /* I2, I5: the bit goes, whoever clears it */
		s->var[SPINNING] = 0;
		me->pc = me->reg[2] ? LOOK_FOR_WORK : m_mutant == LOOK_BEFORE_BIT ? LAST_INBOX : BIT;
		return M_STEPPED;
	case BIT: /* [W4] */
		s->var[SLEEPING] = 1;
		me->pc = m_mutant == LOOK_BEFORE_BIT || m_mutant == LOOK_DROPPED ? SLEEP : LAST_INBOX;
		return M_STEPPED;
	case LAST_INBOX: /* [W2] */
		if (s->var[INBOX] && !s->var[GOT_INBOX])
			me->pc = UP;
		else
			me->pc = LAST_TAIL;
		return M_STEPPED;
	case LAST_TAIL: /* [W2] */
		if (s->var[TAIL] && !s->var[GOT_TAIL])
			me->pc = UP;
		else
			me->pc = m_mutant == LOOK_BEFORE_BIT ? BIT : SLEEP;
		return M_STEPPED;
	case SLEEP: /* the kernel returns when a wake is there */
		if (m_mutant == SPIN_AFTER_LOOK && s->var[SPINNING]) {
			s->var[SPINNING] = 0;
			return M_STEPPED;
		}
		if (!s->var[WAKE])
			return M_BLOCKED;
		s->var[WAKE] = 0;
		me->pc = UP;
		return M_STEPPED;
	default: /* UP */
		s->var[SLEEPING] = 0;
		s->var[SPINNING] = 0;
		me->pc = LOOK_FOR_WORK;
		return M_STEPPED;
	}
}

enum { PUBLISH, READ_BIT, CLAIM, SEND, READ_SPINNER, END_SPIN, GIVE_LATE, READ_SPINNERS };

/* [W1]. */
static enum m_result publish(struct m_state *s, unsigned t, unsigned var)
{
	if (m_mutant == PLAIN_PUBLISH) {
		if (!m_store(s, t, var, 1))
			return M_BLOCKED;
	} else {
		if (!m_drained(s, t))
			return M_BLOCKED;
		m_exchange(s, var, 1);
	}
	return M_STEPPED;
}

/* Thread 1 wakes this shard (spg__shard_wake), thread 2 any (spg__wake_thief). */
static enum m_result enqueuer(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case PUBLISH:
		if (publish(s, t, t == 1 ? INBOX : TAIL) == M_BLOCKED)
			return M_BLOCKED;
		me->pc = READ_BIT;
		return M_STEPPED;
	case READ_BIT: /* [W3] a load: it may pass a store that is still in the buffer */
		if (m_load(s, t, SLEEPING))
			me->pc = t == 1 ? CLAIM : READ_SPINNERS;
		else
			me->pc = t == 1 ? READ_SPINNER : M_DONE;
		return M_STEPPED;
	case READ_SPINNERS: /* [W3] I3 */
		me->pc = m_load(s, t, SPINNING) || s->var[GIVEN] ? M_DONE : CLAIM;
		return M_STEPPED;
	case CLAIM: /* [W4] I4: one winner */
		if (!m_drained(s, t))
			return M_BLOCKED;
		me->pc = m_exchange(s, SLEEPING, 0) ? SEND : t == 1 ? READ_SPINNER : M_DONE;
		return M_STEPPED;
	case SEND:
		if (!m_drained(s, t))
			return M_BLOCKED;
		if (m_mutant != WAKE_FORGOTTEN)
			s->var[WAKE] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	case READ_SPINNER:
		me->pc = m_load(s, t, SPINNING) ? END_SPIN : M_DONE;
		return M_STEPPED;
	case END_SPIN: /* I5: the bit is the state and the place at once */
		if (!m_drained(s, t))
			return M_BLOCKED;
		/* As a counter beside a state it would be given back later than the spin ends. */
		s->var[GIVEN] = m_exchange(s, SPINNING, 0) && m_mutant == PLACE_LATE;
		me->pc = s->var[GIVEN] ? GIVE_LATE : M_DONE;
		return M_STEPPED;
	default: /* GIVE_LATE */
		s->var[GIVEN] = 0;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

static void init(struct m_state *s)
{
	(void)s;
}

/* Only the thief's path: with both, one wake covers for the other. */
static void init_tail(struct m_state *s)
{
	s->thread[1].pc = M_DONE;
	s->var[GOT_INBOX] = 1;
}

static void init_inbox(struct m_state *s)
{
	s->thread[2].pc = M_DONE;
	s->var[GOT_TAIL] = 1;
}

static enum m_result step(struct m_state *s, unsigned t)
{
	return t == 0 ? sleeper(s) : enqueuer(s, t);
}

static const char *at_end(const struct m_state *s)
{
	if (s->thread[0].pc != M_DONE)
		return "work is published and its shard sleeps";
	return s->var[SPINNING] != 0 ? "a place among the spinners was lost (I5)" : NULL;
}

static const struct m_mutant both_mutants[] = {
	{ LOOK_DROPPED, "recheck dropped: no last look" },
	{ PLACE_LATE, "the place of an ended spin is given back later" },
	{ 0, NULL },
};
static const struct m_mutant tail_mutants[] = {
	{ PLAIN_PUBLISH, "the publishing store is a release only" },
	{ LOOK_DROPPED, "recheck dropped: no last look" },
	{ LOOK_BEFORE_BIT, "order swapped: the last look before the bit" },
	{ SPIN_AFTER_LOOK, "order swapped: a spinner leaves after the last look" },
	{ WAKE_FORGOTTEN, "the bit is claimed and no wake sent" },
	{ 0, NULL },
};
static const struct m_mutant inbox_mutants[] = {
	{ PLAIN_PUBLISH, "the publishing store is a release only" },
	{ LOOK_BEFORE_BIT, "order swapped: the last look before the bit" },
	{ WAKE_FORGOTTEN, "the bit is claimed and no wake sent" },
	{ 0, NULL },
};

static const struct m_model both = { "idle against two enqueuers", 3, init, step, NULL, at_end, both_mutants };
static const struct m_model tail = { "idle against stealable work", 3, init_tail, step, NULL, at_end, tail_mutants };
static const struct m_model inbox = { "idle against the inbox", 3, init_inbox, step, NULL, at_end, inbox_mutants };

int main(void)
{
	const struct m_model *models[] = { &both, &tail, &inbox };

	return m_main(models, 3);
}
