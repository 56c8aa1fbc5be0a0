#include "tools/httpd/counters.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct counters total;

void counters_add(const struct counters *c)
{
	pthread_mutex_lock(&lock);
	total.connections += c->connections;
	total.rejected += c->rejected;
	total.requests += c->requests;
	total.bytes_sent += c->bytes_sent;
	for (int i = 0; i < 6; i++)
		total.answers[i] += c->answers[i];
	total.timeouts += c->timeouts;
	total.cut_short += c->cut_short;
	pthread_mutex_unlock(&lock);
}

void counters_print(FILE *out)
{
	pthread_mutex_lock(&lock);
	fprintf(out, "httpd: connections %ju, rejected %ju, requests %ju, 2xx %ju, 3xx %ju, 4xx %ju, 5xx %ju, "
		"bytes %ju, timeouts %ju, cut short %ju\n",
		(uintmax_t)total.connections, (uintmax_t)total.rejected, (uintmax_t)total.requests,
		(uintmax_t)total.answers[2], (uintmax_t)total.answers[3], (uintmax_t)total.answers[4],
		(uintmax_t)total.answers[5], (uintmax_t)total.bytes_sent, (uintmax_t)total.timeouts,
		(uintmax_t)total.cut_short);
	pthread_mutex_unlock(&lock);
}
