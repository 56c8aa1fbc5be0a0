/*
 * Select.
 *
 * SL1  The look: all channels of the cases are locked, in the order of their addresses,
 *      once each. Under these locks the ready cases are counted and one of them chosen;
 *      so the choice is uniform, and the chosen one runs before anything can change.
 * SL2  With nothing ready a node per channel case is queued under the same locks. From
 *      then on peers compete for the select's word (chan.h, H3).
 * SL3  Watches and joins are added after the unlock. One that is ready at once competes
 *      for the word like a peer.
 * SL4  Whatever ends the wait, the select leaves every queue before its frame ends. A
 *      context's end has to win the word, too: data wins over cancel.
 */
#include "runtime/chan.h"
#include "runtime/task.h"

#include "coro/alloc.h"
#include "io/watch.h"
#include "sched/thread.h"
#include "sched/wait.h"

#include <spg/select.h>

#include <poll.h>
#include <string.h>

/* Cases whose nodes fit the frame: a parked coroutine should stay within a page. */
#define CASES_INLINE 4

/* What a case needs while the select waits. */
struct arm {
	union {
		struct spg__chan_node node;
		struct {
			struct spg__task_watch watch;
			struct select_call *call;
			int index;
		} join;
		struct spg__watch *watch;
	};
};

struct select_call {
	spg_case *cases;
	size_t n;
	struct arm *arms;
	spg_case **order; /* the channel cases, by address */
	size_t order_n;
	size_t fds;
	int default_index, timer_index;
	int64_t due_ns;
	struct spg__select word;
};

static bool is_chan(const spg_case *c)
{
	return (c->kind == SPG__CASE_RECV || c->kind == SPG__CASE_SEND) && c->chan != NULL;
}

static bool is_fd(const spg_case *c)
{
	return c->kind == SPG__CASE_READABLE || c->kind == SPG__CASE_WRITABLE;
}

static unsigned fd_events(const spg_case *c)
{
	return c->kind == SPG__CASE_READABLE ? POLLIN | POLLRDHUP : POLLOUT;
}

/* What a ready descriptor's case reports: errors count as ready. */
static int fd_result(int revents)
{
	if (revents < 0)
		return revents;
	return revents & POLLNVAL ? -EBADF : 0;
}

/* Outside the locks: spare says whether the descriptor is ready, err how. */
static int look_at_fd(spg_case *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = (short)fd_events(c) };

	c->spare = poll(&pfd, 1, 0) > 0;
	c->err = c->spare != 0 ? fd_result(pfd.revents) : 0;
	return 0;
}

/* Checks one case and notes what it asks for. */
static int examine(struct select_call *s, int index, int64_t now)
{
	spg_case *c = &s->cases[index];
	int64_t when;

	c->err = 0;
	switch (c->kind) {
	case SPG__CASE_RECV:
	case SPG__CASE_SEND:
		if (c->chan == NULL)
			return 0;
		if (c->kind == SPG__CASE_SEND && c->send_ptr == NULL && c->chan->elem_size > 0)
			return -EINVAL;
		s->order[s->order_n++] = c;
		return 0;
	case SPG__CASE_AFTER:
	case SPG__CASE_AT:
		when = c->kind == SPG__CASE_AFTER ? spg__clock_after_ns(now, c->when) : c->when;
		if (s->timer_index < 0 || when < s->due_ns) {
			s->timer_index = index;
			s->due_ns = when;
		}
		return 0;
	case SPG__CASE_DEFAULT:
		s->default_index = index;
		return 0;
	case SPG__CASE_READABLE:
	case SPG__CASE_WRITABLE:
		s->fds++;
		return c->fd < 0 ? -EINVAL : look_at_fd(c);
	case SPG__CASE_JOINED:
		return c->task == NULL ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static int examine_all(struct select_call *s)
{
	bool timed = false;
	int64_t now = 0;

	for (size_t i = 0; i < s->n; i++)
		timed |= s->cases[i].kind == SPG__CASE_AFTER || s->cases[i].kind == SPG__CASE_AT;
	if (timed)
		now = spg__clock_ns();
	for (size_t i = 0; i < s->n; i++) {
		int err = examine(s, (int)i, now);

		if (err < 0)
			return err;
	}
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const spg_case *x = *(spg_case *const *)a, *y = *(spg_case *const *)b;

	return x->chan < y->chan ? -1 : x->chan > y->chan;
}

/* Few are sorted by insertion; many by qsort, whose memory is libc's concern. */
static void sort(struct select_call *s)
{
	if (s->order_n > 16) {
		qsort(s->order, s->order_n, sizeof(s->order[0]), by_address);
		return;
	}
	for (size_t i = 1; i < s->order_n; i++) {
		spg_case *c = s->order[i];
		size_t at = i;

		for (; at > 0 && s->order[at - 1]->chan > c->chan; at--)
			s->order[at] = s->order[at - 1];
		s->order[at] = c;
	}
}

static void lock_all(struct select_call *s)
{
	for (size_t i = 0; i < s->order_n; i++) {
		if (i == 0 || s->order[i]->chan != s->order[i - 1]->chan)
			spg__lock(&s->order[i]->chan->lock);
	}
}

static void unlock_all(struct select_call *s)
{
	for (size_t i = 0; i < s->order_n; i++) {
		/* The next one's channel is compared before the lock that keeps it alive is let go. */
		if (i + 1 == s->order_n || s->order[i]->chan != s->order[i + 1]->chan)
			spg__unlock(&s->order[i]->chan->lock);
	}
}

static bool case_ready(spg_case *c)
{
	switch (c->kind) {
	case SPG__CASE_RECV:
		return c->chan != NULL && spg__chan_recv_ready(c->chan);
	case SPG__CASE_SEND:
		return c->chan != NULL && spg__chan_send_ready(c->chan);
	case SPG__CASE_JOINED:
		/* acquire: what the task did. */
		return atomic_load_explicit(&c->task->done, memory_order_acquire);
	case SPG__CASE_READABLE:
	case SPG__CASE_WRITABLE:
		return c->spare != 0;
	default:
		return false;
	}
}

/* A generator per waiter: its address and what it has drawn so far. */
static uint64_t draw(void)
{
	struct spg__shard *shard = spg__shard_self();
	static _Atomic uint64_t foreign = 0x9E3779B97F4A7C15u;
	uint64_t x;

	if (shard != NULL)
		return spg__random(shard) * 0x2545F4914F6CDD1Du >> 32;
	/* relaxed: any value does. */
	x = atomic_fetch_add_explicit(&foreign, 0x9E3779B97F4A7C15u, memory_order_relaxed);
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x >> 32;
}

/* SL1: a ready case, each with the same chance; -1: none. */
static int choose(struct select_call *s)
{
	uint64_t seen = 0;
	int chosen = -1;

	for (size_t i = 0; i < s->n; i++) {
		if (!case_ready(&s->cases[i]))
			continue;
		seen++;
		if (seen == 1 || draw() % seen == 0)
			chosen = (int)i;
	}
	if (chosen < 0 && s->timer_index >= 0 && s->due_ns <= spg__clock_ns())
		chosen = s->timer_index;
	return chosen;
}

/* Runs the chosen case under the locks. Returns the peer to serve after them. */
static struct spg__chan_node *run(spg_case *c)
{
	struct spg__chan_node *peer = NULL;

	if (c->kind == SPG__CASE_RECV)
		c->err = spg__chan_recv_now(c->chan, c->recv_ptr, &peer);
	else if (c->kind == SPG__CASE_SEND)
		c->err = spg__chan_send_now(c->chan, c->send_ptr, &peer);
	SPG_ASSERT(c->err != -EAGAIN);
	return peer;
}

/* SL2. Under the locks. */
static void queue_nodes(struct select_call *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct spg__chan_node *node = &s->arms[i].node;
		spg_case *c = &s->cases[i];

		if (!is_chan(c))
			continue;
		*node = (struct spg__chan_node){
			.waiter = s->word.waiter,
			.elem = c->kind == SPG__CASE_RECV ? c->recv_ptr : (void *)(uintptr_t)c->send_ptr,
			.select = &s->word,
			.index = (int)i,
			.queued = true,
		};
		spg__list_append(c->kind == SPG__CASE_RECV ? &c->chan->receivers : &c->chan->senders,
				 &node->link);
	}
}

static void finish(struct select_call *s, int index, int err)
{
	if (spg__select_claim(&s->word))
		spg__select_finish(&s->word, index, err);
}

static void join_tell(struct spg__task_watch *watch)
{
	struct arm *arm = spg__container_of(watch, struct arm, join.watch);

	finish(arm->join.call, arm->join.index, 0);
}

static void fd_fire(struct spg__watch *watch, int res)
{
	finish(watch->owner, watch->index, fd_result(res));
}

/* SL3. */
static void arm_others(struct select_call *s, bool coroutine)
{
	for (size_t i = 0; i < s->n; i++) {
		spg_case *c = &s->cases[i];
		struct arm *arm = &s->arms[i];
		int err;

		if (c->kind == SPG__CASE_JOINED) {
			arm->join.watch.tell = join_tell;
			arm->join.call = s;
			arm->join.index = (int)i;
			spg__list_init(&arm->join.watch.link);
			if (!spg__task_watch(c->task, &arm->join.watch))
				finish(s, (int)i, 0);
		} else if (is_fd(c) && coroutine) {
			arm->watch = spg__watch_arm(c->fd, fd_events(c), fd_fire, s, (int)i, &err);
			if (arm->watch == NULL)
				finish(s, (int)i, err);
		}
	}
}

/* SL4. */
static void disarm(struct select_call *s, bool coroutine)
{
	for (size_t i = 0; i < s->n; i++) {
		spg_case *c = &s->cases[i];
		struct arm *arm = &s->arms[i];

		if (is_chan(c)) {
			spg__lock(&c->chan->lock);
			if (arm->node.queued)
				spg__list_remove(&arm->node.link);
			spg__unlock(&c->chan->lock);
		} else if (c->kind == SPG__CASE_JOINED) {
			spg__task_unwatch(c->task, &arm->join.watch);
		} else if (is_fd(c) && coroutine && arm->watch != NULL) {
			spg__watch_detach(arm->watch);
		}
	}
}

/* A foreign thread with descriptor cases waits in ppoll; a ready one competes like a peer. */
static int park_polling(struct select_call *s, struct spg__wait *wait)
{
	struct pollfd few[CASES_INLINE + 1] = { 0 }, *fds = few;
	size_t n = 0;
	int err = spg__wait_check(wait);

	if (err < 0)
		return err;
	if (s->fds > CASES_INLINE)
		fds = spg__calloc(s->fds + 1, sizeof(*fds));
	if (fds == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++) {
		if (is_fd(&s->cases[i]))
			fds[n++] = (struct pollfd){ .fd = s->cases[i].fd, .events = (short)fd_events(&s->cases[i]) };
	}
	spg__park_poll_many(wait->waiter, fds, n, wait->deadline_ns);
	n = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (is_fd(&s->cases[i]) && fds[n++].revents != 0)
			finish(s, (int)i, fd_result(fds[n - 1].revents));
	}
	if (fds != few)
		spg__free(fds);
	return 0;
}

/* Queued everywhere: waits for the word to be won. The index, or the context's error. */
static int wait_word(struct select_call *s, struct spg__wait *wait, bool coroutine)
{
	bool mine = s->due_ns <= wait->deadline_ns;
	int err = 0;

	spg__wait_until(wait, s->due_ns);
	/* acquire [H4]: the value, and all that the winner did before. */
	while (!atomic_load_explicit(&s->word.done, memory_order_acquire)) {
		err = s->fds > 0 && !coroutine ? park_polling(s, wait) : spg__wait_park(wait);
		if (spg__likely(err == 0))
			continue;
		if (spg__select_claim(&s->word))
			break;
		/* A peer has won: it is about to say so. */
		wait->cancelable = false;
		wait->deadline_ns = SPG__NEVER;
		err = 0;
	}
	if (err == 0) {
		s->cases[s->word.index].err = s->word.err;
		return s->word.index;
	}
	return err == -ETIMEDOUT && mine ? s->timer_index : err;
}

static int wait_for_one(struct select_call *s, struct spg__waiter *w)
{
	bool coroutine = w->kind == SPG__WAITER_CORO;
	struct spg__wait wait;
	int index;

	spg__wait_start(&wait, w, SPG__REASON_SELECT, s->cases);
	arm_others(s, coroutine);
	index = wait_word(s, &wait, coroutine);
	disarm(s, coroutine);
	spg__wait_end(&wait);
	return index;
}

static int select_in(struct select_call *s, struct spg__waiter *w)
{
	struct spg__chan_node *peer;
	int chosen, err = examine_all(s);

	if (err < 0)
		return err;
	sort(s);
	lock_all(s);
	chosen = choose(s);
	if (chosen < 0)
		chosen = s->default_index;
	if (chosen >= 0) {
		peer = run(&s->cases[chosen]);
		unlock_all(s);
		if (peer != NULL)
			spg__chan_serve(peer, 0);
		return chosen;
	}
	s->word.waiter = w;
	atomic_init(&s->word.claimed, false);
	atomic_init(&s->word.done, false);
	queue_nodes(s);
	unlock_all(s);
	return wait_for_one(s, w);
}

static spg__noinline int select_many(struct select_call *s, struct spg__waiter *w)
{
	int res = -ENOMEM;

	s->arms = spg__calloc(s->n, sizeof(*s->arms));
	s->order = spg__calloc(s->n, sizeof(*s->order));
	if (s->arms != NULL && s->order != NULL)
		res = select_in(s, w);
	spg__free(s->arms);
	spg__free(s->order);
	return res;
}

static int select_few(struct select_call *s, struct spg__waiter *w)
{
	struct arm arms[CASES_INLINE];
	spg_case *order[CASES_INLINE];

	s->arms = arms;
	s->order = order;
	return select_in(s, w);
}

int spg_select(spg_case *cases, size_t n)
{
	struct spg__waiter *w = spg__self();
	struct select_call s = {
		.cases = cases, .n = n, .default_index = -1, .timer_index = -1, .due_ns = SPG__NEVER,
	};

	if ((cases == NULL && n > 0) || n > INT32_MAX)
		return -EINVAL;
	if (spg__unlikely(w == NULL || spg__waiter_err(w) < 0)) {
		struct spg__wait wait;
		int err = spg__wait_begin(&wait, SPG__REASON_SELECT, cases);

		if (err < 0)
			return err;
		spg__wait_end(&wait);
	}
	return n <= CASES_INLINE ? select_few(&s, w) : select_many(&s, w);
}
