/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of the kernel's types that our programs read. libbpf moves each
 * access to where the running kernel has the field (CO-RE), so that neither a
 * build needs a kernel nor the object one kernel.
 */
#ifndef RMEM_BPF_KERNEL_H
#define RMEM_BPF_KERNEL_H

#include <linux/bpf.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct mm_struct {
	__u64 *pgd;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

struct file {
	void *private_data;
};

struct fdtable {
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct pid {
	struct hlist_head tasks[4];
};

struct task_struct {
	struct mm_struct *mm;
	int pid;
	int pagefault_disabled;
	struct files_struct *files;
	struct hlist_node pid_links[4];
};

typedef struct {
	int counter;
} atomic_t;

struct page {
	unsigned long flags;
	unsigned long compound_head;
	atomic_t _mapcount;
	atomic_t _refcount;
	atomic_t compound_mapcount;
};

enum pageflags {
	PG_head = 1,
	PG_swapbacked = 2,
	PG_swapcache = 3,
	PG_double_map = 4,
};

struct pt_regs {
	unsigned long ip;
	unsigned long flags;
};

#pragma clang attribute pop

#endif
