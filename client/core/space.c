/* SPDX-License-Identifier: Apache-2.0 */
/* Address spaces of the job: their coming, their going, and what they inherit. */
#include "client/core/internal.h"

static ref *bucket(const struct core *c, space_id id)
{
	return &c->st->space_hash[id.v % (HASH_BUCKETS / 16)];
}

struct space *space_find(const struct core *c, space_id id)
{
	struct space *s;

	for (ref r = *bucket(c, id); r.v; r = s->hash_next) {
		s = at(c, r);
		if (s->id.v == id.v)
			return s;
	}
	return NULL;
}

struct space *space_first(const struct core *c)
{
	return at(c, c->st->spaces);
}

struct space *space_next(const struct core *c, const struct space *s)
{
	return at(c, s->list_next);
}

bool space_busy(const struct space *s)
{
	for (unsigned h = 0; h < CORE_HALVES; h++)
		if (s->half[h].busy)
			return true;
	return s->place.busy;
}

bool space_moving(const struct space *s)
{
	for (unsigned h = 0; h < CORE_HALVES; h++)
		if (s->half[h].busy && !s->half[h].moved)
			return true;
	return s->place.busy;
}

bool chunk_moving(const struct core *c, const struct chunk *ch)
{
	const struct space *s = chunk_space(c, ch);
	ref self = ref_to(c, ch);

	for (unsigned h = 0; h < CORE_HALVES; h++)
		if (s->half[h].busy && !s->half[h].moved && s->half[h].chunk.v == self.v)
			return true;
	return false;
}

struct space *space_make(struct core *c, space_id id)
{
	struct core_stats *stats = &c->st->stats;
	ref r = arena_get(c, sizeof(struct space));
	struct space *s = at(c, r);

	if (!s) {
		core_lost(c, LOSS_INTERNAL, id, 0, -ENOMEM);
		return NULL;
	}
	s->id = id;
	s->hash_next = *bucket(c, id);
	*bucket(c, id) = r;
	s->list_next = c->st->spaces;
	if (s->list_next.v)
		((struct space *)at(c, s->list_next))->list_prev = r;
	c->st->spaces = r;
	if (++stats->spaces > stats->spaces_peak)
		stats->spaces_peak = stats->spaces;
	return s;
}

int core_space_add(struct core *c, space_id id)
{
	assert(id.v && !space_find(c, id));
	return space_make(c, id) ? 0 : -ENOMEM;
}

static void drop_range(struct core *c, struct chunk *ch, uint64_t start, uint64_t end)
{
	unsigned first = start > ch->va ? page_idx(start) : 0;
	unsigned last = end < ch->va + CHUNK_BYTES ? page_idx(end) : CHUNK_PAGES;

	if (ch->nr_recs)
		for (unsigned i = first; i < last; i++)
			rec_drop(c, ch, i);
	chunk_unremove(c, ch, first, last - first);
}

/*
 * Calls @fn for each chunk of the space that overlaps [start, end): by looking
 * each up when they are few, else by going through all the space has. @fn may
 * free the chunk it is given.
 */
typedef void chunk_fn(struct core *c, struct chunk *ch, uint64_t start, uint64_t end);

static void each_chunk(struct core *c, struct space *s, uint64_t start, uint64_t end, chunk_fn *fn)
{
	struct chunk *ch;

	if ((end - start) >> CHUNK_SHIFT <= 64) {
		for (uint64_t va = chunk_va(start); va < end; va += CHUNK_BYTES) {
			ch = chunk_find(c, s, va);
			if (ch)
				fn(c, ch, start, end);
		}
		return;
	}
	for (ref r = s->chunks; r.v;) {
		ch = at(c, r);
		r = ch->sib_next;
		if (ch->va < end && ch->va + CHUNK_BYTES > start)
			fn(c, ch, start, end);
	}
}

static void forget(struct core *c, struct chunk *ch, uint64_t start, uint64_t end)
{
	drop_range(c, ch, start, end);
	chunk_tidy(c, ch);
}

static void unlink_space(struct core *c, struct space *s)
{
	ref self = ref_to(c, s);
	ref *p = bucket(c, s->id);

	while (p->v != self.v)
		p = &((struct space *)at(c, *p))->hash_next;
	*p = s->hash_next;
	if (s->list_prev.v)
		((struct space *)at(c, s->list_prev))->list_next = s->list_next;
	else
		c->st->spaces = s->list_next;
	if (s->list_next.v)
		((struct space *)at(c, s->list_next))->list_prev = s->list_prev;
}

void space_release(struct core *c, struct space *s)
{
	if (!s->gone || space_busy(s) || s->populating)
		return;
	unlink_space(c, s);
	arena_put(c, s->ranges, s->max_ranges * sizeof(struct core_range));
	arena_put(c, ref_to(c, s), sizeof(*s));
}

void core_space_gone(struct core *c, space_id id)
{
	struct space *s = space_find(c, id);

	if (!s || s->gone)
		return;
	for (unsigned h = 0; h < CORE_HALVES; h++) {
		if (s->half[h].busy)
			c->st->moving_pages -= pageset_count(&s->half[h].want) + s->half[h].taken;
		if (s->half[h].moved) { /* no answer is to come */
			s->half[h] = (struct half){0};
			c->st->nr_moved--;
		}
		s->half[h].chunk = (ref){0};
	}
	move_forget(c, s);
	c->st->placing_pages -= pageset_count(&s->place.want);
	s->place = (struct place){.busy = s->place.busy};
	s->gone = true;
	while (s->chunks.v) {
		struct chunk *ch = at(c, s->chunks);

		drop_range(c, ch, ch->va, ch->va + CHUNK_BYTES);
		chunk_free(c, ch);
	}
	for (uint32_t i = 0; i < c->st->nr_held;)
		if (c->st->held[i].space.v == id.v)
			c->st->held[i] = c->st->held[--c->st->nr_held];
		else
			i++;
	c->st->stats.spaces--;
	space_release(c, s);
}

int core_range_added(struct core *c, space_id id, uint64_t start, uint64_t end)
{
	struct space *s = space_find(c, id);

	if (!s || s->gone)
		return -ESRCH;
	if (core_range_known(c, id, start, end))
		return 0;
	if (!ranges_add(c, s, start, end))
		return -ENOMEM;
	if (!s->sweeping || start < s->sweep_va)
		s->sweep_va = start;
	s->sweeping = true;
	return 0;
}

void core_ranges_are(struct core *c, space_id id, const struct core_range *real, unsigned int nr)
{
	struct space *s = space_find(c, id);
	uint64_t at = 0;

	if (!s || s->gone)
		return;
	take_all_in(c, s);
	for (unsigned int i = 0; i <= nr; i++) {
		uint64_t gap_end = i < nr ? real[i].start : UINT64_MAX & PAGE_MASK;

		if (at < gap_end) {
			each_chunk(c, s, at, gap_end, forget);
			ranges_del(c, s, at, gap_end);
		}
		if (i < nr)
			at = real[i].end;
	}
}

const struct core_range *core_ranges(const struct core *c, space_id id, unsigned int *nr)
{
	const struct space *s = space_find(c, id);

	*nr = s && !s->gone ? s->nr_ranges : 0;
	return *nr ? at(c, s->ranges) : NULL;
}

bool core_range_known(const struct core *c, space_id id, uint64_t start, uint64_t end)
{
	const struct space *s = space_find(c, id);
	const struct core_range *r = s && !s->gone ? ranges_above(c, s, start) : NULL;

	return r && r->start <= start && r->end >= end;
}

/* ---- messages ---- */

/*
 * The job throws the range away, but the kernel lets us know before it does:
 * what is present now may still hold old bytes and must not be moved out.
 * Pages that are missing now come back through a fault only, with zeros.
 */
static void mark_removed(struct core *c, struct space *s, uint64_t start, uint64_t end)
{
	uint64_t va = start;

	while (va < end) {
		pageset here;
		struct chunk *ch;

		va = c->b.capture->next_present(c->b.capture_ctx, s->id, va, end);
		if (va >= end ||
		    c->b.capture->scan(c->b.capture_ctx, s->id, chunk_va(va), false, &here))
			return;
		ch = chunk_make(c, s, va);
		if (!ch)
			return;
		for (unsigned i = pageset_next(&here, 0); i < CHUNK_PAGES;
		     i = pageset_next(&here, i + 1)) {
			uint64_t page = ch->va + i * PAGE_BYTES;

			if (page < start || page >= end || pageset_has(&ch->removed, i))
				continue;
			pageset_add(&ch->removed, i);
			s->removed_pages++;
		}
		va = ch->va + CHUNK_BYTES;
		chunk_tidy(c, ch);
	}
}

void core_removed(struct core *c, space_id id, uint64_t start, uint64_t end)
{
	struct space *s = space_find(c, id);

	if (!s || s->gone || c->st->lost)
		return;
	take_all_in(c, s);
	c->st->stats.events_remove++;
	s->quiesce_stale = true;
	each_chunk(c, s, start, end, forget);
	mark_removed(c, s, start, end);
}

/* Hand the record of @src to the page @va, with everything that refers back. */
static void rec_move(struct core *c, struct space *s, struct chunk *src, unsigned idx, uint64_t va)
{
	struct rec *from = chunk_rec(c, src, idx);
	struct chunk *dst = chunk_make(c, s, va);
	struct rec *to;

	if (!dst || !chunk_need_table(c, dst))
		return;
	to = chunk_rec(c, dst, page_idx(va));
	assert(to->state == REC_NONE && from->state != REC_MOVING);
	rec_set(c, dst, page_idx(va), (enum rec_state)from->state);
	*to = *from;
	to->guarded = 0;
	if (to->state == REC_STANDBY || to->state == REC_FETCHING) {
		if (c->frames[to->frame].waited) /* at the old address */
			c->b.capture->wake(c->b.capture_ctx, s->id, src->va + idx * PAGE_BYTES, 1);
		c->frames[to->frame].waited = false;
		c->frames[to->frame].chunk = ref_to(c, dst);
		c->frames[to->frame].idx = (uint16_t)page_idx(va);
	}
	from->has_slot = 0;
	rec_set(c, src, idx, REC_NONE);
}

static void move_recs(struct core *c, struct space *s, struct chunk *src, uint64_t from,
		      uint64_t to, uint64_t bytes)
{
	for (unsigned i = 0; i < CHUNK_PAGES && src->nr_recs; i++) {
		uint64_t va = src->va + i * PAGE_BYTES;

		if (va < from || va >= from + bytes)
			continue;
		if (chunk_rec(c, src, i)->state != REC_NONE)
			rec_move(c, s, src, i, to + (va - from));
	}
	drop_range(c, src, from, from + bytes);
	chunk_tidy(c, src);
}

static void remap(struct core *c, struct space *s, const struct held *h)
{
	for (uint64_t va = chunk_va(h->from); va < h->from + h->bytes; va += CHUNK_BYTES) {
		struct chunk *ch = chunk_find(c, s, va);

		if (ch)
			move_recs(c, s, ch, h->from, h->to, h->bytes);
	}
	ranges_add(c, s, h->to, h->to + h->bytes);
	if (!s->sweeping || h->to < s->sweep_va)
		s->sweep_va = h->to;
	s->sweeping = true;
}

/*
 * A call's message is queued after the call took effect and let go of the
 * address space, so the messages of two threads may come in the other order.
 * A remap onto what is still known to be registered came too early: it waits
 * for the message that says the place was vacated, and the space's faults
 * with it. So does the unmapping of its old place, whose records it takes along.
 */
static void release_held(struct core *c, struct space *s)
{
	struct state *st = c->st;

	for (uint32_t i = 0; i < st->nr_held && s->nr_held;) {
		struct held h = st->held[i];

		if (h.space.v != s->id.v || ranges_overlap(c, s, h.to, h.to + h.bytes)) {
			i++;
			continue;
		}
		undo_note(&st->held[i], (st->nr_held - 1 - i) * sizeof(h));
		memmove(&st->held[i], &st->held[i + 1], (--st->nr_held - i) * sizeof(h));
		s->nr_held--;
		remap(c, s, &h);
		if (h.vacated)
			ranges_del(c, s, h.from, h.from + h.bytes);
		i = 0;
	}
}

/* True: what is unmapped is where a remap that waits comes from, and waits, too. If it isn't
 * that call's own message, nobody knows which came first. */
static bool unmap_waits(struct core *c, struct space *s, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < c->st->nr_held && s->nr_held; i++) {
		struct held *h = &c->st->held[i];

		if (h->space.v != s->id.v || h->from >= end || h->from + h->bytes <= start)
			continue;
		if (h->vacated || h->from != start || h->from + h->bytes != end)
			core_lost(c, LOSS_SPACE, s->id, start, -EINVAL);
		h->vacated = true;
		return true;
	}
	return false;
}

void core_unmapped(struct core *c, space_id id, uint64_t start, uint64_t end)
{
	struct space *s = space_find(c, id);

	if (!s || s->gone || c->st->lost)
		return;
	take_all_in(c, s);
	c->st->stats.events_unmap++;
	if (unmap_waits(c, s, start, end))
		return;
	each_chunk(c, s, start, end, forget);
	ranges_del(c, s, start, end);
	release_held(c, s);
}

void core_remapped(struct core *c, space_id id, uint64_t from, uint64_t to, uint64_t bytes)
{
	struct held h = {.space = id, .from = from, .to = to, .bytes = bytes};
	struct space *s = space_find(c, id);
	struct state *st = c->st;

	if (!s || s->gone || st->lost || from == to)
		return;
	take_all_in(c, s);
	st->stats.events_remap++;
	if (!ranges_overlap(c, s, to, to + bytes)) {
		remap(c, s, &h);
		release_held(c, s);
		return;
	}
	if (st->nr_held == MAX_HELD) {
		core_lost(c, LOSS_SPACE, id, from, -ENOSPC);
		return;
	}
	st->held[st->nr_held++] = h;
	s->nr_held++;
}

void core_settled(struct core *c, space_id id)
{
	struct space *s = space_find(c, id);

	if (!s || s->gone || c->st->lost)
		return;
	if (s->nr_held)
		core_lost(c, LOSS_SPACE, id, 0, -EINVAL);
}

/* ---- agents ---- */

void core_let_through(struct core *c, space_id id, bool on)
{
	struct space *s = space_find(c, id);

	if (s && !s->gone)
		s->let_through = on;
}

void core_agent_ready(struct core *c, space_id id)
{
	struct space *s = space_find(c, id);

	if (s && !s->gone)
		s->agent = AGENT_HERE;
}

void core_agent_failed(struct core *c, space_id id, int err)
{
	struct space *s = space_find(c, id);

	(void)err;
	if (s && !s->gone)
		s->agent = AGENT_REFUSED;
}

void core_quiesced(struct core *c, space_id id, bool done)
{
	struct space *s = space_find(c, id);

	if (!s || s->gone)
		return;
	s->quiescing = false;
	if (!done || s->quiesce_stale)
		return; /* or the job threw more away meanwhile: asked again */
	for (ref r = s->chunks; r.v;) {
		struct chunk *ch = at(c, r);

		r = ch->sib_next;
		if (!pageset_count(&ch->removed))
			continue;
		chunk_unremove(c, ch, 0, CHUNK_PAGES);
		chunk_queue(c, ch, false);
	}
}
