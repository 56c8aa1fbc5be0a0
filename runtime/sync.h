/*
 * Between the files of the synchronisation objects.
 */
#ifndef SPG__RUNTIME_SYNC_H
#define SPG__RUNTIME_SYNC_H

#include <spg/sync.h>

/* The owner in a mutex's first word: a struct spg__waiter; the other bits are flags. */
#define SPG__MUTEX_OWNER (~(uintptr_t)7)

/* Does the caller hold the mutex? */
bool spg__mutex_mine(spg_mutex *mutex);

#endif
