/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/rdma_lane.h"

#include <assert.h>
#include <string.h>

#define URGENT_MAX_RUN 4  /* the thread that waits for the first waits for all of them */
#define BULK_MAX_RUN   16 /* 64 KiB: more does not make it faster */

uint32_t rlane_pages(enum rdma_lane_name name)
{
	return name == RDMA_URGENT ? RDMA_URGENT_DEPTH : RDMA_BULK_DEPTH;
}

void rlane_init(struct rlane *l, const struct rdma_session *s, enum rdma_lane_name name,
		char *staging, struct verbs_region *region, struct rlane_done *done)
{
	*l = (struct rlane){.session = s,
			    .done = done,
			    .region = region,
			    .name = name,
			    .staging = staging,
			    .nr_pages = rlane_pages(name),
			    .max_run = name == RDMA_URGENT ? URGENT_MAX_RUN : BULK_MAX_RUN};
}

static char *staging_of(const struct rlane *l, uint32_t page)
{
	return l->staging + (uint64_t)(page % l->nr_pages) * PAGE_BYTES;
}

static uint64_t pages_a_slab(const struct rlane *l)
{
	return l->session->welcome.slab_bytes / PAGE_BYTES;
}

/* One stretch of one slab at the one end, one of the staging arena at the other. */
static bool joins(const struct rlane *l, const struct rlane_run *run, const struct store_req *req)
{
	return run->op == req->op && run->slot + run->nr_pages == req->slot &&
	       run->nr_pages < l->max_run && req->slot % pages_a_slab(l) != 0 &&
	       l->page_head % l->nr_pages != 0;
}

bool rlane_add(struct rlane *l, const struct store_req *req)
{
	struct rlane_run *run = &l->run[(l->run_head - 1) % l->nr_pages];

	if (l->page_head - l->page_tail == l->nr_pages)
		return false;
	if (l->run_head == l->run_posted || !joins(l, run, req)) {
		run = &l->run[l->run_head++ % l->nr_pages];
		*run = (struct rlane_run){.slot = req->slot, .page = l->page_head, .op = req->op};
	}
	run->nr_pages++;
	l->page[l->page_head % l->nr_pages] = (struct rlane_page){.buf = req->buf, .tag = req->tag};
	if (req->op == STORE_WRITE)
		memcpy(staging_of(l, l->page_head), req->buf, PAGE_BYTES);
	l->page_head++;
	return true;
}

static struct verbs_op op_of(const struct rlane *l, const struct rlane_run *run)
{
	const struct rdma_slab *slab = &l->session->slab[run->slot / pages_a_slab(l)];

	return (struct verbs_op){.is_write = run->op == STORE_WRITE,
				 .local = staging_of(l, run->page),
				 .bytes = run->nr_pages * (uint32_t)PAGE_BYTES,
				 .remote = slab->address + run->slot % pages_a_slab(l) * PAGE_BYTES,
				 .key = slab->key[l->name],
				 .id = (uint64_t)(run - l->run)};
}

int rlane_post(struct rlane *l, uint64_t now_ns)
{
	struct verbs_op op[RLANE_MAX_PAGES];
	unsigned int nr = 0;

	for (; l->run_posted != l->run_head; l->run_posted++) {
		struct rlane_run *run = &l->run[l->run_posted % l->nr_pages];

		if (run->is_done)
			continue; /* on the connection before */
		run->posted_ns = now_ns;
		op[nr++] = op_of(l, run);
	}
	return nr ? verbs_post(l->session->conn[l->name], l->region, op, nr) : 0;
}

void rlane_again(struct rlane *l)
{
	l->run_posted = l->run_tail;
}

static void hand_over(const struct rlane *l, const struct rlane_run *run)
{
	struct rlane_done *d = l->done;

	for (uint32_t i = 0; i < run->nr_pages; i++) {
		const struct rlane_page *p = &l->page[(run->page + i) % l->nr_pages];

		if (run->op == STORE_READ)
			memcpy(p->buf, staging_of(l, run->page + i), PAGE_BYTES);
		d->done[d->head++ % RLANE_MAX_DONE] = (struct store_done){.tag = p->tag};
	}
}

uint64_t rlane_finish(struct rlane *l, uint64_t id)
{
	struct rlane_run *run = &l->run[id];

	assert(id < l->nr_pages && !run->is_done);
	hand_over(l, run);
	run->is_done = true;
	while (l->run_tail != l->run_head && l->run[l->run_tail % l->nr_pages].is_done) {
		l->page_tail += l->run[l->run_tail % l->nr_pages].nr_pages;
		l->run_tail++;
	}
	return run->posted_ns;
}
