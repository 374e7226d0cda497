/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ranges of a space that are known to be registered: sorted, disjoint,
 * neighbours joined. Records exist only inside them.
 */
#include "client/core/internal.h"

static struct core_range *ranges_of(const struct core *c, const struct space *s)
{
	return at(c, s->ranges);
}

/* Index of the first range that ends above @va. */
static uint32_t above(const struct core *c, const struct space *s, uint64_t va)
{
	const struct core_range *r = ranges_of(c, s);
	uint32_t lo = 0, hi = s->nr_ranges;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (r[mid].end > va)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

const struct core_range *ranges_above(const struct core *c, const struct space *s, uint64_t va)
{
	uint32_t i = above(c, s, va);

	return i < s->nr_ranges ? ranges_of(c, s) + i : NULL;
}

bool ranges_has(const struct core *c, const struct space *s, uint64_t va)
{
	const struct core_range *r = ranges_above(c, s, va);

	return r && r->start <= va;
}

bool ranges_overlap(const struct core *c, const struct space *s, uint64_t start, uint64_t end)
{
	const struct core_range *r = ranges_above(c, s, start);

	return r && r->start < end;
}

static bool make_room(struct core *c, struct space *s)
{
	uint32_t max = s->max_ranges ? s->max_ranges * 2 : 8;
	ref r;

	if (s->nr_ranges < s->max_ranges)
		return true;
	r = arena_get(c, max * sizeof(struct core_range));
	if (!r.v) {
		core_lost(c, LOSS_INTERNAL, s->id, 0, -ENOMEM);
		return false;
	}
	if (s->nr_ranges)
		memcpy(at(c, r), ranges_of(c, s), s->nr_ranges * sizeof(struct core_range));
	arena_put(c, s->ranges, s->max_ranges * sizeof(struct core_range));
	s->ranges = r;
	s->max_ranges = max;
	return true;
}

static void replace(struct core *c, struct space *s, uint32_t i, uint32_t old, uint32_t new)
{
	struct core_range *r = ranges_of(c, s);

	undo_note(r + i + new, (s->nr_ranges - i - old) * sizeof(*r));
	memmove(r + i + new, r + i + old, (s->nr_ranges - i - old) * sizeof(*r));
	s->nr_ranges = s->nr_ranges - old + new;
}

bool ranges_add(struct core *c, struct space *s, uint64_t start, uint64_t end)
{
	struct core_range *r;
	uint32_t i, n = 0;

	if (!make_room(c, s))
		return false;
	r = ranges_of(c, s);
	i = start ? above(c, s, start - 1) : 0;
	while (i + n < s->nr_ranges && r[i + n].start <= end) {
		if (r[i + n].start < start)
			start = r[i + n].start;
		if (r[i + n].end > end)
			end = r[i + n].end;
		n++;
	}
	replace(c, s, i, n, 1);
	r[i] = (struct core_range){start, end};
	return true;
}

bool ranges_del(struct core *c, struct space *s, uint64_t start, uint64_t end)
{
	uint32_t i;
	struct core_range *r;

	if (!make_room(c, s))
		return false;
	r = ranges_of(c, s);
	i = above(c, s, start);
	if (i < s->nr_ranges && r[i].start < start && r[i].end > end) {
		uint64_t old_end = r[i].end;

		replace(c, s, i, 1, 2);
		r[i].end = start;
		r[i + 1] = (struct core_range){end, old_end};
		return true;
	}
	if (i < s->nr_ranges && r[i].start < start)
		r[i++].end = start;
	while (i < s->nr_ranges && r[i].start < end) {
		if (r[i].end > end) {
			r[i].start = end;
			break;
		}
		replace(c, s, i, 1, 0);
	}
	return true;
}
