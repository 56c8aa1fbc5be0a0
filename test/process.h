/*
 * What the tests of processes share: shells, leashes, and a function on a thread.
 */
#ifndef SPG__TEST_PROCESS_H
#define SPG__TEST_PROCESS_H

#include "test/t.h"

#include "sched/thread.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

/* A shell and its script. */
struct shell {
	char *argv[4];
	spg_process_opts opts;
};

static inline spg_process_opts *shell(struct shell *s, const char *script)
{
	static char name[] = "sh", flag[] = "-c";

	s->argv[0] = name;
	s->argv[1] = flag;
	s->argv[2] = (char *)(uintptr_t)script;
	s->argv[3] = NULL;
	s->opts = (spg_process_opts)SPG_PROCESS_OPTS_INIT;
	s->opts.path = "/bin/sh";
	s->opts.argv = s->argv;
	return &s->opts;
}

static inline int status_of(const char *script)
{
	struct shell s;
	spg_process *p;
	int status = -1;

	T_EQ(spg_process_start(shell(&s, script), &p), 0);
	T_EQ(spg_process_wait(p, &status), 0);
	spg_process_free(p);
	return status;
}

/* What the script writes must be `expected`. */
static inline void output_is(const spg_process_opts *opts, const char *expected)
{
	void *out;
	size_t n;
	int status;

	T_EQ(spg_process_output(opts, &out, &n, &status), 0);
	T_EQ(status, 0);
	T_STR(out, expected);
	T_EQ(n, strlen(expected));
	free(out);
}

/* No child lives, and none waits to be reaped. */
static inline void no_children(void)
{
	T_EQ(waitpid(-1, NULL, WNOHANG), -1);
	T_EQ(spg_errno(), ECHILD);
}

/* A pipe whose write end only children hold: it is at its end when they are all gone. */
struct leash {
	int fds[2];
};

static inline void leash_make(struct leash *leash)
{
	T_EQ(pipe2(leash->fds, O_CLOEXEC), 0);
}

static inline void leash_on(struct leash *leash, spg_process_opts *opts)
{
	opts->fds = &leash->fds[1];
	opts->fds_count = 1;
}

static inline void leash_wait(struct leash *leash)
{
	char byte;

	if (leash->fds[1] >= 0)
		close(leash->fds[1]);
	T_EQ(spg_read(leash->fds[0], &byte, 1), 0);
	spg_close(leash->fds[0]);
}

/* What a thread keeps for its waits is there from the first one on. */
static inline void wait_once(void)
{
	int fds[2];

	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	do /* late for its own deadline, it does not wait */
		T_EQ(spg_poll(fds[0], POLLIN, SPG_MS), 0);
	while (!spg_in_coroutine() && atomic_load(&spg__thread_self()->wake_fd) < 0);
	close(fds[0]);
	close(fds[1]);
}

/* Runs *(start routine *)arg on a thread of its own. */
static inline int thread_main(void *arg)
{
	pthread_t thread;
	void *(*fn)(void *) = *(void *(**)(void *))arg;

	T_EQ(pthread_create(&thread, NULL, fn, NULL), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	return 0;
}

#endif
