#include "io/features.h"
#include "runtime/config.h"

#include <spg/features.h>
#include <spg/runtime.h>

#include <string.h>

struct view {
	struct spg__features kernel, allowed;
	const struct spg__features *running; /* or NULL */
	int ring_err;
	bool sqpoll;
};

/* Features that exclude or need another. NULL: nothing stands in the way. */
static const char *obstacle(const struct view *v, const char *name)
{
	bool single = v->kernel.single_issuer && v->allowed.single_issuer;
	bool coop = v->kernel.coop_taskrun && v->allowed.coop_taskrun;
	bool flag = v->kernel.taskrun_flag && v->allowed.taskrun_flag;
	bool defer = v->kernel.defer_taskrun && v->allowed.defer_taskrun && single && flag;

	if (strcmp(name, "sqpoll") == 0)
		return v->sqpoll ? NULL : "sqpoll_idle_ms is 0";
	if (v->sqpoll && (strcmp(name, "coop_taskrun") == 0 || strcmp(name, "taskrun_flag") == 0 ||
			  strcmp(name, "defer_taskrun") == 0))
		return "sqpoll excludes it";
	if (strcmp(name, "defer_taskrun") == 0 && !single)
		return "it needs single_issuer";
	if (strcmp(name, "defer_taskrun") == 0 && !flag)
		return "it needs taskrun_flag";
	if (strcmp(name, "taskrun_flag") == 0 && !coop && !defer)
		return "it needs coop_taskrun or defer_taskrun";
	if (strcmp(name, "send_msg_ring") == 0 && !(v->kernel.msg_ring && v->allowed.msg_ring))
		return "it needs msg_ring";
	return NULL;
}

static void describe(const struct view *v, unsigned index, spg_feature *out)
{
	struct spg__feature kernel = { 0 }, allowed = { 0 }, running = { 0 };
	const char *why;

	(void)spg__feature_at(&v->kernel, index, &kernel);
	(void)spg__feature_at(&v->allowed, index, &allowed);
	why = obstacle(v, kernel.name);
	if (!kernel.on)
		why = v->ring_err < 0 && index == 0 ? spg__features_explain(v->ring_err) : "the kernel has none";
	else if (!allowed.on)
		why = "named in SPG_DISABLE";
	else if (v->running != NULL && why == NULL) {
		(void)spg__feature_at(v->running, index, &running);
		why = running.on ? NULL : "named in the configuration's disable, or refused at the start";
	}
	*out = (spg_feature){
		.name = kernel.name,
		.what = kernel.what,
		.kernel = kernel.on,
		.used = why == NULL,
		.why = why != NULL ? why : "",
	};
}

int spg_features(spg_feature *features, size_t cap)
{
	struct spg__feature each;
	spg_config cfg;
	struct view v;
	const char *bad;
	unsigned n;

	if (features == NULL && cap > 0)
		return -EINVAL;
	spg_config_init(&cfg);
	v.running = spg_running() ? &spg__features : NULL;
	if (spg__features_parse(&v.allowed, cfg.disable, &bad) < 0)
		return -EINVAL;
	v.ring_err = spg__features_probe(&v.kernel);
	v.sqpoll = v.running != NULL ? v.running->sqpoll :
				       spg__config_sqpoll_idle_ms(&cfg) > 0 && v.kernel.sqpoll && v.allowed.sqpoll;
	for (n = 0; spg__feature_at(&v.kernel, n, &each); n++) {
		if (n < cap)
			describe(&v, n, &features[n]);
	}
	return (int)n;
}
