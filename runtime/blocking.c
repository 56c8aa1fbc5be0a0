#include "sched/offload.h"

#include <spg/call.h>

struct blocking {
	void *(*fn)(void *);
	void *arg, *result;
};

static void run(void *arg)
{
	struct blocking *call = arg;

	call->result = call->fn(call->arg);
}

int spg_blocking(void *(*fn)(void *), void *arg, void **result)
{
	struct blocking call = { .fn = fn, .arg = arg };
	int err;

	if (fn == NULL)
		return -EINVAL;
	err = spg__offload_bounded(run, &call);
	if (err == 0 && result != NULL)
		*result = call.result;
	return err;
}
