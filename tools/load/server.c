/* What a server uses, read from outside. */
#include "tools/load/load.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The line "name: value" of /proc/PID/status, for the names that are wanted. */
static void read_line(const char *line, struct load_server *out)
{
	const struct {
		const char *name;
		uint64_t *value;
	} fields[] = {
		{ "Threads:", &out->threads },
		{ "VmRSS:", &out->rss_kib },
		{ "VmHWM:", &out->rss_peak_kib },
		{ "VmPTE:", &out->pte_kib },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		size_t len = strlen(fields[i].name);

		if (strncmp(line, fields[i].name, len) == 0)
			*fields[i].value = strtoull(line + len, NULL, 10);
	}
}

static int read_status(pid_t pid, struct load_server *out)
{
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		return -errno;
	while (fgets(line, sizeof(line), file) != NULL)
		read_line(line, out);
	fclose(file);
	return 0;
}

/* The numbers of all lines of a file whose names end in "ctxt_switches". */
static uint64_t read_switches(const char *path)
{
	uint64_t sum = 0;
	char line[256];
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return 0; /* the thread has ended meanwhile */
	while (fgets(line, sizeof(line), file) != NULL) {
		const char *found = strstr(line, "ctxt_switches:");

		if (found != NULL)
			sum += strtoull(strchr(found, ':') + 1, NULL, 10);
	}
	fclose(file);
	return sum;
}

static uint64_t all_switches(pid_t pid)
{
	char path[300];
	const struct dirent *entry;
	uint64_t sum = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (tasks == NULL)
		return 0;
	while ((entry = readdir(tasks)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, entry->d_name);
		if (entry->d_name[0] != '.')
			sum += read_switches(path);
	}
	closedir(tasks);
	return sum;
}

/*
 * The process's CPU clock counts ns over all its threads, those that have ended included;
 * /proc/PID/schedstat is the first thread's only, and a sum over /proc/PID/task loses
 * what ends meanwhile.
 */
int load_server_read(pid_t pid, struct load_server *out)
{
	struct timespec cpu;
	clockid_t clock;
	int err = -clock_getcpuclockid(pid, &clock);

	if (err < 0)
		return err;
	if (clock_gettime(clock, &cpu) != 0)
		return -errno;
	*out = (struct load_server){ .cpu_ns = (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec };
	out->switches = all_switches(pid);
	return read_status(pid, out);
}
