/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks: 2 MiB of a space, found by hash, with 512 page records once a page
 * of theirs left, and a place in the eviction queue once memory was filled
 * into them. A chunk that says nothing any more is freed.
 */
#include "client/core/internal.h"

#define TABLE_BYTES (CHUNK_PAGES * sizeof(struct rec))

static ref *bucket(const struct core *c, const struct space *s, uint64_t va)
{
	uint64_t h = ((va >> CHUNK_SHIFT) + s->id.v * 0x9e3779b9ULL) * 0x9e3779b97f4a7c15ULL;

	return &c->st->chunk_hash[h >> 50 & (HASH_BUCKETS - 1)];
}

struct chunk *chunk_find(const struct core *c, const struct space *s, uint64_t va)
{
	ref self = ref_to(c, s);
	struct chunk *ch;

	va = chunk_va(va);
	for (ref r = *bucket(c, s, va); r.v; r = ch->hash_next) {
		ch = at(c, r);
		if (ch->va == va && ch->space.v == self.v)
			return ch;
	}
	return NULL;
}

struct chunk *chunk_make(struct core *c, struct space *s, uint64_t va)
{
	struct chunk *ch = chunk_find(c, s, va);
	ref *b = bucket(c, s, chunk_va(va));
	ref r;

	if (ch)
		return ch;
	r = arena_get(c, sizeof(*ch));
	if (!r.v) {
		core_lost(c, LOSS_INTERNAL, s->id, va, -ENOMEM);
		return NULL;
	}
	ch = at(c, r);
	ch->va = chunk_va(va);
	ch->space = ref_to(c, s);
	ch->hash_next = *b;
	*b = r;
	ch->sib_next = s->chunks;
	if (s->chunks.v)
		((struct chunk *)at(c, s->chunks))->sib_prev = r;
	s->chunks = r;
	c->st->stats.chunks++;
	return ch;
}

static void unhash(struct core *c, struct chunk *ch)
{
	ref self = ref_to(c, ch);
	ref *p = bucket(c, chunk_space(c, ch), ch->va);

	while (p->v != self.v)
		p = &((struct chunk *)at(c, *p))->hash_next;
	*p = ch->hash_next;
}

void chunk_free(struct core *c, struct chunk *ch)
{
	struct space *s = chunk_space(c, ch);

	assert(!ch->nr_recs);
	policy_forget(c->b.policy, c->b.policy_ctx, &ch->pc);
	chunk_unremove(c, ch, 0, CHUNK_PAGES);
	chunk_unqueue(c, ch);
	unhash(c, ch);
	if (ch->sib_prev.v)
		((struct chunk *)at(c, ch->sib_prev))->sib_next = ch->sib_next;
	else
		s->chunks = ch->sib_next;
	if (ch->sib_next.v)
		((struct chunk *)at(c, ch->sib_next))->sib_prev = ch->sib_prev;
	if (ch->table.v) {
		arena_put(c, ch->table, TABLE_BYTES);
		c->st->stats.records_bytes -= TABLE_BYTES;
	}
	arena_put(c, ref_to(c, ch), sizeof(*ch));
	c->st->stats.chunks--;
}

void chunk_tidy(struct core *c, struct chunk *ch)
{
	if (ch->nr_recs)
		return;
	if (ch->table.v) {
		arena_put(c, ch->table, TABLE_BYTES);
		ch->table = (ref){0};
		c->st->stats.records_bytes -= TABLE_BYTES;
	}
	if (!ch->queued && !pageset_count(&ch->removed))
		chunk_free(c, ch);
}

bool chunk_need_table(struct core *c, struct chunk *ch)
{
	if (ch->table.v)
		return true;
	ch->table = arena_get(c, TABLE_BYTES);
	if (!ch->table.v) {
		core_lost(c, LOSS_INTERNAL, chunk_space(c, ch)->id, ch->va, -ENOMEM);
		return false;
	}
	c->st->stats.records_bytes += TABLE_BYTES;
	return true;
}

enum rec_state rec_state_at(const struct core *c, const struct space *s, uint64_t va)
{
	struct chunk *ch = chunk_find(c, s, va);
	struct rec *r = ch ? chunk_rec(c, ch, page_idx(va)) : NULL;

	return r ? (enum rec_state)r->state : REC_NONE;
}

enum rec_state core_page_state(const struct core *c, space_id sp, uint64_t va)
{
	const struct space *s = space_find(c, sp);

	return s && !s->gone ? rec_state_at(c, s, va) : REC_NONE;
}

static bool is_away(enum rec_state state)
{
	return state == REC_STANDBY || state == REC_REMOTE || state == REC_FETCHING;
}

static void count(struct core *c, const struct chunk *ch, enum rec_state was, enum rec_state is)
{
	struct core_stats *stats = &c->st->stats;

	chunk_space(c, ch)->stats.pages_away += (uint64_t)is_away(is) - (uint64_t)is_away(was);
	stats->records[was] -= was != REC_NONE;
	stats->records[is] += is != REC_NONE;
}

void rec_set(struct core *c, struct chunk *ch, unsigned idx, enum rec_state state)
{
	struct rec *r = chunk_rec(c, ch, idx);

	count(c, ch, (enum rec_state)r->state, state);
	ch->nr_recs = (uint16_t)(ch->nr_recs + (state != REC_NONE) - (r->state != REC_NONE));
	if (state == REC_NONE) {
		assert(!r->has_slot);
		*r = (struct rec){0};
	}
	if (r->guarded && state != REC_RESIDENT && state != REC_MOVING)
		r->guarded = 0;
	r->state = state;
}

void rec_give_slot_up(struct core *c, struct rec *r)
{
	if (!r->has_slot)
		return;
	r->has_slot = 0;
	slot_put(c, r->slot);
	r->slot = 0;
}

void rec_drop(struct core *c, struct chunk *ch, unsigned idx)
{
	struct rec *r = chunk_rec(c, ch, idx);

	if (!r || r->state == REC_NONE)
		return;
	if (r->state == REC_STANDBY || r->state == REC_FETCHING || r->state == REC_MOVING)
		frame_abandon(c, (uint32_t)r->frame);
	rec_give_slot_up(c, r);
	rec_set(c, ch, idx, REC_NONE);
}

void chunk_queue(struct core *c, struct chunk *ch, bool oldest)
{
	struct state *st = c->st;
	ref self = ref_to(c, ch);

	if (ch->queued)
		return;
	ch->queued = true;
	st->q_len++;
	ch->q_prev = oldest ? (ref){0} : st->q_tail;
	ch->q_next = oldest ? st->q_head : (ref){0};
	if (ch->q_prev.v)
		((struct chunk *)at(c, ch->q_prev))->q_next = self;
	else
		st->q_head = self;
	if (ch->q_next.v)
		((struct chunk *)at(c, ch->q_next))->q_prev = self;
	else
		st->q_tail = self;
}

void chunk_unqueue(struct core *c, struct chunk *ch)
{
	struct state *st = c->st;

	if (!ch->queued)
		return;
	ch->queued = false;
	st->q_len--;
	if (ch->q_prev.v)
		((struct chunk *)at(c, ch->q_prev))->q_next = ch->q_next;
	else
		st->q_head = ch->q_next;
	if (ch->q_next.v)
		((struct chunk *)at(c, ch->q_next))->q_prev = ch->q_prev;
	else
		st->q_tail = ch->q_prev;
	ch->q_prev = ch->q_next = (ref){0};
}

void chunk_unremove(struct core *c, struct chunk *ch, unsigned idx, unsigned nr)
{
	for (unsigned i = pageset_next(&ch->removed, idx); i < idx + nr && i < CHUNK_PAGES;
	     i = pageset_next(&ch->removed, i + 1)) {
		pageset_del(&ch->removed, i);
		chunk_space(c, ch)->removed_pages--;
	}
}
