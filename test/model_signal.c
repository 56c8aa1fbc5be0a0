/*
 * A signal to a channel (runtime/signal.c SG1-SG5): one signal comes at any moment, while its
 * only channel is stopped, and the eventfd closed or the channel subscribed anew, beside the
 * reader. The signal must do one thing: be in the channel, or do its default.
 */
#include "model.h"

enum { PLAN, OURS, WANTED, PENDING, HANDLERS, EVENT, LISTED, MUTEX, READING, CLOSED, DELIVERED, DEFAULTED };

/* What thread 0 does. */
enum { NOTHING, STOP_AND_CLOSE, STOP_AND_NOTIFY };

enum {
	CLEAR_FIRST = 1,
	CLEAR_PLAIN,
	NO_IDLE,
	UNLINK_FIRST,
	INSTALL_FIRST,
	LOOK_BEFORE_RAISE,
	WRITE_FIRST,
	NEVER_AGAIN,
	AGAIN_BY_DEFAULT_ONLY,
	READER_READS_LATE,
};

static void send(struct m_state *s)
{
	if (m_exchange(s, PENDING, 0) && s->var[LISTED])
		s->var[DELIVERED]++;
}

/* Thread 0: spg_signal_stop, and then fini or spg_signal_notify. */
enum { STOP_LOCK, RESTORE, CLEAR, IDLE, DELIVER, UNLINK, STOP_UNLOCK, CLOSE, NOTIFY_LOCK, LINK, INSTALL };

static enum m_result stop(struct m_state *s, struct m_thread *me)
{
	switch (me->pc) {
	case STOP_LOCK:
		if (s->var[PLAN] == NOTHING) {
			me->pc = M_DONE;
			return M_STEPPED;
		}
		if (!m_cas(s, MUTEX, 0, 1))
			return M_BLOCKED;
		me->pc = m_mutant == CLEAR_FIRST ? CLEAR : RESTORE;
		return M_STEPPED;
	case RESTORE: /* sigaction(2) */
		if (!m_drained(s, 0))
			return M_BLOCKED;
		s->var[OURS] = 0;
		me->pc = m_mutant == CLEAR_FIRST ? IDLE : CLEAR;
		return M_STEPPED;
	case CLEAR: /* seq_cst RMW [SG-a], SG2 */
		if (m_mutant == CLEAR_PLAIN) {
			if (!m_store(s, 0, WANTED, 0))
				return M_BLOCKED;
		} else {
			s->var[WANTED] = 0;
		}
		me->pc = m_mutant == CLEAR_FIRST ? RESTORE : IDLE;
		return M_STEPPED;
	case IDLE: /* seq_cst load [SG-a] */
		if (m_load(s, 0, HANDLERS) && m_mutant != NO_IDLE)
			return M_BLOCKED;
		me->pc = m_mutant == UNLINK_FIRST ? UNLINK : DELIVER;
		return M_STEPPED;
	case DELIVER: /* seq_cst RMW */
		if (!m_drained(s, 0))
			return M_BLOCKED;
		send(s);
		me->pc = m_mutant == UNLINK_FIRST ? STOP_UNLOCK : UNLINK;
		return M_STEPPED;
	case UNLINK: /* and the reader is woken, to leave */
		if (!m_drained(s, 0))
			return M_BLOCKED;
		s->var[LISTED] = 0;
		s->var[EVENT] = 1;
		me->pc = m_mutant == UNLINK_FIRST ? DELIVER : STOP_UNLOCK;
		return M_STEPPED;
	default: /* STOP_UNLOCK */
		s->var[MUTEX] = 0;
		me->pc = s->var[PLAN] == STOP_AND_CLOSE ? CLOSE : NOTIFY_LOCK;
		return M_STEPPED;
	}
}

static enum m_result then(struct m_state *s, struct m_thread *me)
{
	switch (me->pc) {
	case CLOSE: /* SG4: the reader has left */
		if (s->var[READING])
			return M_BLOCKED;
		s->var[CLOSED] = 1;
		me->pc = M_DONE;
		return M_STEPPED;
	case NOTIFY_LOCK:
		if (!m_cas(s, MUTEX, 0, 1))
			return M_BLOCKED;
		s->var[READING] = 1;
		s->var[LISTED] = 1;
		me->pc = m_mutant == INSTALL_FIRST ? INSTALL : LINK;
		return M_STEPPED;
	case LINK: /* seq_cst RMW [SG-a], SG3 */
		s->var[WANTED] = 1;
		me->pc = m_mutant == INSTALL_FIRST ? M_DONE : INSTALL;
		s->var[MUTEX] = me->pc != M_DONE;
		return M_STEPPED;
	default: /* INSTALL: sigaction(2) */
		s->var[OURS] = 1;
		me->pc = m_mutant == INSTALL_FIRST ? LINK : M_DONE;
		s->var[MUTEX] = me->pc != M_DONE;
		return M_STEPPED;
	}
}

/* Thread 1: the signal. */
enum { COME, RAISE, LOOK, NOTE, WRITE, LOWER, AGAIN };

static enum m_result signal_comes(struct m_state *s, struct m_thread *me)
{
	switch (me->pc) {
	case COME: /* the kernel takes the disposition; what follows is later */
		if (!s->var[OURS]) {
			s->var[DEFAULTED]++;
			me->pc = M_DONE;
			return M_STEPPED;
		}
		me->pc = m_mutant == LOOK_BEFORE_RAISE ? LOOK : RAISE;
		return M_STEPPED;
	case RAISE: /* seq_cst RMW [SG-a] */
		s->var[HANDLERS]++;
		me->pc = m_mutant != LOOK_BEFORE_RAISE ? LOOK : me->reg[0] ? NOTE : LOWER;
		return M_STEPPED;
	case LOOK: /* seq_cst load [SG-a] */
		me->reg[0] = s->var[WANTED];
		if (m_mutant == LOOK_BEFORE_RAISE)
			me->pc = RAISE;
		else
			me->pc = !me->reg[0] ? LOWER : m_mutant == WRITE_FIRST ? WRITE : NOTE;
		return M_STEPPED;
	case NOTE: /* seq_cst RMW [SG-a] */
		s->var[PENDING] = 1;
		me->pc = m_mutant == WRITE_FIRST ? LOWER : WRITE;
		return M_STEPPED;
	case WRITE:
		m_assert(!s->var[CLOSED], "a handler wrote to a descriptor that was closed (SG4)");
		s->var[EVENT] = 1;
		me->pc = m_mutant == WRITE_FIRST ? NOTE : LOWER;
		return M_STEPPED;
	case LOWER: /* seq_cst RMW [SG-a] */
		s->var[HANDLERS]--;
		me->pc = me->reg[0] ? M_DONE : AGAIN;
		return M_STEPPED;
	default: /* AGAIN: sigaction(2) */
		if (m_mutant == NEVER_AGAIN)
			me->pc = M_DONE;
		else if (!s->var[OURS])
			me->pc = COME; /* raised */
		else if (m_mutant == AGAIN_BY_DEFAULT_ONLY || me->reg[1]++)
			me->pc = M_DONE;
		else
			me->pc = m_mutant == LOOK_BEFORE_RAISE ? LOOK : RAISE;
		return M_STEPPED;
	}
}

/* Thread 2: the reader. */
enum { READ, SERVE, LEAVE };

static enum m_result reader(struct m_state *s, struct m_thread *me)
{
	switch (me->pc) {
	case READ: /* read(2) of the eventfd, or after its end the next reader's */
		if (!s->var[READING] || !s->var[EVENT])
			return M_BLOCKED;
		if (m_mutant != READER_READS_LATE)
			s->var[EVENT] = 0;
		me->pc = SERVE;
		return M_STEPPED;
	case SERVE:
		if (!m_cas(s, MUTEX, 0, 1))
			return M_BLOCKED;
		send(s); /* seq_cst RMW [SG-a] */
		me->pc = LEAVE;
		return M_STEPPED;
	default: /* LEAVE: SG5 */
		if (m_mutant == READER_READS_LATE)
			s->var[EVENT] = 0;
		s->var[READING] = s->var[LISTED];
		s->var[MUTEX] = 0;
		me->pc = READ;
		return M_STEPPED;
	}
}

static void init(struct m_state *s)
{
	s->var[OURS] = s->var[WANTED] = s->var[LISTED] = s->var[READING] = 1;
	s->var[EVENT] = 1; /* left over from what came before */
}

static void init_close(struct m_state *s)
{
	init(s);
	s->var[PLAN] = STOP_AND_CLOSE;
}

static void init_notify(struct m_state *s)
{
	init(s);
	s->var[PLAN] = STOP_AND_NOTIFY;
}

static enum m_result step(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	if (t == 0)
		return me->pc < CLOSE ? stop(s, me) : then(s, me);
	return t == 1 ? signal_comes(s, me) : reader(s, me);
}

static const char *at_end(const struct m_state *s)
{
	if (s->thread[0].pc != M_DONE || s->thread[1].pc != M_DONE)
		return "somebody waits for ever";
	if (s->var[DELIVERED] + s->var[DEFAULTED] == 0)
		return "the signal was lost";
	return s->var[DELIVERED] + s->var[DEFAULTED] > 1 ? "the signal did two things" : NULL;
}

static const struct m_mutant delivering[] = {
	{ WRITE_FIRST, "the handler writes before it notes the signal" },
	{ READER_READS_LATE, "the reader takes the signals before the event" },
	{ 0, NULL },
};

static const struct m_mutant closing[] = {
	{ CLEAR_FIRST, "order swapped: nobody wants it before the disposition is back" },
	{ CLEAR_PLAIN, "`wanted` is cleared by a plain store" },
	{ NO_IDLE, "the stop does not wait for handlers" },
	{ UNLINK_FIRST, "order swapped: the channel leaves before what is pending is sent" },
	{ LOOK_BEFORE_RAISE, "order swapped: the handler looks before it is counted" },
	{ NEVER_AGAIN, "the handler forgets a signal that nobody wants" },
	{ 0, NULL },
};

static const struct m_mutant again[] = {
	{ INSTALL_FIRST, "order swapped: the handler is there before the signal is wanted" },
	{ AGAIN_BY_DEFAULT_ONLY, "the handler forgets a signal that is subscribed to anew" },
	{ 0, NULL },
};

static const struct m_model models[] = {
	{ "a signal and the reader", 3, init, step, NULL, at_end, delivering },
	{ "a signal, a stop and the end", 3, init_close, step, NULL, at_end, closing },
	{ "a signal, a stop and a new subscription", 3, init_notify, step, NULL, at_end, again },
};

int main(void)
{
	const struct m_model *all[] = { &models[0], &models[1], &models[2] };

	return m_main(all, 3);
}
