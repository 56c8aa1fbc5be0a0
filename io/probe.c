#include "io/features.h"

#include "coro/alloc.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define PROBE_ENTRIES 4u
#define PAGE_BYTES 65536u /* the largest there is */

static void probe_ops(struct io_uring *uring, struct spg__features *features)
{
	union {
		struct io_uring_probe head;
		char bytes[sizeof(struct io_uring_probe) + SPG__OPS_MAX * sizeof(struct io_uring_probe_op)];
	} *probe = spg__calloc(1, sizeof(*probe));
	int err = probe == NULL ? -ENOMEM : io_uring_register_probe(uring, &probe->head, SPG__OPS_MAX);

	for (unsigned i = 0; i < SPG__OPS_MAX; i++) {
		/* Without an answer: what 5.6 had, when the probe came. */
		bool there = err < 0 ? i <= IORING_OP_EPOLL_CTL :
				       i <= probe->head.last_op && (probe->head.ops[i].flags & IO_URING_OP_SUPPORTED);

		features->op[i] &= there;
	}
	spg__free(probe);
}

bool spg__send_msg_ring(int ring_fd, uint64_t user_data)
{
	struct io_uring_sqe sqe = { 0 };

	io_uring_prep_msg_ring(&sqe, ring_fd, 0, user_data, 0);
	return syscall(SYS_io_uring_register, -1, SPG__REGISTER_SEND_MSG_RING, &sqe, 1) >= 0;
}

bool spg__sync_cancel(int ring_fd, uint64_t user_data)
{
	/* A time of 0: what a worker of the kernel's has in hand is asked to end, and not waited for. */
	struct io_uring_sync_cancel_reg reg = { .addr = user_data, .fd = -1 };

	return syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_SYNC_CANCEL, &reg, 1) >= 0 ||
	       (errno != EINVAL && errno != EOPNOTSUPP);
}

void spg__features_of_ring(struct spg__features *features, struct io_uring *uring, uint64_t user_data)
{
	probe_ops(uring, features);
	features->no_iowait &= (uring->features & SPG__FEAT_NO_IOWAIT) != 0;
	features->msg_ring &= features->op[IORING_OP_MSG_RING] && (uring->features & IORING_FEAT_CQE_SKIP);
	features->sync_cancel &= spg__sync_cancel(uring->ring_fd, user_data);
	features->send_msg_ring &= features->msg_ring && spg__send_msg_ring(uring->ring_fd, user_data);
}

static bool setup_works(unsigned flags)
{
	struct io_uring_params params = { .flags = flags, .sq_thread_idle = 1 };
	long fd = syscall(SYS_io_uring_setup, PROBE_ENTRIES, &params);

	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

static void probe_setup(struct spg__features *features)
{
	features->submit_all = setup_works(IORING_SETUP_SUBMIT_ALL);
	features->coop_taskrun = setup_works(IORING_SETUP_COOP_TASKRUN);
	features->taskrun_flag = setup_works(IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN);
	features->single_issuer = setup_works(IORING_SETUP_SINGLE_ISSUER);
	features->defer_taskrun = setup_works(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER);
	features->sqpoll = setup_works(IORING_SETUP_SQPOLL);
}

/* What is no socket tells whether the kernel knows the flag: -ENOTSOCK instead of -EINVAL. */
static bool multishot_works(struct io_uring *uring)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
	struct io_uring_cqe *cqe;
	bool works = false;

	if (fd < 0 || sqe == NULL)
		return false;
	io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, 0);
	sqe->user_data = 1;
	if (io_uring_submit(uring) == 1) {
		/* A message of spg__features_of_ring may lie before it. */
		while (io_uring_wait_cqe(uring, &cqe) == 0 && cqe->user_data != 1)
			io_uring_cqe_seen(uring, cqe);
		works = cqe != NULL && cqe->res == -ENOTSOCK;
	}
	close(fd);
	return works;
}

static bool buf_ring_works(struct io_uring *uring, void *page)
{
	struct io_uring_buf_reg reg = { .ring_addr = (uint64_t)(uintptr_t)page, .ring_entries = 4, .bgid = 1 };

	return io_uring_register_buf_ring(uring, &reg, 0) == 0;
}

static void probe_memory(struct spg__features *features, void *page)
{
	struct iovec range = { .iov_base = page, .iov_len = PAGE_BYTES };
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	features->guard_install = madvise(page, PAGE_BYTES, MADV_GUARD_INSTALL) == 0;
	if (self < 0)
		return;
	features->process_madvise = syscall(SYS_process_madvise, self, &range, 1ul,
					    features->guard_install ? MADV_GUARD_INSTALL : MADV_DONTNEED,
					    0) == (long)PAGE_BYTES;
	close(self);
}

int spg__features_probe(struct spg__features *features)
{
	struct io_uring uring;
	void *pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	memset(features, 0, sizeof(*features));
	if (pages == MAP_FAILED)
		return -ENOMEM;
	probe_memory(features, (char *)pages + PAGE_BYTES);
	err = io_uring_queue_init(PROBE_ENTRIES, &uring, 0);
	if (err == 0) {
		features->io_uring = features->no_iowait = features->msg_ring = features->send_msg_ring = true;
		features->sync_cancel = true;
		memset(features->op, true, sizeof(features->op));
		spg__features_of_ring(features, &uring, 0);
		features->registered_ring = io_uring_register_ring_fd(&uring) == 1;
		features->multishot = multishot_works(&uring);
		features->buf_ring = buf_ring_works(&uring, pages);
		io_uring_queue_exit(&uring);
		probe_setup(features);
	}
	munmap(pages, 2 * PAGE_BYTES);
	return err;
}

const char *spg__features_explain(int err)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		return "forbidden: see sysctl kernel.io_uring_disabled, or the container's seccomp profile";
	case -ENOMEM:
		return "no memory for the ring: raise the memlock limit (ulimit -l)";
	case -ENOSYS:
		return "not in this kernel, or disabled: Linux 5.18 or newer is needed";
	case -EMFILE:
	case -ENFILE:
		return "out of descriptors (ulimit -n)";
	default:
		return "the kernel refused the set-up";
	}
}
