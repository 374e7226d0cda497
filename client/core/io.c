/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To and from the store: batches out, completions in. A page's local copy is
 * given up only when the store has acknowledged; a page that comes back is
 * believed only when its sum is the one that was kept.
 */
#include "client/core/internal.h"

#define IO_BATCH 128U
/* Written at once while somebody waits for a page, which may be there soon; or where the next
 * ones may be written as soon as these are. */
#define IO_HURRIED 8U
#define IO_RETRIES 8U

/* A slot for the oldest dirty frame, if need be from a page that is in the
 * job and only keeps a copy at the store. */
static bool steal_slot(struct core *c)
{
	struct state *st = c->st;

	for (uint32_t n = 0; n < HASH_BUCKETS; n++) {
		uint32_t b = st->steal_cursor++ % HASH_BUCKETS;

		for (ref r = st->chunk_hash[b]; r.v;) {
			struct chunk *ch = at(c, r);
			struct rec *rec;

			r = ch->hash_next;
			for (unsigned int i = 0; i < CHUNK_PAGES && ch->nr_recs; i++) {
				rec = chunk_rec(c, ch, i);
				if (rec->state != REC_RESIDENT)
					continue;
				rec_give_slot_up(c, rec);
				rec_set(c, ch, i, REC_NONE);
			}
			chunk_tidy(c, ch);
		}
		if (st->slots_free)
			return true;
	}
	return false;
}

/* With a part of the store its room is gone. What is on standby may stay there, until its
 * frames are needed for something that must leave. */
static bool may_stand_by(const struct core *c)
{
	const struct state *st = c->st;

	return st->lost_parts &&
	       (st->frames_free + st->nr_clean > st->reserve || !evict_target_bytes(c));
}

static bool need_slot(struct core *c, struct frame *f)
{
	struct state *st = c->st;

	if (f->has_slot)
		return true;
	if (!st->slots_free && !steal_slot(c)) {
		if (!st->nr_writing && !st->nr_fetching && !may_stand_by(c))
			core_lost(c, LOSS_FULL, (space_id){0}, 0, -ENOSPC);
		return false;
	}
	f->slot = slot_get(c);
	f->has_slot = true;
	slot_set_pending(c, f->slot, true);
	return true;
}

bool io_submit_writes(struct core *c)
{
	struct state *st = c->st;
	struct store *store = c->b.store;
	struct store_req req[IO_BATCH];

	while (st->dirty_head != NO_FRAME && !st->lost) {
		unsigned int nr = 0, max = st->nr_urgent || store->quick ? IO_HURRIED : IO_BATCH;
		int taken;

		for (uint32_t f = st->dirty_head; f != NO_FRAME && nr < max;
		     f = c->frames[f].next) {
			if (!need_slot(c, &c->frames[f]))
				break;
			req[nr++] = (struct store_req){.slot = c->frames[f].slot,
						       .buf = frame_bytes(c, f),
						       .tag = f,
						       .op = STORE_WRITE};
		}
		if (!nr)
			return false;
		core_commit(c);
		taken = store->ops->submit(store, req, nr);
		if (taken < 0) {
			core_lost(c, LOSS_STORE, (space_id){0}, 0, taken);
			return false;
		}
		for (int i = 0; i < taken; i++) {
			frame_unlist(c, req[i].tag);
			c->frames[req[i].tag].state = FRAME_WRITING;
			st->nr_writing++;
		}
		io_reap(c);
		if (taken < (int)nr)
			return false;
		if (st->nr_urgent || core_pressed(c))
			return st->nr_dirty > 0;
	}
	return false;
}

static void written(struct core *c, uint32_t i, int res)
{
	struct state *st = c->st;
	struct frame *f = &c->frames[i];
	bool orphan = !f->chunk.v;

	st->nr_writing--;
	if (res) {
		st->stats.write_errors++;
		if (!orphan || slot_is_shared(c, f->slot)) {
			if (++f->retries > IO_RETRIES)
				core_lost(c, LOSS_STORE, (space_id){0}, 0, res);
			frame_dirty_push(c, i);
			return;
		}
	} else {
		st->stats.pages_written++;
	}
	slot_set_pending(c, f->slot, false);
	if (orphan) {
		f->state = FRAME_HELD;
		frame_put(c, i);
		return;
	}
	st->stats.pages_evicted++;
	chunk_space(c, at(c, f->chunk))->stats.pages_evicted++;
	frame_clean_push(c, i);
}

/* One of the copies of the slot is wrong: the page is written to another slot, and what is
 * written to this one next makes it right. */
static void repaired(struct core *c, uint32_t i)
{
	c->st->stats.pages_repaired++;
	frame_write_anew(c, i);
}

/* A copy that has not given a wrong page yet. One that was to be avoided and is asked all
 * the same is the only one: parts of a pool differ. */
static bool has_another(const struct core *c, struct frame *f, uint8_t from)
{
	unsigned int copies = c->b.store->copies;
	bool again = f->avoid >> from & 1;

	f->avoid |= (uint8_t)(1U << from);
	return copies > 1 && !again && f->avoid != (1U << copies) - 1;
}

/* True: the page may be put in place. */
static bool fetched(struct core *c, uint32_t i, int res, uint8_t from)
{
	struct state *st = c->st;
	struct frame *f = &c->frames[i];
	struct chunk *ch = at(c, f->chunk);
	struct rec *r;

	st->nr_fetching--;
	st->nr_urgent -= f->urgent;
	f->urgent = false;
	if (!ch) {
		f->state = FRAME_HELD;
		frame_put(c, i);
		return false;
	}
	r = chunk_rec(c, ch, f->idx);
	assert(r->state == REC_FETCHING && r->frame == i);
	if (res && ++f->retries <= IO_RETRIES) {
		f->submitted = false;
		frame_ask_push(c, i, f->waited);
		return false;
	}
	if (!res && c->b.env->sum(c->b.env_ctx, frame_page(c, i)) != r->sum) {
		st->stats.sums_wrong++;
		res = -EBADMSG;
	}
	if (res == -EBADMSG && has_another(c, f, from)) {
		f->submitted = false;
		frame_ask_push(c, i, f->waited);
		return false;
	}
	if (res) {
		f->submitted = false;
		f->state = FRAME_HELD;
		page_lost(c, ch, f->idx, res == -EBADMSG ? LOSS_SUM : LOSS_STORE, res);
		return false;
	}
	st->stats.pages_fetched++;
	chunk_space(c, ch)->stats.pages_fetched++;
	rec_give_slot_up(c, r); /* the frame holds a reference of its own */
	rec_set(c, ch, f->idx, REC_STANDBY);
	if (f->avoid)
		repaired(c, i);
	else if (slot_is_leaving(c, f->slot))
		frame_write_anew(c, i);
	else
		frame_clean_push(c, i);
	return !f->marker && !f->moves; /* whose touch is what matters; nobody's */
}

/* How many of these frames hold pages in a row. */
static unsigned int row(const struct core *c, const uint32_t *frame, unsigned int nr)
{
	const struct frame *first = &c->frames[frame[0]];
	unsigned int n = 1;

	while (n < nr && n < FILL_PAGES) {
		const struct frame *f = &c->frames[frame[n]];

		if (f->chunk.v != first->chunk.v || f->idx != first->idx + n || f->agent_waits)
			break;
		n++;
	}
	return n;
}

/* In rows: a reader that met each page a moment too early would be woken for
 * each. */
static void install_rows(struct core *c, const uint32_t *frame, unsigned int nr)
{
	while (nr) {
		unsigned int n = row(c, frame, nr);

		n = n > 1 ? frames_install(c, frame, n) : 0;
		if (!n) {
			frame_install(c, frame[0]);
			n = 1;
		}
		frame += n;
		nr -= n;
	}
}

static void install(struct core *c, uint32_t *frame, unsigned int nr)
{
	while (nr) {
		unsigned int n = 1;

		while (n < nr && c->frames[frame[n]].chunk.v == c->frames[frame[0]].chunk.v)
			n++;
		install_rows(c, frame, frames_place(c, frame, n));
		frame += n;
		nr -= n;
	}
}

void io_reap(struct core *c)
{
	struct state *st = c->st;
	struct store_done done[IO_BATCH];
	uint32_t here[IO_BATCH];
	unsigned int nr_here;
	int nr;

	parts_look(c);
	while ((st->nr_writing || st->nr_fetching) && !st->lost) {
		nr = c->b.store->ops->reap(c->b.store, done, IO_BATCH);
		if (nr < 0)
			core_lost(c, LOSS_STORE, (space_id){0}, 0, nr);
		if (nr <= 0) {
			parts_look(c);
			return;
		}
		nr_here = 0;
		for (int i = 0; i < nr && !st->lost; i++) {
			struct frame *f = &c->frames[done[i].tag];

			if (f->state == FRAME_WRITING)
				written(c, done[i].tag, done[i].res);
			else if (fetched(c, done[i].tag, done[i].res, done[i].from))
				here[nr_here++] = done[i].tag;
		}
		install(c, here, nr_here);
		parts_look(c);
	}
}

/* Nothing need be read: what was asked for is where it can be seen. First what is waited for. */
static void borrow(struct core *c)
{
	struct state *st = c->st;

	while (st->ask_head != NO_FRAME && !st->lost) {
		bool waited = c->frames[st->ask_head].waited;
		uint32_t here[IO_BATCH];
		unsigned int nr = 0, nr_here = 0;

		core_commit(c);
		while (st->ask_head != NO_FRAME && nr++ < IO_BATCH && !st->lost &&
		       c->frames[st->ask_head].waited == waited) {
			uint32_t f = st->ask_head, next = c->frames[f].next;

			/* The next one: outside of the memory it is not read, and does no harm. */
			if (next != NO_FRAME)
				page_prefetch(
					c->b.store->ops->page(c->b.store, c->frames[next].slot));
			frame_unlist(c, f);
			c->frames[f].submitted = c->frames[f].lent = true;
			st->nr_fetching++;
			if (fetched(c, f, 0, 0))
				here[nr_here++] = f;
		}
		install(c, here, nr_here);
	}
}

void io_submit_reads(struct core *c)
{
	struct state *st = c->st;
	struct store *store = c->b.store;
	struct store_req req[IO_BATCH];

	if (store->ops->page) {
		borrow(c);
		return;
	}
	while (st->ask_head != NO_FRAME && !st->lost) {
		uint32_t f = st->ask_head;
		unsigned int nr = 0;
		int taken;

		for (; f != NO_FRAME && nr < IO_BATCH; f = c->frames[f].next)
			req[nr++] = (struct store_req){.slot = c->frames[f].slot,
						       .buf = frame_bytes(c, f),
						       .tag = f,
						       .op = STORE_READ,
						       .avoid = c->frames[f].avoid,
						       .urgent = c->frames[f].waited};
		core_commit(c);
		taken = store->ops->submit(store, req, nr);
		if (taken < 0) {
			core_lost(c, LOSS_STORE, (space_id){0}, 0, taken);
			return;
		}
		for (int i = 0; i < taken; i++) {
			frame_unlist(c, req[i].tag);
			c->frames[req[i].tag].submitted = true;
			c->frames[req[i].tag].urgent = req[i].urgent;
			st->nr_urgent += req[i].urgent;
			st->nr_fetching++;
		}
		io_reap(c);
		if (taken < (int)nr)
			return;
	}
}
