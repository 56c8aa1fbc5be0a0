/*
 * What the programs in tools/ share on their command lines: complaints, checked
 * numbers, and the limit on descriptors.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* One line on stderr, after the program's name. */
__attribute__((format(printf, 1, 2))) static inline void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* A whole number in [min, max]; anything else ends the program with status 2. */
static inline uint64_t cli_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && value >= min && value <= max)
		return value;
	complain("--%s %s: not a number from %llu to %llu", name, text, (unsigned long long)min,
		 (unsigned long long)max);
	exit(2);
}

/* Seconds, with a fraction if need be, up to a day; the result in nanoseconds. */
static inline int64_t cli_seconds_ns(const char *name, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end != text && *end == '\0' && value >= 0 && value <= 86400) /* not so for a NaN */
		return (int64_t)(value * 1e9);
	complain("--%s %s: not a number of seconds from 0 to 86400", name, text);
	exit(2);
}

/* As many descriptors as the system lets this process have. */
static inline void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* refused: the old limit stands, accept and socket report it */
}

#endif
