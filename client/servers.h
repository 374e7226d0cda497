/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers of a run: how much each of them is to keep, one store of them all, and others
 * that come while the job runs. Each has nodes of its own to hand over (handover.h):
 *
 *	[pool][those of the first server][those of the second] ... [of one that came] ...
 *
 * With one server the pool is none, until another comes.
 */
#ifndef RMEM_CLIENT_SERVERS_H
#define RMEM_CLIENT_SERVERS_H

#include "client/run.h"
#include "client/store/open.h"

/* Those that came, in shared memory. */
struct servers_joined {
	uint32_t nr; /* the last word on it */
	struct {
		char spec[SPEC_MAX_CHARS + 1];
		uint64_t bytes;
	} server[RUN_MAX_SERVERS];
};

/* What the servers named can hold together; UINT64_MAX unless each has a size=. */
uint64_t servers_capacity(const struct run_config *cfg);

/* Opens what the configuration names, or the private server behind @sock_fd (taken), and all
 * that came. @nodes: HANDOVER_NODES of them, what stores leave to the next process, or have
 * left. 0 and returns owned; -errno with err text. */
int servers_open(const struct run_config *cfg, int sock_fd, const struct servers_joined *joined,
		 struct handover *nodes, struct store **out) __attribute__((warn_unused_result));

/*
 * Opens @spec for @bytes and makes it the last part of *@store, which becomes a pool if it is
 * none. Whoever watches its descriptor watches another one afterwards. The caller's thread
 * waits for it. 0; -errno with err text, and nothing is changed.
 */
int servers_join(const struct run_config *cfg, const char *spec, uint64_t bytes,
		 struct servers_joined *joined, struct handover *nodes, struct store **store)
	__attribute__((warn_unused_result));

/* Why another process can't go on with what the configuration names; "": it can. */
const char *servers_no_takeover(const struct run_config *cfg);

#endif
