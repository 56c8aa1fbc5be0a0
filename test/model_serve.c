/*
 * Serving a waiter against its cancel (runtime/chan.h H1, H2, H4, H5; runtime/waitq.h E1,
 * E2): a receiver that waits in a channel's queue and may give up, a sender that serves it.
 * The receiver frees its frame, and with the last reference the channel, when it returns.
 */
#include "model.h"

enum { LOCK, QUEUED, VALUE, SERVED, PERMITS, CANCELED, FRAME_GONE, CHAN_GONE, SENT, GOT, GAVE_UP };

enum { SERVE_BEFORE_UNLOCK = 1, WAITER_AFTER_SERVED, GIVES_UP_UNLOCKED, LEAVES_WHEN_TAKEN, SERVED_BEFORE_VALUE, NO_UNPARK };

static bool lock(struct m_state *s, unsigned t)
{
	if (!m_drained(s, t) || s->var[LOCK])
		return false;
	m_assert(!s->var[CHAN_GONE], "a freed channel was locked (H5)");
	s->var[LOCK] = 1;
	return true;
}

/* Release store: it stays in the buffer for a while. */
static bool unlock(struct m_state *s, unsigned t)
{
	m_assert(!s->var[CHAN_GONE], "a freed channel was unlocked (H2, H5)");
	return m_store(s, t, LOCK, 0);
}

/* Thread 0: the sender. */
enum { S_LOCK, S_TAKE, S_COPY, S_UNLOCK, S_WAITER, S_SERVED, S_UNPARK, S_EARLY };

static enum m_result sender(struct m_state *s)
{
	struct m_thread *me = &s->thread[0];

	switch (me->pc) {
	case S_LOCK:
		if (!lock(s, 0))
			return M_BLOCKED;
		me->pc = S_TAKE;
		return M_STEPPED;
	case S_TAKE: /* H1 */
		me->reg[0] = m_load(s, 0, QUEUED);
		if (me->reg[0] && !m_store(s, 0, QUEUED, 0))
			return M_BLOCKED;
		me->pc = !me->reg[0] ? S_UNLOCK : m_mutant == SERVED_BEFORE_VALUE ? S_EARLY : S_COPY;
		return M_STEPPED;
	case S_EARLY:
		if (!m_store(s, 0, SERVED, 1))
			return M_BLOCKED;
		me->pc = S_COPY;
		return M_STEPPED;
	case S_COPY: /* into the receiver's frame */
		m_assert(!s->var[FRAME_GONE], "a value was copied into a frame that is gone");
		if (!m_store(s, 0, VALUE, 1))
			return M_BLOCKED;
		s->var[SENT] = 1;
		me->pc = m_mutant == SERVE_BEFORE_UNLOCK ? S_WAITER : S_UNLOCK;
		return M_STEPPED;
	case S_UNLOCK: /* H2: before the serving */
		if (!unlock(s, 0))
			return M_BLOCKED;
		me->pc = me->reg[0] && m_mutant != SERVE_BEFORE_UNLOCK ? S_WAITER : M_DONE;
		return M_STEPPED;
	case S_WAITER: /* H4: node->waiter */
		if (m_mutant == WAITER_AFTER_SERVED && me->reg[1] == 0) {
			me->reg[1] = 1;
			me->pc = S_SERVED;
			return M_STEPPED;
		}
		m_assert(!s->var[FRAME_GONE], "node->waiter was read from a frame that is gone (H4)");
		me->pc = m_mutant == WAITER_AFTER_SERVED ? S_UNPARK : S_SERVED;
		return M_STEPPED;
	case S_SERVED: /* release [H4] */
		m_assert(!s->var[FRAME_GONE], "served was stored into a frame that is gone (H4)");
		if (!m_store(s, 0, SERVED, 1))
			return M_BLOCKED;
		me->pc = m_mutant == WAITER_AFTER_SERVED ? S_WAITER : S_UNPARK;
		return M_STEPPED;
	default: /* S_UNPARK: by the copy of the waiter (W1); an RMW */
		if (!m_drained(s, 0))
			return M_BLOCKED;
		if (m_mutant != NO_UNPARK)
			s->var[PERMITS] = 1;
		me->pc = m_mutant == SERVE_BEFORE_UNLOCK ? S_UNLOCK : M_DONE;
		return M_STEPPED;
	}
}

/* Thread 1: the receiver, queued and about to wait. */
enum { R_SERVED, R_CTX, R_PARK, R_LOCK, R_LEAVE, R_UNLOCK, R_AWAIT, R_VALUE };

static enum m_result receiver(struct m_state *s)
{
	struct m_thread *me = &s->thread[1];

	switch (me->pc) {
	case R_SERVED: /* acquire [H4]; S1: before the context */
		me->pc = m_load(s, 1, SERVED) ? R_VALUE : R_CTX;
		return M_STEPPED;
	case R_CTX:
		me->pc = m_load(s, 1, CANCELED) ? R_LOCK : R_PARK;
		return M_STEPPED;
	case R_PARK:
		if (!s->var[PERMITS] || !m_drained(s, 1))
			return M_BLOCKED;
		s->var[PERMITS] = 0;
		me->pc = R_SERVED;
		return M_STEPPED;
	case R_LOCK:
		if (m_mutant == GIVES_UP_UNLOCKED) {
			me->pc = R_LEAVE;
			return M_STEPPED;
		}
		if (!lock(s, 1))
			return M_BLOCKED;
		me->pc = R_LEAVE;
		return M_STEPPED;
	case R_LEAVE: /* H1 */
		me->reg[0] = m_load(s, 1, QUEUED);
		if (me->reg[0] && !m_store(s, 1, QUEUED, 0))
			return M_BLOCKED;
		me->pc = R_UNLOCK;
		return M_STEPPED;
	case R_UNLOCK:
		if (m_mutant != GIVES_UP_UNLOCKED && !unlock(s, 1))
			return M_BLOCKED;
		if (me->reg[0] || m_mutant == LEAVES_WHEN_TAKEN) {
			s->var[GAVE_UP] = 1;
			s->var[FRAME_GONE] = 1;
			me->pc = M_DONE; /* its caller keeps the channel: others may still use it */
		} else {
			me->pc = R_AWAIT; /* H2: a peer has it, and is about to say so */
		}
		return M_STEPPED;
	case R_AWAIT:
		if (m_load(s, 1, SERVED)) {
			me->pc = R_VALUE;
			return M_STEPPED;
		}
		if (!s->var[PERMITS] || !m_drained(s, 1))
			return M_BLOCKED;
		s->var[PERMITS] = 0;
		return M_STEPPED;
	default: /* R_VALUE: returns, and drops the last reference */
		if (!m_drained(s, 1))
			return M_BLOCKED;
		m_assert(m_load(s, 1, VALUE), "served, and the value is not there");
		s->var[GOT] = 1;
		s->var[FRAME_GONE] = 1;
		s->var[CHAN_GONE] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

/* Thread 2: the canceler. C2. */
static enum m_result canceler(struct m_state *s)
{
	struct m_thread *me = &s->thread[2];

	if (!m_drained(s, 2))
		return M_BLOCKED;
	if (me->pc == 0) {
		s->var[CANCELED] = 1;
		me->pc = 1;
	} else {
		s->var[PERMITS] = 1;
		me->pc = M_DONE;
	}
	return M_STEPPED;
}

static void init(struct m_state *s)
{
	s->var[QUEUED] = 1;
}

static void init_alone(struct m_state *s)
{
	init(s);
	s->thread[2].pc = M_DONE;
}

static enum m_result step(struct m_state *s, unsigned t)
{
	return t == 0 ? sender(s) : t == 1 ? receiver(s) : canceler(s);
}

static const char *at_end(const struct m_state *s)
{
	if (s->thread[0].pc != M_DONE || s->thread[1].pc != M_DONE)
		return "somebody waits for ever";
	if (s->var[SENT] && !s->var[GOT])
		return "a value was sent and lost";
	return s->var[GOT] && s->var[GAVE_UP] ? "received and canceled at once" : NULL;
}

static const struct m_mutant mutants[] = {
	{ SERVE_BEFORE_UNLOCK, "order swapped: serves before it unlocks" },
	{ WAITER_AFTER_SERVED, "order swapped: reads the waiter after it stored served" },
	{ GIVES_UP_UNLOCKED, "two takers: gives up without the lock" },
	{ LEAVES_WHEN_TAKEN, "cancel beats data: leaves although a peer has the node" },
	{ 0, NULL },
};
static const struct m_mutant alone_mutants[] = {
	{ SERVED_BEFORE_VALUE, "order swapped: served before the value" },
	{ NO_UNPARK, "the served is not woken" },
	{ 0, NULL },
};

static const struct m_model against_cancel = { "serving against a cancel", 3, init, step, NULL, at_end, mutants };
static const struct m_model alone = { "serving", 2, init_alone, step, NULL, at_end, alone_mutants };

int main(void)
{
	const struct m_model *models[] = { &against_cancel, &alone };

	return m_main(models, 2);
}
