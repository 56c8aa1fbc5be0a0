#include "runtime/stack_use.h"

#include "coro/alloc.h"
#include "coro/stack_use.h"
#include "runtime/report.h"

#include <spg/debug.h>
#include <spg/go.h>

#include <string.h>

_Static_assert(sizeof(spg_stack_use) == sizeof(struct spg__stack_use) &&
		       offsetof(spg_stack_use, coroutines) == offsetof(struct spg__stack_use, coroutines) &&
		       offsetof(spg_stack_use, used_max) == offsetof(struct spg__stack_use, used_max) &&
		       offsetof(spg_stack_use, stack_size) == offsetof(struct spg__stack_use, stack_bytes),
	       "copied as they are");

int spg_stack_uses(spg_stack_use *out, int max)
{
	if (max < 0 || (out == NULL && max > 0))
		return -EINVAL;
	if (spg_shards() == 0)
		return -ESRCH;
	if (!spg__stack_uses_on)
		return -ENOTSUP;
	return (int)spg__stack_uses((struct spg__stack_use *)out, (unsigned)max);
}

void spg__stack_use_start(void)
{
	spg__stack_uses_begin(spg__dump_entry);
}

void spg__stack_use_tell(void)
{
	struct spg__stack_use *uses;
	struct spg__report *report;
	unsigned count;

	if (!spg__stack_uses_on)
		return;
	spg__stack_uses_end();
	uses = spg__calloc(SPG__STACK_USES_MAX, sizeof(*uses));
	report = uses != NULL ? spg__report_begin() : NULL;
	if (report != NULL) {
		count = spg__stack_uses(uses, SPG__STACK_USES_MAX);
		spg__out_text(&report->out, "spg: stack use, at most, by function:\n");
		for (unsigned i = 0; i < count; i++) {
			spg__out_printf(&report->out, "\t%zu of %zu bytes, %llu coroutine%s, ", uses[i].used_max,
					uses[i].stack_bytes, (unsigned long long)uses[i].coroutines,
					uses[i].coroutines == 1 ? "" : "s");
			if (uses[i].fn != NULL)
				spg__dump_place(&report->out, &report->symbols, uses[i].fn, false);
			else
				spg__out_text(&report->out, "all others");
			spg__out_text(&report->out, "\n");
		}
		spg__report_end(report);
	}
	spg__free(uses);
}
