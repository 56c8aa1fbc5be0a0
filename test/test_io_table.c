/*
 * The table of I/O calls on bad days: each fault against each call.
 */
#include "io_run.h"
#include "refusal.h"

#include "coro/fault.h"
#include "io/uapi.h"

#include <sys/eventfd.h>
#include <sys/resource.h>

/* Long after the end of a test. */
#define ALWAYS 1000000000

static int each_call(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < IO_CALLS; i++)
		run_call(&(struct mode){ .call = &io_calls[i], .ring = true });
	return 0;
}

/* Goal: completions that come late and in another order change no result. */
START_TEST(fault_late_completions_change_no_call)
{
	spg__fault_arm(SPG__FAULT_LATE, 1, ALWAYS, -1);
	t_run((unsigned)_i, each_call, NULL);
	spg__fault_disarm(SPG__FAULT_LATE);
}
END_TEST

/* Goal: nor does a kernel that takes no submissions for a while. */
static int each_call_refused(void *arg)
{
	return run_refused(*(int *)arg, 2, each_call);
}

START_TEST(fault_refused_submissions_change_no_call)
{
	int errs[] = { -EINTR, -EAGAIN, -EBUSY, -ENOMEM };

	t_run((unsigned)_i, each_call_refused, &errs[_i - 1]);
	spg__fault_disarm(SPG__FAULT_SUBMIT);
}
END_TEST

/*
 * Goal: nor do queues of eight entries, which a crowd fills again and again, and whose
 * completions come all at once.
 */
#define CROWD 200

struct crowd {
	int fd;
	_Atomic int waiting;
	_Atomic bool stop;
};

static int crowd_member(void *arg)
{
	struct crowd *crowd = arg;

	while (!atomic_load(&crowd->stop)) {
		atomic_fetch_add(&crowd->waiting, 1);
		T_EQ(spg_poll(crowd->fd, POLLIN, -1), POLLIN);
		atomic_fetch_sub(&crowd->waiting, 1);
		spg_sleep(SPG_MS);
	}
	return 0;
}

static int crowd_waker(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t one = 1;
	bool last = false;

	while (!last) {
		last = atomic_load(&crowd->stop);
		if (!last) {
			T_UNTIL(atomic_load(&crowd->waiting) == CROWD || atomic_load(&crowd->stop));
			spg_sleep(100 * SPG_US); /* the last of them is in flight, mostly */
		}
		T_EQ(write(crowd->fd, &one, sizeof(one)), sizeof(one));
		if (last)
			break;
		T_UNTIL(atomic_load(&crowd->waiting) == 0);
		T_EQ(read(crowd->fd, &one, sizeof(one)), sizeof(one));
	}
	return 0;
}

/* arg: not NULL when the completion queue must overflow. */
static int each_call_crowded(void *arg)
{
	struct crowd crowd = { .fd = eventfd(0, EFD_CLOEXEC) };
	spg_group *group = spg_group_new(0);
	spg_stats_t *stats = malloc(sizeof(*stats));

	for (int i = 0; i < CROWD; i++)
		T_EQ(spg_group_go(group, crowd_member, &crowd), 0);
	T_EQ(spg_group_go(group, crowd_waker, &crowd), 0);
	each_call(NULL);
	atomic_store(&crowd.stop, true);
	T_EQ(spg_group_wait(group), 0);
	T_EQ(spg_stats(stats), 0);
	fprintf(stderr, "full queue: %llu times, overflow: %llu times\n", (unsigned long long)stats->total.sq_full,
		(unsigned long long)stats->total.cq_overflow);
	T_OK(stats->total.sq_full > 0);
	T_OK(arg == NULL || stats->total.cq_overflow > 0);
	spg_group_free(group);
	free(stats);
	return close(crowd.fd);
}

START_TEST(fault_full_queues_change_no_call)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.ring_entries = 8;
	T_EQ(t_run_config(&cfg, each_call_crowded, NULL), 0);
	/* Only without deferred task work does the completion queue overflow. */
	cfg.disable = "defer_taskrun";
	T_EQ(t_run_config(&cfg, each_call_crowded, &cfg), 0);
}
END_TEST

/*
 * Goal: a fault of one step is the call's result, or is mended; nothing stays open, and the
 * next call works.
 */
struct fault {
	enum spg__fault_kind kind;
	int err;
};

static const struct fault faults[] = {
	{ SPG__FAULT_FAIL, -EINTR }, { SPG__FAULT_FAIL, -EAGAIN },    { SPG__FAULT_FAIL, -ENOMEM },
	{ SPG__FAULT_FAIL, -EIO },   { SPG__FAULT_FAIL, -ECANCELED }, { SPG__FAULT_ALLOC, -ENOMEM },
	{ SPG__FAULT_SHORT, -1 },
};

/* How often each fault has been the result, by errno. */
static _Atomic unsigned told, mended;

static bool is_one_of(const char *name, const char *const *names)
{
	while (*names != NULL && strcmp(*names, name) != 0)
		names++;
	return *names != NULL;
}

/* What reads, writes or connects on the ring waits for readiness instead of saying -EAGAIN. */
static bool never_eagain(const struct io_call *call, bool ring)
{
	static const char *const others[] = { "uring", "poll", "epoll_wait", "splice", "tee", "sendfile", "copy", NULL };

	return ring && call->waits_on != NOTHING && !is_one_of(call->name, others);
}

static void check_result(const struct io_call *call, const struct fault *fault, ssize_t res, ssize_t usual, bool ring)
{
	/* Bytes that were moved are reported, or their number depends on the fault. */
	bool moved = res >= 0 && res < usual;

	if (res == usual || moved)
		atomic_fetch_add(&mended, 1);
	else if (res == fault->err && (res != -EAGAIN || !never_eagain(call, ring)))
		atomic_fetch_add(&told, 1);
	else
		t_fail(__FILE__, __LINE__, "spg_%s with fault %d (%s): %zd (%s), expected %zd", call->name, fault->kind,
		       spg_strerror(fault->err), res, res < 0 ? spg_strerror((int)res) : "no error", usual);
}

static void fault_case(const struct io_call *call, const struct fault *fault, int64_t nth, bool ring)
{
	int fds = t_fds_count();
	struct env e;
	ssize_t res;

	env_open(&e, nth & 1);
	spg__fault_arm(fault->kind, nth, 1, fault->err);
	res = call->good(&e);
	spg__fault_disarm(fault->kind);
	env_close(&e);
	check_result(call, fault, res, call->good_result, ring);
	T_EQ(t_fds_count(), fds);
	if (nth == 1)
		run_case(call->good, call->good_result, false);
}

/* A call that waits, or comes to wait after the fault. */
static void fault_wait(const struct io_call *call, const struct fault *fault, int64_t nth, bool ring)
{
	struct env e;
	ssize_t res;

	env_open(&e, nth & 1);
	spg__fault_arm(fault->kind, nth, 1, fault->err);
	{
		SPG_TIMEOUT_SCOPE(MOMENT_NS);
		res = call->wait(&e);
	}
	spg__fault_disarm(fault->kind);
	env_close(&e);
	check_result(call, fault, res, -ETIMEDOUT, ring);
}

static void prep_failure(struct io_uring_sqe *sqe, void *arg)
{
	(void)arg;
	io_uring_prep_nop(sqe);
	sqe->rw_flags = SPG__NOP_INJECT_RESULT;
	sqe->len = (unsigned)-EIO;
}

static int each_fault(void *arg)
{
	bool ring = arg != NULL;
	/* Linux 6.10. */
	bool can_fail = spg_uring(prep_failure, NULL, NULL) == -EIO;

	if (!can_fail)
		fprintf(stderr, "SKIP failed completions: this kernel does not make them\n");

	for (size_t i = 0; i < IO_CALLS; i++) {
		const struct io_call *call = &io_calls[i];

		current = call->name;
		wanted = call->good_result;
		if (lacks_xattr(call))
			continue;
		for (size_t j = 0; j < sizeof(faults) / sizeof(faults[0]); j++) {
			if (faults[j].kind == SPG__FAULT_FAIL && !can_fail)
				continue;
			for (int64_t nth = 1; nth <= 2; nth++) {
				fault_case(call, &faults[j], nth, ring);
				if (call->wait != NULL && (ring || (call->flags & IO_RING_ONLY) == 0))
					fault_wait(call, &faults[j], nth, ring);
			}
		}
	}
	fprintf(stderr, "faults: %u told, %u mended\n", atomic_load(&told), atomic_load(&mended));
	T_OK((!can_fail || atomic_load(&told) > 100) && atomic_load(&mended) > 100);
	return 0;
}

START_TEST(fault_one_failure_is_told_or_mended)
{
	t_run((unsigned)_i, each_fault, &(int){ 1 });
}
END_TEST

START_TEST(fault_one_failure_is_told_or_mended_without_operations)
{
	spg_config cfg = t_config(2);

	cfg.disable = "op:read,op:write,op:readv,op:writev,op:recv,op:send,op:recvmsg,op:sendmsg,op:accept,op:connect,"
		      "op:splice,op:tee,op:openat,op:statx,op:fsync,op:ftruncate,op:fallocate";
	T_EQ(t_run_config(&cfg, each_fault, NULL), 0);
}
END_TEST

/* Goal: without descriptors a call that makes one says -EMFILE, and no other minds. */
struct table {
	int hogs[256], count;
	struct rlimit limit;
};

/* No number is free but `spare`. */
static void take_all(struct table *t, int spare)
{
	struct rlimit low;
	int fd, last = 0;
	char path[32];

	t->count = 0;
	for (int i = 0; i < 1024; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
		if (access(path, F_OK) == 0 || readlink(path, (char[8]){ 0 }, 8) >= 0)
			last = i;
	}
	while ((fd = dup(2)) < last) {
		T_OK(fd >= 0 && t->count < 256);
		t->hogs[t->count++] = fd;
	}
	close(fd);
	T_EQ(getrlimit(RLIMIT_NOFILE, &t->limit), 0);
	low = t->limit;
	low.rlim_cur = (rlim_t)(fd + spare);
	T_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
}

static void give_all(struct table *t)
{
	T_EQ(setrlimit(RLIMIT_NOFILE, &t->limit), 0);
	while (t->count > 0)
		close(t->hogs[--t->count]);
}

static int each_call_without_descriptors(void *arg)
{
	static const char *const makers[] = { "accept", "accept4", "open", "openat", "socket", "pipe2", NULL };
	/* Whose case needs some of its own. */
	static const char *const need_one[] = { "accept", "accept4", "connect", "close", "copy", NULL };

	(void)arg;
	for (size_t i = 0; i < IO_CALLS; i++) {
		const struct io_call *call = &io_calls[i];
		int spare = strcmp(call->name, "tee") == 0 ? 2 : is_one_of(call->name, need_one);
		struct table table;
		struct env e;
		ssize_t res;

		current = call->name;
		wanted = call->good_result;
		if (lacks_xattr(call) || (strcmp(call->name, "uring") == 0 && !spg_running()))
			continue;
		env_open(&e, i & 1);
		take_all(&table, spare);
		res = call->good(&e);
		give_all(&table);
		env_close(&e);
		/* The second half of a copy may need a pipe of its own. */
		if (strcmp(call->name, "copy") != 0 || res != -EMFILE)
			C_EQ(res, is_one_of(call->name, makers) ? -EMFILE : call->good_result);
	}
	return 0;
}

START_TEST(fault_without_descriptors_calls_work_or_say_so)
{
	spg_config cfg = t_config(1);

	t_run((unsigned)_i, each_call_without_descriptors, NULL);
	cfg.disable = "op:read,op:write,op:recv,op:send,op:recvmsg,op:sendmsg,op:accept,op:connect,op:openat";
	T_EQ(t_run_config(&cfg, each_call_without_descriptors, NULL), 0);
	each_call_without_descriptors(NULL);
}
END_TEST

T_MAIN(T_SHARDS(fault_late_completions_change_no_call), T_SHARDS(fault_refused_submissions_change_no_call),
       T_SHARDS(fault_full_queues_change_no_call), T_SHARDS(fault_one_failure_is_told_or_mended),
       T_TEST(fault_one_failure_is_told_or_mended_without_operations),
       T_SHARDS(fault_without_descriptors_calls_work_or_say_so))
