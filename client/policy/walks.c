/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/walks.h"

#include <stdlib.h>

#define LEAST_STEPS 3U
#define MOST_STEPS  8U
#define UNPROVEN    8U		/* streams that may begin at once */
#define FAR	    (1LL << 24) /* pages: a longer step is none */

static uint64_t page_of(const struct policy_fault *f)
{
	return f->va >> PAGE_SHIFT;
}

struct walker *walks_who(struct walks *all, const struct policy_fault *f)
{
	uint64_t h = (f->ip ^ f->tid * 0x9e3779b97f4a7c15ULL ^ (uint64_t)f->space.v << 32) *
		     0xbf58476d1ce4e5b9ULL;
	struct walker *who = &all->walker[h >> 32 & (WALKERS - 1)];

	if (who->space.v != f->space.v || who->tid != f->tid || who->ip != f->ip)
		*who = (struct walker){.space = f->space, .tid = f->tid, .ip = f->ip};
	return who;
}

/* The walk that most likely goes on at @page: where its last step leads, else
 * at the same instruction, else near by. WALKS: none is near; the oldest is in
 * @oldest. */
static unsigned int find(const struct walks *all, const struct policy_fault *f, uint64_t owner,
			 unsigned int *oldest)
{
	unsigned int best = WALKS, best_rank = UINT32_MAX;

	*oldest = 0;
	for (unsigned int i = 0; i < WALKS; i++) {
		uint64_t off = page_of(f) - all->last[i] + WALKS_NEAR;
		int64_t step = (int64_t)off - WALKS_NEAR;
		unsigned int rank;

		if ((int32_t)(all->used[i] - all->used[*oldest]) < 0)
			*oldest = i;
		if (off > 2 * WALKS_NEAR || all->owner[i] != owner)
			continue;
		rank = (unsigned int)(step < 0 ? -step : step);
		if (step && step != trend_step(&all->walk[i].trend, 0))
			rank += all->walk[i].ip == f->ip ? WALKS_NEAR : 3 * WALKS_NEAR;
		if (rank < best_rank) {
			best_rank = rank;
			best = i;
		}
	}
	return best;
}

static int32_t near_by(struct walks *all, const struct policy_fault *f, unsigned int least)
{
	uint64_t owner = (uint64_t)f->space.v << 32 | f->tid;
	unsigned int oldest, i = find(all, f, owner, &oldest);
	int32_t stride;
	int64_t step;

	if (i == WALKS) {
		all->owner[oldest] = owner;
		all->last[oldest] = page_of(f);
		all->used[oldest] = ++all->tick;
		all->walk[oldest] = (struct walk){.ip = f->ip};
		return 0;
	}
	step = (int64_t)(page_of(f) - all->last[i]);
	all->used[i] = ++all->tick;
	if (!step)
		return 0;
	all->walk[i].ip = f->ip;
	all->last[i] = page_of(f);
	trend_add(&all->walk[i].trend, (int32_t)step);
	stride = trend_steady(&all->walk[i].trend, least);
	if (stride || least > LEAST_STEPS) /* who erred of late has to be sure */
		return stride;
	return trend_mostly(&all->walk[i].trend);
}

/* Steps of any length: what most of them say is what several streams have in
 * common. */
static int32_t by_walker(struct walker *who, int64_t step, unsigned int least)
{
	if (!step)
		return 0;
	if (step > FAR || step < -FAR) {
		who->trend = (struct trend){0};
		return 0;
	}
	trend_add(&who->trend, (int32_t)step);
	return trend_steady(&who->trend, least);
}

/* The same to the byte, of what is no whole number of pages, but more than one. */
static int32_t exactly(struct walker *who, int64_t step, unsigned int least)
{
	int32_t stride;

	if (step > INT32_MAX || step < INT32_MIN) {
		who->exactly = (struct trend){0};
		return 0;
	}
	trend_add(&who->exactly, (int32_t)step);
	stride = trend_steady(&who->exactly, least);
	return labs(stride) > (long)PAGE_BYTES && stride % (int32_t)PAGE_BYTES ? stride : 0;
}

unsigned int walks_alike(const struct walker *who, int64_t stride)
{
	unsigned int nr = 0;

	while (nr < TREND_STEPS && trend_step(&who->trend, nr) * (int64_t)PAGE_BYTES == stride)
		nr++;
	return nr;
}

int64_t walks_add(struct walks *all, struct walker *who, const struct policy_fault *f)
{
	uint32_t more = who->unproven > UNPROVEN ? who->unproven - UNPROVEN : 0;
	unsigned int least = more < MOST_STEPS - LEAST_STEPS ? LEAST_STEPS + more : MOST_STEPS;
	uint64_t at = f->va + f->offset, last = who->last;
	int32_t far, near, exact;

	who->last = at;
	exact = exactly(who, (int64_t)(at - last), least);
	far = by_walker(who, (int64_t)(page_of(f) - (last >> PAGE_SHIFT)), least);
	near = near_by(all, f, least);
	if (exact)
		return exact;
	return (near ? near : far) * (int64_t)PAGE_BYTES;
}
