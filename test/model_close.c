/*
 * Close against operations (io/fdtab.h F1-F4): two operations on a descriptor begin and
 * end while a closer sets closing, waits for the counts and gives the number back. Each
 * operation is on a shard of its own, with a count of its own.
 */
#include "model.h"

enum { CLOSING, COUNT1, COUNT2, FREED, WOKEN, ENDED };

enum { COUNT_PLAIN = 1, WORD_BEFORE_COUNT, CLOSE_LOOKS_FIRST, END_TELLS_NOBODY, ONE_COUNT_ONLY, CLOSING_PLAIN };

/* Threads 1 and 2. */
enum { RAISE, LOOK, USE, LOWER, TELL, UNDO };

static enum m_result operation(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];
	unsigned count = COUNT1 + t - 1;

	switch (me->pc) {
	case RAISE: /* seq_cst RMW [F-a], F1 */
		if (m_mutant == WORD_BEFORE_COUNT && me->reg[0] == 0) {
			me->reg[0] = m_load(s, t, CLOSING) ? 2 : 1;
			return M_STEPPED;
		}
		if (m_mutant == COUNT_PLAIN) {
			if (!m_store(s, t, count, 1))
				return M_BLOCKED;
		} else {
			if (!m_drained(s, t))
				return M_BLOCKED;
			s->var[count]++;
		}
		me->pc = LOOK;
		return M_STEPPED;
	case LOOK: /* seq_cst load, F1 */
		if (m_mutant == WORD_BEFORE_COUNT)
			me->pc = me->reg[0] == 2 ? LOWER : USE;
		else
			me->pc = m_load(s, t, CLOSING) ? LOWER : USE;
		me->reg[0] = 0;
		return M_STEPPED;
	case USE: /* the kernel has the descriptor; it ends by itself or by the cancel */
		m_assert(!s->var[FREED], "an operation reached a number that was given back (F4)");
		me->pc = LOWER;
		return M_STEPPED;
	case LOWER: /* seq_cst RMW, F3 */
		if (!m_drained(s, t))
			return M_BLOCKED;
		s->var[count]--;
		me->pc = TELL;
		return M_STEPPED;
	default: /* TELL, F3 */
		if (m_load(s, t, CLOSING) && m_mutant != END_TELLS_NOBODY) {
			if (!m_drained(s, t))
				return M_BLOCKED;
			s->var[WOKEN] = 1; /* an unpark: the permit is kept (P1) */
		}
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

/* Thread 0. */
enum { SET, COUNTS1, COUNTS2, WAIT, FREE };

static enum m_result closer(struct m_state *s)
{
	struct m_thread *me = &s->thread[0];

	switch (me->pc) {
	case SET: /* seq_cst RMW, F2 */
		if (m_mutant == CLOSING_PLAIN) {
			if (!m_store(s, 0, CLOSING, 1))
				return M_BLOCKED;
			me->pc = COUNTS1;
			return M_STEPPED;
		}
		if (!m_drained(s, 0))
			return M_BLOCKED;
		if (m_mutant == CLOSE_LOOKS_FIRST && me->reg[0] == 0) {
			me->reg[0] = 1;
			me->reg[1] = s->var[COUNT1] || s->var[COUNT2];
			return M_STEPPED;
		}
		s->var[CLOSING] = 1;
		me->pc = COUNTS1;
		if (m_mutant == CLOSE_LOOKS_FIRST && !me->reg[1])
			me->pc = FREE;
		return M_STEPPED;
	case COUNTS1: /* seq_cst loads [F-a], F2 */
		me->reg[2] = m_load(s, 0, COUNT1);
		me->pc = me->reg[2] ? WAIT : m_mutant == ONE_COUNT_ONLY ? FREE : COUNTS2;
		return M_STEPPED;
	case COUNTS2:
		me->reg[2] = m_load(s, 0, COUNT2);
		me->pc = me->reg[2] ? WAIT : FREE;
		return M_STEPPED;
	case WAIT: /* parks until an end tells it */
		if (!s->var[WOKEN])
			return M_BLOCKED;
		s->var[WOKEN] = 0;
		me->pc = COUNTS1;
		return M_STEPPED;
	default: /* FREE: close(2); F4 */
		s->var[FREED] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

static void init(struct m_state *s)
{
	(void)s;
}

static enum m_result step(struct m_state *s, unsigned t)
{
	return t == 0 ? closer(s) : operation(s, t);
}

static const char *at_end(const struct m_state *s)
{
	return s->thread[0].pc != M_DONE ? "the closer waits for ever" : NULL;
}

static const struct m_mutant mutants[] = {
	{ COUNT_PLAIN, "the count is raised by a plain store" },
	{ WORD_BEFORE_COUNT, "order swapped: an operation reads the word before it raises its count" },
	{ CLOSE_LOOKS_FIRST, "order swapped: close reads the counts before it sets closing" },
	{ END_TELLS_NOBODY, "an operation's end does not wake the closer" },
	{ ONE_COUNT_ONLY, "close looks at one shard only" },
	{ CLOSING_PLAIN, "closing is set by a plain store" },
	{ 0, NULL },
};

static const struct m_model model = { "close against two operations", 3, init, step, NULL, at_end, mutants };

int main(void)
{
	const struct m_model *models[] = { &model };

	return m_main(models, 1);
}
