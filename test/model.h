/*
 * A small explicit-state model checker with store buffers (x86-TSO), for the protocols of
 * coro/, sched/, io/ and runtime/.
 *
 * A model is a few threads over byte-sized shared variables. A thread's step function
 * executes the action at its program counter, one atomic access at a time, and carries in
 * comments the tags of the code it stands for. Plain and release stores go to the
 * thread's store buffer and reach memory later, in order, at any moment; loads see the
 * thread's own buffered stores; RMWs and seq_cst stores wait until the buffer is empty.
 * All interleavings are enumerated, memory states are visited once.
 *
 * A mutant is a number the model's steps look at; 0 is the protocol as the code has it.
 * The protocol must hold, and every mutant must be caught.
 */
#ifndef SPG__TEST_MODEL_H
#define SPG__TEST_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define M_VARS 24
#define M_THREADS 4
#define M_REGS 6
#define M_BUFFER 3

struct m_thread {
	uint8_t pc;
	uint8_t buffered;
	uint8_t reg[M_REGS];
	struct {
		uint8_t var, value;
	} buffer[M_BUFFER];
};

struct m_state {
	uint8_t var[M_VARS];
	struct m_thread thread[M_THREADS];
};

/* What a step did. */
enum m_result { M_BLOCKED, M_STEPPED };

#define M_DONE 255 /* pc of a thread that has ended */

struct m_model {
	const char *name;
	unsigned threads;
	void (*init)(struct m_state *s);
	/* One action of thread t. */
	enum m_result (*step)(struct m_state *s, unsigned t);
	/* Must hold in every state; returns what is wrong, or NULL. */
	const char *(*always)(const struct m_state *s);
	/* Must hold where no thread can step and all buffers are empty. */
	const char *(*at_end)(const struct m_state *s);
	const struct m_mutant *mutants; /* ended by one without a name */
};

struct m_mutant {
	int number;
	const char *name;
};

static int m_mutant;
static const char *m_broken; /* set by a step that finds a fault */

/* A step's own finding. */
static inline void m_assert(bool cond, const char *what)
{
	if (!cond)
		m_broken = what;
}

static inline uint8_t m_load(const struct m_state *s, unsigned t, unsigned var)
{
	const struct m_thread *me = &s->thread[t];

	for (unsigned i = me->buffered; i-- > 0;) {
		if (me->buffer[i].var == var)
			return me->buffer[i].value;
	}
	return s->var[var];
}

/* A plain, relaxed or release store. false: the buffer is full, wait for it to drain. */
static inline bool m_store(struct m_state *s, unsigned t, unsigned var, uint8_t value)
{
	struct m_thread *me = &s->thread[t];

	if (me->buffered == M_BUFFER)
		return false;
	me->buffer[me->buffered].var = (uint8_t)var;
	me->buffer[me->buffered++].value = value;
	return true;
}

/* May an RMW or a seq_cst store happen now? */
static inline bool m_drained(const struct m_state *s, unsigned t)
{
	return s->thread[t].buffered == 0;
}

/* After m_drained: acts on memory at once. */
static inline uint8_t m_exchange(struct m_state *s, unsigned var, uint8_t value)
{
	uint8_t old = s->var[var];

	s->var[var] = value;
	return old;
}

static inline bool m_cas(struct m_state *s, unsigned var, uint8_t from, uint8_t to)
{
	if (s->var[var] != from)
		return false;
	s->var[var] = to;
	return true;
}

/* Moves the oldest buffered store to memory. */
static inline bool m_flush(struct m_state *s, unsigned t)
{
	struct m_thread *me = &s->thread[t];

	if (me->buffered == 0)
		return false;
	s->var[me->buffer[0].var] = me->buffer[0].value;
	memmove(&me->buffer[0], &me->buffer[1], (size_t)(--me->buffered) * sizeof(me->buffer[0]));
	me->buffer[me->buffered].var = me->buffer[me->buffered].value = 0; /* one form for equal states */
	return true;
}

struct m_set {
	struct m_state *states;
	uint32_t *table;
	size_t count, cap, size;
};

static inline uint64_t m_hash(const struct m_state *s)
{
	const unsigned char *bytes = (const unsigned char *)s;
	uint64_t h = 1469598103934665603u;

	for (size_t i = 0; i < sizeof(*s); i++)
		h = (h ^ bytes[i]) * 1099511628211u;
	return h ^ h >> 32;
}

static inline void m_rehash(struct m_set *set)
{
	free(set->table);
	set->size = set->size == 0 ? 1 << 16 : set->size * 4;
	set->table = calloc(set->size, sizeof(*set->table));
	if (set->table == NULL)
		abort();
	for (size_t i = 0; i < set->count; i++) {
		size_t at = m_hash(&set->states[i]) & (set->size - 1);

		while (set->table[at] != 0)
			at = (at + 1) & (set->size - 1);
		set->table[at] = (uint32_t)i + 1;
	}
}

/* Adds the state unless it was seen. */
static inline void m_add(struct m_set *set, const struct m_state *s)
{
	size_t at;

	if (set->count * 2 >= set->size)
		m_rehash(set);
	at = m_hash(s) & (set->size - 1);
	while (set->table[at] != 0) {
		if (memcmp(&set->states[set->table[at] - 1], s, sizeof(*s)) == 0)
			return;
		at = (at + 1) & (set->size - 1);
	}
	if (set->count == set->cap) {
		set->cap = set->cap == 0 ? 4096 : set->cap * 2;
		set->states = realloc(set->states, set->cap * sizeof(*set->states));
		if (set->states == NULL)
			abort();
	}
	set->states[set->count++] = *s;
	set->table[at] = (uint32_t)set->count;
}

/* All successors of a state. Returns how many there were. */
static inline unsigned m_expand(const struct m_model *model, struct m_set *set, const struct m_state *s)
{
	unsigned n = 0;

	for (unsigned t = 0; t < model->threads; t++) {
		struct m_state next = *s;

		if (s->thread[t].pc != M_DONE && model->step(&next, t) == M_STEPPED) {
			m_add(set, &next);
			n++;
		}
		next = *s;
		if (m_flush(&next, t)) {
			m_add(set, &next);
			n++;
		}
	}
	return n;
}

/* Explores everything. Returns what is wrong, or NULL; *states: how many were visited. */
static inline const char *m_explore(const struct m_model *model, size_t *states)
{
	struct m_set set = { 0 };
	struct m_state first;

	memset(&first, 0, sizeof(first));
	model->init(&first);
	m_broken = NULL;
	m_add(&set, &first);
	for (size_t i = 0; i < set.count && m_broken == NULL; i++) {
		struct m_state s = set.states[i];

		if (model->always != NULL)
			m_broken = model->always(&s);
		if (m_broken == NULL && m_expand(model, &set, &s) == 0)
			m_broken = m_broken != NULL ? m_broken : model->at_end(&s);
	}
	*states = set.count;
	free(set.states);
	free(set.table);
	return m_broken;
}

/* TAP: the protocol, then each mutant. */
static inline int m_main(const struct m_model *const *models, size_t n)
{
	unsigned number = 0, failed = 0;

	for (size_t i = 0; i < n; i++) {
		const char *wrong;
		size_t states;

		m_mutant = 0;
		wrong = m_explore(models[i], &states);
		failed += wrong != NULL;
		printf("%sok %u - %s holds in all %zu states%s%s\n", wrong ? "not " : "", ++number,
		       models[i]->name, states, wrong ? ": " : "", wrong ? wrong : "");
		for (const struct m_mutant *m = models[i]->mutants; m->name != NULL; m++) {
			m_mutant = m->number;
			wrong = m_explore(models[i], &states);
			failed += wrong == NULL;
			printf("%sok %u - %s, mutant \"%s\" is caught%s%s\n", wrong ? "" : "not ", ++number,
			       models[i]->name, m->name, wrong ? ": " : "", wrong ? wrong : "");
		}
		fflush(stdout);
	}
	printf("1..%u\n", number);
	return failed != 0;
}

#endif
