/*
 * The waiter: one who can wait, a coroutine or a foreign thread. Channels,
 * locks, timers and operations know waiters and nothing else.
 *
 * Only data here; who may write what:
 *   state              the park protocol (sched/park.h)
 *   ctx .. scope       the waiter itself (sched/cancel.h)
 *   reason, object     the waiter itself, before it parks; read by dumps
 *
 * W1  Waiter memory is type-stable for the life of the process: a late unpark
 *     reaches a waiter, if not the one it was meant for, and is a stale permit.
 */
#ifndef SPG__CORO_WAITER_H
#define SPG__CORO_WAITER_H

#include "coro/base.h"
#include "coro/list.h"

struct spg__ctx;
struct spg__scope;
struct spg__moving;

enum spg__waiter_kind { SPG__WAITER_CORO, SPG__WAITER_THREAD };

/* Why somebody waits. Dumps and traces show the names (spg__reason_name). */
enum spg__reason {
	SPG__REASON_NONE,
	SPG__REASON_SLEEP,
	SPG__REASON_TIMER,
	SPG__REASON_CHAN_SEND,
	SPG__REASON_CHAN_RECV,
	SPG__REASON_SELECT,
	SPG__REASON_MUTEX,
	SPG__REASON_RDLOCK,
	SPG__REASON_WRLOCK,
	SPG__REASON_COND,
	SPG__REASON_SEM,
	SPG__REASON_WG,
	SPG__REASON_ONCE,
	SPG__REASON_BARRIER,
	SPG__REASON_JOIN,
	SPG__REASON_GROUP,
	SPG__REASON_IO,
	SPG__REASON_CLOSE,
	SPG__REASON_BLOCKING,
	SPG__REASON_CALL,
	SPG__REASON_PROCESS,
	SPG__REASON_MESSAGE,
	SPG__REASON_COUNT,
};

extern const char *const spg__reason_names[SPG__REASON_COUNT];
const char *spg__reason_name(unsigned reason);

struct spg__waiter {
	_Atomic uint32_t state;
	uint8_t kind;
	_Atomic uint8_t reason;
	/* Foreign threads: spg_stop ends the wait under way, once. */
	_Atomic bool interrupted;
	uint32_t enter_depth;
	/* Current context, inherited by children. A reference is held. */
	struct spg__ctx *ctx;
	/* Whose end ends our waits: ctx, or NULL in a shield. */
	struct spg__ctx *canceler;
	struct spg__scope *scope;
	/* The movable deadlines it is under, the innermost first (sched/cancel.h, C7). */
	struct spg__moving *moving;
	/* The nearest deadline of the open scopes, and that of the canceler too. */
	int64_t scope_deadline_ns;
	int64_t deadline_ns;
	/* Membership in the context's list of waiters. */
	struct spg__list in_ctx;
	/* What it waits on, for dumps. */
	_Atomic(const void *) object;
	_Atomic int64_t since_ns;
};

#endif
