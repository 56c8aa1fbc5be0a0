#include "net/dial.h"

#include "coro/alloc.h"
#include "coro/leak.h"
#include "net/sockopt.h"
#include "sched/cancel.h"

#include <string.h>
#include <unistd.h>

#define ATTEMPT_NAME "spg-dial"

static int64_t scope_ns(int64_t timeout_ns)
{
	return timeout_ns < 0 ? SPG__NEVER : timeout_ns;
}

int spg__dial_init(struct spg__dial *dial, const struct spg__network *network, const spg_dial_opts *opts)
{
	struct spg__endpoint local;
	int n;

	*dial = (struct spg__dial){ .network = *network, .opts = opts };
	if (opts->rcvbuf_bytes < 0 || opts->sndbuf_bytes < 0 || opts->tos < 0 || opts->tos > UINT8_MAX)
		return -EINVAL;
	if (opts->local == NULL)
		return 0;
	n = spg__endpoint_parse_as(network, opts->local, &local);
	if (n == 0 && (local.host_is_name || local.service_is_name))
		n = -EINVAL;
	if (n == 0)
		n = spg__endpoint_addrs(&local, SPG__ADDR_LISTEN, dial->local);
	if (n < 0)
		return n;
	dial->local_count = (unsigned)n;
	return 0;
}

/* Takes the local address of the remote one's family. */
static int bind_local(const struct spg__dial *dial, int fd, int family)
{
	for (unsigned i = 0; i < dial->local_count; i++) {
		const struct spg__addr *local = &dial->local[i];

		if (local->sa.sa_family == family)
			return bind(fd, &local->sa, local->len) < 0 ? -errno : 0;
	}
	return dial->local_count == 0 ? 0 : -EADDRNOTAVAIL;
}

/* Buffers come before connect: the window scale is fixed by the SYN. */
static int options(const struct spg__dial *dial, int fd, int family)
{
	const spg_dial_opts *o = dial->opts;
	int err = spg__sockopt_buffers(fd, o->rcvbuf_bytes, o->sndbuf_bytes);

	if (err < 0 || family == AF_UNIX)
		return err;
	err = spg__sockopt_tos(fd, family, o->tos);
	if (err == 0 && dial->network.type != SOCK_STREAM)
		return o->udp_gro ? spg__sockopt_gro(fd) : 0;
	if (err == 0 && o->nodelay)
		err = spg__sockopt_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (err == 0)
		err = spg__sockopt_keepalive(fd, o->keepalive_ns);
	return err < 0 ? err : spg__sockopt_user_timeout(fd, o->user_timeout_ns);
}

static int attempt(const struct spg__dial *dial, const struct spg__addr *addr)
{
	SPG_TIMEOUT_SCOPE(scope_ns(dial->opts->address_timeout_ns));
	int family = addr->sa.sa_family;
	int fd = spg__socket(family, dial->network.type), err;

	if (fd < 0)
		return fd;
	err = options(dial, fd, family);
	if (err == 0)
		err = bind_local(dial, fd, family);
	if (err == 0)
		err = spg_connect(fd, &addr->sa, addr->len);
	if (err == 0)
		return fd;
	close(fd); /* nobody else knows it: there is no call to wake */
	return err;
}

void spg__addrs_interleave(struct spg__addr *addrs, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct spg__addr other;
		size_t j = i;

		while (j < count && addrs[j].sa.sa_family == addrs[i - 1].sa.sa_family)
			j++;
		if (j == count)
			return; /* one family is left */
		other = addrs[j];
		memmove(&addrs[i + 1], &addrs[i], (j - i) * sizeof(*addrs));
		addrs[i] = other;
	}
}

struct race {
	const struct spg__dial *dial;
	const struct spg__addr *addrs;
	/* The next address nobody has begun with. */
	_Atomic size_t next;
	/* An int each, descriptor or error; room for all, so that no attempt waits to tell. */
	spg_chan *results;
	/* Of the attempts. Not under the caller's: a shield there must hold here too, and the caller cancels it. */
	spg_ctx *ctx;
	/* The caller's own. */
	size_t running;
	int winner_fd, err;
};

static void attempt_main(void *arg)
{
	struct race *race = arg;
	spg_chan *results = race->results; /* the race may be over as soon as the last result is seen */
	/* relaxed: only who gets which address. */
	size_t i = atomic_fetch_add_explicit(&race->next, 1, memory_order_relaxed);
	int res = attempt(race->dial, &race->addrs[i]);

	SPG_CHECK(spg_chan_try_send(results, &res) == 0);
}

static void take(struct race *race, int res)
{
	race->running--;
	if (res < 0 && race->err == 0)
		race->err = res;
	else if (res >= 0 && race->winner_fd >= 0)
		close(res);
	else if (res >= 0)
		race->winner_fd = res;
}

/* Where no coroutine can be started (no runtime, no memory) the caller makes the attempt itself. */
static void start_next(struct race *race)
{
	spg_attr attr = SPG_ATTR_INIT;

	attr.name = ATTEMPT_NAME;
	attr.ctx = race->ctx;
	race->running++;
	if (spg_go_attr(&attr, attempt_main, race) < 0)
		attempt_main(race);
}

/* One result, or no longer than wait_ns. 0, or the end of the caller's context. */
static int await(struct race *race, int64_t wait_ns)
{
	int res, err;

	{
		SPG_TIMEOUT_SCOPE(wait_ns);
		err = spg_chan_recv(race->results, &res);
	}
	if (err == 0)
		take(race, res);
	/* Our own time-out means only that the next one's turn has come. */
	else if (err != -ETIMEDOUT || spg_ctx_err(NULL) != 0)
		return err;
	return 0;
}

/* D1. */
static void settle(struct race *race)
{
	SPG_SHIELD_SCOPE();
	int res;

	spg_ctx_cancel(race->ctx);
	while (race->running > 0) {
		/* spg_stop may end a foreign thread's wait, once. */
		if (spg_chan_recv(race->results, &res) == 0)
			take(race, res);
	}
}

static int run(struct race *race, size_t count)
{
	size_t started = 0;
	int err = spg_ctx_err(NULL);

	if (err < 0) {
		spg_yield(); /* as every call on entry: attempts that were begun could still win (D2) */
		return err;
	}
	while (err == 0 && race->winner_fd < 0 && (started < count || race->running > 0)) {
		if (started < count) {
			start_next(race);
			started++;
		}
		err = await(race, started < count ? race->dial->opts->attempt_delay_ns : SPG__NEVER);
	}
	settle(race);
	if (race->winner_fd >= 0)
		return race->winner_fd; /* D2 */
	return err < 0 ? err : race->err;
}

int spg__dial_addrs(const struct spg__dial *dial, const struct spg__addr *addrs, size_t count)
{
	struct race race = { .dial = dial, .addrs = addrs, .winner_fd = -1 };
	int res = -ENOMEM;

	SPG_CHECK(count > 0);
	if (count == 1)
		return attempt(dial, &addrs[0]);
	race.results = spg_chan_new(sizeof(int), count);
	race.ctx = spg__ctx_create(spg__ctx_background(), SPG__NEVER);
	if (race.results != NULL && race.ctx != NULL)
		res = run(&race, count);
	spg_chan_unref(race.results);
	spg_ctx_unref(race.ctx);
	return res;
}

/* Apart from each other: a parked dial's frames should not hold what it does not need. */
static spg__noinline int dial_name(struct spg__dial *dial, const struct spg__endpoint *endpoint)
{
	struct spg__addr *addrs = spg__calloc(SPG__ADDRS_NAMED_MAX, sizeof(*addrs));
	int n = -ENOMEM;

	if (addrs != NULL)
		n = spg__endpoint_resolve(endpoint, SPG__ADDR_DIAL, addrs, SPG__ADDRS_NAMED_MAX);
	if (n > 0) {
		spg__addrs_interleave(addrs, (size_t)n);
		n = spg__dial_addrs(dial, addrs, (size_t)n);
	}
	spg__free(addrs);
	return n;
}

static spg__noinline int dial_number(struct spg__dial *dial, const struct spg__endpoint *endpoint)
{
	struct spg__addr addrs[SPG__ADDRS_NUMERIC_MAX];
	int n = spg__endpoint_addrs(endpoint, SPG__ADDR_DIAL, addrs);

	if (n < 0)
		return n;
	spg__addrs_interleave(addrs, (size_t)n);
	return spg__dial_addrs(dial, addrs, (size_t)n);
}

int spg_dial(const char *network, const char *address, const spg_dial_opts *o)
{
	static const spg_dial_opts defaults = SPG_DIAL_OPTS_INIT;
	struct spg__endpoint endpoint;
	struct spg__dial dial;
	int n = spg__endpoint_parse(network, address, &endpoint);

	if (o == NULL)
		o = &defaults;
	if (n == 0)
		n = spg__dial_init(&dial, &endpoint.network, o);
	if (n < 0)
		return n;
	SPG_TIMEOUT_SCOPE(scope_ns(o->timeout_ns));
	n = endpoint.host_is_name || endpoint.service_is_name ? dial_name(&dial, &endpoint) :
								  dial_number(&dial, &endpoint);
	return spg__leak_opened(n, __builtin_return_address(0));
}
