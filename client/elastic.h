/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --local auto: how much a job may keep when nobody says. It takes what the host
 * can spare, gives back when others want it, and grows again when they don't.
 * Decisions only; whoever calls knows the host and the time.
 *
 *	available  |<---- margin ---->|<- 1/2 ->|
 *	           shrink at once      probe     grow, after a while
 *
 * Several jobs of one host know nothing of each other. They shrink by shares of what
 * they have and grow by equal steps, which ends with equal shares (Chiu and Jain,
 * 1989). So whoever waits for pages takes a small step now and then also where
 * nothing is to spare, and makes the others give their part.
 */
#ifndef RMEM_CLIENT_ELASTIC_H
#define RMEM_CLIENT_ELASTIC_H

#include <stdbool.h>
#include <stdint.h>

#include "common/meminfo.h"

#define ELASTIC_TICK_MS 100U

/* What is known at a tick. */
struct elastic_view {
	uint64_t now_ms;
	struct meminfo host;
	struct memstalls stalls;
	uint64_t cap, used; /* of the job, local */
	uint64_t least;	    /* the cap may be no lower */
	uint64_t refaults;  /* pages that the job had to wait for, so far */
};

/* Zeroed is ready. */
struct elastic {
	uint64_t wanted_ms; /* when others last wanted memory */
	uint64_t grown_ms;
	uint64_t refaults; /* when it last grew, or could have */
	struct memstalls stalls;
	uint64_t ticks;
	uint64_t left;	       /* available and used at the last tick */
	unsigned int insisted; /* ticks in a row in which others wanted it */
};

/* What stays free for others to begin with: a twentieth of all memory, between
 * 256 MiB and 4 GiB, and at most an eighth. */
uint64_t elastic_margin(uint64_t total_bytes);

/* How low the cap may be: what the servers have no room for stays here, and there
 * should be some room left. @least: without regard to that; @all: local and remote. */
uint64_t elastic_least(uint64_t least, uint64_t all_bytes, uint64_t remote_cap_bytes);

/* The cap from now on; to be asked every ELASTIC_TICK_MS. */
uint64_t elastic_cap(struct elastic *e, const struct elastic_view *v);

#endif
