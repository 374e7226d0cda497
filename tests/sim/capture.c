/* SPDX-License-Identifier: Apache-2.0 */
/* The core's four tables, over the model: capture, and agents at work. */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

struct sim_space *sim_space_of(struct sim *w, space_id id, unsigned int *s)
{
	unsigned int k = w->by_id[id.v & 0xffff];
	struct sim_space *sp = &w->sp[k];

	if (!id.v || sp->id != id.v)
		sim_fail(w, "the core names space %u, which it was never given", id.v);
	if (sp->gone_told)
		sim_fail(w, "the core uses space %u after core_space_gone()", id.v);
	*s = k;
	return sp;
}

static int page_at(struct sim *w, uint64_t va, unsigned int *i)
{
	bool exact;

	if (va & ~PAGE_MASK)
		sim_fail(w, "address %lx is not that of a page", (unsigned long)va);
	*i = model_page(&w->m, va, &exact);
	return exact ? 0 : -ENOENT;
}

static int fill_one(struct sim *w, unsigned int s, uint64_t va, uint64_t value)
{
	unsigned int i;

	if (!w->m.space[s].alive)
		return -ESRCH;
	if (w->sp[s].nr_events)
		return -EAGAIN;
	if (w->cfg.enomem_pct && sim_pct(w, w->cfg.enomem_pct))
		return -ENOMEM;
	return page_at(w, va, &i) ? -ENOENT : model_fill(&w->m, s, i, value);
}

static bool is_placing(const struct sim_place *p, uint64_t va)
{
	return p->state == CMD_QUEUED && va >= p->chunk_va && va < p->chunk_va + CHUNK_BYTES &&
	       pageset_has(&p->want, (unsigned int)((va - p->chunk_va) >> PAGE_SHIFT));
}

static void filling(struct sim *w, unsigned int s, uint64_t va, unsigned int nr)
{
	for (unsigned int h = 0; h < CORE_HALVES; h++) {
		const struct sim_move *mv = &w->sp[s].move[h];

		if (mv->state == CMD_QUEUED && mv->chunk_va < va + nr * PAGE_BYTES &&
		    va < mv->chunk_va + CHUNK_BYTES)
			sim_fail(w, "fill into a chunk that is being moved");
	}
	for (unsigned int i = 0; i < nr; i++)
		if (is_placing(&w->sp[s].place, va + i * PAGE_BYTES))
			sim_fail(w, "fill of a page that an agent is to place");
	if (w->lost)
		sim_fail(w, "the core fills a page after lost()");
	if (!nr || nr > CHUNK_PAGES)
		sim_fail(w, "fill of %u pages", nr);
}

static int sim_fill(void *ctx, space_id id, uint64_t va, unsigned int nr, const void *const *src,
		    bool *guard, unsigned int *done)
{
	struct sim *w = ctx;
	unsigned int s, i;
	int err = 0;

	sim_space_of(w, id, &s);
	filling(w, s, va, nr);
	*guard = *guard && sim_pct(w, w->cfg.guard_pct);
	for (*done = 0; *done < nr; ++*done) {
		uint64_t value;

		if (!sim_value(src[*done], &value))
			sim_fail(w, "torn page given to space %u va %lx", id.v, (unsigned long)va);
		err = fill_one(w, s, va + *done * PAGE_BYTES, value);
		if (err)
			break;
		if (*guard && !page_at(w, va + *done * PAGE_BYTES, &i))
			model_guard(&w->m, s, i);
	}
	w->fills += *done;
	sim_event(w, EV_FILL, id.v, va, (uint64_t)(int64_t)err << 16 | *done);
	return err;
}

static int sim_fill_zero(void *ctx, space_id id, uint64_t va, unsigned int nr, unsigned int *done)
{
	struct sim *w = ctx;
	unsigned int s;
	int err = 0;

	sim_space_of(w, id, &s);
	filling(w, s, va, nr);
	for (*done = 0; *done < nr; ++*done) {
		err = fill_one(w, s, va + *done * PAGE_BYTES, 0);
		if (err)
			break;
	}
	w->fills += *done;
	sim_event(w, EV_ZERO, id.v, va, (uint64_t)(int64_t)err << 16 | *done);
	return err;
}

static int sim_allow(void *ctx, space_id id, uint64_t va, unsigned int nr)
{
	struct sim *w = ctx;
	unsigned int s, i, last;
	int err;

	sim_space_of(w, id, &s);
	filling(w, s, va, nr);
	if (!w->m.space[s].alive)
		return -ESRCH;
	if (w->sp[s].nr_events)
		return -EAGAIN;
	err = page_at(w, va, &i);
	if (!err)
		err = page_at(w, va + (nr - 1) * PAGE_BYTES, &last);
	if (!err)
		err = last - i == nr - 1 ? model_allow(&w->m, s, i, nr) : -ENOENT;
	sim_event(w, EV_ALLOW, id.v, va, (uint64_t)(int64_t)err << 16 | nr);
	return err;
}

static void sim_wake(void *ctx, space_id id, uint64_t va, unsigned int nr)
{
	struct sim *w = ctx;
	unsigned int s, i, end;
	bool exact;

	sim_space_of(w, id, &s);
	sim_event(w, EV_WAKE, id.v, va, nr);
	i = model_page(&w->m, va, &exact);
	end = model_page(&w->m, va + nr * PAGE_BYTES, &exact);
	model_wake(&w->m, s, i, end - i);
}

static int sim_poison(void *ctx, space_id id, uint64_t va)
{
	struct sim *w = ctx;
	unsigned int s, i;

	sim_space_of(w, id, &s);
	sim_event(w, EV_POISON, id.v, va, 0);
	if (!w->m.space[s].alive)
		return -ESRCH;
	if (!w->corrupted && !w->stack.excused &&
	    (w->cfg.stack || (!w->store_dead && !w->cfg.store_err_pct)))
		sim_fail(w, "page %lx of space %u poisoned without a reason", (unsigned long)va,
			 id.v);
	w->poisoned = true;
	if (w->sp[s].nr_events)
		return -EAGAIN;
	return page_at(w, va, &i) ? -ENOENT : model_poison(&w->m, s, i);
}

static int sim_scan(void *ctx, space_id id, uint64_t chunk_va, bool movable, pageset *out)
{
	struct sim *w = ctx;
	unsigned int s, i;
	bool exact;

	sim_space_of(w, id, &s);
	memset(out, 0, sizeof(*out));
	if (chunk_va & (CHUNK_BYTES - 1))
		sim_fail(w, "scan of no chunk: %lx", (unsigned long)chunk_va);
	if (!w->m.space[s].alive)
		return -ESRCH;
	for (i = model_page(&w->m, chunk_va, &exact); i < w->m.nr_pages; i++) {
		const struct mpage *p = &w->m.space[s].page[i];
		uint64_t va = model_va(&w->m, i);

		if (va >= chunk_va + CHUNK_BYTES)
			break;
		if (p->phys && (!movable || (p->phys > 1 && (p->prot & PROT_W))))
			pageset_add(out, (unsigned int)((va - chunk_va) >> PAGE_SHIFT));
	}
	sim_event(w, EV_SCAN, id.v, chunk_va, pageset_count(out));
	return 0;
}

static uint64_t sim_next_present(void *ctx, space_id id, uint64_t va, uint64_t end)
{
	struct sim *w = ctx;
	unsigned int s, i;
	bool exact;

	sim_space_of(w, id, &s);
	for (i = model_page(&w->m, va, &exact); i < w->m.nr_pages; i++) {
		const struct mpage *p = &w->m.space[s].page[i];
		uint64_t chunk_va = model_va(&w->m, i) & ~(CHUNK_BYTES - 1);

		if (model_va(&w->m, i) >= end)
			break;
		if (p->phys && (p->flags & PF_REG))
			return chunk_va > va ? chunk_va : va;
	}
	return end;
}

static pageset still_guarded(struct sim *w, unsigned int s, uint64_t chunk_va, const pageset *set)
{
	pageset out = {{0}};
	bool exact;

	for (unsigned int k = pageset_next(set, 0); k < CHUNK_PAGES; k = pageset_next(set, k + 1)) {
		unsigned int i = model_page(&w->m, chunk_va + ((uint64_t)k << PAGE_SHIFT), &exact);

		if (exact && w->m.space[s].page[i].guarded)
			pageset_add(&out, k);
	}
	return out;
}

static int sim_move_ask(void *ctx, space_id id, unsigned int half, uint64_t chunk_va,
			const pageset *want, const pageset *known)
{
	struct sim *w = ctx;
	unsigned int s;
	struct sim_space *sp = sim_space_of(w, id, &s);
	struct sim_move *mv;

	if (half >= CORE_HALVES || chunk_va & (CHUNK_BYTES - 1) || !pageset_count(want))
		sim_fail(w, "malformed move: half %u va %lx", half, (unsigned long)chunk_va);
	mv = &sp->move[half];
	sim_drop_halves(w, s); /* committed, or nothing would be moved */
	if (mv->state != CMD_FREE || mv->undropped)
		sim_fail(w, "move into a half that is in use");
	if (sp->place.state == CMD_QUEUED && sp->place.chunk_va == chunk_va)
		sim_fail(w, "move of a chunk into which pages are being placed");
	if (sp->agent != AGENT_READY || sp->populate != CMD_FREE)
		sim_fail(w, "move without an agent, or behind a populate that may fault");
	if (!w->m.space[s].alive)
		return -ESRCH;
	if (sp->nr_journal)
		return -EAGAIN;
	if ((w->m.space[s].nr_events || w->m.space[s].nr_faults) && sim_below(w, 2))
		return -EAGAIN;
	*mv = (struct sim_move){
		.state = CMD_QUEUED, .chunk_va = chunk_va, .want = *want, .order = sp->order++};
	mv->known = still_guarded(w, s, chunk_va, known);
	sim_event(w, EV_MOVE, id.v, chunk_va, pageset_count(want) << 1 | half);
	return 0;
}

static int sim_place(void *ctx, space_id id, uint64_t chunk_va, pageset *want,
		     const void *const *bytes)
{
	struct sim *w = ctx;
	unsigned int s, last = CHUNK_PAGES;
	struct sim_space *sp = sim_space_of(w, id, &s);
	struct sim_place *p = &sp->place;

	if (chunk_va & (CHUNK_BYTES - 1) || !pageset_count(want) || p->state != CMD_FREE)
		sim_fail(w, "malformed place: va %lx", (unsigned long)chunk_va);
	if (sp->agent != AGENT_READY || sp->populate != CMD_FREE)
		sim_fail(w, "place without an agent, or behind a populate that may fault");
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		if (sp->move[h].state == CMD_QUEUED && sp->move[h].chunk_va == chunk_va)
			sim_fail(w, "place into a chunk that is being moved");
	if (w->lost)
		sim_fail(w, "the core places pages after lost()");
	if (!w->m.space[s].alive)
		return -ESRCH;
	if (sp->nr_journal || sim_pct(w, w->cfg.place_refused_pct))
		return -EAGAIN;
	if (sim_pct(w, 30)) /* not so many */
		last = sim_below(w, CHUNK_PAGES);
	for (unsigned int k = pageset_next(want, pageset_next(want, 0) + 1); k < CHUNK_PAGES;
	     k = pageset_next(want, k + 1))
		if (k > last)
			pageset_del(want, k);
	*p = (struct sim_place){
		.state = CMD_QUEUED, .chunk_va = chunk_va, .want = *want, .order = sp->order++};
	for (unsigned int k = pageset_next(want, 0); k < CHUNK_PAGES; k = pageset_next(want, k + 1))
		if (!sim_value(*bytes++, &p->value[k]))
			sim_fail(w, "torn page to be placed in space %u va %lx", id.v,
				 (unsigned long)chunk_va);
	sim_event(w, EV_PLACE, id.v, chunk_va, pageset_count(want));
	return 0;
}

static int sim_copy_out(void *ctx, space_id id, unsigned int half, const pageset *set,
			void *const *frames)
{
	struct sim *w = ctx;
	unsigned int s, n = 0;
	struct sim_space *sp = sim_space_of(w, id, &s);

	sim_event(w, EV_COPY, id.v, half, pageset_count(set));
	for (unsigned int k = pageset_next(set, 0); k < CHUNK_PAGES; k = pageset_next(set, k + 1)) {
		if (!pageset_has(&sp->move[half].moved, k))
			sim_fail(w, "copy of page %u, which is not in scratch", k);
		if (pageset_has(&sp->move[half].known, k))
			sim_fail(w, "copy of page %u, which the agent has not copied", k);
		if (!w->m.space[s].alive)
			return -ESRCH;
		sim_expand(frames[n++], model_scratch_value(&w->m, s, half, k));
	}
	return 0;
}

static bool sim_at_hand(void *ctx, space_id id, unsigned int half)
{
	const struct sim *w = ctx;

	(void)id;
	return w->cfg.at_hand && half;
}

static void sim_drop(void *ctx, space_id id, unsigned int half)
{
	struct sim *w = ctx;
	unsigned int s;
	struct sim_space *sp = sim_space_of(w, id, &s);

	if (sp->move[half].state == CMD_QUEUED || sp->drop[half])
		sim_fail(w, "drop of a half in use");
	sp->drop[half] = true;
	sim_event(w, EV_DROP, id.v, half, 0);
}

void sim_drop_halves(struct sim *w, unsigned int s)
{
	for (unsigned int h = 0; h < CORE_HALVES; h++) {
		struct sim_move *mv = &w->sp[s].move[h];

		if (!w->sp[s].drop[h] || mv->state != CMD_FREE)
			continue;
		w->sp[s].drop[h] = mv->undropped = false;
		memset(&mv->moved, 0, sizeof(pageset));
		model_scratch_drop(&w->m, s, h);
	}
}

/* Copies of shared pages take room: a sixteenth of the cap, at least a chunk. */
static void check_copies(struct sim *w)
{
	unsigned int most = w->cfg.cap_pages / 16 / CHUNK_PAGES, nr = 1;

	for (unsigned int s = 0; s < MODEL_SPACES; s++)
		nr += !w->sp[s].gone_told && w->sp[s].populate != CMD_FREE;
	if (nr > (most ? most : 1))
		sim_fail(w, "%u chunks are made exclusive at once", nr);
}

static int sim_populate(void *ctx, space_id id, uint64_t chunk_va, const pageset *want)
{
	struct sim *w = ctx;
	unsigned int s;
	struct sim_space *sp = sim_space_of(w, id, &s);

	if (sp->populate != CMD_FREE || sp->agent != AGENT_READY)
		sim_fail(w, "populate without an agent, or twice");
	check_copies(w);
	if (sp->move[0].state != CMD_FREE || sp->move[1].state != CMD_FREE ||
	    sp->place.state != CMD_FREE)
		sim_fail(w, "populate while a move holds the messages back");
	if (!w->m.space[s].alive)
		return -ESRCH;
	sp->populate_task = model_task_new(&w->m, s, w->next_tid++);
	if (sp->populate_task < 0)
		return -ENOMEM;
	sp->populate = CMD_QUEUED;
	sp->populate_next = 0;
	sp->populate_err = 0;
	sp->populate_va = chunk_va;
	sp->populate_want = *want;
	sim_event(w, EV_POPULATE, id.v, chunk_va, pageset_count(want));
	return 0;
}

static void sim_want_agent(void *ctx, space_id id)
{
	struct sim *w = ctx;
	unsigned int s;
	struct sim_space *sp = sim_space_of(w, id, &s);

	if (sp->agent != AGENT_NO)
		sim_fail(w, "agent asked for twice");
	sp->agent = AGENT_WANTED;
	sim_event(w, EV_AGENT, id.v, 0, 0);
}

static int sim_quiesce(void *ctx, space_id id)
{
	struct sim *w = ctx;
	unsigned int s;
	struct sim_space *sp = sim_space_of(w, id, &s);

	if (!w->cfg.quiesce)
		return -EOPNOTSUPP;
	if (sp->quiescing)
		sim_fail(w, "quiesce asked for twice");
	sp->quiescing = true;
	for (unsigned int t = 0; t < MODEL_TASKS; t++)
		sp->quiesce_seq[t] = w->m.task[t].op_seq;
	sim_event(w, EV_QUIESCE, id.v, 0, 0);
	return 0;
}

static int sim_not_inherited(void *ctx, space_id parent, space_id child)
{
	struct sim *w = ctx;
	unsigned int s;
	const uint8_t *map;

	sim_space_of(w, parent, &s);
	sim_space_of(w, child, &s);
	map = w->sp[s].not_inherited;
	if (w->giving.ev.type != MMSG_FORK || w->giving.ev.child != s)
		sim_fail(w, "not_inherited() without that fork");
	for (unsigned int i = 0; i < w->m.nr_pages; i++)
		if (map[i / 8] >> (i % 8) & 1)
			core_not_inherited(w->core, model_va(&w->m, i),
					   model_va(&w->m, i) + PAGE_BYTES);
	return 0;
}

static int sim_ages(void *ctx, space_id id, uint64_t chunk_va, pageset *young)
{
	struct sim *w = ctx;
	unsigned int s;

	sim_space_of(w, id, &s);
	if (chunk_va % CHUNK_BYTES)
		sim_fail(w, "ages of no chunk: %lx", (unsigned long)chunk_va);
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		young->w[i] = sim_rnd(w) * 0x9e3779b97f4a7c15ULL;
	return sim_pct(w, 50) ? 0 : -EOPNOTSUPP;
}

static void sim_age(void *ctx, space_id id, uint64_t chunk_va, const pageset *set)
{
	struct sim *w = ctx;
	unsigned int s;

	sim_space_of(w, id, &s);
	if (chunk_va % CHUNK_BYTES || !pageset_count(set))
		sim_fail(w, "nothing cleared in %lx", (unsigned long)chunk_va);
}

static bool sim_can_move(void *ctx, space_id id)
{
	(void)ctx;
	(void)id;
	return true; /* move() itself refuses, which the core must bear anyway */
}

const struct capture_ops sim_capture_ops = {
	.fill = sim_fill,
	.fill_zero = sim_fill_zero,
	.allow = sim_allow,
	.wake = sim_wake,
	.poison = sim_poison,
	.scan = sim_scan,
	.ages = sim_ages,
	.age = sim_age,
	.next_present = sim_next_present,
	.move = sim_move_ask,
	.place = sim_place,
	.copy_out = sim_copy_out,
	.at_hand = sim_at_hand,
	.drop = sim_drop,
	.can_move = sim_can_move,
	.populate = sim_populate,
	.want_agent = sim_want_agent,
	.quiesce = sim_quiesce,
	.not_inherited = sim_not_inherited,
};
