/* SPDX-License-Identifier: Apache-2.0 */
/* userfaultfd: messages in, ioctls out. Every page put in is checked. */
#include "tests/sim/model.h"

#include <errno.h>
#include <string.h>

void model_queue_fault(struct model *m, unsigned int t, unsigned int i, bool guarded)
{
	struct mtask *tk = &m->task[t];
	struct mspace *sp = &m->space[tk->space];

	tk->wait = MWAIT_FAULT;
	tk->page = (uint16_t)i;
	tk->guarded = guarded;
	sp->nr_waiting++;
	sp->fault[sp->nr_faults++] = (uint8_t)t;
}

void model_queue_event(struct model *m, unsigned int t, const struct mevent *ev)
{
	struct mtask *tk = &m->task[t];
	struct mspace *sp = &m->space[tk->space];

	tk->op.ev[tk->op.ev_idx] = *ev;
	tk->wait = MWAIT_EVENT;
	sp->unqueued--;
	sp->event[sp->nr_events++] = (uint8_t)t;
}

static void queue_remove(uint8_t *queue, uint8_t *nr, unsigned int t)
{
	for (unsigned int k = 0; k < *nr; k++) {
		if (queue[k] != t)
			continue;
		memmove(queue + k, queue + k + 1, *nr - k - 1U);
		(*nr)--;
		return;
	}
}

void model_unqueue(struct model *m, unsigned int t)
{
	struct mtask *tk = &m->task[t];
	struct mspace *sp = &m->space[tk->space];

	if (tk->wait == MWAIT_FAULT)
		queue_remove(sp->fault, &sp->nr_faults, t);
	if (tk->wait == MWAIT_FAULT || tk->wait == MWAIT_FAULT_READ)
		sp->nr_waiting--;
	if (tk->wait == MWAIT_EVENT)
		queue_remove(sp->event, &sp->nr_events, t);
	tk->wait = MWAIT_NONE;
}

/* Faults come before events, however old. */
bool model_read(struct model *m, unsigned int s, struct mmsg *out)
{
	struct mspace *sp = &m->space[s];
	struct mtask *tk;

	if (!sp->alive)
		return false;
	if (sp->nr_faults) {
		tk = &m->task[sp->fault[0]];
		queue_remove(sp->fault, &sp->nr_faults, sp->fault[0]);
		tk->wait = MWAIT_FAULT_READ;
		out->ev = (struct mevent){
			.type = MMSG_FAULT, .guarded = tk->guarded, .i = tk->page, .n = 1};
		out->tid = tk->tid;
		return true;
	}
	if (!sp->nr_events)
		return false;
	tk = &m->task[sp->event[0]];
	queue_remove(sp->event, &sp->nr_events, sp->event[0]);
	tk->wait = MWAIT_NONE;
	out->ev = tk->op.ev[tk->op.ev_idx];
	out->tid = tk->tid;
	if (out->ev.type == MMSG_REMOVE)
		tk->op.zap_owed = true;
	if (out->ev.type == MMSG_FORK)
		m->space[out->ev.child].announced = true;
	return true;
}

void model_register(struct model *m, unsigned int s, unsigned int i, unsigned int n)
{
	for (unsigned int k = i; k < i + n; k++)
		if (m->space[s].page[k].vma)
			m->space[s].page[k].flags |= PF_REG;
}

void model_wake(struct model *m, unsigned int s, unsigned int i, unsigned int n)
{
	if (!m->space[s].nr_waiting)
		return;
	for (unsigned int t = 0; t < MODEL_TASKS; t++) {
		struct mtask *tk = &m->task[t];

		if (!tk->used || tk->space != s || tk->page < i || tk->page >= i + n)
			continue;
		if (tk->wait == MWAIT_FAULT || tk->wait == MWAIT_FAULT_READ)
			model_unqueue(m, t);
	}
}

/* Between the reading of a REMOVE and its zap a touch may see either. */
static bool in_removal(const struct model *m, unsigned int s, unsigned int i)
{
	for (unsigned int t = 0; t < MODEL_TASKS; t++) {
		const struct mtask *tk = &m->task[t];

		if (tk->used && tk->space == s && tk->op.zap_owed && i >= tk->op.cur &&
		    i < tk->op.end)
			return true;
	}
	return false;
}

static void check_fill(struct model *m, unsigned int s, unsigned int i, uint64_t value)
{
	struct mpage *p = &m->space[s].page[i];

	if (p->want == value)
		return;
	if (value || !((p->flags & PF_MAYZERO) || in_removal(m, s, i)))
		m->fail(m->fail_ctx, "wrong bytes given to the job", s, i, value);
	p->want = 0;
	p->flags &= (uint8_t)~PF_MAYZERO;
}

static int fill_refused(const struct mspace *sp, const struct mpage *p)
{
	if (!sp->alive)
		return -ESRCH;
	if (sp->changing)
		return -EAGAIN;
	if (!p->vma || !(p->flags & PF_REG))
		return -ENOENT;
	return p->phys ? -EEXIST : 0;
}

int model_fill(struct model *m, unsigned int s, unsigned int i, uint64_t value)
{
	struct mpage *p = &m->space[s].page[i];
	int err = fill_refused(&m->space[s], p);

	if (err)
		return err;
	check_fill(m, s, i, value);
	p->flags &= (uint8_t) ~(PF_POISON | PF_SHARED | PF_LAZY);
	p->phys = model_phys_new(m, value);
	p->guarded = false;
	p->fill_stamp = ++m->stamp;
	model_wake(m, s, i, 1);
	return 0;
}

void model_guard(struct model *m, unsigned int s, unsigned int i)
{
	m->space[s].page[i].guarded = true;
}

/* What is not there, or not guarded, stays as it is. */
int model_allow(struct model *m, unsigned int s, unsigned int i, unsigned int n)
{
	const struct mspace *sp = &m->space[s];

	if (!sp->alive)
		return -ESRCH;
	if (sp->changing)
		return -EAGAIN;
	for (unsigned int k = i; k < i + n; k++)
		if (!sp->page[k].vma || !(sp->page[k].flags & PF_REG) ||
		    sp->page[k].vma != sp->page[i].vma)
			return -ENOENT;
	for (unsigned int k = i; k < i + n; k++)
		sp->page[k].guarded = false;
	model_wake(m, s, i, n);
	return 0;
}

int model_poison(struct model *m, unsigned int s, unsigned int i)
{
	struct mpage *p = &m->space[s].page[i];
	int err = fill_refused(&m->space[s], p);

	if (err)
		return err;
	p->flags |= PF_POISON;
	model_wake(m, s, i, 1);
	return 0;
}

/* As through the job's own userfaultfd: the source need not be registered. */
enum mmove model_move(struct model *m, unsigned int s, unsigned int i, unsigned int half,
		      unsigned int slot)
{
	struct mspace *sp = &m->space[s];
	struct mpage *p = &sp->page[i];

	if (!sp->alive || sp->changing)
		return MMOVE_EAGAIN;
	if (!p->vma || !p->phys)
		return MMOVE_HOLE;
	if (p->prot != (PROT_R | PROT_W) || (p->flags & PF_LOCKED))
		return MMOVE_INVALID;
	if ((p->flags & PF_SHARED) || m->phys[p->phys].pins)
		return MMOVE_BUSY;
	sp->scratch[half][slot] = p->phys | (p->flags & PF_LAZY ? MODEL_SPLIT_LAZY : 0);
	p->phys = 0;
	p->guarded = false;
	p->flags &= (uint8_t)~PF_LAZY;
	return MMOVE_OK;
}

/* A page given up by MADV_FREE may be dropped by the kernel in scratch, too. */
uint64_t model_scratch_value(struct model *m, unsigned int s, unsigned int half, unsigned int slot)
{
	uint32_t phys = m->space[s].scratch[half][slot];

	if ((phys & MODEL_SPLIT_LAZY) && (m->lazy_state = m->lazy_state * 1103515245 + 12345) >> 31)
		return 0;
	return m->phys[phys & ~MODEL_SPLIT_LAZY].value;
}

void model_scratch_drop(struct model *m, unsigned int s, unsigned int half)
{
	uint32_t *scratch = m->space[s].scratch[half];

	for (unsigned int k = 0; k < CHUNK_PAGES; k++) {
		if (!scratch[k])
			continue;
		model_phys_put(m, scratch[k] & ~MODEL_SPLIT_LAZY);
		scratch[k] = 0;
	}
}
