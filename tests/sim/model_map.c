/* SPDX-License-Identifier: Apache-2.0 */
/* Effects of the calls that change mappings, and the messages they owe. */
#include "tests/sim/model.h"

#include <errno.h>
#include <string.h>

static uint16_t new_vma(struct mspace *sp)
{
	if (!++sp->next_vma)
		sp->next_vma = 1;
	return sp->next_vma;
}

void model_add_event(struct mop *op, const struct mevent *ev)
{
	op->ev[op->nr_ev++] = *ev;
}

bool model_any_armed(const struct model *m, unsigned int s, unsigned int i, unsigned int n)
{
	for (unsigned int k = i; k < i + n; k++)
		if (m->space[s].page[k].flags & PF_REG)
			return true;
	return false;
}

/* What is left on both sides of a hole is two mappings; [i, end) is a part of it. */
static void split_at(struct model *m, unsigned int s, unsigned int i, unsigned int end)
{
	struct mpage *page = m->space[s].page;
	unsigned int k, stop;
	uint16_t vma;

	while (i && !page[i - 1].vma)
		i--;
	while (end < m->nr_pages && !page[end].vma)
		end++;
	k = end;
	if (!i || end >= m->nr_pages || page[i - 1].vma != page[end].vma || !page[end].vma)
		return;
	stop = model_vma_end(m, s, end);
	vma = new_vma(&m->space[s]);
	for (; k < stop; k++)
		page[k].vma = vma;
}

void model_unmap_pages(struct model *m, unsigned int s, unsigned int i, unsigned int n)
{
	for (unsigned int k = i; k < i + n; k++) {
		struct mpage *p = &m->space[s].page[k];

		model_phys_put(m, p->phys);
		*p = (struct mpage){0};
	}
	split_at(m, s, i, i + n);
}

/*
 * A page that is missing while another thread is about to throw it away keeps
 * its bytes when it is moved or forked first, or loses them: the messages come
 * in an order that need not be that of the effects, and the job can't tell.
 */
static bool in_pending_removal(const struct model *m, unsigned int s, unsigned int i)
{
	for (unsigned int t = 0; t < MODEL_TASKS; t++) {
		const struct mtask *tk = &m->task[t];

		if (tk->used && tk->space == s && tk->op.pc &&
		    (tk->op.type == MOP_DONTNEED || tk->op.type == MOP_FREE) && i >= tk->op.cur &&
		    i < tk->op.end)
			return true;
	}
	return false;
}

static void owe_unmap(struct model *m, unsigned int s, struct mop *op, unsigned int i,
		      unsigned int n)
{
	if (n && model_any_armed(m, s, i, n))
		model_add_event(
			op,
			&(struct mevent){.type = MMSG_UNMAP, .i = (uint16_t)i, .n = (uint16_t)n});
}

void model_do_mmap(struct model *m, unsigned int s, struct mop *op)
{
	uint16_t vma = new_vma(&m->space[s]);

	owe_unmap(m, s, op, op->i, op->n);
	model_unmap_pages(m, s, op->i, op->n);
	for (unsigned int k = op->i; k < op->i + op->n; k++)
		m->space[s].page[k] = (struct mpage){.vma = vma, .prot = PROT_R | PROT_W};
}

void model_do_munmap(struct model *m, unsigned int s, struct mop *op)
{
	owe_unmap(m, s, op, op->i, op->n);
	model_unmap_pages(m, s, op->i, op->n);
}

static int resize_in_place(struct model *m, unsigned int s, struct mop *op)
{
	struct mpage *page = m->space[s].page;
	unsigned int end = op->i + op->n;
	const struct mpage *last = &page[end - 1];

	if (op->m <= op->n) {
		owe_unmap(m, s, op, op->i + op->m, op->n - op->m);
		model_unmap_pages(m, s, op->i + op->m, op->n - op->m);
		return 0;
	}
	if ((op->i + op->m - 1) / m->win != op->i / m->win)
		return -ENOMEM;
	for (unsigned int k = end; k < op->i + op->m; k++)
		if (page[k].vma)
			return -ENOMEM;
	for (unsigned int k = end; k < op->i + op->m; k++)
		page[k] = (struct mpage){
			.vma = last->vma, .prot = last->prot, .flags = last->flags & PF_VMA};
	return 0;
}

static void move_pages(struct model *m, unsigned int s, const struct mop *op, unsigned int len)
{
	struct mpage *page = m->space[s].page;
	uint16_t vma = new_vma(&m->space[s]);
	struct mpage proto = {
		.vma = vma, .prot = page[op->i].prot, .flags = page[op->i].flags & PF_VMA};

	for (unsigned int k = 0; k < op->m; k++) {
		struct mpage *to = &page[op->j + k];

		*to = proto;
		if (k >= len)
			continue;
		*to = page[op->i + k];
		to->vma = vma;
		to->fill_stamp = ++m->stamp;
		if (!to->phys && m->removing && in_pending_removal(m, s, op->i + k))
			to->flags |= PF_MAYZERO;
		page[op->i + k] = (struct mpage){0};
		if (op->flags & MREMAP_F_DONTUNMAP) {
			page[op->i + k] = proto;
			page[op->i + k].vma = page[op->i].vma;
		}
	}
}

static int move_mapping(struct model *m, unsigned int s, struct mop *op)
{
	unsigned int len = op->m < op->n ? op->m : op->n;
	uint16_t vma = m->space[s].page[op->i].vma;
	bool armed = m->space[s].page[op->i].flags & PF_REG;

	if (op->i < op->j + op->m && op->j < op->i + op->n)
		return -EINVAL;
	if ((op->flags & MREMAP_F_DONTUNMAP) && op->n != op->m)
		return -EINVAL;
	owe_unmap(m, s, op, op->j, op->m);
	model_unmap_pages(m, s, op->j, op->m);
	if (armed)
		model_add_event(op, &(struct mevent){.type = MMSG_REMAP,
						     .i = op->i,
						     .n = (uint16_t)len,
						     .j = op->j});
	owe_unmap(m, s, op, op->i + len, op->n - len);
	model_unmap_pages(m, s, op->i + len, op->n - len);
	if (!(op->flags & MREMAP_F_DONTUNMAP))
		owe_unmap(m, s, op, op->i, len);
	move_pages(m, s, op, len);
	if (!(op->flags & MREMAP_F_DONTUNMAP))
		split_at(m, s, op->i, op->i + len);
	for (unsigned int k = op->i; (op->flags & MREMAP_F_DONTUNMAP) && k < op->i + len; k++)
		m->space[s].page[k].vma = vma;
	return 0;
}

void model_do_mremap(struct model *m, unsigned int s, struct mop *op)
{
	const struct mpage *p = &m->space[s].page[op->i];

	if (!p->vma || model_vma_end(m, s, op->i) < op->i + op->n)
		op->res = -EFAULT;
	else if (p->flags & PF_LOCKED)
		op->res = -EINVAL;
	else if (op->flags & MREMAP_F_FIXED)
		op->res = move_mapping(m, s, op);
	else if (op->m > op->n && model_vma_end(m, s, op->i) > op->i + op->n)
		op->res = -ENOMEM;
	else
		op->res = resize_in_place(m, s, op);
}

/* mprotect and mlock stop at a hole, madvise goes on behind it. */
static bool apply_part(struct model *m, unsigned int s, const struct mop *op, unsigned int i,
		       unsigned int end)
{
	struct mspace *sp = &m->space[s];
	bool split = i && sp->page[i - 1].vma == sp->page[i].vma && i % m->win;
	uint16_t vma = sp->page[i].vma;

	if (split || model_vma_end(m, s, i) > end)
		vma = new_vma(sp);
	for (unsigned int k = i; k < end; k++) {
		struct mpage *p = &sp->page[k];

		p->vma = vma;
		if (op->type == MOP_MPROTECT)
			p->prot = op->prot;
		else
			p->flags = (uint8_t)((p->flags | op->flags) & ~op->prot);
	}
	return true;
}

void model_do_flags(struct model *m, unsigned int s, struct mop *op)
{
	unsigned int i = op->i, stop = op->i + op->n;

	while (i < stop) {
		unsigned int end = model_vma_end(m, s, i);

		if (end > stop)
			end = stop;
		if (m->space[s].page[i].vma) {
			apply_part(m, s, op, i, end);
		} else {
			op->res = -ENOMEM;
			if (op->type != MOP_FLAG)
				return;
		}
		i = end;
	}
}

static void fork_page(struct model *m, struct mpage *from, struct mpage *to)
{
	*to = (struct mpage){0};
	if (!from->vma || (from->flags & PF_DONTFORK))
		return;
	*to = *from;
	to->flags &= (uint8_t)~PF_LOCKED;
	if (from->flags & PF_WIPE) {
		to->flags &= PF_VMA;
		to->guarded = false;
		to->phys = 0;
		to->want = 0;
	} else if (from->phys > 1 && m->phys[from->phys].pins) {
		to->phys = model_phys_new(m, m->phys[from->phys].value);
	} else if (from->phys > 1) {
		m->phys[from->phys].refs++;
		from->flags |= PF_SHARED;
		to->flags |= PF_SHARED;
	}
}

void model_do_fork(struct model *m, unsigned int s, struct mop *op)
{
	int c = model_space_new(m);
	struct mspace *sp = &m->space[s], *child = &m->space[c < 0 ? 0 : c];

	if (c < 0) {
		op->res = -EAGAIN;
		return;
	}
	op->child = (uint8_t)c;
	child->next_vma = sp->next_vma;
	for (unsigned int k = 0; k < m->nr_pages; k++) {
		fork_page(m, &sp->page[k], &child->page[k]);
		if (!child->page[k].phys && m->removing && in_pending_removal(m, s, k))
			child->page[k].flags |= PF_MAYZERO;
	}
	for (unsigned int k = 1; k < m->nr_pages; k++) /* what a child does not get leaves holes */
		if (child->page[k].vma && !child->page[k - 1].vma)
			split_at(m, (unsigned int)c, k, k);
	child->armed = model_any_armed(m, (unsigned int)c, 0, m->nr_pages);
	if (child->armed)
		model_add_event(op, &(struct mevent){.type = MMSG_FORK, .child = op->child});
}
