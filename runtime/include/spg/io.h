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
 * Errors of every call, beside those its own comment and man page name:
 *     -ECANCELED  the context was canceled, or spg_close was called on the descriptor
 *     -ETIMEDOUT  the context's deadline passed first
 *     -EBADF      the descriptor is not open, or is being closed
 *     -ENOMEM     no memory: a foreign thread's first call, or the kernel's own
 *     other       the system call's errno, negated
 *
 * "Cancellation: yes" is: a context that ended before the call fails it on entry, one that
 * ends later cuts the wait short; data that moved is reported, never dropped. On a foreign
 * thread operations on regular files and on paths, once begun, are not cut short.
 * "Threads: any" is: a coroutine parks and may resume on another thread.
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

/**
 * spg_read - read bytes.
 * @fd:  a descriptor
 * @buf: receives up to len bytes
 * @len: bytes
 *
 * Return: bytes read, 0 at the end of the file or stream; else an error of every call (see
 * the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: read(2). Since: 0.1.
 */
SPG_API ssize_t spg_read(int fd, void *buf, size_t len);

/**
 * spg_write - write bytes.
 * @fd:  a descriptor
 * @buf: len bytes, borrowed
 * @len: bytes
 *
 * Return: bytes written, which may be fewer than asked for; -EPIPE: nobody reads any more,
 * and no signal; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: write(2). Since: 0.1.
 */
SPG_API ssize_t spg_write(int fd, const void *buf, size_t len);

/**
 * spg_pread - read bytes at an offset.
 * @fd:     a descriptor
 * @buf:    receives up to len bytes
 * @len:    bytes
 * @offset: bytes from the start of the file; its position stays
 *
 * Return: bytes read, 0 at the end of the file or stream; -EINVAL: offset is negative;
 * -ESPIPE: fd cannot seek; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: pread(2). Since: 0.1.
 */
SPG_API ssize_t spg_pread(int fd, void *buf, size_t len, off_t offset);

/**
 * spg_pwrite - write bytes at an offset.
 * @fd:     a descriptor
 * @buf:    len bytes, borrowed
 * @len:    bytes
 * @offset: bytes from the start of the file; its position stays
 *
 * Return: bytes written, which may be fewer than asked for; -EINVAL: offset is negative;
 * -ESPIPE: fd cannot seek; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: pwrite(2). Since: 0.1.
 */
SPG_API ssize_t spg_pwrite(int fd, const void *buf, size_t len, off_t offset);

/**
 * spg_readv - read bytes into several buffers.
 * @fd:    a descriptor
 * @iov:   count buffers, filled in order
 * @count: of buffers, 1024 at most
 *
 * Return: bytes read, 0 at the end of the file or stream; -EINVAL: count is negative or too
 * large; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: readv(2). Since: 0.1.
 */
SPG_API ssize_t spg_readv(int fd, const struct iovec *iov, int count);

/**
 * spg_writev - write bytes from several buffers.
 * @fd:    a descriptor
 * @iov:   count buffers, borrowed, written in order
 * @count: of buffers, 1024 at most
 *
 * Return: bytes written, which may be fewer than asked for; -EPIPE: nobody reads any more,
 * and no signal; -EINVAL: count is negative or too large; else an error of every call (see
 * the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: writev(2). Since: 0.1.
 */
SPG_API ssize_t spg_writev(int fd, const struct iovec *iov, int count);

/**
 * spg_preadv - read bytes at an offset into several buffers.
 * @fd:     a descriptor
 * @iov:    count buffers, filled in order
 * @count:  of buffers, 1024 at most
 * @offset: bytes from the start of the file; its position stays
 *
 * Return: bytes read, 0 at the end of the file or stream; -EINVAL: offset or count is
 * negative, or count too large; -ESPIPE: fd cannot seek; else an error of every call (see
 * the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: preadv(2). Since: 0.1.
 */
SPG_API ssize_t spg_preadv(int fd, const struct iovec *iov, int count, off_t offset);

/**
 * spg_pwritev - write bytes at an offset from several buffers.
 * @fd:     a descriptor
 * @iov:    count buffers, borrowed, written in order
 * @count:  of buffers, 1024 at most
 * @offset: bytes from the start of the file; its position stays
 *
 * Return: bytes written, which may be fewer than asked for; -EINVAL: offset or count is
 * negative, or count too large; -ESPIPE: fd cannot seek; else an error of every call (see
 * the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: pwritev(2). Since: 0.1.
 */
SPG_API ssize_t spg_pwritev(int fd, const struct iovec *iov, int count, off_t offset);

/**
 * spg_read_full - read until n bytes have come, or the end.
 * @fd:  a descriptor
 * @buf: receives up to n bytes
 * @n:   bytes
 *
 * Return: n; fewer only at the end; else an error of every call (see the top), even after
 * bytes moved: use spg_read where the count matters then.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API ssize_t spg_read_full(int fd, void *buf, size_t n);

/**
 * spg_write_all - write all of n bytes.
 * @fd:  a descriptor
 * @buf: n bytes, borrowed
 * @n:   bytes
 *
 * Return: n; -EPIPE: nobody reads any more, and no signal; -EIO: fd took nothing and gave
 * no error; else an error of every call (see the top), even after bytes moved: use
 * spg_write where the count matters then.
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API ssize_t spg_write_all(int fd, const void *buf, size_t n);

/**
 * spg_recv - receive from a socket.
 * @fd:    a socket
 * @buf:   receives up to len bytes
 * @len:   bytes
 * @flags: MSG_ flags; with MSG_DONTWAIT it does not wait
 *
 * Return: bytes received, 0 at the end of a stream; -EAGAIN: with MSG_DONTWAIT, nothing is
 * there; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: recv(2). Since: 0.1.
 */
SPG_API ssize_t spg_recv(int fd, void *buf, size_t len, int flags);

/**
 * spg_send - send to a connected socket.
 * @fd:    a socket
 * @buf:   len bytes, borrowed
 * @len:   bytes
 * @flags: MSG_ flags; with MSG_DONTWAIT it does not wait; MSG_NOSIGNAL is implied
 *
 * Return: bytes sent, for a stream maybe fewer than asked for; -EPIPE: nobody reads any
 * more, and no signal; -EAGAIN: with MSG_DONTWAIT, there is no room; else an error of every
 * call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: send(2). Since: 0.1.
 */
SPG_API ssize_t spg_send(int fd, const void *buf, size_t len, int flags);

/**
 * spg_recvfrom - receive from a socket, and learn from whom.
 * @fd:       a socket
 * @buf:      receives up to len bytes
 * @len:      bytes
 * @flags:    MSG_ flags; with MSG_DONTWAIT it does not wait
 * @addr:     receives the sender's address; may be NULL
 * @addr_len: bytes of addr, receives those of the address; may be NULL with addr
 *
 * Return: bytes received; -EAGAIN: with MSG_DONTWAIT, nothing is there; else an error of
 * every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: recvfrom(2). Since: 0.1.
 */
SPG_API ssize_t spg_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
			     socklen_t *addr_len);

/**
 * spg_sendto - send to an address.
 * @fd:       a socket
 * @buf:      len bytes, borrowed
 * @len:      bytes
 * @flags:    MSG_ flags; with MSG_DONTWAIT it does not wait; MSG_NOSIGNAL is implied
 * @addr:     where to, borrowed; NULL for connected sockets
 * @addr_len: bytes of addr
 *
 * Return: bytes sent; -EPIPE: nobody reads any more, and no signal; -EAGAIN: with
 * MSG_DONTWAIT, there is no room; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: sendto(2). Since: 0.1.
 */
SPG_API ssize_t spg_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
			   socklen_t addr_len);

/**
 * spg_recvmsg - receive a message.
 * @fd:    a socket
 * @msg:   buffers, address and control data; its lengths and flags are updated
 * @flags: MSG_ flags; with MSG_DONTWAIT it does not wait
 *
 * Return: bytes received, 0 at the end of a stream; -EAGAIN: with MSG_DONTWAIT, nothing is
 * there; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: recvmsg(2). Since: 0.1.
 */
SPG_API ssize_t spg_recvmsg(int fd, struct msghdr *msg, int flags);

/**
 * spg_sendmsg - send a message.
 * @fd:    a socket
 * @msg:   buffers, address and control data, borrowed
 * @flags: MSG_ flags; with MSG_DONTWAIT it does not wait; MSG_NOSIGNAL is implied
 *
 * Return: bytes sent; -EPIPE: nobody reads any more, and no signal; -EAGAIN: with
 * MSG_DONTWAIT, there is no room; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: sendmsg(2). Since: 0.1.
 */
SPG_API ssize_t spg_sendmsg(int fd, const struct msghdr *msg, int flags);

/**
 * spg_accept - take a connection.
 * @fd:       a listening socket
 * @addr:     receives the peer's address; may be NULL
 * @addr_len: bytes of addr, receives those of the address; may be NULL with addr
 *
 * A connection that comes together with the context's end is returned, never lost.
 *
 * Return: its descriptor; -EMFILE: no descriptor is free; else an error of every call (see
 * the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: accept(2). Since: 0.1.
 */
SPG_API int spg_accept(int fd, struct sockaddr *addr, socklen_t *addr_len);

/**
 * spg_accept4 - take a connection, with flags for its descriptor.
 * @fd:       a listening socket
 * @addr:     receives the peer's address; may be NULL
 * @addr_len: bytes of addr, receives those of the address; may be NULL with addr
 * @flags:    SOCK_CLOEXEC, SOCK_NONBLOCK
 *
 * A connection that comes together with the context's end is returned, never lost.
 *
 * Return: its descriptor; -EMFILE: no descriptor is free; -EINVAL: other flags, or fd does
 * not listen; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: accept4(2). Since: 0.1.
 */
SPG_API int spg_accept4(int fd, struct sockaddr *addr, socklen_t *addr_len, int flags);

/**
 * spg_connect - connect a socket.
 * @fd:       a socket
 * @addr:     where to, borrowed
 * @addr_len: bytes of addr
 *
 * After an error, cancellation included, the socket's state is unspecified: close it.
 *
 * Return: 0; -ECONNREFUSED: nobody listens there; else an error of every call (see the
 * top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: connect(2). Since: 0.1.
 */
SPG_API int spg_connect(int fd, const struct sockaddr *addr, socklen_t addr_len);

/**
 * spg_shutdown - end one or both directions of a connection.
 * @fd:  a socket
 * @how: SHUT_RD, SHUT_WR or SHUT_RDWR
 *
 * Return: 0; -ENOTCONN: it is not connected; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: shutdown(2). Since: 0.1.
 */
SPG_API int spg_shutdown(int fd, int how);

/**
 * spg_socket - make a socket.
 * @domain:   AF_INET, AF_INET6, AF_UNIX ...
 * @type:     SOCK_STREAM, SOCK_DGRAM ..., with SOCK_CLOEXEC and SOCK_NONBLOCK
 * @protocol: 0: the usual one
 *
 * Return: a descriptor; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: socket(2). Since: 0.1.
 */
SPG_API int spg_socket(int domain, int type, int protocol);

/**
 * spg_close - end what is in flight on a descriptor, then close it.
 * @fd: gone afterwards, whatever is returned, but for -EBADF
 *
 * Calls of spg in flight on fd, on any shard or thread, return -ECANCELED (their
 * spg_ctx_err stays 0) or their data. Only then the number is given back, so a reused one
 * is never touched. close(2) itself wakes nobody.
 *
 * Return: 0, or
 *   -EBADF                 fd is not open, or another is closing it
 *   -EIO, -ENOSPC, -EDQUOT  an earlier write to a file failed
 * Cancellation: none. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing. Source: close(2). Since: 0.1.
 */
SPG_API int spg_close(int fd);

/**
 * spg_open - open a file.
 * @path:  borrowed; relative to the working directory
 * @flags: O_RDONLY, O_CREAT ...; O_CLOEXEC is the caller's to ask for
 * @mode:  permissions of a file that is created
 *
 * Opening a FIFO without a peer waits, and can be canceled.
 *
 * Return: a descriptor; -ENOENT: no such file; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: open(2). Since: 0.1.
 */
SPG_API int spg_open(const char *path, int flags, mode_t mode);

/**
 * spg_openat - open a file, relative to a directory.
 * @dirfd: where relative paths begin; AT_FDCWD: the working directory
 * @path:  borrowed
 * @flags: O_RDONLY, O_CREAT ...; O_CLOEXEC is the caller's to ask for
 * @mode:  permissions of a file that is created
 *
 * Return: a descriptor; -ENOENT: no such file; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: openat(2). Since: 0.1.
 */
SPG_API int spg_openat(int dirfd, const char *path, int flags, mode_t mode);

/**
 * spg_splice - move bytes between a pipe and a descriptor, inside the kernel.
 * @fd_in:   from; it or fd_out is a pipe
 * @off_in:  offset in fd_in, updated; NULL: its position, or a pipe
 * @fd_out:  to
 * @off_out: offset in fd_out, updated; NULL: its position, or a pipe
 * @len:     bytes
 * @flags:   SPLICE_F_ flags
 *
 * Return: bytes moved, 0 at the end; -EINVAL: neither is a pipe; -EPIPE: nobody reads
 * fd_out, and no signal; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: splice(2). Since: 0.1.
 */
SPG_API ssize_t spg_splice(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, unsigned flags);

/**
 * spg_tee - copy bytes from one pipe to another, without taking them out.
 * @fd_in:  a pipe
 * @fd_out: another one
 * @len:    bytes
 * @flags:  SPLICE_F_ flags
 *
 * Return: bytes copied, 0 at the end; -EINVAL: not two different pipes; else an error of
 * every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: tee(2). Since: 0.1.
 */
SPG_API ssize_t spg_tee(int fd_in, int fd_out, size_t len, unsigned flags);

/**
 * spg_fsync - write a file's data and metadata to the device.
 * @fd: a descriptor
 *
 * Return: 0; -EIO: the device failed; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: fsync(2). Since: 0.1.
 */
SPG_API int spg_fsync(int fd);

/**
 * spg_fdatasync - write a file's data to the device, and what finding it needs.
 * @fd: a descriptor
 *
 * Return: 0; -EIO: the device failed; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: fdatasync(2). Since: 0.1.
 */
SPG_API int spg_fdatasync(int fd);

/**
 * spg_sync_file_range - write part of a file to the device, without its metadata.
 * @fd:     a descriptor
 * @offset: bytes from the start of the file
 * @len:    bytes; 0: to the end
 * @flags:  SYNC_FILE_RANGE_ flags
 *
 * Return: 0; -EIO: the device failed; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: sync_file_range(2). Since:
 * 0.1.
 */
SPG_API int spg_sync_file_range(int fd, off_t offset, off_t len, unsigned flags);

/**
 * spg_fallocate - give a part of a file room, or take it away.
 * @fd:     a descriptor
 * @mode:   0, or FALLOC_FL_ flags
 * @offset: bytes from the start of the file
 * @len:    bytes, more than 0
 *
 * Return: 0; -EOPNOTSUPP: the filesystem does not know mode; -ENOSPC; else an error of
 * every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: fallocate(2). Since: 0.1.
 */
SPG_API int spg_fallocate(int fd, int mode, off_t offset, off_t len);

/**
 * spg_ftruncate - set the length of a file.
 * @fd:     a descriptor open for writing
 * @length: bytes; what is added reads as zero
 *
 * Return: 0; -EINVAL: length is negative, or fd is no such file; else an error of every
 * call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: ftruncate(2). Since: 0.1.
 */
SPG_API int spg_ftruncate(int fd, off_t length);

/**
 * spg_fadvise - say how a part of a file will be used.
 * @fd:     a descriptor
 * @offset: bytes from the start of the file
 * @len:    bytes; 0: to the end
 * @advice: POSIX_FADV_ ...
 *
 * Return: 0; -EINVAL: no such advice; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: posix_fadvise(2). Since:
 * 0.1.
 */
SPG_API int spg_fadvise(int fd, off_t offset, off_t len, int advice);

/**
 * spg_madvise - say how memory will be used.
 * @addr:   start of a page
 * @len:    bytes
 * @advice: MADV_ ...
 *
 * Return: 0; -EINVAL: no such advice, or addr within a page; else an error of every call
 * (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: madvise(2). Since: 0.1.
 */
SPG_API int spg_madvise(void *addr, size_t len, int advice);

/**
 * spg_statx - a file's attributes.
 * @dirfd: where relative paths begin; AT_FDCWD: the working directory
 * @path:  borrowed; "" with AT_EMPTY_PATH: dirfd itself
 * @flags: AT_ flags
 * @mask:  STATX_ bits of what is wanted
 * @out:   filled; what is there, its stx_mask says
 *
 * Return: 0; -ENOENT: no such file; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: statx(2). Since: 0.1.
 */
SPG_API int spg_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *out);

/**
 * spg_mkdirat - make a directory.
 * @dirfd: where relative paths begin; AT_FDCWD: the working directory
 * @path:  borrowed
 * @mode:  its permissions, less umask
 *
 * Return: 0; -EEXIST: something is there; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: mkdirat(2). Since: 0.1.
 */
SPG_API int spg_mkdirat(int dirfd, const char *path, mode_t mode);

/**
 * spg_unlinkat - remove a name, or an empty directory.
 * @dirfd: where relative paths begin; AT_FDCWD: the working directory
 * @path:  borrowed
 * @flags: AT_REMOVEDIR: a directory
 *
 * Return: 0; -ENOENT: no such name; -ENOTEMPTY; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: unlinkat(2). Since: 0.1.
 */
SPG_API int spg_unlinkat(int dirfd, const char *path, int flags);

/**
 * spg_renameat2 - rename a file.
 * @from_dirfd: where relative paths begin; AT_FDCWD: the working directory
 * @from:       borrowed
 * @to_dirfd:   where relative paths begin; AT_FDCWD: the working directory
 * @to:         borrowed; replaced in one step if it is there
 * @flags:      RENAME_NOREPLACE, RENAME_EXCHANGE ...
 *
 * Return: 0; -EEXIST: with RENAME_NOREPLACE, `to` is there; else an error of every call
 * (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: renameat2(2). Since: 0.1.
 */
SPG_API int spg_renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags);

/**
 * spg_linkat - give a file another name.
 * @from_dirfd: where relative paths begin; AT_FDCWD: the working directory
 * @from:       borrowed
 * @to_dirfd:   where relative paths begin; AT_FDCWD: the working directory
 * @to:         borrowed
 * @flags:      AT_EMPTY_PATH, AT_SYMLINK_FOLLOW
 *
 * Return: 0; -EEXIST: `to` is there; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: linkat(2). Since: 0.1.
 */
SPG_API int spg_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags);

/**
 * spg_symlinkat - make a symbolic link.
 * @target: its text, borrowed
 * @dirfd:  where relative paths begin; AT_FDCWD: the working directory
 * @path:   the link, borrowed
 *
 * Return: 0; -EEXIST: something is there; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: symlinkat(2). Since: 0.1.
 */
SPG_API int spg_symlinkat(const char *target, int dirfd, const char *path);

/**
 * spg_fgetxattr - read an extended attribute.
 * @fd:    a descriptor
 * @name:  borrowed, with its namespace: "user.x"
 * @value: receives up to size bytes
 * @size:  bytes; 0: only ask for the length
 *
 * Return: bytes of the attribute; -ENODATA: there is none; -ERANGE: it needs more than
 * size; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: fgetxattr(2). Since: 0.1.
 */
SPG_API ssize_t spg_fgetxattr(int fd, const char *name, void *value, size_t size);

/**
 * spg_fsetxattr - write an extended attribute.
 * @fd:    a descriptor
 * @name:  borrowed, with its namespace: "user.x"
 * @value: size bytes, borrowed
 * @size:  bytes
 * @flags: 0, XATTR_CREATE or XATTR_REPLACE
 *
 * Return: 0; -EEXIST, -ENODATA: what flags forbid; -ENOTSUP: the filesystem has none; else
 * an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: fsetxattr(2). Since: 0.1.
 */
SPG_API int spg_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);

/**
 * spg_epoll_wait - wait for events of an epoll set.
 * @epfd:       an epoll descriptor
 * @events:     receives up to events_max
 * @events_max: more than 0
 * @timeout_ms: milliseconds; negative: no limit; 0: do not wait
 *
 * Return: events stored, 0 when timeout_ms passed; -EINVAL: events_max <= 0, or epfd is no
 * such descriptor; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: epoll_wait(2). Since: 0.1.
 */
SPG_API int spg_epoll_wait(int epfd, struct epoll_event *events, int events_max, int timeout_ms);

/**
 * spg_pipe2 - make a pipe.
 * @fds:   receives the end to read, and the end to write
 * @flags: O_CLOEXEC, O_NONBLOCK, O_DIRECT
 *
 * Return: 0; -EINVAL: other flags; -EMFILE: no descriptor is free; else an error of every
 * call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: pipe2(2). Since: 0.1.
 */
SPG_API int spg_pipe2(int fds[2], int flags);

/**
 * spg_poll - wait until a descriptor is ready.
 * @fd:         a descriptor
 * @events:     POLLIN, POLLOUT ... of poll(2)
 * @timeout_ns: negative: no limit; 0: do not wait
 *
 * Return: the revents, POLLERR and POLLHUP too; 0: timeout_ns passed; else an error of
 * every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: nothing. Source: poll(2). Since: 0.1.
 */
SPG_API int spg_poll(int fd, unsigned events, int64_t timeout_ns);

/**
 * spg_sendfile - move bytes from a file to a descriptor, inside the kernel.
 * @out: to
 * @in:  from: a file
 * @off: offset in the file, updated; NULL: its position
 * @n:   bytes
 *
 * Nothing is lost when it ends early: what was not moved is still to be read from in, and a
 * file's position is that of the bytes moved. Only datagrams and devices that cannot seek
 * lose what was read and could not be delivered. Nobody else reads in meanwhile.
 *
 * Return: bytes moved, fewer than n only at the end of the file, or when an error came
 * after some had moved; -EPIPE: nobody reads out, and no signal; -EINVAL: *off is negative;
 * -EMFILE: no descriptor is free for a pipe; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: a buffer of 64 KiB or a pipe, until it
 * returns. Source: sendfile(2). Since: 0.1.
 */
SPG_API ssize_t spg_sendfile(int out, int in, off_t *off, size_t n);

/**
 * spg_copy - move bytes from one descriptor to another, whatever they are.
 * @out: to
 * @in:  from
 * @n:   bytes
 *
 * Nothing is lost when it ends early: what was not moved is still to be read from in, and a
 * file's position is that of the bytes moved. Only datagrams and devices that cannot seek
 * lose what was read and could not be delivered. Nobody else reads in meanwhile.
 *
 * Return: bytes moved, fewer than n only at the end of in, or when an error came after some
 * had moved; -EPIPE: nobody reads out, and no signal; -EMFILE: no descriptor is free for a
 * pipe; else an error of every call (see the top).
 * Cancellation: yes. Threads: any. Allocates: a buffer of 64 KiB or a pipe, until it
 * returns. Source: splice(2), copy_file_range(2). Since: 0.1.
 */
SPG_API ssize_t spg_copy(int out, int in, size_t n);

/**
 * spg_uring - run any io_uring operation that completes once.
 * @prep:      fills the SQE; called before spg_uring parks; must not block
 * @arg:       passed to prep
 * @cqe_flags: receives the CQE's flags; may be NULL
 *
 * user_data is ours. Memory the SQE names stays the kernel's until the call returns. On a
 * foreign thread a coroutine of the running runtime does it.
 *
 * Where the kernel lacks the operation, one that spg knows is made as a system call. If it has
 * no descriptor to wait for (waitid), it blocks a thread of the blocking pool: a cancel or a
 * deadline then ends it while it is queued, and once it runs not before it returns by itself.
 *
 * Return: the CQE's res, a negative errno of the operation included; or
 *   -EINVAL     prep is NULL, or asked for links, drain, CQE_SKIP, provided buffers, several
 *               completions (multishot, zero-copy sends), MSG_RING or POLL_REMOVE
 *   -EOPNOTSUPP the kernel lacks the operation, and spg knows no other way
 *   -ESRCH      a foreign thread, and no runtime is running
 *   -ECANCELED  the context was canceled, or spg_close was called on the SQE's descriptor
 *   -ETIMEDOUT  the context's deadline passed
 *   -EAGAIN     a foreign thread, and coroutines_max live already
 *   -ENOMEM     no memory, on a foreign thread
 * Cancellation: yes, but for the pool, see above; the CQE decides. Threads: any; a coroutine
 * parks and may resume on another thread. Allocates: nothing; on a foreign thread a coroutine.
 * Source: io_uring_enter(2). Since: 0.1.
 */
SPG_API int spg_uring(void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg, uint32_t *cqe_flags);

SPG__EXTERN_C_END

#endif
