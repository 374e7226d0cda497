/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction: when something must leave, and of which chunk; never on the way of a fault.
 * What happens to that chunk is in move.c, and to what was moved in take_in.c.
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
#define PAUSE_NS    1000000000ULL
#define PLAN_NS	    1000000ULL /* a plan is good for so long: which pages must stay may change */

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

struct policy_room policy_room(const struct core *c)
{
	return (struct policy_room){.pages = anon_cap(c) / PAGE_BYTES,
				    .now = c->st->fill_seq,
				    .fetch_ns = c->st->fetch_ns};
}

/* ---- which chunk ---- */

/* One step of the space's sweep. As chunk_plan(). */
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
	nr = ch->queued ? 0 : chunk_plan(c, s, ch, false); /* queued: not as old as it looks */
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
		if (!s->gone && s->sweeping && !s->sweep_waits && space_can_move(c, s) &&
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

		if (s->gone || !s->made_va || !space_can_move(c, s))
			continue;
		ch = chunk_find(c, s, s->made_va);
		nr = ch ? chunk_plan(c, s, ch, true) : 0;
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

		if (space_can_move(c, s)) {
			--*scans;
			if (chunk_plan(c, s, ch, st->spared >= st->q_len) == -EINPROGRESS)
				return;
			chunk_tidy(c, ch);
		}
		ch = next;
	}
}

uint64_t core_stalled_ns(const struct core *c)
{
	const struct state *st = c->st;

	if (!st->nr_waiting || st->nr_writing || st->nr_fetching || !evict_target_bytes(c))
		return 0;
	return c->b.env->now_ns(c->b.env_ctx) - st->moved_ns;
}

/* However many chunks are looked at each time, and whatever they say. */
static void check_stuck(struct core *c)
{
	if (core_stalled_ns(c) > STUCK_NS)
		core_lost(c, LOSS_CAP, (space_id){0}, 0, -ENOMEM);
}

static bool is_fresh(const struct core *c)
{
	return c->b.env->now_ns(c->b.env_ctx) - c->plan.since_ns < PLAN_NS;
}

/* Hand over what was planned in a run before, and ask for it. True: it is on its way, or
 * going to be. Else it was in vain, or waits for its moment. */
static bool evict_planned(struct core *c)
{
	struct space *s = space_find(c, c->plan.space);
	struct chunk *ch;
	bool moves = false;
	int nr;

	if (s && !s->gone && (c->plan.half || space_can_move(c, s))) {
		ch = chunk_make(c, s, c->plan.va); /* its own may have been tidied away */
		nr = ch ? chunk_move(c, s, ch) : -ENOMEM;
		if (nr == -EINPROGRESS)
			return true;
		moves = nr > 0;
		if (nr == -EBUSY && is_fresh(c)) {
			chunk_tidy(c, ch);
			return false;
		}
		if (nr < 0 && nr != -EAGAIN && nr != -EBUSY)
			check_stuck(c);
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
}

/* While nobody looked, since the pager was stopped, say, nothing could leave: that is no sign
 * that nothing can. */
static void note_time(struct core *c)
{
	struct state *st = c->st;
	uint64_t now = c->b.env->now_ns(c->b.env_ctx);

	if (!evict_target_bytes(c) || !st->nr_waiting || now - st->looked_ns > PAUSE_NS)
		st->moved_ns = now;
	st->looked_ns = now;
}

bool evict_run(struct core *c)
{
	unsigned int scans = SCANS_A_RUN;

	unshare_run(c);
	note_time(c);
	if (c->plan.va && evict_planned(c))
		return true;
	if (c->plan.va)
		return false;
	if (!evict_target_bytes(c) || !frames_for_bulk(c) || c->st->lost)
		return false;
	evict_made(c);
	if (!c->plan.va)
		evict_swept(c, &scans);
	if (!c->plan.va)
		evict_queued(c, &scans);
	if (c->plan.va)
		return true;
	if (c->st->moving_pages || !evict_target_bytes(c))
		return false;
	if (scans)
		nothing_left(c);
	check_stuck(c);
	return false;
}
