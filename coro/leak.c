#include "coro/leak.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BUCKETS 4096u
/* Places that are told, at most. */
#define PLACES_MAX 100

struct entry {
	struct entry *next;
	uintptr_t key;
	const void *site;
	/* Of a descriptor: which file it was. Closed behind our back, its number may be another's. */
	dev_t dev;
	ino_t ino;
	uint8_t kind;
};

_Atomic bool spg__leaks_on;

static struct {
	pthread_mutex_t mutex;
	/* Under the mutex; from malloc(3), so that no test of refused memory counts it. */
	struct entry *bucket[BUCKETS];
	size_t count;
} leaks = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static struct entry **find(enum spg__leak kind, uintptr_t key)
{
	struct entry **at = &leaks.bucket[(key * 0x9E3779B97F4A7C15u >> 32 ^ kind) % BUCKETS];

	while (*at != NULL && ((*at)->key != key || (*at)->kind != kind))
		at = &(*at)->next;
	return at;
}

void spg__leak_add(enum spg__leak kind, uintptr_t key, const void *site)
{
	struct stat st = { 0 };
	struct entry **at;

	if (kind == SPG__LEAK_FD && fstat((int)key, &st) != 0)
		return;
	pthread_mutex_lock(&leaks.mutex);
	at = find(kind, key);
	if (*at == NULL) {
		*at = calloc(1, sizeof(**at)); /* refused: not counted */
		leaks.count += *at != NULL;
	}
	if (*at != NULL) {
		(*at)->kind = (uint8_t)kind;
		(*at)->key = key;
		(*at)->site = site;
		(*at)->dev = st.st_dev;
		(*at)->ino = st.st_ino;
	}
	pthread_mutex_unlock(&leaks.mutex);
}

void spg__leak_remove(enum spg__leak kind, uintptr_t key)
{
	struct entry **at, *gone;

	pthread_mutex_lock(&leaks.mutex);
	at = find(kind, key);
	gone = *at;
	if (gone != NULL) {
		*at = gone->next;
		leaks.count--;
	}
	pthread_mutex_unlock(&leaks.mutex);
	free(gone);
}

void spg__leaks_begin(void)
{
	atomic_store_explicit(&spg__leaks_on, true, memory_order_relaxed);
}

static bool is_open(const struct entry *entry)
{
	struct stat st;

	return entry->kind != SPG__LEAK_FD ||
	       (fstat((int)entry->key, &st) == 0 && st.st_dev == entry->dev && st.st_ino == entry->ino);
}

/* Takes all entries out, those that are leaks into `out`. Returns how many. */
static size_t collect(struct entry *out, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		struct entry *entry = leaks.bucket[i];

		leaks.bucket[i] = NULL;
		while (entry != NULL) {
			struct entry *next = entry->next;

			if (n < max && is_open(entry))
				out[n++] = *entry;
			free(entry);
			entry = next;
		}
	}
	leaks.count = 0;
	return n;
}

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->site != y->site)
		return (uintptr_t)x->site < (uintptr_t)y->site ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* The function if the program exports its names (-rdynamic), and what addr2line(1) takes: binary+0xoffset. */
static void print_site(const void *site)
{
	/* The call, not what comes after it. */
	const char *at = (const char *)site - 1;
	const char *file;
	Dl_info info;

	if (dladdr(at, &info) == 0 || info.dli_fname == NULL) {
		fprintf(stderr, "%p\n", site);
		return;
	}
	file = strrchr(info.dli_fname, '/');
	file = file != NULL ? file + 1 : info.dli_fname;
	if (info.dli_sname != NULL)
		fprintf(stderr, "%s+0x%zx (", info.dli_sname, (size_t)(at - (const char *)info.dli_saddr));
	fprintf(stderr, "%s+0x%zx%s\n", file, (size_t)(at - (const char *)info.dli_fbase),
		info.dli_sname != NULL ? ")" : "");
}

/* Entries of one kind and site. */
static void print(const struct entry *first, size_t n)
{
	static const char *const names[SPG__LEAK_COUNT] = {
		[SPG__LEAK_CORO] = "coroutine", [SPG__LEAK_CHAN] = "channel",	[SPG__LEAK_CTX] = "context",
		[SPG__LEAK_GROUP] = "group",	[SPG__LEAK_TIMER] = "timer",	[SPG__LEAK_TICKER] = "ticker",
		[SPG__LEAK_FD] = "descriptor",
	};
	bool number = first->kind == SPG__LEAK_CORO || first->kind == SPG__LEAK_FD;

	fprintf(stderr, "spg:   %zu %s%s", n, names[first->kind], n > 1 ? "s" : "");
	if (number)
		fprintf(stderr, " (%s%zu)", n > 1 ? "one is " : "", (size_t)first->key);
	else
		fprintf(stderr, " (%s%p)", n > 1 ? "one is " : "", (void *)first->key);
	fprintf(stderr, ", made at ");
	print_site(first->site);
}

void spg__leaks_end(void)
{
	struct entry *list;
	size_t n, end, places = 0;

	atomic_store_explicit(&spg__leaks_on, false, memory_order_relaxed);
	pthread_mutex_lock(&leaks.mutex);
	n = leaks.count;
	list = malloc((n > 0 ? n : 1) * sizeof(*list));
	n = collect(list, list != NULL ? n : 0);
	pthread_mutex_unlock(&leaks.mutex);
	if (n > 0) {
		qsort(list, n, sizeof(*list), compare);
		fprintf(stderr, "spg: not freed, closed or ended when the runtime stopped:\n");
	}
	for (size_t i = 0; i < n && places < PLACES_MAX; i = end, places++) {
		for (end = i + 1; end < n && list[end].kind == list[i].kind && list[end].site == list[i].site;)
			end++;
		print(&list[i], end - i);
	}
	free(list);
}
