/* SPDX-License-Identifier: Apache-2.0 */
/* A space is forked: its child has the ranges and the records, and shares the slots. */
#include "client/core/internal.h"

/*
 * What the child has of a page is what the parent had when the kernel copied
 * the page tables; every fill of the parent since then was refused, so that
 * is what the records say now.
 */
static void inherit_rec(struct core *c, const struct rec *from, struct rec *to)
{
	uint64_t slot = from->slot;

	to->sum = from->sum;
	if (from->state == REC_STANDBY) {
		struct frame *f = &c->frames[from->frame];

		if (!f->has_slot) {
			assert(f->state == FRAME_DIRTY);
			f->slot = slot_get(c);
			if (f->slot == NO_SLOT) {
				core_lost(c, LOSS_FULL, (space_id){0}, 0, -ENOSPC);
				return;
			}
			f->has_slot = true;
			slot_set_pending(c, f->slot, true);
		}
		slot = f->slot;
	}
	slot_share(c, slot);
	to->slot = slot;
	to->has_slot = 1;
}

static bool inherit_chunk(struct core *c, struct space *child, const struct chunk *from)
{
	struct chunk *to;

	if (!from->nr_recs)
		return true;
	to = chunk_make(c, child, from->va);
	if (!to || !chunk_need_table(c, to))
		return false;
	for (unsigned i = 0; i < CHUNK_PAGES && !c->st->lost; i++) {
		const struct rec *r = chunk_rec(c, from, i);

		assert(r->state != REC_MOVING);
		if (r->state == REC_NONE || !ranges_has(c, child, from->va + i * PAGE_BYTES))
			continue;
		if (r->state != REC_LOST)
			inherit_rec(c, r, chunk_rec(c, to, i));
		rec_set(c, to, i,
			r->state == REC_LOST || r->state == REC_RESIDENT ? (enum rec_state)r->state
									 : REC_REMOTE);
	}
	chunk_tidy(c, to);
	return !c->st->lost;
}

void core_not_inherited(struct core *c, uint64_t start, uint64_t end)
{
	assert(c->heir);
	ranges_del(c, c->heir, start, end);
}

static bool inherit_ranges(struct core *c, struct space *parent, struct space *child)
{
	int err;

	for (uint32_t i = 0; i < parent->nr_ranges; i++) {
		struct core_range r = ((struct core_range *)at(c, parent->ranges))[i];

		if (!ranges_add(c, child, r.start, r.end))
			return false;
	}
	c->heir = child;
	err = c->b.capture->not_inherited(c->b.capture_ctx, parent->id, child->id);
	c->heir = NULL;
	if (err && err != -ESRCH)
		core_lost(c, LOSS_SPACE, parent->id, 0, err);
	return !err;
}

/* Whatever is there may be guarded from now on because it is shared, and a write to it takes
 * room: that it is guarded says no longer that it is as the store has it. */
static void forget_guarded(struct core *c, struct space *s)
{
	for (ref r = s->chunks; r.v;) {
		struct chunk *ch = at(c, r);

		r = ch->sib_next;
		for (unsigned int i = 0; i < CHUNK_PAGES && ch->nr_recs; i++)
			if (chunk_rec(c, ch, i)->guarded)
				chunk_rec(c, ch, i)->guarded = 0;
	}
}

void core_forked(struct core *c, space_id parent_id, space_id child_id)
{
	struct space *parent = space_find(c, parent_id), *child;
	uint64_t has;

	if (c->st->lost)
		return;
	if (parent && !parent->gone) {
		take_all_in(c, parent);
		forget_guarded(c, parent);
		parent->forked = true;
	}
	c->st->stats.events_fork++;
	assert(!space_find(c, child_id));
	child = space_make(c, child_id);
	if (!child || !parent || parent->gone || !inherit_ranges(c, parent, child))
		return;
	child->sweeping = child->nr_ranges > 0;
	child->forked = true;
	has = doubts_forked(c, parent, child);
	for (ref r = parent->chunks; r.v; r = ((struct chunk *)at(c, r))->sib_next)
		if (!inherit_chunk(c, child, at(c, r)))
			return;
	doubts_not_inherited(c, child, has);
}
