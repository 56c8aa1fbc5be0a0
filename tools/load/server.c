/* What a server uses, read from outside. */
#include "tools/load/load.h"

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
	return read_status(pid, out);
}
