/* SPDX-License-Identifier: Apache-2.0 */
/* The core as a whole: its place in the arena, its rounds, its invariants. */
#include "client/core/internal.h"

#define EVICT_PARTS 10U /* to plan, to hand over a chunk, to ask */

static uint64_t carve(uint64_t *next, uint64_t bytes)
{
	uint64_t here = *next;

	*next += (bytes + PAGE_BYTES - 1) & PAGE_MASK;
	return here;
}

int core_lay_out(void *arena, uint64_t arena_bytes, const struct core_config *cfg,
		 const struct core_binds *binds, struct core **out, uint64_t *end)
{
	uint64_t now = binds->store->nr_slots, slots = cfg->max_slots ? cfg->max_slots : now;
	uint64_t next = 0;
	char *base = arena;
	struct core *c;

	if (!cfg->nr_frames || cfg->nr_frames >= 1U << 24 || !now || now > slots ||
	    slots >= 1ULL << 35)
		return -EINVAL;
	carve(&next, cfg->nr_frames * PAGE_BYTES);
	c = (struct core *)(base + carve(&next, sizeof(struct core)));
	*c = (struct core){.b = *binds, .base = base};
	c->st = (struct state *)(base + carve(&next, sizeof(struct state)));
	c->frames = (struct frame *)(base + carve(&next, cfg->nr_frames * sizeof(struct frame)));
	c->waiting = (struct waiting *)(base + carve(&next, MAX_WAITING * sizeof(struct waiting)));
	c->slot_refs = (uint16_t *)(base + carve(&next, slots * sizeof(uint16_t)));
	c->slot_map = (uint64_t *)(base + carve(&next, (slots + 63) / 64 * 8));
	c->frame_map = (uint64_t *)(base + carve(&next, (cfg->nr_frames + 63) / 64 * 8));
	*out = c;
	*end = next;
	return next < arena_bytes - undo_bytes(arena_bytes) ? 0 : -ENOMEM;
}

int core_open(void *arena, uint64_t arena_bytes, const struct core_config *cfg,
	      const struct core_binds *binds, struct core **out)
{
	struct core *c;
	uint64_t next;
	int err;

	undo_stop();
	err = core_lay_out(arena, arena_bytes, cfg, binds, &c, &next);
	if (err)
		return err;
	c->st->cfg = *cfg;
	if (!cfg->max_slots)
		c->st->cfg.max_slots = binds->store->nr_slots;
	c->st->layout = c->st->heap_next = next;
	c->st->heap_end = arena_bytes - undo_bytes(arena_bytes);
	if (c->st->heap_end > UINT32_MAX * ARENA_UNIT) /* what a ref can say */
		c->st->heap_end = UINT32_MAX * ARENA_UNIT;
	c->st->reserve = cfg->nr_frames / 8 ? cfg->nr_frames / 8 : cfg->nr_frames > 1;
	frames_init(c);
	undo_start(arena, cfg->nr_frames * PAGE_BYTES, arena_bytes);
	core_commit(c);
	slots_join(c);
	*out = c;
	return 0;
}

void core_close(struct core *c)
{
	struct space *s;

	if (!c)
		return;
	for (s = space_first(c); s; s = space_next(c, s))
		if (!s->gone)
			break;
	while (s) {
		core_space_gone(c, s->id);
		for (s = space_first(c); s && s->gone; s = space_next(c, s))
			;
	}
	core_commit(c);
	undo_stop();
}

void core_set_cap(struct core *c, uint64_t cap_bytes)
{
	assert(cap_bytes > c->st->cfg.nr_frames * PAGE_BYTES);
	c->st->cfg.cap_bytes = cap_bytes;
}

const struct core_stats *core_stats(const struct core *c)
{
	return &c->st->stats;
}

void core_space_stats(const struct core *c, space_id sp, struct core_space_stats *out)
{
	const struct space *s = space_find(c, sp);

	*out = s ? s->stats : (struct core_space_stats){0};
}

bool core_may_read(const struct core *c, space_id sp)
{
	const struct space *s = space_find(c, sp);

	return !s || !space_moving(s);
}

bool core_pressed(const struct core *c)
{
	return c->b.env->pressed && c->b.env->pressed(c->b.env_ctx);
}

void core_lost(struct core *c, enum core_loss why, space_id sp, uint64_t va, int err)
{
	if (c->st->lost)
		return;
	c->st->lost = true;
	c->b.env->lost(c->b.env_ctx, why, sp, va, err);
}

void core_observe(struct core *c, uint64_t anon_bytes, uint64_t held_bytes, bool exact)
{
	struct core_stats *stats = &c->st->stats;

	c->st->local_anon = (int64_t)held_bytes;
	c->st->drain_rests = false;
	/* Frames take no memory before the first page has been in one. */
	stats->local_bytes = anon_bytes;
	if (stats->pages_moved)
		stats->local_bytes += c->st->cfg.nr_frames * PAGE_BYTES;
	if (exact && stats->local_bytes > stats->local_peak_bytes)
		stats->local_peak_bytes = stats->local_bytes;
}

bool core_waiting(const struct core *c)
{
	return c->st->nr_waiting > 0;
}

bool core_busy(const struct core *c)
{
	return c->st->nr_writing || c->st->nr_fetching;
}

/* To look at pages that the store lends takes the time of this thread alone. */
static bool lends(const struct core *c)
{
	return c->st->ask_head != NO_FRAME && c->b.store->ops->page;
}

/* So what leaves is asked for before that, all of its parts: the agent is at work meanwhile. */
static bool evict_before_reads(struct core *c)
{
	bool evicts = evict_run(c);

	for (unsigned int n = 0; n < EVICT_PARTS && evicts && c->plan.va && lends(c); n++)
		evicts = evict_run(c);
	return evicts;
}

bool core_run(struct core *c)
{
	bool took, evicts, drains, writes;

	if (c->st->lost)
		return false;
	if (c->st->nr_doubts && !doubts_settle(c))
		return true;
	io_reap(c);
	faults_retry(c);
	took = take_in_run(c);
	if (took && c->st->ask_head == NO_FRAME && core_pressed(c))
		return true;
	evicts = evict_before_reads(c);
	if (evicts && c->st->ask_head == NO_FRAME && core_pressed(c))
		return true;
	drains = drain_run(c);
	io_submit_reads(c);
	writes = io_submit_writes(c);
	/* After the last was taken in, messages may be read again. */
	return took || evicts || drains || writes ||
	       (c->st->moving_pages == 0 && evict_target_bytes(c) && frames_for_bulk(c) &&
		c->st->q_head.v);
}

/* ---- invariants ---- */

static void check_rec(const struct core *c, const struct chunk *ch, unsigned int i, uint64_t *uses)
{
	const struct rec *r = chunk_rec(c, ch, i);
	const struct frame *f = &c->frames[r->frame];
	ref self = ref_to(c, ch);

	*uses += r->has_slot;
	switch ((enum rec_state)r->state) {
	case REC_STANDBY:
		assert(f->chunk.v == self.v && f->idx == i && !r->has_slot);
		assert(f->state == FRAME_DIRTY || f->state == FRAME_WRITING ||
		       (f->state == FRAME_CLEAN && f->has_slot));
		break;
	case REC_FETCHING:
		assert(f->chunk.v == self.v && f->idx == i && f->state == FRAME_FETCHING);
		assert(r->has_slot && f->has_slot && f->slot == r->slot);
		break;
	case REC_MOVING:
		assert(f->chunk.v == self.v && f->idx == i && f->state == FRAME_HELD);
		break;
	case REC_REMOTE:
	case REC_RESIDENT:
		assert(r->has_slot);
		break;
	default:
		assert(!r->has_slot);
	}
	if (r->has_slot)
		assert(c->slot_refs[r->slot]);
	if (r->guarded)
		assert(r->has_slot && (r->state == REC_RESIDENT || r->state == REC_MOVING));
}

/* @recs: how many are in each state. */
static void check_chunk(const struct core *c, const struct space *s, const struct chunk *ch,
			uint64_t *uses, uint64_t *recs)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < CHUNK_PAGES && ch->table.v; i++) {
		enum rec_state st = (enum rec_state)chunk_rec(c, ch, i)->state;

		if (st == REC_NONE)
			continue;
		nr++;
		recs[st]++;
		assert(ranges_has(c, s, ch->va + i * PAGE_BYTES));
		check_rec(c, ch, i, uses);
	}
	assert(nr == ch->nr_recs);
}

/* What is put in place by the agent stands by meanwhile. Returns how many pages. */
static unsigned int check_place(const struct core *c, const struct space *s)
{
	const struct chunk *ch = at(c, s->place.chunk);
	const pageset *want = &s->place.want;

	assert(s->place.busy || !pageset_count(want));
	for (unsigned int i = pageset_next(want, 0); i < CHUNK_PAGES;
	     i = pageset_next(want, i + 1)) {
		enum rec_state st = (enum rec_state)chunk_rec(c, ch, i)->state;

		assert(st == REC_STANDBY || st == REC_REMOTE);
	}
	return pageset_count(want);
}

static uint64_t away(const uint64_t *recs)
{
	return recs[REC_STANDBY] + recs[REC_REMOTE] + recs[REC_FETCHING];
}

/* Slots that are free and will never be used. */
static uint64_t closed(const struct core *c)
{
	const struct store *s = c->b.store;
	uint64_t slots = 0, pages = 0;

	for (unsigned int i = 0; i < s->nr_parts; i++) {
		uint64_t start = i ? s->part_end[i - 1] : 0;

		pages += c->st->stats.part_pages[i];
		if (c->st->stats.part[i] != PART_OPEN)
			slots += s->part_end[i] - start - c->st->stats.part_pages[i];
	}
	assert(!s->nr_parts || pages == c->st->stats.remote_pages);
	return slots;
}

void core_check(const struct core *c)
{
	const struct state *st = c->st;
	uint64_t uses = 0, refs = 0, removed, slots = 0, recs[REC_STATES] = {0}, others;
	uint64_t placing = 0;

	for (struct space *s = space_first(c); s; s = space_next(c, s)) {
		removed = 0;
		others = away(recs);
		for (ref r = s->chunks; r.v; r = ((struct chunk *)at(c, r))->sib_next) {
			const struct chunk *ch = at(c, r);

			check_chunk(c, s, ch, &uses, recs);
			removed += pageset_count(&ch->removed);
		}
		placing += check_place(c, s);
		assert(removed == s->removed_pages);
		assert(away(recs) - others == s->stats.pages_away);
	}
	assert(placing == st->placing_pages);
	assert(!memcmp(recs, st->stats.records, sizeof(recs)));
	for (uint32_t i = 0; i < st->cfg.nr_frames; i++)
		uses += c->frames[i].has_slot;
	for (uint64_t i = 0; i < c->b.store->nr_slots; i++) {
		refs += c->slot_refs[i] & 0x7fff;
		slots += c->slot_refs[i] != 0;
	}
	assert(refs == uses);
	assert(slots + st->slots_free + closed(c) == c->b.store->nr_slots);
}
