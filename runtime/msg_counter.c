/*
 * Counters: messages of which only the sum matters, merged as they are sent.
 *
 * K1  A counter is a word: an add is one RMW by its sender, a take one by a coroutine of its
 *     shard. It needs no room, whatever the rate, and refuses only what would overflow it.
 * K2  Waiters stand in the order of the count they wait for (B2): so the first update wakes a
 *     take, also when somebody who waits for more came before it.
 * K3  The first in line stores its `least`, then its bell [B-a], then looks at the count. An
 *     add rings only if the count it left reaches `least`: it saw the bell, so it sees the
 *     `least` stored before it, or that of a newer first, who looks after both.
 */
#include "runtime/msg.h"

#include "coro/alloc.h"

/* NULL: no memory. */
static struct spg__msg_counter *counter_at(int shard, unsigned tag)
{
	_Atomic(struct spg__msg_part *) *home = &spg__msgs.page[tag / SPG__MSG_PAGE_TAGS][shard];
	/* acquire [M6]. */
	struct spg__msg_part *part = atomic_load_explicit(home, memory_order_acquire);
	struct spg__msg_page *page;

	if (spg__likely(part != NULL)) {
		page = spg__container_of(part, struct spg__msg_page, part);
		return &page->counter[tag % SPG__MSG_PAGE_TAGS];
	}
	page = spg__map(sizeof(*page));
	if (page == NULL)
		return NULL;
	page->part = (struct spg__msg_part){
		.bytes = sizeof(*page),
		.line = &page->counter[0].takers,
		.lines = SPG__MSG_PAGE_TAGS,
		.line_stride = sizeof(page->counter[0]),
	};
	page = spg__container_of(spg__msg_publish(home, &page->part), struct spg__msg_page, part);
	return &page->counter[tag % SPG__MSG_PAGE_TAGS];
}

static void count_add(struct spg__shard *self, bool coalesced, bool doorbell)
{
	if (self != NULL) {
		spg__count_add(&self->counters.msg_coalesced, coalesced);
		spg__count_add(&self->counters.msg_doorbells, doorbell);
		return;
	}
	/* relaxed: many writers, no order. */
	atomic_fetch_add_explicit(&spg__msgs.coalesced, coalesced, memory_order_relaxed);
	atomic_fetch_add_explicit(&spg__msgs.doorbells, doorbell, memory_order_relaxed);
}

static int add(struct spg__shard *self, int shard, struct spg__msg_counter *counter, uint64_t n)
{
	/* relaxed: the CAS decides. */
	uint64_t before = atomic_load_explicit(&counter->count, memory_order_relaxed), after;
	bool rang = false;

	do {
		if (spg__unlikely(__builtin_add_overflow(before, n, &after)))
			return -EOVERFLOW;
		/* seq_cst [B-b]: then the bell. */
	} while (!atomic_compare_exchange_weak_explicit(&counter->count, &before, after, memory_order_seq_cst,
							memory_order_relaxed));
	/* seq_cst [B-b]; relaxed: K3, ordered by the bell. */
	if (spg__unlikely(atomic_load_explicit(&counter->takers.bell, memory_order_seq_cst) != NULL) &&
	    after >= atomic_load_explicit(&counter->least, memory_order_relaxed))
		rang = spg__line_ring_slow(&counter->takers);
	count_add(self, before != 0, rang && spg__msg_source(self) != shard);
	return 0;
}

int spg_msg_counter_add(int shard, unsigned tag, uint64_t n)
{
	struct spg__shard *self = spg__shard_self();
	struct spg__msg_counter *counter;
	int err;

	if (spg__unlikely(tag > SPG_MSG_TAG_MAX))
		return -EINVAL;
	err = spg__msg_enter(self);
	if (spg__unlikely(err < 0))
		return err;
	if (spg__unlikely(shard < 0 || shard >= (int)spg__sched.conf.shards)) {
		err = -EINVAL;
	} else if (spg__msg_closed()) {
		err = -EPIPE;
	} else if (n > 0) {
		counter = counter_at(shard, tag);
		err = counter != NULL ? add(self, shard, counter, n) : -ENOMEM;
	}
	spg__msg_leave(self);
	return err;
}

struct taking {
	struct spg__msg_counter *counter;
	uint64_t least, count;
	bool keep;
	int err;
};

/* Takes the count, or looks at it, if it has reached `least`. On the counter's shard. */
static inline bool take(struct taking *t)
{
	/* seq_cst: K3's look. */
	t->count = atomic_load_explicit(&t->counter->count, memory_order_seq_cst);
	if (t->count < t->least)
		return false;
	/* acq_rel: what the adders did before. Adds may have come since: never less. */
	if (!t->keep)
		t->count = atomic_exchange_explicit(&t->counter->count, 0, memory_order_acq_rel);
	return true;
}

static bool take_in_line(void *arg)
{
	struct taking *t = arg;

	/* Before the bell (K3): relaxed, ordered by it. */
	atomic_store_explicit(&t->counter->least, t->least, memory_order_relaxed);
	t->err = take(t) ? 0 : spg__msg_wait_end();
	return t->count >= t->least || t->err < 0;
}

static int counter_take(unsigned tag, uint64_t *n, struct taking *t, bool may_wait)
{
	struct spg__shard *self = spg__shard_self();
	int err;

	if (spg__unlikely(tag > SPG_MSG_TAG_MAX || n == NULL))
		return -EINVAL;
	if (spg__unlikely(self == NULL))
		return -ESRCH;
	err = may_wait ? spg__msg_entry(self) : 0;
	if (spg__unlikely(err < 0))
		return err;
	t->counter = counter_at(self->id, tag);
	if (spg__unlikely(t->counter == NULL))
		return -ENOMEM;
	if (!spg__line_may_pass(&t->counter->takers, t->least) || !take(t)) {
		if (!may_wait)
			return spg__msg_closed() ? -EPIPE : -EAGAIN;
		err = spg__line_wait(&t->counter->takers, t->least, SPG__REASON_MESSAGE, take_in_line, t);
		if (err == 0)
			err = t->err;
		if (err < 0)
			return err;
	}
	*n = t->count;
	return 0;
}

int spg_msg_counter_take(unsigned tag, uint64_t *n)
{
	struct taking t = { .least = 1 };

	return counter_take(tag, n, &t, true);
}

int spg_msg_counter_try_take(unsigned tag, uint64_t *n)
{
	struct taking t = { .least = 1 };

	return counter_take(tag, n, &t, false);
}

int spg_msg_counter_wait(unsigned tag, uint64_t least, uint64_t *n)
{
	struct taking t = { .least = least > 0 ? least : 1, .keep = true };

	return counter_take(tag, n, &t, true);
}
