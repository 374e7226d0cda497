/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that tells pinned pages (bpf/pins.bpf.c), loaded and tried. Needed where
 * userfaultfd has no MOVE, which would refuse them. Works on Linux 5.17 to 6.7.
 */
#ifndef RMEM_CAPTURE_BPF_PINS_H
#define RMEM_CAPTURE_BPF_PINS_H

#include <stdint.h>

#include "client/core/types.h"

struct bpf_pins;

/* Proves on pages of this process that it tells one in use by a pipe from others. 0 and
 * returns owned, else -errno with err text. */
int pins_load(struct bpf_pins **out) __attribute__((warn_unused_result));
void pins_unload(struct bpf_pins *p); /* accepts NULL */

/* Of the chunk at @chunk_va of the process of @pidfd: @free are present, and held by
 * nobody but page tables; @young were accessed (may be NULL). 0, or -errno: can't be
 * told. One thread at a time, of the process that loaded it. */
int pins_read(struct bpf_pins *p, int pidfd, uint64_t chunk_va, pageset *free, pageset *young)
	__attribute__((warn_unused_result));

#endif
