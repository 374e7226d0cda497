/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Which pages of a chunk are there, and which were accessed: what the page table says, and
 * the bits that the processor sets in it. Run by the pager when it needs to know, for one
 * chunk of one process: 1.5 us, where PAGEMAP_SCAN takes 10 to 80. It only reads, without a
 * lock: an answer may be stale or wrong, and costs time then. But for `guarded`: what it says of
 * pages that the core itself has had guarded is believed (docs/design.md, "Unwritten pages").
 */
#include "bpf/kernel.h"

#include <bpf/bpf_helpers.h>

#include "bpf/ages.h"
#include "bpf/walk.h"

char LICENSE[] SEC("license") = "GPL"; /* the kernel wants to know */

struct ages_shared shared;

extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

static __always_inline void all_alike(__u64 bits)
{
	for (int i = 0; i < AGES_PAGES / 64; i++) {
		shared.young[i] = shared.any[i] = shared.own[i] = bits;
		shared.guarded[i] = 0;
	}
	shared.res = 0;
}

static __always_inline void read_young(void)
{
	for (int i = 0; i < AGES_PAGES / 64; i++) {
		__u64 bits = 0;

		for (int k = 0; k < 64; k++) {
			__u64 e = shared.table[i * 64 + k];

			bits |= (e & e / ENTRY_ACCESSED & ENTRY_PRESENT) << k;
		}
		shared.young[i] = bits;
	}
}

static __always_inline void read_present(void)
{
	for (int i = 0; i < AGES_PAGES / 64; i++) {
		__u64 any = 0, zero = 0, guarded = 0;

		for (int k = 0; k < 64; k++) {
			__u64 e = shared.table[i * 64 + k];

			any |= (__u64)(e != 0) << k;
			guarded |= (e & e / ENTRY_GUARDED & ENTRY_PRESENT) << k;
			zero |= (e & e / ENTRY_SPECIAL & ENTRY_PRESENT) << k;
		}
		shared.any[i] = any;
		shared.guarded[i] = guarded;
		shared.own[i] = any & ~zero;
	}
}

static __always_inline void read_table(__u64 table)
{
	if (bpf_probe_read_kernel(shared.table, sizeof(shared.table), (void *)table))
		return;
	if (shared.present)
		read_present();
	else
		read_young();
	shared.res = 0;
}

SEC("syscall")
int ages(void *ctx)
{
	struct walk w = {.map = shared.direct_map, .levels = shared.levels};
	struct task_struct *task = bpf_task_from_pid(shared.pid);
	const struct mm_struct *mm;
	__u64 e;

	shared.res = -1;
	if (!task)
		return 0;
	mm = task->mm;
	e = mm ? pmd_of(&w, mm, shared.va) : NO_ENTRY;
	if (!e)
		all_alike(0);
	else if (e != NO_ENTRY && e & ENTRY_PRESENT && e & ENTRY_HUGE && !shared.present)
		all_alike(e & ENTRY_ACCESSED ? ~0ULL : 0);
	else if (e != NO_ENTRY && e & ENTRY_PRESENT && !(e & ENTRY_HUGE))
		read_table(w.map + (e & ENTRY_ADDR));
	bpf_task_release(task);
	return 0;
}
