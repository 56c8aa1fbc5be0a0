#include "test/t.h"

#include "spg_probe.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/random.h>
#include <time.h>
#if SPG__HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* Bounds a test that hangs; tools/run-tests multiplies it where everything is slower. */
#define TIMEOUT_S 30
#define SHARDS_MAX 4

void t_fail(const char *file, int line, const char *format, ...)
{
	va_list args;
	char text[512];
	int n;

	va_start(args, format);
	n = snprintf(text, sizeof(text), "%s:%d: ", file, line);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n++] = '\n';
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

void t_skip(const char *function, const char *reason)
{
	size_t len = strlen(function);

	/* Check calls the function of a test `name_fn`. */
	if (len > 3 && strcmp(function + len - 3, "_fn") == 0)
		len -= 3;
	fprintf(stderr, "SKIP %.*s: %s\n", (int)len, function, reason);
}

spg_config t_config(unsigned shards)
{
	spg_config cfg;

	spg_config_init(&cfg);
	cfg.shards = shards;
	return cfg;
}

int t_run_config(const spg_config *cfg, int (*fn)(void *), void *arg)
{
	return spg_run(cfg, fn, arg);
}

void t_run(unsigned shards, int (*fn)(void *), void *arg)
{
	spg_config cfg = t_config(shards);

	T_EQ(spg_run(&cfg, fn, arg), 0);
}

void t_relax(void)
{
	if (spg_in_coroutine())
		spg_yield();
	else
		sched_yield();
}

uint64_t t_seed(void)
{
	const char *text = getenv("SPG_TEST_SEED");
	uint64_t seed = 0;

	if (text != NULL)
		seed = strtoull(text, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = (uint64_t)t_now_ns();
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	return seed | 1;
}

uint64_t t_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545F4914F6CDD1Du;
}

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	T_OK(dir != NULL);
	for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

int t_fds_count(void)
{
	return count_entries("/proc/self/fd") - 1; /* without the directory itself */
}

int t_threads_count(void)
{
	return count_entries("/proc/self/task");
}

size_t t_rss_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long pages = 0;

	T_OK(file != NULL);
	T_EQ(fscanf(file, "%*d %ld", &pages), 1);
	fclose(file);
	return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

int t_maps_count(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	int n = 0, c;

	T_OK(file != NULL);
	while ((c = getc(file)) != EOF)
		n += c == '\n';
	fclose(file);
	return n;
}

/* What the host took from a virtual machine. */
static int64_t stolen_ns(void)
{
	FILE *file = fopen("/proc/stat", "re");
	long long ticks = 0;

	T_OK(file != NULL);
	T_EQ(fscanf(file, "cpu %*d %*d %*d %*d %*d %*d %*d %lld", &ticks), 1);
	fclose(file);
	return ticks * (1000000000 / sysconf(_SC_CLK_TCK));
}

int64_t t_delay_ns(void)
{
	DIR *dir = opendir("/proc/self/task");
	int64_t sum = stolen_ns();

	T_OK(dir != NULL);
	for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
		char path[64];
		FILE *file;
		long long delay = 0;

		snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", entry->d_name);
		file = fopen(path, "re");
		if (file == NULL)
			continue; /* "..", or it has just ended */
		if (fscanf(file, "%*d %lld", &delay) == 1)
			sum += delay;
		fclose(file);
	}
	closedir(dir);
	return sum;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	T_EQ(clock_gettime(clock, &ts), 0);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t t_cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t t_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

bool t_feature(const char *name)
{
	spg_feature features[128];
	int n = spg_features(features, 128);

	T_OK(n > 0 && n <= 128);
	for (int i = 0; i < n; i++) {
		if (strcmp(features[i].name, name) == 0)
			return features[i].used;
	}
	t_fail(__FILE__, __LINE__, "no feature %s", name);
}

bool t_tsan(void)
{
#if defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
	return true;
#endif
#endif
	return false;
}

bool t_sanitized(void)
{
#if SPG__HAVE_VALGRIND
	if (RUNNING_ON_VALGRIND)
		return true;
#endif
#if defined(__SANITIZE_ADDRESS__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	return true;
#endif
#endif
	return t_tsan();
}

/* A case of its own for each number of shards, so that a failure says which it was. */
static void add_test(Suite *suite, const struct t_case *test)
{
	static const char *const names[SHARDS_MAX + 1] = { "once", "1 shard", "2 shards", "3 shards",
							   "4 shards" };
	int first = test->shards ? 1 : 0, last = test->shards ? SHARDS_MAX : 0;

	for (int shards = first; shards <= last; shards++) {
		TCase *tcase = tcase_create(names[shards]);

		tcase_set_timeout(tcase, TIMEOUT_S);
		tcase_add_loop_test(tcase, test->test, shards, shards + 1);
		suite_add_tcase(suite, tcase);
	}
}

int t_main(const char *file, const struct t_case *cases, size_t n)
{
	Suite *suite = suite_create(file);
	SRunner *runner = srunner_create(suite);
	const char *only = getenv("SPG_TEST_ONLY");
	int failed;

	/* Results survive a program that is killed. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGHUP, SIG_DFL); /* nohup leaves it ignored */
	for (size_t i = 0; i < n; i++)
		if (only == NULL || strcmp(only, cases[i].name) == 0)
			add_test(suite, &cases[i]);
	srunner_set_fork_status(runner, getenv("SPG_TEST_NOFORK") != NULL ? CK_NOFORK : CK_FORK);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
