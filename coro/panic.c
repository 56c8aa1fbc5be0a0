#include "coro/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void spg__panic(const char *file, int line, const char *what)
{
	char text[256];
	int len = snprintf(text, sizeof(text), "spg: %s:%d: check failed: %s\n", file, line, what);

	if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
		abort(); /* nobody to tell */
	abort();
}
