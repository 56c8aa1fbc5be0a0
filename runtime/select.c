/*
 * Select.
 *
 * SL1  The first look takes no lock: it counts the cases that seem ready and chooses one of
 *      them, each with the same chance. A channel's case is run under that channel's lock
 *      alone, if it is ready indeed: at that instant it was.
 * SL2  Failing that, the channels of all cases are locked, in the order of their addresses,
 *      once each, and looked at again. So "none is ready" is true of one instant, on which
 *      the default depends; and two selects that meet see each other waiting or not at all.
 * SL3  With nothing ready a node per channel case is queued under the same locks. From then
 *      on peers compete for the select's word (chan.c, H3). No select finds itself: it looks
 *      before it queues.
 * SL4  Joins and descriptors are armed after the unlock. One that is ready at once competes
 *      for the word like a peer. What is armed is disarmed before the frame ends; firing
 *      and disarming exclude each other by the source's own lock.
 * SL5  Whatever ends the wait, the select leaves all queues before its frame ends, but for
 *      the one whose peer served it: that channel may be gone (H5). A context's end, a time
 *      and an error of arming have to win the word, too: data wins over cancel.
 */
#include "runtime/select.h"

#include "coro/alloc.h"
#include "sched/shard.h"

/* Cases whose nodes fit the frame: a parked coroutine should stay within a page. */
#define NODES_INLINE 6

/* What the first look finds. Indices are -1 for none. */
struct look {
	/* Among all that seem ready, and among those that are no channels. */
	int chosen, chosen_other;
	uint32_t ready, ready_others;
	int fallback;
	/* The earliest of the AFTERs, relative, and of the ATs. */
	int after, at;
	int64_t after_ns, at_ns;
	/* How many nodes a wait takes. */
	uint32_t chans, sources;
	uint64_t random;
};

struct call {
	spg_case *cases;
	size_t n;
	struct look look;
	/* Channels first, in the order of their addresses; then sources. */
	union spg__select_slot *nodes;
	uint32_t chans, sources;
	/* What has been armed of them. */
	uint32_t armed;
	int timer;
	int64_t timer_ns;
	struct spg__select word;
};

/* Foreign threads share one; a shard has its own. */
static spg__noinline uint64_t random_seed(void)
{
	static _Atomic uint64_t foreign;
	struct spg__shard *shard = spg__shard_self();
	uint64_t x;

	if (shard != NULL)
		return spg__random(shard) * 0x2545F4914F6CDD1Du;
	/* relaxed: any value does, once. */
	x = atomic_fetch_add_explicit(&foreign, 0x9E3779B97F4A7C15u, memory_order_relaxed);
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

/* true with chance 1 in n: so the n-th replaces the one chosen so far. */
static bool one_in(uint64_t *random, uint32_t n)
{
	if (n == 1)
		return true;
	if (*random == 0)
		*random = random_seed() | 1;
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (*random >> 32) * n >> 32 == 0;
}

static inline void found(struct look *look, int index)
{
	if (one_in(&look->random, ++look->ready))
		look->chosen = index;
}

static void found_other(struct look *look, int index)
{
	if (one_in(&look->random, ++look->ready_others))
		look->chosen_other = index;
	found(look, index);
}

static int look_at_source(struct look *look, const struct spg__select_source *source, spg_case *c, int index)
{
	if (source->look(c))
		found_other(look, index);
	look->sources++;
	return 0;
}

/* Everything but channels. */
static spg__noinline int look_at_other(struct look *look, spg_case *c, int index)
{
	switch (c->kind) {
	case SPG__CASE_AFTER:
		if (c->when <= 0) {
			c->err = 0;
			found_other(look, index);
		} else if (look->after < 0 || c->when < look->after_ns) {
			look->after = index;
			look->after_ns = c->when;
		}
		return 0;
	case SPG__CASE_AT:
		if (c->when <= spg__clock_ns()) {
			c->err = 0;
			found_other(look, index);
		} else if (look->at < 0 || c->when < look->at_ns) {
			look->at = index;
			look->at_ns = c->when;
		}
		return 0;
	case SPG__CASE_DEFAULT:
		look->fallback = index;
		return 0;
	case SPG__CASE_READABLE:
	case SPG__CASE_WRITABLE:
		return c->fd < 0 ? -EINVAL : look_at_source(look, &spg__select_fd, c, index);
	case SPG__CASE_JOINED:
		return c->task == NULL ? -EINVAL : look_at_source(look, &spg__select_task, c, index);
	default:
		return -EINVAL;
	}
}

/* SL1. 0, or -EINVAL. */
static int look_at_all(struct look *look, spg_case *cases, size_t n)
{
	int err;

	for (size_t i = 0; i < n; i++) {
		spg_case *c = &cases[i];

		switch (c->kind) {
		case SPG__CASE_RECV:
			if (c->chan == NULL)
				break;
			look->chans++;
			if (spg__chan_recv_hint(c->chan))
				found(look, (int)i);
			break;
		case SPG__CASE_SEND:
			if (c->chan == NULL)
				break;
			if (spg__unlikely(c->send_ptr == NULL && c->chan->elem_size > 0))
				return -EINVAL;
			look->chans++;
			if (spg__chan_send_hint(c->chan))
				found(look, (int)i);
			break;
		default:
			err = look_at_other(look, c, (int)i);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

/* Under the channel's lock: the result, or -EAGAIN. A case that is no channel's has its result already. */
static int run_now(spg_case *c, struct spg__chan_node **peer)
{
	*peer = NULL;
	if (c->kind == SPG__CASE_RECV)
		return spg__chan_recv_now(c->chan, c->recv_ptr, peer);
	if (c->kind == SPG__CASE_SEND)
		return spg__chan_send_now(c->chan, c->send_ptr, peer);
	return c->err;
}

/* SL1: false: it was not ready after all. */
static bool run_alone(spg_case *c)
{
	struct spg__chan_node *peer;
	int err;

	if (c->kind != SPG__CASE_RECV && c->kind != SPG__CASE_SEND)
		return true;
	spg__lock(&c->chan->lock);
	err = run_now(c, &peer);
	spg__unlock(&c->chan->lock);
	if (peer != NULL)
		spg__chan_serve(peer, 0);
	if (err == -EAGAIN)
		return false;
	c->err = err;
	return true;
}

static inline spg_case *case_of(const struct call *s, uint32_t i)
{
	return &s->cases[s->nodes[i].chan.index];
}

static inline struct spg__chan_queue *queue_of(const spg_case *c)
{
	return c->kind == SPG__CASE_RECV ? &c->chan->receivers : &c->chan->senders;
}

/* By address, in place; only the two fields that are set by now move. Shell's sort: for a few it is insertion. */
static void sort(union spg__select_slot *nodes, uint32_t n)
{
	uint32_t gap = 1;

	while (gap < n / 3)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3) {
		for (uint32_t i = gap; i < n; i++) {
			struct spg_chan *chan = nodes[i].chan.chan;
			int index = nodes[i].chan.index;
			uint32_t at = i;

			for (; at >= gap && nodes[at - gap].chan.chan > chan; at -= gap) {
				nodes[at].chan.chan = nodes[at - gap].chan.chan;
				nodes[at].chan.index = nodes[at - gap].chan.index;
			}
			nodes[at].chan.chan = chan;
			nodes[at].chan.index = index;
		}
	}
}

static const struct spg__select_source *source_of(const spg_case *c)
{
	switch (c->kind) {
	case SPG__CASE_READABLE:
	case SPG__CASE_WRITABLE:
		return &spg__select_fd;
	case SPG__CASE_JOINED:
		return &spg__select_task;
	default:
		return NULL;
	}
}

/* Gives each case that needs one its node. */
static void lay_out(struct call *s)
{
	s->chans = s->sources = 0;
	for (size_t i = 0; i < s->n; i++) {
		spg_case *c = &s->cases[i];

		if (c->kind != SPG__CASE_RECV && c->kind != SPG__CASE_SEND) {
			const struct spg__select_source *source = source_of(c);

			if (source != NULL)
				s->nodes[s->look.chans + s->sources++].source = (struct spg__select_node){
					.source = source, .select = &s->word, .of = c, .index = (int)i };
		} else if (c->chan != NULL) {
			s->nodes[s->chans].chan.chan = c->chan;
			s->nodes[s->chans++].chan.index = (int)i;
		}
	}
	sort(s->nodes, s->chans);
}

static void lock_all(struct call *s)
{
	for (uint32_t i = 0; i < s->chans; i++) {
		if (i == 0 || s->nodes[i].chan.chan != s->nodes[i - 1].chan.chan)
			spg__lock(&s->nodes[i].chan.chan->lock);
	}
}

static void unlock_all(struct call *s)
{
	for (uint32_t i = 0; i < s->chans; i++) {
		if (i == 0 || s->nodes[i].chan.chan != s->nodes[i - 1].chan.chan)
			spg__unlock(&s->nodes[i].chan.chan->lock);
	}
}

/* SL2: a ready case, each with the same chance, or the default, or -1. */
static int choose(struct call *s)
{
	uint32_t ready = s->look.ready_others;
	int chosen = s->look.chosen_other;

	for (uint32_t i = 0; i < s->chans; i++) {
		spg_case *c = case_of(s, i);
		bool is = c->kind == SPG__CASE_RECV ? spg__chan_recv_ready(c->chan) :
						      spg__chan_send_ready(c->chan);

		if (is && one_in(&s->look.random, ++ready))
			chosen = (int)(c - s->cases);
	}
	return chosen >= 0 ? chosen : s->look.fallback;
}

/* SL3. Under the locks. */
static void queue_all(struct call *s)
{
	for (uint32_t i = 0; i < s->chans; i++) {
		struct spg__chan_node *node = &s->nodes[i].chan;
		spg_case *c = case_of(s, i);

		node->elem = c->kind == SPG__CASE_RECV ? c->recv_ptr : (void *)(uintptr_t)c->send_ptr;
		node->select = &s->word;
		spg__chan_enqueue(queue_of(c), node);
	}
}

/* SL5. served: the case whose channel a peer has served, or -1. */
static void leave_all(struct call *s, int served)
{
	for (uint32_t i = 0; i < s->armed; i++) {
		struct spg__select_node *node = &s->nodes[s->chans + i].source;

		node->source->disarm(node);
	}
	for (uint32_t i = 0; i < s->chans; i++) {
		struct spg__chan_node *node = &s->nodes[i].chan;

		if (node->index != served)
			spg__chan_leave(node->chan, queue_of(case_of(s, i)), node);
	}
}

/* SL4. */
static int arm_all(struct call *s)
{
	for (uint32_t i = 0; i < s->sources; i++) {
		struct spg__select_node *node = &s->nodes[s->chans + i].source;
		int err = node->source->arm(node);

		if (err < 0)
			return err;
		s->armed++;
	}
	return 0;
}

static int park(struct call *s, struct spg__wait *wait)
{
	/* Only descriptors keep a foreign thread from its futex. */
	if (spg__unlikely(s->sources > 0 && wait->waiter->kind == SPG__WAITER_THREAD))
		return spg__select_park_thread(wait, s->nodes + s->chans, s->sources);
	return spg__wait_park(wait);
}

/* Queued everywhere: waits for the word to be won. The index of the winner, or an error and the word is ours. */
static int wait_decided(struct call *s, struct spg__wait *wait, int err)
{
	for (;;) {
		/* acquire [H4]: the value, and all that the winner did before. */
		if (atomic_load_explicit(&s->word.done, memory_order_acquire))
			return s->word.index;
		if (err == 0)
			err = park(s, wait);
		if (spg__likely(err == 0))
			continue;
		if (spg__select_claim(&s->word))
			return err;
		/* A winner is about to say so. */
		wait->cancelable = false;
		wait->deadline_ns = SPG__NEVER;
		err = 0;
	}
}

/* The wait ended with err and no winner: was it a case's time? It was, if that came no later than the context's. */
static int time_or_error(struct call *s, struct spg__waiter *w, int err)
{
	if (s->timer < 0 || s->timer_ns > spg__waiter_deadline(w) || spg__clock_ns() < s->timer_ns)
		return err;
	s->cases[s->timer].err = 0;
	return s->timer;
}

static int wait_for_one(struct call *s, struct spg__waiter *w)
{
	struct spg__wait wait;
	int index;

	spg__wait_start(&wait, w, SPG__REASON_SELECT, (const void *)s->n);
	s->armed = 0;
	if (s->timer >= 0)
		spg__wait_until(&wait, s->timer_ns);
	index = wait_decided(s, &wait, arm_all(s));
	leave_all(s, index);
	spg__wait_end(&wait);
	if (index < 0)
		return time_or_error(s, w, index);
	s->cases[index].err = s->word.err;
	return index;
}

static void find_timer(struct call *s)
{
	const struct look *look = &s->look;

	s->timer = look->at;
	s->timer_ns = look->at_ns;
	if (look->after >= 0) {
		int64_t when = spg__clock_after_ns(spg__clock_ns(), look->after_ns);

		if (s->timer < 0 || when < s->timer_ns) {
			s->timer = look->after;
			s->timer_ns = when;
		}
	}
}

/* SL2, SL3. */
static int select_locked(struct call *s, struct spg__waiter *w)
{
	int chosen;

	lay_out(s);
	lock_all(s);
	chosen = choose(s);
	if (chosen >= 0) {
		struct spg__chan_node *peer;

		s->cases[chosen].err = run_now(&s->cases[chosen], &peer);
		unlock_all(s);
		if (peer != NULL)
			spg__chan_serve(peer, 0);
		return chosen;
	}
	s->word.waiter = w;
	atomic_init(&s->word.claimed, false);
	atomic_init(&s->word.done, false);
	queue_all(s);
	unlock_all(s);
	return wait_for_one(s, w);
}

static spg__noinline int select_many(struct call *s, struct spg__waiter *w)
{
	size_t count = (size_t)s->look.chans + s->look.sources;
	int res;

	s->nodes = spg__calloc(count, sizeof(*s->nodes));
	if (s->nodes == NULL)
		return -ENOMEM;
	res = select_locked(s, w);
	spg__free(s->nodes);
	return res;
}

static spg__noinline int select_few(struct call *s, struct spg__waiter *w)
{
	union spg__select_slot nodes[NODES_INLINE];

	s->nodes = nodes;
	return select_locked(s, w);
}

int spg_select(spg_case *cases, size_t n)
{
	struct spg__waiter *w = spg__self();
	struct call s;
	int err;

	if (spg__unlikely((cases == NULL && n > 0) || n > INT32_MAX))
		return -EINVAL;
	if (!spg__chan_entered(w)) {
		err = spg__chan_enter_slow(SPG__REASON_SELECT, NULL);
		if (err < 0)
			return err;
		w = spg__self();
	}
	s.look = (struct look){ .chosen = -1, .chosen_other = -1, .fallback = -1, .after = -1, .at = -1 };
	err = look_at_all(&s.look, cases, n);
	if (spg__unlikely(err < 0))
		return err;
	if (s.look.chosen >= 0 && run_alone(&cases[s.look.chosen]))
		return s.look.chosen;
	s.cases = cases;
	s.n = n;
	find_timer(&s);
	if (s.look.chans + s.look.sources <= NODES_INLINE)
		return select_few(&s, w);
	return select_many(&s, w);
}
