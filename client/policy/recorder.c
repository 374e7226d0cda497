/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/recorder.h"

static void plan(void *ctx, const struct policy_fault *f, struct policy_plan *p)
{
	const struct recorder *r = ctx;

	if (f->kind == POLICY_ZERO)
		r->below->plan(r->below_ctx, f, p);
	else
		r->note(r->note_ctx, f->space, f->va);
}

static void unused(void *ctx, space_id space, uint64_t va)
{
	const struct recorder *r = ctx;

	r->below->unused(r->below_ctx, space, va);
}

static bool evict(void *ctx, struct policy_chunk *pc)
{
	const struct recorder *r = ctx;

	return r->below->evict(r->below_ctx, pc);
}

const struct policy_ops policy_recorder = {
	.name = "recorder",
	.plan = plan,
	.unused = unused,
	.evict = evict,
};
