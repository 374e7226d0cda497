/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/replay.h"

void replay_init(struct replay *r, const uint64_t *key, const struct places *places, uint32_t nr,
		 const struct policy_ops *below, void *below_ctx)
{
	*r = (struct replay){.key = key,
			     .places = places,
			     .nr = nr,
			     .below = below,
			     .below_ctx = below_ctx,
			     .guess = PLACES_NONE,
			     .window = REPLAY_FIRST};
}

static bool is_near(uint32_t at, uint32_t from)
{
	return at >= from && at - from <= REPLAY_NEAR;
}

/* Of as many as this, at most a third were passed over. */
static bool is_dense(const struct replay *r)
{
	return r->passed * 2 <= r->found;
}

/* The last fault may be the first of those that are found in a row. */
static void guess(struct replay *r, uint32_t at)
{
	r->guess = at + 1;
	r->found = 1;
	r->passed = 0;
}

/* Where the fault is, if we are in step or are so again. */
static uint32_t place(struct replay *r, uint64_t key)
{
	uint32_t at = places_find(r->places, key, r->pos), again;

	/* Up to the end of what was planned all may have come in time. */
	if (at == PLACES_NONE || (r->in_step && at >= r->pos && at <= r->tail + REPLAY_NEAR))
		return at;
	again = r->guess == PLACES_NONE ? at : places_find(r->places, key, r->guess);
	if (r->guess == PLACES_NONE || !is_near(again, r->guess)) {
		guess(r, at);
		return PLACES_NONE;
	}
	r->passed += again - r->guess;
	r->guess = again + 1;
	r->found++;
	if (is_near(again, r->pos) || (r->found >= REPLAY_FAR && is_dense(r)))
		return again;
	if (!is_dense(r))
		guess(r, at);
	return PLACES_NONE;
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
	r->guess = PLACES_NONE;
	r->pos = at + 1;
	if (planned && f->kind == POLICY_FETCH) {
		narrow(r); /* there was no room for it: nor was there for what follows */
		planned = false;
	} else if (planned && f->kind == POLICY_SOFT) {
		narrow(r);
	} else if (planned && r->window < REPLAY_WINDOW) {
		r->window *= 2;
	}
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
	if (at != PLACES_NONE) {
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
