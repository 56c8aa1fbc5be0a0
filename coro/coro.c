#include "coro/coro.h"

#include "coro/alloc.h"
#include "coro/lock.h"

#include <string.h>

#define SLAB_BYTES ((size_t)256 << 10)
#define CACHE_MAX 256

struct slab {
	/* Newest first; the list only grows (O1). */
	struct slab *older;
	/* relaxed reads: an object not counted yet has not been handed out to anybody visited. */
	_Atomic uint32_t used;
	alignas(SPG__CACHELINE) struct spg__coro objects[];
};

#define SLAB_OBJECTS ((SLAB_BYTES - sizeof(struct slab)) / sizeof(struct spg__coro))

static struct {
	struct spg__lock lock;
	struct spg__link *free;
	_Atomic(struct slab *) newest;
} slabs;

const struct spg__layout spg__layout_slabs[] = {
	{ "slab.newest", &slabs.newest },
	SPG__LAYOUT_OFFSET("slab.older", struct slab, older),
	SPG__LAYOUT_OFFSET("slab.used", struct slab, used),
	SPG__LAYOUT_OFFSET("slab.objects", struct slab, objects),
	{ "coro.size", (const void *)sizeof(struct spg__coro) },
	{ NULL, NULL },
};

/* Under the lock. */
static struct spg__coro *object_fresh(void)
{
	struct slab *slab = atomic_load_explicit(&slabs.newest, memory_order_relaxed);
	uint32_t used = slab ? atomic_load_explicit(&slab->used, memory_order_relaxed) : 0;
	struct spg__coro *coro;

	if (slab == NULL || used == SLAB_OBJECTS) {
		struct slab *fresh = spg__map(SLAB_BYTES);

		if (fresh == NULL)
			return NULL;
		fresh->older = slab;
		slab = fresh;
		used = 0;
		/* release [O-a]: pairs with spg__coro_each. */
		atomic_store_explicit(&slabs.newest, slab, memory_order_release);
	}
	coro = &slab->objects[used];
	coro->waiter.kind = SPG__WAITER_CORO;
	spg__list_init(&coro->waiter.in_ctx);
	atomic_store_explicit(&slab->used, used + 1, memory_order_release);
	return coro;
}

static spg__noinline void cache_fill(struct spg__coro_cache *cache)
{
	spg__lock(&slabs.lock);
	for (unsigned i = 0; i < CACHE_MAX / 2; i++) {
		struct spg__link *link = slabs.free;

		if (link != NULL) {
			slabs.free = link->next;
		} else {
			struct spg__coro *coro = object_fresh();

			if (coro == NULL)
				break;
			link = &coro->link;
		}
		link->next = cache->first;
		cache->first = link;
		cache->count++;
	}
	spg__unlock(&slabs.lock);
}

static spg__noinline void cache_drain(struct spg__coro_cache *cache, unsigned keep)
{
	spg__lock(&slabs.lock);
	while (cache->count > keep) {
		struct spg__link *link = cache->first;

		cache->first = link->next;
		cache->count--;
		link->next = slabs.free;
		slabs.free = link;
	}
	spg__unlock(&slabs.lock);
}

struct spg__coro *spg__coro_get(struct spg__coro_cache *cache)
{
	struct spg__link *link;

	if (spg__unlikely(cache->first == NULL))
		cache_fill(cache);
	link = cache->first;
	if (spg__unlikely(link == NULL))
		return NULL;
	cache->first = link->next;
	cache->count--;
	return spg__coro_of_link(link);
}

void spg__coro_put(struct spg__coro_cache *cache, struct spg__coro *coro)
{
	coro->link.next = cache->first;
	cache->first = &coro->link;
	if (spg__unlikely(++cache->count >= CACHE_MAX))
		cache_drain(cache, CACHE_MAX / 2);
}

void spg__coro_cache_flush(struct spg__coro_cache *cache)
{
	cache_drain(cache, 0);
}

void spg__coro_each(void (*visit)(struct spg__coro *coro, void *arg), void *arg)
{
	/* acquire [O-a]. */
	struct slab *slab = atomic_load_explicit(&slabs.newest, memory_order_acquire);

	for (; slab != NULL; slab = slab->older) {
		uint32_t used = atomic_load_explicit(&slab->used, memory_order_acquire);

		for (uint32_t i = 0; i < used; i++)
			visit(&slab->objects[i], arg);
	}
}
