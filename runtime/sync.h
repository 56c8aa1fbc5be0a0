/*
 * Between the files of the synchronisation objects.
 */
#ifndef SPG__RUNTIME_SYNC_H
#define SPG__RUNTIME_SYNC_H

#include <spg/sync.h>

/* Does the caller hold the mutex? */
bool spg__mutex_mine(spg_mutex *mutex);

#endif
