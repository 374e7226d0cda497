/* SPDX-License-Identifier: Apache-2.0 */
/* Arena: objects of power-of-two sizes in shared memory, a free list each. */
#include "client/core/internal.h"

static unsigned int class_of(uint64_t bytes)
{
	unsigned int k = 0;

	while (ARENA_UNIT << k < bytes)
		k++;
	return k;
}

ref arena_get(struct core *c, uint64_t bytes)
{
	struct state *st = c->st;
	unsigned int k = class_of(bytes);
	uint64_t size = ARENA_UNIT << k;
	ref r;

	if (k >= ARENA_CLASSES)
		return (ref){0};
	r = st->heap_free[k];
	if (r.v) {
		undo_note(at(c, r), bytes); /* in use, if it was freed since the last commit */
		st->heap_free[k] = *(ref *)at(c, r);
	} else {
		if (st->heap_next + size > st->heap_end)
			return (ref){0};
		r.v = (uint32_t)(st->heap_next / ARENA_UNIT);
		st->heap_next += size;
	}
	memset(at(c, r), 0, bytes);
	return r;
}

void arena_put(struct core *c, ref r, uint64_t bytes)
{
	unsigned int k = class_of(bytes);

	if (!r.v)
		return;
	*(ref *)at(c, r) = c->st->heap_free[k];
	c->st->heap_free[k] = r;
}
