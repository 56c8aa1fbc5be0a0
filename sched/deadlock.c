#include "sched/deadlock.h"

#include "sched/offload.h"
#include "sched/queue.h"
#include "sched/watchdog.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The watchdog, and the thread that is in spg_run. */
#define OWN_THREADS 2
/* Kernel's names of the threads that work for a ring. */
#define RING_WORKER "iou-"

static _Atomic int holds, helpers;

/* The sum of all naps at the last look that found nothing under way. The watchdog's alone. */
static uint64_t seen;

void spg__deadlock_hold(void)
{
	/* seq_cst, here and below: in the order of DL2. */
	atomic_fetch_add_explicit(&holds, 1, memory_order_seq_cst);
}

void spg__deadlock_release(void)
{
	if (atomic_fetch_sub_explicit(&holds, 1, memory_order_seq_cst) == 1)
		spg__watchdog_look();
}

void spg__deadlock_thread(int change)
{
	atomic_fetch_add_explicit(&helpers, change, memory_order_seq_cst);
}

/* DL1. */
bool spg__shards_nap(uint64_t *sum)
{
	*sum = 0;
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		/* seq_cst [DL-a]. */
		uint64_t naps = atomic_load_explicit(&spg__shard_at((int)i)->naps, memory_order_seq_cst);

		if (naps % 2 == 0)
			return false;
		*sum += naps;
	}
	return true;
}

static bool shard_expects(struct spg__shard *shard)
{
	/* seq_cst, all of them: in the order of DL2. */
	return spg__sched.poller->holds(shard) ||
	       atomic_load_explicit(&shard->timers.next_due_ns, memory_order_seq_cst) != SPG__NEVER ||
	       atomic_load_explicit(&shard->inbox, memory_order_seq_cst) != NULL ||
	       atomic_load_explicit(&shard->errands, memory_order_seq_cst) != NULL;
}

/* Is there anything that ends a nap? Run queues are empty then: only their owners fill them. */
static bool anything_expected(void)
{
	struct spg__offload_count pool;

	spg__offload_count(&pool);
	if (pool.queued + pool.running > 0 || atomic_load_explicit(&holds, memory_order_seq_cst) > 0 ||
	    atomic_load_explicit(&spg__sched.global_count, memory_order_seq_cst) > 0)
		return true;
	for (unsigned i = 0; i < spg__sched.conf.shards; i++) {
		if (shard_expects(spg__shard_at((int)i)))
			return true;
	}
	return false;
}

/* The whole file, or as much as there is room for, as a string. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* As the kernel counts them, in one look: proc_pid_status(5). Unknown: many. */
static unsigned threads_all(void)
{
	static char text[4096];
	const char *line = read_text("/proc/self/status", text, sizeof(text)) ? strstr(text, "\nThreads:\t") : NULL;

	return line != NULL ? (unsigned)strtoul(line + strlen("\nThreads:\t"), NULL, 10) : UINT32_MAX;
}

static unsigned threads_own(void)
{
	struct spg__offload_count pool;

	spg__offload_count(&pool);
	return OWN_THREADS + spg__sched.conf.shards + (unsigned)pool.threads +
	       (unsigned)atomic_load_explicit(&helpers, memory_order_seq_cst);
}

static bool is_ring_worker(const char *tid)
{
	char path[64], name[32];

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", tid);
	return read_text(path, name, sizeof(name)) && strncmp(name, RING_WORKER, strlen(RING_WORKER)) == 0;
}

/* DL5. Stops at the first thread too many. */
static unsigned ring_workers(unsigned own)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned workers = 0, others = 0;

	while (dir != NULL && others <= own && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (is_ring_worker(entry->d_name))
			workers++;
		else
			others++;
	}
	if (dir != NULL)
		closedir(dir);
	return others <= own ? workers : 0;
}

/* Is there a thread that is not ours (DL4)? */
static bool strangers(void)
{
	unsigned all = threads_all(), own = threads_own();

	return all != own && all != own + ring_workers(own);
}

enum spg__deadlock spg__deadlock_look(void)
{
	uint64_t before, after;

	if (!spg__shards_nap(&before))
		return SPG__DEADLOCK_SOON;
	if (anything_expected())
		return SPG__DEADLOCK_NONE;
	/* Threads are not counted while shards come and go. */
	if (before != seen) {
		seen = before;
		return SPG__DEADLOCK_SOON;
	}
	if (strangers())
		return SPG__DEADLOCK_LATER;
	if (anything_expected())
		return SPG__DEADLOCK_NONE;
	return spg__shards_nap(&after) && after == before ? SPG__DEADLOCK_PROVEN : SPG__DEADLOCK_SOON;
}
