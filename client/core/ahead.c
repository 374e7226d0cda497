/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the policy expects to be touched next. A plan may name any address; of
 * it is carried out what is right and fits: pages that left, one by one, in
 * order, until the cap or the frames say no. A page at the store is asked for
 * behind everything that is waited for; one that stands by is put in place.
 * The marker of a run stays on standby: its frame may be taken like any other.
 */
#include "client/core/internal.h"

static struct policy_fault told(const struct space *s, const struct waiting *w,
				enum policy_kind kind)
{
	return (struct policy_fault){.space = s->id,
				     .va = w->va & PAGE_MASK,
				     .ip = w->ip,
				     .tid = w->tid,
				     .offset = (uint16_t)(w->va & ~PAGE_MASK),
				     .kind = (uint8_t)kind};
}

unsigned int ahead_zeros(struct core *c, struct space *s, const struct waiting *w)
{
	struct policy_fault f = told(s, w, POLICY_ZERO);
	struct policy_plan plan = {0};

	c->b.policy->plan(c->b.policy_ctx, &f, &plan);
	return plan.zeros < CHUNK_PAGES ? plan.zeros : CHUNK_PAGES - 1;
}

/* What is on its way comes to the job as well. Half of the frames are for what
 * leaves. */
static bool has_room(const struct core *c, const struct space *s)
{
	uint64_t coming = c->st->stats.records[REC_FETCHING];

	return coming < (c->st->cfg.nr_frames + 1) / 2 && cap_allows(c, s, 0, coming + 2);
}

static bool put_in_place(struct core *c, uint32_t f)
{
	if (frame_install(c, f))
		return false;
	c->st->stats.pages_early++;
	return true;
}

/* False: no more of this plan. @write: to be written to. @marker: in, may it be one; out, it
 * is one. */
static bool expect(struct core *c, struct space *s, uint64_t va, bool write, bool *marker)
{
	struct chunk *ch = chunk_find(c, s, va);
	struct rec *r = ch ? chunk_rec(c, ch, page_idx(va)) : NULL;
	bool may = *marker;

	*marker = false;
	if (r && page_placing(c, ch, page_idx(va)))
		return true;
	switch (r ? (enum rec_state)r->state : REC_NONE) {
	case REC_REMOTE:
		if (!slot_is_written(c, r->slot))
			return true;
		if (!has_room(c, s) || !fetch(c, ch, page_idx(va), NULL))
			return false;
		break;
	case REC_MOVING: /* it is just leaving */
		*marker = may;
		return !take_page_in(c, s, ch, page_idx(va)) || expect(c, s, va, write, marker);
	case REC_FETCHING: /* by an earlier plan, unless somebody waits for it */
		if (!c->frames[r->frame].ahead)
			return true;
		break;
	case REC_STANDBY:
		if (write)
			c->frames[r->frame].writes = true;
		if (!may)
			return has_room(c, s) && put_in_place(c, (uint32_t)r->frame);
		break;
	default:
		return true;
	}
	*marker = may;
	if (write)
		c->frames[r->frame].writes = true;
	c->frames[r->frame].marker |= may;
	return true;
}

static bool expect_run(struct core *c, struct space *s, const struct policy_run *run, bool write)
{
	uint32_t nr = run->nr < POLICY_RUN_PAGES ? run->nr : POLICY_RUN_PAGES;
	uint64_t va = run->va;
	bool marked = false;

	for (uint32_t i = 0; i < nr; i++, va += (uint64_t)run->stride) {
		bool marker = !marked && i >= run->marker;

		if (!expect(c, s, va & PAGE_MASK, write, &marker) || c->st->lost)
			return false;
		marked |= marker;
	}
	return true;
}

static void expect_pages(struct core *c, struct space *s, const uint64_t *va, uint32_t nr,
			 bool write)
{
	bool marked = false;

	for (uint32_t i = 0; i < nr && i < POLICY_RUN_PAGES; i++) {
		bool marker = !marked;

		if (!expect(c, s, va[i] & PAGE_MASK, write, &marker) || c->st->lost)
			return;
		marked |= marker;
	}
}

void ahead_run(struct core *c, struct space *s, const struct waiting *w, enum policy_kind kind)
{
	struct policy_fault f = told(s, w, kind);
	struct policy_plan plan = {0};

	/* An agent's touches are not the job's; a thread that is stopped for one
	 * is let through page by page. */
	if (w->told || w->tid == CORE_AGENT_TID || s->let_through || c->st->lost)
		return;
	c->b.policy->plan(c->b.policy_ctx, &f, &plan);
	for (uint32_t i = 0; i < plan.nr_runs && i < POLICY_RUNS; i++)
		if (!expect_run(c, s, &plan.run[i], w->write))
			break;
	expect_pages(c, s, plan.page, plan.nr_pages, w->write);
	if (!c->b.store->ops->page) /* else what leaves comes first: core_run() */
		io_submit_reads(c);
}
