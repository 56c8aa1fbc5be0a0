/*
 * spg_call: a function runs as a coroutine while its caller, mostly a foreign thread, waits.
 *
 * CA1  The call lies on the caller's stack, which waits until done is stored: the coroutine's last
 *      access. Nothing lets the caller go earlier, neither its context nor spg_stop.
 * CA2  What ends the caller's wait ends the function's context, once, with the same error. The
 *      deadline is the context's own from the start: it travels with the call, also while the
 *      coroutine waits for its first turn.
 * CA3  A call counts as in flight from its admission until done; the limit refuses before anything
 *      is allocated.
 */
#include "runtime/call.h"

#include "runtime/spawn.h"
#include "sched/fork.h"
#include "sched/park.h"
#include "sched/wait.h"

#include <spg/call.h>
#include <spg/runtime.h>

static struct {
	_Atomic uint64_t max, in_flight;
	_Atomic uint64_t total, overloaded, timed_out, canceled, closed;
} calls = { .max = UINT64_MAX };

struct call {
	int (*fn)(void *);
	void *arg;
	struct spg__ctx *ctx;
	struct spg__waiter *waiter;
	int value, err;
	bool ran;
	_Atomic bool done;
};

void spg__calls_init(uint64_t max)
{
	/* relaxed, all: of no runtime before. */
	atomic_store_explicit(&calls.max, max, memory_order_relaxed);
	atomic_store_explicit(&calls.total, 0, memory_order_relaxed);
	atomic_store_explicit(&calls.overloaded, 0, memory_order_relaxed);
	atomic_store_explicit(&calls.timed_out, 0, memory_order_relaxed);
	atomic_store_explicit(&calls.canceled, 0, memory_order_relaxed);
	atomic_store_explicit(&calls.closed, 0, memory_order_relaxed);
}

void spg__calls_count(struct spg__calls_count *out)
{
	/* relaxed, all: a snapshot. */
	out->total = atomic_load_explicit(&calls.total, memory_order_relaxed);
	out->overloaded = atomic_load_explicit(&calls.overloaded, memory_order_relaxed);
	out->timed_out = atomic_load_explicit(&calls.timed_out, memory_order_relaxed);
	out->canceled = atomic_load_explicit(&calls.canceled, memory_order_relaxed);
	out->closed = atomic_load_explicit(&calls.closed, memory_order_relaxed);
}

static void count(_Atomic uint64_t *counter)
{
	/* relaxed: a statistic. */
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* CA3. */
static bool admit(void)
{
	/* relaxed, all: only the numbers matter. */
	if (atomic_fetch_add_explicit(&calls.in_flight, 1, memory_order_relaxed) <
	    atomic_load_explicit(&calls.max, memory_order_relaxed))
		return true;
	atomic_fetch_sub_explicit(&calls.in_flight, 1, memory_order_relaxed);
	return false;
}

static void call_main(void *arg)
{
	struct call *call = arg;
	struct spg__waiter *waiter = call->waiter;

	call->err = spg__ctx_state(call->ctx);
	if (call->err == 0) {
		call->ran = true;
		call->value = call->fn(call->arg);
		spg__user_returned();
		call->err = spg__ctx_state(call->ctx);
		if (call->err == 0) /* a runtime that stops interrupts all coroutines */
			call->err = spg__ctx_state(spg__ctx_root());
	}
	/* release [CA-a], CA1: the result. */
	atomic_store_explicit(&call->done, true, memory_order_release);
	spg__unpark(waiter);
}

static void await(struct call *call, struct spg__wait *wait)
{
	/* acquire [CA-a]. */
	while (!atomic_load_explicit(&call->done, memory_order_acquire)) {
		int err = spg__wait_park(wait);

		if (spg__likely(err == 0))
			continue;
		spg__ctx_end(call->ctx, err); /* CA2 */
		wait->cancelable = false;
		wait->deadline_ns = SPG__NEVER;
	}
}

/* 0: the coroutine exists. */
static int spawn_call(struct call *call, int64_t deadline_ns, const void *creator)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_FN, .fn = call_main, .arg = call, .creator = creator };
	struct spg__ctx *parent;
	int err;

	if (!spg__spawn_enter())
		return -ESRCH;
	err = spg__spawn_attr(&spawn, NULL, &parent);
	if (err == 0) {
		call->ctx = spg__ctx_create(parent, deadline_ns);
		err = call->ctx != NULL ? spg__spawn_under(&spawn, call->ctx) : -ENOMEM;
	}
	spg__spawn_leave();
	return err;
}

/* Spawns and waits. 0: call->done; else the coroutine never existed. */
static int run(struct call *call, struct spg__wait *wait, int64_t deadline_ns, const void *creator)
{
	int err;

	if (!admit())
		return -EAGAIN;
	err = spawn_call(call, deadline_ns, creator);
	if (err == 0)
		await(call, wait);
	spg__ctx_drop(call->ctx);
	/* relaxed: only the number matters. */
	atomic_fetch_sub_explicit(&calls.in_flight, 1, memory_order_relaxed);
	return err;
}

static int64_t deadline_of(const struct spg__wait *wait, int64_t timeout_ns)
{
	int64_t own = timeout_ns < 0 ? SPG__NEVER : spg__clock_after_ns(spg__clock_ns(), timeout_ns);
	int64_t callers = spg__wait_deadline(wait);

	return own < callers ? own : callers;
}

static int counted(int err)
{
	count(&calls.total);
	if (err == -EAGAIN)
		count(&calls.overloaded);
	else if (err == -ETIMEDOUT)
		count(&calls.timed_out);
	else if (err == -ESRCH || (err == -ECANCELED && spg__ctx_state(spg__ctx_root()) != 0))
		count(&calls.closed);
	else if (err == -ECANCELED)
		count(&calls.canceled);
	return err;
}

int spg_call(int (*fn)(void *), void *arg, int64_t timeout_ns, int *result)
{
	struct call call = { .fn = fn, .arg = arg };
	struct spg__wait wait;
	int err;

	if (fn == NULL)
		return -EINVAL;
	err = spg__wait_begin(&wait, SPG__REASON_CALL, (const void *)(uintptr_t)fn);
	if (err < 0)
		return counted(err);
	call.waiter = wait.waiter;
	err = run(&call, &wait, deadline_of(&wait, timeout_ns), __builtin_return_address(0));
	spg__wait_end(&wait);
	err = err < 0 ? err : call.err;
	if (call.ran && result != NULL)
		*result = call.value;
	return counted(err);
}
