#include "coro/stack.h"

#include "coro/alloc.h"
#include "coro/lock.h"
#include "coro/sanitize.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Linux 6.13, include/uapi/asm-generic/mman-common.h; newer than Debian 12's headers. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define CHUNK_BYTES ((size_t)1 << 30)
#define CHUNKS_MAX 16384
/* Guards are installed, and pages dropped, for so many stacks in one call. */
#define BATCH 32
/* A shard's cache: it takes and gives half of this at once. */
#define CACHE_MAX 64

struct chunk {
	char *base;
	struct spg__stack *stacks;
	size_t stacks_bytes;
	uint32_t slots, guarded, used;
	unsigned class;
};

struct class {
	struct spg__lock lock;
	struct spg__stack *free, *emptied;
	/* `free` and `emptied` together; `free` alone is resident. */
	size_t free_count, emptied_count;
	struct chunk *current;
};

static struct {
	struct class classes[SPG__STACK_CLASSES];
	unsigned default_class;
	size_t cached_max;
	bool guard_install, process_madvise;
	_Atomic uint32_t chunks_count;
	_Atomic(struct chunk *) chunks[CHUNKS_MAX];
	struct spg__lock chunks_lock;
} arena;

int spg__stack_class(size_t bytes)
{
	int class = 0;

	if (bytes == 0)
		return (int)arena.default_class;
	while (class < SPG__STACK_CLASSES && spg__stack_class_bytes((unsigned)class) < bytes)
		class++;
	return class < SPG__STACK_CLASSES ? class : -EINVAL;
}

size_t spg__stack_guard_bytes(unsigned class)
{
	size_t sixteenth = spg__stack_class_bytes(class) / 16;

	return sixteenth < SPG__PAGE_BYTES ? SPG__PAGE_BYTES :
	       sixteenth > 65536	   ? 65536 :
					     sixteenth;
}

int spg__stacks_init(const struct spg__stacks_conf *conf)
{
	int class = conf->stack_bytes == 0 ? -EINVAL : spg__stack_class(conf->stack_bytes);

	if (class < 0)
		return class;
	arena.default_class = (unsigned)class;
	arena.cached_max = conf->cached_max;
	arena.guard_install = !conf->no_guard_install;
	arena.process_madvise = !conf->no_process_madvise;
	return 0;
}

static void chunk_free(struct chunk *chunk)
{
	for (uint32_t i = 0; i < chunk->used; i++)
		spg__san_stack_deregister(chunk->stacks[i].valgrind_id);
	spg__unmap(chunk->base, chunk->slots * spg__stack_class_bytes(chunk->class));
	spg__unmap(chunk->stacks, chunk->stacks_bytes);
	spg__free(chunk);
}

void spg__stacks_fini(void)
{
	uint32_t count = atomic_load_explicit(&arena.chunks_count, memory_order_relaxed);

	/* relaxed: no coroutine lives, the caller is alone (K2). */
	atomic_store_explicit(&arena.chunks_count, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < count; i++)
		chunk_free(atomic_exchange_explicit(&arena.chunks[i], NULL, memory_order_relaxed));
	memset(arena.classes, 0, sizeof(arena.classes));
}

/* One call for n ranges where the kernel allows it. 0 or -1. */
static int advise(struct iovec *ranges, unsigned n, int advice)
{
	if (arena.process_madvise) {
		int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
		size_t bytes = 0;
		ssize_t done = -1;

		for (unsigned i = 0; i < n; i++)
			bytes += ranges[i].iov_len;
		if (self >= 0) {
			done = syscall(SYS_process_madvise, self, ranges, (size_t)n, advice, 0);
			close(self);
		}
		if (done == (ssize_t)bytes)
			return 0;
		/* A kernel without it, or one that stopped half-way: range by range. */
	}
	for (unsigned i = 0; i < n; i++) {
		if (madvise(ranges[i].iov_base, ranges[i].iov_len, advice) != 0)
			return -1;
	}
	return 0;
}

/* Guards the next batch of the chunk's slots (K3). Under the class lock. */
static bool chunk_guard(struct chunk *chunk)
{
	size_t bytes = spg__stack_class_bytes(chunk->class);
	size_t guard = spg__stack_guard_bytes(chunk->class);
	struct iovec ranges[BATCH];
	unsigned n = 0;

	while (n < BATCH && chunk->guarded + n < chunk->slots) {
		ranges[n].iov_base = chunk->base + (chunk->guarded + n) * bytes;
		ranges[n].iov_len = guard;
		n++;
	}
	if (arena.guard_install && advise(ranges, n, MADV_GUARD_INSTALL) != 0)
		arena.guard_install = false;
	for (unsigned i = 0; i < n && !arena.guard_install; i++) {
		if (mprotect(ranges[i].iov_base, guard, PROT_NONE) != 0) {
			chunk->guarded += i;
			return i > 0;
		}
	}
	chunk->guarded += n;
	return true;
}

/* Under the class lock. NULL: address space or the table is used up. */
static struct chunk *chunk_new(unsigned class)
{
	size_t bytes = spg__stack_class_bytes(class);
	size_t slots = CHUNK_BYTES / bytes;
	struct chunk *chunk = spg__calloc(1, sizeof(*chunk));
	uint32_t index;

	if (chunk == NULL)
		return NULL;
	/* Where address space is limited a smaller chunk may still fit. */
	while ((chunk->base = spg__map(slots * bytes)) == NULL && slots > 1)
		slots /= 2;
	if (chunk->base == NULL)
		goto err_chunk;
	chunk->stacks_bytes = (slots * sizeof(struct spg__stack) + SPG__PAGE_BYTES - 1) &
			      ~(size_t)(SPG__PAGE_BYTES - 1);
	chunk->stacks = spg__map(chunk->stacks_bytes);
	if (chunk->stacks == NULL)
		goto err_base;
	/* A huge page would make 64 KiB of every stack resident; refused where THP is not built in. */
	(void)!madvise(chunk->base, slots * bytes, MADV_NOHUGEPAGE);
	chunk->slots = (uint32_t)slots;
	chunk->class = class;

	spg__lock(&arena.chunks_lock);
	index = atomic_load_explicit(&arena.chunks_count, memory_order_relaxed);
	if (index < CHUNKS_MAX) {
		/* release [K2]: pairs with spg__stack_guard_at. */
		atomic_store_explicit(&arena.chunks[index], chunk, memory_order_release);
		atomic_store_explicit(&arena.chunks_count, index + 1, memory_order_release);
	}
	spg__unlock(&arena.chunks_lock);
	if (index < CHUNKS_MAX)
		return chunk;

	spg__unmap(chunk->stacks, chunk->stacks_bytes);
err_base:
	spg__unmap(chunk->base, slots * bytes);
err_chunk:
	spg__free(chunk);
	return NULL;
}

/* A stack never used before. Under the class lock. */
static struct spg__stack *stack_fresh(struct class *c, unsigned class)
{
	struct chunk *chunk = c->current;
	struct spg__stack *stack;

	if (chunk == NULL || chunk->used == chunk->slots) {
		chunk = chunk_new(class);
		if (chunk == NULL)
			return NULL;
		c->current = chunk;
	}
	if (chunk->used == chunk->guarded && !chunk_guard(chunk))
		return NULL;
	stack = &chunk->stacks[chunk->used++];
	stack->class = (uint8_t)class;
	stack->top = chunk->base + chunk->used * spg__stack_class_bytes(class);
	stack->valgrind_id = spg__san_stack_register(spg__stack_bottom(stack), stack->top);
	return stack;
}

/* Under the class lock: resident ones first, then emptied ones, then fresh ones. */
static struct spg__stack *class_take(struct class *c, unsigned class)
{
	struct spg__stack *stack = c->free;

	if (stack != NULL) {
		c->free = stack->next;
		c->free_count--;
		return stack;
	}
	stack = c->emptied;
	if (stack != NULL) {
		c->emptied = stack->next;
		c->emptied_count--;
		stack->emptied = false;
		return stack;
	}
	return stack_fresh(c, class);
}

/* Empties a batch of free stacks above the high-water mark (K4). Under the class lock. */
static void class_trim(struct class *c)
{
	struct iovec ranges[BATCH];
	struct spg__stack *batch[BATCH];

	for (unsigned n = 0; n < BATCH; n++) {
		struct spg__stack *stack = c->free;

		c->free = stack->next;
		batch[n] = stack;
		stack->context = NULL;
		ranges[n].iov_base = spg__stack_bottom(stack);
		ranges[n].iov_len = (size_t)(stack->top - spg__stack_bottom(stack));
	}
	c->free_count -= BATCH;
	/* Refused: they stay resident, and count as emptied all the same. */
	(void)!advise(ranges, BATCH, MADV_DONTNEED);
	for (unsigned n = 0; n < BATCH; n++) {
		batch[n]->emptied = true;
		batch[n]->next = c->emptied;
		c->emptied = batch[n];
	}
	c->emptied_count += BATCH;
}

static void class_give(struct class *c, struct spg__stack *stack)
{
	stack->next = c->free;
	c->free = stack;
	c->free_count++;
}

static spg__noinline bool cache_fill(struct spg__stack_cache *cache, unsigned class)
{
	struct class *c = &arena.classes[class];

	spg__lock(&c->lock);
	for (unsigned i = 0; i < CACHE_MAX / 2; i++) {
		struct spg__stack *stack;

		/* Fresh and emptied ones cost page faults: one at a time. */
		if (i > 0 && c->free == NULL)
			break;
		stack = class_take(c, class);
		if (stack == NULL)
			break;
		stack->next = cache->first;
		cache->first = stack;
		cache->count++;
	}
	spg__unlock(&c->lock);
	return cache->first != NULL;
}

static spg__noinline void cache_drain(struct spg__stack_cache *cache, unsigned keep)
{
	struct class *c = &arena.classes[arena.default_class];

	spg__lock(&c->lock);
	while (cache->count > keep) {
		struct spg__stack *stack = cache->first;

		cache->first = stack->next;
		cache->count--;
		class_give(c, stack);
	}
	while (c->free_count >= arena.cached_max + BATCH)
		class_trim(c);
	spg__unlock(&c->lock);
}

struct spg__stack *spg__stack_get(struct spg__stack_cache *cache, unsigned class)
{
	struct spg__stack *stack;

	if (spg__likely(class == arena.default_class)) {
		if (spg__unlikely(cache->first == NULL) && !cache_fill(cache, class))
			return NULL;
		stack = cache->first;
		cache->first = stack->next;
		cache->count--;
		return stack;
	}
	spg__lock(&arena.classes[class].lock);
	stack = class_take(&arena.classes[class], class);
	spg__unlock(&arena.classes[class].lock);
	return stack;
}

void spg__stack_put(struct spg__stack_cache *cache, struct spg__stack *stack)
{
	struct class *c;

	stack->owner = NULL;
	if (spg__likely(stack->class == arena.default_class)) {
		stack->next = cache->first;
		cache->first = stack;
		if (spg__unlikely(++cache->count >= CACHE_MAX))
			cache_drain(cache, CACHE_MAX / 2);
		return;
	}
	c = &arena.classes[stack->class];
	spg__lock(&c->lock);
	class_give(c, stack);
	if (c->free_count >= arena.cached_max + BATCH)
		class_trim(c);
	spg__unlock(&c->lock);
}

void spg__stack_cache_flush(struct spg__stack_cache *cache)
{
	cache_drain(cache, 0);
}

struct spg__stack *spg__stack_guard_at(const void *addr)
{
	uint32_t count = atomic_load_explicit(&arena.chunks_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++) {
		/* acquire [K2]. */
		struct chunk *chunk = atomic_load_explicit(&arena.chunks[i], memory_order_acquire);
		size_t bytes, offset;

		if (chunk == NULL || (const char *)addr < chunk->base)
			continue;
		bytes = spg__stack_class_bytes(chunk->class);
		offset = (size_t)((const char *)addr - chunk->base);
		if (offset >= chunk->slots * bytes)
			continue;
		if (offset % bytes >= spg__stack_guard_bytes(chunk->class))
			return NULL;
		return &chunk->stacks[offset / bytes];
	}
	return NULL;
}

/* Valgrind calls what lies below the stack pointer unaddressable; here it is meant to be read. */
#if SPG__HAVE_VALGRIND
#define READS_BELOW_BEGIN() VALGRIND_DISABLE_ERROR_REPORTING
#define READS_BELOW_END() VALGRIND_ENABLE_ERROR_REPORTING
#else
#define READS_BELOW_BEGIN() ((void)0)
#define READS_BELOW_END() ((void)0)
#endif

size_t spg__stack_high_water(const struct spg__stack *stack)
{
	char *bottom = spg__stack_bottom(stack);
	size_t pages = (size_t)(stack->top - bottom) / SPG__PAGE_BYTES;
	unsigned char resident[256];

	for (size_t at = 0; at < pages; at += sizeof(resident)) {
		size_t n = pages - at < sizeof(resident) ? pages - at : sizeof(resident);

		if (mincore(bottom + at * SPG__PAGE_BYTES, n * SPG__PAGE_BYTES, resident) != 0)
			break;
		for (size_t i = 0; i < n; i++) {
			const uint64_t *word;

			if ((resident[i] & 1) == 0)
				continue;
			word = (const uint64_t *)(void *)(bottom + (at + i) * SPG__PAGE_BYTES);
			READS_BELOW_BEGIN();
			while (*word == 0 && (const char *)word < stack->top - sizeof(*word))
				word++;
			READS_BELOW_END();
			return (size_t)(stack->top - (const char *)word);
		}
	}
	return 0;
}

void spg__stacks_count(struct spg__stacks_count *out)
{
	uint32_t chunks = atomic_load_explicit(&arena.chunks_count, memory_order_acquire);

	*out = (struct spg__stacks_count){ 0 };
	for (unsigned i = 0; i < SPG__STACK_CLASSES; i++) {
		spg__lock(&arena.classes[i].lock);
		out->cached += arena.classes[i].free_count;
		spg__unlock(&arena.classes[i].lock);
	}
	for (uint32_t i = 0; i < chunks; i++) {
		struct chunk *chunk = atomic_load_explicit(&arena.chunks[i], memory_order_acquire);

		out->mapped_bytes += chunk->slots * spg__stack_class_bytes(chunk->class);
	}
}
