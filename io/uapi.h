/*
 * Kernel interfaces newer than Debian 12's headers (Linux 6.1, liburing 2.3).
 * Values from include/uapi/linux/io_uring.h of the release named. All of them are
 * probed or tried at run time, never assumed.
 */
#ifndef SPG__IO_UAPI_H
#define SPG__IO_UAPI_H

#include <liburing.h>

/* Linux 6.13: a synchronous MSG_RING from a thread that has no ring; ring fd -1, arg is an SQE. */
#define SPG__REGISTER_SEND_MSG_RING 31u
/* Linux 6.15: a wait in io_uring_enter that does not count as iowait. */
#define SPG__ENTER_NO_IOWAIT (1u << 7)
#define SPG__FEAT_NO_IOWAIT (1u << 17)
/* Linux 6.7: accept, poll and read keep completing; and operations newer than the headers. */
#define SPG__OP_READ_MULTISHOT 49u
#define SPG__OP_WAITID 50u
#define SPG__OP_FUTEX_WAIT 51u
#define SPG__OP_FUTEX_WAKE 52u
#define SPG__OP_FUTEX_WAITV 53u
/* Linux 6.9. */
#define SPG__OP_FTRUNCATE 55u
/* Linux 6.11. */
#define SPG__OP_BIND 56u
#define SPG__OP_LISTEN 57u
/* Linux 6.15. */
#define SPG__OP_RECV_ZC 58u
/* Operations the probe may report; the kernel's count stays below. */
#define SPG__OPS_MAX 256u

/* Linux 6.4. */
#define SPG__TIMEOUT_MULTISHOT (1u << 6)

/* Of a no-op, Linux 6.10: sqe->len is its result. */
#define SPG__NOP_INJECT_RESULT (1u << 0)

#endif
