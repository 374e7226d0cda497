/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the core and a stack of filters: what the core asks is checked as ever, and what
 * it is told must be true, or be excused by what was made to go wrong below.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tests/sim/sim.h"

#define RETRIES 8U /* of the core, before it gives a page up */

static struct sim *sim_of(struct store *s)
{
	return (struct sim *)((uint8_t *)s - offsetof(struct sim, store));
}

static struct sim_part *part_of(struct sim *w, uint64_t slot, unsigned int *i)
{
	*i = 0;
	while (*i + 1 < w->stack.nr_parts && slot >= w->stack.part[*i + 1].first)
		++*i;
	return &w->stack.part[*i];
}

/* ---- excuses ---- */

/* Its only copy, or all that could be read. */
static bool is_gone(struct sim *w, unsigned int i)
{
	const struct sim_leaf *l = sim_leaf_of(w, i, 0);
	bool gone = w->stack.part[i].nr > 1 ? !sim_leaves_live(w, i) : l->hit, frail = false;

	for (unsigned int k = 0; k < w->stack.part[i].nr; k++)
		frail |= sim_leaf_of(w, i, k)->fails;
	/* Where the world is kind one is left, unless that one fails of itself. */
	return gone && !w->part_left[i] && (frail || !w->cfg.kind);
}

void sim_gate_lost(struct sim *w, int err)
{
	bool excused = false;

	for (unsigned int i = 0; i < w->stack.nr_parts; i++)
		excused |= is_gone(w, i);
	if (!excused)
		sim_fail(w, "the store says that it is lost: %d", err);
	w->stack.excused = w->store_dead = true;
	sim_stack_total.stops++;
}

/* Nothing of it is in flight any more, and nobody will be told. */
static void forget_part(struct sim *w, unsigned int part)
{
	unsigned int i, n = 0;

	for (unsigned int k = 0; k < w->nr_inflight; k++) {
		const struct sim_req *q = &w->inflight[k];

		part_of(w, q->slot, &i);
		if (i != part)
			w->inflight[n++] = *q;
		else if (q->op == STORE_READ)
			w->slot_reads[q->slot]--;
		else
			w->slot_state[q->slot] = SLOT_NEVER;
	}
	w->nr_inflight = n;
}

/* Parts that the pool has lost, and goes on without. */
void sim_gate_look(struct sim *w)
{
	uint32_t gone = w->stack.top->gone_parts & ~w->store.gone_parts;

	for (unsigned int i = 0; gone >> i; i++) {
		if (!(gone >> i & 1))
			continue;
		if (!is_gone(w, i))
			sim_fail(w, "part %u is given up without a cause", i);
		forget_part(w, i);
		w->stack.part[i].gone = w->stack.excused = true;
		w->stack.part[i].mirror = NULL;
		sim_stack_total.parts++;
	}
	w->store.gone_parts |= gone;
}

static bool may_fail(struct sim *w, const struct sim_req *q)
{
	unsigned int i;
	const struct sim_part *p = part_of(w, q->slot, &i);
	bool all = true;

	for (unsigned int c = 0; c < p->nr; c++) {
		const struct sim_leaf *l = sim_leaf_of(w, i, c);

		all &= l->fails || l->hit || l->was != COPY_LIVE || q->avoid >> c & 1;
	}
	return all || p->fails;
}

static void failed(struct sim *w, const struct sim_req *q, int res)
{
	unsigned int i;
	const struct sim_part *p = part_of(w, q->slot, &i);

	if (!q->may_fail && !may_fail(w, q))
		sim_fail(w, "slot %" PRIu64 ": %s fails without a reason: %d", q->slot,
			 q->op == STORE_READ ? "a read" : "a write", res);
	if (++w->stack.errors[q->slot] > RETRIES)
		w->stack.excused = true;
	if (p->point == POINT_FAIL)
		sim_stack_total.point[POINT_FAIL]++;
	else if (p->nr == 1 && sim_leaf_of(w, i, 0)->point == POINT_FAIL)
		sim_stack_total.point[POINT_FAIL]++;
}

static void wrong(struct sim *w, const struct sim_req *q, uint8_t from)
{
	unsigned int i;
	const struct sim_part *p = part_of(w, q->slot, &i);
	const struct sim_leaf *l = sim_leaf_of(w, i, from);

	if (!p->lies && !l->lies && !l->tainted)
		sim_fail(w, "slot %" PRIu64 ": a wrong page of %s, which does not lie", q->slot,
			 sim_leaf_name(l));
	w->stack.spoiled[q->slot] = true;
	if (sim_part_lies(w, i))
		w->corrupted = true; /* nobody need know better */
	if (p->lies || l->lies)
		sim_stack_total.point[l->lies ? l->point : p->point]++;
	sim_stack_total.wrong++;
}

/* ---- answers ---- */

static bool lives_on_healed(struct sim *w, unsigned int part)
{
	bool all = w->stack.part[part].mirror;

	for (unsigned int c = 0; c < w->stack.part[part].nr; c++) {
		const struct sim_leaf *l = sim_leaf_of(w, part, c);

		all &= l->was != COPY_LIVE || l->healed;
	}
	return all;
}

static void finish_read(struct sim *w, const struct sim_req *q, const struct store_done *d)
{
	unsigned int i;
	const struct sim_part *p = part_of(w, q->slot, &i);
	uint64_t value;

	w->slot_reads[q->slot]--;
	if (d->res) {
		failed(w, q, d->res);
		return;
	}
	if (d->from >= p->nr || (p->nr > 1 && q->avoid >> d->from & 1))
		sim_fail(w, "slot %" PRIu64 " was read of copy %u of %u, to avoid are %x", q->slot,
			 d->from, p->nr, q->avoid);
	w->stack.errors[q->slot] = 0;
	w->reads++;
	if (!sim_value(q->buf, &value) || value != w->slot_value[q->slot])
		wrong(w, q, d->from);
	else
		sim_stack_total.alone += lives_on_healed(w, i);
}

static void finish_write(struct sim *w, const struct sim_req *q, const struct store_done *d)
{
	uint64_t value;

	if (!sim_value(q->buf, &value) || value != q->value)
		sim_fail(w, "the buffer of slot %" PRIu64 " changed in flight", q->slot);
	if (d->res) {
		w->slot_state[q->slot] = SLOT_NEVER;
		failed(w, q, d->res);
		return;
	}
	w->stack.errors[q->slot] = 0;
	w->stack.spoiled[q->slot] = w->stack.dropped[q->slot] = false;
	w->slot_value[q->slot] = value;
	w->slot_state[q->slot] = SLOT_WRITTEN;
}

static void answered(struct sim *w, const struct store_done *d)
{
	unsigned int k = 0;
	struct sim_req q;

	while (k < w->nr_inflight && w->inflight[k].tag != d->tag)
		k++;
	if (k == w->nr_inflight)
		sim_fail(w, "an answer to %u, which was not asked", d->tag);
	q = w->inflight[k];
	w->nr_inflight--;
	memmove(&w->inflight[k], &w->inflight[k + 1], (w->nr_inflight - k) * sizeof(q));
	if (q.op == STORE_READ)
		finish_read(w, &q, d);
	else
		finish_write(w, &q, d);
	sim_event(w, EV_DONE, q.slot, q.tag, (uint64_t)(int64_t)d->res);
}

/* ---- as a store ---- */

/* A slot that gave a wrong page is not read on: what was right elsewhere is written to
 * another. After a fork others may not know. */
static void check_repaired(struct sim *w, const struct store_req *r)
{
	if (r->op == STORE_READ && !r->avoid && w->stack.spoiled[r->slot] && !w->cfg.ops[MOP_FORK])
		sim_fail(w, "slot %" PRIu64 " gave a wrong page, and is read again", r->slot);
}

static int gate_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct sim *w = sim_of(s);
	unsigned int room = SIM_INFLIGHT - w->nr_inflight;
	int n;

	sim_check_order(w, req, nr);
	if (w->store_dead)
		return -EPIPE;
	nr = nr < room ? nr : room;
	n = w->stack.top->ops->submit(w->stack.top, req, nr);
	sim_gate_look(w);
	if (n > (int)nr)
		sim_fail(w, "%d of %u requests are taken", n, nr);
	for (int k = 0; k < n; k++) {
		check_repaired(w, &req[k]);
		sim_take_req(w, &req[k]);
		w->inflight[w->nr_inflight - 1].may_fail =
			may_fail(w, &w->inflight[w->nr_inflight - 1]);
	}
	if (n < 0)
		sim_gate_lost(w, n);
	return n;
}

static int gate_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct sim *w = sim_of(s);
	int n;

	if (w->store_dead)
		return -EPIPE;
	n = w->stack.top->ops->reap(w->stack.top, out, max);
	sim_gate_look(w);
	if (n > (int)max)
		sim_fail(w, "%d answers where %u were asked for", n, max);
	for (int k = 0; k < n; k++)
		answered(w, &out[k]);
	if (n < 0)
		sim_gate_lost(w, n);
	return n;
}

static int gate_pollfd(struct store *s)
{
	(void)s;
	return -1;
}

static void gate_drop(struct store *s, uint64_t slot)
{
	struct sim *w = sim_of(s);

	if (w->slot_state[slot] == SLOT_WRITING || w->slot_reads[slot])
		sim_fail(w, "slot %" PRIu64 " is in flight, and dropped", slot);
	/* It is said before it is committed: another driver may need it again. */
	w->stack.dropped[slot] = true;
	if (!w->cfg.crash_rare)
		w->slot_state[slot] = SLOT_NEVER;
	w->stack.spoiled[slot] = false;
	if (!w->store_dead && w->stack.top && w->stack.top->ops->drop)
		w->stack.top->ops->drop(w->stack.top, slot);
}

static void gate_leave(struct store *s, unsigned int part)
{
	struct sim *w = sim_of(s);

	sim_store_ops.leave(s, part);
	w->stack.top->ops->leave(w->stack.top, part);
	w->stack.part[part].mirror = NULL;
}

static void gate_close(struct store *s)
{
	(void)s;
}

const struct store_ops sim_gate_ops = {
	.scheme = "gate",
	.submit = gate_submit,
	.reap = gate_reap,
	.pollfd = gate_pollfd,
	.drop = gate_drop,
	.leave = gate_leave,
	.close = gate_close,
};
