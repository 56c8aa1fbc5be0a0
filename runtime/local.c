/*
 * Coroutine-local values; meaning as pthread keys. A key is an index into a table of
 * destructors and a sequence number, so that a deleted key's values are forgotten.
 *
 * V1  A value belongs to the waiter that set it: no lock. Keys' entries change under
 *     the lock; seq is odd while the key is in use.
 */
#include "coro/alloc.h"
#include "coro/lock.h"
#include "runtime/local.h"
#include "sched/shard.h"
#include "sched/thread.h"

#include <spg/go.h>

#define KEYS_MAX 1024u
/* As PTHREAD_DESTRUCTOR_ITERATIONS. */
#define ROUNDS_MAX 4

struct key {
	_Atomic uint32_t seq;
	_Atomic(spg__key_dtor) dtor;
};

struct value {
	uint32_t seq;
	void *value;
};

struct locals {
	uint32_t count;
	struct value values[];
};

static struct {
	struct spg__lock lock;
	struct key keys[KEYS_MAX];
} table;

int spg_key_create(spg_key *key, void (*dtor)(void *))
{
	int err = -EAGAIN;

	if (key == NULL)
		return -EINVAL;
	spg__lock(&table.lock);
	for (uint32_t i = 0; i < KEYS_MAX && err < 0; i++) {
		uint32_t seq = atomic_load_explicit(&table.keys[i].seq, memory_order_relaxed);

		if (seq % 2 != 0)
			continue;
		atomic_store_explicit(&table.keys[i].dtor, dtor, memory_order_relaxed);
		/* release [V-a]: with the destructor. */
		atomic_store_explicit(&table.keys[i].seq, seq + 1, memory_order_release);
		*key = i;
		err = 0;
	}
	spg__unlock(&table.lock);
	return err;
}

/* The key's sequence number while it is in use; 0: it is not. */
static uint32_t key_seq(spg_key key)
{
	/* acquire [V-a]. */
	uint32_t seq = key < KEYS_MAX ? atomic_load_explicit(&table.keys[key].seq, memory_order_acquire) : 0;

	return seq % 2 != 0 ? seq : 0;
}

int spg_key_delete(spg_key key)
{
	int err = -EINVAL;

	spg__lock(&table.lock);
	if (key_seq(key) != 0) {
		atomic_fetch_add_explicit(&table.keys[key].seq, 1, memory_order_release);
		err = 0;
	}
	spg__unlock(&table.lock);
	return err;
}

/* Where the caller's values hang; NULL: a thread without memory for them. */
static void **locals_slot(void)
{
	struct spg__coro *coro = spg__coro_self();
	struct spg__thread *thread;

	if (coro != NULL)
		return &coro->locals;
	thread = spg__thread_get();
	return thread != NULL ? &thread->locals : NULL;
}

static struct locals *grow(void **slot, spg_key key)
{
	struct locals *old = *slot, *bigger;
	uint32_t count = (key | 7) + 1;

	bigger = spg__calloc(1, sizeof(*bigger) + count * sizeof(struct value));
	if (bigger == NULL)
		return NULL;
	bigger->count = count;
	for (uint32_t i = 0; old != NULL && i < old->count; i++)
		bigger->values[i] = old->values[i];
	spg__free(old);
	*slot = bigger;
	return bigger;
}

int spg_key_set(spg_key key, const void *value)
{
	uint32_t seq = key_seq(key);
	void **slot;
	struct locals *locals;

	if (seq == 0)
		return -EINVAL;
	slot = locals_slot();
	if (slot == NULL)
		return -ENOMEM;
	locals = *slot;
	if (locals == NULL || key >= locals->count)
		locals = grow(slot, key);
	if (locals == NULL)
		return -ENOMEM;
	locals->values[key] = (struct value){ .seq = seq, .value = (void *)(uintptr_t)value };
	return 0;
}

void *spg_key_get(spg_key key)
{
	void **slot = locals_slot();
	struct locals *locals = slot != NULL ? *slot : NULL;

	if (locals == NULL || key >= locals->count || locals->values[key].seq != key_seq(key))
		return NULL;
	return locals->values[key].value;
}

/* One round: true when a destructor ran, and may have set values again. */
static bool destroy_round(struct locals *locals)
{
	bool ran = false;

	for (uint32_t i = 0; i < locals->count; i++) {
		void *value = locals->values[i].value;
		spg__key_dtor dtor;

		if (value == NULL || locals->values[i].seq != key_seq(i))
			continue;
		locals->values[i].value = NULL;
		dtor = atomic_load_explicit(&table.keys[i].dtor, memory_order_relaxed);
		if (dtor == NULL)
			continue;
		dtor(value);
		ran = true;
	}
	return ran;
}

/* The slot may be grown by a destructor: it is read anew each round. */
static void end(void **slot)
{
	for (int round = 0; round < ROUNDS_MAX && destroy_round(*slot); round++)
		continue;
	spg__free(*slot);
	*slot = NULL;
}

static void coro_end(struct spg__coro *coro)
{
	end(&coro->locals);
}

void spg__locals_end(void *locals)
{
	end(&locals);
}

__attribute__((constructor)) static void hooks_init(void)
{
	spg__coro_locals_end = coro_end;
	spg__thread_locals_end = spg__locals_end;
}
