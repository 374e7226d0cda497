/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages in memory that is mapped here: a request is a memcpy, done at once;
 * its completion waits between submit() and reap(). Full, it takes no more
 * until some are reaped.
 */
#ifndef RMEM_STORE_MAPPED_H
#define RMEM_STORE_MAPPED_H

#include "client/core/store.h"

#define MAPPED_MAX_DONE 1024U /* a power of two */

struct mapped {
	char *base; /* slot i at base + i * PAGE_BYTES */
	uint64_t nr_slots;
	struct store_done done[MAPPED_MAX_DONE];
	unsigned int head, tail; /* run freely; head - tail is the number held */
};

/* How many of the requests were done. */
unsigned int mapped_submit(struct mapped *m, const struct store_req *req, unsigned int nr);

/* Room for completions, and one of a request that was done otherwise. */
unsigned int mapped_room(const struct mapped *m);
void mapped_done(struct mapped *m, const struct store_req *req, int res);

unsigned int mapped_reap(struct mapped *m, struct store_done *out, unsigned int max);

#endif
