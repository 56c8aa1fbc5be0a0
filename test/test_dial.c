/*
 * Dialing: refusals, time-outs, cancellation, and the race over several addresses
 * (RFC 8305). A peer that never answers is a listener whose backlog is full.
 */
#include "net/dial.h"
#include "test/t.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FILLERS_MAX 8

struct peers {
	int listener, silent, reserved;
	int fillers[FILLERS_MAX];
	int fillers_count;
	/* One that accepts, one that never answers, one that refuses. */
	struct spg__addr good, hole, closed;
	char good_text[64], hole_text[64], closed_text[64];
};

static void name_of(int fd, struct spg__addr *addr, char *text)
{
	*addr = (struct spg__addr){ .len = sizeof(addr->un) };
	T_EQ(getsockname(fd, &addr->sa, &addr->len), 0);
	T_OK(spg_sockaddr_str(&addr->sa, text, 64) > 0);
}

/* Connects until the kernel lets a handshake wait. */
static void fill_backlog(struct peers *p)
{
	struct pollfd poll_fd = { .events = POLLOUT };

	do {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		T_OK(fd >= 0 && p->fillers_count < FILLERS_MAX);
		T_OK(connect(fd, &p->hole.sa, p->hole.len) == 0 || errno == EINPROGRESS);
		p->fillers[p->fillers_count++] = fd;
		poll_fd.fd = fd;
	} while (poll(&poll_fd, 1, 100) != 0);
}

static void peers_init(struct peers *p)
{
	spg_listen_opts o = SPG_LISTEN_OPTS_INIT;
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	memset(p, 0, sizeof(*p));
	p->listener = spg_listen("tcp", "127.0.0.1:0", NULL);
	T_OK(p->listener >= 0);
	name_of(p->listener, &p->good, p->good_text);
	o.backlog = 1;
	p->silent = spg_listen("tcp", "127.0.0.1:0", &o);
	T_OK(p->silent >= 0);
	name_of(p->silent, &p->hole, p->hole_text);
	fill_backlog(p);
	p->reserved = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	T_EQ(bind(p->reserved, (struct sockaddr *)&any, sizeof(any)), 0);
	name_of(p->reserved, &p->closed, p->closed_text);
}

static void run_with_peers(int shards, int (*fn)(void *))
{
	struct peers p;
	int fds;

	peers_init(&p);
	fds = t_fds_count();
	t_run((unsigned)shards, fn, &p);
	T_EQ(t_fds_count(), fds);
}

/* The connected peer's address. */
static void check_peer(int fd, const struct spg__addr *expected)
{
	struct spg__addr peer = { .len = sizeof(peer.un) };

	T_EQ(getpeername(fd, &peer.sa, &peer.len), 0);
	T_EQ(peer.len, expected->len);
	T_OK(memcmp(&peer.sa, &expected->sa, peer.len) == 0);
}

static int race(const spg_dial_opts *o, const struct spg__addr *addrs, size_t count)
{
	static const struct spg__network tcp = { AF_UNSPEC, SOCK_STREAM };
	struct spg__dial dial;

	T_EQ(spg__dial_init(&dial, &tcp, o), 0);
	return spg__dial_addrs(&dial, addrs, count);
}

static int refused(void *arg)
{
	struct peers *p = arg;

	T_ERR(spg_dial("tcp", p->closed_text, NULL), -ECONNREFUSED);
	return 0;
}

/* Goal: the kernel's reason is passed through, and nothing stays open. */
START_TEST(a_refusal_is_reported)
{
	run_with_peers(_i, refused);
}
END_TEST

static int time_out(void *arg)
{
	struct peers *p = arg;
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;
	int64_t begin = t_now_ns();

	o.timeout_ns = 30 * SPG_MS;
	T_ERR(spg_dial("tcp", p->hole_text, &o), -ETIMEDOUT);
	T_OK(t_now_ns() - begin >= 30 * SPG_MS);
	o = (spg_dial_opts)SPG_DIAL_OPTS_INIT;
	o.address_timeout_ns = 20 * SPG_MS;
	begin = t_now_ns();
	T_ERR(spg_dial("tcp", p->hole_text, &o), -ETIMEDOUT);
	T_OK(t_now_ns() - begin >= 20 * SPG_MS);
	{
		SPG_TIMEOUT_SCOPE(20 * SPG_MS);
		T_ERR(spg_dial("tcp", p->hole_text, NULL), -ETIMEDOUT);
	}
	T_EQ(spg_ctx_err(NULL), 0);
	o.timeout_ns = 0;
	T_ERR(spg_dial("tcp", p->good_text, &o), -ETIMEDOUT); /* ended before it began */
	return 0;
}

/* Goal: each of the limits ends a dial that nobody answers; the kernel would take two minutes. */
START_TEST(an_unanswered_dial_times_out)
{
	run_with_peers(_i, time_out);
}
END_TEST

/* Goal: the same on a plain thread without a runtime. */
START_TEST(dial_works_without_a_runtime)
{
	struct peers p;
	int fds, fd;

	peers_init(&p);
	fds = t_fds_count();
	T_EQ(time_out(&p), 0);
	{
		struct spg__addr addrs[] = { p.closed, p.hole, p.good };
		spg_dial_opts o = SPG_DIAL_OPTS_INIT;

		o.address_timeout_ns = 20 * SPG_MS; /* one after another here */
		fd = race(&o, addrs, COUNT(addrs));
		T_OK(fd >= 0);
		check_peer(fd, &p.good);
		close(fd);
	}
	/* A thread's first wait made its wake-up descriptor; it stays the thread's. */
	T_OK(t_fds_count() <= fds + 1);
}
END_TEST

static void cancel_soon(void *arg)
{
	(void)spg_sleep(10 * SPG_MS);
	spg_ctx_cancel(arg);
	spg_ctx_unref(arg);
}

/* Calls dial_fn under a context that is canceled meanwhile. */
static void canceled(struct peers *p, int (*dial_fn)(struct peers *p))
{
	spg_ctx *ctx = spg_ctx_new(NULL), *previous;

	T_OK(ctx != NULL);
	T_EQ(spg_go(cancel_soon, spg_ctx_ref(ctx)), 0);
	previous = spg_ctx_enter(ctx);
	T_OK(previous != NULL);
	T_ERR(dial_fn(p), -ECANCELED);
	T_ERR(dial_fn(p), -ECANCELED); /* on entry now */
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
}

static int dial_hole(struct peers *p)
{
	return spg_dial("tcp", p->hole_text, NULL);
}

static int race_holes(struct peers *p)
{
	struct spg__addr addrs[] = { p->hole, p->hole, p->hole };
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;

	o.attempt_delay_ns = SPG_MS;
	return race(&o, addrs, COUNT(addrs));
}

static int cancel_all(void *arg)
{
	for (int i = 0; i < 5; i++) {
		canceled(arg, dial_hole);
		canceled(arg, race_holes);
	}
	return 0;
}

/* Goal: a canceled dial comes back, with one address and with a race of three. */
START_TEST(a_canceled_dial_leaves_nothing_open)
{
	run_with_peers(_i, cancel_all);
}
END_TEST

static int win(void *arg)
{
	struct peers *p = arg;
	struct spg__addr silent_first[] = { p->hole, p->good }, good_first[] = { p->good, p->hole };
	struct spg__addr refused_first[] = { p->closed, p->closed, p->good };
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;
	int64_t begin = t_now_ns();
	int fd;

	o.attempt_delay_ns = 30 * SPG_MS;
	fd = race(&o, silent_first, COUNT(silent_first));
	T_OK(fd >= 0);
	T_OK(t_now_ns() - begin >= 30 * SPG_MS); /* the first had its head start */
	T_OK(t_now_ns() - begin < 900 * SPG_MS); /* and was not waited for: its SYN is repeated after 1 s */
	check_peer(fd, &p->good);
	T_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	T_EQ(spg_close(fd), 0);

	o.attempt_delay_ns = 20 * SPG_SEC;
	begin = t_now_ns();
	fd = race(&o, good_first, COUNT(good_first));
	T_OK(fd >= 0);
	check_peer(fd, &p->good);
	T_EQ(spg_close(fd), 0);
	fd = race(&o, refused_first, COUNT(refused_first));
	T_OK(fd >= 0);
	T_OK(t_now_ns() - begin < 10 * SPG_SEC); /* a failure does not wait for the delay */
	check_peer(fd, &p->good);
	T_EQ(spg_close(fd), 0);
	return 0;
}

/* Goal: silence costs the delay, a refusal costs nothing, the first to connect wins. */
START_TEST(the_first_to_connect_wins)
{
	run_with_peers(_i, win);
}
END_TEST

static int lose(void *arg)
{
	struct peers *p = arg;
	struct spg__addr refused_all[] = { p->closed, p->closed }, holes[] = { p->hole, p->hole };
	struct spg__addr odd_first[] = { p->closed, p->hole };
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;

	T_ERR(race(&o, refused_all, COUNT(refused_all)), -ECONNREFUSED);
	o.attempt_delay_ns = 0;
	o.address_timeout_ns = 20 * SPG_MS;
	T_ERR(race(&o, holes, COUNT(holes)), -ETIMEDOUT);
	T_ERR(race(&o, odd_first, COUNT(odd_first)), -ECONNREFUSED); /* the first failure is the reason */
	o.address_timeout_ns = -1;
	{
		SPG_TIMEOUT_SCOPE(20 * SPG_MS);
		T_ERR(race(&o, holes, COUNT(holes)), -ETIMEDOUT);
	}
	return 0;
}

/* Goal: when all fail the first failure is reported; a deadline ends all attempts. */
START_TEST(when_all_fail_the_first_failure_is_reported)
{
	run_with_peers(_i, lose);
}
END_TEST

static int shielded(void *arg)
{
	struct peers *p = arg;
	struct spg__addr addrs[] = { p->closed, p->good };
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;
	spg_ctx *ctx = spg_ctx_new(NULL), *previous = spg_ctx_enter(ctx);
	int fd;

	spg_ctx_cancel(ctx);
	T_ERR(race(&o, addrs, COUNT(addrs)), -ECANCELED); /* on entry, though it could succeed */
	{
		SPG_SHIELD_SCOPE();

		fd = race(&o, addrs, COUNT(addrs));
		T_OK(fd >= 0);
		T_EQ(spg_close(fd), 0);
	}
	spg_ctx_leave(previous);
	spg_ctx_unref(ctx);
	return 0;
}

/* Goal: in a shield the race's attempts run as well, though they are coroutines of their own. */
START_TEST(a_shield_covers_the_attempts)
{
	run_with_peers(_i, shielded);
}
END_TEST

/* Winner and cancel at the same moment, again and again. */
static int collide(void *arg)
{
	struct peers *p = arg;
	struct spg__addr addrs[] = { p->good, p->good, p->good };
	spg_dial_opts o = SPG_DIAL_OPTS_INIT;
	uint64_t seed = t_seed();
	int fds = t_fds_count(), won = 0, in_time = 0;

	o.attempt_delay_ns = 0;
	for (int i = 0; i < 300; i++) {
		SPG_TIMEOUT_SCOPE((int64_t)(t_random(&seed) % 300) * SPG_US);
		int fd = race(&o, addrs, COUNT(addrs));

		T_OK(fd >= 0 || fd == -ETIMEDOUT);
		won += fd >= 0;
		in_time += fd >= 0 && spg_ctx_err(NULL) == 0;
		if (fd >= 0)
			T_EQ(spg_close(fd), 0);
		/* The listener's side of it. */
		while ((fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
			close(fd);
	}
	fprintf(stderr, "%d won, %d of them in time\n", won, in_time);
	T_EQ(t_fds_count(), fds);
	return 0;
}

/* Goal: deadline against three connects that succeed: one winner or none, never a leak. */
START_TEST(stress_deadline_against_winners)
{
	struct peers p;

	peers_init(&p);
	T_EQ(fcntl(p.listener, F_SETFL, O_NONBLOCK), 0);
	t_run((unsigned)_i, collide, &p);
}
END_TEST

/* Goal: families by turns, the first address stays first, order within a family stays. */
START_TEST(families_are_interleaved)
{
	static const struct {
		const char *before, *after;
	} lists[] = {
		{ "6", "6" },
		{ "4a6a", "4a6a" },
		{ "6a6b6c4a4b", "6a4a6b4b6c" },
		{ "4a4b4c", "4a4b4c" },
		{ "4a4b4c6a", "4a6a4b4c" },
		{ "6a4a4b4c6b6c6d", "6a4a6b4b6c4c6d" },
	};

	for (size_t i = 0; i < COUNT(lists); i++) {
		size_t count = (strlen(lists[i].before) + 1) / 2;
		struct spg__addr addrs[8] = { 0 };

		for (size_t k = 0; k < count; k++) {
			addrs[k].sa.sa_family = lists[i].before[2 * k] == '4' ? AF_INET : AF_INET6;
			addrs[k].len = (socklen_t)lists[i].before[2 * k + 1];
		}
		spg__addrs_interleave(addrs, count);
		for (size_t k = 0; k < count; k++) {
			T_EQ(addrs[k].sa.sa_family, lists[i].after[2 * k] == '4' ? AF_INET : AF_INET6);
			T_EQ(addrs[k].len, lists[i].after[2 * k + 1]);
		}
	}
}
END_TEST

T_MAIN(T_SHARDS(a_refusal_is_reported), T_SHARDS(an_unanswered_dial_times_out),
       T_TEST(dial_works_without_a_runtime), T_SHARDS(a_canceled_dial_leaves_nothing_open),
       T_SHARDS(the_first_to_connect_wins), T_SHARDS(when_all_fail_the_first_failure_is_reported),
       T_SHARDS(a_shield_covers_the_attempts), T_SHARDS(stress_deadline_against_winners),
       T_TEST(families_are_interleaved))
