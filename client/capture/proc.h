/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading /proc: mappings, their flags, sizes, threads, present pages. The
 * only file that parses it. Nothing here stops or changes a process.
 */
#ifndef RMEM_CAPTURE_PROC_H
#define RMEM_CAPTURE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/core/types.h"

struct proc_map {
	uint64_t start, end;
	bool r, w, x, shared;
	bool anon;    /* private anonymous: no file, not [stack] [vdso] [vvar] ... */
	bool stack;   /* [stack] */
	bool special; /* kernel's own: [vdso], [vvar], [vsyscall], [uprobes] */
	/* only by proc_smaps_each: */
	bool wipeonfork, dontfork, locked, hugepage, uffd_missing, io_or_pfn;
	uint64_t anon_bytes;
};

/* Calls @fn for each mapping in address order; stops when it returns non-zero
 * and returns that. -ESRCH when the process is gone. */
typedef int proc_map_fn(void *ctx, const struct proc_map *m);
int proc_maps_each(pid_t pid, proc_map_fn *fn, void *ctx);
int proc_smaps_each(pid_t pid, proc_map_fn *fn, void *ctx); /* slow: walks page tables */

/* Virtual size and private anonymous resident bytes (statm: resident - shared).
 * Cheap: one read. */
int proc_statm(int statm_fd, uint64_t *virt_bytes, uint64_t *anon_bytes);
int proc_open_statm(pid_t pid); /* descriptor or -errno */

/* Proportional anonymous bytes (smaps_rollup Pss_Anon) and unshared+shared Anonymous. Slow. */
int proc_pss_anon(pid_t pid, uint64_t *pss_bytes, uint64_t *anon_bytes);

struct proc_stat {
	pid_t ppid, pgid, sid;
	char state;
	uint64_t minflt;
	uint64_t start_ticks; /* tells a reused pid apart */
	unsigned int nr_threads;
	bool kthread;
	char comm[16];
};
int proc_stat(pid_t pid, struct proc_stat *out);

/* A task of the process that has its memory: @pid itself, unless its first thread ends
 * before others. Then /proc/@pid shows no memory, and kcmp none: from when it lets go of it,
 * which is before its state says so. */
pid_t proc_mm_task(pid_t pid);

/* All numeric entries of /proc, ascending. Returns owned array (free()). */
int proc_pids(pid_t **out, size_t *nr);
int proc_tids(pid_t pid, pid_t **out, size_t *nr);

/* Last pid given out, which changes whenever a task was made, and how many tasks
 * run or want to. */
int proc_load(int loadavg_fd, pid_t *last_pid, unsigned int *nr_running);

/* Do both run in one address space? 1, 0, or -errno. (kcmp) */
int proc_same_space(pid_t a, pid_t b);

/* Opens /proc/PID/pagemap. Descriptor or -errno. */
int proc_open_pagemap(pid_t pid);

/* Present private anonymous pages of [start, end), one chunk at most,
 * without the shared zero page (PAGEMAP_SCAN, Linux 6.7). Bits count from
 * start's chunk. */
int proc_present(int pagemap_fd, uint64_t start, uint64_t end, pageset *out);

/* What has an entry in its page table of any kind: present, also where the kernel shows its
 * shared page of zeros, swapped out, a guard. A third of the time. */
int proc_any(int pagemap_fd, uint64_t start, uint64_t end, pageset *out);

/* Address of the first page in [start, end) that is present, @end when none. */
int proc_next_present(int pagemap_fd, uint64_t start, uint64_t end, uint64_t *out);

/* Pages (addresses) that must stay because the kernel writes to them at
 * thread exit, when it takes no userfault: robust list heads and thread
 * control blocks, and robust mutexes held now. Returns owned sorted array of page addresses. */
int proc_thread_pages(pid_t pid, uint64_t **out, size_t *nr);

#endif
