#include "io/stream.h"

#include "coro/alloc.h"
#include "io/call.h"
#include "io/fdkind.h"
#include "io/fdtab.h"

#define SLICES_MAX 16u
#define STREAM_BYTES 4096u
#define DATAGRAM_BYTES (2048u - SPG__STREAM_HEAD)

/* Not a result: the caller receives without a multishot. */
#define PLAIN 1

static int sockopt(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

/*
 * Not local connections: their multishot receive may miss the end that comes together with the
 * last data (Linux 6.18; axboe/liburing issue 1549). Nor others: netlink has an -ENOBUFS of
 * its own.
 */
static bool multishot_works(int domain, int type)
{
	return domain == AF_INET || domain == AF_INET6 || (domain == AF_UNIX && type == SOCK_DGRAM);
}

spg_stream *spg_stream_open(int fd, const spg_stream_opts *o)
{
	static const spg_stream_opts defaults = SPG_STREAM_OPTS_INIT;
	enum spg__fdkind kind = spg__fdkind_now(fd);
	struct spg_stream *s;
	int domain, type;
	size_t bytes;

	if (o == NULL)
		o = &defaults;
	if (kind == SPG__FDKIND_UNKNOWN || o->slice_bytes > SPG_SLICE_BYTES_MAX)
		return NULL;
	s = spg__calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	domain = sockopt(fd, SO_DOMAIN);
	type = sockopt(fd, SO_TYPE);
	s->fd = fd;
	s->word = spg__fdtab_word(fd);
	s->slices_max = o->slices_max > 0 ? o->slices_max : SLICES_MAX;
	s->socket = kind == SPG__FDKIND_SOCKET;
	s->datagrams = s->socket && type != SOCK_STREAM;
	s->packets = type == SOCK_SEQPACKET;
	s->plain = !multishot_works(domain, type);
	bytes = s->datagrams ? DATAGRAM_BYTES : STREAM_BYTES;
	if (o->slice_bytes > 0)
		bytes = o->slice_bytes;
	s->class = (uint8_t)spg__bufs_class(bytes + (s->datagrams ? SPG__STREAM_HEAD : 0));
	return s;
}

/* On the shard whose ring the receive is in flight on. */
static void stop_run(struct spg__errand *errand, struct spg__shard *shard)
{
	struct spg_stream *s = spg__container_of(errand, struct spg_stream, errand);
	struct spg__waiter *waiter;
	struct io_uring_sqe *sqe;
	bool armed;

	spg__lock(&s->lock);
	armed = s->armed && s->ring == shard->ring;
	spg__unlock(&s->lock);
	if (armed) {
		sqe = spg__ring_sqe(shard->ring);
		if (sqe == NULL) {
			/* The queue is full and the kernel takes nothing now: at the next pass. */
			spg__shard_errand(shard, errand);
			return;
		}
		/* Should another receive have its place by now, that one is stopped, and armed again. */
		io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)s | SPG__UD_STREAM, 0);
		sqe->user_data = SPG__UD_IGNORE;
		spg__count(&shard->counters.cancels);
	}
	spg__lock(&s->lock);
	s->stopping = false;
	waiter = s->waiter;
	spg__unlock(&s->lock); /* T8 */
	if (waiter != NULL)
		spg__unpark(waiter);
}

/* Shall an errand be posted? Under lock; the caller posts it afterwards. */
static bool stop_wanted(struct spg_stream *s)
{
	if (!s->armed || s->stopping)
		return false;
	s->stopping = true;
	s->errand.run = stop_run;
	return true;
}

/* The last CQE of a receive. Under lock. */
static void end(struct spg_stream *s, int res)
{
	s->armed = false;
	switch (res) {
	case -ENOBUFS:
		s->starved = true; /* T5 */
		return;
	case -EINVAL:	  /* the kernel knows no such receive */
	case -EOPNOTSUPP:
	case -ENOTSOCK:
	case -EAGAIN: /* O_NONBLOCK: the ring does not wait for it */
		s->plain = true;
		return;
	case -EINTR:
		return;
	case -ECANCELED:
		/* By us (T6), by the end of the runtime, or by spg_close. */
		s->ended = spg__fdtab_word(s->fd) != s->word;
		s->res = res;
		return;
	default:
		/* Data without F_MORE: the kernel had enough of it, and there may be more. */
		s->ended = res <= 0;
		s->res = res;
		return;
	}
}

void spg__stream_complete(struct spg_stream *s, int32_t res, uint32_t flags)
{
	struct spg__ring *ring = s->ring;
	struct spg__shard *shard = ring->shard;
	struct spg__buf *buf = NULL, *back = NULL;
	struct spg__waiter *waiter;
	bool over = (flags & IORING_CQE_F_MORE) == 0, stop = false;

	if (flags & IORING_CQE_F_BUFFER)
		buf = spg__bufs_take(s->pool, flags >> IORING_CQE_BUFFER_SHIFT, res > 0 ? (uint32_t)res : 0);
	if (buf != NULL && res <= 0) {
		back = buf;
		buf = NULL;
	}
	if (over) {
		spg__fdtab_leave(ring->fd_inflight, s->fd);
		spg__ring_ended(ring);
	}
	spg__lock(&s->lock);
	if (buf != NULL)
		spg__fifo_append(&s->queue, &buf->link);
	if (over)
		end(s, res);
	else if (s->queue.count > 0 && s->queue.count % s->slices_max == 0)
		stop = stop_wanted(s); /* T6 */
	waiter = s->waiter;
	spg__unlock(&s->lock); /* T8: unless the errand is wanted, which is an access as well */
	if (stop)
		spg__shard_errand(shard, &s->errand);
	if (back != NULL)
		spg__buf_put(back);
	if (waiter != NULL)
		spg__unpark(waiter);
	if (over) /* release: with spg__ring_drain. */
		atomic_fetch_sub_explicit(&ring->streams, 1, memory_order_release);
}

static void prep(struct spg_stream *s, struct io_uring_sqe *sqe)
{
	if (s->datagrams)
		spg__io_prep(sqe, IORING_OP_RECVMSG, s->fd, &spg__stream_msghdr, 1, 0);
	else
		spg__io_prep(sqe, IORING_OP_RECV, s->fd, NULL, 0, 0);
	sqe->ioprio = IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST; /* T5 */
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = s->class;
	sqe->user_data = (uint64_t)(uintptr_t)s | SPG__UD_STREAM;
}

/*
 * T1. Where the coroutine waits it may move: the caller comes back, and ring and pool are looked
 * up anew. `granted` is the pool it was woken for, and is owed a taker (B4).
 */
static int arm(struct spg_stream *s, struct spg__wait *wait, struct spg__bufs **granted)
{
	struct spg__ring *ring = spg__ring_of(spg__shard_self());
	struct spg__bufs *pool = spg__bufs_get(ring, s->class);
	struct io_uring_sqe *sqe;
	int err = 0;

	if (pool == NULL)
		return PLAIN;
	if (s->starved) {
		err = spg__bufs_await(pool, wait, s->fd, s->word);
		if (err == 0) {
			s->starved = false;
			*granted = pool;
		}
		return err;
	}
	sqe = spg__ring_sqe(ring);
	if (sqe == NULL) {
		spg__coro_yield();
		return 0;
	}
	err = spg__fdtab_enter_again(ring->fd_inflight, s->fd, s->word);
	if (err < 0) {
		/* The SQE is taken: it goes as a no-op. */
		io_uring_prep_nop(sqe);
		sqe->user_data = SPG__UD_IGNORE;
		return err;
	}
	prep(s, sqe);
	spg__lock(&s->lock);
	s->armed = true;
	s->ring = ring;
	s->pool = pool;
	spg__unlock(&s->lock);
	/* relaxed: ours; the completion comes later. */
	atomic_fetch_add_explicit(&ring->streams, 1, memory_order_relaxed);
	spg__ring_begun(ring);
	spg__ring_filled(ring);
	/* There was data: of this pool a buffer is as good as taken. */
	if (*granted != NULL && *granted != pool)
		spg__bufs_pass(*granted);
	*granted = NULL;
	return 0;
}

static bool multishot_usable(const struct spg_stream *s)
{
	return !s->plain && spg__features.multishot && spg__features.buf_ring &&
	       spg__op_usable(s->datagrams ? IORING_OP_RECVMSG : IORING_OP_RECV) && spg__coro_self() != NULL;
}

/* The oldest slice, or NULL with the state: armed, or how it ended (T4). */
static struct spg__buf *take(struct spg_stream *s, bool *armed, bool *ended, int *res)
{
	struct spg__link *link;

	spg__lock(&s->lock);
	link = spg__fifo_take(&s->queue);
	*armed = s->armed;
	*ended = link == NULL && s->ended;
	*res = s->res;
	if (*ended)
		s->ended = false;
	spg__unlock(&s->lock);
	return link != NULL ? spg__container_of(link, struct spg__buf, link) : NULL;
}

static int await(struct spg_stream *s, struct spg__wait *wait, struct spg__bufs **granted, struct spg__buf **out)
{
	int err = 0, res;

	for (;;) {
		bool armed, ended;

		*out = take(s, &armed, &ended, &res);
		if (*out != NULL)
			return 0;
		if (ended)
			return res;
		if (err != 0)
			return err; /* S1: what came meanwhile was looked for */
		if (armed)
			err = spg__wait_park(wait);
		else
			err = multishot_usable(s) ? arm(s, wait, granted) : PLAIN;
	}
}

/* 0 and a slice, or none at the end of the stream; an error; or PLAIN. */
static int next(struct spg_stream *s, struct spg__wait *wait, struct spg__buf **out)
{
	struct spg__bufs *granted = NULL;
	int err = await(s, wait, &granted, out);

	if (spg__unlikely(granted != NULL))
		spg__bufs_pass(granted);
	return err;
}

static bool reader_enter(struct spg_stream *s, struct spg__waiter *waiter)
{
	bool free;

	spg__lock(&s->lock);
	free = s->waiter == NULL;
	if (free)
		s->waiter = waiter;
	spg__unlock(&s->lock);
	return free;
}

static void reader_leave(struct spg_stream *s)
{
	spg__lock(&s->lock);
	s->waiter = NULL;
	spg__unlock(&s->lock);
}

int spg_stream_recv(spg_stream *s, spg_slice *out)
{
	struct spg__buf *buf = NULL;
	struct spg__wait wait;
	int err;

	if (s == NULL || out == NULL)
		return -EINVAL;
	*out = (spg_slice){ 0 };
	err = spg__wait_begin(&wait, SPG__REASON_IO, (const void *)(intptr_t)s->fd);
	if (err < 0)
		return err;
	if (!reader_enter(s, wait.waiter)) {
		spg__wait_end(&wait);
		return -EBUSY;
	}
	err = next(s, &wait, &buf);
	spg__wait_end(&wait);
	if (err == PLAIN)
		err = spg__stream_plain(s, &buf);
	reader_leave(s);
	if (buf != NULL)
		spg__stream_slice(s, buf, out);
	if (s->packets && out->len == 0)
		spg_slice_release(out);
	return err;
}

void spg_slice_release(spg_slice *slice)
{
	if (slice == NULL || slice->owner == NULL)
		return;
	spg__buf_put(slice->owner);
	*slice = (spg_slice){ 0 };
}

/* Ends the receive in flight, and waits until it has ended and the errand has run (T8). */
static void quiesce(struct spg_stream *s, struct spg__wait *wait)
{
	bool foreign = spg__shard_self() == NULL, stop = false, busy = true;
	/* Without a runtime, or when it is about to end, its shards end what is in flight. */
	bool running = !foreign || spg__shard_enter_foreign() != NULL;
	struct spg__shard *shard = NULL;

	spg__lock(&s->lock);
	SPG_CHECK(s->waiter == NULL); /* misuse: somebody receives */
	s->waiter = wait->waiter;
	if (running)
		stop = stop_wanted(s);
	if (stop)
		shard = s->ring->shard;
	spg__unlock(&s->lock);
	if (stop)
		spg__shard_errand(shard, &s->errand);
	if (foreign && running)
		spg__shard_leave_foreign();
	for (;;) {
		spg__lock(&s->lock);
		busy = s->armed || s->stopping;
		spg__unlock(&s->lock);
		if (!busy)
			return;
		(void)spg__wait_park(wait);
	}
}

void spg_stream_close(spg_stream *s)
{
	struct spg__link *link;
	struct spg__wait wait;
	bool ready;

	if (s == NULL)
		return;
	/* No memory: a foreign thread that never waited before. It finds some sooner or later. */
	do
		ready = spg__wait_begin_uncancelable(&wait, SPG__REASON_CLOSE,
						     (const void *)(intptr_t)s->fd) == 0;
	while (!ready);
	quiesce(s, &wait);
	spg__wait_end(&wait);
	while ((link = spg__fifo_take(&s->queue)) != NULL)
		spg__buf_put(spg__container_of(link, struct spg__buf, link));
	spg__free(s);
}
