/*
 * scaling SHARDS: what wakes, steals and queues cost with that many shards, counted by the
 * runtime itself; "scaling costs": what single steps cost on this machine. One JSON object on
 * stdout. tools/scaling_model takes both: more shards than CPUs are run here, more CPUs than
 * there are are simulated there (docs/scaling.md).
 *
 * Wall time means little with more shards than CPUs: judge counts and CPU time.
 */
#include <spg/spg.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHUNKS 64
#define CHUNK_NS 100000
#define FANOUTS 24
#define PAIRS 16
#define ROUNDS 1500
#define INJECTED 20000
#define CLOSES 20000
#define MESSAGES 20000
#define LIMITED 20000
#define SAMPLES 2000
#define LINES 64

static int64_t cpu_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * SPG_SEC + ts.tv_nsec;
}

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "scaling: %s: %s\n", what, spg_strerror(err));
	exit(1);
}

static void *must(void *p)
{
	if (p == NULL)
		check(-ENOMEM, "memory");
	return p;
}

/* ---- A workload between two looks at the counters. ---- */

struct span {
	spg_stats_t before, after;
	int64_t wall_ns, cpu_ns;
};

static struct span span;
static bool first = true;

static void begin(void)
{
	check(spg_stats(&span.before), "spg_stats");
	span.wall_ns = spg_now();
	span.cpu_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Everything per unit of the workload. */
static void end(const char *name, double units)
{
	const struct spg_shard_stats *a = &span.after.total, *b = &span.before.total;

	span.cpu_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - span.cpu_ns;
	span.wall_ns = spg_now() - span.wall_ns;
	check(spg_stats(&span.after), "spg_stats");
	printf("%s\"%s\": {\"wall_ns\": %.0f, \"cpu_ns\": %.0f", first ? "" : ", ", name,
	       (double)span.wall_ns / units, (double)span.cpu_ns / units);
	first = false;
#define PER(field) printf(", \"" #field "\": %.4f", (double)(a->field - b->field) / units)
	PER(switches);
	PER(steals_tried);
	PER(steal_scans);
	PER(steals_won);
	PER(stolen);
	PER(spills);
	PER(spins);
	PER(sleeps);
	PER(wakes_sent);
	PER(wakes_coalesced);
	PER(sqes);
	PER(enters);
#undef PER
	printf("}");
}

static int place(int i)
{
	return i % spg_shards();
}

/* ---- Fan-out: chunks of work readied on one shard, taken by the others. ---- */

static spg_wg wg = SPG_WG_INIT;

/* By CPU time: with fewer CPUs than shards the others' turns must not count. */
static void burn(void *arg)
{
	int64_t until = cpu_ns(CLOCK_THREAD_CPUTIME_ID) + (int64_t)(intptr_t)arg;

	while (cpu_ns(CLOCK_THREAD_CPUTIME_ID) < until)
		continue;
	spg_wg_done(&wg);
}

static void fan_out(void)
{
	begin();
	for (int round = 0; round < FANOUTS; round++) {
		check(spg_wg_add(&wg, CHUNKS), "spg_wg_add");
		for (int i = 0; i < CHUNKS; i++)
			check(spg_go(burn, (void *)(intptr_t)CHUNK_NS), "spg_go");
		check(spg_wg_wait(&wg), "spg_wg_wait");
	}
	end("fanout", FANOUTS * CHUNKS);
}

/* ---- Pairs: every ready crosses to the next shard. ---- */

struct pair {
	spg_chan *there, *back;
};

static void answer(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		check(spg_chan_recv(p->there, NULL), "spg_chan_recv");
		check(spg_chan_send(p->back, NULL), "spg_chan_send");
	}
	spg_wg_done(&wg);
}

static void ask(void *arg)
{
	struct pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		check(spg_chan_send(p->there, NULL), "spg_chan_send");
		check(spg_chan_recv(p->back, NULL), "spg_chan_recv");
	}
	spg_wg_done(&wg);
}

static void go_on(int shard, spg_fn fn, void *arg)
{
	spg_attr attr = SPG_ATTR_INIT;

	attr.place = SPG_PIN(place(shard));
	check(spg_go_attr(&attr, fn, arg), "spg_go_attr");
}

static void pairs(const char *name, int count)
{
	struct pair pair[PAIRS];

	begin();
	check(spg_wg_add(&wg, 2 * count), "spg_wg_add");
	for (int i = 0; i < count; i++) {
		pair[i] = (struct pair){ must(spg_chan_new(0, 0)), must(spg_chan_new(0, 0)) };
		go_on(i, answer, &pair[i]);
		go_on(i + 1, ask, &pair[i]);
	}
	check(spg_wg_wait(&wg), "spg_wg_wait");
	/* Two readies of the other shard, at least, a round. */
	end(name, (double)count * ROUNDS * 2);
	for (int i = 0; i < count; i++) {
		spg_chan_unref(pair[i].there);
		spg_chan_unref(pair[i].back);
	}
}

/* ---- A thread that spawns: the global queue. ---- */

static void done(void *arg)
{
	(void)arg;
	spg_wg_done(&wg);
}

static void *inject_all(void *arg)
{
	for (int i = 0; i < INJECTED; i++)
		check(spg_go(done, arg), "spg_go");
	return NULL;
}

static void inject(void)
{
	pthread_t thread;

	begin();
	check(spg_wg_add(&wg, INJECTED), "spg_wg_add");
	check(-pthread_create(&thread, NULL, inject_all, NULL), "pthread_create");
	check(spg_wg_wait(&wg), "spg_wg_wait");
	pthread_join(thread, NULL);
	end("inject", INJECTED);
}

/* ---- What may be linear in the shards: closes, messages, the limit of coroutines. ---- */

static void closes(void)
{
	begin();
	for (int i = 0; i < CLOSES; i++)
		check(spg_close(dup(STDIN_FILENO)), "spg_close");
	end("close", CLOSES);
}

static void echo_messages(void *arg)
{
	spg_msg msg;

	for (int i = 0; i < MESSAGES; i++) {
		check(spg_msg_recv(&msg), "spg_msg_recv");
		check(spg_msg_send(place(0), 0, msg.value), "spg_msg_send");
	}
	spg_wg_done(arg);
}

static void ask_messages(void *arg)
{
	spg_msg msg;

	for (int i = 0; i < MESSAGES; i++) {
		check(spg_msg_send(place(1), 0, (uint64_t)i), "spg_msg_send");
		check(spg_msg_recv(&msg), "spg_msg_recv");
	}
	spg_wg_done(arg);
}

static void messages(void)
{
	begin();
	check(spg_wg_add(&wg, 2), "spg_wg_add");
	go_on(1, echo_messages, &wg);
	go_on(0, ask_messages, &wg);
	check(spg_wg_wait(&wg), "spg_wg_wait");
	end("message", MESSAGES);
}

static void limited(void)
{
	begin();
	for (int i = 0; i < LIMITED; i++) {
		check(spg_wg_add(&wg, 1), "spg_wg_add");
		check(spg_go(done, NULL), "spg_go");
		check(spg_wg_wait(&wg), "spg_wg_wait");
	}
	end("limited", LIMITED);
}

static int workloads(void *arg)
{
	(void)arg;
	printf("{\"shards\": %d, ", spg_shards());
	fan_out();
	pairs("pairs", PAIRS);
	inject();
	closes();
	if (spg_shards() > 1)
		messages();
	limited();
	printf("}\n");
	return 0;
}

/* ---- Single steps. ---- */

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The lower quartile: other processes only add. */
static double quartile(int64_t *samples, int n)
{
	qsort(samples, (size_t)n, sizeof(*samples), compare);
	return (double)samples[n / 4];
}

/* Apart, and taken in an order that no prefetcher guesses. */
static struct {
	alignas(512) _Atomic uint64_t word;
} line[LINES];
static _Atomic int turn;

static void touch_all(void)
{
	for (int i = 0; i < LINES; i++)
		atomic_fetch_add_explicit(&line[i * 29 % LINES].word, 1, memory_order_relaxed);
}

/* Best effort: on one CPU nothing is remote. */
static void bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static void *toucher(void *arg)
{
	bind_to(1);
	for (int i = 0; i < SAMPLES; i++) {
		while (atomic_load(&turn) != 1)
			sched_yield();
		touch_all();
		atomic_store(&turn, 0);
	}
	return arg;
}

/* Dependent loads, as a scan's: each address waits for the value before. */
static int64_t read_all(void)
{
	int64_t before = spg_now();
	uint64_t zero = 0;

	for (int i = 0; i < LINES; i++)
		zero = atomic_load_explicit(&line[(uint64_t)i * 29 % LINES + (zero >> 63)].word, memory_order_seq_cst) >> 1;
	return spg_now() - before;
}

static int64_t change_all(void)
{
	int64_t before = spg_now();

	touch_all();
	return spg_now() - before;
}

static void lines(void)
{
	static int64_t own[SAMPLES], remote[SAMPLES], own_rmw[SAMPLES], remote_rmw[SAMPLES];
	pthread_t thread;
	cpu_set_t before;

	check(sched_getaffinity(0, sizeof(before), &before), "sched_getaffinity");
	bind_to(0);
	check(-pthread_create(&thread, NULL, toucher, NULL), "pthread_create");
	for (int i = 0; i < SAMPLES; i++) {
		atomic_store(&turn, 1);
		while (atomic_load(&turn) != 0)
			sched_yield();
		if (i % 2 == 0) {
			remote[i / 2] = read_all();
			own[i / 2] = read_all();
		} else {
			remote_rmw[i / 2] = change_all();
			own_rmw[i / 2] = change_all();
		}
	}
	pthread_join(thread, NULL);
	(void)sched_setaffinity(0, sizeof(before), &before);
	printf("\"read_own_ns\": %.2f, \"read_remote_ns\": %.2f, \"rmw_own_ns\": %.2f, \"rmw_remote_ns\": %.2f",
	       quartile(own, SAMPLES / 2) / LINES, quartile(remote, SAMPLES / 2) / LINES,
	       quartile(own_rmw, SAMPLES / 2) / LINES, quartile(remote_rmw, SAMPLES / 2) / LINES);
}

static _Atomic int64_t sent_ns;
static int64_t late[SAMPLES], waker[SAMPLES];

static void wakened(void *arg)
{
	for (int i = 0; i < SAMPLES; i++) {
		check(spg_chan_recv(arg, NULL), "spg_chan_recv");
		late[i] = spg_now() - atomic_load(&sent_ns);
	}
	spg_wg_done(&wg);
}

/* Long enough between two for the other shard to fall asleep. */
static void wakes(void)
{
	spg_chan *c = must(spg_chan_new(0, 0));
	int64_t cpu, idle_cpu;

	check(spg_wg_add(&wg, 1), "spg_wg_add");
	go_on(spg_shard() + 1, wakened, c);
	idle_cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < SAMPLES; i++)
		check(spg_sleep(200 * SPG_US), "spg_sleep");
	cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
	idle_cpu = cpu - idle_cpu;
	for (int i = 0; i < SAMPLES; i++) {
		check(spg_sleep(200 * SPG_US), "spg_sleep");
		atomic_store(&sent_ns, spg_now());
		check(spg_chan_send(c, NULL), "spg_chan_send");
		waker[i] = spg_now() - atomic_load(&sent_ns);
	}
	cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	check(spg_wg_wait(&wg), "spg_wg_wait");
	spg_chan_unref(c);
	printf(", \"wake_ns\": %.0f, \"wake_late_ns\": %.0f, \"wake_cpu_ns\": %.0f", quartile(waker, SAMPLES),
	       quartile(late, SAMPLES), (double)(cpu - idle_cpu) / SAMPLES);
}

static void yields(void *arg)
{
	for (int i = 0; i < 100 * SAMPLES; i++)
		spg_yield();
	spg_wg_done(arg);
}

static int two_shards(void *arg)
{
	(void)arg;
	check(spg_pin_self(), "spg_pin_self");
	wakes();
	return 0;
}

static int one_shard(void *arg)
{
	int64_t before = cpu_ns(CLOCK_THREAD_CPUTIME_ID);

	(void)arg;
	check(spg_wg_add(&wg, 2), "spg_wg_add");
	check(spg_go(yields, &wg), "spg_go");
	check(spg_go(yields, &wg), "spg_go");
	check(spg_wg_wait(&wg), "spg_wg_wait");
	printf(", \"switch_ns\": %.2f", (double)(cpu_ns(CLOCK_THREAD_CPUTIME_ID) - before) / (200 * SAMPLES));
	before = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	for (int i = 0; i < 100 * SAMPLES; i++) {
		check(spg_wg_add(&wg, 1), "spg_wg_add");
		check(spg_go(done, NULL), "spg_go");
		check(spg_wg_wait(&wg), "spg_wg_wait");
	}
	printf(", \"spawn_ns\": %.2f", (double)(cpu_ns(CLOCK_THREAD_CPUTIME_ID) - before) / (100 * SAMPLES));
	return 0;
}

static void run(unsigned shards, int64_t spin_ns, int (*fn)(void *))
{
	/* Single steps: no spinning, and each shard where it is. */
	spg_config cfg;

	spg_config_init(&cfg);
	cfg.shards = shards;
	cfg.coroutines_max = 1000000;
	if (spin_ns >= 0) {
		cfg.spin_ns = spin_ns;
		cfg.pin_shards = true;
	}
	check(spg_run(&cfg, fn, NULL), "spg_run");
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "costs") == 0) {
		printf("{\"cpus\": %ld, ", sysconf(_SC_NPROCESSORS_ONLN));
		lines();
		run(1, 0, one_shard);
		run(2, 0, two_shards);
		printf("}\n");
		return 0;
	}
	if (argc != 2 || atoi(argv[1]) < 1 || atoi(argv[1]) > SPG_SHARDS_MAX) {
		fprintf(stderr, "usage: scaling costs | 1 to %d\n", SPG_SHARDS_MAX);
		return 2;
	}
	run((unsigned)atoi(argv[1]), -1, workloads);
	return 0;
}
