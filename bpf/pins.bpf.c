/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Which pages of a chunk are pinned: held by more than the page tables that show them,
 * as for I/O under way. For kernels whose userfaultfd can't move pages, where nothing
 * else tells. Run by the pager for one chunk of one process, whose threads stand still and
 * whose pages are write-protected, so that no new pin for writing can come about.
 *
 * A page is free when it has as many references as page tables that map it. What can't be
 * told is not free.
 */
#include "bpf/kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/pins.h"
#include "bpf/walk.h"

char LICENSE[] SEC("license") = "GPL"; /* the kernel wants to know */

struct pins_shared shared;

#define PAGE_BYTES     4096ULL
#define HUGE_PAGES     512 /* of an anonymous huge page */
#define PIDTYPE_TGID   1
#define HLIST_NODE     16 /* bytes */
#define FIELD(p, s, f) ((p) + bpf_core_field_offset(struct s, f))

static __always_inline __u64 word_at(__u64 at)
{
	__u64 v = 0;

	bpf_probe_read_kernel(&v, sizeof(v), (void *)at);
	return v;
}

static __always_inline __s32 int_at(__u64 at)
{
	__s32 v = 0;

	bpf_probe_read_kernel(&v, sizeof(v), (void *)at);
	return v;
}

/* The process behind a descriptor of ours, which is a pidfd of kernels before 6.9. */
static __always_inline __u64 mm_of(__s32 pidfd)
{
	__u64 task = bpf_get_current_task(), files, fdt, file, pid, first;

	files = word_at(FIELD(task, task_struct, files));
	fdt = word_at(FIELD(files, files_struct, fdt));
	file = word_at(word_at(FIELD(fdt, fdtable, fd)) + (__u64)(__u32)pidfd * 8);
	pid = file ? word_at(FIELD(file, file, private_data)) : 0;
	first = pid ? word_at(FIELD(pid, pid, tasks) + PIDTYPE_TGID * 8) : 0;
	if (!first)
		return 0;
	task = first - bpf_core_field_offset(struct task_struct, pid_links) -
	       PIDTYPE_TGID * HLIST_NODE;
	return word_at(FIELD(task, task_struct, mm));
}

#define FLAG(name) (1ULL << bpf_core_enum_value(enum pageflags, name))

static long count_one(__u32 i, void *ctx)
{
	__u64 page = *(__u64 *)ctx + i * bpf_core_type_size(struct page);

	shared.sum += int_at(FIELD(page, page, _mapcount)) + 1;
	return 0;
}

/* Of a huge page all parts are free, or none: references are counted for the whole. */
static __always_inline int is_huge_free(__u64 head, __u64 flags)
{
	__u64 tail = head + bpf_core_type_size(struct page);

	if (shared.head == head)
		return shared.head_free;
	shared.head = head;
	shared.head_free = 0;
	if (!bpf_core_field_exists(struct page, compound_mapcount))
		return 0; /* counted otherwise since 6.3 */
	shared.sum = int_at(FIELD(tail, page, compound_mapcount)) + 1;
	bpf_loop(HUGE_PAGES, count_one, &head, 0);
	if (bpf_core_enum_value_exists(enum pageflags, PG_double_map) && /* on its first tail */
	    word_at(FIELD(tail, page, flags)) & FLAG(PG_double_map))
		shared.sum -= HUGE_PAGES;
	if (flags & FLAG(PG_swapcache) && flags & FLAG(PG_swapbacked))
		shared.sum += HUGE_PAGES;
	shared.head_free = int_at(FIELD(head, page, _refcount)) == shared.sum;
	return shared.head_free;
}

static __always_inline int is_free(__u64 pfn)
{
	__u64 page = shared.page_map + pfn * bpf_core_type_size(struct page);
	__u64 flags = word_at(FIELD(page, page, flags));
	__u64 head = word_at(FIELD(page, page, compound_head));
	__s32 refs, maps;

	if (head & 1)
		return is_huge_free(head - 1, word_at(FIELD(head - 1, page, flags)));
	if (flags & FLAG(PG_head))
		return is_huge_free(page, flags);
	maps = int_at(FIELD(page, page, _mapcount)) + 1;
	refs = int_at(FIELD(page, page, _refcount));
	if (flags & FLAG(PG_swapcache) && flags & FLAG(PG_swapbacked))
		maps++;
	return refs == maps && maps > 0;
}

static long look_at(__u32 i, void *ctx)
{
	__u64 e;

	i &= PINS_PAGES - 1;
	e = shared.table[i];
	if (!(e & ENTRY_PRESENT))
		return 0;
	if (e & ENTRY_ACCESSED)
		shared.young[i / 64] |= 1ULL << i % 64;
	if (is_free((e & ENTRY_ADDR) / PAGE_BYTES))
		shared.free[i / 64] |= 1ULL << i % 64;
	return 0;
}

static long spread(__u32 i, void *ctx)
{
	i &= PINS_PAGES - 1;
	shared.table[i] = *(__u64 *)ctx + i * PAGE_BYTES;
	return 0;
}

static __always_inline void find_maps(void)
{
	if (!shared.direct_map)
		shared.direct_map = word_at(shared.direct_map_at);
	if (!shared.page_map)
		shared.page_map = word_at(shared.page_map_at);
}

SEC("syscall")
int pins(void *ctx)
{
	struct walk w = {.levels = shared.levels};
	__u64 mm, e;

	shared.res = -1;
	shared.head = 0;
	for (int i = 0; i < PINS_PAGES / 64; i++)
		shared.young[i] = shared.free[i] = 0;
	find_maps();
	w.map = shared.direct_map;
	mm = mm_of(shared.pidfd);
	if (!mm)
		return 0;
	e = pmd_of_root(&w, word_at(FIELD(mm, mm_struct, pgd)), shared.va);
	if (e == NO_ENTRY || (e && !(e & ENTRY_PRESENT)))
		return 0;
	if (e & ENTRY_HUGE)
		bpf_loop(PINS_PAGES, spread, &e, 0);
	else if (bpf_probe_read_kernel(shared.table, sizeof(shared.table),
				       (void *)(w.map + (e & ENTRY_ADDR))))
		return 0;
	if (e)
		bpf_loop(PINS_PAGES, look_at, NULL, 0);
	shared.res = 0;
	return 0;
}
