/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What drives the core: reads messages when it may, gives them in order,
 * passes answers on, registers mappings, notices ends. It obeys the rules of
 * core.h and is otherwise as slow and as unlucky as it can be.
 */
#include <setjmp.h>
#include <string.h>

#include "tests/sim/sim.h"

static space_id id_of(const struct sim *w, unsigned int s)
{
	return (space_id){w->sp[s].id};
}

static void name_space(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];
	uint8_t keep[sizeof(sp->not_inherited)];

	memcpy(keep, sp->not_inherited, sizeof(keep));
	memset(sp, 0, sizeof(*sp));
	memcpy(sp->not_inherited, keep, sizeof(keep));
	sp->id = w->next_id++;
	w->by_id[sp->id & 0xffff] = (uint8_t)s;
}

/* Mappings in [i, end) that are registered: tell the core, whole. */
static void tell_ranges(struct sim *w, unsigned int s, unsigned int i, unsigned int end)
{
	const struct mpage *page = w->m.space[s].page;

	while (i < end) {
		unsigned int e = model_vma_end(&w->m, s, i);

		if (page[i].flags & PF_REG) {
			uint64_t start_va = model_va(&w->m, i);
			uint64_t end_va = model_va(&w->m, e - 1) + PAGE_BYTES;

			sim_event(w, EV_RANGE, w->sp[s].id, start_va, end_va);
			if (core_range_added(w->core, id_of(w, s), start_va, end_va) && !w->lost)
				sim_fail(w, "core_range_added() failed");
		}
		i = e;
	}
}

static void register_one(struct sim *w, unsigned int s)
{
	unsigned int i = sim_below(w, w->m.nr_pages), e;
	const struct mpage *page = w->m.space[s].page;

	while (i && page[i - 1].vma == page[i].vma && (w->m.win == CHUNK_PAGES || i % w->m.win))
		i--;
	if (!page[i].vma || (page[i].flags & PF_REG))
		return;
	e = model_vma_end(&w->m, s, i);
	model_register(&w->m, s, i, e - i);
	w->sp[s].untold = true;
}

/* A child whose FORK is unread does not have what was registered since: the
 * core hears of a registration only when nothing is unread. */
static void tell_untold(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	if (!sp->untold || sp->gone_told || sp->nr_journal || w->m.space[s].changing)
		return;
	if (!core_may_read(w->core, id_of(w, s)))
		return;
	sp->untold = false;
	tell_ranges(w, s, 0, w->m.nr_pages);
}

static void tell_gone(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	if (!sp->gone_told) {
		sim_event(w, EV_GONE, sp->id, 0, 0);
		core_space_gone(w->core, id_of(w, s));
		sp->gone_told = true;
	}
}

static void answer_moved(struct sim *w, unsigned int s, unsigned int h)
{
	struct sim_move *mv = &w->sp[s].move[h];

	if (mv->state != CMD_DONE)
		return;
	sim_event(w, EV_MOVED, w->sp[s].id, pageset_count(&mv->moved) << 1 | h, mv->overtaken);
	core_moved(w->core, id_of(w, s), h, &mv->moved, &mv->known, &mv->busy, &mv->invalid,
		   mv->overtaken);
	core_commit(w->core);
	sim_answer_taken(w, s, h);
}

static void answer_placed(struct sim *w, unsigned int s)
{
	struct sim_place *p = &w->sp[s].place;

	if (p->state != CMD_DONE)
		return;
	sim_event(w, EV_PLACED, w->sp[s].id, pageset_count(&p->placed), p->overtaken);
	core_placed(w->core, id_of(w, s), &p->placed, &p->present, p->overtaken);
	core_commit(w->core);
	p->state = CMD_FREE;
}

void sim_answer_taken(struct sim *w, unsigned int s, unsigned int h)
{
	struct sim_move *mv = &w->sp[s].move[h];

	mv->state = CMD_FREE;
	mv->undropped = pageset_count(&mv->moved) && !w->sp[s].gone_told;
}

/* No call that changes mappings is under way, none of its messages left. */
static bool calm(const struct sim *w, unsigned int s)
{
	const struct mspace *msp = &w->m.space[s];

	return !w->sp[s].nr_journal && !msp->changing && !msp->nr_events && !msp->nr_faults;
}

static void settle(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	if (!sp->unsettled || !w->m.space[s].alive || sp->gone_told || !calm(w, s))
		return;
	sp->unsettled = sp->forked = false;
	core_settled(w->core, id_of(w, s));
}

/* Before anything is moved out of a forked space: what is really registered. */
static void prove(struct sim *w, unsigned int s)
{
	struct core_range real[MODEL_PAGES_MAX];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < w->m.nr_pages; i++) {
		uint64_t va = model_va(&w->m, i);

		if (!(w->m.space[s].page[i].flags & PF_REG))
			continue;
		if (nr && real[nr - 1].end == va)
			real[nr - 1].end += PAGE_BYTES;
		else
			real[nr++] = (struct core_range){va, va + PAGE_BYTES};
	}
	core_ranges_are(w->core, id_of(w, s), real, nr);
	core_commit(w->core);
	w->sp[s].unproven = false;
	w->sp[s].untold = true; /* the parent's may have been so at the fork */
}

static void answer_agent(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	if (sp->agent != AGENT_WANTED || !w->m.space[s].alive || sp->gone_told)
		return;
	if (sim_pct(w, w->cfg.agent_fail_pct)) {
		sp->agent = AGENT_NO;
		sim_event(w, EV_AGENT, sp->id, 2, 0);
		core_agent_failed(w->core, id_of(w, s), -1);
		return;
	}
	if (sp->unproven && (sp->unsettled || !calm(w, s)))
		return;
	if (sp->unproven)
		prove(w, s);
	sp->agent = AGENT_READY;
	sim_event(w, EV_AGENT, sp->id, 1, 0);
	core_agent_ready(w->core, id_of(w, s));
}

/* What quiesce.c waits for: madvise, whatever it advises. */
static bool advises(const struct mtask *tk)
{
	return tk->op.type == MOP_DONTNEED || tk->op.type == MOP_FREE ||
	       tk->op.type == MOP_POPULATE;
}

static bool quiet(const struct sim *w, unsigned int s)
{
	for (unsigned int t = 0; t < MODEL_TASKS; t++) {
		const struct mtask *tk = &w->m.task[t];

		if (tk->used && tk->space == s && tk->op_seq == w->sp[s].quiesce_seq[t] &&
		    advises(tk))
			return false;
	}
	return true;
}

/* The agent died with its space; what it had done stays done. */
static void give_commands_up(struct sim_space *sp)
{
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		if (sp->move[h].state == CMD_QUEUED)
			sp->move[h].state = CMD_DONE;
	if (sp->populate == CMD_QUEUED)
		sp->populate = CMD_DONE;
	if (sp->place.state == CMD_QUEUED)
		sp->place.state = CMD_DONE;
}

static void answers(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	if (!w->m.space[s].alive)
		give_commands_up(sp);
	answer_moved(w, s, 0);
	answer_moved(w, s, 1);
	answer_placed(w, s);
	if (sp->populate == CMD_DONE) {
		sim_event(w, EV_POPULATED, sp->id, sp->populate_va, 0);
		core_populated(w->core, id_of(w, s), sp->populate_va, sp->populate_err);
		core_commit(w->core);
		sp->populate = CMD_FREE;
	}
	if (sim_pct(w, 20) || w->draining)
		answer_agent(w, s);
	if (sp->quiescing && w->m.space[s].alive && quiet(w, s)) {
		sp->quiescing = false;
		sim_event(w, EV_QUIESCE, sp->id, 1, 0);
		core_quiesced(w->core, id_of(w, s), true);
	}
}

/* Of what is read together the events come first, then the faults. */
static void put_in_journal(struct sim_space *sp, const struct mmsg *msg)
{
	unsigned int at = sp->nr_journal++;

	if (msg->ev.type != MMSG_FAULT) {
		at = sp->nr_events++;
		memmove(&sp->journal[at + 1], &sp->journal[at],
			(sp->nr_journal - at - 1U) * sizeof(*msg));
	}
	sp->journal[at] = *msg;
}

static bool has_messages(const struct sim *w, unsigned int s)
{
	return w->m.space[s].nr_events || w->m.space[s].nr_faults;
}

static void read_messages(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];
	unsigned int max = 1 + sim_below(w, w->cfg.batch);
	struct mmsg msg;

	while (max-- && sp->nr_journal < SIM_JOURNAL && has_messages(w, s) &&
	       core_may_read(w->core, id_of(w, s))) {
		if (!model_read(&w->m, s, &msg))
			return;
		put_in_journal(sp, &msg);
		if (msg.ev.type == MMSG_FORK)
			name_space(w, msg.ev.child);
		sim_event(w, EV_READ, sp->id, msg.ev.type, msg.ev.i);
	}
}

/* The task that carries out a populate is the space's agent. */
static bool is_agents(const struct sim *w, unsigned int s, uint32_t tid)
{
	const struct sim_space *sp = &w->sp[s];

	return sp->populate != CMD_FREE && sp->populate_task >= 0 &&
	       w->m.task[sp->populate_task].tid == tid;
}

/* What is there is shared now: each first write to it is to pass through the pager. */
static void guard_all(struct sim *w, unsigned int s)
{
	if (!w->m.space[s].alive || w->m.space[s].changing)
		return;
	for (unsigned int i = 0; i < w->m.nr_pages; i++)
		if (w->m.space[s].page[i].phys && w->m.space[s].page[i].flags & PF_REG)
			model_guard(&w->m, s, i);
}

static void give(struct sim *w, unsigned int s, const struct mevent *ev, uint32_t tid)
{
	uint64_t va = model_va(&w->m, ev->i);
	uint64_t end = model_va(&w->m, ev->i + ev->n - 1U) + PAGE_BYTES;

	switch (ev->type) {
	case MMSG_FAULT:
		sim_event(w, EV_FAULT, w->sp[s].id, va, tid);
		if (is_agents(w, s, tid))
			tid = CORE_AGENT_TID;
		va += sim_below(w, PAGE_BYTES);
		if (ev->guarded)
			core_write_fault(w->core, id_of(w, s), va, tid);
		else
			core_fault(w->core, id_of(w, s), va, 0, tid, sim_pct(w, w->cfg.writes_pct));
		break;
	case MMSG_REMOVE:
		sim_event(w, EV_REMOVE, w->sp[s].id, va, end);
		core_removed(w->core, id_of(w, s), va, end);
		break;
	case MMSG_UNMAP:
		sim_event(w, EV_UNMAP, w->sp[s].id, va, end);
		core_unmapped(w->core, id_of(w, s), va, end);
		break;
	case MMSG_REMAP:
		sim_event(w, EV_REMAP, w->sp[s].id, va, model_va(&w->m, ev->j));
		core_remapped(w->core, id_of(w, s), va, model_va(&w->m, ev->j), end - va);
		break;
	default:
		sim_event(w, EV_FORK, w->sp[s].id, w->sp[ev->child].id, 0);
		core_forked(w->core, id_of(w, s), (space_id){w->sp[ev->child].id});
		if (w->cfg.guard_shared) {
			guard_all(w, s);
			guard_all(w, ev->child);
		}
	}
}

void sim_given(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];
	const struct mevent *ev = &w->giving.ev;

	if (ev->type != MMSG_FAULT) {
		w->events_given++;
		sp->nr_events--;
	}
	if (ev->type == MMSG_FORK) {
		w->sp[ev->child].known = true;
		w->sp[ev->child].unproven = true;
		sp->forked = true;
	}
	sp->nr_journal--;
	memmove(sp->journal, sp->journal + 1, sp->nr_journal * sizeof(sp->journal[0]));
	w->giver = 0;
}

static void give_messages(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	while (sp->nr_journal && core_may_read(w->core, id_of(w, s))) {
		bool event = sp->journal[0].ev.type != MMSG_FAULT;

		w->giving = sp->journal[0];
		w->giver = event ? s + 1 : 0;
		sp->unsettled |= event;
		give(w, s, &w->giving.ev, w->giving.tid);
		if (event) {
			core_mark(w->core, w->events_given + 1);
			core_commit(w->core);
		}
		sim_given(w, s);
		if (!w->draining && !sim_below(w, 16))
			return;
	}
}

/*
 * Faults that are heard of otherwise than by a message, whose message may be
 * unread, on its way or never come. Some are made up.
 */
static void fast_fault(struct sim *w)
{
	const struct mtask *t = &w->m.task[sim_below(w, MODEL_TASKS)];
	unsigned int s = t->used ? t->space : sim_below(w, MODEL_SPACES), i;
	const struct sim_space *sp = &w->sp[s];

	if (!sp->known || sp->gone_told || sp->nr_journal)
		return;
	i = t->used && t->wait == MWAIT_FAULT ? t->page : sim_below(w, w->m.nr_pages);
	sim_event(w, EV_FAULT, sp->id, model_va(&w->m, i), 1);
	core_hint(w->core, id_of(w, s), model_va(&w->m, i) + sim_below(w, PAGE_BYTES), 1, t->tid,
		  sim_pct(w, w->cfg.writes_pct));
}

/* A space that is gone is forgotten when nobody can speak of it any more. */
static void bury(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	if (w->m.space[s].alive || sp->nr_journal || (!w->draining && sim_below(w, 4)))
		return;
	tell_gone(w, s);
	if (sp->move[0].state != CMD_FREE || sp->move[1].state != CMD_FREE ||
	    sp->populate != CMD_FREE || sp->place.state != CMD_FREE)
		return;
	core_commit(w->core);
	sp->id = 0;
	sp->known = false;
	model_space_free(&w->m, s);
}

/* Where every page passes through the core, the cap holds to the page. */
static void check_cap(struct sim *w)
{
	uint64_t local = w->m.phys_used + w->cfg.nr_frames;
	uint64_t limit = w->cfg.cap_pages + w->cfg.cap_pages / 16;

	/* Lowered: until that is reached the limit before holds. */
	if (local <= limit || limit > w->limit_pages)
		w->limit_pages = limit;
	if (w->cfg.strict_cap && local > w->limit_pages)
		sim_fail(w, "%lu pages are local, the cap with its slack is %lu",
			 (unsigned long)local, (unsigned long)w->limit_pages);
}

static void move_cap(struct sim *w)
{
	w->cfg.cap_pages = w->cfg.nr_frames + 6 + sim_below(w, 2 * w->m.nr_pages);
	core_set_cap(w->core, w->cfg.cap_pages * PAGE_BYTES);
}

static void pager_round(struct sim *w, bool thorough)
{
	unsigned int start = sim_below(w, MODEL_SPACES), rounds = 4;

	for (unsigned int k = 0; k < MODEL_SPACES && !w->lost; k++) {
		unsigned int s = (start + k) % MODEL_SPACES;

		if (!w->sp[s].known || (!thorough && !sim_below(w, 3)))
			continue;
		if (!w->sp[s].gone_told)
			read_messages(w, s);
		/* While it is read and not given, anything may happen. */
		if (!w->sp[s].gone_told && (thorough || sim_below(w, 4)))
			give_messages(w, s);
		if (thorough || sim_below(w, 3))
			answers(w, s);
		settle(w, s);
		tell_untold(w, s);
		bury(w, s);
	}
	for (unsigned int k = 0; k < w->cfg.fast && !w->lost && !w->draining; k++)
		fast_fault(w);
	if (w->cfg.elastic && !w->draining && !sim_below(w, 64))
		move_cap(w);
	if (thorough || sim_pct(w, 30))
		core_observe(w->core, w->m.phys_used * PAGE_BYTES, w->m.phys_used * PAGE_BYTES,
			     true);
	while (!w->lost && core_run(w->core) && --rounds)
		;
	core_commit(w->core);
	if (w->cfg.join_rare && w->store.nr_slots == w->cfg.nr_slots && !w->draining &&
	    !sim_below(w, w->cfg.join_rare))
		sim_store_join(w);
	for (unsigned int s = 0; s < MODEL_SPACES; s++)
		if (w->sp[s].known && w->m.space[s].alive && !w->sp[s].gone_told)
			sim_drop_halves(w, s);
	check_cap(w);
}

static jmp_buf died;

static void die(void)
{
	longjmp(died, 1);
}

void sim_pager_round(struct sim *w, bool thorough)
{
	bool last =
		w->cfg.crash_rare && !w->lost && !w->draining && !sim_below(w, w->cfg.crash_rare);

	if (w->crashed && !thorough && sim_below(w, 3))
		return;
	if (setjmp(died)) {
		sim_crash(w);
		return;
	}
	if (last)
		core_crash_after(sim_below(w, 2) ? sim_below(w, 30) : sim_below(w, 600), die);
	if (w->crashed)
		sim_takeover(w);
	else
		pager_round(w, thorough);
	core_crash_after(UINT64_MAX, NULL);
}

void sim_register_all(struct sim *w, unsigned int s)
{
	for (unsigned int i = 0; i < w->m.nr_pages; i = model_vma_end(&w->m, s, i)) {
		const struct mpage *p = &w->m.space[s].page[i];
		unsigned int e = model_vma_end(&w->m, s, i);

		if (!p->vma || (p->flags & PF_REG))
			continue;
		model_register(&w->m, s, i, e - i);
		w->sp[s].untold = true;
	}
}

static void manage_new(struct sim *w, unsigned int s)
{
	w->m.space[s].armed = true;
	name_space(w, s);
	w->sp[s].known = true;
	sim_event(w, EV_ADD, w->sp[s].id, 0, 0);
	if (core_space_add(w->core, id_of(w, s)))
		sim_fail(w, "core_space_add() failed");
	if (!sim_pct(w, 50))
		return;
	w->sp[s].agent = AGENT_READY;
	core_agent_ready(w->core, id_of(w, s));
}

/* Bring processes and mappings under management, at odd times. */
void sim_manage(struct sim *w)
{
	const struct sim_proc *p = &w->proc[sim_below(w, w->cfg.procs)];
	unsigned int s = p->space;
	struct mspace *msp = &w->m.space[s];

	if (w->lost || w->crashed || !p->used || !msp->alive)
		return;
	/* Armed and not named: a child whose fork was not read yet. */
	if (!w->sp[s].id && !msp->armed)
		manage_new(w, s);
	if (!w->sp[s].known || w->sp[s].gone_told || w->sp[s].unproven)
		return;
	if (w->cfg.strict_cap || w->draining)
		sim_register_all(w, s);
	else if (sim_pct(w, w->cfg.register_pct))
		register_one(w, s);
}

bool sim_pager_idle(const struct sim *w)
{
	for (unsigned int s = 0; s < MODEL_SPACES; s++) {
		const struct sim_space *sp = &w->sp[s];

		if (sp->known &&
		    (sp->nr_journal || sp->move[0].state || sp->move[1].state || sp->populate ||
		     sp->place.state || w->m.space[s].nr_events || w->m.space[s].nr_faults))
			return false;
	}
	return !w->nr_inflight && !w->nr_done && !w->crashed;
}
