/*
 * spg/io.h - I/O on file descriptors, in blocking style.
 *
 * The system calls' arguments and meaning; the result is their value or -errno. The calling
 * coroutine is parked, the shard runs others meanwhile; a foreign thread blocks itself.
 * O_NONBLOCK descriptors still block the coroutine (MSG_DONTWAIT does not). Writing to a
 * broken pipe or socket is -EPIPE, never a signal. Lengths beyond the kernel's limit give a
 * short count. Buffers on the caller's stack are fine: when a call has returned, for
 * whatever reason, the kernel no longer holds them.
 *
 * Every call here, unless its comment says otherwise:
 *   Return: the system call's value; its errno, negated; and
 *     -ECANCELED  the context was canceled, or spg_close was called on the descriptor
 *     -ETIMEDOUT  the context's deadline passed
 *     -EBADF      also: the descriptor is being closed
 *   Cancellation: yes; data that moved is reported, never dropped.
 *   Threads: any; a coroutine parks and may resume on another thread. On a foreign thread
 *     operations on regular files cannot be canceled.
 *   Allocates: nothing. Source: the man page of the system call. Since: 0.1.
 */
#ifndef SPG_IO_H
#define SPG_IO_H

#include <spg/base.h>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

struct io_uring_sqe;
struct statx;

SPG__EXTERN_C_BEGIN

/** spg_read - read(2). */
SPG_API ssize_t spg_read(int fd, void *buf, size_t len);
/** spg_write - write(2). */
SPG_API ssize_t spg_write(int fd, const void *buf, size_t len);
/** spg_pread - pread(2). */
SPG_API ssize_t spg_pread(int fd, void *buf, size_t len, off_t offset);
/** spg_pwrite - pwrite(2). */
SPG_API ssize_t spg_pwrite(int fd, const void *buf, size_t len, off_t offset);
/** spg_readv - readv(2). */
SPG_API ssize_t spg_readv(int fd, const struct iovec *iov, int count);
/** spg_writev - writev(2). */
SPG_API ssize_t spg_writev(int fd, const struct iovec *iov, int count);
/** spg_preadv - preadv(2). */
SPG_API ssize_t spg_preadv(int fd, const struct iovec *iov, int count, off_t offset);
/** spg_pwritev - pwritev(2). */
SPG_API ssize_t spg_pwritev(int fd, const struct iovec *iov, int count, off_t offset);

/**
 * spg_read_full - read until n bytes have come, or the end of the file.
 *
 * Return: n; fewer only at the end; else a negative errno, even after bytes moved: use
 * spg_read where the count matters then.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API ssize_t spg_read_full(int fd, void *buf, size_t n);

/**
 * spg_write_all - write all n bytes.
 *
 * Return: n; else a negative errno, even after bytes moved; -EIO: the descriptor took
 * nothing and gave no error.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API ssize_t spg_write_all(int fd, const void *buf, size_t n);

/** spg_recv - recv(2). */
SPG_API ssize_t spg_recv(int fd, void *buf, size_t len, int flags);
/** spg_send - send(2); MSG_NOSIGNAL is implied. */
SPG_API ssize_t spg_send(int fd, const void *buf, size_t len, int flags);
/** spg_recvfrom - recvfrom(2). */
SPG_API ssize_t spg_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
			     socklen_t *addr_len);
/** spg_sendto - sendto(2); MSG_NOSIGNAL is implied. */
SPG_API ssize_t spg_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
			   socklen_t addr_len);
/** spg_recvmsg - recvmsg(2). */
SPG_API ssize_t spg_recvmsg(int fd, struct msghdr *msg, int flags);
/** spg_sendmsg - sendmsg(2); MSG_NOSIGNAL is implied. */
SPG_API ssize_t spg_sendmsg(int fd, const struct msghdr *msg, int flags);
/** spg_accept - accept(2). */
SPG_API int spg_accept(int fd, struct sockaddr *addr, socklen_t *addr_len);
/** spg_accept4 - accept4(2). */
SPG_API int spg_accept4(int fd, struct sockaddr *addr, socklen_t *addr_len, int flags);
/** spg_connect - connect(2). After an error the socket's state is unspecified: close it. */
SPG_API int spg_connect(int fd, const struct sockaddr *addr, socklen_t addr_len);
/** spg_shutdown - shutdown(2). */
SPG_API int spg_shutdown(int fd, int how);
/** spg_socket - socket(2). */
SPG_API int spg_socket(int domain, int type, int protocol);

/**
 * spg_close - wake what is in flight on fd, then close it.
 *
 * Calls of spg in flight on fd, on any shard or thread, return -ECANCELED (their spg_ctx_err
 * stays 0) or their data; only then the number is given back, so a reused number is never
 * touched. close(2) itself wakes nobody.
 *
 * Return: 0; -EBADF: not open, or being closed by another; close(2)'s errors for files.
 * The descriptor is gone whatever is returned.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: close(2). Since: 0.1.
 */
SPG_API int spg_close(int fd);

/** spg_open - open(2). O_CLOEXEC is the caller's to ask for. */
SPG_API int spg_open(const char *path, int flags, mode_t mode);
/** spg_openat - openat(2). */
SPG_API int spg_openat(int dirfd, const char *path, int flags, mode_t mode);
/** spg_splice - splice(2). */
SPG_API ssize_t spg_splice(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, unsigned flags);
/** spg_tee - tee(2). */
SPG_API ssize_t spg_tee(int fd_in, int fd_out, size_t len, unsigned flags);
/** spg_fsync - fsync(2). */
SPG_API int spg_fsync(int fd);
/** spg_fdatasync - fdatasync(2). */
SPG_API int spg_fdatasync(int fd);
/** spg_sync_file_range - sync_file_range(2). */
SPG_API int spg_sync_file_range(int fd, off_t offset, off_t len, unsigned flags);
/** spg_fallocate - fallocate(2). */
SPG_API int spg_fallocate(int fd, int mode, off_t offset, off_t len);
/** spg_ftruncate - ftruncate(2). */
SPG_API int spg_ftruncate(int fd, off_t length);
/** spg_fadvise - posix_fadvise(2), with a negative errno. */
SPG_API int spg_fadvise(int fd, off_t offset, off_t len, int advice);
/** spg_madvise - madvise(2). */
SPG_API int spg_madvise(void *addr, size_t len, int advice);
/** spg_statx - statx(2). */
SPG_API int spg_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *out);
/** spg_mkdirat - mkdirat(2). */
SPG_API int spg_mkdirat(int dirfd, const char *path, mode_t mode);
/** spg_unlinkat - unlinkat(2). */
SPG_API int spg_unlinkat(int dirfd, const char *path, int flags);
/** spg_renameat2 - renameat2(2). */
SPG_API int spg_renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags);
/** spg_linkat - linkat(2). */
SPG_API int spg_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags);
/** spg_symlinkat - symlinkat(2). */
SPG_API int spg_symlinkat(const char *target, int dirfd, const char *path);
/** spg_fgetxattr - fgetxattr(2). */
SPG_API ssize_t spg_fgetxattr(int fd, const char *name, void *value, size_t size);
/** spg_fsetxattr - fsetxattr(2). */
SPG_API int spg_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
/** spg_epoll_wait - epoll_wait(2), its timeout in ns; negative: no limit. */
SPG_API int spg_epoll_wait(int epfd, struct epoll_event *events, int events_max, int64_t timeout_ns);
/** spg_pipe2 - pipe2(2). */
SPG_API int spg_pipe2(int fds[2], int flags);

/**
 * spg_poll - wait until a descriptor is ready.
 * @events:     POLLIN, POLLOUT ... of poll(2)
 * @timeout_ns: negative: no limit
 *
 * Return: the revents (POLLERR, POLLHUP too); 0: timeout_ns passed; else as every call here.
 */
SPG_API int spg_poll(int fd, unsigned events, int64_t timeout_ns);

/**
 * spg_sendfile - move up to n bytes from a file to a descriptor, inside the kernel.
 * @off: where to begin, updated; NULL: the file's position
 *
 * Return: bytes moved, fewer than n only at the end of in; a negative errno if none moved.
 */
SPG_API ssize_t spg_sendfile(int out, int in, off_t *off, size_t n);

/**
 * spg_copy - move up to n bytes from in to out, whatever they are.
 *
 * Return: bytes moved, fewer than n only at the end of in; a negative errno if none moved.
 */
SPG_API ssize_t spg_copy(int out, int in, size_t n);

/**
 * spg_uring - run any io_uring operation that completes once.
 * @prep:      fills the SQE; called at once, on the caller's stack; must not block
 * @arg:       passed to it
 * @cqe_flags: receives the CQE's flags; may be NULL
 *
 * user_data is ours. Memory the SQE names stays the kernel's until the call returns. On a
 * foreign thread a coroutine of the running runtime does it.
 *
 * Return: the CQE's res, or
 *   -EINVAL     prep is NULL, or asked for links, CQE_SKIP, or more than one completion
 *   -ESRCH      a foreign thread, and no runtime is running
 *   and as every call here. Source: io_uring_enter(2). Since: 0.1.
 */
SPG_API int spg_uring(void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg, uint32_t *cqe_flags);

SPG__EXTERN_C_END

#endif
