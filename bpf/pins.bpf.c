/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Which pages of a chunk may be dropped: those that are protected by userfaultfd and
 * that nobody but one mapping refers to. A page that a device may still write to or
 * read has another reference, whatever kind of pin it is: so one count is enough, and
 * one look at it, since the mapping that is looked at holds the one that is left.
 */
#include "bpf/kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/pins.h"
#include "bpf/walk.h"

char LICENSE[] SEC("license") = "GPL"; /* the kernel wants to know */

struct pins_shared shared;

/* Where the kernel moves its maps about. */
extern const void page_offset_base __ksym __weak;
extern const void vmemmap_base __ksym __weak;

static __always_inline const struct mm_struct *mm_of(void)
{
	const struct task_struct *task = bpf_get_current_task_btf();
	const struct fdtable *fdt = task->files->fdt;
	const struct file *file = NULL;
	void *mm = NULL;

	if (shared.pagemap_fd < 0 || (__u32)shared.pagemap_fd >= fdt->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), fdt->fd + shared.pagemap_fd);
	if (file)
		bpf_core_read(&mm, sizeof(mm), &file->private_data);
	return mm;
}

static long look(__u32 i, void *ctx)
{
	__u32 word = i / 64 % PINS_WORDS;
	__u64 bit = 1ULL << i % 64, e;
	const struct page *page;
	int count = 0;

	if (!(shared.want[word] & bit))
		return 0;
	e = shared.table[i % PINS_PAGES];
	if ((e & (ENTRY_PRESENT | ENTRY_UFFD_WP | ENTRY_WRITABLE)) !=
	    (ENTRY_PRESENT | ENTRY_UFFD_WP))
		return 0;
	page = (const void *)(shared.page_map +
			      ((e & ENTRY_ADDR) >> 12) * bpf_core_type_size(struct page));
	if (!bpf_core_read(&count, sizeof(count), &page->_refcount.counter) && count == 1)
		shared.alone[word] |= bit;
	return 0;
}

SEC("syscall")
int pins(void *ctx)
{
	struct walk w = {.levels = shared.levels};
	const struct mm_struct *mm = mm_of();
	__u64 e, pgd = 0;

	shared.res = -1;
	if (!shared.direct_map && &page_offset_base)
		bpf_probe_read_kernel(&shared.direct_map, sizeof(shared.direct_map),
				      &page_offset_base);
	if (!shared.page_map && &vmemmap_base)
		bpf_probe_read_kernel(&shared.page_map, sizeof(shared.page_map), &vmemmap_base);
	for (int i = 0; i < PINS_WORDS; i++)
		shared.alone[i] = 0;
	w.map = shared.direct_map;
	if (!mm || bpf_core_read(&pgd, sizeof(pgd), &mm->pgd) ||
	    bpf_core_read(&shared.users, sizeof(shared.users), &mm->mm_users.counter))
		return 0;
	e = pmd_of(&w, pgd, shared.va);
	if (e == NO_ENTRY)
		return 0;
	shared.res = 0;
	if (!(e & ENTRY_PRESENT) || e & ENTRY_HUGE)
		return 0;
	if (!bpf_probe_read_kernel(shared.table, sizeof(shared.table),
				   (void *)(w.map + (e & ENTRY_ADDR))))
		bpf_loop(PINS_PAGES, look, NULL, 0);
	return 0;
}
