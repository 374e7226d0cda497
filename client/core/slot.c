/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of the store and who refers to them: page records (several after a
 * fork) and the frame that is being written. A count that reaches its end
 * stays there: such a slot is never free again, which costs 4 KiB and no byte.
 */
#include "client/core/internal.h"

#define SLOT_PENDING 0x8000U /* its write is not acknowledged yet */
#define SLOT_COUNT   0x7fffU

unsigned int slot_part(const struct core *c, uint64_t slot)
{
	const struct store *s = c->b.store;
	unsigned int part = 0;

	while (part + 1 < s->nr_parts && slot >= s->part_end[part])
		part++;
	return part;
}

bool slot_is_leaving(const struct core *c, uint64_t slot)
{
	return c->st->nr_draining && c->st->stats.part[slot_part(c, slot)] == PART_DRAINS;
}

uint64_t slot_get(struct core *c)
{
	struct state *st = c->st;
	uint64_t words = (c->b.store->nr_slots + 63) / 64;

	if (!st->slots_free)
		return NO_SLOT;
	for (uint64_t n = 0; n < words; n++) {
		uint64_t w = (st->slot_cursor + n) % words;

		if (!c->slot_map[w])
			continue;
		uint64_t slot = w * 64 + (unsigned)__builtin_ctzll(c->slot_map[w]);

		c->slot_map[w] &= c->slot_map[w] - 1;
		st->slot_cursor = w;
		st->slots_free--;
		assert(!c->slot_refs[slot]);
		c->slot_refs[slot] = 1;
		st->stats.remote_pages++;
		st->stats.part_pages[slot_part(c, slot)]++;
		if (st->stats.remote_pages > st->stats.remote_peak_pages)
			st->stats.remote_peak_pages = st->stats.remote_pages;
		return slot;
	}
	return NO_SLOT;
}

void slot_share(struct core *c, uint64_t slot)
{
	uint16_t *r = &c->slot_refs[slot];

	assert(*r & SLOT_COUNT);
	if ((*r & SLOT_COUNT) < SLOT_COUNT)
		++*r;
}

void slot_put(struct core *c, uint64_t slot)
{
	uint16_t *r = &c->slot_refs[slot];

	assert(*r & SLOT_COUNT);
	if ((*r & SLOT_COUNT) == SLOT_COUNT)
		return;
	if (--*r & SLOT_COUNT)
		return;
	assert(!(*r & SLOT_PENDING));
	if (!slot_is_leaving(c, slot) && !slot_is_lost(c, slot)) {
		c->slot_map[slot / 64] |= 1ULL << (slot % 64);
		c->st->slots_free++;
	}
	c->st->stats.part_pages[slot_part(c, slot)]--;
	c->st->stats.remote_pages--;
	if (c->b.store->ops->drop)
		c->b.store->ops->drop(c->b.store, slot);
}

void slots_drop_free(struct core *c)
{
	const struct store *s = c->b.store;

	for (uint64_t slot = 0; s->ops->drop && slot < s->nr_slots; slot++)
		if (!c->slot_refs[slot])
			s->ops->drop(c->b.store, slot);
}

bool slot_is_shared(const struct core *c, uint64_t slot)
{
	return (c->slot_refs[slot] & SLOT_COUNT) > 1;
}

bool slot_may_be_rewritten(const struct core *c, uint64_t slot)
{
	return c->b.store->scattered && !slot_is_shared(c, slot) && !slot_is_leaving(c, slot) &&
	       !slot_is_lost(c, slot);
}

bool slot_is_written(const struct core *c, uint64_t slot)
{
	return !(c->slot_refs[slot] & SLOT_PENDING);
}

void slot_set_pending(struct core *c, uint64_t slot, bool pending)
{
	if (pending)
		c->slot_refs[slot] |= SLOT_PENDING;
	else
		c->slot_refs[slot] &= (uint16_t)~SLOT_PENDING;
}

void slots_close(struct core *c, uint64_t first, uint64_t end)
{
	for (uint64_t slot = first; slot < end; slot++) {
		c->st->slots_free -= c->slot_map[slot / 64] >> slot % 64 & 1;
		c->slot_map[slot / 64] &= ~(1ULL << slot % 64);
	}
}

bool slots_scarce(const struct core *c)
{
	return c->st->slots_free < c->b.store->nr_slots / 8;
}
