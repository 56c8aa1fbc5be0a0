/*
 * Where should a connection's coroutine live? An echo server by spg_serve: the first argument
 * says how its handlers are placed, the second how much a request computes, the third on which
 * connections: 1, on all of them; 2, on every second one.
 *
 *   any        where the accept loop is, stealable
 *   spread     the shards in turn, stealable: the default
 *   pinned     the shards in turn, and there to the end
 *   one        all pinned to shard 0
 *   per_shard  a listener a shard (SO_REUSEPORT), the handlers begin there
 *
 * usage: place any|spread|pinned|one|per_shard rounds every
 *
 * Prints "listening on host:port"; SIGTERM ends it.
 */
#include "tools/cli.h"
#include "tools/tcp.h"

#include <spg/spg.h>
#include <stdatomic.h>

struct place {
	const char *name;
	uint64_t rounds, every;
	_Atomic uint64_t connections; /* relaxed: a ticket */
};

static uint64_t compute(uint64_t x, uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds; i++)
		x = (x ^ x >> 31) * 0x9E3779B97F4A7C15;
	return x;
}

static void handle(int fd, void *arg)
{
	struct place *p = arg;
	uint64_t ticket = atomic_fetch_add_explicit(&p->connections, 1, memory_order_relaxed);
	uint64_t rounds = ticket % p->every == 0 ? p->rounds : 0;
	volatile uint64_t result; /* or the compiler leaves it out */
	unsigned char buf[4096];
	ssize_t n;

	if (strcmp(p->name, "pinned") == 0 && spg_pin_self() < 0)
		complain("cannot pin");
	while ((n = spg_read(fd, buf, sizeof(buf))) > 0) {
		result = compute(buf[0], rounds);
		(void)result;
		if (spg_write_all(fd, buf, (size_t)n) < 0)
			break;
	}
	spg_close(fd);
}

static int serve(void *arg)
{
	struct place *p = arg;
	spg_listen_opts listen = SPG_LISTEN_OPTS_INIT;
	spg_serve_opts o = SPG_SERVE_OPTS_INIT;
	int fd, err;

	if (strcmp(p->name, "any") == 0)
		o.place = SPG_ANY;
	if (strcmp(p->name, "one") == 0)
		o.place = SPG_PIN(0);
	o.per_shard = listen.reuse_port = strcmp(p->name, "per_shard") == 0;
	o.drain_ns = 0;
	fd = spg_listen("tcp4", "127.0.0.1:0", &listen);
	err = fd < 0 ? fd : tcp_announce(fd);
	return err < 0 ? err : spg_serve(fd, handle, p, &o);
}

int main(int argc, char **argv)
{
	struct place p = { .name = argc > 1 ? argv[1] : "" };
	int err;

	if (argc != 4) {
		complain("usage: place any|spread|pinned|one|per_shard rounds every");
		return 2;
	}
	p.rounds = cli_number("rounds", argv[2], 0, 1000000000);
	p.every = cli_number("every", argv[3], 1, 1000000);
	err = spg_run(NULL, serve, &p);
	if (err < 0)
		complain("%s", spg_strerror(err));
	return err < 0;
}
