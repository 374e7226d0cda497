/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that reads a chunk's page table (bpf/ages.bpf.c), loaded and tried. Needs
 * Linux 6.2, where a program may look a process up.
 */
#ifndef RMEM_CAPTURE_BPF_AGES_H
#define RMEM_CAPTURE_BPF_AGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/core/types.h"

struct bpf_ages;

/* @direct_map, @levels: as the walk of fast_load() found them. Proves on pages of this
 * process that it tells those that were accessed from others, and those that are there from
 * others. 0 and returns owned, else -errno with err text. Any thread. */
int ages_load(uint64_t direct_map, uint32_t levels, struct bpf_ages **out)
	__attribute__((warn_unused_result));
void ages_unload(struct bpf_ages *a); /* accepts NULL */

/* Pages of the chunk at @chunk_va of process @pid that are present and were accessed since
 * their bits were cleared. 0, or -errno: can't be told. */
int ages_young(struct bpf_ages *a, pid_t pid, uint64_t chunk_va, pageset *young);

/* Pages of the chunk that are not missing (@any); of these those that are no shared zeros
 * (@own): present, or swapped out; and those that are present and write-protected by
 * userfaultfd (@guarded), none where ages_tell_guarded() is false. 0, or -errno: can't be told,
 * as where a part of a larger page is mapped. */
int ages_present(struct bpf_ages *a, pid_t pid, uint64_t chunk_va, pageset *any, pageset *own,
		 pageset *guarded);

/* Was it proven that it tells which pages are write-protected by userfaultfd? */
bool ages_tell_guarded(const struct bpf_ages *a);

/* Clears the bits of @set in the process of @pidfd (MADV_COLD, which also flushes what
 * processors remember of them), but for pages so new that another processor has not yet put
 * them on a list of the kernel's: they count as accessed, which they were. 0 or -errno. */
int ages_clear(int pidfd, uint64_t chunk_va, const pageset *set);

#endif
