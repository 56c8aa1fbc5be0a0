#include "runtime/fn_name.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

const char *spg__fn_name(struct spg__fn_names *names, uint64_t fn)
{
	unsigned at = (unsigned)(fn >> 4) % SPG__FN_NAMES;
	const size_t bytes = sizeof(names->entry[at].name);
	char *address = (char *)(uintptr_t)fn, *name = names->entry[at].name;
	const char *file;
	Dl_info info;

	if (names->entry[at].fn == fn)
		return name;
	names->entry[at].fn = fn;
	if (dladdr(address, &info) == 0 || info.dli_fname == NULL) {
		snprintf(name, bytes, "%p", (void *)address);
	} else if (info.dli_sname != NULL && info.dli_saddr == address) {
		snprintf(name, bytes, "%s", info.dli_sname);
	} else {
		file = strrchr(info.dli_fname, '/');
		snprintf(name, bytes, "%.40s+0x%lx", file != NULL ? file + 1 : info.dli_fname,
			 (unsigned long)(address - (char *)info.dli_fbase));
	}
	return name;
}
