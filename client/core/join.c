/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store has grown by a part. All that refers to slots was laid out for as many as there
 * may ever be, so the new ones only become free; what leaves next goes to them.
 */
#include "client/core/internal.h"

#define AT_ONCE 65536U /* what is not committed is kept twice */

static void free_to(struct core *c, uint64_t end)
{
	struct state *st = c->st;

	st->slots_free += end - st->nr_slots;
	while (st->nr_slots < end) {
		uint64_t left = end - st->nr_slots, bit = st->nr_slots % 64;
		uint64_t n = left < 64 - bit ? left : 64 - bit;

		c->slot_map[st->nr_slots / 64] |= (n < 64 ? (1ULL << n) - 1 : UINT64_MAX) << bit;
		st->nr_slots += n;
	}
}

void slots_join(struct core *c)
{
	uint64_t first = c->st->nr_slots, nr_slots = c->b.store->nr_slots;

	if (first == nr_slots)
		return;
	while (c->st->nr_slots < nr_slots) {
		uint64_t left = nr_slots - c->st->nr_slots;

		free_to(c, c->st->nr_slots + (left < AT_ONCE ? left : AT_ONCE));
		core_commit(c);
	}
	c->st->slot_cursor = first / 64;
}

void core_keep_lent(struct core *c)
{
	for (uint32_t i = 0; i < c->st->cfg.nr_frames; i++) {
		frame_keep_lent(c, i);
		if (i % AT_ONCE == AT_ONCE - 1)
			core_commit(c);
	}
	core_commit(c);
}

int core_join(struct core *c, struct store *store)
{
	if (store->nr_slots < c->st->nr_slots)
		return -EINVAL;
	if (store->nr_slots > c->st->cfg.max_slots)
		return -ENOSPC;
	c->b.store = store;
	slots_join(c);
	core_commit(c);
	return 0;
}

uint64_t core_max_slots(const struct core *c)
{
	return c->st->cfg.max_slots;
}
