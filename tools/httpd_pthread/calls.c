/*
 * The calls of httpd_pthread: one thread a connection, plain POSIX.
 */
#include "tools/httpd/calls.h"

#include "tools/httpd/marks.h"
#include "tools/tcp.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <time.h>

#define STACK_BYTES (64 * 1024)
/* Of one sendfile: the limit of time is for each. */
#define SENDFILE_BYTES ((size_t)256 * 1024)
#define NS_PER_SEC INT64_C(1000000000)
#define RETRY_NS INT64_C(10000000) /* descriptors or threads are short until others end */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

/* A thread serves one connection: what its socket's limit is set to. */
static _Thread_local int64_t recv_limit_ns, send_limit_ns;

static void set_limit(int fd, int name, int64_t *is_ns, int64_t want_ns)
{
	struct timeval limit = { .tv_sec = want_ns / NS_PER_SEC, .tv_usec = want_ns % NS_PER_SEC / 1000 };

	if (*is_ns == want_ns)
		return;
	*is_ns = want_ns;
	if (limit.tv_sec <= 0 && limit.tv_usec <= 0)
		limit = (struct timeval){ .tv_usec = 1 }; /* zero would be no limit */
	(void)setsockopt(fd, SOL_SOCKET, name, &limit, sizeof(limit)); /* cannot fail on a socket */
}

ssize_t call_recv(int fd, void *buf, size_t len, int64_t timeout_ns)
{
	ssize_t n;

	set_limit(fd, SO_RCVTIMEO, &recv_limit_ns, timeout_ns);
	do
		n = recv(fd, buf, len, 0);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN ? -ETIMEDOUT : -errno;
}

/* The kernel's limit is for each send: a slow reader is noticed by the clock. */
ssize_t call_send(int fd, const void *buf, size_t len, bool more, int64_t timeout_ns)
{
	int64_t until = now_ns() + timeout_ns;

	(void)more;
	set_limit(fd, SO_SNDTIMEO, &send_limit_ns, timeout_ns);
	for (size_t done = 0; done < len;) {
		ssize_t n = send(fd, (const char *)buf + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		done += (size_t)n;
		if (done < len && now_ns() >= until)
			return -ETIMEDOUT;
	}
	return (ssize_t)len;
}

ssize_t call_sendfile(int fd, bool *ready, int file, off_t offset, size_t len, int64_t timeout_ns)
{
	ssize_t n;

	(void)ready;
	set_limit(fd, SO_SNDTIMEO, &send_limit_ns, timeout_ns);
	n = sendfile(fd, file, &offset, len < SENDFILE_BYTES ? len : SENDFILE_BYTES);
	if (n >= 0)
		return n;
	switch (errno) {
	case EINVAL: /* no file for that: it is to be read */
	case ENOSYS:
	case EINTR:
		return -EAGAIN;
	case EAGAIN:
		return -ETIMEDOUT;
	default:
		return -errno;
	}
}

/* Set when a task has no more time; then signals end its call_write. */
static _Atomic bool hurry;

ssize_t call_write(int fd, const void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno == EINTR && !atomic_load(&hurry))
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return (ssize_t)len;
}

ssize_t call_pread(int fd, void *buf, size_t len, off_t offset)
{
	ssize_t n = pread(fd, buf, len, offset);

	return n < 0 ? -errno : n;
}

int call_open(int dirfd, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

void call_close(int fd)
{
	close(fd);
}

int call_sleep(int64_t ns)
{
	struct timespec left = { .tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC };

	return -clock_nanosleep(CLOCK_MONOTONIC, 0, &left, NULL);
}

struct call_task {
	pthread_t thread;
	sem_t ended;
	void *(*fn)(void *);
	void *arg;
};

static void *task_main(void *arg)
{
	struct call_task *task = arg;

	task->fn(task->arg);
	sem_post(&task->ended);
	return NULL;
}

static void interrupt(int number)
{
	(void)number;
}

struct call_task *call_spawn(void *(*fn)(void *), void *arg)
{
	const struct sigaction action = { .sa_handler = interrupt }; /* without SA_RESTART */
	struct call_task *task = malloc(sizeof(*task));

	if (task == NULL)
		return NULL;
	(void)sigaction(SIGUSR1, &action, NULL); /* cannot fail */
	sem_init(&task->ended, 0, 0);
	task->fn = fn;
	task->arg = arg;
	if (pthread_create(&task->thread, NULL, task_main, task) == 0)
		return task;
	free(task);
	return NULL;
}

static bool has_ended(struct call_task *task, int64_t wait_ns)
{
	int64_t when = now_ns() + wait_ns;
	struct timespec until = { .tv_sec = when / NS_PER_SEC, .tv_nsec = when % NS_PER_SEC };

	return sem_clockwait(&task->ended, CLOCK_MONOTONIC, &until) == 0;
}

void call_join(struct call_task *task, int64_t limit_ns)
{
	if (task == NULL)
		return;
	while (!has_ended(task, limit_ns)) {
		atomic_store(&hurry, true);
		pthread_kill(task->thread, SIGUSR1); /* again and again: one that comes before the write is lost */
		limit_ns = RETRY_NS;
	}
	pthread_join(task->thread, NULL);
	free(task);
}

struct call_queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	size_t value_bytes, capacity;
	size_t head, count;
	bool closed;
	char values[];
};

struct call_queue *call_queue_new(size_t value_bytes, size_t capacity)
{
	struct call_queue *q = malloc(sizeof(*q) + value_bytes * capacity);

	if (q == NULL)
		return NULL;
	*q = (struct call_queue){ .value_bytes = value_bytes, .capacity = capacity };
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->filled, NULL);
	return q;
}

int call_queue_put(struct call_queue *q, const void *value)
{
	int err = 0;

	pthread_mutex_lock(&q->lock);
	if (q->closed)
		err = -EPIPE;
	else if (q->count == q->capacity)
		err = -EAGAIN;
	else
		memcpy(q->values + (q->head + q->count++) % q->capacity * q->value_bytes, value, q->value_bytes);
	pthread_cond_signal(&q->filled);
	pthread_mutex_unlock(&q->lock);
	return err;
}

static int take(struct call_queue *q, void *value, bool wait)
{
	int err = 0;

	pthread_mutex_lock(&q->lock);
	while (wait && q->count == 0 && !q->closed)
		pthread_cond_wait(&q->filled, &q->lock);
	if (q->count == 0) {
		err = q->closed ? -EPIPE : -EAGAIN;
	} else {
		memcpy(value, q->values + q->head * q->value_bytes, q->value_bytes);
		q->head = (q->head + 1) % q->capacity;
		q->count--;
	}
	pthread_mutex_unlock(&q->lock);
	return err;
}

int call_queue_take(struct call_queue *q, void *value)
{
	return take(q, value, true);
}

int call_queue_try_take(struct call_queue *q, void *value)
{
	return take(q, value, false);
}

void call_queue_close(struct call_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	pthread_cond_broadcast(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

void call_queue_free(struct call_queue *q)
{
	free(q);
}

unsigned call_shards_max(void)
{
	return 1;
}

unsigned call_shards(void)
{
	return 1;
}

int call_run(int (*main_fn)(void *), void *arg)
{
	return main_fn(arg);
}

int call_listen(const char *address, bool reuse_port)
{
	return reuse_port ? -EINVAL : tcp_listen(address);
}

/* The one server of the program. */
static struct {
	const struct call_server *server;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned open;
	_Atomic bool stopping;
} serving = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *connection_main(void *arg)
{
	serving.server->handler((int)(intptr_t)arg, serving.server->arg);
	pthread_mutex_lock(&serving.lock);
	serving.open--;
	pthread_cond_broadcast(&serving.ended);
	pthread_mutex_unlock(&serving.lock);
	return NULL;
}

/* Waits until fewer than `open` connections are open, or the time has come. */
static bool await_fewer(unsigned open, int64_t wait_ns)
{
	int64_t when = now_ns() + wait_ns;
	struct timespec until = { .tv_sec = when / NS_PER_SEC, .tv_nsec = when % NS_PER_SEC };
	int err = 0;

	pthread_mutex_lock(&serving.lock);
	while (serving.open >= open && err == 0)
		err = pthread_cond_timedwait(&serving.ended, &serving.lock, &until);
	pthread_mutex_unlock(&serving.lock);
	return err == 0;
}

static int start_connection(const pthread_attr_t *attr, int fd)
{
	pthread_t thread;
	int err;

	pthread_mutex_lock(&serving.lock);
	serving.open++;
	pthread_mutex_unlock(&serving.lock);
	err = pthread_create(&thread, attr, connection_main, (void *)(intptr_t)fd);
	if (err == 0)
		return 0;
	close(fd);
	pthread_mutex_lock(&serving.lock);
	serving.open--;
	pthread_mutex_unlock(&serving.lock);
	return -err;
}

int call_serve(const struct call_server *server)
{
	pthread_attr_t attr;
	pthread_condattr_t clock;
	int listener = server->listeners[0];

	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&serving.ended, &clock);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	serving.server = server;
	while (!atomic_load(&serving.stopping)) {
		int fd = -1;

		if (!await_fewer(server->connections_max, RETRY_NS))
			continue;
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if ((fd < 0 || start_connection(&attr, fd) < 0) && !atomic_load(&serving.stopping))
			call_sleep(RETRY_NS);
	}
	if (!await_fewer(1, server->drain_ns)) {
		marks_shutdown_all();
		await_fewer(1, NS_PER_SEC);
	}
	pthread_attr_destroy(&attr);
	return 0;
}

void call_stop(void)
{
	atomic_store(&serving.stopping, true);
}

void call_stats(FILE *out)
{
	(void)out;
}
