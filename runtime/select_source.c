/*
 * The sources of select: the ends of tasks, and descriptors. A coroutine watches
 * descriptors through its shard's ring, a foreign thread polls them itself.
 */
#include "runtime/select.h"

#include "coro/alloc.h"
#include "io/watch.h"

#include <poll.h>

/* Descriptors that a foreign thread polls without allocating. */
#define POLLS_INLINE 4

static bool task_look(spg_case *c)
{
	/* acquire: what the task did; pairs with the release of its end. */
	if (!atomic_load_explicit(&c->task->done, memory_order_acquire))
		return false;
	c->err = 0;
	return true;
}

static void task_tell(struct spg__task_watch *watch)
{
	spg__select_fire(spg__container_of(watch, struct spg__select_node, task), 0);
}

static int task_arm(struct spg__select_node *node)
{
	struct spg_task *task = node->of->task;

	node->task.tell = task_tell;
	spg__list_init(&node->task.link);
	/* Another case may run, and whoever sees that may join the task, before we unwatch it. */
	spg__ctx_hold(&task->ctx);
	if (!spg__task_watch(task, &node->task))
		spg__select_fire(node, 0);
	return 0;
}

static void task_disarm(struct spg__select_node *node)
{
	struct spg_task *task = node->of->task;

	spg__task_unwatch(task, &node->task);
	spg__ctx_drop(&task->ctx);
}

const struct spg__select_source spg__select_task = { task_look, task_arm, task_disarm };

static unsigned events_of(const spg_case *c)
{
	return c->kind == SPG__CASE_READABLE ? POLLIN | POLLRDHUP : POLLOUT;
}

/* What a ready descriptor's case reports: hang-ups and errors are for the read or write to tell. */
static int result_of(int revents)
{
	if (revents < 0)
		return revents;
	return revents & POLLNVAL ? -EBADF : 0;
}

static bool fd_look(spg_case *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = (short)events_of(c) };

	if (poll(&pfd, 1, 0) <= 0)
		return false;
	c->err = result_of(pfd.revents);
	return true;
}

static void fd_fire(struct spg__watch *watch, int res)
{
	spg__select_fire(watch->owner, result_of(res));
}

static int fd_arm(struct spg__select_node *node)
{
	int err;

	node->fd = NULL;
	if (node->select->waiter->kind == SPG__WAITER_THREAD)
		return 0;
	node->fd = spg__watch_arm(node->of->fd, events_of(node->of), fd_fire, node, node->index, &err);
	if (node->fd != NULL)
		return 0;
	if (err == -ENOMEM)
		return err;
	spg__select_fire(node, err); /* -EBADF: it is being closed */
	return 0;
}

static void fd_disarm(struct spg__select_node *node)
{
	if (node->fd != NULL)
		spg__watch_detach(node->fd);
}

const struct spg__select_source spg__select_fd = { fd_look, fd_arm, fd_disarm };

static uint32_t count_fds(const union spg__select_slot *slots, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += slots[i].source.source == &spg__select_fd;
	return count;
}

static void poll_once(struct spg__wait *wait, union spg__select_slot *slots, uint32_t n, struct pollfd *fds)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++) {
		const spg_case *c = slots[i].source.of;

		if (slots[i].source.source == &spg__select_fd)
			fds[count++] = (struct pollfd){ .fd = c->fd, .events = (short)events_of(c) };
	}
	spg__park_poll_many(wait->waiter, fds, count, spg__wait_deadline(wait));
	count = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (slots[i].source.source == &spg__select_fd && fds[count++].revents != 0)
			spg__select_fire(&slots[i].source, result_of(fds[count - 1].revents));
	}
}

int spg__select_park_thread(struct spg__wait *wait, union spg__select_slot *slots, uint32_t n)
{
	struct pollfd few[POLLS_INLINE + 1], *fds = few;
	uint32_t count = count_fds(slots, n);
	int err;

	if (count == 0)
		return spg__wait_park(wait);
	err = spg__wait_check(wait);
	if (err < 0)
		return err;
	if (count > POLLS_INLINE)
		fds = spg__calloc((size_t)count + 1, sizeof(*fds));
	if (fds == NULL)
		return -ENOMEM;
	poll_once(wait, slots, n, fds);
	if (fds != few)
		spg__free(fds);
	return 0;
}
