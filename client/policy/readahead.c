/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/readahead.h"

static void plan(void *ctx, const struct policy_fault *f, struct policy_plan *p)
{
	(void)ctx;
	if (f->kind == POLICY_ZERO) {
		p->zeros = READAHEAD_PAGES - 1;
		return;
	}
	if (f->kind != POLICY_FETCH)
		return;
	p->nr_runs = 1;
	p->run[0] = (struct policy_run){.va = f->va & ~(READAHEAD_PAGES * PAGE_BYTES - 1),
					.stride = 1,
					.nr = READAHEAD_PAGES,
					.marker = POLICY_NO_MARKER};
}

static void unused(void *ctx, space_id space, uint64_t va)
{
	(void)ctx;
	(void)space;
	(void)va;
}

static void came(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		 unsigned int idx, unsigned int nr, enum policy_way way)
{
	(void)ctx;
	(void)room;
	(void)pc;
	(void)idx;
	(void)nr;
	(void)way;
}

static bool leave(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		  const pageset *young, pageset *set)
{
	(void)ctx;
	(void)room;
	(void)pc;
	(void)young;
	(void)set;
	return false;
}

static void forget(void *ctx, const struct policy_chunk *pc)
{
	(void)ctx;
	(void)pc;
}

const struct policy_ops policy_readahead = {
	.name = "readahead",
	.plan = plan,
	.unused = unused,
	.came = came,
	.leave = leave,
	.forget = forget,
};
