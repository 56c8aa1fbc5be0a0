/*
 * Select from the inside: cases that are no channels.
 *
 * A source looks (is it ready now?), arms a node, and disarms it. While a node is armed
 * the source may fire it, once or more, from any thread, under a lock of its own that
 * disarm takes, too: after disarm it touches the node no more (SL4).
 */
#ifndef SPG__RUNTIME_SELECT_H
#define SPG__RUNTIME_SELECT_H

#include "runtime/chan.h"
#include "runtime/task.h"

#include <spg/select.h>

struct spg__watch;
struct spg__select_node;

struct spg__select_source {
	/* Is the case ready? Then its err is set. Parks nowhere. */
	bool (*look)(spg_case *c);
	/* On the waiter's own stack; may yield. 0, or a negative errno: nothing is armed. */
	int (*arm)(struct spg__select_node *node);
	void (*disarm)(struct spg__select_node *node);
};

extern const struct spg__select_source spg__select_task, spg__select_fd;

struct spg__select_node {
	const struct spg__select_source *source;
	struct spg__select *select;
	const spg_case *of;
	int index;
	union {
		struct spg__task_watch task;
		struct spg__watch *fd; /* NULL: a foreign thread's, which polls itself */
	};
};

/* What a waiting case needs. */
union spg__select_slot {
	struct spg__chan_node chan;
	struct spg__select_node source;
};

/* The case is ready, with this result: it competes for the select. Never blocks. */
static inline void spg__select_fire(struct spg__select_node *node, int err)
{
	if (spg__select_claim(node->select))
		spg__select_finish(node->select, node->index, err);
}

/* As spg__wait_park, of a foreign thread with these n source nodes: it wakes for descriptors, too. */
int spg__select_park_thread(struct spg__wait *wait, union spg__select_slot *slots, uint32_t n);

#endif
