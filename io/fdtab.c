#include "io/fdtab.h"

#include "coro/alloc.h"
#include "coro/leak.h"
#include "coro/lock.h"
#include "coro/list.h"
#include "io/call.h"
#include "io/bufs.h"
#include "io/fdkind.h"
#include "io/op.h"
#include "io/ring.h"
#include "sched/thread.h"
#include "sched/wait.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spg/io.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Beyond this a descriptor is not tracked; fs.nr_open defaults to 1,048,576. */
#define FDS_MAX ((size_t)1 << 22)
#define FDS_MIN ((size_t)1 << 16)

static struct {
	struct spg__lock lock;
	size_t count;
	_Atomic(_Atomic uint32_t *) closing;
	_Atomic(_Atomic uint16_t *) foreign;
	/* Who waits for an operation to leave, under the lock. */
	struct spg__list closers;
	_Atomic int dead_fd;
	/* Who is about to use it: it is closed after them. */
	_Atomic unsigned dead_users;
} fdtab = { .closers = { &fdtab.closers, &fdtab.closers }, .dead_fd = -1 };

struct closer {
	struct spg__list link;
	struct spg__waiter *waiter;
	int fd;
};

static size_t fds_count(void)
{
	struct rlimit limit;
	size_t n = FDS_MIN;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > n)
		n = limit.rlim_max;
	/* A privileged process may raise its limit later, up to fs.nr_open. */
	if (n < (size_t)1 << 20)
		n = (size_t)1 << 20;
	return n < FDS_MAX ? n : FDS_MAX;
}

/*
 * In the child of a fork: what others had in flight is not in flight here. The child has the
 * thread that forked, which is in no call.
 */
static void forked(void)
{
	/* relaxed, all: there is no other thread. */
	_Atomic uint32_t *closing = atomic_load_explicit(&fdtab.closing, memory_order_relaxed);
	_Atomic uint16_t *foreign = atomic_load_explicit(&fdtab.foreign, memory_order_relaxed);

	atomic_store_explicit(&fdtab.lock.held, 0, memory_order_relaxed);
	spg__list_init(&fdtab.closers);
	/* Zeroes again. */
	SPG_CHECK(madvise((void *)closing, fdtab.count * sizeof(*closing), MADV_DONTNEED) == 0);
	SPG_CHECK(madvise((void *)foreign, fdtab.count * sizeof(*foreign), MADV_DONTNEED) == 0);
	spg__perform_forked();
}

static void watch_forks(void)
{
	SPG_CHECK(pthread_atfork(NULL, NULL, forked) == 0);
}

int spg__fdtab_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	_Atomic uint32_t *closing;
	_Atomic uint16_t *foreign;
	size_t count = fds_count();

	/* acquire: with the release below, count and foreign too. */
	if (atomic_load_explicit(&fdtab.closing, memory_order_acquire) != NULL)
		return 0;
	closing = spg__map(count * sizeof(*closing));
	foreign = spg__map(count * sizeof(*foreign));
	spg__lock(&fdtab.lock);
	if (closing != NULL && foreign != NULL &&
	    atomic_load_explicit(&fdtab.closing, memory_order_relaxed) == NULL) {
		fdtab.count = count;
		atomic_store_explicit(&fdtab.foreign, foreign, memory_order_relaxed);
		atomic_store_explicit(&fdtab.closing, closing, memory_order_release);
		closing = NULL;
		foreign = NULL;
	}
	spg__unlock(&fdtab.lock);
	if (closing != NULL)
		spg__unmap((void *)closing, count * sizeof(*closing));
	if (foreign != NULL)
		spg__unmap((void *)foreign, count * sizeof(*foreign));
	if (atomic_load_explicit(&fdtab.closing, memory_order_acquire) == NULL)
		return -ENOMEM;
	pthread_once(&once, watch_forks);
	return 0;
}

_Atomic uint16_t *spg__fdtab_counts_new(void)
{
	if (spg__fdtab_init() < 0)
		return NULL;
	return spg__map(fdtab.count * sizeof(_Atomic uint16_t));
}

void spg__fdtab_counts_free(_Atomic uint16_t *counts)
{
	spg__unmap((void *)counts, fdtab.count * sizeof(*counts));
}

_Atomic uint16_t *spg__fdtab_foreign(void)
{
	return spg__fdtab_init() < 0 ? NULL : atomic_load_explicit(&fdtab.foreign, memory_order_relaxed);
}

uint32_t spg__fdtab_word(int fd)
{
	_Atomic uint32_t *closing = atomic_load_explicit(&fdtab.closing, memory_order_acquire);

	if (spg__unlikely(closing == NULL || fd < 0 || (size_t)fd >= fdtab.count))
		return 0;
	return atomic_load_explicit(&closing[fd], memory_order_seq_cst);
}

static inline bool is_closing(uint32_t word)
{
	return (word & 1) != 0;
}

/* F3: somebody who closes fd looks again. */
static spg__noinline void wake_closers(int fd)
{
	spg__lock(&fdtab.lock);
	for (struct spg__list *node = fdtab.closers.next; node != &fdtab.closers; node = node->next) {
		struct closer *closer = spg__container_of(node, struct closer, link);

		if (closer->fd == fd)
			spg__unpark(closer->waiter);
	}
	spg__unlock(&fdtab.lock);
}

int spg__fdtab_enter(_Atomic uint16_t *counts, int fd)
{
	_Atomic uint32_t *closing = atomic_load_explicit(&fdtab.closing, memory_order_acquire);

	if (spg__unlikely((size_t)(unsigned)fd >= fdtab.count || fd < 0))
		return 0;
	atomic_fetch_add_explicit(&counts[fd], 1, memory_order_seq_cst); /* [F-a] */
	if (spg__likely(!is_closing(atomic_load_explicit(&closing[fd], memory_order_seq_cst))))
		return 0;
	spg__fdtab_leave(counts, fd);
	return -EBADF;
}

int spg__fdtab_enter_again(_Atomic uint16_t *counts, int fd, uint32_t word)
{
	int err = spg__fdtab_enter(counts, fd);

	if (err == 0 && spg__unlikely(spg__fdtab_word(fd) != word)) {
		spg__fdtab_leave(counts, fd);
		err = -EBADF;
	}
	return err < 0 ? -ECANCELED : 0;
}

void spg__fdtab_leave(_Atomic uint16_t *counts, int fd)
{
	_Atomic uint32_t *closing = atomic_load_explicit(&fdtab.closing, memory_order_acquire);

	if (spg__unlikely((size_t)(unsigned)fd >= fdtab.count || fd < 0))
		return;
	atomic_fetch_sub_explicit(&counts[fd], 1, memory_order_seq_cst);
	if (spg__unlikely(is_closing(atomic_load_explicit(&closing[fd], memory_order_seq_cst))))
		wake_closers(fd);
}

/* Cancels what the shard's ring has in flight on a descriptor. Runs on that shard. */
struct cancel_errand {
	struct spg__errand errand;
	struct spg__waiter *waiter;
	int fd;
	_Atomic bool done;
};

static void cancel_run(struct spg__errand *errand, struct spg__shard *shard)
{
	struct cancel_errand *cancel = spg__container_of(errand, struct cancel_errand, errand);
	struct spg__waiter *waiter = cancel->waiter;
	struct io_uring_sqe *sqe = spg__ring_sqe(spg__ring_of(shard));

	if (sqe == NULL) {
		/* The queue is full and the kernel takes nothing now: at the next pass. */
		spg__shard_errand(shard, errand);
		return;
	}
	/* Behind the SQEs it is meant for, so it finds them. */
	io_uring_prep_cancel_fd(sqe, cancel->fd, IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = SPG__UD_IGNORE;
	spg__count(&shard->counters.cancels);
	/* release: the closer's frame may go (its last access). */
	atomic_store_explicit(&cancel->done, true, memory_order_release);
	spg__unpark(waiter);
}

/* Foreign threads in a wait on fd get up and find it closing. */
static void foreign_wake(struct spg__thread *thread, void *arg)
{
	if (atomic_load_explicit(&thread->io_fd, memory_order_seq_cst) == *(int *)arg)
		spg__unpark(&thread->waiter);
}

static bool shard_busy(unsigned i, int fd)
{
	struct spg__ring *ring = spg__ring_of(spg__shard_at((int)i));

	/* seq_cst [F-a]. */
	return ring != NULL && atomic_load_explicit(&ring->fd_inflight[fd], memory_order_seq_cst) != 0;
}

/* Coroutines there that wait for a receive buffer on fd's behalf have nothing in flight to be canceled. */
static void shard_wake(unsigned i, int fd)
{
	struct spg__ring *ring = spg__ring_of(spg__shard_at((int)i));

	for (unsigned class = 0; class < SPG__BUFS_CLASSES; class++) {
		/* acquire: pairs with spg__bufs_get. */
		struct spg__bufs *pool = atomic_load_explicit(&ring->bufs[class], memory_order_acquire);

		if (pool != NULL)
			spg__bufs_closing(pool, fd);
	}
}

static bool anybody(int fd, bool running)
{
	if (atomic_load_explicit(&atomic_load_explicit(&fdtab.foreign, memory_order_relaxed)[fd],
				 memory_order_seq_cst) != 0)
		return true;
	for (unsigned i = 0; running && i < spg__sched.conf.shards; i++) {
		if (shard_busy(i, fd))
			return true;
	}
	return false;
}

static void cancel_all(int fd, struct spg__wait *wait, bool running)
{
	for (unsigned i = 0; running && i < spg__sched.conf.shards; i++) {
		struct cancel_errand cancel = { .errand.run = cancel_run, .waiter = wait->waiter, .fd = fd };

		if (!shard_busy(i, fd))
			continue;
		spg__shard_errand(spg__shard_at((int)i), &cancel.errand);
		/* acquire: pairs with cancel_run. */
		while (!atomic_load_explicit(&cancel.done, memory_order_acquire))
			(void)spg__wait_park(wait);
		shard_wake(i, fd);
	}
	spg__threads_each(foreign_wake, &fd);
}

/* Ends everything in flight on fd and waits until it has ended. closing is set (F2). */
static spg__noinline void drain(int fd, struct spg__wait *wait, bool running)
{
	struct closer closer = { .waiter = wait->waiter, .fd = fd };
	int64_t pause_ns = SPG__CANCEL_AGAIN_NS;

	spg__lock(&fdtab.lock);
	spg__list_append(&fdtab.closers, &closer.link);
	spg__unlock(&fdtab.lock);
	cancel_all(fd, wait, running);
	while (anybody(fd, running)) {
		if (spg__wait_park_for(wait, pause_ns))
			continue;
		cancel_all(fd, wait, running); /* O3 */
		pause_ns = spg__cancel_again_next(pause_ns);
	}
	spg__lock(&fdtab.lock);
	spg__list_remove(&closer.link);
	spg__unlock(&fdtab.lock);
}

static int dead_fd(void)
{
	int fd = atomic_load_explicit(&fdtab.dead_fd, memory_order_seq_cst), none = -1;

	if (fd >= 0)
		return fd;
	fd = open("/", O_PATH | O_CLOEXEC);
	if (fd >= 0 && !atomic_compare_exchange_strong_explicit(&fdtab.dead_fd, &none, fd,
								memory_order_acq_rel, memory_order_acquire)) {
		close(fd);
		fd = none;
	}
	return fd;
}

void spg__fdtab_start(void)
{
	(void)dead_fd(); /* out of descriptors: the next close tries again */
}

void spg__fdtab_fini(void)
{
	/* seq_cst [F-b]: with bury(). */
	int fd = atomic_exchange_explicit(&fdtab.dead_fd, -1, memory_order_seq_cst);

	/* Foreign threads that close at this moment: a system call, and they are done. */
	while (atomic_load_explicit(&fdtab.dead_users, memory_order_seq_cst) != 0)
		sched_yield();
	if (fd >= 0)
		close(fd);
}

/* Operations on files end by themselves; close(2)'s own error matters there (NFS, quota). */
static bool may_wait_forever(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISBLK(st.st_mode);
}

/* F4. */
static void bury(int fd)
{
	int dead;

	/* seq_cst [F-b]: counted before the look, so the look finds it open, or gone. */
	atomic_fetch_add_explicit(&fdtab.dead_users, 1, memory_order_seq_cst);
	dead = dead_fd();
	/* EBUSY, a race with an open of the same number: then a plain close does. */
	if (dead >= 0)
		(void)dup3(dead, fd, O_CLOEXEC);
	atomic_fetch_sub_explicit(&fdtab.dead_users, 1, memory_order_seq_cst);
}

static int close_now(int fd, _Atomic uint32_t *closing)
{
	int err = 0;

	if (may_wait_forever(fd))
		bury(fd);
	/* seq_cst, F4: even again, and another than before (F6). */
	atomic_fetch_add_explicit(closing, 1, memory_order_seq_cst);
	/* On Linux the number is free whatever close(2) says, -EINTR too. */
	if (close(fd) < 0 && errno != EINTR)
		err = -errno;
	return err;
}

int spg_close(int fd)
{
	_Atomic uint32_t *closing;
	uint32_t word;
	struct spg__wait wait;
	bool foreign = spg__shard_self() == NULL, running = true;
	int err;

	if (fd < 0)
		return -EBADF;
	spg__leak_gone(SPG__LEAK_FD, (uintptr_t)fd);
	err = spg__wait_begin_uncancelable(&wait, SPG__REASON_CLOSE, (const void *)(intptr_t)fd);
	if (err == 0)
		err = spg__fdtab_init();
	if (err < 0 || (size_t)fd >= fdtab.count)
		return close(fd) < 0 && errno != EINTR ? -errno : 0;
	closing = &atomic_load_explicit(&fdtab.closing, memory_order_acquire)[fd];
	/* seq_cst, F2. A second closer lost the race for the number. */
	word = atomic_load_explicit(closing, memory_order_relaxed);
	if (is_closing(word) || !atomic_compare_exchange_strong_explicit(closing, &word, word + 1,
									  memory_order_seq_cst,
									  memory_order_relaxed)) {
		spg__wait_end(&wait);
		return -EBADF;
	}
	if (foreign)
		running = spg__shard_enter_foreign() != NULL;
	if (spg__unlikely(anybody(fd, running)))
		drain(fd, &wait, running);
	if (foreign && running)
		spg__shard_leave_foreign();
	spg__fdkind_forget(fd);
	err = close_now(fd, closing);
	spg__wait_end(&wait);
	return err;
}
