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
					.stride = PAGE_BYTES,
					.nr = READAHEAD_PAGES,
					.marker = POLICY_NO_MARKER};
}

const struct policy_ops policy_readahead = {
	.name = "readahead",
	.plan = plan,
};
