/*
 * The dump on a signal: the handler wakes a thread that has no other work, and that writes
 * the dump to stderr. So it works whatever shards, pool and the interrupted thread are doing.
 */
#ifndef SPG__RUNTIME_DUMP_SIGNAL_H
#define SPG__RUNTIME_DUMP_SIGNAL_H

#include "coro/base.h"

/* signal 0: nothing. 0, or the negative errno of the thread or the handler. */
int spg__dump_signal_start(int signal, const char *thread_name);

/* Puts the previous handler back, unless somebody has replaced ours; a dump under way is finished. */
void spg__dump_signal_stop(void);

#endif
