/*
 * spg/features.h - what the running kernel offers, and what of it is used.
 */
#ifndef SPG_FEATURES_H
#define SPG_FEATURES_H

#include <spg/base.h>

SPG__EXTERN_C_BEGIN

/* One feature of the kernel. The strings are static. */
typedef struct spg_feature {
	const char *name; /* what SPG_DISABLE calls it; "op:..." are operations of the ring */
	const char *what; /* what it is for, and since which kernel */
	bool kernel;	  /* the kernel has it, and lets this process have it */
	bool used;	  /* the running runtime uses it; else one started now would */
	const char *why;  /* why not; "" if it is used */
} spg_feature;

/**
 * spg_features - ask the kernel what it offers.
 * @features: receives the first cap of them; the first one is io_uring itself
 * @cap:      elements
 *
 * Each is tried, in some milliseconds, by rings that are closed again. Without a running
 * runtime `used` is about one with the configuration of spg_config_init.
 *
 * Return: how many there are, which may be more than cap, or
 *   -EINVAL  features is NULL and cap is not 0, or a bad SPG_DISABLE
 * Cancellation: none. Threads: any, but not beside spg_run, spg_start or spg_stop.
 * Allocates: nothing that stays. Source: io_uring_setup(2), io_uring_register(2). Since: 0.1.
 */
SPG_API int spg_features(spg_feature *features, size_t cap);

SPG__EXTERN_C_END

#endif
