/*
 * Processes: posix_spawn on the blocking pool, a pidfd to wait on.
 *
 * PR1  A child keeps its number until it is reaped, and we reap it only in `collect`,
 *      under the lock. So pidfd_open right after the spawn finds it, alive or dead, and
 *      under the lock, while `result` is -EAGAIN, its number and its group's are its own.
 *      (The zombie's number also keeps the group's from being given to another.)
 * PR2  `result` goes once from -EAGAIN to 0, with the status, or to -ECHILD: the kernel
 *      does not have it any more. The pidfd says when to look: it is readable from the
 *      end on, for any number of waiters, and stays so.
 * PR3  The lock is held over system calls that never wait.
 * PR4  Every descriptor we make is close-on-exec from the start. What the child gets is
 *      moved above all of the child's own numbers first, so no dup2 in the child overwrites
 *      the source of a later one; everything else is closed there.
 *
 * posix_spawn stops its thread until the exec: 60 us here with everything in the cache, and
 * a disk's time without; a job on the pool costs its shard about 10 us.
 *
 * Rejected: IORING_OP_WAITID. It saves one system call of the hundreds of microseconds a
 * process costs; but it reaps where nobody holds the lock, so two waiters would have to tell
 * each other, a group could not be signaled safely, and kernels without it, foreign threads
 * and spg_process_try_wait need the pidfd all the same.
 */
#include "coro/alloc.h"
#include "coro/clock.h"
#include "coro/lock.h"
#include "io/call.h"
#include "sched/offload.h"
#include "sched/thread.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <spg/ctx.h>
#include <spg/io.h>
#include <spg/process.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Room for the first output. */
#define OUTPUT_BYTES_MIN ((size_t)4096)

struct spg_process {
	struct spg__lock lock;
	pid_t pid;
	/* -1: it was gone before we could open one. */
	int pidfd;
	bool group;
	/* Under the lock: PR2. */
	int result, status;
	/* Our ends of pipes, or -1. */
	int fds[3];
};

/* A descriptor for the child; -1: its number stays as it is. Ours are closed after the spawn. */
struct source {
	int fd;
	bool ours;
};

struct launch {
	const spg_process_opts *opts;
	struct spg_process *process;
	/* What the child's descriptors 0 to count - 1 are made of. */
	struct source *sources;
	int count;
	int err;
};

static int null_source(struct source *source)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	*source = (struct source){ .fd = fd, .ours = true };
	return fd < 0 ? -errno : 0;
}

/* which: 0, the child reads; else it writes. */
static int pipe_source(struct launch *l, int which)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	l->sources[which] = (struct source){ .fd = ends[which != 0], .ours = true };
	l->process->fds[which] = ends[which == 0];
	return 0;
}

/* A file, not a pipe: nobody has to write while somebody else reads. */
static int input_source(struct launch *l)
{
	const char *data = l->opts->input;
	size_t done = 0;
	int fd = memfd_create("spg-input", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	l->sources[0] = (struct source){ .fd = fd, .ours = true };
	while (done < l->opts->input_bytes) {
		/* The offset it shares with the child stays 0. */
		ssize_t n = pwrite(fd, data + done, l->opts->input_bytes - done, (off_t)done);

		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

static int stdio_source(struct launch *l, int which, int how)
{
	struct source *source = &l->sources[which];

	switch (how) {
	case SPG_STDIO_INHERIT:
		return 0;
	case SPG_STDIO_NULL:
		return null_source(source);
	case SPG_STDIO_PIPE:
		return pipe_source(l, which);
	case SPG_STDIO_STDOUT:
		source->fd = l->sources[STDOUT_FILENO].fd >= 0 ? l->sources[STDOUT_FILENO].fd : STDOUT_FILENO;
		return 0;
	default:
		source->fd = how;
		return 0;
	}
}

/* PR4. */
static int move_up(struct source *source, int base)
{
	int fd;

	if (source->fd < 0 || source->fd >= base)
		return 0;
	fd = fcntl(source->fd, F_DUPFD_CLOEXEC, base);
	if (fd < 0)
		return -errno;
	if (source->ours)
		close(source->fd);
	*source = (struct source){ .fd = fd, .ours = true };
	return 0;
}

static int make_sources(struct launch *l)
{
	const spg_process_opts *o = l->opts;
	const int stdio[3] = { o->stdin_fd, o->stdout_fd, o->stderr_fd };
	int err = 0;

	for (int i = 0; i < l->count; i++)
		l->sources[i] = (struct source){ .fd = i < 3 ? -1 : o->fds[i - 3] };
	for (int i = 0; i < l->count && err == 0; i++) {
		if (i == 0 && o->input != NULL)
			err = input_source(l);
		else if (i < 3)
			err = stdio_source(l, i, stdio[i]);
		if (err == 0)
			err = move_up(&l->sources[i], l->count);
	}
	return err;
}

static void close_sources(struct launch *l)
{
	for (int i = 0; i < l->count; i++) {
		if (l->sources[i].ours && l->sources[i].fd >= 0)
			close(l->sources[i].fd);
	}
}

static int fill_actions(posix_spawn_file_actions_t *actions, const struct launch *l)
{
	int err = 0;

	for (int i = 0; i < l->count && err == 0; i++) {
		if (l->sources[i].fd >= 0)
			err = posix_spawn_file_actions_adddup2(actions, l->sources[i].fd, i);
	}
	if (err == 0 && l->opts->cwd != NULL)
		err = posix_spawn_file_actions_addchdir_np(actions, l->opts->cwd);
	if (err == 0)
		err = posix_spawn_file_actions_addclosefrom_np(actions, l->count);
	return -err;
}

static int fill_attr(posix_spawnattr_t *attr, bool group)
{
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigset_t none, all;
	int err;

	sigemptyset(&none);
	sigfillset(&all);
	if (group)
		flags |= POSIX_SPAWN_SETPGROUP; /* of its own: 0, as it is initialised */
	err = posix_spawnattr_setflags(attr, flags);
	if (err == 0)
		err = posix_spawnattr_setsigmask(attr, &none);
	if (err == 0)
		err = posix_spawnattr_setsigdefault(attr, &all);
	return -err;
}

static int spawn(struct launch *l, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr)
{
	const spg_process_opts *o = l->opts;
	const char *path = o->path != NULL ? o->path : o->argv[0];
	char *const alone[] = { (char *)(uintptr_t)path, NULL };

	return -posix_spawnp(&l->process->pid, path, actions, attr, o->argv != NULL ? o->argv : alone,
			     o->envp != NULL ? o->envp : environ);
}

/* PR1. Out of descriptors: a process we could not wait for shall not be. */
static int open_pidfd(struct spg_process *p)
{
	int fd = (int)syscall(SYS_pidfd_open, p->pid, 0), err = fd < 0 ? -errno : 0;

	if (fd >= 0) {
		p->pidfd = fd;
		return 0;
	}
	if (err == -ESRCH) {
		p->result = -ECHILD; /* SIGCHLD is ignored, and it was quick */
		return 0;
	}
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return err;
}

static int spawn_with(struct launch *l, posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr)
{
	int err = fill_actions(actions, l);

	if (err == 0)
		err = fill_attr(attr, l->process->group);
	if (err == 0)
		err = spawn(l, actions, attr);
	return err == 0 ? open_pidfd(l->process) : err;
}

/* On a thread of the pool, or on a foreign one. */
static void launch_run(void *arg)
{
	struct launch *l = arg;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;

	l->err = make_sources(l);
	if (l->err == 0) {
		posix_spawn_file_actions_init(&actions); /* both cannot fail in glibc */
		posix_spawnattr_init(&attr);
		l->err = spawn_with(l, &actions, &attr);
		posix_spawnattr_destroy(&attr);
		posix_spawn_file_actions_destroy(&actions);
	}
	close_sources(l);
}

static bool stdio_good(int how, int lowest)
{
	return how >= lowest; /* a descriptor, or one of SPG_STDIO_* */
}

static bool opts_good(const spg_process_opts *o)
{
	if (o == NULL || (o->path == NULL && (o->argv == NULL || o->argv[0] == NULL)))
		return false;
	if (!stdio_good(o->stdin_fd, SPG_STDIO_PIPE) || !stdio_good(o->stdout_fd, SPG_STDIO_PIPE) ||
	    !stdio_good(o->stderr_fd, SPG_STDIO_STDOUT))
		return false;
	if (o->input != NULL ? o->stdin_fd != SPG_STDIO_INHERIT : o->input_bytes > 0)
		return false;
	if (o->fds_count > INT16_MAX || (o->fds_count > 0 && o->fds == NULL))
		return false;
	for (size_t i = 0; i < o->fds_count; i++) {
		if (o->fds[i] < 0)
			return false;
	}
	return true;
}

static void close_fds(struct spg_process *p)
{
	for (int i = 0; i < 3; i++) {
		if (p->fds[i] >= 0)
			spg_close(p->fds[i]);
	}
	if (p->pidfd >= 0)
		spg_close(p->pidfd);
}

int spg_process_start(const spg_process_opts *o, spg_process **out)
{
	struct launch l = { .opts = o };
	struct spg_process *p;
	int err;

	if (out == NULL || !opts_good(o))
		return -EINVAL;
	l.count = 3 + (int)o->fds_count;
	l.sources = spg__calloc((size_t)l.count, sizeof(*l.sources));
	l.process = p = spg__calloc(1, sizeof(*p));
	err = l.sources == NULL || p == NULL ? -ENOMEM : 0;
	if (err == 0) {
		p->pidfd = p->fds[0] = p->fds[1] = p->fds[2] = -1;
		p->group = o->new_group;
		p->result = -EAGAIN;
		err = spg__offload(launch_run, &l);
		if (err == 0)
			err = l.err;
		if (err < 0)
			close_fds(p);
	}
	spg__free(l.sources);
	if (err < 0)
		spg__free(p);
	else
		*out = p;
	return err;
}

/* The status as waitpid(2) packs it. */
static int status_of(const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		return (info->si_status & 0xff) << 8;
	return info->si_status | (info->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

/* PR2: the result now. */
static int collect(struct spg_process *p, int *status)
{
	siginfo_t info = { 0 };
	int result;

	spg__lock(&p->lock);
	if (p->result == -EAGAIN) {
		if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) < 0) {
			p->result = -errno;
		} else if (info.si_pid != 0) {
			p->status = status_of(&info);
			p->result = 0;
		}
	}
	result = p->result;
	if (result == 0 && status != NULL)
		*status = p->status;
	spg__unlock(&p->lock);
	return result;
}

int spg_process_try_wait(spg_process *p, int *status)
{
	return p == NULL ? -EINVAL : collect(p, status);
}

int spg_process_wait(spg_process *p, int *status)
{
	int res;

	if (p == NULL)
		return -EINVAL;
	if (p->pidfd < 0) {
		res = spg__io_entry();
		return res < 0 ? res : collect(p, status);
	}
	for (unsigned tries = 0;; tries++) {
		res = spg__io_ready(p->pidfd, POLLIN);
		if (res < 0)
			return res;
		res = collect(p, status);
		if (res != -EAGAIN)
			return res;
		/* Ended, and not to be had yet: a debugger of another process is attached to it. */
		res = spg__io_pause(tries);
		if (res < 0)
			return res;
	}
}

static int send_signal(struct spg_process *p, int sig)
{
	return syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

int spg_process_kill(spg_process *p, int sig)
{
	int err;

	if (p == NULL)
		return -EINVAL;
	spg__lock(&p->lock);
	err = p->result == -EAGAIN ? send_signal(p, sig) : -ESRCH;
	spg__unlock(&p->lock);
	return err;
}

int spg_process_kill_group(spg_process *p, int sig)
{
	int err;

	if (p == NULL)
		return -EINVAL;
	if (!p->group)
		return spg_process_kill(p, sig);
	spg__lock(&p->lock);
	/* PR1. The look is for children that the kernel reaps by itself: SIGCHLD ignored. */
	err = p->result == -EAGAIN ? send_signal(p, 0) : -ESRCH;
	if (err == 0)
		err = kill(-p->pid, sig) < 0 ? -errno : 0;
	spg__unlock(&p->lock);
	return err;
}

/* Without a way to park: no memory. */
static void wait_blocking(struct spg_process *p)
{
	siginfo_t info;

	while (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		continue;
	(void)collect(p, NULL);
}

/* Kills and reaps, whatever the context says. Nobody else has the process. */
static void end(struct spg_process *p)
{
	int err;

	SPG_SHIELD_SCOPE();
	/* One that has ended and was not waited for still names its group (PR1). */
	if (p->result != -EAGAIN)
		return;
	(void)spg_process_kill_group(p, SIGKILL);
	(void)spg_process_kill(p, SIGKILL); /* it may have joined another group */
	err = spg_process_wait(p, NULL);
	if (err < 0 && err != -ECHILD)
		wait_blocking(p);
}

void spg_process_free(spg_process *p)
{
	if (p == NULL)
		return;
	end(p);
	close_fds(p);
	spg__free(p);
}

pid_t spg_process_pid(const spg_process *p)
{
	return p != NULL ? p->pid : -EINVAL;
}

int spg_process_take_fd(spg_process *p, int which)
{
	int fd;

	if (p == NULL || which < 0 || which > 2)
		return -EINVAL;
	fd = p->fds[which];
	p->fds[which] = -1;
	return fd >= 0 ? fd : -EBADF;
}

struct output {
	char *data;
	size_t len, cap, max;
};

/* Room for more, and a byte behind it. */
static int output_grow(struct output *o)
{
	size_t cap = o->cap == 0 ? OUTPUT_BYTES_MIN : o->cap < SIZE_MAX / 4 ? o->cap * 2 : SIZE_MAX / 2;
	char *data;

	if (cap > o->max)
		cap = o->max;
	data = spg__alloc(cap + 1);
	if (data == NULL)
		return -ENOMEM;
	if (o->len > 0)
		memcpy(data, o->data, o->len);
	spg__free(o->data);
	o->data = data;
	o->cap = cap;
	return 0;
}

/* 0: at its end. */
static int output_read(struct output *o, int fd)
{
	ssize_t n;
	char more;

	do {
		int err = o->len == o->cap && (o->len < o->max || o->data == NULL) ? output_grow(o) : 0;

		if (err < 0)
			return err;
		if (o->len == o->cap) {
			n = spg_read(fd, &more, 1);
			return n > 0 ? -EMSGSIZE : (int)n;
		}
		n = spg_read(fd, o->data + o->len, o->cap - o->len);
		if (n > 0)
			o->len += (size_t)n;
	} while (n > 0);
	return (int)n;
}

static int output_of(const spg_process_opts *o, struct output *output, int *status)
{
	spg_process_opts opts = *o;
	spg_process *p;
	int err;

	opts.stdout_fd = SPG_STDIO_PIPE;
	SPG_TIMEOUT_SCOPE(o->timeout_ns < 0 ? SPG__NEVER : o->timeout_ns);
	err = spg_process_start(&opts, &p);
	if (err < 0)
		return err;
	err = output_read(output, p->fds[STDOUT_FILENO]);
	if (err == 0)
		err = spg_process_wait(p, NULL);
	end(p);
	*status = p->status;
	spg_process_free(p);
	return err;
}

int spg_process_output(const spg_process_opts *o, void **out, size_t *n, int *status)
{
	struct output output = { 0 };
	int ended = 0, err;

	if (o == NULL || out == NULL || n == NULL || o->stdin_fd == SPG_STDIO_PIPE ||
	    o->stderr_fd == SPG_STDIO_PIPE)
		return -EINVAL;
	output.max = o->output_max > 0 && o->output_max < SIZE_MAX / 2 ? o->output_max : SIZE_MAX / 2;
	err = output_of(o, &output, &ended);
	if (output.data != NULL)
		output.data[output.len] = '\0';
	*out = output.data;
	*n = output.len;
	if (status != NULL)
		*status = ended;
	return err;
}
