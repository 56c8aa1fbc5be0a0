#include "t.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FEATURES_MAX 256

static spg_feature features[FEATURES_MAX];

static const spg_feature *feature(const char *name)
{
	int n = spg_features(features, FEATURES_MAX);

	T_OK(n > 0 && n <= FEATURES_MAX);
	for (int i = 0; i < n; i++) {
		T_EQ(features[i].used, features[i].why[0] == '\0');
		T_OK(!features[i].used || features[i].kernel);
		if (strcmp(features[i].name, name) == 0)
			return &features[i];
	}
	t_fail(__FILE__, __LINE__, "no feature %s", name);
}

/* Goal: without a runtime the kernel is asked, and nothing stays open. */
START_TEST(features_are_probed_without_a_runtime)
{
	int fds = t_fds_count(), maps = t_maps_count();

	T_STR(feature("io_uring")->name, features[0].name);
	T_OK(features[0].used);
	T_OK(feature("op:read")->used);
	for (int i = 0; i < 50; i++)
		T_OK(spg_features(NULL, 0) > 20);
	T_EQ(t_fds_count(), fds);
	if (!t_sanitized())
		T_OK(t_maps_count() <= maps + 2);
}
END_TEST

/* Goal: a short array is filled and no more; errors are those of the header. */
START_TEST(a_short_array_is_filled)
{
	spg_feature two[2] = { 0 };
	int n = spg_features(NULL, 0);

	T_EQ(spg_features(two, 1), n);
	T_STR(two[0].name, "io_uring");
	T_OK(two[1].name == NULL);
	T_ERR(spg_features(NULL, 1), -EINVAL);
	setenv("SPG_DISABLE", "warp_drive", 1);
	T_ERR(spg_features(two, 2), -EINVAL);
}
END_TEST

/* Goal: what SPG_DISABLE names, or another feature excludes, is not used, and says so. */
START_TEST(a_reason_is_given_for_what_is_not_used)
{
	T_STR(feature("sqpoll")->why, "sqpoll_idle_ms is 0");
	setenv("SPG_DISABLE", "msg_ring,op:statx", 1);
	T_STR(feature("msg_ring")->why, "named in SPG_DISABLE");
	T_STR(feature("op:statx")->why, "named in SPG_DISABLE");
	T_OK(feature("op:read")->used);
	setenv("SPG_DISABLE", "taskrun_flag", 1);
	T_STR(feature("defer_taskrun")->why, "it needs taskrun_flag");
	unsetenv("SPG_DISABLE");
	setenv("SPG_SQPOLL_IDLE_MS", "10", 1);
	if (!feature("sqpoll")->kernel)
		T_SKIP("no SQPOLL");
	T_OK(feature("sqpoll")->used);
	T_OK(!feature("defer_taskrun")->used);
}
END_TEST

static int running_main(void *disabled)
{
	T_OK(feature("io_uring")->used);
	T_EQ(feature("op:read")->used, disabled == NULL);
	T_EQ(feature("guard_install")->used, disabled == NULL && feature("guard_install")->kernel);
	return 0;
}

/* Goal: beside a runtime they are that runtime's, whatever the environment says. */
START_TEST(features_of_a_running_runtime)
{
	spg_config cfg = t_config((unsigned)_i);

	T_EQ(t_run_config(&cfg, running_main, NULL), 0);
	cfg.disable = "op:read,guard_install";
	T_EQ(t_run_config(&cfg, running_main, &cfg), 0);
}
END_TEST

/* Goal: where io_uring is forbidden, the first one says why; the stacks' features are still there. */
START_TEST(a_refused_io_uring_is_explained)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = filter };
	bool guards = feature("guard_install")->kernel;
	const char *build = getenv("B") != NULL ? getenv("B") : "build";
	char command[256];

	T_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	T_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
	T_OK(!feature("io_uring")->kernel);
	T_OK(strstr(feature("io_uring")->why, "seccomp") != NULL);
	T_OK(!feature("op:read")->used && !feature("defer_taskrun")->used);
	T_EQ(feature("guard_install")->kernel, guards);
	snprintf(command, sizeof(command), "%s/spg-probe >/dev/null 2>&1", build);
	T_EQ(WEXITSTATUS(system(command)), 1);
}
END_TEST

T_MAIN(T_TEST(features_are_probed_without_a_runtime), T_TEST(a_short_array_is_filled),
       T_TEST(a_reason_is_given_for_what_is_not_used), T_SHARDS(features_of_a_running_runtime),
       T_TEST(a_refused_io_uring_is_explained))
