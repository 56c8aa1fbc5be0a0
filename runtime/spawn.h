/*
 * From the public attributes to the scheduler's spawn.
 */
#ifndef SPG__RUNTIME_SPAWN_H
#define SPG__RUNTIME_SPAWN_H

#include "sched/cancel.h"
#include "sched/shard.h"

#include <spg/go.h>

/* The context a child inherits: the caller's current one, without its scopes. Borrowed. NULL: no memory. */
struct spg__ctx *spg__spawn_ctx(void);

/*
 * Around spg__spawn_attr and what spawns: a foreign thread keeps the runtime, and its settings, from
 * going away in between. false: none is running. Not to be held over a wait.
 */
bool spg__spawn_enter(void);
void spg__spawn_leave(void);

/*
 * Fills place, stack class and name from attr (NULL: the defaults); *ctx is the
 * context to run under, borrowed. 0, -EINVAL (no such shard, stack too large),
 * -ESRCH, -ENOMEM.
 */
int spg__spawn_attr(struct spg__spawn *spawn, const spg_attr *attr, struct spg__ctx **ctx);

/*
 * What the library spawns to call a function of the user's, and where in its argument that stands.
 * Dumps show the user's.
 */
struct spg__wrapper {
	void (*fn)(void *);
	size_t at;
};
extern const struct spg__wrapper spg__wrapper_task, spg__wrapper_group, spg__wrapper_main;

/* Spawns with a reference of its own to ctx. */
int spg__spawn_under(struct spg__spawn *spawn, struct spg__ctx *ctx);

#endif
