/*
 * Names to addresses, by libc's resolver: it honours /etc/hosts and nsswitch. It blocks,
 * so it runs on the blocking pool; numbers are answered here.
 */
#include "net/addr.h"

#include <netdb.h>
#include <spg/call.h>
#include <spg/net.h>
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

static void *look_up_blocking(void *arg)
{
	struct lookup *l = arg;

	look_up(l, l->hints);
	return NULL;
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
		err = spg_blocking(look_up_blocking, &l, NULL);
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
