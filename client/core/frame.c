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

void frame_write_anew(struct core *c, uint32_t i)
{
	struct frame *f = &c->frames[i];

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

/* First in, first out, but the neighbour of the last one first: pages that
 * leave or come together get frames in a row. */
static void push_free(struct core *c, uint32_t i)
{
	struct state *st = c->st;

	c->frames[i] = (struct frame){.prev = st->free_tail, .next = NO_FRAME, .state = FRAME_FREE};
	if (st->free_tail == NO_FRAME)
		st->free_head = i;
	else
		c->frames[st->free_tail].next = i;
	st->free_tail = i;
	st->frames_free++;
}

static uint32_t pop_free(struct core *c)
{
	struct state *st = c->st;
	uint32_t i = st->last_got + 1;
	struct frame *f = &c->frames[i];

	if (i >= st->cfg.nr_frames || f->state != FRAME_FREE) {
		i = st->free_head;
		f = &c->frames[i];
	}
	assert(i != NO_FRAME);
	if (f->prev == NO_FRAME)
		st->free_head = f->next;
	else
		c->frames[f->prev].next = f->next;
	if (f->next == NO_FRAME)
		st->free_tail = f->prev;
	else
		c->frames[f->next].prev = f->prev;
	st->frames_free--;
	st->last_got = i;
	return i;
}

void frames_init(struct core *c)
{
	struct state *st = c->st;

	st->free_head = st->free_tail = NO_FRAME;
	st->clean_head = st->clean_tail = NO_FRAME;
	st->dirty_head = st->dirty_tail = NO_FRAME;
	st->ask_head = st->ask_tail = NO_FRAME;
	for (uint32_t i = 0; i < st->cfg.nr_frames; i++)
		push_free(c, i);
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
	i = pop_free(c);
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
	push_free(c, i);
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
