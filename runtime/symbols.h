/*
 * Names for addresses of code, from the ELF files of the mappings of /proc/self/maps: also of
 * static functions, which dladdr(3) does not find, and without the loader's or malloc's
 * locks, which a stuck thread may hold. What has no name is file+0xaddress, for addr2line(1).
 */
#ifndef SPG__RUNTIME_SYMBOLS_H
#define SPG__RUNTIME_SYMBOLS_H

#include "coro/base.h"

#define SPG__MODULES_MAX 128
#define SPG__MODULE_PATH_MAX 512
#define SPG__SYMBOLS_FOUND 2048

/* An executable mapping of a file. */
struct spg__module {
	uintptr_t start, end;
	uint64_t offset;
	char path[SPG__MODULE_PATH_MAX];
	/* The file, mapped when first asked for; size 0: not readable. */
	const char *elf;
	size_t elf_bytes;
	bool tried;
};

struct spg__symbol {
	/* NULL: none is known. Not terminated. */
	const char *name;
	size_t name_len;
	/* From its start. */
	uint64_t offset;
	/* The file, or NULL, and the address in it as addr2line(1) takes it. */
	const char *path;
	uint64_t file_addr;
};

struct spg__symbols {
	unsigned count;
	/* There were more; their addresses stay without names. */
	bool full;
	struct spg__module modules[SPG__MODULES_MAX];
	/* What was found, by address: tables are long, and traces much alike. */
	struct {
		const void *pc;
		struct spg__symbol symbol;
	} found[SPG__SYMBOLS_FOUND];
};

/* The mappings of now. The caller's memory: it is large, and all zero before. */
void spg__symbols_init(struct spg__symbols *symbols);
void spg__symbols_fini(struct spg__symbols *symbols);

/* Does the address lie in executable memory? True for all when that is not known. */
bool spg__symbols_code(const struct spg__symbols *symbols, const void *pc);

void spg__symbols_find(struct spg__symbols *symbols, const void *pc, struct spg__symbol *out);

#endif
