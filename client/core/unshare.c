/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that processes share since a fork can't be moved. One process's agent
 * makes copies of its own of them, and these leave next; what is left of the
 * page lives on until the last process has let go of it.
 *
 * So letting go of shared pages first takes room, and gives some back only when
 * all have done so. Two rules follow: little of it is under way at any time,
 * however many processes there are; and all work their way up together (here,
 * and in the sweep), so that they reach the same pages at about the same time.
 */
#include "client/core/internal.h"

/* At most this much is copied, and not yet moved out, at any time. */
#define UNSHARED_BYTES (8UL << 20)

static uint64_t most_chunks(const struct core *c)
{
	uint64_t bytes = c->st->cfg.cap_bytes / 16;

	if (bytes > UNSHARED_BYTES)
		bytes = UNSHARED_BYTES;
	return bytes > CHUNK_BYTES ? bytes / CHUNK_BYTES : 1;
}

static uint64_t chunks_under_way(const struct core *c)
{
	uint64_t n = 0;

	for (const struct space *s = space_first(c); s; s = space_next(c, s))
		n += !s->gone && (s->populating || s->made_va);
	return n;
}

bool unshare_pending(const struct space *s)
{
	return s->share_va || s->populating;
}

static struct space *lowest_pending(const struct core *c)
{
	struct space *best = NULL;

	for (struct space *s = space_first(c); s; s = space_next(c, s))
		if (s->share_va && !s->gone && !s->populating && !space_busy(s) &&
		    (!best || s->share_va < best->share_va))
			best = s;
	return best;
}

/* What is still there of the pages that were refused: no other is to come. */
static int ask_agent(struct core *c, struct space *s, uint64_t va)
{
	pageset now;
	int err = c->b.capture->scan(c->b.capture_ctx, s->id, va, true, &now);

	if (err)
		return err;
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		s->share.w[i] &= now.w[i];
	if (!pageset_count(&s->share))
		return -ENOENT;
	s->populating = true;
	core_commit(c);
	return c->b.capture->populate(c->b.capture_ctx, s->id, va, &s->share);
}

void unshare_run(struct core *c)
{
	struct space *s;

	/* Mostly there is none, and the rest is not looked at. */
	while ((s = lowest_pending(c)) && chunks_under_way(c) < most_chunks(c)) {
		uint64_t va = s->share_va;
		int err;

		s->share_va = 0;
		err = ask_agent(c, s, va);
		if (err) {
			struct chunk *ch = chunk_find(c, s, va);

			s->populating = false;
			/* Tried again when its turn comes; at the next sweep where it can't be
			 * looked at, or others would wait for it for ever. */
			if (ch && (err == -EAGAIN || err == -ENOENT))
				ch->populated = false;
			continue;
		}
		c->st->local_anon += (int64_t)(pageset_count(&s->share) * PAGE_BYTES);
		c->st->stats.populates++;
	}
}

void core_populated(struct core *c, space_id sp, uint64_t va, int err)
{
	struct space *s = space_find(c, sp);
	struct chunk *ch;

	(void)err; /* what could not be made exclusive refuses again */
	if (!s)
		return;
	s->populating = false;
	if (s->gone) {
		space_release(c, s);
		return;
	}
	s->made_va = va;
	ch = chunk_find(c, s, va);
	if (ch) /* just these; with few frames the others are tried for long, in vain */
		ch->next_idx = (uint16_t)(pageset_next(&s->share, 0) % CHUNK_PAGES);
}

bool unshare_refused(struct core *c, struct space *s, struct chunk *ch, const pageset *busy)
{
	if (unshare_pending(s)) {
		chunk_queue(c, ch, true); /* its turn comes after that one's */
		return true;
	}
	if (ch->populated) {
		if (s->made_va == ch->va)
			s->made_va = 0; /* or it would be tried for ever, before all others */
		return false;
	}
	ch->populated = true;
	chunk_queue(c, ch, true);
	s->share_va = ch->va;
	s->share = *busy;
	s->made_va = 0; /* must not wait for what waits for it */
	return true;
}
