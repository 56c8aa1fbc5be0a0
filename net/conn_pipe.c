/*
 * Two streams in memory: a ring of bytes for each direction.
 *
 * CP1  Each ring has one reader and one writer at a time (CN1). The bytes [head, head + len) are the
 *      reader's, the others the writer's: they copy without the lock, which len changes under.
 * CP2  A reader waits while len is 0 and the writing end is open, a writer while the ring is full and
 *      the reading end is open; whoever changes that serves the one who waits, after the unlock.
 * CP3  The rings live until both ends are closed.
 */
#include "coro/alloc.h"
#include "runtime/waitq.h"

#include <spg/conn.h>

#include <string.h>

#define RING_BYTES ((size_t)64 << 10)

struct ring {
	/* The reader's, and the writer's own position. */
	size_t head, tail;
	/* Under the lock. */
	size_t len;
	bool reader_closed, writer_closed;
	struct spg__waitq readers, writers;
	char bytes[RING_BYTES];
};

/* ends[i] reads from rings[i], and writes into the other. */
struct pipe {
	struct spg__lock lock;
	int open;
	struct end {
		struct pipe *pipe;
		struct ring *in, *out;
	} ends[2];
	struct ring rings[2];
};

static void serve(struct spg__waitq_node *node)
{
	if (node != NULL)
		spg__waitq_serve(node);
}

/* Waits while `ready` says no. Returns with the lock held: 0; or an error, and without it. */
static int lock_ready(struct pipe *p, struct ring *ring, struct spg__waitq *queue, bool (*ready)(const struct ring *))
{
	struct spg__waitq_node node;
	struct spg__wait wait;
	int err = spg__wait_begin(&wait, SPG__REASON_IO, p);

	if (err < 0)
		return err;
	spg__lock(&p->lock);
	while (!ready(ring)) {
		spg__waitq_push(queue, &node, wait.waiter);
		err = spg__waitq_wait(&p->lock, &node, &wait);
		if (err < 0)
			break;
		spg__lock(&p->lock);
	}
	spg__wait_end(&wait);
	return err;
}

static bool readable(const struct ring *ring)
{
	return ring->len > 0 || ring->writer_closed;
}

static bool writable(const struct ring *ring)
{
	return ring->len < RING_BYTES || ring->reader_closed || ring->writer_closed;
}

/* CP1: a move is done; who waits at the other side goes on. */
static void moved(struct pipe *p, struct ring *ring, ssize_t n, struct spg__waitq *other)
{
	struct spg__waitq_node *node;

	spg__lock(&p->lock);
	ring->len += (size_t)n;
	node = spg__waitq_pop(other);
	spg__unlock(&p->lock);
	serve(node);
}

static ssize_t pipe_read(void *self, void *buf, size_t len)
{
	struct end *end = self;
	struct ring *ring = end->in;
	int err = lock_ready(end->pipe, ring, &ring->readers, readable);
	size_t first;

	if (err < 0)
		return err;
	if (len > ring->len)
		len = ring->len;
	spg__unlock(&end->pipe->lock);
	if (len == 0)
		return 0; /* the end */
	first = RING_BYTES - ring->head < len ? RING_BYTES - ring->head : len;
	memcpy(buf, ring->bytes + ring->head, first);
	memcpy((char *)buf + first, ring->bytes, len - first);
	ring->head = (ring->head + len) % RING_BYTES;
	moved(end->pipe, ring, -(ssize_t)len, &ring->writers);
	return (ssize_t)len;
}

static ssize_t pipe_write(void *self, const void *buf, size_t len)
{
	struct end *end = self;
	struct ring *ring = end->out;
	int err = lock_ready(end->pipe, ring, &ring->writers, writable);
	bool broken;
	size_t first;

	if (err < 0)
		return err;
	broken = ring->reader_closed || ring->writer_closed;
	if (len > RING_BYTES - ring->len)
		len = RING_BYTES - ring->len;
	spg__unlock(&end->pipe->lock);
	if (broken)
		return -EPIPE;
	first = RING_BYTES - ring->tail < len ? RING_BYTES - ring->tail : len;
	memcpy(ring->bytes + ring->tail, buf, first);
	memcpy(ring->bytes, (const char *)buf + first, len - first);
	ring->tail = (ring->tail + len) % RING_BYTES;
	moved(end->pipe, ring, (ssize_t)len, &ring->readers);
	return (ssize_t)len;
}

static int pipe_close_write(void *self)
{
	struct end *end = self;
	struct spg__waitq_node *reader;

	spg__lock(&end->pipe->lock);
	end->out->writer_closed = true;
	reader = spg__waitq_pop(&end->out->readers);
	spg__unlock(&end->pipe->lock);
	serve(reader);
	return 0;
}

static int pipe_close(void *self)
{
	struct end *end = self;
	struct pipe *p = end->pipe;
	struct spg__waitq_node *reader, *writer;
	bool last;

	spg__lock(&p->lock);
	end->out->writer_closed = true;
	end->in->reader_closed = true;
	reader = spg__waitq_pop(&end->out->readers);
	writer = spg__waitq_pop(&end->in->writers);
	last = --p->open == 0; /* CP3 */
	spg__unlock(&p->lock);
	serve(reader);
	serve(writer);
	if (last)
		spg__free(p);
	return 0;
}

static const spg_conn_ops pipe_ops = {
	.size = sizeof(spg_conn_ops),
	.read = pipe_read,
	.write = pipe_write,
	.close = pipe_close,
	.close_write = pipe_close_write,
};

/* The rings' bytes stay untouched, so not resident, until they are used. */
static struct pipe *pipe_new(void)
{
	struct pipe *p = spg__alloc(sizeof(*p));

	if (p == NULL)
		return NULL;
	p->lock = (struct spg__lock){ 0 };
	p->open = 2;
	for (int i = 0; i < 2; i++) {
		memset(&p->rings[i], 0, offsetof(struct ring, bytes));
		p->ends[i] = (struct end){ .pipe = p, .in = &p->rings[i], .out = &p->rings[1 - i] };
	}
	return p;
}

int spg_conn_pipe(spg_conn *ends[2])
{
	struct pipe *p;
	spg_conn *a, *b;

	if (ends == NULL)
		return -EINVAL;
	p = pipe_new();
	a = p != NULL ? spg_conn_new(&pipe_ops, &p->ends[0]) : NULL;
	b = a != NULL ? spg_conn_new(&pipe_ops, &p->ends[1]) : NULL;
	if (b != NULL) {
		ends[0] = a;
		ends[1] = b;
		return 0;
	}
	if (p != NULL)
		p->open = 1;
	if (a != NULL)
		spg_conn_unref(a); /* and p */
	else
		spg__free(p);
	return -ENOMEM;
}
