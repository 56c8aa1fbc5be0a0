#include "io_run.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

/* Goal: each call of the list does what its system call does, on the ring. */
static int each_on_the_ring(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < IO_CALLS; i++)
		run_call(&(struct mode){ .call = &io_calls[i], .ring = true });
	return 0;
}

START_TEST(every_call_works_on_the_ring)
{
	t_run((unsigned)_i, each_on_the_ring, NULL);
}
END_TEST

/* Goal: the same where the kernel lacks the operation. */
static void run_without(const char *also)
{
	for (size_t i = 0; i < IO_CALLS; i++) {
		spg_config cfg = t_config(2);
		struct mode mode = { .call = &io_calls[i] };
		char disable[64];

		if (io_calls[i].disable == NULL)
			continue;
		snprintf(disable, sizeof(disable), "%s%s", io_calls[i].disable, also);
		cfg.disable = disable;
		T_EQ(t_run_config(&cfg, run_call, &mode), 0);
	}
}

START_TEST(every_call_works_without_its_operation)
{
	run_without("");
}
END_TEST

START_TEST(every_call_works_without_poll_too)
{
	run_without(",op:poll");
}
END_TEST

/* Goal: the same on a foreign thread, with a runtime beside it and without. */
static void run_foreign(bool runtime)
{
	for (size_t i = 0; i < IO_CALLS; i++) {
		if (strcmp(io_calls[i].name, "uring") == 0 && !runtime) {
			T_EQ(spg_uring(prep_linked, NULL, NULL), -EINVAL);
			T_EQ(uring_read(0), -ESRCH);
			continue;
		}
		run_call(&(struct mode){ .call = &io_calls[i] });
	}
}

START_TEST(every_call_works_on_a_foreign_thread)
{
	run_foreign(false);
}
END_TEST

START_TEST(every_call_works_on_a_foreign_thread_beside_a_runtime)
{
	spg_config cfg = t_config(2);

	T_EQ(spg_start(&cfg), 0);
	run_foreign(true);
	T_EQ(spg_stop(), 0);
}
END_TEST

static bool listed(const char *name, size_t len)
{
	for (size_t i = 0; i < IO_CALLS; i++) {
		if (strlen(io_calls[i].name) == len && memcmp(io_calls[i].name, name, len) == 0)
			return true;
	}
	return false;
}

/* Goal: no call of the header is missing from the list above. */
START_TEST(the_list_names_every_call_of_the_header)
{
	FILE *file = fopen("runtime/include/spg/io.h", "re");
	char line[512];
	unsigned seen = 0;

	if (file == NULL)
		T_SKIP("not run from the project's root");
	while (fgets(line, sizeof(line), file) != NULL) {
		const char *name = strstr(line, " spg_");

		if (strncmp(line, "SPG_API", 7) != 0 || name == NULL)
			continue;
		name += 5;
		seen++;
		if (!listed(name, strcspn(name, "(")))
			t_fail(__FILE__, __LINE__, "not tested: %s", line);
	}
	fclose(file);
	T_EQ(seen, IO_CALLS);
}
END_TEST

/* Kinds of descriptors that a read waits on, and what makes them readable. */
struct kind {
	const char *name;
	void (*open)(int fds[2]); /* read from [0]; [1] makes it readable */
	void (*feed)(int fds[2]);
	ssize_t bytes;
};

static void open_pipe(int fds[2]) { T_EQ(pipe2(fds, O_CLOEXEC), 0); }
static void open_stream(int fds[2]) { T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0); }
static void open_dgram(int fds[2]) { T_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0); }
static void open_packet(int fds[2]) { T_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0); }
static void open_eventfd(int fds[2])
{
	fds[0] = eventfd(0, EFD_CLOEXEC);
	fds[1] = dup(fds[0]);
}
static void open_timerfd(int fds[2])
{
	fds[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	fds[1] = dup(fds[0]);
}
static void open_fifo(int fds[2])
{
	char path[] = "/tmp/spg-test-fifo-XXXXXX";

	T_OK(mkdtemp(path) != NULL);
	T_EQ(rmdir(path), 0);
	T_EQ(mkfifo(path, 0600), 0);
	fds[0] = open(path, O_RDWR | O_CLOEXEC);
	fds[1] = dup(fds[0]);
	T_EQ(unlink(path), 0);
}
static void open_tty(int fds[2])
{
	fds[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	T_OK(fds[1] >= 0 && grantpt(fds[1]) == 0 && unlockpt(fds[1]) == 0);
	fds[0] = open(ptsname(fds[1]), O_RDWR | O_NOCTTY | O_CLOEXEC);
	T_OK(fds[0] >= 0);
}

static void feed_text(int fds[2]) { put(fds[1], "hello\n"); }
static void feed_count(int fds[2])
{
	uint64_t one = 1;

	T_EQ(write(fds[1], &one, sizeof(one)), sizeof(one));
}
static void feed_timer(int fds[2])
{
	struct itimerspec now = { .it_value.tv_nsec = 1 };

	T_EQ(timerfd_settime(fds[1], 0, &now, NULL), 0);
}

static const struct kind kinds[] = {
	{ "pipe", open_pipe, feed_text, 6 },	  { "fifo", open_fifo, feed_text, 6 },
	{ "stream", open_stream, feed_text, 6 },  { "datagram", open_dgram, feed_text, 6 },
	{ "seqpacket", open_packet, feed_text, 6 }, { "tty", open_tty, feed_text, 6 },
	{ "eventfd", open_eventfd, feed_count, 8 }, { "timerfd", open_timerfd, feed_timer, 8 },
};

struct feeder {
	const struct kind *kind;
	int *fds;
};

static void *feed_soon(void *arg)
{
	struct feeder *feeder = arg;
	struct timespec moment = { .tv_nsec = MOMENT_NS };

	nanosleep(&moment, NULL);
	feeder->kind->feed(feeder->fds);
	return NULL;
}

static int each_kind(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
			struct feeder feeder = { .kind = &kinds[i] };
			pthread_t thread;
			int fds[2];

			current = kinds[i].name;
			kinds[i].open(fds);
			feeder.fds = fds;
			if (nonblocking)
				T_EQ(fcntl(fds[0], F_SETFL, O_RDWR | O_NONBLOCK), 0);
			{
				SPG_TIMEOUT_SCOPE(MOMENT_NS);
				C_EQ(spg_read(fds[0], (char[64]){ 0 }, 64), -ETIMEDOUT);
			}
			T_EQ(pthread_create(&thread, NULL, feed_soon, &feeder), 0);
			C_EQ(spg_read(fds[0], (char[64]){ 0 }, 64), kinds[i].bytes);
			T_EQ(pthread_join(thread, NULL), 0);
			T_EQ(close(fds[0]), 0);
			T_EQ(close(fds[1]), 0);
		}
	}
	return 0;
}

/* Goal: a read waits on every kind of descriptor, nonblocking or not, and can be ended. */
START_TEST(reads_wait_on_every_kind_of_descriptor)
{
	t_run((unsigned)_i, each_kind, NULL);
}
END_TEST

START_TEST(reads_wait_on_every_kind_without_the_operation)
{
	spg_config cfg = t_config(2);

	cfg.disable = "op:read";
	T_EQ(t_run_config(&cfg, each_kind, NULL), 0);
}
END_TEST

START_TEST(reads_wait_on_every_kind_on_a_foreign_thread)
{
	each_kind(NULL);
}
END_TEST

T_MAIN(T_TEST(the_list_names_every_call_of_the_header), T_SHARDS(every_call_works_on_the_ring),
       T_TEST(every_call_works_without_its_operation), T_TEST(every_call_works_without_poll_too),
       T_TEST(every_call_works_on_a_foreign_thread),
       T_TEST(every_call_works_on_a_foreign_thread_beside_a_runtime),
       T_SHARDS(reads_wait_on_every_kind_of_descriptor), T_TEST(reads_wait_on_every_kind_without_the_operation),
       T_TEST(reads_wait_on_every_kind_on_a_foreign_thread))
