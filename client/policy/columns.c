/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/columns.h"

#include <stdlib.h>

#define LEAST_STRIDE (4 * PAGE_BYTES) /* anything agrees on a shorter one */
#define APART	     64		      /* columns */

void columns_learn(struct columns *all, int64_t stride)
{
	uint64_t s = (uint64_t)llabs(stride);

	if (s < LEAST_STRIDE || s > INT32_MAX)
		return;
	for (unsigned int i = 0; i < COLUMNS_STRIDES; i++) {
		uint32_t *known = &all->stride[i];

		if (*known && s % *known == 0)
			return;
		if (*known % s == 0) { /* or there is none */
			*known = (uint32_t)s;
			return;
		}
	}
	all->stride[all->next++ % COLUMNS_STRIDES] = (uint32_t)s;
}

int64_t columns_exactly(const struct columns *all, int64_t stride, unsigned int steps)
{
	for (unsigned int i = 0; i < COLUMNS_STRIDES; i++) {
		int64_t known = all->stride[i], off = llabs(llabs(stride) - known);

		if (known && off <= (int64_t)PAGE_BYTES / 2 && steps * off < (int64_t)PAGE_BYTES)
			return stride < 0 ? -known : known;
	}
	return stride;
}

/* Each page says where, at most a page before it, the rows of its column begin. */
static bool agree(const uint64_t *at, unsigned int newest, int64_t stride, uint64_t *base)
{
	const int64_t page = PAGE_BYTES;
	int64_t low = 1 - page, high = 0; /* from the newest page */

	for (unsigned int i = 0; i < COLUMNS_FAULTS; i++) {
		int64_t off = (int64_t)(at[i] - at[newest]), column, rest;

		if (i == newest)
			continue;
		column = (off + (off < 0 ? -stride : stride) / 2) / stride;
		rest = off - column * stride;
		if (!column || column > APART || column < -APART)
			return false;
		low = rest + 1 - page > low ? rest + 1 - page : low;
		high = rest < high ? rest : high;
		if (low > high)
			return false;
	}
	*base = at[newest] + (uint64_t)((low + high) / 2 + page - 1);
	return true;
}

int64_t columns_add(struct columns *all, const struct policy_fault *f, uint64_t *base)
{
	uint64_t owner = (uint64_t)f->space.v << 32 | f->tid;
	unsigned int c = f->tid % COLUMNS_CALLERS, newest;

	if (f->offset)
		return 0;
	if (all->caller[c].owner != owner) {
		all->caller[c].owner = owner;
		all->caller[c].nr = 0;
	}
	newest = all->caller[c].nr++ % COLUMNS_FAULTS;
	all->caller[c].at[newest] = f->va;
	if (all->caller[c].nr < COLUMNS_FAULTS)
		return 0;
	for (unsigned int i = 0; i < COLUMNS_STRIDES; i++)
		if (all->stride[i] && agree(all->caller[c].at, newest, all->stride[i], base))
			return all->stride[i];
	return 0;
}
