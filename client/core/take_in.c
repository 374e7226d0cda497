/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent has moved to scratch is copied into frames and summed up, a few pages at
 * a time: a fault may wait.
 */
#include "client/core/internal.h"

/* So many are copied out and summed up in a run: fewer, when somebody waits. */
#define TAKE_PAGES   8U
#define TAKE_HURRIED 2U
#define TAKE_BY_ONE  16U /* where each may be the last, because somebody waits */

static bool is_zero(const void *page)
{
	const uint64_t *w = page;

	return !w[0] && !memcmp(w, w + 1, PAGE_BYTES - sizeof(*w));
}

static void slot_to_frame(struct rec *r, struct frame *f)
{
	f->slot = r->slot;
	f->has_slot = true;
	r->has_slot = 0;
	r->slot = 0;
}

/* The page's bytes are in its frame: zero, as the store has it, or new. */
static void take_in(struct core *c, struct chunk *ch, struct half *half, unsigned int idx)
{
	struct rec *r = chunk_rec(c, ch, idx);
	uint32_t i = (uint32_t)r->frame;
	struct frame *f = &c->frames[i];
	uint64_t sum;

	c->st->stats.pages_moved++;
	chunk_space(c, ch)->stats.pages_moved++;
	if (is_zero(frame_bytes(c, i))) {
		c->st->stats.pages_zero_elided++;
		rec_drop(c, ch, idx);
		return;
	}
	sum = c->b.env->sum(c->b.env_ctx, frame_bytes(c, i));
	if (r->has_slot && r->sum == sum && !slot_is_lost(c, r->slot)) {
		c->st->stats.pages_clean_elided++;
		if (!half->same)
			half->same = true;
		slot_to_frame(r, f);
		frame_clean_push(c, i);
	} else {
		if (r->has_slot && !half->changed)
			half->changed = true;
		if (r->has_slot && slot_may_be_rewritten(c, r->slot)) {
			slot_set_pending(c, r->slot, true);
			slot_to_frame(r, f);
		}
		rec_give_slot_up(c, r);
		r->sum = sum;
		frame_dirty_push(c, i);
	}
	rec_set(c, ch, idx, REC_STANDBY);
}

/* The page was guarded when it left: the store alone has it. What it has is believed when it
 * comes from there, and its sum is right. */
static void take_known(struct core *c, struct chunk *ch, unsigned int idx)
{
	struct rec *r = chunk_rec(c, ch, idx);

	c->st->stats.pages_moved++;
	c->st->stats.pages_clean_elided++;
	c->st->stats.pages_known++;
	chunk_space(c, ch)->stats.pages_moved++;
	frame_put(c, (uint32_t)r->frame);
	r->frame = 0;
	rec_set(c, ch, idx, REC_REMOTE);
}

/* The first @max members of @from. */
static pageset first_of(const pageset *from, unsigned int max)
{
	pageset out = {{0}};

	for (unsigned int i = pageset_next(from, 0); i < CHUNK_PAGES && max--;
	     i = pageset_next(from, i + 1))
		pageset_add(&out, i);
	return out;
}

void half_done(struct core *c, struct space *s, struct half *half, struct chunk *ch)
{
	c->b.capture->drop(c->b.capture_ctx, s->id, (unsigned int)(half - s->half));
	c->st->moving_pages -= half->taken;
	c->st->local_anon -= (int64_t)(half->taken * PAGE_BYTES);
	if (half->changed)
		ch->written = WRITTEN;
	else if (half->same && ch->written)
		ch->written--;
	*half = (struct half){0};
	c->st->nr_moved--;
	chunk_tidy(c, ch);
}

/* @some of what was moved, at most TAKE_PAGES; the rest another time, since a
 * fault may wait. */
static void take_some_in(struct core *c, struct space *s, struct half *half, pageset some)
{
	struct chunk *ch = at(c, half->chunk);
	void *frames[TAKE_PAGES];
	unsigned int nr = 0;
	int err = 0;

	for (unsigned int i = pageset_next(&some, 0); i < CHUNK_PAGES;
	     i = pageset_next(&some, i + 1)) {
		if (!pageset_has(&half->known, i))
			continue;
		pageset_del(&half->want, i);
		pageset_del(&some, i);
		take_known(c, ch, i);
		half->taken++;
	}
	for (unsigned int i = pageset_next(&some, 0); i < CHUNK_PAGES;
	     i = pageset_next(&some, i + 1))
		frames[nr++] = frame_bytes(c, (uint32_t)chunk_rec(c, ch, i)->frame);
	if (nr)
		err = c->b.capture->copy_out(c->b.capture_ctx, s->id,
					     (unsigned int)(half - s->half), &some, frames);
	for (unsigned int i = pageset_next(&some, 0); i < CHUNK_PAGES;
	     i = pageset_next(&some, i + 1)) {
		pageset_del(&half->want, i);
		if (err) { /* if the space is gone we shall hear of it; else its bytes are */
			rec_drop(c, ch, i);
			rec_set(c, ch, i, REC_LOST);
		} else {
			take_in(c, ch, half, i);
		}
	}
	if (err)
		c->st->moving_pages -= nr;
	else
		half->taken += nr;
	if (err && err != -ESRCH)
		core_lost(c, LOSS_SPACE, s->id, ch->va, err);
	if (!pageset_count(&half->want))
		half_done(c, s, half, ch);
}

void take_all_in(struct core *c, struct space *s)
{
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		while (s->half[h].moved && !c->st->lost) {
			take_some_in(c, s, &s->half[h], first_of(&s->half[h].want, TAKE_PAGES));
			core_commit(c);
		}
}

bool take_page_in(struct core *c, struct space *s, const struct chunk *ch, unsigned int idx)
{
	pageset one = {{0}};

	pageset_add(&one, idx);
	for (unsigned int h = 0; h < CORE_HALVES; h++) {
		struct half *half = &s->half[h];

		if (half->moved && half->chunk.v == ref_to(c, ch).v &&
		    pageset_has(&half->want, idx)) {
			take_some_in(c, s, half, one);
			return true;
		}
	}
	return false;
}

/* One by one where that costs no more, until somebody waits. */
static void take_turn(struct core *c, struct space *s, unsigned int h)
{
	const struct capture_ops *cap = c->b.capture;
	unsigned int left = c->st->nr_urgent ? TAKE_HURRIED : TAKE_PAGES, nr = left;
	struct half *half = &s->half[h];

	if (cap->at_hand && cap->at_hand(c->b.capture_ctx, s->id, h)) {
		nr = 1;
		left = c->st->nr_urgent ? TAKE_HURRIED : TAKE_BY_ONE;
	}
	for (; left && half->moved && !c->st->lost; left -= nr) {
		take_some_in(c, s, half, first_of(&half->want, nr));
		if (core_pressed(c))
			return;
	}
}

bool take_in_run(struct core *c)
{
	for (struct space *s = space_first(c); s && c->st->nr_moved; s = space_next(c, s))
		for (unsigned int h = 0; h < CORE_HALVES; h++)
			if (s->half[h].moved) {
				take_turn(c, s, h);
				return true;
			}
	return false;
}
