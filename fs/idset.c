#include "fs/idset.h"

#include "coro/alloc.h"

#define SLOTS_MIN 64

static bool is_free(const struct spg__file_id *slot)
{
	return slot->dev == 0 && slot->ino == 0;
}

/* The finaliser of MurmurHash3: neighbours among inode numbers spread over the table. */
static uint64_t hash(struct spg__file_id id)
{
	uint64_t x = id.ino ^ (id.dev * 0x9e3779b97f4a7c15u);

	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdu;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53u;
	return x ^ x >> 33;
}

/* Where it is, or where it belongs. */
static struct spg__file_id *slot_of(const struct spg__idset *set, struct spg__file_id id)
{
	size_t i = (size_t)hash(id) & (set->slots_count - 1);

	while (!is_free(&set->slots[i]) && !spg__file_id_equal(set->slots[i], id))
		i = (i + 1) & (set->slots_count - 1);
	return &set->slots[i];
}

static int grow(struct spg__idset *set)
{
	struct spg__idset bigger = {
		.slots_count = set->slots_count == 0 ? SLOTS_MIN : set->slots_count * 2,
		.used = set->used,
		.has_zero = set->has_zero,
	};

	bigger.slots = spg__calloc(bigger.slots_count, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < set->slots_count; i++)
		if (!is_free(&set->slots[i]))
			*slot_of(&bigger, set->slots[i]) = set->slots[i];
	spg__free(set->slots);
	*set = bigger;
	return 0;
}

int spg__idset_add(struct spg__idset *set, struct spg__file_id id)
{
	struct spg__file_id *slot;
	int err = 0;

	if (is_free(&id)) {
		bool had = set->has_zero;

		set->has_zero = true;
		return had ? 0 : 1;
	}
	if (set->used >= set->slots_count / 4 * 3)
		err = grow(set);
	if (err < 0)
		return err;
	slot = slot_of(set, id);
	if (!is_free(slot))
		return 0;
	*slot = id;
	set->used++;
	return 1;
}

void spg__idset_fini(struct spg__idset *set)
{
	spg__free(set->slots);
	*set = (struct spg__idset){ 0 };
}
