/*
 * Scopes for other files of the runtime.
 */
#ifndef SPG__RUNTIME_CTX_H
#define SPG__RUNTIME_CTX_H

#include <spg/ctx.h>

/* As SPG_TIMEOUT_SCOPE, with a point in time; spg__scope_leave ends it. */
void spg__scope_deadline_enter(struct spg__scope *scope, int64_t when);

#endif
