/*
 * The stack use of functions, for users.
 */
#ifndef SPG__RUNTIME_STACK_USE_H
#define SPG__RUNTIME_STACK_USE_H

/* Before coroutines run, with SPG_DEBUG=stacks. */
void spg__stack_use_start(void);
/* After all have ended: tells on stderr what they took. Nothing without the start. */
void spg__stack_use_tell(void);

#endif
