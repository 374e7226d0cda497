/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that are lost while the job goes on (on_loss_sigbus): it gets a signal where it
 * touches one. A part of the store that is gone takes with it what was there alone; what is
 * in a frame, or in the job, is not lost, and goes elsewhere when it leaves.
 */
#include "client/core/internal.h"

void page_lost(struct core *c, struct chunk *ch, unsigned int idx, enum core_loss why, int err)
{
	struct space *s = chunk_space(c, ch);
	uint64_t va = ch->va + idx * PAGE_BYTES;

	if (!c->st->cfg.on_loss_sigbus) {
		core_lost(c, why, s->id, va, err);
		return;
	}
	rec_drop(c, ch, idx);
	rec_set(c, ch, idx, REC_LOST);
	c->b.capture->poison(c->b.capture_ctx, s->id, va);
	c->b.capture->wake(c->b.capture_ctx, s->id, va, 1);
}

bool slot_is_lost(const struct core *c, uint64_t slot)
{
	return c->st->lost_parts && c->st->lost_parts >> slot_part(c, slot) & 1;
}

/* The page in the frame is asked for, and nobody will answer. */
static void lose_fetched(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];
	struct chunk *ch = at(c, f->chunk);

	if (f->submitted) {
		c->st->nr_fetching--;
		c->st->nr_urgent -= f->urgent;
		f->urgent = f->submitted = false;
	} else {
		frame_unlist(c, i);
	}
	f->state = FRAME_HELD;
	if (ch)
		page_lost(c, ch, f->idx, LOSS_STORE, -EPIPE);
	else
		frame_put(c, i);
}

/* The frame has the page: it is written to another slot, if anybody needs it. */
static void write_elsewhere(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];

	if (f->state == FRAME_WRITING)
		c->st->nr_writing--;
	else
		frame_unlist(c, i);
	slot_set_pending(c, f->slot, false);
	f->state = FRAME_HELD;
	if (f->chunk.v)
		frame_write_anew(c, i);
	else
		frame_put(c, i);
}

static void lose_part(struct core *c, unsigned int part)
{
	const struct store *store = c->b.store;
	struct state *st = c->st;

	st->lost_parts |= 1U << part;
	st->nr_draining -= st->stats.part[part] == PART_DRAINS;
	if (st->stats.part[part] == PART_OPEN)
		slots_close(c, part ? store->part_end[part - 1] : 0, store->part_end[part]);
	st->stats.part[part] = PART_LOST;
	for (uint32_t i = 0; i < st->cfg.nr_frames; i++) {
		struct frame *f = &c->frames[i];

		if (!f->has_slot || f->state == FRAME_FREE || f->state == FRAME_HELD ||
		    slot_part(c, f->slot) != part)
			continue;
		if (f->state == FRAME_FETCHING)
			lose_fetched(c, i);
		else
			write_elsewhere(c, i);
	}
}

uint64_t core_pages_lost(const struct core *c, unsigned int part)
{
	uint64_t nr = 0;

	for (uint32_t b = 0; b < HASH_BUCKETS; b++)
		for (ref r = c->st->chunk_hash[b]; r.v; r = ((struct chunk *)at(c, r))->hash_next) {
			const struct chunk *ch = at(c, r);

			for (unsigned int i = 0; i < CHUNK_PAGES && ch->nr_recs; i++) {
				const struct rec *rec = chunk_rec(c, ch, i);

				nr += rec->state == REC_REMOTE && slot_part(c, rec->slot) == part;
			}
		}
	return nr;
}

void parts_look(struct core *c)
{
	uint32_t gone = c->b.store->gone_parts & ~c->st->lost_parts;

	for (unsigned int part = 0; gone >> part && !c->st->lost; part++)
		if (gone >> part & 1 && c->st->stats.part[part] != PART_LEFT)
			lose_part(c, part);
}
