/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/streams.h"

#define WINDOW_FETCH 32U
#define WINDOW_ZERO  511U

static struct stream *lookup(struct streams *all, const struct policy_fault *f)
{
	struct stream *oldest = &all->stream[0];

	for (unsigned int i = 0; i < STREAMS; i++) {
		struct stream *s = &all->stream[i];

		if (s->space.v == f->space.v && s->next_va == f->va)
			return s;
		if ((int32_t)(s->used - oldest->used) < 0)
			oldest = s;
	}
	*oldest = (struct stream){.space = f->space};
	return oldest;
}

static void plan(void *ctx, const struct policy_fault *f, struct policy_plan *p)
{
	struct streams *all = ctx;
	struct stream *s = lookup(all, f);
	uint32_t max = f->kind == POLICY_ZERO ? WINDOW_ZERO : WINDOW_FETCH;
	uint32_t room = CHUNK_PAGES - 1 - (uint32_t)(f->va >> PAGE_SHIFT) % CHUNK_PAGES;

	if (s->next_va)
		s->window = s->window ? s->window * 2 : 1;
	if (s->window > max)
		s->window = max;
	s->used = ++all->tick;
	if (s->window < room)
		room = s->window;
	s->next_va = f->va + (1 + room) * PAGE_BYTES;
	p->zeros = room;
	p->nr_runs = room != 0;
	p->run[0] = (struct policy_run){f->va + PAGE_BYTES, 1, room, POLICY_NO_MARKER};
}

static void unused(void *ctx, space_id space, uint64_t va)
{
	(void)ctx;
	(void)space;
	(void)va;
}

static bool evict(void *ctx, struct policy_chunk *pc)
{
	bool now = pc->soft_refaults < CHUNK_PAGES / 16;

	(void)ctx;
	pc->soft_refaults /= 2;
	return now;
}

const struct policy_ops policy_streams = {
	.name = "streams",
	.plan = plan,
	.unused = unused,
	.evict = evict,
};
