/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --local auto: how much a job may keep when nobody says. It takes what the host
 * can spare, gives back when others want it, and grows again when they don't.
 * Decisions only; whoever calls knows the host and the time.
 *
 *	available  |<---- margin ---->|<- 1/2 ->|
 *	           shrink at once      leave     grow, after a while
 */
#ifndef RMEM_CLIENT_ELASTIC_H
#define RMEM_CLIENT_ELASTIC_H

#include <stdbool.h>
#include <stdint.h>

#include "client/meminfo.h"

#define ELASTIC_TICK_MS 100U

/* Zeroed is ready. */
struct elastic {
	uint64_t wanted_ms; /* when others last wanted memory */
	uint64_t grown_ms;
};

/* What stays free for others to begin with: a twentieth of all memory, between
 * 256 MiB and 4 GiB. */
uint64_t elastic_margin(uint64_t total_bytes);

/* How low the cap may be: what the servers have no room for stays here, and there
 * should be some room left. @least: without regard to that; @all: local and remote. */
uint64_t elastic_least(uint64_t least, uint64_t all_bytes, uint64_t remote_cap_bytes);

/* The cap from now on; to be asked every ELASTIC_TICK_MS. @used: what is local
 * now; @least: no lower than that. */
uint64_t elastic_cap(struct elastic *e, uint64_t now_ms, const struct meminfo *host, uint64_t cap,
		     uint64_t used, uint64_t least);

#endif
