/*
 * Between the files of spg_serve.
 */
#ifndef SPG__NET_SERVE_H
#define SPG__NET_SERVE_H

#include <spg/spg.h>

/* spg_serve with a listener for each shard. listen_fd listens; o is not NULL. */
int spg__serve_shards(int listen_fd, void (*handler)(int fd, void *arg), void *arg, const spg_serve_opts *o);

#endif
