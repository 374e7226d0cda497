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

	policy_unused(r->below, r->below_ctx, space, va);
}

static void came(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		 unsigned int idx, unsigned int nr, enum policy_way way)
{
	struct recorder *r = ctx;

	policy_came(r->below, r->below_ctx, room, pc, idx, nr, way);
}

static bool leave(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		  const pageset *young, pageset *set)
{
	struct recorder *r = ctx;

	return policy_leave(r->below, r->below_ctx, room, pc, young, set);
}

static void forget(void *ctx, const struct policy_chunk *pc)
{
	struct recorder *r = ctx;

	policy_forget(r->below, r->below_ctx, pc);
}

const struct policy_ops policy_recorder = {
	.name = "recorder",
	.plan = plan,
	.unused = unused,
	.came = came,
	.leave = leave,
	.forget = forget,
};
