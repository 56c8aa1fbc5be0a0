/*
 * The code of docs/uring-cookbook.md, which quotes it (tools/check-quotes), and what it promises.
 */
#include "test/t.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <liburing.h>
#include <spg/spg.h>

struct advice {
	void *addr;
	size_t len;
	int advice;
};

static void prep_advice(struct io_uring_sqe *sqe, void *arg)
{
	const struct advice *a = arg;

	io_uring_prep_madvise(sqe, a->addr, (off_t)a->len, a->advice);
}

/* Gives the pages back to the kernel: 0 or a negative errno. */
static int pages_drop(void *addr, size_t len)
{
	struct advice a = { .addr = addr, .len = len, .advice = MADV_DONTNEED };

	return spg_uring(prep_advice, &a, NULL);
}

#define OP_WAITID 50 /* IORING_OP_WAITID, Linux 6.7; liburing 2.5 has io_uring_prep_waitid */

struct child {
	pid_t pid;
	siginfo_t info;
};

static void prep_waitid(struct io_uring_sqe *sqe, void *arg)
{
	struct child *c = arg;

	io_uring_prep_rw(OP_WAITID, sqe, c->pid, NULL, P_PID, 0);
	sqe->file_index = WEXITED;
	sqe->addr2 = (uint64_t)(uintptr_t)&c->info;
}

/* Waits until the child has ended, and reaps it: its exit status, 128 + the signal, or a negative errno. */
static int child_wait(pid_t pid)
{
	struct child c = { .pid = pid };
	int res = spg_uring(prep_waitid, &c, NULL);

	if (res < 0)
		return res;
	return c.info.si_code == CLD_EXITED ? c.info.si_status : 128 + c.info.si_status;
}

#define OP_FUTEX_WAIT 51     /* IORING_OP_FUTEX_WAIT, Linux 6.7; liburing 2.5 has the prep */
#define FUTEX2_U32_PRIVATE (0x02 | FUTEX_PRIVATE_FLAG)

struct word {
	_Atomic uint32_t *addr;
	uint32_t value;
};

static void prep_futex_wait(struct io_uring_sqe *sqe, void *arg)
{
	const struct word *w = arg;

	io_uring_prep_rw(OP_FUTEX_WAIT, sqe, FUTEX2_U32_PRIVATE, (void *)w->addr, 0, w->value);
	sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
}

/* On a thread of the pool, 10 ms at a time: what runs there cannot be cut short. */
static void *futex_wait_briefly(void *arg)
{
	const struct word *w = arg;
	struct timespec ts = { .tv_nsec = 10000000 };

	syscall(SYS_futex, w->addr, FUTEX_WAIT_PRIVATE, w->value, &ts, NULL, 0);
	return NULL;
}

/* Returns 0 once *addr is not value: threads change it and wake the futex. Or a negative errno. */
static int word_wait(_Atomic uint32_t *addr, uint32_t value)
{
	struct word w = { .addr = addr, .value = value };
	int res = 0;

	while (res == 0 && atomic_load(addr) == value) {
		res = spg_uring(prep_futex_wait, &w, NULL);
		if (res == -EINVAL || res == -EOPNOTSUPP) /* before Linux 6.7 */
			res = spg_blocking(futex_wait_briefly, &w, NULL);
		if (res == -EAGAIN || res == -EINTR) /* it had changed already; a signal */
			res = 0;
	}
	return res;
}

static int advice_main(void *arg)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arg;
	T_OK(page != MAP_FAILED);
	page[100] = 1;
	T_EQ(pages_drop(page, 4096), 0);
	T_EQ(page[100], 0);
	T_ERR(pages_drop(page + 1, 4096), -EINVAL);
	{
		SPG_TIMEOUT_SCOPE(0);
		T_ERR(pages_drop(page, 4096), -ETIMEDOUT);
	}
	return munmap(page, 4096);
}

static pid_t start_child(int code)
{
	pid_t pid = fork();

	if (pid == 0) {
		while (code < 0)
			pause();
		_exit(code);
	}
	T_OK(pid > 0);
	return pid;
}

static int child_main(void *arg)
{
	pid_t pid = start_child(23);

	(void)arg;
	T_EQ(child_wait(pid), 23);
	T_ERR(child_wait(pid), -ECHILD); /* it was reaped: once */
	T_EQ(child_wait(start_child(7)), 7);
	pid = start_child(-1);
	T_EQ(kill(pid, SIGKILL), 0);
	T_EQ(child_wait(pid), 128 + SIGKILL);
	return 0;
}

static bool kernel_has(int op)
{
	struct io_uring_probe *probe = io_uring_get_probe();
	bool there = probe != NULL && op <= probe->last_op && io_uring_opcode_supported(probe, op);

	io_uring_free_probe(probe);
	return there;
}

static int child_deadline_main(void *arg)
{
	pid_t pid;

	(void)arg;
	if (!kernel_has(OP_WAITID)) {
		fprintf(stderr, "SKIP waitid: on the pool a wait is not cut short\n");
		return 0;
	}
	pid = start_child(-1);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(child_wait(pid), -ETIMEDOUT);
	}
	/* It lives, and is still ours to reap. */
	T_EQ(kill(pid, SIGKILL), 0);
	T_EQ(waitpid(pid, NULL, 0), pid);
	return 0;
}

static _Atomic uint32_t word;

static void *change_word(void *arg)
{
	(void)arg;
	usleep(2000);
	atomic_store(&word, 1);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return NULL;
}

static int word_main(void *arg)
{
	pthread_t thread;

	(void)arg;
	atomic_store(&word, 0);
	T_EQ(word_wait(&word, 5), 0); /* it is another already */
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_ERR(word_wait(&word, 0), -ETIMEDOUT);
	}
	T_EQ(pthread_create(&thread, NULL, change_word, NULL), 0);
	T_EQ(word_wait(&word, 0), 0);
	T_EQ(pthread_join(thread, NULL), 0);
	return 0;
}

static int all_main(void *arg)
{
	T_EQ(advice_main(arg), 0);
	T_EQ(child_main(arg), 0);
	T_EQ(child_deadline_main(arg), 0);
	return word_main(arg);
}

/* Goal: the recipes do what the page says, at 1 to 4 shards. */
START_TEST(the_recipes_work)
{
	t_run((unsigned)_i, all_main, NULL);
}
END_TEST

static int fallbacks_main(void *arg)
{
	T_EQ(advice_main(arg), 0);
	T_EQ(child_main(arg), 0); /* on the pool it is not cut short: no deadline here */
	return word_main(arg);
}

/* Goal: and where the kernel lacks the operations. */
START_TEST(the_recipes_work_without_their_operations)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.disable = "op:madvise,op:waitid,op:futex_wait";
	T_EQ(t_run_config(&cfg, fallbacks_main, NULL), 0);
}
END_TEST

/* Goal: a plain thread's call is made by a coroutine for it. */
START_TEST(the_recipes_work_on_a_plain_thread)
{
	spg_config cfg = t_config(2);

	T_EQ(spg_start(&cfg), 0);
	T_EQ(all_main(NULL), 0);
	T_EQ(spg_stop(), 0);
	T_ERR(word_wait(&word, 1), -ESRCH);
}
END_TEST

T_MAIN(T_SHARDS(the_recipes_work), T_SHARDS(the_recipes_work_without_their_operations),
       T_TEST(the_recipes_work_on_a_plain_thread))
