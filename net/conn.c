/*
 * Byte streams: turns, deadlines and closing, for whatever implements reading and writing.
 *
 * CN1  Each direction has one turn. `holder` has it; who waits for it is in `queue` and is handed
 *      it in order. So an implementation sees one call a direction (spg/conn.h).
 * CN2  A call is inside, and counted, from when it asks for its turn until it gives it up. Inside
 *      it is under its direction's movable deadline (C7): whoever changes that, or closes, stores
 *      first and then, under the lock, unparks the holder and the queue.
 * CN3  The first to close sets `closed`, which lets nobody in, ends the deadlines of both directions
 *      with -ECANCELED, and waits until nobody is inside. Then it is alone with `self`.
 * CN4  Leaving, a call touches the stream last by its unlock: the closer may free it then.
 * CN5  `rest` belongs to the holder of the reading turn: bytes that were read and given back, which
 *      come before what the implementation reads.
 */
#include "coro/alloc.h"
#include "runtime/waitq.h"

#include <spg/conn.h>
#include <spg/io.h>

#include <limits.h>
#include <string.h>

#define COPY_BYTES ((size_t)64 << 10)
/* IOV_MAX of Linux. */
#define BUFFERS_MAX 1024

enum { READING, WRITING };

struct direction {
	struct spg__deadline deadline;
	struct spg__waiter *holder;
	struct spg__waitq queue;
};

struct rest {
	char *buf;
	size_t start, end;
};

struct spg_conn {
	spg_conn_ops ops;
	const spg_conn_ops *ops_given;
	void *self;
	struct rest rest;
	struct spg__lock lock;
	/* Under the lock. */
	uint32_t refs, inside;
	bool closed;
	struct direction directions[2];
	struct spg__waitq closer;
};

spg_conn *spg_conn_new(const spg_conn_ops *ops, void *self)
{
	spg_conn *c;

	if (ops == NULL || ops->size < offsetof(spg_conn_ops, writev) || ops->read == NULL || ops->write == NULL ||
	    ops->close == NULL)
		return NULL;
	c = spg__calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	memcpy(&c->ops, ops, ops->size < sizeof(*ops) ? ops->size : sizeof(*ops));
	c->ops_given = ops;
	c->self = self;
	c->refs = 1;
	for (int i = 0; i < 2; i++)
		atomic_init(&c->directions[i].deadline.when_ns, SPG__NEVER);
	return c;
}

void *spg_conn_self(spg_conn *c, const spg_conn_ops *ops)
{
	return c != NULL && c->ops_given == ops ? c->self : NULL;
}

/* CN2: those inside look again. Under the lock: few wait for one stream. */
static void look_again(struct direction *d)
{
	if (d->holder != NULL)
		spg__unpark(d->holder);
	if (spg__waitq_empty(&d->queue))
		return;
	for (struct spg__list *link = d->queue.head.next; link != &d->queue.head; link = link->next)
		spg__unpark(spg__container_of(link, struct spg__waitq_node, link)->waiter);
}

/* One call: its turn, and the deadline it is under. */
struct turn {
	spg_conn *conn;
	struct direction *direction;
	struct spg__waiter *waiter;
	struct spg__moving moving;
};

/* The lock is held and let go; the turn goes to the next, or the call never had it. CN4. */
static void leave(struct turn *t, bool had_turn)
{
	struct spg__waitq_node *next = NULL, *closer = NULL;
	spg_conn *c = t->conn;

	if (had_turn) {
		next = spg__waitq_pop(&t->direction->queue);
		t->direction->holder = next != NULL ? next->waiter : NULL; /* CN1 */
	}
	c->inside--;
	if (c->closed && c->inside == 0)
		closer = spg__waitq_pop(&c->closer);
	spg__unlock(&c->lock);
	if (next != NULL)
		spg__waitq_serve(next);
	if (closer != NULL)
		spg__waitq_serve(closer);
}

static void give_turn(struct turn *t)
{
	spg__moving_leave(t->waiter, &t->moving);
	spg__lock(&t->conn->lock);
	leave(t, true);
}

/* Inside with the turn: 0. Else an error, and outside. */
static int wait_turn(struct turn *t, struct spg__wait *wait)
{
	struct direction *d = t->direction;
	struct spg__waitq_node node;
	spg_conn *c = t->conn;
	int err = 0;

	spg__lock(&c->lock);
	if (c->closed) {
		spg__unlock(&c->lock);
		return -EBADF;
	}
	c->inside++;
	if (d->holder == NULL) {
		d->holder = t->waiter;
		spg__unlock(&c->lock);
		return 0;
	}
	spg__waitq_push(&d->queue, &node, t->waiter);
	err = spg__waitq_wait(&c->lock, &node, wait);
	if (err < 0) {
		spg__lock(&c->lock);
		leave(t, false);
	}
	return err;
}

static int take_turn(struct turn *t, spg_conn *c, int which)
{
	struct direction *d;
	struct spg__wait wait;
	int err;

	if (c == NULL)
		return -EINVAL;
	d = &c->directions[which];
	*t = (struct turn){ .conn = c, .direction = d, .waiter = spg__self() };
	if (t->waiter == NULL)
		return -ENOMEM;
	/* relaxed: a close that comes now may end this call by the deadline as well. */
	if (atomic_load_explicit(&d->deadline.ended, memory_order_relaxed) != 0)
		return -EBADF;
	spg__moving_enter(t->waiter, &t->moving, &d->deadline);
	err = spg__wait_begin(&wait, SPG__REASON_IO, c);
	if (err == 0) {
		err = wait_turn(t, &wait);
		spg__wait_end(&wait);
	}
	if (err < 0)
		spg__moving_leave(t->waiter, &t->moving);
	return err;
}

/* CN5. */
static ssize_t read_some(spg_conn *c, void *buf, size_t len)
{
	struct rest *rest = &c->rest;

	if (spg__likely(rest->buf == NULL))
		return c->ops.read(c->self, buf, len);
	if (len > rest->end - rest->start)
		len = rest->end - rest->start;
	memcpy(buf, rest->buf + rest->start, len);
	rest->start += len;
	if (rest->start == rest->end) {
		spg__free(rest->buf);
		*rest = (struct rest){ 0 };
	}
	return (ssize_t)len;
}

ssize_t spg_conn_read(spg_conn *c, void *buf, size_t len)
{
	struct turn turn;
	ssize_t n = take_turn(&turn, c, READING);

	if (n < 0)
		return n;
	if (len > 0)
		n = read_some(c, buf, len < SSIZE_MAX ? len : SSIZE_MAX);
	give_turn(&turn);
	return n;
}

/* Goes on until all is written, or an error came. */
static ssize_t write_on(spg_conn *c, const char *buf, size_t len)
{
	size_t done = 0;
	ssize_t n = 0;

	while (done < len) {
		n = c->ops.write(c->self, buf + done, len - done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done > 0 || len == 0)
		return (ssize_t)done;
	return n < 0 ? n : -EIO;
}

ssize_t spg_conn_write(spg_conn *c, const void *buf, size_t len)
{
	struct turn turn;
	ssize_t n = take_turn(&turn, c, WRITING);

	if (n < 0)
		return n;
	n = write_on(c, buf, len < SSIZE_MAX ? len : SSIZE_MAX);
	give_turn(&turn);
	return n;
}

/* Where a vectored write is: `done` bytes of the first buffer are written. */
struct progress {
	const struct iovec *iov;
	int count;
	size_t done;
};

static void advance(struct progress *p, size_t n)
{
	n += p->done;
	while (p->count > 0 && n >= p->iov->iov_len) {
		n -= p->iov->iov_len;
		p->iov++;
		p->count--;
	}
	p->done = n;
}

static ssize_t writev_some(spg_conn *c, const struct progress *p)
{
	if (p->done > 0 || p->count == 1 || c->ops.writev == NULL)
		return write_on(c, (const char *)p->iov->iov_base + p->done, p->iov->iov_len - p->done);
	return c->ops.writev(c->self, p->iov, p->count < BUFFERS_MAX ? p->count : BUFFERS_MAX);
}

static ssize_t writev_on(spg_conn *c, const struct iovec *iov, int count)
{
	struct progress p = { .iov = iov, .count = count };
	size_t done = 0;
	ssize_t n = 0;

	advance(&p, 0); /* over empty ones */
	while (p.count > 0) {
		n = writev_some(c, &p);
		if (n <= 0)
			break;
		done += (size_t)n;
		advance(&p, (size_t)n);
	}
	if (done > 0 || p.count == 0)
		return (ssize_t)done;
	return n < 0 ? n : -EIO;
}

ssize_t spg_conn_writev(spg_conn *c, const struct iovec *iov, int count)
{
	struct turn turn;
	ssize_t n = count >= 0 ? take_turn(&turn, c, WRITING) : -EINVAL;

	if (n < 0)
		return n;
	n = writev_on(c, iov, count);
	give_turn(&turn);
	return n;
}

int spg_conn_close_write(spg_conn *c)
{
	struct turn turn;
	int err = take_turn(&turn, c, WRITING);

	if (err < 0)
		return err;
	err = c->ops.close_write != NULL ? c->ops.close_write(c->self) : -EOPNOTSUPP;
	give_turn(&turn);
	return err;
}

static int set_deadlines(spg_conn *c, int first, int last, int64_t when)
{
	int err = 0;

	if (c == NULL)
		return -EINVAL;
	spg__lock(&c->lock);
	if (c->closed)
		err = -EBADF;
	for (int i = first; i <= last && err == 0; i++) {
		/* seq_cst [C7], CN2. */
		atomic_store_explicit(&c->directions[i].deadline.when_ns, when != 0 ? when : SPG__NEVER,
				      memory_order_seq_cst);
		look_again(&c->directions[i]);
	}
	spg__unlock(&c->lock);
	return err;
}

int spg_conn_set_deadline(spg_conn *c, int64_t when)
{
	return set_deadlines(c, READING, WRITING, when);
}

int spg_conn_set_read_deadline(spg_conn *c, int64_t when)
{
	return set_deadlines(c, READING, READING, when);
}

int spg_conn_set_write_deadline(spg_conn *c, int64_t when)
{
	return set_deadlines(c, WRITING, WRITING, when);
}

spg_conn *spg_conn_ref(spg_conn *c)
{
	if (c == NULL)
		return NULL;
	spg__lock(&c->lock);
	c->refs++;
	spg__unlock(&c->lock);
	return c;
}

/* The closer waits until it is alone, CN3. The lock is held and let go. */
static void end_calls(spg_conn *c, struct spg__wait *wait)
{
	struct spg__waitq_node node;

	for (int i = 0; i < 2; i++) {
		/* seq_cst [C7], CN2. */
		atomic_store_explicit(&c->directions[i].deadline.ended, -ECANCELED, memory_order_seq_cst);
		look_again(&c->directions[i]);
	}
	if (c->inside == 0) {
		spg__unlock(&c->lock);
		return;
	}
	spg__waitq_push(&c->closer, &node, wait->waiter);
	SPG_CHECK(spg__waitq_wait(&c->lock, &node, wait) == 0); /* nothing ends it */
}

/* 0, or the result of the implementation's close. The first time only. */
static int close_once(spg_conn *c, struct spg__wait *wait)
{
	spg__lock(&c->lock);
	if (c->closed) {
		spg__unlock(&c->lock);
		return -EBADF;
	}
	c->closed = true;
	end_calls(c, wait);
	spg__free(c->rest.buf);
	c->rest = (struct rest){ 0 };
	return c->ops.close(c->self);
}

/* true: it was the last. */
static bool drop(spg_conn *c)
{
	bool last;

	spg__lock(&c->lock);
	SPG_CHECK(c->refs > 0);
	last = --c->refs == 0;
	spg__unlock(&c->lock);
	return last;
}

int spg_conn_close(spg_conn *c)
{
	struct spg__wait wait;
	int err;

	if (c == NULL)
		return -EINVAL;
	err = spg__wait_begin_uncancelable(&wait, SPG__REASON_CLOSE, c);
	if (err < 0)
		return err;
	err = close_once(c, &wait);
	spg__wait_end(&wait);
	if (drop(c))
		spg__free(c);
	return err;
}

void spg_conn_unref(spg_conn *c)
{
	if (c == NULL || !drop(c))
		return;
	if (!c->closed)
		(void)c->ops.close(c->self);
	spg__free(c->rest.buf);
	spg__free(c);
}

/* Bytes of src that were not written: buf[start, end). Takes buf. Within the reading turn. */
static void give_back(spg_conn *src, char *buf, size_t start, size_t end)
{
	struct rest *rest = &src->rest;

	if (rest->buf != NULL) {
		/* They came out of it. */
		rest->start -= end - start;
		spg__free(buf);
	} else {
		*rest = (struct rest){ .buf = buf, .start = start, .end = end };
	}
}

/* Within src's reading turn; takes buf. */
static ssize_t copy_on(spg_conn *dst, spg_conn *src, char *buf, size_t size, size_t left)
{
	ssize_t got = 0, put = 0;
	size_t done = 0;

	while (left > 0) {
		got = read_some(src, buf, left < size ? left : size);
		if (got <= 0)
			break;
		put = spg_conn_write(dst, buf, (size_t)got);
		if (put > 0) {
			done += (size_t)put;
			left -= (size_t)put;
		}
		if (put < got) {
			give_back(src, buf, put > 0 ? (size_t)put : 0, (size_t)got);
			buf = NULL;
			break;
		}
	}
	spg__free(buf);
	if (done > 0)
		return (ssize_t)done;
	return put < 0 ? put : got;
}

ssize_t spg_conn_copy(spg_conn *dst, spg_conn *src, ssize_t n)
{
	size_t left = n < 0 ? SSIZE_MAX : (size_t)n;
	size_t size = left < COPY_BYTES ? left : COPY_BYTES;
	struct turn turn;
	char *buf;
	int err;

	if (dst == NULL)
		return -EINVAL;
	err = take_turn(&turn, src, READING);
	if (err < 0)
		return err;
	buf = spg__alloc(size > 0 ? size : 1);
	n = buf != NULL ? copy_on(dst, src, buf, size, left) : -ENOMEM;
	give_turn(&turn);
	return n;
}

/* Descriptors. */

static int fd_of(void *self)
{
	return (int)(intptr_t)self;
}

static ssize_t fd_read(void *self, void *buf, size_t len)
{
	return spg_read(fd_of(self), buf, len);
}

static ssize_t fd_write(void *self, const void *buf, size_t len)
{
	return spg_write(fd_of(self), buf, len);
}

static ssize_t fd_writev(void *self, const struct iovec *iov, int count)
{
	return spg_writev(fd_of(self), iov, count);
}

static int fd_close(void *self)
{
	return spg_close(fd_of(self));
}

static int fd_close_write(void *self)
{
	return spg_shutdown(fd_of(self), SHUT_WR);
}

static const spg_conn_ops fd_ops = {
	.size = sizeof(spg_conn_ops),
	.read = fd_read,
	.write = fd_write,
	.close = fd_close,
	.writev = fd_writev,
	.close_write = fd_close_write,
};

spg_conn *spg_conn_fd(int fd)
{
	return fd >= 0 ? spg_conn_new(&fd_ops, (void *)(intptr_t)fd) : NULL;
}
