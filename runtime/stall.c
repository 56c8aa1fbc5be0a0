#include "runtime/stall.h"

#include "runtime/report.h"
#include "runtime/syscalls.h"
#include "sched/sample.h"

#include <string.h>

/* Between two reports. */
#define PAUSE_NS ((int64_t)1000000000)
/* The watchdog has other shards to look after. */
#define SAMPLE_NS ((int64_t)20 * 1000000)

/* The watchdog's alone. */
static struct {
	void (*fn)(const spg_stall *stall, void *arg);
	void *arg;
	bool print;
	int kick_signal;
	int64_t next_ns;
	uint64_t left_out;
	/* By shard: when its last stall began, how long it had lasted when it was looked at for a report, was it told? */
	struct {
		int64_t began_ns, ns;
		bool told;
	} last[SPG__SHARDS_MAX];
} st;

bool spg__stall_conf(const spg_config *cfg, bool print)
{
	memset(&st, 0, sizeof(st));
	st.fn = cfg->stall_fn;
	st.arg = cfg->stall_arg;
	st.print = print;
	st.kick_signal = cfg->kick_signal;
	return st.fn != NULL || st.print;
}

static void print(const spg_stall *stall)
{
	char time[SPG__TIME_TEXT];
	struct spg__report *report = spg__report_begin();

	if (report == NULL)
		return;
	spg__out_text(&report->out, "spg: stall: ");
	spg__report_coro(report, stall->id, stall->name);
	if (stall->blocked_in != NULL)
		spg__out_printf(&report->out, " has blocked its thread, now in %s,", stall->blocked_in);
	else
		spg__out_text(&report->out, " has computed");
	spg__out_printf(&report->out, " for %s on shard %d, function ", spg__dump_time(time, stall->running_ns),
			stall->shard);
	spg__dump_place(&report->out, &report->symbols, stall->fn, false);
	spg__out_text(&report->out, "\n");
	spg__dump_frames(&report->out, &report->symbols, stall->frames, stall->frames_count, false);
	if (stall->left_out > 0)
		spg__out_printf(&report->out, "spg: stall: %llu others since the last report\n",
				(unsigned long long)stall->left_out);
	spg__report_end(report);
}

/* Is it time? A stall is told again when it has lasted twice as long. */
static bool due(int shard, int64_t began_ns, int64_t now_ns)
{
	bool new = began_ns != st.last[shard].began_ns, tell = now_ns >= st.next_ns;
	int64_t ns = now_ns - began_ns;

	if (!new && (ns < 2 * st.last[shard].ns || !tell))
		return false;
	if (new)
		st.last[shard].told = false;
	st.last[shard].began_ns = began_ns;
	st.last[shard].ns = ns;
	if (!tell) {
		st.left_out++;
		return false;
	}
	/* Left out at first, and told now after all. */
	st.left_out -= !new && !st.last[shard].told;
	st.last[shard].told = true;
	st.next_ns = now_ns + PAUSE_NS;
	return true;
}

void spg__stall_tell(struct spg__shard *shard, int64_t pass_ns, int64_t now_ns, long blocked_in)
{
	struct spg__coro *coro = spg__look_current(shard);
	struct spg__look look;
	struct spg__sample sample = { 0 };
	spg_stall stall = { .shard = shard->id, .running_ns = now_ns - pass_ns };

	/*
	 * Without a coroutine the loop itself has no CPU. In a new pass it is over, and `coro` may be
	 * another. relaxed: a pass is begun before its first coroutine, and is no order for anything else.
	 */
	if (coro == NULL || !spg__look(coro, &look) ||
	    atomic_load_explicit(&shard->pass_ns, memory_order_relaxed) != pass_ns ||
	    !due(shard->id, pass_ns, now_ns))
		return;
	if (!spg__sample(shard, st.kick_signal, SAMPLE_NS, &sample) || sample.id != look.id)
		sample.depth = 0;
	stall.id = look.id;
	stall.name = look.name;
	stall.fn = spg__dump_entry(look.fn, look.arg);
	stall.frames = sample.frames;
	stall.frames_count = sample.depth;
	stall.blocked_in = spg__syscall_name(blocked_in);
	stall.left_out = st.left_out;
	st.left_out = 0;
	if (st.fn != NULL)
		st.fn(&stall, st.arg);
	if (st.print)
		print(&stall);
}
