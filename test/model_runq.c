/*
 * The run queue (sched/runq.h R1-R3): an owner that puts and takes, two thieves that grab
 * batches. Queue of 2 slots, items 1..3; each must be taken exactly once.
 */
#include "model.h"

enum { HEAD, TAIL, SLOT0, SLOT1, TAKEN1, TAKEN2, TAKEN3, SPILLED };
#define CAP 2
#define ITEMS 3

enum { THIEF_STORES_HEAD = 1, COPY_AFTER_CLAIM, OWNER_IGNORES_FULL, OWNER_TAKES_PLAINLY, SLOT_AFTER_TAIL };

static void taken(struct m_state *s, unsigned item)
{
	if (item == 0 || item > ITEMS) {
		m_assert(false, "an empty slot was taken (R2)");
		return;
	}
	s->var[TAKEN1 + item - 1]++;
}

/* The owner: puts items 1..3, taking one when the queue is full; then takes until empty. */
enum { PUT_LOOK, PUT_SLOT, PUT_TAIL, TAKE_HEAD, TAKE_SLOT, TAKE_CAS, TAKE_NEXT };

static enum m_result owner(struct m_state *s)
{
	struct m_thread *me = &s->thread[0];
	/* reg: 0 next item, 1 head, 2 item read */

	switch (me->pc) {
	case PUT_LOOK: /* acquire head [R-a], own tail */
		if (me->reg[0] == ITEMS) {
			me->pc = TAKE_HEAD;
			return M_STEPPED;
		}
		if ((uint8_t)(m_load(s, 0, TAIL) - m_load(s, 0, HEAD)) == CAP && m_mutant != OWNER_IGNORES_FULL)
			me->pc = TAKE_HEAD; /* full: makes room by taking */
		else
			me->pc = m_mutant == SLOT_AFTER_TAIL ? PUT_TAIL : PUT_SLOT;
		return M_STEPPED;
	case PUT_SLOT: /* relaxed: published by tail */
		if (!m_store(s, 0, SLOT0 + (uint8_t)(m_load(s, 0, TAIL) - (m_mutant == SLOT_AFTER_TAIL)) % CAP,
			     (uint8_t)(me->reg[0] + 1)))
			return M_BLOCKED;
		if (m_mutant == SLOT_AFTER_TAIL) {
			me->reg[0]++;
			me->pc = PUT_LOOK;
		} else {
			me->pc = PUT_TAIL;
		}
		return M_STEPPED;
	case PUT_TAIL: /* release [R-b] */
		if (!m_store(s, 0, TAIL, (uint8_t)(m_load(s, 0, TAIL) + 1)))
			return M_BLOCKED;
		if (m_mutant == SLOT_AFTER_TAIL) {
			me->pc = PUT_SLOT;
		} else {
			me->reg[0]++;
			me->pc = PUT_LOOK;
		}
		return M_STEPPED;
	case TAKE_HEAD:
		me->reg[1] = m_load(s, 0, HEAD);
		if (me->reg[1] == m_load(s, 0, TAIL))
			me->pc = me->reg[0] == ITEMS ? M_DONE : PUT_LOOK;
		else
			me->pc = TAKE_SLOT;
		return M_STEPPED;
	case TAKE_SLOT:
		me->reg[2] = m_load(s, 0, SLOT0 + me->reg[1] % CAP);
		me->pc = TAKE_CAS;
		return M_STEPPED;
	default: /* TAKE_CAS: R3, [R-a] */
		if (!m_drained(s, 0))
			return M_BLOCKED;
		if (m_mutant == OWNER_TAKES_PLAINLY) {
			s->var[HEAD] = (uint8_t)(me->reg[1] + 1);
			taken(s, me->reg[2]);
			me->pc = PUT_LOOK;
		} else if (m_cas(s, HEAD, me->reg[1], (uint8_t)(me->reg[1] + 1))) {
			taken(s, me->reg[2]);
			me->pc = PUT_LOOK;
		} else {
			me->pc = TAKE_HEAD;
		}
		return M_STEPPED;
	}
}

/* A thief: one grab of up to half, rounded up, twice. */
enum { GRAB_HEAD, GRAB_TAIL, GRAB_COPY, GRAB_CAS, GRAB_LATE };

static enum m_result thief(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];
	/* reg: 0 rounds, 1 head, 2 n, 3 and 4 copies */

	switch (me->pc) {
	case GRAB_HEAD: /* acquire [R-a] */
		if (me->reg[0]++ == 2) {
			me->pc = M_DONE;
			return M_STEPPED;
		}
		me->reg[1] = m_load(s, t, HEAD);
		me->pc = GRAB_TAIL;
		return M_STEPPED;
	case GRAB_TAIL: /* acquire [R-b] */
		me->reg[2] = (uint8_t)(m_load(s, t, TAIL) - me->reg[1]);
		me->reg[2] = (uint8_t)(me->reg[2] - me->reg[2] / 2);
		me->pc = me->reg[2] == 0 || me->reg[2] > CAP / 2 ? GRAB_HEAD :
			 m_mutant == COPY_AFTER_CLAIM		  ? GRAB_CAS :
								    GRAB_COPY;
		return M_STEPPED;
	case GRAB_COPY: /* relaxed: the CAS decides whether it counts */
		me->reg[3] = m_load(s, t, SLOT0 + me->reg[1] % CAP);
		me->pc = GRAB_CAS;
		return M_STEPPED;
	case GRAB_CAS: /* acq_rel [R-a], R3 */
		if (!m_drained(s, t))
			return M_BLOCKED;
		if (m_mutant == THIEF_STORES_HEAD) {
			s->var[HEAD] = (uint8_t)(me->reg[1] + me->reg[2]);
			taken(s, me->reg[3]);
		} else if (m_cas(s, HEAD, me->reg[1], (uint8_t)(me->reg[1] + me->reg[2]))) {
			if (m_mutant == COPY_AFTER_CLAIM) {
				me->pc = GRAB_LATE;
				return M_STEPPED;
			}
			taken(s, me->reg[3]);
		}
		me->pc = GRAB_HEAD;
		return M_STEPPED;
	default:
		taken(s, m_load(s, t, SLOT0 + me->reg[1] % CAP));
		me->pc = GRAB_HEAD;
		return M_STEPPED;
	}
}

static void init(struct m_state *s)
{
	/* Indices wrap: start close to the edge. */
	s->var[HEAD] = s->var[TAIL] = 254;
}

static enum m_result step(struct m_state *s, unsigned t)
{
	return t == 0 ? owner(s) : thief(s, t);
}

static const char *always(const struct m_state *s)
{
	for (unsigned i = 0; i < ITEMS; i++) {
		if (s->var[TAKEN1 + i] > 1)
			return "a coroutine was taken twice (R3)";
	}
	return NULL;
}

static const char *at_end(const struct m_state *s)
{
	for (unsigned i = 0; i < ITEMS; i++) {
		if (s->var[TAKEN1 + i] != 1)
			return "a coroutine was lost";
	}
	return NULL;
}

static const struct m_mutant mutants[] = {
	{ THIEF_STORES_HEAD, "two takers: a thief stores head without a CAS" },
	{ COPY_AFTER_CLAIM, "a thief copies the slots after it claimed them" },
	{ OWNER_IGNORES_FULL, "the owner overwrites a full queue" },
	{ OWNER_TAKES_PLAINLY, "two takers: the owner takes without a CAS" },
	{ SLOT_AFTER_TAIL, "order swapped: tail is stored before the slot" },
	{ 0, NULL },
};

static const struct m_model runq = { "run queue, owner and two thieves", 3, init, step, always, at_end, mutants };

int main(void)
{
	const struct m_model *models[] = { &runq };

	return m_main(models, 1);
}
