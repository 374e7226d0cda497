/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction: choose a chunk, have its pages moved to scratch, copy them out,
 * let scratch go. Never on the way of a fault, always a chunk at a time.
 *
 * Oldest first: memory that was there before the space was managed and has
 * not been filled since (a sweep over its ranges), then chunks in the order of
 * their first fill since they were last looked at. Which of a chunk's pages leave
 * is the policy's choice, until nothing has left in a whole round.
 */
#include "client/core/internal.h"

#define SCANS_A_RUN 8U /* some 8 us each: whoever faults meanwhile waits for them */
#define RESWEEP_NS  100000000ULL
#define STUCK_NS    5000000000ULL

/* So many are copied out and summed up before anybody who waits is answered: fewer, when
 * it is known that somebody does. */
#define TAKE_PAGES   8U
#define TAKE_HURRIED 2U

static uint64_t anon_cap(const struct core *c)
{
	uint64_t frames = c->st->cfg.nr_frames * PAGE_BYTES;

	return c->st->cfg.cap_bytes > frames ? c->st->cfg.cap_bytes - frames : 0;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t cap_hard_bytes(const struct core *c)
{
	return anon_cap(c) + min64(c->st->cfg.cap_bytes / 16, CORE_SLACK_BYTES);
}

uint64_t evict_target_bytes(const struct core *c)
{
	uint64_t step = min64(c->st->cfg.cap_bytes / 32, CORE_SLACK_BYTES / 2);
	int64_t high = (int64_t)(anon_cap(c) - min64(anon_cap(c), step));
	int64_t here = c->st->local_anon - (int64_t)(c->st->moving_pages * PAGE_BYTES);

	return here > high ? (uint64_t)(here - high) + step : 0;
}

/* ---- one chunk ---- */

static struct half *free_half(struct space *s)
{
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		if (!s->half[h].busy)
			return &s->half[h];
	return NULL;
}

struct policy_room policy_room(const struct core *c)
{
	return (struct policy_room){.pages = anon_cap(c) / PAGE_BYTES,
				    .now = c->st->fill_seq,
				    .fetch_ns = c->st->fetch_ns};
}

static bool can_move(struct core *c, struct space *s)
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
 * that pages which refuse don't keep the others from their turn. */
static void limit(struct chunk *ch, pageset *set, unsigned int max)
{
	pageset out = {{0}};
	unsigned int i = pageset_next(set, ch->next_idx);

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
}

static void put_back(struct core *c, struct chunk *ch, unsigned int idx)
{
	struct rec *r = chunk_rec(c, ch, idx);

	frame_put(c, (uint32_t)r->frame);
	r->frame = 0;
	rec_set(c, ch, idx, r->has_slot ? REC_RESIDENT : REC_NONE);
}

/* So many pages between two commits: what is kept for taking them back stays in the cache. */
#define COMMIT_PAGES 8U

/* They are the half's, to be moved; in part, if this ends here. */
static void hand_over(struct core *c, struct chunk *ch, const pageset *want, struct half *half)
{
	unsigned int n = 0;

	for (unsigned int i = pageset_next(want, 0); i < CHUNK_PAGES;
	     i = pageset_next(want, i + 1)) {
		uint32_t f = frame_get(c, true);
		struct rec *r = chunk_rec(c, ch, i);

		c->frames[f].chunk = ref_to(c, ch);
		c->frames[f].idx = (uint16_t)i;
		rec_set(c, ch, i, REC_MOVING);
		r->frame = f;
		pageset_add(&half->want, i);
		c->st->moving_pages++;
		if (++n % COMMIT_PAGES == 0)
			core_commit(c);
	}
	core_commit(c);
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

/* What should leave the chunk is found out in one run and asked for in the next, so that
 * nobody who faults has to wait for both. -EINPROGRESS; 0: nothing here can or should go;
 * -errno: not now. @all_of_it: whatever the policy says. */
static int plan_chunk(struct core *c, struct space *s, struct chunk *ch, bool all_of_it)
{
	bool some_stay = false;
	pageset want;
	int err;

	if (!c->b.capture->can_move(c->b.capture_ctx, s->id))
		return -EAGAIN;
	err = c->b.capture->scan(c->b.capture_ctx, s->id, ch->va, true, &want);
	if (err)
		return err;
	choose(c, ch, &want);
	if (!all_of_it)
		some_stay = ask_policy(c, s, ch, &want);
	if (!pageset_count(&want)) {
		stays(c, ch, some_stay);
		c->st->spared += some_stay;
		return 0;
	}
	c->plan.space = s->id;
	c->plan.va = ch->va;
	c->plan.some_stay = some_stay;
	c->plan.swept = false;
	c->plan.want = want;
	return -EINPROGRESS;
}

/* Pages that are now on their way, of those that were planned; -errno: not now. */
static int move_chunk(struct core *c, struct space *s, struct chunk *ch)
{
	bool some_stay = c->plan.some_stay;
	struct half *half = free_half(s);
	pageset want = c->plan.want;
	unsigned int nr, all;
	int err;

	if (!c->b.capture->can_move(c->b.capture_ctx, s->id))
		return -EAGAIN;
	choose(c, ch, &want);
	all = pageset_count(&want);
	limit(ch, &want, frames_for_bulk(c));
	nr = pageset_count(&want);
	if (!nr)
		return -EAGAIN;
	if (!chunk_need_table(c, ch))
		return -ENOMEM;
	*half = (struct half){.chunk = ref_to(c, ch), .busy = true, .some_stay = some_stay};
	hand_over(c, ch, &want, half);
	err = c->b.capture->move(c->b.capture_ctx, s->id, (unsigned int)(half - s->half), ch->va,
				 &want);
	if (err) {
		take_back(c, ch, &want, half);
		*half = (struct half){0};
		return err;
	}
	if (nr < all) {
		chunk_queue(c, ch, true);
		return (int)nr;
	}
	stays(c, ch, some_stay);
	return (int)nr;
}

/* ---- which chunk ---- */

/* One step of the space's sweep. As plan_chunk(). */
static int sweep_step(struct core *c, struct space *s)
{
	const struct core_range *r = ranges_above(c, s, s->sweep_va);
	uint64_t va;
	struct chunk *ch;
	int nr;

	if (!r) {
		s->sweeping = false;
		return 0;
	}
	va = s->sweep_va > r->start ? s->sweep_va : r->start;
	va = c->b.capture->next_present(c->b.capture_ctx, s->id, va, r->end);
	if (va >= r->end) {
		s->sweep_va = r->end;
		return 0;
	}
	ch = chunk_make(c, s, va);
	if (!ch)
		return -ENOMEM;
	nr = ch->queued ? 0 : plan_chunk(c, s, ch, false); /* queued: not as old as it looks */
	if (nr >= 0)
		s->sweep_va = ch->va + CHUNK_BYTES;
	else if (c->plan.va)
		c->plan.swept = true; /* the sweep goes on when that is asked for */
	chunk_tidy(c, ch);
	return nr;
}

/* The space whose sweep is behind the others': they go up together (unshare.c).
 * One that can't go on now is passed over. */
static struct space *least_swept(struct core *c)
{
	struct space *best = NULL;

	for (struct space *s = space_first(c); s; s = space_next(c, s))
		if (!s->gone && s->sweeping && !s->sweep_waits && can_move(c, s) &&
		    (!best || s->sweep_va < best->sweep_va))
			best = s;
	return best;
}

static void evict_swept(struct core *c, unsigned int *scans)
{
	struct space *s;
	int nr;

	for (s = space_first(c); s; s = space_next(c, s))
		s->sweep_waits = false;
	while (!c->plan.va && *scans && (s = least_swept(c))) {
		nr = sweep_step(c, s);
		s->sweep_waits = nr < 0;
		--*scans;
	}
}

/* What was made exclusive takes room: it is the next to go. */
static void evict_made(struct core *c)
{
	for (struct space *s = space_first(c); s; s = space_next(c, s)) {
		struct chunk *ch;
		int nr;

		if (s->gone || !s->made_va || !can_move(c, s))
			continue;
		ch = chunk_find(c, s, s->made_va);
		nr = ch ? plan_chunk(c, s, ch, true) : 0;
		if (nr == -EINPROGRESS)
			return;
		if (!nr)
			s->made_va = 0;
	}
}

static void evict_queued(struct core *c, unsigned int *scans)
{
	struct state *st = c->st;
	uint32_t rounds = st->q_len;
	struct chunk *ch = at(c, c->st->q_head);

	while (ch && rounds-- && *scans) {
		struct chunk *next = at(c, ch->q_next);
		struct space *s = chunk_space(c, ch);

		if (can_move(c, s)) {
			--*scans;
			if (plan_chunk(c, s, ch, st->spared >= st->q_len) == -EINPROGRESS)
				return;
			chunk_tidy(c, ch);
		}
		ch = next;
	}
}

/* Ask for what was planned in the run before. True: it is on its way. */
static bool evict_planned(struct core *c)
{
	struct space *s = space_find(c, c->plan.space);
	struct chunk *ch;
	bool moves = false;

	if (s && !s->gone && can_move(c, s)) {
		ch = chunk_make(c, s, c->plan.va); /* its own may have been tidied away */
		moves = ch && move_chunk(c, s, ch) > 0;
		if (moves && c->plan.swept)
			s->sweep_va = ch->va + CHUNK_BYTES;
		if (moves && s->made_va == ch->va && !ch->queued) /* not only a part of it */
			s->made_va = 0;
		if (ch)
			chunk_tidy(c, ch);
	}
	c->plan.va = 0;
	return moves;
}

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

/* ---- what was moved ---- */

static bool is_zero(const void *page)
{
	const uint64_t *w = page;

	return !w[0] && !memcmp(w, w + 1, PAGE_BYTES - sizeof(*w));
}

/* The page's bytes are in its frame: zero, as the store has it, or new. */
static void take_in(struct core *c, struct chunk *ch, unsigned int idx)
{
	struct rec *r = chunk_rec(c, ch, idx);
	uint32_t i = (uint32_t)r->frame;
	struct frame *f = &c->frames[i];
	uint64_t sum;

	c->st->stats.pages_moved++;
	chunk_space(c, ch)->stats.pages_moved++;
	if (is_zero(frame_bytes(c, i))) {
		c->st->stats.pages_zero_elided++;
		rec_drop(c, ch, idx);
		return;
	}
	sum = c->b.env->sum(c->b.env_ctx, frame_bytes(c, i));
	if (r->has_slot && r->sum == sum) {
		c->st->stats.pages_clean_elided++;
		f->slot = r->slot;
		f->has_slot = true;
		r->has_slot = 0;
		frame_clean_push(c, i);
	} else {
		rec_give_slot_up(c, r);
		r->sum = sum;
		frame_dirty_push(c, i);
	}
	r->slot = 0;
	rec_set(c, ch, idx, REC_STANDBY);
}

/* The first @max members of @from. */
static pageset first_of(const pageset *from, unsigned int max)
{
	pageset out = {{0}};

	for (unsigned int i = pageset_next(from, 0); i < CHUNK_PAGES && max--;
	     i = pageset_next(from, i + 1))
		pageset_add(&out, i);
	return out;
}

static void half_done(struct core *c, struct space *s, struct half *half, struct chunk *ch)
{
	c->b.capture->drop(c->b.capture_ctx, s->id, (unsigned int)(half - s->half));
	c->st->moving_pages -= half->taken;
	c->st->local_anon -= (int64_t)(half->taken * PAGE_BYTES);
	*half = (struct half){0};
	c->st->nr_moved--;
	chunk_tidy(c, ch);
}

/* @some of what was moved, at most TAKE_PAGES; the rest another time, since a
 * fault may wait. */
static void take_some_in(struct core *c, struct space *s, struct half *half, pageset some)
{
	struct chunk *ch = at(c, half->chunk);
	void *frames[TAKE_PAGES];
	unsigned int nr = 0;
	int err = 0;

	for (unsigned int i = pageset_next(&some, 0); i < CHUNK_PAGES;
	     i = pageset_next(&some, i + 1))
		frames[nr++] = frame_bytes(c, (uint32_t)chunk_rec(c, ch, i)->frame);
	if (nr)
		err = c->b.capture->copy_out(c->b.capture_ctx, s->id,
					     (unsigned int)(half - s->half), &some, frames);
	for (unsigned int i = pageset_next(&some, 0); i < CHUNK_PAGES;
	     i = pageset_next(&some, i + 1)) {
		pageset_del(&half->want, i);
		if (err) { /* if the space is gone we shall hear of it; else its bytes are */
			rec_drop(c, ch, i);
			rec_set(c, ch, i, REC_LOST);
		} else {
			take_in(c, ch, i);
		}
	}
	if (err)
		c->st->moving_pages -= nr;
	else
		half->taken += nr;
	if (err && err != -ESRCH)
		core_lost(c, LOSS_SPACE, s->id, ch->va, err);
	if (!pageset_count(&half->want))
		half_done(c, s, half, ch);
}

void take_all_in(struct core *c, struct space *s)
{
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		while (s->half[h].moved && !c->st->lost)
			take_some_in(c, s, &s->half[h], first_of(&s->half[h].want, TAKE_PAGES));
}

bool take_page_in(struct core *c, struct space *s, const struct chunk *ch, unsigned int idx)
{
	pageset one = {{0}};

	pageset_add(&one, idx);
	for (unsigned int h = 0; h < CORE_HALVES; h++) {
		struct half *half = &s->half[h];

		if (half->moved && half->chunk.v == ref_to(c, ch).v &&
		    pageset_has(&half->want, idx)) {
			take_some_in(c, s, half, one);
			return true;
		}
	}
	return false;
}

bool take_in_run(struct core *c)
{
	for (struct space *s = space_first(c); s && c->st->nr_moved; s = space_next(c, s))
		for (unsigned int h = 0; h < CORE_HALVES; h++)
			if (s->half[h].moved) {
				unsigned int nr = c->st->nr_urgent ? TAKE_HURRIED : TAKE_PAGES;

				take_some_in(c, s, &s->half[h], first_of(&s->half[h].want, nr));
				return true;
			}
	return false;
}

void core_moved(struct core *c, space_id sp, unsigned int h, const pageset *moved,
		const pageset *busy, const pageset *invalid, bool overtaken)
{
	struct space *s = space_find(c, sp);
	struct half *half;
	struct chunk *ch;
	pageset got, refused;

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
	if (pageset_count(busy))
		refused_busy(c, s, ch, busy);
	else
		ch->populated = false;
	stuck(c, pageset_count(invalid)); /* locked or read-only: the next sweep asks again */
	if (!pageset_count(&got))
		half_done(c, s, half, ch);
}

/* ---- driving ---- */

/* Nothing that is known can leave: look at everything again, now and then. */
static void nothing_left(struct core *c)
{
	struct state *st = c->st;
	uint64_t now = c->b.env->now_ns(c->b.env_ctx);

	if (now - st->swept_ns >= RESWEEP_NS) {
		st->swept_ns = now;
		st->stats.stuck_bytes = st->stuck_pages * PAGE_BYTES;
		st->stuck_pages = 0;
		for (struct space *s = space_first(c); s; s = space_next(c, s)) {
			if (s->agent == AGENT_REFUSED || s->gone)
				continue;
			s->sweeping = true;
			s->sweep_va = 0;
			if (s->removed_pages && !s->quiescing) {
				s->quiesce_stale = false;
				s->quiescing = !c->b.capture->quiesce(c->b.capture_ctx, s->id);
			}
		}
	}
	if (!st->nr_waiting)
		st->moved_ns = now;
	else if (now - st->moved_ns > STUCK_NS && !st->nr_writing && !st->nr_fetching)
		core_lost(c, LOSS_CAP, (space_id){0}, 0, -ENOMEM);
}

bool evict_run(struct core *c)
{
	unsigned int scans = SCANS_A_RUN;

	unshare_run(c);
	if (!evict_target_bytes(c))
		c->st->moved_ns = c->b.env->now_ns(c->b.env_ctx);
	if (c->plan.va && evict_planned(c))
		return true;
	if (!evict_target_bytes(c) || !frames_for_bulk(c) || c->st->lost)
		return false;
	evict_made(c);
	if (!c->plan.va)
		evict_swept(c, &scans);
	if (!c->plan.va)
		evict_queued(c, &scans);
	if (c->plan.va)
		return true;
	if (scans && !c->st->moving_pages && evict_target_bytes(c))
		nothing_left(c);
	return false;
}
