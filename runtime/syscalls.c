#include "runtime/syscalls.h"

#include <stddef.h>
#include <sys/syscall.h>

#define NAME(name) { SYS_##name, #name }
/* Those that may wait. */
static const struct {
	long number;
	const char *name;
} known[] = {
#ifdef SYS_read
	NAME(read),
#endif
#ifdef SYS_write
	NAME(write),
#endif
#ifdef SYS_readv
	NAME(readv),
#endif
#ifdef SYS_writev
	NAME(writev),
#endif
#ifdef SYS_pread64
	NAME(pread64),
#endif
#ifdef SYS_pwrite64
	NAME(pwrite64),
#endif
#ifdef SYS_preadv
	NAME(preadv),
#endif
#ifdef SYS_pwritev
	NAME(pwritev),
#endif
#ifdef SYS_open
	NAME(open),
#endif
#ifdef SYS_openat
	NAME(openat),
#endif
#ifdef SYS_openat2
	NAME(openat2),
#endif
#ifdef SYS_close
	NAME(close),
#endif
#ifdef SYS_stat
	NAME(stat),
#endif
#ifdef SYS_fstat
	NAME(fstat),
#endif
#ifdef SYS_lstat
	NAME(lstat),
#endif
#ifdef SYS_newfstatat
	NAME(newfstatat),
#endif
#ifdef SYS_statx
	NAME(statx),
#endif
#ifdef SYS_poll
	NAME(poll),
#endif
#ifdef SYS_ppoll
	NAME(ppoll),
#endif
#ifdef SYS_select
	NAME(select),
#endif
#ifdef SYS_pselect6
	NAME(pselect6),
#endif
#ifdef SYS_epoll_wait
	NAME(epoll_wait),
#endif
#ifdef SYS_epoll_pwait
	NAME(epoll_pwait),
#endif
#ifdef SYS_epoll_pwait2
	NAME(epoll_pwait2),
#endif
#ifdef SYS_nanosleep
	NAME(nanosleep),
#endif
#ifdef SYS_clock_nanosleep
	NAME(clock_nanosleep),
#endif
#ifdef SYS_pause
	NAME(pause),
#endif
#ifdef SYS_rt_sigsuspend
	NAME(rt_sigsuspend),
#endif
#ifdef SYS_rt_sigtimedwait
	NAME(rt_sigtimedwait),
#endif
#ifdef SYS_futex
	NAME(futex),
#endif
#ifdef SYS_flock
	NAME(flock),
#endif
#ifdef SYS_fcntl
	NAME(fcntl),
#endif
#ifdef SYS_connect
	NAME(connect),
#endif
#ifdef SYS_accept
	NAME(accept),
#endif
#ifdef SYS_accept4
	NAME(accept4),
#endif
#ifdef SYS_recvfrom
	NAME(recvfrom),
#endif
#ifdef SYS_recvmsg
	NAME(recvmsg),
#endif
#ifdef SYS_recvmmsg
	NAME(recvmmsg),
#endif
#ifdef SYS_sendto
	NAME(sendto),
#endif
#ifdef SYS_sendmsg
	NAME(sendmsg),
#endif
#ifdef SYS_sendmmsg
	NAME(sendmmsg),
#endif
#ifdef SYS_sendfile
	NAME(sendfile),
#endif
#ifdef SYS_splice
	NAME(splice),
#endif
#ifdef SYS_tee
	NAME(tee),
#endif
#ifdef SYS_copy_file_range
	NAME(copy_file_range),
#endif
#ifdef SYS_wait4
	NAME(wait4),
#endif
#ifdef SYS_waitid
	NAME(waitid),
#endif
#ifdef SYS_fsync
	NAME(fsync),
#endif
#ifdef SYS_fdatasync
	NAME(fdatasync),
#endif
#ifdef SYS_sync
	NAME(sync),
#endif
#ifdef SYS_syncfs
	NAME(syncfs),
#endif
#ifdef SYS_msync
	NAME(msync),
#endif
#ifdef SYS_sync_file_range
	NAME(sync_file_range),
#endif
#ifdef SYS_fallocate
	NAME(fallocate),
#endif
#ifdef SYS_getdents64
	NAME(getdents64),
#endif
#ifdef SYS_unlink
	NAME(unlink),
#endif
#ifdef SYS_unlinkat
	NAME(unlinkat),
#endif
#ifdef SYS_rename
	NAME(rename),
#endif
#ifdef SYS_renameat
	NAME(renameat),
#endif
#ifdef SYS_renameat2
	NAME(renameat2),
#endif
#ifdef SYS_mkdir
	NAME(mkdir),
#endif
#ifdef SYS_mkdirat
	NAME(mkdirat),
#endif
#ifdef SYS_rmdir
	NAME(rmdir),
#endif
#ifdef SYS_mmap
	NAME(mmap),
#endif
#ifdef SYS_munmap
	NAME(munmap),
#endif
#ifdef SYS_madvise
	NAME(madvise),
#endif
#ifdef SYS_semop
	NAME(semop),
#endif
#ifdef SYS_semtimedop
	NAME(semtimedop),
#endif
#ifdef SYS_msgrcv
	NAME(msgrcv),
#endif
#ifdef SYS_msgsnd
	NAME(msgsnd),
#endif
#ifdef SYS_mq_timedreceive
	NAME(mq_timedreceive),
#endif
#ifdef SYS_mq_timedsend
	NAME(mq_timedsend),
#endif
#ifdef SYS_io_uring_enter
	NAME(io_uring_enter),
#endif
#ifdef SYS_io_getevents
	NAME(io_getevents),
#endif
#ifdef SYS_getrandom
	NAME(getrandom),
#endif
#ifdef SYS_execve
	NAME(execve),
#endif
#ifdef SYS_sched_yield
	NAME(sched_yield),
#endif
#ifdef SYS_ioctl
	NAME(ioctl),
#endif
#ifdef SYS_restart_syscall
	NAME(restart_syscall),
#endif
};

const char *spg__syscall_name(long number)
{
	if (number < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].number == number)
			return known[i].name;
	return "a system call";
}
