/* SPDX-License-Identifier: Apache-2.0 */
/* Spaces, tasks, pages, and what an access does. */
#include "tests/sim/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int model_init(struct model *m, unsigned int win, unsigned int nr_wins, uint64_t base)
{
	struct mpage *pages;

	if (m->nr_pages < win * nr_wins) {
		pages = realloc(m->pages, sizeof(*pages) * win * nr_wins * MODEL_SPACES);
		if (!pages)
			return -ENOMEM;
		m->pages = pages;
	}
	m->win = win;
	m->nr_wins = nr_wins;
	m->nr_pages = win * nr_wins;
	m->base = base;
	m->stamp = 1;
	m->phys_free = 0;
	m->phys_top = 2;
	m->phys_used = 0;
	m->removing = 0;
	memset(m->space, 0, sizeof(m->space));
	memset(m->task, 0, sizeof(m->task));
	memset(m->phys, 0, 2 * sizeof(m->phys[0]));
	for (unsigned int s = 0; s < MODEL_SPACES; s++)
		m->space[s].page = m->pages + (size_t)s * m->nr_pages;
	return 0;
}

void model_fini(struct model *m)
{
	free(m->pages);
	m->pages = NULL;
	m->nr_pages = 0;
}

int model_space_new(struct model *m)
{
	for (unsigned int s = 0; s < MODEL_SPACES; s++) {
		struct mspace *sp = &m->space[s];

		if (sp->used)
			continue;
		memset(sp->page, 0, sizeof(*sp->page) * m->nr_pages);
		memset(sp->scratch, 0, sizeof(sp->scratch));
		sp->used = sp->alive = true;
		sp->armed = sp->announced = false;
		sp->nr_events = sp->nr_faults = 0;
		sp->next_vma = 1;
		sp->changing = sp->unqueued = sp->nr_waiting = 0;
		return (int)s;
	}
	return -1;
}

void model_space_kill(struct model *m, unsigned int s)
{
	struct mspace *sp = &m->space[s];

	sp->alive = false;
	for (unsigned int t = 0; t < MODEL_TASKS; t++)
		if (m->task[t].used && m->task[t].space == s)
			model_task_free(m, t);
	for (unsigned int i = 0; i < m->nr_pages; i++)
		model_page_drop(m, &sp->page[i]);
	model_scratch_drop(m, s, 0);
	model_scratch_drop(m, s, 1);
}

void model_space_free(struct model *m, unsigned int s)
{
	m->space[s].used = false;
}

int model_task_new(struct model *m, unsigned int s, uint32_t tid)
{
	for (unsigned int t = 0; t < MODEL_TASKS; t++) {
		struct mtask *tk = &m->task[t];

		if (tk->used)
			continue;
		tk->used = 1;
		tk->wait = MWAIT_NONE;
		tk->space = (uint8_t)s;
		tk->tid = tid;
		tk->op.type = MOP_NONE;
		return (int)t;
	}
	return -1;
}

/* A fork that has not returned never had a child that ran. */
void model_task_free(struct model *m, unsigned int t)
{
	struct mtask *tk = &m->task[t];
	struct mspace *child = &m->space[tk->op.child];

	model_unqueue(m, t);
	tk->used = 0;
	if (tk->op.pc && (tk->op.type == MOP_DONTNEED || tk->op.type == MOP_FREE))
		m->removing--;
	if (tk->op.type != MOP_FORK || tk->op.pc == 0 || tk->op.res < 0)
		return;
	model_space_kill(m, tk->op.child);
	if (!child->announced)
		model_space_free(m, tk->op.child);
}

uint64_t model_va(const struct model *m, unsigned int i)
{
	uint64_t va = m->base + ((uint64_t)(i / m->win) << CHUNK_SHIFT);

	return va + ((uint64_t)(i % m->win) << PAGE_SHIFT) - ((uint64_t)(m->win / 2) << PAGE_SHIFT);
}

unsigned int model_page(const struct model *m, uint64_t va, bool *exact)
{
	uint64_t low = m->base - ((uint64_t)(m->win / 2) << PAGE_SHIFT);
	uint64_t w, r;

	*exact = false;
	if (va < low)
		return 0;
	w = (va - low) >> CHUNK_SHIFT;
	r = ((va - low) & (CHUNK_BYTES - 1)) >> PAGE_SHIFT;
	if (w >= m->nr_wins)
		return m->nr_pages;
	if (r >= m->win)
		return (unsigned int)(w + 1) * m->win;
	*exact = true;
	return (unsigned int)(w * m->win + r);
}

uint32_t model_phys_new(struct model *m, uint64_t value)
{
	uint32_t phys = m->phys_free;

	if (phys)
		m->phys_free = m->phys[phys].refs;
	else
		phys = m->phys_top++;
	if (phys >= MODEL_PHYS_MAX)
		m->fail(m->fail_ctx, "model: out of physical pages", 0, 0, 0);
	m->phys[phys] = (struct mphys){.value = value, .refs = 1};
	m->phys_used++;
	return phys;
}

void model_phys_put(struct model *m, uint32_t phys)
{
	if (phys < 2 || --m->phys[phys].refs)
		return;
	m->phys[phys].refs = m->phys_free;
	m->phys_free = phys;
	m->phys_used--;
}

void model_page_drop(struct model *m, struct mpage *p)
{
	model_phys_put(m, p->phys);
	p->phys = 0;
	p->guarded = false;
	p->flags &= PF_VMA;
}

unsigned int model_vma_end(const struct model *m, unsigned int s, unsigned int i)
{
	const struct mpage *page = m->space[s].page;
	unsigned int win_end = (i / m->win + 1) * m->win;
	unsigned int e = i + 1;

	/* Windows of less than a chunk do not touch. */
	if (m->win == CHUNK_PAGES)
		win_end = m->nr_pages;
	while (e < win_end && page[e].vma == page[i].vma)
		e++;
	return e;
}

bool model_is_mapped(const struct model *m, unsigned int s, unsigned int i, unsigned int n)
{
	for (unsigned int k = i; k < i + n; k++)
		if (!m->space[s].page[k].vma)
			return false;
	return true;
}

void model_lazy_drop(struct model *m, unsigned int s, unsigned int i)
{
	struct mpage *p = &m->space[s].page[i];

	if (!(p->flags & PF_LAZY) || p->phys < 2 || m->phys[p->phys].refs > 1)
		return;
	model_page_drop(m, p);
	p->want = 0;
}

static void make_exclusive(struct model *m, struct mpage *p)
{
	uint32_t old = p->phys;

	if (old == 1 || m->phys[old].refs > 1 + m->phys[old].pins) {
		p->phys = model_phys_new(m, m->phys[old].value);
		model_phys_put(m, old);
	}
	p->flags &= (uint8_t) ~(PF_SHARED | PF_LAZY);
}

int model_touch(struct model *m, unsigned int t, unsigned int i, bool write)
{
	unsigned int s = m->task[t].space;
	struct mpage *p = &m->space[s].page[i];

	if (!p->vma || !(p->prot & (write ? PROT_W : PROT_R)) || (p->flags & PF_POISON))
		return -EFAULT;
	if (!p->phys) {
		if (p->flags & PF_REG) {
			model_queue_fault(m, t, i, false);
			return 1;
		}
		if (p->want)
			m->fail(m->fail_ctx, "bytes taken out of a range that isn't registered", s,
				i, 0);
		p->phys = m->no_zero_page ? model_phys_new(m, 0) : 1;
		p->fill_stamp = ++m->stamp;
	}
	if (write && p->guarded) {
		model_queue_fault(m, t, i, true);
		return 1;
	}
	if (write && (p->phys == 1 || (p->flags & (PF_SHARED | PF_LAZY))))
		make_exclusive(m, p);
	return 0;
}
