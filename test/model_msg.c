/*
 * Shard messages (runtime/msg.c M1, M3 to M5; runtime/line.h B1 to B5; runtime/msg_counter.c
 * K1 to K3): a queue whose sender and receiver both wait; a line of two waiters, the first
 * of which is canceled, against a message and against the close; a counter with a take and
 * a threshold. Parking is model_park.c's: here it is a permit that is kept.
 */
#include "model.h"

/*
 * A queue of one message: thread 0 sends three, thread 1 receives them. Each has a bell and
 * a permit.
 */
enum { TAIL, HEAD, BELL, PERMIT = BELL + 2 };
enum { TRY, ARM, LOOK, PARK, PUBLISH, RING, RING_TAKE, RING_WAKE, UNARM, NEXT };
enum { TAIL_PLAIN = 1, HEAD_PLAIN, BELL_PLAIN, NO_LAST_LOOK, BELL_READ_FIRST, WAKE_ONLY_ONCE };
#define MESSAGES 3

/* Registers: how many are done; is it in line; the bell as BELL_READ_FIRST saw it. */
enum { DONE, IN_LINE, SEEN };

static bool may_act(const struct m_state *s, unsigned t)
{
	uint8_t used = (uint8_t)(m_load(s, t, TAIL) - m_load(s, t, HEAD));

	return t == 0 ? used < 1 : used > 0;
}

/* A seq_cst store, or a plain one. */
static enum m_result store(struct m_state *s, unsigned t, unsigned var, uint8_t value, bool plain)
{
	if (plain)
		return m_store(s, t, var, value) ? M_STEPPED : M_BLOCKED;
	if (!m_drained(s, t))
		return M_BLOCKED;
	s->var[var] = value;
	return M_STEPPED;
}

static enum m_result wait_side(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case TRY:
		me->reg[SEEN] = m_mutant == BELL_READ_FIRST ? m_load(s, t, BELL + 1 - t) : 0;
		me->pc = may_act(s, t) ? PUBLISH : ARM;
		return M_STEPPED;
	case ARM: /* [B-a] */
		if (store(s, t, BELL + t, 1, m_mutant == BELL_PLAIN) == M_BLOCKED)
			return M_BLOCKED;
		me->reg[IN_LINE] = 1;
		me->pc = m_mutant == NO_LAST_LOOK ? PARK : LOOK;
		return M_STEPPED;
	case LOOK: /* [B-a] */
		me->pc = may_act(s, t) ? PUBLISH : PARK;
		return M_STEPPED;
	default: /* PARK: an RMW takes the permit */
		if (!m_drained(s, t) || !s->var[PERMIT + t])
			return M_BLOCKED;
		s->var[PERMIT + t] = 0;
		me->pc = TRY;
		return M_STEPPED;
	}
}

static enum m_result side_step(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];
	unsigned other = 1 - t;
	bool plain = m_mutant == (t == 0 ? TAIL_PLAIN : HEAD_PLAIN);

	switch (me->pc) {
	case PUBLISH: /* [M-a], [M-b] */
		if (store(s, t, t == 0 ? TAIL : HEAD, (uint8_t)(me->reg[DONE] + 1), plain) == M_BLOCKED)
			return M_BLOCKED;
		me->reg[DONE]++;
		/* The receiver rings while it is still in line. */
		me->pc = t == 0 && me->reg[IN_LINE] ? UNARM : RING;
		return M_STEPPED;
	case RING: /* [B-b] */
		if (m_mutant == BELL_READ_FIRST)
			me->pc = me->reg[SEEN] ? RING_TAKE : NEXT;
		else
			me->pc = m_load(s, t, BELL + other) ? RING_TAKE : NEXT;
		if (m_mutant == WAKE_ONLY_ONCE && me->reg[DONE] > 1)
			me->pc = NEXT;
		return M_STEPPED;
	case RING_TAKE: /* B4: exchange */
		if (!m_drained(s, t))
			return M_BLOCKED;
		me->pc = m_exchange(s, BELL + other, 0) ? RING_WAKE : NEXT;
		return M_STEPPED;
	case RING_WAKE: /* an unpark is an RMW */
		if (!m_drained(s, t))
			return M_BLOCKED;
		s->var[PERMIT + other] = 1;
		me->pc = NEXT;
		return M_STEPPED;
	case UNARM: /* B5: a CAS */
		if (!m_drained(s, t))
			return M_BLOCKED;
		m_cas(s, BELL + t, 1, 0);
		me->reg[IN_LINE] = 0;
		me->pc = t == 0 ? RING : NEXT;
		return M_STEPPED;
	case NEXT:
		if (me->reg[IN_LINE])
			me->pc = UNARM;
		else
			me->pc = me->reg[DONE] == MESSAGES ? M_DONE : TRY;
		return M_STEPPED;
	default:
		return wait_side(s, t);
	}
}

static void no_init(struct m_state *s)
{
	(void)s;
}

static const char *queue_always(const struct m_state *s)
{
	uint8_t used = (uint8_t)(s->var[TAIL] - s->var[HEAD]);

	return used > 1 ? "more in the queue than it holds" : NULL;
}

static const char *queue_end(const struct m_state *s)
{
	if (s->thread[0].pc != M_DONE && s->var[TAIL] == s->var[HEAD])
		return "the sender waits, and there is room";
	return s->thread[1].pc != M_DONE ? "the receiver waits for a message that is there" : NULL;
}

static const struct m_mutant queue_mutants[] = {
	{ TAIL_PLAIN, "tail is stored with release only" },
	{ HEAD_PLAIN, "head is stored with release only" },
	{ BELL_PLAIN, "the bell is armed by a plain store" },
	{ NO_LAST_LOOK, "no look after the bell is armed" },
	{ BELL_READ_FIRST, "order swapped: the bell is read before the change is published" },
	{ WAKE_ONLY_ONCE, "the bell is rung for the first change only" },
	{ 0, NULL },
};

static const struct m_model queue_model = {
	"a queue, its sender and its receiver", 2, no_init, side_step, queue_always, queue_end, queue_mutants
};

/*
 * A line of two on one side: threads 0 and 1, of which one runs at a time (TURN: the shard,
 * or the lock). Thread 0 is first, and canceled by thread 3. Thread 2 publishes and rings:
 * one message, which one of them takes; or the close, which ends both.
 */
enum { CHANGED, L_BELL, TURN, FIRST, TAKEN, CANCELED, L_PERMIT };
enum { NOBODY = 2 };

enum { ACT, L_ARM, L_LOOK, CHECK, L_PARK, PARKED, LEAVE, WAKE_NEXT };
enum {
	LEAVER_WAKES_NOBODY = 1,
	L_NO_LAST_LOOK,
	CHANGE_PLAIN,
	L_BELL_PLAIN,
	CLOSE_RINGS_FIRST,
	WOKEN_GIVES_UP_FIRST,
};
enum { ENDED, GOT };

static bool closing; /* which of the two models */

/* What the first in line looks for. A message is there until it is taken. */
static bool line_ready(const struct m_state *s, unsigned t)
{
	return m_load(s, t, CHANGED) && (closing || !m_load(s, t, TAKEN));
}

static void line_act(struct m_state *s, unsigned t, uint8_t otherwise)
{
	struct m_thread *me = &s->thread[t];

	if (!line_ready(s, t)) {
		me->pc = otherwise;
		return;
	}
	if (!closing)
		s->var[TAKEN] = 1; /* the owner's own word */
	me->reg[GOT] = 1;
	me->pc = LEAVE;
}

static enum m_result line_wait(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case CHECK: /* spg__wait_park looks at the context */
		me->pc = t == 0 && m_load(s, t, CANCELED) ? ACT : L_PARK;
		me->reg[ENDED] = me->pc == ACT;
		return M_STEPPED;
	case L_PARK: /* the park's RMW, and the turn goes */
		if (!m_drained(s, t))
			return M_BLOCKED;
		s->var[TURN] = NOBODY;
		me->pc = PARKED;
		return M_STEPPED;
	default: /* PARKED */
		if (!s->var[L_PERMIT + t] || s->var[TURN] != NOBODY)
			return M_BLOCKED;
		s->var[L_PERMIT + t] = 0;
		s->var[TURN] = (uint8_t)t;
		me->pc = ACT;
		if (m_mutant == WOKEN_GIVES_UP_FIRST && t == 0 && s->var[CANCELED]) {
			s->var[FIRST] = 1; /* out of the line at once, and the wake with it */
			s->var[TURN] = NOBODY;
			me->pc = M_DONE;
		}
		return M_STEPPED;
	}
}

static enum m_result waiter_step(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case ACT: /* B2 */
		if (s->var[TURN] != t && (s->var[TURN] != NOBODY || me->reg[2]))
			return M_BLOCKED;
		s->var[TURN] = (uint8_t)t;
		me->reg[2] = 1;
		if (s->var[FIRST] != t)
			me->pc = CHECK;
		else
			line_act(s, t, me->reg[ENDED] ? LEAVE : L_ARM);
		return M_STEPPED;
	case L_ARM: /* [B-a] */
		if (store(s, t, L_BELL, (uint8_t)(t + 1), m_mutant == L_BELL_PLAIN) == M_BLOCKED)
			return M_BLOCKED;
		me->pc = m_mutant == L_NO_LAST_LOOK ? CHECK : L_LOOK;
		return M_STEPPED;
	case L_LOOK: /* [B-a] */
		line_act(s, t, CHECK);
		return M_STEPPED;
	case LEAVE: /* B5: CAS, then out of the line, then the turn goes */
		if (!m_drained(s, t))
			return M_BLOCKED;
		m_cas(s, L_BELL, (uint8_t)(t + 1), 0);
		me->reg[3] = s->var[FIRST] == t && t == 0;
		s->var[FIRST] = t == 0 ? 1 : s->var[FIRST] == 1 ? NOBODY : s->var[FIRST];
		s->var[TURN] = NOBODY;
		me->pc = me->reg[3] && m_mutant != LEAVER_WAKES_NOBODY ? WAKE_NEXT : M_DONE;
		return M_STEPPED;
	case WAKE_NEXT:
		s->var[L_PERMIT + 1] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	default:
		return line_wait(s, t);
	}
}

enum { R_CHANGE, R_BELL, R_TAKE, R_WAKE };

static enum m_result ringer_step(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case R_CHANGE: /* [B-b] */
		if (m_mutant == CLOSE_RINGS_FIRST && me->reg[1] == 0) {
			me->reg[1] = 1;
			me->pc = R_BELL;
			return M_STEPPED;
		}
		if (store(s, t, CHANGED, 1, m_mutant == CHANGE_PLAIN) == M_BLOCKED)
			return M_BLOCKED;
		me->pc = me->reg[1] ? M_DONE : R_BELL;
		return M_STEPPED;
	case R_BELL: /* [B-b] */
		me->pc = m_load(s, t, L_BELL) ? R_TAKE : me->reg[1] ? R_CHANGE : M_DONE;
		return M_STEPPED;
	case R_TAKE: /* B4 */
		if (!m_drained(s, t))
			return M_BLOCKED;
		me->reg[0] = m_exchange(s, L_BELL, 0);
		me->pc = R_WAKE;
		return M_STEPPED;
	default:
		if (me->reg[0] != 0)
			s->var[L_PERMIT + me->reg[0] - 1] = 1;
		me->pc = me->reg[1] ? R_CHANGE : M_DONE;
		return M_STEPPED;
	}
}

/* [C2]: the state, then an unpark. */
static enum m_result canceler_step(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	if (me->pc == 0) {
		s->var[CANCELED] = 1;
		me->pc = 1;
		return M_STEPPED;
	}
	s->var[L_PERMIT] = 1;
	me->pc = M_DONE;
	return M_STEPPED;
}

static enum m_result line_step(struct m_state *s, unsigned t)
{
	return t < 2 ? waiter_step(s, t) : t == 2 ? ringer_step(s, t) : canceler_step(s, t);
}

static void line_init(struct m_state *s)
{
	closing = false;
	s->var[TURN] = NOBODY;
}

static void close_init(struct m_state *s)
{
	closing = true;
	s->var[TURN] = NOBODY;
}

static const char *line_end(const struct m_state *s)
{
	if (!s->var[TAKEN])
		return "the message stays, and somebody waits";
	return s->thread[0].reg[GOT] + s->thread[1].reg[GOT] != 1 ? "not taken once" : NULL;
}

static const char *close_end(const struct m_state *s)
{
	return s->thread[0].pc != M_DONE || s->thread[1].pc != M_DONE ? "somebody waits after the close" : NULL;
}

static const struct m_mutant line_mutants[] = {
	{ LEAVER_WAKES_NOBODY, "who leaves does not wake the next" },
	{ L_NO_LAST_LOOK, "no look after the bell is armed" },
	{ CHANGE_PLAIN, "the change is a plain store" },
	{ L_BELL_PLAIN, "the bell is armed by a plain store" },
	{ CLOSE_RINGS_FIRST, "order swapped: the bell is rung before the change" },
	{ WOKEN_GIVES_UP_FIRST, "a canceled waiter keeps the wake that was for the line" },
	{ 0, NULL },
};

static const struct m_model line_model = {
	"a line, its first canceled, and a message", 4, line_init, line_step, NULL, line_end, line_mutants
};
static const struct m_model close_model = {
	"a line, its first canceled, and the close", 4, close_init, line_step, NULL, close_end, line_mutants
};

/*
 * A counter: thread 0 waits for 2 and leaves the count, thread 1 takes whatever there is;
 * threads 2 and 3 add 1 each. Threads 0 and 1 run one at a time.
 */
enum { COUNT, LEAST, C_BELL, C_TURN, IN0, IN1, C_PERMIT };
enum { C_JOIN, C_LEAST, C_TAKE, C_ARM, C_LEAST_AGAIN, C_LOOK, C_PARK, C_PARKED, C_LEAVE, C_WAKE };
enum { FIFO_LINE = 1, LEAST_AFTER_BELL, ADD_SPLIT, BELL_BEFORE_ADD, RINGS_NEVER_BELOW_FIRST, C_NO_LAST_LOOK };

static bool counter_first(const struct m_state *s, unsigned t)
{
	if (m_mutant == FIFO_LINE)
		return t == 0 || !s->var[IN0];
	return t == 1 || !s->var[IN1];
}

static void counter_act(struct m_state *s, unsigned t, uint8_t otherwise)
{
	struct m_thread *me = &s->thread[t];
	uint8_t wanted = t == 0 ? 2 : 1;

	if (m_load(s, t, COUNT) < wanted) {
		me->pc = otherwise;
		return;
	}
	me->pc = t == 0 ? C_LEAVE : C_TAKE;
}

static enum m_result counter_wait(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case C_PARK:
		if (!m_drained(s, t))
			return M_BLOCKED;
		s->var[C_TURN] = NOBODY;
		me->pc = C_PARKED;
		return M_STEPPED;
	case C_PARKED:
		if (!s->var[C_PERMIT + t] || s->var[C_TURN] != NOBODY)
			return M_BLOCKED;
		s->var[C_PERMIT + t] = 0;
		s->var[C_TURN] = (uint8_t)t;
		me->pc = counter_first(s, t) ? C_LEAST : C_PARK;
		return M_STEPPED;
	case C_LEAVE:
		if (!m_drained(s, t))
			return M_BLOCKED;
		m_cas(s, C_BELL, (uint8_t)(t + 1), 0);
		s->var[IN0 + t] = 0;
		s->var[C_TURN] = NOBODY;
		me->pc = s->var[IN0 + 1 - t] ? C_WAKE : M_DONE;
		return M_STEPPED;
	default: /* C_WAKE */
		s->var[C_PERMIT + 1 - t] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

static enum m_result taker_step(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case C_JOIN:
		if (s->var[C_TURN] != NOBODY)
			return M_BLOCKED;
		s->var[C_TURN] = (uint8_t)t;
		s->var[IN0 + t] = 1;
		me->pc = counter_first(s, t) ? C_LEAST : C_PARK;
		return M_STEPPED;
	case C_LEAST: /* K3: relaxed */
		if (m_mutant != LEAST_AFTER_BELL && !m_store(s, t, LEAST, t == 0 ? 2 : 1))
			return M_BLOCKED;
		counter_act(s, t, C_ARM);
		return M_STEPPED;
	case C_TAKE: /* exchange */
		if (!m_drained(s, t))
			return M_BLOCKED;
		me->reg[0] = m_exchange(s, COUNT, 0);
		me->pc = C_LEAVE;
		return M_STEPPED;
	case C_ARM: /* [B-a] */
		if (store(s, t, C_BELL, (uint8_t)(t + 1), false) == M_BLOCKED)
			return M_BLOCKED;
		me->pc = C_LEAST_AGAIN;
		return M_STEPPED;
	case C_LEAST_AGAIN: /* act stores it once more */
		if (!m_store(s, t, LEAST, t == 0 ? 2 : 1))
			return M_BLOCKED;
		me->pc = m_mutant == C_NO_LAST_LOOK ? C_PARK : C_LOOK;
		return M_STEPPED;
	case C_LOOK: /* K3 */
		counter_act(s, t, C_PARK);
		return M_STEPPED;
	default:
		return counter_wait(s, t);
	}
}

enum { A_ADD, A_BELL, A_LEAST, A_TAKE, A_WAKE };

static enum m_result adder_step(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	switch (me->pc) {
	case A_ADD: /* [B-b], K1: an RMW */
		if (m_mutant == ADD_SPLIT && me->reg[1] == 0) {
			me->reg[1] = 1;
			me->reg[0] = m_load(s, t, COUNT);
			return M_STEPPED;
		}
		if (m_mutant == BELL_BEFORE_ADD && me->reg[1] == 0) {
			me->reg[1] = 1;
			me->reg[2] = s->var[C_BELL];
			return M_STEPPED;
		}
		if (!m_drained(s, t))
			return M_BLOCKED;
		if (m_mutant != ADD_SPLIT)
			me->reg[0] = s->var[COUNT];
		s->var[COUNT] = ++me->reg[0];
		s->var[C_PERMIT + 2]++; /* all that was added */
		me->pc = A_BELL;
		if (m_mutant == BELL_BEFORE_ADD)
			me->pc = me->reg[2] ? A_LEAST : M_DONE;
		return M_STEPPED;
	case A_BELL: /* [B-b] */
		me->pc = m_load(s, t, C_BELL) ? A_LEAST : M_DONE;
		return M_STEPPED;
	case A_LEAST: /* relaxed, K3 */
		me->pc = me->reg[0] >= m_load(s, t, LEAST) ? A_TAKE : M_DONE;
		if (m_mutant == RINGS_NEVER_BELOW_FIRST && me->reg[0] < 2)
			me->pc = M_DONE;
		return M_STEPPED;
	case A_TAKE: /* B4 */
		me->reg[3] = m_exchange(s, C_BELL, 0);
		me->pc = A_WAKE;
		return M_STEPPED;
	default:
		if (me->reg[3] != 0)
			s->var[C_PERMIT + me->reg[3] - 1] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	}
}

static enum m_result counter_step(struct m_state *s, unsigned t)
{
	return t < 2 ? taker_step(s, t) : adder_step(s, t);
}

static void counter_init(struct m_state *s)
{
	s->var[C_TURN] = NOBODY;
}

static const char *counter_end(const struct m_state *s)
{
	if (s->var[COUNT] >= 1 && s->thread[1].pc != M_DONE)
		return "the take waits, and there is a count";
	if (s->var[COUNT] >= 2 && s->thread[0].pc != M_DONE)
		return "the count has reached the threshold, and its waiter waits";
	return s->var[COUNT] + s->thread[1].reg[0] != s->var[C_PERMIT + 2] ? "an update is lost" : NULL;
}

static void one_add_init(struct m_state *s)
{
	counter_init(s);
	s->thread[3].pc = M_DONE;
}

/* One update, which the threshold must not starve; and two, which reach it. */
static const struct m_mutant one_add_mutants[] = {
	{ FIFO_LINE, "the line is in order of arrival: a threshold starves the first update" },
	{ LEAST_AFTER_BELL, "order swapped: the bell is armed before the threshold is stored" },
	{ BELL_BEFORE_ADD, "order swapped: the bell is read before the add" },
	{ RINGS_NEVER_BELOW_FIRST, "updates below the highest threshold ring for nobody" },
	{ C_NO_LAST_LOOK, "no look after the bell is armed" },
	{ 0, NULL },
};

static const struct m_mutant two_adds_mutants[] = {
	{ ADD_SPLIT, "an add is a load and a store" },
	{ BELL_BEFORE_ADD, "order swapped: the bell is read before the add" },
	{ C_NO_LAST_LOOK, "no look after the bell is armed" },
	{ 0, NULL },
};

static const struct m_model one_add_model = {
	"a counter with a take and a threshold, one add", 4, one_add_init, counter_step,
	NULL, counter_end, one_add_mutants
};
static const struct m_model two_adds_model = {
	"a counter with a take and a threshold, two adds", 4, counter_init, counter_step,
	NULL, counter_end, two_adds_mutants
};

int main(void)
{
	const struct m_model *models[] = { &queue_model, &line_model, &close_model, &one_add_model,
					   &two_adds_model };

	return m_main(models, sizeof(models) / sizeof(models[0]));
}
