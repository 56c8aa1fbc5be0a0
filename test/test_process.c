#include "test/process.h"

#include <sys/resource.h>
#include <sys/stat.h>

/* Goal: the status is waitpid's, from coroutines and from threads, with and without a runtime. */
static int statuses(void *arg)
{
	int status;

	(void)arg;
	T_EQ(status_of("exit 0"), 0);
	status = status_of("exit 23");
	T_OK(WIFEXITED(status));
	T_EQ(WEXITSTATUS(status), 23);
	status = status_of("kill -TERM $$");
	T_OK(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGTERM);
	status = status_of("ulimit -c 0; kill -SEGV $$");
	T_OK(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGSEGV);
	no_children();
	return 0;
}

static void *statuses_on_thread(void *arg)
{
	statuses(arg);
	return NULL;
}

START_TEST(a_status_tells_how_a_process_ended)
{
	void *(*fn)(void *) = statuses_on_thread;

	statuses(NULL); /* without a runtime */
	t_run((unsigned)_i, statuses, NULL);
	t_run((unsigned)_i, thread_main, &fn);
}
END_TEST

/* Goal: what cannot be run is an error of the start, and nothing is left behind. */
static void start_fails(spg_process_opts *opts, int err)
{
	spg_process *p;
	void *out;
	size_t n;
	int status = 77;

	T_ERR(spg_process_start(opts, &p), err);
	T_ERR(spg_process_output(opts, &out, &n, &status), err);
	T_EQ(status, 0);
	T_OK(out == NULL);
	T_EQ(n, 0);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, mode);

	T_OK(fd >= 0);
	T_EQ(write(fd, text, strlen(text)), strlen(text));
	T_EQ(close(fd), 0);
}

static void too_long(struct shell *s)
{
	size_t len = (size_t)1 << 20; /* of one argument; the kernel's limit is 128 KiB */
	char *text = malloc(len + 1);

	memset(text, 'x', len);
	text[len] = '\0';
	start_fails(shell(s, text), -E2BIG);
	free(text);
}

/* Errors: spg_process_start: -E2BIG, -EACCES, -EBADF, -ENOENT, -ENOEXEC */
static int errors(void *arg)
{
	struct shell s;
	int before, closed = 900;
	char path[] = "/tmp/spg_process_XXXXXX";
	int fd = mkstemp(path);

	(void)arg;
	shell(&s, "true")->path = "/nonexistent/program";
	start_fails(&s.opts, -ENOENT); /* has the library open what it keeps */
	before = t_fds_count() - 1;
	T_OK(fd >= 0);
	close(fd);
	shell(&s, "true")->path = "/nonexistent/program";
	start_fails(&s.opts, -ENOENT);
	shell(&s, "true")->path = "spg-no-such-program-in-path";
	start_fails(&s.opts, -ENOENT);
	shell(&s, "true")->cwd = "/nonexistent";
	start_fails(&s.opts, -ENOENT);
	write_file(path, "not executable", 0600);
	shell(&s, "true")->path = path;
	start_fails(&s.opts, -EACCES);
	T_EQ(chmod(path, 0700), 0);
	start_fails(&s.opts, -ENOEXEC);
	T_EQ(unlink(path), 0);
	too_long(&s);
	shell(&s, "true")->stderr_fd = closed;
	start_fails(&s.opts, -EBADF);
	shell(&s, "true")->fds = &closed;
	s.opts.fds_count = 1;
	start_fails(&s.opts, -EBADF);
	no_children();
	T_EQ(t_fds_count(), before);
	return 0;
}

START_TEST(a_program_that_cannot_run_is_an_error_of_the_start)
{
	int before;

	errors(NULL);
	t_run((unsigned)_i, errors, NULL);
	before = t_fds_count();
	t_run((unsigned)_i, errors, NULL);
	T_EQ(t_fds_count(), before);
}
END_TEST

/* Goal: the limit on processes is an error of the start. */
START_TEST(too_many_processes_are_refused)
{
	uid_t user = geteuid(), bound = user != 0 ? user : 65534; /* root is not bound by it */
	struct rlimit before, none;
	struct shell s;
	spg_process *p;

	T_EQ(getrlimit(RLIMIT_NPROC, &before), 0);
	none = before;
	none.rlim_cur = 0;
	T_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
	T_EQ(setresuid(bound, bound, user), 0);
	T_ERR(spg_process_start(shell(&s, "true"), &p), -EAGAIN);
	T_EQ(setresuid(user, user, user), 0);
	T_EQ(setrlimit(RLIMIT_NPROC, &before), 0);
	no_children();
}
END_TEST

/* Goal: bad arguments are refused. */
START_TEST(bad_options_are_refused)
{
	spg_process_opts none = SPG_PROCESS_OPTS_INIT;
	int minus = -1, status;
	struct shell s;
	spg_process *p;
	void *out;
	size_t n;

	T_ERR(spg_process_start(NULL, &p), -EINVAL);
	T_ERR(spg_process_start(&none, &p), -EINVAL);
	T_ERR(spg_process_start(shell(&s, "true"), NULL), -EINVAL);
	shell(&s, "true")->stdin_fd = SPG_STDIO_STDOUT;
	T_ERR(spg_process_start(&s.opts, &p), -EINVAL);
	shell(&s, "true")->stdout_fd = SPG_STDIO_STDOUT;
	T_ERR(spg_process_start(&s.opts, &p), -EINVAL);
	shell(&s, "true")->stderr_fd = -5;
	T_ERR(spg_process_start(&s.opts, &p), -EINVAL);
	shell(&s, "true")->input_bytes = 1;
	T_ERR(spg_process_start(&s.opts, &p), -EINVAL);
	shell(&s, "true")->input = "x";
	s.opts.stdin_fd = SPG_STDIO_NULL;
	T_ERR(spg_process_start(&s.opts, &p), -EINVAL);
	shell(&s, "true")->fds_count = 1;
	T_ERR(spg_process_start(&s.opts, &p), -EINVAL);
	s.opts.fds = &minus;
	T_ERR(spg_process_start(&s.opts, &p), -EINVAL);
	shell(&s, "true")->stdin_fd = SPG_STDIO_PIPE;
	T_ERR(spg_process_output(&s.opts, &out, &n, &status), -EINVAL);
	shell(&s, "true")->stderr_fd = SPG_STDIO_PIPE;
	T_ERR(spg_process_output(&s.opts, &out, &n, &status), -EINVAL);
	T_ERR(spg_process_output(shell(&s, "true"), NULL, &n, &status), -EINVAL);
	T_ERR(spg_process_output(&s.opts, &out, NULL, &status), -EINVAL);
	T_ERR(spg_process_output(NULL, &out, &n, &status), -EINVAL);
	T_ERR(spg_process_wait(NULL, &status), -EINVAL);
	T_ERR(spg_process_try_wait(NULL, &status), -EINVAL);
	T_ERR(spg_process_kill(NULL, SIGTERM), -EINVAL);
	T_ERR(spg_process_kill_group(NULL, SIGTERM), -EINVAL);
	T_ERR(spg_process_pid(NULL), -EINVAL);
	T_ERR(spg_process_take_fd(NULL, 0), -EINVAL);
	spg_process_free(NULL);
	no_children();
}
END_TEST

/* Goal: environment, directory, standard descriptors and input are what was asked for. */
static void input_of_a_mib(void)
{
	static char cat[] = "cat", *argv[] = { cat, NULL };
	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
	size_t len = (size_t)1 << 20, n;
	unsigned char *in = malloc(len);
	void *out;

	for (size_t i = 0; i < len; i++)
		in[i] = (unsigned char)(i * 2654435761u >> 13);
	opts.argv = argv; /* found in PATH */
	opts.input = in;
	opts.input_bytes = len;
	T_EQ(spg_process_output(&opts, &out, &n, NULL), 0);
	T_EQ(n, len);
	T_EQ(memcmp(in, out, len), 0);
	free(out);
	free(in);
}

static int surroundings(void *arg)
{
	static char a[] = "A=1", b[] = "B=two words", *envp[] = { a, b, NULL };
	struct shell s;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)arg;
	output_is(shell(&s, "echo hello"), "hello\n");
	output_is(shell(&s, "exit 0"), "");
	shell(&s, "echo $A; echo $B")->envp = envp;
	output_is(&s.opts, "1\ntwo words\n");
	shell(&s, "pwd; echo x > /dev/null")->cwd = "/usr";
	output_is(&s.opts, "/usr\n");
	shell(&s, "cat; echo .")->stdin_fd = SPG_STDIO_NULL;
	output_is(&s.opts, ".\n");
	shell(&s, "cat; echo .")->stdin_fd = null;
	output_is(&s.opts, ".\n");
	shell(&s, "cat; cat")->input = "once";
	s.opts.input_bytes = 4;
	output_is(&s.opts, "once");
	shell(&s, "cat; echo .")->input = "";
	output_is(&s.opts, ".\n");
	shell(&s, "echo out; echo err >&2; echo out")->stderr_fd = SPG_STDIO_STDOUT;
	output_is(&s.opts, "out\nerr\nout\n");
	shell(&s, "echo out; echo err >&2")->stderr_fd = SPG_STDIO_NULL;
	output_is(&s.opts, "out\n");
	input_of_a_mib();
	close(null);
	no_children();
	return 0;
}

static void *surroundings_on_thread(void *arg)
{
	surroundings(arg);
	return NULL;
}

START_TEST(a_program_finds_the_surroundings_asked_for)
{
	void *(*fn)(void *) = surroundings_on_thread;

	surroundings(NULL);
	t_run((unsigned)_i, surroundings, NULL);
	t_run((unsigned)_i, thread_main, &fn);
}
END_TEST

/* Goal: any mapping of descriptors arrives, swaps and cycles too, and no others do. */
static void swapped(void)
{
	struct shell s;
	int in[2], out[2];
	char text[8] = "";
	spg_process *p;

	T_EQ(pipe2(in, O_CLOEXEC), 0);
	T_EQ(pipe2(out, O_CLOEXEC), 0);
	/* Our own 1 and 2 stand in for the child's 2 and 1, and descriptors trade places above. */
	shell(&s, "echo three >&3; read x <&4; echo $x >&5");
	s.opts.stdout_fd = STDERR_FILENO;
	s.opts.stderr_fd = STDOUT_FILENO;
	s.opts.fds = (const int[]){ out[1], in[0], out[1] };
	s.opts.fds_count = 3;
	T_EQ(spg_process_start(&s.opts, &p), 0);
	T_EQ(spg_write(in[1], "x\n", 2), 2);
	T_EQ(spg_process_wait(p, NULL), 0);
	T_EQ(spg_read(out[0], text, 8), 8);
	T_EQ(memcmp(text, "three\nx\n", 8), 0);
	spg_process_free(p);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}

/* Sources with the lowest numbers: each is another's target. */
static void cycle(void)
{
	struct shell s;
	int low[4], back[4], fds[2];
	char byte;

	/* 3 to 6 are pipes' ends now; whatever was there is put back. */
	for (int i = 0; i < 4; i++)
		back[i] = fcntl(3 + i, F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < 4; i++) {
		T_EQ(pipe2(fds, O_CLOEXEC), 0);
		low[i] = fcntl(fds[0], F_DUPFD_CLOEXEC, 100);
		T_EQ(dup3(fds[1], 3 + i, O_CLOEXEC) >= 0 || fds[1] == 3 + i, 1);
		if (fds[1] != 3 + i)
			close(fds[1]);
		if (fds[0] > 6)
			close(fds[0]);
	}
	shell(&s, "printf a >&3; printf b >&4; printf c >&5; printf d >&6");
	s.opts.fds = (const int[]){ 4, 5, 6, 3 };
	s.opts.fds_count = 4;
	output_is(&s.opts, "");
	for (int i = 0; i < 4; i++) {
		T_EQ(read(low[(i + 1) % 4], &byte, 1), 1);
		T_EQ(byte, 'a' + i);
	}
	for (int i = 0; i < 4; i++) {
		close(low[i]);
		close(3 + i);
		if (back[i] >= 0) {
			T_EQ(dup3(back[i], 3 + i, O_CLOEXEC), 3 + i);
			close(back[i]);
		}
	}
}

static int mappings(void *arg)
{
	struct shell s;
	int open_to_all[4];

	(void)arg;
	swapped();
	/* Without close-on-exec, and far up; ls has one more for the directory. */
	for (int i = 0; i < 4; i++) {
		open_to_all[i] = fcntl(STDIN_FILENO, F_DUPFD, 50 + i * 100);
		T_OK(open_to_all[i] >= 0);
	}
	output_is(shell(&s, "exec ls /proc/self/fd"), "0\n1\n2\n3\n");
	s.opts.fds = &open_to_all[1];
	s.opts.fds_count = 2;
	output_is(&s.opts, "0\n1\n2\n3\n4\n5\n");
	for (int i = 0; i < 4; i++)
		close(open_to_all[i]);
	return 0;
}

START_TEST(a_child_has_the_descriptors_asked_for_and_no_others)
{
	cycle(); /* without a runtime: the numbers are ours */
	mappings(NULL);
	t_run((unsigned)_i, mappings, NULL);
}
END_TEST

/* Goal: a program may have closed its own standard descriptors. */
START_TEST(closed_standard_descriptors_are_no_trap)
{
	int saved[3];
	struct shell s;
	void *out;
	size_t n;
	int err, status = -1;

	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
		close(i);
	}
	shell(&s, "cat; echo out; echo err >&2");
	s.opts.stderr_fd = SPG_STDIO_STDOUT;
	s.opts.input = "in\n";
	s.opts.input_bytes = 3;
	err = spg_process_output(&s.opts, &out, &n, &status);
	for (int i = 0; i < 3; i++) {
		T_EQ(dup2(saved[i], i), i);
		close(saved[i]);
	}
	T_EQ(err, 0);
	T_EQ(status, 0);
	T_STR(out, "in\nout\nerr\n");
	free(out);
}
END_TEST

/* Goal: the child blocks and ignores nothing, although we do; and leads its own group, or ours. */
static int fresh_signals(void *arg)
{
	struct shell s;
	char expected[32], group[32];

	(void)arg;
	/* libc leaves two of its own, 32 and 33, ignored. */
	output_is(shell(&s, "grep -E '^Sig(Blk|Ign):' /proc/self/status | tr -d '\\t' |"
			    "sed s/180000000$/000000000/"),
		  "SigBlk:0000000000000000\nSigIgn:0000000000000000\n");
	output_is(shell(&s, "test $(cut -d' ' -f5 /proc/$$/stat) = $$"), "");
	snprintf(expected, sizeof(expected), "%d\n", (int)getpgrp());
	snprintf(group, sizeof(group), "cut -d' ' -f5 /proc/$$/stat");
	shell(&s, group)->new_group = false;
	output_is(&s.opts, expected);
	return 0;
}

START_TEST(a_child_begins_with_default_signals_and_a_group)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	T_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	fresh_signals(NULL);
	t_run((unsigned)_i, fresh_signals, NULL);
}
END_TEST

/* Goal: through pipes of ours a MiB goes in and comes out. */
struct feed {
	int fd;
	size_t bytes;
};

static int feed_main(void *arg)
{
	struct feed *feed = arg;
	static char block[4096];

	for (size_t done = 0; done < feed->bytes; done += sizeof(block))
		T_EQ(spg_write_all(feed->fd, block, sizeof(block)), sizeof(block));
	return spg_close(feed->fd);
}

static int through_cat(void *arg)
{
	struct shell s;
	struct feed feed = { .bytes = (size_t)1 << 20 };
	spg_group *group = spg_group_new(0);
	size_t got = 0;
	spg_process *p;
	ssize_t n;
	char buf[8192];
	int out, status;

	(void)arg;
	shell(&s, "exec cat");
	s.opts.stdin_fd = s.opts.stdout_fd = SPG_STDIO_PIPE;
	T_EQ(spg_process_start(&s.opts, &p), 0);
	T_EQ(spg_process_take_fd(p, 3), -EINVAL);
	T_EQ(spg_process_take_fd(p, 2), -EBADF);
	feed.fd = spg_process_take_fd(p, 0);
	out = spg_process_take_fd(p, 1);
	T_ERR(spg_process_take_fd(p, 1), -EBADF);
	T_EQ(spg_group_go(group, feed_main, &feed), 0);
	while ((n = spg_read(out, buf, sizeof(buf))) > 0)
		got += (size_t)n;
	T_EQ(n, 0);
	T_EQ(got, feed.bytes);
	T_EQ(spg_group_wait(group), 0);
	T_EQ(spg_process_wait(p, &status), 0);
	T_EQ(status, 0);
	spg_group_free(group);
	spg_process_free(p);
	spg_close(out);
	no_children();
	return 0;
}

START_TEST(a_mib_goes_through_cat)
{
	int before;

	t_run((unsigned)_i, through_cat, NULL);
	before = t_fds_count();
	t_run((unsigned)_i, through_cat, NULL);
	T_EQ(t_fds_count(), before);
}
END_TEST

T_MAIN(T_SHARDS(a_status_tells_how_a_process_ended),
       T_SHARDS(a_program_that_cannot_run_is_an_error_of_the_start),
       T_TEST(too_many_processes_are_refused), T_TEST(bad_options_are_refused),
       T_SHARDS(a_program_finds_the_surroundings_asked_for),
       T_SHARDS(a_child_has_the_descriptors_asked_for_and_no_others),
       T_TEST(closed_standard_descriptors_are_no_trap),
       T_SHARDS(a_child_begins_with_default_signals_and_a_group),
       T_SHARDS(a_mib_goes_through_cat))
