/*
 * The dump: what is collected of all coroutines, and its text.
 *
 * DU1  Collecting takes no lock of malloc's or the loader's and writes nothing: it works while
 *      shards are stuck anywhere. Memory comes from mmap(2).
 * DU2  Text is written afterwards, from what was collected: a descriptor that blocks holds up
 *      its reader alone, and a coroutine that writes parks.
 */
#ifndef SPG__RUNTIME_DUMP_H
#define SPG__RUNTIME_DUMP_H

#include "runtime/out.h"
#include "runtime/symbols.h"
#include "sched/look.h"

/* One coroutine. */
struct spg__dump_rec {
	uint64_t id;
	const void *object;
	/* What was found out about the object: the owner's or target's id, or the time it is due. */
	int64_t detail;
	int64_t since_ns;
	uint32_t group;
	int16_t shard;
	char name[SPG__CORO_NAME_MAX];
};

/* All that are in the same state, at the same place, and began alike. */
struct spg__dump_group {
	uint64_t hash;
	const void *fn;
	/* NULL: not the same for all. */
	const void *creator;
	uint32_t count;
	/* The lowest id, and by that the order of the text. */
	uint64_t first_id;
	uint16_t opcode;
	int16_t shard;
	uint8_t rest, reason;
	uint32_t depth;
	const void *frames[SPG__FRAMES_MAX];
};

struct spg__dump {
	/* The whole mapping. */
	size_t bytes;
	int64_t now_ns;
	unsigned shards;
	uint32_t recs_max, recs_count, groups_max, groups_count, buckets_mask;
	/* Born after the room was measured, or of too many kinds: counted, not shown. */
	uint64_t left_out;
	/* Room for one look. */
	struct spg__look look;
	struct spg__out out;
	struct spg__symbols symbols;
	struct spg__dump_rec *recs;
	struct spg__dump_group *groups;
	/* Group numbers by hash, +1; 0: free. */
	uint32_t *buckets;
	/* Record numbers and group numbers, sorted. */
	uint32_t *order, *rank;
};

/* spg_dump with a writer of one's own. */
int spg__dump(int fd, int (*write)(int fd, const void *data, size_t len));

/* One for threads of ours, which have SIGPIPE blocked: write(2) alone, and no part of the library. */
int spg__dump_write_plain(int fd, const void *data, size_t len);

/* NULL: no memory. The runtime is held while it collects. */
struct spg__dump *spg__dump_collect(void);
void spg__dump_free(struct spg__dump *dump);

/* Sorts, and prints into dump->out. */
void spg__dump_text(struct spg__dump *dump);

/* Traces of running coroutines are asked for by this signal; 0: none are. Before shards run. */
void spg__dump_conf(int kick_signal);

/* "3.2s", in buf. */
#define SPG__TIME_TEXT 24
const char *spg__dump_time(char buf[SPG__TIME_TEXT], int64_t ns);

/* "name+0x12 (/path/to/program+0x1234)" and the like. is_call: pc comes after a call. */
void spg__dump_place(struct spg__out *out, struct spg__symbols *symbols, const void *pc, bool is_call);

/*
 * A trace without the library's outermost frames, a line each; of one who waits without its
 * innermost frames too: the first is the call that waits.
 */
void spg__dump_frames(struct spg__out *out, struct spg__symbols *symbols, const void *const *frames,
		      unsigned depth, bool waits);

/* The user's function that the coroutine was spawned for. */
const void *spg__dump_entry(const void *fn, const void *arg);

#endif
