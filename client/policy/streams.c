/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/streams.h"

#define BEHIND	   8   /* steps: threads that share a stream overtake each other */
#define ROUGHLY	   48  /* steps behind, of who goes on in any order */
#define BEYOND	   64  /* steps: pages that were in the job all the time are passed over */
#define OVERRUNS   3   /* of a rough one, one after another, before it shrinks */
#define SPOT_LEAST 12U /* faults; more by one for each stream that came to nothing */

static uint64_t step_va(const struct stream *s, int64_t step)
{
	return s->base + (uint64_t)(step * s->stride);
}

/* Steps from the stream's head to the page of @va; false: it is not on its way. */
static bool steps_to(const struct stream *s, uint64_t va, int64_t *steps)
{
	const int64_t page = PAGE_BYTES;
	int64_t off = (int64_t)(va - s->base), step;

	if (s->stride == page) {
		*steps = off / page - s->head;
		return true;
	}
	if (s->rough) { /* by columns, or a page beside: fit() */
		step = (off + (off < 0 ? -s->stride : s->stride) / 2) / s->stride;
		off = (int64_t)(va - (step_va(s, step) & PAGE_MASK));
		*steps = step - s->head;
		return off >= -page && off <= page;
	}
	/* The first step that gets to where the page begins, on this way. */
	if (s->stride > 0)
		step = off > 0 ? (off + s->stride - 1) / s->stride : off / s->stride;
	else
		step = off + page - 1 < 0 ? (off + page + s->stride) / s->stride
					  : (off + page - 1) / s->stride;
	*steps = step - s->head;
	return (step_va(s, step) & PAGE_MASK) == va;
}

static int64_t planned(const struct stream *s)
{
	return s->tail - s->head;
}

static bool is_near(const struct stream *s, int64_t steps)
{
	return steps >= (s->rough ? -ROUGHLY : -BEHIND) && steps < planned(s) + BEYOND;
}

/* The stream whose way the page is on, near what it has planned. */
static struct stream *find(struct streams *all, space_id space, uint64_t va, int64_t *steps)
{
	for (unsigned int i = 0; i < STREAMS; i++) {
		struct stream *s = &all->stream[i];

		if (s->space.v == space.v && s->stride && steps_to(s, va, steps) &&
		    is_near(s, *steps))
			return s;
	}
	return NULL;
}

/* Once for each plan, however many of its pages say so. */
static void shrink(struct stream *s)
{
	if (s->shrunk)
		return;
	s->shrunk = true;
	s->window /= 2;
	if (s->window < STREAM_LEAST)
		s->stride = 0;
}

/* Of a rough stream all up to a window beyond the head. */
static void plan_next(struct stream *s, struct policy_plan *plan)
{
	int64_t nr = s->rough ? s->head + 1 + s->window - s->tail : s->window;

	if (nr <= 0)
		return;
	plan->nr_runs = 1;
	plan->run[0] = (struct policy_run){
		.va = step_va(s, s->tail),
		.stride = s->stride,
		.nr = nr < POLICY_RUN_PAGES ? (uint32_t)nr : POLICY_RUN_PAGES,
	};
	s->tail += plan->run[0].nr;
	s->shrunk = false;
}

/* The columns are where this page says that they are: as little elsewhere as can be. */
static void fit(struct stream *s, int64_t step, uint64_t va)
{
	uint64_t at = step_va(s, step);

	if (at < va)
		s->base += va - at;
	else if (at >= va + PAGE_BYTES)
		s->base -= at - (va + PAGE_BYTES - 1);
}

/* Did it come as planned? A page that is fetched, or stands by without being
 * the marker, was not: there was no room, it left again, or the job jumped. */
static bool was_there(const struct policy_fault *f)
{
	return f->kind == POLICY_MARKER || f->kind == POLICY_JOINED;
}

static void go_on(struct streams *all, struct stream *s, const struct policy_fault *f,
		  int64_t steps, struct policy_plan *plan)
{
	int64_t left = planned(s) - steps;

	s->used = ++all->tick;
	if (s->rough)
		fit(s, s->head + steps, f->va);
	if (steps <= 0)
		return;
	s->head += steps;
	if (was_there(f)) {
		s->overruns = 0;
		if (left > s->window)
			return;
		s->hits = (uint8_t)(s->hits + (s->hits < STREAM_PROVEN));
		if (s->hits == STREAM_PROVEN)
			all->walks.walker[s->by].unproven = 0;
		s->window = s->window * 2 < STREAM_WINDOW ? s->window * 2 : STREAM_WINDOW;
	} else if (!s->rough || left > 0 || s->overruns++ >= OVERRUNS) {
		/* Who takes the very next step is ahead of what comes, but where he should be. */
		if (s->rough || steps > 1 || s->window > STREAM_FIRST)
			shrink(s);
		if (!s->stride)
			return;
		left = 0;
	}
	if (left <= 0 && !s->rough)
		s->tail = s->head + 1;
	plan_next(s, plan);
}

static struct stream *oldest(struct streams *all)
{
	struct stream *s = &all->stream[0];

	for (unsigned int i = 1; i < STREAMS && s->stride; i++)
		if (!all->stream[i].stride || (int32_t)(all->stream[i].used - s->used) < 0)
			s = &all->stream[i];
	return s;
}

static struct stream *begin(struct streams *all, struct walker *who, const struct policy_fault *f,
			    int64_t stride)
{
	struct stream *s = oldest(all);

	*s = (struct stream){.space = f->space,
			     .stride = stride,
			     .base = stride % (int64_t)PAGE_BYTES ? f->va + f->offset : f->va,
			     .tail = 1,
			     .window = STREAM_FIRST,
			     .used = ++all->tick,
			     .by = (uint8_t)(who - all->walks.walker)};
	who->unproven++;
	return s;
}

/* @base: the page of the fault, or more exactly where its column is. */
static struct stream *begin_roughly(struct streams *all, struct walker *who,
				    const struct policy_fault *f, int64_t stride, uint64_t base,
				    int64_t tail)
{
	struct stream *s = begin(all, who, f, stride);

	s->rough = true;
	s->base = base;
	s->window = STREAM_ROUGH;
	s->tail = tail;
	return s;
}

/* The stream that this fault makes certain. */
static struct stream *begun(struct streams *all, const struct policy_fault *f)
{
	struct walker *who = walks_who(&all->walks, f);
	uint64_t from = spots_add(&all->spots, f, SPOT_LEAST + who->unproven), base;
	int64_t stride = walks_add(&all->walks, who, f), columns;
	bool exact = stride % (int64_t)PAGE_BYTES;

	if (exact)
		columns_learn(&all->columns, stride);
	else
		stride = columns_exactly(&all->columns, stride, walks_alike(who, stride));
	columns = columns_add(&all->columns, f, &base);
	if (from)
		return begin_roughly(all, who, f, PAGE_BYTES, f->va,
				     (int64_t)(from - (f->va >> PAGE_SHIFT)));
	if (columns && !exact)
		return begin_roughly(all, who, f, columns, base, -(int64_t)STREAM_ROUGH / 2);
	return stride ? begin(all, who, f, stride) : NULL;
}

static void plan(void *ctx, const struct policy_fault *f, struct policy_plan *p)
{
	struct streams *all = ctx;
	struct stream *s;
	int64_t steps;

	if (f->kind == POLICY_ZERO) {
		p->zeros = zeros_ahead(&all->zeros, f);
		return;
	}
	s = find(all, f->space, f->va, &steps);
	if (s) {
		go_on(all, s, f, steps, p);
		return;
	}
	s = begun(all, f);
	if (s)
		plan_next(s, p);
}

static void unused(void *ctx, space_id space, uint64_t va)
{
	struct streams *all = ctx;
	int64_t steps;
	struct stream *s = find(all, space, va, &steps);

	if (s && steps > 0 && steps < planned(s))
		shrink(s);
}

static void came(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		 unsigned int idx, unsigned int nr, enum policy_way way)
{
	struct streams *all = ctx;

	keep_came(&all->keep, room, pc, idx, nr, way);
}

static bool leave(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		  const pageset *young, pageset *set)
{
	struct streams *all = ctx;

	return keep_leave(&all->keep, room, pc, young, set);
}

static void forget(void *ctx, const struct policy_chunk *pc)
{
	struct streams *all = ctx;

	keep_forget(&all->keep, pc);
}

const struct policy_ops policy_streams = {
	.name = "default",
	.plan = plan,
	.unused = unused,
	.came = came,
	.leave = leave,
	.forget = forget,
};
