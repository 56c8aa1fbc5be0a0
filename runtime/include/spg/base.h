/*
 * spg/base.h - what every header of spg uses: errors, units of time, types.
 *
 * Conventions. A function that can fail returns int or ssize_t: >= 0 success, a
 * negative errno on failure; constructors return NULL. Times are int64_t nanoseconds
 * on CLOCK_MONOTONIC. After any blocking call the caller may be on another thread:
 * hold no pthread lock and no pointer to a thread-local across one.
 */
#ifndef SPG_BASE_H
#define SPG_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SPG_API __attribute__((visibility("default")))
#define SPG_MUST_USE __attribute__((warn_unused_result))

#ifdef __cplusplus
#define SPG__EXTERN_C_BEGIN extern "C" {
#define SPG__EXTERN_C_END }
#else
#define SPG__EXTERN_C_BEGIN
#define SPG__EXTERN_C_END
#endif

#define SPG_US ((int64_t)1000)
#define SPG_MS ((int64_t)1000000)
#define SPG_SEC ((int64_t)1000000000)

SPG__EXTERN_C_BEGIN

/* A coroutine's function. */
typedef void (*spg_fn)(void *arg);

typedef struct spg_task spg_task;
typedef struct spg_chan spg_chan;
typedef struct spg_group spg_group;
typedef struct spg_timer spg_timer;
typedef struct spg_ticker spg_ticker;
/* A context of the cancellation tree (spg/ctx.h). */
typedef struct spg__ctx spg_ctx;

/**
 * spg_errno - libc's errno of the calling thread, now.
 *
 * A coroutine may resume on another thread, and compilers keep errno's address over a
 * blocking call; this reads it afresh. spg's own functions never report through errno.
 *
 * Return: errno.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: errno(3). Since: 0.1.
 */
SPG_API int spg_errno(void);

/**
 * spg_strerror - the text of a result.
 * @r: what a function of spg returned: a negative errno, or a success
 *
 * Return: a static string; "Success" for r >= 0, "Unknown error" for no errno.
 * Cancellation: none. Threads: any. Allocates: nothing. Source: strerror(3). Since: 0.1.
 */
SPG_API const char *spg_strerror(int r);

SPG__EXTERN_C_END

#endif
