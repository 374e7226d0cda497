/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that are guarded: which are to be, and writes to those that are. */
#include "client/core/internal.h"

bool is_to_be_guarded(const struct core *c, const struct chunk *ch, uint32_t f)
{
	const struct frame *fr = &c->frames[f];

	return c->b.store->ops->page && fr->state == FRAME_CLEAN && !fr->writes && !ch->written &&
	       !chunk_space(c, ch)->forked && !slots_scarce(c);
}

/* Pages that may be written to at once, when one is. */
#define ALLOW_PAGES 64U

/*
 * Of these pages, what was guarded by its fill will be no longer. Commits before the job can
 * write: whoever takes over must not take them for what the store has.
 */
static void unguard(struct core *c, struct chunk *ch, unsigned int idx, unsigned int nr)
{
	bool any = false;

	for (unsigned int i = idx; i < idx + nr; i++) {
		struct rec *r = chunk_rec(c, ch, i);

		if (!r->guarded)
			continue;
		r->guarded = 0;
		any = true;
	}
	if (any)
		core_commit(c);
}

static int allow(struct core *c, struct space *s, struct chunk *ch, uint64_t va, unsigned int nr)
{
	if (ch && ch->table.v)
		unguard(c, ch, page_idx(va), nr);
	return c->b.capture->allow(c->b.capture_ctx, s->id, va, nr);
}

/* The next smaller run that may be allowed at once. */
static unsigned int less(unsigned int nr)
{
	return nr > ALLOW_PAGES ? ALLOW_PAGES : 1;
}

static bool fits(const struct core_range *range, uint64_t va, unsigned int nr)
{
	return range && va >= range->start && va + nr * PAGE_BYTES <= range->end;
}

/* The page is guarded: its fill was (is_to_be_guarded()), or a fork shares it, and then to write
 * to it takes room. */
void write_try(struct core *c, struct space *s, struct chunk *ch, const struct rec *r,
	       const struct waiting *w)
{
	const struct core_range *range = ranges_above(c, s, w->va);
	bool filled = r && r->guarded;
	unsigned int nr = filled && ch->written ? CHUNK_PAGES : ALLOW_PAGES;
	int err = -EAGAIN;

	if (filled)
		ch->written = WRITTEN;
	for (;; nr = less(nr)) {
		uint64_t va = w->va & ~(nr * PAGE_BYTES - 1);

		if (nr > 1 && (!fits(range, va, nr) || (!filled && !cap_allows(c, s, w->tid, nr))))
			continue;
		if (!s->nr_held && (filled || cap_allows(c, s, w->tid, nr)))
			err = allow(c, s, ch, va, nr);
		if (err != -ENOENT || nr == 1) /* else over two mappings */
			break;
	}
	if (err) {
		fault_not_filled(c, w, err);
		return;
	}
	/* At most: those that are missing or not shared take no room. */
	if (!filled)
		c->st->local_anon += (int64_t)(nr * PAGE_BYTES);
	fault_answered(c, s, w->since_ns, &c->st->stats.faults_write);
}
