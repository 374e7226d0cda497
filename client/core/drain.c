/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of the store leaves while the job runs. From then on no slot of it is given out;
 * what is there is read, a little at a time and behind all that somebody waits for, and
 * leaves from standby to another slot, as if the job had just lost it. When no slot of the
 * part is referred to any more, nobody can ask for one, and the store may let go of it.
 */
#include "client/core/internal.h"

#define DRAIN_BUCKETS 1024U /* looked at in a run, if there is nothing in them */
#define DRAIN_CHUNKS  8U    /* and so many that have records */
#define DRAIN_READS   32U   /* at once */

static uint64_t part_start(const struct core *c, unsigned int part)
{
	return part ? c->b.store->part_end[part - 1] : 0;
}

static bool is_free(const struct core *c, uint64_t slot)
{
	return c->slot_map[slot / 64] >> slot % 64 & 1;
}

int core_drain(struct core *c, unsigned int part)
{
	const struct store *store = c->b.store;
	struct state *st = c->st;
	uint64_t nr_free = 0;

	if (part >= store->nr_parts)
		return -EINVAL;
	if (st->stats.part[part] != PART_OPEN)
		return 0;
	for (uint64_t slot = part_start(c, part); slot < store->part_end[part]; slot++)
		nr_free += is_free(c, slot);
	if (st->slots_free - nr_free <= st->stats.part_pages[part])
		return -ENOSPC;
	slots_close(c, part_start(c, part), store->part_end[part]);
	st->stats.part[part] = PART_DRAINS;
	st->nr_draining++;
	st->drain_rests = false;
	return 0;
}

/* Frames are for what leaves, and reads for those who wait. */
static bool has_room(const struct core *c)
{
	const struct state *st = c->st;
	uint64_t coming = st->stats.records[REC_FETCHING];
	uint64_t max = st->nr_waiting || st->nr_urgent ? 1 : DRAIN_READS;

	return coming < max && coming + st->nr_dirty <= st->cfg.nr_frames / 4 &&
	       coming + st->nr_dirty < st->slots_free;
}

/* False: nothing more can be done now. */
static bool move_page(struct core *c, struct chunk *ch, unsigned int idx)
{
	struct rec *r = chunk_rec(c, ch, idx);
	uint32_t f = (uint32_t)r->frame;

	switch ((enum rec_state)r->state) {
	case REC_RESIDENT:
		if (!slot_is_leaving(c, r->slot))
			return true;
		rec_give_slot_up(c, r);
		rec_set(c, ch, idx, REC_NONE);
		break;
	case REC_STANDBY:
		if (c->frames[f].state != FRAME_CLEAN || !slot_is_leaving(c, c->frames[f].slot))
			return true;
		frame_unlist(c, f);
		frame_write_anew(c, f);
		break;
	case REC_REMOTE:
		if (!slot_is_leaving(c, r->slot) || !slot_is_written(c, r->slot))
			return true;
		if (!has_room(c) || !fetch(c, ch, idx, NULL))
			return false;
		c->frames[r->frame].ahead = false;
		c->frames[r->frame].moves = true;
		break;
	default: /* when it is neither moving nor fetching any more */
		return true;
	}
	c->st->drain_found = true;
	return true;
}

static bool move_chunk(struct core *c, struct chunk *ch)
{
	bool more = true;

	for (unsigned int i = 0; i < CHUNK_PAGES && more && ch->nr_recs; i++)
		more = move_page(c, ch, i);
	chunk_tidy(c, ch);
	return more;
}

static void let_go(struct core *c)
{
	struct state *st = c->st;

	for (unsigned int part = 0; part < c->b.store->nr_parts; part++) {
		if (st->stats.part[part] != PART_DRAINS || st->stats.part_pages[part])
			continue;
		st->stats.part[part] = PART_LEFT;
		st->nr_draining--;
		core_commit(c);
		if (c->b.store->ops->leave)
			c->b.store->ops->leave(c->b.store, part);
	}
}

bool drain_run(struct core *c)
{
	struct state *st = c->st;
	unsigned int chunks = DRAIN_CHUNKS;

	if (!st->nr_draining || st->lost)
		return false;
	let_go(c);
	for (unsigned int n = 0; n < DRAIN_BUCKETS && chunks && !st->drain_rests; n++) {
		for (ref r = st->chunk_hash[st->drain_cursor]; r.v;) {
			struct chunk *ch = at(c, r);

			r = ch->hash_next;
			if (!ch->nr_recs)
				continue;
			chunks -= chunks > 0;
			if (!move_chunk(c, ch))
				return false; /* here it goes on */
		}
		if (++st->drain_cursor < HASH_BUCKETS)
			continue;
		st->drain_cursor = 0;
		st->drain_rests = !st->drain_found; /* the rest is on its way somewhere */
		st->drain_found = false;
	}
	return st->nr_draining && !st->drain_rests;
}
