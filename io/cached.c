#include "io/cached.h"

#include "io/call.h"
#include "io/fdtab.h"
#include "io/ring.h"
#include "sched/shard.h"

#include <sys/uio.h>

#define COLD_READS 15
/* PC3, in rough ns: a read's own cost, what a ns copies, and a turn. */
#define READ_NS 300u
#define COPY_BYTES 8u
#define TURN_NS 100000u

static void set_kind(int fd, unsigned kind)
{
	/* relaxed: a hint. */
	atomic_store_explicit(&spg__fdkinds[fd], (uint8_t)kind, memory_order_relaxed);
}

/* PC2: counts down, and says no. */
bool spg__cached_try_slow(int fd)
{
	unsigned kind = atomic_load_explicit(&spg__fdkinds[fd], memory_order_relaxed);

	if (kind >= SPG__FDKIND_COLD)
		set_kind(fd, kind == SPG__FDKIND_COLD ? SPG__FDKIND_CACHED : kind - 1);
	return false;
}

/* As much as is there: a count, 0 at the end of the file, or a negative errno. */
static ssize_t read_now(int fd, char *buf, size_t len, off_t offset)
{
	struct iovec iov = { buf, len };
	ssize_t n;

	do {
		n = preadv2(fd, &iov, 1, offset, RWF_NOWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* 0: go on, then end(). -EAGAIN: on the ring instead. Anything else is the read's result. */
static int begin(struct spg__ring **ring, int fd)
{
	struct spg__shard *shard = spg__shard_self();
	int err;

	/* A foreign thread's read is a system call as it is; what is disabled shall not run. */
	if (shard == NULL || shard->current == NULL || !spg__op_usable(IORING_OP_READ))
		return -EAGAIN;
	err = spg__io_entry();
	if (spg__unlikely(err < 0))
		return err;
	*ring = spg__ring_of(shard); /* nothing has switched: only an ended context yields */
	return spg__fdtab_enter((*ring)->fd_inflight, fd); /* PC4 */
}

/* May switch, and resume elsewhere. */
static void end(struct spg__ring *ring, int fd, unsigned cost_ns)
{
	spg__fdtab_leave(ring->fd_inflight, fd);
	ring->cached_ns += cost_ns;
	if (ring->cached_ns < TURN_NS)
		return;
	/* PC3: the pass is as good as over, also for who is alone. Not quite: a slot's turn is inside a pass. */
	ring->cached_ns = 0;
	if (ring->shard->budget > 1)
		ring->shard->budget = 1;
	spg__coro_yield();
}

/* As much as is cached, into *done. The last look's result: 0, -EAGAIN if there is more on the disk, an error. */
static ssize_t read_on(int fd, char *buf, unsigned len, off_t offset, ssize_t *done)
{
	ssize_t n = 0;

	/* Short is the end of the file, or of what is cached: the next call tells which. */
	while ((size_t)*done < len) {
		n = read_now(fd, buf + *done, len - (size_t)*done, offset < 0 ? -1 : offset + *done);
		if (n <= 0)
			break;
		*done += n;
	}
	return n < 0 ? n : 0;
}

bool spg__cached_read(int fd, char *buf, unsigned len, off_t offset, struct spg__cached *c)
{
	struct spg__ring *ring = NULL;
	ssize_t err = begin(&ring, fd);

	if (err == -EAGAIN)
		return false;
	if (err < 0) {
		c->done = err;
		return true;
	}
	err = read_on(fd, buf, len, offset, &c->done);
	if (err == -EAGAIN || err == -EOPNOTSUPP) {
		set_kind(fd, err == -EAGAIN ? SPG__FDKIND_COLD + COLD_READS : SPG__FDKIND_FILE);
		c->counted = ring;
		return false;
	}
	end(ring, fd, READ_NS + (unsigned)c->done / COPY_BYTES);
	if (c->done == 0)
		c->done = err;
	return true;
}

void spg__cached_leave(const struct spg__cached *c, int fd)
{
	spg__fdtab_leave(c->counted->fd_inflight, fd);
}
