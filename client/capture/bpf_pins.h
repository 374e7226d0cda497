/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages may be dropped: asked of a BPF program (bpf/pins.bpf.c). Only with it
 * can rmem do without UFFDIO_MOVE, which looks for pins itself.
 */
#ifndef RMEM_CAPTURE_BPF_PINS_H
#define RMEM_CAPTURE_BPF_PINS_H

#include "client/core/types.h"

struct bpf_pins;

/* Loads it and tries it on pages of our own, pinned and not. 0; -errno with err text:
 * which right is missing. */
int pins_load(int dev_userfaultfd, struct bpf_pins **out) __attribute__((warn_unused_result));
void pins_unload(struct bpf_pins *p);

/* Of the pages @want in the chunk at @chunk_va, *@alone those that are protected and that
 * nobody but the mapping refers to; *@users: the tasks that live in the space, and who
 * holds it for a moment. @pagemap_fd: of the space. 0 or -errno. */
int pins_alone(struct bpf_pins *p, int pagemap_fd, uint64_t chunk_va, const pageset *want,
	       pageset *alone, unsigned int *users) __attribute__((warn_unused_result));

#endif
