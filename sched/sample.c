#include "sched/sample.h"

#include "coro/clock.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum state { FREE, TAKEN, ASKED, FILLING, DONE };

static struct {
	_Atomic uint32_t state;
	/* Which shard is asked. Written before ASKED. */
	_Atomic int shard;
	struct spg__sample sample;
} slot;

static void fill(struct spg__shard *shard, const void *ucontext, struct spg__sample *out)
{
	struct spg__frames_at at = spg__frames_at(ucontext);
	struct spg__coro *coro = shard->current;
	uintptr_t low, top;

	out->id = 0;
	out->depth = 0;
	if (coro == NULL || coro->stack == NULL)
		return;
	low = (uintptr_t)spg__stack_bottom(coro->stack);
	top = (uintptr_t)coro->stack->top;
	if (at.sp < low || at.sp >= top) /* SA3 */
		return;
	out->id = coro->id;
	/* As if after a call: the others are return addresses. */
	out->depth = spg__frames_walk(out->frames, SPG__FRAMES_MAX, at.pc + 1, at.fp, at.sp, top);
}

void spg__sample_answer(struct spg__shard *shard, void *ucontext)
{
	uint32_t asked = ASKED;

	/* acquire [SA-a]: `shard`; and first a look, since most kicks are no requests. */
	if (atomic_load_explicit(&slot.state, memory_order_acquire) != ASKED ||
	    atomic_load_explicit(&slot.shard, memory_order_relaxed) != shard->id ||
	    !atomic_compare_exchange_strong_explicit(&slot.state, &asked, FILLING, memory_order_acquire,
						     memory_order_relaxed))
		return;
	fill(shard, ucontext, &slot.sample);
	/* release [SA-b]: the sample. */
	atomic_store_explicit(&slot.state, DONE, memory_order_release);
	syscall(SYS_futex, &slot.state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* SA2. false: nobody answered. */
static bool await_answer(int64_t until_ns)
{
	struct timespec ts = spg__clock_timespec(until_ns);
	uint32_t asked = ASKED;

	/* acquire [SA-b], all of them. */
	while (atomic_load_explicit(&slot.state, memory_order_acquire) == ASKED && spg__clock_ns() < until_ns)
		syscall(SYS_futex, &slot.state, FUTEX_WAIT_BITSET_PRIVATE, ASKED, &ts, NULL,
			FUTEX_BITSET_MATCH_ANY);
	if (atomic_compare_exchange_strong_explicit(&slot.state, &asked, TAKEN, memory_order_acquire,
						    memory_order_acquire))
		return false;
	while (atomic_load_explicit(&slot.state, memory_order_acquire) != DONE)
		sched_yield();
	return true;
}

bool spg__sample(struct spg__shard *shard, int signal, int64_t wait_ns, struct spg__sample *out)
{
	uint32_t none = FREE;
	bool answered;

	/* acquire: with the last requester's FREE. */
	if (signal == 0 || !atomic_compare_exchange_strong_explicit(&slot.state, &none, TAKEN, memory_order_acquire,
								    memory_order_relaxed))
		return false;
	atomic_store_explicit(&slot.shard, shard->id, memory_order_relaxed);
	/* release [SA-a]. */
	atomic_store_explicit(&slot.state, ASKED, memory_order_release);
	answered = pthread_kill(shard->thread, signal) == 0;
	answered = await_answer(answered ? spg__clock_ns() + wait_ns : 0);
	if (answered)
		*out = slot.sample;
	atomic_store_explicit(&slot.state, FREE, memory_order_release);
	return answered;
}
