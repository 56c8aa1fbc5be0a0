/*
 * What debug modes find in a program: each fault is planted, and named.
 */
#include "test/captured.h"

#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

/* ---- pthread locks held over a wait */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

static __attribute__((noinline)) void lock_and_sleep(void)
{
	T_EQ(pthread_mutex_lock(&mutex), 0);
	T_EQ(spg_sleep(SPG_MS), 0);
	T_EQ(pthread_mutex_unlock(&mutex), 0);
}

static __attribute__((noinline)) void lock_and_end(void *arg)
{
	(void)arg;
	T_EQ(pthread_rwlock_rdlock(&rwlock), 0);
}

static __attribute__((noinline)) void lock_and_unlock(void)
{
	for (int i = 0; i < 100; i++) {
		T_EQ(pthread_mutex_lock(&mutex), 0);
		T_EQ(pthread_mutex_unlock(&mutex), 0);
		spg_yield();
	}
}

static int locks_main(void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;

	(void)arg;
	lock_and_unlock();
	fprintf(stderr, "now:\n");
	spg_set_name("holder");
	for (int i = 0; i < 10; i++)
		lock_and_sleep();
	attr.name = "leaver";
	T_EQ(spg_go_attr(&attr, lock_and_end, NULL), 0);
	T_EQ(spg_sleep(SPG_MS), 0);
	return 0;
}

/* In a process of its own, with the library preloaded or not. One shard: the unlock is on the same thread. */
static int locks_child(void)
{
	spg_config cfg = t_config(1);

	cfg.debug = "locks";
	return t_run_config(&cfg, locks_main, NULL);
}

static char *run_child(const char *preload)
{
	static char self[] = "/proc/self/exe", what[] = "locks";
	char *args[] = { self, what, NULL }, *environment[] = { NULL, NULL }, variable[512];
	struct captured err = capture();
	char *text;
	pid_t pid;
	int status;

	if (preload != NULL) {
		snprintf(variable, sizeof(variable), "LD_PRELOAD=%s", preload);
		environment[0] = variable;
	}
	T_EQ(posix_spawn(&pid, self, NULL, NULL, args, environment), 0);
	T_EQ(waitpid(pid, &status, 0), pid);
	text = captured_text(&err);
	captured_end(&err);
	if (status != 0)
		t_fail(__FILE__, __LINE__, "status %d: %s", status, text);
	return text;
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* Goal: the coroutine, its function and the place that locked are named, once each; nothing else is. */
START_TEST(a_lock_held_over_a_wait_is_named)
{
	const char *build = getenv("B");
	char path[256], *text;

	if (t_sanitized())
		T_SKIP("sanitizers want to be loaded first");
	snprintf(path, sizeof(path), "%s/libspg-locks.so", build != NULL ? build : "build");
	text = run_child(path);
	T_OK(strncmp(text, "now:\n", 5) == 0);
	T_EQ(count(text, "spg: "), 2);
	T_EQ(count(text, " \"holder\" waits (sleep) with pthread lock 0x"), 1);
	T_EQ(count(text, " held, locked by lock_and_sleep+0x"), 1);
	T_EQ(count(text, " \"leaver\" ends with pthread lock 0x"), 1);
	T_EQ(count(text, " held, locked by lock_and_end+0x"), 1);
	T_EQ(count(text, "; function lock_and_end ("), 1);
	free(text);
}
END_TEST

/* Goal: without the library it says that it cannot see anything. */
START_TEST(locks_without_the_library_say_so)
{
	char *text = run_child(NULL);

	T_OK(strstr(text, "spg: SPG_DEBUG=locks sees nothing without LD_PRELOAD=libspg-locks.so\n") != NULL);
	T_EQ(count(text, "held"), 0);
	free(text);
}
END_TEST

/* ---- thread-local data kept over a wait */

static __thread uint64_t user;
static _Atomic int mixed;

/* As the compiler does it with errno, when it keeps the address. */
static __attribute__((noinline)) uint64_t *address_of_user(void)
{
	uint64_t *at = &user;

	__asm__ volatile("" : "+r"(at)); /* found anew by each call */
	return at;
}

static void remember_user(void *arg)
{
	uint64_t *kept = address_of_user();

	(void)arg;
	for (int i = 0; i < 50; i++) {
		*kept = spg_id();
		T_EQ(spg_sleep(1), 0);
		if (*address_of_user() != spg_id())
			mixed++;
	}
}

static int thread_local_main(void *arg)
{
	spg_task *task = spg_spawn(NULL, (void *(*)(void *))(void (*)(void))remember_user, NULL);

	(void)arg;
	T_OK(task != NULL);
	return spg_join(task, NULL);
}

/* Goal: a program that is right by luck, for nothing moves its coroutine, is wrong at once. */
START_TEST(migrate_shows_a_thread_local_kept_over_a_wait)
{
	spg_config cfg = t_config((unsigned)_i);

	cfg.steal = false;
	T_EQ(t_run_config(&cfg, thread_local_main, NULL), 0);
	T_EQ(mixed, 0);
	cfg.steal = true;
	cfg.debug = "migrate";
	T_EQ(t_run_config(&cfg, thread_local_main, NULL), 0);
	T_OK(_i > 1 ? mixed > 10 : mixed == 0);
}
END_TEST

/* ---- stack use by function */

static __attribute__((noinline)) int take(size_t bytes)
{
	char frame[200] = { 1 };

	/* Seen and written to by who knows whom, before the call and after: it must be there, and so must the call. */
	__asm__ volatile("" : : "r"(frame) : "memory");
	frame[1] = bytes > sizeof(frame) ? (char)take(bytes - sizeof(frame)) : 0;
	__asm__ volatile("" : : "r"(frame) : "memory");
	return frame[0] + frame[1];
}

static void take_little(void *arg)
{
	(void)take(*(size_t *)arg);
}

static void take_much(void *arg)
{
	(void)take(*(size_t *)arg);
}

static spg_stack_use *use_of(spg_stack_use *uses, int n, spg_fn fn)
{
	for (int i = 0; i < n; i++)
		if (uses[i].fn == *(const void **)(void *)&fn)
			return &uses[i];
	return NULL;
}

static uint64_t ended(void)
{
	static spg_stats_t stats;

	T_EQ(spg_stats(&stats), 0);
	return stats.total.ended;
}

static int stacks_main(void *arg)
{
	size_t sizes[] = { 1000, 40000, 20000 };
	spg_stack_use uses[64], *little, *much;
	spg_attr large = SPG_ATTR_INIT;
	int n;

	(void)arg;
	large.stack_size = 512 << 10;
	/* One after the other: stacks are used again, and what was there does not count. */
	for (int i = 0; i < 100; i++) {
		uint64_t before = ended();

		T_EQ(spg_go_attr(NULL, i % 2 == 0 ? take_much : take_little,
				 &sizes[i % 2 == 0 ? 2 : 0]), 0);
		T_UNTIL(ended() > before);
	}
	T_EQ(spg_go_attr(&large, take_much, &sizes[1]), 0);
	T_UNTIL(ended() >= 101);
	n = spg_stack_uses(uses, 64);
	T_OK(n >= 2 && n <= 64);
	T_EQ(spg_stack_uses(NULL, 0), n);
	for (int i = 1; i < n; i++)
		T_OK(uses[i - 1].used_max >= uses[i].used_max);
	little = use_of(uses, n, take_little);
	much = use_of(uses, n, take_much);
	T_OK(little != NULL && much != NULL);
	T_EQ(little->coroutines, 50);
	T_EQ(much->coroutines, 51);
	T_OK(little->used_max >= 1000 && little->used_max < 5000);
	T_OK(much->used_max >= 40000 && much->used_max < 100000);
	T_EQ(little->stack_size, 256 << 10);
	return 0;
}

/* Goal: the deepest of each function, however stacks are used again; and all of it told at the end. */
START_TEST(stack_use_is_told_by_function)
{
	spg_config cfg = t_config((unsigned)_i);
	struct captured err;

	if (t_sanitized())
		T_SKIP("sanitizers' frames are of other sizes");
	err = capture();
	cfg.debug = "stacks";
	T_EQ(t_run_config(&cfg, stacks_main, NULL), 0);
	T_OK(captured_has(&err, "spg: stack use, at most, by function:\n"));
	T_OK(captured_has(&err, " bytes, 51 coroutines, take_much ("));
	T_OK(captured_has(&err, " bytes, 50 coroutines, take_little ("));
	captured_end(&err);
}
END_TEST

static int not_asked_main(void *arg)
{
	spg_stack_use use;

	(void)arg;
	T_ERR(spg_stack_uses(&use, 1), -ENOTSUP);
	T_ERR(spg_stack_uses(&use, -1), -EINVAL);
	T_ERR(spg_stack_uses(NULL, 1), -EINVAL);
	return 0;
}

/* Goal: each error of spg_stack_uses. */
START_TEST(stack_uses_tells_errors)
{
	spg_stack_use use;

	T_ERR(spg_stack_uses(&use, 1), -ESRCH);
	t_run((unsigned)_i, not_asked_main, NULL);
}
END_TEST

int main(int argc, char **argv)
{
	const struct t_case cases[] = {
		T_TEST(a_lock_held_over_a_wait_is_named),
		T_TEST(locks_without_the_library_say_so),
		T_SHARDS(migrate_shows_a_thread_local_kept_over_a_wait),
		T_SHARDS(stack_use_is_told_by_function),
		T_SHARDS(stack_uses_tells_errors),
	};

	if (argc > 1 && strcmp(argv[1], "locks") == 0)
		return locks_child();
	return t_main(__FILE__, cases, sizeof(cases) / sizeof(cases[0]));
}
