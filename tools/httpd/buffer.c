#include "tools/httpd/buffer.h"

#include <pthread.h>
#include <stdlib.h>

/* The last one given is the first one taken: it is warm. The lock is never held long. */
static struct {
	pthread_mutex_t lock;
	size_t count;
	char *free[BUFFERS_KEPT];
} buffers = { .lock = PTHREAD_MUTEX_INITIALIZER };

char *buffer_take(void)
{
	char *buffer = NULL;

	pthread_mutex_lock(&buffers.lock);
	if (buffers.count > 0)
		buffer = buffers.free[--buffers.count];
	pthread_mutex_unlock(&buffers.lock);
	return buffer != NULL ? buffer : malloc(BUFFER_BYTES);
}

void buffer_give(char *buffer)
{
	pthread_mutex_lock(&buffers.lock);
	if (buffer != NULL && buffers.count < BUFFERS_KEPT) {
		buffers.free[buffers.count++] = buffer;
		buffer = NULL;
	}
	pthread_mutex_unlock(&buffers.lock);
	free(buffer);
}

void buffers_fini(void)
{
	while (buffers.count > 0)
		free(buffers.free[--buffers.count]);
}
