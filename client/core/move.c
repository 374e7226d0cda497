/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One chunk's pages leave the job: what can and should go is found out, frames are
 * handed over for it, the space's agent is asked, and its answer taken.
 */
#include "client/core/internal.h"

/* By turns: what the agent has to spare is in them, until they are used again. */
static struct half *free_half(struct space *s)
{
	for (unsigned int n = 0; n < CORE_HALVES; n++) {
		struct half *half = &s->half[(s->turn + n) % CORE_HALVES];

		if (!half->busy)
			return half;
	}
	return NULL;
}

bool space_can_move(struct core *c, struct space *s)
{
	if (s->agent == AGENT_NONE) {
		s->agent = AGENT_ASKED;
		c->b.capture->want_agent(c->b.capture_ctx, s->id);
	}
	return s->agent == AGENT_HERE && !s->nr_held && !unshare_pending(s) && free_half(s);
}

/* Of what the kernel could move, what the core lets go. */
static void choose(const struct core *c, const struct chunk *ch, pageset *set)
{
	const struct space *s = chunk_space(c, ch);
	const struct core_range *r = ranges_above(c, s, ch->va);

	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES; i = pageset_next(set, i + 1)) {
		uint64_t va = ch->va + i * PAGE_BYTES;
		const struct rec *rec = chunk_rec(c, ch, i);

		if (r && va >= r->end)
			r = ranges_above(c, s, va);
		if (!r || va < r->start || pageset_has(&ch->removed, i) ||
		    (rec && rec->state != REC_NONE && rec->state != REC_RESIDENT))
			pageset_del(set, i);
	}
}

/* At most @max of them, going on where the last move of the chunk ended, so
 * that pages which refuse don't keep the others from their turn. True: not all. */
static bool limit(struct chunk *ch, pageset *set, unsigned int max)
{
	unsigned int i = pageset_next(set, ch->next_idx), all = pageset_count(set);
	pageset out = {{0}};

	while (max--) {
		if (i == CHUNK_PAGES)
			i = pageset_next(set, 0);
		if (i == CHUNK_PAGES || pageset_has(&out, i))
			break;
		pageset_add(&out, i);
		i = pageset_next(set, i + 1);
	}
	ch->next_idx = (uint16_t)(i % CHUNK_PAGES);
	*set = out;
	return pageset_count(set) < all;
}

static void put_back(struct core *c, struct chunk *ch, unsigned int idx)
{
	struct rec *r = chunk_rec(c, ch, idx);

	frame_put(c, (uint32_t)r->frame);
	r->frame = 0;
	if (r->guarded)
		r->guarded = 0; /* it may have been to scratch and back */
	rec_set(c, ch, idx, r->has_slot ? REC_RESIDENT : REC_NONE);
}

/* So many pages between two commits: what is kept for taking them back stays in the cache. */
#define COMMIT_PAGES 8U

/* And so many in a run, or COMMIT_PAGES where somebody waits. */
#define HAND_PAGES 64U

/* What was planned is the half's, to be moved; some of it, if this ends here. True: that is
 * all, or no frame is left for more. */
static bool hand_over(struct core *c, struct chunk *ch, struct half *half)
{
	pageset *want = &c->plan.want;
	unsigned int n = 0, i;

	for (i = pageset_next(want, 0); i < CHUNK_PAGES; i = pageset_next(want, i + 1)) {
		uint32_t f = frame_get(c, true);
		struct rec *r = chunk_rec(c, ch, i);

		if (f == NO_FRAME)
			break;
		c->frames[f].chunk = ref_to(c, ch);
		c->frames[f].idx = (uint16_t)i;
		rec_set(c, ch, i, REC_MOVING);
		r->frame = f;
		pageset_add(&half->want, i);
		pageset_del(want, i);
		c->st->moving_pages++;
		if (++n % COMMIT_PAGES)
			continue;
		core_commit(c);
		if (n == HAND_PAGES || core_pressed(c))
			return false;
	}
	core_commit(c);
	return true;
}

/* Those of @some that the half has, which were not moved. */
static void take_back(struct core *c, struct chunk *ch, const pageset *some, struct half *half)
{
	unsigned int n = 0;

	for (unsigned int i = pageset_next(some, 0); i < CHUNK_PAGES;
	     i = pageset_next(some, i + 1)) {
		put_back(c, ch, i);
		pageset_del(&half->want, i);
		c->st->moving_pages--;
		if (++n % COMMIT_PAGES == 0)
			core_commit(c);
	}
}

/* Of what could leave, what does. True: some of it stays. */
static bool ask_policy(struct core *c, const struct space *s, struct chunk *ch, pageset *set)
{
	const struct capture_ops *cap = c->b.capture;
	struct policy_room room = policy_room(c);
	pageset young, all = *set, stay;
	bool known = cap->ages && !cap->ages(c->b.capture_ctx, s->id, ch->va, &young);
	bool clear = policy_leave(c->b.policy, c->b.policy_ctx, &room, &ch->pc,
				  known ? &young : NULL, set);

	for (unsigned int i = 0; i < CHUNK_WORDS; i++) {
		set->w[i] &= all.w[i];
		stay.w[i] = all.w[i] & ~set->w[i];
	}
	if (clear && known && pageset_count(&stay))
		cap->age(c->b.capture_ctx, s->id, ch->va, &stay);
	return pageset_count(&stay);
}

/* It was looked at; if some of it stays its turn comes again after all others. */
static void stays(struct core *c, struct chunk *ch, bool some)
{
	chunk_unqueue(c, ch);
	if (some)
		chunk_queue(c, ch, false);
}

/* Of these those that are there, and could be moved. It costs most, and comes last: what is
 * kept need not be looked up. */
static int only_present(const struct core *c, const struct space *s, const struct chunk *ch,
			pageset *set)
{
	pageset here;
	int err;

	if (!pageset_count(set))
		return 0;
	err = c->b.capture->scan(c->b.capture_ctx, s->id, ch->va, true, &here);
	for (unsigned int i = 0; !err && i < CHUNK_WORDS; i++)
		set->w[i] &= here.w[i];
	return err;
}

int chunk_plan(struct core *c, struct space *s, struct chunk *ch, bool all_of_it)
{
	bool some_stay = false;
	pageset want;
	int err;

	if (chunk_placing(c, ch) || !c->b.capture->can_move(c->b.capture_ctx, s->id))
		return -EAGAIN;
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		want.w[i] = UINT64_MAX;
	choose(c, ch, &want);
	if (!all_of_it)
		some_stay = ask_policy(c, s, ch, &want);
	err = only_present(c, s, ch, &want);
	if (err)
		return err;
	if (!pageset_count(&want)) {
		stays(c, ch, some_stay);
		c->st->spared += some_stay;
		return 0;
	}
	c->plan.space = s->id;
	c->plan.va = ch->va;
	c->plan.since_ns = c->b.env->now_ns(c->b.env_ctx);
	c->plan.some_stay = some_stay;
	c->plan.swept = false;
	c->plan.want = want;
	c->plan.half = NULL;
	return -EINPROGRESS;
}

/* From here until the agent's answer no message of the space is read. */
static int begin(struct core *c, struct space *s, struct chunk *ch)
{
	if (chunk_placing(c, ch) || !c->b.capture->can_move(c->b.capture_ctx, s->id))
		return -EBUSY;
	choose(c, ch, &c->plan.want);
	if (!pageset_count(&c->plan.want) || !frames_for_bulk(c))
		return -EAGAIN;
	if (!chunk_need_table(c, ch))
		return -ENOMEM;
	c->plan.some_left = limit(ch, &c->plan.want, frames_for_bulk(c));
	c->plan.half = free_half(s);
	*c->plan.half =
		(struct half){.chunk = ref_to(c, ch), .busy = true, .some_stay = c->plan.some_stay};
	return 0;
}

/* Of these pages, those that the store has, unless the kernel let the job write to them without
 * a word: that it still guards them is for capture to say. */
static pageset guarded_of(const struct core *c, const struct chunk *ch, const pageset *set)
{
	pageset out = {{0}};

	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES; i = pageset_next(set, i + 1))
		if (chunk_rec(c, ch, i)->guarded)
			pageset_add(&out, i);
	return out;
}

int chunk_move(struct core *c, struct space *s, struct chunk *ch)
{
	struct half *half;
	int nr, err = c->plan.half ? 0 : begin(c, s, ch);
	pageset want, known;

	if (err)
		return err;
	half = c->plan.half;
	if (!hand_over(c, ch, half))
		return -EINPROGRESS;
	c->plan.half = NULL;
	c->plan.some_left |= pageset_count(&c->plan.want) > 0;
	want = half->want;
	s->turn = (uint8_t)((half - s->half + 1) % CORE_HALVES);
	nr = (int)pageset_count(&want);
	known = guarded_of(c, ch, &want);
	err = nr ? c->b.capture->move(c->b.capture_ctx, s->id, (unsigned int)(half - s->half),
				      ch->va, &want, &known)
		 : -EAGAIN;
	if (err) {
		take_back(c, ch, &want, half);
		*half = (struct half){0};
		return err;
	}
	if (c->plan.some_left)
		chunk_queue(c, ch, true);
	else
		stays(c, ch, c->plan.some_stay);
	return nr;
}

void move_forget(struct core *c, struct space *s)
{
	if (!c->plan.half || c->plan.space.v != s->id.v)
		return;
	*c->plan.half = (struct half){0};
	c->plan.half = NULL;
	c->plan.va = 0;
}

/* ---- the answer ---- */

/* These can't leave. */
static void stuck(struct core *c, unsigned int pages)
{
	struct state *st = c->st;

	st->stuck_pages += pages;
	if (st->stuck_pages * PAGE_BYTES > st->stats.stuck_bytes)
		st->stats.stuck_bytes = st->stuck_pages * PAGE_BYTES;
}

/* Refused with EBUSY: shared with a forked process, or pinned. */
static void refused_busy(struct core *c, struct space *s, struct chunk *ch, const pageset *busy)
{
	c->st->stats.moves_busy += pageset_count(busy);
	if (unshare_refused(c, s, ch, busy))
		return;
	stuck(c, pageset_count(busy)); /* pinned */
	ch->populated = false;
}

void core_moved(struct core *c, space_id sp, unsigned int h, const pageset *moved,
		const pageset *known, const pageset *busy, const pageset *invalid, bool overtaken)
{
	struct space *s = space_find(c, sp);
	struct half *half;
	struct chunk *ch;
	pageset got, refused, guarded;

	assert(s && h < CORE_HALVES && s->half[h].busy && !s->half[h].moved);
	half = &s->half[h];
	ch = at(c, half->chunk);
	if (!ch) {
		*half = (struct half){0};
		space_release(c, s);
		return;
	}
	c->st->stats.moves_overtaken += overtaken;
	for (unsigned int i = 0; i < CHUNK_WORDS; i++) {
		got.w[i] = moved->w[i] & half->want.w[i];
		refused.w[i] = half->want.w[i] & ~moved->w[i];
	}
	take_back(c, ch, &refused, half);
	guarded = guarded_of(c, ch, &got);
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		half->known.w[i] = guarded.w[i] & known->w[i];
	half->moved = true;
	c->st->nr_moved++;
	if (pageset_count(&got)) {
		c->st->moved_ns = c->b.env->now_ns(c->b.env_ctx);
		c->st->spared = 0;
	} else if (half->some_stay) {
		c->st->spared++; /* what would go can't; what stays gets no younger by that */
	} else if (!overtaken) {
		chunk_unqueue(c, ch); /* until the next sweep */
	}
	if (overtaken)
		chunk_queue(c, ch, true);
	else if (!pageset_count(&got) && s->made_va == ch->va)
		s->made_va = 0; /* it is the next no longer: the others get their turn */
	if (pageset_count(busy))
		refused_busy(c, s, ch, busy);
	else
		ch->populated = false;
	stuck(c, pageset_count(invalid)); /* locked or read-only: the next sweep asks again */
	if (!pageset_count(&got))
		half_done(c, s, half, ch);
}
