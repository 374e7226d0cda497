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
	void *area; /* what was reserved around them */
	size_t area_bytes;
	uint64_t top;	 /* slots from here on have no memory yet, as far as is known */
	uint64_t tried;	 /* below this one no huge page is tried any more */
	uint64_t pause;	 /* huge pages that were passed over after the last one */
	uint64_t new_ns; /* what the first write of a slot takes, lately; 0: not known */
	struct store_done done[MAPPED_MAX_DONE];
	unsigned int head, tail; /* run freely; head - tail is the number held */
};

/* Address space for the slots, where huge pages fit: sets base. 0; -ENOMEM. */
int mapped_reserve(struct mapped *m) __attribute__((warn_unused_result));

/* Gives it back, with what is mapped there, if there is any. */
void mapped_release(struct mapped *m);

/*
 * Memory for the new slot and all up to 2 MiB beside it at once: 0.2 us for each, and none for
 * a fault; and whatever is read here later misses the TLB less. MADV_COLLAPSE (Linux 6.1) does
 * it whatever shmem_enabled says, short of "deny". Where memory has to be moved about for it, or
 * be found by the host of a guest page by page, which takes 4 ms, there are few, since whoever
 * faults waits meanwhile; but where first looks at pages are dear (first_look.h) that is worth it.
 * True: it was done, and top is beyond the slot now.
 */
bool mapped_make_huge(struct mapped *m, uint64_t slot);

/* First writes of @nr slots, since @since_ns (store_now_ns()): for new_ns. */
void mapped_note_new(struct mapped *m, unsigned int nr, uint64_t since_ns);

/* How many of the requests were done. */
unsigned int mapped_submit(struct mapped *m, const struct store_req *req, unsigned int nr);

/* Room for completions, and one of a request that was done otherwise. */
unsigned int mapped_room(const struct mapped *m);
void mapped_done(struct mapped *m, const struct store_req *req, int res);

unsigned int mapped_reap(struct mapped *m, struct store_done *out, unsigned int max);

#endif
