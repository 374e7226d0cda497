/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leaf of the stack: a server that may go, and a lease of its memory, which goes with
 * it. It is slow and out of order as the plain store is, and gives what nobody may rely
 * on where nobody may: what was read while it was written, or never written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { CELL_NEVER, CELL_WRITTEN, CELL_SPOILED };

struct cell {
	uint64_t value, before;
	uint8_t state, writes, reads;
};

struct leaf_req {
	struct store_req req;
	uint64_t value;
	bool whole;   /* a write: all words are the same */
	bool garbage; /* a read: the slot is written meanwhile */
};

struct sim_lease {
	struct store store;
	struct sim *w;
	struct sim_leaf *leaf;
	bool orphan;	    /* its driver is dead, another may go on with it */
	bool dead, mute;    /* mute: nobody is there, which nobody has noticed */
	uint64_t dead_step; /* then it is noticed; 0: not */
	struct leaf_req inflight[SIM_INFLIGHT];
	unsigned int nr_inflight;
	struct store_done done[SIM_INFLIGHT];
	unsigned int nr_done;
	struct cell cell[];
};

static struct sim_lease *to_lease(struct store *s)
{
	return (struct sim_lease *)s;
}

static struct sim_part *part_of(struct sim_lease *e)
{
	return &e->w->stack.part[e->leaf->part];
}

/* May pages come from above that are not what the core wrote? */
static bool may_be_spoiled(struct sim_lease *e)
{
	bool is = part_of(e)->lies;

	for (unsigned int c = 0; c < part_of(e)->nr; c++) {
		const struct sim_leaf *l = sim_leaf_of(e->w, e->leaf->part, c);

		is |= l->lies || l->tainted;
	}
	return is;
}

static void check_req(struct sim_lease *e, const struct store_req *r)
{
	if (r->slot >= e->store.nr_slots)
		sim_fail(e->w, "%s: slot %lu of %lu", sim_leaf_name(e->leaf),
			 (unsigned long)r->slot, (unsigned long)e->store.nr_slots);
	if (e->cell[r->slot].writes)
		sim_fail(e->w, "%s: slot %lu is being written, and is asked for",
			 sim_leaf_name(e->leaf), (unsigned long)r->slot);
}

static void take_write(struct sim_lease *e, struct leaf_req *q)
{
	struct cell *cell = &e->cell[q->req.slot];

	q->whole = sim_value(q->req.buf, &q->value);
	if (!q->whole && !may_be_spoiled(e))
		sim_fail(e->w, "%s: a torn page is written to slot %lu", sim_leaf_name(e->leaf),
			 (unsigned long)q->req.slot);
	cell->writes++;
	for (unsigned int k = 0; cell->reads && k < e->nr_inflight; k++)
		if (e->inflight[k].req.op == STORE_READ && e->inflight[k].req.slot == q->req.slot)
			e->inflight[k].garbage = true;
}

static void take(struct sim_lease *e, const struct store_req *r)
{
	struct leaf_req *q = &e->inflight[e->nr_inflight];

	check_req(e, r);
	*q = (struct leaf_req){.req = *r};
	if (r->op == STORE_WRITE) {
		take_write(e, q);
	} else {
		e->cell[r->slot].reads++;
		((uint64_t *)r->buf)[sim_below(e->w, 512)] ^= 0xdeadbeef;
	}
	e->nr_inflight++;
}

static bool speaks(const struct sim_lease *e)
{
	return !e->dead && !e->mute && e->w->step >= e->leaf->silent_step;
}

static int leaf_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct sim_lease *e = to_lease(s);
	unsigned int n = 0;

	if (e->dead)
		return -EPIPE;
	while (n < nr && e->nr_inflight + e->nr_done < e->w->cfg.store_depth &&
	       (e->w->draining || sim_below(e->w, 8)))
		take(e, &req[n++]);
	return (int)n;
}

static uint64_t spoil(struct sim_lease *e, const struct cell *cell)
{
	struct sim *w = e->w;

	switch (sim_below(w, 4)) {
	case 0:
		return cell->value ^ 1ULL << sim_below(w, 64);
	case 1:
		return cell->before;
	case 2:
		return e->cell[sim_below(w, (unsigned int)e->store.nr_slots)].value;
	default:
		return 0;
	}
}

static int finish_read(struct sim_lease *e, const struct leaf_req *q)
{
	struct cell *cell = &e->cell[q->req.slot];
	uint64_t value = cell->value;

	cell->reads--;
	if (sim_pct(e->w, e->leaf->err_pct)) {
		sim_stack_total.point[POINT_ERRORS]++;
		return -EIO;
	}
	if (q->garbage || cell->state == CELL_NEVER)
		value = ~sim_rnd(e->w);
	else if (e->leaf->lie_pct && sim_pct(e->w, e->leaf->lie_pct))
		value = spoil(e, cell);
	sim_expand(q->req.buf, value);
	if (cell->state == CELL_SPOILED)
		((uint64_t *)q->req.buf)[7] ^= 4096;
	return 0;
}

static int finish_write(struct sim_lease *e, const struct leaf_req *q)
{
	struct cell *cell = &e->cell[q->req.slot];
	uint64_t value;
	bool whole = sim_value(q->req.buf, &value);

	if (whole != q->whole || value != q->value)
		sim_fail(e->w, "%s: the buffer of slot %lu changed in flight",
			 sim_leaf_name(e->leaf), (unsigned long)q->req.slot);
	cell->writes--;
	cell->before = cell->value;
	cell->value = value;
	cell->state = whole ? CELL_WRITTEN : CELL_SPOILED;
	if (!sim_pct(e->w, e->leaf->err_pct))
		return 0;
	sim_stack_total.point[POINT_ERRORS]++;
	if (sim_below(e->w, 2)) /* nobody may rely on it, one way or the other */
		cell->state = CELL_NEVER;
	return -EIO;
}

static void complete(struct sim_lease *e, unsigned int k)
{
	struct leaf_req q = e->inflight[k];
	int res;

	e->nr_inflight--;
	memmove(&e->inflight[k], &e->inflight[k + 1], (e->nr_inflight - k) * sizeof(q));
	res = q.req.op == STORE_READ ? finish_read(e, &q) : finish_write(e, &q);
	e->done[e->nr_done++] = (struct store_done){.tag = q.req.tag, .res = res};
}

static int leaf_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct sim_lease *e = to_lease(s);
	unsigned int n = 0;

	if (e->dead)
		return -EPIPE;
	while (n < max && e->nr_done && speaks(e)) {
		unsigned int k = e->w->cfg.in_order ? 0 : sim_below(e->w, e->nr_done);

		out[n++] = e->done[k];
		e->nr_done--;
		memmove(&e->done[k], &e->done[k + 1], (e->nr_done - k) * sizeof(e->done[0]));
	}
	return (int)n;
}

static int leaf_pollfd(struct store *s)
{
	(void)s;
	return -1;
}

static void leaf_drop(struct store *s, uint64_t slot)
{
	struct sim_lease *e = to_lease(s);

	if (slot >= e->store.nr_slots)
		sim_fail(e->w, "%s: slot %lu is dropped", sim_leaf_name(e->leaf),
			 (unsigned long)slot);
	if (!e->w->cfg.crash_rare) /* else it may be needed still: see gate_drop() */
		e->cell[slot].state = CELL_NEVER;
}

/* Is there anything that its loss could be laid to? Not a request that was refused, nor
 * silence, if then there is no copy left. */
static void check_given_up(const struct sim_lease *e)
{
	struct sim *w = e->w;
	const struct sim_leaf *l = e->leaf;
	bool last = !sim_part_live(w, l->part);
	bool excused = (l->hit && !last) || e->dead || e->mute || l->short_lease;

	for (unsigned int c = 0; c < w->stack.part[l->part].nr; c++) {
		const struct sim_leaf *other = sim_leaf_of(w, l->part, c);

		/* Who joins must have all, from whomever. */
		excused |= l->was == COPY_JOINING && (other->fails || other->hit);
	}
	excused |= l->fails && !last;
	if (!excused)
		sim_fail(w, "%s is given up without a cause", sim_leaf_name(l));
}

/* What was in flight was carried out, or never will be. */
static void abandon(struct sim_lease *e)
{
	while (e->nr_inflight) {
		const struct leaf_req *q = &e->inflight[--e->nr_inflight];
		struct cell *cell = &e->cell[q->req.slot];

		cell->reads = cell->writes = 0;
		if (q->req.op == STORE_READ)
			continue;
		cell->state = q->whole && sim_below(e->w, 2) ? CELL_WRITTEN : CELL_NEVER;
		cell->value = q->value;
	}
	e->nr_done = 0;
}

static void leaf_close(struct store *s)
{
	struct sim_lease *e = to_lease(s);
	struct sim *w = e->w;
	struct sim_leaf *l = e->leaf;

	if (w->stack.dying) {
		abandon(e);
		return;
	}
	if (w->stack.running && !w->part_left[l->part]) {
		check_given_up(e);
		sim_event(w, EV_SERVER, l->part, l->copy, POINTS);
		if (l->fails && !l->hit && !l->err_pct)
			sim_stack_total.point[l->point]++;
		sim_stack_total.lost += l->was == COPY_LIVE;
	}
	l->was = COPY_LOST;
	l->lease = NULL;
	free(e);
}

static const struct store_ops leaf_ops = {
	.scheme = "sim",
	.submit = leaf_submit,
	.reap = leaf_reap,
	.pollfd = leaf_pollfd,
	.drop = leaf_drop,
	.close = leaf_close,
};

bool sim_leaf_answers(const struct sim *w, const struct sim_leaf *l)
{
	return !l->down && w->step >= l->silent_step;
}

bool sim_leaf_serves(const struct sim_leaf *l)
{
	return l->lease && l->was == COPY_LIVE && !l->down && speaks(l->lease);
}

/* Who joins is filled from those that are live now. */
static bool is_tainted(struct sim *w, const struct sim_leaf *l)
{
	const struct mirror *m = w->stack.part[l->part].mirror;

	for (unsigned int c = 0; c < m->nr; c++) {
		const struct sim_leaf *other = sim_leaf_of(w, l->part, c);

		if (m->copy[c].state == COPY_LIVE && (other->lies || other->tainted))
			return true;
	}
	return false;
}

void sim_leaf_orphan(struct sim_leaf *l)
{
	if (!l->lease)
		return;
	l->lease->orphan = true;
}

static void give_back(struct sim_leaf *l)
{
	free(l->lease);
	l->lease = NULL;
}

bool sim_leaf_end(struct sim_leaf *l)
{
	bool held = l->lease && !l->lease->orphan;

	give_back(l);
	return !held;
}

/* Another driver goes on with it; or its server has died, too, and there is another copy. */
static int resume(struct sim *w, struct sim_leaf *l, const struct store_open_args *args,
		  struct store **out)
{
	bool others = false;

	if (l->was == COPY_LOST)
		sim_fail(w, "%s is gone on with, and was lost", sim_leaf_name(l));
	for (unsigned int c = 0; c < w->stack.part[l->part].nr; c++)
		others |= c != l->copy && sim_leaf_serves(sim_leaf_of(w, l->part, c));
	if (others && !speaks(l->lease)) {
		sim_stack_total.lost += l->was == COPY_LIVE;
		l->was = COPY_LOST;
		give_back(l);
		return -EPIPE;
	}
	l->lease->orphan = false;
	handover_set(args->handover, &(struct handed){.used = true});
	*out = &l->lease->store;
	return 0;
}

int sim_leaf_open(struct sim *w, struct sim_leaf *l, const struct store_open_args *args,
		  struct store **out)
{
	uint64_t nr_slots = args->bytes / PAGE_BYTES;
	struct sim_lease *e;
	bool odd = w->stack.running && !w->draining;

	if (l->lease && !l->lease->orphan)
		sim_fail(w, "%s is leased twice", sim_leaf_name(l));
	if (l->lease && handover_get(args->handover))
		return resume(w, l, args, out);
	give_back(l);
	if (!sim_leaf_answers(w, l))
		return -ECONNREFUSED;
	if (odd && !sim_below(w, 8)) {
		sim_stack_total.point[POINT_REFUSES]++;
		return -ENOSPC;
	}
	l->short_lease = odd && nr_slots > 1 && !sim_below(w, 16);
	sim_stack_total.point[POINT_SMALL] += l->short_lease;
	nr_slots -= l->short_lease;
	e = calloc(1, sizeof(*e) + nr_slots * sizeof(e->cell[0]));
	if (!e)
		return -ENOMEM;
	e->store = (struct store){.ops = &leaf_ops, .nr_slots = nr_slots};
	e->w = w;
	e->leaf = l;
	l->lease = e;
	l->hit = false;
	l->was = w->stack.running ? COPY_JOINING : COPY_LIVE;
	l->tainted |= w->stack.running && is_tainted(w, l);
	sim_event(w, EV_SERVER, l->part, l->copy, POINTS + 1);
	*out = &e->store;
	handover_set(args->handover, &(struct handed){.used = true});
	return 0;
}

void sim_leaf_step(struct sim *w, struct sim_leaf *l, bool all)
{
	struct sim_lease *e = l->lease;

	if (l->down && l->back_step && w->step >= l->back_step)
		l->down = false;
	if (e && e->dead_step && w->step >= e->dead_step)
		e->dead = true;
	if (!e || !speaks(e))
		return;
	while (e->nr_inflight && (all || sim_below(w, 3)))
		complete(e, w->cfg.in_order ? 0 : sim_below(w, e->nr_inflight));
}

void sim_leaf_lose(struct sim *w, struct sim_leaf *l, enum sim_point how)
{
	sim_stack_total.point[how]++;
	sim_event(w, EV_SERVER, l->part, l->copy, how);
	l->hit = true;
	if (how == POINT_SILENT) {
		l->silent_step = w->step + 50 + sim_below(w, sim_below(w, 2) ? 500 : 12000);
		return;
	}
	l->down = true;
	l->silent_step = 0;
	l->back_step = how == POINT_DIES ? 0 : w->step + 10 + sim_below(w, 3000);
	if (how == POINT_VANISHES && sim_below(w, 2))
		l->back_step = 0;
	if (!l->lease)
		return;
	l->lease->mute = how == POINT_VANISHES;
	l->lease->dead = !l->lease->mute;
	l->lease->dead_step = w->step + 100 + sim_below(w, 12000);
}

static uint64_t soon(const struct sim *w, uint64_t step)
{
	return step > w->step + 20 ? w->step + 20 : step;
}

void sim_leaf_calm(struct sim *w, struct sim_leaf *l)
{
	l->silent_step = soon(w, l->silent_step);
	l->back_step = soon(w, l->back_step);
	if (l->lease)
		l->lease->dead_step = soon(w, l->lease->dead_step);
}

bool sim_leaf_has(const struct sim_leaf *l, uint64_t slot, uint64_t value)
{
	const struct cell *cell = &l->lease->cell[slot];

	return cell->state == CELL_WRITTEN && cell->value == value;
}
