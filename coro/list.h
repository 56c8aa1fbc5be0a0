/*
 * Two intrusive lists. Neither allocates; both need the caller's lock or ownership.
 *
 * list   doubly linked, circular: remove from anywhere.
 * fifo   singly linked: append, take the first.
 */
#ifndef SPG__CORO_LIST_H
#define SPG__CORO_LIST_H

#include "coro/base.h"

struct spg__list {
	struct spg__list *next, *prev;
};

static inline void spg__list_init(struct spg__list *head)
{
	head->next = head->prev = head;
}

static inline bool spg__list_empty(const struct spg__list *head)
{
	return head->next == head;
}

static inline void spg__list_append(struct spg__list *head, struct spg__list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Leaves the node linked to itself: removing it again is harmless. */
static inline void spg__list_remove(struct spg__list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->next = node->prev = node;
}

/* The first node, or NULL. It stays in the list. */
static inline struct spg__list *spg__list_first(const struct spg__list *head)
{
	return head->next == head ? NULL : head->next;
}

/* Moves all of `from` behind `to`; `from` becomes empty. */
static inline void spg__list_splice(struct spg__list *to, struct spg__list *from)
{
	if (spg__list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	spg__list_init(from);
}

struct spg__link {
	struct spg__link *next;
};

struct spg__fifo {
	struct spg__link *first, *last;
	size_t count;
};

static inline void spg__fifo_append(struct spg__fifo *fifo, struct spg__link *link)
{
	link->next = NULL;
	if (fifo->first == NULL)
		fifo->first = link;
	else
		fifo->last->next = link;
	fifo->last = link;
	fifo->count++;
}

static inline struct spg__link *spg__fifo_take(struct spg__fifo *fifo)
{
	struct spg__link *link = fifo->first;

	if (link == NULL)
		return NULL;
	fifo->first = link->next;
	fifo->count--;
	return link;
}

/* Moves all of `from` behind `to`. */
static inline void spg__fifo_splice(struct spg__fifo *to, struct spg__fifo *from)
{
	if (from->first == NULL)
		return;
	if (to->first == NULL)
		to->first = from->first;
	else
		to->last->next = from->first;
	to->last = from->last;
	to->count += from->count;
	*from = (struct spg__fifo){ 0 };
}

#endif
