/* SPDX-License-Identifier: Apache-2.0 */
/* The job: processes whose threads do whatever comes to mind. */
#include <string.h>

#include "tests/sim/sim.h"

static void add_task(struct sim *w, struct sim_proc *p)
{
	int t;

	if (p->nr_tasks == sizeof(p->task))
		return;
	t = model_task_new(&w->m, p->space, w->next_tid++);
	if (t >= 0)
		p->task[p->nr_tasks++] = (uint8_t)t;
}

static void set_up(struct sim *w, struct sim_proc *p, unsigned int s)
{
	unsigned int want = 1 + sim_below(w, w->cfg.threads);

	*p = (struct sim_proc){.used = true, .space = (uint8_t)s};
	p->hot = (uint16_t)sim_below(w, w->m.nr_pages);
	while (p->nr_tasks < want)
		add_task(w, p);
}

/* Strict about the cap: nothing is touched before it is registered. */
static void see_to_cap(struct sim *w, unsigned int s)
{
	if (w->cfg.strict_cap && w->crashed)
		sim_takeover(w);
	while (w->cfg.strict_cap && !w->sp[s].known && !w->lost)
		sim_manage(w);
	if (w->cfg.strict_cap && !w->lost)
		sim_register_all(w, s);
}

static bool new_proc(struct sim *w, struct sim_proc *p)
{
	int s = model_space_new(&w->m);
	struct mop op = {.type = MOP_MMAP};

	if (s < 0)
		return false;
	for (unsigned int k = 0; k < w->m.nr_wins; k++) {
		op.i = (uint16_t)(k * w->m.win + sim_below(w, 2));
		op.n = (uint16_t)(w->m.win - op.i % w->m.win - sim_below(w, 2));
		model_do_mmap(&w->m, (unsigned int)s, &op);
	}
	set_up(w, p, (unsigned int)s);
	see_to_cap(w, (unsigned int)s);
	return true;
}

void sim_job_start(struct sim *w)
{
	w->ops_sum = 0;
	for (unsigned int k = MOP_READ; k < 16; k++)
		w->ops_sum += w->cfg.ops[k];
	new_proc(w, &w->proc[0]);
}

/* The agent works no more; what it had done stays done. */
static void space_dies(struct sim *w, unsigned int s)
{
	struct sim_space *sp = &w->sp[s];

	sim_event(w, EV_EXIT, sp->id, s, 0);
	model_space_kill(&w->m, s);
	if (!sp->id && !w->m.space[s].armed) {
		model_space_free(&w->m, s);
		return;
	}
	sp->quiescing = false;
}

static void unpin(struct sim *w, unsigned int k)
{
	uint32_t phys = w->pin[k].phys;

	w->m.phys[phys].pins--;
	model_phys_put(&w->m, phys);
	w->pin[k] = w->pin[--w->nr_pins];
}

static void pin(struct sim *w, const struct sim_proc *p, unsigned int i)
{
	struct mpage *pg = &w->m.space[p->space].page[i];

	if (pg->phys < 2 || pg->guarded || (pg->flags & PF_SHARED) || w->nr_pins == SIM_MAX_PINS)
		return;
	w->m.phys[pg->phys].pins++;
	w->m.phys[pg->phys].refs++;
	w->pin[w->nr_pins++] = (struct sim_pin){
		.phys = pg->phys, .space = p->space, .id = w->sp[p->space].id, .page = (uint16_t)i};
}

/* A device writes where it was told to, whatever the page tables say now. */
static void device(struct sim *w)
{
	unsigned int k = sim_below(w, w->nr_pins);
	struct sim_pin *pn = &w->pin[k];

	w->m.phys[pn->phys].value = ++w->next_value;
	for (unsigned int s = 0; s < MODEL_SPACES; s++) {
		for (unsigned int i = 0; w->m.space[s].used && i < w->m.nr_pages; i++) {
			struct mpage *pg = &w->m.space[s].page[i];

			if (pg->phys != pn->phys)
				continue;
			pg->want = w->next_value;
			pg->flags &= (uint8_t) ~(PF_LAZY | PF_MAYZERO);
		}
	}
	if (sim_pct(w, 60))
		unpin(w, k);
}

/* The kernel puts another page in its place, which is not guarded (KSM): not of what is about
 * to be moved, between the look and the MOVE. */
static void merge(struct sim *w)
{
	unsigned int s = sim_below(w, MODEL_SPACES), i = sim_below(w, w->m.nr_pages);

	for (unsigned int h = 0; h < CORE_HALVES; h++)
		if (w->sp[s].move[h].state == CMD_QUEUED)
			return;
	if (w->m.space[s].alive)
		w->m.space[s].page[i].guarded = false;
}

static void exit_proc(struct sim *w, struct sim_proc *p)
{
	space_dies(w, p->space);
	p->used = false;
}

static void forked(struct sim *w, unsigned int s)
{
	for (unsigned int k = 0; k < w->cfg.procs; k++) {
		if (w->proc[k].used)
			continue;
		set_up(w, &w->proc[k], s);
		return;
	}
	space_dies(w, s);
}

static void finished(struct sim *w, struct sim_proc *p, struct mtask *tk)
{
	uint8_t type = tk->op.type;

	sim_event(w, EV_OPDONE, tk->tid, type, (uint64_t)(int64_t)tk->op.res);
	tk->op.type = MOP_NONE;
	if (type == MOP_FORK && tk->op.res >= 0)
		forked(w, tk->op.child);
	if (type == MOP_WRITE && tk->op.flags && !tk->op.res)
		pin(w, p, tk->op.i);
}

/* ---- what next ---- */

static unsigned int some_page(struct sim *w, const struct sim_proc *p)
{
	unsigned int i = sim_below(w, w->m.nr_pages);

	if (sim_pct(w, w->cfg.hot_pct))
		i = (p->hot + sim_below(w, 4)) % w->m.nr_pages;
	for (unsigned int k = 0; k < 3 && !w->m.space[p->space].page[i].vma; k++)
		i = sim_below(w, w->m.nr_pages);
	return i;
}

static unsigned int room(const struct sim *w, unsigned int i)
{
	return w->m.win == CHUNK_PAGES ? w->m.nr_pages - i : w->m.win - i % w->m.win;
}

static uint16_t some_len(struct sim *w, unsigned int i, unsigned int max)
{
	unsigned int n = 1 + sim_below(w, max);

	return (uint16_t)(n < room(w, i) ? n : room(w, i));
}

static void choose_mremap(struct sim *w, const struct sim_proc *p, struct mop *op)
{
	unsigned int end = model_vma_end(&w->m, p->space, op->i);

	if (op->i + op->n > end)
		op->n = (uint16_t)(end - op->i);
	if (sim_pct(w, 30) && end - op->i <= 8)
		op->n = (uint16_t)(end - op->i);
	op->m = some_len(w, op->i, 8);
	if (sim_pct(w, 30))
		return;
	op->flags = MREMAP_F_FIXED;
	if (sim_pct(w, 70))
		op->m = op->n;
	if (op->m == op->n && sim_pct(w, 30))
		op->flags |= MREMAP_F_DONTUNMAP;
	op->j = (uint16_t)sim_below(w, w->m.nr_pages);
	if (op->m > room(w, op->j))
		op->j = (uint16_t)(op->j + room(w, op->j) - op->m);
}

static void choose_flag(struct sim *w, struct mop *op)
{
	switch (sim_below(w, 4)) {
	case 0:
		op->flags = PF_WIPE;
		break;
	case 1:
		op->flags = PF_DONTFORK;
		break;
	default:
		op->prot = PF_WIPE | PF_DONTFORK;
	}
	if (sim_pct(w, 30))
		op->prot |= PF_LOCKED;
}

static void choose_args(struct sim *w, const struct sim_proc *p, struct mop *op)
{
	static const uint8_t prots[4] = {PROT_R | PROT_W, PROT_R | PROT_W, PROT_R, 0};

	op->i = (uint16_t)some_page(w, p);
	op->n = some_len(w, op->i, 8);
	switch (op->type) {
	case MOP_WRITE:
		op->value = ++w->next_value;
		break;
	case MOP_MMAP:
		op->i = (uint16_t)sim_below(w, w->m.nr_pages);
		op->n = some_len(w, op->i, w->m.win);
		break;
	case MOP_MUNMAP:
		if (!sim_below(w, 8))
			op->n = (uint16_t)(1 + sim_below(w, w->m.nr_pages - op->i));
		break;
	case MOP_MREMAP:
		choose_mremap(w, p, op);
		break;
	case MOP_MPROTECT:
		op->prot = prots[sim_below(w, 4)];
		break;
	case MOP_FLAG:
		choose_flag(w, op);
		break;
	case MOP_MLOCK:
	case MOP_POPULATE:
		op->n = some_len(w, op->i, 3);
		break;
	default:
		break;
	}
}

static bool special(struct sim *w, struct sim_proc *p, struct mop *op, unsigned int type)
{
	switch (type) {
	case SIM_OP_PIN:
		if (w->nr_pins && (w->nr_pins == SIM_MAX_PINS || sim_pct(w, 70))) {
			device(w);
			return true;
		}
		op->type = MOP_WRITE;
		op->flags = 1;
		return false;
	case SIM_OP_EXEC:
		exit_proc(w, p);
		new_proc(w, p);
		return true;
	case SIM_OP_EXIT:
		exit_proc(w, p);
		for (unsigned int k = 0; k < SIM_PROCS; k++)
			if (w->proc[k].used)
				return true;
		new_proc(w, p);
		return true;
	default:
		return false;
	}
}

static void choose(struct sim *w, struct sim_proc *p, unsigned int t)
{
	unsigned int pick = sim_below(w, w->ops_sum), type = MOP_READ;
	struct mop op = {0};

	while (pick >= w->cfg.ops[type])
		pick -= w->cfg.ops[type++];
	op.type = (uint8_t)type;
	if (special(w, p, &op, type))
		return;
	choose_args(w, p, &op);
	sim_event(w, EV_OP, w->m.task[t].tid | (uint64_t)op.type << 32,
		  op.i | (uint64_t)op.n << 16 | (uint64_t)op.j << 32 | (uint64_t)op.m << 48,
		  op.value);
	model_start(&w->m, t, &op);
}

/* What the kernel did not hand on, as it was at that moment. */
static void note_fork(struct sim *w, const struct sim_proc *p, unsigned int child)
{
	uint8_t *map = w->sp[child].not_inherited;

	memset(map, 0, sizeof(w->sp[child].not_inherited));
	for (unsigned int i = 0; i < w->m.nr_pages; i++)
		if (w->m.space[p->space].page[i].flags & (PF_WIPE | PF_DONTFORK))
			map[i / 8] |= (uint8_t)(1 << i % 8);
}

static bool step_task(struct sim *w, struct sim_proc *p, unsigned int t)
{
	struct mtask *tk = &w->m.task[t];
	uint8_t type = tk->op.type;
	bool starts = !tk->op.pc;
	enum mstep step;

	if (tk->wait != MWAIT_NONE || type == MOP_NONE)
		return false;
	step = model_step(&w->m, t);
	if (type == MOP_FORK && starts && tk->op.pc && tk->op.res >= 0)
		note_fork(w, p, tk->op.child);
	if (step == MSTEP_DONE)
		finished(w, p, tk);
	if (type == MOP_MMAP || type == MOP_MREMAP)
		see_to_cap(w, p->space);
	return true;
}

void sim_job_step(struct sim *w)
{
	struct sim_proc *p = &w->proc[sim_below(w, w->cfg.procs)];
	unsigned int t;

	for (unsigned int k = 0; k < SIM_PROCS && !p->used; k++)
		p = &w->proc[k];
	if (!p->used) {
		new_proc(w, p);
		return;
	}
	if (!sim_below(w, 256))
		model_lazy_drop(&w->m, p->space, sim_below(w, w->m.nr_pages));
	if (!sim_below(w, 512))
		p->hot = (uint16_t)sim_below(w, w->m.nr_pages);
	if (w->cfg.merge_rare && !sim_below(w, w->cfg.merge_rare))
		merge(w);
	t = p->task[sim_below(w, p->nr_tasks)];
	if (w->m.task[t].op.type == MOP_NONE)
		choose(w, p, t);
	if (p->used)
		step_task(w, p, t);
}

/* ---- the end ---- */

static bool check_next(struct sim *w, struct sim_proc *p)
{
	unsigned int t = p->task[0];

	if (w->m.task[t].op.type != MOP_NONE || p->scan >= w->m.nr_pages)
		return false;
	model_start(&w->m, t, &(struct mop){.type = MOP_READ, .i = p->scan++});
	return true;
}

bool sim_job_drain(struct sim *w)
{
	bool moved = false;

	for (unsigned int k = 0; k < SIM_PROCS; k++) {
		struct sim_proc *p = &w->proc[k];

		for (unsigned int j = 0; p->used && j < p->nr_tasks; j++)
			for (unsigned int n = 0; n < 8 && step_task(w, p, p->task[j]); n++)
				moved = true;
		if (w->scanning && p->used)
			moved |= check_next(w, p);
	}
	return moved;
}

bool sim_job_idle(const struct sim *w)
{
	for (unsigned int k = 0; k < SIM_PROCS; k++) {
		const struct sim_proc *p = &w->proc[k];

		for (unsigned int j = 0; p->used && j < p->nr_tasks; j++)
			if (w->m.task[p->task[j]].op.type != MOP_NONE)
				return false;
		if (p->used && w->scanning && p->scan < w->m.nr_pages)
			return false;
	}
	return true;
}

void sim_job_loosen(struct sim *w)
{
	while (w->nr_pins)
		unpin(w, 0);
	for (unsigned int s = 0; s < MODEL_SPACES; s++) {
		if (!w->m.space[s].used || !w->m.space[s].alive)
			continue;
		for (unsigned int i = 0; i < w->m.nr_pages; i++) {
			struct mpage *p = &w->m.space[s].page[i];

			p->flags &= (uint8_t)~PF_LOCKED;
			if (p->vma)
				p->prot = PROT_R | PROT_W;
		}
	}
}

void sim_job_end(struct sim *w)
{
	sim_job_loosen(w);
	for (unsigned int k = 0; k < SIM_PROCS; k++)
		if (w->proc[k].used)
			exit_proc(w, &w->proc[k]);
}
