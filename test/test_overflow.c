/*
 * Stack overflows are named: in every guard mode, on stacks of every kind, by small frames and
 * by large ones. Every other fault is the program's own.
 */
#include "test/t.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct fault {
	spg_config cfg;
	size_t stack_size;
	spg_fn fn;
};

static int spawn_fault(void *arg)
{
	struct fault *f = arg;
	spg_attr attr = { .name = "deep", .stack_size = f->stack_size };

	T_EQ(spg_go_attr(&attr, f->fn, NULL), 0);
	return spg_sleep(100 * SPG_SEC);
}

/* Runs it in a child: its status, and what it said on stderr. */
static int run_child(struct fault *f, char *text, size_t size)
{
	int fds[2], status;
	size_t at = 0;
	pid_t child;

	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		dup2(fds[1], STDERR_FILENO);
		_exit(spg_run(&f->cfg, spawn_fault, f) != 0);
	}
	close(fds[1]);
	for (ssize_t n; (n = read(fds[0], text + at, size - 1 - at)) > 0;)
		at += (size_t)n;
	text[at] = '\0';
	close(fds[0]);
	T_EQ(waitpid(child, &status, 0), child);
	return status;
}

static __attribute__((noinline)) int recurse(volatile char *up, int depth)
{
	volatile char frame[200];

	frame[0] = up != NULL ? up[0] : 1;
	return depth == 0 ? frame[0] : recurse(frame, depth - 1) + frame[0];
}

static void small_frames(void *arg)
{
	(void)arg;
	exit(recurse(NULL, 1 << 24));
}

/* Larger than any stack here; the compiler's probes touch it page by page, downwards. */
static void large_frame(void *arg)
{
	volatile char frame[4 << 20];

	(void)arg;
	__asm__ volatile("" : : "r"(frame) : "memory");
	frame[0] = 1;
	exit(frame[0] + frame[sizeof(frame) - 1]);
}

static void expect_report(const char *disable, unsigned shards, size_t stack_size, spg_fn fn)
{
	struct fault f = { .cfg = t_config(shards), .stack_size = stack_size, .fn = fn };
	const char *name = fn == small_frames ? "small_frames" : "large_frame";
	char text[8192], bytes[64], function[64], began[64], inner[64];
	int status;

	f.cfg.disable = disable;
	status = run_child(&f, text, sizeof(text));
	T_OK(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGSEGV);
	snprintf(bytes, sizeof(bytes), " of %zu bytes", stack_size > 0 ? stack_size : f.cfg.stack_size);
	snprintf(function, sizeof(function), ", function %p, ", *(void **)(void *)&fn);
	snprintf(began, sizeof(began), "it began with %s (", name);
	/* Where it happened, and who called that; of a large frame that one is the first. */
	snprintf(inner, sizeof(inner), "\n\t%s+0x", fn == small_frames ? "recurse" : name);
	if (strstr(text, "spg: stack overflow in coroutine ") == NULL || strstr(text, " \"deep\", ") == NULL ||
	    strstr(text, function) == NULL || strstr(text, bytes) == NULL ||
	    strstr(text, "spg_attr.stack_size") == NULL || strstr(text, "SPG_STACK") == NULL ||
	    strstr(text, began) == NULL || strstr(text, inner) == NULL)
		t_fail(__FILE__, __LINE__, "no report with%sand%s: %s", function, bytes, text);
}

/* Goal: coroutine, function, size and knobs are named, whatever guards and however large stack and frame. */
START_TEST(an_overflow_is_named_in_every_guard_mode)
{
	static const char *const modes[] = { "", "process_madvise", "guard_install", "guard_install,process_madvise" };
	static const size_t sizes[] = { 16 << 10, 0, 1 << 20 };

	if (t_sanitized())
		T_SKIP("sanitizers have their own handler");
	for (size_t mode = 0; mode < sizeof(modes) / sizeof(modes[0]); mode++) {
		for (size_t size = 0; size < sizeof(sizes) / sizeof(sizes[0]); size++) {
			expect_report(modes[mode], (unsigned)_i, sizes[size], small_frames);
			expect_report(modes[mode], (unsigned)_i, sizes[size], large_frame);
		}
	}
}
END_TEST

static void touch_null(void *arg)
{
	volatile char *at = (volatile char *)arg + 8;

	__asm__ volatile("" : "+r"(at)); /* the compiler knows that nothing is there */
	*at = 1;
}

/* A page of the program's own that may not be touched. */
static void touch_guard(void *arg)
{
	volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arg;
	T_OK(page != MAP_FAILED);
	page[17] = 1;
}

/* Behind the end of a file: SIGBUS. */
static void touch_behind(void *arg)
{
	int fd = memfd_create("empty", MFD_CLOEXEC);
	volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	(void)arg;
	T_OK(fd >= 0 && page != MAP_FAILED);
	exit(page[0]);
}

static void plain_handler(int signal)
{
	_exit(signal == SIGSEGV ? 77 : 78);
}

static void info_handler(int signal, siginfo_t *info, void *context)
{
	_exit(context != NULL && info->si_signo == signal && info->si_addr != NULL ? 79 : 1);
}

static void expect_own(spg_fn fn, const struct sigaction *own, bool exits, int value)
{
	struct fault f = { .cfg = t_config(2), .fn = fn };
	struct sigaction segv, bus;
	char text[1024];
	int status;

	T_EQ(sigaction(SIGSEGV, own, &segv), 0);
	T_EQ(sigaction(SIGBUS, own, &bus), 0);
	status = run_child(&f, text, sizeof(text));
	T_EQ(sigaction(SIGSEGV, &segv, NULL), 0);
	T_EQ(sigaction(SIGBUS, &bus, NULL), 0);
	T_EQ(exits ? WIFEXITED(status) : WIFSIGNALED(status), true);
	T_EQ(exits ? WEXITSTATUS(status) : WTERMSIG(status), value);
	T_OK(strstr(text, "overflow") == NULL);
}

/* Goal: faults that are no overflows reach the handler that was there, or end the process. */
START_TEST(other_faults_reach_the_previous_handler)
{
	struct sigaction none = { .sa_handler = SIG_DFL }, ignore = { .sa_handler = SIG_IGN };
	struct sigaction plain = { .sa_handler = plain_handler };
	struct sigaction info = { .sa_sigaction = info_handler, .sa_flags = SA_SIGINFO };

	if (t_sanitized())
		T_SKIP("sanitizers have their own handler");
	expect_own(touch_null, &none, false, SIGSEGV);
	expect_own(touch_null, &ignore, false, SIGSEGV);
	expect_own(touch_null, &plain, true, 77);
	expect_own(touch_null, &info, true, 79);
	expect_own(touch_guard, &none, false, SIGSEGV);
	expect_own(touch_guard, &plain, true, 77);
	expect_own(touch_guard, &info, true, 79);
	expect_own(touch_behind, &none, false, SIGBUS);
	expect_own(touch_behind, &plain, true, 78);
	expect_own(touch_behind, &info, true, 79);
}
END_TEST

/* Goal: overflow_report false leaves the handlers alone; the process still ends by SIGSEGV. */
START_TEST(without_the_report_an_overflow_is_a_plain_fault)
{
	struct fault f = { .cfg = t_config(1), .fn = small_frames };
	char text[1024];
	int status;

	if (t_sanitized())
		T_SKIP("sanitizers have their own handler");
	f.cfg.overflow_report = false;
	status = run_child(&f, text, sizeof(text));
	T_OK(WIFSIGNALED(status));
	T_EQ(WTERMSIG(status), SIGSEGV);
	T_STR(text, "");
}
END_TEST

T_MAIN(T_SHARDS(an_overflow_is_named_in_every_guard_mode), T_TEST(other_faults_reach_the_previous_handler),
       T_TEST(without_the_report_an_overflow_is_a_plain_fault))
