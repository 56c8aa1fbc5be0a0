/*
 * Rows without a runtime: the limits the machine sets, as plain threads reach them.
 *
 * futex_pingpong: what does a question and its answer cost between two threads that
 * sleep in futex(2), bound to CPU 0 and CPU 1? Expected: 10 to 100 us a round trip,
 * nearly all of it the kernel waking an idle CPU.
 */
#include "bench/bench.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One direction. The release store to seq publishes value; the acquire load of it pairs. */
struct slot {
	_Alignas(64) _Atomic uint32_t seq;
	uint64_t value;
};

struct table {
	struct slot there;
	struct slot back;
	uint64_t ops;
	uint64_t sum;
};

static void slot_put(struct slot *s, uint32_t seq, uint64_t value)
{
	s->value = value;
	atomic_store_explicit(&s->seq, seq, memory_order_release);
	syscall(SYS_futex, &s->seq, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* The value that came with seq; sleeps at once, without spinning. */
static uint64_t slot_take(struct slot *s, uint32_t seq)
{
	while (atomic_load_explicit(&s->seq, memory_order_acquire) != seq)
		syscall(SYS_futex, &s->seq, FUTEX_WAIT_PRIVATE, seq - 1, NULL, NULL, 0);
	return s->value;
}

static void *answer(void *arg)
{
	struct table *t = arg;

	for (uint64_t i = 0; i < t->ops; i++)
		slot_put(&t->back, (uint32_t)i + 1, bench_mix(slot_take(&t->there, (uint32_t)i + 1)));
	return NULL;
}

static void *ask(void *arg)
{
	struct table *t = arg;

	for (uint64_t i = 0; i < t->ops; i++) {
		slot_put(&t->there, (uint32_t)i + 1, i);
		t->sum += slot_take(&t->back, (uint32_t)i + 1);
	}
	return NULL;
}

static int start_on_cpu(pthread_t *thread, int cpu, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int err = pthread_attr_init(&attr);

	if (err != 0)
		return -err;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	err = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (err == 0)
		err = pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return -err;
}

static int futex_pass(const struct bench_options *o, uint64_t ops, uint64_t *sum)
{
	struct table t = { .ops = ops };
	pthread_t threads[2];
	int err;

	(void)o;
	if (ops > UINT32_MAX) /* seq counts in 32 bits */
		return -EINVAL;
	err = start_on_cpu(&threads[0], 0, answer, &t);
	if (err < 0)
		return err;
	err = start_on_cpu(&threads[1], 1, ask, &t);
	if (err < 0)
		bench_die("no second thread on CPU 1"); /* the first waits for it for ever */
	pthread_join(threads[1], NULL);
	pthread_join(threads[0], NULL);
	*sum = t.sum;
	return 0;
}

static int futex_row(const struct bench_options *o, struct bench_report *r)
{
	return bench_measure(o, r, futex_pass);
}

const struct bench_row bench_rows_raw[] = {
	{ "futex_pingpong", futex_row, false },
	{ NULL, NULL, false },
};
