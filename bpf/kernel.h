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

struct task_struct {
	struct mm_struct *mm;
	int pagefault_disabled;
};

struct pt_regs {
	unsigned long ip;
	unsigned long flags;
};

#pragma clang attribute pop

#endif
