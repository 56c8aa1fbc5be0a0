#include "io/bufs.h"

#include "coro/alloc.h"
#include "io/call.h"
#include "io/fdtab.h"

/*
 * Sizes and how many of each: 1 MiB at first, 16 MiB at most. The largest holds the 64 KiB
 * of a coalesced datagram and what goes before it.
 */
static const struct {
	uint32_t bytes, first, max;
} classes[SPG__BUFS_CLASSES] = {
	{ 2048, 512, 8192 },
	{ 4096, 256, 4096 },
	{ 16384, 64, 1024 },
	{ 69632, 16, 256 },
};

struct spg__bufs {
	struct spg__lock lock;
	_Atomic uint32_t avail;
	/* Under lock. */
	uint32_t published;
	bool closed;
	struct spg__list waiters;
	/* Read-only. */
	unsigned class;
	size_t mapped;
	struct io_uring_buf_ring *ring;
	struct spg__buf *bufs;
	char *memory;
};

/* Lives on the waiter's stack; the lock's holder writes it. */
struct waiter {
	struct spg__list link;
	struct spg__waiter *waiter;
	int fd;
	bool granted;
};

unsigned spg__bufs_class(size_t bytes)
{
	unsigned class = 0;

	while (class < SPG__BUFS_CLASSES - 1 && classes[class].bytes < bytes)
		class++;
	return class;
}

size_t spg__bufs_class_bytes(unsigned class)
{
	return classes[class].bytes;
}

/* Into the kernel's ring. Under lock (B2). */
static void ring_add(struct spg__bufs *pool, uint32_t id)
{
	uint32_t bytes = classes[pool->class].bytes;

	io_uring_buf_ring_add(pool->ring, pool->memory + (size_t)id * bytes, bytes, (unsigned short)id,
			      io_uring_buf_ring_mask(classes[pool->class].max), 0);
	io_uring_buf_ring_advance(pool->ring, 1);
	/* release [B6]: pairs with spg__bufs_take. */
	atomic_fetch_add_explicit(&pool->avail, 1, memory_order_release);
}

/* Publishes a few more. false: all are. Under lock. */
static bool grow(struct spg__bufs *pool)
{
	uint32_t until = pool->published + classes[pool->class].first;

	if (pool->published == classes[pool->class].max)
		return false;
	while (pool->published < until) {
		struct spg__buf *buf = &pool->bufs[pool->published];

		buf->pool = pool;
		buf->id = (uint16_t)pool->published;
		ring_add(pool, pool->published++);
	}
	return true;
}

static void destroy(struct spg__bufs *pool)
{
	spg__unmap(pool->ring, pool->mapped);
	spg__free(pool);
}

static struct spg__bufs *create(struct spg__ring *ring, unsigned class)
{
	size_t max = classes[class].max, ring_bytes = max * sizeof(struct io_uring_buf);
	size_t table_bytes = (max * sizeof(struct spg__buf) + SPG__PAGE_BYTES - 1) & ~(size_t)(SPG__PAGE_BYTES - 1);
	struct io_uring_buf_reg reg = { .ring_entries = (uint32_t)max, .bgid = (uint16_t)class };
	struct spg__bufs *pool = spg__calloc(1, sizeof(*pool));
	char *map;
	int err;

	if (pool == NULL)
		return NULL;
	pool->class = class;
	pool->mapped = ring_bytes + table_bytes + max * classes[class].bytes;
	map = spg__map(pool->mapped);
	if (map == NULL) {
		spg__free(pool);
		return NULL;
	}
	pool->ring = (struct io_uring_buf_ring *)(void *)map;
	pool->bufs = (struct spg__buf *)(void *)(map + ring_bytes);
	pool->memory = map + ring_bytes + table_bytes;
	spg__list_init(&pool->waiters);
	reg.ring_addr = (uint64_t)(uintptr_t)map;
	err = io_uring_register_buf_ring(&ring->uring, &reg, 0);
	if (err < 0) {
		ring->bufs_refused |= err != -ENOMEM;
		destroy(pool);
		return NULL;
	}
	(void)grow(pool);
	return pool;
}

struct spg__bufs *spg__bufs_get(struct spg__ring *ring, unsigned class)
{
	/* relaxed: stored by this thread. */
	struct spg__bufs *pool = atomic_load_explicit(&ring->bufs[class], memory_order_relaxed);

	if (spg__likely(pool != NULL) || ring->bufs_refused)
		return pool;
	pool = create(ring, class);
	/* release: spg_close looks at it from other threads. */
	atomic_store_explicit(&ring->bufs[class], pool, memory_order_release);
	return pool;
}

void spg__bufs_close(struct spg__bufs *pool)
{
	bool last;

	spg__lock(&pool->lock);
	SPG_ASSERT(spg__list_empty(&pool->waiters));
	pool->closed = true;
	last = atomic_load_explicit(&pool->avail, memory_order_relaxed) == pool->published;
	spg__unlock(&pool->lock);
	if (last)
		destroy(pool); /* B5 */
}

struct spg__buf *spg__bufs_take(struct spg__bufs *pool, unsigned id, uint32_t len)
{
	struct spg__buf *buf = &pool->bufs[id];

	SPG_CHECK(id < classes[pool->class].max);
	/* acquire [B6]. Before it the buffer is not ours to look at. */
	SPG_CHECK(atomic_fetch_sub_explicit(&pool->avail, 1, memory_order_acquire) > 0);
	/* relaxed: whoever releases it got it from us. */
	SPG_CHECK(!atomic_exchange_explicit(&buf->out, true, memory_order_relaxed));
	buf->len = len;
	return buf;
}

/*
 * B3: as many waiters get up as there are buffers; all of them when every buffer is back.
 * Under lock: after it the pool may be gone.
 */
static spg__noinline void grant(struct spg__bufs *pool, uint32_t avail)
{
	bool all = avail == pool->published;

	while (!spg__list_empty(&pool->waiters) && (all || avail-- > 0)) {
		struct waiter *node = spg__container_of(pool->waiters.next, struct waiter, link);

		spg__list_remove(&node->link);
		node->granted = true;
		spg__unpark(node->waiter);
	}
}

int spg__bufs_await(struct spg__bufs *pool, struct spg__wait *wait, int fd, uint32_t word)
{
	struct waiter node = { .waiter = wait->waiter, .fd = fd };
	/* Counted, so that spg_close comes to wake us. */
	_Atomic uint16_t *counts = spg__io_counts();
	int err = spg__fdtab_enter_again(counts, fd, word);
	bool granted = false;

	if (err < 0)
		return err;
	spg__lock(&pool->lock);
	/* B3. relaxed: only who reaps lowers it, and its return comes under the lock. */
	if (atomic_load_explicit(&pool->avail, memory_order_relaxed) > 0 || grow(pool))
		node.granted = true;
	else
		spg__list_append(&pool->waiters, &node.link);
	granted = node.granted;
	spg__unlock(&pool->lock);
	while (!granted && err == 0) {
		/* After the append: a closer that did not find us there was seen here. */
		err = spg__fdtab_word(fd) != word ? -ECANCELED : spg__wait_park(wait);
		spg__lock(&pool->lock);
		granted = node.granted;
		if (err < 0 && !granted)
			spg__list_remove(&node.link);
		else if (err < 0) /* B4 */
			grant(pool, atomic_load_explicit(&pool->avail, memory_order_relaxed));
		spg__unlock(&pool->lock);
	}
	spg__fdtab_leave(counts, fd);
	return err;
}

void spg__bufs_pass(struct spg__bufs *pool)
{
	spg__lock(&pool->lock);
	grant(pool, atomic_load_explicit(&pool->avail, memory_order_relaxed));
	spg__unlock(&pool->lock);
}

void spg__bufs_closing(struct spg__bufs *pool, int fd)
{
	spg__lock(&pool->lock);
	for (struct spg__list *link = pool->waiters.next; link != &pool->waiters; link = link->next) {
		struct waiter *node = spg__container_of(link, struct waiter, link);

		if (node->fd == fd)
			spg__unpark(node->waiter);
	}
	spg__unlock(&pool->lock);
}

struct spg__buf *spg__buf_new(size_t bytes)
{
	struct spg__buf *buf = spg__alloc(sizeof(*buf) + bytes);

	if (buf == NULL)
		return NULL;
	*buf = (struct spg__buf){ .pool = NULL };
	return buf;
}

char *spg__buf_data(struct spg__buf *buf)
{
	if (buf->pool == NULL)
		return (char *)(buf + 1);
	return buf->pool->memory + (size_t)buf->id * classes[buf->pool->class].bytes;
}

void spg__buf_put(struct spg__buf *buf)
{
	struct spg__bufs *pool = buf->pool;
	uint32_t avail;
	bool last;

	if (pool == NULL) {
		spg__free(buf);
		return;
	}
	/* relaxed: told to the taker by avail (B6). Misuse: released twice. */
	SPG_CHECK(atomic_exchange_explicit(&buf->out, false, memory_order_relaxed));
	spg__lock(&pool->lock);
	if (spg__unlikely(pool->closed))
		atomic_fetch_add_explicit(&pool->avail, 1, memory_order_relaxed);
	else
		ring_add(pool, buf->id);
	/* relaxed: raised under the lock; lowered meanwhile, somebody wakes for nothing. */
	avail = atomic_load_explicit(&pool->avail, memory_order_relaxed);
	last = pool->closed && avail == pool->published;
	if (spg__unlikely(!spg__list_empty(&pool->waiters)))
		grant(pool, avail);
	spg__unlock(&pool->lock);
	if (spg__unlikely(last))
		destroy(pool); /* B5 */
}
