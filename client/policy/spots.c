/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/spots.h"

#define LATELY 256U /* faults */

static struct spot *lookup(struct spots *all, space_id space, uint64_t region)
{
	uint64_t h = (region ^ (uint64_t)space.v << 32) * 0x9e3779b97f4a7c15ULL;
	struct spot *s = &all->spot[h >> 32 & (SPOTS - 1)];

	if (s->space.v != space.v || s->region != region || all->tick - s->since > LATELY)
		*s = (struct spot){.space = space, .region = region, .since = all->tick};
	return s;
}

static bool is_dense(uint64_t seen, unsigned int least)
{
	unsigned int nr = (unsigned int)__builtin_popcountll(seen);
	unsigned int span =
		64 - (unsigned int)__builtin_clzll(seen) - (unsigned int)__builtin_ctzll(seen);

	return nr >= least && 2 * nr >= span;
}

uint64_t spots_add(struct spots *all, const struct policy_fault *f, unsigned int least)
{
	uint64_t page = f->va >> PAGE_SHIFT, region = page / SPOT_PAGES, from;
	struct spot *s = lookup(all, f->space, region);

	all->tick++;
	s->seen |= 1ULL << page % SPOT_PAGES;
	if (!is_dense(s->seen, least))
		return 0;
	/* The first hole above the lowest. */
	from = s->seen | ((s->seen & -s->seen) - 1);
	from = ~from ? (uint64_t)__builtin_ctzll(~from) : SPOT_PAGES;
	s->seen = 0;
	return region * SPOT_PAGES + from;
}
