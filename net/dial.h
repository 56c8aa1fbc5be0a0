/*
 * Connecting to one of several addresses, as RFC 8305 section 5 says ("Happy Eyeballs"):
 * one attempt after another, each with a head start on the next, the first to connect
 * wins.
 *
 * D1  No attempt outlives the call: the winner is returned, everything else is
 *     canceled, waited for and closed, also when the caller's context ended.
 * D2  A connection that was made counts, even if the context ended meanwhile.
 */
#ifndef SPG__NET_DIAL_H
#define SPG__NET_DIAL_H

#include "net/addr.h"

#include <spg/spg.h>

/* What every attempt of a call has in common. Read only. */
struct spg__dial {
	struct spg__network network;
	const spg_dial_opts *opts;
	/* Where from; count 0: the kernel chooses. */
	struct spg__addr local[SPG__ADDRS_NUMERIC_MAX];
	unsigned local_count;
};

/* 0; -EINVAL: a bad option; -EINVAL or -ENODEV: opts->local is bad text for the network. */
int spg__dial_init(struct spg__dial *dial, const struct spg__network *network, const spg_dial_opts *opts);

/* RFC 8305, section 4: the families by turns; order within a family, and the first address, stay. */
void spg__addrs_interleave(struct spg__addr *addrs, size_t count);

/* The connected descriptor, the context's error, or why the first attempt that failed did. count >= 1. */
int spg__dial_addrs(const struct spg__dial *dial, const struct spg__addr *addrs, size_t count);

#endif
