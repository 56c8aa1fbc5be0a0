#include "runtime/report.h"

#include "coro/alloc.h"

#include <unistd.h>

struct spg__report *spg__report_begin(void)
{
	struct spg__report *report = spg__map(sizeof(*report));

	if (report == NULL)
		return NULL;
	report->out.fd = STDERR_FILENO;
	report->out.write = spg__dump_write_plain;
	spg__symbols_init(&report->symbols);
	return report;
}

void spg__report_end(struct spg__report *report)
{
	spg__out_flush(&report->out);
	spg__symbols_fini(&report->symbols);
	spg__unmap(report, sizeof(*report));
}

void spg__report_coro(struct spg__report *report, uint64_t id, const char *name)
{
	spg__out_printf(&report->out, "coroutine %llu", (unsigned long long)id);
	if (name[0] != '\0') {
		spg__out_text(&report->out, " ");
		spg__out_json_string(&report->out, name);
	}
}

void spg__report_overflow(const struct spg__coro *coro, const void *const *frames, unsigned depth)
{
	struct spg__report *report = spg__report_begin();

	if (report == NULL)
		return;
	spg__out_text(&report->out, "spg: it began with ");
	spg__dump_place(&report->out, &report->symbols,
			spg__dump_entry(*(const void *const *)(const void *)&coro->fn, coro->arg), false);
	spg__out_text(&report->out, "; its innermost calls:\n");
	spg__dump_frames(&report->out, &report->symbols, frames, depth, false);
	spg__report_end(report);
}
