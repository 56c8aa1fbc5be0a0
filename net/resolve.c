/*
 * Names to addresses, by libc's resolver: it honours /etc/hosts and nsswitch. It blocks,
 * so it runs on the blocking pool; numbers are answered here.
 *
 * Nothing ends libc's resolver, and a silent name server holds it for many seconds. So a
 * coroutine of its own waits for it, and the caller waits for that coroutine: a caller whose
 * context ends goes, and leaves the question, which has a copy of all that it needs.
 */
#include "net/addr.h"

#include "coro/alloc.h"
#include "sched/offload.h"

#include <netdb.h>
#include <spg/chan.h>
#include <spg/ctx.h>
#include <spg/go.h>
#include <spg/net.h>
#include <stdatomic.h>
#include <string.h>

struct lookup {
	const char *host, *service;
	const struct addrinfo *hints;
	struct addrinfo *found;
	int code, err;
};

static void look_up(struct lookup *l, const struct addrinfo *hints)
{
	errno = 0;
	l->code = getaddrinfo(l->host, l->service, hints, &l->found);
	l->err = errno;
}

/* gai_strerror(3)'s codes as errno. */
static int result(const struct lookup *l)
{
	switch (l->code) {
	case 0:
		return 0;
	case EAI_NONAME: /* no such name, or no such service */
#ifdef EAI_NODATA
	case EAI_NODATA:
#endif
		return -ENOENT;
	case EAI_AGAIN: /* the name server did not answer */
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return l->err != 0 ? -l->err : -EIO;
	case EAI_FAIL: /* the name server failed for good */
		return -EIO;
	default: /* EAI_BADFLAGS, EAI_FAMILY, EAI_SOCKTYPE, EAI_SERVICE: what was asked for cannot be */
		return -EINVAL;
	}
}

static void look_up_blocking(void *arg)
{
	struct lookup *l = arg;

	look_up(l, l->hints);
}

/* Of the caller and of the coroutine that asks. */
struct question {
	struct lookup lookup;
	struct addrinfo hints;
	spg_chan *done; /* closed when `err` stands */
	_Atomic int refs;
	int err;
	char text[]; /* host and service */
};

static void question_unref(struct question *q)
{
	/* acq_rel: the last one sees what the other wrote. */
	if (atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) > 1)
		return;
	if (q->lookup.found != NULL)
		freeaddrinfo(q->lookup.found);
	spg_chan_unref(q->done);
	spg__free(q);
}

static const char *copy_text(char **to, const char *text)
{
	const char *copy = *to;

	if (text == NULL)
		return NULL;
	strcpy(*to, text);
	*to += strlen(text) + 1;
	return copy;
}

static struct question *question_new(const struct lookup *l)
{
	size_t bytes = (l->host != NULL ? strlen(l->host) + 1 : 0) + (l->service != NULL ? strlen(l->service) + 1 : 0);
	struct question *q = spg__calloc(1, sizeof(*q) + bytes);
	char *to;

	if (q == NULL)
		return NULL;
	q->done = spg_chan_new(0, 0);
	if (q->done == NULL) {
		spg__free(q);
		return NULL;
	}
	to = q->text;
	q->lookup.host = copy_text(&to, l->host);
	q->lookup.service = copy_text(&to, l->service);
	if (l->hints != NULL) {
		q->hints = *l->hints;
		q->lookup.hints = &q->hints;
	}
	atomic_store_explicit(&q->refs, 2, memory_order_relaxed); /* the spawn orders it */
	return q;
}

static void ask(void *arg)
{
	struct question *q = arg;
	/* The caller's context is the caller's affair: it may be in a shield. */
	SPG_SHIELD_SCOPE();

	/* relaxed: a hint. Nobody waits for the answer any more. */
	if (atomic_load_explicit(&q->refs, memory_order_relaxed) > 1)
		q->err = spg__offload(look_up_blocking, &q->lookup);
	(void)spg_chan_close(q->done);
	question_unref(q);
}

/* Looks it up elsewhere; the end of the caller's context ends the wait only. */
static int look_up_elsewhere(struct lookup *l)
{
	spg_attr attr = SPG_ATTR_INIT;
	struct question *q = question_new(l);
	int err;

	if (q == NULL)
		return -ENOMEM;
	attr.name = "spg_resolve";
	err = spg_go_attr(&attr, ask, q);
	if (err < 0) {
		question_unref(q);
		question_unref(q);
		/* On a thread without a runtime, which may wait, or too many coroutines: here. */
		return err == -ENOMEM ? err : spg__offload(look_up_blocking, l);
	}
	err = spg_chan_recv(q->done, NULL);
	if (err == -EPIPE) {
		err = q->err;
		l->code = q->lookup.code;
		l->err = q->lookup.err;
		l->found = q->lookup.found;
		q->lookup.found = NULL;
	}
	question_unref(q);
	return err;
}

int spg_resolve(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	struct addrinfo numeric = hints != NULL ? *hints : (struct addrinfo){ .ai_family = AF_UNSPEC };
	struct lookup l = { .host = host, .service = service, .hints = hints };
	int err;

	if (out == NULL || (host == NULL && service == NULL))
		return -EINVAL;
	/* A number needs no look-up, and no thread; with a service by name it is one more file. */
	numeric.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
	look_up(&l, &numeric);
	if (l.code == EAI_NONAME) {
		err = look_up_elsewhere(&l);
		if (err < 0)
			return err;
	}
	err = result(&l);
	if (err == 0)
		*out = l.found;
	return err;
}

int spg__endpoint_resolve(const struct spg__endpoint *endpoint, enum spg__addr_use use,
			  struct spg__addr *out, size_t max)
{
	struct addrinfo hints = { .ai_family = endpoint->network.family, .ai_socktype = endpoint->network.type };
	char host[SPG__HOST_BYTES_MAX + 1];
	struct addrinfo *list;
	int err, n = 0;

	SPG_CHECK(endpoint->host_len <= SPG__HOST_BYTES_MAX);
	memcpy(host, endpoint->host, endpoint->host_len);
	host[endpoint->host_len] = '\0';
	if (use == SPG__ADDR_LISTEN)
		hints.ai_flags = AI_PASSIVE;
	err = spg_resolve(endpoint->host_len > 0 ? host : NULL, endpoint->service, &hints, &list);
	if (err < 0)
		return err;
	for (struct addrinfo *info = list; info != NULL && (size_t)n < max; info = info->ai_next) {
		if (info->ai_addrlen > sizeof(out[n].in6))
			continue; /* of a family that the network does not have */
		out[n] = (struct spg__addr){ .len = info->ai_addrlen };
		memcpy(&out[n++].sa, info->ai_addr, info->ai_addrlen);
	}
	freeaddrinfo(list);
	return n > 0 ? n : -ENOENT;
}
