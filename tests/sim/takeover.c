/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of the core dies between two stores, anywhere; job, agents and time go
 * on; then another takes over. What a driver keeps in shared memory is here what
 * struct sim has: the journal, what agents were asked and answered.
 */
#include "tests/sim/sim.h"

static space_id id_of(const struct sim *w, unsigned int s)
{
	return (space_id){w->sp[s].id};
}

/* What was in flight was carried out, or never will be. */
static void end_requests(struct sim *w)
{
	while (w->nr_inflight) {
		const struct sim_req *q = &w->inflight[--w->nr_inflight];

		if (q->op == STORE_READ) {
			w->slot_reads[q->slot]--;
			continue;
		}
		w->slot_before[q->slot] = w->slot_value[q->slot];
		w->slot_value[q->slot] = sim_below(w, 2) ? q->value : ~q->value;
		w->slot_state[q->slot] = 0; /* nobody may rely on it */
	}
	w->nr_done = 0;
}

void sim_crash(struct sim *w)
{
	core_crash_after(UINT64_MAX, NULL);
	w->crashed = true;
	sim_event(w, EV_CRASH, 0, 0, 0);
	end_requests(w);
	if (w->cfg.stack)
		sim_stack_die(w);
}

/* Answers that were committed, and those to what was never asked. */
static void take_half(struct sim *w, unsigned int s, unsigned int h)
{
	const pageset none = {{0}};
	struct sim_move *mv = &w->sp[s].move[h];

	switch (core_half(w->core, id_of(w, s), h)) {
	case HALF_FREE:
		if (mv->state == CMD_QUEUED)
			sim_fail(w, "the core has forgotten what it asked an agent for");
		if (mv->state == CMD_DONE)
			sim_answer_taken(w, s, h);
		w->sp[s].drop[h] = true;
		break;
	case HALF_ASKED:
		w->sp[s].drop[h] = false;
		if (mv->state != CMD_FREE)
			break;
		core_moved(w->core, id_of(w, s), h, &none, &none, &none, &none, true);
		break;
	case HALF_HOLDS:
		if (mv->state == CMD_DONE)
			sim_answer_taken(w, s, h);
		w->sp[s].drop[h] = false;
	}
}

static void take_populate(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];
	bool awaits = core_awaits_populate(w->core, id_of(w, s));

	if (awaits && sp->populate == CMD_FREE)
		core_populated(w->core, id_of(w, s), sp->populate_va, -1);
	else if (!awaits && sp->populate == CMD_DONE)
		sp->populate = CMD_FREE;
}

static void take_place(struct sim *w, unsigned int s)
{
	const pageset none = {{0}};
	struct sim_place *p = &w->sp[s].place;
	bool awaits = core_awaits_place(w->core, id_of(w, s));

	if (awaits && p->state == CMD_FREE)
		core_placed(w->core, id_of(w, s), &none, &none, true);
	else if (!awaits && p->state == CMD_QUEUED)
		sim_fail(w, "the core has forgotten what it asked an agent to place");
	else if (!awaits)
		p->state = CMD_FREE;
}

/* It ended, and what it was asked for is answered. */
static void take_gone(struct sim *w, unsigned int s)
{
	const pageset none = {{0}};
	bool populates = core_awaits_populate(w->core, id_of(w, s)), asked[CORE_HALVES];
	bool places = core_awaits_place(w->core, id_of(w, s));

	for (unsigned int h = 0; h < CORE_HALVES; h++)
		asked[h] = core_half(w->core, id_of(w, s), h) == HALF_ASKED;
	core_space_gone(w->core, id_of(w, s));
	for (unsigned int h = 0; h < CORE_HALVES; h++) {
		if (asked[h])
			core_moved(w->core, id_of(w, s), h, &none, &none, &none, &none, false);
		w->sp[s].move[h].state = CMD_FREE;
	}
	if (populates)
		core_populated(w->core, id_of(w, s), w->sp[s].populate_va, -1);
	w->sp[s].populate = CMD_FREE;
	if (places)
		core_placed(w->core, id_of(w, s), &none, &none, false);
	w->sp[s].place.state = CMD_FREE;
}

static void take_space(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	if (sp->gone_told) {
		take_gone(w, s);
		return;
	}
	if (!core_space_known(w->core, id_of(w, s)) && core_space_add(w->core, id_of(w, s)))
		sim_fail(w, "core_space_add() failed");
	sp->nr_journal = sp->nr_events; /* who faulted is woken */
	sp->untold = true;
	sp->quiescing = false;
	if (sp->agent == AGENT_WANTED)
		sp->agent = AGENT_NO;
	if (sp->agent == AGENT_READY)
		core_agent_ready(w->core, id_of(w, s));
	take_half(w, s, 0);
	take_half(w, s, 1);
	take_populate(w, s);
	take_place(w, s);
	model_wake(&w->m, s, 0, w->m.nr_pages);
}

void sim_takeover(struct sim *w)
{
	struct core_config cfg = sim_core_config(w);
	struct core_binds binds = sim_core_binds(w);
	int err;

	if (w->cfg.stack && !sim_stack_open(w, w->stack.handover))
		return;
	err = core_takeover(w->arena, w->arena_bytes, &cfg, &binds, &w->core);
	if (err)
		sim_fail(w, "core_takeover(): %d", err);
	sim_event(w, EV_TAKEOVER, 0, 0, 0);
	if (w->giver && core_marked(w->core) == w->events_given + 1)
		sim_given(w, w->giver - 1);
	w->giver = 0;
	for (unsigned int s = 0; s < MODEL_SPACES; s++)
		if (w->sp[s].known)
			take_space(w, s);
	core_observe(w->core, w->m.phys_used * PAGE_BYTES, w->m.phys_used * PAGE_BYTES, true);
	core_commit(w->core);
	core_check(w->core);
	w->crashed = false;
	w->takeovers++;
}
