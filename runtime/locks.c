#include "runtime/locks.h"

#include "coro/lock.h"
#include "runtime/preload/locks.h"
#include "runtime/report.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define HELD_MAX 8
#define SITES_MAX 64

static spg__locks_take_fn *take;

/* Places that were told: once each. */
static struct {
	struct spg__lock lock;
	unsigned count;
	const void *sites[SITES_MAX];
} told;

static bool is_new(const void *site)
{
	bool is = true;

	spg__lock(&told.lock);
	for (unsigned i = 0; i < told.count; i++)
		is &= told.sites[i] != site;
	if (is && told.count < SITES_MAX)
		told.sites[told.count++] = site;
	spg__unlock(&told.lock);
	return is;
}

static void tell(const struct spg__coro *coro, enum spg__commit how, const struct spg__held *held)
{
	struct spg__report *report = spg__report_begin();

	if (report == NULL)
		return;
	spg__out_text(&report->out, "spg: ");
	spg__report_coro(report, coro->id, coro->name);
	if (how == SPG__COMMIT_PARK)
		spg__out_printf(&report->out, " waits (%s)",
				spg__reason_name(atomic_load_explicit(&coro->waiter.reason, memory_order_relaxed)));
	else
		spg__out_text(&report->out, how == SPG__COMMIT_YIELD ? " yields" : " ends");
	spg__out_text(&report->out, " with pthread lock ");
	spg__out_hex(&report->out, (uintptr_t)held->lock);
	spg__out_text(&report->out, " held, locked by ");
	spg__dump_place(&report->out, &report->symbols, held->site, true);
	spg__out_text(&report->out, "; function ");
	spg__dump_place(&report->out, &report->symbols,
			spg__dump_entry(*(const void *const *)(const void *)&coro->fn, coro->arg), false);
	spg__out_text(&report->out, "\n");
	spg__report_end(report);
}

static void leaves(struct spg__coro *coro, enum spg__commit how)
{
	struct spg__held held[HELD_MAX];
	unsigned n = take(held, HELD_MAX);

	for (unsigned i = 0; i < n; i++)
		if (is_new(held[i].site))
			tell(coro, how, &held[i]);
}

void (*spg__locks_start(void))(struct spg__coro *coro, enum spg__commit how)
{
	void *symbol = dlsym(RTLD_DEFAULT, SPG__LOCKS_TAKE);

	told.count = 0;
	memcpy(&take, &symbol, sizeof(take));
	if (take != NULL)
		return leaves;
	fprintf(stderr, "spg: SPG_DEBUG=locks sees nothing without LD_PRELOAD=libspg-locks.so\n");
	return NULL;
}
