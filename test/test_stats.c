/*
 * Counters, their texts, SPG_DEBUG, and what stack walkers find.
 */
#include "test/t.h"

#include <fcntl.h>
#include <math.h>
#include <regex.h>

static int temp_file(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	T_OK(fd >= 0);
	return fd;
}

/* test/stats_check.py over what fd holds. */
static void check(const char *kind, int fd, int shards)
{
	char command[128];

	snprintf(command, sizeof(command), "python3 test/stats_check.py %s /proc/%d/fd/%d %d", kind, (int)getpid(), fd,
		 shards);
	T_EQ(system(command), 0);
}

static spg_stats_t *stats(void)
{
	spg_stats_t *s = malloc(sizeof(*s));

	T_OK(s != NULL);
	T_EQ(spg_stats(s), 0);
	return s;
}

struct texts {
	int json, prometheus;
};

static void nothing(void *arg)
{
	(void)arg;
}

static int print_main(void *arg)
{
	struct texts *texts = arg;

	for (int i = 0; i < 10; i++)
		T_EQ(spg_go(nothing, NULL), 0);
	spg_yield();
	T_EQ(spg_stats_json(texts->json), 0);
	T_EQ(spg_stats_prometheus(texts->prometheus), 0);
	return 0;
}

/* Goal: every field of the header, once, in both formats. */
START_TEST(texts_have_every_field)
{
	struct texts texts = { temp_file(), temp_file() };

	t_run((unsigned)_i, print_main, &texts);
	check("json", texts.json, _i);
	check("prometheus", texts.prometheus, _i);
	close(texts.json);
	close(texts.prometheus);
}
END_TEST

static int errors_main(void *arg)
{
	int ends[2];

	(void)arg;
	T_ERR(spg_stats_json(-1), -EBADF);
	T_ERR(spg_stats_prometheus(-1), -EBADF);
	T_EQ(spg_pipe2(ends, O_CLOEXEC), 0);
	T_EQ(spg_close(ends[0]), 0);
	T_ERR(spg_stats_json(ends[1]), -EPIPE);
	T_EQ(spg_close(ends[1]), 0);
	{
		SPG_TIMEOUT_SCOPE(0);

		T_ERR(spg_stats_json(STDERR_FILENO), -ETIMEDOUT);
	}
	return 0;
}

/* Goal: each error named in the header. */
START_TEST(errors_are_told)
{
	spg_stats_t *s = malloc(sizeof(*s));

	T_ERR(spg_stats_json(STDERR_FILENO), -ESRCH);
	T_ERR(spg_stats_prometheus(STDERR_FILENO), -ESRCH);
	T_ERR(spg_stats(s), -ESRCH);
	T_ERR(spg_stats(NULL), -EINVAL);
	t_run((unsigned)_i, errors_main, NULL);
	free(s);
}
END_TEST

static int count_main(void *arg)
{
	spg_attr pinned = SPG_ATTR_INIT;
	spg_stats_t *before = stats(), *after;
	spg_task *tasks[20];

	(void)arg;
	pinned.place = SPG_PIN(0);
	for (int i = 0; i < 20; i++) {
		tasks[i] = spg_spawn(i < 7 ? &pinned : NULL, (void *(*)(void *))(void (*)(void))nothing, NULL);
		T_OK(tasks[i] != NULL);
	}
	for (int i = 0; i < 20; i++)
		T_EQ(spg_join(tasks[i], NULL), 0);
	for (int i = 0; i < 3; i++) {
		SPG_TIMEOUT_SCOPE(SPG_MS);
		spg_sem never;

		spg_sem_init(&never, 0);
		T_ERR(spg_sem_acquire(&never), -ETIMEDOUT);
	}
	after = stats();
	T_EQ(after->total.spawned - before->total.spawned, 20);
	T_EQ(after->total.spawned_pinned - before->total.spawned_pinned, 7);
	T_EQ(after->total.timeouts - before->total.timeouts, 3);
	T_EQ(after->total.spawned_foreign, 1); /* main */
	T_OK(after->total.switches - before->total.switches >= 20);
	T_OK(after->total.steals_won <= after->total.steals_tried);
	T_OK(after->total.steals_not_worth <= after->total.steal_scans);
	T_EQ(after->total.migrations_in_flight, 0);
	T_EQ(after->config.steal_batch, 32);
	T_EQ(after->config.run_budget, 64);
	free(before);
	free(after);
	return 0;
}

/* Goal: counters count what was done. */
START_TEST(counters_count_what_was_done)
{
	t_run((unsigned)_i, count_main, NULL);
}
END_TEST

/* Goal: the ratios, by hand; nothing counted yet is 0. */
START_TEST(ratios_are_zero_before_anything_was_counted)
{
	spg_stats_t *s = calloc(1, sizeof(*s));

	T_OK(spg_stats_steal_success_rate(&s->total) == 0);
	T_OK(spg_stats_local_hit_ratio(&s->total) == 0);
	T_OK(spg_stats_steals_per_scan(&s->total) == 0);
	T_EQ(spg_stats_queued_max(s), 0);
	T_EQ(spg_stats_inflight_max(s), 0);
	s->total = (struct spg_shard_stats){ .steals_tried = 8, .steals_won = 2, .steal_scans = 16, .switches = 10,
					     .stolen = 4, .runnable = 3, .runnable_local = 4 };
	s->shards = 2;
	s->shard[1] = (struct spg_shard_stats){ .runnable = 1, .runnable_local = 4, .inflight = 9 };
	s->shard[0] = (struct spg_shard_stats){ .runnable = 2, .inflight = 1 };
	T_OK(fabs(spg_stats_steal_success_rate(&s->total) - 0.25) < 1e-9);
	T_OK(fabs(spg_stats_local_hit_ratio(&s->total) - 0.6) < 1e-9);
	T_OK(fabs(spg_stats_steals_per_scan(&s->total) - 0.125) < 1e-9);
	T_EQ(spg_stats_queued(s), 7);
	T_EQ(spg_stats_queued_max(s), 5);
	T_EQ(spg_stats_inflight_max(s), 9);
	free(s);
}
END_TEST

/* What the runtime prints on stderr while fn runs, as a string to be freed. */
static char *stderr_of(void (*fn)(int shards), int shards)
{
	int fd = temp_file(), saved = dup(STDERR_FILENO);
	char *text = calloc(1, 65536);

	T_OK(saved >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	fn(shards);
	T_OK(dup2(saved, STDERR_FILENO) >= 0);
	T_OK(pread(fd, text, 65535, 0) >= 0);
	close(fd);
	close(saved);
	return text;
}

static int idle_main(void *arg)
{
	spg_stats_t *before = stats(), *after;

	(void)arg;
	T_EQ(spg_sleep(100 * SPG_MS), 0);
	after = stats();
	/* The lines wake nobody: each shard slept about once. */
	T_OK(after->total.sleeps - before->total.sleeps <= 3 * after->shards);
	free(before);
	free(after);
	return 0;
}

static void schedtrace(int shards)
{
	spg_config cfg = t_config((unsigned)shards);

	cfg.debug = "schedtrace=5ms";
	T_EQ(t_run_config(&cfg, idle_main, NULL), 0);
}

/* Goal: lines of counters in their form, and a runtime that sleeps meanwhile. */
START_TEST(schedtrace_prints_lines_and_wakes_nobody)
{
	char *text = stderr_of(schedtrace, _i), *save = NULL;
	regex_t form;
	int lines = 0;

	T_EQ(regcomp(&form,
		     "^SCHED [0-9]+ms: shards=[0-9]+ asleep=[0-9]+ spinning=[0-9]+ live=[0-9]+ parked=[0-9]+ "
		     "inflight=[0-9]+ timers=[0-9]+ blocking=[0-9]+ switches=[0-9]+ steals=[0-9]+/[0-9]+ wakes=[0-9]+ "
		     "sqes=[0-9]+ enters=[0-9]+ kicks=[0-9]+ runqueue=[0-9]+ \\[[0-9]+( [0-9]+)*\\]$",
		     REG_EXTENDED | REG_NOSUB),
	     0);
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (regexec(&form, line, 0, NULL, 0) != 0)
			t_fail(__FILE__, __LINE__, "not a line: %s", line);
		lines++;
	}
	T_OK(lines >= 1 && lines <= 40);
	regfree(&form);
	free(text);
}
END_TEST

static int never_main(void *arg)
{
	(void)arg;
	return 1;
}

static void bad_words(int shards)
{
	static const char *const bad[] = { "x", "schedtrace", "schedtrace=0", "schedtrace=1000", "migrate=1",
					   "trace_events=63", "trace_events=100", "migrate,trace_events=8m" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spg_config cfg = t_config((unsigned)shards);

		cfg.debug = bad[i];
		T_ERR(t_run_config(&cfg, never_main, NULL), -EINVAL);
	}
}

/* Goal: a word that is none is refused, by name. */
START_TEST(bad_words_of_spg_debug_are_refused)
{
	char *text = stderr_of(bad_words, 1);

	T_OK(strstr(text, "debug = x\n") != NULL);
	T_OK(strstr(text, "debug = trace_events=8m\n") != NULL);
	free(text);
}
END_TEST

static int migrate_main(void *arg)
{
	int first = spg_shard(), moves = 0, shards = *(int *)arg;
	int ends[2];
	char byte = 1;

	T_EQ(spg_pipe2(ends, O_CLOEXEC), 0);
	for (int i = 0; i < 200; i++) {
		int before = spg_shard(), between;

		T_EQ(spg_write(ends[1], &byte, 1), 1);
		between = spg_shard();
		T_EQ(spg_read(ends[0], &byte, 1), 1);
		moves += (before != between) + (between != spg_shard());
	}
	T_OK(first >= 0);
	T_OK(shards > 1 ? moves >= 100 : moves == 0);
	T_EQ(spg_close(ends[0]), 0);
	T_EQ(spg_close(ends[1]), 0);
	return 0;
}

/* Goal: with "migrate" nearly each blocking call resumes elsewhere; what is pinned stays. */
START_TEST(migrate_moves_coroutines_to_other_shards)
{
	spg_config cfg = t_config((unsigned)_i);
	int shards = _i;

	cfg.debug = "migrate";
	T_EQ(t_run_config(&cfg, migrate_main, &shards), 0);
}
END_TEST

/* From the innermost frame to the bottom one; how many. */
static __attribute__((noinline)) int walk_frames(void)
{
	void **frame = __builtin_frame_address(0);
	int n = 0;

	while (frame[0] != NULL) {
		void **outer = frame[0];

		T_OK(frame[1] != NULL);
		T_OK(outer > frame && (char *)outer - (char *)frame < 65536);
		frame = outer;
		T_OK(++n < 1000);
	}
	T_OK(frame[1] == NULL);
	return n;
}

static __attribute__((noinline)) int walk_deep(int depth)
{
	int n = depth == 0 ? walk_frames() : walk_deep(depth - 1);

	__asm__ volatile("" : "+r"(n)); /* no tail call */
	return n;
}

static void *walker(void *arg)
{
	int shallow = walk_deep(0), deep = walk_deep(20);

	T_EQ(deep, shallow + 20);
	spg_yield();
	T_EQ(walk_deep(20), deep);
	T_EQ(spg_sleep(1), 0);
	T_EQ(walk_deep(20), deep);
	return arg;
}

static int walk_main(void *arg)
{
	(void)arg;
	/* Several lives on one stack. */
	for (int i = 0; i < 5; i++) {
		spg_task *task = spg_spawn(NULL, walker, NULL);

		T_OK(task != NULL);
		T_EQ(spg_join(task, NULL), 0);
	}
	return 0;
}

/* Goal: frame pointers lead from any depth to a marked end: what perf needs. */
START_TEST(frame_pointers_end_at_the_bottom_of_a_stack)
{
	t_run((unsigned)_i, walk_main, NULL);
}
END_TEST

T_MAIN(T_SHARDS(texts_have_every_field), T_SHARDS(errors_are_told), T_SHARDS(counters_count_what_was_done),
       T_TEST(ratios_are_zero_before_anything_was_counted), T_SHARDS(schedtrace_prints_lines_and_wakes_nobody),
       T_TEST(bad_words_of_spg_debug_are_refused), T_SHARDS(migrate_moves_coroutines_to_other_shards),
       T_SHARDS(frame_pointers_end_at_the_bottom_of_a_stack))
