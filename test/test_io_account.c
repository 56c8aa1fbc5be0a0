/*
 * Byte accounts: whatever ends the calls, what was sent is what was received and what is left in the
 * descriptor. Every call that sends against every call that receives, the bytes in order.
 */
#include "t.h"

#include "coro/fault.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define CHUNK 300

/* Byte i of the stream. */
static char byte_at(size_t i)
{
	return (char)(i * 31 + (i >> 8) * 7);
}

typedef ssize_t (*move)(int fd, char *buf, size_t n);

static ssize_t by_write(int fd, char *buf, size_t n) { return spg_write(fd, buf, n); }
static ssize_t by_send(int fd, char *buf, size_t n) { return spg_send(fd, buf, n, 0); }
static ssize_t by_sendto(int fd, char *buf, size_t n) { return spg_sendto(fd, buf, n, 0, NULL, 0); }
static ssize_t by_writev(int fd, char *buf, size_t n)
{
	return spg_writev(fd, (struct iovec[]){ { buf, n / 3 }, { buf + n / 3, n - n / 3 } }, 2);
}
static ssize_t by_sendmsg(int fd, char *buf, size_t n)
{
	struct iovec iov[] = { { buf, n / 2 }, { buf + n / 2, n - n / 2 } };

	return spg_sendmsg(fd, &(struct msghdr){ .msg_iov = iov, .msg_iovlen = 2 }, 0);
}
static ssize_t by_read(int fd, char *buf, size_t n) { return spg_read(fd, buf, n); }
static ssize_t by_recv(int fd, char *buf, size_t n) { return spg_recv(fd, buf, n, 0); }
static ssize_t by_waitall(int fd, char *buf, size_t n) { return spg_recv(fd, buf, n, MSG_WAITALL); }
static ssize_t by_recvfrom(int fd, char *buf, size_t n)
{
	struct sockaddr_storage from;

	return spg_recvfrom(fd, buf, n, 0, (struct sockaddr *)&from, &(socklen_t){ sizeof(from) });
}
static ssize_t by_readv(int fd, char *buf, size_t n)
{
	return spg_readv(fd, (struct iovec[]){ { buf, n / 3 }, { buf + n / 3, n - n / 3 } }, 2);
}
static ssize_t by_recvmsg(int fd, char *buf, size_t n)
{
	struct iovec iov[] = { { buf, n / 2 }, { buf + n / 2, n - n / 2 } };

	return spg_recvmsg(fd, &(struct msghdr){ .msg_iov = iov, .msg_iovlen = 2 }, 0);
}
/* Through a pipe of its own, which holds what was moved. */
static ssize_t by_splice(int fd, char *buf, size_t n)
{
	ssize_t moved;
	int fds[2];

	T_EQ(pipe2(fds, O_CLOEXEC), 0);
	moved = spg_splice(fd, NULL, fds[1], NULL, n, 0);
	if (moved > 0)
		T_EQ(read(fds[0], buf, (size_t)moved), moved);
	close(fds[0]);
	close(fds[1]);
	return moved;
}

static const move senders[] = { by_write, by_send, by_sendto, by_writev, by_sendmsg };
static const move receivers[] = { by_read, by_recv, by_waitall, by_recvfrom, by_readv, by_recvmsg, by_splice };
#define SENDERS (sizeof(senders) / sizeof(senders[0]))
#define RECEIVERS (sizeof(receivers) / sizeof(receivers[0]))

/* One direction of a connection. A race: a call with an end that comes about when its bytes do. */
struct account {
	int fds[2];
	uint64_t seed;
	size_t races;
	size_t sent, received;
	size_t moved, cut; /* races won by the bytes, and by the end */
	_Atomic bool stop;
	/* Contexts of the calls that a cancel is to end, by side. */
	spg_mutex lock;
	spg_ctx *victims[2];
};

/* Ends contexts as they come. */
static int cancel_victims(void *arg)
{
	struct account *a = arg;
	uint64_t random = a->seed ^ 0x7777;

	while (!atomic_load(&a->stop)) {
		spg_mutex_lock(&a->lock);
		for (int side = 0; side < 2; side++) {
			if (a->victims[side] != NULL && t_random(&random) % 2 == 0)
				spg_ctx_cancel(a->victims[side]);
		}
		T_EQ(spg_mutex_unlock(&a->lock), 0);
		if (t_random(&random) % 2 == 0)
			spg_yield();
		else
			spg_sleep((int64_t)(t_random(&random) % 30) * SPG_US);
	}
	return 0;
}

static void set_victim(struct account *a, int side, spg_ctx *ctx)
{
	spg_mutex_lock(&a->lock);
	a->victims[side] = ctx;
	T_EQ(spg_mutex_unlock(&a->lock), 0);
}

static ssize_t race_cancel(struct account *a, int side, move fn, char *buf, size_t n)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before = spg_ctx_enter(ctx);
	ssize_t res;

	set_victim(a, side, ctx);
	res = fn(a->fds[side], buf, n);
	set_victim(a, side, NULL);
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	return res;
}

/* With a deadline, or with a cancel by another. */
static ssize_t race(struct account *a, int side, move fn, char *buf, uint64_t *random)
{
	size_t n = 1 + t_random(random) % CHUNK;
	ssize_t res;

	/* Should nobody cancel, for the other side is waiting for us. */
	SPG_TIMEOUT_SCOPE((int64_t)(t_random(random) % 40) * SPG_US);
	res = t_random(random) % 4 == 0 ? race_cancel(a, side, fn, buf, n) : fn(a->fds[side], buf, n);
	if (res <= 0 && res != -ETIMEDOUT && res != -ECANCELED)
		t_fail(__FILE__, __LINE__, "%zd (%s)", res, res < 0 ? spg_strerror((int)res) : "no error");
	return res;
}

static int account_send(void *arg)
{
	struct account *a = arg;
	uint64_t random = a->seed ^ 0x5555;
	char buf[CHUNK];

	while (!atomic_load(&a->stop)) {
		ssize_t n;

		for (size_t i = 0; i < CHUNK; i++)
			buf[i] = byte_at(a->sent + i);
		n = race(a, 1, senders[t_random(&random) % SENDERS], buf, &random);
		if (n > 0)
			a->sent += (size_t)n;
		if (t_random(&random) % 2 == 0)
			spg_yield();
	}
	return 0;
}

static void check_bytes(const char *buf, size_t from, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++)
		T_EQ(buf[i], byte_at(from + (size_t)i));
}

static void account_receive(struct account *a)
{
	uint64_t random = a->seed;
	char buf[CHUNK];

	for (size_t i = 0; i < a->races; i++) {
		ssize_t n = race(a, 0, receivers[t_random(&random) % RECEIVERS], buf, &random);

		check_bytes(buf, a->received, n);
		a->received += n > 0 ? (size_t)n : 0;
		a->moved += n > 0;
		a->cut += n < 0;
	}
}

/* What is left, in order; then the sum. */
static void settle(struct account *a)
{
	char buf[4096];
	size_t left = 0;
	ssize_t n;

	T_EQ(shutdown(a->fds[1], SHUT_WR), 0);
	while ((n = recv(a->fds[0], buf, sizeof(buf), 0)) > 0) {
		check_bytes(buf, a->received + left, n);
		left += (size_t)n;
	}
	T_EQ(n, 0);
	T_EQ(a->sent, a->received + left);
	fprintf(stderr, "%zu races: %zu won by bytes, %zu by the end; %zu bytes sent = %zu received + %zu left\n",
		a->races, a->moved, a->cut, a->sent, a->received, left);
	T_OK(a->moved > 0 && a->cut > 0);
}

/* SPG_TEST_RACES: how many; for long runs by hand. */
static size_t races_wanted(void)
{
	const char *text = getenv("SPG_TEST_RACES");

	if (text != NULL)
		return strtoull(text, NULL, 0);
	return t_sanitized() ? 1500 : 8000;
}

struct setting {
	bool tcp;
	size_t races;
};

static void connect_pair(bool tcp, int fds[2])
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger hard = { .l_onoff = 1 };
	socklen_t len = sizeof(name);
	int listener;

	if (!tcp) {
		T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		return;
	}
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(bind(listener, (struct sockaddr *)&name, len), 0);
	T_EQ(listen(listener, 1), 0);
	T_EQ(getsockname(listener, (struct sockaddr *)&name, &len), 0);
	fds[0] = spg_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(spg_connect(fds[0], (struct sockaddr *)&name, len), 0);
	fds[1] = spg_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	T_OK(fds[1] >= 0);
	T_EQ(setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0); /* no TIME_WAIT */
	T_EQ(close(listener), 0);
}

static int account_main(void *arg)
{
	const struct setting *setting = arg;
	struct account a = { .seed = t_seed(), .races = setting->races, .lock = SPG_MUTEX_INIT };
	spg_group *group = spg_group_new(0);

	connect_pair(setting->tcp, a.fds);
	T_EQ(spg_group_go(group, account_send, &a), 0);
	T_EQ(spg_group_go(group, cancel_victims, &a), 0);
	account_receive(&a);
	atomic_store(&a.stop, true);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	settle(&a);
	T_EQ(spg_close(a.fds[0]), 0);
	T_EQ(spg_close(a.fds[1]), 0);
	return 0;
}

/* Goal: no byte is lost or doubled between ends and bytes, local and TCP. */
START_TEST(prop_sent_is_received_or_left)
{
	for (int tcp = 0; tcp < 2; tcp++)
		t_run((unsigned)_i, account_main, &(struct setting){ tcp, races_wanted() });
}
END_TEST

/* Goal: so too where the kernel lacks the operations, and on threads without a runtime. */
START_TEST(prop_sent_is_received_or_left_without_operations)
{
	spg_config cfg = t_config(2);

	for (int tcp = 0; tcp < 2; tcp++) {
		cfg.disable = tcp ? "op:recv,op:send,op:recvmsg,op:sendmsg,op:read,op:write,op:readv,op:writev,op:poll" :
				    "op:recv,op:send,op:recvmsg,op:sendmsg,op:read,op:write,op:readv,op:writev";
		T_EQ(t_run_config(&cfg, account_main, &(struct setting){ tcp, races_wanted() / 4 }), 0);
	}
}
END_TEST

static void *thread_send(void *arg)
{
	account_send(arg);
	return NULL;
}

static void *thread_cancel(void *arg)
{
	cancel_victims(arg);
	return NULL;
}

START_TEST(prop_sent_is_received_or_left_on_threads)
{
	for (int tcp = 0; tcp < 2; tcp++) {
		struct account a = { .seed = t_seed(), .races = races_wanted() / 4, .lock = SPG_MUTEX_INIT };
		pthread_t sender, canceler;

		connect_pair(tcp, a.fds);
		T_EQ(pthread_create(&sender, NULL, thread_send, &a), 0);
		T_EQ(pthread_create(&canceler, NULL, thread_cancel, &a), 0);
		account_receive(&a);
		atomic_store(&a.stop, true);
		T_EQ(pthread_join(sender, NULL), 0);
		T_EQ(pthread_join(canceler, NULL), 0);
		settle(&a);
		close(a.fds[0]);
		close(a.fds[1]);
	}
}
END_TEST

/* Goal: and with each fault that loses nothing by itself, all the time. */
#define ALWAYS 1000000000

static int refuse_submits(void *arg)
{
	_Atomic bool *stop = arg;

	while (!atomic_load(stop)) {
		spg__fault_arm(SPG__FAULT_SUBMIT, 3, 2, -EAGAIN);
		spg_yield();
	}
	return 0;
}

static int account_refused(void *arg)
{
	spg_group *group = spg_group_new(0);
	_Atomic bool stop = false;

	T_EQ(spg_group_go(group, refuse_submits, (void *)&stop), 0);
	account_main(arg);
	atomic_store(&stop, true);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	return 0;
}

START_TEST(prop_sent_is_received_or_left_with_faults)
{
	for (int tcp = 0; tcp < 2; tcp++) {
		struct setting setting = { tcp, races_wanted() / 8 };
		spg_config cfg = t_config((unsigned)_i);

		spg__fault_arm(SPG__FAULT_LATE, 1, ALWAYS, -1);
		t_run((unsigned)_i, account_main, &setting);
		spg__fault_arm(SPG__FAULT_SHORT, 1, ALWAYS, -1);
		t_run((unsigned)_i, account_main, &setting);
		spg__fault_disarm(SPG__FAULT_LATE);
		spg__fault_disarm(SPG__FAULT_SHORT);
		t_run((unsigned)_i, account_refused, &setting);
		spg__fault_disarm(SPG__FAULT_SUBMIT);
		cfg.ring_entries = 8;
		T_EQ(t_run_config(&cfg, account_main, &setting), 0);
	}
}
END_TEST

T_MAIN(T_SHARDS(prop_sent_is_received_or_left), T_TEST(prop_sent_is_received_or_left_without_operations),
       T_TEST(prop_sent_is_received_or_left_on_threads), T_SHARDS(prop_sent_is_received_or_left_with_faults))
