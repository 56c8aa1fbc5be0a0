/*
 * Names by libc's resolver: many at once, by the system's files, and without waiting for a name
 * server that says nothing.
 */
#include "t.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* A file system view and a network of our own. false: not for us. */
static bool alone(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	T_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	return access("/etc/resolv.conf", R_OK) == 0 && access("/etc/nsswitch.conf", R_OK) == 0 &&
	       access("/etc/hosts", R_OK) == 0;
}

static void replace_file(const char *path, const char *text)
{
	char other[] = "/tmp/spg-test-resolve-XXXXXX";
	int fd = mkstemp(other);

	T_EQ(write(fd, text, strlen(text)), strlen(text));
	T_EQ(close(fd), 0);
	T_EQ(chmod(other, 0644), 0);
	T_EQ(mount(other, path, NULL, MS_BIND, NULL), 0);
	T_EQ(unlink(other), 0);
}

#define NAMES 300

static void write_hosts(void)
{
	char *text = malloc(NAMES * 64 + 256);
	int n = sprintf(text, "127.0.0.1 localhost\n192.0.2.9 both alias-of-both\n2001:db8::9 both\n");

	for (int i = 0; i < NAMES; i++)
		n += sprintf(text + n, "10.1.%d.%d name-%d.test\n", i / 250, i % 250, i);
	replace_file("/etc/hosts", text);
	free(text);
}

/* Goal: hundreds at once, each with its own answer. */
static int resolve_name(void *arg)
{
	int i = (int)(intptr_t)arg;
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *list = NULL;
	char name[32];
	const struct sockaddr_in *in;

	snprintf(name, sizeof(name), "name-%d.test", i);
	T_EQ(spg_resolve(name, "80", &hints, &list), 0);
	in = (const struct sockaddr_in *)(const void *)list->ai_addr;
	T_EQ(in->sin_addr.s_addr, htonl(10u << 24 | 1u << 16 | (unsigned)(i / 250) << 8 | (unsigned)(i % 250)));
	T_EQ(in->sin_port, htons(80));
	T_OK(list->ai_next == NULL);
	freeaddrinfo(list);
	return 0;
}

static int resolve_many(void *arg)
{
	spg_group *group = spg_group_new(0);

	(void)arg;
	for (int i = 0; i < NAMES; i++)
		T_EQ(spg_group_go(group, resolve_name, (void *)(intptr_t)i), 0);
	T_EQ(spg_group_wait(group), 0);
	spg_group_free(group);
	return 0;
}

START_TEST(many_names_at_once)
{
	if (!alone())
		T_SKIP("only root may have files of its own");
	write_hosts();
	replace_file("/etc/nsswitch.conf", "hosts: files\nservices: files\n");
	t_run((unsigned)_i, resolve_many, NULL);
}
END_TEST

/* Goal: what the files say, of either family, by its aliases; services by name; and nothing that they do not say. */
static int by_files(void *arg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	unsigned families = 0, count = 0;

	(void)arg;
	T_EQ(spg_resolve("both", "http", &hints, &list), 0);
	for (struct addrinfo *info = list; info != NULL; info = info->ai_next, count++) {
		families |= info->ai_family == AF_INET ? 1u : 2u;
		T_EQ(((struct sockaddr_in *)(void *)info->ai_addr)->sin_port, htons(80)); /* in6 has it there too */
	}
	T_EQ(families, 3);
	T_EQ(count, 2);
	freeaddrinfo(list);
	hints.ai_family = AF_INET;
	T_EQ(spg_resolve("alias-of-both", "8080", &hints, &list), 0);
	T_EQ(((struct sockaddr_in *)(void *)list->ai_addr)->sin_addr.s_addr, inet_addr("192.0.2.9"));
	freeaddrinfo(list);
	T_EQ(spg_resolve("name-1.test.", "80", &hints, &list), -ENOENT);
	T_EQ(spg_resolve("both", "no-such-service", &hints, &list), -EINVAL);
	return 0;
}

START_TEST(names_come_from_the_systems_files)
{
	if (!alone())
		T_SKIP("only root may have files of its own");
	write_hosts();
	replace_file("/etc/services", "http 80/tcp\n");
	replace_file("/etc/nsswitch.conf", "hosts: files\nservices: files\n");
	t_run((unsigned)_i, by_files, NULL);
	T_EQ(by_files(NULL), 0);
}
END_TEST

/*
 * Goal: with a name server that says nothing a deadline and a cancel are kept, by resolve, dial and
 * listen, and what was asked is not the caller's any more. It answers when all callers are gone.
 */
struct server {
	int fd;
	pthread_t thread;
	_Atomic bool speaks, stop;
};

struct query {
	struct sockaddr_in from;
	unsigned char bytes[512];
	ssize_t len;
};

/* There is no such name. */
static void answer(const struct server *server, struct query *q)
{
	q->bytes[2] |= 0x80;
	q->bytes[3] = 0x83;
	(void)sendto(server->fd, q->bytes, (size_t)q->len, 0, (struct sockaddr *)&q->from, sizeof(q->from));
}

static void *serve(void *arg)
{
	static struct query queries[512];
	struct server *server = arg;
	size_t n = 0;

	while (!atomic_load(&server->stop)) {
		struct pollfd ready = { .fd = server->fd, .events = POLLIN };
		struct query *q = &queries[n];
		socklen_t len = sizeof(q->from);

		if (atomic_load(&server->speaks)) {
			while (n > 0)
				answer(server, &queries[--n]);
			q = queries;
		}
		if (poll(&ready, 1, 10) != 1)
			continue;
		q->len = recvfrom(server->fd, q->bytes, sizeof(q->bytes), 0, (struct sockaddr *)&q->from, &len);
		T_OK(q->len > 12 && n + 1 < sizeof(queries) / sizeof(queries[0]));
		/* The first label: what its caller has made of its copy since is another matter. */
		T_EQ(memcmp(q->bytes + 12, "\016nobody-answers", 15), 0);
		n++;
	}
	return NULL;
}

static void server_start(struct server *server)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	*server = (struct server){ .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
	T_EQ(bind(server->fd, (struct sockaddr *)&name, sizeof(name)), 0);
	T_EQ(pthread_create(&server->thread, NULL, serve, server), 0);
}

static int resolve_expired(void *arg)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *list;
	char *name = strdup("nobody-answers.test"), *service = strdup("80");
	int res;

	(void)arg;
	{
		SPG_TIMEOUT_SCOPE(10 * SPG_MS);
		res = spg_resolve(name, service, &hints, &list);
	}
	/* The question goes on without them. */
	memset(name, '!', strlen(name));
	memset(service, '!', strlen(service));
	free(name);
	free(service);
	memset(&hints, 0xff, sizeof(hints));
	T_EQ(res, -ETIMEDOUT);
	return 0;
}

static int resolve_canceled(void *arg)
{
	struct addrinfo *list;

	(void)arg;
	T_EQ(spg_resolve("nobody-answers.test", "80", NULL, &list), -ECANCELED);
	return 0;
}

static int without_answer(void *arg)
{
	spg_dial_opts opts = SPG_DIAL_OPTS_INIT;
	spg_group *group = spg_group_new(0), *canceled = spg_group_new(0);
	struct server *server = arg;

	for (int i = 0; i < 20; i++) {
		T_EQ(spg_group_go(group, resolve_expired, NULL), 0);
		T_EQ(spg_group_go(canceled, resolve_canceled, NULL), 0);
	}
	T_EQ(spg_group_wait(group), 0);
	spg_group_cancel(canceled);
	(void)spg_group_wait(canceled);
	opts.timeout_ns = 10 * SPG_MS;
	T_EQ(spg_dial("tcp", "nobody-answers.test:80", &opts), -ETIMEDOUT);
	{
		SPG_TIMEOUT_SCOPE(10 * SPG_MS);
		T_EQ(spg_listen("tcp", "nobody-answers.test:80", NULL), -ETIMEDOUT);
	}
	atomic_store(&server->speaks, true);
	spg_group_free(group);
	spg_group_free(canceled);
	return 0;
}

START_TEST(a_silent_name_server_holds_nobody)
{
	struct server server;

	if (!alone())
		T_SKIP("only root may have a network of its own");
	server_start(&server);
	replace_file("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:25 attempts:1\n");
	replace_file("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n");
	t_run((unsigned)_i, without_answer, &server);
	atomic_store(&server.stop, true);
	T_EQ(pthread_join(server.thread, NULL), 0);
	close(server.fd);
}
END_TEST

/* Goal: a shielded caller is not disturbed by its context. */
static int shielded(void *arg)
{
	spg_ctx *ctx = spg_ctx_new(NULL), *before = spg_ctx_enter(ctx);
	struct addrinfo *list;

	(void)arg;
	spg_ctx_cancel(ctx);
	T_EQ(spg_resolve("localhost", "80", NULL, &list), -ECANCELED);
	{
		SPG_SHIELD_SCOPE();
		T_EQ(spg_resolve("localhost", "80", NULL, &list), 0);
		freeaddrinfo(list);
	}
	spg_ctx_leave(before);
	spg_ctx_unref(ctx);
	return 0;
}

START_TEST(a_shield_covers_the_question)
{
	t_run((unsigned)_i, shielded, NULL);
}
END_TEST

T_MAIN(T_SHARDS(many_names_at_once), T_SHARDS(names_come_from_the_systems_files),
       T_SHARDS(a_silent_name_server_holds_nobody), T_SHARDS(a_shield_covers_the_question))
