/*
 * Stalls are told: who, for how long, where; not too often.
 */
#include "test/captured.h"

#include <signal.h>
#include <time.h>

#define NAMES_MAX 16

/* What stall_fn was told. Written on the watchdog's thread; count last. */
struct told {
	_Atomic int count;
	uint64_t id, left_out;
	int shard;
	char name[NAMES_MAX];
	const void *fn;
	_Atomic int64_t running_ns;
	unsigned frames;
	_Atomic unsigned frames_max;
	const void *inner;
	bool blocked;
};

struct busy {
	_Atomic uint64_t id;
	_Atomic int shard;
	_Atomic bool end, ended;
};

static void on_stall(const spg_stall *stall, void *arg)
{
	struct told *told = arg;

	told->id = stall->id;
	told->shard = stall->shard;
	told->fn = stall->fn;
	told->frames = stall->frames_count;
	if (stall->frames_count > told->frames_max) {
		told->inner = stall->frames[0];
		told->frames_max = stall->frames_count;
	}
	told->left_out = stall->left_out;
	told->blocked = stall->blocked_in != NULL;
	told->running_ns = stall->running_ns;
	snprintf(told->name, sizeof(told->name), "%s", stall->name);
	told->count++;
}

static __attribute__((noinline)) void compute(void *arg)
{
	struct busy *busy = arg;

	spg_set_name("busy");
	busy->shard = spg_shard();
	busy->id = spg_id();
	while (!busy->end)
		;
	busy->ended = true;
}

static spg_config config(unsigned shards, struct told *told)
{
	spg_config cfg = t_config(shards);

	cfg.stall_ns = 5 * SPG_MS;
	cfg.stall_fn = on_stall;
	cfg.stall_arg = told;
	return cfg;
}

/* Goal: stall_fn gets the coroutine's id, name, function and shard; and again while it lasts. */
START_TEST(a_stall_is_told_with_who_it_is)
{
	struct told told = { 0 };
	struct busy busy = { 0 };
	spg_config cfg = config((unsigned)_i, &told);

	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_go(compute, &busy), 0);
	T_UNTIL(busy.id != 0 && told.count >= 1);
	T_OK(told.running_ns >= cfg.stall_ns);
	/* A second at least lies between two of them. */
	T_UNTIL(told.count >= 2);
	T_OK(told.running_ns >= 2 * cfg.stall_ns && told.running_ns >= SPG_SEC);
	busy.end = true;
	T_UNTIL(busy.ended);
	T_EQ(spg_stop(), 0);
	T_EQ(told.id, busy.id);
	T_EQ(told.shard, busy.shard);
	T_OK(told.fn == (const void *)compute);
	T_OK(!told.blocked);
	T_STR(told.name, "busy");
}
END_TEST

/* Goal: a trace comes with it, which begins in the function that computes. */
START_TEST(a_stall_is_told_with_its_trace)
{
	struct told told = { 0 };
	struct busy busy = { 0 };
	spg_config cfg = config((unsigned)_i, &told);

	if (t_tsan())
		T_SKIP("ThreadSanitizer delays signals");
	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_go(compute, &busy), 0);
	/* Where its thread has no CPU for 20 ms it comes with the next one. */
	T_UNTIL(told.frames_max >= 1);
	busy.end = true;
	T_UNTIL(busy.ended);
	T_EQ(spg_stop(), 0);
	T_OK((uintptr_t)told.inner > (uintptr_t)compute && (uintptr_t)told.inner < (uintptr_t)compute + 4096);
}
END_TEST

/* Goal: without kick_signal it is told all the same, without a trace. */
START_TEST(a_stall_is_told_without_the_kick)
{
	struct told told = { 0 };
	struct busy busy = { 0 };
	spg_config cfg = config(2, &told);

	cfg.kick_signal = 0;
	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_go(compute, &busy), 0);
	T_UNTIL(told.count >= 1);
	busy.end = true;
	T_UNTIL(busy.ended);
	T_EQ(spg_stop(), 0);
	T_EQ(told.id, busy.id);
	T_EQ(told.frames, 0);
}
END_TEST

static uint64_t stalls(void)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return stats.total.stalls;
}

static void compute_until_counted(void *arg)
{
	uint64_t before = *(uint64_t *)arg;

	while (stalls() == before)
		;
	atomic_fetch_add((_Atomic uint64_t *)arg, 1);
}

/* Goal: of many stalls within a second one is told, and the next report counts the others. */
START_TEST(stalls_are_told_once_a_second)
{
	struct told told = { 0 };
	struct busy busy = { 0 };
	spg_config cfg = config(1, &told);
	_Atomic uint64_t turn = 0;
	int64_t start = t_now_ns();
	uint64_t counted = 0;

	T_EQ(spg_start(&cfg), 0);
	for (int i = 0; i < 10; i++, counted++) {
		turn = counted = stalls();
		T_EQ(spg_go(compute_until_counted, (void *)&turn), 0);
		T_UNTIL(turn != counted);
	}
	T_OK(told.count <= 1 + (t_now_ns() - start) / SPG_SEC);
	/* One that lasts is told in the end. */
	T_EQ(spg_go(compute, &busy), 0);
	T_UNTIL(told.count >= 2 && told.id == busy.id);
	busy.end = true;
	T_UNTIL(busy.ended);
	T_EQ(spg_stop(), 0);
	T_OK(told.left_out <= 10 && (told.left_out > 0 || told.count > 2));
}
END_TEST

static void block(void *arg)
{
	struct busy *busy = arg;
	struct timespec second = { .tv_sec = 1 };

	busy->id = spg_id();
	while (!busy->end)
		(void)nanosleep(&second, NULL);
	busy->ended = true;
}

/* Goal: who blocks the thread in a call of libc is told with the system call. */
START_TEST(a_blocking_call_is_named)
{
	struct busy busy = { 0 };
	struct told told = { 0 };
	spg_config cfg = config((unsigned)_i, &told);
	struct captured err = capture();

	cfg.debug = "stalls";
	T_EQ(spg_start(&cfg), 0);
	T_EQ(spg_go(block, &busy), 0);
	/* libc's sleep may use either. */
	T_UNTIL(captured_has(&err, " has blocked its thread, now in nanosleep, for ") ||
		captured_has(&err, " has blocked its thread, now in clock_nanosleep, for "));
	T_OK(captured_has(&err, ", function block ("));
	T_OK(told.blocked);
	busy.end = true;
	T_UNTIL(busy.ended);
	T_EQ(spg_stop(), 0);
	captured_end(&err);
}
END_TEST

static void printed(const char *debug, bool expect)
{
	struct busy busy = { 0 };
	spg_config cfg = t_config(2);
	struct captured err = capture();
	uint64_t before;

	cfg.stall_ns = 5 * SPG_MS;
	cfg.debug = debug;
	T_EQ(spg_start(&cfg), 0);
	before = stalls();
	T_EQ(spg_go(compute, &busy), 0);
	T_UNTIL(busy.id != 0 && stalls() > before);
	if (expect)
		T_UNTIL(captured_has(&err, " has computed for ") && captured_has(&err, ", function compute ("));
	busy.end = true;
	T_UNTIL(busy.ended);
	T_EQ(spg_stop(), 0);
	T_EQ(captured_has(&err, "spg: stall: coroutine "), expect);
	captured_end(&err);
}

/* Goal: SPG_DEBUG=stalls prints them; without it nothing is printed. */
START_TEST(stalls_are_printed_when_asked_for)
{
	printed(NULL, false);
	printed("stalls", true);
}
END_TEST

T_MAIN(T_SHARDS(a_stall_is_told_with_who_it_is), T_SHARDS(a_stall_is_told_with_its_trace),
       T_SHARDS(a_blocking_call_is_named),
       T_TEST(a_stall_is_told_without_the_kick), T_TEST(stalls_are_told_once_a_second),
       T_TEST(stalls_are_printed_when_asked_for))
