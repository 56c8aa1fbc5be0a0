/*
 * Reading a dump's text: entries are paragraphs, whose first line is the head.
 */
#ifndef SPG__TEST_DUMP_TEXT_H
#define SPG__TEST_DUMP_TEXT_H

#include "test/t.h"

#include <ctype.h>
#include <sys/mman.h>

/* A dump, taken here. For free(3). */
static __attribute__((noinline, unused)) char *dump_to_text(void)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);
	off_t len;
	char *text;

	T_OK(fd >= 0);
	T_EQ(spg_dump(fd), 0);
	len = lseek(fd, 0, SEEK_CUR);
	text = malloc((size_t)len + 1);
	T_OK(text != NULL);
	T_EQ(pread(fd, text, (size_t)len, 0), len);
	text[len] = '\0';
	close(fd);
	return text;
}

/* A task: dumps into the descriptor and closes it. */
static inline void *dump_into(void *fd)
{
	intptr_t err = spg_dump(*(int *)fd);

	spg_close(*(int *)fd);
	return (void *)err;
}

/* The entry that has this, from there to its end, until the next call. */
static inline char *entry_of(const char *text, const char *head)
{
	static char entry[65536];
	const char *start = strstr(text, head), *end;

	if (start == NULL)
		t_fail(__FILE__, __LINE__, "no entry %s in\n%s", head, text);
	end = strstr(start + 1, "\n\n");
	snprintf(entry, sizeof(entry), "%.*s", (int)(end != NULL ? (size_t)(end - start) : strlen(start)), start);
	return entry;
}

static inline int entries_of(const char *text)
{
	int n = 0;

	for (const char *at = text; (at = strstr(at, "]:\n")) != NULL; at++)
		n++;
	return n;
}

/* Does the head begin so, with a number for N? */
static inline bool head_like(const char *head, const char *form)
{
	for (; *form != '\0'; form++) {
		if (*form == 'N' && isdigit((unsigned char)*head)) {
			while (isdigit((unsigned char)*head))
				head++;
			continue;
		}
		if (*head++ != *form)
			return false;
	}
	return true;
}

/* The entry of the function has this head, and the function is in its trace. */
static inline void expect_entry(const char *text, const char *function, const char *form)
{
	char last[64], frame[64];
	const char *line = strstr(text, "\n\n");

	snprintf(last, sizeof(last), "\tfunction %s ", function);
	snprintf(frame, sizeof(frame), "\t%s+0x", function);
	for (; line != NULL; line = strstr(line + 1, "\n\n")) {
		char *entry = entry_of(line, line);

		if (strstr(entry, last) == NULL)
			continue;
		if (!head_like(entry + 2, form) || strstr(entry, frame) == NULL)
			t_fail(__FILE__, __LINE__, "the entry of %s is %s", function, entry);
		return;
	}
	t_fail(__FILE__, __LINE__, "no entry of %s in\n%s", function, text);
}

/* Nobody is in it twice. Heads of one and lists of many. */
static inline void ids_are_unique(const char *text)
{
	static uint64_t seen[1 << 16];
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, "\ncoroutine ")) != NULL; at++)
		seen[n++ % (sizeof(seen) / sizeof(seen[0]))] = strtoull(at + 11, NULL, 10);
	for (size_t i = 0; i < n && i < 1000; i++)
		for (size_t j = 0; j < i; j++)
			T_OK(seen[i] != seen[j]);
	T_OK(strncmp(text, "spg: ", 5) == 0 && text[strlen(text) - 1] == '\n');
}

#endif
