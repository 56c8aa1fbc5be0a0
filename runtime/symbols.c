#include "runtime/symbols.h"

#include "coro/peek.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Compared to know a file again. */
#define CODE_BYTES 64

/* One line of /proc/self/maps: "start-end perms offset major:minor inode   path". */
static void module_add(struct spg__symbols *symbols, char *line)
{
	unsigned long start, end, offset;
	char perms[5];
	int path = 0;
	struct spg__module *m;

	if (sscanf(line, "%lx-%lx %4s %lx %*x:%*x %*u %n", &start, &end, perms, &offset, &path) < 4 ||
	    perms[2] != 'x')
		return;
	if (symbols->count == SPG__MODULES_MAX) {
		symbols->full = true;
		return;
	}
	m = &symbols->modules[symbols->count++];
	*m = (struct spg__module){ .start = start, .end = end, .offset = offset };
	if (path > 0 && line[path] == '/' && strlen(line + path) < sizeof(m->path))
		strcpy(m->path, line + path);
}

void spg__symbols_init(struct spg__symbols *symbols)
{
	char buf[768];
	size_t have = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	symbols->count = 0;
	symbols->full = fd < 0;
	while (fd >= 0 && (n = read(fd, buf + have, sizeof(buf) - 1 - have)) > 0) {
		char *line = buf, *end;

		have += (size_t)n;
		buf[have] = '\0';
		while ((end = strchr(line, '\n')) != NULL) {
			*end = '\0';
			module_add(symbols, line);
			line = end + 1;
		}
		have -= (size_t)(line - buf);
		/* A path longer than the buffer is no path we could use. */
		if (have == sizeof(buf) - 1)
			have = 0;
		memmove(buf, line, have);
	}
	if (fd >= 0)
		close(fd);
}

void spg__symbols_fini(struct spg__symbols *symbols)
{
	for (unsigned i = 0; i < symbols->count; i++) {
		struct spg__module *m = &symbols->modules[i];

		if (m->elf_bytes > 0)
			(void)munmap((void *)(uintptr_t)m->elf, m->elf_bytes);
	}
	symbols->count = 0;
}

static struct spg__module *module_of(const struct spg__symbols *symbols, uintptr_t pc)
{
	for (unsigned i = 0; i < symbols->count; i++) {
		const struct spg__module *m = &symbols->modules[i];

		if (pc >= m->start && pc < m->end)
			return (struct spg__module *)(uintptr_t)m;
	}
	return NULL;
}

bool spg__symbols_code(const struct spg__symbols *symbols, const void *pc)
{
	return symbols->full || module_of(symbols, (uintptr_t)pc) != NULL;
}

/* Is it the file that is mapped? By the first bytes of the code: inodes may differ (overlayfs). */
static bool is_mapped(const struct spg__module *m, const char *elf, uint64_t bytes)
{
	char code[CODE_BYTES];

	return m->offset < bytes && bytes - m->offset >= sizeof(code) &&
	       spg__peek((const void *)m->start, code, sizeof(code)) &&
	       memcmp(code, elf + m->offset, sizeof(code)) == 0;
}

static bool map_file(struct spg__module *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *elf = MAP_FAILED;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && st.st_size > (off_t)sizeof(ElfW(Ehdr)))
		elf = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (elf == MAP_FAILED)
		return false;
	if (!is_mapped(m, elf, (uint64_t)st.st_size)) {
		(void)munmap(elf, (size_t)st.st_size);
		return false;
	}
	m->elf = elf;
	m->elf_bytes = (size_t)st.st_size;
	return true;
}

/* n elements of the size at that offset of the file; NULL: they are not all in it. */
static const void *part(const struct spg__module *m, uint64_t offset, uint64_t n, size_t size)
{
	uint64_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) || offset > m->elf_bytes || bytes > m->elf_bytes - offset ||
	    (size > 1 && offset % sizeof(uint64_t) != 0))
		return NULL;
	return m->elf + offset;
}

/* The file's header, or NULL: no file, or none of our kind. */
static const ElfW(Ehdr) *header(struct spg__module *m)
{
	const ElfW(Ehdr) *eh;

	if (!m->tried && m->path[0] != '\0' && !map_file(m, m->path))
		/* The program's own file may have been replaced. */
		(void)map_file(m, "/proc/self/exe");
	m->tried = true;
	eh = part(m, 0, 1, sizeof(*eh));
	if (eh == NULL || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32))
		return NULL;
	return eh;
}

/* The file's own address of what is mapped at pc. */
static uint64_t file_address(const struct spg__module *m, const ElfW(Ehdr) *eh, uintptr_t pc)
{
	uint64_t at = pc - m->start + m->offset;
	const ElfW(Phdr) *ph = part(m, eh->e_phoff, eh->e_phnum, sizeof(*ph));

	for (unsigned i = 0; ph != NULL && i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && at >= ph[i].p_offset && at - ph[i].p_offset < ph[i].p_filesz)
			return at - ph[i].p_offset + ph[i].p_vaddr;
	}
	return at;
}

/* Looks for the function in one symbol table. */
static bool find_in(const struct spg__module *m, const ElfW(Shdr) *table, const ElfW(Shdr) *names, uint64_t addr,
		    struct spg__symbol *out)
{
	uint64_t n = table->sh_size / sizeof(ElfW(Sym));
	const ElfW(Sym) *sym = part(m, table->sh_offset, n, sizeof(*sym));
	const char *text = part(m, names->sh_offset, names->sh_size, 1);

	if (sym == NULL || text == NULL || names->sh_size == 0 || text[names->sh_size - 1] != '\0')
		return false;
	for (uint64_t i = 0; i < n; i++) {
		if ((sym[i].st_info & 15) != STT_FUNC || sym[i].st_shndx == SHN_UNDEF || addr < sym[i].st_value ||
		    addr - sym[i].st_value >= sym[i].st_size || sym[i].st_name >= names->sh_size)
			continue;
		out->name = text + sym[i].st_name;
		/* Without what the compiler adds to copies and parts: ".lto_priv.0", ".part.1". */
		out->name_len = out->name[0] == '\0' ? 0 : 1 + strcspn(out->name + 1, ".");
		out->offset = addr - sym[i].st_value;
		return true;
	}
	return false;
}

static void look_up(struct spg__symbols *symbols, const void *pc, struct spg__symbol *out)
{
	struct spg__module *m = module_of(symbols, (uintptr_t)pc);
	const ElfW(Ehdr) *eh = m != NULL ? header(m) : NULL;
	const ElfW(Shdr) *sh;

	*out = (struct spg__symbol){ .path = m != NULL && m->path[0] != '\0' ? m->path : NULL };
	if (m == NULL)
		return;
	out->file_addr = (uintptr_t)pc - m->start + m->offset;
	if (eh == NULL)
		return;
	out->file_addr = file_address(m, eh, (uintptr_t)pc);
	sh = part(m, eh->e_shoff, eh->e_shnum, sizeof(*sh));
	for (unsigned i = 0; sh != NULL && i < eh->e_shnum; i++) {
		if ((sh[i].sh_type == SHT_SYMTAB || sh[i].sh_type == SHT_DYNSYM) && sh[i].sh_link < eh->e_shnum &&
		    find_in(m, &sh[i], &sh[sh[i].sh_link], out->file_addr, out))
			return;
	}
}

void spg__symbols_find(struct spg__symbols *symbols, const void *pc, struct spg__symbol *out)
{
	size_t at = ((uintptr_t)pc * 0x9E3779B97F4A7C15u) >> 40 & (SPG__SYMBOLS_FOUND - 1);

	if (symbols->found[at].pc != pc) {
		look_up(symbols, pc, &symbols->found[at].symbol);
		symbols->found[at].pc = pc;
	}
	*out = symbols->found[at].symbol;
}
