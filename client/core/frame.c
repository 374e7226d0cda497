/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standby: local memory that holds the bytes of pages that left the job, for
 * a moment on their way to the store, and as long as room is left after that.
 * Dirty frames wait in one list, oldest first; clean ones in another, oldest
 * first; frames to be fetched in a third until the store takes the request.
 */
#include "client/core/internal.h"

struct list {
	uint32_t *head, *tail, *nr;
};

static struct list list_of(struct core *c, const struct frame *f)
{
	struct state *st = c->st;

	switch ((enum frame_state)f->state) {
	case FRAME_DIRTY:
		return (struct list){&st->dirty_head, &st->dirty_tail, &st->nr_dirty};
	case FRAME_CLEAN:
		return (struct list){&st->clean_head, &st->clean_tail, &st->nr_clean};
	default:
		assert(f->state == FRAME_FETCHING);
		return (struct list){&st->ask_head, &st->ask_tail, NULL};
	}
}

static void push(struct core *c, uint32_t i, bool front)
{
	struct frame *f = &c->frames[i];
	struct list l = list_of(c, f);

	f->prev = front ? NO_FRAME : *l.tail;
	f->next = front ? *l.head : NO_FRAME;
	if (f->prev != NO_FRAME)
		c->frames[f->prev].next = i;
	else
		*l.head = i;
	if (f->next != NO_FRAME)
		c->frames[f->next].prev = i;
	else
		*l.tail = i;
	if (l.nr)
		++*l.nr;
}

void frame_unlist(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];
	struct list l = list_of(c, f);

	if (f->prev != NO_FRAME)
		c->frames[f->prev].next = f->next;
	else
		*l.head = f->next;
	if (f->next != NO_FRAME)
		c->frames[f->next].prev = f->prev;
	else
		*l.tail = f->prev;
	f->prev = f->next = NO_FRAME;
	if (l.nr)
		--*l.nr;
}

void frame_dirty_push(struct core *c, uint32_t i)
{
	c->frames[i].state = FRAME_DIRTY;
	push(c, i, false);
}

void frame_clean_push(struct core *c, uint32_t i)
{
	c->frames[i].state = FRAME_CLEAN;
	push(c, i, false);
}

void frame_keep_lent(struct core *c, uint32_t i)
{
	if (c->frames[i].lent)
		memcpy(frame_bytes(c, i), frame_page(c, i), PAGE_BYTES);
	c->frames[i].lent = false;
}

void frame_write_anew(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];

	frame_keep_lent(c, i);
	slot_put(c, f->slot);
	f->has_slot = false;
	f->slot = 0;
	frame_dirty_push(c, i);
}

void frame_ask_push(struct core *c, uint32_t i, bool urgent)
{
	c->frames[i].state = FRAME_FETCHING;
	push(c, i, urgent);
}

/* The clean frame's page lives at the store alone from now on. */
static void to_remote(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];
	struct chunk *ch = at(c, f->chunk);
	struct rec *r = chunk_rec(c, ch, f->idx);

	assert(r->state == REC_STANDBY && r->frame == i && f->has_slot);
	r->slot = f->slot;
	r->has_slot = 1;
	r->frame = 0;
	rec_set(c, ch, f->idx, REC_REMOTE);
	f->has_slot = false; /* the reference goes to the record */
	if (f->ahead || f->marker) {
		c->st->stats.pages_unused += f->ahead;
		policy_unused(c->b.policy, c->b.policy_ctx, chunk_space(c, ch)->id,
			      ch->va + f->idx * PAGE_BYTES);
	}
	frame_put(c, i);
}

/* The next one after the last that is free, round and round: pages that leave or come
 * together get frames in a row. There is one. */
static uint32_t next_free(const struct core *c)
{
	const struct state *st = c->st;
	uint32_t words = (st->cfg.nr_frames + 63) / 64, from = st->last_got + 1;
	uint32_t w = from / 64 % words;
	uint64_t map = c->frame_map[w] & UINT64_MAX << from % 64;

	while (!map) {
		w = (w + 1) % words;
		map = c->frame_map[w];
	}
	return w * 64 + (uint32_t)__builtin_ctzll(map);
}

void frames_init(struct core *c)
{
	struct state *st = c->st;

	st->clean_head = st->clean_tail = NO_FRAME;
	st->dirty_head = st->dirty_tail = NO_FRAME;
	st->ask_head = st->ask_tail = NO_FRAME;
	st->frames_free = st->cfg.nr_frames;
	st->last_got = st->cfg.nr_frames - 1;
	for (uint32_t i = 0; i < st->cfg.nr_frames; i++)
		c->frame_map[i / 64] |= 1ULL << i % 64;
}

uint32_t frames_for_bulk(const struct core *c)
{
	uint32_t n = c->st->frames_free + c->st->nr_clean;

	return n > c->st->reserve ? n - c->st->reserve : 0;
}

uint32_t frame_get(struct core *c, bool bulk)
{
	struct state *st = c->st;
	uint32_t i;

	if (bulk && !frames_for_bulk(c))
		return NO_FRAME;
	if (!st->frames_free) {
		if (st->clean_head == NO_FRAME)
			return NO_FRAME;
		to_remote(c, st->clean_head);
	}
	i = next_free(c);
	c->frame_map[i / 64] &= ~(1ULL << i % 64);
	st->frames_free--;
	st->last_got = i;
	c->frames[i] = (struct frame){.prev = NO_FRAME, .next = NO_FRAME, .state = FRAME_HELD};
	return i;
}

void frame_put(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];

	assert(f->state != FRAME_FREE && f->state != FRAME_WRITING);
	if (f->state == FRAME_DIRTY || f->state == FRAME_CLEAN ||
	    (f->state == FRAME_FETCHING && !f->submitted))
		frame_unlist(c, i);
	if (f->has_slot)
		slot_put(c, f->slot);
	f->state = FRAME_FREE;
	f->chunk = (ref){0};
	f->has_slot = f->lent = false;
	c->frame_map[i / 64] |= 1ULL << i % 64;
	c->st->frames_free++;
}

void frame_abandon(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];

	if (f->waited) /* whoever waits must find out anew what is there */
		c->b.capture->wake(c->b.capture_ctx, chunk_space(c, at(c, f->chunk))->id,
				   ((struct chunk *)at(c, f->chunk))->va + f->idx * PAGE_BYTES, 1);
	f->chunk = (ref){0};
	f->waited = false;
	switch ((enum frame_state)f->state) {
	case FRAME_DIRTY:
		/* Somebody forked off still needs these bytes at the store. */
		if (f->has_slot && slot_is_shared(c, f->slot))
			return;
		if (f->has_slot)
			slot_set_pending(c, f->slot, false);
		break;
	case FRAME_WRITING:
		return; /* its completion frees it */
	case FRAME_FETCHING:
		if (f->submitted)
			return;
		break;
	default:
		break;
	}
	frame_put(c, i);
}
