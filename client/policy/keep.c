/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/keep.h"

#define PROBATION_CHUNKS 8U	/* at least: what is being filled is not to leave at once */
#define RUN_NS		 36000U /* of a fetch: four times what one more run of pages costs */
#define FEW		 16U	/* of what is kept: not worth a move */
#define SOON_SHARE	 8U	/* of what a chunk keeps: it is in use all the time */
#define LATELY		 8192U	/* pages that came back, over which is counted what they were */

/* So many that could not be kept are answered by one look at a chunk: at what was accessed
 * in it, or where that can't be seen at whose turn it is, and then not as often. As many as
 * a chunk has: where a loop makes each turn refuse one, and a look takes more, it is
 * due at every second turn, and always at those of the same chunks. */
#define REFUSED	      CHUNK_PAGES
#define REFUSED_BLIND (4 * CHUNK_PAGES)

/* What is kept has so long to be accessed after a look, in rooms' worth of fills: a whole one, at
 * first, and then 1 / 2^haste. Whoever is hasty lets go of a loop that takes longer, whoever is
 * not keeps for long what is of no use any more. */
#define MOST_HASTE 4
#define DROPPED	   1024U /* pages let go and not come back soon, to be hastier */

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
		return pc->left_at && room->now - pc->left_at < room->pages + room->pages / 5;
	return way == WAY_SOON;
}

static uint64_t most(const struct policy_room *room)
{
	return room->pages - on_probation(room);
}

/* Where much of what comes back does so from standby, there is something that is in use all
 * the time: that is kept in any case, and others go (yield()). */
static bool keep_one(struct keep *k, const struct policy_room *room, enum policy_way way)
{
	if (k->pages < most(room) || (way == WAY_SOON && 4 * k->soon > k->back))
		return true;
	k->refused++;
	return false;
}

void keep_came(struct keep *k, const struct policy_room *room, struct policy_chunk *pc,
	       unsigned int idx, unsigned int nr, enum policy_way way)
{
	bool soon = is_back_soon(room, pc, way);

	if (pc->dropped && way == WAY_BACK && soon)
		k->regretted += nr;
	k->back += way != WAY_NEW ? nr : 0;
	k->soon += way == WAY_SOON ? nr : 0;
	if (k->back > LATELY) {
		k->back /= 2;
		k->soon /= 2;
	}
	if (way == WAY_SOON && pc->soon < UINT16_MAX - nr)
		pc->soon = (uint16_t)(pc->soon + nr);
	for (unsigned int i = idx; i < idx + nr; i++) {
		if (pageset_has(&pc->kept, i)) {
			pageset_del(&pc->kept, i);
			k->pages--;
		}
		if (soon && keep_one(k, room, way)) {
			pageset_add(&pc->kept, i);
			k->pages++;
		}
	}
}

/* How many are no longer kept. */
static unsigned int let_go(struct keep *k, struct policy_chunk *pc, const pageset *stay)
{
	unsigned int was = pageset_count(&pc->kept), is;

	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		pc->kept.w[i] &= stay->w[i];
	is = pageset_count(&pc->kept);
	k->pages -= was - is;
	return was - is;
}

/* Has there been time enough to be accessed since it was looked at? */
static bool is_judged(const struct keep *k, const struct policy_room *room,
		      const struct policy_chunk *pc)
{
	return pc->cleared_at && room->now - pc->cleared_at >= room->pages >> k->haste;
}

/* So many pages that were kept were not accessed. */
static void drop(struct keep *k, struct policy_chunk *pc, unsigned int nr)
{
	pc->dropped = nr > 0;
	k->dropped += nr;
}

/* Where much of what was let go has come back soon, the next have more time, else less will do.
 * Nothing is back before the room was filled anew. */
static void learn(struct keep *k, const struct policy_room *room)
{
	if (room->now - k->learnt_at < room->pages)
		return;
	if (8 * k->regretted > k->dropped + k->dropped_before)
		k->haste -= k->haste > 0;
	else if (k->dropped_before >= DROPPED)
		k->haste += k->haste < MOST_HASTE;
	k->dropped_before = k->dropped;
	k->dropped = k->regretted = 0;
	k->learnt_at = room->now;
}

/* Each chunk is looked at once before any is twice: who has his turn when a look is due is
 * often the same one. */
static bool is_next(struct keep *k, const struct policy_room *room, const struct policy_chunk *pc)
{
	if (!pc->cleared_at || (is_judged(k, room, pc) && pc->cleared_at <= k->round)) {
		k->passed = 0;
		return true;
	}
	if (++k->passed > 2 * room->pages / CHUNK_PAGES) { /* there is none left */
		k->passed = 0;
		k->round = room->now;
	}
	return false;
}

static uint64_t enough(const struct keep *k, bool blind)
{
	return blind ? REFUSED_BLIND : REFUSED >> k->haste / 2;
}

static bool is_looked_at(struct keep *k, const struct policy_room *room,
			 const struct policy_chunk *pc, bool blind)
{
	return k->refused >= enough(k, blind) && pageset_count(&pc->kept) && is_next(k, room, pc);
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

/* Too many are kept, because of others that are in use all the time: as many go as are too
 * many. */
static void yield(struct keep *k, const struct policy_room *room, struct policy_chunk *pc)
{
	unsigned int i = pageset_next(&pc->kept, 0);

	for (; i < CHUNK_PAGES && k->pages > most(room); i = pageset_next(&pc->kept, i + 1)) {
		pageset_del(&pc->kept, i);
		k->pages--;
	}
}

bool keep_leave(struct keep *k, const struct policy_room *room, struct policy_chunk *pc,
		const pageset *young, pageset *set)
{
	const pageset none = {{0}};
	bool look, judged, yields;
	pageset stay;

	learn(k, room); /* first: it says how much a look costs */
	look = is_looked_at(k, room, pc, !young);
	judged = young && is_judged(k, room, pc);
	yields = k->pages > most(room) && pc->soon < pageset_count(&pc->kept) / SOON_SHARE;
	pc->soon = 0;
	let_go(k, pc, set);
	if (judged)
		drop(k, pc, let_go(k, pc, young));
	else if (look && !young)
		let_go(k, pc, &none);
	if (yields)
		yield(k, room, pc);
	divide(room, pc, set);
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		stay.w[i] = pc->kept.w[i] & ~set->w[i];
	let_go(k, pc, &stay);
	if (pageset_count(set))
		pc->left_at = room->now;
	if (!look)
		return false;
	k->refused -= enough(k, !young);
	pc->cleared_at = room->now;
	return young;
}

void keep_forget(struct keep *k, const struct policy_chunk *pc)
{
	k->pages -= pageset_count(&pc->kept);
}
