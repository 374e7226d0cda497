/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Page tables of x86-64, read through the kernel's map of all memory. */
#ifndef RMEM_BPF_WALK_H
#define RMEM_BPF_WALK_H

#define ENTRY_PRESENT  1ULL
#define ENTRY_ACCESSED 0x20ULL
#define ENTRY_HUGE     0x80ULL
#define ENTRY_SPECIAL  0x200ULL /* in anonymous memory: the shared page of zeros */
#define ENTRY_GUARDED  0x400ULL /* _PAGE_UFFD_WP: write-protected by userfaultfd */
#define ENTRY_ADDR     0x000ffffffffff000ULL
#define NO_ENTRY       (~0ULL)

struct walk {
	__u64 map;    /* where the kernel maps physical memory */
	__u32 levels; /* 4 or 5 */
};

static __always_inline __u64 entry_at(__u64 table, __u64 va, unsigned int shift)
{
	__u64 e = NO_ENTRY;

	bpf_probe_read_kernel(&e, sizeof(e), (void *)(table + (va >> shift & 511) * 8));
	return e;
}

/* The entry of @va in a table of the lowest level but one, which says where the table of
 * its 2 MiB is: 0 when there is none, NO_ENTRY when it can't be told. It may be huge. */
static __always_inline __u64 pmd_of_root(const struct walk *w, __u64 table, __u64 va)
{
	__u64 e = 0;
	int shift = w->levels == 5 ? 48 : 39;

	for (int i = 0; i < 4 && shift > 12; i++, shift -= 9) {
		e = entry_at(table, va, shift);
		if (!e || (e & ENTRY_HUGE && shift == 21))
			return e;
		if (!(e & ENTRY_PRESENT) || e & ENTRY_HUGE)
			return NO_ENTRY;
		table = w->map + (e & ENTRY_ADDR);
	}
	return e;
}

static __always_inline __u64 pmd_of(const struct walk *w, const struct mm_struct *mm, __u64 va)
{
	return pmd_of_root(w, (__u64)mm->pgd, va);
}

#endif
