#include "io/call.h"

#include "io/fdtab.h"

#include <spg/io.h>

#include <sys/epoll.h>

/* The end of the caller's own time is no error. */
static int timed_out(void)
{
	return spg__waiter_err(spg__self());
}

static int poll_until(int fd, unsigned events, int64_t when_ns)
{
	struct io_uring_sqe sqe;
	int res;

	io_uring_prep_poll_add(&sqe, fd, events);
	res = spg__io_until(&sqe, 0, when_ns);
	return res == -ETIMEDOUT ? timed_out() : res;
}

/* Does not wait, and so is not counted: the number is looked at once. */
static int poll_now(int fd, unsigned events)
{
	struct io_uring_sqe sqe;
	int err = spg__io_entry();

	if (err < 0)
		return err;
	io_uring_prep_poll_add(&sqe, fd, events);
	err = spg__perform(&sqe, true);
	return err == -EAGAIN ? 0 : err;
}

int spg_poll(int fd, unsigned events, int64_t timeout_ns)
{
	if (fd < 0)
		return -EBADF;
	if (timeout_ns == 0)
		return poll_now(fd, events);
	return poll_until(fd, events,
			  timeout_ns < 0 ? SPG__NEVER : spg__clock_after_ns(spg__clock_ns(), timeout_ns));
}

/* What is ready now; counted, so that the number stays ours for the call. */
static int epoll_now(int epfd, struct epoll_event *events, int events_max, uint32_t word)
{
	_Atomic uint16_t *counts = spg__io_counts();
	int res = counts != NULL ? spg__fdtab_enter_again(counts, epfd, word) : -ENOMEM;

	if (res < 0)
		return res;
	res = epoll_wait(epfd, events, events_max, 0);
	res = res < 0 ? -errno : res;
	spg__fdtab_leave(counts, epfd);
	return res;
}

static int epoll_ready(int epfd, int64_t when_ns, uint32_t word)
{
	struct spg__hold hold;
	int res = spg__hold(&hold, epfd, word);

	return res < 0 ? res : spg__unhold(&hold, poll_until(epfd, POLLIN, when_ns));
}

int spg_epoll_wait(int epfd, struct epoll_event *events, int events_max, int timeout_ms)
{
	int64_t when_ns = timeout_ms < 0 ? SPG__NEVER :
					   spg__clock_after_ns(spg__clock_ns(), (int64_t)timeout_ms * 1000000);
	uint32_t word = spg__fdtab_word(epfd);
	int res = spg__io_entry();

	if (res < 0)
		return res;
	if (word & 1)
		return -EBADF;
	/* Ready and then empty: another waiter was faster. */
	for (;;) {
		res = epoll_now(epfd, events, events_max, word);
		if (res != 0 || timeout_ms == 0)
			return res;
		res = epoll_ready(epfd, when_ns, word);
		if (res <= 0)
			return res;
	}
}
