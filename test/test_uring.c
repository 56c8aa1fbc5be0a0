#include "t.h"

#include "io/uapi.h"
#include "sched/offload.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Goal: operations that spg has no call for, end to end. */
struct advice {
	void *addr;
	size_t len;
	int advice;
};

static void prep_advice(struct io_uring_sqe *sqe, void *arg)
{
	struct advice *advice = arg;

	io_uring_prep_madvise(sqe, advice->addr, (off_t)advice->len, advice->advice);
}

static int madvise_main(void *arg)
{
	struct advice advice = { .len = 4096, .advice = MADV_DONTNEED };
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t flags = 77;

	(void)arg;
	advice.addr = page;
	page[100] = 1;
	T_EQ(spg_uring(prep_advice, &advice, &flags), 0);
	T_EQ(page[100], 0);
	T_EQ(flags, 0);
	advice.advice = 4711;
	T_EQ(spg_uring(prep_advice, &advice, NULL), -EINVAL);
	return munmap(page, 4096);
}

struct child {
	pid_t pid;
	siginfo_t info;
};

/* As io_uring_prep_waitid of newer headers. */
static void prep_waitid(struct io_uring_sqe *sqe, void *arg)
{
	struct child *child = arg;

	io_uring_prep_rw(SPG__OP_WAITID, sqe, child->pid, NULL, P_PID, 0);
	sqe->file_index = WEXITED;
	sqe->addr2 = (uint64_t)(uintptr_t)&child->info;
}

static pid_t start_child(int code)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (code < 0)
			pause();
		_exit(code);
	}
	T_OK(pid > 0);
	return pid;
}

struct pool_wait {
	struct child child;
	spg_ctx *ctx;
};

static void *cancel_then_kill(void *arg)
{
	struct pool_wait *w = arg;
	struct spg__offload_count count;

	do {
		sched_yield();
		spg__offload_count(&count);
	} while (count.running == 0);
	spg_ctx_cancel(w->ctx);
	usleep(20000);
	T_EQ(kill(w->child.pid, SIGKILL), 0);
	return NULL;
}

/* Without the operation a wait that has begun is not cut short: it ends with the child. */
static int wait_on_pool(void)
{
	struct pool_wait w = { .child.pid = start_child(-1), .ctx = spg_ctx_new(NULL) };
	spg_ctx *before = spg_ctx_enter(w.ctx);
	pthread_t thread;

	T_EQ(pthread_create(&thread, NULL, cancel_then_kill, &w), 0);
	T_EQ(spg_uring(prep_waitid, &w.child, NULL), 0);
	T_EQ(w.child.info.si_status, SIGKILL);
	T_EQ(pthread_join(thread, NULL), 0);
	spg_ctx_leave(before);
	spg_ctx_unref(w.ctx);
	return 0;
}

static int waitid_main(void *arg)
{
	struct child child = { .pid = start_child(23) };
	int res = spg_uring(prep_waitid, &child, NULL);

	(void)arg;
	if (res == -EINVAL || res == -EOPNOTSUPP) {
		fprintf(stderr, "SKIP waitid: this kernel has no IORING_OP_WAITID\n");
		return waitpid(child.pid, NULL, 0) == child.pid ? 0 : -1;
	}
	T_EQ(res, 0);
	T_EQ(child.info.si_code, CLD_EXITED);
	T_EQ(child.info.si_status, 23);
	if (!t_feature("op:waitid"))
		return wait_on_pool();
	/* A child that goes on: the deadline ends the wait, and the child is still there. */
	child.pid = start_child(-1);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_EQ(spg_uring(prep_waitid, &child, NULL), -ETIMEDOUT);
	}
	T_EQ(kill(child.pid, SIGKILL), 0);
	T_EQ(spg_uring(prep_waitid, &child, NULL), 0);
	T_EQ(child.info.si_status, SIGKILL);
	return 0;
}

static _Atomic uint32_t word;

/* As io_uring_prep_futex_wait of newer headers; FUTEX2_SIZE_U32 is 2, FUTEX2_PRIVATE 128. */
static void prep_futex_wait(struct io_uring_sqe *sqe, void *arg)
{
	io_uring_prep_rw(SPG__OP_FUTEX_WAIT, sqe, 2 | FUTEX_PRIVATE_FLAG, &word, 0, *(uint32_t *)arg);
	sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
}

static void *change_word(void *arg)
{
	(void)arg;
	usleep(2000);
	atomic_store(&word, 1);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return NULL;
}

static int futex_main(void *arg)
{
	uint32_t expected = 5;
	pthread_t thread;
	int res;

	(void)arg;
	atomic_store(&word, 0);
	res = spg_uring(prep_futex_wait, &expected, NULL);
	if (res == -EINVAL || res == -EOPNOTSUPP) {
		fprintf(stderr, "SKIP futex: this kernel has no IORING_OP_FUTEX_WAIT\n");
		return 0;
	}
	T_EQ(res, -EAGAIN); /* the word is not what was expected */
	expected = 0;
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_EQ(spg_uring(prep_futex_wait, &expected, NULL), -ETIMEDOUT);
	}
	T_EQ(pthread_create(&thread, NULL, change_word, NULL), 0);
	while (atomic_load(&word) == 0) {
		res = spg_uring(prep_futex_wait, &expected, NULL);
		T_OK(res == 0 || res == -EAGAIN);
	}
	return pthread_join(thread, NULL);
}

static int custom_main(void *arg)
{
	T_EQ(madvise_main(arg), 0);
	T_EQ(waitid_main(arg), 0);
	return futex_main(arg);
}

START_TEST(custom_operations_run_end_to_end)
{
	t_run((unsigned)_i, custom_main, NULL);
}
END_TEST

START_TEST(custom_operations_run_for_foreign_threads)
{
	spg_config cfg = t_config(2);

	T_EQ(spg_start(&cfg), 0);
	T_EQ(custom_main(NULL), 0);
	T_EQ(spg_stop(), 0);
}
END_TEST

/* Goal: where the operation is missing the pool does it, or the caller hears that nobody can. */
static int missing_main(void *arg)
{
	struct child child = { .pid = start_child(5) };
	uint32_t expected = 0;

	T_EQ(madvise_main(arg), 0);
	T_EQ(spg_uring(prep_waitid, &child, NULL), 0);
	T_EQ(child.info.si_status, 5);
	T_EQ(wait_on_pool(), 0);
	T_EQ(spg_uring(prep_futex_wait, &expected, NULL), -EOPNOTSUPP);
	return 0;
}

START_TEST(missing_operations_fall_back)
{
	spg_config cfg = t_config(1);

	cfg.disable = "op:madvise,op:waitid,op:futex_wait";
	T_EQ(t_run_config(&cfg, missing_main, NULL), 0);
}
END_TEST

/* Goal: what one parked call cannot be is refused, before anything is submitted. */
struct form {
	uint8_t op, flags;
	uint16_t ioprio;
	uint32_t len, op_flags;
};

static void prep_form(struct io_uring_sqe *sqe, void *arg)
{
	struct form *form = arg;

	io_uring_prep_rw(form->op, sqe, 0, NULL, form->len, 0);
	sqe->flags = form->flags;
	sqe->ioprio = form->ioprio;
	sqe->msg_flags = form->op_flags;
}

static int refused_main(void *arg)
{
	struct form forms[] = {
		{ .op = IORING_OP_NOP, .flags = IOSQE_IO_LINK },
		{ .op = IORING_OP_NOP, .flags = IOSQE_IO_HARDLINK },
		{ .op = IORING_OP_NOP, .flags = IOSQE_IO_DRAIN },
		{ .op = IORING_OP_NOP, .flags = IOSQE_CQE_SKIP_SUCCESS },
		{ .op = IORING_OP_RECV, .flags = IOSQE_BUFFER_SELECT },
		{ .op = IORING_OP_ACCEPT, .ioprio = IORING_ACCEPT_MULTISHOT },
		{ .op = IORING_OP_RECV, .ioprio = IORING_RECV_MULTISHOT },
		{ .op = IORING_OP_RECVMSG, .ioprio = IORING_RECV_MULTISHOT },
		{ .op = IORING_OP_POLL_ADD, .len = IORING_POLL_ADD_MULTI },
		{ .op = IORING_OP_TIMEOUT, .op_flags = SPG__TIMEOUT_MULTISHOT },
		{ .op = IORING_OP_LINK_TIMEOUT },
		{ .op = IORING_OP_SEND_ZC },
		{ .op = IORING_OP_SENDMSG_ZC },
		{ .op = IORING_OP_MSG_RING },
		{ .op = SPG__OP_READ_MULTISHOT },
		{ .op = SPG__OP_RECV_ZC },
	};
	struct form nop = { .op = IORING_OP_NOP };

	(void)arg;
	T_EQ(spg_uring(NULL, NULL, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		T_EQ(spg_uring(prep_form, &forms[i], NULL), -EINVAL);
	T_EQ(spg_uring(prep_form, &nop, NULL), 0);
	return 0;
}

START_TEST(forms_with_other_than_one_completion_are_refused)
{
	t_run((unsigned)_i, refused_main, NULL);
	T_EQ(spg_uring(NULL, NULL, NULL), -EINVAL);
	T_EQ(spg_uring(prep_form, &(struct form){ .op = IORING_OP_NOP }, NULL), -ESRCH);
}
END_TEST

/* Goal: user_data is ours whatever prep does, and a close ends the operation as any other. */
static void prep_owned(struct io_uring_sqe *sqe, void *arg)
{
	io_uring_prep_poll_add(sqe, *(int *)arg, POLLIN);
	sqe->user_data = 0x1234567890;
}

static _Atomic bool owned_begun;

static void *owned_main(void *arg)
{
	atomic_store(&owned_begun, true);
	return (void *)(intptr_t)spg_uring(prep_owned, arg, NULL);
}

static int close_main(void *arg)
{
	int fds[2];
	spg_task *task;
	void *res;

	(void)arg;
	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	task = spg_spawn(NULL, owned_main, &fds[0]);
	T_UNTIL(atomic_load(&owned_begun));
	spg_yield();
	T_EQ(spg_close(fds[0]), 0);
	T_EQ(spg_join(task, &res), 0);
	T_OK((intptr_t)res == -ECANCELED || (intptr_t)res == -EBADF);
	return close(fds[1]);
}

START_TEST(a_close_ends_a_custom_operation)
{
	t_run((unsigned)_i, close_main, NULL);
}
END_TEST

/* Goal: a foreign thread's own context ends what a coroutine does for it. */
static void *cancel_soon(void *arg)
{
	usleep(2000);
	spg_ctx_cancel(arg);
	return NULL;
}

START_TEST(a_foreign_thread_s_context_ends_its_operation)
{
	spg_config cfg = t_config(2);
	spg_ctx *ctx, *before;
	pthread_t thread;
	int fds[2];

	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	T_EQ(spg_start(&cfg), 0);
	ctx = spg_ctx_new(NULL);
	before = spg_ctx_enter(ctx);
	{
		SPG_TIMEOUT_SCOPE(2 * SPG_MS);
		T_EQ(spg_uring(prep_owned, &fds[0], NULL), -ETIMEDOUT);
	}
	T_EQ(pthread_create(&thread, NULL, cancel_soon, ctx), 0);
	T_EQ(spg_uring(prep_owned, &fds[0], NULL), -ECANCELED);
	T_EQ(pthread_join(thread, NULL), 0);
	T_EQ(spg_uring(prep_owned, &fds[0], NULL), -ECANCELED);
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	T_EQ(write(fds[1], "x", 1), 1);
	T_EQ(spg_uring(prep_owned, &fds[0], NULL), POLLIN);
	T_EQ(spg_stop(), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

T_MAIN(T_SHARDS(custom_operations_run_end_to_end), T_TEST(custom_operations_run_for_foreign_threads),
       T_TEST(missing_operations_fall_back), T_SHARDS(forms_with_other_than_one_completion_are_refused),
       T_SHARDS(a_close_ends_a_custom_operation), T_TEST(a_foreign_thread_s_context_ends_its_operation))
