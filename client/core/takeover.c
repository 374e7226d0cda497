/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another process goes on with the arena of one that died. What that one had changed
 * since its last commit was taken back, so all that follows finds is true, but for
 * what others were asked: the store is asked again, agents have their answers ready.
 *
 * One thing is in doubt: pages that were being filled. The kernel had filled them, or
 * it had not, and the job may have written to them since. Filling them again tells,
 * as soon as no event is unread: one that is there refuses, and is newer.
 */
#include "client/core/internal.h"

static void requeue_written(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];

	if (f->chunk.v || slot_is_shared(c, f->slot)) {
		frame_dirty_push(c, i);
		return;
	}
	slot_set_pending(c, f->slot, false);
	f->state = FRAME_HELD;
	frame_put(c, i);
}

static void requeue_fetched(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];

	f->submitted = f->urgent = false;
	if (f->chunk.v) {
		frame_ask_push(c, i, false);
		return;
	}
	f->state = FRAME_HELD;
	frame_put(c, i);
}

/* What the store had been asked for. */
static void requeue(struct core *c)
{
	for (uint32_t i = 0; i < c->st->cfg.nr_frames; i++) {
		struct frame *f = &c->frames[i];

		f->waited = f->hinted = f->agent_waits = false;
		if (f->state == FRAME_WRITING)
			requeue_written(c, i);
		else if (f->state == FRAME_FETCHING && f->submitted)
			requeue_fetched(c, i);
	}
	c->st->nr_writing = c->st->nr_fetching = c->st->nr_urgent = 0;
}

static void take_space(struct core *c, struct space *s)
{
	if (s->gone) { /* nobody will answer */
		for (unsigned int h = 0; h < CORE_HALVES; h++)
			s->half[h] = (struct half){0};
		s->place = (struct place){0};
		s->populating = false;
		space_release(c, s);
		return;
	}
	s->let_through = s->quiescing = false;
	s->quiesce_stale = true;
	if (s->agent == AGENT_ASKED)
		s->agent = AGENT_NONE;
	s->sweeping = true; /* pages came of which no record says so */
	s->sweep_va = 0;
	for (ref r = s->chunks; r.v; r = ((struct chunk *)at(c, r))->sib_next)
		((struct chunk *)at(c, r))->pc = (struct policy_chunk){0};
}

static void take_doubts(struct core *c)
{
	undo_note(c->st->doubt, sizeof(c->st->doubt));
	c->st->nr_doubts = undo_filled(c->st->doubt);
}

int core_takeover(void *arena, uint64_t arena_bytes, const struct core_config *cfg,
		  const struct core_binds *binds, struct core **out)
{
	uint64_t end;
	struct core *c;
	int err;

	undo_start(arena, cfg->nr_frames * PAGE_BYTES, arena_bytes);
	err = undo_all();
	if (err)
		return err;
	err = core_lay_out(arena, arena_bytes, cfg, binds, &c, &end);
	if (err || c->st->layout != end || c->st->cfg.nr_frames != cfg->nr_frames)
		return -EINVAL;
	if (c->st->lost)
		return -EIO;
	c->st->cfg = *cfg;
	if (!c->st->nr_doubts)
		take_doubts(c);
	requeue(c);
	for (struct space *s = space_first(c), *next; s; s = next) {
		next = space_next(c, s);
		take_space(c, s);
	}
	/* The store may not have heard that a part has left. */
	for (unsigned int part = 0; part < binds->store->nr_parts; part++)
		if (c->st->stats.part[part] == PART_LEFT && binds->store->ops->leave)
			binds->store->ops->leave(binds->store, part);
	c->st->nr_waiting = c->st->waiting_head = 0;
	c->st->drain_rests = false;
	c->st->moved_ns = c->b.env->now_ns(c->b.env_ctx);
	core_commit(c);
	slots_join(c); /* the store may have grown, and the core not have heard of it */
	slots_drop_free(c);
	*out = c;
	return 0;
}

/* The frame still stands by for its page. */
static bool is_in_doubt(const struct core *c, uint32_t i)
{
	const struct frame *f = &c->frames[i];
	const struct rec *r;

	if (!f->chunk.v || f->state == FRAME_FREE || f->state == FRAME_FETCHING ||
	    f->state == FRAME_HELD)
		return false;
	r = chunk_rec(c, at(c, f->chunk), f->idx);
	return r->state == REC_STANDBY && r->frame == i;
}

/* True: what is in doubt of this frame is settled. */
static bool settle_frame(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];
	int err;

	if (!is_in_doubt(c, i))
		return true;
	f->agent_waits = true; /* not held to the cap: it may be there already */
	err = frame_install(c, i);
	return err != -EAGAIN && err != -ENOMEM;
}

bool doubts_settle(struct core *c)
{
	struct state *st = c->st;

	while (st->nr_doubts && !st->lost && settle_frame(c, st->doubt[st->nr_doubts - 1]))
		st->nr_doubts--;
	return !st->nr_doubts;
}

static uint64_t va_of(const struct core *c, uint32_t i)
{
	const struct chunk *ch = at(c, c->frames[i].chunk);

	return ch->va + c->frames[i].idx * PAGE_BYTES;
}

/*
 * The child has of a page in doubt what the parent had at the fork, and can be asked at
 * once: it has no unread event. If the page can be filled there, it was missing in the
 * parent, too. Nobody could tell that one from the other again, should this be redone.
 */
uint64_t doubts_forked(struct core *c, struct space *parent, struct space *child)
{
	uint64_t has = 0;

	for (uint32_t n = 0; n < c->st->nr_doubts; n++) {
		uint32_t i = c->st->doubt[n];
		const void *src = frame_page(c, i);
		struct chunk *ch = at(c, c->frames[i].chunk);
		unsigned int done = 0;
		bool guard = false;
		int err;

		if (!is_in_doubt(c, i) || chunk_space(c, ch) != parent ||
		    !ranges_has(c, child, va_of(c, i)))
			continue;
		undo_never();
		err = c->b.capture->fill(c->b.capture_ctx, child->id, va_of(c, i), 1, &src, &guard,
					 &done);
		if (!done && err != -EEXIST && err != -ESRCH)
			core_lost(c, LOSS_SPACE, parent->id, va_of(c, i), err);
		if (done || err == -EEXIST)
			has |= 1ULL << n;
		if (err == -EEXIST)
			rec_drop(c, ch, c->frames[i].idx);
	}
	return has;
}

void doubts_not_inherited(struct core *c, struct space *child, uint64_t has)
{
	for (uint32_t n = 0; n < FILL_PAGES && has >> n; n++) {
		uint32_t i = c->st->doubt[n];
		struct chunk *ch;

		if (!(has >> n & 1) || !is_in_doubt(c, i)) /* dropped: nothing was inherited */
			continue;
		ch = chunk_find(c, child, va_of(c, i));
		if (!ch)
			continue;
		rec_drop(c, ch, page_idx(va_of(c, i)));
		chunk_tidy(c, ch);
	}
}

bool core_in_doubt(const struct core *c)
{
	return c->st->nr_doubts;
}

bool core_space_known(const struct core *c, space_id sp)
{
	const struct space *s = space_find(c, sp);

	return s && !s->gone;
}

enum core_half core_half(const struct core *c, space_id sp, unsigned int half)
{
	const struct space *s = space_find(c, sp);

	if (!s || s->gone || !s->half[half].busy)
		return HALF_FREE;
	return s->half[half].moved ? HALF_HOLDS : HALF_ASKED;
}

bool core_awaits_populate(const struct core *c, space_id sp)
{
	const struct space *s = space_find(c, sp);

	return s && !s->gone && s->populating;
}

void core_mark(struct core *c, uint64_t mark)
{
	c->st->mark = mark;
}

uint64_t core_marked(const struct core *c)
{
	return c->st->mark;
}
