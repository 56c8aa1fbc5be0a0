/*
 * A cancel can miss its operation: the kernel takes both from the queue at once, and the
 * connect is then on its way to a worker thread, where nobody looks for it. On every kind of
 * ring.
 */
#include "t.h"

#include <sys/socket.h>
#include <sys/un.h>

#define ROUNDS (t_sanitized() ? 10 : 40)

/* A listener with a full backlog: a connect to it waits until somebody accepts. */
struct crowded {
	int listener, guest;
	struct sockaddr_un name;
	socklen_t len;
};

static void crowded_open(struct crowded *c)
{
	c->name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	c->len = sizeof(c->name);
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	c->guest = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(bind(c->listener, (struct sockaddr *)&c->name, sizeof(sa_family_t)), 0);
	T_EQ(getsockname(c->listener, (struct sockaddr *)&c->name, &c->len), 0);
	T_EQ(listen(c->listener, 0), 0);
	T_EQ(connect(c->guest, (struct sockaddr *)&c->name, c->len), 0);
}

static void crowded_close(struct crowded *c)
{
	close(c->listener);
	close(c->guest);
}

struct call {
	struct crowded *crowded;
	int fd;
};

static void *connect_main(void *arg)
{
	struct call *call = arg;

	return (void *)(intptr_t)spg_connect(call->fd, (struct sockaddr *)&call->crowded->name,
					     call->crowded->len);
}

/* 0 to 2 passes of the run queue between the call and its end: queued, submitted, under way. */
static void cancel_round(struct crowded *crowded, int round, bool by_close)
{
	struct call call = { .crowded = crowded, .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	spg_task *task = spg_spawn(NULL, connect_main, &call);
	void *result;

	for (int i = 0; i <= round % 3; i++)
		spg_yield();
	if (by_close)
		T_EQ(spg_close(call.fd), 0);
	else
		T_EQ(spg_task_cancel(task), 0);
	T_EQ(spg_join(task, &result), 0);
	/* -EBADF: closed before it began. */
	if (!by_close || (intptr_t)result != -EBADF)
		T_ERR((intptr_t)result, -ECANCELED);
	if (!by_close)
		T_EQ(spg_close(call.fd), 0);
}

static int cancels_main(void *by_close)
{
	struct crowded crowded;

	crowded_open(&crowded);
	for (int i = 0; i < ROUNDS; i++)
		cancel_round(&crowded, i, by_close != NULL);
	crowded_close(&crowded);
	return 0;
}

static void on_every_ring(unsigned shards, void *by_close)
{
	static const char *const disable[] = { "", "defer_taskrun", "defer_taskrun,coop_taskrun" };
	spg_config cfg = t_config(shards);

	for (size_t i = 0; i < sizeof(disable) / sizeof(disable[0]); i++) {
		cfg.disable = disable[i];
		T_EQ(t_run_config(&cfg, cancels_main, by_close), 0);
	}
	cfg.sqpoll_idle_ms = 10;
	T_EQ(t_run_config(&cfg, cancels_main, by_close), 0);
}

/* Goal: a context's end ends a call whenever it comes. */
START_TEST(a_cancel_behind_its_operation_is_not_lost)
{
	on_every_ring((unsigned)_i, NULL);
}
END_TEST

/* Goal: and so does a close. */
START_TEST(a_close_behind_its_operation_is_not_lost)
{
	bool by_close = true;

	on_every_ring((unsigned)_i, &by_close);
}
END_TEST

T_MAIN(T_SHARDS(a_cancel_behind_its_operation_is_not_lost), T_SHARDS(a_close_behind_its_operation_is_not_lost))
