/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane: one queue pair of a store and the requests on it. Pages travel through a staging
 * arena that is registered once; the caller's memory never is. Neighbouring slots of the
 * same kind become one run, which is one read or write, until it is posted. Runs are done
 * in any order; their place is free when all before them are done:
 *
 *	page   [ tail .............................. head )  buffers, tags, staging
 *	run    [ tail ... posted ... not posted .... head )
 */
#ifndef RMEM_STORE_RDMA_LANE_H
#define RMEM_STORE_RDMA_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/core/store.h"
#include "client/store/rdma_session.h"

#define RLANE_MAX_PAGES RDMA_BULK_DEPTH /* a power of two */
#define RLANE_MAX_DONE	2048U		/* a power of two: of both lanes, twice and more */

struct rlane_page {
	void *buf;
	uint32_t tag;
};

struct rlane_run {
	uint64_t slot;
	uint64_t posted_ns;
	uint32_t page; /* its first, runs freely */
	uint32_t nr_pages;
	uint8_t op; /* enum store_op */
	bool is_done;
};

/* What was completed and not yet reaped. */
struct rlane_done {
	struct store_done done[RLANE_MAX_DONE];
	uint32_t head, tail; /* run freely */
};

struct rlane {
	const struct rdma_session *session;
	struct rlane_done *done;
	struct verbs_region *region;
	enum rdma_lane_name name;
	char *staging; /* nr_pages of them */
	uint32_t nr_pages, max_run;
	struct rlane_page page[RLANE_MAX_PAGES];
	uint32_t page_head, page_tail;
	struct rlane_run run[RLANE_MAX_PAGES];
	uint32_t run_head, run_posted, run_tail;
};

/* Of @staging, in @region, it takes rlane_pages(). All is borrowed. */
void rlane_init(struct rlane *l, const struct rdma_session *s, enum rdma_lane_name name,
		char *staging, struct verbs_region *region, struct rlane_done *done);
uint32_t rlane_pages(enum rdma_lane_name name);

/* False when it is full. */
bool rlane_add(struct rlane *l, const struct store_req *req);

/* Posts what was added, at @now_ns. 0 or -errno: the connection is broken then. */
int rlane_post(struct rlane *l, uint64_t now_ns) __attribute__((warn_unused_result));

/* Run @id of verbs_done is done, well. Returns when it was posted. */
uint64_t rlane_finish(struct rlane *l, uint64_t id);

/* What was posted is to be posted once more: the connection is another. */
void rlane_again(struct rlane *l);

static inline bool rlane_is_idle(const struct rlane *l)
{
	return l->run_head == l->run_tail;
}

#endif
