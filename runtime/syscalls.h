/*
 * Names of system calls that may put a thread to sleep.
 */
#ifndef SPG__RUNTIME_SYSCALLS_H
#define SPG__RUNTIME_SYSCALLS_H

/* "a system call" for one without a name here; NULL for a negative number. */
const char *spg__syscall_name(long number);

#endif
