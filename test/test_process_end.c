#include "test/process.h"

#include <sys/ptrace.h>

/* Goal: a wait that fails leaves the process to the caller; signals reach it until it is reaped. */
static int impatient(void *arg)
{
	struct shell s;
	struct leash leash;
	spg_process *p;
	int status = -1;

	(void)arg;
	{
		SPG_TIMEOUT_SCOPE(0);
		T_ERR(spg_process_start(shell(&s, "true"), &p), -ETIMEDOUT);
	}
	leash_make(&leash);
	leash_on(&leash, shell(&s, "exec sleep 1000"));
	T_EQ(spg_process_start(&s.opts, &p), 0);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(spg_process_wait(p, &status), -ETIMEDOUT);
		T_ERR(spg_process_wait(p, &status), -ETIMEDOUT); /* on entry */
	}
	T_ERR(spg_process_try_wait(p, &status), -EAGAIN);
	T_EQ(status, -1);
	T_EQ(spg_process_kill(p, 0), 0);
	T_ERR(spg_process_kill(p, 1000), -EINVAL);
	T_EQ(spg_process_kill(p, SIGTERM), 0);
	T_EQ(spg_process_wait(p, &status), 0);
	T_OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	status = -1;
	T_EQ(spg_process_wait(p, &status), 0);
	T_OK(WIFSIGNALED(status));
	T_EQ(spg_process_try_wait(p, NULL), 0);
	T_ERR(spg_process_kill(p, SIGTERM), -ESRCH);
	T_ERR(spg_process_kill_group(p, SIGTERM), -ESRCH);
	T_OK(spg_process_pid(p) > 0);
	{
		SPG_TIMEOUT_SCOPE(0);
		T_ERR(spg_process_wait(p, &status), -ETIMEDOUT);
	}
	spg_process_free(p);
	leash_wait(&leash);
	no_children();
	return 0;
}

static void *impatient_on_thread(void *arg)
{
	impatient(arg);
	return NULL;
}

START_TEST(a_wait_that_fails_leaves_the_process_to_the_caller)
{
	void *(*fn)(void *) = impatient_on_thread;

	impatient(NULL);
	t_run((unsigned)_i, impatient, NULL);
	t_run((unsigned)_i, thread_main, &fn);
}
END_TEST

/* Goal: one that a debugger holds on to after its end is waited for until it lets go. */
static int traced_main(void *arg)
{
	struct shell s;
	spg_process *p;
	int ready[2], go[2], in, status;
	char byte = 0;
	pid_t tracer;

	T_EQ(pipe2(ready, O_CLOEXEC), 0);
	T_EQ(pipe2(go, O_CLOEXEC), 0);
	shell(&s, "read x; exit 4")->stdin_fd = SPG_STDIO_PIPE;
	T_EQ(spg_process_start(&s.opts, &p), 0);
	in = spg_process_take_fd(p, 0);
	tracer = fork();
	if (tracer == 0) {
		byte = ptrace(PTRACE_SEIZE, spg_process_pid(p), NULL, NULL) == 0 ? 'y' : 'n';
		_exit(write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1);
	}
	T_EQ(spg_read(ready[0], &byte, 1), 1);
	*(bool *)arg = byte == 'y';
	T_EQ(spg_close(in), 0);
	if (byte == 'y') {
		SPG_TIMEOUT_SCOPE(50 * SPG_MS);
		T_ERR(spg_process_wait(p, &status), -ETIMEDOUT);
	}
	T_EQ(write(go[1], "g", 1), 1);
	T_EQ(spg_process_wait(p, &status), 0);
	T_EQ(status, 4 << 8);
	T_EQ(waitpid(tracer, &status, 0), tracer);
	T_EQ(status, 0);
	spg_process_free(p);
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
	return 0;
}

START_TEST(one_that_a_debugger_holds_is_waited_for)
{
	bool traced = false;

	t_run((unsigned)_i, traced_main, &traced);
	traced_main(&traced);
	if (!traced)
		T_SKIP("ptrace is not allowed");
}
END_TEST

/* Goal: all who wait get the status. */
static spg_process *shared;

static int wait_shared(void *arg)
{
	int status = -1;

	(void)arg;
	T_EQ(spg_process_wait(shared, &status), 0);
	T_OK(WIFEXITED(status));
	T_EQ(WEXITSTATUS(status), 5);
	return 0;
}

static void *wait_shared_on_thread(void *arg)
{
	wait_shared(arg);
	return NULL;
}

static int crowd_main(void *arg)
{
	struct shell s;
	spg_group *group = spg_group_new(0);
	pthread_t threads[3];
	int in;

	(void)arg;
	shell(&s, "read x; exit 5")->stdin_fd = SPG_STDIO_PIPE;
	T_EQ(spg_process_start(&s.opts, &shared), 0);
	in = spg_process_take_fd(shared, 0);
	for (int i = 0; i < 20; i++)
		T_EQ(spg_group_go(group, wait_shared, NULL), 0);
	for (int i = 0; i < 3; i++)
		T_EQ(pthread_create(&threads[i], NULL, wait_shared_on_thread, NULL), 0);
	spg_yield();
	T_EQ(spg_close(in), 0);
	T_EQ(spg_group_wait(group), 0);
	for (int i = 0; i < 3; i++)
		T_EQ(pthread_join(threads[i], NULL), 0);
	spg_group_free(group);
	spg_process_free(shared);
	no_children();
	return 0;
}

START_TEST(all_who_wait_get_the_status)
{
	t_run((unsigned)_i, crowd_main, NULL);
}
END_TEST

/* Goal: the deadline of an output kills all of the group and reaps; what came is there. */
static void output_times_out(int64_t own_ns, int64_t scope_ns)
{
	struct shell s;
	struct leash leash;
	void *out;
	size_t n;
	int status = 0;

	SPG_TIMEOUT_SCOPE(scope_ns);
	leash_make(&leash);
	/* Neither the shell nor what it left in the background cares for SIGTERM. */
	leash_on(&leash, shell(&s, "trap '' TERM; sleep 1000 & sleep 1000 & echo begun; wait"));
	s.opts.timeout_ns = own_ns;
	T_ERR(spg_process_output(&s.opts, &out, &n, &status), -ETIMEDOUT);
	T_OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	T_OK(n == 0 || strcmp(out, "begun\n") == 0); /* as far as it came */
	free(out);
	{
		SPG_SHIELD_SCOPE();
		leash_wait(&leash);
	}
}

static int deadlines(void *arg)
{
	int64_t ns = 100 * SPG_MS;

	(void)arg;
	output_times_out(ns, INT64_MAX);
	output_times_out(-1, ns);
	no_children();
	return 0;
}

static void *deadlines_on_thread(void *arg)
{
	deadlines(arg);
	return NULL;
}

START_TEST(a_deadline_kills_the_whole_group)
{
	void *(*fn)(void *) = deadlines_on_thread;

	if (_i == 1)
		deadlines(NULL);
	t_run((unsigned)_i, deadlines, NULL);
	t_run((unsigned)_i, thread_main, &fn);
}
END_TEST

/* Goal: the group is killed also when its leader has ended, and another holds the output. */
static int left_behind(void *arg)
{
	struct shell s;
	void *out;
	size_t n;
	int status = -1;

	/* The one in the background sees the shell end, and says so. */
	leash_on(arg, shell(&s, "(until grep -q '^State:.Z' /proc/$$/status; do :; done; printf x >&3;"
				"sleep 1000) & exit 3"));
	T_ERR(spg_process_output(&s.opts, &out, &n, &status), -ECANCELED);
	T_OK(WIFEXITED(status));
	T_EQ(WEXITSTATUS(status), 3);
	T_EQ(n, 0);
	free(out);
	return 0;
}

static int left_behind_main(void *arg)
{
	spg_group *group = spg_group_new(0);
	struct leash leash;
	char byte;

	(void)arg;
	leash_make(&leash);
	T_EQ(spg_group_go(group, left_behind, &leash), 0);
	T_EQ(spg_read(leash.fds[0], &byte, 1), 1);
	spg_group_cancel(group);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	leash_wait(&leash);
	no_children();
	return 0;
}

START_TEST(a_group_is_killed_without_its_leader)
{
	t_run((unsigned)_i, left_behind_main, NULL);
}
END_TEST

/* Goal: more output than allowed ends the process; as much as allowed does not. */
static int limits(void *arg)
{
	struct shell s;
	struct leash leash;
	void *out;
	size_t n;
	int status = 0;

	(void)arg;
	leash_make(&leash);
	leash_on(&leash, shell(&s, "exec yes"));
	s.opts.output_max = 10001;
	T_ERR(spg_process_output(&s.opts, &out, &n, &status), -EMSGSIZE);
	T_EQ(n, 10001);
	T_EQ(memcmp((char *)out + 9996, "y\ny\ny", 5), 0);
	T_OK(WIFSIGNALED(status));
	free(out);
	leash_wait(&leash);
	shell(&s, "printf 12345")->output_max = 5;
	output_is(&s.opts, "12345");
	shell(&s, "printf 123456")->output_max = 5;
	T_ERR(spg_process_output(&s.opts, &out, &n, &status), -EMSGSIZE);
	T_STR(out, "12345");
	free(out);
	shell(&s, "head -c 3000000 /dev/zero")->output_max = 0; /* none */
	T_EQ(spg_process_output(&s.opts, &out, &n, &status), 0);
	T_EQ(n, 3000000);
	free(out);
	no_children();
	return 0;
}

START_TEST(output_has_a_limit)
{
	limits(NULL);
	t_run((unsigned)_i, limits, NULL);
}
END_TEST

/* Goal: a process that is freed is gone, with its group, and its pipes are closed. */
static int freed(void *arg)
{
	struct shell s;
	struct leash leash;
	spg_process *p;

	(void)arg;
	leash_make(&leash);
	leash_on(&leash, shell(&s, "trap '' TERM HUP; sleep 1000 & wait"));
	s.opts.stdin_fd = s.opts.stdout_fd = s.opts.stderr_fd = SPG_STDIO_PIPE;
	T_EQ(spg_process_start(&s.opts, &p), 0);
	{
		SPG_TIMEOUT_SCOPE(0); /* holds up nothing */
		spg_process_free(p);
	}
	no_children();
	leash_wait(&leash);
	/* Stopped, and without a group of its own. */
	leash_make(&leash);
	leash_on(&leash, shell(&s, "kill -STOP $$"));
	s.opts.new_group = false;
	T_EQ(spg_process_start(&s.opts, &p), 0);
	T_EQ(spg_process_kill_group(p, SIGSTOP), 0);
	spg_process_free(p);
	no_children();
	leash_wait(&leash);
	return 0;
}

START_TEST(a_freed_process_is_gone)
{
	int before;

	wait_once();
	before = t_fds_count();
	freed(NULL);
	t_run((unsigned)_i, freed, NULL);
	T_EQ(t_fds_count(), before);
}
END_TEST

/* Goal: the runtime's end kills what outputs wait for. */
static struct leash last;

static int output_to_the_end(void *arg)
{
	struct shell s;
	void *out;
	size_t n;

	(void)arg;
	leash_on(&last, shell(&s, "sleep 1000"));
	T_ERR(spg_process_output(&s.opts, &out, &n, NULL), -ECANCELED);
	free(out);
	return 0;
}

static void output_in_background(void *arg)
{
	output_to_the_end(arg);
}

static int leave_output(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10; i++)
		T_EQ(spg_go(output_in_background, NULL), 0);
	spg_yield();
	return 0;
}

START_TEST(the_end_of_the_runtime_ends_outputs)
{
	leash_make(&last);
	t_run((unsigned)_i, leave_output, NULL);
	no_children();
	leash_wait(&last);
}
END_TEST

/* Goal: somebody else took the status: said so, and nothing is killed that is not ours. */
static int stolen(void *arg)
{
	struct shell s;
	spg_process *p;
	void *out;
	size_t n;
	int status = 77;

	(void)arg;
	T_EQ(spg_process_start(shell(&s, "exit 1"), &p), 0);
	T_EQ(waitpid(spg_process_pid(p), NULL, 0), spg_process_pid(p));
	T_ERR(spg_process_wait(p, &status), -ECHILD);
	T_ERR(spg_process_try_wait(p, &status), -ECHILD);
	T_ERR(spg_process_kill(p, SIGTERM), -ESRCH);
	T_ERR(spg_process_kill_group(p, SIGTERM), -ESRCH);
	T_EQ(status, 77);
	spg_process_free(p);
	T_EQ(spg_process_start(&s.opts, &p), 0);
	T_EQ(waitpid(spg_process_pid(p), NULL, 0), spg_process_pid(p));
	spg_process_free(p);

	signal(SIGCHLD, SIG_IGN);
	T_ERR(spg_process_output(shell(&s, "echo out"), &out, &n, &status), -ECHILD);
	T_STR(out, "out\n");
	free(out);
	for (int i = 0; i < 20; i++) {
		T_EQ(spg_process_start(shell(&s, "exit 1"), &p), 0);
		T_ERR(spg_process_wait(p, &status), -ECHILD);
		T_ERR(spg_process_kill(p, SIGTERM), -ESRCH);
		T_ERR(spg_process_kill_group(p, SIGTERM), -ESRCH);
		spg_process_free(p);
	}
	T_EQ(spg_process_start(shell(&s, "sleep 1000"), &p), 0);
	T_EQ(spg_process_kill_group(p, SIGTERM), 0);
	spg_process_free(p);
	signal(SIGCHLD, SIG_DFL);
	return 0;
}

START_TEST(a_status_that_others_took_is_unknown)
{
	stolen(NULL);
	t_run((unsigned)_i, stolen, NULL);
}
END_TEST

T_MAIN(T_SHARDS(a_wait_that_fails_leaves_the_process_to_the_caller),
       T_SHARDS(one_that_a_debugger_holds_is_waited_for), T_SHARDS(all_who_wait_get_the_status),
       T_SHARDS(a_deadline_kills_the_whole_group), T_SHARDS(a_group_is_killed_without_its_leader),
       T_SHARDS(output_has_a_limit),
       T_SHARDS(a_freed_process_is_gone),
       T_SHARDS(the_end_of_the_runtime_ends_outputs),
       T_SHARDS(a_status_that_others_took_is_unknown))
