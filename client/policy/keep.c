/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/keep.h"

#define PROBATION_CHUNKS 8U	/* at least: what is being filled is not to leave at once */
#define SOON		 4U	/* rooms' worth of fills: a loop over so much is one */
#define RUN_NS		 36000U /* four times what one costs */
#define FEW		 16U
#define REFUSED		 (2 * CHUNK_PAGES) /* so many for each look at a chunk's accesses */

static uint64_t on_probation(const struct policy_room *room)
{
	uint64_t least = (uint64_t)PROBATION_CHUNKS * CHUNK_PAGES;

	if (least > room->pages / 2)
		least = room->pages / 2;
	return room->pages / 10 > least ? room->pages / 10 : least;
}

static bool is_back_soon(const struct policy_room *room, const struct policy_chunk *pc,
			 enum policy_way way)
{
	if (way == WAY_BACK)
		return pc->left_at && room->now - pc->left_at < SOON * room->pages;
	return way == WAY_SOON;
}

static bool keep_one(struct keep *k, const struct policy_room *room)
{
	if (k->pages < room->pages - on_probation(room))
		return true;
	k->refused++;
	return false;
}

void keep_came(struct keep *k, const struct policy_room *room, struct policy_chunk *pc,
	       unsigned int idx, unsigned int nr, enum policy_way way)
{
	bool soon = is_back_soon(room, pc, way);

	for (unsigned int i = idx; i < idx + nr; i++) {
		if (pageset_has(&pc->kept, i)) {
			pageset_del(&pc->kept, i);
			k->pages--;
		}
		if (soon && keep_one(k, room)) {
			pageset_add(&pc->kept, i);
			k->pages++;
		}
	}
}

static void let_go(struct keep *k, struct policy_chunk *pc, const pageset *stay)
{
	k->pages -= pageset_count(&pc->kept);
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		pc->kept.w[i] &= stay->w[i];
	k->pages += pageset_count(&pc->kept);
}

/* Has there been time enough to be accessed since it was looked at? */
static bool is_judged(const struct policy_room *room, const struct policy_chunk *pc)
{
	return pc->cleared_at && room->now - pc->cleared_at >= room->pages;
}

/* How often is what leaves interrupted by what stays? */
static unsigned int runs_of(const pageset *leave, const pageset *stay)
{
	unsigned int runs = 0, idx = pageset_next(leave, 0);

	for (; idx < CHUNK_PAGES; runs++) {
		idx = pageset_next(stay, idx);
		idx = pageset_next(leave, idx);
	}
	return runs;
}

/* What is kept stays where that pays: each run of pages has to be moved apart, which
 * costs as much as several pages. Else few leave for the sake of none, or all. */
static void divide(const struct policy_room *room, struct policy_chunk *pc, pageset *set)
{
	const pageset *kept = &pc->kept;
	unsigned int nr, nr_kept = pageset_count(kept);
	pageset leave;

	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		leave.w[i] = set->w[i] & ~kept->w[i];
	nr = pageset_count(&leave);
	if (nr * room->fetch_ns >= (uint64_t)runs_of(&leave, kept) * RUN_NS)
		*set = leave;
	else if (nr < nr_kept / FEW || (nr < nr_kept && !pc->spared))
		*set = (pageset){{0}};
	pc->spared = !pageset_count(set);
}

bool keep_leave(struct keep *k, const struct policy_room *room, struct policy_chunk *pc,
		const pageset *young, pageset *set)
{
	uint64_t enough = young ? REFUSED : 2 * REFUSED;
	bool look = k->refused >= enough && pageset_count(&pc->kept);
	bool judge = young ? is_judged(room, pc) : look;
	pageset stay;

	for (unsigned int i = 0; i < CHUNK_WORDS; i++) {
		stay.w[i] = set->w[i];
		if (judge)
			stay.w[i] &= young ? young->w[i] : 0;
	}
	let_go(k, pc, &stay);
	divide(room, pc, set);
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		stay.w[i] &= ~set->w[i];
	let_go(k, pc, &stay);
	if (pageset_count(set))
		pc->left_at = room->now;
	if (!look)
		return false;
	k->refused -= enough;
	pc->cleared_at = room->now;
	return young;
}

void keep_forget(struct keep *k, const struct policy_chunk *pc)
{
	k->pages -= pageset_count(&pc->kept);
}
