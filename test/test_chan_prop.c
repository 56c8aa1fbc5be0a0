/*
 * Channels and selects against a plain model. Workers, coroutines and threads, get one
 * random operation at a time; the model says which operations end now, how, and who goes
 * on waiting in which order. After each step the two are compared.
 */
#include "chan_look.h"

#define WORKERS 7
#define THREADS 2
#define CHANS 4
#define CASES_MAX 5
#define WAITERS_MAX (WORKERS * CASES_MAX)

static const size_t caps[CHANS] = { 0, 0, 1, 3 };

/* An operation is a select; single sends and receives are selects of one case, run by their own calls. */
enum call { CALL_SELECT, CALL_PLAIN, CALL_TRY };

struct op {
	enum call call;
	size_t n;
	struct {
		int chan; /* -1: NULL */
		bool sends;
		long out;
	} cases[CASES_MAX];
	bool fallback; /* a default behind the cases; a try always has one */
};

struct worker {
	spg_sem go;
	spg_ctx *ctx;
	struct op op;
	/* What it did. */
	int index, err;
	long in[CASES_MAX];
	_Atomic bool done;
	bool stop;
	/* The model's. */
	bool busy, ended;
	int want_index, want_err;
	long want_in;
};

struct model_waiter {
	int worker, index;
};

struct model_chan {
	long buffer[3];
	size_t count;
	bool closed;
	struct model_waiter queue[2][WAITERS_MAX]; /* receivers, senders */
	size_t waiting[2];
};

struct world {
	spg_chan *chan[CHANS];
	struct model_chan model[CHANS];
	struct worker worker[WORKERS];
	_Atomic int next;
	uint64_t random;
	long value;
	long stepped, waited, served, canceled;
};

static void call_it(struct world *world, struct worker *w)
{
	const struct op *op = &w->op;
	spg_case cases[CASES_MAX + 1];
	spg_chan *c;

	w->index = 0;
	if (op->call == CALL_SELECT) {
		for (size_t i = 0; i < op->n; i++) {
			c = op->cases[i].chan < 0 ? NULL : world->chan[op->cases[i].chan];
			cases[i] = op->cases[i].sends ? spg_case_send(c, &op->cases[i].out) :
							spg_case_recv(c, &w->in[i]);
		}
		cases[op->n] = spg_case_default();
		w->index = spg_select(cases, op->n + op->fallback);
		w->err = w->index >= 0 ? cases[w->index].err : w->index;
		return;
	}
	c = world->chan[op->cases[0].chan];
	if (op->call == CALL_PLAIN)
		w->err = op->cases[0].sends ? spg_chan_send(c, &op->cases[0].out) : spg_chan_recv(c, &w->in[0]);
	else
		w->err = op->cases[0].sends ? spg_chan_try_send(c, &op->cases[0].out) :
					      spg_chan_try_recv(c, &w->in[0]);
	if (w->err == -EAGAIN) {
		w->index = 1;
		w->err = 0;
	} else if (w->err == -ECANCELED) {
		w->index = w->err;
	}
}

static void work(void *arg)
{
	struct world *world = arg;
	struct worker *w = &world->worker[atomic_fetch_add(&world->next, 1)];

	for (;;) {
		spg_ctx *previous;

		T_EQ(spg_sem_acquire(&w->go), 0);
		if (w->stop)
			return;
		previous = spg_ctx_enter(w->ctx);
		call_it(world, w);
		spg_ctx_leave(previous);
		atomic_store(&w->done, true);
	}
}

static bool model_ready(const struct world *world, const struct op *op, size_t i)
{
	const struct model_chan *c;

	if (op->cases[i].chan < 0)
		return false;
	c = &world->model[op->cases[i].chan];
	if (op->cases[i].sends)
		return c->closed || c->count < caps[op->cases[i].chan] || c->waiting[0] > 0;
	return c->closed || c->count > 0 || c->waiting[1] > 0;
}

static void model_leave(struct world *world, int worker)
{
	for (int k = 0; k < CHANS * 2; k++) {
		struct model_chan *c = &world->model[k / 2];
		struct model_waiter *queue = c->queue[k % 2];
		size_t kept = 0;

		for (size_t i = 0; i < c->waiting[k % 2]; i++) {
			if (queue[i].worker != worker)
				queue[kept++] = queue[i];
		}
		c->waiting[k % 2] = kept;
	}
}

static void model_end(struct world *world, int worker, int index, int err, long in)
{
	struct worker *w = &world->worker[worker];

	w->ended = true;
	w->want_index = index;
	w->want_err = err;
	w->want_in = in;
	model_leave(world, worker);
}

/* The oldest receiver gets the value, or the oldest sender gives one. */
static long model_serve(struct world *world, struct model_chan *c, int side, long value)
{
	struct model_waiter first = c->queue[side][0];

	if (side == 1)
		value = world->worker[first.worker].op.cases[first.index].out;
	model_end(world, first.worker, first.index, 0, side == 0 ? value : 0);
	world->served++;
	return value;
}

/* Runs a ready case of a worker's. */
static void model_run(struct world *world, int worker, size_t i)
{
	const struct op *op = &world->worker[worker].op;
	struct model_chan *c = &world->model[op->cases[i].chan];
	long value = op->cases[i].out;

	if (op->cases[i].sends) {
		if (c->closed) {
			model_end(world, worker, (int)i, -EPIPE, 0);
			return;
		}
		if (c->waiting[0] > 0)
			model_serve(world, c, 0, value);
		else
			c->buffer[c->count++] = value;
		model_end(world, worker, (int)i, 0, 0);
		return;
	}
	if (c->count > 0) {
		value = c->buffer[0];
		memmove(c->buffer, c->buffer + 1, --c->count * sizeof(c->buffer[0]));
		if (c->waiting[1] > 0)
			c->buffer[c->count++] = model_serve(world, c, 1, 0);
	} else if (c->waiting[1] > 0) {
		value = model_serve(world, c, 1, 0);
	} else {
		model_end(world, worker, (int)i, -EPIPE, 0);
		return;
	}
	model_end(world, worker, (int)i, 0, value);
}

static void model_queue(struct world *world, int worker)
{
	const struct op *op = &world->worker[worker].op;

	for (size_t i = 0; i < op->n; i++) {
		struct model_chan *c;
		int side = op->cases[i].sends;

		if (op->cases[i].chan < 0)
			continue;
		c = &world->model[op->cases[i].chan];
		c->queue[side][c->waiting[side]++] = (struct model_waiter){ worker, (int)i };
	}
}

static void model_close(struct world *world, int chan)
{
	struct model_chan *c = &world->model[chan];

	c->closed = true;
	while (c->waiting[0] + c->waiting[1] > 0) {
		struct model_waiter w = c->queue[c->waiting[0] == 0][0];

		model_end(world, w.worker, w.index, -EPIPE, 0);
	}
}

/* Those the model ended have ended, just so. */
static void compare_ended(struct world *world)
{
	for (int i = 0; i < WORKERS; i++) {
		struct worker *w = &world->worker[i];

		if (!w->ended)
			continue;
		T_UNTIL(atomic_load(&w->done));
		T_EQ(w->index, w->want_index);
		T_EQ(w->err, w->want_err);
		for (size_t k = 0; k < w->op.n; k++)
			T_EQ(w->in[k], (int)k == w->index && !w->op.cases[k].sends ? w->want_in : -7);
		spg_ctx_unref(w->ctx);
		w->busy = w->ended = false;
	}
}

/* The others wait, in as many places; buffers hold as much. */
static void compare_waiting(struct world *world)
{
	for (int i = 0; i < CHANS; i++) {
		struct model_chan *c = &world->model[i];

		T_UNTIL(look_receivers(world->chan[i]) == c->waiting[0]);
		T_UNTIL(look_senders(world->chan[i]) == c->waiting[1]);
		T_EQ(spg_chan_len(world->chan[i]), c->count);
	}
	for (int i = 0; i < WORKERS; i++)
		T_OK(!world->worker[i].busy || !atomic_load(&world->worker[i].done));
}

/* No two cases of one select stand in the same queue: the model would not know which is first. */
static void make_op(struct world *world, struct op *op)
{
	uint64_t r = t_random(&world->random);
	unsigned used = 0;

	*op = (struct op){ .call = (enum call[]){ CALL_SELECT, CALL_SELECT, CALL_PLAIN, CALL_TRY }[r & 3] };
	op->n = op->call == CALL_SELECT ? (r >> 8) % (CASES_MAX + 1) : 1;
	op->fallback = op->call == CALL_TRY || (op->call == CALL_SELECT && (op->n == 0 || (r >> 16) % 6 == 0));
	for (size_t i = 0; i < op->n; i++) {
		unsigned side;

		do {
			r = t_random(&world->random);
			side = r % (2 * CHANS);
		} while (used >> side & 1);
		used |= 1u << side;
		op->cases[i].chan = (int)side / 2;
		op->cases[i].sends = side % 2;
		op->cases[i].out = ++world->value;
		if (op->call == CALL_SELECT && (r >> 32) % 16 == 0)
			op->cases[i].chan = -1;
	}
}

static void step_op(struct world *world, int worker)
{
	struct worker *w = &world->worker[worker];
	bool any = false;

	make_op(world, &w->op);
	for (size_t i = 0; i < CASES_MAX; i++)
		w->in[i] = -7;
	w->ctx = spg_ctx_new(NULL);
	w->busy = true;
	atomic_store(&w->done, false);
	for (size_t i = 0; i < w->op.n; i++)
		any |= model_ready(world, &w->op, i);
	T_EQ(spg_sem_release(&w->go), 0);
	if (!any && !w->op.fallback) {
		model_queue(world, worker);
		world->waited++;
		return;
	}
	T_UNTIL(atomic_load(&w->done));
	if (!any) {
		model_end(world, worker, (int)w->op.n, 0, 0);
		return;
	}
	/* Which of the ready ones is its own affair. */
	T_OK(w->index >= 0 && w->index < (int)w->op.n);
	T_OK(model_ready(world, &w->op, (size_t)w->index));
	model_run(world, worker, (size_t)w->index);
}

static void step_cancel(struct world *world, int worker)
{
	spg_ctx_cancel(world->worker[worker].ctx);
	model_end(world, worker, -ECANCELED, -ECANCELED, 0);
	world->canceled++;
}

/* Closes a channel; a closed one, where nobody can wait, is replaced by a new one. */
static void step_close(struct world *world, int chan)
{
	struct model_chan *c = &world->model[chan];

	T_ERR(spg_chan_close(world->chan[chan]), c->closed ? -EPIPE : 0);
	if (!c->closed) {
		model_close(world, chan);
		return;
	}
	spg_chan_unref(world->chan[chan]);
	world->chan[chan] = spg_chan_new(sizeof(long), caps[chan]);
	*c = (struct model_chan){ 0 };
}

static void step(struct world *world)
{
	int worker = (int)(t_random(&world->random) % WORKERS);
	int chan = (int)(t_random(&world->random) % CHANS);
	uint64_t what = t_random(&world->random) % 100;

	if (what < (world->model[chan].closed ? 20 : 1)) {
		step_close(world, chan);
	} else {
		/* The next one that is free; a busy one now and then, or when all are. */
		for (int i = 0; i < WORKERS && world->worker[worker].busy && what >= 15; i++)
			worker = (worker + 1) % WORKERS;
		if (world->worker[worker].busy)
			step_cancel(world, worker);
		else
			step_op(world, worker);
	}
	compare_ended(world);
	compare_waiting(world);
	world->stepped++;
}

static int against_model(void *arg)
{
	struct world *world = calloc(1, sizeof(*world));
	struct crowd crowd;

	T_OK(world != NULL);
	world->random = *(uint64_t *)arg;
	for (int i = 0; i < CHANS; i++)
		world->chan[i] = spg_chan_new(sizeof(long), caps[i]);
	crowd_start(&crowd, WORKERS - THREADS, THREADS, work, world);
	for (int i = 0; i < (t_sanitized() ? 1500 : 10000); i++)
		step(world);
	for (int i = 0; i < WORKERS; i++) {
		if (world->worker[i].busy)
			step_cancel(world, i);
	}
	compare_ended(world);
	compare_waiting(world);
	for (int i = 0; i < WORKERS; i++) {
		world->worker[i].stop = true;
		T_EQ(spg_sem_release(&world->worker[i].go), 0);
	}
	crowd_wait(&crowd);
	for (int i = 0; i < CHANS; i++)
		spg_chan_unref(world->chan[i]);
	fprintf(stderr, "%ld steps, %ld waits, %ld served, %ld canceled\n", world->stepped, world->waited,
		world->served, world->canceled);
	free(world);
	return 0;
}

/* Goal: whatever the schedule of operations, results, values and queues are the model's. */
START_TEST(prop_operations_follow_the_model)
{
	uint64_t seed = t_seed();

	t_run((unsigned)_i, against_model, &seed);
}
END_TEST

T_MAIN(T_SHARDS(prop_operations_follow_the_model))
