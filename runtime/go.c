#include "coro/alloc.h"
#include "coro/stack.h"
#include "runtime/spawn.h"
#include "sched/park.h"
#include "sched/thread.h"

#include <spg/go.h>
#include <spg/runtime.h>

#include <string.h>

struct spg__ctx *spg__spawn_ctx(void)
{
	struct spg__waiter *w = spg__self();

	if (spg__unlikely(w == NULL))
		return NULL;
	/* What a foreign thread spawns ends with the runtime. */
	return w->ctx == spg__ctx_background() ? spg__ctx_root() : w->ctx;
}

/* The top 4 bits of a place are its kind (go.h). */
static int place(struct spg__spawn *spawn, spg_place where)
{
	unsigned shards = spg__sched.conf.shards;
	uint32_t shard = (uint32_t)where;

	switch (where >> 60) {
	case SPG__KIND_OF(SPG_ANY):
		spawn->place = SPG__PLACE_ANY;
		return 0;
	case SPG__KIND_OF(SPG_SPREAD):
		spawn->place = SPG__PLACE_SPREAD;
		return 0;
	case SPG__KIND_OF(SPG_PIN(0)):
		spawn->place = SPG__PLACE_PIN;
		break;
	case SPG__KIND_OF(SPG_PREFER(0)):
		spawn->place = SPG__PLACE_PREFER;
		break;
	case SPG__KIND_OF(SPG_STICKY(0)):
		spawn->place = SPG__PLACE_PIN;
		shard = (uint32_t)((where << 4 >> 4) % shards);
		break;
	default:
		return -EINVAL;
	}
	if (shard >= shards)
		return -EINVAL;
	spawn->shard = (int)shard;
	return 0;
}

bool spg__spawn_enter(void)
{
	return spg__likely(spg__shard_self() != NULL) || spg__shard_enter_foreign() != NULL;
}

void spg__spawn_leave(void)
{
	if (spg__unlikely(spg__shard_self() == NULL))
		spg__shard_leave_foreign();
}

int spg__spawn_attr(struct spg__spawn *spawn, const spg_attr *attr, struct spg__ctx **ctx)
{
	int class;

	if (!spg_running() && spg__shard_self() == NULL)
		return -ESRCH;
	*ctx = attr != NULL && attr->ctx != NULL ? (struct spg__ctx *)attr->ctx : spg__spawn_ctx();
	if (*ctx == NULL)
		return -ENOMEM;
	class = spg__stack_class(attr != NULL ? attr->stack_size : 0);
	if (class < 0)
		return class;
	spawn->stack_class = (unsigned)class;
	if (attr == NULL)
		return 0;
	spawn->name = attr->name;
	return place(spawn, attr->place);
}

int spg__spawn_under(struct spg__spawn *spawn, struct spg__ctx *ctx)
{
	int err;

	spawn->ctx = spg__ctx_hold(ctx);
	err = spg__coro_spawn(spawn);
	if (err < 0)
		spg__ctx_drop(ctx);
	return err;
}

static int go(const spg_attr *attr, struct spg__spawn *spawn)
{
	struct spg__ctx *ctx;
	int err;

	if (!spg__spawn_enter())
		return -ESRCH;
	err = spg__spawn_attr(spawn, attr, &ctx);
	if (err == 0)
		err = spg__spawn_under(spawn, ctx);
	spg__spawn_leave();
	return err;
}

int spg__go_fn(spg_fn fn, void *arg)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_FN, .fn = fn, .arg = arg };

	spawn.creator = __builtin_return_address(0);
	return fn == NULL ? -EINVAL : go(NULL, &spawn);
}

int spg__go_start(void *(*fn)(void *), void *arg)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_START, .start = fn, .arg = arg };

	spawn.creator = __builtin_return_address(0);
	return fn == NULL ? -EINVAL : go(NULL, &spawn);
}

int spg_go_attr(const spg_attr *attr, spg_fn fn, void *arg)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_FN, .fn = fn, .arg = arg };

	spawn.creator = __builtin_return_address(0);
	return fn == NULL ? -EINVAL : go(attr, &spawn);
}

int spg_go_copy(spg_fn fn, const void *data, size_t size)
{
	struct spg__spawn spawn = { .kind = SPG__KIND_COPY, .fn = fn };
	int err;

	spawn.creator = __builtin_return_address(0);
	if (fn == NULL || (data == NULL && size > 0))
		return -EINVAL;
	spawn.arg = spg__alloc(size > 0 ? size : 1);
	if (spawn.arg == NULL)
		return -ENOMEM;
	if (size > 0)
		memcpy(spawn.arg, data, size);
	err = go(NULL, &spawn);
	if (err < 0)
		spg__free(spawn.arg);
	return err;
}

void spg_yield(void)
{
	if (spg__coro_self() != NULL)
		spg__coro_yield();
}

bool spg_in_coroutine(void)
{
	return spg__coro_self() != NULL;
}

uint64_t spg_id(void)
{
	struct spg__coro *self = spg__coro_self();

	return self != NULL ? self->id : 0;
}

void spg_set_name(const char *name)
{
	struct spg__coro *self = spg__coro_self();

	if (self == NULL)
		return;
	strncpy(self->name, name != NULL ? name : "", sizeof(self->name) - 1);
	self->name[sizeof(self->name) - 1] = '\0';
	self->trace_named = 0;
}

int spg_shard(void)
{
	struct spg__shard *shard = spg__shard_self();

	return shard != NULL && shard->current != NULL ? shard->id : -1;
}

int spg_shards(void)
{
	return spg_running() || spg__shard_self() != NULL ? (int)spg__sched.conf.shards : 0;
}

size_t spg_stack_high_water(void)
{
	struct spg__coro *self = spg__coro_self();

	return self != NULL ? spg__stack_high_water(self->stack) : 0;
}

int spg_pin_self(void)
{
	struct spg__shard *shard = spg__shard_self();

	if (shard == NULL || shard->current == NULL)
		return -ESRCH;
	shard->current->pin = (int16_t)shard->id; /* O3 */
	return 0;
}

int spg_unpin_self(void)
{
	struct spg__coro *self = spg__coro_self();

	if (self == NULL)
		return -ESRCH;
	self->pin = -1;
	return 0;
}

int spg_errno(void)
{
	return errno;
}

const char *spg_strerror(int r)
{
	const char *text = r >= 0 ? "Success" : strerrordesc_np(-r);

	return text != NULL ? text : "Unknown error";
}
