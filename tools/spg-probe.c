/*
 * What the running kernel offers to spg, what spg uses of it, and why not the rest.
 *
 * usage: spg-probe [-a]      -a: operations that are used as well
 *
 * The name of a feature, in SPG_DISABLE, turns it off. Ends with 1 where io_uring cannot be
 * used, and says why; with 2 for a bad command line or SPG_DISABLE.
 */
#include "tools/cli.h"

#include <spg/spg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define FEATURES_MAX 512

/* A number from a file of /proc, after `key` if there is one; -1: none. */
static long proc_number(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	char line[256];
	long value = -1;

	while (file != NULL && value < 0 && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtol(line + strlen(key), NULL, 10);
	}
	if (file != NULL)
		fclose(file);
	return value;
}

/* What of this system may stand in the way. */
static void print_surroundings(void)
{
	long disabled = proc_number("/proc/sys/kernel/io_uring_disabled", "");
	long seccomp = proc_number("/proc/self/status", "Seccomp:");
	struct rlimit memlock = { 0 };
	struct utsname name;

	(void)uname(&name);
	(void)getrlimit(RLIMIT_MEMLOCK, &memlock);
	printf("kernel      %s\n", name.release);
	printf("sysctl      kernel.io_uring_disabled %s\n",
	       disabled == 2 ? "= 2: nobody may" : disabled == 1 ? "= 1: only its group and CAP_SYS_ADMIN may" :
			       disabled == 0 ? "= 0: everybody may" : "is not there");
	printf("seccomp     %s\n", seccomp > 0 ? "a filter is on" : "no filter");
	if (memlock.rlim_cur == RLIM_INFINITY)
		printf("memlock     unlimited\n\n");
	else
		printf("memlock     %llu KiB\n\n", (unsigned long long)memlock.rlim_cur / 1024);
}

int main(int argc, char **argv)
{
	static spg_feature features[FEATURES_MAX];
	bool all = argc == 2 && strcmp(argv[1], "-a") == 0;
	int n;

	if (argc > 1 && !all) {
		complain("usage: spg-probe [-a]");
		return 2;
	}
	n = spg_features(features, FEATURES_MAX);
	if (n < 0) {
		complain("SPG_DISABLE names what is not a feature");
		return 2;
	}
	print_surroundings();
	printf("%-20s %-7s %-5s %s\n", "feature", "kernel", "used", "what for; why not");
	for (int i = 0; i < n; i++) {
		const spg_feature *f = &features[i];
		bool op = strncmp(f->name, "op:", 3) == 0;

		if (op && f->used && !all)
			continue;
		printf("%-20s %-7s %-5s %s%s%s\n", f->name, f->kernel ? "yes" : "no", f->used ? "yes" : "no",
		       op && f->used ? "" : op ? f->why : f->what, !op && !f->used ? ": " : "",
		       op ? "" : f->why);
	}
	if (!features[0].used) {
		fflush(stdout);
		complain("io_uring cannot be used: %s", features[0].why);
	}
	return features[0].used ? 0 : 1;
}
