/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that came early and that nobody waits for may be put in place by the space's agent,
 * beside whoever drives the core: it has pages to spare, which have just left, and moves
 * them where UFFDIO_COPY would have to find new ones. Until it answers they stand by as
 * before, but no fault on them is decided, nothing else is put there, and no message of the
 * space is read: what is late must not come to another mapping (docs/design.md, section 3).
 */
#include "client/core/internal.h"

#define PLACE_MOST 128U

bool chunk_placing(const struct core *c, const struct chunk *ch)
{
	const struct space *s = chunk_space(c, ch);

	return s->place.busy && s->place.chunk.v == ref_to(c, ch).v;
}

bool page_placing(const struct core *c, const struct chunk *ch, unsigned int idx)
{
	return chunk_placing(c, ch) && pageset_has(&chunk_space(c, ch)->place.want, idx);
}

static bool may_place(const struct core *c, const struct space *s, const struct chunk *ch,
		      unsigned int nr)
{
	return c->b.capture->place && nr <= PLACE_MOST && s->agent == AGENT_HERE &&
	       !s->place.busy && !s->nr_held && !unshare_pending(s) && !chunk_moving(c, ch) &&
	       cap_allows(c, s, 0, nr) && !c->st->lost;
}

/* Those of the frames that nobody waits for. */
static unsigned int unwaited(const struct core *c, const struct chunk *ch, const uint32_t *frame,
			     unsigned int nr, pageset *want, const void **bytes)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < nr; i++)
		if (!c->frames[frame[i]].waited)
			pageset_add(want, c->frames[frame[i]].idx);
	for (unsigned int i = pageset_next(want, 0); i < CHUNK_PAGES; i = pageset_next(want, i + 1))
		bytes[n++] = frame_page(c, (uint32_t)chunk_rec(c, ch, i)->frame);
	return n;
}

unsigned int frames_place(struct core *c, uint32_t *frame, unsigned int nr)
{
	struct chunk *ch = at(c, c->frames[*frame].chunk);
	struct space *s = chunk_space(c, ch);
	const void *bytes[PLACE_MOST];
	struct place p = {.busy = true, .chunk = ref_to(c, ch)};
	unsigned int n, left = 0;

	if (nr < c->st->cfg.place_least || !may_place(c, s, ch, nr))
		return nr;
	n = unwaited(c, ch, frame, nr, &p.want, bytes);
	if (!n || n < c->st->cfg.place_least)
		return nr;
	s->place = p;
	c->st->placing_pages += n;
	core_commit(c);
	if (c->b.capture->place(c->b.capture_ctx, s->id, ch->va, &p.want, bytes))
		p = (struct place){0};
	s->place = p;
	c->st->placing_pages -= n - pageset_count(&p.want);
	for (unsigned int i = 0; i < nr; i++)
		if (!pageset_has(&p.want, c->frames[frame[i]].idx))
			frame[left++] = frame[i];
	return left;
}

/* The agent had none to spare, or could not. */
static void put_in_place(struct core *c, struct chunk *ch, unsigned int idx)
{
	const struct rec *r = chunk_rec(c, ch, idx);

	if (r->state == REC_STANDBY)
		frame_install(c, (uint32_t)r->frame);
}

void core_placed(struct core *c, space_id sp, const pageset *placed, const pageset *present,
		 bool overtaken)
{
	struct space *s = space_find(c, sp);
	struct place p;
	struct chunk *ch;

	assert(s && s->place.busy);
	p = s->place;
	s->place = (struct place){0};
	ch = at(c, p.chunk);
	if (!ch) {
		space_release(c, s);
		return;
	}
	c->st->placing_pages -= pageset_count(&p.want);
	for (unsigned int i = pageset_next(&p.want, 0); i < CHUNK_PAGES;
	     i = pageset_next(&p.want, i + 1)) {
		if (pageset_has(placed, i)) {
			page_placed(c, s, ch, i);
			pageset_del(&p.want, i);
		} else if (pageset_has(present, i)) { /* the job has newer bytes there */
			rec_drop(c, ch, i);
			c->b.capture->wake(c->b.capture_ctx, s->id, ch->va + i * PAGE_BYTES, 1);
			pageset_del(&p.want, i);
		}
	}
	/* The last of these may be the chunk's last record. */
	for (unsigned int i = pageset_next(&p.want, 0); !overtaken && i < CHUNK_PAGES;
	     i = pageset_next(&p.want, i + 1)) {
		put_in_place(c, ch, i);
		if (!chunk_find(c, s, ch->va))
			return;
	}
	chunk_tidy(c, ch);
}

bool core_awaits_place(const struct core *c, space_id sp)
{
	const struct space *s = space_find(c, sp);

	return s && !s->gone && s->place.busy;
}
