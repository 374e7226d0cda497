/* SPDX-License-Identifier: Apache-2.0 */
/* Agents: what was asked of them, a run of pages at a time. */
#include <errno.h>

#include "tests/sim/sim.h"

static void move_page(struct sim *w, unsigned int s, unsigned int half, struct sim_move *mv)
{
	unsigned int idx = mv->next++;
	bool exact;
	unsigned int i = model_page(&w->m, mv->chunk_va + ((uint64_t)idx << PAGE_SHIFT), &exact);

	if (!exact)
		return;
	switch (model_move(&w->m, s, i, half, idx)) {
	case MMOVE_OK:
		pageset_add(&mv->moved, idx);
		w->moves++;
		break;
	case MMOVE_BUSY:
		pageset_add(&mv->busy, idx);
		break;
	case MMOVE_INVALID:
		pageset_add(&mv->invalid, idx);
		break;
	case MMOVE_EAGAIN:
		mv->overtaken = true;
		mv->next = CHUNK_PAGES;
		break;
	default:
		break;
	}
}

/* One ioctl: a run of neighbours, all before or all after any event. */
static void move_run(struct sim *w, unsigned int s, unsigned int half)
{
	struct sim_move *mv = &w->sp[s].move[half];
	unsigned int max = 1 + sim_below(w, 8);

	mv->next = pageset_next(&mv->want, mv->next);
	while (max-- && mv->next < CHUNK_PAGES && pageset_has(&mv->want, mv->next))
		move_page(w, s, half, mv);
	mv->next = pageset_next(&mv->want, mv->next);
	if (mv->next >= CHUNK_PAGES)
		mv->state = CMD_DONE;
}

static void place_page(struct sim *w, unsigned int s, struct sim_place *p)
{
	unsigned int idx = p->next++;
	bool exact;
	unsigned int i = model_page(&w->m, p->chunk_va + ((uint64_t)idx << PAGE_SHIFT), &exact);

	if (!exact)
		return;
	switch (model_fill(&w->m, s, i, p->value[idx])) {
	case 0:
		pageset_add(&p->placed, idx);
		w->fills++;
		break;
	case -EEXIST:
		pageset_add(&p->present, idx);
		break;
	case -EAGAIN:
		p->overtaken = true;
		p->next = CHUNK_PAGES;
		break;
	default:
		break;
	}
}

/* One ioctl, as above; or it has no page to spare for the rest. */
static void place_run(struct sim *w, unsigned int s)
{
	struct sim_place *p = &w->sp[s].place;
	unsigned int max = 1 + sim_below(w, 8);

	p->next = pageset_next(&p->want, p->next);
	while (max-- && p->next < CHUNK_PAGES && pageset_has(&p->want, p->next))
		place_page(w, s, p);
	p->next = pageset_next(&p->want, p->next);
	if (p->next >= CHUNK_PAGES || !sim_below(w, 32))
		p->state = CMD_DONE;
}

static void populate_step(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];
	struct mtask *tk = &w->m.task[sp->populate_task];
	unsigned int idx = pageset_next(&sp->populate_want, sp->populate_next), i;
	bool exact;
	int err;

	if (tk->wait != MWAIT_NONE)
		return;
	if (idx >= CHUNK_PAGES) {
		model_task_free(&w->m, (unsigned int)sp->populate_task);
		sp->populate = CMD_DONE;
		return;
	}
	i = model_page(&w->m, sp->populate_va + ((uint64_t)idx << PAGE_SHIFT), &exact);
	err = exact ? model_touch(&w->m, (unsigned int)sp->populate_task, i, true) : -1;
	if (err > 0)
		return;
	if (err)
		sp->populate_err = err;
	sp->populate_next = idx + 1;
}

static bool is_before(uint8_t order, uint8_t than)
{
	return (uint8_t)(than - order) < 128;
}

/* In the order in which it was asked. False: nothing is asked of it. */
static bool step(struct sim *w, unsigned int s)
{
	const struct sim_space *sp = &w->sp[s];
	int first = -1;
	uint8_t order = 0;

	for (int h = 0; h < (int)CORE_HALVES; h++)
		if (sp->move[h].state == CMD_QUEUED &&
		    (first < 0 || is_before(sp->move[h].order, order))) {
			first = h;
			order = sp->move[h].order;
		}
	if (sp->place.state == CMD_QUEUED && (first < 0 || is_before(sp->place.order, order)))
		place_run(w, s);
	else if (first >= 0)
		move_run(w, s, (unsigned int)first);
	else
		return false;
	return true;
}

void sim_agent_step(struct sim *w)
{
	unsigned int start = sim_below(w, MODEL_SPACES);

	for (unsigned int k = 0; k < MODEL_SPACES; k++) {
		unsigned int s = (start + k) % MODEL_SPACES;
		struct sim_space *sp = &w->sp[s];

		if (!sp->id || !w->m.space[s].alive)
			continue;
		if (sp->populate == CMD_QUEUED) {
			populate_step(w, s);
			return;
		}
		if (step(w, s))
			return;
	}
}
