/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/replay.h"

#define NOWHERE UINT32_MAX

void replay_init(struct replay *r, const uint64_t *key, const uint32_t *order, uint32_t nr,
		 const struct policy_ops *below, void *below_ctx)
{
	*r = (struct replay){.key = key,
			     .order = order,
			     .nr = nr,
			     .below = below,
			     .below_ctx = below_ctx,
			     .guess = NOWHERE,
			     .window = REPLAY_FIRST};
}

/* The first fault of @key at or after @from, or else the first one ever. */
static uint32_t find(const struct replay *r, uint64_t key, uint32_t from)
{
	uint32_t low = 0, high = r->nr, first;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (r->key[r->order[mid]] < key)
			low = mid + 1;
		else
			high = mid;
	}
	first = low;
	for (high = r->nr; low < high;) {
		uint32_t mid = low + (high - low) / 2, at = r->order[mid];

		if (r->key[at] == key && at < from)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < r->nr && r->key[r->order[low]] == key)
		return r->order[low];
	return first < r->nr && r->key[r->order[first]] == key ? r->order[first] : NOWHERE;
}

static bool is_near(uint32_t at, uint32_t from)
{
	return at != NOWHERE && at >= from && at - from <= REPLAY_NEAR;
}

/* Where the fault is, if we are in step or are so again. */
static uint32_t place(struct replay *r, uint64_t key)
{
	uint32_t at = find(r, key, r->pos), again;

	/* Up to the end of what was planned all may have come in time. */
	if (r->in_step && at != NOWHERE && at >= r->pos && at <= r->tail + REPLAY_NEAR)
		return at;
	if (r->guess != NOWHERE) {
		again = find(r, key, r->guess);
		if (is_near(again, r->guess))
			return again;
	}
	r->guess = at == NOWHERE ? NOWHERE : at + 1;
	return NOWHERE;
}

static void narrow(struct replay *r)
{
	r->window = r->window / 2 > REPLAY_LEAST ? r->window / 2 : REPLAY_LEAST;
}

/* What comes next in the same space. */
static void plan_next(struct replay *r, uint64_t key, struct policy_plan *plan)
{
	uint32_t nr = 0;

	r->marker = r->tail;
	for (; nr < r->window && r->tail < r->nr; r->tail++)
		if (r->key[r->tail] >> 44 == key >> 44)
			r->page[nr++] = r->key[r->tail] << PAGE_SHIFT & ((1ULL << 56) - 1);
	plan->page = r->page;
	plan->nr_pages = nr;
}

static void go_on(struct replay *r, uint32_t at, const struct policy_fault *f, uint64_t key,
		  struct policy_plan *plan)
{
	bool planned = r->in_step && at >= r->pos && at < r->tail;

	r->in_step = true;
	r->strays = 0;
	r->guess = NOWHERE;
	r->pos = at + 1;
	if (planned && (f->kind == POLICY_FETCH || f->kind == POLICY_SOFT))
		narrow(r); /* it should have been there */
	else if (planned && r->window < REPLAY_WINDOW)
		r->window *= 2;
	if (!planned)
		r->tail = r->pos;
	if (!planned || at >= r->marker)
		plan_next(r, key, plan);
}

static void plan(void *ctx, const struct policy_fault *f, struct policy_plan *p)
{
	struct replay *r = ctx;
	uint64_t key = replay_key(f->space, f->va);
	uint32_t at;

	if (f->kind == POLICY_ZERO) {
		r->below->plan(r->below_ctx, f, p);
		return;
	}
	at = place(r, key);
	if (at != NOWHERE) {
		go_on(r, at, f, key, p);
		return;
	}
	if (r->in_step && ++r->strays < REPLAY_STRAYS)
		return;
	r->in_step = false;
	r->tail = 0;
	r->window = REPLAY_FIRST;
	r->below->plan(r->below_ctx, f, p);
}

static void unused(void *ctx, space_id space, uint64_t va)
{
	struct replay *r = ctx;

	if (r->in_step)
		narrow(r);
	policy_unused(r->below, r->below_ctx, space, va);
}

static void came(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		 unsigned int idx, unsigned int nr, enum policy_way way)
{
	struct replay *r = ctx;

	policy_came(r->below, r->below_ctx, room, pc, idx, nr, way);
}

static bool leave(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		  const pageset *young, pageset *set)
{
	struct replay *r = ctx;

	return policy_leave(r->below, r->below_ctx, room, pc, young, set);
}

static void forget(void *ctx, const struct policy_chunk *pc)
{
	struct replay *r = ctx;

	policy_forget(r->below, r->below_ctx, pc);
}

const struct policy_ops policy_replay = {
	.name = "replay",
	.plan = plan,
	.unused = unused,
	.came = came,
	.leave = leave,
	.forget = forget,
};
