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

/* PC3 */
static void take_turns(struct spg__ring *ring, ssize_t done)
{
	ring->cached_ns += READ_NS + (done > 0 ? (unsigned)done / COPY_BYTES : 0);
	if (ring->cached_ns < TURN_NS)
		return;
	ring->cached_ns = 0;
	spg__coro_yield();
}

bool spg__cached_read(int fd, char *buf, unsigned len, off_t offset, ssize_t *done)
{
	struct spg__shard *shard = spg__shard_self();
	ssize_t n = 0;
	int err;

	/* A foreign thread's read is a system call as it is; a closing descriptor is the ring's matter. */
	if (shard == NULL || shard->current == NULL || !spg__op_usable(IORING_OP_READ) ||
	    (spg__fdtab_word(fd) & 1) != 0)
		return false;
	err = spg__io_entry();
	if (err < 0) {
		*done = err;
		return true;
	}
	/* Short is the end of the file, or of what is cached: the next call tells which. */
	while ((size_t)*done < len) {
		n = read_now(fd, buf + *done, len - (size_t)*done, offset < 0 ? -1 : offset + *done);
		if (n <= 0)
			break;
		*done += n;
	}
	if (n == -EAGAIN || n == -EOPNOTSUPP) {
		set_kind(fd, n == -EAGAIN ? SPG__FDKIND_COLD + COLD_READS : SPG__FDKIND_FILE);
		return false;
	}
	if (n < 0 && *done == 0)
		*done = n;
	take_turns(spg__ring_of(shard), *done);
	return true;
}
