/*
 * A word per descriptor, and per shard a count of operations in flight on it: what
 * spg_close needs to know. Nothing in flight: it costs a few loads.
 *
 * F1  An operation raises its shard's count (seq_cst RMW [F-a]), then reads the word
 *     (seq_cst): closing set means -EBADF and the count goes down again.
 * F2  Close sets closing (seq_cst RMW), then reads all counts (seq_cst [F-a]). So
 *     either close sees the operation, or the operation sees closing.
 * F3  An operation's end lowers the count (seq_cst RMW), then reads the word: closing
 *     set means that a closer may be waiting, and it is woken.
 * F4  A number is given back to the kernel only when all counts are 0 and closing is
 *     set, so no operation of ours reaches the number's next owner. The few
 *     instructions between the last store and close(2) are covered by putting a dead
 *     descriptor (O_PATH: every operation on it is -EBADF) in its place first.
 * F5  Foreign threads count in a table of their own, by the same rules.
 * F6  The word counts closes; odd: one is under way. A call that lets go of a number
 *     and takes it up again compares the word, so it never takes up the next owner's.
 */
#ifndef SPG__IO_FDTAB_H
#define SPG__IO_FDTAB_H

#include "coro/base.h"

#include <sys/types.h>

struct spg__ring;

/* Maps the tables for as many descriptors as the process may ever have. 0 or -ENOMEM. Idempotent. */
int spg__fdtab_init(void);

/* A table of counts, or NULL. */
_Atomic uint16_t *spg__fdtab_counts_new(void);
void spg__fdtab_counts_free(_Atomic uint16_t *counts);

/* F1. 0, or -EBADF: it is being closed. Descriptors out of range are not tracked. */
int spg__fdtab_enter(_Atomic uint16_t *counts, int fd);
/* F3. */
void spg__fdtab_leave(_Atomic uint16_t *counts, int fd);

/* The foreign threads' counts (F5); NULL: no memory. */
_Atomic uint16_t *spg__fdtab_foreign(void);

/* The runtime starts: the dead descriptor (F4) is opened now, not in the middle of a close. */
void spg__fdtab_start(void);
/* The runtime has ended. */
void spg__fdtab_fini(void);

/* F6: the word now. Descriptors out of range have 0 for ever. */
uint32_t spg__fdtab_word(int fd);

/* As spg__fdtab_enter, for a call that began when the word was `word`: -ECANCELED if it changed. */
int spg__fdtab_enter_again(_Atomic uint16_t *counts, int fd, uint32_t word);

#endif
