/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and accesses of the job, step by step. */
#include "tests/sim/model.h"

#include <errno.h>

enum { PC_START, PC_QUEUE, PC_READ, PC_ZAP, PC_TOUCH };

void model_start(struct model *m, unsigned int t, const struct mop *op)
{
	m->task[t].op = *op;
	m->task[t].op_seq++;
}

static enum mstep done(struct model *m, struct mop *op)
{
	if (op->type == MOP_DONTNEED || op->type == MOP_FREE)
		m->removing--;
	op->pc = PC_START;
	return MSTEP_DONE;
}

static enum mstep step_access(struct model *m, unsigned int t, struct mop *op)
{
	unsigned int s = m->task[t].space;
	struct mpage *p = &m->space[s].page[op->i];
	int err = model_touch(m, t, op->i, op->type == MOP_WRITE);

	if (err > 0)
		return MSTEP_BLOCKED;
	op->res = err;
	if (err)
		return done(m, op);
	if (m->phys[p->phys].value != p->want)
		m->fail(m->fail_ctx, "the job reads wrong bytes", s, op->i, m->phys[p->phys].value);
	if (op->type == MOP_WRITE) {
		m->phys[p->phys].value = p->want = op->value;
		p->flags &= (uint8_t)~PF_MAYZERO;
	}
	op->value = p->want;
	return done(m, op);
}

static void effect(struct model *m, unsigned int s, struct mop *op)
{
	if (op->type == MOP_MMAP)
		model_do_mmap(m, s, op);
	else if (op->type == MOP_MUNMAP)
		model_do_munmap(m, s, op);
	else if (op->type == MOP_MREMAP)
		model_do_mremap(m, s, op);
	else if (op->type == MOP_FORK)
		model_do_fork(m, s, op);
	else
		model_do_flags(m, s, op);
	m->space[s].changing += op->nr_ev;
	m->space[s].unqueued += op->nr_ev;
}

static bool overlap(unsigned int i, unsigned int n, unsigned int j, unsigned int m)
{
	return i < j + m && j < i + n;
}

static bool is_hole(const struct model *m, unsigned int s, unsigned int i, unsigned int n)
{
	for (unsigned int k = i; k < i + n; k++)
		if (m->space[s].page[k].vma)
			return false;
	return true;
}

/* Threads that don't race for the same addresses still meet where one has just
 * made a hole and the kernel gives it to the other. */
static bool clash(const struct model *m, unsigned int s, const struct mop *op,
		  const struct mop *other)
{
	bool maps = op->type == MOP_MMAP;

	if (overlap(op->i, op->n, other->j, other->m) || overlap(op->j, op->m, other->j, other->m))
		return true;
	if (overlap(op->i, op->n, other->i, other->n) && !(maps && is_hole(m, s, op->i, op->n)))
		return true;
	return overlap(op->j, op->m, other->i, other->n) && !is_hole(m, s, op->j, op->m);
}

/* Messages come in the order of their effects, unless asked otherwise. */
static bool must_wait(const struct model *m, unsigned int s, const struct mop *op)
{
	if (!m->space[s].unqueued || !m->unordered)
		return m->space[s].unqueued;
	for (unsigned int t = 0; t < MODEL_TASKS; t++) {
		const struct mtask *tk = &m->task[t];

		if (tk->used && tk->space == s && &tk->op != op && tk->op.pc &&
		    clash(m, s, op, &tk->op))
			return true;
	}
	return false;
}

/* The messages follow the effect, one after the other, each blocking. */
static enum mstep step_mapping(struct model *m, unsigned int t, struct mop *op)
{
	unsigned int s = m->task[t].space;

	if (op->pc == PC_START) {
		if (must_wait(m, s, op))
			return MSTEP_MORE;
		op->nr_ev = op->ev_idx = 0;
		op->res = 0;
		effect(m, s, op);
		op->pc = PC_QUEUE;
		return op->nr_ev ? MSTEP_MORE : done(m, op);
	}
	if (op->pc == PC_READ) {
		m->space[s].changing--;
		op->pc = PC_QUEUE;
		return ++op->ev_idx < op->nr_ev ? MSTEP_MORE : done(m, op);
	}
	op->pc = PC_READ;
	model_queue_event(m, t, &op->ev[op->ev_idx]);
	return MSTEP_BLOCKED;
}

static void zap_page(struct model *m, const struct mop *op, struct mpage *p)
{
	bool filled_since = op->zap_owed && p->fill_stamp > op->since_stamp;

	if (!p->vma)
		return;
	if (!p->phys && !(p->flags & PF_POISON)) {
		/* The pager took it out again since: what was touched after the
		 * REMOVE was read counts as touched after the zap. */
		if (!filled_since) {
			p->want = 0;
			p->flags &= (uint8_t)~PF_MAYZERO;
		}
		return;
	}
	if (op->type == MOP_DONTNEED || (p->flags & PF_POISON)) {
		model_page_drop(m, p);
		p->want = 0;
	} else if (p->phys > 1 && m->phys[p->phys].refs == 1) {
		p->flags |= PF_LAZY | PF_MAYZERO;
	}
}

static void zap(struct model *m, unsigned int s, struct mop *op)
{
	for (unsigned int k = op->cur; k < op->end; k++)
		zap_page(m, op, &m->space[s].page[k]);
	op->zap_owed = false;
	op->cur = op->end;
	op->pc = PC_TOUCH;
}

/* Finds the next mapping; each one armed owes a message of its own. */
static enum mstep remove_next(struct model *m, unsigned int s, struct mop *op)
{
	const struct mpage *page = m->space[s].page;
	unsigned int stop = op->i + op->n;

	if (must_wait(m, s, op))
		return MSTEP_MORE;
	while (op->cur < stop && !page[op->cur].vma) {
		op->res = -ENOMEM;
		op->cur++;
	}
	if (op->cur >= stop)
		return done(m, op);
	if (page[op->cur].flags & PF_LOCKED) {
		op->res = -EINVAL;
		return done(m, op);
	}
	op->end = (uint16_t)model_vma_end(m, s, op->cur);
	if (op->end > stop)
		op->end = (uint16_t)stop;
	if (page[op->cur].flags & PF_REG) {
		m->space[s].changing++;
		m->space[s].unqueued++;
		op->since_stamp = ++m->stamp;
		op->pc = PC_QUEUE;
	} else {
		zap(m, s, op);
	}
	return MSTEP_MORE;
}

static enum mstep step_remove(struct model *m, unsigned int t, struct mop *op)
{
	unsigned int s = m->task[t].space;

	switch (op->pc) {
	case PC_START:
		m->removing++;
		op->cur = op->end = op->i;
		op->res = 0;
		op->pc = PC_TOUCH;
		return MSTEP_MORE;
	case PC_TOUCH:
		return remove_next(m, s, op);
	case PC_QUEUE:
		op->ev_idx = 0;
		op->pc = PC_READ;
		model_queue_event(m, t,
				  &(struct mevent){.type = MMSG_REMOVE,
						   .i = op->cur,
						   .n = (uint16_t)(op->end - op->cur)});
		return MSTEP_BLOCKED;
	case PC_READ:
		m->space[s].changing--;
		op->pc = PC_ZAP;
		return MSTEP_MORE;
	default:
		zap(m, s, op);
		return MSTEP_MORE;
	}
}

/* mlock and MADV_POPULATE_WRITE touch page by page. */
static enum mstep step_touch(struct model *m, unsigned int t, struct mop *op)
{
	unsigned int s = m->task[t].space;
	const struct mpage *p;
	int err;

	if (op->pc == PC_START) {
		op->res = 0;
		op->cur = op->i;
		op->pc = PC_TOUCH;
		if (op->type == MOP_MLOCK) {
			op->flags = PF_LOCKED;
			op->prot = 0;
			model_do_flags(m, s, op);
		}
		return op->res ? done(m, op) : MSTEP_MORE;
	}
	if (op->cur >= op->i + op->n)
		return done(m, op);
	p = &m->space[s].page[op->cur];
	err = model_touch(m, t, op->cur, op->type == MOP_POPULATE || (p->prot & PROT_W));
	if (err > 0)
		return MSTEP_BLOCKED;
	if (err) {
		op->res = p->vma && op->type == MOP_POPULATE ? -EINVAL : -ENOMEM;
		return done(m, op);
	}
	op->cur++;
	return MSTEP_MORE;
}

enum mstep model_step(struct model *m, unsigned int t)
{
	struct mop *op = &m->task[t].op;

	if (m->task[t].wait != MWAIT_NONE)
		return MSTEP_BLOCKED;
	switch (op->type) {
	case MOP_NONE:
		return MSTEP_DONE;
	case MOP_READ:
	case MOP_WRITE:
		return step_access(m, t, op);
	case MOP_DONTNEED:
	case MOP_FREE:
		return step_remove(m, t, op);
	case MOP_MLOCK:
	case MOP_POPULATE:
		return step_touch(m, t, op);
	default:
		return step_mapping(m, t, op);
	}
}
