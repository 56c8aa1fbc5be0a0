/*
 * spg/select.h - waiting for the first of several events, with Go's meaning.
 *
 *	spg_case cases[] = { SPG_RECV(a, &v), SPG_SEND(b, &w), SPG_AFTER(5 * SPG_MS) };
 *	int k = spg_select(cases, 3);
 */
#ifndef SPG_SELECT_H
#define SPG_SELECT_H

#include <spg/base.h>

#ifdef __cplusplus
#define SPG__NULL nullptr
#else
#define SPG__NULL NULL
#endif

enum spg__case_kind {
	SPG__CASE_RECV,
	SPG__CASE_SEND,
	SPG__CASE_AFTER,
	SPG__CASE_AT,
	SPG__CASE_DEFAULT,
	SPG__CASE_READABLE,
	SPG__CASE_WRITABLE,
	SPG__CASE_JOINED,
};

/* One case. Made by the macros below; `err` is the chosen case's result. */
typedef struct spg_case {
	int kind;
	int err;
	int fd;
	int spare;
	int64_t when;
	spg_chan *chan;
	void *recv_ptr;
	const void *send_ptr;
	spg_task *task;
} spg_case;

/* Positional initialisers: in an array, and behind a cast. */
#define SPG_RECV(chan, ptr) { SPG__CASE_RECV, 0, -1, 0, 0, (chan), (ptr), SPG__NULL, SPG__NULL }
#define SPG_SEND(chan, ptr) { SPG__CASE_SEND, 0, -1, 0, 0, (chan), SPG__NULL, (ptr), SPG__NULL }
#define SPG_AFTER(ns) { SPG__CASE_AFTER, 0, -1, 0, (ns), SPG__NULL, SPG__NULL, SPG__NULL, SPG__NULL }
#define SPG_AT(when) { SPG__CASE_AT, 0, -1, 0, (when), SPG__NULL, SPG__NULL, SPG__NULL, SPG__NULL }
#define SPG_DEFAULT { SPG__CASE_DEFAULT, 0, -1, 0, 0, SPG__NULL, SPG__NULL, SPG__NULL, SPG__NULL }
#define SPG_READABLE(fd) { SPG__CASE_READABLE, 0, (fd), 0, 0, SPG__NULL, SPG__NULL, SPG__NULL, SPG__NULL }
#define SPG_WRITABLE(fd) { SPG__CASE_WRITABLE, 0, (fd), 0, 0, SPG__NULL, SPG__NULL, SPG__NULL, SPG__NULL }
#define SPG_JOINED(task) { SPG__CASE_JOINED, 0, -1, 0, 0, SPG__NULL, SPG__NULL, SPG__NULL, (task) }

static inline spg_case spg_case_recv(spg_chan *chan, void *ptr)
{
	spg_case c = SPG_RECV(chan, ptr);
	return c;
}
static inline spg_case spg_case_send(spg_chan *chan, const void *ptr)
{
	spg_case c = SPG_SEND(chan, ptr);
	return c;
}
static inline spg_case spg_case_after(int64_t ns)
{
	spg_case c = SPG_AFTER(ns);
	return c;
}
static inline spg_case spg_case_at(int64_t when)
{
	spg_case c = SPG_AT(when);
	return c;
}
static inline spg_case spg_case_default(void)
{
	spg_case c = SPG_DEFAULT;
	return c;
}
static inline spg_case spg_case_readable(int fd)
{
	spg_case c = SPG_READABLE(fd);
	return c;
}
static inline spg_case spg_case_writable(int fd)
{
	spg_case c = SPG_WRITABLE(fd);
	return c;
}
static inline spg_case spg_case_joined(spg_task *task)
{
	spg_case c = SPG_JOINED(task);
	return c;
}

SPG__EXTERN_C_BEGIN

/**
 * spg_select - run exactly one of the cases.
 * @cases: n of them; the chosen one's err is its result: 0, -EPIPE, or a descriptor's error
 * @n:     how many; 0 waits for the context's end
 *
 * Chooses uniformly at random among the ready cases; with none ready the default, if
 * there is one; else it parks until one is. A NULL channel is never ready. AFTER counts
 * from the entry of the call. READABLE, WRITABLE and JOINED report only: nothing is read
 * or joined. The same channel may stand in several cases.
 *
 * Return: the index of the case that ran, or, and then none did,
 *   -ECANCELED  the context was canceled
 *   -ETIMEDOUT  the context's deadline passed first
 *   -EINVAL     a malformed case (unknown kind, NULL value pointer of a sized send, negative
 *               descriptor, NULL task), or cases is NULL and n > 0, or n > 2^31 - 1
 *   -ENOMEM     more than 4 cases, and no memory for their nodes; or a foreign thread's
 *               first call found none
 * Cancellation: yes. Threads: any; a coroutine parks and may resume on another thread.
 * Allocates: nothing for 4 cases or fewer; beyond, and for descriptors, until it returns.
 * Source: Go spec, "Select statements". Since: 0.1.
 */
SPG_API int spg_select(spg_case *cases, size_t n);

SPG__EXTERN_C_END

#endif
