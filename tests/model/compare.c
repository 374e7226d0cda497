/* SPDX-License-Identifier: Apache-2.0 */
/* Is the process as the model has it? */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/model/model.h"

static void read_pagemap(const struct proc *p, uint64_t *map)
{
	if (pread(p->pagemap, map, REGION_PAGES * sizeof(*map),
		  (off_t)(page_va(0) / PAGE_BYTES * 8)) != REGION_PAGES * sizeof(*map))
		fail("pagemap: %s", strerror(errno));
}

/* Of a mapping that was only ever read, fork copies no page table: where the
 * parent has the zero page the child may have none, which reads the same. */
void forget_zero_pages(struct model *m, const struct proc *child)
{
	uint64_t map[REGION_PAGES];

	read_pagemap(child, map);
	for (unsigned int i = 0; i < REGION_PAGES; i++)
		if (!(map[i] >> 63) && m->space[child->space].page[i].phys == 1)
			m->space[child->space].page[i].phys = 0;
}

void compare_pages(const struct model *m, const struct proc *p)
{
	uint64_t map[REGION_PAGES], word;

	read_pagemap(p, map);
	for (unsigned int i = 0; i < REGION_PAGES; i++) {
		const struct mpage *pg = &m->space[p->space].page[i];
		bool present = map[i] >> 63;

		if (present != (pg->phys != 0))
			fail("space %u page %u: present %d in the kernel, %d in the model",
			     p->space, i, present, pg->phys != 0);
		if (!present)
			continue;
		if ((map[i] >> 57 & 1) != pg->guarded)
			fail("space %u page %u: guarded %d in the kernel, %d in the model",
			     p->space, i, !pg->guarded, pg->guarded);
		if (pread(p->mem, &word, 8, (off_t)page_va(i)) != 8)
			fail("mem of page %u: %s", i, strerror(errno));
		if (word != m->phys[pg->phys].value || word != pg->want)
			fail("space %u page %u: holds %lx, the model %lx", p->space, i,
			     (unsigned long)word, (unsigned long)m->phys[pg->phys].value);
	}
}

static bool has_flag(const char *flags, const char *flag)
{
	const char *at = strstr(flags, flag);

	return at && at[-1] == ' ';
}

static void compare_mapping(const struct model *m, const struct proc *p, uint64_t start,
			    uint64_t end, const char *perm, const char *flags, bool *seen)
{
	unsigned int vm =
		(has_flag(flags, "um") ? PF_REG : 0) | (has_flag(flags, "wf") ? PF_WIPE : 0) |
		(has_flag(flags, "dc") ? PF_DONTFORK : 0) | (has_flag(flags, "lo") ? PF_LOCKED : 0);
	unsigned int prot = (perm[0] == 'r' ? PROT_R : 0) | (perm[1] == 'w' ? PROT_W : 0);

	for (uint64_t va = start; va < end; va += PAGE_BYTES) {
		const struct mpage *pg;

		if (va < page_va(0) || va >= page_va(REGION_PAGES))
			continue;
		pg = &m->space[p->space].page[page_of(va)];
		seen[page_of(va)] = true;
		if (!pg->vma || pg->prot != prot || (pg->flags & PF_VMA) != vm)
			fail("space %u page %u: mapping %s flags %x, the model: mapped %d prot %u "
			     "flags %x",
			     p->space, page_of(va), perm, vm, pg->vma, pg->prot,
			     pg->flags & PF_VMA);
	}
}

void compare_mappings(const struct model *m, const struct proc *p)
{
	bool seen[REGION_PAGES] = {false};
	unsigned long start = 0, end = 0, from, to;
	char line[512], perm[8] = "", word[8];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/smaps", p->pid);
	f = fopen(line, "re");
	if (!f)
		fail("%s: %s", line, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "VmFlags:", 8))
			compare_mapping(m, p, start, end, perm, line, seen);
		if (sscanf(line, "%lx-%lx %7s", &from, &to, word) != 3)
			continue;
		start = from;
		end = to;
		memcpy(perm, word, sizeof(perm));
	}
	fclose(f);
	for (unsigned int i = 0; i < REGION_PAGES; i++)
		if (!seen[i] && m->space[p->space].page[i].vma)
			fail("space %u page %u: not mapped, but in the model", p->space, i);
}
