/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/zeros.h"

static struct zero_stream *lookup(struct zeros *all, const struct policy_fault *f)
{
	struct zero_stream *oldest = &all->stream[0];

	for (unsigned int i = 0; i < ZERO_STREAMS; i++) {
		struct zero_stream *s = &all->stream[i];

		if (s->space.v == f->space.v && s->next_va == f->va)
			return s;
		if ((int32_t)(s->used - oldest->used) < 0)
			oldest = s;
	}
	*oldest = (struct zero_stream){.space = f->space};
	return oldest;
}

uint32_t zeros_ahead(struct zeros *all, const struct policy_fault *f)
{
	struct zero_stream *s = lookup(all, f);
	uint32_t room = CHUNK_PAGES - 1 - (uint32_t)(f->va >> PAGE_SHIFT) % CHUNK_PAGES;

	if (s->next_va)
		s->window = s->window ? s->window * 2 : 1;
	if (s->window > CHUNK_PAGES - 1)
		s->window = CHUNK_PAGES - 1;
	s->used = ++all->tick;
	if (s->window < room)
		room = s->window;
	s->next_va = f->va + (1 + room) * PAGE_BYTES;
	return room;
}
