/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs of the fast fault path (bpf/fast.bpf.c): loaded, tried, attached.
 * From then on every page fault of the machine passes them, at some 50 ns for
 * those that are none of ours.
 */
#ifndef RMEM_CAPTURE_BPF_FAST_H
#define RMEM_CAPTURE_BPF_FAST_H

#include "bpf/fast.h"

struct bpf_fast;

/*
 * Loads the programs, proves on a page of this process that they read page
 * tables right, and attaches them. Takes some 50 ms; any thread. 0 and returns
 * owned, with the area that is shared; else -errno with err text.
 */
int fast_load(struct bpf_fast **out, struct fast_shared **shared)
	__attribute__((warn_unused_result));

/* Accepts NULL. The area is gone with it. */
void fast_unload(struct bpf_fast *b);

#endif
