/* SPDX-License-Identifier: Apache-2.0 */
/* Which filters stand before which leaves, as SPECs, and what goes wrong in them of itself. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static void add(char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(char *text, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, sizeof(((struct sim_part *)0)->spec) - len, fmt, ap);
	va_end(ap);
}

/* "fault(...," or nothing; returns what it does wrong, or POINTS. */
static enum sim_point add_fault(struct sim *w, char *text, bool may_fail, bool may_lie)
{
	static const char *const rare[] = {"1%", "5%", "20%"};
	enum sim_point point = POINTS;

	if (!sim_pct(w, 40))
		return POINTS;
	add(text, "fault(seed=%u,", 1 + sim_below(w, 1U << 30));
	if (sim_pct(w, 50))
		add(text, "delay=%uus,", 1U << sim_below(w, 13));
	if (sim_pct(w, 50))
		add(text, "jitter=%uus,", 1U << sim_below(w, 13));
	if (may_lie && sim_pct(w, 40))
		point = POINT_LOST + sim_below(w, POINTS - POINT_LOST);
	else if (may_fail && sim_pct(w, 30))
		point = sim_pct(w, 25) ? POINT_STUCK : POINT_FAIL;
	if (point < POINTS)
		add(text, "%s=%s,", sim_point_name[point],
		    point == POINT_STUCK  ? "0.1%"
		    : point == POINT_FAIL ? "0.5%"
					  : rare[sim_below(w, 3)]);
	return point;
}

static bool lies(enum sim_point point)
{
	return point >= POINT_LOST && point < POINTS;
}

static bool fails(enum sim_point point)
{
	return point == POINT_FAIL || point == POINT_STUCK;
}

static void add_leaf(struct sim *w, char *text, struct sim_leaf *l, bool alone, bool may_lie)
{
	size_t len = strlen(text);

	l->point = (uint8_t)add_fault(w, text, true, may_lie);
	if (alone && l->point == POINT_STUCK) { /* who would ever answer? */
		text[len] = 0;
		l->point = POINTS;
	}
	l->lies = lies(l->point);
	l->fails = fails(l->point);
	if (may_lie && l->point == POINTS && sim_pct(w, 10)) {
		l->lie_pct = 1 + sim_below(w, 5);
		l->point = POINT_WRONG;
		l->lies = true;
	} else if (l->point == POINTS && w->cfg.store_err_pct && sim_pct(w, 30)) {
		l->err_pct = alone ? w->cfg.store_err_pct : 1;
		l->point = POINT_ERRORS;
		l->fails = true;
	}
	add(text, "sim:%u%s", (unsigned int)(l - w->stack.leaf), strlen(text) > len ? ")" : "");
}

static void choose_part(struct sim *w, unsigned int i, char *text)
{
	struct sim_part *p = &w->stack.part[i];
	unsigned int honest;
	bool above = false;

	text[0] = 0;
	p->nr = sim_pct(w, 70) ? 2 + sim_below(w, 2) : 1;
	p->point = POINTS;
	honest = w->cfg.kind || sim_below(w, 2) ? sim_below(w, p->nr) : p->nr;
	if (p->nr > 1 && sim_pct(w, 25)) {
		p->point = (uint8_t)add_fault(w, text, true, sim_pct(w, 10));
		if (p->point == POINT_STUCK) {
			text[0] = 0;
			p->point = POINTS;
		}
		p->lies = lies(p->point);
		p->fails = fails(p->point);
		above = text[0];
	}
	if (p->nr > 1)
		add(text, "mirror(resync=%uM,", 1U << sim_below(w, 9));
	for (unsigned int c = 0; c < p->nr; c++) {
		struct sim_leaf *l = sim_leaf_of(w, i, c);

		l->part = i;
		l->copy = c;
		add_leaf(w, text, l, p->nr == 1, p->nr > 1 ? c != honest : sim_pct(w, 20));
		add(text, "%s", c + 1 < p->nr ? "," : "");
	}
	add(text, "%s%s", p->nr > 1 ? ")" : "", above ? ")" : "");
}

/* The stores, rather than what else there is. */
static void keep_busy(struct sim *w)
{
	struct sim_config *c = &w->cfg;
	unsigned int pages = c->win * c->nr_wins;

	c->nr_frames = 4U << sim_below(w, 3);
	if (c->roomy && pages * MODEL_SPACES < SIM_SLOTS / 2) /* so that slots are used again */
		c->nr_slots = pages * MODEL_SPACES + 2 * c->nr_frames;
	c->cap_pages = c->nr_frames + 6 + pages * (5 + sim_below(w, 40)) / 100;
	c->w_pager = c->w_agent = 30;
	c->w_store = 10;
	c->store_depth = SIM_INFLIGHT >> sim_below(w, 3);
	c->agent_fail_pct = 0;
	c->register_pct = 100;
	for (unsigned int k = MOP_READ; k < 16; k++)
		c->ops[k] = k == MOP_READ || k == MOP_WRITE ? 500 : c->ops[k] % 6;
}

void sim_stack_choose(struct sim *w)
{
	struct sim_config *c = &w->cfg;

	c->haste = 1;
	if (!sim_pct(w, 50))
		return;
	c->stack = true;
	c->join_rare = 0;
	c->parts = w->stack.nr_parts = 1 + sim_below(w, SIM_PARTS);
	c->haste = sim_below(w, 4) ? 1U << sim_below(w, 10) : 1;
	c->kind = sim_pct(w, 80);
	c->parts_go = sim_pct(w, 70);
	c->loss_rare = sim_below(w, 6) ? 100U << sim_below(w, 7) : 0;
	c->store_dies = false;
	if (c->crash_rare) /* it costs more here */
		c->crash_rare = 100U << sim_below(w, 3);
	c->copies = 0;
	if (sim_below(w, 3))
		keep_busy(w);
	for (unsigned int i = 0; i < c->parts; i++)
		choose_part(w, i, w->stack.part[i].spec);
}
