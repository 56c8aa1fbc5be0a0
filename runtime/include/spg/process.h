/*
 * spg/process.h - other programs: start, feed, read, signal, wait.
 *
 *	static char *argv[] = { "sort", "-u", NULL };
 *	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
 *	void *out;
 *	size_t n;
 *	int status, err;
 *
 *	opts.argv = argv;
 *	opts.input = text;
 *	opts.input_bytes = strlen(text);
 *	opts.timeout_ns = 5 * SPG_SEC;
 *	err = spg_process_output(&opts, &out, &n, &status);
 *	if (err == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
 *		fwrite(out, 1, n, stdout);
 *	free(out);
 *
 * A child begins with no signal blocked, every signal at its default, and no descriptor but
 * those asked for. A process that has ended is a zombie until it is waited for or freed.
 *
 * Its status is kept for us only: a program that waits for any child (waitpid(-1, ...)), or
 * ignores SIGCHLD, takes it away; then spg_process_wait returns -ECHILD after the end.
 */
#ifndef SPG_PROCESS_H
#define SPG_PROCESS_H

#include <spg/base.h>

typedef struct spg_process spg_process;

/* What a child's standard descriptor is, beside a descriptor of ours (>= 0, borrowed). */
enum {
	SPG_STDIO_INHERIT = -1, /* the same as ours */
	SPG_STDIO_NULL = -2,	/* /dev/null */
	SPG_STDIO_PIPE = -3,	/* a pipe, whose other end spg_process_take_fd gives */
	SPG_STDIO_STDOUT = -4,	/* stderr_fd only: where its standard output goes */
};

/* SPG_PROCESS_OPTS_INIT: the defaults, in brackets here. Pointers are borrowed for the call. */
typedef struct spg_process_opts {
	const char *path;   /* [NULL] the program, looked for in PATH unless it has a slash; NULL: argv[0] */
	char *const *argv;  /* [NULL] NULL-terminated; NULL: path alone */
	char *const *envp;  /* [NULL] NULL-terminated "NAME=value"; NULL: our environment */
	const char *cwd;    /* [NULL] where it starts; a path with a slash is relative to it; NULL: here */
	int stdin_fd;	    /* [SPG_STDIO_INHERIT] */
	int stdout_fd;	    /* [SPG_STDIO_INHERIT] */
	int stderr_fd;	    /* [SPG_STDIO_INHERIT] */
	const void *input;  /* [NULL] bytes that its standard input holds (a file in memory), in place of stdin_fd */
	size_t input_bytes; /* [0] */
	const int *fds;	    /* [NULL] more descriptors for the child: fds[i] is its descriptor 3 + i */
	size_t fds_count;   /* [0] */
	bool new_group;	    /* [true] it leads a process group of its own: a terminal's ^C passes it by */
	size_t output_max;  /* [16 MiB] bytes that spg_process_output takes; 0: no limit */
	int64_t timeout_ns; /* [-1] of spg_process_output; negative: no limit */
} spg_process_opts;
#define SPG_PROCESS_OPTS_INIT                                                                      \
	{                                                                                          \
		SPG__PROCESS_NULL, SPG__PROCESS_NULL, SPG__PROCESS_NULL, SPG__PROCESS_NULL,        \
			SPG_STDIO_INHERIT, SPG_STDIO_INHERIT, SPG_STDIO_INHERIT,                   \
			SPG__PROCESS_NULL, 0, SPG__PROCESS_NULL, 0, true, (size_t)16 << 20, -1     \
	}

#ifdef __cplusplus
#define SPG__PROCESS_NULL nullptr
#else
#define SPG__PROCESS_NULL NULL
#endif

SPG__EXTERN_C_BEGIN

/**
 * spg_process_start - run a program in a process of its own.
 * @o:   borrowed
 * @out: receives the process, to be freed with spg_process_free
 *
 * Returns when the program has been loaded (exec), or could not be. That happens on the
 * blocking pool, and stalls no shard.
 *
 * Return: 0, or, and then there is no process,
 *   -EINVAL     o, out or the program's name is NULL, or a field has a bad value
 *   -ENOENT     no such program, or no such cwd
 *   -EACCES     it may not be executed
 *   -ENOEXEC    it is no program
 *   -E2BIG      arguments and environment are too long
 *   -EBADF      a descriptor of o is not open
 *   -EMFILE     out of descriptors
 *   -EAGAIN     too many processes
 *   -ENOMEM     no memory
 *   -ECANCELED, -ETIMEDOUT  the context ended before it was begun
 *   other       the errno of posix_spawn(3), pipe2(2) or memfd_create(2)
 * Cancellation: until it is begun. Threads: any, with or without a runtime; a coroutine
 * parks and may resume on another thread. Allocates: the process, until it is freed.
 * Source: posix_spawn(3), Go's os/exec. Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_process_start(const spg_process_opts *o, spg_process **out);

/**
 * spg_process_wait - wait for the end.
 * @p:      borrowed
 * @status: receives the status for WIFEXITED and its relatives; may be NULL
 *
 * Several may wait at once, and wait again: all get the status. The process is reaped by
 * the first. When the call fails it goes on, and is still the caller's.
 *
 * Return: 0, or
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -ECHILD     it has ended; the program ignores SIGCHLD, or has waited for it elsewhere
 *   -EINVAL     p is NULL
 *   -ENOMEM     no memory for a thread's first call
 * Cancellation: yes. Threads: any, with or without a runtime; a coroutine parks and may
 * resume on another thread. Allocates: nothing. Source: waitpid(2), pidfd_open(2). Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_process_wait(spg_process *p, int *status);

/**
 * spg_process_try_wait - the status, if it has ended.
 * @p:      borrowed
 * @status: as spg_process_wait
 *
 * Return: 0; -EAGAIN: it goes on; -ECHILD, -EINVAL: as spg_process_wait.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: waitpid(2), WNOHANG. Since: 0.1.
 */
SPG_API int spg_process_try_wait(spg_process *p, int *status);

/**
 * spg_process_kill - send it a signal.
 * @p:   borrowed
 * @sig: a signal; 0: only look
 *
 * Never reaches another process that got its number.
 *
 * Return: 0, or
 *   -ESRCH   it has ended and was waited for
 *   -EPERM   it has become another user's
 *   -EINVAL  p is NULL, or no such signal
 * Cancellation: none. Threads: any. Allocates: nothing. Source: pidfd_send_signal(2). Since: 0.1.
 */
SPG_API int spg_process_kill(spg_process *p, int sig);

/**
 * spg_process_kill_group - send a signal to its process group: itself and its descendants.
 * @p:   borrowed; started with new_group, else the signal goes to the process alone
 * @sig: a signal
 *
 * Descendants that have moved to groups of their own are not reached. To end what a process
 * may have left behind, call this before the wait.
 *
 * Return: as spg_process_kill.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: kill(2). Since: 0.1.
 */
SPG_API int spg_process_kill_group(spg_process *p, int sig);

/**
 * spg_process_pid - its number.
 * @p: borrowed
 *
 * After it has been waited for, the number may be another's.
 *
 * Return: the number; -EINVAL: p is NULL.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: getpid(2). Since: 0.1.
 */
SPG_API pid_t spg_process_pid(const spg_process *p);

/**
 * spg_process_take_fd - our end of a pipe (SPG_STDIO_PIPE).
 * @p:     borrowed
 * @which: 0: write what it reads; 1, 2: read what it writes to standard output, error
 *
 * The descriptor is the caller's from then on: to be closed with spg_close. Closing that of
 * standard input is how the process sees its end. Those never taken are closed by the free.
 *
 * Return: a descriptor, or
 *   -EBADF   it is no pipe, or was taken
 *   -EINVAL  p is NULL, or which is not 0 to 2
 * Cancellation: none. Threads: any, one at a time. Allocates: nothing. Source: popen(3). Since: 0.1.
 */
SPG_API int spg_process_take_fd(spg_process *p, int which);

/**
 * spg_process_output - run a program to its end and take what it writes.
 * @o:      borrowed; its standard output is taken whatever stdout_fd says, and standard
 *          error with it if stderr_fd is SPG_STDIO_STDOUT; no other SPG_STDIO_PIPE
 * @out:    receives the output, a NUL behind it, to be freed with free(), also after an
 *          error: then what came until then, or NULL
 * @n:      receives its length in bytes
 * @status: receives the status for WIFEXITED and its relatives, or 0 if it never ran; may be NULL
 *
 * Ends when the output has ended, that is, all have closed it who inherited it, and the
 * process, too. When it fails, process and group are killed (SIGKILL) and the process is
 * reaped before the call returns.
 *
 * Return: 0 (whatever the status is), or
 *   -EMSGSIZE   more than output_max bytes; the first output_max are in *out
 *   -ETIMEDOUT  timeout_ns or the context's deadline passed
 *   -ECANCELED  the context was canceled
 *   -ECHILD     the status is unknown: as spg_process_wait; the output is whole
 *   -EINVAL     out or n is NULL, or stdin_fd or stderr_fd is SPG_STDIO_PIPE
 *   other       as spg_process_start and spg_read
 * Cancellation: yes, by killing. Threads: any, with or without a runtime; a coroutine parks
 * and may resume on another thread. Allocates: the output. Source: Go's os/exec. Since: 0.1.
 */
SPG_API SPG_MUST_USE int spg_process_output(const spg_process_opts *o, void **out, size_t *n, int *status);

/**
 * spg_process_free - forget a process; one that was not waited for is killed.
 * @p: no call on it is under way; NULL: nothing happens
 *
 * Unless its end was waited for, the process and its group are killed (SIGKILL), and it is
 * reaped before the call returns.
 *
 * Return: nothing.
 * Cancellation: none. Threads: any; a coroutine may park and resume on another thread.
 * Allocates: nothing. Source: -. Since: 0.1.
 */
SPG_API void spg_process_free(spg_process *p);

SPG__EXTERN_C_END

#endif
