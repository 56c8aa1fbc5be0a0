#include "test/process.h"

#include "coro/fault.h"

#include <sys/resource.h>

/* Goal: thousands of children, many at once: each status arrives, nothing is left behind. */
#define WORKERS 200
static _Atomic int started;
static int children_max;

static int number_of(const char *name, int otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? atoi(text) : otherwise;
}

static int children_main(void *arg)
{
	static char true_[] = "/bin/true", *argv[] = { true_, NULL };
	spg_process_opts opts = SPG_PROCESS_OPTS_INIT;
	struct shell s;
	spg_process *p;
	int status = -1;

	(void)arg;
	opts.argv = argv;
	for (int n; (n = atomic_fetch_add(&started, 1)) < children_max;) {
		bool of_shell = n % 16 == 0;

		T_EQ(spg_process_start(of_shell ? shell(&s, "exit 7") : &opts, &p), 0);
		T_EQ(spg_process_wait(p, &status), 0);
		T_EQ(status, of_shell ? 7 << 8 : 0);
		spg_process_free(p);
	}
	return 0;
}

static int crowd_main(void *arg)
{
	spg_group *group = spg_group_new(0);

	(void)arg;
	for (int i = 0; i < WORKERS; i++)
		T_EQ(spg_group_go(group, children_main, NULL), 0);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	no_children();
	return 0;
}

START_TEST(thousands_of_children_leave_nothing_behind)
{
	int before, each = t_sanitized() ? 250 : 1250; /* 5,000 over the four */

	children_max = number_of("SPG_TEST_CHILDREN", each);
	t_run((unsigned)_i, crowd_main, NULL);
	before = t_fds_count();
	atomic_store(&started, children_max * 3 / 4);
	t_run((unsigned)_i, crowd_main, NULL);
	T_EQ(t_fds_count(), before);
}
END_TEST

/* Goal: canceled at any moment, an output is whole or its process is dead and reaped. */
#define STORM 24

static int output_once(void *arg)
{
	struct shell s;
	void *out;
	size_t n;
	int status, err;

	shell(&s, (intptr_t)arg % 3 == 0 ? "sleep 1000 & echo done; sleep 1000" :
		  (intptr_t)arg % 3 == 1 ? "echo done" :
					   "exec cat /dev/zero");
	s.opts.output_max = (size_t)1 << 20;
	err = spg_process_output(&s.opts, &out, &n, &status);
	if (err == 0) {
		T_EQ(status, 0);
		T_STR(out, "done\n");
	} else {
		T_OK(err == -ECANCELED || err == -ETIMEDOUT || err == -EMSGSIZE);
	}
	free(out);
	return 0;
}

static int canceler_main(void *arg)
{
	uint64_t *seed = arg;
	int rounds = number_of("SPG_TEST_ROUNDS", t_sanitized() ? 4 : 12);

	for (int round = 0; round < rounds; round++) {
		spg_group *group = spg_group_new(0);

		for (intptr_t i = 0; i < STORM; i++)
			T_EQ(spg_group_go(group, output_once, (void *)i), 0);
		T_EQ(spg_sleep((int64_t)(t_random(seed) % 16) * SPG_MS), 0);
		spg_group_cancel(group);
		(void)spg_group_wait(group);
		spg_group_free(group);
		no_children();
	}
	return 0;
}

START_TEST(a_storm_of_cancels_leaves_no_process)
{
	uint64_t seed = t_seed();
	int before;

	t_run((unsigned)_i, canceler_main, &seed);
	before = t_fds_count();
	t_run((unsigned)_i, canceler_main, &seed);
	T_EQ(t_fds_count(), before);
}
END_TEST

/* Goal: without descriptors or memory, whatever is made last, a start fails and leaves nothing. */
static void try_all(int *oks, int *refusals)
{
	struct shell s;
	spg_process *p;
	int in = open("/dev/null", O_RDWR | O_CLOEXEC), err;

	T_OK(in >= 0);
	shell(&s, "cat; echo out");
	s.opts.stdin_fd = s.opts.stdout_fd = s.opts.stderr_fd = SPG_STDIO_PIPE;
	s.opts.fds = &in;
	s.opts.fds_count = 1;
	err = spg_process_start(&s.opts, &p);
	close(in);
	if (err == 0)
		spg_process_free(p);
	*oks += err == 0;
	*refusals += err == -EMFILE || err == -ENOMEM;
	T_OK(err == 0 || err == -EMFILE || err == -ENOMEM);
	no_children();
}

static int few_descriptors(void *arg)
{
	struct rlimit limit, before;
	int oks = 0, refusals = 0, fds, lowest;

	(void)arg;
	T_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
	wait_once();
	try_all(&oks, &refusals);
	T_EQ(oks, 1);
	fds = t_fds_count();
	lowest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	T_OK(lowest >= 0);
	close(lowest);
	for (int more = 1; oks < 3; more++) {
		limit = before;
		limit.rlim_cur = (rlim_t)(lowest + more);
		T_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
		try_all(&oks, &refusals);
		T_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
		T_EQ(t_fds_count(), fds);
	}
	T_OK(refusals >= 7); /* three pipes, a source of its own number, and the pidfd */
	return 0;
}

static int little_memory(void *arg)
{
	int oks = 0, refusals = 0, fds;

	(void)arg;
	wait_once();
	try_all(&oks, &refusals);
	fds = t_fds_count();
	for (int nth = 1; oks < 2; nth++) {
		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		try_all(&oks, &refusals);
		spg__fault_disarm(SPG__FAULT_ALLOC);
		T_EQ(t_fds_count(), fds);
	}
	T_OK(refusals >= 2);
	return 0;
}

static int little_memory_for_output(void *arg)
{
	struct shell s;
	int err = -1;

	(void)arg;
	for (int nth = 1; err != 0; nth++) {
		void *out;
		size_t n;
		int status = 0;

		spg__fault_arm(SPG__FAULT_ALLOC, nth, 1, -ENOMEM);
		err = spg_process_output(shell(&s, "yes | head -c 10000"), &out, &n, &status);
		spg__fault_disarm(SPG__FAULT_ALLOC);
		T_OK(err == 0 ? n == 10000 : err == -ENOMEM && n < 10000);
		T_OK(err == 0 || status == 0 || WIFSIGNALED(status)); /* never ran, or was killed */
		free(out);
		no_children();
	}
	return 0;
}

START_TEST(without_descriptors_or_memory_a_start_leaves_nothing)
{
	few_descriptors(NULL);
	t_run((unsigned)_i, few_descriptors, NULL);
	little_memory(NULL);
	t_run((unsigned)_i, little_memory, NULL);
	little_memory_for_output(NULL);
	t_run((unsigned)_i, little_memory_for_output, NULL);
}
END_TEST

/* Goal: the same without the kernel's operations. */
static int plain_main(void *arg)
{
	struct shell s;
	spg_process *p;

	output_is(shell(&s, "echo out; cat /etc/passwd > /dev/null"), "out\n");
	T_EQ(status_of("exit 9"), 9 << 8);
	T_EQ(spg_process_start(shell(&s, "exec sleep 1000"), &p), 0);
	{
		SPG_TIMEOUT_SCOPE(3 * SPG_MS);
		T_ERR(spg_process_wait(p, NULL), -ETIMEDOUT);
	}
	spg_process_free(p);
	return crowd_main(arg);
}

START_TEST(processes_run_without_the_kernels_operations)
{
	static const char *const disable[] = { "op:waitid", "op:poll", "op:poll,op:read" };

	for (size_t i = 0; i < sizeof(disable) / sizeof(disable[0]); i++) {
		spg_config cfg = t_config((unsigned)_i);

		cfg.disable = disable[i];
		children_max = 100;
		atomic_store(&started, 0);
		T_EQ(t_run_config(&cfg, plain_main, NULL), 0);
	}
}
END_TEST

T_MAIN(T_SHARDS(thousands_of_children_leave_nothing_behind), T_SHARDS(a_storm_of_cancels_leaves_no_process),
       T_SHARDS(without_descriptors_or_memory_a_start_leaves_nothing),
       T_SHARDS(processes_run_without_the_kernels_operations))
